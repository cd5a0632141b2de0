//! Delay scheduling: jobs whose tasks prefer the machines that hold their data (reference `policies.md`, section 2.7).

use super::machines::copies;
use super::{Engine, Outcome, PolicyRow, input};
use crate::architecture::flow::{self, Costs, ShortestPaths, Transfers};
use crate::batch::nodes::{Amounts, Task, delay};
use crate::record::Records;
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::scenario::Scenario;
use crate::workload::generate::{self, Arrivals, Law, Shape};

/// The waits.
pub(super) const POLICIES: &[PolicyRow] = &[
    PolicyRow { name: "no-delay", about: "a job takes any machine that is offered" },
    PolicyRow {
        name: "delay-scheduling",
        about: "a job waits as the scenario says for a machine, then for a rack, with its data",
    },
    PolicyRow { name: "long-delay", about: "the same, ten times as long" },
    PolicyRow {
        name: "min-cost-flow",
        about: "rounds as a flow of least cost: moving data, or waiting (Quincy, Firmament)",
    },
];

/// Machines with slots, and jobs whose tasks prefer some of them.
pub(super) struct LocalityStudy {
    machines: u32,
    slots: u64,
    replicas: usize,
    shape: Shape,
    waits: delay::Parameters,
    /// MiB that each task reads.
    input_mib: Law,
    round_us: i64,
}

impl LocalityStudy {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let small = |key: &str| u32::try_from(settings.count(key)).unwrap_or(u32::MAX);
        let read = |key: &str, unit: f64| input::law(settings, key, unit);
        let shape = Shape {
            jobs: small("workload.jobs"),
            arrivals: Arrivals::Poisson { gap_us: settings.micros("workload.gap").max(1) as f64 },
            run_us: read("workload.lengths", 1e6)?,
            processors: read("workload.tasks", 1.0)?,
            overestimate: Law::Fixed(1.0),
            tenants: small("workload.tenants"),
        };
        let waits = delay::Parameters {
            rack_nodes: small("cluster.rack"),
            rack_us: settings.micros("wait.machine"),
            anywhere_us: settings.micros("wait.rack"),
        };
        let (machines, replicas) = (small("cluster.machines"), settings.count("workload.replicas") as usize);
        if replicas > machines as usize {
            return Err(Error::Unfit(format!("{replicas} copies of the data need as many machines")));
        }
        let (input_mib, round_us) = (read("workload.input", 1.0)?, settings.micros("engine.round").max(1));
        Ok(Self { machines, slots: settings.count("cluster.slots"), replicas, shape, waits, input_mib, round_us })
    }

    /// The tasks of all jobs, job by job in the order of submission.
    fn tasks(&self, seed: u64) -> Result<Vec<Task>, String> {
        let jobs = generate::jobs(&self.shape, seed).map_err(|error| error.to_string())?;
        let mut chance = generate::stream(seed, "copies");
        let mut tasks = Vec::new();
        for job in jobs {
            for _ in 0..job.processors {
                let preferred = copies(self.replicas, self.machines as usize, &mut chance);
                tasks.push(Task {
                    job: job.id,
                    tenant: job.tenant,
                    submit_us: job.submit_us,
                    run_us: job.run_us,
                    request: Amounts { cpus_milli: 1000, ..Amounts::default() },
                    priority: 0,
                    preferred,
                });
            }
        }
        Ok(tasks)
    }
}

/// Each entry of a task's input is a whole copy: reading one is enough, the nearest.
struct Copies(Transfers);

impl Copies {
    fn read(task: &flow::Task, each: i64) -> i64 {
        let mib = task.input_mib.first().map_or(0, |copy| i64::try_from(copy.1).unwrap_or(flow::COST_MAX));
        mib.saturating_mul(each).min(flow::COST_MAX)
    }
}

impl Costs for Copies {
    fn node(&self, task: &flow::Task, node: u32, _: &flow::Cluster) -> Option<i64> {
        task.input_mib.binary_search_by_key(&node, |copy| copy.0).ok().map(|_| 0)
    }

    fn rack(&self, task: &flow::Task, rack: u32, cluster: &flow::Cluster) -> Option<i64> {
        let is_here = task.input_mib.iter().any(|copy| cluster.rack(copy.0) == rack);
        is_here.then(|| Self::read(task, self.0.rack_cost))
    }

    fn anywhere(&self, task: &flow::Task, _: &flow::Cluster) -> i64 {
        Self::read(task, self.0.core_cost)
    }

    fn unscheduled(&self, task: &flow::Task, waited_us: i64) -> i64 {
        self.0.unscheduled(task, waited_us)
    }
}

impl LocalityStudy {
    /// The same jobs in rounds of least cost. Each copy of a task's data is the whole of what it reads.
    fn flow(&self, seed: u64) -> Result<Records, String> {
        let mut chance = generate::stream(seed, "inputs");
        let task = |task: Task| {
            let mib = self.input_mib.draw(&mut chance) as u64;
            let input_mib = task.preferred.iter().map(|machine| (*machine, mib)).collect();
            flow::Task { job: task.job, submit_us: task.submit_us, run_us: task.run_us, input_mib }
        };
        let tasks: Vec<flow::Task> = self.tasks(seed)?.into_iter().map(task).collect();
        let cluster = flow::Cluster {
            nodes: self.machines,
            rack_nodes: self.waits.rack_nodes,
            slots: u32::try_from(self.slots).unwrap_or(u32::MAX),
            round_us: self.round_us,
        };
        flow::run(&cluster, &tasks, &Copies(Transfers::default()), &ShortestPaths).map_err(|error| error.to_string())
    }

    fn delayed(&self, times: i64, seed: u64) -> Result<Records, String> {
        let (rack_us, anywhere_us) =
            (self.waits.rack_us.saturating_mul(times), self.waits.anywhere_us.saturating_mul(times));
        let waits = delay::Parameters { rack_us, anywhere_us, ..self.waits };
        let size = Amounts { cpus_milli: self.slots * 1000, ..Amounts::default() };
        let sizes = vec![size; self.machines as usize];
        delay::run(&sizes, &self.tasks(seed)?, waits).map_err(|error| error.to_string())
    }
}

impl Engine for LocalityStudy {
    fn run(&self, policy: &str, seed: u64, _: &mut Meter<'_>) -> Result<Outcome, String> {
        let records = match policy {
            "no-delay" => self.delayed(0, seed)?,
            "delay-scheduling" => self.delayed(1, seed)?,
            "long-delay" => self.delayed(10, seed)?,
            "min-cost-flow" => self.flow(seed)?,
            other => return Err(format!("there is no way to place called {other}")),
        };
        Ok(Outcome::of(records))
    }
}

//! Delay scheduling: jobs whose tasks prefer the machines that hold their data (reference `policies.md`, section 2.7).

use super::{Engine, Outcome, PolicyRow};
use crate::batch::nodes::{Amounts, Task, delay};
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::scenario::{Scenario, law};
use crate::workload::generate::{self, Arrivals, Law, Shape};
use std::collections::BTreeSet;

/// The waits.
pub(super) const POLICIES: &[PolicyRow] = &[
    PolicyRow { name: "no-delay", about: "a job takes any machine that is offered" },
    PolicyRow {
        name: "delay",
        about: "a job waits as the scenario says for a machine, then for a rack, with its data",
    },
    PolicyRow { name: "long-delay", about: "the same, ten times as long" },
];

/// Machines with slots, and jobs whose tasks prefer some of them.
pub(super) struct LocalityStudy {
    machines: u32,
    slots: u64,
    replicas: usize,
    shape: Shape,
    waits: delay::Parameters,
}

impl LocalityStudy {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let small = |key: &str| u32::try_from(settings.count(key)).unwrap_or(u32::MAX);
        let read = |key: &str, unit: f64| {
            law::law(settings.text(key), unit).map_err(|why| Error::Unfit(format!("'{key}': {why}")))
        };
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
        Ok(Self { machines, slots: settings.count("cluster.slots"), replicas, shape, waits })
    }

    /// The tasks of all jobs, job by job in the order of submission.
    fn tasks(&self, seed: u64) -> Result<Vec<Task>, String> {
        let jobs = generate::jobs(&self.shape, seed).map_err(|error| error.to_string())?;
        let mut chance = generate::stream(seed, "copies");
        let mut tasks = Vec::new();
        for job in jobs {
            for _ in 0..job.processors {
                let mut copies = BTreeSet::new();
                while copies.len() < self.replicas {
                    copies.insert(chance.below(u64::from(self.machines)) as u32);
                }
                tasks.push(Task {
                    job: job.id,
                    tenant: job.tenant,
                    submit_us: job.submit_us,
                    run_us: job.run_us,
                    request: Amounts { cpus_milli: 1000, ..Amounts::default() },
                    priority: 0,
                    preferred: copies.into_iter().collect(),
                });
            }
        }
        Ok(tasks)
    }
}

impl Engine for LocalityStudy {
    fn run(&self, policy: &str, seed: u64, _: &mut Meter<'_>) -> Result<Outcome, String> {
        let times = match policy {
            "no-delay" => 0,
            "long-delay" => 10,
            _ => 1,
        };
        let (rack_us, anywhere_us) = (self.waits.rack_us * times, self.waits.anywhere_us * times);
        let waits = delay::Parameters { rack_us, anywhere_us, ..self.waits };
        let size = Amounts { cpus_milli: self.slots * 1000, ..Amounts::default() };
        let sizes = vec![size; self.machines as usize];
        let records = delay::run(&sizes, &self.tasks(seed)?, waits).map_err(|error| error.to_string())?;
        Ok(Outcome {
            trace_hash: records.trace_hash(),
            events: records.events,
            records: Some(records),
            ..Outcome::default()
        })
    }
}

//! Jobs of tasks on machines over time: gangs, strict priority with preemption, delay scheduling (reference `policies.md`,
//! sections 2.5 to 2.7), on a trace of any format or on drawn jobs.

use super::input::{self, Left, Tenants};
use super::{Engine, Outcome, PolicyRow};
use crate::batch::nodes::{Amounts, Task, delay, gang, priority};
use crate::record::Records;
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::scenario::{Scenario, Settings};
use crate::workload::generate::{self, Law, Shape};
use crate::workload::model;
use kaon_kernel::chance::Chance;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The orders.
pub(super) const POLICIES: &[PolicyRow] = &[
    PolicyRow { name: "gang", about: "a job starts when all its tasks are placed at one instant; others may pass it" },
    PolicyRow {
        name: "gang-hoarding",
        about: "the same, but a job holds what it got, idle, up to 'engine.holding': hoarding in a two-level scheduler",
    },
    PolicyRow { name: "strict-priority", about: "higher priorities first, evicting lower ones, whose work is lost" },
    PolicyRow {
        name: "strict-priority-checkpoint",
        about: "the same; work up to the last 'engine.checkpoint' is kept",
    },
    PolicyRow { name: "no-delay", about: "jobs in fair order take any machine that is offered" },
    PolicyRow {
        name: "delay-scheduling",
        about: "jobs in fair order wait 'wait.machine' for a machine with their data, then 'wait.rack' for its rack",
    },
];

/// Where tasks come from.
enum Source {
    /// A trace; where the data of its tasks lie is drawn.
    Trace(Vec<Task>),
    Drawn {
        shape: Box<Shape>,
        request: Amounts,
        priorities: Law,
    },
}

/// Machines, and jobs of tasks on them.
pub(super) struct Machines {
    sizes: Vec<Amounts>,
    source: Source,
    replicas: usize,
    waits: delay::Parameters,
    holding_us: i64,
    priority: priority::Parameters,
    left: Left,
}

impl Machines {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let mut left = Left::default();
        let nodes = input::nodes(settings, &mut left)?;
        let sizes: Vec<Amounts> = nodes.iter().map(size).collect();
        let source = match settings.path("workload.tasks") {
            Some(path) => Source::Trace(trace(path, settings, &sizes, &mut left)?),
            None => drawn(settings)?,
        };
        let replicas = settings.count("workload.replicas") as usize;
        if replicas > sizes.len() {
            return Err(Error::Unfit(format!("{replicas} copies of the data need as many machines")));
        }
        let band = |text: &String| {
            text.parse::<i32>().map_err(|_| Error::Unfit(format!("'engine.bands': {text} is no whole number")))
        };
        let bands = settings.names("engine.bands").iter().map(band).collect::<Result<Vec<_>, _>>()?;
        let waits = delay::Parameters {
            rack_nodes: u32::try_from(settings.count("cluster.rack")).unwrap_or(u32::MAX),
            rack_us: settings.micros("wait.machine"),
            anywhere_us: settings.micros("wait.rack"),
        };
        let priority = priority::Parameters {
            checkpoint_us: Some(settings.micros("engine.checkpoint")).filter(|us| *us > 0),
            bands,
        };
        let holding_us = settings.micros("engine.holding");
        Ok(Self { sizes, source, replicas, waits, holding_us, priority, left })
    }

    fn tasks(&self, seed: u64) -> Result<Vec<Task>, String> {
        let mut tasks = match &self.source {
            Source::Trace(tasks) => tasks.clone(),
            Source::Drawn { shape, request, priorities } => {
                let jobs = generate::jobs(shape, seed).map_err(|error| error.to_string())?;
                let mut chance = generate::stream(seed, "priorities");
                let mut tasks = Vec::new();
                for job in jobs {
                    let task = Task {
                        job: job.id,
                        tenant: job.tenant,
                        submit_us: job.submit_us,
                        run_us: job.run_us,
                        request: *request,
                        priority: priorities.draw(&mut chance).min(f64::from(i32::MAX)) as i32,
                        preferred: Vec::new(),
                    };
                    tasks.extend((0..job.processors).map(|_| task.clone()));
                }
                tasks
            }
        };
        let mut chance = generate::stream(seed, "copies");
        for task in &mut tasks {
            task.preferred = copies(self.replicas, self.sizes.len(), &mut chance);
        }
        Ok(tasks)
    }
}

/// So many different machines, ascending.
pub(super) fn copies(count: usize, machines: usize, chance: &mut Chance) -> Vec<u32> {
    let mut found = BTreeSet::new();
    while found.len() < count {
        found.insert(chance.below(machines as u64) as u32);
    }
    found.into_iter().collect()
}

fn size(node: &model::Node) -> Amounts {
    Amounts { cpus_milli: node.cpus_milli, mem_mib: node.mem_mib, gpus_milli: u64::from(node.gpus) * 1000 }
}

/// The tasks of a trace by jobs, in order of submission. A task that needs more GPUs than any machine has is a gang of tasks
/// with one GPU each. Left out are tasks that do not end within the trace, and jobs of which a task fits on no machine.
fn trace(path: &Path, settings: &Settings, sizes: &[Amounts], left: &mut Left) -> Result<Vec<Task>, Error> {
    let listed = input::tasks(path, settings, left)?;
    let tenants = Tenants::of(&listed);
    let gpus_most = sizes.iter().map(|size| size.gpus_milli).max().unwrap_or(0);
    let mut jobs: BTreeMap<u64, Vec<Task>> = BTreeMap::new();
    let mut endless = 0;
    for task in &listed {
        let Some(run_us) = task.run_us else {
            endless += 1;
            continue;
        };
        let gpus_milli = u64::from(task.gpus) * u64::from(task.gpu_milli);
        let parts = if gpus_milli > gpus_most { u64::from(task.gpus) } else { 1 };
        let request = Amounts {
            cpus_milli: task.cpus_milli.div_ceil(parts),
            mem_mib: task.mem_mib.div_ceil(parts),
            gpus_milli: gpus_milli / parts,
        };
        let (tenant, submit_us) = (tenants.number(&task.tenant), task.submit_us);
        let own =
            Task { job: task.job, tenant, submit_us, run_us, request, priority: task.priority, preferred: Vec::new() };
        jobs.entry(task.job).or_default().extend((0..parts).map(|_| own.clone()));
    }
    left.drop(path, endless, "tasks do not end within the trace");
    let count = jobs.len();
    let fits = |task: &Task| sizes.iter().any(|size| size.fits(&task.request));
    // Requests repeat; each is looked for once.
    let mut known: BTreeMap<Amounts, bool> = BTreeMap::new();
    jobs.retain(|_, tasks| tasks.iter().all(|task| *known.entry(task.request).or_insert_with(|| fits(task))));
    left.drop(path, (count - jobs.len()) as u64, "jobs have a task that fits on no machine");
    let mut jobs: Vec<Vec<Task>> = jobs.into_values().collect();
    for tasks in &mut jobs {
        let first_us = tasks.iter().map(|task| task.submit_us).min().unwrap_or(0);
        tasks.iter_mut().for_each(|task| task.submit_us = first_us);
    }
    jobs.sort_by_key(|tasks| tasks.first().map(|task| task.submit_us));
    if jobs.is_empty() {
        return Err(Error::Input { path: path.to_owned(), why: "no job can run on these machines".to_owned() });
    }
    Ok(jobs.into_iter().flatten().collect())
}

fn drawn(settings: &Settings) -> Result<Source, Error> {
    if settings.count("workload.jobs") == 0 {
        return Err(Error::Unfit("without 'workload.tasks', 'workload.jobs' must be said".to_owned()));
    }
    if settings.text("workload.arrivals") == "closed" {
        return Err(Error::Unfit("'workload.arrivals': closed loops are of kind 'batch'".to_owned()));
    }
    let request = Amounts {
        cpus_milli: input::milli(settings, "workload.cpus"),
        mem_mib: settings.mebibytes("workload.memory"),
        gpus_milli: input::milli(settings, "workload.gpus"),
    };
    let shape = Box::new(input::shape(settings, "workload.width")?);
    Ok(Source::Drawn { shape, request, priorities: input::law(settings, "workload.priorities", 1.0)? })
}

impl Engine for Machines {
    fn notes(&self) -> &[String] {
        &self.left.notes
    }

    fn run(&self, policy: &str, seed: u64, _: &mut Meter<'_>) -> Result<Outcome, String> {
        let tasks = self.tasks(seed)?;
        let sizes = &self.sizes;
        let lost = priority::Parameters { checkpoint_us: None, ..self.priority.clone() };
        let at_once = delay::Parameters { rack_us: 0, anywhere_us: 0, ..self.waits };
        let records: Result<Records, _> = match policy {
            "gang" => gang::run(sizes, &tasks, None),
            "gang-hoarding" => gang::run(sizes, &tasks, Some(self.holding_us)),
            "strict-priority" => priority::run(sizes, &tasks, &lost),
            "strict-priority-checkpoint" => priority::run(sizes, &tasks, &self.priority),
            "no-delay" => delay::run(sizes, &tasks, at_once),
            "delay-scheduling" => delay::run(sizes, &tasks, self.waits),
            other => return Err(format!("there is no order {other}")),
        };
        let records = records.map_err(|error| error.to_string())?;
        let mut outcome = Outcome::of(records);
        self.left.add(&mut outcome.metrics);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::meter::Sum;
    use crate::study::tests::Folder;

    const TRACE: &str = "job,submit_us,run_us,cpus_milli,priority,gpus\n9,5000000,10000000,2000,7,0\n1,0,100000000,2000,1,0\n\
                         1,0,100000000,2000,1,0\n2,0,,1000,0,0\n3,0,5000000,9000,0,0\n4,1000000,3000000,100,0,3\n";

    fn study(folder: &Folder, trace: &str) -> Machines {
        let trace = folder.file("trace.csv", trace);
        let text = format!(
            "kind = 'machines'\nquestion = 'q'\nanswer = 'a'\npolicies = ['gang']\n[[cluster.group]]\ncount = 2\ncpus = 2\n\
             memory = '1 GiB'\ngpus = 2\n[workload]\ntasks = '{}'\n[engine]\ncheckpoint = '2 s'\n",
            trace.display()
        );
        let scenario = Scenario::open(&folder.file("s.toml", &text), &[]).unwrap_or_else(|error| panic!("{error}"));
        Machines::open(&scenario).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_trace_of_any_order_becomes_jobs_on_machines() {
        let folder = Folder::new("machines");
        let study = study(&folder, TRACE);
        assert_eq!(study.left.jobs, 2, "one has no end, one is too wide: {:?}", study.left.notes);
        let tasks = study.tasks(1).unwrap_or_else(|error| panic!("{error}"));
        let jobs: Vec<u64> = tasks.iter().map(|task| task.job).collect();
        assert_eq!(jobs, [1, 1, 4, 4, 4, 9], "three GPUs are more than a machine has");
        let sum = Sum::new(1, &|_| ());
        let run = |policy: &str| study.run(policy, 1, &mut Meter::new(&sum)).unwrap_or_else(|error| panic!("{error}"));
        let start = |outcome: &Outcome, task: usize| outcome.records.as_ref().and_then(|all| all.tasks[task].start_us);
        let preempted = run("strict-priority");
        assert_eq!(start(&preempted, 5), Some(5_000_000), "it evicts one of the first job");
        assert_eq!(preempted.records.as_ref().map(|all| all.preemptions), Some(1));
        assert_eq!(start(&run("gang"), 5), Some(100_000_000), "nothing is evicted: it waits for the first job");
        for row in POLICIES {
            let records = run(row.name).records.unwrap_or_else(|| panic!("{}", row.name));
            assert!(records.tasks.iter().all(|task| task.end_us.is_some()), "{}", row.name);
        }
    }
}

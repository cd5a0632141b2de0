//! Queues as runs of the engines, repeated over seeds.

use crate::architecture::sampling::{self, Probing};
use crate::architecture::{self, Lengths};
use crate::batch::{self, Policy, Pool, Unit};
use crate::record::TaskRecord;
use crate::workload::generate::{Arrivals, Law, Shape, jobs};

/// One unit of service time in the experiments, in microseconds: long, so that rounding to microseconds does not show.
const SERVICE_US: f64 = 1e6;

/// A mean over seeds, and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
    /// Seeds.
    pub seeds: u32,
}

impl Estimate {
    /// From one value a seed; at least two.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self { mean, error: (squares / (count - 1.0) / count).sqrt(), seeds: values.len() as u32 }
    }

    /// Whether a value is within three standard errors.
    pub fn agrees(&self, value: f64) -> bool {
        (self.mean - value).abs() <= 3.0 * self.error
    }
}

/// Poisson arrivals of single tasks with exponential service of mean 1, `load` a server.
fn shape(servers: u32, load: f64, count: u32) -> Shape {
    Shape {
        jobs: count,
        arrivals: Arrivals::Poisson { gap_us: SERVICE_US / (load * f64::from(servers)) },
        run_us: Law::Exponential(SERVICE_US),
        processors: Law::Fixed(1.0),
        overestimate: Law::Fixed(1.0),
        tenants: 1,
    }
}

/// The mean of something over the tasks after the warm-up, the first half.
fn after_warm_up(tasks: &[TaskRecord], value: impl Fn(&TaskRecord) -> Option<f64>) -> f64 {
    let steady = &tasks[tasks.len() / 2..];
    steady.iter().filter_map(value).sum::<f64>() / steady.len() as f64
}

/// One queue for `servers` servers, first come first served, `count` tasks a seed: probability of waiting, mean wait, mean
/// time in system, in units of the mean service time. None when the numbers cannot be run.
pub fn servers(servers: u32, load: f64, count: u32, seeds: u32) -> Option<[Estimate; 3]> {
    let mut values = [Vec::new(), Vec::new(), Vec::new()];
    let policy: Policy = "fcfs".parse().ok()?;
    let pool = Pool { processors: u64::from(servers), unit: Unit::Processor };
    for seed in 1..=u64::from(seeds) {
        let jobs = jobs(&shape(servers, load, count), seed).ok()?;
        let records = batch::run(pool, &jobs, policy, &batch::Parameters::default()).ok()?;
        let wait = |task: &TaskRecord| Some((task.start_us? - task.submit_us) as f64 / SERVICE_US);
        let time = |task: &TaskRecord| Some((task.end_us? - task.submit_us) as f64 / SERVICE_US);
        let waits = |task: &TaskRecord| Some(f64::from(u8::from(task.start_us? > task.submit_us)));
        values[0].push(after_warm_up(&records.tasks, waits));
        values[1].push(after_warm_up(&records.tasks, wait));
        values[2].push(after_warm_up(&records.tasks, time));
    }
    Some(values.map(|values| Estimate::of(&values)))
}

/// Each task to the shortest of `choices` random queues among `workers`, `count` tasks a seed: mean time in system.
/// None when the numbers cannot be run.
pub fn choices(workers: u32, choices: u32, load: f64, count: u32, seeds: u32) -> Option<Estimate> {
    let cluster = sampling::Cluster { workers, slots: 1, delay_us: 0, probing: Probing::PerTask(choices) };
    let mut values = Vec::new();
    for seed in 1..=u64::from(seeds) {
        let jobs = jobs(&shape(workers, load, count), seed).ok()?;
        let single = |job: &batch::Job| architecture::Job {
            id: job.id,
            scheduler: 0,
            submit_us: job.submit_us,
            tasks: 1,
            lengths_us: Lengths::Same(job.run_us),
            cpus_milli: 1000,
            mem_mib: 0,
        };
        let jobs: Vec<architecture::Job> = jobs.iter().map(single).collect();
        let records = sampling::run(cluster, &jobs, &[], seed).ok()?;
        values.push(after_warm_up(&records.tasks, |task| Some((task.end_us? - task.submit_us) as f64 / SERVICE_US)));
    }
    Some(Estimate::of(&values))
}

//! Space sharing on one pool of processors: the batch systems of supercomputers, and queues on GPUs.
//!
//! A run is a pure function of pool, jobs, policy and parameters; there is no chance in it. [`run`] gives one record a
//! job. The orders: first come first served, EASY backfilling (by submission or shortest first), conservative
//! backfilling, shortest job first, shortest remaining time, least attained service. What places tasks on machines
//! (preemption by priority, gangs, locality) is in [`nodes`]; metrics are computed from the records elsewhere.
//!
//! Sources: Lifka, JSSPP 1995; Feitelson and Weil, IPPS 1998; Mu'alem and Feitelson, TPDS 2001; Tsafrir, Etsion and
//! Feitelson, TPDS 2007; Gu et al. (Tiresias), NSDI 2019.

mod backfill;
mod conservative;
mod drive;
pub mod nodes;
mod policy;
mod preemptive;
mod profile;
mod releases;
#[cfg(test)]
mod tests;
mod waiting;

pub use policy::{Order, POLICIES, Policy, PolicyError};

use crate::record::{Capacity, Records, TaskRecord};

/// The most jobs of a run.
pub const JOBS_MAX: usize = 100_000_000;
/// The most processors of a pool.
pub const PROCESSORS_MAX: u64 = 1_000_000_000;
/// The longest time in a workload, in microseconds: a thousandth of what 64 bits hold.
pub const TIME_MAX_US: i64 = i64::MAX / 1000;

/// A job that is submitted when another has ended: one turn of a closed loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// Index of the job that has to end first; it must stand earlier in the list.
    pub job: u32,
    /// Time from its end to the submission.
    pub think_us: i64,
}

/// One job: a number of processors for a time, all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number in the workload.
    pub id: u64,
    /// Whose it is.
    pub tenant: u32,
    /// When it is submitted; not used when `after` is set.
    pub submit_us: i64,
    /// Submitted when another job has ended.
    pub after: Option<After>,
    /// Processors it needs, all at once.
    pub processors: u64,
    /// How long it runs.
    pub run_us: i64,
    /// How long its owner said it would run: what is planned with. A run time above it is cut to it.
    pub planned_us: i64,
}

/// What a processor is, in the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// One core.
    #[default]
    Processor,
    /// One GPU.
    Gpu,
}

/// The pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Processors, all alike.
    pub processors: u64,
    /// What they are.
    pub unit: Unit,
}

/// Which kind of event goes first at equal times. Within a kind, the order in which the events were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// Submissions first: what reproduces the published results.
    #[default]
    SubmissionsFirst,
    /// Completions first.
    CompletionsFirst,
}

/// When jobs are started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passes {
    /// After each event: what reproduces the published results.
    #[default]
    EachEvent,
    /// Once when all events of a time stamp are handled.
    EachTime,
}

/// What may be chosen beside the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Order of events at equal times.
    pub ties: Ties,
    /// When jobs are started. The preemptive orders decide after each event.
    pub passes: Passes,
    /// Work that each preemption adds to the job it stops.
    pub preemption_cost_us: i64,
    /// Levels of least attained service, in processor time.
    pub levels: Levels,
}

/// The levels of least attained service: a job in a lower level goes first, ties by submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Levels {
    /// A new level at each multiple of this much processor time; the smaller, the closer to the continuous policy.
    Every(i64),
    /// Discrete queues that end at these thresholds, ascending.
    At(Vec<i64>),
}

impl Default for Levels {
    /// Two queues, with the threshold at one processor hour.
    fn default() -> Self {
        Self::At(vec![3_600_000_000])
    }
}

/// Why a workload is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The pool is empty or beyond [`PROCESSORS_MAX`].
    #[error("a pool of {0} processors: between 1 and {PROCESSORS_MAX} are possible")]
    Pool(u64),
    /// More than [`JOBS_MAX`].
    #[error("{0} jobs: at most {JOBS_MAX} are possible")]
    Jobs(usize),
    /// A job that could never start.
    #[error("job {id} needs {processors} processors, the pool has {pool}")]
    Width {
        /// The job.
        id: u64,
        /// What it needs.
        processors: u64,
        /// What there is.
        pool: u64,
    },
    /// A time below zero or beyond [`TIME_MAX_US`].
    #[error("job {0} has a time below zero or beyond {TIME_MAX_US} microseconds")]
    Time(u64),
    /// A job that waits for one that does not stand before it.
    #[error("job {0} comes after a job that does not stand before it")]
    After(u64),
    /// Levels that are not above zero and ascending, or a cost below zero.
    #[error("levels of attained service have to be above zero and ascending, the cost of a preemption not below zero")]
    Parameters,
}

/// Runs `jobs` on `pool` under `policy` until all have ended. The records are in the order of `jobs`.
///
/// Cost: first come and backfilling about log(jobs) an event; conservative backfilling in addition one look at each
/// waiting job whenever one ends early; the preemptive orders log(jobs) for each job they look at.
pub fn run(pool: Pool, jobs: &[Job], policy: Policy, parameters: &Parameters) -> Result<Records, Error> {
    check(pool, jobs, parameters)?;
    let plan = |job: &Job| if policy.is_exact { job.run_us.min(job.planned_us) } else { job.planned_us };
    let planned_us: Vec<i64> = jobs.iter().map(plan).collect();
    let outcome = match policy.order {
        Order::Fcfs | Order::Easy | Order::EasySjbf | Order::Sjf => {
            let scheduler = backfill::Backfill::new(pool, jobs, &planned_us, policy.order);
            drive::run(jobs, scheduler, parameters)
        }
        Order::Conservative => drive::run(jobs, conservative::Conservative::new(pool, jobs, &planned_us), parameters),
        Order::Srpt | Order::Las => preemptive::run(pool, jobs, &planned_us, policy.order, parameters),
    };
    let records = jobs.iter().zip(&outcome.times).map(|(job, times)| record(pool, job, *times));
    Ok(Records {
        tasks: records.collect(),
        capacity: capacity(pool),
        preemptions: outcome.preemptions,
        events: outcome.events,
        ..Records::default()
    })
}

/// When a job was submitted, first started, and ended.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    submit_us: i64,
    start_us: i64,
    end_us: i64,
}

/// What an engine found out.
struct Outcome {
    times: Vec<Times>,
    preemptions: u64,
    events: u64,
}

fn check(pool: Pool, jobs: &[Job], parameters: &Parameters) -> Result<(), Error> {
    if pool.processors == 0 || pool.processors > PROCESSORS_MAX {
        return Err(Error::Pool(pool.processors));
    }
    if jobs.len() > JOBS_MAX {
        return Err(Error::Jobs(jobs.len()));
    }
    let is_level = match &parameters.levels {
        Levels::Every(step) => *step > 0,
        Levels::At(ends) => ends.first().is_none_or(|first| *first > 0) && ends.is_sorted_by(|a, b| a < b),
    };
    if !is_level || !(0..=TIME_MAX_US).contains(&parameters.preemption_cost_us) {
        return Err(Error::Parameters);
    }
    // The last end cannot be later than all jobs one after the other.
    let mut total_us: i64 = 0;
    for (index, job) in jobs.iter().enumerate() {
        if job.processors == 0 || job.processors > pool.processors {
            return Err(Error::Width { id: job.id, processors: job.processors, pool: pool.processors });
        }
        let think_us = job.after.map_or(0, |after| after.think_us);
        for time in [job.submit_us, job.run_us, job.planned_us, think_us] {
            if !(0..=TIME_MAX_US).contains(&time) {
                return Err(Error::Time(job.id));
            }
        }
        let sum = total_us.checked_add(job.planned_us + think_us);
        total_us = sum.filter(|sum| *sum <= i64::MAX / 4).ok_or(Error::Time(job.id))?;
        if job.after.is_some_and(|after| after.job as usize >= index) {
            return Err(Error::After(job.id));
        }
    }
    Ok(())
}

fn capacity(pool: Pool) -> Capacity {
    let milli = pool.processors * 1000;
    match pool.unit {
        Unit::Processor => Capacity { cpus_milli: milli, ..Capacity::default() },
        Unit::Gpu => Capacity { gpus_milli: milli, ..Capacity::default() },
    }
}

fn record(pool: Pool, job: &Job, times: Times) -> TaskRecord {
    let milli = job.processors * 1000;
    TaskRecord {
        job: job.id,
        task: 0,
        tenant: job.tenant,
        submit_us: times.submit_us,
        start_us: Some(times.start_us),
        end_us: Some(times.end_us),
        run_us: job.run_us.min(job.planned_us),
        cpus_milli: if pool.unit == Unit::Processor { milli } else { 0 },
        mem_mib: 0,
        gpus_milli: if pool.unit == Unit::Gpu { milli } else { 0 },
        node: None,
    }
}

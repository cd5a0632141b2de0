//! Scheduler architectures on one cell: who may decide when, on what knowledge, and what it costs when two decide at once.
//!
//! - [`run`]: one scheduler for all jobs, two-level offers, shared state with optimistic commits; all with the decision
//!   time `t_job + n t_task` (Schwarzkopf, Konwinski, Abd-El-Malek and Wilkes, EuroSys 2013).
//! - [`sampling`]: many schedulers that probe workers with queues (Ousterhout, Wendell, Zaharia and Stoica, SOSP 2013).
//! - [`flow`]: placement in rounds as a flow of least cost (Isard et al., SOSP 2009).
//!
//! A run is a function of cell, jobs, parameters and seed. Metrics are computed from the records elsewhere.

mod book;
mod cell;
pub mod flow;
mod offers;
pub mod sampling;
mod shared;
#[cfg(test)]
mod tests;

pub use cell::{Cell, Claim, Commit, Conflict, Machine};

use crate::record::{Records, TaskRecord};

/// The most machines of a cell, workers of a sampled cluster, nodes of a flow.
pub const MACHINES_MAX: usize = 1_000_000;
/// The most tasks of a run, over all jobs.
pub const TASKS_MAX: u64 = 200_000_000;
/// The longest time in a workload, in microseconds.
pub const TIME_MAX_US: i64 = i64::MAX / 1_000_000;
/// A job is given up after so many attempts that placed none of its tasks (the rule of the Omega study).
pub const FRUITLESS_ATTEMPTS_MAX: u32 = 100;
/// A job is given up after so many attempts in all (the rule of the Omega study).
pub const ATTEMPTS_MAX: u32 = 1000;
/// What could not be placed is tried again after this time.
pub const RETRY_US: i64 = 1_000_000;

/// How long the tasks of a job run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lengths {
    /// All alike.
    Same(i64),
    /// Each its own time; as many as tasks.
    Each(Vec<i64>),
}

/// A job: tasks with equal requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number in the workload.
    pub id: u64,
    /// The scheduler that places it; under one scheduler for all, whose decision times it has.
    pub scheduler: u32,
    /// When it is submitted.
    pub submit_us: i64,
    /// Tasks.
    pub tasks: u32,
    /// How long they run.
    pub lengths_us: Lengths,
    /// CPU of each task, in thousandths of a core.
    pub cpus_milli: u64,
    /// Memory of each task in MiB.
    pub mem_mib: u64,
}

impl Job {
    /// How long a task runs.
    pub fn length_us(&self, task: u32) -> i64 {
        match &self.lengths_us {
            Lengths::Same(length) => *length,
            Lengths::Each(lengths) => lengths[task as usize],
        }
    }

    /// Its tasks, as they are recorded before anything has happened to them.
    fn records(&self) -> impl Iterator<Item = TaskRecord> {
        (0..self.tasks).map(|task| TaskRecord {
            job: self.id,
            task,
            tenant: self.scheduler,
            submit_us: self.submit_us,
            start_us: None,
            end_us: None,
            run_us: self.length_us(task),
            cpus_milli: self.cpus_milli,
            mem_mib: self.mem_mib,
            gpus_milli: 0,
            node: None,
        })
    }
}

/// How long a scheduler thinks: `job_us` and `task_us` for each task it has to place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduler {
    /// Its name in the records.
    pub name: String,
    /// For a job.
    pub job_us: i64,
    /// For each task.
    pub task_us: i64,
}

/// Who decides on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// One scheduler for all jobs, in the order in which they come. With equal decision times it has a single path, with
    /// different ones one path for each kind.
    Monolithic,
    /// An allocator that offers all that is free to one scheduler after the other.
    Offers {
        /// Free resources are gathered at least so long before the next offer.
        gather_us: i64,
        /// The allocator thinks so long about an offer.
        think_us: i64,
    },
    /// All schedulers see all, and find out at the commit what others took meanwhile.
    Shared {
        /// What is a conflict.
        conflict: Conflict,
        /// What becomes of the claims without one.
        commit: Commit,
    },
}

/// The offers of the Omega study: gathered for one second, thought about for one millisecond.
pub const OFFERS: Architecture = Architecture::Offers { gather_us: 1_000_000, think_us: 1000 };

/// Every architecture by name, with one line on what it is.
pub const ARCHITECTURES: [(&str, &str); 11] = [
    ("monolithic", "one scheduler for all jobs"),
    ("offers", "two levels: all that is free is offered to one scheduler at a time, by dominant share"),
    ("shared", "shared state: fine-grained conflicts, incremental commits"),
    ("shared-gang", "shared state: fine-grained conflicts, all-or-nothing commits"),
    ("shared-sequence", "shared state: conflicts by sequence number, incremental commits"),
    ("shared-sequence-gang", "shared state: conflicts by sequence number, all-or-nothing commits"),
    ("random-sampling", "each task to a random worker with a queue"),
    ("per-task-sampling", "for each task the shortest queue of a few random workers: the power of d choices"),
    ("batch-sampling", "for m tasks the m shortest queues of d m random workers (Sparrow)"),
    ("late-binding", "d m probes wait in the queues; who gets to one asks for a task (Sparrow)"),
    ("min-cost-flow", "placement in rounds as a flow of least cost (Quincy, Firmament)"),
];

/// Why a run is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No machine, or more than [`MACHINES_MAX`].
    #[error("{0} machines: between 1 and {MACHINES_MAX} are possible")]
    Machines(usize),
    /// No scheduler.
    #[error("a cell needs at least one scheduler")]
    NoScheduler,
    /// A job of a scheduler that is not there.
    #[error("job {0} belongs to a scheduler that is not there")]
    Scheduler(u64),
    /// A job without tasks, or with lengths for another number of them, or too many tasks in all.
    #[error("job {0} has no tasks, lengths for another number of tasks, or is one too many")]
    Tasks(u64),
    /// A time below zero or beyond [`TIME_MAX_US`].
    #[error("a time of {0} is below zero or beyond {TIME_MAX_US} microseconds")]
    Time(String),
    /// A number outside of its bounds.
    #[error("{0}")]
    Parameter(&'static str),
}

fn check_jobs(jobs: &[Job], schedulers: usize) -> Result<(), Error> {
    let mut total = 0;
    for job in jobs {
        total += u64::from(job.tasks);
        let is_counted = match &job.lengths_us {
            Lengths::Same(_) => true,
            Lengths::Each(lengths) => lengths.len() == job.tasks as usize,
        };
        if job.tasks == 0 || !is_counted || total > TASKS_MAX {
            return Err(Error::Tasks(job.id));
        }
        if job.scheduler as usize >= schedulers {
            return Err(Error::Scheduler(job.id));
        }
        let lengths = match &job.lengths_us {
            Lengths::Same(length) => core::slice::from_ref(length),
            Lengths::Each(lengths) => lengths,
        };
        if lengths.iter().chain([&job.submit_us]).any(|time| !(0..=TIME_MAX_US).contains(time)) {
            return Err(Error::Time(format!("job {}", job.id)));
        }
    }
    Ok(())
}

/// Runs `jobs` on `cell` until all have ended or were given up, or until `until_us`.
pub fn run(
    cell: &Cell,
    schedulers: &[Scheduler],
    jobs: &[Job],
    architecture: Architecture,
    until_us: Option<i64>,
    seed: u64,
) -> Result<Records, Error> {
    if cell.machines().is_empty() || cell.machines().len() > MACHINES_MAX {
        return Err(Error::Machines(cell.machines().len()));
    }
    if schedulers.is_empty() {
        return Err(Error::NoScheduler);
    }
    check_jobs(jobs, schedulers.len())?;
    // All thinking of all attempts one after the other has to fit into the clock.
    let mut thinking_us: i128 = 0;
    for job in jobs {
        let scheduler = &schedulers[job.scheduler as usize];
        let is_sound = scheduler.job_us >= 0 && scheduler.task_us >= 0;
        let attempt_us = i128::from(scheduler.job_us) + i128::from(scheduler.task_us) * i128::from(job.tasks);
        thinking_us += attempt_us * i128::from(ATTEMPTS_MAX);
        if !is_sound || thinking_us > i128::from(i64::MAX / 4) {
            return Err(Error::Time(format!("scheduler {}", scheduler.name)));
        }
    }
    if let Architecture::Offers { gather_us, think_us } = architecture {
        // An allocator that takes no time at all would make offers for ever at one moment.
        let is_sound = |time: &i64| (0..=TIME_MAX_US).contains(time);
        if !is_sound(&gather_us) || !is_sound(&think_us) || gather_us + think_us == 0 {
            return Err(Error::Time("the allocator".to_owned()));
        }
        return Ok(offers::Offers::new(cell, schedulers, jobs, (gather_us, think_us), seed).run(until_us));
    }
    Ok(shared::Shared::new(cell, schedulers, jobs, architecture, seed).run(until_us))
}

//! Batch orders that know machines: strict priority with preemption ([`priority`]), gangs ([`gang`]), delay scheduling
//! ([`delay`]).
//!
//! Tasks ask for CPU, memory and GPU units, go to the node with the best fit among those with room (the smallest rest,
//! each resource as a millionth of the largest node; ties to the smaller index), and never overcommit it. A run is a
//! function of its input; there is no chance in it.

pub mod delay;
pub mod gang;
pub mod priority;
#[cfg(test)]
mod tests;

use super::{TIME_MAX_US, Times};
use crate::record::{Capacity, Records, TaskRecord};

/// The most nodes of a run.
pub const NODES_MAX: usize = 100_000;
/// The most tasks of a run.
pub const TASKS_MAX: usize = 50_000_000;
/// The largest amount of any resource, in its unit.
pub const AMOUNT_MAX: u64 = 1 << 40;

/// Amounts of resources, in a request, on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amounts {
    /// CPU in thousandths of a core.
    pub cpus_milli: u64,
    /// Memory in MiB.
    pub mem_mib: u64,
    /// GPU in thousandths; the GPUs of a node are one sum here.
    pub gpus_milli: u64,
}

impl Amounts {
    fn parts(&self) -> [u64; 3] {
        [self.cpus_milli, self.mem_mib, self.gpus_milli]
    }

    /// Whether a request fits into it.
    pub fn fits(&self, request: &Self) -> bool {
        self.parts().iter().zip(request.parts()).all(|(free, asked)| *free >= asked)
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            cpus_milli: self.cpus_milli + other.cpus_milli,
            mem_mib: self.mem_mib + other.mem_mib,
            gpus_milli: self.gpus_milli + other.gpus_milli,
        }
    }

    fn minus(&self, other: &Self) -> Self {
        Self {
            cpus_milli: self.cpus_milli - other.cpus_milli,
            mem_mib: self.mem_mib - other.mem_mib,
            gpus_milli: self.gpus_milli - other.gpus_milli,
        }
    }
}

/// A task on its own, or one of a job whose tasks stand one after the other in the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its job.
    pub job: u64,
    /// Whose it is.
    pub tenant: u32,
    /// When it is submitted; the same for all tasks of a job.
    pub submit_us: i64,
    /// How long it runs.
    pub run_us: i64,
    /// What it needs.
    pub request: Amounts,
    /// Larger goes first.
    pub priority: i32,
    /// Nodes it would rather run on, ascending.
    pub preferred: Vec<u32>,
}

/// Why a workload is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No node, too many, or one with an amount beyond [`AMOUNT_MAX`].
    #[error("between 1 and {NODES_MAX} nodes are possible, with amounts up to {AMOUNT_MAX}")]
    Nodes,
    /// Too many tasks.
    #[error("{0} tasks: at most {TASKS_MAX} are possible")]
    Tasks(usize),
    /// A task that fits on no node even when it is empty.
    #[error("a task of job {0} fits on no node")]
    Width(u64),
    /// A time below zero or too long.
    #[error("job {0} has a time below zero or beyond its bound, or tasks submitted at different times")]
    Time(u64),
    /// A preferred node that is not there, or a list that is not ascending.
    #[error("a task of job {0} prefers a node that is not there, or its list is not ascending")]
    Preferred(u64),
    /// A parameter outside of its bounds.
    #[error("{0}")]
    Parameter(&'static str),
}

/// Nodes and what is free on them.
struct Nodes {
    free: Vec<Amounts>,
    most: [u64; 3],
    capacity: Capacity,
}

impl Nodes {
    fn new(sizes: &[Amounts]) -> Result<Self, Error> {
        let is_sound = |size: &Amounts| size.parts().iter().all(|part| *part <= AMOUNT_MAX);
        if sizes.is_empty() || sizes.len() > NODES_MAX || !sizes.iter().all(is_sound) {
            return Err(Error::Nodes);
        }
        let mut most = [1; 3];
        for size in sizes {
            most.iter_mut().zip(size.parts()).for_each(|(most, part)| *most = part.max(*most));
        }
        let all = sizes.iter().fold(Amounts::default(), |sum, size| sum.plus(size));
        let capacity = Capacity {
            nodes: sizes.len() as u64,
            cpus_milli: all.cpus_milli,
            mem_mib: all.mem_mib,
            gpus_milli: all.gpus_milli,
        };
        Ok(Self { free: sizes.to_vec(), most, capacity })
    }

    /// What would be left on a node, in millionths; smaller is a better fit.
    fn rest(&self, free: &Amounts, request: &Amounts) -> u64 {
        let parts = free.parts().into_iter().zip(request.parts()).zip(self.most);
        parts.map(|((free, asked), most)| ((u128::from(free - asked) * 1_000_000) / u128::from(most)) as u64).sum()
    }

    /// The node with the best fit. Linear in the nodes.
    fn best(&self, request: &Amounts) -> Option<u32> {
        let fits = (0..).zip(&self.free).filter(|(_, free)| free.fits(request));
        fits.min_by_key(|(node, free)| (self.rest(free, request), *node)).map(|(node, _)| node)
    }

    fn take(&mut self, node: u32, request: &Amounts) {
        let free = &mut self.free[node as usize];
        assert!(free.fits(request), "node {node} would be overcommitted");
        *free = free.minus(request);
    }

    fn give(&mut self, node: u32, request: &Amounts) {
        let free = &mut self.free[node as usize];
        *free = free.plus(request);
    }
}

fn check(nodes: &Nodes, tasks: &[Task]) -> Result<(), Error> {
    if tasks.len() > TASKS_MAX {
        return Err(Error::Tasks(tasks.len()));
    }
    let mut total_us: i64 = 0;
    for (index, task) in tasks.iter().enumerate() {
        if !nodes.free.iter().any(|free| free.fits(&task.request)) {
            return Err(Error::Width(task.job));
        }
        let is_apart = index > 0 && tasks[index - 1].job == task.job && tasks[index - 1].submit_us != task.submit_us;
        if is_apart || ![task.submit_us, task.run_us].iter().all(|time| (0..=TIME_MAX_US).contains(time)) {
            return Err(Error::Time(task.job));
        }
        let sum = total_us.checked_add(task.run_us);
        total_us = sum.filter(|sum| *sum <= i64::MAX / 4).ok_or(Error::Time(task.job))?;
        let is_node = |node: &u32| (*node as usize) < nodes.free.len();
        if !task.preferred.iter().all(is_node) || !task.preferred.is_sorted_by(|a, b| a < b) {
            return Err(Error::Preferred(task.job));
        }
    }
    Ok(())
}

/// The jobs of a list: from where to where their tasks stand.
fn jobs(tasks: &[Task]) -> Vec<core::ops::Range<usize>> {
    let mut jobs: Vec<core::ops::Range<usize>> = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        match jobs.last_mut() {
            Some(last) if tasks[last.start].job == task.job => last.end = index + 1,
            _ => jobs.push(index..index + 1),
        }
    }
    jobs
}

fn records(nodes: &Nodes, tasks: &[Task], times: &[(Times, Option<u32>)]) -> Records {
    let mut records = Records { capacity: nodes.capacity, ..Records::default() };
    for (index, (task, (times, node))) in tasks.iter().zip(times).enumerate() {
        let before = records.tasks.last().filter(|last: &&TaskRecord| index > 0 && last.job == task.job);
        let number = before.map_or(0, |last| last.task + 1);
        records.tasks.push(TaskRecord {
            job: task.job,
            task: number,
            tenant: task.tenant,
            submit_us: task.submit_us,
            start_us: node.map(|_| times.start_us),
            end_us: node.map(|_| times.end_us),
            run_us: task.run_us,
            cpus_milli: task.request.cpus_milli,
            mem_mib: task.request.mem_mib,
            gpus_milli: task.request.gpus_milli,
            node: *node,
        });
    }
    records
}

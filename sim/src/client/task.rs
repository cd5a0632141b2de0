//! One task of a simulated framework, with all its launches.

use super::Client;
use crate::record::TaskRecord;
use crate::stage::Listed;
use crate::workload::TaskPlan;
use kaon_kernel::id::{AgentId, TaskId};
use kaon_kernel::task::TaskState;
use kaon_kernel::time::Instant;

/// A task that is to be done; each launch of it has an id of its own.
pub(crate) struct Job {
    pub(crate) plan: TaskPlan,
    pub(crate) phase: Phase,
    /// Which launch of it is the newest, from zero.
    pub(crate) attempt: u32,
    /// The newest state that was told of that launch.
    pub(crate) state: TaskState,
    /// When something was heard of it last.
    pub(crate) heard: Instant,
    /// Whether it was to be killed.
    pub(crate) killing: bool,
    /// Where it runs.
    pub(crate) agent: Option<AgentId>,
    /// The number of that agent; of the last one when it has ended.
    pub(crate) machine: u32,
    /// Killed for a new start of its gang.
    pub(crate) restarting: bool,
    /// When it was first seen to run; zero when never.
    pub(crate) started: Instant,
    /// When it was seen to end for good.
    pub(crate) ended: Instant,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for an offer.
    Waiting,
    /// It is in the cluster's hands.
    Launched,
    /// It has ended for good.
    Ended,
}

impl Job {
    pub(super) fn new(plan: TaskPlan) -> Self {
        Self {
            plan,
            phase: Phase::Waiting,
            attempt: 0,
            state: TaskState::Staging,
            heard: Instant(0),
            killing: false,
            agent: None,
            machine: 0,
            restarting: false,
            started: Instant(0),
            ended: Instant(0),
        }
    }
}

impl Client {
    /// Its tasks as records; those that are not listed under a job are jobs of their own, counted from `first`.
    pub(crate) fn records<'a>(
        &'a self,
        tenant: u32,
        first: u64,
        listed: Option<&'a [Listed]>,
    ) -> impl Iterator<Item = TaskRecord> + 'a {
        let micros = |at: Instant| (at != Instant(0)).then_some((at.0 / 1000) as i64);
        (0_u32..).zip(&self.jobs).map(move |(number, job)| TaskRecord {
            job: listed.and_then(|all| all.get(number as usize)).map_or(first + u64::from(number), |one| one.job),
            task: if listed.is_some() { number } else { 0 },
            tenant,
            submit_us: (job.plan.submit.0 / 1000) as i64,
            start_us: micros(job.started),
            // One that ended without having run (killed in time, refused) has no end of a run.
            end_us: micros(job.ended).filter(|_| job.started != Instant(0)),
            run_us: (job.plan.killed_after.unwrap_or(job.plan.length).0 / 1000) as i64,
            cpus_milli: job.plan.cpus.0,
            mem_mib: job.plan.mem.0 / 1000,
            gpus_milli: 0,
            node: (job.started != Instant(0)).then_some(job.machine),
        })
    }
}

/// The id of one launch of a job.
pub(super) fn task_id(job: u32, attempt: u32) -> TaskId {
    TaskId::trusted(format!("task-{job}.{attempt}"))
}

/// The job and the attempt of an id.
pub(super) fn parse(text: &str) -> Option<(u32, u32)> {
    let (job, attempt) = text.strip_prefix("task-")?.split_once('.')?;
    Some((job.parse().ok()?, attempt.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_job_and_attempt() {
        assert_eq!(parse(task_id(7, 3).as_str()), Some((7, 3)));
        assert_eq!(parse("something else"), None);
    }
}

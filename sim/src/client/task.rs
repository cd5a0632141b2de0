//! One task of a simulated framework, with all its launches.

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
        }
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

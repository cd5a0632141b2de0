//! Draining: an operator wants everything on this machine to end (reference 8.3, 9).
//!
//! The order is on disk before a task is asked to end, and holds until no task is left; the master says it again at each
//! registration. Meanwhile what is launched is dropped, and a task that was killed says that it was drained. Mesos: `drain`
//! and `updateDrainStatus` of its agent. There a drain that ends in a gone agent turns TASK_KILLING into
//! TASK_GONE_BY_OPERATOR as well, though the task still runs; here it stays TASK_KILLING. And there an agent with an idle
//! executor goes on dropping what is launched, even after it was reactivated.

use crate::agent::state::Waiting;
use crate::agent::{Agent, checkpoint};
use kaon_kernel::actor::{Batch, Context};
use kaon_kernel::framework::Capability;
use kaon_kernel::maintenance::DrainConfig;
use kaon_kernel::task::{Reason, TaskState, TaskStatus};

impl Agent {
    /// Ends every task. Where there is none nothing is to be done.
    pub(super) fn on_drain(&mut self, config: DrainConfig, context: &mut Context<'_, Self>) {
        if self.is_empty() {
            return;
        }
        self.draining = Some(config);
        let mut batch = Batch::default();
        batch.put(checkpoint::DRAIN_KEY, checkpoint::write(&config));
        let ticket = context.persist(batch);
        self.state.wait(ticket, Waiting::Noted);
        let live = self.state.tasks().filter(|(_, entry)| !entry.task.state.is_terminal());
        let live = live.map(|(_, entry)| {
            let info = &entry.task.info;
            (entry.framework_id.clone(), info.task_id.clone(), config.grace(info.kill_grace))
        });
        for (framework_id, task_id, grace) in live.collect::<Vec<_>>() {
            self.on_kill_task(&framework_id, &task_id, grace, context);
        }
    }

    /// A status as it is told while the agent is drained.
    pub(super) fn while_draining(&self, number: u64, mut status: TaskStatus) -> TaskStatus {
        let Some(config) = self.draining else { return status };
        if !matches!(status.state, TaskState::Killing | TaskState::Killed) {
            return status;
        }
        status.reason = Some(Reason::AgentDraining);
        let framework = self.state.task(number).and_then(|entry| self.state.framework(&entry.framework_id));
        let knows = framework.is_some_and(|framework| framework.info.has(Capability::PartitionAware));
        if config.mark_gone && knows && status.state == TaskState::Killed {
            status.state = TaskState::GoneByOperator;
        }
        status
    }

    /// Forgets the order once no task is left. Executors without tasks may stay: what they are sent next is taken again.
    pub(super) fn finish_drain(&mut self, context: &mut Context<'_, Self>) {
        if self.draining.is_some() && self.is_empty() {
            self.draining = None;
            let mut batch = Batch::default();
            batch.delete(checkpoint::DRAIN_KEY);
            let ticket = context.persist(batch);
            self.state.wait(ticket, Waiting::Noted);
        }
    }

    fn is_empty(&self) -> bool {
        self.state.tasks().next().is_none()
    }
}

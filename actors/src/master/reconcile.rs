//! RECONCILE: what the master knows of tasks that a framework asks for (reference 8.4).

use super::status::own_status;
use super::{Master, MasterContext};
use kaon_kernel::id::{AgentId, FrameworkIndex, TaskId};
use kaon_kernel::task::{Reason, Source, TaskState, TaskStatus};
use kaon_kernel::time::WallTime;

impl Master {
    /// An empty list asks for all.
    pub(super) fn on_reconcile(
        &mut self,
        framework: FrameworkIndex,
        tasks: Vec<(TaskId, Option<AgentId>)>,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_reconcile_tasks", 1);
        if tasks.is_empty() {
            let known: Vec<TaskId> = self.state.frameworks[&framework].tasks.keys().cloned().collect();
            for task_id in known {
                self.tell_state(framework, &task_id, Source::Master, Reason::Reconciliation, context);
            }
            return;
        }
        for (task_id, agent_id) in tasks {
            self.reconcile_one(framework, task_id, agent_id, context);
        }
    }

    /// The rows of reference 8.4 in their order.
    pub(super) fn reconcile_one(
        &self,
        framework: FrameworkIndex,
        task_id: TaskId,
        agent_id: Option<AgentId>,
        context: &mut MasterContext<'_>,
    ) {
        if self.state.frameworks[&framework].tasks.contains_key(&task_id) {
            return self.tell_state(framework, &task_id, Source::Master, Reason::Reconciliation, context);
        }
        let recovering = match &agent_id {
            Some(id) => self.state.recovered_agents.contains_key(id),
            None => !self.state.recovered_agents.is_empty(),
        };
        if recovering {
            // Its agent may still tell; the framework asks again.
            return;
        }
        let (state, message, since) = self.judge(framework, &task_id, agent_id.as_ref());
        let told = self.as_told(framework, state);
        let message = format!("Reconciliation: {message}");
        let status = TaskStatus {
            agent_id,
            unreachable_time: since,
            ..own_status(task_id, told, Reason::Reconciliation, message, context)
        };
        self.tell_status(framework, status, context);
    }

    fn judge(
        &self,
        framework: FrameworkIndex,
        task_id: &TaskId,
        agent_id: Option<&AgentId>,
    ) -> (TaskState, &'static str, Option<WallTime>) {
        let kept = self.state.frameworks[&framework].unreachable_tasks.get(task_id);
        let agent_id = agent_id.or(kept.map(|(_, task)| &task.info.agent_id));
        match agent_id {
            Some(id) if self.state.agent_index(id.as_str()).is_some() => {
                (TaskState::Gone, "Task is unknown to the agent", None)
            }
            Some(id) if self.state.unreachable_agents.contains_key(id) => {
                (TaskState::Unreachable, "Task's agent is unreachable", self.state.unreachable_agents.get(id).copied())
            }
            Some(id) if self.standing.gone.contains_key(id) => {
                (TaskState::GoneByOperator, "Task's agent is gone", None)
            }
            _ => (TaskState::Unknown, "Task is unknown", None),
        }
    }
}

//! Who looks is shown all that the agent holds, one thing an event, so that nothing is too large for a frame. Cost: all
//! frameworks, executors, tasks and operations here; the edge asks once for all who ask at the same time.

use crate::agent::Agent;
use crate::agent::container::Stage;
use crate::agent::past::PastExecutor;
use crate::agent::state::Delivery;
use kaon_kernel::actor::{Context, StreamId};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::message::agent_master::RunningExecutor;
use kaon_kernel::message::agent_outside::{AgentEvent, CallRefusal, ExecutorStage};
use kaon_kernel::task::{Task, TaskInfo};

impl Agent {
    /// Shows everything that is here, as it is on disk.
    pub(super) fn on_look(&self, reply: StreamId, context: &mut Context<'_, Self>) {
        if self.state.is_recovering() {
            context.emit(reply, &AgentEvent::Refused(CallRefusal::Recovering));
            return context.close(reply);
        }
        // With what was reserved and made of volumes since it was started.
        let info = AgentInfo { resources: self.state.total().clone(), ..self.state.info().clone() };
        let (info, drain) = (Box::new(info), self.draining);
        context.emit(reply, &AgentEvent::Agent { info, drain });
        for framework in self.state.frameworks() {
            context.emit(reply, &AgentEvent::Framework { info: Box::new(framework.info.clone()) });
        }
        for (_, container) in self.state.containers() {
            let executor = RunningExecutor {
                framework_id: container.framework_id().clone(),
                role: container.role().clone(),
                info: container.info().clone(),
            };
            let event = AgentEvent::Executor {
                executor: Box::new(executor),
                container_id: container.id().clone(),
                pid: container.pid(),
                stage: match container.stage() {
                    Stage::Running => ExecutorStage::Running,
                    Stage::Terminating | Stage::Ended => ExecutorStage::Terminating,
                    _ => ExecutorStage::Registering,
                },
            };
            context.emit(reply, &event);
        }
        for (_, entry) in self.state.tasks() {
            let stream = &entry.stream;
            let told = entry.task.statuses.iter().filter(|one| one.uuid.is_none_or(|uuid| !stream.is_unwritten(uuid)));
            let task = Task {
                info: TaskInfo { data: None, ..entry.task.info.clone() },
                executor_id: entry.task.executor_id.clone(),
                state: stream.stored_state(),
                statuses: told.cloned().collect(),
                unacknowledged: stream.head().and_then(|status| Some((status.state, status.uuid?))),
            };
            let event = AgentEvent::Task {
                framework_id: entry.framework_id.clone(),
                task: Box::new(task),
                is_queued: entry.delivery != Delivery::Sent && entry.container.is_some(),
            };
            context.emit(reply, &event);
        }
        for (_, entry) in self.state.operations().filter(|(_, entry)| entry.is_stored) {
            context.emit(reply, &AgentEvent::Operation { operation: Box::new(entry.held.clone()) });
        }
        self.show_past(reply, context);
        context.emit(reply, &AgentEvent::End);
        context.close(reply);
    }

    /// Shows what has ended here.
    fn show_past(&self, reply: StreamId, context: &mut Context<'_, Self>) {
        let Some(past) = self.state.past() else { return };
        for info in past.frameworks() {
            context.emit(reply, &AgentEvent::PastFramework { info: Box::new(info.clone()) });
        }
        for PastExecutor { executor, container_id } in past.executors() {
            let (executor, container_id) = (Box::new(executor.clone()), container_id.clone());
            context.emit(reply, &AgentEvent::PastExecutor { executor, container_id });
        }
        for (framework_id, task) in past.tasks() {
            let (framework_id, task) = (framework_id.clone(), Box::new(task.clone()));
            context.emit(reply, &AgentEvent::PastTask { framework_id, task });
        }
    }
}

//! The end of a framework: asked for, ordered by an operator, or because it did not come back.
//!
//! The registry first; then everything that it has is ended. Mesos: `Master::removeFramework`.

use super::status::own_status;
use super::{Master, MasterContext, Pending, Timer};
use kaon_kernel::id::{AgentIndex, FrameworkId, FrameworkIndex, TaskId};
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::framework_master::ToFramework;
use kaon_kernel::message::registrar::RegistryOperation;
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::message::{AgentMessage, FrameworkMessage};
use kaon_kernel::table::Set;
use kaon_kernel::task::{Reason, TaskState, TaskStatus};
use kaon_kernel::time::WallTime;

use super::state::Proxy;

impl Master {
    /// Begins the removal of a framework, unless it is under way. Unknown ones are ignored: the edge has told.
    pub(super) fn teardown(&mut self, id: &FrameworkId, context: &mut MasterContext<'_>) {
        let is_known = self.state.framework_index(id.as_str()).is_some();
        if is_known && !self.pending.is_removing(id) && self.leadership().is_some() {
            let operation = RegistryOperation::RemoveFramework { framework_id: id.clone(), since: context.wall() };
            self.register(operation, Pending::Remove(id.clone()), context);
        }
    }

    /// The registry has removed the framework.
    pub(super) fn on_framework_removed(&mut self, id: &FrameworkId, at: WallTime, context: &mut MasterContext<'_>) {
        let Some(index) = self.state.framework_index(id.as_str()) else { return };
        self.recover_offers(index, context);
        self.rescind_inverse(|asked| asked.framework == index, false, context);
        // Agents that are away learn of it when they report the framework again.
        let agents: Vec<AgentIndex> = self.agents_of(index).into_iter().collect();
        for agent in &agents {
            let agent = &self.state.agents[agent];
            if agent.connected {
                let shutdown = ToAgent::ShutdownFramework { framework_id: id.clone() };
                context.send(agent.address, &AgentMessage::Master(shutdown));
            }
        }
        for agent in agents {
            let executors = self.state.agents[&agent].executors.keys();
            let own: Vec<_> = executors.filter(|(owner, _)| *owner == index).map(|(_, id)| id.clone()).collect();
            for executor_id in own {
                self.drop_executor(index, agent, &executor_id, context);
            }
        }
        let tasks: Vec<TaskId> = self.state.frameworks[&index].tasks.keys().cloned().collect();
        for task_id in tasks {
            self.end_task(index, id, task_id, context);
        }
        self.allocate(&ToAllocator::RemoveFramework { framework: index }, context);
        context.disarm(Timer::FrameworkReturn(index));
        if self.state.frameworks[&index].proxy != Proxy::None {
            let proxy = Self::proxy_address(index, context);
            context.send(proxy, &FrameworkMessage::Master(ToFramework::Close));
        }
        self.state.remove_framework(index);
        context.emit(Self::VIEW, &ViewEvent::FrameworkRemoved { framework_id: id.clone(), at });
    }

    /// The agents that run something of a framework. Cost: all agents, and the framework's tasks.
    pub(super) fn agents_of(&self, index: FrameworkIndex) -> Set<AgentIndex> {
        let with_executors =
            self.state.agents.iter().filter(|(_, agent)| agent.executors.keys().any(|(owner, _)| *owner == index));
        let mut agents: Set<AgentIndex> = with_executors.map(|(agent, _)| *agent).collect();
        agents.extend(self.state.frameworks[&index].tasks.values().map(|held| held.agent));
        agents
    }

    fn end_task(
        &mut self,
        index: FrameworkIndex,
        framework_id: &FrameworkId,
        task_id: TaskId,
        context: &mut MasterContext<'_>,
    ) {
        self.free(index, &task_id, context);
        let Some(held) = self.state.remove_task(index, &task_id) else { return };
        let (framework_id, agent_id) = (framework_id.clone(), held.task.info.agent_id.clone());
        if !held.task.state.is_terminal() {
            let message = format!("Framework {framework_id} removed");
            let (state, reason) = (TaskState::Killed, Reason::FrameworkRemoved);
            let status = TaskStatus {
                agent_id: Some(agent_id.clone()),
                executor_id: Some(held.task.executor_id),
                ..own_status(task_id.clone(), state, reason, message, context)
            };
            let shown = ViewEvent::TaskUpdated { framework_id: framework_id.clone(), agent_id, status, latest: state };
            context.emit(Self::VIEW, &shown);
        }
        context.emit(Self::VIEW, &ViewEvent::TaskCompleted { framework_id, task_id });
    }
}

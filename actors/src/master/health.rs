//! Whether agents are there: sessions, pings where there is doubt, and what follows when one is out of reach (reference 9).
//!
//! A session that stands says that the agent's process is there and the way to it open, in both directions; so an agent
//! in peace is pinged seldom, for the case that its actor is stuck. A broken session, or an unanswered ping, is a doubt: from
//! then on it has the time that the flags say (decision 0017).
//!
//! Out of reach is a decision, written to the registry first; from then on the agent is out until it registers again.

use super::status::own_status;
use super::{Master, MasterContext, Pending, Timer, agent_of};
use kaon_kernel::actor::HostId;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkIndex};
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::registrar::RegistryOperation;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::operation::OperationState;
use kaon_kernel::placement::Shape;
use kaon_kernel::task::{Reason, Task, TaskState, TaskStatus};
use kaon_kernel::time::WallTime;

impl Master {
    /// When an agent's next ping is due.
    pub(super) fn on_ping_due(&mut self, index: AgentIndex, context: &mut MasterContext<'_>) {
        let missed_max = self.config.pings_missed_max;
        let Some(agent) = self.state.agents.get_mut(&index).filter(|agent| agent.connected) else { return };
        if agent.pings_missed >= missed_max {
            let id = agent.id.clone();
            context.count("master/slave_pings_missed_out", 1);
            return self.mark_unreachable(id, context);
        }
        agent.pings_missed += 1;
        context.send(agent.address, &AgentMessage::Master(ToAgent::Ping { connected: true }));
        context.arm(Timer::Ping(index), self.config.ping_interval);
    }

    /// An answer: whatever doubt there was is over.
    pub(super) fn on_pong(&mut self, host: HostId, context: &mut MasterContext<'_>) {
        let Some(index) = self.state.agent_at(host) else { return };
        if core::mem::take(&mut self.state.agents[&index].pings_missed) > 0 && self.config.trusts_sessions() {
            context.arm(Timer::Ping(index), self.config.look_interval());
        }
    }

    /// An agent tells what its hardware could give at most. One of more parts than any machine has is not believed.
    pub(super) fn on_hardware(&mut self, host: HostId, shape: Box<Shape>, context: &mut MasterContext<'_>) {
        let Some(index) = self.state.agent_at(host).filter(|_| shape.is_bounded()) else { return };
        self.state.agents[&index].shape = Some(shape);
        self.allocate_shape(index, context);
    }

    /// Passes on what is known of an agent's hardware.
    pub(super) fn allocate_shape(&self, index: AgentIndex, context: &mut MasterContext<'_>) {
        if let Some(shape) = self.state.agents[&index].shape.clone() {
            self.allocate(&ToAllocator::SetShape { agent: index, shape }, context);
        }
    }

    /// The session to an agent broke: nothing is offered of it until it is back.
    pub(super) fn on_agent_disconnected(&mut self, host: HostId, context: &mut MasterContext<'_>) {
        let Some(index) = self.state.agent_at(host) else { return };
        self.rescind_agent(index, context);
        self.rescind_inverse(|asked| asked.agent == index, true, context);
        self.state.disconnect_agent(index);
        self.allocate(&ToAllocator::DeactivateAgent { agent: index }, context);
        context.disarm(Timer::Ping(index));
        context.arm(Timer::AgentReturn(index), self.config.disconnected_max());
        self.show_agent(index, context);
    }

    /// The link to an agent is full, or flows again: nothing new is offered of a machine that can't take orders.
    pub(super) fn on_agent_congested(&mut self, host: HostId, congested: bool, context: &mut MasterContext<'_>) {
        if let Some(agent) = self.state.agent_at(host) {
            match congested {
                true => self.allocate(&ToAllocator::DeactivateAgent { agent }, context),
                false => self.offer_again(agent, context),
            }
        }
    }

    /// A disconnected agent has had its time. One whose process is back, and has only not registered yet, is asked to, and
    /// has as many pings' time more.
    pub(super) fn on_agent_return_over(&mut self, index: AgentIndex, context: &mut MasterContext<'_>) {
        let missed_max = self.config.pings_missed_max;
        let Some(agent) = self.state.agents.get_mut(&index).filter(|agent| !agent.connected) else { return };
        let is_its = |(_, (role, identity)): &(&HostId, &(PeerRole, String))| {
            *role == PeerRole::Agent && *identity == agent.identity
        };
        match self.links.iter().find(is_its) {
            Some((&host, _)) if agent.pings_missed < missed_max => {
                agent.pings_missed += 1;
                let ping = AgentMessage::Master(ToAgent::Ping { connected: false });
                context.send(agent_of(host), &ping);
                context.arm(Timer::AgentReturn(index), self.config.ping_interval);
            }
            _ => {
                let id = agent.id.clone();
                self.mark_unreachable(id, context);
            }
        }
    }

    /// The agents known from the registry only have had their time.
    pub(super) fn on_recovered_agents_over(&mut self, context: &mut MasterContext<'_>) {
        let missing: Vec<AgentId> = self.state.recovered_agents.keys().cloned().collect();
        for id in missing {
            self.mark_unreachable(id, context);
        }
    }

    fn mark_unreachable(&mut self, id: AgentId, context: &mut MasterContext<'_>) {
        if !self.pending.is_leaving(&id) {
            context.count("master/slave_unreachable_scheduled", 1);
            let operation = RegistryOperation::MarkUnreachable { agent_id: id.clone(), since: context.wall() };
            self.register(operation, Pending::Unreachable(id), context);
        }
    }

    /// The registry says that an agent is out of reach: so it is, even if it came back in the meantime; it registers anew.
    pub(super) fn on_marked_unreachable(&mut self, id: &AgentId, since: WallTime, context: &mut MasterContext<'_>) {
        context.count("master/slave_unreachable_completed", 1);
        context.count("master/slave_removals", 1);
        context.count("master/slave_removals/reason_unhealthy", 1);
        if self.state.recovered_agents.contains_key(id) {
            context.count("master/recovery_slave_removals", 1);
        }
        self.state.unreachable_agents.insert(id.clone(), since);
        if self.state.unreachable_agents.len() > kaon_kernel::message::registrar::UNREACHABLE_MAX {
            self.state.unreachable_agents.shift_remove_index(0);
        }
        self.drop_agent(id, Loss::Unreachable(since), context);
    }

    /// An agent says that it leaves for good.
    pub(super) fn on_unregister(&mut self, host: HostId, agent_id: &str, context: &mut MasterContext<'_>) {
        context.count("master/messages_unregister_slave", 1);
        let Some(index) = self.state.agent_at(host).filter(|_| self.state.agent_index(agent_id).is_some()) else {
            return;
        };
        let agent = &self.state.agents[&index];
        if agent.id.as_str() == agent_id {
            let id = agent.id.clone();
            self.begin_removal(id, "master/slave_removals/reason_unregistered", context);
        }
    }

    /// Has the registry forget an agent that never comes back. `counted` is the metric of the reason.
    pub(super) fn begin_removal(&mut self, id: AgentId, counted: &'static str, context: &mut MasterContext<'_>) {
        if !self.pending.is_leaving(&id) {
            context.count(counted, 1);
            self.register(RegistryOperation::RemoveAgent { agent_id: id.clone() }, Pending::Leave(id), context);
        }
    }

    /// The registry has forgotten an agent that left.
    pub(super) fn on_left(&mut self, id: &AgentId, context: &mut MasterContext<'_>) {
        context.count("master/slave_removals", 1);
        self.standing.orders.swap_remove(id);
        let agent = self.state.agent_index(id.as_str()).map(|index| &self.state.agents[&index]);
        if let Some(agent) = agent.filter(|agent| self.maintenance.is_down(&agent.info)) {
            // Not earlier: its own word of how its tasks ended could come before they are told to be lost.
            self.shut_down_agent(agent.address, "Operator initiated 'Machine DOWN'", context);
        }
        self.drop_agent(id, Loss::Left, context);
    }

    /// Takes an agent that is gone out of the tables, and the tasks that it may still have run when it was last seen.
    pub(super) fn lose_gone(&mut self, id: &AgentId, context: &mut MasterContext<'_>) {
        context.count("master/slave_removals", 1);
        self.standing.orders.swap_remove(id);
        self.state.unreachable_agents.shift_remove(id);
        self.drop_agent(id, Loss::Gone, context);
        let frameworks: Vec<FrameworkIndex> = self.state.frameworks.keys().copied().collect();
        for framework in frameworks {
            for task in self.state.take_unreachable(framework, id) {
                self.lose_for_good(framework, task, context);
            }
        }
    }

    /// A task that was out of reach is gone with its agent.
    fn lose_for_good(&mut self, framework: FrameworkIndex, mut task: Task, context: &mut MasterContext<'_>) {
        let status = self.lost_status(framework, &task, Loss::Gone, context);
        task.state = TaskState::GoneByOperator;
        let framework_id = self.state.frameworks[&framework].id.clone();
        let (task_id, agent_id) = (task.info.task_id.clone(), task.info.agent_id);
        let shown = ViewEvent::TaskUpdated {
            framework_id: framework_id.clone(),
            agent_id,
            status: status.clone(),
            latest: task.state,
        };
        context.emit(Self::VIEW, &shown);
        context.emit(Self::VIEW, &ViewEvent::TaskCompleted { framework_id, task_id });
        self.tell_status(framework, status, context);
    }

    /// Takes an agent out of the tables with all that it runs, and tells everybody.
    fn drop_agent(&mut self, id: &AgentId, loss: Loss, context: &mut MasterContext<'_>) {
        self.state.recovered_agents.swap_remove(id);
        if let Some(index) = self.state.agent_index(id.as_str()) {
            self.rescind_agent(index, context);
            self.rescind_inverse(|asked| asked.agent == index, true, context);
            self.lose_tasks(index, loss, context);
            let fate = match loss {
                Loss::Unreachable(_) => OperationState::Unreachable,
                Loss::Left | Loss::Gone => OperationState::GoneByOperator,
            };
            self.lose_operations(index, fate, context);
            self.allocate(&ToAllocator::RemoveAgent { agent: index }, context);
            context.disarm(Timer::Ping(index));
            context.disarm(Timer::AgentReturn(index));
            let (host, connected) = (self.state.agents[&index].address.host, self.state.agents[&index].connected);
            self.state.remove_agent(index);
            if connected && matches!(loss, Loss::Unreachable(_)) {
                self.announce(host, context);
            }
        } else if loss == Loss::Gone {
            // Nobody was told that it is here, and whoever had tasks on it when it was lost has heard of that.
            let removed = ViewEvent::AgentRemoved { agent_id: id.clone(), unreachable: false };
            return context.emit(Self::VIEW, &removed);
        }
        let removed =
            ViewEvent::AgentRemoved { agent_id: id.clone(), unreachable: matches!(loss, Loss::Unreachable(_)) };
        context.emit(Self::VIEW, &removed);
        let frameworks: Vec<FrameworkIndex> = self.state.frameworks.keys().copied().collect();
        for framework in frameworks {
            let failure = FrameworkEvent::Failure { agent_id: id.clone(), executor_id: None, status: None };
            self.tell(framework, failure, context);
        }
    }

    fn lose_tasks(&mut self, index: AgentIndex, loss: Loss, context: &mut MasterContext<'_>) {
        let agent_id = self.state.agents[&index].id.clone();
        let executors: Vec<_> = self.state.agents[&index].executors.keys().cloned().collect();
        for (framework, executor_id) in executors {
            // The whole agent goes from the allocator's books, so nothing is given back piece by piece.
            self.state.remove_executor(framework, index, &executor_id);
            let framework_id = self.state.frameworks[&framework].id.clone();
            let gone = ViewEvent::ExecutorRemoved { agent_id: agent_id.clone(), framework_id, executor_id };
            context.emit(Self::VIEW, &gone);
        }
        let tasks: Vec<_> = self.state.agents[&index].tasks.iter().cloned().collect();
        for (framework, task_id) in tasks {
            self.state.free_task(framework, &task_id);
            let Some(mut held) = self.state.remove_task(framework, &task_id) else { continue };
            let framework_id = self.state.frameworks[&framework].id.clone();
            if !held.task.state.is_terminal() {
                let status = self.lost_status(framework, &held.task, loss, context);
                let state = loss.verdict().0;
                held.task.state = state;
                held.task.remember(&status);
                let shown = ViewEvent::TaskUpdated {
                    framework_id: framework_id.clone(),
                    agent_id: agent_id.clone(),
                    status: status.clone(),
                    latest: state,
                };
                context.emit(Self::VIEW, &shown);
                self.tell_status(framework, status, context);
            }
            if held.task.state == TaskState::Unreachable {
                held.task.unacknowledged = None;
                let most = self.config.unreachable_tasks_max;
                if let Some(task_id) = self.state.keep_unreachable(framework, held.role, held.task, most) {
                    context.emit(Self::VIEW, &ViewEvent::TaskCompleted { framework_id, task_id });
                }
            } else {
                context.emit(Self::VIEW, &ViewEvent::TaskCompleted { framework_id, task_id });
            }
        }
    }
}

impl Master {
    /// What a framework is told of a task that is lost with its agent. Only those who know the finer states hear the finer
    /// reason as well.
    fn lost_status(
        &self,
        framework: FrameworkIndex,
        task: &Task,
        loss: Loss,
        context: &mut MasterContext<'_>,
    ) -> TaskStatus {
        let (state, message) = loss.verdict();
        let told = self.as_told(framework, state);
        let reason = match told {
            TaskState::GoneByOperator => Reason::AgentRemovedByOperator,
            _ => Reason::AgentRemoved,
        };
        let unreachable_time = match loss {
            Loss::Unreachable(since) => Some(since),
            Loss::Left | Loss::Gone => None,
        };
        TaskStatus {
            agent_id: Some(task.info.agent_id.clone()),
            executor_id: Some(task.executor_id.clone()),
            unreachable_time,
            ..own_status(task.info.task_id.clone(), told, reason, message.to_owned(), context)
        }
    }
}

/// How an agent was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// It may come back; its tasks may still run.
    Unreachable(WallTime),
    /// It ended its tasks and left, or its machine is down.
    Left,
    /// An operator says that it never comes back.
    Gone,
}

impl Loss {
    /// The state of its tasks, and why. All frameworks hear TASK_LOST of an agent that left, as in Mesos.
    const fn verdict(self) -> (TaskState, &'static str) {
        match self {
            Self::Unreachable(_) => (TaskState::Unreachable, "Agent is unreachable"),
            Self::Left => (TaskState::Lost, "Agent was removed"),
            Self::Gone => (TaskState::GoneByOperator, "Agent has been marked gone"),
        }
    }
}

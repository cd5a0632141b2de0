//! KILL, SHUTDOWN and MESSAGE: passed on to the agent that they concern (reference 3.3).

use super::{Master, MasterContext};
use kaon_kernel::id::{AgentId, ExecutorId, FrameworkIndex, TaskId};
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::time::Duration;

impl Master {
    /// KILL. Of an unknown task it is a question for its state; for an agent that is away it is remembered.
    pub(super) fn on_kill(
        &mut self,
        framework: FrameworkIndex,
        task_id: TaskId,
        agent_id: Option<AgentId>,
        grace: Option<Duration>,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_kill_task", 1);
        let Some(held) = self.state.frameworks[&framework].tasks.get(&task_id) else {
            return self.reconcile_one(framework, task_id, agent_id, context);
        };
        let index = held.agent;
        let agent = &self.state.agents[&index];
        if agent_id.is_some_and(|id| id != agent.id) {
            context.count("master/invalid_kills", 1);
            return;
        }
        let framework_id = self.state.frameworks[&framework].id.clone();
        if agent.connected {
            let kill = ToAgent::KillTask { framework_id, task_id, grace };
            context.send(agent.address, &AgentMessage::Master(kill));
        } else if !self.state.keep_kill(index, framework_id, task_id, grace) {
            context.count("master/dropped_kills", 1);
        }
    }

    /// SHUTDOWN of an executor.
    pub(super) fn on_shutdown_executor(
        &mut self,
        framework: FrameworkIndex,
        executor_id: ExecutorId,
        agent_id: AgentId,
        context: &mut MasterContext<'_>,
    ) {
        let framework_id = self.state.frameworks[&framework].id.clone();
        self.pass_to_agent(&agent_id, ToAgent::ShutdownExecutor { framework_id, executor_id }, context);
    }

    /// MESSAGE of a scheduler to an executor. Best effort.
    pub(super) fn on_scheduler_message(
        &mut self,
        framework: FrameworkIndex,
        agent_id: &AgentId,
        executor_id: ExecutorId,
        data: Vec<u8>,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_framework_to_executor", 1);
        let framework_id = self.state.frameworks[&framework].id.clone();
        if !self.pass_to_agent(agent_id, ToAgent::Message { framework_id, executor_id, data }, context) {
            context.count("master/invalid_framework_to_executor_messages", 1);
        }
    }

    /// Whether there was an agent to pass it to.
    fn pass_to_agent(&self, agent_id: &AgentId, message: ToAgent, context: &mut MasterContext<'_>) -> bool {
        let agent = self.state.agent_index(agent_id.as_str()).map(|index| &self.state.agents[&index]);
        let connected = agent.filter(|agent| agent.connected);
        match connected {
            Some(agent) => context.send(agent.address, &AgentMessage::Master(message)),
            None => context.count("master/dropped_messages", 1),
        }
        connected.is_some()
    }
}

//! Statuses: from the agent to the framework, acknowledgements back (reference 8.3).
//!
//! The agent keeps and repeats each status until it is acknowledged; the master only passes on, and keeps the books by
//! the newest state. So nothing is lost when the master or the framework is away.

use super::{Master, MasterContext, agent_of};
use kaon_kernel::actor::HostId;
use kaon_kernel::cause::{self, Defect};
use kaon_kernel::framework::Label;
use kaon_kernel::id::{AgentId, AgentIndex, ExecutorId, FrameworkId, FrameworkIndex, TaskId, Uuid};
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::task::{Reason, Source, TaskInfo, TaskState, TaskStatus};

impl Master {
    /// A status of an agent.
    pub(super) fn on_update(
        &mut self,
        host: HostId,
        framework_id: &str,
        mut status: TaskStatus,
        latest: TaskState,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_status_update", 1);
        let Some(agent) = self.state.agent_at(host) else {
            // It believes to be registered; it is not with us.
            context.count("master/invalid_status_updates", 1);
            return self.announce(host, context);
        };
        let Some(framework) = self.state.framework_index(framework_id) else {
            return self.on_orphan_update(host, framework_id, &status, context);
        };
        if self.drops_for_plant() {
            return self.acknowledge_to(host, framework_id, &status, context);
        }
        let agent_id = self.state.agents[&agent].id.clone();
        let owner = self.state.frameworks[&framework].tasks.get(&status.task_id).map(|held| held.agent);
        if owner.is_some_and(|owner| owner != agent) {
            // It speaks of its own machine only, and this task runs on another by now.
            context.count("master/invalid_status_updates", 1);
            return self.acknowledge_to(host, framework_id, &status, context);
        }
        status.agent_id = Some(agent_id.clone());
        let partition_aware = self.state.frameworks[&framework].partition_aware();
        status.state = status.state.as_told(partition_aware);
        let framework_id = self.state.frameworks[&framework].id.clone();
        if let Some(held) = self.state.frameworks[&framework].tasks.get_mut(&status.task_id) {
            held.task.remember(&status);
            held.task.unacknowledged = status.uuid.map(|uuid| (status.state, uuid));
            if held.task.state.may_become(latest) {
                held.task.state = latest;
            }
            let latest = held.task.state;
            if latest.is_terminal() {
                self.free(framework, &status.task_id, context);
            }
            // Shown without data; the status is lent to the event, not copied.
            let data = status.data.take();
            let shown = ViewEvent::TaskUpdated { framework_id, agent_id, status, latest };
            context.emit(Self::VIEW, &shown);
            let ViewEvent::TaskUpdated { status: lent, .. } = shown else { unreachable!("it was made above") };
            status = TaskStatus { data, ..lent };
        }
        self.tell(framework, FrameworkEvent::Update { status }, context);
    }

    /// A status for a framework that is removed, or that nobody knows: the agent is told to forget it.
    fn on_orphan_update(
        &mut self,
        host: HostId,
        framework_id: &str,
        status: &TaskStatus,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/invalid_status_updates", 1);
        if let Some(id) = self.state.removed_frameworks.get(framework_id) {
            let shutdown = ToAgent::ShutdownFramework { framework_id: id.clone() };
            context.send(agent_of(host), &AgentMessage::Master(shutdown));
            self.acknowledge_to(host, framework_id, status, context);
        }
    }

    fn acknowledge_to(&self, host: HostId, framework_id: &str, status: &TaskStatus, context: &mut MasterContext<'_>) {
        if let Some(uuid) = status.uuid {
            let framework_id = FrameworkId::trusted(framework_id);
            let acknowledge = ToAgent::Acknowledge { framework_id, task_id: status.task_id.clone(), uuid };
            context.send(agent_of(host), &AgentMessage::Master(acknowledge));
        }
    }

    fn drops_for_plant(&mut self) -> bool {
        self.config.plant_drop_status.is_some_and(|every| {
            self.statuses_seen += 1;
            self.statuses_seen.is_multiple_of(every)
        })
    }

    /// ACKNOWLEDGE: passed on to the agent; an acknowledged end completes the task.
    pub(super) fn on_acknowledge(
        &mut self,
        framework: FrameworkIndex,
        agent_id: &AgentId,
        task_id: TaskId,
        uuid: Uuid,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_status_update_acknowledgement", 1);
        let agent = self.state.agent_index(agent_id.as_str()).map(|index| &self.state.agents[&index]);
        let Some(agent) = agent.filter(|agent| agent.connected) else {
            // The agent repeats the status when it is back, and the framework acknowledges again.
            context.count("master/invalid_status_update_acknowledgements", 1);
            return;
        };
        let framework_id = self.state.frameworks[&framework].id.clone();
        let acknowledge = ToAgent::Acknowledge { framework_id: framework_id.clone(), task_id: task_id.clone(), uuid };
        context.send(agent.address, &AgentMessage::Master(acknowledge));
        let Some(held) = self.state.frameworks[&framework].tasks.get_mut(&task_id) else { return };
        match held.task.unacknowledged {
            Some((state, awaited)) if awaited == uuid => {
                held.task.unacknowledged = None;
                if state.is_terminal() && held.freed {
                    self.state.remove_task(framework, &task_id);
                    context.emit(Self::VIEW, &ViewEvent::TaskCompleted { framework_id, task_id });
                }
            }
            _ => context.count("master/invalid_status_update_acknowledgements", 1),
        }
    }

    /// A framework's own executor has ended.
    pub(super) fn on_executor_exited(
        &mut self,
        host: HostId,
        framework_id: &str,
        executor_id: &ExecutorId,
        status: i32,
        context: &mut MasterContext<'_>,
    ) {
        let (Some(agent), Some(framework)) = (self.state.agent_at(host), self.state.framework_index(framework_id))
        else {
            return;
        };
        // A command executor is its task; only the frameworks' own are entered and reported (reference 3.4).
        if self.drop_executor(framework, agent, executor_id, context) {
            let agent_id = self.state.agents[&agent].id.clone();
            let executor_id = Some(executor_id.clone());
            self.tell(framework, FrameworkEvent::Failure { agent_id, executor_id, status: Some(status) }, context);
        }
    }

    /// Forgets an executor and frees what it held. Whether there was one.
    pub(super) fn drop_executor(
        &mut self,
        framework: FrameworkIndex,
        agent: AgentIndex,
        executor_id: &ExecutorId,
        context: &mut MasterContext<'_>,
    ) -> bool {
        let Some(grant) = self.state.remove_executor(framework, agent, executor_id) else { return false };
        let agent_id = self.state.agents[&agent].id.clone();
        let framework_id = self.state.frameworks[&framework].id.clone();
        let executor_id = executor_id.clone();
        context.emit(Self::VIEW, &ViewEvent::ExecutorRemoved { agent_id, framework_id, executor_id });
        self.recover(grant, None, context);
        true
    }

    /// A status that the master makes itself: no uuid, so nobody acknowledges it.
    pub(super) fn refusal_status(
        &self,
        task: &TaskInfo,
        state: TaskState,
        reason: Reason,
        message: String,
        context: &MasterContext<'_>,
    ) -> TaskStatus {
        let executor_id = task.executor.as_ref().map(|executor| executor.executor_id.clone());
        TaskStatus {
            agent_id: Some(task.agent_id.clone()),
            executor_id,
            ..own_status(task.task_id.clone(), state, reason, message, context)
        }
    }

    /// Tells a framework that a task of its was not launched, and counts it.
    pub(super) fn refuse_task(
        &self,
        framework: FrameworkIndex,
        task: &TaskInfo,
        state: TaskState,
        reason: Reason,
        defect: Defect,
        context: &mut MasterContext<'_>,
    ) {
        let status = self.refusal_status(task, state, reason, defect.words, context);
        let cause = Label { key: cause::LABEL.to_owned(), value: Some(defect.cause.word().to_owned()) };
        let status = TaskStatus { labels: vec![cause], ..status };
        context.emit(Self::VIEW, &ViewEvent::TaskRefused { state, reason });
        self.tell_status(framework, status, context);
    }

    /// Tells a framework a status of the master's own making.
    pub(super) fn tell_status(&self, framework: FrameworkIndex, status: TaskStatus, context: &mut MasterContext<'_>) {
        self.tell(framework, FrameworkEvent::Update { status }, context);
    }

    /// Tells a framework the state of one of its tasks, as the master knows it.
    pub(super) fn tell_state(
        &self,
        framework: FrameworkIndex,
        task_id: &TaskId,
        source: Source,
        reason: Reason,
        context: &mut MasterContext<'_>,
    ) {
        let Some(held) = self.state.frameworks[&framework].tasks.get(task_id) else { return };
        // What the framework was told last, or is being told. The newest state may be ahead of it, and telling that now
        // would let the statuses under way look like steps back.
        let last = held.task.statuses.last();
        let state = held.task.unacknowledged.map(|(state, _)| state);
        let state = state.or(last.map(|status| status.state)).unwrap_or(held.task.state);
        let message = match reason {
            Reason::AgentReregistered => "Agent re-registered".to_owned(),
            _ => "Reconciliation: Latest task state".to_owned(),
        };
        let status = TaskStatus {
            source,
            agent_id: Some(self.state.agents[&held.agent].id.clone()),
            executor_id: Some(held.task.executor_id.clone()),
            healthy: last.and_then(|status| status.healthy),
            check: last.and_then(|status| status.check),
            labels: last.map(|status| status.labels.clone()).unwrap_or_default(),
            container: last.and_then(|status| status.container.clone()),
            ..own_status(task_id.clone(), self.as_told(framework, state), reason, message, context)
        };
        self.tell_status(framework, status, context);
    }
}

/// A status of the master's own making, with no more than its state.
pub(super) fn own_status(
    task_id: TaskId,
    state: TaskState,
    reason: Reason,
    message: String,
    context: &MasterContext<'_>,
) -> TaskStatus {
    TaskStatus {
        reason: Some(reason),
        message: Some(message),
        ..TaskStatus::bare(task_id, state, Source::Master, context.wall())
    }
}

//! Statuses on their way to the agent: written first, then sent, oldest first and one at a time, until the agent has
//! them on its disk. And the registration with the agent, which carries them too.

use crate::executor::{Executor, Session, Timer};
use kaon_kernel::actor::Context;
use kaon_kernel::id::Uuid;
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::executor_agent::ToAgent;
use kaon_kernel::task::{Reason, Source, TaskState, TaskStatus};
use kaon_kernel::time::Duration;
use std::collections::VecDeque;

/// A task makes at most four statuses: starting, running, killing, and its end.
const STATUSES_MAX: usize = 4;

/// The statuses that the agent does not have for certain, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<TaskStatus>,
    /// How many were ever made.
    made: u64,
    /// How many of them are in the journal.
    stored: u64,
    in_flight: bool,
    backoff: Duration,
}

impl Outbox {
    /// Goes on with statuses from a journal.
    pub(super) fn restored(statuses: Vec<TaskStatus>) -> Self {
        let made = statuses.len() as u64;
        Self { waiting: statuses.into(), made, stored: made, ..Self::default() }
    }
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
    pub(super) fn made(&self) -> u64 {
        self.made
    }
    /// All that wait, until [`Outbox::take_back`].
    pub(super) fn lend(&mut self) -> Vec<TaskStatus> {
        core::mem::take(&mut self.waiting).into()
    }
    pub(super) fn take_back(&mut self, statuses: Vec<TaskStatus>) {
        self.waiting = statuses.into();
    }
    fn push(&mut self, status: TaskStatus) {
        self.made += 1;
        // Most often it is the only one; a queue that grows by itself begins with four.
        self.waiting.reserve_exact(1);
        self.waiting.push_back(status);
    }
    /// Those that are in the journal.
    fn sendable(&self) -> impl Iterator<Item = &TaskStatus> {
        let unwritten = (self.made - self.stored) as usize;
        self.waiting.iter().take(self.waiting.len().saturating_sub(unwritten))
    }
    fn rest(&mut self) {
        self.in_flight = false;
        self.backoff = Duration::ZERO;
    }
    pub(super) fn invariants(&self) {
        assert!(self.waiting.len() <= STATUSES_MAX, "more statuses than a task can make");
        assert!(self.stored <= self.made, "more written than made");
        let last = self.waiting.iter().position(|status| status.state.is_terminal());
        assert!(last.is_none_or(|at| at + 1 == self.waiting.len()), "nothing follows the last status");
    }
}

impl Executor {
    /// Makes a status; the caller writes it down.
    pub(super) fn make_status(
        &mut self,
        state: TaskState,
        reason: Option<Reason>,
        message: Option<String>,
        context: &mut Context<'_, Self>,
    ) {
        let Some(run) = &self.run else { return };
        let status = TaskStatus {
            task_id: run.task().task_id.clone(),
            state,
            source: Source::Executor,
            reason,
            message,
            uuid: Some(Uuid(context.chance().uuid())),
            timestamp: context.wall(),
            agent_id: Some(self.config.agent_id.clone()),
            executor_id: Some(self.config.executor_id.clone()),
            data: None,
            healthy: None,
            labels: Vec::new(),
            container: None,
            unreachable_time: None,
            limitation: None,
            rest: Vec::new(),
        };
        self.outbox.push(status);
    }

    /// So many statuses are in the journal.
    pub(super) fn on_stored(&mut self, statuses: u64, context: &mut Context<'_, Self>) {
        self.outbox.stored = self.outbox.stored.max(statuses);
        self.send_oldest(context);
        self.launch_when_stored(context);
        self.end_when_done(context);
    }

    fn send_oldest(&mut self, context: &mut Context<'_, Self>) {
        let Session::Registered { agent } = self.session else { return };
        if self.outbox.in_flight {
            return;
        }
        let Some(status) = self.outbox.sendable().next().cloned() else { return };
        self.outbox.in_flight = true;
        self.outbox.backoff = match self.outbox.backoff {
            Duration::ZERO => self.config.resend,
            backoff => backoff.doubled(self.config.resend_max),
        };
        context.arm(Timer::Resend, self.outbox.backoff);
        context.send(agent, &AgentMessage::Executor(ToAgent::Update { status: Box::new(status) }));
    }

    /// The agent has not said that it has the oldest status.
    pub(super) fn on_resend_due(&mut self, context: &mut Context<'_, Self>) {
        self.outbox.in_flight = false;
        self.send_oldest(context);
    }

    /// The agent has a status on its disk. Any but the oldest was acknowledged before.
    pub(super) fn on_acknowledged(&mut self, uuid: Uuid, context: &mut Context<'_, Self>) {
        if self.outbox.sendable().next().is_none_or(|oldest| oldest.uuid != Some(uuid)) {
            return;
        }
        self.outbox.waiting.pop_front();
        if self.outbox.is_empty() {
            // A task that runs is silent for long.
            self.outbox.waiting = VecDeque::new();
        }
        self.outbox.rest();
        context.disarm(Timer::Resend);
        self.note(context);
        self.send_oldest(context);
        self.end_when_done(context);
    }

    /// Says who it is, to an agent that is there or that began afresh.
    pub(super) fn begin_registration(&mut self, context: &mut Context<'_, Self>) {
        let Some(agent) = self.agent() else { return };
        self.outbox.rest();
        context.disarm(Timer::Resend);
        context.disarm(Timer::GiveUp);
        self.session = Session::Registering { agent, backoff: self.config.register_backoff };
        self.register(context);
    }

    fn register(&mut self, context: &mut Context<'_, Self>) {
        let Session::Registering { agent, backoff } = self.session else { return };
        let message = ToAgent::Register {
            framework_id: self.config.framework_id.clone(),
            executor_id: self.config.executor_id.clone(),
            container_id: self.config.container_id.clone(),
            unacknowledged: self.outbox.sendable().cloned().collect(),
            tasks: self.run.iter().map(|run| run.task().task_id.clone()).collect(),
        };
        context.send(agent, &AgentMessage::Executor(message));
        context.arm(Timer::Register, backoff);
    }

    /// The agent has not answered.
    pub(super) fn on_register_due(&mut self, context: &mut Context<'_, Self>) {
        if let Session::Registering { agent, backoff } = self.session {
            let backoff = backoff.doubled(self.config.register_backoff_max);
            self.session = Session::Registering { agent, backoff };
            self.register(context);
        }
    }

    /// The agent knows this executor.
    pub(super) fn on_registered(&mut self, task_killing_state: bool, context: &mut Context<'_, Self>) {
        let Some(agent) = self.agent() else { return };
        self.task_killing_state = task_killing_state;
        self.session = Session::Registered { agent };
        context.disarm(Timer::Register);
        self.send_oldest(context);
    }
}

//! Statuses on their way to the agent: written first, then sent, of each task the oldest first and one at a time, until
//! the agent has them on its disk. And the registration with the agent, which carries them too.

use crate::executor::run::Run;
use crate::executor::{Executor, Session, Timer};
use kaon_kernel::actor::Context;
use kaon_kernel::id::{TaskId, Uuid};
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::executor_agent::ToAgent;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{ContainerStatus, Reason, Source, TaskState, TaskStatus};
use kaon_kernel::time::Duration;
use rkyv::with::Skip;
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::VecDeque;

/// How many statuses of one task wait for the agent. Beyond that the newest verdict of its checks takes the place of the
/// one before it; what a life itself makes (starting, running, killing, its end) has always room.
const STATUSES_MAX: usize = 16;

/// What a life makes at most beyond that: killing and its end.
const STATUSES_OF_THE_END: usize = 2;

/// The statuses of one task that the agent does not have for certain, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Archive, Serialize, Deserialize)]
pub(super) struct Outbox {
    waiting: VecDeque<TaskStatus>,
    /// How many were ever made.
    #[rkyv(with = Skip)]
    made: u32,
    /// How many of them are in the journal.
    #[rkyv(with = Skip)]
    stored: u32,
    #[rkyv(with = Skip)]
    in_flight: bool,
    #[rkyv(with = Skip)]
    backoff: Duration,
}

impl Outbox {
    /// Goes on with statuses from a journal.
    pub(super) fn resume(&mut self) {
        self.made = self.waiting.len() as u32;
        self.stored = self.made;
    }
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
    pub(super) fn made(&self) -> u32 {
        self.made
    }
    fn push(&mut self, status: TaskStatus) {
        let newest = self.waiting.back().filter(|_| self.waiting.len() >= STATUSES_MAX);
        if status.state == TaskState::Running && newest.is_some_and(|newest| newest.state == TaskState::Running) {
            self.waiting.pop_back();
        }
        self.made += 1;
        // Most often it is the only one; a queue that grows by itself begins with four.
        self.waiting.reserve_exact(1);
        self.waiting.push_back(status);
    }
    /// Adds to the newest status the resources whose limit ended its task.
    pub(super) fn name_limitation(&mut self, resources: Box<Resources>) {
        if let Some(newest) = self.waiting.back_mut() {
            newest.limitation = Some(resources);
        }
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
        assert!(self.waiting.len() <= STATUSES_MAX + STATUSES_OF_THE_END, "more statuses than an executor keeps");
        assert!(self.stored <= self.made, "more written than made");
        let last = self.waiting.iter().position(|status| status.state.is_terminal());
        assert!(last.is_none_or(|at| at + 1 == self.waiting.len()), "nothing follows the last status");
    }
}

impl Executor {
    /// Makes a status of a task; the caller writes it down.
    pub(super) fn make_status(
        &mut self,
        number: u32,
        state: TaskState,
        reason: Option<Reason>,
        message: Option<String>,
        context: &mut Context<'_, Self>,
    ) {
        let (agent_id, executor_id) = (self.config.agent_id.clone(), self.config.executor_id.clone());
        let (own, is_for_groups) = (self.config.container_id.clone(), self.is_for_groups());
        let Some(run) = self.run_mut(number) else { return };
        let found = run.found.as_deref().copied().unwrap_or_default();
        let status = TaskStatus {
            reason,
            message,
            uuid: Some(context.chance().uuid()),
            agent_id: Some(agent_id),
            executor_id: Some(executor_id),
            healthy: found.healthy,
            check: found.check,
            // A command runs in its executor's container, which the agent names; a Docker engine has given it addresses.
            container: (is_for_groups || run.addresses.is_some()).then(|| ContainerStatus {
                container_id: if is_for_groups { run.container.clone() } else { own.clone() },
                parent: is_for_groups.then(|| Box::new(own)),
                executor_pid: None,
                ip_addresses: run.addresses.as_deref().map(<[String]>::to_vec).unwrap_or_default(),
            }),
            ..TaskStatus::bare(run.task.task_id.clone(), state, Source::Executor, context.wall())
        };
        run.outbox.push(status);
    }

    /// So many statuses of a task are in the journal.
    pub(super) fn on_stored(&mut self, number: u32, statuses: u32, context: &mut Context<'_, Self>) {
        let Some(run) = self.run_mut(number) else { return };
        run.outbox.stored = run.outbox.stored.max(statuses);
        self.send_oldest(number, context);
        self.end_when_done(context);
    }

    fn send_oldest(&mut self, number: u32, context: &mut Context<'_, Self>) {
        let Session::Registered { agent } = self.session else { return };
        let (shortest, longest) = (self.config.resend, self.config.resend_max);
        let Some(run) = self.run_mut(number).filter(|run| !run.outbox.in_flight) else { return };
        let Some(status) = run.outbox.sendable().next().cloned() else { return };
        run.outbox.in_flight = true;
        run.outbox.backoff = match run.outbox.backoff {
            Duration::ZERO => shortest,
            backoff => backoff.doubled(longest),
        };
        context.arm(Timer::Resend(number), run.outbox.backoff);
        context.send(agent, &AgentMessage::Executor(ToAgent::Update { status: Box::new(status) }));
    }

    /// The agent has not said that it has the oldest status of a task.
    pub(super) fn on_resend_due(&mut self, number: u32, context: &mut Context<'_, Self>) {
        if let Some(run) = self.run_mut(number) {
            run.outbox.in_flight = false;
            self.send_oldest(number, context);
        }
    }

    /// The agent has a status on its disk. Any but the oldest of its task was acknowledged before. A task that has ended,
    /// and of which the agent has all, is forgotten.
    pub(super) fn on_acknowledged(&mut self, task_id: &TaskId, uuid: Uuid, context: &mut Context<'_, Self>) {
        let is_oldest = |run: &&mut Run| {
            run.task.task_id == *task_id && run.outbox.sendable().next().is_some_and(|one| one.uuid == Some(uuid))
        };
        let Some(run) = self.runs.iter_mut().find(is_oldest) else { return };
        run.outbox.waiting.pop_front();
        if run.outbox.is_empty() {
            // A task that runs is silent for long.
            run.outbox.waiting = VecDeque::new();
        }
        run.outbox.rest();
        let (number, is_done) = (run.number, run.is_over() && run.outbox.is_empty());
        context.disarm(Timer::Resend(number));
        if is_done {
            self.forget(number, context);
        } else {
            self.note(number, context);
            self.send_oldest(number, context);
        }
        self.end_when_done(context);
    }

    /// Says who it is, to an agent that is there or that began afresh.
    pub(super) fn begin_registration(&mut self, context: &mut Context<'_, Self>) {
        let Some(agent) = self.agent() else { return };
        for run in &mut self.runs {
            run.outbox.rest();
            context.disarm(Timer::Resend(run.number));
        }
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
            // The oldest of each task: the others follow one by one.
            unacknowledged: self.runs.iter().filter_map(|run| run.outbox.sendable().next().cloned()).collect(),
            tasks: self.runs.iter().map(|run| run.task.task_id.clone()).collect(),
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
        let numbers: Vec<u32> = self.runs.iter().map(|run| run.number).collect();
        for number in numbers {
            self.send_oldest(number, context);
        }
    }
}

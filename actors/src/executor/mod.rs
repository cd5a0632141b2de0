//! The built-in command executor: runs the one task of its container, in a container of the task's own, and tells its
//! agent how it does until the agent has it on disk.
//!
//! It leaves starting and killing processes to the host's containers port and every word to the scheduler to its agent.
//! It keeps law L5 towards the agent (a status is in its journal before it is sent, the task before it is started), so
//! that a panic neither loses a status nor starts the task twice: one path serves start and restart (law L4). Behaviour
//! after Mesos's `launcher/executor.cpp` (reference 6.4, 6.5).
//!
//! ```text
//! Launch --> Launching --> Running --> Ended --> (its last status is acknowledged, or a minute is over) --> finish
//!               \__ Kill, Shutdown, too long ___/
//! ```

mod config;
mod run;
mod status;
#[cfg(test)]
mod tests;

pub use config::{Error, ExecutorConfig, Inherited};

use kaon_kernel::actor::{Actor, ActorKind, Address, Context, Link, LinkState, Outcome, Record, Ticket, TimerKey};
use kaon_kernel::frame::{Envelope, copy};
use kaon_kernel::message::ExecutorMessage;
use kaon_kernel::message::executor_agent::ToExecutor;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::time::Duration;
use run::{Cause, Run};
use status::Outbox;
use std::collections::BTreeMap;

/// The exit code of an executor whose agent did not come back in time.
pub const EXIT_ABANDONED: i32 = 1;

/// The exit code of an executor whose journal takes nothing more (`EX_IOERR` of sysexits).
pub const EXIT_STORAGE: i32 = 74;

/// Messages of hosts that are not the agent.
const FOREIGN: &str = "executor/refused_senders";

/// Orders that make no sense here: another task, a task that has ended.
const IGNORED: &str = "executor/ignored_orders";

/// What follows when an effect comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// So many statuses are on disk, counted from the first; the task may be started if it is not.
    Stored(u64),
    /// The task runs, or does not.
    Launched,
    /// The task has ended.
    Exit,
    /// Nothing.
    Nothing,
}

/// How it stands with its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// No link.
    Lost,
    /// It says who it is, again after this wait.
    Registering {
        /// Where the agent is.
        agent: Address,
        /// The wait under way.
        backoff: Duration,
    },
    /// The agent knows it.
    Registered {
        /// Where the agent is.
        agent: Address,
    },
}

/// The actor of one command executor.
pub struct Executor {
    config: ExecutorConfig,
    session: Session,
    task_killing_state: bool,
    run: Option<Run>,
    outbox: Outbox,
    waiting: BTreeMap<Ticket, Waiting>,
    /// Ends as soon as nothing runs: by the agent's order, or because the agent is gone.
    is_ending: bool,
    /// The agent is gone for good: nobody waits for a last word.
    is_abandoned: bool,
    finished: bool,
}

/// What an executor can be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// When the agent has not answered the registration.
    Register,
    /// When the agent has not said that the oldest status is on its disk.
    Resend,
    /// When the agent was away for too long.
    GiveUp,
    /// When the task has run for longer than it may.
    Completion,
    /// When the last status was not acknowledged in time.
    Farewell,
}

impl TimerKey for Timer {
    fn pack(self) -> u64 {
        self as u64
    }
    fn unpack(number: u64) -> Self {
        match number {
            0 => Self::Register,
            1 => Self::Resend,
            2 => Self::GiveUp,
            3 => Self::Completion,
            4 => Self::Farewell,
            _ => panic!("no timer of an executor has the number {number}"),
        }
    }
}

impl Executor {
    /// An executor that has not begun.
    pub fn new(config: ExecutorConfig) -> Self {
        Self {
            config,
            session: Session::Lost,
            task_killing_state: false,
            run: None,
            outbox: Outbox::default(),
            waiting: BTreeMap::new(),
            is_ending: false,
            is_abandoned: false,
            finished: false,
        }
    }

    fn end(&mut self, code: i32, context: &mut Context<'_, Self>) {
        self.finished = true;
        context.finish(code);
    }

    /// Ends when there is nothing left to run and nobody left to tell.
    fn end_when_done(&mut self, context: &mut Context<'_, Self>) {
        let is_over = self.run.as_ref().map_or(self.is_ending, Run::is_over);
        if self.finished || !is_over {
            return;
        }
        if self.is_abandoned {
            self.end(EXIT_ABANDONED, context);
        } else if self.outbox.is_empty() {
            self.end(0, context);
        }
    }

    fn agent(&self) -> Option<Address> {
        match self.session {
            Session::Lost => None,
            Session::Registering { agent, .. } | Session::Registered { agent } => Some(agent),
        }
    }

    /// Ends the task within the grace of a shutdown, then this executor.
    fn shut_down(&mut self, context: &mut Context<'_, Self>) {
        self.is_ending = true;
        let grace = self.config.shutdown_grace - self.config.shutdown_margin;
        self.stop_task(Cause::Killed, grace, context);
        self.end_when_done(context);
    }

    fn on_agent(&mut self, message: ToExecutor, context: &mut Context<'_, Self>) {
        match message {
            ToExecutor::Reconnect => self.begin_registration(context),
            ToExecutor::Registered { task_killing_state, .. } => self.on_registered(task_killing_state, context),
            ToExecutor::Launch { task } => self.on_launch(*task, context),
            ToExecutor::Kill { task_id, grace } => self.on_kill(&task_id, grace, context),
            ToExecutor::Acknowledged { uuid, .. } => self.on_acknowledged(uuid, context),
            // A command understands no messages (Mesos ignores them too), and is alone.
            ToExecutor::Message { .. } | ToExecutor::LaunchGroup { .. } => context.count(IGNORED, 1),
            ToExecutor::Shutdown => self.shut_down(context),
        }
    }
}

impl Actor for Executor {
    type Message = ExecutorMessage;
    type Timer = Timer;

    fn on_start(&mut self, recovered: &[Record], context: &mut Context<'_, Self>) {
        context.arm(Timer::GiveUp, self.config.recovery_timeout.max(self.config.first_contact_timeout));
        self.recover(recovered, context);
    }

    fn on_message(
        &mut self,
        envelope: &Envelope,
        message: &<Self::Message as rkyv::Archive>::Archived,
        context: &mut Context<'_, Self>,
    ) {
        if self.finished {
            return;
        }
        if self.agent() != Some(envelope.from) {
            return context.count(FOREIGN, 1);
        }
        let ExecutorMessage::Agent(message) = copy(message);
        self.on_agent(message, context);
    }

    fn on_timer(&mut self, timer: Timer, context: &mut Context<'_, Self>) {
        if self.finished {
            return;
        }
        match timer {
            Timer::Register => self.on_register_due(context),
            Timer::Resend => self.on_resend_due(context),
            Timer::GiveUp => {
                self.is_abandoned = true;
                self.shut_down(context);
            }
            Timer::Completion => {
                let grace = self.run.as_ref().and_then(Run::own_grace).unwrap_or(self.config.kill_grace);
                self.stop_task(Cause::TooLong, grace, context);
            }
            Timer::Farewell => self.end(0, context),
        }
    }

    fn on_done(&mut self, ticket: Ticket, outcome: Outcome, context: &mut Context<'_, Self>) {
        if self.finished {
            return;
        }
        let waiting = self.waiting.remove(&ticket).unwrap_or_else(|| panic!("{ticket:?} was never asked for"));
        match (outcome, waiting) {
            (Outcome::Persisted(Ok(())), Waiting::Stored(statuses)) => self.on_stored(statuses, context),
            (Outcome::Persisted(Err(_)), _) => self.end(EXIT_STORAGE, context),
            (Outcome::Container(outcome), Waiting::Launched) => self.on_launched(outcome, context),
            (Outcome::Container(outcome), Waiting::Exit) => self.on_exited(outcome, context),
            (Outcome::Container(_), Waiting::Nothing) => {}
            (outcome, waiting) => panic!("{outcome:?} in place of {waiting:?}"),
        }
    }

    fn on_link(&mut self, link: &Link, context: &mut Context<'_, Self>) {
        if self.finished || link.role != PeerRole::Agent {
            return;
        }
        match link.state {
            LinkState::Up => {
                let agent = Address::only(link.host, ActorKind::Agent);
                self.session = Session::Registering { agent, backoff: self.config.register_backoff };
                self.begin_registration(context);
            }
            LinkState::Down if self.agent().is_some_and(|agent| agent.host == link.host) => {
                self.session = Session::Lost;
                context.disarm(Timer::Register);
                context.arm(Timer::GiveUp, self.config.recovery_timeout);
            }
            LinkState::Down | LinkState::Congested | LinkState::Flowing => {}
        }
    }

    fn invariants(&self) {
        self.outbox.invariants();
        if let Some(run) = &self.run {
            run.invariants();
        }
        assert!(self.run.is_some() || self.outbox.is_empty(), "statuses of no task");
    }
}

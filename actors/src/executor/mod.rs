//! The executors that are built in: the command executor, which runs one task, and the default executor, which runs
//! groups of tasks, each all or nothing. Both tell their agent how their tasks do until the agent has it on disk.
//!
//! It leaves starting, killing and probing to the host's containers port and every word to the scheduler to its agent.
//! It keeps law L5 towards the agent (a status is in its journal before it is sent, a task before it is started), so
//! that a panic neither loses a status nor starts a task twice: one path serves start and restart (law L4). Behaviour
//! after Mesos's `launcher/executor.cpp` and `launcher/default_executor.cpp` (reference 6.4 to 6.6).
//!
//! ```text
//! Launch, LaunchGroup --> Launching --> (Started -->) Running --> Ended --> (its last status is acknowledged) forgotten
//!                             \____________\__ Kill, Shutdown, too long, unhealthy, its group ends badly __/
//! ```
//! When nothing is left to run, and the agent has heard of all or a minute is over, it ends.

mod check;
mod config;
mod kill;
mod launch;
mod run;
mod status;
#[cfg(test)]
mod tests;

pub use config::{Error, ExecutorConfig, Inherited};

use check::CheckKind;
use kaon_kernel::actor::{
    Actor, ActorKind, Address, Context, Link, LinkState, Outcome, Record, Ticket, TimerKey, exit, packed, unpacked,
};
use kaon_kernel::frame::{Envelope, copy};
use kaon_kernel::message::ExecutorMessage;
use kaon_kernel::message::executor_agent::ToExecutor;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::time::Duration;
use run::{Cause, Run};

/// Messages of hosts that are not the agent.
const FOREIGN: &str = "executor/refused_senders";

/// Orders that make no sense here: another task, a task that has ended, more tasks than it takes.
const IGNORED: &str = "executor/ignored_orders";

/// What follows when an effect comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// So many statuses of a task are on disk, counted from the first.
    Stored(u32, u32),
    /// A whole group is on disk; it may be started.
    GroupStored(u32),
    /// A task is forgotten.
    Deleted,
    /// A task was started, or could not be.
    Launched(u32),
    /// A task has ended.
    Exit(u32),
    /// A check has a result.
    Probed(u32, CheckKind),
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

/// The actor of one executor.
pub struct Executor {
    config: ExecutorConfig,
    session: Session,
    task_killing_state: bool,
    /// Whom tasks of groups run as that name nobody.
    user: Option<String>,
    /// In order of their numbers.
    runs: Vec<Run>,
    /// The number of the next task.
    next: u32,
    /// In order of their tickets; short, and there are a hundred thousand executors in a simulated cluster.
    waiting: Vec<(Ticket, Waiting)>,
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
    /// When the agent has not said that the oldest status of a task is on its disk.
    Resend(u32),
    /// When the agent was away for too long.
    GiveUp,
    /// When a task has run for longer than it may.
    Completion(u32),
    /// When the last status was not acknowledged in time.
    Farewell,
    /// When a health check is due.
    Health(u32),
    /// When a generic check is due.
    Check(u32),
}

impl TimerKey for Timer {
    fn pack(self) -> u64 {
        let (kind, run) = match self {
            Self::Register => (0, 0),
            Self::Resend(run) => (1, run),
            Self::GiveUp => (2, 0),
            Self::Completion(run) => (3, run),
            Self::Farewell => (4, 0),
            Self::Health(run) => (5, run),
            Self::Check(run) => (6, run),
        };
        packed(kind, u64::from(run))
    }
    fn unpack(timer: u64) -> Self {
        let (kind, run) = unpacked(timer);
        let run = run as u32;
        match kind {
            0 => Self::Register,
            1 => Self::Resend(run),
            2 => Self::GiveUp,
            3 => Self::Completion(run),
            4 => Self::Farewell,
            5 => Self::Health(run),
            6 => Self::Check(run),
            _ => panic!("no timer of an executor has the kind {kind}"),
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
            user: None,
            runs: Vec::new(),
            next: 0,
            waiting: Vec::new(),
            is_ending: false,
            is_abandoned: false,
            finished: false,
        }
    }

    fn end(&mut self, code: i32, context: &mut Context<'_, Self>) {
        self.finished = true;
        context.finish(code);
    }

    /// Remembers what an effect is for.
    fn wait(&mut self, ticket: Ticket, waiting: Waiting) {
        self.waiting.push((ticket, waiting));
    }

    /// Ends when there is nothing left to run and nobody left to tell.
    fn end_when_done(&mut self, context: &mut Context<'_, Self>) {
        let has_run = self.next > 0;
        let is_over = self.runs.iter().all(Run::is_over) && (has_run || self.is_ending);
        if self.finished || !is_over {
            return;
        }
        if self.is_abandoned {
            self.end(exit::ABANDONED, context);
        } else if self.runs.is_empty() {
            self.end(0, context);
        }
    }

    fn agent(&self) -> Option<Address> {
        match self.session {
            Session::Lost => None,
            Session::Registering { agent, .. } | Session::Registered { agent } => Some(agent),
        }
    }

    /// Ends all tasks within the grace of a shutdown, then this executor.
    fn shut_down(&mut self, context: &mut Context<'_, Self>) {
        self.is_ending = true;
        let grace = self.config.shutdown_grace - self.config.shutdown_margin;
        let numbers: Vec<u32> = self.runs.iter().map(|run| run.number).collect();
        for number in numbers {
            self.stop_run(number, Cause::Killed, grace, context);
        }
        self.end_when_done(context);
    }

    fn on_agent(&mut self, message: ToExecutor, context: &mut Context<'_, Self>) {
        match message {
            ToExecutor::Reconnect => self.begin_registration(context),
            ToExecutor::Registered { task_killing_state, user } => {
                self.user = user;
                self.on_registered(task_killing_state, context);
            }
            ToExecutor::Launch { task } => self.on_launch(*task, context),
            ToExecutor::Kill { task_id, grace } => self.on_kill(&task_id, grace, context),
            ToExecutor::LaunchGroup { tasks } => self.on_launch_group(tasks, context),
            ToExecutor::Acknowledged { task_id, uuid } => self.on_acknowledged(&task_id, uuid, context),
            // A command understands no messages (Mesos ignores them too).
            ToExecutor::Message { .. } => context.count(IGNORED, 1),
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
            Timer::Resend(number) => self.on_resend_due(number, context),
            Timer::GiveUp => {
                self.is_abandoned = true;
                self.shut_down(context);
            }
            Timer::Completion(number) => self.on_too_long(number, context),
            Timer::Farewell => self.end(0, context),
            Timer::Health(number) => self.on_check_due(number, CheckKind::Health, context),
            Timer::Check(number) => self.on_check_due(number, CheckKind::Plain, context),
        }
    }

    fn on_done(&mut self, ticket: Ticket, outcome: Outcome, context: &mut Context<'_, Self>) {
        if self.finished {
            return;
        }
        let at = self.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket);
        let at = at.unwrap_or_else(|_| panic!("{ticket:?} was never asked for"));
        let (_, waiting) = self.waiting.remove(at);
        match (outcome, waiting) {
            (Outcome::Persisted(Ok(())), Waiting::Stored(number, made)) => self.on_stored(number, made, context),
            (Outcome::Persisted(Ok(())), Waiting::GroupStored(group)) => self.on_group_stored(group, context),
            (Outcome::Persisted(Ok(())), Waiting::Deleted) | (Outcome::Container(_), Waiting::Nothing) => {}
            (Outcome::Persisted(Err(_)), _) => self.end(exit::STORAGE, context),
            (Outcome::Container(outcome), Waiting::Launched(number)) => self.on_launched(number, outcome, context),
            (Outcome::Container(outcome), Waiting::Exit(number)) => self.on_exited(number, outcome, context),
            (Outcome::Container(outcome), Waiting::Probed(number, kind)) => {
                self.on_probed(number, kind, outcome, context);
            }
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
        self.runs_invariants();
        assert!(self.waiting.is_sorted_by_key(|(ticket, _)| *ticket), "effects come back by their tickets");
    }
}

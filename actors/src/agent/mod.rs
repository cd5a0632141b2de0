//! The agent: stands for one machine. It registers with the leading master, runs tasks in containers under executors,
//! and carries every status of a task to the master until its scheduler has acknowledged it.
//!
//! It leaves the walls around a container to the host's containers port, the shapes of the v1 API to `http/`, and what
//! is done with a machine's resources to the master and its allocator. What it keeps: law L5 (a status is on disk before
//! the executor hears that it is, and before the master hears of it at all; a container is on disk before it is
//! started), law L7 (older terms change nothing), law L8 (each table has a bound in its file). One path serves a first
//! start, a restart of the process and a restart after a panic: `recovery.rs`. Behaviour after Mesos's `slave/slave.cpp`
//! and `slave/task_status_update_manager.cpp` (reference 6, 8.3, 9).
//!
//! One file per conversation: `registration.rs` with the master, `executors.rs` with executors, `outside.rs` with those of
//! them that speak HTTP, `look.rs` and `past.rs` for who looks, `launch.rs`, `shutdown.rs` and `drain.rs` for orders, `queue.rs` for
//! tasks on their way to an executor, `operations.rs` for what becomes of resources, `place.rs` for places on the machine,
//! `container.rs` for the life of a container, `sweep.rs` for what is left of it, `status.rs` for the streams of statuses,
//! `checkpoint.rs` for what is on disk. Only `state.rs` changes tables.

mod checkpoint;
mod container;
mod drain;
mod environment;
mod executors;
mod launch;
mod look;
mod operations;
mod outside;
mod past;
mod place;
mod queue;
mod recovery;
mod registration;
mod shutdown;
mod state;
mod status;
mod sweep;
#[cfg(test)]
mod tests;

use kaon_kernel::actor::{
    Actor, Context, Link, LinkState, Outcome, Record, StreamId, Ticket, TimerKey, exit, packed, unpacked,
};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::container::SweepPolicy;
use kaon_kernel::frame::{Envelope, copy};
use kaon_kernel::id::Uuid;
use kaon_kernel::maintenance::DrainConfig;
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::agent_outside::AgentEvent;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::placement::Machine;
use kaon_kernel::time::{Duration, Instant};
use registration::Registration;
use state::{Peer, State, Waiting};

/// What an agent is told at its start. Every interval that it waits is here.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// The machine; `id` unset, for it is the master that gives one.
    pub info: AgentInfo,
    /// `ip:port` of the agent's HTTP endpoint, as executors get it in `MESOS_AGENT_ENDPOINT`.
    pub agent_endpoint: String,
    /// The machine's hardware with nothing used, for tasks that ask for a place or take GPUs; `None` where it is not known,
    /// and such tasks are refused or, when they only take GPUs by count, run without being told which.
    pub machine: Option<Machine>,
    /// The work directory as executors see it; sandboxes lie below.
    pub work_dir: String,
    /// Whether executors run as the user of their task (Mesos `--switch_user`); else as the agent's own.
    pub switch_user: bool,
    /// Further variables for every executor (Mesos `--executor_environment_variables`).
    pub executor_environment: Vec<(String, String)>,
    /// The bound of the random wait before the first registration, and the first wait for an answer
    /// (`--registration_backoff_factor`, 1 s).
    pub registration_backoff: Duration,
    /// The longest wait for the answer to a registration (Mesos `REGISTER_RETRY_INTERVAL_MAX`, 1 min).
    pub registration_backoff_max: Duration,
    /// How long a fresh executor may take to register (`--executor_registration_timeout`, 1 min).
    pub executor_registration_timeout: Duration,
    /// How long an executor may take to register again after the agent began afresh
    /// (`--executor_reregistration_timeout`, 2 s).
    pub executor_reregistration_timeout: Duration,
    /// How long an executor has between Shutdown and its end (`--executor_shutdown_grace_period`, 5 s).
    pub executor_shutdown_grace: Duration,
    /// How long an executor waits for an agent that is gone (`--recovery_timeout`, 15 min).
    pub recovery_timeout: Duration,
    /// The first wait for a scheduler's acknowledgement (Mesos `STATUS_UPDATE_RETRY_INTERVAL_MIN`, 10 s).
    pub status_retry_min: Duration,
    /// The longest (Mesos `STATUS_UPDATE_RETRY_INTERVAL_MAX`, 10 min).
    pub status_retry_max: Duration,
    /// How long old sandboxes stay.
    pub sweep: SweepPolicy,
    /// How often it is looked for them while there are any (`--disk_watch_interval`, 1 min).
    pub disk_watch_interval: Duration,
    /// How many executors of a framework that have ended are remembered for who looks, with their tasks
    /// (`--max_completed_executors_per_framework`); with none nothing that has ended is remembered.
    pub completed_executors_max: usize,
}

impl AgentConfig {
    /// A configuration with the intervals of Mesos.
    pub fn new(info: AgentInfo, agent_endpoint: impl Into<String>, work_dir: impl Into<String>) -> Self {
        Self {
            info,
            agent_endpoint: agent_endpoint.into(),
            machine: None,
            work_dir: work_dir.into(),
            switch_user: false,
            executor_environment: Vec::new(),
            registration_backoff: Duration::secs(1),
            registration_backoff_max: Duration::secs(60),
            executor_registration_timeout: Duration::secs(60),
            executor_reregistration_timeout: Duration::secs(2),
            executor_shutdown_grace: Duration::secs(5),
            recovery_timeout: Duration::secs(15 * 60),
            status_retry_min: Duration::secs(10),
            status_retry_max: Duration::secs(10 * 60),
            sweep: SweepPolicy::DEFAULT,
            disk_watch_interval: Duration::secs(60),
            completed_executors_max: 0,
        }
    }
}

/// The actor of one machine.
pub struct Agent {
    config: AgentConfig,
    state: State,
    registration: Registration,
    /// Names the newest wish to be registered.
    episode: Uuid,
    /// How it is drained, while it is.
    draining: Option<DrainConfig>,
    /// Whether old sandboxes will be looked for, or are just now.
    sweeps: bool,
    /// Set once it has asked to end: nothing moves it any more.
    finished: bool,
    /// When this life of it began.
    begun: Instant,
}

impl Agent {
    /// An agent that has not begun.
    pub fn new(config: AgentConfig) -> Self {
        let state = State::new(config.info.clone(), config.machine.clone(), config.completed_executors_max);
        Self {
            config,
            state,
            registration: Registration::Held,
            episode: Uuid([0; 16]),
            draining: None,
            sweeps: false,
            finished: false,
            begun: Instant(0),
        }
    }

    /// Whether the leading master has it in its pool.
    pub fn is_registered(&self) -> bool {
        matches!(self.registration, Registration::Registered)
    }

    /// The numbers of executors and of tasks that it holds.
    pub fn load(&self) -> (usize, usize) {
        (self.state.containers().count(), self.state.task_count())
    }

    /// Ends the agent, with words for a person who must act.
    fn end(&mut self, code: i32, words: String, context: &mut Context<'_, Self>) {
        self.finished = true;
        context.finish_because(code, words);
    }
}

/// What an agent can be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// When the registration is to be sent, for the first time or again.
    Register,
    /// When the master has not pinged for as long as it said.
    Ping,
    /// When executors had their time to register again after the agent began afresh.
    Recovery,
    /// When a status was not acknowledged in time. The number is that of the task's entry.
    Resend(u64),
    /// When a fresh executor has not registered in time. The number is that of the container's entry.
    Registration(u64),
    /// When an executor has not ended in time after Shutdown. The number is that of the container's entry.
    Grace(u64),
    /// When an executor that reads a stream is to hear that it stands. The number is that of the container's entry.
    Heartbeat(u64),
    /// When the end of an operation was not acknowledged in time. The number is that of the operation's entry.
    ResendOperation(u64),
    /// When old sandboxes are to be removed.
    Sweep,
}

impl TimerKey for Timer {
    fn pack(self) -> u64 {
        let (kind, number) = match self {
            Self::Register => (0, 0),
            Self::Ping => (1, 0),
            Self::Recovery => (2, 0),
            Self::Resend(number) => (3, number),
            Self::Registration(number) => (4, number),
            Self::Grace(number) => (5, number),
            Self::Heartbeat(number) => (6, number),
            Self::ResendOperation(number) => (7, number),
            Self::Sweep => (8, 0),
        };
        packed(kind, number)
    }
    fn unpack(timer: u64) -> Self {
        let (kind, number) = unpacked(timer);
        match kind {
            0 => Self::Register,
            1 => Self::Ping,
            2 => Self::Recovery,
            3 => Self::Resend(number),
            4 => Self::Registration(number),
            5 => Self::Grace(number),
            6 => Self::Heartbeat(number),
            7 => Self::ResendOperation(number),
            8 => Self::Sweep,
            _ => panic!("no timer of an agent has the kind {kind}"),
        }
    }
}

/// What this actor counts. Names are those of Mesos (reference 16) where it has one.
mod metric {
    use kaon_kernel::task::TaskState;

    pub(super) const INVALID_UPDATES: &str = "slave/invalid_status_updates";
    pub(super) const VALID_UPDATES: &str = "slave/valid_status_updates";
    pub(super) const INVALID_MESSAGES: &str = "slave/invalid_framework_messages";
    pub(super) const VALID_MESSAGES: &str = "slave/valid_framework_messages";
    /// Tasks that ended so, if that is one of the ends that have a name.
    pub(super) const fn ended(state: TaskState) -> Option<&'static str> {
        Some(match state {
            TaskState::Finished => "slave/tasks_finished",
            TaskState::Failed => "slave/tasks_failed",
            TaskState::Killed => "slave/tasks_killed",
            TaskState::Lost | TaskState::Dropped => "slave/tasks_lost",
            TaskState::Gone | TaskState::GoneByOperator => "slave/tasks_gone",
            _ => return None,
        })
    }
    pub(super) const LAUNCH_ERRORS: &str = "slave/container_launch_errors";
    pub(super) const EXECUTORS_TERMINATED: &str = "slave/executors_terminated";
    pub(super) const RECOVERY_ERRORS: &str = "slave/recovery_errors";
    pub(super) const SWEPT: &str = "gc/path_removals_succeeded";
    pub(super) const SWEEP_FAILURES: &str = "gc/path_removals_failed";
    pub(super) const TO_SWEEP: &str = "gc/path_removals_pending";
    pub(super) const RECOVERY_SECONDS: &str = "slave/recovery_time_secs";
    pub(super) const REGISTERED: &str = "slave/registered";
    /// Messages from a host that is not what the message claims.
    pub(super) const FOREIGN: &str = "slave/refused_senders";
    /// Messages of an older term, or of a master that does not lead (law L7).
    pub(super) const STALE: &str = "slave/stale_messages";
    /// Orders about what the agent does not know, or knows already.
    pub(super) const IGNORED: &str = "slave/ignored_orders";
}

impl Actor for Agent {
    type Message = AgentMessage;
    type Timer = Timer;

    fn on_start(&mut self, recovered: &[Record], context: &mut Context<'_, Self>) {
        // Streams of an earlier life are nobody's: their executors subscribe again.
        context.emit(StreamId::VIEW, &AgentEvent::Began);
        self.begun = context.now();
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
        match copy(message) {
            AgentMessage::Master(message) => self.on_master(envelope, message, context),
            AgentMessage::Executor(message) => self.on_executor(envelope, message, context),
            AgentMessage::Outside(message) => self.on_outside(envelope, message, context),
        }
    }

    fn on_timer(&mut self, timer: Timer, context: &mut Context<'_, Self>) {
        if self.finished {
            return;
        }
        match timer {
            Timer::Register => self.on_register_due(context),
            Timer::Ping => self.on_ping_missed(context),
            Timer::Recovery => self.on_recovery_due(context),
            Timer::Resend(task) => self.on_resend_due(task, context),
            Timer::Registration(container) => self.on_registration_missed(container, context),
            Timer::Grace(container) => self.on_grace_over(container, context),
            Timer::Heartbeat(container) => self.on_heartbeat_due(container, context),
            Timer::ResendOperation(operation) => self.on_resend_operation_due(operation, context),
            Timer::Sweep => self.on_sweep_due(context),
        }
    }

    fn on_done(&mut self, ticket: Ticket, outcome: Outcome, context: &mut Context<'_, Self>) {
        if self.finished {
            return;
        }
        let waiting = self.state.settle(ticket);
        match outcome {
            Outcome::Persisted(Ok(())) => match waiting {
                Waiting::Noted => {}
                Waiting::Launch(container) => self.on_container_persisted(container, context),
                Waiting::Queued(tasks) => self.on_queued(&tasks, context),
                Waiting::Stored { updates, ended } => self.on_stored(&updates, ended, context),
                Waiting::Acknowledged(task) => self.on_acknowledgement_stored(task, context),
                Waiting::Operation(operation) => self.on_operation_stored(operation, context),
                Waiting::Wiped => self.end(0, String::new(), context),
                other => panic!("a batch came back in place of {other:?}"),
            },
            Outcome::Persisted(Err(_)) => {
                self.end(exit::STORAGE, "the agent's journal takes nothing more".to_owned(), context);
            }
            Outcome::Container(outcome) => match waiting {
                Waiting::Launched(container) => self.on_launched(container, outcome, context),
                Waiting::Exit(container) => self.on_exited(container, outcome, context),
                Waiting::Survivors => self.on_survivors(outcome, context),
                Waiting::Resized(container) => self.on_resized(container, outcome, context),
                Waiting::Linked(container) => self.on_linked(container, outcome, context),
                Waiting::Volumes(operation) => self.on_volumes(operation, outcome, context),
                Waiting::Swept => self.on_swept(&outcome, context),
                Waiting::Nothing => {}
                other => panic!("a container's outcome came back in place of {other:?}"),
            },
        }
        self.seat_waiting(context);
    }

    fn on_link(&mut self, link: &Link, context: &mut Context<'_, Self>) {
        if self.finished {
            return;
        }
        match link.state {
            LinkState::Up => {
                let peer = Peer { role: link.role, identity: link.identity.clone() };
                if !self.state.link(link.host, peer) {
                    return context.count(metric::FOREIGN, 1);
                }
                if link.role == PeerRole::Executor {
                    self.on_executor_linked(link.host, context);
                }
            }
            LinkState::Down => {
                self.state.unlink(link.host);
                self.on_master_link_down(link.host, context);
            }
            LinkState::Congested | LinkState::Flowing => {}
        }
    }

    fn invariants(&self) {
        self.state.invariants();
        if self.is_registered() {
            assert!(self.state.agent_id().is_some(), "registered without a name");
            assert!(self.state.leader().is_some(), "registered with nobody");
        }
    }
}

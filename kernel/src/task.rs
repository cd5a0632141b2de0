//! Tasks: what runs, its states, and the table of allowed steps between them (reference 8).

use crate::cause::Defect;
use crate::check::{CheckStatus, Checks};
use crate::container::Program;
use crate::container_info::{ContainerInfo, Limits};
use crate::framework::Label;
use crate::id::{AgentId, ContainerId, ExecutorId, RoleName, TaskId, Uuid};
use crate::placement::PlacementRequest;
use crate::quantity::Quantity;
use crate::resource::Resources;
use crate::secret::{Secret, SecretReference};
use crate::time::{Duration, WallTime};
use rkyv::{Archive, Deserialize, Serialize};

/// The state of a task. The numbers are those of the v1 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[rkyv(derive(PartialEq, Eq, Debug, Clone, Copy))]
#[repr(u8)]
pub enum TaskState {
    /// The executor prepares it.
    Starting = 0,
    /// It runs.
    Running = 1,
    /// It ended well. TERMINAL
    Finished = 2,
    /// It ended badly. TERMINAL
    Failed = 3,
    /// It was killed. TERMINAL
    Killed = 4,
    /// Lost, for frameworks that know no finer word. TERMINAL
    Lost = 5,
    /// Launched, nothing heard yet.
    Staging = 6,
    /// Refused. TERMINAL
    Error = 7,
    /// Being killed.
    Killing = 8,
    /// Never reached its executor. TERMINAL
    Dropped = 9,
    /// Its agent is out of reach; may come back.
    Unreachable = 10,
    /// Gone with its executor or agent. TERMINAL
    Gone = 11,
    /// An operator declared its agent gone. TERMINAL
    GoneByOperator = 12,
    /// The answer about a task that nobody knows.
    Unknown = 13,
}

impl TaskState {
    /// Every state, in order of its number.
    pub const ALL: [Self; 14] = [
        Self::Starting,
        Self::Running,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Lost,
        Self::Staging,
        Self::Error,
        Self::Killing,
        Self::Dropped,
        Self::Unreachable,
        Self::Gone,
        Self::GoneByOperator,
        Self::Unknown,
    ];

    /// Whether it never changes again.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished
                | Self::Failed
                | Self::Killed
                | Self::Lost
                | Self::Error
                | Self::Dropped
                | Self::Gone
                | Self::GoneByOperator
        )
    }

    /// Whether a task in this state may go to `next`. Terminal states go nowhere; an unreachable task may come back in
    /// any state; otherwise only staging lies behind (a task never returns to it), and nobody but the reconciler says
    /// unknown (reference 8.1).
    pub fn may_become(self, next: Self) -> bool {
        !self.is_terminal()
            && next != Self::Unknown
            && (self == next || self == Self::Unreachable || next != Self::Staging)
            && !(matches!(self, Self::Running | Self::Killing) && next == Self::Starting)
    }

    /// The name in the v1 API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Lost => "TASK_LOST",
            Self::Staging => "TASK_STAGING",
            Self::Error => "TASK_ERROR",
            Self::Killing => "TASK_KILLING",
            Self::Dropped => "TASK_DROPPED",
            Self::Unreachable => "TASK_UNREACHABLE",
            Self::Gone => "TASK_GONE",
            Self::GoneByOperator => "TASK_GONE_BY_OPERATOR",
            Self::Unknown => "TASK_UNKNOWN",
        }
    }

    /// The state that a framework is told: without PARTITION_AWARE every finer word for a loss is TASK_LOST.
    pub const fn as_told(self, partition_aware: bool) -> Self {
        match self {
            Self::Dropped | Self::Unreachable | Self::Gone | Self::GoneByOperator | Self::Unknown
                if !partition_aware =>
            {
                Self::Lost
            }
            state => state,
        }
    }
}

/// Who made a status. The numbers are those of the v1 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum Source {
    /// A master.
    Master = 0,
    /// An agent.
    Agent = 1,
    /// An executor.
    Executor = 2,
}

/// Why a task is in its state (reference 8.2). The numbers are those of the v1 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the v1 API's own and say all there is to say")]
#[repr(u8)]
pub enum Reason {
    CommandExecutorFailed = 0,
    ExecutorTerminated = 1,
    ExecutorUnregistered = 2,
    FrameworkRemoved = 3,
    GcError = 4,
    InvalidFrameworkId = 5,
    InvalidOffers = 6,
    MasterDisconnected = 7,
    ContainerLimitationMemory = 8,
    Reconciliation = 9,
    AgentDisconnected = 10,
    AgentRemoved = 11,
    AgentRestarted = 12,
    AgentUnknown = 13,
    TaskInvalid = 14,
    TaskUnauthorized = 15,
    TaskUnknown = 16,
    ContainerPreempted = 17,
    ResourcesUnknown = 18,
    ContainerLimitation = 19,
    ContainerLimitationDisk = 20,
    ContainerLaunchFailed = 21,
    ContainerUpdateFailed = 22,
    ExecutorRegistrationTimeout = 23,
    ExecutorReregistrationTimeout = 24,
    TaskGroupInvalid = 25,
    TaskGroupUnauthorized = 26,
    IoSwitchboardExited = 27,
    TaskCheckStatusUpdated = 28,
    TaskHealthCheckStatusUpdated = 29,
    TaskKilledDuringLaunch = 30,
    AgentRemovedByOperator = 31,
    AgentReregistered = 32,
    MaxCompletionTimeReached = 33,
    AgentDraining = 34,
}

/// One status of a task (`TaskStatus` of the v1 API).
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Which task.
    pub task_id: TaskId,
    /// Its state.
    pub state: TaskState,
    /// Who says so.
    pub source: Source,
    /// Why.
    pub reason: Option<Reason>,
    /// For people.
    pub message: Option<String>,
    /// Set exactly when an acknowledgement is wanted.
    pub uuid: Option<Uuid>,
    /// When it was made.
    pub timestamp: WallTime,
    /// Where it runs, when that is known.
    pub agent_id: Option<AgentId>,
    /// In which executor, when that is known.
    pub executor_id: Option<ExecutorId>,
    /// The framework's own bytes, unchanged.
    pub data: Option<Vec<u8>>,
    /// The result of its health check, if it has one.
    pub healthy: Option<bool>,
    /// The newest result of its check, if it has one.
    pub check: Option<CheckStatus>,
    /// Labels.
    pub labels: Vec<Label>,
    /// Where it runs, in detail.
    pub container: Option<ContainerStatus>,
    /// When its agent went out of reach.
    pub unreachable_time: Option<WallTime>,
    /// The resources whose limit ended it.
    pub limitation: Option<Box<Resources>>,
    /// Fields of the v1 message that only its readers understand, as protobuf.
    pub rest: Vec<u8>,
}

impl TaskStatus {
    /// A status that says no more than this.
    pub fn bare(task_id: TaskId, state: TaskState, source: Source, timestamp: WallTime) -> Self {
        Self {
            task_id,
            state,
            source,
            reason: None,
            message: None,
            uuid: None,
            timestamp,
            agent_id: None,
            executor_id: None,
            data: None,
            healthy: None,
            check: None,
            labels: Vec::new(),
            container: None,
            unreachable_time: None,
            limitation: None,
            rest: Vec::new(),
        }
    }
}

/// Where a task runs.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Its container.
    pub container_id: ContainerId,
    /// The executor's, when that is another one: each task of a group has a container within its executor's.
    pub parent: Option<Box<ContainerId>>,
    /// Process id of its executor.
    pub executor_pid: Option<u32>,
    /// Addresses under which it is reached; the agent's own without network isolation.
    pub ip_addresses: Vec<String>,
}

/// A task to launch (`TaskInfo` of the v1 API).
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct TaskInfo {
    /// For people.
    pub name: String,
    /// Its name in its framework. Not checked yet: the master refuses a bad one with TASK_ERROR, so that the framework
    /// hears of it.
    pub task_id: TaskId,
    /// On which agent.
    pub agent_id: AgentId,
    /// What it takes, beside its executor.
    pub resources: Resources,
    /// How far it may go beyond that.
    pub limits: Option<Box<Limits>>,
    /// What it asks of its container; `rest` holds the whole of it for readers.
    pub container: Option<Box<ContainerInfo>>,
    /// The role under which its resources were offered; filled in by the master.
    pub role: RoleName,
    /// A command for the command executor; exactly one of `command` and `executor` is set.
    pub command: Option<CommandInfo>,
    /// The framework's own executor.
    pub executor: Option<ExecutorInfo>,
    /// How long between TERM and KILL; `None` leaves it to the executor.
    pub kill_grace: Option<Duration>,
    /// It fails when it runs longer.
    pub max_completion_time: Option<Duration>,
    /// How it is checked while it runs; `rest` holds the checks for readers.
    pub checks: Option<Box<Checks>>,
    /// The framework's own bytes, unchanged.
    pub data: Option<Vec<u8>>,
    /// Labels.
    pub labels: Vec<Label>,
    /// What it asks of its place on the machine, beside how much it takes; the edge makes it of the labels under
    /// [`crate::placement::label::PREFIX`].
    pub placement: Option<Box<PlacementRequest>>,
    /// What the edge found wrong with it: a refusal that the master turns into TASK_ERROR.
    pub defect: Option<Box<Defect>>,
    /// Fields of the v1 message that only its readers understand, as protobuf.
    pub rest: Vec<u8>,
}

impl TaskInfo {
    /// A task without a name for people that asks for nothing yet.
    pub fn bare(task_id: TaskId, agent_id: AgentId, role: RoleName) -> Self {
        Self {
            name: String::new(),
            task_id,
            agent_id,
            resources: Resources::new(),
            limits: None,
            container: None,
            role,
            command: None,
            executor: None,
            kill_grace: None,
            max_completion_time: None,
            checks: None,
            data: None,
            labels: Vec::new(),
            placement: None,
            defect: None,
            rest: Vec::new(),
        }
    }
}

/// What to run (`CommandInfo` of the v1 API).
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CommandInfo {
    /// Whether `value` is a text for `/bin/sh -c`, or a file to execute with `arguments`.
    pub shell: bool,
    /// The text or the file.
    pub value: Option<String>,
    /// The argument vector, beginning with the zeroth.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// What is in its environment and shown to nobody else.
    pub secrets: Vec<(String, Secret)>,
    /// The user to run as.
    pub user: Option<String>,
    /// What is fetched into the sandbox before it starts, in this order.
    pub uris: Vec<Uri>,
    /// Fields of the v1 message that only its readers understand, as protobuf.
    pub rest: Vec<u8>,
}

impl CommandInfo {
    /// Its environment, secrets with a value included: for the process that it becomes.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let secrets = self.secrets.iter().filter_map(|(name, secret)| match secret {
            // The edge lets nothing pass that is no text.
            Secret::Value(value) => Some((name.as_str(), core::str::from_utf8(value).ok()?)),
            Secret::Reference(_) => None,
        });
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(secrets)
    }

    /// The variables whose values the agent has to look up.
    pub fn references(&self) -> impl Iterator<Item = (String, SecretReference)> {
        self.secrets.iter().filter_map(|(name, secret)| match secret {
            Secret::Value(_) => None,
            Secret::Reference(reference) => Some((name.clone(), reference.clone())),
        })
    }

    /// What is started; `None` when it names nothing that could be.
    pub fn program(&self) -> Option<Program> {
        let value = self.value.clone()?;
        Some(match self.shell {
            true => Program::Shell(value),
            false => Program::Exec { file: value, arguments: self.arguments.clone() },
        })
    }

    /// What is started in a container; one with an image may leave the program to that (reference 12.1).
    pub fn program_in(&self, container: Option<&ContainerInfo>) -> Option<Program> {
        let has_image = container.is_some_and(ContainerInfo::has_image);
        match self.value.is_none() && !self.shell && has_image {
            true => Some(Program::Exec { file: String::new(), arguments: self.arguments.clone() }),
            false => self.program(),
        }
    }
}

/// Something to fetch into a sandbox (`CommandInfo.URI` of the v1 API, reference 12.4).
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Uri {
    /// Where from: `http`, `https`, `file`, or a path.
    pub value: String,
    /// Whether it may be executed; then it is not unpacked.
    pub executable: bool,
    /// Whether it is unpacked when its name is that of an archive.
    pub extract: bool,
    /// Whether the machine keeps it for the next who asks.
    pub cache: bool,
    /// Its name in the sandbox, directories perhaps before it; else the last part of `value`.
    pub output_file: Option<String>,
}

/// A framework's executor (`ExecutorInfo` of the v1 API).
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct ExecutorInfo {
    /// Its name in its framework.
    pub executor_id: ExecutorId,
    /// For people.
    pub name: String,
    /// What it is.
    pub kind: ExecutorKind,
    /// How to start it.
    pub command: Option<CommandInfo>,
    /// What it takes by itself.
    pub resources: Resources,
    /// What it asks of its container; `rest` holds the whole of it for readers.
    pub container: Option<Box<ContainerInfo>>,
    /// How long it has between SHUTDOWN and its end.
    pub shutdown_grace: Option<Duration>,
    /// The framework's own bytes, unchanged.
    pub data: Option<Vec<u8>>,
    /// Labels.
    pub labels: Vec<Label>,
    /// Fields of the v1 message that only its readers understand, as protobuf.
    pub rest: Vec<u8>,
}

/// The processors that a command executor takes beside its task: 0.1 (reference 6.5). Added to the limits of the container,
/// charged to nobody; the memory alike.
pub const COMMAND_EXECUTOR_CPUS: Quantity = Quantity(100);

/// The memory that it takes, in MiB.
pub const COMMAND_EXECUTOR_MEM: Quantity = Quantity::units(32);

/// The kinds of executors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum ExecutorKind {
    /// The one built into Kaon that runs one command.
    Command,
    /// The one built into Kaon that runs task groups.
    Default,
    /// The framework's own program.
    Custom,
}

/// A task as the master, the agent and the API show it (`Task` of the v1 API).
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct Task {
    /// What was launched.
    pub info: TaskInfo,
    /// Its executor; the command executor takes the task's id.
    pub executor_id: ExecutorId,
    /// Its newest state, told or not.
    pub state: TaskState,
    /// The latest status of each consecutive state, without data, at most [`STATUSES_MAX`].
    pub statuses: Vec<TaskStatus>,
    /// The state and uuid of the update whose acknowledgement is awaited.
    pub unacknowledged: Option<(TaskState, Uuid)>,
}

/// How many statuses a task remembers; an ordinary life has four.
pub const STATUSES_MAX: usize = 16;

impl Task {
    /// Remembers a status for the API: of several in one state only the latest, and without data (reference 8.1).
    pub fn remember(&mut self, status: &TaskStatus) {
        if self.statuses.last().is_some_and(|last| last.state == status.state) {
            self.statuses.pop();
        }
        if self.statuses.len() == STATUSES_MAX {
            self.statuses.remove(0);
        }
        // Most tasks have two or three in their life; a vector would set room aside for four.
        self.statuses.reserve_exact(1);
        self.statuses.push(TaskStatus { data: None, ..status.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_states_are_final_and_staging_is_never_returned_to() {
        for from in TaskState::ALL {
            for to in TaskState::ALL {
                let allowed = from.may_become(to);
                assert!(!(from.is_terminal() && allowed), "{from:?} -> {to:?}");
                let back_to_staging =
                    to == TaskState::Staging && !matches!(from, TaskState::Staging | TaskState::Unreachable);
                assert!(!(back_to_staging && allowed), "{from:?} -> {to:?}");
            }
        }
        assert!(TaskState::Unreachable.may_become(TaskState::Running));
        assert!(TaskState::Staging.may_become(TaskState::Finished));
        assert!(!TaskState::Running.may_become(TaskState::Starting));
    }

    #[test]
    fn numbers_are_those_of_the_api() {
        for (number, state) in TaskState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
        }
    }
}

//! Agent and master.
//!
//! ```text
//! agent                               master
//!   |  <------------------------ Leading |   a session stands, or the master began afresh
//!   |  Register / Reregister ----------> |   repeated with backoff until answered
//!   |  <------------ Registered / Refused |   after the registry has it on disk
//!   |  <---- RunTask, KillTask, Ping ... |
//!   |  Pong, Update, ExecutorExited ---> |   Update is repeated until Acknowledge comes back
//!   |  <--------------------- Acknowledge |
//!   |  <------------------ ApplyOperation |   in one order with RunTask
//!   |  UpdateOperation ----------------> |   repeated until AcknowledgeOperation comes back
//! ```
//!
//! What is large lies in a box: an archived enum is as large as its largest variant, and a ping should not weigh as much
//! as a launch.

use crate::actor::{Class, Term};
use crate::agent::AgentInfo;
use crate::frame::Classified;
use crate::framework::FrameworkInfo;
use crate::id::{AgentId, ExecutorId, FrameworkId, MasterId, RoleName, TaskId, Uuid};
use crate::maintenance::DrainConfig;
use crate::operation::HeldOperation;
use crate::placement::Shape;
use crate::resource::Resources;
use crate::task::{ExecutorInfo, Task, TaskInfo, TaskState, TaskStatus};
use crate::time::Duration;
use rkyv::{Archive, Deserialize, Serialize};

/// What an agent says to a master.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToMaster {
    /// A machine without a name wants in.
    Register {
        /// The machine; `id` unset.
        info: Box<AgentInfo>,
        /// As in [`ToMaster::Reregister`]: reservations and volumes outlive the name of a machine.
        checkpointed: Resources,
        /// As in [`ToMaster::Reregister`].
        episode: Uuid,
    },
    /// A machine that has a name is back, with all that it runs.
    Reregister {
        /// The machine; `id` set.
        info: Box<AgentInfo>,
        /// The frameworks that have anything on it.
        frameworks: Vec<FrameworkInfo>,
        /// Its executors.
        executors: Vec<RunningExecutor>,
        /// Its tasks, those included that ended but whose last status is not acknowledged.
        tasks: Vec<(FrameworkId, Task)>,
        /// What was reserved on it or made into volumes at run time, as it is on disk. In place of the amounts under it in
        /// `info.resources`, which are those that the machine was started with.
        checkpointed: Resources,
        /// The operations whose end is not acknowledged. One that is not among them never was carried out.
        operations: Vec<HeldOperation>,
        /// Names this wish with all its repetitions. Until it is granted the agent takes no orders, so the first report is
        /// as good as any repetition; and no grant of an earlier wish is taken for it.
        episode: Uuid,
    },
    /// What its hardware could give at most, told once it is registered, by an agent that knows a topology. Lost: the
    /// allocator's explanations say nothing of it.
    Hardware {
        /// In a few numbers.
        shape: Box<Shape>,
    },
    /// The answer to a ping. Lost: the master counts a miss.
    Pong,
    /// A task has a new status. Repeated until acknowledged; one in flight a task (reference 8.3).
    Update {
        /// Whose task.
        framework_id: FrameworkId,
        /// The oldest status that is not acknowledged.
        status: Box<TaskStatus>,
        /// The newest state at the agent; the master frees resources by this one.
        latest: TaskState,
    },
    /// An operation has ended. Repeated until acknowledged.
    UpdateOperation {
        /// With its status, as it is on disk.
        operation: Box<HeldOperation>,
    },
    /// An executor has ended.
    ExecutorExited {
        /// Whose.
        framework_id: FrameworkId,
        /// Which.
        executor_id: ExecutorId,
        /// Its raw wait status, -1 when unknown.
        status: i32,
    },
    /// A message of an executor to its scheduler. Best effort.
    Message {
        /// Whose.
        framework_id: FrameworkId,
        /// Of which executor.
        executor_id: ExecutorId,
        /// The bytes.
        data: Vec<u8>,
    },
    /// The machine leaves for good (SIGUSR1): its tasks are lost.
    Unregister {
        /// Which.
        agent_id: AgentId,
    },
    /// I began afresh while our session stood: do you lead? A leader answers `Leading`; others say nothing.
    WhoLeads,
}

/// An executor as its agent reports it.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct RunningExecutor {
    /// Whose.
    pub framework_id: FrameworkId,
    /// The role under which its resources were offered.
    pub role: RoleName,
    /// What.
    pub info: ExecutorInfo,
}

/// What a master says to an agent. An agent takes it only from the newest term it has seen (law L7).
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToAgent {
    /// I lead; register with me.
    Leading {
        /// This life of the master.
        master_id: MasterId,
        /// Its term.
        term: Term,
    },
    /// You are in the pool.
    Registered {
        /// Your name, new or old.
        agent_id: AgentId,
        /// Without a ping for so long in a session that stands, look for a master again.
        ping_timeout: Duration,
        /// That of the wish which is granted.
        episode: Uuid,
    },
    /// I hold these tasks for yours, but you did not report them. For each that you do not know when this arrives, send an
    /// update: TASK_DROPPED, source agent, reason RECONCILIATION. Comes right after `Registered`, behind every `RunTask`
    /// that was sent before, so an agent that does not know a task now never will.
    Reconcile {
        /// The tasks.
        tasks: Vec<(FrameworkId, TaskId)>,
    },
    /// You are not, and why. The agent stops: a person must act.
    Refused {
        /// For people.
        reason: String,
    },
    /// Start a task. Lost: the framework's reconciliation, or the master's comparison at the next registration, finds it.
    RunTask {
        /// Whose.
        framework: Box<FrameworkInfo>,
        /// What.
        task: Box<TaskInfo>,
        /// Whether the executor that the task names is to be started for it. An agent that misses one which should be
        /// there starts none: nobody has set its resources aside (the executor ended while this was under way).
        starts_executor: bool,
    },
    /// Start the tasks of a group, all or none. Lost: as with `RunTask`.
    RunTaskGroup {
        /// Whose.
        framework: Box<FrameworkInfo>,
        /// What, in the order of the group; never empty. Each names the one executor of the group.
        tasks: Vec<TaskInfo>,
        /// As with `RunTask`.
        starts_executor: bool,
    },
    /// End a task. Remembered by the master while the agent is away.
    KillTask {
        /// Whose.
        framework_id: FrameworkId,
        /// Which.
        task_id: TaskId,
        /// Overrides the task's own grace.
        grace: Option<Duration>,
    },
    /// The scheduler has seen this status.
    Acknowledge {
        /// Whose.
        framework_id: FrameworkId,
        /// Of which task.
        task_id: TaskId,
        /// Which status.
        uuid: Uuid,
    },
    /// Turn resources into others. Lost: the agent does not name it at its next registration, which says what it has.
    ApplyOperation {
        /// As the master judged it; its status is pending.
        operation: Box<HeldOperation>,
    },
    /// The end of an operation has been seen.
    AcknowledgeOperation {
        /// Which operation.
        operation: Uuid,
        /// Which status.
        status: Uuid,
    },
    /// Are you there?
    Ping {
        /// False when the master holds the agent for disconnected: register again.
        connected: bool,
    },
    /// End everything of a framework.
    ShutdownFramework {
        /// Which.
        framework_id: FrameworkId,
    },
    /// End an executor.
    ShutdownExecutor {
        /// Whose.
        framework_id: FrameworkId,
        /// Which.
        executor_id: ExecutorId,
    },
    /// A message of a scheduler to an executor. Best effort.
    Message {
        /// Whose.
        framework_id: FrameworkId,
        /// To which executor.
        executor_id: ExecutorId,
        /// The bytes.
        data: Vec<u8>,
    },
    /// A framework changed what it says of itself.
    UpdateFramework {
        /// The new words.
        framework: Box<FrameworkInfo>,
    },
    /// End every task; what is launched after this is dropped. Said again at each registration until all are gone.
    Drain {
        /// How.
        config: DrainConfig,
    },
    /// End everything and leave.
    Shutdown {
        /// For people.
        reason: String,
    },
}

impl Classified for ToMaster {
    fn classify(&self) -> Class {
        match self {
            Self::Pong => Class::Periodic,
            Self::Message { .. } => Class::Ordinary,
            _ => Class::Guaranteed,
        }
    }
}

impl Classified for ToAgent {
    fn classify(&self) -> Class {
        match self {
            Self::Ping { .. } => Class::Periodic,
            Self::Message { .. } => Class::Ordinary,
            _ => Class::Guaranteed,
        }
    }
}

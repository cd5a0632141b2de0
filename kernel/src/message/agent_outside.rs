//! The outside and the agent: calls of executors that speak HTTP, and operators who look, as the HTTP edge hands them in.
//!
//! ```text
//! edge                               agent
//!   |  Subscribe { stream } ---------> |
//!   |  <== Subscribed or Refused, then events on the stream
//!   |  Call { reply } ---------------> |
//!   |  <== Accepted or Refused on the reply
//!   |  StreamClosed { stream } ------> |
//!   |  Look { reply } ---------------> |
//!   |  <== Agent, Framework.., Executor.., Task.., Operation.., Past.., End on the reply
//!   |  Leave ------------------------> |
//!   |  <== Began on the view           |   streams of an earlier life are nobody's
//! ```
//! The edge has validated shapes and the bearer of a token; whether the caller is who it says it is, in the agent's
//! tables, is judged by the agent. Behind it an executor is an executor: from here on it makes no difference whether it
//! is an actor in a process of its own or a client of HTTP ([`super::executor_agent::ToExecutor`] is what both are told).

use crate::actor::{Class, StreamId};
use crate::agent::AgentInfo;
use crate::frame::Classified;
use crate::framework::FrameworkInfo;
use crate::id::{ContainerId, ExecutorId, FrameworkId, TaskId};
use crate::maintenance::DrainConfig;
use crate::message::agent_master::RunningExecutor;
use crate::message::executor_agent::ToExecutor;
use crate::operation::HeldOperation;
use crate::task::{ExecutorInfo, Task, TaskStatus};
use rkyv::{Archive, Deserialize, Serialize};

/// From outside to an agent.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToAgent {
    /// An executor wants its events. The first event on the stream is the answer.
    Subscribe {
        /// Who.
        caller: Box<Caller>,
        /// Tasks that it was given and of which no status is acknowledged yet.
        tasks: Vec<TaskId>,
        /// Statuses that the agent may not have, oldest first.
        updates: Vec<TaskStatus>,
        /// Where it reads.
        stream: StreamId,
    },
    /// Any other call of an executor.
    Call {
        /// Who.
        caller: Box<Caller>,
        /// What.
        call: Call,
        /// Where the answer is awaited.
        reply: StreamId,
    },
    /// The reader is gone, or the host has cut it off.
    StreamClosed {
        /// Which.
        stream: StreamId,
    },
    /// An operator looks at all that the agent holds.
    Look {
        /// Where the answer is awaited.
        reply: StreamId,
    },
    /// The machine leaves for good: end everything, and go (SIGUSR1, reference 9).
    Leave,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Caller {
    /// Of which framework, by its own words.
    pub framework_id: FrameworkId,
    /// Which executor, by its own words.
    pub executor_id: ExecutorId,
    /// In which container, by the token that the agent has made for it; `None` when tokens are not asked for.
    pub container_id: Option<ContainerId>,
}

/// A call of an executor after SUBSCRIBE (reference 6.2).
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum Call {
    /// A task has a new status; its uuid is set.
    Update {
        /// The status.
        status: Box<TaskStatus>,
    },
    /// For the scheduler. Best effort.
    Message {
        /// The bytes.
        data: Vec<u8>,
    },
}

/// Why a call is refused (reference 1.6). Nothing of it has had any effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Archive, Serialize, Deserialize)]
pub enum CallRefusal {
    /// 503.
    #[error("Agent has not finished recovery")]
    Recovering,
    /// 400.
    #[error("Framework cannot be found")]
    UnknownFramework,
    /// 400.
    #[error("Executor cannot be found")]
    UnknownExecutor,
    /// 403: the token is another executor's, or the executor is one of those built in, which have certificates.
    #[error("The caller is not this executor")]
    NotYours,
    /// 403.
    #[error("Executor is not subscribed")]
    NotSubscribed,
}

/// How far an executor is, as metrics tell it (reference 16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum ExecutorStage {
    /// It has yet to be heard.
    Registering,
    /// It takes orders.
    Running,
    /// It is being ended.
    Terminating,
}

/// From an agent to the outside.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum AgentEvent {
    /// The agent has begun: whatever it had to do with an open stream is forgotten. Told on [`StreamId::VIEW`].
    Began,
    /// The executor is known. The first event on its stream.
    Subscribed {
        /// What it is.
        executor: Box<ExecutorInfo>,
        /// Whose it is; `id` set.
        framework: Box<FrameworkInfo>,
        /// Where it runs.
        agent: Box<AgentInfo>,
        /// In which container.
        container_id: ContainerId,
    },
    /// What every executor is told.
    Told(ToExecutor),
    /// The connection is alive.
    Heartbeat,
    /// A call is taken.
    Accepted,
    /// A call, or a subscription, is not taken.
    Refused(CallRefusal),
    /// To who looks: the machine.
    Agent {
        /// Its words; `id` set once it has one.
        info: Box<AgentInfo>,
        /// How it is drained, while it is.
        drain: Option<DrainConfig>,
    },
    /// To who looks: a framework that has something here.
    Framework {
        /// Its words.
        info: Box<FrameworkInfo>,
    },
    /// To who looks: an executor, with its container.
    Executor {
        /// What it is, those made up for commands included.
        executor: Box<RunningExecutor>,
        /// Its container.
        container_id: ContainerId,
        /// Process id of its program, once it has one.
        pid: Option<u32>,
        /// How far it is.
        stage: ExecutorStage,
    },
    /// To who looks: a task.
    Task {
        /// Whose.
        framework_id: FrameworkId,
        /// The task, without its data.
        task: Box<Task>,
        /// Whether its executor has not got it yet.
        is_queued: bool,
    },
    /// To who looks: an operation whose end is not acknowledged.
    Operation {
        /// The operation, as it is on disk.
        operation: Box<HeldOperation>,
    },
    /// To who looks: a framework that has nothing here any more.
    PastFramework {
        /// Its words.
        info: Box<FrameworkInfo>,
    },
    /// To who looks: an executor that has ended; the oldest comes first.
    PastExecutor {
        /// What it was.
        executor: Box<RunningExecutor>,
        /// The container that it had.
        container_id: ContainerId,
    },
    /// To who looks: a task whose end is acknowledged; the oldest comes first.
    PastTask {
        /// Whose.
        framework_id: FrameworkId,
        /// The task, without its data.
        task: Box<Task>,
    },
    /// To who looks: that was all.
    End,
}

impl Classified for ToAgent {
    fn classify(&self) -> Class {
        match self {
            // An end must be heard, and there are no more of them than streams; a status is never thrown away.
            Self::StreamClosed { .. } | Self::Call { call: Call::Update { .. }, .. } | Self::Leave => Class::Guaranteed,
            Self::Subscribe { .. } | Self::Call { .. } | Self::Look { .. } => Class::Outside,
        }
    }
}

impl Classified for AgentEvent {}

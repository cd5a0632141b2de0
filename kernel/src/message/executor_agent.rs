//! Executor and agent, for the executors that are actors (the built-in ones; others come through `http/`).
//!
//! ```text
//! executor                             agent
//!   |  <----------------------- Reconnect |   only from an agent that began afresh
//!   |  Register -----------------------> |   repeated until answered, with what is not acknowledged yet
//!   |  <----------- Registered, Launch ... |
//!   |  Update -------------------------> |   repeated until the agent has it on disk
//!   |  <---------------------- Acknowledged |
//! ```

use crate::actor::Class;
use crate::frame::Classified;
use crate::id::{ContainerId, ExecutorId, FrameworkId, TaskId, Uuid};
use crate::task::{TaskInfo, TaskStatus};
use crate::time::Duration;
use rkyv::{Archive, Deserialize, Serialize};

/// What an executor says to its agent.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToAgent {
    /// I am up, or you are back.
    Register {
        /// Whose.
        framework_id: FrameworkId,
        /// Which.
        executor_id: ExecutorId,
        /// In which container; the agent checks that its certificate names the same.
        container_id: ContainerId,
        /// Statuses that the agent may not have, oldest first.
        unacknowledged: Vec<TaskStatus>,
        /// Tasks that it was given and holds.
        tasks: Vec<TaskId>,
    },
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

/// What an agent says to an executor.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToExecutor {
    /// I began afresh: register again.
    Reconnect,
    /// You are known.
    Registered {
        /// What its framework understands: TASK_KILLING is sent only to those who know it.
        task_killing_state: bool,
        /// The user that tasks run as whose command names none; `None` keeps that of the executor's own process. Set for
        /// the default executor alone, which runs as the agent does and starts tasks of several users.
        user: Option<String>,
    },
    /// Run this. May come twice; the executor takes it once.
    Launch {
        /// The task.
        task: Box<TaskInfo>,
    },
    /// Run these, all or none. May come twice; the executor takes it once.
    LaunchGroup {
        /// The tasks of one group, in its order; never empty.
        tasks: Vec<TaskInfo>,
    },
    /// End this.
    Kill {
        /// Which.
        task_id: TaskId,
        /// Overrides the task's own grace.
        grace: Option<Duration>,
    },
    /// The agent has this status on disk.
    Acknowledged {
        /// Of which task.
        task_id: TaskId,
        /// Which status.
        uuid: Uuid,
    },
    /// From the scheduler. Best effort.
    Message {
        /// The bytes.
        data: Vec<u8>,
    },
    /// End all tasks, then yourself.
    Shutdown,
}

impl Classified for ToAgent {
    fn classify(&self) -> Class {
        match self {
            Self::Message { .. } => Class::Ordinary,
            _ => Class::Guaranteed,
        }
    }
}

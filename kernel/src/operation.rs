//! Operations on resources on their way: from the master that judged them to the agent that keeps what they made, and
//! their statuses back (reference 4, 8.4). What an operation does to resources is [`crate::resource::operation`].

use crate::cause::Cause;
use crate::id::{AgentId, FrameworkId, OperationId, RoleName, Uuid};
use crate::resource::Resources;
use crate::resource::operation::Operation;
use rkyv::{Archive, Deserialize, Serialize};

/// The states of an operation. The numbers are those of the v1 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[rkyv(derive(PartialEq, Eq, Debug))]
#[repr(u8)]
pub enum OperationState {
    /// A state that the reader does not know.
    Unsupported = 0,
    /// It is being carried out.
    Pending = 1,
    /// It is done.
    Finished = 2,
    /// The agent could not do it.
    Failed = 3,
    /// The master did not take it.
    Error = 4,
    /// It never reached its agent.
    Dropped = 5,
    /// Its agent is out of reach.
    Unreachable = 6,
    /// Its agent is gone for good.
    GoneByOperator = 7,
    /// Its agent is known and not back yet.
    Recovering = 8,
    /// Nobody knows it.
    Unknown = 9,
}

impl OperationState {
    /// All states, in order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Unsupported,
        Self::Pending,
        Self::Finished,
        Self::Failed,
        Self::Error,
        Self::Dropped,
        Self::Unreachable,
        Self::GoneByOperator,
        Self::Recovering,
        Self::Unknown,
    ];

    /// Whether nothing follows.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Error | Self::Dropped | Self::GoneByOperator)
    }

    /// Its name in the v1 API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unsupported => "OPERATION_UNSUPPORTED",
            Self::Pending => "OPERATION_PENDING",
            Self::Finished => "OPERATION_FINISHED",
            Self::Failed => "OPERATION_FAILED",
            Self::Error => "OPERATION_ERROR",
            Self::Dropped => "OPERATION_DROPPED",
            Self::Unreachable => "OPERATION_UNREACHABLE",
            Self::GoneByOperator => "OPERATION_GONE_BY_OPERATOR",
            Self::Recovering => "OPERATION_RECOVERING",
            Self::Unknown => "OPERATION_UNKNOWN",
        }
    }
}

/// What is said of an operation (`OperationStatus` of the v1 API).
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct OperationStatus {
    /// The framework's name for it.
    pub operation_id: Option<OperationId>,
    /// Where it stands.
    pub state: OperationState,
    /// For people.
    pub message: Option<String>,
    /// Why it was refused, for programs.
    pub cause: Option<Cause>,
    /// What it made, once it is done.
    pub converted: Resources,
    /// To be acknowledged when set; what a master makes up by itself has none.
    pub uuid: Option<Uuid>,
    /// Of which agent the resources are.
    pub agent_id: Option<AgentId>,
    /// Of which resource provider.
    pub provider_id: Option<String>,
}

impl OperationStatus {
    /// A status that says no more than a state, and why.
    pub fn bare(operation_id: Option<OperationId>, state: OperationState, message: Option<String>) -> Self {
        Self {
            operation_id,
            state,
            message,
            cause: None,
            converted: Resources::new(),
            uuid: None,
            agent_id: None,
            provider_id: None,
        }
    }
}

/// An operation in the hands of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HeldOperation {
    /// Its name between master and agent.
    pub uuid: Uuid,
    /// Whose it is, and under which role; `None` for an operator's.
    pub author: Option<(FrameworkId, RoleName)>,
    /// What it does.
    pub operation: Operation,
    /// The newest word on it. Its `operation_id` is set when the framework wants to hear of it.
    pub status: OperationStatus,
}

impl HeldOperation {
    /// Whose it is.
    pub fn framework_id(&self) -> Option<&FrameworkId> {
        self.author.as_ref().map(|(framework_id, _)| framework_id)
    }
}

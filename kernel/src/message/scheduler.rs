//! The outside and the master side: calls of schedulers and operators, as the HTTP edge hands them in.
//!
//! ```text
//! edge                      master                      proxy
//!   |  Subscribe { stream } --> |  spawns ------------------> |
//!   |  <=== events on the stream ============================= |
//!   |  Call { stream, call } -----------------------------> |  checks the stream, hands on
//!   |  StreamClosed { stream } ---------------------------> |
//! ```
//! The edge has validated shapes; what the call means in the cluster's state is judged by master and proxy.

use crate::actor::{Class, StreamId};
use crate::constraint::OfferRules;
use crate::frame::Classified;
use crate::framework::FrameworkInfo;
use crate::id::{AgentId, ExecutorId, FrameworkId, OfferId, OperationId, RoleName, TaskId, Uuid};
use crate::maintenance::InverseAnswer;
use crate::message::operator::Order;
use crate::offer::{OfferOperation, Refusal};
use crate::resource::operation::Operation;
use crate::time::Duration;
use rkyv::{Archive, Deserialize, Serialize};

/// From outside to the master.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToMaster {
    /// A framework wants in, or back in. Answered on the stream: Subscribed and Heartbeat, or Error and the end.
    Subscribe {
        /// The framework; the newest subscription of an id wins.
        info: Box<FrameworkInfo>,
        /// Roles for which it wants no offers now; replaces what was suppressed before.
        suppressed_roles: Vec<RoleName>,
        /// Which offers it wants; replaces what it said before.
        offers: Box<OfferRules>,
        /// Where it reads.
        stream: StreamId,
    },
    /// An operator removes a framework.
    Teardown {
        /// Which.
        framework_id: FrameworkId,
    },
    /// A stream ended before or after its framework had a proxy.
    StreamClosed {
        /// Which.
        stream: StreamId,
    },
    /// An operator changes a setting.
    Order {
        /// What.
        order: Box<Order>,
        /// Where the answer is awaited.
        reply: StreamId,
    },
    /// An operator turns free resources of an agent into others (RESERVE_RESOURCES, CREATE_VOLUMES and their kin). Offers
    /// that hold them are taken back.
    Convert {
        /// Of which agent.
        agent_id: AgentId,
        /// What to do.
        operation: Box<Operation>,
        /// Where the answer is awaited.
        reply: StreamId,
    },
}

/// From outside to the proxy of a framework.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToFramework {
    /// A call of the scheduler.
    Call {
        /// The stream whose id the call carried.
        stream: StreamId,
        /// The call.
        call: Call,
    },
    /// The reader is gone, or the host has cut it off.
    StreamClosed {
        /// Which.
        stream: StreamId,
    },
}

/// A call of a scheduler after SUBSCRIBE (reference 3.3).
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum Call {
    /// Remove me.
    Teardown,
    /// Take offers and do something with them.
    Accept {
        /// All of one agent and one role.
        offers: Vec<ClientOffer>,
        /// In order.
        operations: Vec<OfferOperation>,
        /// For what is left over.
        refusal: Refusal,
    },
    /// Give offers back.
    Decline {
        /// Which; unknown ones are ignored.
        offers: Vec<ClientOffer>,
        /// How long not to offer the same again.
        refusal: Refusal,
    },
    /// Answer inverse offers.
    AnswerInverse {
        /// Which; unknown ones are ignored.
        offers: Vec<ClientOffer>,
        /// Whether it will leave in time.
        answer: InverseAnswer,
        /// How long not to ask again.
        refusal: Refusal,
    },
    /// Clear my filters, offer to me again.
    Revive {
        /// For these roles; empty means all.
        roles: Vec<RoleName>,
    },
    /// Offer me nothing.
    Suppress {
        /// For these roles; empty means all.
        roles: Vec<RoleName>,
    },
    /// End a task.
    Kill {
        /// Which.
        task_id: TaskId,
        /// Where, if the caller says so.
        agent_id: Option<AgentId>,
        /// Overrides the task's own grace.
        grace: Option<Duration>,
    },
    /// End an executor.
    Shutdown {
        /// Which.
        executor_id: ExecutorId,
        /// Where.
        agent_id: AgentId,
    },
    /// I have seen this status.
    Acknowledge {
        /// Where it came from.
        agent_id: AgentId,
        /// Of which task.
        task_id: TaskId,
        /// Which status.
        uuid: Uuid,
    },
    /// Tell me the state of these tasks; empty means all.
    Reconcile {
        /// Tasks, with agents where the caller knows them.
        tasks: Vec<(TaskId, Option<AgentId>)>,
    },
    /// I have seen this status of an operation.
    AcknowledgeOperation {
        /// Which operation.
        operation_id: OperationId,
        /// Where it came from, if the caller says so.
        agent_id: Option<AgentId>,
        /// Which status.
        uuid: Uuid,
    },
    /// Tell me the state of these operations; empty means all.
    ReconcileOperations {
        /// Operations, with agents where the caller knows them.
        operations: Vec<(OperationId, Option<AgentId>)>,
    },
    /// For an executor. Best effort.
    Message {
        /// Where.
        agent_id: AgentId,
        /// Which.
        executor_id: ExecutorId,
        /// The bytes.
        data: Vec<u8>,
    },
    /// I need more. A hint.
    Request,
    /// Replace what I said of myself when I subscribed.
    UpdateFramework(Box<FrameworkUpdate>),
}

/// What a framework says of itself anew.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct FrameworkUpdate {
    /// Its words; `id` is set.
    pub info: FrameworkInfo,
    /// Roles for which it wants no offers now; replaces what was suppressed before.
    pub suppressed_roles: Vec<RoleName>,
    /// Which offers it wants; replaces what it said before.
    pub offers: OfferRules,
    /// Where the answer is awaited, as that of an order is ([`super::operator::Answer`]).
    pub reply: StreamId,
}

/// An offer id as a client wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum ClientOffer {
    /// One of this life of the master, by its form.
    Known(OfferId),
    /// Nothing this master can have made.
    Foreign(String),
}

impl Classified for ToMaster {
    fn classify(&self) -> Class {
        if matches!(self, Self::StreamClosed { .. }) { Class::Guaranteed } else { Class::Outside }
    }
}

impl Classified for ToFramework {
    fn classify(&self) -> Class {
        match self {
            Self::Call { call: Call::Acknowledge { .. } | Call::AcknowledgeOperation { .. }, .. }
            | Self::StreamClosed { .. } => Class::Guaranteed,
            Self::Call { .. } => Class::Outside,
        }
    }
}

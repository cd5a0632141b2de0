//! What a framework is told: the events on its stream (reference 3.4).

use crate::cause::Cause;
use crate::frame::Classified;
use crate::id::{AgentId, ExecutorId, FrameworkId, MasterId, OfferId};
use crate::offer::{InverseOffer, Offer};
use crate::operation::OperationStatus;
use crate::task::TaskStatus;
use crate::time::Duration;
use rkyv::{Archive, Deserialize, Serialize};

/// An event for a framework's scheduler.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum FrameworkEvent {
    /// You are in.
    Subscribed {
        /// Your name.
        framework_id: FrameworkId,
        /// This life of the master; the prefix of offer ids.
        master_id: MasterId,
        /// How often a heartbeat comes.
        heartbeat_interval: Duration,
    },
    /// Resources for you to take or decline.
    Offers {
        /// This life of the master; the prefix of offer ids.
        master_id: MasterId,
        /// Whether the reader has the capability MULTI_ROLE, and RESERVATION_REFINEMENT: the shape of resources depends on it.
        multi_role: bool,
        /// See `multi_role`.
        reservation_refinement: bool,
        /// To whom.
        framework_id: FrameworkId,
        /// The offers.
        offers: Vec<Offer>,
    },
    /// An offer is no more.
    Rescind {
        /// This life of the master; the prefix of offer ids.
        master_id: MasterId,
        /// Which.
        offer_id: OfferId,
    },
    /// Machines will be away: can you leave them in time?
    InverseOffers {
        /// This life of the master; the prefix of offer ids.
        master_id: MasterId,
        /// To whom.
        framework_id: FrameworkId,
        /// The inverse offers.
        offers: Vec<InverseOffer>,
    },
    /// An inverse offer is no more.
    RescindInverseOffer {
        /// This life of the master; the prefix of offer ids.
        master_id: MasterId,
        /// Which.
        offer_id: OfferId,
    },
    /// A task has a status.
    Update {
        /// The status; acknowledge it when its uuid is set.
        status: TaskStatus,
    },
    /// An operation has a status.
    OperationUpdated {
        /// Whether the reader has the capability RESERVATION_REFINEMENT: the shape of resources depends on it.
        reservation_refinement: bool,
        /// The status; acknowledge it when its uuid is set.
        status: Box<OperationStatus>,
    },
    /// An executor says something.
    Message {
        /// Where.
        agent_id: AgentId,
        /// Which.
        executor_id: ExecutorId,
        /// The bytes.
        data: Vec<u8>,
    },
    /// An agent is gone, or an executor has ended.
    Failure {
        /// Where.
        agent_id: AgentId,
        /// Which executor; `None` when the whole agent is gone.
        executor_id: Option<ExecutorId>,
        /// The executor's raw wait status, -1 when unknown.
        status: Option<i32>,
    },
    /// You can't go on; the stream ends.
    Error {
        /// For people; some clients compare it.
        message: String,
        /// For programs.
        cause: Cause,
    },
    /// I am here.
    Heartbeat,
}

impl Classified for FrameworkEvent {}

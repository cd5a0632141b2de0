//! The proxy of a framework and the master. Both live on one host; each restarts with the other (see
//! [`crate::actor::supervision::MASTER_TREE`]).

use crate::actor::{Class, StreamId};
use crate::cause::Defect;
use crate::frame::Classified;
use crate::id::FrameworkId;
use crate::message::event::FrameworkEvent;
use crate::message::scheduler::Call;
use rkyv::{Archive, Deserialize, Serialize};

/// What a proxy says to the master. The address of the proxy tells which framework it is.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToMaster {
    /// I am up: for the first time, or after a panic. Tell me what I missed.
    Attached {
        /// Whose proxy.
        framework_id: FrameworkId,
        /// On which stream.
        stream: StreamId,
    },
    /// The framework calls.
    Call(Call),
    /// Its stream is gone.
    Disconnected {
        /// Which; an older one changes nothing.
        stream: StreamId,
    },
}

impl Classified for ToMaster {
    fn classify(&self) -> Class {
        match self {
            Self::Attached { .. }
            | Self::Disconnected { .. }
            | Self::Call(Call::Acknowledge { .. } | Call::AcknowledgeOperation { .. }) => Class::Guaranteed,
            Self::Call(_) => Class::Ordinary,
        }
    }
}

/// What the master says to a proxy.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToFramework {
    /// Tell the framework.
    Deliver(FrameworkEvent),
    /// Tell the framework, then end its stream.
    Dismiss {
        /// The last word.
        reason: Defect,
    },
    /// The framework has subscribed anew: end the old stream with "Framework failed over", go on with this one.
    Reattach {
        /// The new stream.
        stream: StreamId,
    },
    /// The framework has asked to be removed: end its stream without a word.
    Close,
}

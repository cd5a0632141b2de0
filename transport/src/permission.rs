//! Who may say what to whom across hosts: a closed table, checked on both ends of a session.
//!
//! The name in a certificate gives a peer its role; the role gives it its conversations. An agent that is broken into
//! can lie about its own machine and about nothing else: it can't speak as a registrar, an allocator or a scheduler
//! (reference: attacks 22 and 34, and the two Nomad entries of 2021 where clients spoke Raft).

use kaon_kernel::actor::ActorKind;
use kaon_kernel::frame::{Envelope, Frame, Kind};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{
    AgentMessage, ArchivedAgentMessage, ArchivedExecutorMessage, ArchivedMasterMessage, ArchivedRegistrarMessage,
    ExecutorMessage, MasterMessage, RegistrarMessage,
};

/// What a host of one role may send to a host of another: the message type, and the kind of actor that speaks.
fn conversation(from: PeerRole, to: PeerRole) -> Option<(Kind, ActorKind)> {
    match (from, to) {
        (PeerRole::Agent, PeerRole::Master) => Some((Kind::Master, ActorKind::Agent)),
        (PeerRole::Master, PeerRole::Agent) => Some((Kind::Agent, ActorKind::Master)),
        (PeerRole::Master, PeerRole::Master) => Some((Kind::Registrar, ActorKind::Registrar)),
        (PeerRole::Executor, PeerRole::Agent) => Some((Kind::Agent, ActorKind::Executor)),
        (PeerRole::Agent, PeerRole::Executor) => Some((Kind::Executor, ActorKind::Agent)),
        _ => None,
    }
}

/// Whether hosts of these roles have anything to say to each other.
pub(crate) fn may_meet(one: PeerRole, other: PeerRole) -> bool {
    conversation(one, other).is_some()
}

/// Whether a header may come from `from` to `to`. Asked before anything is allocated for the body.
pub(crate) fn permits_envelope(from: PeerRole, to: PeerRole, envelope: &Envelope) -> bool {
    conversation(from, to) == Some((envelope.kind, envelope.from.kind))
}

/// Whether a valid frame is of the conversation that its header names: one root enum carries the words of several
/// speakers, and each peer has only its own.
pub(crate) fn permits_frame(from: PeerRole, to: PeerRole, frame: &Frame) -> bool {
    permits_envelope(from, to, frame.envelope())
        && match (from, to) {
            (PeerRole::Agent, PeerRole::Master) => {
                matches!(frame.body::<MasterMessage>(), Some(ArchivedMasterMessage::Agent(_)))
            }
            (PeerRole::Master, PeerRole::Agent) => {
                matches!(frame.body::<AgentMessage>(), Some(ArchivedAgentMessage::Master(_)))
            }
            (PeerRole::Executor, PeerRole::Agent) => {
                matches!(frame.body::<AgentMessage>(), Some(ArchivedAgentMessage::Executor(_)))
            }
            (PeerRole::Agent, PeerRole::Executor) => {
                matches!(frame.body::<ExecutorMessage>(), Some(ArchivedExecutorMessage::Agent(_)))
            }
            (PeerRole::Master, PeerRole::Master) => {
                matches!(frame.body::<RegistrarMessage>(), Some(ArchivedRegistrarMessage::Peer(_)))
            }
            _ => false,
        }
}

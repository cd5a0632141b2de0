//! What an actor is, and how a host drives it.
//!
//! An actor is a synchronous state machine. Its host calls it with one event at a time; what it wants from the world it
//! puts into its [`Context`], which the host drains afterwards. There is no future, no waiting and no way to touch the
//! world from inside (laws L1, L2): waiting is a named state with a deadline. Two hosts drive the very same actors: the
//! runtime in real time, the simulator in virtual time. What both share of the driving is [`Cell`].

mod address;
mod cell;
mod context;
mod effect;
pub mod exit;
pub mod mailbox;
pub mod supervision;

pub use address::{ActorKind, Address, HostId, StreamId, Term};
pub use cell::{ActorCell, Cell, Event, Moment};
pub use context::Context;
pub use effect::{Batch, ChildSpec, Effect, Measure, Operation, Outcome, Record, StorageError, Ticket};
pub use mailbox::Class;

use crate::frame::{Envelope, Root};
use crate::message::session::PeerRole;
use rkyv::Archive;

/// A state machine that a host drives.
///
/// Handlers run to completion and return nothing: refusals are messages, outcomes are events, broken invariants are
/// panics that the supervisor heals.
pub trait Actor: Sized + 'static {
    /// All that may reach its mailbox, one enum.
    type Message: Root;
    /// All it may be woken for, one closed enum.
    type Timer: TimerKey;

    /// It begins: for the first time, after a panic, or after a failover; one path for all three. `recovered` is what
    /// its journal holds, in order of the keys. The host then tells it of each peer that is connected already.
    fn on_start(&mut self, recovered: &[Record], context: &mut Context<'_, Self>);

    /// A message has arrived.
    fn on_message(
        &mut self,
        envelope: &Envelope,
        message: &<Self::Message as Archive>::Archived,
        context: &mut Context<'_, Self>,
    );

    /// A timer that it armed is due.
    fn on_timer(&mut self, timer: Self::Timer, context: &mut Context<'_, Self>);

    /// An effect that it asked for under a ticket has come back.
    fn on_done(&mut self, ticket: Ticket, outcome: Outcome, context: &mut Context<'_, Self>);

    /// A child that it spawned has ended and will not be restarted, or was restarted, as the reason says.
    fn on_exit(&mut self, child: Address, reason: ExitReason, context: &mut Context<'_, Self>) {
        let _ = (child, reason, context);
    }

    /// The link to another host has changed.
    fn on_link(&mut self, link: &Link, context: &mut Context<'_, Self>) {
        let _ = (link, context);
    }

    /// The term of leadership that its messages carry. Zero outside masters.
    fn term(&self) -> Term {
        Term(0)
    }

    /// Asserts what must hold between any two events. Called by tests, and by the simulator's checkers.
    fn invariants(&self);
}

/// A closed enum of timers, packed into 64 bits for the host. Arming a timer again replaces it.
pub trait TimerKey: Copy + Eq {
    /// The timer as a number, one to one.
    fn pack(self) -> u64;
    /// The timer of a number that [`TimerKey::pack`] made.
    fn unpack(number: u64) -> Self;
}

/// Bits of a packed timer for which of its kind it is.
const TIMER_NUMBER_BITS: u32 = 56;

/// Which timer of a kind as one number, for [`TimerKey::pack`].
///
/// # Panics
/// When the number takes more than 56 bits.
pub const fn packed(kind: u8, number: u64) -> u64 {
    assert!(number >> TIMER_NUMBER_BITS == 0, "a number of a timer takes 56 bits");
    (kind as u64) << TIMER_NUMBER_BITS | number
}

/// The kind and the number that [`packed`] made one.
pub const fn unpacked(timer: u64) -> (u8, u64) {
    ((timer >> TIMER_NUMBER_BITS) as u8, timer & ((1 << TIMER_NUMBER_BITS) - 1))
}

/// Why a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It asked to end.
    Finished,
    /// Its parent stopped it.
    Stopped,
    /// It panicked, and was started afresh from its durable state.
    Restarted,
    /// It panicked more often than its policy allows, and is gone.
    GaveUp,
}

/// What has become of the link to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The other host.
    pub host: HostId,
    /// What it is in the cluster.
    pub role: PeerRole,
    /// The name in its certificate: what the cluster's authority vouches for.
    pub identity: String,
    /// Up, down, or how it flows.
    pub state: LinkState,
}

/// The states of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// A session stands; also told to an actor that starts while it stands.
    Up,
    /// The session broke; what was under way may be lost.
    Down,
    /// The peer reads slower than we send: hold back what can wait.
    Congested,
    /// The peer has caught up.
    Flowing,
}

//! What the registrar asks of a consensus engine: the one place where they meet.
//!
//! The registrar knows no raft: it hands in ticks, messages and operations, and carries out what [`Ready`] says, in the
//! order that its fields promise. Today's engine is raft-rs ([`super::engine`]); another one that keeps a log, such as
//! noraft, would replace it behind this trait.
//!
//! The order is what makes it safe (raft paper, section 5; law L5): write the batch; what must wait for it leaves after
//! the flush; the engine hears of the flush with [`Consensus::persisted`] and only then counts this voter's copy.

use kaon_kernel::actor::Batch;
use kaon_kernel::chance::Chance;
use kaon_kernel::frame::Buffer;

/// A replicated log, as a state machine without input and output.
pub(super) trait Consensus: Send {
    /// One tick has passed. The spread of elections is drawn from `chance`.
    fn tick(&mut self, chance: &mut Chance);

    /// Stands for election at once.
    fn campaign(&mut self);

    /// Takes a message of the voter `from`, checked here byte by byte.
    fn step(&mut self, from: u64, message: &[u8]) -> Result<(), Refusal>;

    /// Appends operations, archived, in one step; the index of the first. `None` when this voter does not lead.
    fn propose(&mut self, operations: Vec<Vec<u8>>) -> Option<u64>;

    /// What is to be done next, if anything. Each must be carried out, and all in order.
    fn ready(&mut self) -> Option<Ready>;

    /// The batches up to and with that of this [`Ready::number`] are on disk.
    fn persisted(&mut self, number: u64);

    /// Whether the log has grown so much since the last snapshot that `applied` should become the next.
    fn wants_snapshot(&self, applied: u64) -> bool;

    /// Replaces the log up to `applied` by what it adds up to; the batch that writes this down.
    fn compact(&mut self, applied: u64, registry: Vec<u8>) -> Batch;

    /// Messages to this voter were lost, or will be: its session broke or is another.
    fn peer_lost(&mut self, peer: u64);

    /// Who leads, as far as this voter knows.
    fn standing(&self) -> Standing;

    /// The index of the last entry, written or not.
    fn last_index(&self) -> u64;

    /// Asserts what must hold between two events.
    fn invariants(&self);
}

/// One round of work.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Comes back with [`Consensus::persisted`]; rises.
    pub(super) number: u64,
    /// What to write; may be empty, and the round is then on disk as soon as all before it are.
    pub(super) batch: Batch,
    /// What may leave at once.
    pub(super) send: Vec<Letter>,
    /// What may leave only when the batch and all before it are on disk: it promises them.
    pub(super) send_after: Vec<Letter>,
    /// A snapshot of another voter; replaces the registry, once it is on disk.
    pub(super) install: Option<Snapshot>,
    /// Entries that are committed and on this voter's disk, in order: apply them now.
    pub(super) committed: Vec<Committed>,
}

/// A message to another voter.
#[derive(Debug)]
pub(super) struct Letter {
    /// Its number.
    pub(super) to: u64,
    /// The message in the engine's own encoding.
    pub(super) data: Vec<u8>,
}

/// The registry as of an index.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// All entries up to and with this one are in it.
    pub(super) index: u64,
    /// The archive of the registry, valid.
    pub(super) registry: Buffer,
}

/// A committed entry.
#[derive(Debug)]
pub(super) struct Committed {
    /// Its place in the log.
    pub(super) index: u64,
    /// The term of the leader that proposed it.
    pub(super) term: u64,
    /// The archive of its operation, valid; empty for the entry with which a leader opens its term.
    pub(super) operation: Buffer,
}

/// The place of this voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The newest term it has seen.
    pub(super) term: u64,
    /// Who leads in that term, if known.
    pub(super) leader: Option<u64>,
}

/// Why a message of another voter was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Its bytes are not a message of this version.
    #[error("not a message of this version")]
    Malformed,
    /// It is a message, and says what no voter would.
    #[error("a message that no voter sends: {0}")]
    Absurd(&'static str),
    /// The leader counts on entries that this voter had confirmed and does not have any more.
    #[error("entries up to {confirmed} were confirmed and only those up to {have} are there")]
    Forgotten {
        /// What this voter had said to be on its disk.
        confirmed: u64,
        /// What is.
        have: u64,
    },
}

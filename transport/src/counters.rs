//! What an endpoint counts. Reading it costs a few dozen atomic loads and stops nobody.

use crate::reason::CloseReason;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of an endpoint at one moment; all of them count up from its start, `sessions` excepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Frames taken from peers: valid, allowed, and handed to the host.
    pub frames_in: u64,
    /// Frames given to QUIC.
    pub frames_out: u64,
    /// Their bytes, headers included.
    pub bytes_in: u64,
    /// Their bytes, headers included.
    pub bytes_out: u64,
    /// Frames from peers that were dropped because their receiver's mailbox was full.
    pub dropped_full: u64,
    /// Frames from peers that were dropped because no actor lives at their receiver's address.
    pub dropped_unknown: u64,
    /// Frames of our own that were not queued because the queue to the peer was full.
    pub refused_full: u64,
    /// Frames of our own that were lost in the queue when their session ended.
    pub lost: u64,
    /// Sessions that stand now.
    pub sessions: u64,
    /// Sessions that came to stand.
    pub established: u64,
    /// Of these, how many an address was connected to again after it had been before.
    pub reconnects: u64,
    /// Attempts to connect, whatever became of them.
    pub attempts: u64,
    /// Sessions, and attempts at one, that we ended, by reason; those at zero are left out.
    pub closed: Vec<(CloseReason, u64)>,
    /// Those that the peer ended, or that broke, by reason; those at zero are left out.
    pub closed_by_peer: Vec<(CloseReason, u64)>,
}

impl Snapshot {
    /// How many sessions, and attempts at one, we ended for `reason`.
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        find(&self.closed, reason)
    }

    /// How many the peer ended for `reason`, or broke of it.
    pub fn closed_by_peer_for(&self, reason: CloseReason) -> u64 {
        find(&self.closed_by_peer, reason)
    }
}

fn find(counts: &[(CloseReason, u64)], wanted: CloseReason) -> u64 {
    counts.iter().find(|(reason, _)| *reason == wanted).map_or(0, |(_, count)| *count)
}

/// One counter.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Counts `more`. Relaxed: counters order nothing.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The live counters behind a [`Snapshot`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) frames_in: Count,
    pub(crate) frames_out: Count,
    pub(crate) bytes_in: Count,
    pub(crate) bytes_out: Count,
    pub(crate) dropped_full: Count,
    pub(crate) dropped_unknown: Count,
    pub(crate) refused_full: Count,
    pub(crate) lost: Count,
    pub(crate) established: Count,
    pub(crate) reconnects: Count,
    pub(crate) attempts: Count,
    closed: [Count; CloseReason::ALL.len()],
    closed_by_peer: [Count; CloseReason::ALL.len()],
}

impl Counters {
    /// We ended something.
    pub(crate) fn closed(&self, reason: CloseReason) {
        self.closed[reason.index()].add(1);
    }

    /// The peer or the network did.
    pub(crate) fn closed_by_peer(&self, reason: CloseReason) {
        self.closed_by_peer[reason.index()].add(1);
    }

    pub(crate) fn snapshot(&self, sessions: usize) -> Snapshot {
        Snapshot {
            frames_in: self.frames_in.now(),
            frames_out: self.frames_out.now(),
            bytes_in: self.bytes_in.now(),
            bytes_out: self.bytes_out.now(),
            dropped_full: self.dropped_full.now(),
            dropped_unknown: self.dropped_unknown.now(),
            refused_full: self.refused_full.now(),
            lost: self.lost.now(),
            sessions: sessions as u64,
            established: self.established.now(),
            reconnects: self.reconnects.now(),
            attempts: self.attempts.now(),
            closed: listed(&self.closed),
            closed_by_peer: listed(&self.closed_by_peer),
        }
    }
}

fn listed(counts: &[Count]) -> Vec<(CloseReason, u64)> {
    let all = CloseReason::ALL.iter().zip(counts).map(|(reason, count)| (*reason, count.now()));
    all.filter(|(_, count)| *count > 0).collect()
}

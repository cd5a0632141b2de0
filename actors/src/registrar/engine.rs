//! raft-rs behind [`Consensus`].
//!
//! Pre-vote and check-quorum are on: a voter that comes back from a partition disturbs nobody, and a leader that hears
//! from no majority for an election timeout steps down. The group is fixed by the configuration; there are no learners
//! and no changes of membership.
//!
//! Two things raft-rs does not do are done here. *Chance*: it draws the election timeout from the operating system, so
//! its window is one tick wide, which leaves it nothing to draw, and a follower whose window has come waits a further
//! number of ticks drawn from the actor's own generator, anew for each campaign (law L9). *Order*: it keeps its voters in
//! a hash table, so messages are sorted by their receiver.

use super::config::RegistrarConfig;
use super::consensus::{Committed, Consensus, Letter, Ready, Refusal, Snapshot, Standing};
use super::journal::{self, Charter, Journal, aligned};
use super::log::Log;
use super::wire;
use kaon_kernel::actor::Batch;
use kaon_kernel::chance::Chance;
use raft::prelude::{Entry, Message, MessageType, RawNode};
use raft::{SnapshotStatus, StateRole};
use std::collections::{BTreeMap, VecDeque};

/// How many bytes of entries one message carries to a voter that lags (the entry that crosses the line is the last).
/// TiKV's default `raft-max-size-per-msg`.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// How many such messages may be under way to one voter. Together 64 MiB, at most.
const MESSAGES_UNDER_WAY_MAX: usize = 64;

/// A snapshot is taken early when the entries take more than this, in bytes.
const LOG_BYTES_MAX: usize = 64 << 20;

/// How many election timeouts a snapshot may be under way to a voter before it is sent again.
const SNAPSHOT_WAIT_ELECTIONS: u32 = 4;

/// See the module's text.
pub(super) struct Engine {
    node: RawNode<Log>,
    election_ticks: u32,
    snapshot_every: u64,
    /// How many ticks the campaign that is due still waits.
    hold: Option<u64>,
    /// The charter is not in the journal yet.
    charter_due: bool,
    /// The hard state in memory has a newer commit than the journal.
    hard_due: bool,
    /// Snapshots of other voters that are being written: number of the round, and index.
    installing: VecDeque<(u64, u64)>,
    /// Snapshots under way to other voters, and for how many ticks they are waited for.
    outgoing: BTreeMap<u64, u32>,
}

impl Engine {
    /// An engine on a journal that passed its checks; `None` is an empty one. The configuration was checked before.
    pub(super) fn new(config: &RegistrarConfig, charter: Charter, journal: Option<Journal>) -> Self {
        let charter_due = journal.is_none();
        let log = Log::new(charter, journal.unwrap_or_default());
        let settings = raft::Config {
            id: config.me,
            election_tick: config.election_ticks as usize,
            heartbeat_tick: config.heartbeat_ticks as usize,
            // One tick later than the lease that a follower grants its leader, so that it may vote for others while it
            // waits for its own campaign.
            min_election_tick: config.election_ticks as usize + 1,
            max_election_tick: config.election_ticks as usize + 2,
            applied: log.snapshot_index(),
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: MESSAGES_UNDER_WAY_MAX,
            check_quorum: true,
            pre_vote: true,
            ..raft::Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&settings, log, &logger).expect("the configuration and the journal were checked");
        Self {
            node,
            election_ticks: config.election_ticks,
            snapshot_every: config.snapshot_every,
            hold: None,
            charter_due,
            hard_due: false,
            installing: VecDeque::new(),
            outgoing: BTreeMap::new(),
        }
    }

    fn log(&self) -> &Log {
        self.node.raft.store()
    }

    /// The snapshot in the journal, if any.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        let snapshot = self.log().snapshot()?;
        Some(Snapshot { index: snapshot.get_metadata().index, registry: aligned(&snapshot.data) })
    }

    fn letters(&mut self, mut messages: Vec<Message>) -> Vec<Letter> {
        messages.sort_by_key(|message| message.to);
        for message in &messages {
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.outgoing.insert(message.to, self.election_ticks * SNAPSHOT_WAIT_ELECTIONS);
            }
        }
        messages.iter().map(|message| Letter { to: message.to, data: wire::encode(message) }).collect()
    }

    /// Completes a batch that writes anything: the hard state always goes with it when it is newer than the journal's.
    fn seal(&mut self, batch: &mut Batch) {
        if self.charter_due {
            journal::put_charter(batch, self.log().charter());
        }
        if self.charter_due || self.hard_due {
            journal::put_hard(batch, self.log().hard());
        }
        (self.charter_due, self.hard_due) = (false, false);
    }

    /// What can be checked against the log, before raft-rs would fall over it.
    fn check(&self, message: &Message) -> Result<(), Refusal> {
        let (have, term) = (self.last_index(), self.node.raft.term);
        match message.get_msg_type() {
            MessageType::MsgHeartbeat if message.term >= term && message.commit > have => {
                Err(Refusal::Forgotten { confirmed: message.commit, have })
            }
            MessageType::MsgAppendResponse if message.term == term && !message.reject && message.index > have => {
                Err(Refusal::Absurd("a confirmation of entries that were never sent"))
            }
            _ => Ok(()),
        }
    }
}

impl Consensus for Engine {
    fn tick(&mut self, chance: &mut Chance) {
        // While a snapshot is being written the log has no beginning that raft-rs could campaign on.
        if !self.installing.is_empty() {
            return;
        }
        let overdue = self.outgoing.iter_mut().filter_map(|(peer, ticks)| {
            *ticks = ticks.saturating_sub(1);
            (*ticks == 0).then_some(*peer)
        });
        for peer in overdue.collect::<Vec<_>>() {
            self.outgoing.remove(&peer);
            self.node.report_snapshot(peer, SnapshotStatus::Failure);
        }
        let raft = &self.node.raft;
        let due = raft.state != StateRole::Leader && raft.election_elapsed + 1 >= raft.randomized_election_timeout();
        if due {
            let spread = u64::from(self.election_ticks);
            let hold = self.hold.get_or_insert_with(|| chance.below(spread));
            if *hold > 0 {
                *hold -= 1;
                return;
            }
        }
        self.hold = None;
        self.node.tick();
    }

    fn campaign(&mut self) {
        self.node.campaign().expect("a voter may always stand for election");
    }

    fn step(&mut self, from: u64, message: &[u8]) -> Result<(), Refusal> {
        let Charter { number, voters } = self.log().charter();
        let message = wire::decode(message, from, *number, voters)?;
        self.check(&message)?;
        self.node.step(message).map_err(|_| Refusal::Absurd("not of a voter of the group"))
    }

    fn propose(&mut self, operations: Vec<Vec<u8>>) -> Option<u64> {
        if self.node.raft.state != StateRole::Leader || operations.is_empty() {
            return None;
        }
        let first = self.last_index() + 1;
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.log().charter().number;
        let entries = operations.into_iter().map(|operation| Entry { data: operation.into(), ..Entry::default() });
        message.set_entries(entries.collect::<Vec<_>>().into());
        // All in one message, so that followers get them in one, too.
        self.node.raft.step(message).ok().map(|()| first)
    }

    fn ready(&mut self) -> Option<Ready> {
        if !self.node.has_ready() {
            return None;
        }
        let mut work = self.node.ready();
        let mut ready = Ready { number: work.number(), ..Ready::default() };
        let log = self.node.raft.mut_store();
        if !work.snapshot().is_empty() {
            let snapshot = work.snapshot().clone();
            let index = snapshot.get_metadata().index;
            ready.install = Some(Snapshot { index, registry: aligned(&snapshot.data) });
            log.install(snapshot, &mut ready.batch);
            self.installing.push_back((ready.number, index));
        }
        log.append(work.take_entries(), &mut ready.batch);
        if let Some(hard) = work.hs() {
            log.set_hard(hard);
            self.hard_due = true;
        }
        // A commit alone is not worth a flush: it can be found out again, and goes with the next batch.
        if work.must_sync() || !ready.batch.is_empty() {
            self.seal(&mut ready.batch);
        }
        ready.send = self.letters(work.take_messages());
        ready.send_after = self.letters(work.take_persisted_messages());
        let committed = work.take_committed_entries();
        self.node.advance_append_async(work);
        if let Some(last) = committed.last() {
            self.node.advance_apply_to(last.index);
        }
        let committed = committed.into_iter().map(|entry| Committed {
            index: entry.index,
            term: entry.term,
            operation: aligned(&entry.data),
        });
        ready.committed = committed.collect();
        Some(ready)
    }

    fn persisted(&mut self, number: u64) {
        self.node.on_persist_ready(number);
        while let Some((round, index)) = self.installing.front().copied() {
            if round > number {
                break;
            }
            self.installing.pop_front();
            self.node.advance_apply_to(index);
        }
    }

    fn wants_snapshot(&self, applied: u64) -> bool {
        let grown = applied.saturating_sub(self.log().snapshot_index());
        self.installing.is_empty() && (grown >= self.snapshot_every || grown > 0 && self.log().bytes() > LOG_BYTES_MAX)
    }

    fn compact(&mut self, applied: u64, registry: Vec<u8>) -> Batch {
        // A voter that lags a little is served from the log; half an interval is kept for it, if that is not too large.
        let kept = if self.log().bytes() > LOG_BYTES_MAX { 0 } else { self.snapshot_every / 2 };
        let mut batch = Batch::default();
        self.node.raft.mut_store().compact(applied, applied.saturating_sub(kept), registry, &mut batch);
        self.hard_due = true;
        self.seal(&mut batch);
        batch
    }

    fn peer_lost(&mut self, peer: u64) {
        if self.outgoing.remove(&peer).is_some() {
            self.node.report_snapshot(peer, SnapshotStatus::Failure);
        }
        self.node.report_unreachable(peer);
    }

    fn standing(&self) -> Standing {
        let raft = &self.node.raft;
        Standing { term: raft.term, leader: (raft.leader_id != raft::INVALID_ID).then_some(raft.leader_id) }
    }

    fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    fn invariants(&self) {
        let log = &self.node.raft.raft_log;
        assert!(log.applied <= log.committed && log.committed <= log.last_index());
        assert!(log.persisted <= log.last_index());
        self.log().invariants();
    }
}

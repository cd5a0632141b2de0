//! The log in memory, as raft-rs reads it, and what of each change goes to the journal.
//!
//! Memory runs ahead of the disk by the batches under way: raft-rs may read an entry before it is flushed, and counts it
//! as this voter's copy only afterwards. Entries before the floor are gone; the snapshot stands for them.

use super::journal::{self, Charter, Hard, Journal, Mark};
use kaon_kernel::actor::Batch;
use raft::prelude::{ConfState, Entry, HardState, RaftState, Snapshot, Storage};
use raft::{Error, GetEntriesContext, StorageError};
use std::collections::VecDeque;

/// What one entry costs beside its operation, in bytes, when messages and the log are measured.
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// See the module's text.
pub(super) struct Log {
    charter: Charter,
    hard: Hard,
    floor: Mark,
    snapshot: Option<Snapshot>,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Log {
    /// The log of a journal that passed its checks.
    pub(super) fn new(charter: Charter, journal: Journal) -> Self {
        let Journal { hard, portrait, lines } = journal;
        let mut log =
            Self { charter, hard, floor: Mark::default(), snapshot: None, entries: VecDeque::new(), bytes: 0 };
        if let Some(portrait) = portrait {
            log.floor = portrait.floor;
            log.snapshot = Some(log.frame_snapshot(portrait.mark, portrait.registry));
        }
        for line in lines {
            let mut entry = Entry::default();
            (entry.index, entry.term, entry.data) = (line.mark.index, line.mark.term, line.operation.into());
            log.push(entry);
        }
        log
    }

    pub(super) fn charter(&self) -> &Charter {
        &self.charter
    }

    pub(super) fn hard(&self) -> Hard {
        self.hard
    }

    pub(super) fn set_hard(&mut self, hard: &HardState) {
        self.hard = Hard { term: hard.term, vote: hard.vote, commit: hard.commit };
    }

    /// The index of the newest snapshot; zero without one.
    pub(super) fn snapshot_index(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.get_metadata().index)
    }

    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// What the entries take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn last(&self) -> u64 {
        self.floor.index + self.entries.len() as u64
    }

    /// Takes entries over whatever stood from the first of them on.
    pub(super) fn append(&mut self, entries: Vec<Entry>, batch: &mut Batch) {
        let Some(first) = entries.first().map(|entry| entry.index) else { return };
        assert!(first > self.floor.index && first <= self.last() + 1, "entry {first} after {}", self.last());
        let last = entries.last().map_or(first, |entry| entry.index);
        for index in (first..=self.last()).rev() {
            if let Some(old) = self.entries.pop_back() {
                self.bytes -= entry_bytes(&old);
            }
            if index > last {
                journal::delete_line(batch, index);
            }
        }
        for entry in entries {
            journal::put_line(batch, Mark { index: entry.index, term: entry.term }, &entry.data);
            self.push(entry);
        }
    }

    /// Takes a snapshot of another voter in place of everything.
    pub(super) fn install(&mut self, snapshot: Snapshot, batch: &mut Batch) {
        let mark = Mark { index: snapshot.get_metadata().index, term: snapshot.get_metadata().term };
        self.trim(self.last(), batch);
        self.floor = mark;
        journal::put_portrait(batch, mark, mark, &snapshot.data);
        self.snapshot = Some(snapshot);
    }

    /// Takes a snapshot of our own as of `index`, and forgets the entries up to `floor`, which is not beyond it.
    pub(super) fn compact(&mut self, index: u64, floor: u64, registry: Vec<u8>, batch: &mut Batch) {
        assert!(floor <= index && index <= self.last(), "snapshot of {index} in a log up to {}", self.last());
        let mark = self.mark(index).expect("a snapshot is newer than the one before it");
        if let Some(floor) = self.mark(floor) {
            self.trim(floor.index, batch);
            self.floor = floor;
        }
        journal::put_portrait(batch, mark, self.floor, &registry);
        self.snapshot = Some(self.frame_snapshot(mark, registry));
    }

    /// The term at an index from the floor on.
    pub(super) fn mark(&self, index: u64) -> Option<Mark> {
        if index == self.floor.index {
            return Some(self.floor);
        }
        let at = index.checked_sub(self.floor.index + 1)?;
        self.entries.get(at as usize).map(|entry| Mark { index, term: entry.term })
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry_bytes(&entry);
        self.entries.push_back(entry);
    }

    fn trim(&mut self, to: u64, batch: &mut Batch) {
        for index in self.floor.index + 1..=to {
            if let Some(old) = self.entries.pop_front() {
                self.bytes -= entry_bytes(&old);
            }
            journal::delete_line(batch, index);
        }
    }

    fn frame_snapshot(&self, mark: Mark, registry: Vec<u8>) -> Snapshot {
        let mut snapshot = Snapshot { data: registry.into(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (mark.index, mark.term);
        metadata.set_conf_state(self.group());
        snapshot
    }

    fn group(&self) -> ConfState {
        ConfState::from((self.charter.voters.clone(), Vec::new()))
    }

    /// Asserts that the parts fit together. Constant cost.
    pub(super) fn invariants(&self) {
        assert!(self.entries.front().is_none_or(|entry| entry.index == self.floor.index + 1));
        assert!(self.entries.back().is_none_or(|entry| entry.index == self.last()));
        assert!(self.snapshot_index() >= self.floor.index && self.snapshot_index() <= self.last());
        assert!(self.hard.commit <= self.last(), "commit {} in a log up to {}", self.hard.commit, self.last());
    }
}

fn entry_bytes(entry: &Entry) -> usize {
    entry.data.len() + ENTRY_OVERHEAD_BYTES
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let mut hard = HardState::default();
        (hard.term, hard.vote, hard.commit) = (self.hard.term, self.hard.vote, self.hard.commit);
        Ok(RaftState::new(hard, self.group()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        bytes_max: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.floor.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last() + 1, "entries up to {high} of a log up to {}", self.last());
        let bytes_max = bytes_max.into().unwrap_or(u64::MAX);
        let (from, to) = (low - self.floor.index - 1, high - self.floor.index - 1);
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for entry in self.entries.range(from as usize..to as usize) {
            bytes += entry_bytes(entry) as u64;
            if bytes > bytes_max && !taken.is_empty() {
                break;
            }
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.floor.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.mark(index).map(|mark| mark.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.floor.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let snapshot = self.snapshot.as_ref().filter(|snapshot| snapshot.get_metadata().index >= request_index);
        snapshot.cloned().ok_or(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

//! Simulated disks: one journal for each actor of a machine, with a queue of batches on their way.
//!
//! A batch becomes part of the table as a whole or not at all (the contract of `Effect::Persist`). A crash loses what
//! was not flushed; of the batches on their way a prefix may have made it to the disk without anybody having been told,
//! as on a real disk, and how long that prefix is, is drawn in batches and, of the next one, in bytes ([`crate::machine::torn`]).

use crate::machine::place::At;
use crate::machine::torn;
use kaon_kernel::actor::{ActorKind, Batch, Operation, Record, Ticket};
use kaon_kernel::chance::Chance;
use kaon_kernel::table::Table;
use kaon_kernel::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use xxhash_rust::xxh3::xxh3_64;

/// Whose journal: process slot, kind, and index of the actor.
type Owner = (u16, u16, u32);

/// A batch on its way.
struct Waiting {
    batch: Batch,
    at: At,
    ticket: Ticket,
}

/// The entries of a journal. Nearly every journal is an executor's with one entry or an agent's with some dozens, so the
/// few lie in one piece, and which it is tells a short sum of its key: no key of another entry has to be looked at.
enum Rows {
    Few { sums: Vec<u32>, records: Vec<Record> },
    Many(BTreeMap<Vec<u8>, Vec<u8>>),
}

impl Default for Rows {
    fn default() -> Self {
        Self::Few { sums: Vec::new(), records: Vec::new() }
    }
}

/// The most entries that lie in one piece.
const FEW: usize = 64;

/// By how many entries the room for a few grows.
const FEW_MORE: usize = 4;

impl Rows {
    fn sum(key: &[u8]) -> u32 {
        xxh3_64(key) as u32
    }

    fn find(sums: &[u32], records: &[Record], sum: u32, key: &[u8]) -> Option<usize> {
        let mut alike = sums.iter().enumerate().filter(|(_, other)| **other == sum);
        alike.find(|(at, _)| records[*at].key == key).map(|(at, _)| at)
    }

    fn put(&mut self, record: Record) {
        match self {
            Self::Few { sums, records } => {
                let sum = Self::sum(&record.key);
                match Self::find(sums, records, sum, &record.key) {
                    Some(at) => records[at] = record,
                    None if records.len() < FEW => {
                        if records.len() == records.capacity() {
                            let more = if records.is_empty() { 1 } else { FEW_MORE };
                            sums.reserve_exact(more);
                            records.reserve_exact(more);
                        }
                        sums.push(sum);
                        records.push(record);
                    }
                    None => {
                        let records = core::mem::take(records).into_iter().chain([record]);
                        *self = Self::Many(records.map(|record| (record.key, record.value)).collect());
                    }
                }
            }
            Self::Many(rows) => {
                rows.insert(record.key, record.value);
            }
        }
    }

    fn delete(&mut self, key: &[u8]) {
        match self {
            Self::Few { sums, records } => {
                if let Some(at) = Self::find(sums, records, Self::sum(key), key) {
                    sums.swap_remove(at);
                    records.swap_remove(at);
                }
            }
            Self::Many(rows) => {
                rows.remove(key);
            }
        }
    }

    /// All entries in order of their keys.
    fn all(&self) -> Vec<Record> {
        match self {
            Self::Few { records, .. } => {
                let mut records = records.clone();
                records.sort_unstable_by(|one, other| one.key.cmp(&other.key));
                records
            }
            Self::Many(rows) => {
                rows.iter().map(|(key, value)| Record { key: key.clone(), value: value.clone() }).collect()
            }
        }
    }
}

#[derive(Default)]
struct Journal {
    table: Rows,
    waiting: VecDeque<Waiting>,
    /// Flushes end in the order of the writes: none is due before this.
    last_due: Instant,
    /// What a crash left of a batch.
    torn: Option<Box<[u8]>>,
    /// Raised when the queue is cut, so that flushes that were under way then are not taken for later ones.
    epoch: u32,
}

impl Journal {
    fn apply(&mut self, batch: Batch) {
        for operation in batch.0 {
            match operation {
                Operation::Put(record) => self.table.put(record),
                Operation::Delete(key) => self.table.delete(&key),
            }
        }
    }
}

/// The journals of one machine.
#[derive(Default)]
pub(crate) struct Disk {
    journals: Vec<Journal>,
    owners: Table<Owner, u32>,
    slow: Option<(u64, Instant)>,
    full: Option<Instant>,
}

impl Disk {
    /// Makes flushes `factor` times slower until then.
    pub(crate) fn slow_down(&mut self, factor: u64, until: Instant) {
        self.slow = Some((factor, until));
    }

    /// How many times slower a flush is now.
    pub(crate) fn factor(&self, now: Instant) -> u64 {
        self.slow.map_or(1, |(factor, until)| if now < until { factor } else { 1 })
    }

    /// Nothing can be written until then.
    pub(crate) fn fill_up(&mut self, until: Instant) {
        self.full = Some(until);
    }

    /// Whether nothing can be written now.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full.is_some_and(|until| now < until)
    }

    fn journal(&mut self, owner: Owner) -> u32 {
        let next = self.journals.len() as u32;
        let index = *self.owners.entry(owner).or_insert(next);
        if index == next {
            self.journals.push(Journal::default());
        }
        index
    }

    /// Queues a batch; answers with its journal, the epoch, and when its flush ends.
    pub(crate) fn write(
        &mut self,
        kind: ActorKind,
        index: u32,
        at: At,
        ticket: Ticket,
        batch: Batch,
        due: Instant,
    ) -> (u32, u32, Instant) {
        let number = self.journal((at.slot, kind as u16, index));
        let journal = &mut self.journals[number as usize];
        journal.last_due = journal.last_due.max(due);
        journal.waiting.push_back(Waiting { batch, at, ticket });
        (number, journal.epoch, journal.last_due)
    }

    /// Ends the oldest flush; `None` when a crash came between.
    pub(crate) fn flush(&mut self, journal: u32, epoch: u32) -> Option<(At, Ticket)> {
        let journal = &mut self.journals[journal as usize];
        if journal.epoch != epoch {
            return None;
        }
        let Waiting { batch, at, ticket } = journal.waiting.pop_front()?;
        journal.apply(batch);
        Some((at, ticket))
    }

    /// What an actor finds when it begins. Batches of its earlier incarnation that are still on their way end first:
    /// the process lives, so nothing keeps them. A journal that is trusting takes what is left of a torn batch, which none may.
    pub(crate) fn replay(&mut self, slot: u16, kind: ActorKind, index: u32, trusting: bool) -> Vec<Record> {
        let Some(&number) = self.owners.get(&(slot, kind as u16, index)) else { return Vec::new() };
        let journal = &mut self.journals[number as usize];
        journal.epoch += 1;
        if let Some(bytes) = journal.torn.take()
            && let Some(batch) = if trusting { Some(torn::read_blindly(&bytes)) } else { torn::read(&bytes) }
        {
            journal.apply(batch);
        }
        while let Some(waiting) = journal.waiting.pop_front() {
            journal.apply(waiting.batch);
        }
        journal.table.all()
    }

    /// A process ends without warning: of its batches on their way only a prefix, as long as chance wants, is kept, and of the
    /// next one some bytes.
    pub(crate) fn crash(&mut self, slot: u16, chance: &mut Chance) {
        for (&(owner, _, _), &number) in &self.owners {
            let journal = &mut self.journals[number as usize];
            if owner != slot || journal.waiting.is_empty() {
                continue;
            }
            journal.epoch += 1;
            for _ in 0..chance.below(journal.waiting.len() as u64 + 1) {
                if let Some(waiting) = journal.waiting.pop_front() {
                    journal.apply(waiting.batch);
                }
            }
            if let Some(waiting) = journal.waiting.pop_front() {
                let mut bytes = torn::written(&waiting.batch);
                bytes.truncate(chance.below(bytes.len() as u64 + 1) as usize);
                journal.torn = Some(bytes.into_boxed_slice());
            }
            journal.waiting.clear();
        }
    }

    /// The journals of a process that will never come back are removed with its directory.
    pub(crate) fn erase(&mut self, slot: u16) {
        for (&(owner, _, _), &number) in &self.owners {
            if owner == slot {
                let journal = &mut self.journals[number as usize];
                journal.epoch += 1;
                journal.table = Rows::default();
                journal.waiting = VecDeque::new();
                journal.torn = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> At {
        At { slot: 0, life: 1, actor: 0, incarnation: 1 }
    }

    fn batch(number: u8) -> Batch {
        let mut batch = Batch::default();
        batch.put([number], [number]);
        batch.put([number, 1], [number]);
        batch
    }

    #[test]
    fn what_is_flushed_stays_and_batches_are_whole() {
        let mut lengths = [false; 4];
        for seed in 0..64 {
            let mut disk = Disk::default();
            let mut flushed = 0;
            for number in 0..4 {
                let written =
                    disk.write(ActorKind::Agent, 0, at(), Ticket(number), batch(number as u8), Instant(number));
                if number == 0 {
                    assert_eq!(disk.flush(written.0, written.1), Some((at(), Ticket(0))));
                    flushed += 1;
                }
            }
            disk.crash(0, &mut Chance::new(seed));
            let records = disk.replay(0, ActorKind::Agent, 0, false);
            assert_eq!(records.len() % 2, 0, "half a batch is visible");
            let kept = records.len() / 2;
            assert!(kept >= flushed);
            lengths[kept - 1] = true;
        }
        assert_eq!(lengths, [true; 4], "every prefix occurs");
    }

    #[test]
    fn a_large_table_is_as_a_small_one() {
        let mut disk = Disk::default();
        for number in (0..200_u8).rev() {
            let written = disk.write(ActorKind::Agent, 0, at(), Ticket(number.into()), batch(number), Instant(0));
            disk.flush(written.0, written.1);
        }
        let mut last = Batch::default();
        last.put([7], [99]);
        last.delete([9, 1]);
        disk.write(ActorKind::Agent, 0, at(), Ticket(999), last, Instant(0));
        let records = disk.replay(0, ActorKind::Agent, 0, false);
        assert!(records.is_sorted_by(|one, two| one.key < two.key));
        assert_eq!(records.len(), 399);
        assert!(records.contains(&Record { key: vec![7], value: vec![99] }));
    }

    #[test]
    fn flushes_of_an_older_queue_change_nothing() {
        let mut disk = Disk::default();
        let (journal, epoch, _) = disk.write(ActorKind::Agent, 0, at(), Ticket(1), batch(1), Instant(5));
        disk.crash(0, &mut Chance::new(1));
        disk.write(ActorKind::Agent, 0, at(), Ticket(2), batch(2), Instant(6));
        assert_eq!(disk.flush(journal, epoch), None);
        assert_eq!(disk.flush(journal, epoch + 1), Some((at(), Ticket(2))));
    }

    #[test]
    fn a_slow_flush_holds_back_the_next() {
        let mut disk = Disk::default();
        disk.write(ActorKind::Agent, 0, at(), Ticket(1), batch(1), Instant(50));
        let (_, _, due) = disk.write(ActorKind::Agent, 0, at(), Ticket(2), batch(2), Instant(10));
        assert_eq!(due, Instant(50));
    }
}

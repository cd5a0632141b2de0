//! The twin of the journal in memory: for hosts that keep nothing, and for tests that need a disk to fail.
//!
//! A [`MemoryDisk`] outlives the journals that are opened on it, as a disk outlives processes. What was written but not
//! flushed is lost, kept in part or torn when it crashes, as the test says.

use super::digest::{Summary, last_of_each_key};
use super::{Error, Journal, JournalName};
use kaon_kernel::actor::{Batch, Operation, Record};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a crash leaves of the batches that were written and not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// The first so many; zero is the usual crash.
    First(usize),
    /// The first so many, and half of the operations of the next: a torn write.
    TornAfter(usize),
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What a crash can't take.
    durable: BTreeMap<JournalName, Table>,
    /// What was written since the last flush, in order.
    unflushed: Vec<(JournalName, Batch)>,
    /// Lives of the disk: a journal that was opened before the last crash is dead.
    life: u64,
    failing_flushes: usize,
    failing_writes: usize,
}

#[derive(Clone, Debug, Default)]
struct Table {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    summary: Summary,
}

impl Table {
    fn apply(&mut self, batch: &Batch) {
        for (key, value) in last_of_each_key(batch.0.iter()) {
            if let Some(old) = self.entries.remove(key) {
                self.summary.exclude(key, &old);
            }
            if let Some(value) = value {
                self.summary.include(key, value);
                self.entries.insert(key.to_vec(), value.to_vec());
            }
        }
        self.summary.sequence += 1;
    }

    /// As a torn write leaves it: some operations are there, the summary knows nothing of them.
    fn tear(&mut self, operations: &[Operation]) {
        let summary = self.summary;
        self.apply(&Batch(operations.to_vec()));
        self.summary = summary;
    }

    fn check(&self, name: JournalName) -> Result<(), Error> {
        let mut counted = Summary::default();
        self.entries.iter().for_each(|(key, value)| counted.include(key, value));
        self.summary.compare(counted).map_err(|what| Error::Damaged { name, what })
    }
}

impl MemoryDisk {
    /// Opens a journal on this disk; an earlier one is dead from now on, and what it had not flushed is lost.
    pub fn open(&self) -> Result<MemoryJournal, Error> {
        self.crash(Survivors::First(0));
        let state = self.lock();
        state.durable.iter().try_for_each(|(&name, table)| table.check(name))?;
        Ok(MemoryJournal { disk: self.clone(), life: state.life })
    }

    /// Everything that uses the disk dies; of what was not flushed, `survivors` are kept.
    pub fn crash(&self, survivors: Survivors) {
        let mut state = self.lock();
        state.life += 1;
        let unflushed = std::mem::take(&mut state.unflushed);
        let (whole, torn) = match survivors {
            Survivors::First(count) => (count, None),
            Survivors::TornAfter(count) => (count, unflushed.get(count)),
        };
        for (name, batch) in unflushed.iter().take(whole) {
            state.durable.entry(*name).or_default().apply(batch);
        }
        if let Some((name, batch)) = torn {
            let half = batch.0.len().div_ceil(2);
            state.durable.entry(*name).or_default().tear(&batch.0[..half]);
        }
    }

    /// The next `count` flushes fail; what they should have made durable is lost.
    pub fn fail_flushes(&self, count: usize) {
        self.lock().failing_flushes = count;
    }

    /// The next `count` writes fail; nothing of them is kept.
    pub fn fail_writes(&self, count: usize) {
        self.lock().failing_writes = count;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A journal on a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryJournal {
    disk: MemoryDisk,
    life: u64,
}

impl MemoryJournal {
    /// A journal on a disk of its own.
    pub fn fresh() -> Self {
        let disk = MemoryDisk::default();
        let life = disk.lock().life;
        Self { disk, life }
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.disk.lock();
        if state.life == self.life { Ok(state) } else { Err(Error::Broken("the disk has crashed".to_owned())) }
    }
}

impl Journal for MemoryJournal {
    fn names(&mut self) -> Result<Vec<JournalName>, Error> {
        let state = self.state()?;
        let filled = state.durable.iter().filter(|(_, table)| !table.entries.is_empty());
        Ok(filled.map(|(&name, _)| name).collect())
    }

    fn replay(&mut self, name: JournalName) -> Result<Vec<Record>, Error> {
        let state = self.state()?;
        let mut table = state.durable.get(&name).cloned().unwrap_or_default();
        state.unflushed.iter().filter(|(other, _)| *other == name).for_each(|(_, batch)| table.apply(batch));
        table.check(name)?;
        Ok(table.entries.into_iter().map(|(key, value)| Record { key, value }).collect())
    }

    fn write(&mut self, name: JournalName, batches: &[Batch]) -> Result<(), Error> {
        let mut state = self.state()?;
        if state.failing_writes > 0 {
            state.failing_writes -= 1;
            return Err(Error::Injected("write"));
        }
        state.unflushed.extend(batches.iter().map(|batch| (name, batch.clone())));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut state = self.state()?;
        let unflushed = std::mem::take(&mut state.unflushed);
        if state.failing_flushes > 0 {
            state.failing_flushes -= 1;
            return Err(Error::Injected("flush"));
        }
        for (name, batch) in &unflushed {
            state.durable.entry(*name).or_default().apply(batch);
        }
        Ok(())
    }

    fn forget(&mut self, name: JournalName) -> Result<(), Error> {
        let mut state = self.state()?;
        state.durable.remove(&name);
        state.unflushed.retain(|(other, _)| *other != name);
        Ok(())
    }
}

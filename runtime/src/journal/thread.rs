//! The journal thread: the one writer of a host, with group commit.
//!
//! It takes what waits, at most [`GROUP_BATCHES_MAX`] batches, writes them with one store batch per actor, flushes once,
//! and tells the outcomes in the order of the asking. While it flushes the next group gathers, so that the busier the
//! actors are, the fewer flushes each batch costs; a lonely batch waits for nobody.
//!
//! After a storage error nothing more of that actor is taken until it restarts: its later batches built on the lost one.
//! A replay goes the same way as the writes, so it sees all that an earlier incarnation had asked for.

use super::{Error, Journal, JournalName};
use crate::mailbox::{Item, Mailbox};
use crate::metrics::Metrics;
use crossbeam::channel::{Receiver, Sender, unbounded};
use kaon_kernel::actor::{Batch, Operation, Outcome, Record, StorageError, Ticket};
use kaon_kernel::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Batches in one group. One flush lasts 0.1 to 10 ms; this is far above what actors ask for in that time.
const GROUP_BATCHES_MAX: usize = 1024;

/// Bytes that may wait for the journal. A disk that can't follow shows as a storage error in place of a full memory.
const WAITING_BYTES_MAX: usize = 256 << 20;

/// What a batch counts for beside its keys and values, in bytes.
const BATCH_OVERHEAD_BYTES: usize = 128;

/// Takes what a table held, on the journal thread.
pub(crate) type Replayed = Box<dyn FnOnce(Result<Vec<Record>, Error>) + Send>;

/// What the journal thread is asked to do.
pub(crate) enum Command {
    /// Write this, then tell its actor.
    Write(Write),
    /// Read all of a table, and take its writes again.
    Replay(JournalName, Replayed),
    /// Empty a table.
    Forget(JournalName),
    /// Finish.
    Close,
}

/// One batch on its way.
pub(crate) struct Write {
    asker: Arc<Mailbox>,
    incarnation: u64,
    ticket: Ticket,
    /// `None` when too much waited already: refused, in its turn.
    batch: Option<Batch>,
    bytes: usize,
}

/// The way to the journal thread.
pub(crate) struct JournalQueue {
    sender: Sender<Command>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl JournalQueue {
    /// A queue and its thread, which ends after [`Command::Close`].
    pub(crate) fn start(
        journal: Box<dyn Journal>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (sender, receiver) = unbounded();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let failed = BTreeSet::new();
        let writer = Writer { journal, metrics, receiver, waiting_bytes: Arc::clone(&waiting_bytes), failed };
        let thread = std::thread::Builder::new().name("kaon-journal".to_owned()).spawn(move || writer.run())?;
        Ok((Self { sender, waiting_bytes }, thread))
    }

    /// Asks for a batch to be written. Never blocks.
    pub(crate) fn write(&self, asker: &Arc<Mailbox>, incarnation: u64, ticket: Ticket, batch: Batch) {
        let bytes = BATCH_OVERHEAD_BYTES + batch.0.iter().map(operation_bytes).sum::<usize>();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A batch that is larger than the bound on its own still goes through an idle journal.
        let (batch, bytes) = if waiting > 0 && waiting + bytes > WAITING_BYTES_MAX {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            (None, 0)
        } else {
            (Some(batch), bytes)
        };
        self.ask(Command::Write(Write { asker: Arc::clone(asker), incarnation, ticket, batch, bytes }));
    }

    /// Asks for anything. After the thread has ended nothing happens: the host is gone by then.
    pub(crate) fn ask(&self, command: Command) {
        let _ = self.sender.send(command);
    }
}

fn operation_bytes(operation: &Operation) -> usize {
    match operation {
        Operation::Put(record) => record.key.len() + record.value.len(),
        Operation::Delete(key) => key.len(),
    }
}

struct Writer {
    journal: Box<dyn Journal>,
    metrics: Arc<Metrics>,
    receiver: Receiver<Command>,
    waiting_bytes: Arc<AtomicUsize>,
    /// Actors whose last write failed.
    failed: BTreeSet<JournalName>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(command) = self.receiver.recv() {
            let mut next = Some(command);
            let mut group = Vec::new();
            while let Some(Command::Write(write)) = next {
                group.push(write);
                next = if group.len() < GROUP_BATCHES_MAX { self.receiver.try_recv().ok() } else { None };
            }
            self.commit(group);
            match next {
                None | Some(Command::Write(_)) => {}
                Some(Command::Replay(name, answer)) => {
                    self.failed.remove(&name);
                    answer(self.journal.replay(name));
                }
                Some(Command::Forget(name)) => {
                    self.failed.remove(&name);
                    if let Err(error) = self.journal.forget(name) {
                        tracing::error!(%name, error = %error.chain(), "a journal could not be emptied");
                        self.failed.insert(name);
                    }
                }
                Some(Command::Close) => return,
            }
        }
    }

    fn commit(&mut self, mut group: Vec<Write>) {
        if group.is_empty() {
            return;
        }
        let mut by_actor: BTreeMap<JournalName, Vec<Batch>> = BTreeMap::new();
        let mut errors: BTreeMap<JournalName, String> = BTreeMap::new();
        let mut taken = vec![false; group.len()];
        for (position, write) in group.iter_mut().enumerate() {
            let name = JournalName::from(write.asker.address);
            if self.failed.contains(&name) {
                continue;
            }
            match write.batch.take() {
                Some(batch) => {
                    by_actor.entry(name).or_default().push(batch);
                    taken[position] = true;
                }
                None => {
                    self.failed.insert(name);
                    errors.insert(name, format!("more than {WAITING_BYTES_MAX} bytes wait for the disk"));
                }
            }
        }
        let mut unwritten = BTreeSet::new();
        for (&name, batches) in &by_actor {
            if let Err(error) = self.journal.write(name, batches) {
                errors.insert(name, error.chain());
                unwritten.insert(name);
            }
        }
        if unwritten.len() < by_actor.len() {
            let begun = Instant::now();
            if let Err(error) = self.journal.flush() {
                let text = error.chain();
                by_actor.keys().for_each(|&name| drop(errors.insert(name, text.clone())));
                unwritten.extend(by_actor.keys());
            }
            self.metrics.flush_time.record(Duration(begun.elapsed().as_nanos() as u64));
        }
        self.failed.extend(&unwritten);
        for (&name, error) in &errors {
            tracing::error!(%name, %error, "batches were not written");
        }
        let written = taken.iter().filter(|taken| **taken).count();
        self.metrics.batches.fetch_add(written as u64, Ordering::Relaxed);
        for (write, taken) in group.into_iter().zip(taken) {
            let name = JournalName::from(write.asker.address);
            self.waiting_bytes.fetch_sub(write.bytes, Ordering::Relaxed);
            let result = if taken && !unwritten.contains(&name) {
                Ok(())
            } else {
                let why = errors.get(&name).map_or("an earlier batch failed", String::as_str);
                Err(StorageError(why.to_owned()))
            };
            let done = (write.incarnation, write.ticket, Outcome::Persisted(result));
            write.asker.tell(Item::Done(Box::new(done)));
        }
    }
}

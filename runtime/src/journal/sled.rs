//! The default journal: sled 0.34.7, used as dependencies.md section 6 found it safe to use.
//!
//! - Nothing is acknowledged before `flush()`; `flush_every_ms` is off so that nothing looks durable by luck.
//! - One thread writes (the host's journal thread owns it); a lock on the directory keeps a second process out.
//! - Every value is sealed (length, CRC32C); every table carries a [`Summary`] that each batch brings up to date within
//!   the same atomic batch; the [`Witness`] beside it knows what was acknowledged. All three are checked when the
//!   directory is opened, and again by each replay. So: a flipped bit, a lost, superfluous or stale entry, a table that
//!   went back are [`Error::Damaged`] or [`Error::RolledBack`], never a shorter answer.
//! - sled panics on some damage: every call into it is guarded.
//! - After a failed flush nobody knows what is on disk: it is broken until it is opened again.
//!
//! sled collects its own garbage, so compaction is its business; the witness rewrites itself.

use super::digest::{Summary, last_of_each_key, seal, unseal};
use super::witness::Witness;
use super::{Error, Journal, JournalName};
use kaon_kernel::actor::{Batch, Record};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// sled's page cache in bytes. Journals are read at start only.
const CACHE_BYTES: u64 = 32 << 20;

/// How long the threads of an earlier store in this process may hold its file after it was dropped: sled lets go of it
/// in the background.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// The pause between two tries, while a lock lingers.
const RETRY: Duration = Duration::from_millis(5);

/// How long a lock may outlive its process: a child that it forked holds the file until its exec.
const FORK_MAX: Duration = Duration::from_millis(500);

/// The key of the summary; entries have their own prefix, so no key of an actor meets it.
const SUMMARY_KEY: &[u8] = &[0];
const ENTRY_PREFIX: u8 = 1;

/// The mode of a journal's directory.
const OWNER_ONLY: u32 = 0o700;

/// A journal in a directory.
pub struct SledJournal {
    /// Dropped before the lock.
    database: ::sled::Db,
    tables: BTreeMap<JournalName, Table>,
    witness: Witness,
    /// The number of the last write to any table.
    sequence: u64,
    /// What was written since the last flush.
    unflushed: Vec<(JournalName, u64)>,
    broken: Option<String>,
    _lock: File,
}

struct Table {
    tree: ::sled::Tree,
    summary: Summary,
}

impl SledJournal {
    /// Opens or makes the journal in `directory` and checks every entry of it. Cost: reading all of it once. The directory
    /// becomes its owner's alone: what tasks are told, secrets included, is in it.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let file_error = |what, path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { what, path, source }
        };
        fs::create_dir_all(directory).map_err(file_error("making", directory))?;
        fs::set_permissions(directory, Permissions::from_mode(OWNER_ONLY)).map_err(file_error("closing", directory))?;
        let lock = lock(directory)?;
        let witness_path = directory.join("witness");
        let acknowledged = Witness::read(&witness_path)?;
        let database = open_store(&directory.join("store"))?;
        let mut tables = BTreeMap::new();
        guarded("checking the tables", || {
            for tree_name in database.tree_names() {
                let Some(name) = std::str::from_utf8(&tree_name).ok().and_then(JournalName::parse) else { continue };
                let tree = store("opening a table", database.open_tree(&tree_name))?;
                let (summary, _) = read(name, &tree)?;
                tables.insert(name, Table { tree, summary });
            }
            Ok(())
        })?;
        let holds_data = tables.values().any(|table| table.summary.sequence > 0);
        let acknowledged = match acknowledged {
            Some(acknowledged) => acknowledged,
            None if holds_data => {
                return Err(Error::Witness { path: witness_path, what: "it is missing, the store is not".to_owned() });
            }
            None => BTreeMap::new(),
        };
        for (&name, &acknowledged) in &acknowledged {
            let found = tables.get(&name).map_or(0, |table| table.summary.sequence);
            if found < acknowledged {
                return Err(Error::RolledBack { name, found, acknowledged });
            }
        }
        let last: BTreeMap<_, _> = tables.iter().map(|(&name, table)| (name, table.summary.sequence)).collect();
        let sequence = last.values().copied().max().unwrap_or(0);
        let witness = Witness::create(&witness_path, last)?;
        Ok(Self { database, tables, witness, sequence, unflushed: Vec::new(), broken: None, _lock: lock })
    }

    fn usable(&self) -> Result<(), Error> {
        self.broken.clone().map_or(Ok(()), |why| Err(Error::Broken(why)))
    }

    fn break_after<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|error| self.broken = Some(error.chain()))
    }

    fn write_table(&mut self, name: JournalName, batches: &[Batch]) -> Result<(), Error> {
        let Self { database, tables, sequence, .. } = self;
        let table = match tables.entry(name) {
            std::collections::btree_map::Entry::Occupied(occupied) => occupied.into_mut(),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let tree = guarded("making a table", || store("making a table", database.open_tree(name.to_string())))?;
                vacant.insert(Table { tree, summary: Summary::default() })
            }
        };
        let mut summary = table.summary;
        let mut atomic = ::sled::Batch::default();
        guarded("writing a batch", || {
            for (key, value) in last_of_each_key(batches.iter().flat_map(|batch| &batch.0)) {
                let stored_key = [&[ENTRY_PREFIX], key].concat();
                if let Some(sealed) = store("reading an entry", table.tree.get(&stored_key))? {
                    let old = unseal(key, &sealed).map_err(|what| Error::Damaged { name, what })?;
                    summary.exclude(key, old);
                }
                match value {
                    Some(value) => {
                        summary.include(key, value);
                        atomic.insert(stored_key, seal(key, value));
                    }
                    None => atomic.remove(stored_key),
                }
            }
            summary.sequence = *sequence + 1;
            atomic.insert(SUMMARY_KEY, seal(SUMMARY_KEY, &summary.to_bytes()));
            store("writing a batch", table.tree.apply_batch(atomic))
        })?;
        table.summary = summary;
        *sequence += 1;
        self.unflushed.push((name, self.sequence));
        Ok(())
    }
}

impl Journal for SledJournal {
    fn names(&mut self) -> Result<Vec<JournalName>, Error> {
        self.usable()?;
        let filled = self.tables.iter().filter(|(_, table)| table.summary.count > 0);
        Ok(filled.map(|(&name, _)| name).collect())
    }

    fn replay(&mut self, name: JournalName) -> Result<Vec<Record>, Error> {
        self.usable()?;
        let Some(table) = self.tables.get(&name) else { return Ok(Vec::new()) };
        let (summary, records) = guarded("replaying", || read(name, &table.tree))?;
        if summary.sequence < table.summary.sequence {
            let (found, acknowledged) = (summary.sequence, table.summary.sequence);
            return Err(Error::RolledBack { name, found, acknowledged });
        }
        Ok(records)
    }

    fn write(&mut self, name: JournalName, batches: &[Batch]) -> Result<(), Error> {
        self.usable()?;
        self.write_table(name, batches)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.usable()?;
        let flushed = guarded("flushing", || store("flushing", self.database.flush()).map(|_| ()));
        self.break_after(flushed)?;
        let writes = std::mem::take(&mut self.unflushed);
        let witnessed = self.witness.acknowledge(&writes);
        self.break_after(witnessed)
    }

    fn forget(&mut self, name: JournalName) -> Result<(), Error> {
        self.usable()?;
        if self.tables.remove(&name).is_none() {
            return Ok(());
        }
        // The witness first: a table that is gone while its witness stands would look like a loss.
        self.unflushed.retain(|(unflushed, _)| *unflushed != name);
        let forgotten = self.witness.forget(name);
        self.break_after(forgotten)?;
        let dropped = guarded("dropping a table", || {
            store("dropping a table", self.database.drop_tree(name.to_string()))?;
            store("flushing", self.database.flush()).map(|_| ())
        });
        self.break_after(dropped)
    }
}

impl Drop for SledJournal {
    fn drop(&mut self) {
        if self.broken.is_none()
            && let Err(error) = self.witness.rewrite()
        {
            tracing::warn!(error = %error.chain(), "the journal's witness keeps its tail undurable");
        }
    }
}

fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|source| Error::File { what: "opening", path: path.clone(), source })?;
    let deadline = Instant::now() + FORK_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(RETRY),
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { directory: directory.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(Error::File { what: "locking", path, source }),
        }
    }
}

fn open_store(path: &Path) -> Result<::sled::Db, Error> {
    let deadline = Instant::now() + LINGER_MAX;
    loop {
        let config = ::sled::Config::new().path(path).flush_every_ms(None).cache_capacity(CACHE_BYTES);
        match guarded("opening", || store("opening the store", config.open())) {
            Err(Error::Store { source: ::sled::Error::Io(error), .. })
                if error.to_string().contains("could not acquire lock") && Instant::now() < deadline =>
            {
                std::thread::sleep(RETRY);
            }
            other => return other,
        }
    }
}

/// Reads and checks a whole table.
fn read(name: JournalName, tree: &::sled::Tree) -> Result<(Summary, Vec<Record>), Error> {
    let damaged = |what: String| Error::Damaged { name, what };
    let mut written = None;
    let mut counted = Summary::default();
    let mut records = Vec::new();
    for entry in tree {
        let (stored_key, sealed) = store("reading an entry", entry)?;
        match stored_key.split_first() {
            Some((&ENTRY_PREFIX, key)) => {
                let value = unseal(key, &sealed).map_err(damaged)?;
                counted.include(key, value);
                records.push(Record { key: key.to_vec(), value: value.to_vec() });
            }
            _ if &*stored_key == SUMMARY_KEY => {
                let summary = Summary::from_bytes(unseal(SUMMARY_KEY, &sealed).map_err(damaged)?);
                written = Some(summary.ok_or_else(|| damaged("its summary has another length".to_owned()))?);
            }
            _ => return Err(damaged(format!("a key of {} bytes is none of ours", stored_key.len()))),
        }
    }
    match written {
        Some(written) => {
            written.compare(counted).map_err(damaged)?;
            Ok((written, records))
        }
        None if records.is_empty() => Ok((Summary::default(), records)),
        None => Err(damaged(format!("{} entries without a summary", records.len()))),
    }
}

fn store<T, E>(what: &'static str, result: Result<T, E>) -> Result<T, Error>
where
    ::sled::Error: From<E>,
{
    result.map_err(|source| Error::Store { what, source: source.into() })
}

fn guarded<T>(what: &'static str, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        Err(Error::Panicked { what, message: crate::supervise::panic_text(payload.as_ref()) })
    })
}

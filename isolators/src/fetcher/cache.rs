//! What was fetched, kept for the next who asks: by user and URI, within a bound of bytes, the longest unused going first.
//!
//! ```text
//! obtain ─► Coming ── all bytes are there ─► Kept ── no room, and nobody uses it ─► (gone)
//!             └── it failed, or nobody waits for it any more ─► (gone)
//! ```
//! Several who want one thing at one time wait for one download. It goes on while one of them waits. Bytes count before
//! they are written: a worker asks for room first. The key has the user, so that nobody is given what another had the
//! right to read.

use super::conversation::{Ended, Worker};
use super::order::Order;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The ending of the cache's files: what else lies in the directory is left alone.
const ENDING: &str = ".fetched";

/// The most entries: empty files take no bytes but a name each.
const ENTRIES_MAX: usize = 100_000;

/// How often one caller tries again for what was evicted between its arrival and its use.
const ATTEMPTS_MAX: usize = 8;

/// Who may have it, and what it is.
pub(super) type Key = (Option<u32>, String);

/// How a download ended, for all who wait: `None` while it goes on.
type End = Option<Result<Ended, String>>;

/// A cache; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Cache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    bytes_max: u64,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<Key, Entry>,
    /// Of all entries, granted but not yet written ones included.
    bytes: u64,
    /// Counts uses: the smaller the longer ago.
    clock: u64,
    /// Counts files: no name is used twice.
    files: u64,
}

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    bytes: u64,
    used_at: u64,
    users: usize,
    coming: Option<Weak<Download>>,
}

/// A download that somebody waits for: the last to let go ends it.
#[derive(Debug)]
struct Download {
    end: watch::Receiver<End>,
    task: AbortHandle,
}

impl Drop for Download {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A file of the cache in use: it stays until this is dropped.
#[derive(Debug)]
pub(super) struct Pin {
    cache: Cache,
    key: Key,
    path: PathBuf,
}

impl Pin {
    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(entry) = self.cache.table().entries.get_mut(&self.key) {
            entry.users -= 1;
        }
    }
}

/// What becomes of a wish.
#[derive(Debug)]
pub(super) enum Obtained {
    Kept(Pin),
    TooLarge,
}

/// An entry on its way; dropped before it is whole, it leaves nothing.
struct Arrival {
    cache: Cache,
    key: Key,
    path: PathBuf,
    is_whole: bool,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if !self.is_whole {
            self.cache.table().remove(&self.key, &self.path);
        }
    }
}

impl Cache {
    /// A cache that begins empty.
    pub(super) fn new(directory: PathBuf, bytes_max: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.as_os_str().as_encoded_bytes().ends_with(ENDING.as_bytes()) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self(Arc::new(Shared { directory, bytes_max, table: Mutex::default() })))
    }

    /// The bytes that it holds.
    pub(super) fn bytes(&self) -> u64 {
        self.table().bytes
    }

    /// Has something in the cache. `order` says what a worker does to bring it into a file.
    pub(super) async fn obtain(
        &self,
        key: Key,
        order: impl Fn(PathBuf) -> Order,
        worker: impl Fn() -> Worker,
    ) -> Result<Obtained, String> {
        for _ in 0..ATTEMPTS_MAX {
            let download = {
                let mut table = self.table();
                table.clock += 1;
                let now = table.clock;
                match table.entries.get_mut(&key) {
                    Some(entry) if entry.coming.is_none() => {
                        entry.used_at = now;
                        entry.users += 1;
                        let path = entry.path.clone();
                        return Ok(Obtained::Kept(Pin { cache: self.clone(), key, path }));
                    }
                    Some(entry) => entry.coming.as_ref().and_then(Weak::upgrade),
                    None => None,
                }
                .or_else(|| self.begin(&mut table, &key, &order, worker()))
            };
            let Some(download) = download else { return Ok(Obtained::TooLarge) };
            let mut end = download.end.clone();
            match end.wait_for(Option::is_some).await.map(|end| end.clone()) {
                Ok(Some(Ok(Ended::Done))) => {}
                Ok(Some(Ok(Ended::NoRoom))) => return Ok(Obtained::TooLarge),
                Ok(Some(Err(reason))) => return Err(reason),
                Ok(None) | Err(_) => return Err("the download was given up".to_owned()),
            }
        }
        Ok(Obtained::TooLarge)
    }

    /// Begins a download in place of one that nobody waits for; none when there is no place for it.
    fn begin(
        &self,
        table: &mut Table,
        key: &Key,
        order: &impl Fn(PathBuf) -> Order,
        worker: Worker,
    ) -> Option<Arc<Download>> {
        if let Some(path) = table.entries.get(key).map(|entry| entry.path.clone()) {
            table.remove(key, &path);
        }
        if table.entries.len() >= ENTRIES_MAX && !table.evict_one() {
            return None;
        }
        table.files += 1;
        let path = self.0.directory.join(format!("{}{ENDING}", table.files));
        let (said, end) = watch::channel(None);
        let arrival = Arrival { cache: self.clone(), key: key.clone(), path: path.clone(), is_whole: false };
        let order = order(path.clone());
        let task = tokio::spawn(async move {
            let ended = arrival.come(worker, order).await;
            // Nobody may be left to hear.
            let _ = said.send(Some(ended));
        });
        let download = Arc::new(Download { end, task: task.abort_handle() });
        let coming = Some(Arc::downgrade(&download));
        table.entries.insert(key.clone(), Entry { path, bytes: 0, used_at: table.clock, users: 0, coming });
        Some(download)
    }

    /// Makes room for so many bytes more of an entry that is coming.
    fn grow(&self, key: &Key, path: &Path, bytes: u64) -> bool {
        let mut table = self.table();
        while table.bytes.saturating_add(bytes) > self.0.bytes_max {
            if bytes > self.0.bytes_max || !table.evict_one() {
                return false;
            }
        }
        let Some(entry) = table.entries.get_mut(key).filter(|entry| entry.path == path) else { return false };
        entry.bytes += bytes;
        table.bytes += bytes;
        true
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is whole between any two statements that change it.
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrival {
    async fn come(mut self, worker: Worker, order: Order) -> Result<Ended, String> {
        let ended = worker.run(order.write(), |bytes| self.cache.grow(&self.key, &self.path, bytes)).await?;
        if ended == Ended::Done {
            let written = fs::metadata(&self.path).map_err(|error| format!("the cache lost it: {error}"))?.len();
            let mut table = self.cache.table();
            let Some(entry) = table.entries.get_mut(&self.key).filter(|entry| entry.path == self.path) else {
                return Err("the download was given up".to_owned());
            };
            // It may have been granted more than it took.
            let spare = entry.bytes.saturating_sub(written);
            entry.bytes -= spare;
            entry.coming = None;
            table.bytes -= spare;
            drop(table);
            self.is_whole = true;
        }
        Ok(ended)
    }
}

impl Table {
    /// Removes the longest unused entry; false when all are in use.
    fn evict_one(&mut self) -> bool {
        let idle = self.entries.iter().filter(|(_, entry)| entry.users == 0 && entry.coming.is_none());
        let oldest = idle.min_by_key(|(_, entry)| entry.used_at);
        let Some((key, path)) = oldest.map(|(key, entry)| (key.clone(), entry.path.clone())) else { return false };
        self.remove(&key, &path);
        true
    }

    /// Removes an entry if it is still the one with this file, and the file.
    fn remove(&mut self, key: &Key, path: &Path) {
        if self.entries.get(key).is_some_and(|entry| entry.path == path)
            && let Some(entry) = self.entries.remove(key)
        {
            self.bytes -= entry.bytes;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a file of the fetcher's cache can't be removed");
            }
            _ => {}
        }
    }
}

//! The fetcher: what a command names is brought into its sandbox before its program starts (reference 12.4).
//!
//! The agent fetches nothing itself. It starts its own executable with [`ARGUMENT`] (`worker.rs`): a process with limits
//! that becomes the task's user before it touches what is foreign, so that the kernel decides which files `file:` may read
//! and who owns what arrives; a decoder that is led astray harms nobody but that user. The worker dies with the agent.
//!
//! Ways through this folder: `name.rs` says what a URI becomes in the sandbox, `target.rs`, `address.rs` and `http.rs`
//! bring bytes, `tree.rs` writes below a directory without following a link, `archive/` unpacks within `bounds.rs`,
//! `cache.rs` keeps what was fetched for the next who asks, `conversation.rs` is the agent's talk with a worker.
//!
//! The cache belongs to one life of the agent and starts empty, as Mesos's does.

pub(crate) mod address;
pub(crate) mod archive;
pub(crate) mod bounds;
mod cache;
pub(crate) mod conversation;
pub(crate) mod error;
pub(crate) mod http;
pub(crate) mod name;
pub(crate) mod order;
pub(crate) mod target;
pub(crate) mod tree;
pub(crate) mod worker;

pub use bounds::Bounds;
pub use worker::main;

use crate::containers::Executable;
use crate::launcher::description::User;
use cache::{Cache, Obtained, Pin};
use conversation::{Ended, Worker};
use kaon_kernel::task::Uri;
use order::{Job, Order, Source};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The argument with which the binary becomes a worker.
pub const ARGUMENT: &str = "fetcher";

/// The most URIs of one command.
pub const URIS_MAX: usize = 1024;

/// The most workers at once. Each may take as much memory as [`Bounds::memory_bytes_max`]; the rule is some MiB.
const WORKERS_MAX: usize = 64;

/// How the fetcher of a machine works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetcherConfig {
    /// Where fetched files are kept, absolute; made when missing. `None` keeps nothing: who asks for the cache gets a
    /// download of its own.
    pub cache_directory: Option<PathBuf>,
    /// The most bytes kept, those on their way included (`--fetcher_cache_size`; Mesos's default is 2 GB).
    pub cache_bytes_max: u64,
    /// A download that is slower than one byte a second for so long fails (`--fetcher_stall_timeout`, 1 minute).
    pub stall_timeout: Duration,
    /// What comes before a relative path (`--frameworks_home`).
    pub frameworks_home: Option<PathBuf>,
    /// The authorities that servers are trusted by, a file of certificates (PEM); `None` takes the machine's own.
    pub authorities: Option<PathBuf>,
    /// Limits for each command.
    pub bounds: Bounds,
}

impl Default for FetcherConfig {
    fn default() -> Self {
        Self {
            cache_directory: None,
            cache_bytes_max: 2 << 30,
            stall_timeout: Duration::from_mins(1),
            frameworks_home: None,
            authorities: None,
            bounds: Bounds::default(),
        }
    }
}

/// How much was fetched (the numbers of Mesos's `containerizer/fetcher/`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Commands of which everything was fetched.
    pub succeeded: u64,
    /// Commands of which something could not be.
    pub failed: u64,
    /// The most bytes that the cache may hold.
    pub cache_bytes_max: u64,
    /// The bytes that it holds.
    pub cache_bytes: u64,
}

/// Fetches for the containers of a machine. Clones share the cache.
#[derive(Clone, Debug)]
pub struct Fetcher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: FetcherConfig,
    executable: Executable,
    cache: Option<Cache>,
    workers: Arc<Semaphore>,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

/// What is to be fetched, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Absolute.
    pub(crate) work_directory: PathBuf,
    /// Below it; made already.
    pub(crate) sandbox: String,
    /// Whom the worker becomes.
    pub(crate) user: Option<User>,
    /// What is fetched, in this order.
    pub(crate) uris: Vec<Uri>,
    /// Variables by which the worker is found as part of its container.
    pub(crate) environment: Vec<(String, String)>,
}

impl Fetcher {
    /// A fetcher whose workers are `executable`. What an earlier life left in the cache directory is removed.
    ///
    /// # Errors
    /// When the cache directory can't be made or emptied.
    pub fn new(config: FetcherConfig, executable: Executable) -> io::Result<Self> {
        let workers = Arc::new(Semaphore::new(WORKERS_MAX));
        let cache = match &config.cache_directory {
            Some(directory) => Some(Cache::new(directory.clone(), config.cache_bytes_max)?),
            None => None,
        };
        let (succeeded, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self(Arc::new(Inner { config, executable, cache, workers, succeeded, failed })))
    }

    /// What it has done so far.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            succeeded: self.0.succeeded.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
            cache_bytes_max: self.0.cache.as_ref().map_or(0, |_| self.0.config.cache_bytes_max),
            cache_bytes: self.0.cache.as_ref().map_or(0, Cache::bytes),
        }
    }

    /// Fetches all, one after the other, or says which could not be and why. To be dropped when it is not wanted any
    /// more: then the worker is killed. Must be polled within a tokio runtime.
    pub(crate) async fn fetch(&self, request: Request) -> Result<(), String> {
        let done = self.try_fetch(request).await;
        let counter = if done.is_ok() { &self.0.succeeded } else { &self.0.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        done
    }

    async fn try_fetch(&self, request: Request) -> Result<(), String> {
        if request.uris.len() > URIS_MAX {
            return Err(format!("the command names {} URIs, at most {URIS_MAX} are fetched", request.uris.len()));
        }
        let mut pins: Vec<Pin> = Vec::new();
        let mut jobs = Vec::with_capacity(request.uris.len());
        for uri in &request.uris {
            let failed =
                |reason: &dyn std::fmt::Display| format!("can't fetch {}: {reason}", target::shown(&uri.value));
            // What can be told without fetching is told before anything is fetched.
            let name = name::of(uri).map_err(|error| failed(&error))?;
            let source = target::Target::parse(&uri.value, self.0.config.frameworks_home.as_deref());
            source.map_err(|error| failed(&error))?;
            let mut from = Source::Uri(uri.value.clone());
            if uri.cache
                && let Some(cache) = &self.0.cache
            {
                match self.keep(cache, uri, &request).await.map_err(|error| failed(&error))? {
                    Obtained::Kept(pin) => {
                        from = Source::Kept(pin.path());
                        pins.push(pin);
                    }
                    // As Mesos does: what does not fit is fetched as if nobody had asked for the cache.
                    Obtained::TooLarge => tracing::info!(uri = target::shown(&uri.value), "does not fit in the cache"),
                }
            }
            let (executable, extract) = (uri.executable, uri.extract && !uri.executable);
            jobs.push(Job::Place { from, shown: target::shown(&uri.value), name, executable, extract });
        }
        let order = Order {
            work_directory: request.work_directory,
            sandbox: Some(request.sandbox),
            user: request.user,
            stall_timeout: self.0.config.stall_timeout,
            frameworks_home: self.0.config.frameworks_home.clone(),
            bounds: self.0.config.bounds,
            jobs,
        };
        let worker = self.worker(&request.environment);
        match worker.run(order.write(), |_| false).await? {
            Ended::Done => Ok(()),
            Ended::NoRoom => Err("the fetcher asked for room that it did not need".to_owned()),
        }
    }

    /// Has something in the cache: it is there, or comes, for all who want it at this time together.
    async fn keep(&self, cache: &Cache, uri: &Uri, request: &Request) -> Result<Obtained, String> {
        let key = (request.user.as_ref().map(|user| user.user_id), uri.value.clone());
        let order = |path: PathBuf| Order {
            work_directory: request.work_directory.clone(),
            sandbox: None,
            user: request.user.clone(),
            stall_timeout: self.0.config.stall_timeout,
            frameworks_home: self.0.config.frameworks_home.clone(),
            bounds: self.0.config.bounds,
            jobs: vec![Job::Keep { from: uri.value.clone(), shown: target::shown(&uri.value), path }],
        };
        // It belongs to the cache, not to one of the containers that wait for it.
        cache.obtain(key, order, || self.worker(&[])).await
    }

    fn worker(&self, environment: &[(String, String)]) -> Worker {
        let authorities = self.0.config.authorities.as_deref();
        Worker::new(&self.0.executable, ARGUMENT, authorities, environment, Arc::clone(&self.0.workers))
    }
}

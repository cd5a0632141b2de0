//! Images: the files of a container that are not the machine's (`docker/runtime`, `volume/image`, reference 12.1 and 12.3).
//!
//! ```text
//! name ─► reference.rs ─► registry.rs or local.rs ─► manifest.rs ─► layer.rs ─► store.rs
//!                         (in a worker: pull.rs)                               │ lease
//! container ◄── launcher/root.rs ◄── root.rs: overlayfs, or copy.rs ◄──────────┘
//! ```
//! An image is brought by a process of its own (`pull.rs`), checked against its digests, unpacked layer by layer into a
//! store that several agents may share, and leased for as long as a container uses it. The mounts are made by the launcher
//! within the container's own view of mounts, so nothing stays behind when it is killed. What an image says of its program
//! is merged with the command in `command.rs`.

mod command;
mod copy;
pub(crate) mod credentials;
mod digest;
mod hub;
mod isolator;
mod layer;
mod local;
mod manifest;
mod pull;
mod reference;
mod registry;
mod root;
mod staging;
mod store;

pub use credentials::{CONFIG_BYTES_MAX, check as check_credentials};
pub use hub::REGISTRY_DEFAULT;
pub use isolator::{ImageVolumes, RUNTIME, Runtime, VOLUMES};
pub use pull::main;
pub use reference::NoReference;
pub use store::Pruned;

pub(crate) use command::merged;
pub(crate) use registry::escaped;
pub(crate) use root::SANDBOX_DIRECTORY;
pub use root::{Files, Root};

use crate::containers::Executable;
use crate::fetcher::bounds::Bounds;
use crate::fetcher::conversation::{Ended, Worker};
use crate::fetcher::{error, order};
use digest::Digest;
use kaon_kernel::container_info::{ContainerInfo, Image, VolumeSource};
use kaon_kernel::id::ContainerId;
use manifest::Descriptor;
use pull::Order;
use reference::Reference;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use store::{Lease, Record, Store};
use tokio::sync::Semaphore;

/// The argument with which the binary becomes a worker.
pub const ARGUMENT: &str = "image";

/// The most images of one container: its root and its volumes.
pub const IMAGES_MAX: usize = 64;

/// The most workers at once. Each may take as much memory as [`Bounds::memory_bytes_max`].
const WORKERS_MAX: usize = 4;

/// Why an image can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Name(#[from] NoReference),
    #[error(transparent)]
    Fetch(#[from] error::Error),
    #[error("{0}")]
    Credentials(String),
    #[error("the registry refuses to show '{repository}': it is not there, or the credentials are wrong")]
    Denied { repository: String },
    #[error("there is no image '{repository}'")]
    Absent { repository: String },
    #[error("no token for the registry: {0}")]
    Token(String),
    #[error("the image can't be used: {0}")]
    Document(String),
    #[error("{what} is not what it should be: {wanted} was asked for, {found} came")]
    Digest { what: &'static str, wanted: String, found: String },
    #[error("something is not as large as it should be: {wanted} bytes")]
    Size { wanted: u64 },
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Fetch(error::Error::io("change the store")(error))
    }
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Source {
    /// A registry.
    Url(String),
    /// A directory of archives and layouts.
    Directory(PathBuf),
}

/// An image that was found and is not there yet.
#[derive(Debug)]
struct Found {
    digest: Option<Digest>,
    config: Vec<u8>,
    /// The lowest first.
    layers: Vec<Part>,
}

/// A layer at its source.
#[derive(Debug)]
enum Part {
    Blob(Descriptor),
    /// A file of an archive; what it is is told by what it holds.
    File(String),
}

/// How layers become one tree (Mesos's `--image_provisioner_backend`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backend {
    /// Overlayfs where the kernel has it, else copies.
    #[default]
    Best,
    /// Overlayfs.
    Overlay,
    /// Copies.
    Copy,
}

/// Where images come from and where they are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesConfig {
    /// The registry of those who name none: a URL, or an absolute path of a directory of archives and layouts.
    pub registry: String,
    /// Who may fetch: a file as `docker login` writes it; what a task brings comes before it.
    pub credentials: Option<PathBuf>,
    /// The store, absolute.
    pub store: PathBuf,
    /// Where the trees of containers are made, absolute; on a file system that overlayfs can write to.
    pub roots: PathBuf,
    /// How.
    pub backend: Backend,
    /// Authorities that registries are trusted by, a file of certificates (PEM); `None` takes the machine's own.
    pub authorities: Option<PathBuf>,
    /// A download that is slower than one byte a second for so long fails.
    pub stall_timeout: Duration,
    /// The container around all of them, when they are not the agent's own.
    pub owner: Option<String>,
    /// Limits for each image.
    pub bounds: Bounds,
}

impl ImagesConfig {
    /// The usual for an agent with this work directory.
    pub fn usual(work_directory: &Path) -> Self {
        Self {
            registry: REGISTRY_DEFAULT.to_owned(),
            credentials: None,
            store: work_directory.join("store/docker"),
            roots: work_directory.join("provisioner"),
            backend: Backend::Best,
            authorities: None,
            stall_timeout: Duration::from_mins(1),
            owner: None,
            bounds: Bounds { entries_max: 2_000_000, ..Bounds::default() },
        }
    }

    /// Which agent's these are, in a store that may be of several.
    fn agent(&self) -> String {
        Digest::of(self.roots.as_os_str().as_encoded_bytes()).digits()[..16].to_owned()
    }

    /// The container around a container, which may be itself.
    fn owner_of<'a>(&'a self, container: &'a ContainerId) -> &'a str {
        self.owner.as_deref().unwrap_or(container.as_str())
    }

    /// Where the trees of containers are made, those of what is within one of an agent's in its own.
    pub(crate) fn containers(&self) -> PathBuf {
        self.roots.join("containers")
    }

    /// Where the tree of a container is made.
    fn root(&self, container: &ContainerId) -> PathBuf {
        self.containers().join(self.owner_of(container)).join(container.as_str())
    }

    /// The whole name of an image here, its source, and its name there.
    fn resolve(&self, name: &str) -> Result<(String, Source, Reference), NoReference> {
        let mut reference = Reference::parse(name)?;
        let own = Path::new(&self.registry);
        if reference.registry.is_none() && own.is_absolute() {
            return Ok((reference.to_string(), Source::Directory(own.to_owned()), reference));
        }
        let (host, url) = match &reference.registry {
            Some(host) if host == hub::NAME => (hub::HOST.to_owned(), REGISTRY_DEFAULT.to_owned()),
            Some(host) => (host.clone(), format!("{}://{host}", scheme_of(host))),
            None => {
                let rest = self.registry.split_once("://").map_or(self.registry.as_str(), |(_, rest)| rest);
                let host = rest.split('/').next().unwrap_or_default();
                (host.rsplit('@').next().unwrap_or_default().to_owned(), self.registry.clone())
            }
        };
        if host == hub::HOST && !reference.repository.contains('/') {
            reference.repository = format!("library/{}", reference.repository);
        }
        reference.registry = Some(host);
        Ok((reference.to_string(), Source::Url(url), reference))
    }
}

/// A registry on this machine itself needs no TLS, as with Docker; and nobody has it on port 80.
fn scheme_of(host: &str) -> &'static str {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let is_own = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_own || port == "80" { "http" } else { "https" }
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Images that were brought.
    pub pulled: u64,
    /// Images that could not be.
    pub failed: u64,
}

/// The images of a machine. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Images(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ImagesConfig,
    executable: Executable,
    store: Store,
    workers: Arc<Semaphore>,
    /// One worker for each name: who wants the same waits for it.
    coming: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>,
    pulled: AtomicU64,
    failed: AtomicU64,
}

impl Images {
    /// The images of a store, which is made when missing; `executable` is the worker.
    ///
    /// # Errors
    /// When the store can't be made.
    pub fn new(config: ImagesConfig, executable: Executable) -> io::Result<Self> {
        let store = Store::open(&config.store)?;
        let (pulled, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        let (workers, coming) = (Arc::new(Semaphore::new(WORKERS_MAX)), Mutex::default());
        Ok(Self(Arc::new(Inner { config, executable, store, workers, coming, pulled, failed })))
    }

    /// Where they come from and are kept.
    pub fn config(&self) -> &ImagesConfig {
        &self.0.config
    }

    /// What was done so far.
    pub fn statistics(&self) -> Statistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics { pulled: read(&self.0.pulled), failed: read(&self.0.failed) }
    }

    /// Removes the images that no container uses and whose names are not in `kept`. Blocks while images are fetched.
    ///
    /// # Errors
    /// A kept name that is none, or a store that can't be changed.
    pub fn prune(&self, kept: &[String]) -> Result<Pruned, String> {
        let kept: Result<Vec<String>, _> = kept.iter().map(|name| Ok(self.0.config.resolve(name)?.0)).collect();
        let kept = kept.map_err(|error: NoReference| error.to_string())?;
        self.0.store.prune(&kept).map_err(|error| format!("can't prune '{}': {error}", self.0.store.path().display()))
    }

    /// The names of the images that are there.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.store.images()?.into_iter().map(|record| record.name).collect())
    }

    /// Has an image before anybody asks for it.
    ///
    /// # Errors
    /// Why it can't be had.
    pub async fn pull(&self, name: &str, is_cached: bool) -> Result<(), String> {
        let image = Image { name: name.to_owned(), is_cached, credentials: None };
        let _kept = self.share().await?;
        self.obtain(&image).await.map(drop)
    }

    /// Has all images that a container asks for, and leases them. To be dropped when they are not wanted any more: then their
    /// worker is killed.
    pub(crate) async fn provide(&self, container: &ContainerId, asked: &ContainerInfo) -> Result<(), String> {
        let volumes: Vec<&Image> = asked.volumes.iter().filter_map(|volume| image_of(&volume.source)).collect();
        if volumes.len() >= IMAGES_MAX {
            return Err(format!("the container asks for more than {IMAGES_MAX} images"));
        }
        // Between having an image and leasing it nobody may remove it.
        let _kept = self.share().await?;
        let mut lease = Lease::default();
        if let Some(image) = &asked.image {
            lease.root = Some(self.obtain(image).await?);
        }
        for image in volumes {
            lease.volumes.push(self.obtain(image).await?);
        }
        let Inner { config, store, .. } = &*self.0;
        let leased = store.lease(&config.agent(), config.owner_of(container), container.as_str(), &lease);
        leased.map_err(|error| format!("can't lease an image: {error}"))
    }

    async fn share(&self) -> Result<store::Shared, String> {
        let store = self.0.store.clone();
        let shared = tokio::task::spawn_blocking(move || store.share()).await;
        shared.map_err(|error| error.to_string())?.map_err(|error| format!("can't lock the store of images: {error}"))
    }

    async fn obtain(&self, image: &Image) -> Result<Record, String> {
        let Inner { config, executable, store, workers, .. } = &*self.0;
        let (name, source, reference) = config.resolve(&image.name).map_err(|error| error.to_string())?;
        // What needs credentials is shown to nobody who has not shown them.
        let is_cached = image.is_cached && image.credentials.is_none();
        if let Some(record) = store.find(&name).filter(|_| is_cached) {
            return Ok(record);
        }
        let alone = self.alone(&name);
        let _alone = alone.lock().await;
        if let Some(record) = store.find(&name).filter(|_| is_cached) {
            return Ok(record);
        }
        let order = Order {
            store: config.store.clone(),
            name: name.clone(),
            source,
            reference: Reference { registry: None, ..reference }.to_string(),
            credentials: self.credentials(image)?,
            stall_timeout: config.stall_timeout,
            bounds: config.bounds,
        };
        let worker = Worker::new(executable, ARGUMENT, config.authorities.as_deref(), &[], Arc::clone(workers));
        let ended = self.work(worker, order::write(&order)).await;
        let counter = if ended.is_ok() { &self.0.pulled } else { &self.0.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        match ended? {
            Ended::Done => store.find(&name).ok_or_else(|| format!("image {name} is gone again")),
            Ended::NoRoom => Err("the worker asked for room that it did not need".to_owned()),
        }
    }

    /// Has a worker do its work. When that goes wrong, or nobody waits for it any more, nothing of it is left.
    async fn work(&self, worker: Worker, order: io::Result<Vec<u8>>) -> Result<Ended, String> {
        let store = self.0.store.clone();
        // Dropped with this future; the worker is waited for all the same, since what it holds can be cleared when it is gone.
        let (_wanted, unwanted) = tokio::sync::oneshot::channel::<()>();
        let work = tokio::spawn(async move {
            let ended = worker.run_until(order, |_| false, async move { drop(unwanted.await) }).await;
            if ended.is_err() {
                let cleared = tokio::task::spawn_blocking(move || store.clear_staging()).await;
                if let Ok(Err(error)) = cleared {
                    tracing::warn!(%error, "what a worker left can't be removed yet");
                }
            }
            ended
        });
        work.await.map_err(|error| error.to_string())?
    }

    /// Who fetches: as the task says, else as the agent's operator does. Read anew each time, since passwords change.
    fn credentials(&self, image: &Image) -> Result<Option<Vec<u8>>, String> {
        match (&image.credentials, &self.0.config.credentials) {
            (Some(own), _) => Ok(Some(own.clone())),
            (None, Some(path)) => {
                let read = fs::read(path);
                read.map(Some).map_err(|error| format!("can't read the credentials '{}': {error}", path.display()))
            }
            (None, None) => Ok(None),
        }
    }

    fn alone(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut coming = self.0.coming.lock().unwrap_or_else(PoisonError::into_inner);
        coming.retain(|_, one| one.strong_count() > 0);
        if let Some(one) = coming.get(name).and_then(Weak::upgrade) {
            return one;
        }
        let one = Arc::new(tokio::sync::Mutex::new(()));
        coming.insert(name.to_owned(), Arc::downgrade(&one));
        one
    }
}

/// The image of a volume.
fn image_of(source: &VolumeSource) -> Option<&Image> {
    match source {
        VolumeSource::Image(image) => Some(image),
        _ => None,
    }
}

/// Whether a container needs any image of ours.
pub(crate) fn are_asked_for(asked: Option<&ContainerInfo>) -> bool {
    let has_volume = |info: &ContainerInfo| info.volumes.iter().any(|volume| image_of(&volume.source).is_some());
    asked.is_some_and(|info| info.docker.is_none() && (info.image.is_some() || has_volume(info)))
}

/// Whether this kernel has overlayfs.
fn has_overlay() -> bool {
    let text = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    text.lines().any(|line| line.split_whitespace().last() == Some("overlay"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_their_registries() {
        let mut config = ImagesConfig::usual(Path::new("/w"));
        let resolved = |config: &ImagesConfig, name: &str| {
            let (name, source, _) = config.resolve(name).unwrap();
            (name, source)
        };
        let url = |url: &str| Source::Url(url.to_owned());
        let whole = format!("{}/library/busybox:latest", hub::HOST);
        assert_eq!(resolved(&config, "busybox"), (whole.clone(), url(REGISTRY_DEFAULT)));
        assert_eq!(resolved(&config, &format!("{}/library/busybox", hub::NAME)).0, whole);
        assert_eq!(resolved(&config, "quay.io/a/b:1").1, url("https://quay.io"));
        assert_eq!(resolved(&config, "localhost:5000/b").1, url("http://localhost:5000"));
        assert_eq!(resolved(&config, "127.0.0.1:5000/b").1, url("http://127.0.0.1:5000"));
        assert_eq!(resolved(&config, "10.0.0.1:5000/b").1, url("https://10.0.0.1:5000"));
        config.registry = "http://user:secret@r.x:5000/".to_owned();
        assert_eq!(resolved(&config, "busybox").0, "r.x:5000/busybox:latest");
        config.registry = "/archives".to_owned();
        assert_eq!(resolved(&config, "busybox:1"), ("busybox:1".to_owned(), Source::Directory("/archives".into())));
        assert!(config.resolve("../etc").is_err());
    }
}

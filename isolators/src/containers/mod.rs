//! The containers of a machine as processes: the real side of the kernel's [`Containers`] port.
//!
//! Each request becomes a future on the host's tokio runtime; what blocks (files, `/proc`, isolators) goes to blocking
//! threads, at most [`BLOCKING_MAX`] at once. A running container costs the agent one descriptor (the pidfd of its
//! launcher) and one sleeping future: no thread, no polling. The table (`table.rs`) is the only state; all that must
//! outlive the agent is on disk (`record.rs`) and in the launchers. Ways through this folder: `launch.rs` starts,
//! by what `nursery.rs` forks, `watch.rs` waits for the end, `probe.rs` tries whether what runs is well, `recovery.rs` finds everything again; `nested.rs` has the
//! containers that calls ask for, `join.rs` what they share with those around them, `attach.rs` the talk with those that run.

mod attach;
mod image;
mod join;
mod launch;
mod nested;
mod nursery;
mod probe;
mod recovery;
mod table;
mod watch;

pub use attach::{AttachError, Listener, Speaker};
pub use image::{INSIDE_VARIABLE, Inside, RIGHTS_VARIABLE, RUNTIME_VARIABLE};
pub use nested::{LaunchError, RemoveError};

use crate::chain::{Chain, chained};
use crate::docker::DockerConfig;
use crate::fetcher::Fetcher;
use crate::images::Images;
use crate::isolator::CapabilitySets;
use crate::launcher::{Rotation, kill_signal};
use crate::process::{Process, Tree};
use crate::record::{self, Known};
use crate::secrets::Secrets;
use crate::sweep::{self, Swept};
use crate::{process, sandbox, syscall, volumes, way};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, Exit, LaunchSpec, Probe, SweepPolicy, Usage};
use kaon_kernel::id::{self, ContainerId};
use kaon_kernel::port::Containers;
use kaon_kernel::statistics::Statistics;
use kaon_kernel::time::Duration;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{self, Instant};
use table::{Answer, Table};
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch as signal};

/// How long the lock of a runtime directory is tried for: far longer than an exec takes.
const LOCK_PATIENCE: time::Duration = time::Duration::from_secs(1);

/// The pause between two tries.
const LOCK_PAUSE: time::Duration = time::Duration::from_millis(10);

/// The most containers of one machine, ended but not forgotten ones included. A launch beyond it is refused. (Linux's
/// default `pid_max` of 32,768 allows for two processes and a few children each.)
pub const CONTAINERS_MAX: usize = 10_000;

/// The most requests that wait for the end of one container. One is the rule; each restart of an asker may add one.
pub const WAITERS_MAX: usize = 64;

/// The most blocking operations at once, in all: launches, ends, measurements, recovery.
pub const BLOCKING_MAX: usize = 16;

/// The `PATH` of a container that brings none (Mesos's host default).
pub const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why the containers of a machine can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory that has to be absolute is not.
    #[error("'{0}' must be an absolute path")]
    Relative(PathBuf),
    /// Another process serves the same runtime directory.
    #[error("another process uses the runtime directory '{0}'")]
    InUse(PathBuf),
    /// The machine failed.
    #[error("can't {action} '{path}'")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What came back.
        #[source]
        source: io::Error,
    },
}

/// The executable that serves as launcher and as built-in executor, held open: a binary that is replaced or removed
/// while the agent runs changes nothing.
#[derive(Clone, Debug)]
pub struct Executable(Arc<OwnedFd>);

impl Executable {
    /// This process's own.
    pub fn current() -> Result<Self, Error> {
        Self::at(Path::new("/proc/self/exe"))
    }
    /// Another one, which must behave as ours does for [`crate::launcher::ARGUMENT`].
    pub fn at(path: &Path) -> Result<Self, Error> {
        let opened = File::options().read(true).custom_flags(libc::O_PATH).open(path);
        let failed = |source| Error::Io { action: "open the executable", path: path.to_owned(), source };
        let held: OwnedFd = opened.map_err(failed)?.into();
        // A container that finds the executable behind one of its processes must not write to it (attack 50,
        // CVE-2019-5736). Who may not make such a view has no rights on the executable that containers could use.
        let view = syscall::read_only_view(held.as_fd());
        Ok(Self(Arc::new(view.unwrap_or(held))))
    }
    /// A path that leads to it in this process, until this object is dropped.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// Makes what the executor of a container needs beyond its environment, such as a credential, as variables.
/// Called on a blocking thread, once for each launch.
pub type ExecutorEnvironment =
    Arc<dyn Fn(&ContainerId, &LaunchSpec) -> io::Result<Vec<(String, String)>> + Send + Sync>;

/// How the containers of a machine are served.
#[derive(Clone)]
pub struct ContainersConfig {
    /// Where sandboxes are, absolute. Users of tasks must be able to pass through it to reach them by path.
    pub work_directory: PathBuf,
    /// Where the records of containers are, absolute; ours alone. Lost with a reboot is fine (`/run`). The built-in
    /// executor needs one of its own.
    pub runtime_directory: PathBuf,
    /// Launcher and built-in executor.
    pub executable: Executable,
    /// Variables for executors.
    pub executor_environment: ExecutorEnvironment,
    /// The isolators.
    pub isolators: Chain,
    /// Whether tasks run as their own users (`--switch_user`, reference 15.2); this needs root. If not, they all run as
    /// the agent's user, and the users that they name are passed over.
    pub switch_user: bool,
    /// What brings the URIs of commands into sandboxes. Without one a launch that names any is refused.
    pub fetcher: Option<Fetcher>,
    /// Where images come from. Without them a launch that asks for one is refused.
    pub images: Option<Images>,
    /// Who knows what secrets by reference are. Without one a launch that names any is refused.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// The engine that runs containers of type DOCKER. Without one they are refused.
    pub docker: Option<DockerConfig>,
    /// What stands around the command of an executor that stays outside itself.
    pub inside: Option<Inside>,
    /// The rights of containers that are told none: those that the agent has said for the tasks of this executor.
    pub rights: Option<CapabilitySets>,
    /// How large the outputs of containers may be; without a bound, none.
    pub rotation: Option<Rotation>,
    /// The mark of the container that this process itself is in, if any (its variable
    /// [`MARK_VARIABLE`](crate::launcher::MARK_VARIABLE)): the end of that one is theirs too.
    pub parent: Option<String>,
}

impl fmt::Debug for ContainersConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("ContainersConfig");
        debug.field("work_directory", &self.work_directory).field("runtime_directory", &self.runtime_directory);
        debug.field("isolators", &self.isolators).field("switch_user", &self.switch_user);
        debug.field("fetcher", &self.fetcher).field("parent", &self.parent).finish_non_exhaustive()
    }
}

/// The containers of a machine. Dropping it leaves the containers alone: another one on the same directories finds them
/// by [`ContainerRequest::Recover`]. Requests that wait when it is dropped are not answered any more.
pub struct ProcessContainers {
    inner: Arc<Inner>,
    // Dropped with this object, which tells the futures that wait to stop and lets another one lock the directory.
    _open: signal::Sender<()>,
    _lock: Flock<File>,
}

struct Inner {
    config: ContainersConfig,
    runtime: Handle,
    table: Mutex<Table>,
    /// The containers that calls asked for.
    nested: Mutex<nested::Nest>,
    nursery: Arc<nursery::Nursery>,
    blocking: Semaphore,
    /// One recovery at a time: two would both find the same containers.
    recovering: tokio::sync::Mutex<()>,
    open: signal::Receiver<()>,
}

/// A launcher that runs, recognised beyond doubt.
struct Running {
    known: Known,
    pidfd: AsyncFd<OwnedFd>,
    /// The sandbox of its container, relative to the work directory; unknown of one that an older version started.
    sandbox: String,
}

impl ProcessContainers {
    /// Serves the containers below the directories of the configuration, which are made when missing. Work is done on
    /// `runtime`. Nothing is recovered until it is asked for.
    ///
    /// # Errors
    /// When another process serves the same runtime directory, or the directories can't be made.
    pub fn new(config: ContainersConfig, runtime: Handle) -> Result<Self, Error> {
        for path in [&config.work_directory, &config.runtime_directory] {
            if !path.is_absolute() {
                return Err(Error::Relative(path.clone()));
            }
        }
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { action: "make directory", path, source }
        };
        way::make(&config.work_directory, sandbox::WAY_MODE_BITS).map_err(failed(&config.work_directory))?;
        for path in [config.runtime_directory.clone(), record::all(&config.runtime_directory)] {
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed(&path))?;
        }
        let path = config.runtime_directory.join("lock");
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|source| Error::Io { action: "open lock", path: path.clone(), source })?;
        let lock = lock(file).ok_or_else(|| Error::InUse(config.runtime_directory.clone()))?;
        let (sender, open) = signal::channel(());
        let blocking = Semaphore::new(BLOCKING_MAX);
        let (table, recovering) = (Mutex::new(Table::default()), tokio::sync::Mutex::new(()));
        let nested = Mutex::default();
        let nursery = Arc::new(nursery::Nursery::of(config.executable.clone()));
        let inner = Inner { config, runtime, table, nested, nursery, blocking, recovering, open };
        Ok(Self { inner: Arc::new(inner), _open: sender, _lock: lock })
    }
}

/// Takes the lock of a runtime directory. A child of an agent that was killed holds what that held until it has become another program.
fn lock(mut file: File) -> Option<Flock<File>> {
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err(_) if Instant::now() >= until => return None,
            Err((back, _)) => file = back,
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

impl ProcessContainers {
    /// What a container uses now, figure by figure; nothing for one that does not run. For readers beside the actors.
    pub async fn statistics(&self, container: ContainerId) -> Option<Statistics> {
        let inner = Arc::clone(&self.inner);
        inner.statistics(container).await
    }

    /// The containers that run, in order, each with its sandbox and what it uses. One after the other: a picture that may
    /// be old at one end when it is taken at the other.
    pub async fn all_statistics(&self) -> Vec<(ContainerId, String, Statistics)> {
        let inner = Arc::clone(&self.inner);
        let all = inner.table().all();
        let mut told = Vec::with_capacity(all.len());
        for container in all {
            let running = inner.table().running(&container);
            if let Some(running) = running
                && let Some(figures) = inner.statistics(container.clone()).await
            {
                told.push((container, running.sandbox.clone(), figures));
            }
        }
        told
    }
}

impl fmt::Debug for ProcessContainers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ProcessContainers").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl Containers for ProcessContainers {
    fn request(&self, request: ContainerRequest, done: Answer) {
        // What concerns the table is done here, in the order of the requests; everything else, the answer too, later.
        let inner = Arc::clone(&self.inner);
        match request {
            ContainerRequest::Launch { container, spec } => {
                let reserved = id::check(container.as_str()).map_err(|error| error.to_string());
                let reserved = reserved.and_then(|()| inner.table().reserve(&container));
                self.inner.runtime.spawn(async move {
                    done(match reserved {
                        Ok(stopped) => inner.launch(container, *spec, None, stopped).await,
                        Err(reason) => ContainerOutcome::Failed { reason },
                    });
                });
            }
            ContainerRequest::Wait { container } => {
                let known = inner.table().wait(&container, done);
                if let Some((done, outcome)) = known {
                    self.inner.runtime.spawn(async move { done(outcome) });
                }
            }
            ContainerRequest::Kill { container, grace } => {
                let running = inner.table().kill(&container, grace);
                self.inner.runtime.spawn(async move {
                    if let Some(running) = running {
                        running.kill(grace);
                    }
                    done(ContainerOutcome::Signalled);
                });
            }
            ContainerRequest::Probe { container, of, probe, timeout } => match *probe {
                Probe::Command(spec) => {
                    let reserved = id::check(container.as_str()).map_err(|error| error.to_string());
                    let reserved = reserved.and_then(|()| inner.table().reserve(&container));
                    self.inner.runtime.spawn(async move {
                        done(ContainerOutcome::Probed(match reserved {
                            Ok(stopped) => inner.probe(container, of, spec, stopped, timeout).await,
                            Err(reason) => Err(reason),
                        }));
                    });
                }
                Probe::Http(target) => {
                    self.inner.runtime.spawn(async move {
                        done(ContainerOutcome::Probed(probe::by_http(&target, timeout).await));
                    });
                }
                Probe::Tcp(at) => {
                    self.inner.runtime.spawn(async move {
                        done(ContainerOutcome::Probed(probe::by_tcp(at, timeout).await));
                    });
                }
            },
            ContainerRequest::Usage { container } => {
                self.inner.runtime.spawn(async move { done(ContainerOutcome::Used(inner.usage(container).await)) });
            }
            ContainerRequest::Update { container, resources, limits } => {
                self.inner.runtime.spawn(async move {
                    let isolators = inner.config.isolators.clone();
                    let is_running = inner.table().running(&container).is_some();
                    let update =
                        move || isolators.update(&container, &resources, &limits).map_err(|error| chained(&error));
                    done(ContainerOutcome::Updated(match is_running {
                        true => inner.block(update).await.and_then(|updated| updated),
                        false => Err("the container does not run".to_owned()),
                    }));
                });
            }
            ContainerRequest::Volumes { make, remove, empty, links } => {
                self.inner.runtime.spawn(async move {
                    let work = inner.config.work_directory.clone();
                    let carry_out = move || {
                        make.iter().try_for_each(|path| volumes::make(&work, path).map(drop))?;
                        remove.iter().try_for_each(|path| volumes::remove(&work, path))?;
                        empty.iter().try_for_each(|path| volumes::empty(&work, path))?;
                        links.iter().try_for_each(|links| volumes::link(&work, links))
                    };
                    let carried_out = inner.block(carry_out).await;
                    let told = carried_out.and_then(|done| done.map_err(|error: volumes::Error| error.to_string()));
                    let told = told.inspect_err(|error| tracing::error!(error, "volumes can't be made as asked for"));
                    done(ContainerOutcome::Volumes(told));
                });
            }
            ContainerRequest::Recover { known } => {
                self.inner.runtime.spawn(async move { done(inner.recover(known).await) });
            }
            ContainerRequest::Cleanup { container } => {
                self.inner.runtime.spawn(async move { done(inner.forget(container).await) });
            }
            ContainerRequest::Sweep(policy) => {
                self.inner.runtime.spawn(async move { done(Arc::clone(&inner).sweep(policy).await) });
            }
        }
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is whole between any two statements that change it: a panic elsewhere does not spoil it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs blocking work, within the bound.
    async fn block<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        // The semaphore is never closed; and work that panics is a bug whose message is in the log.
        let _permit = self.blocking.acquire().await.map_err(|error| error.to_string())?;
        self.runtime.spawn_blocking(work).await.map_err(|error| error.to_string())
    }

    /// What a container uses, in the few figures that actors know.
    async fn usage(&self, container: ContainerId) -> Option<Usage> {
        let figures = self.statistics(container).await?;
        Some(Usage {
            user_time: Duration::nanos(figures.user_nanos.unwrap_or(0)),
            system_time: Duration::nanos(figures.system_nanos.unwrap_or(0)),
            memory_bytes: figures.memory_bytes.or(figures.resident_bytes).unwrap_or(0),
            processes: u32::try_from(figures.processes.unwrap_or(0)).unwrap_or(u32::MAX),
        })
    }

    async fn statistics(&self, container: ContainerId) -> Option<Statistics> {
        let running = self.table().running(&container)?;
        let isolators = self.config.isolators.clone();
        let measured = self.block(move || {
            let launcher = running.known.find().filter(Process::is_alive)?;
            let members = process::descendants(launcher.pid).ok()?;
            let usage = isolators.usage(&container, &Tree { launcher, members });
            usage.inspect_err(|error| tracing::warn!(%container, error = chained(error), "usage can't be read")).ok()
        });
        measured.await.ok().flatten()
    }

    async fn forget(&self, container: ContainerId) -> ContainerOutcome {
        for child in self.children(&container) {
            // What has not ended yet goes when it has.
            Box::pin(self.forget(child)).await;
        }
        if let Err(reason) = self.table().forget(&container) {
            return ContainerOutcome::Failed { reason };
        }
        self.forget_nested(&container);
        self.remove_record(container).await;
        ContainerOutcome::Cleaned
    }

    /// Removes the runtime directory of a container that nothing is left of.
    async fn remove_record(&self, container: ContainerId) {
        if id::check(container.as_str()).is_err() {
            return;
        }
        let directory = record::Directory::of(&self.config.runtime_directory, container.as_str());
        let work_directory = self.config.work_directory.clone();
        let remove = move || {
            // How long its sandbox stays counts from here. One that is gone stays no longer.
            let _ = directory.launcher().map(|launcher| sandbox::touch(&work_directory, &launcher.sandbox));
            directory.remove().map_err(|error| error.to_string())
        };
        let removed = self.block(remove).await;
        if let Err(error) = removed.and_then(|removed| removed) {
            // It will be destroyed at the next recovery, since nobody will know it.
            tracing::warn!(%container, error, "the runtime directory can't be removed");
        }
    }

    /// Removes old sandboxes.
    async fn sweep(self: Arc<Self>, policy: SweepPolicy) -> ContainerOutcome {
        let inner = Arc::clone(&self);
        let swept = self.block(move || {
            let is_kept = |name: &str| inner.table().contains(&ContainerId::trusted(name));
            sweep::sweep(&inner.config.work_directory, policy, is_kept).map_err(|error| error.to_string())
        });
        let swept = swept.await.and_then(|swept| swept);
        let swept = swept.inspect_err(|error| tracing::warn!(error, "old sandboxes can't be looked for"));
        // What was not looked at is there still.
        let Swept { removed, failed, left } = swept.unwrap_or(Swept { removed: 0, failed: 0, left: 1 });
        ContainerOutcome::Swept { removed, failed, left }
    }

    /// The end of a container, to all who wait for it.
    fn ended(&self, container: &ContainerId, exit: &Exit) {
        self.end_children(container);
        let waiters = self.table().ended(container, exit);
        for done in waiters {
            done(ContainerOutcome::Exited(exit.clone()));
        }
    }
}

impl Running {
    /// The launcher, if it is still that one. To be called within the runtime.
    fn of(known: Known, sandbox: String) -> io::Result<Option<Self>> {
        let pidfd = match syscall::pidfd_open(known.pid) {
            Ok(pidfd) => pidfd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        // The descriptor came first: if the process of that number is the right one now, the descriptor is its.
        if known.find().is_none() {
            return Ok(None);
        }
        Self::held(known, pidfd, sandbox).map(Some)
    }

    /// The launcher whose pidfd this is. To be called within the runtime.
    fn held(known: Known, pidfd: OwnedFd, sandbox: String) -> io::Result<Self> {
        Ok(Self { known, pidfd: syscall::until_readable(pidfd)?, sandbox })
    }

    /// Asks the launcher to end its tree. A launcher that is gone has done so, or will be healed.
    fn kill(&self, grace: Duration) {
        let pidfd = self.pidfd.as_fd();
        // Rounded up: a grace of less than a millisecond is not none.
        let sent = syscall::pidfd_queue(pidfd, kill_signal(), grace.0.div_ceil(1_000_000));
        // One that somebody stopped would not hear.
        let sent = sent.and_then(|()| syscall::pidfd_signal(pidfd, libc::SIGCONT));
        if let Err(error) = sent
            && error.raw_os_error() != Some(libc::ESRCH)
        {
            tracing::error!(launcher = self.known.pid, %error, "the launcher can't be signalled");
        }
    }
}

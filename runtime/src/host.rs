//! A host: its actors, its threads, and the way in for transport and http.
//!
//! ```text
//! let host = Host::prepare(config, factory)?;      // mailboxes stand: `deliver` queues from here on
//! let network = Transport::new(Arc::new(host.clone()), ..);
//! host.plug(Ports { network: Some(network), ..Ports::default() })?;
//! host.begin()?;                                   // the actors begin, in the order of the tree
//! let code = host.wait();
//! ```
//! Threads: one for the supervisor, one for each arbiter, one for the journal. All are joined before
//! [`Host::wait`] returns.

use crate::clock::HostClock;
use crate::directory::{Directory, Links};
use crate::journal::{Command, Journal, JournalQueue};
use crate::mailbox::Mailbox;
use crate::metrics::{Metrics, Series, flatten};
use crate::seat::{Factory, Plants};
use crate::supervise::{Report, Supervisor, panic_text};
use actix::{Actor, Addr, Arbiter, System};
use kaon_kernel::actor::mailbox::Bounds;
use kaon_kernel::actor::supervision::Tree;
use kaon_kernel::actor::{ActorKind, Address, Class, HostId, Link, exit};
use kaon_kernel::frame::{Envelope, Frame};
use kaon_kernel::port::{Containers, Ingress, Network, Refused, Streams};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What a host is made of.
pub struct HostConfig {
    /// This life of the process.
    pub id: HostId,
    /// The chance of all its actors comes from it.
    pub seed: u64,
    /// Its standing actors, and the rule by which they are restarted.
    pub tree: Tree,
    /// Where they persist.
    pub journal: Box<dyn Journal>,
    /// Threads that run actors, at least one. With two the allocator has its own; further ones are for children.
    pub arbiters: usize,
    /// The bounds of every mailbox.
    pub bounds: Bounds,
    /// Panics in place of handling the nth event (from 1) of any actor of a kind, each once.
    pub plants: Vec<(ActorKind, u64)>,
}

impl HostConfig {
    /// A host with two arbiters, the default bounds and nothing planted.
    pub fn new(id: HostId, seed: u64, tree: Tree, journal: Box<dyn Journal>) -> Self {
        Self { id, seed, tree, journal, arbiters: 2, bounds: Bounds::DEFAULT, plants: Vec::new() }
    }
}

/// The ways out of a host. What is missing when an effect needs it is counted and dropped; container requests come back
/// as failed.
#[derive(Default)]
pub struct Ports {
    /// To other hosts.
    pub network: Option<Arc<dyn Network>>,
    /// To readers behind the HTTP edge.
    pub streams: Option<Arc<dyn Streams>>,
    /// To the machine's containers.
    pub containers: Option<Arc<dyn Containers>>,
}

/// A port was plugged twice. The first stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} port is plugged already")]
pub struct AlreadyPlugged(pub &'static str);

/// The host has not stopped within the deadline: a handler or the disk does not return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host has not stopped within {0:?}")]
pub struct StillRunning(pub Duration);

#[derive(Default)]
pub(crate) struct PluggedPorts {
    pub(crate) network: OnceLock<Arc<dyn Network>>,
    pub(crate) streams: OnceLock<Arc<dyn Streams>>,
    pub(crate) containers: OnceLock<Arc<dyn Containers>>,
}

/// What all threads of a host share.
pub(crate) struct Shared {
    pub(crate) id: HostId,
    pub(crate) seed: u64,
    pub(crate) tree: Tree,
    pub(crate) bounds: Bounds,
    pub(crate) clock: HostClock,
    pub(crate) directory: Directory,
    pub(crate) links: Links,
    pub(crate) ports: PluggedPorts,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) journal: JournalQueue,
    pub(crate) factory: Factory,
    plants: Vec<(ActorKind, Arc<Plants>)>,
}

impl Shared {
    pub(crate) fn plants(&self, kind: ActorKind) -> Option<Arc<Plants>> {
        self.plants.iter().find(|(other, _)| *other == kind).map(|(_, plants)| Arc::clone(plants))
    }
}

/// The handle of a host. Clones are the same host; dropping the last does not stop it.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
    control: Arc<Control>,
}

struct Control {
    phase: Mutex<Phase>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Phase {
    Prepared { arbiters: usize, journal_thread: JoinHandle<()> },
    Running(Addr<Supervisor>),
    Exited(i32),
}

impl Control {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// Makes a host whose mailboxes take messages but whose actors have not begun. Fails when the journal's thread can't
    /// be started.
    pub fn prepare(config: HostConfig, factory: Factory) -> io::Result<Self> {
        let metrics = Arc::new(Metrics::default());
        let (journal, journal_thread) = JournalQueue::start(config.journal, Arc::clone(&metrics))?;
        let mut kinds: Vec<ActorKind> = config.plants.iter().map(|&(kind, _)| kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let of_kind = |kind| config.plants.iter().filter(move |plant| plant.0 == kind).map(|&(_, nth)| nth).collect();
        let plants =
            kinds.into_iter().map(|kind| (kind, Arc::new(Plants { at: of_kind(kind), handled: AtomicU64::new(0) })));
        let directory = Directory::default();
        for &kind in config.tree.actors {
            let address = Address::only(config.id, kind);
            let mailbox = Mailbox::new(address, config.bounds, Arc::clone(metrics.meter(kind)));
            assert!(directory.enter(Arc::new(mailbox)), "the tree lists {} twice", kind.word());
        }
        let shared = Shared {
            id: config.id,
            seed: config.seed,
            tree: config.tree,
            bounds: config.bounds,
            clock: HostClock::start(),
            directory,
            links: Links::default(),
            ports: PluggedPorts::default(),
            plants: plants.collect(),
            metrics,
            journal,
            factory,
        };
        let control = Control {
            phase: Mutex::new(Phase::Prepared { arbiters: config.arbiters.max(1), journal_thread }),
            changed: Condvar::new(),
            thread: Mutex::new(None),
        };
        Ok(Self { shared: Arc::new(shared), control: Arc::new(control) })
    }

    /// Prepares a host, plugs its ports and lets it begin.
    pub fn start(config: HostConfig, factory: Factory, ports: Ports) -> io::Result<Self> {
        let host = Self::prepare(config, factory)?;
        host.plug(ports).map_err(io::Error::other)?;
        host.begin()?;
        Ok(host)
    }

    /// Plugs ports in, before or after the host has begun; each once.
    pub fn plug(&self, ports: Ports) -> Result<(), AlreadyPlugged> {
        fn set<T>(slot: &OnceLock<T>, port: Option<T>, name: &'static str) -> Result<(), AlreadyPlugged> {
            port.map_or(Ok(()), |port| slot.set(port).map_err(|_| AlreadyPlugged(name)))
        }
        let slots = &self.shared.ports;
        set(&slots.network, ports.network, "network")?;
        set(&slots.streams, ports.streams, "streams")?;
        set(&slots.containers, ports.containers, "containers")
    }

    /// Lets the actors begin. Does nothing when they have.
    pub fn begin(&self) -> io::Result<()> {
        let mut phase = self.control.phase();
        let Phase::Prepared { arbiters, .. } = *phase else { return Ok(()) };
        let (ready, is_ready) = mpsc::channel();
        let (shared, control) = (Arc::clone(&self.shared), Arc::clone(&self.control));
        let body = move || {
            let journal = Arc::clone(&shared);
            let code = catch_unwind(AssertUnwindSafe(|| run(shared, arbiters, ready))).unwrap_or_else(|payload| {
                tracing::error!(why = panic_text(payload.as_ref()), "the host fell");
                journal.journal.ask(Command::Close);
                exit::ESCALATED
            });
            let ended = std::mem::replace(&mut *control.phase(), Phase::Exited(code));
            drop(ended);
            control.changed.notify_all();
        };
        let thread = std::thread::Builder::new().name("kaon-host".to_owned()).spawn(body)?;
        *self.control.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        let Ok(supervisor) = is_ready.recv() else {
            return Err(io::Error::other("the threads of the host could not be started"));
        };
        if let Phase::Prepared { journal_thread, .. } = std::mem::replace(&mut *phase, Phase::Running(supervisor.0)) {
            let _ = supervisor.1.send(journal_thread);
        }
        Ok(())
    }

    /// Waits until the host has stopped and all its threads are gone, and returns its exit code: what
    /// a standing actor finished with, zero after [`Host::stop`], [`exit::ESCALATED`] or
    /// [`exit::STORAGE`]. Blocks; not to be called from an actor or an async task.
    pub fn wait(&self) -> i32 {
        loop {
            if let Ok(code) = self.wait_until(None) {
                return code;
            }
        }
    }

    /// The exit code, when the host has stopped.
    pub fn exit_code(&self) -> Option<i32> {
        match *self.control.phase() {
            Phase::Exited(code) => Some(code),
            Phase::Prepared { .. } | Phase::Running(_) => None,
        }
    }

    /// Stops the host: its actors end where they stand, what they had asked to persist is still written. Blocks until it
    /// has stopped or the deadline has passed.
    pub fn stop(&self, deadline: Duration) -> Result<i32, StillRunning> {
        {
            let mut phase = self.control.phase();
            match &*phase {
                Phase::Running(supervisor) => supervisor.do_send(Report::Shutdown(0)),
                Phase::Exited(_) => {}
                Phase::Prepared { .. } => {
                    self.shared.journal.ask(Command::Close);
                    if let Phase::Prepared { journal_thread, .. } = std::mem::replace(&mut *phase, Phase::Exited(0)) {
                        let _ = journal_thread.join();
                    }
                    self.control.changed.notify_all();
                }
            }
        }
        self.wait_until(Some(Instant::now() + deadline)).map_err(|()| StillRunning(deadline))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<i32, ()> {
        let mut phase = self.control.phase();
        let code = loop {
            if let Phase::Exited(code) = *phase {
                break code;
            }
            phase = match deadline {
                None => self.control.changed.wait(phase).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(());
                    }
                    self.control.changed.wait_timeout(phase, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        drop(phase);
        let mut thread = self.control.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
        Ok(code)
    }

    /// The host's clock.
    pub fn clock(&self) -> &HostClock {
        &self.shared.clock
    }

    /// Its id.
    pub fn id(&self) -> HostId {
        self.shared.id
    }

    /// The numbers of the edges can be recorded beside those of the actors.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Every number with its type, in order of their names.
    pub fn series(&self) -> Vec<Series> {
        let mut depths = [0; ActorKind::COUNT];
        self.shared.directory.for_each(|mailbox| depths[mailbox.address.kind as usize] += mailbox.depth());
        self.shared.metrics.series(&depths, self.shared.clock.now())
    }

    /// Every number under its flat name, in order of the names.
    pub fn snapshot(&self) -> Vec<(String, f64)> {
        let mut flat = flatten(&self.series());
        flat.sort_by(|left, right| left.0.cmp(&right.0));
        flat
    }
}

impl Ingress for Host {
    fn deliver(&self, frame: Frame) -> Result<(), Refused> {
        let Envelope { to, class, .. } = *frame.envelope();
        if class == Class::Outside
            && to.kind == ActorKind::Framework
            && let Some(master) = self.shared.directory.find(Address::only(to.host, ActorKind::Master))
            && !self.shared.bounds.admits_to_hand_on(master.depth())
        {
            // What a proxy has taken it hands on, and who called hears nothing of a refusal there.
            master.meter.refused(class);
            return Err(Refused::Full(ActorKind::Master.word()));
        }
        self.shared.directory.find(to).ok_or(Refused::NoActor(to))?.offer(frame)
    }

    fn link(&self, link: Link) {
        self.shared.links.change(link);
    }
}

type Ready = mpsc::Sender<(Addr<Supervisor>, mpsc::Sender<JoinHandle<()>>)>;

/// The body of the host's thread: an actix system with the supervisor, and arbiters for the actors.
fn run(shared: Arc<Shared>, arbiters: usize, ready: Ready) -> i32 {
    let (journal_thread, take_journal_thread) = mpsc::channel();
    let supervised = Arc::clone(&shared);
    let system = System::new();
    let code = system.block_on(async move {
        let arbiters: Vec<Arbiter> = (0..arbiters).map(|_| Arbiter::new()).collect();
        let handles = arbiters.iter().map(Arbiter::handle).collect();
        let (done, is_done) = oneshot::channel();
        let supervisor = Supervisor::new(supervised, handles, done).start();
        let _ = ready.send((supervisor, journal_thread));
        let code = is_done.await.unwrap_or_else(|_| {
            tracing::error!("the supervisor is gone: the host stops");
            exit::ESCALATED
        });
        for arbiter in arbiters {
            arbiter.stop();
            let _ = arbiter.join();
        }
        code
    });
    shared.journal.ask(Command::Close);
    if let Ok(thread) = take_journal_thread.recv() {
        let _ = thread.join();
    }
    code
}

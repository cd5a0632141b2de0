//! The endpoint of a host: one UDP socket on which it connects to others and others connect to it.

use crate::ca::Credentials;
use crate::complaints::Complaints;
use crate::connector::{self, Target};
use crate::counters::{Counters, Snapshot};
use crate::identity::Identity;
use crate::permission::permits_frame;
use crate::reason::CloseReason;
use crate::session::{self, Failure, HELLO_WAIT_MAX, LEAVE_WAIT_MAX, stopped};
use crate::table::Table;
use crate::tls::{self, Settings, Trust};
use core::time::Duration;
use kaon_kernel::actor::HostId;
use kaon_kernel::frame::Frame;
use kaon_kernel::port::{Ingress, Network, Refused};
use quinn::Incoming;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What is asked of the kernel for each of the socket's two buffers, in bytes; it grants at most `net.core.rmem_max`.
/// With the default of 208 KiB a storm of handshakes loses packets and crawls (dependencies, section 4: 73 against 1,080
/// handshakes a second).
pub const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// A warning is given when the kernel grants less than this, in bytes.
const SOCKET_BUFFER_BYTES_MIN: usize = 1 << 20;

/// Handshakes of others that may be under way at once.
pub const HANDSHAKES_MAX: usize = 1024;

/// With more handshakes under way than this, others must prove their address first (RFC 9000, section 8.1.2).
const HANDSHAKES_UNPROVEN_MAX: usize = 256;

/// Addresses to which an endpoint may keep sessions. An agent knows a handful of masters, an executor its agent.
pub const TARGETS_MAX: usize = 1024;

/// How long [`Endpoint::close`] waits for goodbyes before it cuts the rest off.
const CLOSE_WAIT_MAX: Duration = LEAVE_WAIT_MAX.saturating_add(Duration::from_secs(2));

/// How long [`Endpoint::close`] waits until the last close frames are out.
const IDLE_WAIT_MAX: Duration = Duration::from_secs(1);

/// A silent session is kept alive with a packet so often.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// A session is over after so much silence: as short as is safe against a pause of a busy machine, and no longer than
/// masters wait for an answer to a ping (15 s, `--agent-ping-timeout`), who leave the watch over agents to sessions then.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(8);

/// How an endpoint is set up.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// This life of the process.
    pub host: HostId,
    /// What it shows to others; names its cluster, its role and itself.
    pub credentials: Credentials,
    /// Whom it believes.
    pub trust: Vec<Trust>,
    /// Where it listens. An executor, to whom nobody connects, gives port 0.
    pub bind: SocketAddr,
    /// A socket to use in place of one of its own, such as one of another network.
    pub inherited: Option<Arc<UdpSocket>>,
    /// A silent session is kept alive with a packet so often.
    pub keep_alive: Duration,
    /// A session from which nothing was heard for so long is over.
    pub idle_timeout: Duration,
}

impl EndpointConfig {
    /// With [`IDLE_TIMEOUT`], and a packet every 2 s in silence.
    pub fn new(host: HostId, credentials: Credentials, trust: Vec<Trust>, bind: SocketAddr) -> Self {
        Self { host, credentials, trust, bind, inherited: None, keep_alive: KEEP_ALIVE, idle_timeout: IDLE_TIMEOUT }
    }
}

/// Why an endpoint does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Credentials or trust are not usable.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The socket can't be had.
    #[error("socket at {address}: {source}")]
    Socket {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// More than [`TARGETS_MAX`].
    #[error("{TARGETS_MAX} addresses are connected to already")]
    TooManyTargets,
    /// It is closed.
    #[error("the endpoint is closed")]
    Closed,
}

/// What the tasks of an endpoint share.
pub(crate) struct Shared {
    pub(crate) host: HostId,
    pub(crate) identity: Identity,
    pub(crate) ingress: Arc<dyn Ingress>,
    pub(crate) quinn: quinn::Endpoint,
    pub(crate) table: Arc<Table>,
    pub(crate) counters: Counters,
    complaints: Complaints,
}

impl Shared {
    /// Counts how a session, or an attempt at one, came to its end.
    pub(crate) fn count(&self, failure: Failure) {
        match failure {
            Failure::Refused(reason) => self.counters.closed(reason),
            Failure::Closed(reason) => self.counters.closed_by_peer(reason),
        }
    }
}

/// The endpoint of a host. Its tasks end with it; [`Endpoint::close`] first lets them finish.
pub struct Endpoint {
    shared: Arc<Shared>,
    runtime: Handle,
    stop: watch::Sender<bool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    targets: BTreeMap<SocketAddr, watch::Sender<bool>>,
    tasks: JoinSet<()>,
    is_closed: bool,
}

impl Endpoint {
    /// Opens the socket and begins to take sessions. What comes in goes to `ingress`.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timers and sockets enabled.
    pub fn bind(config: EndpointConfig, ingress: Arc<dyn Ingress>) -> Result<Arc<Self>, Error> {
        let EndpointConfig { host, credentials, trust, bind, inherited, keep_alive, idle_timeout } = config;
        let Settings { endpoint, client, server } = tls::settings(&credentials, &trust, keep_alive, idle_timeout)?;
        let wrong = |source| Error::Socket { address: bind, source };
        let is_serving = server.is_some();
        let runtime = Arc::new(quinn::TokioRuntime);
        let socket = match inherited {
            Some(given) => given.try_clone().and_then(|given| prepared(given.into())),
            None => socket(bind),
        };
        let mut quinn = quinn::Endpoint::new(endpoint, server, socket.map_err(wrong)?, runtime).map_err(wrong)?;
        quinn.set_default_client_config(client);
        let shared = Arc::new(Shared {
            host,
            identity: credentials.identity().clone(),
            ingress,
            quinn,
            table: Arc::default(),
            counters: Counters::default(),
            complaints: Complaints::default(),
        });
        let stop = watch::Sender::new(false);
        let mut state = State::default();
        if is_serving {
            state.tasks.spawn(accept(Arc::clone(&shared), stop.subscribe()));
        }
        Ok(Arc::new(Self { shared, runtime: Handle::current(), stop, state: Mutex::new(state) }))
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.shared.quinn.local_addr()
    }

    /// Who it is to others.
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// Keeps a session to an address up from now on. Does nothing for an address that it keeps one to already; to change
    /// whom to expect there, disconnect first.
    pub fn connect(&self, target: impl Into<Target>) -> Result<(), Error> {
        let target = target.into();
        let mut state = self.lock();
        if state.is_closed {
            return Err(Error::Closed);
        }
        if state.targets.contains_key(&target.address) {
            return Ok(());
        }
        if state.targets.len() >= TARGETS_MAX {
            return Err(Error::TooManyTargets);
        }
        // What has ended since is of no use to anybody.
        while state.tasks.try_join_next().is_some() {}
        let stop = watch::Sender::new(false);
        let keeping = connector::keep(Arc::clone(&self.shared), target.clone(), stop.subscribe());
        state.targets.insert(target.address, stop);
        state.tasks.spawn_on(keeping, &self.runtime);
        Ok(())
    }

    /// Says goodbye to the peer at an address that was connected to, and does not connect again. Returns at once; the
    /// host hears of it through [`Ingress::link`].
    pub fn disconnect(&self, address: SocketAddr) {
        if let Some(stop) = self.lock().targets.remove(&address) {
            stop.send_replace(true);
        }
    }

    /// What it has counted.
    pub fn counters(&self) -> Snapshot {
        self.shared.counters.snapshot(self.shared.table.len())
    }

    /// Says goodbye to all peers: what is queued is written and read, for at most [`LEAVE_WAIT_MAX`]; then everything is
    /// closed. Nothing is taken in from its begin on, nothing is left running at its end.
    pub async fn close(&self) {
        let mut tasks = {
            let mut state = self.lock();
            state.is_closed = true;
            self.stop.send_replace(true);
            for stop in core::mem::take(&mut state.targets).into_values() {
                stop.send_replace(true);
            }
            core::mem::take(&mut state.tasks)
        };
        let ended = timeout(CLOSE_WAIT_MAX, async { while tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!("some sessions did not end in time");
        }
        self.cut();
        // Whoever misses a close frame runs into its idle timeout.
        let _ = timeout(IDLE_WAIT_MAX, self.shared.quinn.wait_idle()).await;
    }

    fn cut(&self) {
        self.shared.quinn.close(CloseReason::Closing.variable(), CloseReason::Closing.word().as_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Network for Endpoint {
    fn send(&self, frame: Frame) -> Result<(), Refused> {
        let to = frame.envelope().to;
        let session = self.shared.table.of_host(to.host).ok_or(Refused::NoSession(to.host))?;
        // The peer would end the session over it.
        if !permits_frame(self.shared.identity.role, session.identity.role, &frame)
            || frame.envelope().from.host != self.shared.host
        {
            return Err(Refused::Misdirected(to));
        }
        let queued = session.outbox.push(frame);
        if matches!(queued, Err(Refused::Full(_))) {
            self.shared.counters.refused_full.add(1);
        }
        queued
    }
}

fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&address.into())?;
    prepared(socket)
}

fn prepared(socket: Socket) -> io::Result<UdpSocket> {
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    let granted = socket.recv_buffer_size()?.min(socket.send_buffer_size()?);
    if granted < SOCKET_BUFFER_BYTES_MIN {
        tracing::warn!(granted, "small UDP buffers: raise net.core.rmem_max and net.core.wmem_max");
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Takes those who connect, until `stop`; then waits for their goodbyes.
async fn accept(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut sessions = JoinSet::new();
    let gate = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let stopping = stop.clone();
    loop {
        let incoming = tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = sessions.join_next() => continue,
            incoming = shared.quinn.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let Ok(permit) = Arc::clone(&gate).try_acquire_owned() else {
            shared.counters.closed(CloseReason::Crowded);
            incoming.refuse();
            continue;
        };
        let under_way = HANDSHAKES_MAX - gate.available_permits();
        if under_way > HANDSHAKES_UNPROVEN_MAX && incoming.may_retry() {
            // Fails only for one that may not, which was just ruled out.
            let _ = incoming.retry();
            continue;
        }
        sessions.spawn(take(Arc::clone(&shared), incoming, permit, stopping.clone()));
    }
    while sessions.join_next().await.is_some() {}
}

async fn take(shared: Arc<Shared>, incoming: Incoming, permit: OwnedSemaphorePermit, mut stop: watch::Receiver<bool>) {
    let peer = incoming.remote_address();
    let stopping = stop.clone();
    let greeting = async {
        let connection = match timeout(HELLO_WAIT_MAX, incoming).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "no handshake");
                let failure = Failure::of_connection(&error);
                shared.count(failure);
                return Err(failure);
            }
            Err(_) => {
                shared.count(Failure::Refused(CloseReason::Silent));
                return Err(Failure::Refused(CloseReason::Silent));
            }
        };
        session::answer(&shared, &connection).await
    };
    let greeted = tokio::select! {
        () = stopped(&mut stop) => return,
        greeted = greeting => greeted,
    };
    drop(permit);
    match greeted {
        Ok(greeted) => {
            session::stand(&shared, greeted, stopping).await;
        }
        Err(Failure::Refused(reason)) => {
            if let Some(unsaid) = shared.complaints.next(reason, Instant::now()) {
                tracing::warn!(%peer, reason = reason.word(), unsaid, "refused");
            }
        }
        Err(Failure::Closed(reason)) => tracing::debug!(%peer, reason = reason.word(), "gone before it was known"),
    }
}

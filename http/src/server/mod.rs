//! The HTTP/1.1 server: connections and their bounds. What a request means is its handler's matter.
//!
//! Every cost that a stranger can cause is bounded by a field of [`Limits`]: connections, size and time of a head, size
//! and time of a body, bodies of all connections together, time without progress of a reader. An idle keep-alive
//! connection stays open for as long as there is room: clients of Mesos treat a connection that the server closed as a
//! failure. When there is no room, an idle connection makes some (`room.rs` says which); when all are at work the newcomer
//! reads 503.
//!
//! HTTP/2 is not spoken; `Upgrade` and `CONNECT` are never granted.

mod complaint;
mod connection;
mod gzip;
mod request;
mod room;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::complaint::Complaint;
pub(crate) use self::connection::Hangup;
use self::connection::{Connection, Progress};
pub use self::request::Request;
use self::room::{Room, Seat, Source};
use crate::answer::Answer;

/// What a server spends on strangers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once.
    pub connections: usize,
    /// From the first byte of a head, or from the connection's beginning, to the head's end.
    pub head_time: Duration,
    /// A head larger than this answers 431.
    pub head_bytes: usize,
    /// A body larger than this answers 413.
    pub body_bytes: usize,
    /// From the head's end to the body's; a slower one answers 408.
    pub body_time: Duration,
    /// Bytes of bodies that are being read, over all connections; beyond it answers 503.
    pub bodies_bytes: usize,
    /// A reader that takes nothing for so long is hung up on. Five heartbeats of a stream.
    pub stall_time: Duration,
    /// How long answers under way may take once the server is asked to end.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            head_time: Duration::from_secs(15),
            head_bytes: 64 << 10,
            body_bytes: 16 << 20,
            body_time: Duration::from_secs(60),
            bodies_bytes: 1 << 30,
            stall_time: Duration::from_secs(75),
            grace: Duration::from_secs(1),
        }
    }
}

/// How many connections may wait to be accepted: a thousand frameworks that come back at one moment. The system's own bound
/// (`net.core.somaxconn`) holds as well. One that finds no place tries again after a second.
const BACKLOG: u32 = 4096;

/// Listens for connections. To be called within a tokio runtime.
///
/// # Errors
/// When the address can't be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // One that was just left may be taken again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Never panics, whatever the request holds.
    fn handle(self: Arc<Self>, request: Request) -> impl Future<Output = Answer> + Send;
}

/// Serves connections until `shutdown` is done; then takes no more, lets answers under way end within [`Limits::grace`],
/// and hangs up on the rest.
///
/// # Errors
/// Never for a single connection's sake; when the listener itself is broken.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let room = Arc::new(Room::default());
    let bodies = Arc::new(AtomicUsize::new(0));
    let (ending, is_ending) = watch::channel(false);
    let (mut connections, mut refusals) = (JoinSet::new(), JoinSet::new());
    let (mut unaccepted, mut turned_away) = (Complaint::default(), Complaint::default());
    let tick = limits.head_time.min(limits.stall_time) / 4;
    let mut sweep = tokio::time::interval(tick.clamp(SWEEP_LEAST, SWEEP_MOST));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        let (socket, source) = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            Some(_) = refusals.join_next(), if !refusals.is_empty() => continue,
            _ = sweep.tick() => {
                room.sweep(&limits);
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => (socket, Source::from(address.ip())),
                Err(error) if is_passing(&error) => {
                    if let Some(unsaid) = unaccepted.next(Instant::now()) {
                        tracing::warn!(%error, unsaid, "a connection could not be accepted");
                    }
                    // Out of descriptors or memory: what is open has to end first.
                    room.make();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        if connections.len() >= limits.connections && !room.make() {
            if let Some(unsaid) = turned_away.next(Instant::now()) {
                tracing::warn!(limit = limits.connections, unsaid, "a connection was refused: all are busy");
            }
            if refusals.len() < REFUSALS_MAX {
                refusals.spawn(refuse(socket));
            }
            continue;
        }
        let progress = Arc::new(Progress::default());
        let seat = room.enter(source, Arc::clone(&progress));
        let connection = Connection {
            handler: Arc::clone(&handler),
            limits,
            progress,
            bodies: Arc::clone(&bodies),
            is_ending: is_ending.clone(),
        };
        connections.spawn(run(connection, socket, seat));
    }
    drop(listener);
    // Nobody listening means that no connection is left.
    let _ = ending.send(true);
    let rest = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.grace, rest).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// How long the server waits before it accepts again after the system had no room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How often those are looked for that are too slow: a quarter of the shortest time that they have, within these bounds.
const SWEEP_LEAST: Duration = Duration::from_millis(5);
const SWEEP_MOST: Duration = Duration::from_secs(2);

/// Newcomers that are being told at once that there is no room; more of them are hung up on without a word.
const REFUSALS_MAX: usize = 256;

/// How long a newcomer has to read that there is no room.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// What a newcomer reads when all connections are at work.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 39\r\n\
    Connection: close\r\n\r\nToo many connections; try again later.\n";

/// Tells a newcomer that there is no room. What it sends is read and thrown away: a connection that is closed with something
/// unread takes the answer back.
async fn refuse(mut socket: TcpStream) {
    let told = async {
        socket.write_all(NO_ROOM).await?;
        socket.shutdown().await?;
        let mut rest = [0; 1024];
        while socket.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    if let Ok(Err(error)) = tokio::time::timeout(REFUSAL_TIME, told).await {
        tracing::debug!(%error, "a newcomer was not there to be refused");
    }
}

async fn run<H: Handler>(connection: Connection<H>, socket: TcpStream, seat: Seat) {
    // Small records must not wait for each other's acknowledgement.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    connection.run(socket).await;
    drop(seat);
}

/// Whether accepting may work again later.
fn is_passing(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

//! One session: how two hosts come to trust each other, and what runs while they do.
//!
//! ```text
//! connects                                        is connected to
//!    |  <----------- TLS 1.3, both certificates ------------> |
//!    |  control stream: Hello ------------------------------> |  takes its place in the table, or refuses
//!    |  <------------------------------ control stream: Hello |
//!    |  <== frames: one stream for each conversation, ======> |
//!    |      urgent ones on the control stream                 |
//!    |  end of the control stream --------------------------> |  goodbye: reads what is left, then closes
//! ```
//!
//! What a session promises its host: `Up` before the first frame, `Down` after the last, never two `Up` for one peer in
//! a row, and all of it told by one task, so nothing overtakes. What it does not promise: that a queued frame arrives.
//! A refusal goes over the wire as the code and the words of a [`CloseReason`].

use crate::connector::Target;
use crate::endpoint::Shared;
use crate::identity::Identity;
use crate::lane::{self, Ended};
use crate::outbox::{Outbox, Stage, URGENT};
use crate::permission::may_meet;
use crate::reason::CloseReason;
use crate::table::Claim;
use core::future::ready;
use core::time::Duration;
use kaon_kernel::actor::{Address, HostId, Link, LinkState, Term};
use kaon_kernel::frame::{Frame, Kind, Route};
use kaon_kernel::message::session::{ArchivedPeerRole, Hello, PROTOCOL, PeerRole};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

/// The largest hello, in bytes without its header: a cluster id and a few numbers.
const HELLO_BYTES_MAX: u32 = 1024;

/// How long a peer may take from the end of the TLS handshake until the hellos are exchanged.
pub(crate) const HELLO_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a goodbye may take: what is queued is written, and the peer reads it.
pub const LEAVE_WAIT_MAX: Duration = Duration::from_secs(3);

/// A session with a peer.
pub(crate) struct Session {
    pub(crate) host: HostId,
    pub(crate) identity: Identity,
    pub(crate) is_opened_by_us: bool,
    pub(crate) outbox: Outbox,
    connection: Connection,
    /// Why we closed it, if it was us.
    closed_for: OnceLock<CloseReason>,
    ended: watch::Sender<bool>,
}

/// A session that both sides have agreed to.
pub(crate) struct Greeted {
    claim: Claim,
    control: (SendStream, RecvStream),
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// We refuse.
    Refused(CloseReason),
    /// The peer does, or the connection broke.
    Closed(CloseReason),
}

impl Session {
    /// Closes it at once. The first reason counts.
    pub(crate) fn close(&self, reason: CloseReason) {
        if self.closed_for.set(reason).is_ok() {
            self.connection.close(reason.variable(), reason.word().as_bytes());
        }
    }

    /// Waits until it has ended and its host was told so.
    pub(crate) async fn ended(&self) {
        // An error would mean that the sender is gone, which lives in this very session.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    pub(crate) fn set_ended(&self) {
        self.ended.send_replace(true);
    }

    fn link(&self, state: LinkState) -> Link {
        Link { host: self.host, role: self.identity.role, identity: self.identity.name.clone(), state }
    }
}

impl Failure {
    /// What a failed handshake means: a transport error is one that we found ourselves.
    pub(crate) fn of_connection(error: &ConnectionError) -> Self {
        let reason = CloseReason::of_connection(error);
        match error {
            ConnectionError::TransportError(_) => Self::Refused(reason),
            _ => Self::Closed(reason),
        }
    }

    fn of_lost(connection: &Connection) -> Self {
        connection.close_reason().map_or(Self::Closed(CloseReason::Lost), |error| Self::of_connection(&error))
    }
}

/// Introduces us to a host that we have connected to. Nothing is said to a host whose certificate does not please.
pub(crate) async fn introduce(shared: &Shared, connection: &Connection, target: &Target) -> Result<Greeted, Failure> {
    settle(shared, connection, async {
        let identity = certified(shared, connection)?;
        if !target.expects(&identity) {
            return Err(Failure::Refused(CloseReason::Unexpected));
        }
        let mut control = connection.open_bi().await.map_err(|error| Failure::of_connection(&error))?;
        say_hello(shared, connection, &mut control.0, HostId(0)).await?;
        let host = hear_hello(shared, connection, &mut control.1, &identity).await?;
        let claim = claim(shared, connection, identity, host, true).await?;
        Ok(Greeted { claim, control })
    })
    .await
}

/// Lets a host that has connected to us introduce itself, and answers.
pub(crate) async fn answer(shared: &Shared, connection: &Connection) -> Result<Greeted, Failure> {
    settle(shared, connection, async {
        let identity = certified(shared, connection)?;
        let mut control = connection.accept_bi().await.map_err(|error| Failure::of_connection(&error))?;
        let host = hear_hello(shared, connection, &mut control.1, &identity).await?;
        let claim = claim(shared, connection, identity, host, false).await?;
        say_hello(shared, connection, &mut control.0, host).await?;
        Ok(Greeted { claim, control })
    })
    .await
}

/// Bounds an introduction in time, counts how it failed, and tells the peer.
async fn settle(
    shared: &Shared,
    connection: &Connection,
    introduction: impl Future<Output = Result<Greeted, Failure>>,
) -> Result<Greeted, Failure> {
    let outcome = timeout(HELLO_WAIT_MAX, introduction).await;
    let outcome = outcome.unwrap_or(Err(Failure::Refused(CloseReason::Silent)));
    if let Err(failure) = outcome {
        shared.count(failure);
        if let Failure::Refused(reason) = failure {
            connection.close(reason.variable(), reason.word().as_bytes());
        }
    }
    outcome
}

/// Who the peer is by its certificate, which TLS has verified, held against who we are.
fn certified(shared: &Shared, connection: &Connection) -> Result<Identity, Failure> {
    let identity = identity_of(connection).ok_or(Failure::Refused(CloseReason::NoCertificate))?;
    if identity.cluster != shared.identity.cluster {
        Err(Failure::Refused(CloseReason::Cluster))
    } else if !may_meet(identity.role, shared.identity.role) {
        Err(Failure::Refused(CloseReason::Role))
    } else {
        Ok(identity)
    }
}

/// Who the peer is. None only before TLS has verified it: what it verifies carries an identity.
pub(crate) fn identity_of(connection: &Connection) -> Option<Identity> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    Identity::of_certificate(chain.first()?).ok()
}

async fn say_hello(
    shared: &Shared,
    connection: &Connection,
    stream: &mut SendStream,
    to: HostId,
) -> Result<(), Failure> {
    let route =
        Route { to: Address::outside(to), from: Address::outside(shared.host), sequence: 0, term: Term::default() };
    let identity = &shared.identity;
    let hello = Hello { protocol: PROTOCOL, cluster: identity.cluster.clone(), host: shared.host, role: identity.role };
    let frame = Frame::encode(route, &hello);
    stream.write_all(frame.bytes()).await.map_err(|_| Failure::of_lost(connection))
}

/// Reads a hello and holds it against the certificate and against us. Gives the peer's host id.
async fn hear_hello(
    shared: &Shared,
    connection: &Connection,
    stream: &mut RecvStream,
    identity: &Identity,
) -> Result<HostId, Failure> {
    let read = lane::read_frame(stream, |envelope| match envelope.kind {
        Kind::Hello if envelope.length <= HELLO_BYTES_MAX => Ok(()),
        Kind::Hello => Err(CloseReason::Oversized),
        _ => Err(CloseReason::NoHello),
    });
    let frame = match read.await {
        Ok(Some(frame)) => frame,
        Ok(None) | Err(Ended::Finished) => return Err(Failure::Refused(CloseReason::NoHello)),
        Err(Ended::Refused(reason)) => return Err(Failure::Refused(reason)),
        Err(Ended::Lost) => return Err(Failure::of_lost(connection)),
    };
    let hello = frame.body::<Hello>().ok_or(Failure::Refused(CloseReason::NoHello))?;
    let host = HostId(hello.host.0.to_native());
    let role = match hello.role {
        ArchivedPeerRole::Master => PeerRole::Master,
        ArchivedPeerRole::Agent => PeerRole::Agent,
        ArchivedPeerRole::Executor => PeerRole::Executor,
    };
    let refusal = if hello.protocol != PROTOCOL {
        CloseReason::Protocol
    } else if hello.cluster != shared.identity.cluster.as_str() {
        CloseReason::Cluster
    } else if role != identity.role {
        CloseReason::Role
    } else if host == shared.host {
        CloseReason::Itself
    } else if frame.envelope().from.host != host {
        CloseReason::Spoofed
    } else {
        return Ok(host);
    };
    Err(Failure::Refused(refusal))
}

async fn claim(
    shared: &Shared,
    connection: &Connection,
    identity: Identity,
    host: HostId,
    is_opened_by_us: bool,
) -> Result<Claim, Failure> {
    let session = Arc::new(Session {
        host,
        identity,
        is_opened_by_us,
        outbox: Outbox::new(host),
        connection: connection.clone(),
        closed_for: OnceLock::new(),
        ended: watch::Sender::new(false),
    });
    shared.table.claim(session, shared.host).await.map_err(Failure::Refused)
}

/// Runs a session until it ends, or until `stop` says that we leave. Tells the host of `Up`, of congestion, of `Down`.
pub(crate) async fn stand(shared: &Arc<Shared>, greeted: Greeted, stop: watch::Receiver<bool>) -> CloseReason {
    let Greeted { claim, control: (send, recv) } = greeted;
    let session = Arc::clone(&claim.session);
    shared.counters.established.add(1);
    tracing::info!(peer = %session.identity, host = %session.host, "session up");
    shared.ingress.link(session.link(LinkState::Up));
    let mut standing = Standing {
        shared: Arc::clone(shared),
        session: Arc::clone(&session),
        readers: JoinSet::new(),
        writers: JoinSet::new(),
        lanes: 1,
        lanes_unfinished: 0,
        is_congested: false,
        leaves_by: None,
    };
    standing.read(recv, true);
    standing.write(URGENT, Some(send));
    let failure = standing.run(stop).await;
    let failure = session.closed_for.get().map_or(failure, |reason| Failure::Refused(*reason));
    // Counted first, so that whoever sees the session closed sees it counted too.
    shared.count(failure);
    if let Failure::Refused(reason) = failure {
        session.close(reason);
    }
    // Only when no task can hand over another frame is the link down.
    standing.readers.shutdown().await;
    standing.writers.shutdown().await;
    shared.counters.lost.add(session.outbox.advance(Stage::Closed) as u64);
    let (Failure::Refused(reason) | Failure::Closed(reason)) = failure;
    let by_us = matches!(failure, Failure::Refused(_));
    tracing::info!(peer = %session.identity, host = %session.host, reason = reason.word(), by_us, "session down");
    shared.ingress.link(session.link(LinkState::Down));
    drop(claim);
    reason
}

/// The tasks of a session that stands.
struct Standing {
    shared: Arc<Shared>,
    session: Arc<Session>,
    /// Each gives whether it was the control stream, and how it ended.
    readers: JoinSet<(bool, Ended)>,
    /// Each gives its lane, and why it could not go on.
    writers: JoinSet<(usize, Result<(), CloseReason>)>,
    /// Lanes that have a writer, or had.
    lanes: usize,
    /// Lanes whose writer runs; the urgent one does not count.
    lanes_unfinished: usize,
    /// What the host was told last.
    is_congested: bool,
    /// When we have begun to say goodbye: until when.
    leaves_by: Option<Instant>,
}

impl Standing {
    async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Failure {
        let session = Arc::clone(&self.session);
        loop {
            let leaves_by = self.leaves_by;
            tokio::select! {
                error = session.connection.closed() => return Failure::of_connection(&error),
                stream = session.connection.accept_uni() => if let Ok(stream) = stream {
                    self.read(stream, false);
                },
                Some(done) = self.readers.join_next() => match outcome(done) {
                    (true, Ended::Finished) => return self.drain().await,
                    (_, Ended::Refused(reason)) => return self.refuse(reason),
                    (_, Ended::Finished | Ended::Lost) => {}
                },
                Some(done) = self.writers.join_next() => match done {
                    Ok((_, Err(CloseReason::Stream))) => return self.refuse(CloseReason::Stream),
                    Ok((URGENT, _)) => {}
                    Ok(_) => self.lanes_unfinished -= 1,
                    // A lane that nobody writes any more must not look as if it stood.
                    Err(_) => return self.refuse(CloseReason::Other),
                },
                () = session.outbox.changed() => self.look_at_outbox(),
                () = stopped(&mut stop), if leaves_by.is_none() => {
                    self.leaves_by = Some(Instant::now() + LEAVE_WAIT_MAX);
                    session.outbox.advance(Stage::Draining);
                    self.look_at_outbox();
                }
                () = sleep_until(leaves_by.unwrap_or_else(Instant::now)), if leaves_by.is_some() => {
                    return Failure::Refused(CloseReason::Closing);
                }
            }
            if self.leaves_by.is_some() && self.lanes_unfinished == 0 {
                session.outbox.advance(Stage::Leaving);
            }
        }
    }

    /// The peer has said goodbye. Its lanes had arrived before that, so all that is left is to read them.
    async fn drain(&mut self) -> Failure {
        let session = Arc::clone(&self.session);
        session.outbox.advance(Stage::Draining);
        loop {
            tokio::select! {
                biased;
                stream = session.connection.accept_uni() => match stream {
                    Ok(stream) => self.read(stream, false),
                    Err(error) => return Failure::of_connection(&error),
                },
                Some(done) = self.readers.join_next() => if let (_, Ended::Refused(reason)) = outcome(done) {
                    return self.refuse(reason);
                },
                () = ready(()), if self.readers.is_empty() => return Failure::Refused(CloseReason::Closing),
            }
        }
    }

    fn refuse(&self, reason: CloseReason) -> Failure {
        tracing::warn!(peer = %self.session.identity, reason = reason.word(), "session refused");
        Failure::Refused(reason)
    }

    fn look_at_outbox(&mut self) {
        let (lanes, is_congested) = self.session.outbox.status();
        while self.lanes < lanes {
            self.write(self.lanes, None);
            self.lanes += 1;
            self.lanes_unfinished += 1;
        }
        if is_congested != self.is_congested {
            self.is_congested = is_congested;
            let state = if is_congested { LinkState::Congested } else { LinkState::Flowing };
            self.shared.ingress.link(self.session.link(state));
        }
    }

    fn read(&mut self, mut stream: RecvStream, is_control: bool) {
        let (shared, session) = (Arc::clone(&self.shared), Arc::clone(&self.session));
        self.readers.spawn(async move { (is_control, lane::read(&shared, &session, &mut stream).await) });
    }

    /// Starts the writer of a lane, on a stream of its own unless one is given.
    fn write(&mut self, lane: usize, stream: Option<SendStream>) {
        let (shared, session) = (Arc::clone(&self.shared), Arc::clone(&self.session));
        self.writers.spawn(async move {
            let stream = match stream {
                Some(stream) => {
                    // Before all lanes, whenever both have something to send. Fails only on a closed stream.
                    let _ = stream.set_priority(1);
                    Ok(stream)
                }
                None => session.connection.open_uni().await,
            };
            let written = match stream {
                Ok(mut stream) => lane::write(&shared, &session, lane, &mut stream).await,
                Err(error) => Err(CloseReason::of_connection(&error)),
            };
            (lane, written)
        });
    }
}

/// How a reader ended. One that panicked did so in the host's hands: the session can't vouch for its lane any more.
fn outcome(done: Result<(bool, Ended), JoinError>) -> (bool, Ended) {
    done.unwrap_or((false, Ended::Refused(CloseReason::Other)))
}

/// Waits until `stop` says so, or nobody is left to say it.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

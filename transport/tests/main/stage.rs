//! What the tests share: a cluster's authority, endpoints with an ingress that remembers, frames, and a raw QUIC peer.

use kaon_kernel::actor::{ActorKind, Address, Class, HostId, Link, LinkState, Term};
use kaon_kernel::frame::{Frame, Root, Route};
use kaon_kernel::id::{ExecutorId, FrameworkId};
use kaon_kernel::message::agent_master::{ToAgent, ToMaster};
use kaon_kernel::message::session::{Hello, PROTOCOL, PeerRole};
use kaon_kernel::message::{AgentMessage, MasterMessage};
use kaon_kernel::port::{Ingress, Refused};
use kaon_transport::{Authority, Credentials, Endpoint, EndpointConfig, Request, Trust};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, RecvStream, SendStream};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// No event of a test takes longer, or the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const MASTER: HostId = HostId(0x1001);
pub(crate) const AGENT: HostId = HostId(0x2002);

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn authority() -> Authority {
    Authority::create("test", "cluster").expect("an authority")
}

pub(crate) fn issue(authority: &Authority, role: PeerRole, name: &str) -> Credentials {
    let names = vec!["127.0.0.1".into(), "localhost".into()];
    authority.issue(&Request { role, name: name.into(), names }).expect("a certificate")
}

/// The trust of a cluster in its own authority.
pub(crate) fn trust(authority: &Authority) -> Vec<Trust> {
    let roles = vec![PeerRole::Master, PeerRole::Agent];
    vec![Trust { authority: authority.certificate().clone(), roles }]
}

/// Remembers what reaches a host, in order.
#[derive(Default)]
pub(crate) struct Host {
    seen: Mutex<Seen>,
    changed: Notify,
    /// Whether its mailboxes have no room.
    is_full: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Link(HostId, LinkState),
    /// From whom, and the sequence number.
    Frame(Address, u64),
}

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    frames: Vec<Frame>,
    links: Vec<Link>,
}

impl Ingress for Host {
    fn deliver(&self, frame: Frame) -> Result<(), Refused> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(Refused::Full("actor"));
        }
        let mut seen = self.seen.lock().expect("not poisoned");
        seen.events.push(Event::Frame(frame.envelope().from, frame.envelope().sequence));
        seen.frames.push(frame);
        drop(seen);
        self.changed.notify_waiters();
        Ok(())
    }

    fn link(&self, link: Link) {
        let mut seen = self.seen.lock().expect("not poisoned");
        seen.events.push(Event::Link(link.host, link.state));
        seen.links.push(link);
        drop(seen);
        self.changed.notify_waiters();
    }
}

impl Host {
    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.seen.lock().expect("not poisoned").events.clone()
    }

    pub(crate) fn frames(&self) -> Vec<Frame> {
        self.seen.lock().expect("not poisoned").frames.clone()
    }

    pub(crate) fn links(&self) -> Vec<Link> {
        self.seen.lock().expect("not poisoned").links.clone()
    }

    pub(crate) fn states(&self) -> Vec<LinkState> {
        self.links().iter().map(|link| link.state).collect()
    }

    /// Waits until what it has seen satisfies `wanted`.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if wanted(self) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(DEADLINE, waiting).await.is_err() {
            panic!("never came: {what}; links {:?}, {} frames", self.links(), self.frames().len());
        }
    }

    pub(crate) async fn until_state(&self, state: LinkState) {
        self.until(&format!("{state:?}"), |host| host.states().contains(&state)).await;
    }

    pub(crate) async fn until_frames(&self, count: usize) {
        self.until(&format!("{count} frames"), |host| host.seen.lock().expect("not poisoned").frames.len() >= count)
            .await;
    }
}

/// Waits until something holds that no host is told of: a counter.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "never came: {what}");
}

/// An endpoint and what reaches its host.
pub(crate) struct Player {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) host: Arc<Host>,
}

impl Player {
    pub(crate) fn new(host: HostId, credentials: Credentials, trust: Vec<Trust>) -> Self {
        Self::with(EndpointConfig::new(host, credentials, trust, loopback()))
    }

    pub(crate) fn with(config: EndpointConfig) -> Self {
        let host = Arc::new(Host::default());
        let endpoint = Endpoint::bind(config, Arc::clone(&host) as Arc<dyn Ingress>).expect("an endpoint");
        Self { endpoint, host }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.address().expect("an address")
    }
}

/// A master and an agent of one cluster, the agent connected to the master.
pub(crate) async fn pair(authority: &Authority) -> (Player, Player) {
    let master = Player::new(MASTER, issue(authority, PeerRole::Master, "master-1"), trust(authority));
    let agent = Player::new(AGENT, issue(authority, PeerRole::Agent, "agent-1"), trust(authority));
    agent.endpoint.connect(master.address()).expect("room for a target");
    master.host.until_state(LinkState::Up).await;
    agent.host.until_state(LinkState::Up).await;
    (master, agent)
}

fn route(from: Address, to: Address, sequence: u64) -> Route {
    Route { to, from, sequence, term: Term(0) }
}

pub(crate) fn framework() -> FrameworkId {
    FrameworkId::parse("framework").expect("an id")
}

pub(crate) fn executor() -> ExecutorId {
    ExecutorId::parse("executor").expect("an id")
}

/// From the agent's host to the master, with so many bytes in it.
pub(crate) fn to_master(from: HostId, sequence: u64, bytes: usize) -> Frame {
    let data = vec![7; bytes];
    master_frame(from, sequence, ToMaster::Message { framework_id: framework(), executor_id: executor(), data })
}

/// One that must not be dropped.
pub(crate) fn vital_to_master(from: HostId, sequence: u64) -> Frame {
    let status = 9;
    let (framework_id, executor_id) = (framework(), executor());
    let frame = master_frame(from, sequence, ToMaster::ExecutorExited { framework_id, executor_id, status });
    assert_eq!(frame.envelope().class, Class::Guaranteed);
    frame
}

pub(crate) fn pong(from: HostId, sequence: u64) -> Frame {
    master_frame(from, sequence, ToMaster::Pong)
}

pub(crate) fn master_frame(from: HostId, sequence: u64, message: ToMaster) -> Frame {
    let from = Address::only(from, ActorKind::Agent);
    encode(from, Address::only(MASTER, ActorKind::Master), sequence, &MasterMessage::Agent(message))
}

/// From the master to an agent's host.
pub(crate) fn to_agent(to: HostId, sequence: u64, bytes: usize) -> Frame {
    let data = vec![7; bytes];
    agent_frame(to, sequence, ToAgent::Message { framework_id: framework(), executor_id: executor(), data })
}

pub(crate) fn ping(to: HostId, sequence: u64) -> Frame {
    agent_frame(to, sequence, ToAgent::Ping { connected: true })
}

fn agent_frame(to: HostId, sequence: u64, message: ToAgent) -> Frame {
    let from = Address::only(MASTER, ActorKind::Master);
    encode(from, Address::only(to, ActorKind::Agent), sequence, &AgentMessage::Master(message))
}

pub(crate) fn encode<M: Root>(from: Address, to: Address, sequence: u64, message: &M) -> Frame {
    Frame::encode(route(from, to, sequence), message)
}

/// A peer made of nothing but QUIC, that writes whatever bytes it likes.
pub(crate) struct Raw {
    pub(crate) connection: Connection,
    endpoint: quinn::Endpoint,
}

impl Raw {
    /// Connects; without credentials it shows no certificate. TLS may refuse it only afterwards.
    pub(crate) async fn connect(
        to: SocketAddr,
        authority: &Authority,
        credentials: Option<&Credentials>,
        alpn: &[u8],
    ) -> Result<Self, quinn::ConnectionError> {
        let mut roots = RootCertStore::empty();
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        roots.add(certificate(authority.certificate().pem())).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let mut tls = match credentials {
            None => tls.with_no_client_auth(),
            Some(credentials) => {
                let chain = vec![certificate(credentials.certificate_pem())];
                let key = PrivateKeyDer::from_pem_slice(credentials.key_pem().as_bytes()).expect("PEM");
                tls.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        tls.alpn_protocols = vec![alpn.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")));
        let endpoint = quinn::Endpoint::client(loopback()).expect("a socket");
        let connection = endpoint.connect_with(config, to, "127.0.0.1").expect("an address").await?;
        Ok(Self { connection, endpoint })
    }

    /// Connects as an agent of the cluster and introduces itself properly.
    pub(crate) async fn agent(to: SocketAddr, authority: &Authority, name: &str, host: HostId) -> (Self, Control) {
        let credentials = issue(authority, PeerRole::Agent, name);
        let raw = Self::connect(to, authority, Some(&credentials), b"kaon/1").await.expect("a connection");
        let control = raw.introduce(&hello(host)).await;
        let answer = frame_of(&mut control.lock().await.1).await.expect("a hello");
        assert!(answer.body::<Hello>().is_some());
        (raw, control)
    }

    /// Says hello, whatever it says.
    pub(crate) async fn introduce(&self, hello: &Hello) -> Control {
        let frame = encode(Address::outside(hello.host), Address::outside(HostId(0)), 0, hello);
        self.begin(frame.bytes()).await
    }

    /// Writes any bytes as its first words.
    pub(crate) async fn begin(&self, bytes: &[u8]) -> Control {
        let (mut send, recv) = self.connection.open_bi().await.expect("a control stream");
        // When the peer has gone already, the test sees it by the reason.
        let _ = send.write_all(bytes).await;
        Arc::new(tokio::sync::Mutex::new((send, recv)))
    }

    /// Writes bytes on a new lane, and ends it if so told.
    pub(crate) async fn write(&self, bytes: &[u8], finish: bool) -> SendStream {
        let mut stream = self.connection.open_uni().await.expect("a lane");
        stream.write_all(bytes).await.expect("room");
        if finish {
            stream.finish().expect("an open stream");
        }
        stream
    }

    /// Waits until the peer closes, and tells with what code and words.
    pub(crate) async fn closed(&self) -> (u64, String) {
        let closed = tokio::time::timeout(DEADLINE, self.connection.closed()).await;
        match closed.expect("the peer closes") {
            quinn::ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
            }
            quinn::ConnectionError::ConnectionClosed(close) => (u64::from(close.error_code), close.to_string()),
            error => panic!("closed otherwise: {error}"),
        }
    }

    pub(crate) async fn leave(self) {
        self.connection.close(0u32.into(), b"");
        self.endpoint.wait_idle().await;
    }
}

pub(crate) type Control = Arc<tokio::sync::Mutex<(SendStream, RecvStream)>>;

/// What a proper agent says first.
pub(crate) fn hello(host: HostId) -> Hello {
    Hello { protocol: PROTOCOL, cluster: "test".into(), host, role: PeerRole::Agent }
}

/// Reads one frame, as a peer without our reader would.
pub(crate) async fn frame_of(stream: &mut RecvStream) -> Option<Frame> {
    let mut bytes = vec![0; kaon_kernel::frame::HEADER_BYTES];
    stream.read_exact(&mut bytes).await.ok()?;
    let envelope = kaon_kernel::frame::Envelope::parse(&bytes).expect("a header");
    let mut body = vec![0; envelope.length as usize];
    stream.read_exact(&mut body).await.ok()?;
    bytes.extend_from_slice(&body);
    Some(Frame::admit_copy(&bytes).expect("a frame"))
}

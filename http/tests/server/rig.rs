//! A master's edge on a listener, with actors that the test plays, and a client that sees every chunk.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kaon_http::server::Handler;
use kaon_http::{History, Leader, Limits, MasterConfig, MasterEdge, Sample, Verbosity};
use kaon_kernel::actor::{ActorKind, Address, HostId, Link, StreamId, Term};
use kaon_kernel::frame::{Frame, Root, Route};
use kaon_kernel::id::{FrameworkId, MasterId};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::scheduler::{ToFramework, ToMaster};
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::message::{AgentMessage, FrameworkMessage, MasterMessage, agent_outside};
use kaon_kernel::port::{Ingress, Refused, Streams};
use kaon_kernel::time::WallTime;
use rkyv::rancor::Error as CopyError;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

pub(super) const HOST: HostId = HostId(7);

/// The master's id in these tests.
pub(super) const MASTER: &str = "m";

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something, but not for ever.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not come in {PATIENCE:?}"))
}

/// Waits until something holds.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Actors that note what they are given.
#[derive(Default)]
pub(super) struct Actors {
    frames: Mutex<Vec<Frame>>,
    is_full: AtomicBool,
    came: Notify,
}

impl Ingress for Actors {
    fn deliver(&self, frame: Frame) -> Result<(), Refused> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(Refused::Full("master"));
        }
        self.frames.lock().expect("no test panics under it").push(frame);
        self.came.notify_one();
        Ok(())
    }
    fn link(&self, _: Link) {}
}

/// A message that reached an actor.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Master(ToMaster),
    Proxy(u32, ToFramework),
    Agent(agent_outside::ToAgent),
}

fn heard(frame: &Frame) -> Heard {
    let to = frame.envelope().to;
    assert_eq!((to.host, frame.envelope().from), (HOST, Address::outside(HOST)));
    if let Some(body) = frame.body::<MasterMessage>() {
        match rkyv::deserialize::<MasterMessage, CopyError>(body).expect("valid") {
            MasterMessage::Outside(message) => return Heard::Master(message),
            other => panic!("{other:?} is not from outside"),
        }
    }
    if let Some(body) = frame.body::<AgentMessage>() {
        match rkyv::deserialize::<AgentMessage, CopyError>(body).expect("valid") {
            AgentMessage::Outside(message) => return Heard::Agent(message),
            other => panic!("{other:?} is not from outside"),
        }
    }
    let body = frame.body::<FrameworkMessage>().expect("for the master or a proxy");
    match rkyv::deserialize::<FrameworkMessage, CopyError>(body).expect("valid") {
        FrameworkMessage::Outside(message) => Heard::Proxy(to.index, message),
        other @ FrameworkMessage::Master(_) => panic!("{other:?} is not from outside"),
    }
}

impl Actors {
    pub(super) fn refuse(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    pub(super) fn count(&self) -> usize {
        self.frames.lock().expect("no test panics under it").len()
    }

    /// The oldest message that nobody has looked at.
    pub(super) async fn next(&self) -> Heard {
        within("a message to the actors", async {
            loop {
                let came = self.came.notified();
                let first = {
                    let mut frames = self.frames.lock().expect("no test panics under it");
                    (!frames.is_empty()).then(|| frames.remove(0))
                };
                match first {
                    Some(frame) => return heard(&frame),
                    None => came.await,
                }
            }
        })
        .await
    }
}

/// A server in the background; it ends with the test.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    pub(super) ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(super) async fn start<H: Handler>(handler: Arc<H>, limits: Limits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(kaon_http::serve(listener, handler, limits, async move {
            // A dropped sender ends the server as well.
            let _ = stopped.await;
        }));
        Self { address, stop: Some(stop), ended }
    }

    pub(super) fn stop(&mut self) {
        drop(self.stop.take());
    }
}

/// A master's edge with its actors.
pub(super) struct Rig {
    pub(super) edge: Arc<MasterEdge>,
    pub(super) actors: Arc<Actors>,
    pub(super) server: Server,
}

impl Rig {
    /// An edge whose master does not lead yet, and knows this leader.
    pub(super) async fn following(leader: Option<Leader>, limits: Limits) -> Self {
        Self::begun(leader, limits, History::default()).await
    }

    async fn begun(leader: Option<Leader>, limits: Limits, history: History) -> Self {
        let config = MasterConfig {
            host: HOST,
            hostname: "host.test".to_owned(),
            ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            port: 5050,
            domain: None,
            cluster: Some("c".to_owned()),
            flags: BTreeMap::from([("quorum".to_owned(), "1".to_owned())]),
            metrics: Arc::new(|| vec![Sample::counter("runtime/events", 3)]),
            leader: Arc::new(move || leader.clone()),
            verbosity: Verbosity::mute(),
            log: None,
            history,
            framework_metrics: true,
        };
        let edge = MasterEdge::new(config).expect("a thread");
        let actors = Arc::new(Actors::default());
        edge.plug(Arc::clone(&actors) as Arc<dyn Ingress>);
        let server = Server::start(Arc::clone(&edge), limits).await;
        Self { edge, actors, server }
    }

    /// An edge whose master leads.
    pub(super) async fn leading_with(limits: Limits) -> Self {
        Self::following(None, limits).await.elected()
    }

    /// An edge whose master leads, and remembers so much.
    pub(super) async fn remembering(history: History) -> Self {
        Self::begun(None, Limits::default(), history).await.elected()
    }

    fn elected(self) -> Self {
        self.show(&ViewEvent::Reset {
            master_id: MasterId::trusted(MASTER),
            term: Term(1),
            elected: WallTime(5_000_000_000),
        });
        self
    }

    pub(super) async fn leading() -> Self {
        Self::leading_with(Limits::default()).await
    }

    fn frame<M: Root>(kind: ActorKind, index: u32, message: &M) -> Frame {
        let from = Address::nth(HOST, kind, index);
        let route = Route { to: Address::outside(HOST), from, sequence: 1, term: Term(1) };
        Frame::encode(route, message)
    }

    /// The master tells of a change.
    pub(super) fn show(&self, event: &ViewEvent) {
        self.edge.emit(StreamId::VIEW, Self::frame(ActorKind::Master, 0, event));
    }

    /// A proxy tells its framework something.
    pub(super) fn tell(&self, proxy: u32, stream: StreamId, event: &FrameworkEvent) {
        self.edge.emit(stream, Self::frame(ActorKind::Framework, proxy, event));
    }

    /// The master itself tells a subscriber something.
    pub(super) fn tell_as_master(&self, stream: StreamId, event: &FrameworkEvent) {
        self.edge.emit(stream, Self::frame(ActorKind::Master, 0, event));
    }

    /// The master answers an order.
    pub(super) fn answer(&self, reply: StreamId, answer: &kaon_kernel::message::operator::Answer) {
        self.edge.emit(reply, Self::frame(ActorKind::Master, 0, answer));
    }

    pub(super) fn welcome(&self, proxy: u32, stream: StreamId, framework: &str) {
        let subscribed = FrameworkEvent::Subscribed {
            framework_id: FrameworkId::trusted(framework),
            master_id: MasterId::trusted(MASTER),
            heartbeat_interval: kaon_kernel::time::Duration::secs(15),
        };
        self.tell(proxy, stream, &subscribed);
        self.tell(proxy, stream, &FrameworkEvent::Heartbeat);
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect(self.server.address).await
    }

    /// Sends SUBSCRIBE, hands it to the master, lets a proxy welcome it.
    pub(super) async fn subscribed(&self, proxy: u32, framework: &str) -> Subscribed {
        let mut client = self.client().await;
        client.post("/api/v1/scheduler", &[], &subscribe_call(None)).await;
        let head = client.head().await;
        assert_eq!(head.status, 200, "{head:?}");
        let uuid = head.header("mesos-stream-id").expect("a stream id").to_owned();
        let Heard::Master(ToMaster::Subscribe { stream, .. }) = self.actors.next().await else {
            panic!("no SUBSCRIBE")
        };
        self.welcome(proxy, stream, framework);
        let first = client.event().await.expect("an event");
        assert_eq!(first["type"], "SUBSCRIBED");
        assert_eq!(client.event().await.expect("an event"), json!({"type": "HEARTBEAT"}));
        Subscribed { client, uuid, stream, head }
    }

    /// A call of a framework on a connection of its own.
    pub(super) async fn call(&self, stream_id: Option<&str>, call: &Value) -> Answer {
        let mut client = self.client().await;
        let headers: Vec<_> = stream_id.iter().map(|id| ("Mesos-Stream-Id", *id)).collect();
        client.post("/api/v1/scheduler", &headers, call).await;
        client.answer().await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        get(self.server.address, path).await
    }
}

pub(super) async fn get(address: SocketAddr, path: &str) -> Answer {
    let mut client = Client::connect(address).await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await;
    client.answer().await
}

/// A standing subscription.
pub(super) struct Subscribed {
    pub(super) client: Client,
    pub(super) uuid: String,
    pub(super) stream: StreamId,
    pub(super) head: Head,
}

pub(super) fn subscribe_call(id: Option<&str>) -> Value {
    let mut call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "u", "name": "n"}}});
    if let Some(id) = id {
        call["framework_id"] = json!({"value": id});
        call["subscribe"]["framework_info"]["id"] = json!({"value": id});
    }
    call
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.head.status
    }
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.status(), 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A client of bytes.
pub(super) struct Client {
    pub(super) socket: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(address).await.expect("it listens"), buffer: Vec::new() }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        within("room to write", self.socket.write_all(bytes)).await.expect("an open connection");
    }

    pub(super) async fn post(&mut self, path: &str, headers: &[(&str, &str)], call: &Value) {
        let all: Vec<_> = [("Content-Type", "application/json")].into_iter().chain(headers.iter().copied()).collect();
        self.post_raw(path, &all, call.to_string().as_bytes()).await;
    }

    pub(super) async fn post_raw(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.send(&[head.as_bytes(), b"\r\n", body].concat()).await;
    }

    /// Reads more; false at the end of the connection.
    async fn fill(&mut self) -> bool {
        let mut piece = vec![0; 65_536];
        match within("more bytes", self.socket.read(&mut piece)).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.buffer.extend_from_slice(&piece[..read]);
                true
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Some(line);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// The head of the next answer, if one comes before the connection ends.
    pub(super) async fn try_head(&mut self) -> Option<Head> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { return Some(Head { status, headers }) };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    pub(super) async fn head(&mut self) -> Head {
        self.try_head().await.expect("an answer")
    }

    pub(super) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let length = head.header("content-length").map_or(0, |length| length.parse().expect("a number"));
        assert_eq!(head.header("transfer-encoding"), None, "only streams are chunked");
        let body = self.exactly(length).await.expect("the whole body");
        Answer { head, body }
    }

    /// One HTTP chunk; `None` for the last one. `Err` when the connection broke off.
    pub(super) async fn chunk(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let size = self.line().await.ok_or(())?;
        let size = usize::from_str_radix(&size, 16).expect("a chunk size");
        let mut chunk = self.exactly(size + 2).await.ok_or(())?;
        assert_eq!(chunk.split_off(size), b"\r\n");
        Ok((size > 0).then_some(chunk))
    }

    /// One record, which has to be one chunk, as the bytes of its message.
    pub(super) async fn record(&mut self) -> Option<Vec<u8>> {
        let chunk = self.chunk().await.expect("the stream stands")?;
        let end = chunk.iter().position(|byte| *byte == b'\n').expect("a length");
        let length: usize = std::str::from_utf8(&chunk[..end]).expect("digits").parse().expect("a number");
        assert_eq!(chunk.len(), end + 1 + length, "one record in one chunk");
        Some(chunk[end + 1..].to_vec())
    }

    /// One event in JSON; `None` at the stream's end.
    pub(super) async fn event(&mut self) -> Option<Value> {
        let record = self.record().await?;
        assert!(record.iter().all(|byte| (b' '..=b'~').contains(byte)), "one line of ASCII");
        Some(serde_json::from_slice(&record).expect("JSON"))
    }

    /// Waits until the server has hung up.
    pub(super) async fn ended(&mut self) {
        while self.fill().await {
            self.buffer.clear();
        }
    }
}

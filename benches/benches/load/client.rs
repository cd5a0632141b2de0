//! A framework as a lean client writes one: one connection for its stream, one for calls, which it does not wait for.

use kaon_http::codec::{self, MediaType};
use kaon_http::v1::mesos as v1;
use kaon_http::v1::scheduler as api;
use kaon_http::v1::scheduler::call::{self, Type};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub(crate) struct Framework {
    pub(crate) id: String,
    pub(crate) media: MediaType,
    stream_id: String,
    events: BufReader<OwnedReadHalf>,
    // Held, or the stream ends.
    _request: OwnedWriteHalf,
    calls: OwnedWriteHalf,
    unsent: Vec<u8>,
    /// Calls that were answered with 202, and with anything else.
    pub(crate) taken: Arc<AtomicU64>,
    pub(crate) refused: Arc<AtomicU64>,
    chunk: Vec<u8>,
}

fn name(media: MediaType) -> &'static str {
    media.name()
}

fn post(media: MediaType, stream_id: Option<&str>, call: &api::Call) -> Vec<u8> {
    let body = codec::encode(media, call);
    let mut bytes = Vec::with_capacity(body.len() + 256);
    let head = format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: h\r\nContent-Type: {0}\r\nAccept: {0}\r\nContent-Length: {1}\r\n",
        name(media),
        body.len()
    );
    bytes.extend_from_slice(head.as_bytes());
    if let Some(id) = stream_id {
        bytes.extend_from_slice(format!("Mesos-Stream-Id: {id}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    bytes
}

/// The head of an answer: its status, and the value of a header.
async fn head(from: &mut BufReader<OwnedReadHalf>, wanted: &str) -> std::io::Result<(u16, Option<String>, usize)> {
    let (mut line, mut status, mut value, mut length) = (String::new(), 0, None, 0);
    loop {
        line.clear();
        if from.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end();
        if text.is_empty() {
            return Ok((status, value, length));
        }
        if status == 0 {
            status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        } else if let Some((key, rest)) = text.split_once(':') {
            if key.eq_ignore_ascii_case(wanted) {
                value = Some(rest.trim().to_owned());
            } else if key.eq_ignore_ascii_case("content-length") {
                length = rest.trim().parse().unwrap_or(0);
            }
        }
    }
}

impl Framework {
    pub(crate) async fn subscribe(address: SocketAddr, media: MediaType, role: &str) -> Self {
        let connect = || async {
            let stream = TcpStream::connect(address).await.expect("the master listens");
            stream.set_nodelay(true).expect("a socket");
            stream.into_split()
        };
        let (events, mut request) = connect().await;
        let kind =
            |kind: v1::framework_info::capability::Type| v1::framework_info::Capability { r#type: Some(kind as i32) };
        let info = v1::FrameworkInfo {
            user: "root".to_owned(),
            name: "load".to_owned(),
            roles: vec![role.to_owned()],
            failover_timeout: Some(60.0),
            capabilities: vec![
                kind(v1::framework_info::capability::Type::MultiRole),
                kind(v1::framework_info::capability::Type::PartitionAware),
            ],
            ..v1::FrameworkInfo::default()
        };
        let subscribe = call::Subscribe { framework_info: info, ..call::Subscribe::default() };
        let call =
            api::Call { r#type: Some(Type::Subscribe as i32), subscribe: Some(subscribe), ..api::Call::default() };
        request.write_all(&post(media, None, &call)).await.expect("a socket");
        let mut events = BufReader::with_capacity(64 << 10, events);
        let (status, stream_id, _) = head(&mut events, "mesos-stream-id").await.expect("an answer");
        assert_eq!(status, 200, "the master takes us");
        let (answers, calls) = connect().await;
        let (taken, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counters = (Arc::clone(&taken), Arc::clone(&refused));
        tokio::spawn(async move {
            let mut answers = BufReader::with_capacity(64 << 10, answers);
            let mut rest = Vec::new();
            while let Ok((status, _, length)) = head(&mut answers, "").await {
                rest.resize(length, 0);
                if answers.read_exact(&mut rest).await.is_err() {
                    break;
                }
                let counter = if status == 202 { &counters.0 } else { &counters.1 };
                if status != 202 && counters.1.load(Ordering::Relaxed) == 0 {
                    println!("refused with {status}: {}", String::from_utf8_lossy(&rest));
                }
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut framework = Self {
            id: String::new(),
            media,
            stream_id: stream_id.expect("a stream has an id"),
            events,
            _request: request,
            calls,
            unsent: Vec::new(),
            taken,
            refused,
            chunk: Vec::new(),
        };
        while framework.id.is_empty() {
            if let Some(subscribed) = framework.event().await.subscribed {
                framework.id = subscribed.framework_id.value;
            }
        }
        framework
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> api::Event {
        self.raw_event().await;
        let start = self.chunk.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        codec::decode_within(self.media, &self.chunk[start..], codec::Limits { memory_bytes_max: 1 << 30 })
            .expect("an event")
    }

    /// Reads one chunk, which is one record, without looking at it; how many bytes it has.
    pub(crate) async fn raw_event(&mut self) -> usize {
        let mut line = String::new();
        self.events.read_line(&mut line).await.expect("the stream stands");
        let length = usize::from_str_radix(line.trim_end(), 16).expect("a chunk");
        assert!(length > 0, "the stream has ended");
        self.chunk.resize(length + 2, 0);
        self.events.read_exact(&mut self.chunk).await.expect("the stream stands");
        self.chunk.truncate(length);
        length
    }

    /// Whether more is there already.
    pub(crate) fn has_more(&self) -> bool {
        !self.events.buffer().is_empty()
    }

    /// Writes a call down; [`Framework::flush`] sends it.
    pub(crate) fn call(&mut self, kind: Type, fill: impl FnOnce(&mut api::Call)) {
        let framework_id = Some(v1::FrameworkId { value: self.id.clone() });
        let mut call = api::Call { r#type: Some(kind as i32), framework_id, ..api::Call::default() };
        fill(&mut call);
        let bytes = post(self.media, Some(&self.stream_id), &call);
        self.unsent.extend_from_slice(&bytes);
    }

    pub(crate) async fn flush(&mut self) {
        if !self.unsent.is_empty() {
            self.calls.write_all(&self.unsent).await.expect("the master listens");
            self.unsent.clear();
        }
    }

    /// Launches tasks of a size on an offer; what is left of it comes back at once.
    pub(crate) fn launch(&mut self, offer: &v1::Offer, ids: impl Iterator<Item = String>, cpus: f64, refuse: f64) {
        let tasks = ids.map(|id| task(id, &offer.agent_id, cpus)).collect();
        let launch = v1::offer::operation::Launch { task_infos: tasks };
        let operation = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch as i32),
            launch: Some(launch),
            ..v1::offer::Operation::default()
        };
        let (offer_ids, operations) = (vec![offer.id.clone()], vec![operation]);
        let filters = Some(v1::Filters { refuse_seconds: Some(refuse) });
        self.call(Type::Accept, |call| call.accept = Some(call::Accept { offer_ids, operations, filters }));
    }

    /// Acknowledges a status that wants it.
    pub(crate) fn acknowledge(&mut self, status: &v1::TaskStatus) {
        if let (Some(uuid), Some(agent_id)) = (&status.uuid, &status.agent_id) {
            let acknowledge =
                call::Acknowledge { agent_id: agent_id.clone(), task_id: status.task_id.clone(), uuid: uuid.clone() };
            self.call(Type::Acknowledge, |call| call.acknowledge = Some(acknowledge));
        }
    }
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        ..v1::Resource::default()
    }
}

fn task(id: String, agent_id: &v1::AgentId, cpus: f64) -> v1::TaskInfo {
    let command = v1::CommandInfo { value: Some("sleep 1000".to_owned()), ..v1::CommandInfo::default() };
    v1::TaskInfo {
        name: id.clone(),
        task_id: v1::TaskId { value: id },
        agent_id: agent_id.clone(),
        resources: vec![scalar("cpus", cpus), scalar("mem", (cpus * 1024.0).floor())],
        command: Some(command),
        ..v1::TaskInfo::default()
    }
}

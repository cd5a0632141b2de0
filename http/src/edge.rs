//! The HTTP edge of a master: it hands calls to the actors and carries their events out.
//!
//! What it knows by itself: which streams are open and whose they are ([`Streams`] tells it before the framework can), which
//! frameworks the master has spoken of, and whether the master leads. All else is read from the [`View`].
//!
//! The end of a stream is told to the framework's proxy, or to the master as long as no proxy has spoken on it. Should that
//! message be lost in a full mailbox, the next event for the stream repeats it: heartbeats see to that.

use kaon_kernel::cause::Cause;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use hyper::{Method, StatusCode};
use kaon_kernel::actor::{ActorKind, Address, HostId, StreamId, Term};
use kaon_kernel::agent::Domain;
use kaon_kernel::frame::{Frame, Root, Route, copy};
use kaon_kernel::id::{FrameworkId, MasterId};
use kaon_kernel::message::event::{ArchivedFrameworkEvent, FrameworkEvent};
use kaon_kernel::message::explain::Question;
use kaon_kernel::message::operator as operator_message;
use kaon_kernel::message::scheduler::{ToFramework, ToMaster};
use kaon_kernel::message::view::{ArchivedViewEvent, ViewEvent};
use kaon_kernel::message::{AllocatorMessage, FrameworkMessage, MasterMessage};
use kaon_kernel::port::{Ingress, Refused, Streams};
use tokio::sync::oneshot;

use crate::answer::{self, Answer};
use crate::codec::MediaType;
use crate::files::Files;
use crate::frame::{self, TooLarge, Weight};
use crate::metric::{self, Sample};
use crate::process::Verbosity;
use crate::server::{Handler, Hangup, Request};
use crate::stream::{Session, Subscriber};
use crate::traffic::{Asked, Traffic};
use crate::v1::mesos as v1;
use crate::v1::mesos::master_info::capability::Type as Capability;
use crate::v1::scheduler::call as scheduler_call;
use crate::view::{History, View};
use crate::{convert, explain, help, legacy, maintenance, operator, path, polled, scheduler, version};

/// Subscribers at once. Each holds a connection, so the server's bound holds as well.
pub const STREAMS_MAX: usize = 10_000;

/// What the edge of a master is told when it is made.
#[derive(Clone)]
pub struct MasterConfig {
    /// The host whose actors it speaks to.
    pub host: HostId,
    /// The name that clients are told.
    pub hostname: String,
    /// The address that clients are told.
    pub ip: IpAddr,
    /// The port that clients are told.
    pub port: u16,
    /// Its fault domain.
    pub domain: Option<Domain>,
    /// The cluster's name.
    pub cluster: Option<String>,
    /// What `/flags` shows.
    pub flags: BTreeMap<String, String>,
    /// The host's numbers.
    pub metrics: metric::Source,
    /// Who leads, asked only while our own master does not; `None` when nobody is known.
    pub leader: Arc<dyn Fn() -> Option<Leader> + Send + Sync>,
    /// How much the process logs.
    pub verbosity: Arc<Verbosity>,
    /// The file that its log goes to; shown as `/master/log`.
    pub log: Option<PathBuf>,
    /// How much it remembers of what is over.
    pub history: History,
    /// Whether each framework has numbers of its own.
    pub framework_metrics: bool,
}

/// A master that leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its name.
    pub hostname: String,
    /// The port of its HTTP endpoint.
    pub port: u16,
}

/// The HTTP edge of a master.
pub struct MasterEdge {
    pub(crate) config: MasterConfig,
    pub(crate) view: View,
    pub(crate) files: Files,
    pub(crate) started: SystemTime,
    begun: Instant,
    master_info: v1::MasterInfo,
    ingress: OnceLock<Arc<dyn Ingress>>,
    is_leading: AtomicBool,
    streams: DashMap<StreamId, Arc<Subscriber>>,
    sessions: DashMap<FrameworkId, Arc<Subscriber>>,
    /// The frameworks that the master has spoken of and not removed.
    known: DashMap<FrameworkId, ()>,
    /// Who waits for the answer to an order, by the stream on which it comes.
    pub(crate) orders: DashMap<StreamId, oneshot::Sender<operator_message::Answer>>,
    pub(crate) last_stream: AtomicU64,
    last_sequence: AtomicU64,
    queued_bytes: Arc<AtomicUsize>,
    counts: Counts,
    /// What has been said to and by each framework that is not removed.
    traffic: DashMap<FrameworkId, Arc<Traffic>>,
    pub(crate) asked: Asked,
}

#[derive(Default)]
struct Counts {
    subscriptions: AtomicU64,
    calls: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
    ends_untold: AtomicU64,
}

/// What became of a framework's id.
pub(crate) enum Lookup {
    /// It is subscribed here.
    Connected(Arc<Subscriber>, Session),
    /// The master knows it, but it has no stream.
    Disconnected,
    /// Nobody knows it.
    Unknown,
}

/// Why a message did not reach the actors.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum HandError {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the actors are not up yet; try again later")]
    Unplugged,
}

impl HandError {
    pub(crate) fn answer(self) -> Answer {
        let status = match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Refused(_) | Self::Unplugged => StatusCode::SERVICE_UNAVAILABLE,
        };
        answer::refusal(status, self)
    }
}

fn no_leader() -> Answer {
    answer::because(StatusCode::SERVICE_UNAVAILABLE, Cause::NoLeader, "No leader elected")
}

impl MasterEdge {
    /// An edge without actors behind it: it answers 503 until its master leads.
    ///
    /// # Errors
    /// When the system gives no thread for the read model.
    pub fn new(config: MasterConfig) -> std::io::Result<Arc<Self>> {
        let ip = match config.ip {
            // The field holds the address in network byte order, read as a little-endian number.
            IpAddr::V4(ip) => u32::from_le_bytes(ip.octets()),
            IpAddr::V6(_) => 0,
        };
        let address = v1::Address {
            hostname: Some(config.hostname.clone()),
            ip: Some(config.ip.to_string()),
            port: i32::from(config.port),
        };
        let master_info = v1::MasterInfo {
            ip,
            port: u32::from(config.port),
            pid: Some(pid("master", config.ip, config.port)),
            hostname: Some(config.hostname.clone()),
            version: Some(version::MESOS_VERSION.to_owned()),
            address: Some(address),
            domain: config.domain.as_ref().map(convert::agent::domain_to_v1),
            // Schedulers are told so, and older ones (mesos-go 0.0.11 in JSON) refuse names that they do not know: the one
            // that all know. `/state` has the rest.
            capabilities: vec![v1::master_info::Capability { r#type: Some(Capability::AgentUpdate as i32) }],
            ..v1::MasterInfo::default()
        };
        let files = Files::new(None, config.log.clone().map(|path| ("/master/log", path)));
        Ok(Arc::new(Self {
            view: View::start(config.history)?,
            config,
            files,
            started: SystemTime::now(),
            begun: Instant::now(),
            master_info,
            ingress: OnceLock::new(),
            is_leading: AtomicBool::new(false),
            streams: DashMap::new(),
            sessions: DashMap::new(),
            known: DashMap::new(),
            orders: DashMap::new(),
            last_stream: AtomicU64::new(StreamId::VIEW.0),
            last_sequence: AtomicU64::new(0),
            queued_bytes: Arc::default(),
            counts: Counts::default(),
            traffic: DashMap::new(),
            asked: Asked::default(),
        }))
    }

    /// Connects the edge with the actors. Only the first call counts.
    pub fn plug(&self, ingress: Arc<dyn Ingress>) {
        let _ = self.ingress.set(ingress);
    }

    /// The read model, for those who show more of it.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// How many streams are open.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// What has been said to and by a framework; nothing, where it never subscribed with this master.
    pub(crate) fn traffic_of(&self, framework_id: &str) -> Arc<Traffic> {
        self.traffic.get(framework_id).map(|entry| Arc::clone(&entry)).unwrap_or_default()
    }

    /// Who this master is, without its id.
    pub(crate) fn master_info(&self) -> &v1::MasterInfo {
        &self.master_info
    }

    /// Seconds since the Unix epoch at which the edge was made.
    pub(crate) fn start_seconds(&self) -> f64 {
        self.started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    }

    pub(crate) fn uptime_seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    pub(crate) fn is_leading(&self) -> bool {
        self.is_leading.load(Ordering::Acquire)
    }

    /// The answer of a master that does not lead: 307 to the leader, or 503 when nobody is known (reference 1.5).
    pub(crate) fn unless_leading(&self, request: &Request) -> Option<Answer> {
        if self.is_leading() {
            return None;
        }
        Some(match (self.config.leader)() {
            Some(leader) => answer::redirect(&format!("//{}:{}{}", leader.hostname, leader.port, request.target())),
            None => no_leader(),
        })
    }

    /// `/redirect`: to the leader, ourselves included, without a path.
    fn redirect(&self) -> Answer {
        if self.is_leading() {
            return answer::redirect(&format!("//{}:{}", self.config.hostname, self.config.port));
        }
        match (self.config.leader)() {
            Some(leader) => answer::redirect(&format!("//{}:{}", leader.hostname, leader.port)),
            None => no_leader(),
        }
    }

    /// Opens a stream for a subscriber; `None` when there are too many.
    pub(crate) fn open(&self, media: MediaType, hangup: Hangup) -> Option<Arc<Subscriber>> {
        if self.streams.len() >= STREAMS_MAX {
            return None;
        }
        let stream = StreamId(self.last_stream.fetch_add(1, Ordering::Relaxed) + 1);
        let total = Arc::clone(&self.queued_bytes);
        let subscriber = Arc::new(Subscriber::new(stream, random_uuid()?, media, hangup, total));
        self.streams.insert(stream, Arc::clone(&subscriber));
        self.counts.subscriptions.fetch_add(1, Ordering::Relaxed);
        Some(subscriber)
    }

    pub(crate) fn look_up(&self, framework_id: &str) -> Lookup {
        let subscriber = self.sessions.get(framework_id).map(|entry| Arc::clone(&entry));
        match subscriber.and_then(|subscriber| Some((subscriber.session()?, subscriber))) {
            Some((session, subscriber)) => Lookup::Connected(subscriber, session),
            None if self.known.contains_key(framework_id) => Lookup::Disconnected,
            None => Lookup::Unknown,
        }
    }

    /// Hands a message to the master.
    pub(crate) fn tell_master(&self, message: ToMaster, weight: Weight) -> Result<(), HandError> {
        let to = Address::only(self.config.host, ActorKind::Master);
        self.hand(to, &MasterMessage::Outside(message), weight)
    }

    /// Hands a message to the proxy of a framework.
    pub(crate) fn tell_proxy(&self, to: Address, message: ToFramework, weight: Weight) -> Result<(), HandError> {
        self.hand(to, &FrameworkMessage::Outside(message), weight)
    }

    /// Hands a question to the allocator.
    pub(crate) fn ask_allocator(&self, question: Question, weight: Weight) -> Result<(), HandError> {
        let to = Address::only(self.config.host, ActorKind::Allocator);
        self.hand(to, &AllocatorMessage::Outside(question), weight)
    }

    fn hand<M: Root>(&self, to: Address, message: &M, weight: Weight) -> Result<(), HandError> {
        let ingress = self.ingress.get().ok_or(HandError::Unplugged)?;
        let sequence = self.last_sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let route = Route { to, from: Address::outside(self.config.host), sequence, term: Term(0) };
        let outcome = frame::encode(route, message, weight)
            .map_err(HandError::from)
            .and_then(|frame| ingress.deliver(frame).map_err(HandError::from));
        let count = if outcome.is_ok() { &self.counts.calls } else { &self.counts.refused };
        count.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    /// The connection of a subscriber is gone. `was_open` says that no actor knows it yet.
    pub(crate) fn on_reader_gone(&self, subscriber: &Arc<Subscriber>, was_open: bool) {
        self.forget(subscriber);
        if was_open {
            self.tell_end(subscriber.stream, subscriber.proxy());
        }
    }

    /// Takes back a stream whose subscription was refused, without a word to anybody.
    pub(crate) fn take_back(&self, subscriber: &Arc<Subscriber>) {
        subscriber.close();
        self.forget(subscriber);
    }

    fn forget(&self, subscriber: &Arc<Subscriber>) {
        self.streams.remove(&subscriber.stream);
        if let Some(session) = subscriber.session() {
            // A newer stream of the framework stays.
            self.sessions.remove_if(&session.framework_id, |_, current| Arc::ptr_eq(current, subscriber));
        }
    }

    fn tell_end(&self, stream: StreamId, proxy: Option<Address>) {
        let told = match proxy.filter(|proxy| proxy.kind == ActorKind::Framework) {
            Some(proxy) => self.tell_proxy(proxy, ToFramework::StreamClosed { stream }, Weight::Light),
            None => self.tell_master(ToMaster::StreamClosed { stream }, Weight::Light),
        };
        if let Err(error) = told {
            self.counts.ends_untold.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(stream = stream.0, %error, "the end of a stream could not be told yet");
        }
    }

    /// Reads off an event of the master what calls are judged by.
    fn on_view(&self, event: &ArchivedViewEvent) {
        match event {
            ArchivedViewEvent::Reset { .. } => {
                // Proxies of an earlier life are gone, and their streams with them.
                self.end_all_streams();
                self.known.clear();
                self.traffic.clear();
                self.is_leading.store(true, Ordering::Release);
            }
            ArchivedViewEvent::Following => {
                self.is_leading.store(false, Ordering::Release);
                self.end_all_streams();
            }
            ArchivedViewEvent::Framework(view) => {
                if let Some(id) = view.info.id.as_ref() {
                    self.known.insert(FrameworkId::from(id), ());
                }
            }
            ArchivedViewEvent::FrameworkRemoved { framework_id, .. } => {
                self.known.remove(framework_id.as_str());
                self.traffic.remove(framework_id.as_str());
            }
            _ => {}
        }
    }

    fn end_all_streams(&self) {
        // Whoever waits for an answer is told that there will be none.
        self.orders.clear();
        let all: Vec<_> = self.streams.iter().map(|entry| Arc::clone(&entry)).collect();
        for subscriber in all {
            subscriber.close();
            self.forget(&subscriber);
        }
    }

    /// All numbers: the host's, those of the read model, and our own. Cost: all tasks.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let mut samples = (self.config.metrics)();
        polled::metrics::of_cluster(self, &self.view.snapshot(), &mut samples);
        let counts = &self.counts;
        for (name, count) in [
            ("master/messages_register_framework", &self.asked.subscriptions),
            ("master/messages_reregister_framework", &self.asked.resubscriptions),
            ("master/messages_unregister_framework", &self.asked.teardowns),
            ("http/subscriptions", &counts.subscriptions),
            ("http/calls_handed_on", &counts.calls),
            ("http/calls_refused_by_actors", &counts.refused),
            ("http/streams_cut", &counts.cut),
            ("http/stream_ends_untold", &counts.ends_untold),
        ] {
            samples.push(Sample::counter(name, count.load(Ordering::Relaxed)));
        }
        samples.push(Sample::gauge("http/streams", self.streams.len() as f64));
        samples.push(Sample::gauge("http/streams_queued_bytes", self.queued_bytes.load(Ordering::Relaxed) as f64));
        samples
    }
}

/// The name of a process in the old protocol, which tools still parse.
pub(crate) fn pid(name: &str, ip: impl std::fmt::Display, port: u16) -> String {
    format!("{name}@{ip}:{port}")
}

/// A random UUID of version 4; `None` when the system gives no randomness.
pub(crate) fn random_uuid() -> Option<String> {
    let mut bytes = [0; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "the system gives no randomness");
        return None;
    }
    Some(kaon_kernel::id::Uuid::random(bytes).to_string())
}

impl Streams for MasterEdge {
    fn emit(&self, stream: StreamId, event: Frame) {
        if stream == StreamId::VIEW {
            if let Some(body) = event.body::<ViewEvent>() {
                self.on_view(body);
            }
            return self.view.push(event);
        }
        if let Some(answer) = event.body::<operator_message::Answer>() {
            if let Some((_, waiting)) = self.orders.remove(&stream) {
                // Whoever waited may have lost its patience.
                let _ = waiting.send(copy(answer));
            }
            return;
        }
        let Some(subscriber) = self.streams.get(&stream).map(|entry| Arc::clone(&entry)) else {
            let from = event.envelope().from;
            if from.kind == ActorKind::Framework {
                self.tell_end(stream, Some(from));
            }
            return;
        };
        if let Some(ArchivedFrameworkEvent::Subscribed { framework_id, master_id, .. }) = event.body::<FrameworkEvent>()
        {
            // Before the framework reads it, so that its first call finds the session.
            let framework_id = FrameworkId::from(framework_id);
            let master_id = MasterId::from(master_id);
            let traffic = Arc::clone(&self.traffic.entry(framework_id.clone()).or_default());
            traffic.call(scheduler_call::Type::Subscribe);
            let proxy = event.envelope().from;
            let session = Session { framework_id: framework_id.clone(), master_id, proxy, traffic };
            subscriber.identify(session);
            self.sessions.insert(framework_id, Arc::clone(&subscriber));
        }
        if let Err(reason) = subscriber.push(event) {
            self.counts.cut.fetch_add(1, Ordering::Relaxed);
            let framework = subscriber.session().map(|session| session.framework_id);
            tracing::warn!(stream = stream.0, ?framework, reason, "a subscriber was cut off");
            self.forget(&subscriber);
            self.tell_end(stream, subscriber.proxy());
        }
    }

    fn close(&self, stream: StreamId) {
        if let Some(subscriber) = self.streams.get(&stream).map(|entry| Arc::clone(&entry)) {
            subscriber.close();
            self.forget(&subscriber);
        }
    }
}

impl Handler for MasterEdge {
    async fn handle(self: Arc<Self>, request: Request) -> Answer {
        let components = match path::components(request.path()) {
            Ok(components) => components,
            Err(error) => return answer::bad(error),
        };
        let mut parts: Vec<&str> = components.iter().map(String::as_str).collect();
        if parts.len() > 1 && parts[0] == "master" {
            parts.remove(0);
        }
        match parts.as_slice() {
            ["api", "v1", "scheduler"] => scheduler::handle(self, request).await,
            ["api", "v1"] | ["api", "v1", "operator"] => operator::handle(self, request).await,
            ["maintenance" | "machine", _] => maintenance::handle(self, &parts, request).await,
            ["explain", parts @ ..] => explain::handle(self, parts, request).await,
            parts => {
                if let Some(endpoint) = legacy::Endpoint::of(parts, request.method()) {
                    return legacy::handle(self, endpoint, parts, request).await;
                }
                if matches!(parts, ["logging", "toggle"]) && *request.method() == Method::POST {
                    let query = path::query(request.query());
                    return query.map_or_else(answer::bad, |query| self.config.verbosity.toggle(&query));
                }
                let Some(endpoint) = polled::Endpoint::of(parts) else {
                    let none = || answer::refusal(StatusCode::NOT_FOUND, "No such endpoint");
                    let query = path::query(request.query()).unwrap_or_default();
                    return help::answer("master", help::MASTER, parts, &query).unwrap_or_else(none);
                };
                if !matches!(*request.method(), Method::GET | Method::HEAD) {
                    return answer::not_allowed("GET");
                }
                if endpoint == polled::Endpoint::Redirect {
                    return self.redirect();
                }
                polled::handle(self, endpoint, request).await
            }
        }
    }
}

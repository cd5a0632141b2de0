//! The HTTP edge of an agent: the executors' API, the operator's, its numbers, and the files of its sandboxes.
//!
//! Paths answer bare and below `/slave(1)/` and `/files/...` as Mesos's agents do (reference 1.1, 2).

mod actors;
mod executor;
mod files;
mod operator;
mod statistics;
pub mod token;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use hyper::{Method, StatusCode};
use kaon_kernel::actor::{HostId, StreamId};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::message::agent_outside::CallRefusal;
use kaon_kernel::port::Ingress;
use serde_json::json;
use tokio::sync::oneshot;

use self::actors::{Shared, Waiting};
use self::files::Files;
pub use self::statistics::{ContainerFigures, ContainerSource};
use self::token::Tokens;
use crate::answer::{self, Answer};
use crate::metric::{self, Sample};
use crate::polled::{self, json as words};
use crate::server::{Handler, Request};
use crate::stream::Subscriber;
use crate::{path, version};

/// How long the agent may take to answer. It never waits for the world before it does, but for a container that is being
/// started.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What the edge of an agent is told when it is made.
#[derive(Clone)]
pub struct AgentConfig {
    /// Where its sandboxes are: those in `slaves/` below.
    pub work_dir: PathBuf,
    /// Its words. Without an id the newest of the ids that have sandboxes is shown.
    pub info: AgentInfo,
    /// What `/flags` shows.
    pub flags: BTreeMap<String, String>,
    /// The host's numbers.
    pub metrics: metric::Source,
    /// The host whose agent it speaks to.
    pub host: HostId,
    /// The tokens of executors; `None` when they are not given any.
    pub tokens: Option<Tokens>,
    /// What the containers use.
    pub containers: ContainerSource,
}

/// The HTTP edge of an agent.
pub struct AgentEdge {
    config: AgentConfig,
    files: Files,
    started: SystemTime,
    begun: Instant,
    ingress: OnceLock<Arc<dyn Ingress>>,
    /// The streams of executors.
    streams: DashMap<StreamId, Arc<Subscriber>>,
    /// Subscriptions that the agent has not answered yet.
    opening: DashMap<StreamId, oneshot::Sender<Option<CallRefusal>>>,
    /// Who waits for an answer, by the stream on which it comes.
    waiting: DashMap<StreamId, Waiting>,
    shared: Shared,
    last_stream: AtomicU64,
    last_sequence: AtomicU64,
    queued_bytes: Arc<AtomicUsize>,
}

impl AgentEdge {
    /// An edge that answers at once.
    pub fn new(config: AgentConfig) -> Arc<Self> {
        let files = Files::below(config.work_dir.clone());
        Arc::new(Self {
            config,
            files,
            started: SystemTime::now(),
            begun: Instant::now(),
            ingress: OnceLock::new(),
            streams: DashMap::new(),
            opening: DashMap::new(),
            waiting: DashMap::new(),
            shared: Shared::default(),
            last_stream: AtomicU64::new(StreamId::VIEW.0),
            last_sequence: AtomicU64::new(0),
            queued_bytes: Arc::default(),
        })
    }

    fn samples(&self) -> Vec<Sample> {
        let mut samples = (self.config.metrics)();
        samples.push(Sample::gauge("slave/uptime_secs", self.begun.elapsed().as_secs_f64()));
        for entry in ["cpus", "gpus", "mem", "disk"] {
            let name = kaon_kernel::resource::ResourceName::of(entry);
            let total = self.config.info.resources.scalar(&name).as_scalar();
            samples.push(Sample::gauge(format!("slave/{entry}_total"), total));
        }
        samples
    }

    fn state(&self) -> serde_json::Value {
        let mut info = self.config.info.clone();
        if info.id.is_none() {
            info.id = self.files.newest_agent();
        }
        let mut out = words::agent_words(&info, &info.resources);
        if let serde_json::Value::Object(version) = version::body() {
            out.extend(version);
        }
        let start = self.started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        out.insert("start_time".into(), start.into());
        out.insert("flags".into(), json!(self.config.flags));
        out.into()
    }

    /// Runs on a thread that may wait for the disk.
    fn answer(&self, parts: &[String], query: &[(String, String)]) -> Answer {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let value = match parts.as_slice() {
            ["health"] => return answer::empty(StatusCode::OK),
            ["metrics"] => return polled::prometheus(&self.samples()),
            ["version"] => version::body(),
            ["flags"] => polled::flags(&self.config.flags),
            ["state" | "state.json"] => self.state(),
            ["metrics", "snapshot"] => metric::snapshot(&self.samples()),
            ["monitor", "statistics" | "statistics.json"] => statistics::body(&(self.config.containers)(), false),
            ["containers"] => statistics::body(&(self.config.containers)(), true),
            ["files", "browse" | "browse.json"] => match self.files.browse(query) {
                Ok(value) => value,
                Err(error) => return error.answer(),
            },
            ["files", "read" | "read.json"] => match self.files.read(query) {
                Ok(value) => value,
                Err(error) => return error.answer(),
            },
            ["files", "download" | "download.json"] => {
                return self.files.download(query).unwrap_or_else(|error| error.answer());
            }
            _ => return answer::refusal(StatusCode::NOT_FOUND, "No such endpoint"),
        };
        answer::json(&value, path::value(query, "jsonp"))
    }
}

impl Handler for AgentEdge {
    async fn handle(self: Arc<Self>, request: Request) -> Answer {
        let parsed = path::components(request.path()).and_then(|parts| Ok((parts, path::query(request.query())?)));
        let (mut parts, query) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return answer::bad(error),
        };
        if parts.len() > 1 && parts[0] == "slave(1)" {
            parts.remove(0);
        }
        match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["api", "v1", "executor"] => return executor::handle(self, request).await,
            ["api", "v1"] => return operator::handle(self, request).await,
            _ => {}
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer::not_allowed("GET");
        }
        let answered = tokio::task::spawn_blocking(move || self.answer(&parts, &query)).await;
        answered.unwrap_or_else(|_| answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made"))
    }
}

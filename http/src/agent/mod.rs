//! The HTTP edge of an agent: the executors' API, the operator's, its numbers, and the files of its sandboxes.
//!
//! Paths answer bare and below `/slave(1)/` and `/files/...` as Mesos's agents do (reference 1.1, 2).

mod actors;
mod containers;
mod executor;
mod figures;
mod nested;
mod operator;
mod process_io;
mod state;
mod statistics;
pub mod token;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use dashmap::DashMap;
use hyper::{Method, StatusCode};
use kaon_kernel::actor::{HostId, StreamId};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::message::agent_outside::CallRefusal;
use kaon_kernel::port::Ingress;
use serde_json::json;
use tokio::sync::oneshot;

use self::actors::{Seen, Shared, Waiting};
use self::containers::Wanted;
pub use self::nested::{ContainerCalls, Launched, Speaker, Unattached};
pub use self::statistics::{ContainerFigures, ContainerSource};
use self::token::Tokens;
use crate::answer::{self, Answer};
use crate::files::Files;
use crate::metric;
use crate::polled;
use crate::process::{self, Verbosity};
use crate::server::{Handler, Request};
use crate::stream::Subscriber;
use crate::{help, path, version};

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
    /// How much the process logs.
    pub verbosity: Arc<Verbosity>,
    /// The file that its log goes to; shown as `/slave/log`.
    pub log: Option<PathBuf>,
    /// Who carries out the calls about single containers.
    pub calls: Option<Arc<dyn ContainerCalls>>,
    /// Who removes images that no container uses; `None` where there are none.
    pub pruner: Option<ImagePruner>,
}

/// Removes the images that no container uses but those of these names, or says why it can't. May block.
pub type ImagePruner = Arc<dyn Fn(&[String]) -> Result<(), String> + Send + Sync>;

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
        let log = config.log.clone().map(|path| ("/slave/log", path));
        let files = Files::new(Some(config.work_dir.clone()), log);
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

    /// Runs on a thread that may wait for the disk.
    fn answer(&self, parts: &[String], query: &[(String, String)], seen: Option<&Seen>) -> Answer {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        if let Some(answer) = self.files.answer(&parts, query) {
            return answer;
        }
        if let Some(answer) = help::answer("slave(1)", help::AGENT, &parts, query) {
            return answer;
        }
        let nothing = Seen::default();
        let value = match parts.as_slice() {
            ["health"] => return answer::empty(StatusCode::OK),
            ["metrics"] => return polled::prometheus(&self.samples(seen)),
            ["version"] => version::body(),
            ["flags"] => process::flags_json(&self.config.flags),
            ["state" | "state.json"] => self.state(seen),
            ["metrics", "snapshot"] => metric::snapshot(&self.samples(seen)),
            ["system", "stats.json"] => process::system(&self.samples(None)),
            ["monitor", "statistics" | "statistics.json"] => {
                let seen = seen.unwrap_or(&nothing);
                containers::to_json(containers::shown(self, seen, &Wanted::default()), false)
            }
            ["containers"] => match Wanted::of(query) {
                Ok(wanted) => containers::to_json(containers::shown(self, seen.unwrap_or(&nothing), &wanted), true),
                Err(reason) => return answer::bad(reason),
            },
            // Nothing here waits for an isolator or a launcher for longer than a launch does.
            ["containerizer", "debug"] => json!({"pending": []}),
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
        let words: Vec<&str> = parts.iter().map(String::as_str).collect();
        if words == ["logging", "toggle"] && matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) {
            return self.config.verbosity.toggle(&query);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer::not_allowed("GET");
        }
        let seen = match words.as_slice() {
            // An agent that recovers does not know yet what it has (reference 2).
            ["state" | "state.json" | "containers"] | ["monitor", ..] if self.is_plugged() => match self.look().await {
                Ok(seen) => Some(seen),
                Err(refusal) => return *refusal,
            },
            ["metrics", ..] => self.glance().await,
            _ => None,
        };
        let answered = tokio::task::spawn_blocking(move || self.answer(&parts, &query, seen.as_deref())).await;
        answered.unwrap_or_else(|_| answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made"))
    }
}

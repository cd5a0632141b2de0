//! The HTTP edge of an agent: who it is, its numbers, and the files of its sandboxes.
//!
//! Paths answer bare and below `/slave(1)/` and `/files/...` as Mesos's agents do (reference 1.1, 2).

mod files;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hyper::{Method, StatusCode};
use kaon_kernel::agent::AgentInfo;
use serde_json::json;

use self::files::Files;
use crate::answer::{self, Answer};
use crate::metric::{self, Sample};
use crate::polled::{self, json as words};
use crate::server::{Handler, Request};
use crate::{path, version};

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
}

/// The HTTP edge of an agent.
pub struct AgentEdge {
    config: AgentConfig,
    files: Files,
    started: SystemTime,
    begun: Instant,
}

impl AgentEdge {
    /// An edge that answers at once.
    pub fn new(config: AgentConfig) -> Arc<Self> {
        let files = Files::below(config.work_dir.clone());
        Arc::new(Self { config, files, started: SystemTime::now(), begun: Instant::now() })
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
        if matches!(parts.first().map(String::as_str), Some("api")) {
            let text = "The agent's v1 API is not implemented by this version of Kaon";
            return answer::refusal(StatusCode::NOT_IMPLEMENTED, text);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer::not_allowed("GET");
        }
        let answered = tokio::task::spawn_blocking(move || self.answer(&parts, &query)).await;
        answered.unwrap_or_else(|_| answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made"))
    }
}

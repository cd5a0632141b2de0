//! What a row is given: where the cluster is, an encoding, names that nobody else uses, and the calls that every row needs.

use super::media::Media;
use super::story::{Stories, Story, Transcript};
use super::wire::{self, Answer};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The path of the scheduler API.
pub(crate) const SCHEDULER: &str = "/api/v1/scheduler";

/// The path of the operator API.
pub(crate) const OPERATOR: &str = "/api/v1";

/// The message of the scheduler API.
pub(crate) const SCHEDULER_CALL: &str = "mesos.v1.scheduler.Call";

/// The message of the master's operator API.
pub(crate) const MASTER_CALL: &str = "mesos.v1.master.Call";

/// The path of the executor API.
pub(crate) const EXECUTOR: &str = "/api/v1/executor";

/// The message of the executor API.
pub(crate) const EXECUTOR_CALL: &str = "mesos.v1.executor.Call";

/// The message of the agent's operator API.
pub(crate) const AGENT_CALL: &str = "mesos.v1.agent.Call";

struct Shared {
    master: String,
    /// `HOST:PORT` of one agent.
    agent: String,
    user: String,
    run: String,
    count: AtomicU64,
    stories: Stories,
}

/// The place where a row is tried. A clone is the same place.
#[derive(Clone)]
pub(crate) struct Arena {
    shared: Arc<Shared>,
    /// How messages are written.
    pub(crate) media: Media,
}

impl Arena {
    /// A place; `run` is in every name, so that two runs on one cluster do not meet.
    pub(crate) fn new(master: String, agent: String, user: String, run: String) -> Self {
        let shared = Shared { master, agent, user, run, count: AtomicU64::new(0), stories: Stories::default() };
        Self { shared: Arc::new(shared), media: Media::Json }
    }

    /// The same place in an encoding.
    pub(crate) fn in_media(&self, media: Media) -> Self {
        Self { shared: Arc::clone(&self.shared), media }
    }

    /// `HOST:PORT` of the master.
    pub(crate) fn master(&self) -> &str {
        &self.shared.master
    }

    /// `HOST:PORT` of an agent.
    pub(crate) fn agent(&self) -> &str {
        &self.shared.agent
    }

    /// The user that tasks run as.
    pub(crate) fn user(&self) -> &str {
        &self.shared.user
    }

    /// A name that nobody else has.
    pub(crate) fn name(&self, stem: &str) -> String {
        let number = self.shared.count.fetch_add(1, Ordering::Relaxed);
        format!("contest-{}-{stem}-{number}", self.shared.run)
    }

    /// What a framework says of itself when a row asks for nothing special.
    pub(crate) fn info(&self) -> Value {
        json!({"user": self.user(), "name": self.name("framework"), "roles": ["*"],
            "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}]})
    }

    /// The same with some keys set, or taken out with null.
    pub(crate) fn info_with(&self, changes: Value) -> Value {
        let mut info = self.info();
        merge(&mut info, &changes);
        info
    }

    /// What came of a story of tasks, played once for all rows of an encoding.
    pub(crate) async fn story(&self, story: Story) -> Result<Arc<Transcript>> {
        self.shared.stories.play(self, story).await
    }

    /// GET from the master.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        wire::exchange(self.master(), "GET", path, &[], b"").await
    }

    /// GET from the master, 200 and JSON.
    pub(crate) async fn get_json(&self, path: &str) -> Result<Value> {
        json_of(self.get(path).await?)
    }

    /// POST of a message to the master, in our encoding; the same is accepted back.
    pub(crate) async fn post(&self, path: &str, message: &str, call: &Value) -> Result<Answer> {
        self.post_to((self.master(), path), message, call).await
    }

    /// POST of a message to any endpoint, in our encoding; the same is accepted back.
    pub(crate) async fn post_to(&self, (host, path): (&str, &str), message: &str, call: &Value) -> Result<Answer> {
        let body = self.media.write(message, call)?;
        let headers = [("Content-Type", self.media.name()), ("Accept", self.media.name())];
        wire::exchange(host, "POST", path, &headers, &body).await
    }

    /// A call of an agent's operator API.
    pub(crate) async fn agent_operator(&self, agent: &str, call: &Value) -> Result<Answer> {
        self.post_to((agent, OPERATOR), AGENT_CALL, call).await
    }

    /// A read of an agent's operator API: as [`Arena::read`].
    pub(crate) async fn agent_read(&self, agent: &str, call: &Value) -> Result<Value> {
        let answer = self.agent_operator(agent, call).await?.expect(200)?;
        self.part_of("mesos.v1.agent.Response", call["type"].as_str().unwrap_or_default(), &answer)
    }

    /// A call of the scheduler API without a stream.
    pub(crate) async fn scheduler(&self, call: &Value) -> Result<Answer> {
        self.post(SCHEDULER, SCHEDULER_CALL, call).await
    }

    /// A call of the operator API.
    pub(crate) async fn operator(&self, call: &Value) -> Result<Answer> {
        self.post(OPERATOR, MASTER_CALL, call).await
    }

    /// A read of the operator API: 200, our encoding, and the part of the answer that is named after the call.
    pub(crate) async fn read(&self, kind: &str) -> Result<Value> {
        let answer = self.operator(&json!({"type": kind})).await?.expect(200)?;
        self.part_of("mesos.v1.master.Response", kind, &answer)
    }

    /// The part of an answer that is named after its call.
    pub(crate) fn part_of(&self, message: &str, kind: &str, answer: &Answer) -> Result<Value> {
        ensure!(answer.header("content-type") == Some(self.media.name()), "an answer in another encoding");
        let response = self.media.read(message, &answer.body)?;
        ensure!(response["type"] == kind, "an answer of another type: {response}");
        let part = response.get(kind.to_ascii_lowercase()).with_context(|| format!("{kind} has no body"))?;
        Ok(part.clone())
    }

    /// An order of the operator API that must be carried out: 200 and nothing.
    pub(crate) async fn order(&self, call: &Value) -> Result<()> {
        let answer = self.operator(call).await?.expect(200)?;
        ensure!(answer.body.is_empty(), "an order is answered with nothing, not {}", answer.shown());
        Ok(())
    }

    /// The words of a framework as the operator API shows it: among the living, or the completed.
    pub(crate) async fn shown_framework(&self, id: &str, list: &str) -> Result<Option<Value>> {
        let all = self.read("GET_FRAMEWORKS").await?;
        let listed = items(&all[list]).iter();
        Ok(listed.into_iter().find(|one| one["framework_info"]["id"]["value"] == id).cloned())
    }

    /// Tries again and again until something is there.
    pub(crate) async fn eventually<T, F>(&self, what: &str, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let begin = std::time::Instant::now();
        loop {
            if let Some(found) = attempt().await? {
                return Ok(found);
            }
            ensure!(begin.elapsed() < super::framework::SOON, "waited in vain for {what}");
            tokio::time::sleep(super::framework::PAUSE).await;
        }
    }
}

/// The elements of a list; none when it is absent, as an empty list is.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Sets the keys of `changes` in `value`, at every depth; null takes a key out.
pub(crate) fn merge(value: &mut Value, changes: &Value) {
    match (value, changes) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, change) in from {
                if change.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Value::Null), change);
                }
            }
        }
        (value, changes) => *value = changes.clone(),
    }
}

fn json_of(answer: Answer) -> Result<Value> {
    let answer = answer.expect(200)?;
    ensure!(answer.header("content-type") == Some("application/json"), "not of type JSON: {}", answer.shown());
    serde_json::from_slice(&answer.body).with_context(|| format!("no JSON: {}", answer.shown()))
}

/// Whether a framework is among the completed.
pub(crate) async fn plain_completed(arena: &Arena, id: &str) -> Result<Option<()>> {
    Ok(arena.shown_framework(id, "completed_frameworks").await?.map(drop))
}

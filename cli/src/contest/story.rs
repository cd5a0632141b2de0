//! Stories of tasks that run: each is played once in each encoding, and many rows read what was told. Starting a process for
//! every rule about statuses would take the suite minutes.

use super::arena::Arena;
use super::framework::{Framework, scalar};
use super::media::Media;
use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// Which story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Story {
    /// A command that writes to stdout and ends with 0.
    Finished,
    /// A command that ends with 3.
    Failed,
    /// A command that sleeps and is killed; its framework knows TASK_KILLING.
    Killed,
}

/// What was told.
pub(crate) struct Transcript {
    /// The framework, which stays: a master remembers few of those that are gone, and other rows end theirs.
    pub(crate) home: Framework,
    /// The offer that was accepted.
    pub(crate) offer: Value,
    /// The task as it was launched.
    pub(crate) task: Value,
    /// Its statuses, in order.
    pub(crate) updates: Vec<Value>,
    /// GET_TASKS while the task ran; null when it ended by itself.
    pub(crate) running: Value,
    /// The entry of GET_TASKS.completed_tasks after the last acknowledgement.
    pub(crate) completed: Value,
    /// What the task wrote to stdout, read over `/files` of the agent.
    pub(crate) stdout: String,
}

impl Transcript {
    /// The states in order, repetitions left out.
    pub(crate) fn states(&self) -> Vec<&str> {
        let mut states: Vec<&str> = self.updates.iter().filter_map(|status| status["state"].as_str()).collect();
        states.dedup();
        states
    }

    /// The first status with a state.
    pub(crate) fn status(&self, state: &str) -> Result<&Value> {
        let found = self.updates.iter().find(|status| status["state"] == state);
        found.ok_or_else(|| anyhow!("no {state} in {:?}", self.states()))
    }
}

type Played = Arc<OnceCell<Result<Arc<Transcript>, String>>>;

/// The stories that were played.
#[derive(Default)]
pub(crate) struct Stories {
    played: Mutex<BTreeMap<(Media, Story), Played>>,
}

impl Stories {
    /// What came of a story; plays it when nobody has.
    pub(crate) async fn play(&self, arena: &Arena, story: Story) -> Result<Arc<Transcript>> {
        let key = (arena.media, story);
        let cell = Arc::clone(self.played.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        let play = || async { play(arena, story).await.map(Arc::new).map_err(|error| format!("{error:#}")) };
        cell.get_or_init(play).await.clone().map_err(|error| anyhow!("the story {story:?} failed: {error}"))
    }
}

async fn play(arena: &Arena, story: Story) -> Result<Transcript> {
    let kinds = ["MULTI_ROLE", "PARTITION_AWARE", "TASK_KILLING_STATE"].map(|kind| json!({"type": kind}));
    let mut framework = Framework::subscribe(arena, arena.info_with(json!({"capabilities": kinds}))).await?;
    let offer = framework.offer().await?;
    let command = match story {
        Story::Finished => "echo out of $WHO; echo to stderr >&2; exit 0",
        Story::Failed => "exit 3",
        Story::Killed => "echo started; sleep 600",
    };
    let (id, mut task) = framework.task(&offer, command);
    task["labels"] = json!({"labels": [{"key": "kind", "value": "story"}, {"key": "bare"}]});
    task["data"] = json!("AAEC/w==");
    task["command"]["environment"] = json!({"variables": [{"name": "WHO", "value": "the box"}]});
    task["discovery"] = json!({"visibility": "CLUSTER", "name": "story"});
    framework.launch(&offer, vec![task.clone()]).await?;
    let last = match story {
        Story::Finished => "TASK_FINISHED",
        Story::Failed => "TASK_FAILED",
        Story::Killed => "TASK_KILLED",
    };
    let mut running = Value::Null;
    if story == Story::Killed {
        framework.status(&id, "TASK_RUNNING").await?;
        running = arena
            .eventually("the task among the running", || async {
                let found = shown(arena, "tasks", &id).await?;
                Ok(found.filter(|task| task["state"] == "TASK_RUNNING"))
            })
            .await?;
        framework.must("KILL", json!({"task_id": {"value": id}, "agent_id": offer["agent_id"]})).await?;
    }
    framework.status(&id, last).await?;
    let completed = arena.eventually("the completed task", || shown(arena, "completed_tasks", &id)).await?;
    let stdout = stdout(&framework.id, &id, &offer).await?;
    let updates = std::mem::take(&mut framework.updates);
    framework.must("SUPPRESS", Value::Null).await?;
    Ok(Transcript { home: framework, offer, task, updates, running, completed, stdout })
}

/// A task as GET_TASKS shows it in one of its lists.
pub(crate) async fn shown(arena: &Arena, list: &str, id: &str) -> Result<Option<Value>> {
    let tasks = arena.read("GET_TASKS").await?;
    Ok(super::arena::items(&tasks[list]).iter().find(|task| task["task_id"]["value"] == id).cloned())
}

/// What a task wrote to stdout: `/files/read` of its agent, below the path that every agent has for it.
async fn stdout(framework: &str, task: &str, offer: &Value) -> Result<String> {
    let address = &offer["url"]["address"];
    let host = address["ip"].as_str().or_else(|| address["hostname"].as_str()).unwrap_or("127.0.0.1");
    let agent = format!("{host}:{}", address["port"].as_i64().unwrap_or(5051));
    let path = format!("/files/read?path=/frameworks/{framework}/executors/{task}/runs/latest/stdout&offset=0");
    let answer = super::wire::exchange(&agent, "GET", &path, &[], b"").await?.expect(200)?;
    let read: Value = serde_json::from_slice(&answer.body)?;
    Ok(read["data"].as_str().unwrap_or_default().to_owned())
}

/// The resources of a small task.
pub(crate) fn small() -> Value {
    json!([scalar("cpus", 0.1), scalar("mem", 32.0)])
}

//! Reference 5.1: what a task must fulfil, resources excepted (those are in `resources`). The first rule that it breaks is
//! told in a TASK_ERROR.

use crate::contest::arena::{Arena, merge};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use crate::contest::story::small;
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// What a task that breaks a rule is told.
pub(super) fn judged(status: &Value) -> Result<()> {
    ensure!(status["state"] == "TASK_ERROR" && status["reason"] == "REASON_TASK_INVALID", "{status}");
    ensure!(status["source"] == "SOURCE_MASTER", "{status}");
    ensure!(status.get("uuid").is_none(), "the master's own status asks to be acknowledged: {status}");
    ensure!(status["message"].as_str().is_some_and(|message| !message.is_empty()), "no reason is given: {status}");
    ensure!(status["timestamp"].is_number() && status["agent_id"]["value"].is_string(), "{status}");
    Ok(())
}

/// Launches a task that breaks a rule.
pub(super) async fn refused(arena: &Arena, changes: &Value) -> Result<()> {
    let mut framework = Framework::start(arena).await?;
    let offer = framework.offer().await?;
    let (id, mut task) = framework.task(&offer, "true");
    merge(&mut task, changes);
    let told = task["task_id"]["value"].as_str().unwrap_or(&id).to_owned();
    framework.launch(&offer, vec![task]).await?;
    judged(&framework.first_status(&told).await?)?;
    framework.teardown().await
}

fn invalid() -> Vec<(&'static str, Value)> {
    let second = |seconds: i64| json!({"nanoseconds": seconds * 1_000_000_000});
    let id = |id: &str| json!({"task_id": {"value": id}});
    let executor = |changes: Value| {
        let mut executor = json!({"type": "CUSTOM", "executor_id": {"value": "e"}, "command": {"value": "true"},
            "resources": small()});
        merge(&mut executor, &changes);
        json!({"command": null, "executor": executor})
    };
    let variable = |variable: Value| json!({"command": {"environment": {"variables": [variable]}}});
    let volume = |volume: Value| json!({"container": {"type": "MESOS", "volumes": [volume]}});
    vec![
        ("an empty task id", id("")),
        ("task id .", id(".")),
        ("task id ..", id("..")),
        ("a slash in the task id", id("a/b")),
        ("a backslash in the task id", id("a\\b")),
        ("a control character in the task id", id("a\u{1}b")),
        ("a task id of 256 bytes", id(&"x".repeat(256))),
        ("another agent's id", json!({"agent_id": {"value": "no-such-agent"}})),
        ("a negative kill grace", json!({"kill_policy": {"grace_period": second(-1)}})),
        ("a negative max_completion_time", json!({"max_completion_time": second(-1)})),
        ("a check without a type", json!({"check": {"command": {"command": {"value": "true"}}}})),
        ("a check of type UNKNOWN", json!({"check": {"type": "UNKNOWN"}})),
        ("a check of type COMMAND without a command", json!({"check": {"type": "COMMAND"}})),
        ("a check of type HTTP without its part", json!({"check": {"type": "HTTP"}})),
        ("a check of type TCP without its part", json!({"check": {"type": "TCP"}})),
        ("a check with a path without a slash", json!({"check": {"type": "HTTP", "http": {"port": 80, "path": "x"}}})),
        (
            "a check with a negative delay",
            json!({"check": {"type": "TCP", "tcp": {"port": 80}, "delay_seconds": -1.0}}),
        ),
        (
            "a check with a negative interval",
            json!({"check": {"type": "TCP", "tcp": {"port": 80}, "interval_seconds": -1.0}}),
        ),
        (
            "a check with a negative timeout",
            json!({"check": {"type": "TCP", "tcp": {"port": 80}, "timeout_seconds": -1.0}}),
        ),
        ("a check with an empty command", json!({"check": {"type": "COMMAND", "command": {"command": {}}}})),
        ("a health check of type UNKNOWN", json!({"health_check": {"type": "UNKNOWN"}})),
        ("a health check of type COMMAND without a command", json!({"health_check": {"type": "COMMAND"}})),
        (
            "a health check with scheme ftp",
            json!({"health_check": {"type": "HTTP", "http": {"scheme": "ftp", "port": 80}}}),
        ),
        (
            "a health check with a path without a slash",
            json!({"health_check": {"type": "HTTP", "http": {"port": 80, "path": "x"}}}),
        ),
        (
            "a health check with a negative delay",
            json!({"health_check": {"type": "TCP", "tcp": {"port": 80}, "delay_seconds": -1.0}}),
        ),
        (
            "a health check with a negative grace",
            json!({"health_check": {"type": "TCP", "tcp": {"port": 80}, "grace_period_seconds": -1.0}}),
        ),
        ("a VALUE variable without a value", variable(json!({"name": "A"}))),
        (
            "a VALUE variable with a secret",
            variable(json!({"name": "A", "value": "b",
            "secret": {"type": "VALUE", "value": {"data": "AA=="}}})),
        ),
        ("a SECRET variable without a secret", variable(json!({"name": "A", "type": "SECRET"}))),
        (
            "a SECRET variable with a value",
            variable(json!({"name": "A", "type": "SECRET", "value": "b",
            "secret": {"type": "VALUE", "value": {"data": "YQ=="}}})),
        ),
        (
            "a SECRET variable with a NUL byte",
            variable(json!({"name": "A", "type": "SECRET",
            "secret": {"type": "VALUE", "value": {"data": "AGE="}}})),
        ),
        ("a variable of type UNKNOWN", variable(json!({"name": "A", "type": "UNKNOWN", "value": "b"}))),
        ("a volume from nowhere", volume(json!({"mode": "RW", "container_path": "p"}))),
        (
            "a volume from two places",
            volume(json!({"mode": "RW", "container_path": "p", "host_path": "/h",
            "image": {"type": "DOCKER", "docker": {"name": "i"}}})),
        ),
        (
            "a volume source without its part",
            volume(json!({"mode": "RW", "container_path": "p",
            "source": {"type": "SANDBOX_PATH"}})),
        ),
        (
            "a volume source of type UNKNOWN",
            volume(json!({"mode": "RW", "container_path": "p", "source": {"type": "UNKNOWN"}})),
        ),
        ("a DOCKER container without docker", json!({"container": {"type": "DOCKER"}})),
        (
            "a docker parameter called name",
            json!({"container": {"type": "DOCKER", "docker": {"image": "i",
            "parameters": [{"key": "name", "value": "v"}]}}}),
        ),
        ("neither command nor executor", json!({"command": null})),
        (
            "command and executor",
            json!({"executor": {"type": "CUSTOM", "executor_id": {"value": "e"},
            "command": {"value": "true"}, "resources": small()}}),
        ),
        ("a CUSTOM executor without a command", executor(json!({"command": null}))),
        ("a DEFAULT executor with a command", executor(json!({"type": "DEFAULT"}))),
        (
            "a DEFAULT executor in a DOCKER container",
            executor(json!({"type": "DEFAULT", "command": null,
            "container": {"type": "DOCKER", "docker": {"image": "i"}}})),
        ),
        (
            "a DEFAULT executor with an image",
            executor(json!({"type": "DEFAULT", "command": null,
            "container": {"type": "MESOS", "mesos": {"image": {"type": "DOCKER", "docker": {"name": "i"}}}}})),
        ),
        ("a slash in the executor id", executor(json!({"executor_id": {"value": "a/b"}}))),
        ("an empty executor id", executor(json!({"executor_id": {"value": ""}}))),
        ("another framework's id in the executor", executor(json!({"framework_id": {"value": "other"}}))),
        ("a negative shutdown grace", executor(json!({"shutdown_grace_period": second(-1)}))),
        (
            "resources allocated to another role than the offer's",
            json!({"resources": small().as_array().into_iter().flatten().map(|resource| {
                let mut resource = resource.clone();
                resource["allocation_info"] = json!({"role": "zzz"});
                resource
            }).collect::<Value>()}),
        ),
        (
            "share_cgroups=false outside a group",
            json!({"container": {"type": "MESOS", "linux_info": {"share_cgroups": false}}}),
        ),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (given, changes) in invalid() {
        let trial = move |arena: Arena| {
            let changes = changes.clone();
            async move { refused(&arena, &changes).await }
        };
        rows.push(row("5.1", "LAUNCH", given, "TASK_ERROR, TASK_INVALID, by the master, no uuid", trial));
    }
    let duplicate = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, task) = framework.task(&offer, "sleep 600");
        framework.launch(&offer, vec![task.clone(), task]).await?;
        judged(&framework.status(&id, "TASK_ERROR").await?)?;
        framework.teardown().await
    };
    let beside = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (bad, mut wrong) = framework.task(&offer, "true");
        merge(&mut wrong, &json!({"command": null}));
        let (good, right) = framework.task(&offer, "true");
        framework.launch(&offer, vec![wrong, right]).await?;
        judged(&framework.first_status(&bad).await?)?;
        framework.status(&good, "TASK_FINISHED").await?;
        framework.teardown().await
    };
    let reused = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, task) = framework.task(&offer, "true");
        framework.launch(&offer, vec![task.clone()]).await?;
        framework.status(&id, "TASK_FINISHED").await?;
        let listed = || crate::contest::story::shown(&arena, "completed_tasks", &id);
        arena.eventually("the completed task", listed).await?;
        framework.updates.clear();
        let next = framework.offer().await?;
        let mut task = task;
        task["agent_id"] = next["agent_id"].clone();
        framework.launch(&next, vec![task]).await?;
        framework.status(&id, "TASK_FINISHED").await?;
        framework.teardown().await
    };
    let released = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, mut task) = framework.task(&offer, "true");
        merge(&mut task, &json!({"command": null}));
        framework.launch(&offer, vec![task]).await?;
        judged(&framework.first_status(&id).await?)?;
        // Nothing stays of it: not in the lists, not in the way of the next.
        let tasks = arena.read("GET_TASKS").await?;
        ensure!(!tasks["tasks"].to_string().contains(&id), "it is among the tasks");
        framework.teardown().await
    };
    let long = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (_, mut task) = framework.task(&offer, "true");
        let id = format!("{:x<200}", arena.name("long"));
        task["task_id"]["value"] = json!(id);
        framework.launch(&offer, vec![task]).await?;
        framework.status(&id, "TASK_FINISHED").await?;
        framework.teardown().await
    };
    rows.extend([
        row("5.1", "LAUNCH", "one id for two tasks at once", "TASK_ERROR for the second", duplicate),
        row("5.1", "LAUNCH", "an invalid task beside a valid one", "only the invalid one fails", beside),
        row("5.1", "LAUNCH", "the id of a completed task", "it runs", reused),
        row("5.1", "LAUNCH", "an invalid task", "nothing of it stays in GET_TASKS", released),
        row("5.1", "LAUNCH", "a task id of 200 bytes", "it runs", long),
    ]);
    rows
}

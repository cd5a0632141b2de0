//! Reference 5.2: LAUNCH_GROUP, all or nothing.

use crate::contest::arena::{Arena, merge};
use crate::contest::framework::{Framework, amount, scalar};
use crate::contest::row::{Row, row};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// A group of two tasks under a default executor.
fn group(framework: &Framework, offer: &Value) -> (Vec<String>, Value) {
    let (one, first) = framework.task(offer, "true");
    let (two, second) = framework.task(offer, "true");
    let executor = json!({"type": "DEFAULT", "executor_id": {"value": framework.arena.name("executor")},
        "framework_id": {"value": framework.id}, "resources": [scalar("cpus", 0.1), scalar("mem", 32.0), scalar("disk", 8.0)]});
    (vec![one, two], json!({"executor": executor, "task_group": {"tasks": [first, second]}}))
}

/// Launches a group with changes, and wants both tasks refused.
async fn refused(arena: &Arena, executor: &Value, second: &Value) -> Result<()> {
    let mut framework = Framework::start(arena).await?;
    let offer = framework.offer().await?;
    let (ids, mut launch) = group(&framework, &offer);
    merge(&mut launch["executor"], executor);
    merge(&mut launch["task_group"]["tasks"][1], second);
    let launch = json!({"type": "LAUNCH_GROUP", "launch_group": launch});
    framework.accept(&[&offer], vec![launch]).await?;
    for id in &ids {
        let status = framework.first_status(id).await?;
        ensure!(status["state"] == "TASK_ERROR" && status["reason"] == "REASON_TASK_GROUP_INVALID", "{status}");
        ensure!(status["source"] == "SOURCE_MASTER" && status.get("uuid").is_none(), "{status}");
        ensure!(status["message"].as_str().is_some_and(|message| !message.is_empty()), "no reason is given: {status}");
    }
    framework.teardown().await
}

/// What breaks a rule: changes to the executor, and to the second task.
fn invalid() -> Vec<(&'static str, Value, Value)> {
    let executor = |changes: Value| (changes, json!({}));
    let task = |changes: Value| (json!({}), changes);
    let cases = vec![
        ("an executor without a type", executor(json!({"type": null}))),
        ("an executor of type UNKNOWN", executor(json!({"type": "UNKNOWN"}))),
        ("a DEFAULT executor with a command", executor(json!({"command": {"value": "true"}}))),
        ("a CUSTOM executor without a command", executor(json!({"type": "CUSTOM"}))),
        (
            "an executor with less than 0.01 cpus",
            executor(json!({"resources": [scalar("cpus", 0.005), scalar("mem", 32.0), scalar("disk", 8.0)]})),
        ),
        (
            "an executor with less than 32 MB",
            executor(json!({"resources": [scalar("cpus", 0.1), scalar("mem", 31.0), scalar("disk", 8.0)]})),
        ),
        ("an executor without disk", executor(json!({"resources": [scalar("cpus", 0.1), scalar("mem", 32.0)]}))),
        ("an executor without resources", executor(json!({"resources": null}))),
        (
            "an executor in a DOCKER container",
            executor(json!({"container": {"type": "DOCKER", "docker": {"image": "i"}}})),
        ),
        ("another framework's id in the executor", executor(json!({"framework_id": {"value": "other"}}))),
        ("a slash in the executor id", executor(json!({"executor_id": {"value": "a/b"}}))),
        (
            "a task with another executor",
            task(json!({"executor": {"type": "DEFAULT", "executor_id": {"value": "other"},
            "resources": [scalar("cpus", 0.1), scalar("mem", 32.0), scalar("disk", 8.0)]}})),
        ),
        ("a task in a DOCKER container", task(json!({"container": {"type": "DOCKER", "docker": {"image": "i"}}}))),
        ("limits on a task that shares control groups", task(json!({"limits": {"mem": {"value": 64.0}}}))),
        ("a task for another agent", task(json!({"agent_id": {"value": "no-such-agent"}}))),
        ("a task without resources", task(json!({"resources": null}))),
        (
            "a task that is larger than the offer",
            task(json!({"resources": [scalar("cpus", 1e6), scalar("mem", 32.0)]})),
        ),
        ("a task with an invalid health check", task(json!({"health_check": {"type": "COMMAND"}}))),
        ("a task with a negative kill grace", task(json!({"kill_policy": {"grace_period": {"nanoseconds": -1}}}))),
    ];
    cases.into_iter().map(|(given, (executor, task))| (given, executor, task)).collect()
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (given, executor, task) in invalid() {
        let trial = move |arena: Arena| {
            let (executor, task) = (executor.clone(), task.clone());
            async move { refused(&arena, &executor, &task).await }
        };
        rows.push(row("5.2", "LAUNCH_GROUP", given, "TASK_ERROR, TASK_GROUP_INVALID for every task", trial));
    }
    let together = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (ids, mut launch) = group(&framework, &offer);
        let share = json!([scalar("cpus", amount(&offer, "cpus") * 0.6), scalar("mem", 32.0)]);
        for task in [0, 1] {
            launch["task_group"]["tasks"][task]["resources"] = share.clone();
        }
        framework.accept(&[&offer], vec![json!({"type": "LAUNCH_GROUP", "launch_group": launch})]).await?;
        for id in &ids {
            let status = framework.first_status(id).await?;
            ensure!(status["state"] == "TASK_ERROR" && status["reason"] == "REASON_TASK_GROUP_INVALID", "{status}");
        }
        framework.teardown().await
    };
    let with_id = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (ids, launch) = group(&framework, &offer);
        let operation = json!({"type": "LAUNCH_GROUP", "id": {"value": "an-id"}, "launch_group": launch});
        framework.accept(&[&offer], vec![operation]).await?;
        for id in &ids {
            let status = framework.first_status(id).await?;
            ensure!(status["state"] == "TASK_ERROR" && status["source"] == "SOURCE_MASTER", "{status}");
        }
        framework.teardown().await
    };
    let bad_offer = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        let offer = json!({"id": {"value": "no-such-offer"}, "agent_id": {"value": "a"}});
        let (ids, launch) = group(&framework, &offer);
        framework.accept(&[&offer], vec![json!({"type": "LAUNCH_GROUP", "launch_group": launch})]).await?;
        for id in &ids {
            let status = framework.first_status(id).await?;
            ensure!(status["state"] == "TASK_DROPPED" && status["reason"] == "REASON_INVALID_OFFERS", "{status}");
        }
        framework.teardown().await
    };
    rows.extend([
        row("5.2", "LAUNCH_GROUP", "two tasks that together are too large", "TASK_ERROR for both", together),
        row("4", "LAUNCH_GROUP", "an operation id", "TASK_ERROR for its tasks", with_id),
        row("3.3", "LAUNCH_GROUP", "an offer that nobody knows", "every task TASK_DROPPED, INVALID_OFFERS", bad_offer),
    ]);
    rows
}

//! Reference 8.4: RECONCILE, explicit and implicit.

use crate::contest::arena::{Arena, items};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// What every answer to a reconciliation is.
fn judged(status: &Value, state: &str) -> Result<()> {
    ensure!(status["state"] == state, "{status}");
    ensure!(status["source"] == "SOURCE_MASTER" && status["reason"] == "REASON_RECONCILIATION", "{status}");
    ensure!(status.get("uuid").is_none(), "an answer asks to be acknowledged: {status}");
    ensure!(status["message"].as_str().is_some_and(|message| !message.is_empty()), "no message: {status}");
    Ok(())
}

async fn an_agent(arena: &Arena) -> Result<Value> {
    let agents = arena.read("GET_AGENTS").await?;
    Ok(items(&agents["agents"]).first().context("an agent")?["agent_info"]["id"].clone())
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let old = || json!([{"type": "MULTI_ROLE"}]);
    let aware = || json!([{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}]);
    for (given, agent, state, capabilities) in [
        (
            "a task that nobody knows, on an agent that is there, PARTITION_AWARE",
            "known",
            "TASK_GONE",
            aware as fn() -> Value,
        ),
        ("a task that nobody knows, on an agent that is there, not PARTITION_AWARE", "known", "TASK_LOST", old),
        ("a task and an agent that nobody knows, PARTITION_AWARE", "unknown", "TASK_UNKNOWN", aware),
        ("a task and an agent that nobody knows, not PARTITION_AWARE", "unknown", "TASK_LOST", old),
        ("a task that nobody knows, no agent, PARTITION_AWARE", "", "TASK_UNKNOWN", aware),
        ("a task that nobody knows, no agent, not PARTITION_AWARE", "", "TASK_LOST", old),
    ] {
        let trial = move |arena: Arena| async move {
            let mut framework = Framework::quiet_with(&arena, json!({"capabilities": capabilities()})).await?;
            let mut task = json!({"task_id": {"value": "asked"}});
            match agent {
                "known" => task["agent_id"] = an_agent(&arena).await?,
                "unknown" => task["agent_id"] = json!({"value": "no-such-agent"}),
                _ => {}
            }
            framework.must("RECONCILE", json!({"tasks": [task]})).await?;
            judged(&framework.first_status("asked").await?, state)?;
            framework.teardown().await
        };
        rows.push(row("8.4", "RECONCILE", given, format!("{state}, by the master, no uuid"), trial));
    }
    rows.extend(known());
    rows
}

async fn running(arena: &Arena) -> Result<(Framework, Value, String)> {
    let mut framework = Framework::start(arena).await?;
    let (offer, id) = framework.launch_one("sleep 600").await?;
    framework.status(&id, "TASK_RUNNING").await?;
    Ok((framework, offer, id))
}

fn known() -> Vec<Row> {
    let explicit = |arena: Arena| async move {
        let (mut framework, offer, id) = running(&arena).await?;
        for agent in [offer["agent_id"].clone(), Value::Null] {
            framework.updates.clear();
            let mut task = json!({"task_id": {"value": id}});
            if !agent.is_null() {
                task["agent_id"] = agent;
            }
            framework.must("RECONCILE", json!({"tasks": [task]})).await?;
            let status = framework.first_status(&id).await?;
            judged(&status, "TASK_RUNNING")?;
            ensure!(status["agent_id"] == offer["agent_id"], "{status}");
        }
        framework.teardown().await
    };
    let implicit = |arena: Arena| async move {
        let (mut framework, _, id) = running(&arena).await?;
        framework.updates.clear();
        framework.must("RECONCILE", json!({})).await?;
        judged(&framework.first_status(&id).await?, "TASK_RUNNING")?;
        framework.listen(Duration::from_millis(200)).await?;
        ensure!(framework.updates.len() == 1, "{:?}", framework.updates);
        framework.teardown().await
    };
    let completed = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let (_, id) = framework.launch_one("true").await?;
        framework.status(&id, "TASK_FINISHED").await?;
        let done = || crate::contest::story::shown(&arena, "completed_tasks", &id);
        arena.eventually("the completed task", done).await?;
        framework.updates.clear();
        framework.must("RECONCILE", json!({})).await?;
        framework.listen(Duration::from_millis(300)).await?;
        ensure!(framework.updates.is_empty(), "{:?}", framework.updates);
        framework.teardown().await
    };
    let unacknowledged = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let (_, id) = framework.launch_one("true").await?;
        framework.status(&id, "TASK_RUNNING").await?;
        framework.acknowledges = false;
        framework.status(&id, "TASK_FINISHED").await?;
        for query in [json!({}), json!({"tasks": [{"task_id": {"value": id}}]})] {
            framework.updates.clear();
            framework.must("RECONCILE", query).await?;
            let answer = |framework: &Framework| {
                framework.updates.iter().find(|status| status["reason"] == "REASON_RECONCILIATION").cloned()
            };
            judged(&framework.until("an answer", answer).await?, "TASK_FINISHED")?;
        }
        framework.teardown().await
    };
    let foreign = |arena: Arena| async move {
        let (one, _, id) = running(&arena).await?;
        let mut two = Framework::quiet(&arena).await?;
        two.must("RECONCILE", json!({"tasks": [{"task_id": {"value": id}}]})).await?;
        judged(&two.first_status(&id).await?, "TASK_UNKNOWN")?;
        two.must("RECONCILE", json!({})).await?;
        two.listen(Duration::from_millis(200)).await?;
        ensure!(two.updates.len() == 1, "{:?}", two.updates);
        one.teardown().await?;
        two.teardown().await
    };
    let many = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        let tasks: Vec<Value> =
            (0..500).map(|number| json!({"task_id": {"value": format!("asked-{number}")}})).collect();
        framework.must("RECONCILE", json!({"tasks": tasks})).await?;
        framework.until("500 answers", |framework| (framework.updates.len() == 500).then_some(())).await?;
        framework.teardown().await
    };
    vec![
        row(
            "8.4",
            "RECONCILE",
            "a task that runs, with and without its agent",
            "TASK_RUNNING and the agent's id",
            explicit,
        )
        .within(60),
        row("8.4", "RECONCILE", "no tasks named, one runs", "one answer for it", implicit).within(60),
        row("8.4", "RECONCILE", "no tasks named, one is completed", "no answer", completed).within(60),
        row("8.4", "RECONCILE", "a terminal status is not acknowledged", "it is told, named or not", unacknowledged)
            .within(60),
        row("8.4", "RECONCILE", "another framework's task", "TASK_UNKNOWN", foreign).within(60),
        row("8.4", "RECONCILE", "500 tasks at once", "500 answers", many),
    ]
}

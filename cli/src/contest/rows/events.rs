//! Reference 7.3: the operators' stream of events.

use super::streams::watch;
use crate::contest::arena::{Arena, items};
use crate::contest::framework::{Framework, Next, SOON, Stream};
use crate::contest::row::{Row, row};
use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use std::time::Instant;

/// The next event that a row asks for.
async fn next(stream: &mut Stream, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
    let begin = Instant::now();
    loop {
        match stream.next(SOON.saturating_sub(begin.elapsed())).await? {
            Next::Event(event) if is_it(&event) => return Ok(event),
            Next::Event(_) => {}
            other => bail!("waited for {what}, got {other:?}"),
        }
    }
}

pub(super) fn rows() -> Vec<Row> {
    let added = |arena: Arena| async move {
        let mut stream = watch(&arena).await?;
        stream.event().await?;
        let framework = Framework::quiet(&arena).await?;
        let id = framework.id.clone();
        let is_it =
            |event: &Value| event["framework_added"]["framework"]["framework_info"]["id"]["value"] == id.as_str();
        let event = next(&mut stream, "FRAMEWORK_ADDED", is_it).await?;
        ensure!(event["type"] == "FRAMEWORK_ADDED", "{event}");
        let shown = &event["framework_added"]["framework"];
        ensure!(shown["active"] == true && shown["connected"] == true && shown["recovered"] == false, "{event}");
        framework.teardown().await?;
        let is_it = |event: &Value| event["framework_removed"]["framework_info"]["id"]["value"] == id.as_str();
        let event = next(&mut stream, "FRAMEWORK_REMOVED", is_it).await?;
        ensure!(event["type"] == "FRAMEWORK_REMOVED", "{event}");
        Ok(())
    };
    let updated = |arena: Arena| async move {
        let mut framework = Framework::quiet_with(&arena, json!({"failover_timeout": 60.0})).await?;
        let mut stream = watch(&arena).await?;
        stream.event().await?;
        framework.info["name"] = json!("renamed");
        framework.come_back().await?;
        let id = framework.id.clone();
        let is_it = |event: &Value| {
            let info = &event["framework_updated"]["framework"]["framework_info"];
            info["id"]["value"] == id.as_str() && info["name"] == "renamed"
        };
        next(&mut stream, "FRAMEWORK_UPDATED", is_it).await?;
        framework.teardown().await
    };
    let tasks = |arena: Arena| async move {
        let mut stream = watch(&arena).await?;
        stream.event().await?;
        let mut framework = Framework::start(&arena).await?;
        let (_, id) = framework.launch_one("true").await?;
        let is_it = |event: &Value| event["task_added"]["task"]["task_id"]["value"] == id.as_str();
        let event = next(&mut stream, "TASK_ADDED", is_it).await?;
        ensure!(event["task_added"]["task"]["state"] == "TASK_STAGING", "{event}");
        ensure!(event["task_added"]["task"]["framework_id"]["value"] == framework.id.as_str(), "{event}");
        framework.status(&id, "TASK_FINISHED").await?;
        for state in ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"] {
            let is_it = |event: &Value| event["task_updated"]["status"]["task_id"]["value"] == id.as_str();
            let event = next(&mut stream, "TASK_UPDATED", is_it).await?;
            ensure!(event["task_updated"]["status"]["state"] == state, "{event}");
            ensure!(event["task_updated"]["framework_id"]["value"] == framework.id.as_str(), "{event}");
        }
        framework.teardown().await
    };
    let state = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        arena.eventually("the framework", || arena.shown_framework(&framework.id, "frameworks")).await?;
        let mut stream = watch(&arena).await?;
        let first = stream.event().await?;
        let state = &first["subscribed"]["get_state"];
        let listed = items(&state["get_frameworks"]["frameworks"]).iter();
        let mut ids = listed.map(|one| &one["framework_info"]["id"]["value"]);
        ensure!(ids.any(|id| *id == framework.id.as_str()), "the framework is not in it");
        ensure!(!items(&state["get_agents"]["agents"]).is_empty(), "no agents in it");
        framework.teardown().await
    };
    let two = |arena: Arena| async move {
        let (mut one, mut other) = (watch(&arena).await?, watch(&arena).await?);
        one.event().await?;
        other.event().await?;
        let framework = Framework::quiet(&arena).await?;
        for stream in [&mut one, &mut other] {
            let id = framework.id.clone();
            let is_it =
                |event: &Value| event["framework_added"]["framework"]["framework_info"]["id"]["value"] == id.as_str();
            next(stream, "FRAMEWORK_ADDED", is_it).await?;
        }
        framework.teardown().await
    };
    let silent = |arena: Arena| async move {
        let mut stream = watch(&arena).await?;
        stream.event().await?;
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        framework.decline(&offer, 0.5).await?;
        framework.teardown().await?;
        let mut last = Framework::quiet(&arena).await?;
        last.listen(std::time::Duration::from_millis(10)).await?;
        let id = last.id.clone();
        loop {
            let event = stream.event().await?;
            ensure!(!event.to_string().contains("-O"), "an offer appears in {event}");
            if event["framework_added"]["framework"]["framework_info"]["id"]["value"] == id.as_str() {
                return last.teardown().await;
            }
        }
    };
    let call = "SUBSCRIBE of operators";
    vec![
        row("7.3", call, "a framework comes and goes", "FRAMEWORK_ADDED, FRAMEWORK_REMOVED", added),
        row("7.3", call, "a framework comes back with another name", "FRAMEWORK_UPDATED", updated),
        row("7.3", call, "a task runs", "TASK_ADDED, a TASK_UPDATED for each state", tasks).within(60),
        row("7.3", call, "a cluster with a framework and agents", "SUBSCRIBED has them", state),
        row("7.3", call, "two subscribers", "each is told", two),
        row("7.3", call, "an offer is made and declined", "offers never appear", silent),
    ]
}

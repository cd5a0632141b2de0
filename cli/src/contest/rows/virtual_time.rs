//! Rules about long times (reference 3.1, 3.5, 6.5, 6.6, 7.1, 8.3), tried where time can be told to pass: on a master that answers
//! `/simulator`, as `kaon sim serve` does. Its tasks run on simulated agents, whose commands are `sleep` and the like.

use crate::contest::arena::{Arena, items, plain_completed};
use crate::contest::framework::{Framework, Next};
use crate::contest::plain_call;
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long an event that was caused takes to arrive.
const ARRIVAL: Duration = Duration::from_millis(300);

/// How far off the simulated cluster's own delays may put something, in seconds.
const SLACK: f64 = 5.0;

/// Lets virtual seconds pass.
async fn pass(arena: &Arena, seconds: f64) -> Result<()> {
    let path = format!("/simulator/advance?seconds={seconds}");
    crate::contest::wire::exchange(arena.master(), "POST", &path, &[], b"").await?.expect(200).map(drop)
}

/// A framework and a task that runs.
struct Run {
    framework: Framework,
    offer: Value,
    id: String,
}

impl Run {
    async fn start(arena: &Arena, command: &str, changes: Value) -> Result<Self> {
        let kinds = ["MULTI_ROLE", "PARTITION_AWARE", "TASK_KILLING_STATE"].map(|kind| json!({"type": kind}));
        let mut framework = Framework::subscribe(arena, arena.info_with(json!({"capabilities": kinds}))).await?;
        let offer = offer(&mut framework).await?;
        let (id, mut task) = framework.task(&offer, command);
        crate::contest::arena::merge(&mut task, &changes);
        framework.launch(&offer, vec![task]).await?;
        framework.status(&id, "TASK_RUNNING").await?;
        Ok(Self { framework, offer, id })
    }

    /// Lets time pass, and hears what comes of it.
    async fn pass(&mut self, seconds: f64) -> Result<()> {
        pass(&self.framework.arena, seconds).await?;
        self.framework.listen(ARRIVAL).await
    }

    fn latest(&self) -> Option<&str> {
        self.framework.updates.last()?["state"].as_str()
    }
}

/// The next offer, whatever is in it.
async fn offer(framework: &mut Framework) -> Result<Value> {
    framework.wanted = 1;
    let offer = framework.until("an offer", |framework| framework.offers.first().cloned()).await?;
    framework.wanted = 0;
    framework.offers.clear();
    Ok(offer)
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = frameworks();
    rows.extend(statuses());
    rows.extend(tasks());
    rows.extend(checks());
    rows.into_iter().map(|row| row.simulated().alone().within(60)).collect()
}

fn frameworks() -> Vec<Row> {
    let failover = |arena: Arena| async move {
        let framework = Framework::quiet_with(&arena, json!({"failover_timeout": 21_600.0})).await?;
        let id = framework.id.clone();
        drop(framework);
        let is_away = || async {
            let shown = arena.shown_framework(&id, "frameworks").await?;
            Ok(shown.filter(|one| one["connected"] == false).map(drop))
        };
        arena.eventually("its stream has broken", is_away).await?;
        pass(&arena, 21_600.0 - 60.0).await?;
        is_away().await?.context("it was removed too early")?;
        pass(&arena, 120.0).await?;
        plain_completed(&arena, &id).await?.context("it is not removed")
    };
    let beats = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        framework.listen(ARRIVAL).await?;
        pass(&arena, 600.0).await?;
        let mut beats = 0;
        while let Next::Event(event) = framework.stream.next(ARRIVAL).await? {
            beats += usize::from(event["type"] == "HEARTBEAT");
        }
        ensure!((39..=41).contains(&beats), "{beats} heartbeats in ten minutes");
        framework.teardown().await
    };
    let refused = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        // Everything is refused for an hour, again and again until nothing is offered.
        pass(&arena, 5.0).await?;
        framework.listen(ARRIVAL).await?;
        framework.wanted = usize::MAX;
        pass(&arena, 3_600.0 - 60.0).await?;
        framework.listen(ARRIVAL).await?;
        ensure!(framework.offers.is_empty(), "offered before an hour is over");
        pass(&arena, 120.0).await?;
        framework.until("an offer", |framework| framework.offers.first().map(drop)).await?;
        framework.teardown().await
    };
    let held = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = offer(&mut framework).await?;
        pass(&arena, 21_600.0).await?;
        let (id, task) = framework.task(&offer, "sleep 1000000");
        framework.launch(&offer, vec![task]).await?;
        framework.status(&id, "TASK_RUNNING").await?;
        framework.teardown().await
    };
    vec![
        row("3.1", "the stream breaks", "a failover timeout of six hours", "removed after it, not before", failover),
        row("1.5", "SUBSCRIBE", "ten minutes", "40 heartbeats", beats),
        row("3.5", "DECLINE", "refuse_seconds 3600.0, an hour", "offered again after an hour, not before", refused),
        row("3.4", "OFFERS", "an offer held for six hours, no --offer_timeout", "it is good", held),
    ]
}

fn statuses() -> Vec<Row> {
    let repeated = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        framework.acknowledges = false;
        let offer = offer(&mut framework).await?;
        let (id, task) = framework.task(&offer, "sleep 1000000");
        framework.launch(&offer, vec![task]).await?;
        framework.first_status(&id).await?;
        pass(&arena, 3_600.0).await?;
        framework.listen(ARRIVAL).await?;
        let uuids: Vec<&Value> = framework.updates.iter().map(|status| &status["uuid"]).collect();
        ensure!(uuids.iter().all(|uuid| *uuid == uuids[0]), "another status came before it: {uuids:?}");
        // At 0, 10, 30, 70, 150, 310, 630, 1230, 1830, 2430 and 3030 s.
        ensure!((10..=12).contains(&uuids.len()), "told {} times in an hour", uuids.len());
        framework.teardown().await
    };
    let exact = |arena: Arena| async move {
        let mut run = Run::start(&arena, "sleep 7200", json!({})).await?;
        run.pass(7_300.0).await?;
        let id = run.id.clone();
        let (begun, ended) =
            (run.framework.status(&id, "TASK_RUNNING").await?, run.framework.status(&id, "TASK_FINISHED").await?);
        let seconds = |status: &Value| status["timestamp"].as_f64().context("a timestamp");
        let took = seconds(&ended)? - seconds(&begun)?;
        ensure!((took - 7_200.0).abs() < SLACK, "it took {took} s by its statuses");
        run.framework.teardown().await
    };
    vec![
        row(
            "8.3",
            "UPDATE",
            "a status that nobody acknowledges, an hour",
            "told again after 10 s doubling to 10 min",
            repeated,
        ),
        row("3.4", "UPDATE", "a command of two hours", "timestamps two hours apart", exact),
    ]
}

fn tasks() -> Vec<Row> {
    let too_long = |arena: Arena| async move {
        let hour = json!({"max_completion_time": {"nanoseconds": 3_600_000_000_000_i64}});
        let mut run = Run::start(&arena, "sleep 1000000", hour).await?;
        run.pass(3_600.0 - 60.0).await?;
        ensure!(run.latest() == Some("TASK_RUNNING"), "{:?}", run.framework.updates);
        run.pass(120.0).await?;
        let id = run.id.clone();
        let last = run.framework.status(&id, "TASK_FAILED").await?;
        ensure!(last["reason"] == "REASON_MAX_COMPLETION_TIME_REACHED", "{last}");
        run.framework.teardown().await
    };
    let grace = |arena: Arena| async move {
        let mut run = Run::start(&arena, "trap '' TERM; sleep 1000000", json!({})).await?;
        let body = json!({"task_id": {"value": run.id}, "agent_id": run.offer["agent_id"],
            "kill_policy": {"grace_period": {"nanoseconds": 600_000_000_000_i64}}});
        run.framework.must("KILL", body).await?;
        let id = run.id.clone();
        run.framework.status(&id, "TASK_KILLING").await?;
        run.pass(600.0 - 30.0).await?;
        ensure!(run.latest() == Some("TASK_KILLING"), "{:?}", run.framework.updates);
        run.pass(60.0).await?;
        run.framework.status(&id, "TASK_KILLED").await?;
        run.framework.teardown().await
    };
    let drained = |arena: Arena| async move {
        let mut run = Run::start(&arena, "trap '' TERM; sleep 1000000", json!({})).await?;
        let agent = run.offer["agent_id"].clone();
        let mut call = plain_call("DRAIN_AGENT");
        call["drain_agent"] = json!({"agent_id": agent, "max_grace_period": {"seconds": 300}});
        arena.order(&call).await?;
        let id = run.id.clone();
        run.framework.must("RECONCILE", json!({"tasks": []})).await?;
        run.pass(30.0).await?;
        let killing = run.framework.status(&id, "TASK_KILLING").await?;
        ensure!(killing["reason"] == "REASON_AGENT_DRAINING", "{killing}");
        run.pass(600.0).await?;
        let last = run.framework.status(&id, "TASK_KILLED").await?;
        ensure!(last["reason"] == "REASON_AGENT_DRAINING", "{last}");
        arena
            .eventually("the agent to be drained", || async {
                let agents = arena.read("GET_AGENTS").await?;
                let mine = items(&agents["agents"]).iter().find(|one| one["agent_info"]["id"] == agent);
                Ok(mine.filter(|one| one["drain_info"]["state"] == "DRAINED").map(drop))
            })
            .await?;
        let mut call = plain_call("REACTIVATE_AGENT");
        call["reactivate_agent"] = json!({"agent_id": agent});
        arena.order(&call).await?;
        run.framework.teardown().await
    };
    let gone = |arena: Arena| async move {
        let mut watcher = Framework::quiet(&arena).await?;
        let mut run = Run::start(&arena, "sleep 1000000", json!({})).await?;
        let agent = run.offer["agent_id"].clone();
        let mut call = plain_call("MARK_AGENT_GONE");
        call["mark_agent_gone"] = json!({"agent_id": agent});
        arena.order(&call).await?;
        // Once more: it is so already.
        arena.order(&call).await?;
        let id = run.id.clone();
        let last = run.framework.status(&id, "TASK_GONE_BY_OPERATOR").await?;
        ensure!(
            matches!(
                last["reason"].as_str(),
                Some("REASON_AGENT_REMOVED_BY_OPERATOR" | "REASON_SLAVE_REMOVED_BY_OPERATOR")
            ),
            "{last}"
        );
        let lost = |framework: &Framework| {
            let is_it = |event: &&Value| event["type"] == "FAILURE" && event["failure"]["agent_id"] == agent;
            framework.others.iter().find(is_it).cloned()
        };
        for framework in [&mut run.framework, &mut watcher] {
            let event = framework.until("the end of the agent", lost).await?;
            ensure!(event["failure"].get("executor_id").is_none(), "{event}");
        }
        // Whatever is asked of it now, it is gone.
        run.framework.updates.clear();
        let asked = json!({"tasks": [{"task_id": {"value": "unheard-of"}, "agent_id": agent}]});
        run.framework.must("RECONCILE", asked).await?;
        let answer = run.framework.status("unheard-of", "TASK_GONE_BY_OPERATOR").await?;
        ensure!(answer["reason"] == "REASON_RECONCILIATION" && answer.get("uuid").is_none(), "{answer}");
        let agents = arena.read("GET_AGENTS").await?;
        ensure!(items(&agents["agents"]).iter().all(|one| one["agent_info"]["id"] != agent), "{agents}");
        watcher.teardown().await?;
        run.framework.teardown().await
    };
    vec![
        row("7.1", "MARK_AGENT_GONE", "an agent with a task", "200, again 200; GONE_BY_OPERATOR, FAILURE to all", gone),
        row("6.5", "LAUNCH", "max_completion_time of an hour", "TASK_FAILED after it, not before", too_long),
        row(
            "6.5",
            "KILL",
            "a grace of ten minutes, a task that ignores TERM",
            "TASK_KILLED after it, not before",
            grace,
        ),
        row(
            "7.1",
            "DRAIN_AGENT",
            "a task that ignores TERM, a grace of 5 min",
            "KILLING, KILLED, AGENT_DRAINING; DRAINED",
            drained,
        )
        // Whoever writes the row's protobuf knows durations as text only.
        .json(),
    ]
}

fn checks() -> Vec<Row> {
    let defaults = |arena: Arena| async move {
        // A delay of 15 s, an interval of 10 s and three failures are what nobody has to say.
        let check = json!({"health_check": {"type": "COMMAND", "command": {"value": "false"}}});
        let mut run = Run::start(&arena, "sleep 1000000", check).await?;
        let unhealthy = |run: &Run| {
            // What is told while time jumps can't be acknowledged, and may be told again.
            let told = run.framework.updates.iter().filter(|status| status["healthy"] == false);
            told.map(|status| status["uuid"].to_string()).collect::<BTreeSet<_>>().len()
        };
        run.pass(13.0).await?;
        ensure!(unhealthy(&run) == 0, "before the delay: {:?}", run.framework.updates);
        run.pass(14.0).await?;
        ensure!((1..=2).contains(&unhealthy(&run)), "{:?}", run.framework.updates);
        ensure!(run.latest() == Some("TASK_RUNNING"), "{:?}", run.framework.updates);
        run.pass(30.0).await?;
        let id = run.id.clone();
        let last = run.framework.status(&id, "TASK_KILLED").await?;
        ensure!(last["healthy"] == false, "{last}");
        run.framework.teardown().await
    };
    let grace = |arena: Arena| async move {
        let check =
            json!({"health_check": {"type": "COMMAND", "command": {"value": "false"}, "grace_period_seconds": 900.0}});
        let mut run = Run::start(&arena, "sleep 1000000", check).await?;
        run.pass(900.0 - 30.0).await?;
        ensure!(run.framework.updates.iter().all(|status| status["healthy"] != false), "{:?}", run.framework.updates);
        run.pass(90.0).await?;
        let id = run.id.clone();
        run.framework.status(&id, "TASK_KILLED").await?;
        run.framework.teardown().await
    };
    vec![
        row(
            "6.6",
            "LAUNCH with a health check",
            "no times, it fails",
            "after 15 s, every 10 s, killed at the third",
            defaults,
        ),
        row(
            "6.6",
            "LAUNCH with a health check",
            "a grace period of 15 min, it fails",
            "killed after it, not before",
            grace,
        ),
    ]
}

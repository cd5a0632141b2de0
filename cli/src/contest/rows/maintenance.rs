//! Reference 7.1, 11.3: maintenance. The machines here are nobody's, but for one row, so that no agent goes.

use crate::contest::arena::{Arena, items};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

fn schedule(windows: Value) -> Value {
    json!({"type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": {"schedule": {"windows": windows}}})
}

fn window(machines: Value) -> Value {
    json!({"machine_ids": machines, "unavailability": {"start": {"nanoseconds": 4_000_000_000_000_000_000_i64},
        "duration": {"nanoseconds": 3_600_000_000_000_i64}}})
}

fn machine(arena: &Arena) -> Value {
    json!({"hostname": format!("{}.test", arena.name("machine")), "ip": "192.0.2.7"})
}

async fn clear(arena: &Arena) -> Result<()> {
    arena.order(&schedule(json!([]))).await
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = refused();
    rows.extend(taken());
    // There is one schedule.
    rows.into_iter().map(|row| row.alone().within(60)).collect()
}

fn refused() -> Vec<Row> {
    let wrong = |arena: Arena| async move {
        let (good, other) = (machine(&arena), machine(&arena));
        let mut negative = window(json!([good]));
        negative["unavailability"]["duration"]["nanoseconds"] = json!(-1);
        for windows in [
            json!([window(json!([]))]),
            json!([window(json!([good, good]))]),
            json!([window(json!([good])), window(json!([other, good]))]),
            json!([window(json!([{}]))]),
            json!([window(json!([{"hostname": "m.test", "ip": "not-an-address"}]))]),
            json!([negative]),
        ] {
            let answer = arena.operator(&schedule(windows.clone())).await?;
            ensure!(answer.status == 400 && !answer.body.is_empty(), "{windows}: {}", answer.shown());
        }
        let held = arena.read("GET_MAINTENANCE_SCHEDULE").await?;
        ensure!(items(&held["schedule"]["windows"]).is_empty(), "{held}");
        Ok(())
    };
    let orders = |arena: Arena| async move {
        let machine = machine(&arena);
        for (kind, part) in [("START_MAINTENANCE", "start_maintenance"), ("STOP_MAINTENANCE", "stop_maintenance")] {
            arena.operator(&json!({"type": kind, part: {"machines": [machine]}})).await?.expect(400)?;
            arena.operator(&json!({"type": kind})).await?.expect(400)?;
        }
        arena.operator(&json!({"type": "UPDATE_MAINTENANCE_SCHEDULE"})).await?.expect(400).map(drop)
    };
    let agents = |arena: Arena| async move {
        let agent = json!({"agent_id": {"value": arena.name("agent")}});
        for (kind, part, status) in [
            ("DRAIN_AGENT", "drain_agent", 400),
            ("DEACTIVATE_AGENT", "deactivate_agent", 400),
            ("REACTIVATE_AGENT", "reactivate_agent", 400),
            ("MARK_AGENT_GONE", "mark_agent_gone", 404),
        ] {
            let answer = arena.operator(&json!({"type": kind, part: agent})).await?;
            ensure!(answer.status == status, "{kind}: {}", answer.shown());
            arena.operator(&json!({"type": kind})).await?.expect(400)?;
        }
        Ok(())
    };
    vec![
        row("7.1", "UPDATE_MAINTENANCE_SCHEDULE", "windows that are none", "400, and nothing is scheduled", wrong),
        row("7.1", "START_MAINTENANCE, STOP_MAINTENANCE", "a machine that is not scheduled; nothing", "400", orders),
        row("7.1", "DRAIN_AGENT and its kin", "an agent that nobody knows; nothing", "400, for gone 404; 400", agents),
    ]
}

fn taken() -> Vec<Row> {
    let round = |arena: Arena| async move {
        let machine = machine(&arena);
        arena.order(&schedule(json!([window(json!([machine]))]))).await?;
        let held = arena.read("GET_MAINTENANCE_SCHEDULE").await?;
        ensure!(items(&held["schedule"]["windows"]).len() == 1, "{held}");
        let status = arena.read("GET_MAINTENANCE_STATUS").await?;
        let draining = &status["status"]["draining_machines"][0]["id"];
        ensure!(draining["hostname"] == machine["hostname"], "{status}");
        arena.order(&json!({"type": "START_MAINTENANCE", "start_maintenance": {"machines": [machine]}})).await?;
        let status = arena.read("GET_MAINTENANCE_STATUS").await?;
        ensure!(status["status"]["down_machines"][0]["hostname"] == machine["hostname"], "{status}");
        // What is down can't be forgotten.
        arena.operator(&schedule(json!([]))).await?.expect(400)?;
        arena.order(&json!({"type": "STOP_MAINTENANCE", "stop_maintenance": {"machines": [machine]}})).await?;
        let held = arena.read("GET_MAINTENANCE_SCHEDULE").await?;
        ensure!(items(&held["schedule"]["windows"]).is_empty(), "{held}");
        Ok(())
    };
    let inverse = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let (offer, id) = framework.launch_one("exec sleep 600").await?;
        framework.status(&id, "TASK_RUNNING").await?;
        let address = &offer["url"]["address"];
        let machine = json!({"hostname": offer["hostname"], "ip": address["ip"]});
        arena.order(&schedule(json!([window(json!([machine]))]))).await?;
        let told = |framework: &Framework| {
            let mut events = framework.others.iter();
            let event = events.find(|event| event["type"] == "INVERSE_OFFERS")?;
            event["inverse_offers"]["inverse_offers"].get(0).cloned()
        };
        let asked = framework.until("an inverse offer", told).await;
        let ended = clear(&arena).await;
        let asked = asked?;
        ended?;
        ensure!(asked["framework_id"]["value"] == framework.id.as_str(), "{asked}");
        ensure!(asked["unavailability"]["start"]["nanoseconds"].is_number(), "{asked}");
        let body = json!({"inverse_offer_ids": [asked["id"]], "filters": {"refuse_seconds": 3600.0}});
        framework.must("DECLINE_INVERSE_OFFERS", body).await?;
        framework.teardown().await
    };
    let deactivated = |arena: Arena| async move {
        let agents = arena.read("GET_AGENTS").await?;
        let id = items(&agents["agents"]).first().context("an agent")?["agent_info"]["id"].clone();
        let call = |kind: &str, part: &str| json!({"type": kind, part: {"agent_id": id}});
        arena.operator(&call("REACTIVATE_AGENT", "reactivate_agent")).await?.expect(400)?;
        arena.order(&call("DEACTIVATE_AGENT", "deactivate_agent")).await?;
        let standing = || async {
            let agents = arena.read("GET_AGENTS").await?;
            let mut all = items(&agents["agents"]).iter();
            Ok::<_, anyhow::Error>(all.find(|one| one["agent_info"]["id"] == id).cloned().unwrap_or_default())
        };
        let shown = standing().await;
        arena.order(&call("REACTIVATE_AGENT", "reactivate_agent")).await?;
        let shown = shown?;
        ensure!(shown["deactivated"] == true && shown["active"] == false, "{shown}");
        let shown = standing().await?;
        ensure!(shown["deactivated"] == false && shown["active"] == true, "{shown}");
        Ok(())
    };
    vec![
        row("7.1", "maintenance", "a machine scheduled, taken down and up", "each shown; down can't be dropped", round),
        row("11.3", "UPDATE_MAINTENANCE_SCHEDULE", "a machine with a task", "INVERSE_OFFERS to its framework", inverse),
        row(
            "7.1",
            "DEACTIVATE_AGENT, REACTIVATE_AGENT",
            "an agent",
            "200 and shown; 400 when it is not so",
            deactivated,
        ),
    ]
}

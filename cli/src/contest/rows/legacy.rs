//! Reference 2 and 7.1: the old endpoints and the older calls that change something; the log, verbosity and gzip of a master.

use crate::contest::arena::{Arena, items, plain_completed};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use crate::contest::wire::{Answer, exchange};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

async fn send(arena: &Arena, method: &str, path: &str, body: &str) -> Result<Answer> {
    exchange(arena.master(), method, path, &[], body.as_bytes()).await
}

/// What a role has of one kind of quota, by the newer form.
async fn config(arena: &Arena, role: &str) -> Result<Option<Value>> {
    let quotas = arena.read("GET_QUOTA").await?;
    Ok(items(&quotas["status"]["configs"]).iter().find(|one| one["role"] == role).cloned())
}

fn request(role: &str, cpus: f64) -> Value {
    json!({"role": role, "guarantee": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}}]})
}

fn amount(config: &Value, kind: &str) -> Option<f64> {
    config[kind]["cpus"]["value"].as_f64()
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = quotas();
    rows.extend(others());
    rows.extend(process());
    rows
}

fn quotas() -> Vec<Row> {
    let set = |arena: Arena| async move {
        let role = arena.name("quota");
        let call = json!({"type": "SET_QUOTA", "set_quota": {"quota_request": request(&role, 0.1)}});
        arena.order(&call).await?;
        let held = config(&arena, &role).await?.unwrap_or_default();
        ensure!(amount(&held, "guarantees") == Some(0.1) && amount(&held, "limits") == Some(0.1), "{held}");
        let quotas = arena.read("GET_QUOTA").await?;
        let info = items(&quotas["status"]["infos"]).iter().find(|one| one["role"] == role.as_str()).cloned();
        ensure!(info.is_some_and(|info| info["guarantee"][0]["scalar"]["value"] == 0.1), "{quotas}");
        arena.operator(&call).await?.expect(400)?;
        let remove = json!({"type": "REMOVE_QUOTA", "remove_quota": {"role": role}});
        arena.order(&remove).await?;
        ensure!(config(&arena, &role).await?.is_none(), "it is still there");
        arena.operator(&remove).await?.expect(400).map(drop)
    };
    let wrong = |arena: Arena| async move {
        let role = arena.name("quota");
        let good = request(&role, 0.1);
        for change in [
            json!({"guarantee": null}),
            json!({"role": "a b"}),
            json!({"guarantee": [good["guarantee"][0], good["guarantee"][0]]}),
            json!({"guarantee": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": -1.0}}]}),
            json!({"guarantee": [{"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 2}]}}]}),
            json!({"guarantee": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}, "role": "r"}]}),
            json!({"guarantee": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1e9}}]}),
        ] {
            let mut quota_request = good.clone();
            crate::contest::arena::merge(&mut quota_request, &change);
            let call = json!({"type": "SET_QUOTA", "set_quota": {"quota_request": quota_request}});
            let answer = arena.operator(&call).await?;
            ensure!(matches!(answer.status, 400 | 409), "{change}: {}", answer.shown());
        }
        ensure!(config(&arena, &role).await?.is_none(), "it was set");
        Ok(())
    };
    let old = |arena: Arena| async move {
        let role = arena.name("quota");
        send(&arena, "POST", "/quota", &request(&role, 0.1).to_string()).await?.expect(200)?;
        let held = config(&arena, &role).await?.unwrap_or_default();
        ensure!(amount(&held, "guarantees") == Some(0.1), "{held}");
        send(&arena, "POST", "/quota", &request(&role, 0.1).to_string()).await?.expect(400)?;
        let path = format!("/master/quota/{role}");
        send(&arena, "DELETE", &path, "").await?.expect(200)?;
        ensure!(config(&arena, &role).await?.is_none(), "it is still there");
        send(&arena, "DELETE", &path, "").await?.expect(400)?;
        send(&arena, "POST", "/quota", "no JSON").await?.expect(400).map(drop)
    };
    vec![
        row("7.1", "SET_QUOTA, REMOVE_QUOTA", "a role", "200: guarantee and limit; 400 the second time", set),
        row("7.1", "SET_QUOTA", "guarantees that are none", "400 or 409, and nothing is set", wrong),
        row("2", "POST and DELETE /quota", "a role", "200; 400 the second time, and for what is no JSON", old).once(),
    ]
}

fn others() -> Vec<Row> {
    let weights = |arena: Arena| async move {
        let role = arena.name("weight");
        let body = json!([{"role": role, "weight": 2.5}]).to_string();
        send(&arena, "PUT", "/weights", &body).await?.expect(200)?;
        let shown = arena.get_json("/weights").await?;
        ensure!(items(&shown).iter().any(|one| one["role"] == role.as_str() && one["weight"] == 2.5), "{shown}");
        let zero = json!([{"role": role, "weight": 0.0}]).to_string();
        send(&arena, "PUT", "/weights", &zero).await?.expect(400)?;
        let back = json!([{"role": role, "weight": 1.0}]).to_string();
        send(&arena, "PUT", "/weights", &back).await?.expect(200).map(drop)
    };
    let teardown = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let id = framework.id.clone();
        send(&arena, "POST", "/teardown", &format!("frameworkId={id}")).await?.expect(200)?;
        arena.eventually("the removal", || plain_completed(&arena, &id)).await?;
        send(&arena, "POST", "/teardown", "frameworkId=no-such-framework").await?.expect(400)?;
        send(&arena, "POST", "/teardown", "").await?.expect(400)?;
        send(&arena, "GET", "/teardown", "").await?.expect(405).map(drop)
    };
    let system = |arena: Arena| async move {
        let stats = arena.get_json("/system/stats.json").await?;
        for key in ["avg_load_1min", "cpus_total", "mem_total_bytes", "mem_free_bytes"] {
            ensure!(stats[key].as_f64().is_some_and(|value| value >= 0.0), "no {key} in {stats}");
        }
        Ok(())
    };
    vec![
        row("2", "PUT /weights", "a role", "200; 400 for a weight of nothing", weights).once(),
        row("2", "POST /teardown", "a framework, nobody, nothing", "200, 400, 400; GET: 405", teardown).once(),
        row("2", "GET /system/stats.json", "a master", "load, processors and memory", system).once(),
    ]
}

fn process() -> Vec<Row> {
    let verbosity = |arena: Arena| async move {
        let level = || async {
            let part = arena.read("GET_LOGGING_LEVEL").await?;
            Ok::<_, anyhow::Error>(part["level"].as_u64())
        };
        let set = |nanoseconds: i64| {
            json!({"type": "SET_LOGGING_LEVEL",
                "set_logging_level": {"level": 1, "duration": {"nanoseconds": nanoseconds}}})
        };
        arena.order(&set(300_000_000)).await?;
        ensure!(level().await? == Some(1), "the level is {:?}", level().await?);
        arena.eventually("the way back", || async { Ok((level().await? == Some(0)).then_some(())) }).await?;
        arena.operator(&set(-1)).await?.expect(400)?;
        arena.operator(&json!({"type": "SET_LOGGING_LEVEL"})).await?.expect(400).map(drop)
    };
    let toggle = |arena: Arena| async move {
        send(&arena, "POST", "/logging/toggle?level=1&duration=200ms", "").await?.expect(200)?;
        let back = || async {
            let answer = arena.get("/logging/toggle").await?.expect(200)?;
            Ok((answer.text().trim() == "0").then_some(()))
        };
        arena.eventually("the way back", back).await?;
        for query in ["level=1", "duration=1secs", "level=x&duration=1secs", "level=1&duration=soon"] {
            send(&arena, "POST", &format!("/logging/toggle?{query}"), "").await?.expect(400)?;
        }
        Ok(())
    };
    let files = |arena: Arena| async move {
        for (kind, part, body) in [
            ("LIST_FILES", "list_files", json!({"path": "/no/such/path"})),
            ("READ_FILE", "read_file", json!({"path": "/etc/passwd", "offset": 0})),
        ] {
            let call = json!({"type": kind, part: body});
            arena.operator(&call).await?.expect(404)?;
            arena.operator(&json!({"type": kind})).await?.expect(400)?;
        }
        for path in ["/files/browse?path=/etc", "/files/read?path=/etc/passwd&offset=0", "/files/download?path=/x"] {
            arena.get(path).await?.expect(404)?;
        }
        arena.get("/files/read").await?.expect(400)?;
        arena.get_json("/files/debug").await.map(drop)
    };
    let gzip = |arena: Arena| async move {
        let plain = arena.get("/state").await?.expect(200)?;
        ensure!(plain.header("content-encoding").is_none(), "packed for who did not ask");
        let headers = [("Accept-Encoding", "gzip")];
        let packed = exchange(arena.master(), "GET", "/state", &headers, b"").await?.expect(200)?;
        ensure!(packed.header("content-encoding") == Some("gzip"), "{:?}", packed.headers);
        ensure!(packed.body.starts_with(&[0x1f, 0x8b]) && packed.body.len() < plain.body.len(), "no gzip");
        let small = exchange(arena.master(), "GET", "/version", &headers, b"").await?.expect(200)?;
        ensure!(small.header("content-encoding").is_none(), "what is small is packed");
        Ok(())
    };
    vec![
        row(
            "7.1",
            "SET_LOGGING_LEVEL",
            "a level for 300 ms; a negative time; nothing",
            "200, then 0 again; 400",
            verbosity,
        )
        .alone(),
        row("2", "/logging/toggle", "a level for 200 ms; half of a query", "200, then 0 again; 400", toggle)
            .once()
            .alone(),
        row("7.1", "LIST_FILES, READ_FILE", "what the master does not show", "404; 400 without a path", files),
        row("1.2", "GET /state", "Accept-Encoding: gzip", "gzip; small answers and others as they are", gzip).once(),
    ]
}

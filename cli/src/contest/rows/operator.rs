//! Reference 7.1: what operators read, and TEARDOWN. Settings are in `settings`, the stream of events in `events`.

use crate::contest::arena::{Arena, items};
use crate::contest::framework::{Framework, amount};
use crate::contest::plain_call;
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// A row about the answer of a read.
fn read(kind: &'static str, answer: &'static str, judge: fn(&Value) -> Result<()>) -> Row {
    row("7.1", kind, "a cluster with agents", answer, move |arena: Arena| async move {
        let part = arena.read(kind).await?;
        judge(&part).with_context(|| part.to_string().chars().take(2000).collect::<String>())
    })
}

fn version_of(text: &Value) -> Option<Vec<u32>> {
    text.as_str()?.split('.').map(|part| part.parse().ok()).collect()
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = reads();
    rows.extend(metrics());
    rows.extend(orders());
    rows
}

fn reads() -> Vec<Row> {
    vec![
        read("GET_HEALTH", "healthy", |part| {
            ensure!(part["healthy"] == true, "not healthy");
            Ok(())
        }),
        read("GET_FLAGS", "names and values", |part| {
            ensure!(!items(&part["flags"]).is_empty(), "no flags");
            ensure!(items(&part["flags"]).iter().all(|flag| flag["name"].is_string()), "a flag without a name");
            Ok(())
        }),
        read("GET_VERSION", "three numbers, 1.5.0 or later", |part| {
            let version = version_of(&part["version_info"]["version"]).context("no version")?;
            ensure!(version.len() == 3 && version >= vec![1, 5, 0], "{version:?}");
            Ok(())
        }),
        read("GET_MASTER", "id, address, and times", |part| {
            let info = &part["master_info"];
            ensure!(info["id"].as_str().is_some_and(|id| id.len() == 36), "no UUID for an id");
            ensure!(info["port"].as_u64().is_some_and(|port| port > 0), "no port");
            ensure!(info["address"]["port"] == info["port"], "no address");
            ensure!(part["start_time"].as_f64().is_some_and(|at| at > 1.6e9), "no start time");
            ensure!(part["elected_time"].as_f64() >= part["start_time"].as_f64(), "elected before it began");
            Ok(())
        }),
        read("GET_AGENTS", "active agents with id, hostname, port, version and times", |part| {
            let agents = items(&part["agents"]);
            ensure!(!agents.is_empty(), "no agents");
            for agent in agents {
                let info = &agent["agent_info"];
                ensure!(info["id"]["value"].is_string() && info["hostname"].is_string(), "{info}");
                ensure!(agent["active"] == true && version_of(&agent["version"]).is_some(), "{agent}");
                ensure!(agent["registered_time"]["nanoseconds"].is_number(), "{agent}");
                let pid = agent["pid"].as_str().unwrap_or_default();
                ensure!(pid.starts_with("slave(1)@"), "pid {pid}");
            }
            Ok(())
        }),
        read("GET_AGENTS", "their capabilities, MULTI_ROLE among them", |part| {
            for agent in items(&part["agents"]) {
                let kinds: Vec<&Value> = items(&agent["capabilities"]).iter().map(|one| &one["type"]).collect();
                ensure!(kinds.contains(&&json!("MULTI_ROLE")), "{kinds:?}");
            }
            Ok(())
        }),
        read("GET_AGENTS", "their total resources, cpus and mem among them", |part| {
            for agent in items(&part["agents"]) {
                let total = json!({"resources": agent["total_resources"]});
                ensure!(amount(&total, "cpus") > 0.0 && amount(&total, "mem") > 0.0, "{agent}");
            }
            Ok(())
        }),
        read("GET_AGENTS", "resources with a type and a role", |part| {
            for agent in items(&part["agents"]) {
                for resource in items(&agent["total_resources"]) {
                    // Other rows reserve something for a moment.
                    let is_reserved = !items(&resource["reservations"]).is_empty();
                    let role = resource["role"].as_str();
                    ensure!(resource["type"].is_string() && (is_reserved || role == Some("*")), "{resource}");
                }
            }
            Ok(())
        }),
        read("GET_TASKS", "lists of tasks", |part| {
            for list in ["tasks", "completed_tasks", "unreachable_tasks"] {
                for task in items(&part[list]) {
                    ensure!(task["state"].is_string() && task["agent_id"]["value"].is_string(), "{task}");
                }
            }
            ensure!(items(&part["pending_tasks"]).is_empty() && items(&part["orphan_tasks"]).is_empty(), "old lists");
            Ok(())
        }),
        read("GET_EXECUTORS", "executors with their agents", |part| {
            for executor in items(&part["executors"]) {
                ensure!(executor["agent_id"]["value"].is_string(), "{executor}");
            }
            Ok(())
        }),
        read("GET_ROLES", "the role *, with a weight", |part| {
            let roles = items(&part["roles"]);
            let star = roles.iter().find(|role| role["name"] == "*");
            ensure!(star.is_none_or(|star| star["weight"] == json!(1.0)), "{star:?}");
            ensure!(roles.iter().all(|role| role["weight"].is_number()), "a role without a weight");
            Ok(())
        }),
        read("GET_STATE", "tasks, executors, frameworks and agents together", |part| {
            for inner in ["get_tasks", "get_executors", "get_frameworks", "get_agents"] {
                ensure!(part[inner].is_object(), "no {inner}");
            }
            Ok(())
        }),
        row(
            "7.1",
            "GET_ROLES",
            "a framework with a role of its own",
            "the role, and the framework in it",
            |arena: Arena| async move {
                let role = arena.name("role");
                let framework = Framework::quiet_with(&arena, json!({"roles": [role]})).await?;
                let listed = || async {
                    let roles = arena.read("GET_ROLES").await?;
                    Ok(items(&roles["roles"]).iter().find(|one| one["name"] == role.as_str()).cloned())
                };
                let shown = arena.eventually("the role", listed).await?;
                ensure!(shown["frameworks"] == json!([{"value": framework.id}]), "{shown}");
                framework.teardown().await
            },
        ),
        row(
            "7.1",
            "GET_FRAMEWORKS",
            "a framework that was torn down",
            "among the completed, with the time",
            |arena: Arena| async move {
                let framework = Framework::quiet(&arena).await?;
                let id = framework.id.clone();
                framework.teardown().await?;
                let shown = arena.eventually("it", || arena.shown_framework(&id, "completed_frameworks")).await?;
                ensure!(shown["active"] == false && shown["connected"] == false, "{shown}");
                ensure!(shown["unregistered_time"]["nanoseconds"].is_number(), "{shown}");
                ensure!(arena.shown_framework(&id, "frameworks").await?.is_none(), "it is still among the living");
                Ok(())
            },
        ),
        row(
            "7.1",
            "GET_AGENTS",
            "a task runs",
            "its resources are allocated on its agent",
            |arena: Arena| async move {
                let mut framework = Framework::start(&arena).await?;
                let (offer, id) = framework.launch_one("sleep 600").await?;
                framework.status(&id, "TASK_RUNNING").await?;
                let allocated = || async {
                    let agents = arena.read("GET_AGENTS").await?;
                    let mut mine = items(&agents["agents"]).iter();
                    let mine = mine.find(|agent| agent["agent_info"]["id"] == offer["agent_id"]);
                    let held =
                        mine.map_or(0.0, |agent| amount(&json!({"resources": agent["allocated_resources"]}), "cpus"));
                    Ok((held >= 0.1 - 1e-9).then_some(()))
                };
                arena.eventually("allocated cpus", allocated).await?;
                let shown = arena.shown_framework(&framework.id, "frameworks").await?.context("the framework")?;
                let held = amount(&json!({"resources": shown["allocated_resources"]}), "cpus");
                ensure!((held - 0.1).abs() < 1e-9, "{shown}");
                framework.teardown().await
            },
        )
        .within(60),
    ]
}

fn metrics() -> Vec<Row> {
    let named = |arena: Arena| async move {
        let call = json!({"type": "GET_METRICS", "get_metrics": {"timeout": {"nanoseconds": 5_000_000_000_i64}}});
        let answer = arena.operator(&call).await?.expect(200)?;
        let response = arena.media.read("mesos.v1.master.Response", &answer.body)?;
        let metrics = items(&response["get_metrics"]["metrics"]);
        let value = |name: &str| metrics.iter().find(|one| one["name"] == name).and_then(|one| one["value"].as_f64());
        ensure!(value("master/elected") == Some(1.0), "master/elected: {:?}", value("master/elected"));
        ensure!(value("master/slaves_active").is_some_and(|count| count >= 1.0), "master/slaves_active");
        for name in [
            "master/uptime_secs",
            "master/slaves_connected",
            "master/slaves_disconnected",
            "master/slaves_inactive",
            "master/frameworks_connected",
            "master/frameworks_disconnected",
            "master/frameworks_active",
            "master/frameworks_inactive",
            "master/outstanding_offers",
            "master/tasks_staging",
            "master/tasks_starting",
            "master/tasks_running",
            "master/tasks_killing",
            "master/tasks_finished",
            "master/tasks_failed",
            "master/tasks_killed",
            "master/tasks_lost",
            "master/tasks_error",
            "master/cpus_total",
            "master/cpus_used",
            "master/cpus_percent",
            "master/mem_total",
            "master/mem_used",
            "master/disk_total",
        ] {
            ensure!(value(name).is_some(), "no {name}");
        }
        Ok(())
    };
    let missing = |arena: Arena| async move { arena.operator(&plain_call("GET_METRICS")).await?.expect(400).map(drop) };
    vec![
        row("16", "GET_METRICS", "a cluster with agents", "the names that dashboards read", named),
        row("7.1", "GET_METRICS", "no part of its own", "400", missing),
    ]
}

fn orders() -> Vec<Row> {
    let unknown = |arena: Arena| async move {
        let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": arena.name("unknown")}}});
        arena.operator(&call).await?.expect(400).map(drop)
    };
    let completed = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let id = framework.id.clone();
        framework.teardown().await?;
        let refused = || async {
            let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": id}}});
            Ok((arena.operator(&call).await?.status == 400).then_some(()))
        };
        arena.eventually("400", refused).await
    };
    let without = |arena: Arena| async move {
        for call in [json!({"type": "TEARDOWN"}), json!({"type": "TEARDOWN", "teardown": {}})] {
            arena.operator(&call).await?.expect(400)?;
        }
        Ok(())
    };
    let disconnected = |arena: Arena| async move {
        let framework = Framework::quiet_with(&arena, json!({"failover_timeout": 60.0})).await?;
        let (id, again) = (framework.id.clone(), framework.return_call());
        drop(framework);
        let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": id}}});
        arena.order(&call).await?;
        arena.eventually("the removal", || crate::contest::arena::plain_completed(&arena, &id)).await?;
        super::subscribe::turned_away(&arena, &again).await.map(drop)
    };
    vec![
        row("7.1", "TEARDOWN of operators", "a framework that nobody knows", "400", unknown),
        row("7.1", "TEARDOWN of operators", "a framework that was torn down", "400", completed),
        row("7.1", "TEARDOWN of operators", "no framework", "400", without),
        row("7.1", "TEARDOWN of operators", "a disconnected framework", "200, and it is completed", disconnected),
    ]
}

//! Reference 2, 1.5: the old endpoints of a master, as drivers and tools read them.

use crate::contest::arena::{Arena, items};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use crate::contest::story::Story;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

fn keys(value: &Value, wanted: &[&str]) -> Result<()> {
    for key in wanted {
        ensure!(value.get(key).is_some(), "no {key} in {}", value.to_string().chars().take(1500).collect::<String>());
    }
    Ok(())
}

/// `/state` with a framework in it, and the framework's entry.
async fn with_framework(arena: &Arena, path: &str) -> Result<(Framework, Value, Value)> {
    let words = json!({"webui_url": "http://ui/", "principal": "somebody", "failover_timeout": 60.0});
    let framework = Framework::quiet_with(arena, words).await?;
    let listed = || async {
        let state = arena.get_json(path).await?;
        let found = items(&state["frameworks"]).iter().find(|one| one["id"] == framework.id.as_str()).cloned();
        Ok(found.map(|found| (state, found)))
    };
    let (state, found) = arena.eventually("the framework", listed).await?;
    Ok((framework, state, found))
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = small();
    rows.extend(states());
    rows.extend(lists());
    rows.into_iter().map(Row::once).collect()
}

fn small() -> Vec<Row> {
    let mut rows = Vec::new();
    for path in ["/health", "/master/health"] {
        let trial = move |arena: Arena| async move {
            let answer = arena.get(path).await?.expect(200)?;
            ensure!(answer.body.is_empty(), "{}", answer.shown());
            Ok(())
        };
        rows.push(row("2", format!("GET {path}"), "a master", "200 and nothing", trial));
    }
    for path in ["/redirect", "/master/redirect"] {
        let trial = move |arena: Arena| async move {
            let answer = arena.get(path).await?.expect(307)?;
            let location = answer.header("location").unwrap_or_default();
            let port = arena.master().rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap_or_default();
            ensure!(location.starts_with("//") && location.ends_with(&format!(":{port}")), "Location: {location}");
            Ok(())
        };
        rows.push(row("1.5", format!("GET {path}"), "the leader", "307 to //host:port without a path", trial));
    }
    let below = |arena: Arena| async move { arena.get("/redirect/state").await?.expect(404).map(drop) };
    rows.push(row("1.5", "GET /redirect/state", "the leader", "404", below));
    let version = |arena: Arena| async move {
        let version = arena.get_json("/version").await?;
        keys(&version, &["version", "build_date", "build_time", "build_user"])?;
        let parts: Vec<u32> =
            version["version"].as_str().unwrap_or_default().split('.').filter_map(|part| part.parse().ok()).collect();
        ensure!(parts.len() == 3 && parts >= vec![1, 5, 0], "{version}");
        Ok(())
    };
    rows.push(row("clients", "GET /version", "a master", "a version of three numbers", version));
    let flags = |arena: Arena| async move {
        let flags = arena.get_json("/flags").await?;
        let flags = flags["flags"].as_object().context("no object of flags")?;
        ensure!(!flags.is_empty() && flags.values().all(Value::is_string), "{flags:?}");
        Ok(())
    };
    rows.push(row("2", "GET /flags", "a master", "an object of strings", flags));
    let snapshot = |arena: Arena| async move {
        let metrics = arena.get_json("/metrics/snapshot").await?;
        let metrics = metrics.as_object().context("no object")?;
        ensure!(metrics.values().all(Value::is_number), "a metric that is no number");
        ensure!(metrics.get("master/elected") == Some(&json!(1.0)), "master/elected is not 1");
        keys(
            &json!(metrics),
            &[
                "master/slaves_active",
                "master/tasks_running",
                "master/uptime_secs",
                "system/cpus_total",
                "system/load_1min",
                "system/mem_total_bytes",
                "system/mem_free_bytes",
            ],
        )
    };
    rows.push(row("16", "GET /metrics/snapshot", "a master", "a flat object of numbers", snapshot));
    for path in ["/", "/help", "/help/state"] {
        let trial = move |arena: Arena| async move {
            let answer = arena.get(path).await?.expect(200)?;
            ensure!(
                answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")),
                "{}",
                answer.shown()
            );
            ensure!(answer.text().contains("/state"), "{}", answer.shown());
            Ok(())
        };
        rows.push(row("2", format!("GET {path}"), "a master", "a page that names its endpoints", trial));
    }
    let help = |arena: Arena| async move {
        let help = arena.get_json("/help?format=json").await?;
        let endpoints = items(&help["processes"]).iter().flat_map(|process| items(&process["endpoints"]));
        ensure!(
            { endpoints }.any(|endpoint| endpoint["name"].as_str().is_some_and(|name| name.ends_with("/state"))),
            "{help}"
        );
        Ok(())
    };
    rows.push(row("2", "GET /help", "format=json", "processes with their endpoints", help));
    let processes = |arena: Arena| async move {
        let processes = arena.get_json("/__processes__").await?;
        ensure!(items(&processes).iter().any(|process| process["id"] == "master"), "{processes}");
        Ok(())
    };
    rows.push(row("2", "GET /__processes__", "a master", "a list with itself in it", processes));
    let registry = |arena: Arena| async move {
        let registry = arena.get_json("/registrar(1)/registry").await?;
        let agent = items(&registry["slaves"]["slaves"]).first().context("an agent")?;
        keys(&agent["info"], &["id", "hostname", "port", "resources"])?;
        keys(&registry["master"]["info"], &["id", "ip", "port", "hostname", "version"])
    };
    rows.push(row("2", "GET /registrar(1)/registry", "a cluster", "its master and its agents", registry));
    let jsonp = |arena: Arena| async move {
        let answer = arena.get("/version?jsonp=call").await?.expect(200)?;
        let text = answer.text();
        ensure!(text.starts_with("call(") && text.trim_end_matches(';').ends_with(')'), "{text}");
        Ok(())
    };
    rows.push(row("2", "GET /version", "jsonp=call", "wrapped in call(..)", jsonp));
    for path in ["/state", "/slaves", "/tasks", "/roles", "/version", "/flags"] {
        let trial = move |arena: Arena| async move {
            let answer = crate::contest::wire::exchange(arena.master(), "POST", path, &[], b"").await?.expect(405)?;
            ensure!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{:?}", answer.headers);
            Ok(())
        };
        rows.push(row("2", format!("POST {path}"), "an endpoint that is only read", "405 with Allow: GET", trial));
    }
    rows
}

fn states() -> Vec<Row> {
    let mut rows = Vec::new();
    for path in ["/state", "/state.json", "/master/state", "/master/state.json"] {
        let trial = move |arena: Arena| async move {
            let state = arena.get_json(path).await?;
            keys(
                &state,
                &[
                    "version",
                    "build_date",
                    "build_time",
                    "build_user",
                    "start_time",
                    "elected_time",
                    "id",
                    "pid",
                    "hostname",
                    "capabilities",
                    "activated_slaves",
                    "deactivated_slaves",
                    "unreachable_slaves",
                    "leader",
                    "leader_info",
                    "flags",
                    "slaves",
                    "recovered_slaves",
                    "frameworks",
                    "completed_frameworks",
                    "orphan_tasks",
                    "unregistered_frameworks",
                ],
            )?;
            let pid = state["pid"].as_str().unwrap_or_default();
            let address = pid.strip_prefix("master@").and_then(|rest| rest.parse::<std::net::SocketAddr>().ok());
            ensure!(address.is_some(), "pid {pid}");
            ensure!(state["leader"] == state["pid"], "leader {}", state["leader"]);
            keys(&state["leader_info"], &["id", "pid", "port", "hostname"])
        };
        rows.push(row("2", format!("GET {path}"), "a leader", "the keys that tools read", trial));
    }
    let capabilities = |arena: Arena| async move {
        let state = arena.get_json("/state").await?;
        let has = |one: &Value, kind: &str| items(&one["capabilities"]).contains(&json!(kind));
        for kind in ["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"] {
            ensure!(has(&state, kind), "the master has not {kind}: {}", state["capabilities"]);
        }
        for kind in ["MULTI_ROLE", "RESERVATION_REFINEMENT", "RESIZE_VOLUME", "AGENT_DRAINING", "TASK_RESOURCE_LIMITS"]
        {
            ensure!(items(&state["slaves"]).iter().all(|agent| has(agent, kind)), "an agent has not {kind}");
        }
        Ok(())
    };
    rows.push(row("9", "GET /state", "a cluster", "capabilities of the master and of its agents", capabilities));
    let agents = |arena: Arena| async move {
        let state = arena.get_json("/state").await?;
        let agents = items(&state["slaves"]);
        ensure!(!agents.is_empty(), "no agents");
        for agent in agents {
            keys(
                agent,
                &[
                    "id",
                    "hostname",
                    "port",
                    "attributes",
                    "pid",
                    "registered_time",
                    "resources",
                    "used_resources",
                    "offered_resources",
                    "reserved_resources",
                    "unreserved_resources",
                    "active",
                    "version",
                    "capabilities",
                ],
            )?;
            for key in ["cpus", "gpus", "mem", "disk"] {
                ensure!(agent["resources"][key].is_number(), "{key} in {}", agent["resources"]);
            }
            let ports = agent["resources"]["ports"].as_str().unwrap_or_default();
            ensure!(ports.starts_with('[') && ports.ends_with(']') && ports.contains('-'), "ports {ports}");
            let pid = agent["pid"].as_str().unwrap_or_default();
            ensure!(pid.starts_with("slave(1)@"), "pid {pid}");
        }
        Ok(())
    };
    rows.push(row("2", "GET /state", "agents", "numbers for scalars, ports as text, a pid", agents));
    let framework = |arena: Arena| async move {
        let (framework, _, shown) = with_framework(&arena, "/state").await?;
        keys(
            &shown,
            &[
                "id",
                "name",
                "used_resources",
                "offered_resources",
                "capabilities",
                "hostname",
                "webui_url",
                "active",
                "connected",
                "recovered",
                "user",
                "failover_timeout",
                "checkpoint",
                "registered_time",
                "unregistered_time",
                "principal",
                "resources",
                "roles",
                "tasks",
                "unreachable_tasks",
                "completed_tasks",
                "offers",
                "executors",
            ],
        )?;
        ensure!(shown.get("pid").is_none(), "an HTTP framework has a pid");
        ensure!(shown["active"] == true && shown["failover_timeout"] == json!(60.0), "{shown}");
        framework.teardown().await
    };
    rows.push(row("2", "GET /state", "a framework", "the keys that tools read, no pid", framework));
    let role = |arena: Arena| async move {
        let framework =
            Framework::quiet_with(&arena, json!({"capabilities": [], "roles": null, "role": "old"})).await?;
        let listed = || async {
            let state = arena.get_json("/state").await?;
            Ok(items(&state["frameworks"]).iter().find(|one| one["id"] == framework.id.as_str()).cloned())
        };
        let shown = arena.eventually("the framework", listed).await?;
        ensure!(shown["role"] == "old" && shown.get("roles").is_none(), "{shown}");
        framework.teardown().await
    };
    rows.push(row("2", "GET /state", "a framework without MULTI_ROLE", "role in place of roles", role));
    let summary = |arena: Arena| async move {
        let (framework, state, shown) = with_framework(&arena, "/state-summary").await?;
        keys(&state, &["hostname", "slaves", "frameworks"])?;
        for entry in [&shown, items(&state["slaves"]).first().context("an agent")?] {
            keys(
                entry,
                &[
                    "TASK_STAGING",
                    "TASK_STARTING",
                    "TASK_RUNNING",
                    "TASK_KILLING",
                    "TASK_FINISHED",
                    "TASK_KILLED",
                    "TASK_FAILED",
                    "TASK_LOST",
                    "TASK_ERROR",
                    "TASK_UNREACHABLE",
                ],
            )?;
        }
        keys(&shown, &["slave_ids"])?;
        keys(items(&state["slaves"]).first().context("an agent")?, &["framework_ids"])?;
        framework.teardown().await
    };
    rows.push(row("2", "GET /state-summary", "a framework", "counts of tasks by state", summary));
    rows
}

fn lists() -> Vec<Row> {
    let frameworks = |arena: Arena| async move {
        let (framework, all, _) = with_framework(&arena, "/frameworks").await?;
        keys(&all, &["frameworks", "completed_frameworks", "unregistered_frameworks"])?;
        let one = arena.get_json(&format!("/frameworks?framework_id={}", framework.id)).await?;
        ensure!(items(&one["frameworks"]).len() == 1 && one["frameworks"][0]["id"] == framework.id.as_str(), "{one}");
        let none = arena.get_json("/frameworks?framework_id=none").await?;
        ensure!(items(&none["frameworks"]).is_empty(), "{none}");
        framework.teardown().await
    };
    let agents = |arena: Arena| async move {
        let all = arena.get_json("/slaves").await?;
        keys(&all, &["slaves", "recovered_slaves"])?;
        let first = items(&all["slaves"]).first().context("an agent")?;
        keys(
            first,
            &["reserved_resources_full", "unreserved_resources_full", "used_resources_full", "offered_resources_full"],
        )?;
        let id = first["id"].as_str().context("an id")?;
        let one = arena.get_json(&format!("/slaves?slave_id={id}")).await?;
        ensure!(items(&one["slaves"]).len() == 1 && one["slaves"][0]["id"] == id, "{one}");
        let none = arena.get_json("/slaves?slave_id=none").await?;
        ensure!(items(&none["slaves"]).is_empty(), "{none}");
        Ok(())
    };
    let tasks = |arena: Arena| async move {
        let told = arena.story(Story::Finished).await?;
        let id = told.task["task_id"]["value"].as_str().context("an id")?;
        let all = arena.get_json(&format!("/tasks?framework_id={}&task_id={id}", told.home.id)).await?;
        let task = items(&all["tasks"]).first().context("the task")?;
        keys(
            task,
            &[
                "id",
                "name",
                "framework_id",
                "executor_id",
                "slave_id",
                "state",
                "resources",
                "role",
                "statuses",
                "labels",
                "discovery",
            ],
        )?;
        ensure!(task["id"] == id && task["state"] == "TASK_FINISHED" && task["executor_id"] == "", "{task}");
        let status = items(&task["statuses"]).last().context("a status")?;
        keys(status, &["state", "timestamp", "container_status"])
    };
    let pages = |arena: Arena| async move {
        arena.story(Story::Finished).await?;
        arena.story(Story::Failed).await?;
        let one = arena.get_json("/tasks?limit=1").await?;
        ensure!(items(&one["tasks"]).len() == 1, "{one}");
        let none = arena.get_json("/tasks?limit=0").await?;
        ensure!(items(&none["tasks"]).is_empty(), "{none}");
        let beyond = arena.get_json("/tasks?offset=1000000000").await?;
        ensure!(items(&beyond["tasks"]).is_empty(), "{beyond}");
        let begin = |task: &Value| task["statuses"][0]["timestamp"].as_f64().unwrap_or(f64::MAX);
        for (order, sign) in [("asc", 1.0), ("desc", -1.0)] {
            let listed = arena.get_json(&format!("/tasks?order={order}&limit=1000")).await?;
            let times: Vec<f64> = items(&listed["tasks"]).iter().map(|task| begin(task) * sign).collect();
            ensure!(times.is_sorted(), "{order}: {times:?}");
        }
        Ok(())
    };
    let bad = |arena: Arena| async move {
        for query in ["limit=x", "offset=-1", "order=sideways"] {
            arena.get(&format!("/tasks?{query}")).await?.expect(400)?;
        }
        Ok(())
    };
    let roles = |arena: Arena| async move {
        let role = arena.name("role");
        let framework = Framework::quiet_with(&arena, json!({"roles": [role]})).await?;
        let listed = || async {
            let roles = arena.get_json("/roles").await?;
            Ok(items(&roles["roles"]).iter().find(|one| one["name"] == role.as_str()).cloned())
        };
        let shown = arena.eventually("the role", listed).await?;
        keys(&shown, &["name", "weight", "quota", "resources", "allocated", "offered", "reserved", "frameworks"])?;
        keys(&shown["quota"], &["role", "guarantee", "limit", "consumed"])?;
        ensure!(shown["frameworks"] == json!([framework.id]), "{shown}");
        framework.teardown().await
    };
    vec![
        row("2", "GET /frameworks", "all, one, none", "those that the query names", frameworks),
        row("2", "GET /slaves", "all, one, none", "those that the query names, with full resources", agents),
        row("2", "GET /tasks", "a completed task by its id", "the keys that tools read", tasks).within(60),
        row("2", "GET /tasks", "limit, offset and order", "a page, newest first unless asc", pages).within(60),
        row("2", "GET /tasks", "a query that is none", "400", bad),
        row("2", "GET /roles", "a framework with a role of its own", "the role, its quota, its framework", roles),
    ]
}

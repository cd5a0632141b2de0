//! Reference 7.2: the operator API of agents.

use crate::contest::arena::{Arena, OPERATOR, items};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use crate::contest::story::Story;
use crate::contest::wire::exchange;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// A row about the answer of a read.
fn read(kind: &'static str, answer: &'static str, judge: fn(&Value) -> Result<()>) -> Row {
    row("7.2", format!("{kind} of an agent"), "an agent", answer, move |arena: Arena| async move {
        let part = arena.agent_read(arena.agent(), &json!({"type": kind})).await?;
        judge(&part).with_context(|| part.to_string().chars().take(2000).collect::<String>())
    })
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = reads();
    rows.extend(running());
    rows.extend(refused());
    rows.into_iter().map(|row| row.within(60)).collect()
}

fn reads() -> Vec<Row> {
    let metrics = |arena: Arena| async move {
        let call = json!({"type": "GET_METRICS", "get_metrics": {"timeout": {"nanoseconds": 5_000_000_000_i64}}});
        let part = arena.agent_read(arena.agent(), &call).await?;
        for name in [
            "slave/uptime_secs",
            "slave/registered",
            "slave/frameworks_active",
            "slave/executors_registering",
            "slave/executors_running",
            "slave/executors_terminating",
            "slave/tasks_staging",
            "slave/tasks_starting",
            "slave/tasks_running",
            "slave/tasks_killing",
            "slave/tasks_finished",
            "slave/tasks_failed",
            "slave/tasks_killed",
            "slave/tasks_lost",
            "slave/tasks_gone",
            "slave/cpus_total",
            "slave/cpus_used",
            "slave/cpus_percent",
            "slave/mem_used",
            "slave/disk_percent",
            "slave/gpus_total",
            "slave/cpus_revocable_total",
        ] {
            let found = items(&part["metrics"]).iter().find(|one| one["name"] == name);
            ensure!(found.is_some_and(|one| one["value"].is_number()), "no {name}");
        }
        Ok(())
    };
    let verbosity = |arena: Arena| async move {
        let level = || async {
            let part = arena.agent_read(arena.agent(), &json!({"type": "GET_LOGGING_LEVEL"})).await?;
            Ok::<_, anyhow::Error>(part["level"].as_u64())
        };
        let set = json!({"type": "SET_LOGGING_LEVEL",
            "set_logging_level": {"level": 1, "duration": {"nanoseconds": 300_000_000}}});
        arena.agent_operator(arena.agent(), &set).await?.expect(200)?;
        ensure!(level().await? == Some(1), "the level is {:?}", level().await?);
        let back = || async { Ok((level().await? == Some(0)).then_some(())) };
        arena.eventually("the way back", back).await
    };
    vec![
        read("GET_HEALTH", "healthy", |part| {
            ensure!(part["healthy"] == true, "not healthy");
            Ok(())
        }),
        read("GET_FLAGS", "names and values", |part| {
            ensure!(items(&part["flags"]).iter().any(|flag| flag["name"] == "work_dir"), "no work_dir");
            Ok(())
        }),
        read("GET_VERSION", "three numbers", |part| {
            let version = part["version_info"]["version"].as_str().context("no version")?;
            ensure!(version.split('.').filter(|part| part.parse::<u32>().is_ok()).count() == 3, "{version}");
            Ok(())
        }),
        row("16", "GET_METRICS of an agent", "an agent", "the names that dashboards read", metrics),
        row("7.2", "SET_LOGGING_LEVEL of an agent", "a level for 300 ms", "200; the level, then 0 again", verbosity)
            .alone(),
        read("GET_AGENT", "its id, hostname, port and resources", |part| {
            let info = &part["agent_info"];
            ensure!(info["id"]["value"].is_string() && info["hostname"].is_string(), "no id or hostname");
            ensure!(!items(&info["resources"]).is_empty(), "no resources");
            Ok(())
        }),
        read("GET_RESOURCE_PROVIDERS", "none", |part| {
            ensure!(items(&part["resource_providers"]).is_empty(), "some");
            Ok(())
        }),
        read("GET_OPERATIONS", "a list", |part| {
            ensure!(items(&part["operations"]).iter().all(|one| one["uuid"]["value"].is_string()), "one without uuid");
            Ok(())
        }),
        read("GET_STATE", "tasks, executors and frameworks together", |part| {
            for inner in ["get_tasks", "get_executors", "get_frameworks"] {
                ensure!(part[inner].is_object(), "no {inner}");
            }
            Ok(())
        }),
    ]
}

fn running() -> Vec<Row> {
    let listed = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let address = &offer["url"]["address"];
        let agent = format!("{}:{}", address["ip"].as_str().context("an ip")?, address["port"]);
        let (id, task) = framework.task(&offer, "exec sleep 600");
        framework.launch(&offer, vec![task]).await?;
        framework.status(&id, "TASK_RUNNING").await?;
        let read = |kind: &'static str| {
            let (arena, agent) = (arena.clone(), agent.clone());
            async move { arena.agent_read(&agent, &json!({"type": kind})).await }
        };
        let tasks = read("GET_TASKS").await?;
        let mine = items(&tasks["launched_tasks"]).iter().find(|task| task["task_id"]["value"] == id.as_str());
        ensure!(mine.is_some_and(|task| task["state"] == "TASK_RUNNING"), "{tasks}");
        let frameworks = read("GET_FRAMEWORKS").await?;
        let is_mine = |one: &Value| one["framework_info"]["id"]["value"] == framework.id.as_str();
        ensure!(items(&frameworks["frameworks"]).iter().any(is_mine), "{frameworks}");
        let executors = read("GET_EXECUTORS").await?;
        let is_mine = |one: &Value| one["executor_info"]["executor_id"]["value"] == id.as_str();
        ensure!(items(&executors["executors"]).iter().any(is_mine), "{executors}");
        let containers = read("GET_CONTAINERS").await?;
        let mine = items(&containers["containers"]).iter().find(|one| one["executor_id"]["value"] == id.as_str());
        let mine = mine.with_context(|| containers.to_string())?;
        ensure!(mine["framework_id"]["value"] == framework.id.as_str(), "{mine}");
        ensure!(mine["container_status"]["executor_pid"].as_u64().is_some_and(|pid| pid > 1), "{mine}");
        let statistics = &mine["resource_statistics"];
        ensure!(statistics["timestamp"].as_f64().is_some_and(|at| at > 1.5e9), "{mine}");
        ensure!(statistics["mem_rss_bytes"].is_number() || statistics["mem_rss_bytes"].is_string(), "{mine}");
        let state = exchange(&agent, "GET", "/state", &[], b"").await?.expect(200)?;
        let state: Value = serde_json::from_slice(&state.body)?;
        let mut executors = items(&state["frameworks"]).iter().flat_map(|one| items(&one["executors"]));
        let mine = executors.find(|one| one["id"] == id.as_str()).context("no executor in /state")?;
        ensure!(mine["tasks"][0]["id"] == id.as_str() && mine["tasks"][0]["state"] == "TASK_RUNNING", "{mine}");
        let directory = mine["directory"].as_str().context("a directory")?;
        let path = format!("/files/read?path={directory}/stderr&offset=0");
        exchange(&agent, "GET", &path, &[], b"").await?.expect(200)?;
        framework.teardown().await
    };
    let files = |arena: Arena| async move {
        let told = arena.story(Story::Finished).await?;
        let address = &told.offer["url"]["address"];
        let agent = format!("{}:{}", address["ip"].as_str().context("an ip")?, address["port"]);
        let task = told.task["task_id"]["value"].as_str().context("an id")?;
        let path = format!("/frameworks/{}/executors/{task}/runs/latest", told.home.id);
        let list = arena.agent_read(&agent, &json!({"type": "LIST_FILES", "list_files": {"path": path}})).await?;
        let out =
            items(&list["file_infos"]).iter().find(|one| one["path"].as_str().unwrap_or_default().ends_with("/stdout"));
        ensure!(out.is_some_and(|out| out["mode"].is_number() && out["uid"].is_string()), "{list}");
        let call =
            json!({"type": "READ_FILE", "read_file": {"path": format!("{path}/stdout"), "offset": 1, "length": 3}});
        let read = arena.agent_read(&agent, &call).await?;
        let size = read["size"].as_u64().or_else(|| read["size"].as_str()?.parse().ok());
        ensure!(size == Some(told.stdout.len() as u64), "{read}");
        let call = json!({"type": "READ_FILE", "read_file": {"path": format!("{path}/no-such-file"), "offset": 0}});
        arena.agent_operator(&agent, &call).await?.expect(404)?;
        let call = json!({"type": "READ_FILE", "read_file": {"path": path, "offset": 0}});
        arena.agent_operator(&agent, &call).await?.expect(400).map(drop)
    };
    vec![
        row("7.2", "reads of an agent", "a task runs", "the task, its executor, container and figures", listed),
        row("7.2", "LIST_FILES, READ_FILE of an agent", "a sandbox", "its files; 404 and 400 for others", files),
    ]
}

fn refused() -> Vec<Row> {
    let partless = |arena: Arena| async move {
        for kind in ["GET_METRICS", "SET_LOGGING_LEVEL", "LIST_FILES", "READ_FILE"] {
            arena.agent_operator(arena.agent(), &json!({"type": kind})).await?.expect(400)?;
        }
        arena.agent_operator(arena.agent(), &json!({})).await?.expect(400).map(drop)
    };
    let headers = |arena: Arena| async move {
        let agent = arena.agent();
        let get = exchange(agent, "GET", OPERATOR, &[], b"").await?.expect(405)?;
        ensure!(get.header("allow") == Some("POST"), "Allow: {:?}", get.header("allow"));
        let body = br#"{"type":"GET_HEALTH"}"#;
        exchange(agent, "POST", OPERATOR, &[], body).await?.expect(400)?;
        exchange(agent, "POST", OPERATOR, &[("Content-Type", "text/plain")], body).await?.expect(415)?;
        let headers = [("Content-Type", "application/json"), ("Accept", "text/html")];
        exchange(agent, "POST", OPERATOR, &headers, body).await?.expect(406)?;
        let headers = [("Content-Type", "application/json"), ("Accept", "application/recordio")];
        exchange(agent, "POST", OPERATOR, &headers, body).await?.expect(406)?;
        for path in ["/slave(1)/api/v1", "/api/v1"] {
            exchange(agent, "POST", path, &[("Content-Type", "application/json")], body).await?.expect(200)?;
        }
        Ok(())
    };
    vec![
        row("1.2", "calls of an agent", "no part of their own, or no type", "400", partless),
        row("1.2", "POST /api/v1 of an agent", "wrong methods and media types", "405, 400, 415, 406", headers).once(),
    ]
}

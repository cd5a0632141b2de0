//! Reference 2, 7.2: what an agent shows of what it has and had: reservations and volumes, members of pods, and what has ended.

use super::pods::Pod;
use crate::contest::arena::{Arena, items};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use crate::contest::wire::exchange;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Where the agent of an offer answers HTTP.
pub(super) fn address(offer: &Value) -> Result<String> {
    let address = &offer["url"]["address"];
    Ok(format!("{}:{}", address["ip"].as_str().context("an ip")?, address["port"]))
}

/// GET from an agent, 200 and JSON.
async fn get(agent: &str, path: &str) -> Result<Value> {
    let answer = exchange(agent, "GET", path, &[], b"").await?.expect(200)?;
    serde_json::from_slice(&answer.body).with_context(|| answer.shown())
}

async fn read(arena: &Arena, agent: &str, kind: &str) -> Result<Value> {
    arena.agent_read(agent, &json!({"type": kind})).await
}

fn find(list: &Value, is_it: impl Fn(&Value) -> bool) -> Option<&Value> {
    items(list).iter().find(|one| is_it(one))
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = past();
    rows.extend(pods());
    rows.push(reservations());
    rows.into_iter().map(|row| row.within(60)).collect()
}

fn past() -> Vec<Row> {
    let calls = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let (offer, id) = framework.launch_one("exit 0").await?;
        framework.status(&id, "TASK_FINISHED").await?;
        let agent = address(&offer)?;
        let is_task = |one: &Value| one["task_id"]["value"] == id.as_str();
        let task = arena
            .eventually("the completed task", || async {
                Ok(find(&read(&arena, &agent, "GET_TASKS").await?["completed_tasks"], is_task).cloned())
            })
            .await?;
        ensure!(task["state"] == "TASK_FINISHED" && task["framework_id"]["value"] == framework.id.as_str(), "{task}");
        let is_executor = |one: &Value| one["executor_info"]["executor_id"]["value"] == id.as_str();
        arena
            .eventually("the completed executor", || async {
                Ok(find(&read(&arena, &agent, "GET_EXECUTORS").await?["completed_executors"], is_executor).map(drop))
            })
            .await?;
        let is_framework = |one: &Value| one["framework_info"]["id"]["value"] == framework.id.as_str();
        arena
            .eventually("the completed framework", || async {
                let state = read(&arena, &agent, "GET_STATE").await?;
                let all = &state["get_frameworks"];
                let is_live = find(&all["frameworks"], is_framework).is_some();
                Ok(find(&all["completed_frameworks"], is_framework).filter(|_| !is_live).map(drop))
            })
            .await?;
        framework.teardown().await
    };
    let polled = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let (offer, id) = framework.launch_one("exit 3").await?;
        framework.status(&id, "TASK_FAILED").await?;
        let agent = address(&offer)?;
        let executor = arena
            .eventually("the completed executor in /state", || async {
                let state = get(&agent, "/state").await?;
                let mine = find(&state["completed_frameworks"], |one| one["id"] == framework.id.as_str());
                let is_mine = |one: &Value| one["id"] == id.as_str() && !items(&one["completed_tasks"]).is_empty();
                Ok(mine.and_then(|mine| find(&mine["completed_executors"], is_mine)).cloned())
            })
            .await?;
        let task = &executor["completed_tasks"][0];
        ensure!(task["id"] == id.as_str() && task["state"] == "TASK_FAILED", "{executor}");
        ensure!(items(&executor["tasks"]).is_empty() && items(&executor["queued_tasks"]).is_empty(), "{executor}");
        // What has ended is still read by its directory.
        let path = format!("/files/browse?path={}", executor["directory"].as_str().context("a directory")?);
        get(&agent, &path).await?;
        framework.teardown().await
    };
    vec![
        row("7.2", "GET_STATE of an agent", "a task has ended", "task, executor and framework are completed", calls),
        row("2", "GET /state of an agent", "a task has ended", "it is below completed_executors", polled).once(),
    ]
}

fn pods() -> Vec<Row> {
    let nested = |arena: Arena| async move {
        let mut pod = Pod::launch(&arena, &["exec sleep 600", "exec sleep 600"]).await?;
        let mut members = Vec::new();
        for at in [0, 1] {
            members.push(pod.status(at, "TASK_RUNNING").await?["container_status"]["container_id"].clone());
        }
        let agent = address(&pod.offer)?;
        let asked = |show: bool| {
            let call = json!({"type": "GET_CONTAINERS", "get_containers": {"show_nested": show}});
            let (arena, agent) = (arena.clone(), agent.clone());
            async move { Ok::<_, anyhow::Error>(arena.agent_read(&agent, &call).await?["containers"].clone()) }
        };
        let (all, outer) = (asked(true).await?, asked(false).await?);
        for member in &members {
            let mine =
                find(&all, |one| one["container_id"] == *member).with_context(|| format!("{member} in {all}"))?;
            ensure!(mine["container_status"]["container_id"] == *member && mine.get("executor_id").is_none(), "{mine}");
            ensure!(find(&outer, |one| one["container_id"] == *member).is_none(), "{outer}");
            let parent = find(&outer, |one| one["container_id"] == member["parent"]).context("the executor's")?;
            ensure!(parent["executor_id"] == pod.executor["executor_id"], "{parent}");
        }
        pod.framework.teardown().await
    };
    let polled = |arena: Arena| async move {
        let mut pod = Pod::launch(&arena, &["exec sleep 600"]).await?;
        let member = pod.status(0, "TASK_RUNNING").await?["container_status"]["container_id"].clone();
        let agent = address(&pod.offer)?;
        let all = get(&agent, "/containers?show_nested=true").await?;
        let mine = find(&all, |one| one["container_id"] == member["value"]).with_context(|| all.to_string())?;
        ensure!(mine["status"]["container_id"] == member, "{mine}");
        let outer = get(&agent, "/containers").await?;
        ensure!(find(&outer, |one| one["container_id"] == member["value"]).is_none(), "{outer}");
        let parent = member["parent"]["value"].as_str().context("a parent")?;
        let one = get(&agent, &format!("/containers?container_id={parent}")).await?;
        ensure!(items(&one).len() == 1 && one[0]["framework_id"] == pod.framework.id.as_str(), "{one}");
        let own = get(&agent, &format!("/containers?framework_id={}", pod.framework.id)).await?;
        ensure!(items(&own).len() == 1 && one[0]["container_id"] == parent, "{own}");
        for query in ["executor_id=a", "container_id=a&framework_id=b"] {
            exchange(&agent, "GET", &format!("/containers?{query}"), &[], b"").await?.expect(400)?;
        }
        let figures = get(&agent, "/monitor/statistics").await?;
        let executor = &pod.executor["executor_id"]["value"];
        let mine = find(&figures, |one| one["executor_id"] == *executor).with_context(|| figures.to_string())?;
        ensure!(mine["framework_id"] == pod.framework.id.as_str() && mine["executor_name"].is_string(), "{mine}");
        // The executor takes 0.05 and 32 MiB, its task 0.05 and 16 MiB.
        let limits = &mine["statistics"];
        ensure!(limits["cpus_limit"] == 0.1 && limits["mem_limit_bytes"] == 48 << 20, "{mine}");
        pod.framework.teardown().await
    };
    vec![
        row("7.2", "GET_CONTAINERS", "a pod of two, with show_nested and without", "both members, or none", nested),
        row(
            "2",
            "GET /containers, /monitor/statistics",
            "a pod; containers chosen by query",
            "members with show_nested; the limits of what was taken; 400 for parameters that do not go together",
            polled,
        )
        .once(),
    ]
}

fn reservations() -> Row {
    let shown = |arena: Arena| async move {
        let (mut framework, offer, role) = super::operations::begin(&arena).await?;
        let disk = super::operations::reserved("disk", 16.0, &role);
        let mut volume = disk.clone();
        volume["disk"] = json!({"persistence": {"id": "shown"}, "volume": {"mode": "RW", "container_path": "p"}});
        let cpus = super::operations::reserved("cpus", 0.1, &role);
        let operations = vec![
            json!({"type": "RESERVE", "reserve": {"resources": [cpus, disk]}}),
            json!({"type": "CREATE", "id": {"value": "create"}, "create": {"volumes": [volume]}}),
        ];
        framework.accept(&[&offer], operations).await?;
        let status = super::operations::status_of(&mut framework, "create").await?;
        ensure!(status["state"] == "OPERATION_FINISHED", "{status}");
        let agent = address(&offer)?;
        let state = get(&agent, "/state").await?;
        ensure!(state["reserved_resources"][&role]["cpus"] == 0.1, "{state}");
        ensure!(state["reserved_resources"][&role]["disk"] == 16.0, "{state}");
        let full = items(&state["reserved_resources_full"][&role]);
        ensure!(full.iter().any(|one| one["disk"]["persistence"]["id"] == "shown"), "{state}");
        let free = |total: &Value, free: &Value| total["cpus"].as_f64() > free["cpus"].as_f64();
        ensure!(free(&state["resources"], &state["unreserved_resources"]), "{state}");
        let holds = |resources: &Value| {
            items(resources).iter().any(|one| {
                one["disk"]["persistence"]["id"] == "shown" && one["reservations"][0]["role"] == role.as_str()
            })
        };
        let told = read(&arena, &agent, "GET_AGENT").await?;
        ensure!(holds(&told["agent_info"]["resources"]), "{told}");
        let is_mine = |one: &Value| one["agent_info"]["id"] == offer["agent_id"];
        let total = arena
            .eventually("the volume in GET_AGENTS", || async {
                let agents = arena.read("GET_AGENTS").await?;
                let mine = find(&agents["agents"], is_mine).context("the agent")?;
                Ok(holds(&mine["total_resources"]).then(|| mine["agent_info"]["resources"].clone()))
            })
            .await?;
        ensure!(!holds(&total), "what the agent was started with holds no volume: {total}");
        let is_volume = |one: &&Value| one["disk"].is_object();
        let (next, held) = loop {
            let (next, _) = framework.revived_offer_of(&offer["agent_id"]).await?;
            let mine = items(&next["resources"]).iter().filter(|one| one["reservations"][0]["role"] == role.as_str());
            let held: Vec<Value> = mine.cloned().collect();
            // What comes back does so piece by piece.
            if held.iter().any(|one| is_volume(&one)) && held.iter().any(|one| one["name"] == "cpus") {
                break (next, held);
            }
            framework.decline(&next, 0.0).await?;
        };
        let volumes: Vec<&Value> = held.iter().filter(is_volume).collect();
        let mut plain = held.clone();
        plain.iter_mut().for_each(|one| drop(one.as_object_mut().and_then(|one| one.remove("disk"))));
        let operations = vec![
            json!({"type": "DESTROY", "destroy": {"volumes": volumes}}),
            json!({"type": "UNRESERVE", "id": {"value": "back"}, "unreserve": {"resources": plain}}),
        ];
        framework.accept(&[&next], operations).await?;
        let status = super::operations::status_of(&mut framework, "back").await?;
        ensure!(status["state"] == "OPERATION_FINISHED", "{status}");
        framework.teardown().await
    };
    row(
        "7.2",
        "GET /state, GET_AGENT of an agent; GET_AGENTS",
        "a reservation and a volume made by a framework",
        "what the agent has now, reserved and free",
        shown,
    )
}

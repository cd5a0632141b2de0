//! Reference 5.1 (6, 9, 12), 10: the resources of a task.

use super::launch::refused;
use crate::contest::arena::{Arena, items};
use crate::contest::framework::{Framework, amount, scalar};
use crate::contest::row::{Row, row};
use crate::contest::story::small;
use anyhow::{Context, ensure};
use serde_json::{Value, json};

fn ranges(name: &str, pairs: &[(u64, u64)]) -> Value {
    let pairs: Vec<Value> = pairs.iter().map(|(begin, end)| json!({"begin": begin, "end": end})).collect();
    json!({"name": name, "type": "RANGES", "ranges": {"range": pairs}})
}

/// Small resources and one more.
fn with(more: Value) -> Value {
    let mut all = small();
    if let Some(all) = all.as_array_mut() {
        all.push(more);
    }
    json!({ "resources": all })
}

fn disk(changes: Value) -> Value {
    let mut resource = scalar("disk", 16.0);
    crate::contest::arena::merge(&mut resource, &changes);
    with(resource)
}

fn invalid() -> Vec<(&'static str, Value)> {
    let volume = json!({"mode": "RW", "container_path": "p"});
    vec![
        ("no resources", json!({"resources": []})),
        ("more cpus than were offered", json!({"resources": [scalar("cpus", 1e6), scalar("mem", 32.0)]})),
        ("more mem than was offered", json!({"resources": [scalar("cpus", 0.1), scalar("mem", 1e9)]})),
        ("a resource that no agent has", with(scalar("no-such-resource", 1.0))),
        ("a scalar below zero", with(scalar("disk", -1.0))),
        ("a fraction of a GPU", with(scalar("gpus", 0.5))),
        ("a scalar without its value", with(json!({"name": "disk", "type": "SCALAR"}))),
        ("a resource of type TEXT", with(json!({"name": "disk", "type": "TEXT"}))),
        ("a resource without a name", with(scalar("", 1.0))),
        ("ports that were not offered", with(ranges("ports", &[(1, 2)]))),
        ("ports whose range is reversed", with(ranges("ports", &[(31010, 31005)]))),
        (
            "another role's resources",
            json!({"resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1},
            "role": "no-such-role"}, scalar("mem", 32.0)]}),
        ),
        (
            "two allocation roles",
            json!({"resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}, "allocation_info": {"role": "*"}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 32.0}, "allocation_info": {"role": "other"}}]}),
        ),
        (
            "revocable and other cpus together",
            with(json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1},
            "revocable": {}})),
        ),
        ("a volume without persistence", disk(json!({"disk": {"volume": volume}}))),
        ("an empty disk", disk(json!({"disk": {}}))),
        (
            "a persistent volume on disk that nobody reserved",
            disk(json!({"disk": {"persistence": {"id": "p"}, "volume": volume}})),
        ),
        ("a limit for disk", json!({"limits": {"disk": {"value": 64.0}}})),
        ("a limit below the request", json!({"limits": {"mem": {"value": 16.0}}})),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (given, changes) in invalid() {
        let trial = move |arena: Arena| {
            let changes = changes.clone();
            async move { refused(&arena, &changes).await }
        };
        rows.push(row("5.1", "LAUNCH", given, "TASK_ERROR, TASK_INVALID", trial));
    }
    let sum = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let share = amount(&offer, "cpus") * 0.6;
        let tasks: Vec<(String, Value)> = (0..2)
            .map(|_| {
                let (id, mut task) = framework.task(&offer, "sleep 600");
                task["resources"] = json!([scalar("cpus", share), scalar("mem", 32.0)]);
                (id, task)
            })
            .collect();
        framework.launch(&offer, tasks.iter().map(|(_, task)| task.clone()).collect()).await?;
        super::launch::judged(&framework.first_status(&tasks[1].0).await?)?;
        framework.status(&tasks[0].0, "TASK_RUNNING").await?;
        framework.teardown().await
    };
    let thousandth = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, mut task) = framework.task(&offer, "true");
        task["resources"] = json!([scalar("cpus", amount(&offer, "cpus") + 0.001), scalar("mem", 32.0)]);
        framework.launch(&offer, vec![task]).await?;
        super::launch::judged(&framework.first_status(&id).await?)?;
        framework.teardown().await
    };
    let rounded = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, mut task) = framework.task(&offer, "sleep 600");
        // Three digits are kept: what is beyond them is rounded.
        task["resources"] = json!([scalar("cpus", 0.10049), scalar("mem", 32.0)]);
        framework.launch(&offer, vec![task]).await?;
        framework.status(&id, "TASK_RUNNING").await?;
        let listed = || crate::contest::story::shown(&arena, "tasks", &id);
        let shown = arena.eventually("the task", listed).await?;
        ensure!((amount(&shown, "cpus") - 0.1).abs() < 1e-9, "{shown}");
        framework.teardown().await
    };
    let ports = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let resource = items(&offer["resources"]).iter().find(|resource| resource["name"] == "ports");
        let begin = resource.and_then(|ports| ports["ranges"]["range"][0]["begin"].as_u64()).context("ports")?;
        let (id, mut task) = framework.task(&offer, "sleep 600");
        crate::contest::arena::merge(&mut task, &with(ranges("ports", &[(begin, begin + 1)])));
        framework.launch(&offer, vec![task]).await?;
        framework.status(&id, "TASK_RUNNING").await?;
        let listed = || crate::contest::story::shown(&arena, "tasks", &id);
        let shown = arena.eventually("the task", listed).await?;
        let text = shown.to_string();
        ensure!(text.contains(&format!("\"begin\":{begin}")), "{text}");
        framework.teardown().await
    };
    let overlap = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let resource = items(&offer["resources"]).iter().find(|resource| resource["name"] == "ports");
        let begin = resource.and_then(|ports| ports["ranges"]["range"][0]["begin"].as_u64()).context("ports")?;
        let tasks: Vec<(String, Value)> = (0..2)
            .map(|_| {
                let (id, mut task) = framework.task(&offer, "sleep 600");
                crate::contest::arena::merge(&mut task, &with(ranges("ports", &[(begin, begin)])));
                (id, task)
            })
            .collect();
        framework.launch(&offer, tasks.iter().map(|(_, task)| task.clone()).collect()).await?;
        super::launch::judged(&framework.first_status(&tasks[1].0).await?)?;
        framework.teardown().await
    };
    let no_gpus = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, mut task) = framework.task(&offer, "true");
        crate::contest::arena::merge(&mut task, &with(scalar("gpus", 0.0)));
        framework.launch(&offer, vec![task]).await?;
        framework.status(&id, "TASK_FINISHED").await?;
        framework.teardown().await
    };
    rows.extend([
        row("5.1", "LAUNCH", "two tasks that together are too large", "TASK_ERROR for the second", sum),
        row("10", "LAUNCH", "a thousandth of a core more than was offered", "TASK_ERROR", thousandth),
        row("10", "LAUNCH", "cpus with five digits", "rounded to three", rounded),
        row("10", "LAUNCH", "two of the ports that were offered", "it runs, and GET_TASKS shows them", ports),
        row("5.1", "LAUNCH", "one port for two tasks", "TASK_ERROR for the second", overlap),
        row("clients", "LAUNCH", "gpus: 0.0", "it runs", no_gpus),
    ]);
    rows
}

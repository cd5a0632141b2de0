//! Reference 5.1, 6.1, 6.3, 6.4: how programs are run: what they find in their environment and their sandbox, and groups on executors
//! of frameworks.

use super::executor::{Stage, UUID, event};
use crate::contest::arena::{Arena, items};
use crate::contest::framework::{Framework, scalar};
use crate::contest::row::{Row, row};
use crate::contest::wire::exchange;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Launches a command with changes to it, and wants it to end well.
async fn succeeds(arena: &Arena, command: Value) -> Result<()> {
    let mut framework = Framework::start(arena).await?;
    let offer = framework.offer().await?;
    let (id, mut task) = framework.task(&offer, "");
    task["command"] = command;
    framework.launch(&offer, vec![task]).await?;
    let find = |framework: &Framework| {
        let mut mine = framework.updates.iter().filter(|status| status["task_id"]["value"] == id.as_str());
        let is_last = |status: &&Value| !matches!(status["state"].as_str(), Some("TASK_STARTING" | "TASK_RUNNING"));
        mine.find(is_last).cloned()
    };
    let last = framework.until("its end", find).await?;
    ensure!(last["state"] == "TASK_FINISHED", "{last}");
    framework.teardown().await
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = fetched();
    rows.extend(environments());
    rows.extend(groups());
    rows.extend(large());
    rows.into_iter().map(|row| row.within(60)).collect()
}

fn fetched() -> Vec<Row> {
    let good = |arena: Arena| async move {
        let version = format!("http://{}/version", arena.master());
        let uris = json!([
            {"value": version, "output_file": "plain.json"},
            {"value": version, "output_file": "run", "executable": true, "extract": false},
            {"value": version, "cache": true, "output_file": "inner/cached.json"},
            {"value": version},
        ]);
        let test = "grep -q version plain.json && test -x run && ! test -x plain.json && cmp plain.json inner/cached.json \
            && test -s version";
        succeeds(&arena, json!({"value": test, "uris": uris})).await
    };
    let bad = |arena: Arena| async move {
        for uri in [
            json!({"value": format!("http://{}/no/such/path", arena.master())}),
            json!({"value": "file:///no/such/file"}),
            json!({"value": "gopher://nowhere/file"}),
        ] {
            let mut framework = Framework::start(&arena).await?;
            let offer = framework.offer().await?;
            let (id, mut task) = framework.task(&offer, "exit 0");
            task["command"]["uris"] = json!([uri]);
            framework.launch(&offer, vec![task]).await?;
            let last = framework.status(&id, "TASK_FAILED").await?;
            ensure!(last["reason"] == "REASON_CONTAINER_LAUNCH_FAILED", "{last}");
            ensure!(last["source"] == "SOURCE_AGENT" && last["message"].is_string(), "{last}");
            framework.teardown().await?;
        }
        Ok(())
    };
    let out = |arena: Arena| async move {
        for output in ["../outside", "/tmp/kaon-contest-outside", "a/../../../outside"] {
            let mut framework = Framework::start(&arena).await?;
            let offer = framework.offer().await?;
            let (id, mut task) = framework.task(&offer, "exit 0");
            let uri = json!({"value": format!("http://{}/version", arena.master()), "output_file": output});
            task["command"]["uris"] = json!([uri]);
            framework.launch(&offer, vec![task]).await?;
            let first = framework.first_status(&id).await?;
            ensure!(matches!(first["state"].as_str(), Some("TASK_FAILED" | "TASK_ERROR")), "{first}");
            framework.teardown().await?;
        }
        Ok(())
    };
    vec![
        row("5.1", "LAUNCH with uris", "plain, executable, cached, renamed", "they are in the sandbox", good),
        row("6.4", "LAUNCH with uris", "what is not there", "TASK_FAILED, CONTAINER_LAUNCH_FAILED, by the agent", bad),
        row("attacks", "LAUNCH with uris", "an output_file outside of the sandbox", "the task fails", out),
    ]
}

fn environments() -> Vec<Row> {
    let mut rows = Vec::new();
    for checkpoint in [true, false] {
        let given = format!("its environment, checkpoint: {checkpoint}");
        let trial = move |arena: Arena| async move {
            let program = "env > environment; exec sleep 600";
            let info = arena.info_with(json!({"checkpoint": checkpoint}));
            let stage = Stage::set_with(&arena, info, program).await?;
            let (_stream, subscribed) = stage.subscribe_with(json!({})).await?;
            let path = format!(
                "/frameworks/{}/executors/{}/runs/latest/environment",
                stage.framework.id,
                stage.executor["executor_id"]["value"].as_str().unwrap_or_default()
            );
            let text = arena
                .eventually("the environment", || async {
                    let path = format!("/files/download?path={path}");
                    let answer = exchange(&stage.agent, "GET", &path, &[], b"").await?;
                    Ok((answer.status == 200 && !answer.body.is_empty()).then(|| answer.text()))
                })
                .await?;
            let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            let wanted = [
                ("MESOS_FRAMEWORK_ID", stage.framework.id.as_str()),
                ("MESOS_EXECUTOR_ID", stage.executor["executor_id"]["value"].as_str().unwrap_or_default()),
                ("MESOS_SLAVE_ID", stage.offer["agent_id"]["value"].as_str().unwrap_or_default()),
                ("MESOS_AGENT_ENDPOINT", stage.agent.as_str()),
                ("MESOS_CHECKPOINT", if checkpoint { "1" } else { "0" }),
                ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "100ms"),
                ("LIBPROCESS_PORT", "0"),
            ];
            for (name, wanted) in wanted {
                ensure!(value(name) == Some(wanted), "{name} is {:?}, not {wanted}", value(name));
            }
            ensure!(value("MESOS_SLAVE_PID") == Some(&*format!("slave(1)@{}", stage.agent)), "{text}");
            let directory = value("MESOS_DIRECTORY").context("a directory")?;
            ensure!(value("MESOS_SANDBOX") == Some(directory) && value("PWD") == Some(directory), "{text}");
            let container = subscribed["container_id"]["value"].as_str().context("a container")?;
            ensure!(directory.ends_with(&format!("/runs/{container}")), "{directory}");
            for name in ["MESOS_RECOVERY_TIMEOUT", "MESOS_SUBSCRIPTION_BACKOFF_MAX"] {
                ensure!(value(name).is_some() == checkpoint, "{name}: {:?}", value(name));
            }
            // What is between the agent and executors of its own, such as their certificates, is not for others.
            ensure!(value("MESOS_AGENT_ID").is_none() && !text.contains("KAON_EXECUTOR_"), "{text}");
            stage.framework.teardown().await
        };
        rows.push(row(
            "6.1",
            "LAUNCH with an executor",
            given,
            "the variables of Mesos's agents, and no credential of others",
            trial,
        ));
    }
    rows
}

fn groups() -> Vec<Row> {
    let whole = |arena: Arena| async move {
        let mut stage = Stage::new(&arena, arena.info(), "exec sleep 600").await?;
        let tasks = stage.launch_group(2).await?;
        let (mut stream, _) = stage.subscribe_with(json!({})).await?;
        let given = event(&mut stream, "LAUNCH_GROUP").await?;
        let given = items(&given["task_group"]["tasks"]);
        let ids: Vec<&Value> = given.iter().map(|task| &task["task_id"]["value"]).collect();
        ensure!(ids == tasks.iter().collect::<Vec<_>>(), "{given:?}");
        let same = |task: &Value| task["executor"]["executor_id"] == stage.executor["executor_id"];
        ensure!(given.iter().all(same), "{given:?}");
        // What becomes of its tasks is the executor's to say.
        stage.update(stage.status(&tasks[0], "TASK_FINISHED", UUID)).await?.expect(202)?;
        stage.framework.status(&tasks[0], "TASK_FINISHED").await?;
        let body = json!({"task_id": {"value": tasks[1]}, "agent_id": stage.offer["agent_id"]});
        stage.framework.must("KILL", body).await?;
        let killed = event(&mut stream, "KILL").await?;
        ensure!(killed["task_id"]["value"] == tasks[1].as_str(), "{killed}");
        stage.framework.teardown().await
    };
    let queued = |arena: Arena| async move {
        let mut stage = Stage::new(&arena, arena.info(), "exec sleep 600").await?;
        let tasks = stage.launch_group(2).await?;
        let body = json!({"task_id": {"value": tasks[0]}, "agent_id": stage.offer["agent_id"]});
        stage.framework.must("KILL", body).await?;
        for task in &tasks {
            let last = stage.framework.status(task, "TASK_KILLED").await?;
            ensure!(last["reason"] == "REASON_TASK_KILLED_DURING_LAUNCH", "{last}");
            ensure!(last["source"] == "SOURCE_AGENT" && last["uuid"].is_string(), "{last}");
        }
        stage.framework.teardown().await
    };
    vec![
        row("6.3", "LAUNCH_GROUP", "two tasks on a CUSTOM executor", "LAUNCH_GROUP to it; each task is its own", whole),
        row("6.4", "KILL", "one of a group that its executor has not got", "all: TASK_KILLED_DURING_LAUNCH", queued),
    ]
}

fn large() -> Vec<Row> {
    let data = |arena: Arena| async move {
        let mut stage = Stage::new(&arena, arena.info(), "exec sleep 600").await?;
        // 768 KiB, in base64.
        let data = "AAEC".repeat(256 << 10);
        let (id, mut task) = stage.task();
        task["data"] = json!(data);
        stage.framework.launch(&stage.offer, vec![task]).await?;
        let (mut stream, _) = stage.subscribe_with(json!({})).await?;
        let given = event(&mut stream, "LAUNCH").await?;
        ensure!(given["task"]["data"] == data.as_str(), "the task came with other data");
        let mut status = stage.status(&id, "TASK_FINISHED", UUID);
        status["data"] = json!(data);
        stage.update(status).await?.expect(202)?;
        let last = stage.framework.status(&id, "TASK_FINISHED").await?;
        ensure!(last["data"] == data.as_str(), "the status came with other data");
        stage.framework.teardown().await
    };
    let reused = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, task) = framework.task(&offer, "exec sleep 600");
        framework.launch(&offer, vec![task]).await?;
        framework.status(&id, "TASK_RUNNING").await?;
        let offer = framework.roomy_offer_of(&offer["agent_id"]).await?;
        let (_, mut again) = framework.task(&offer, "true");
        again["task_id"]["value"] = json!(id);
        let (other, good) = framework.task(&offer, "true");
        framework.launch(&offer, vec![again, good]).await?;
        framework.status(&other, "TASK_FINISHED").await?;
        let refused = framework.status(&id, "TASK_ERROR").await?;
        ensure!(refused["reason"] == "REASON_TASK_INVALID" && refused.get("uuid").is_none(), "{refused}");
        // The one that runs does not notice.
        let body = json!({"tasks": [{"task_id": {"value": id}}]});
        framework.updates.clear();
        framework.must("RECONCILE", body).await?;
        framework.status(&id, "TASK_RUNNING").await?;
        framework.teardown().await
    };
    let alike = |arena: Arena| async move {
        // Another framework's ids are its own.
        let (mut one, mut other) = (Framework::quiet(&arena).await?, Framework::quiet(&arena).await?);
        let name = arena.name("alike");
        for framework in [&mut one, &mut other] {
            // Who is not listened to is offered nothing: it would hold what the other waits for.
            framework.must("REVIVE", Value::Null).await?;
            let offer = framework.offer().await?;
            let (_, mut task) = framework.task(&offer, "exec sleep 600");
            merge_id(&mut task, &name);
            framework.launch(&offer, vec![task]).await?;
            framework.must("SUPPRESS", Value::Null).await?;
            framework.status(&name, "TASK_RUNNING").await?;
        }
        one.must("KILL", json!({"task_id": {"value": name}})).await?;
        one.status(&name, "TASK_KILLED").await?;
        other.must("RECONCILE", json!({"tasks": [{"task_id": {"value": name}}]})).await?;
        let find = |framework: &Framework| {
            framework.updates.iter().find(|status| status["reason"] == "REASON_RECONCILIATION").cloned()
        };
        let told = other.until("the answer", find).await?;
        ensure!(told["state"] == "TASK_RUNNING", "{told}");
        one.teardown().await?;
        other.teardown().await
    };
    vec![
        row("clients", "LAUNCH, UPDATE", "768 KiB of data in a task and a status", "they come as they were sent", data),
        row("5.1", "LAUNCH", "the id of a task that runs", "TASK_ERROR; that one runs on", reused),
        row("5.1", "LAUNCH, KILL", "one id in two frameworks", "two tasks", alike),
    ]
}

fn merge_id(task: &mut Value, id: &str) {
    task["task_id"]["value"] = json!(id);
    task["resources"] = json!([scalar("cpus", 0.1), scalar("mem", 32.0)]);
}

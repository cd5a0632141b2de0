//! Reference 3.3, 6.5, 8.1 to 8.3: tasks that run, their statuses, KILL, acknowledgement, the end of their framework.

use crate::contest::arena::{Arena, items};
use crate::contest::framework::{Framework, amount, scalar};
use crate::contest::row::{Row, row};
use crate::contest::story::{Story, Transcript, shown};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// A row about what was told in a story.
fn told(
    source: &'static str,
    story: Story,
    call: &'static str,
    answer: &'static str,
    judge: fn(&Transcript) -> Result<()>,
) -> Row {
    let given = match story {
        Story::Finished => "a command that ends with 0",
        Story::Failed => "a command that ends with 3",
        Story::Killed => "a command that sleeps and is killed",
    };
    row(source, call, given, answer, move |arena: Arena| async move {
        let transcript = arena.story(story).await?;
        judge(&transcript).with_context(|| format!("{:?}", transcript.updates))
    })
    .within(60)
}

/// Holds for every status of a story.
fn each(transcript: &Transcript, judge: impl Fn(&Value) -> bool) -> Result<()> {
    ensure!(!transcript.updates.is_empty(), "no status");
    for status in &transcript.updates {
        ensure!(judge(status), "{status}");
    }
    Ok(())
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = statuses();
    rows.extend(ends());
    rows.extend(kills());
    rows.extend(acknowledgements());
    rows.extend(frameworks());
    rows
}

fn statuses() -> Vec<Row> {
    vec![
        told("6.5", Story::Finished, "UPDATE", "TASK_STARTING, TASK_RUNNING, TASK_FINISHED", |told| {
            ensure!(told.states() == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"], "{:?}", told.states());
            Ok(())
        }),
        told("3.4", Story::Finished, "UPDATE", "a uuid of 16 bytes in each", |told| {
            each(told, |status| status["uuid"].as_str().is_some_and(|uuid| uuid.len() == 24 && uuid.ends_with("==")))
        }),
        told("3.4", Story::Finished, "UPDATE", "no two statuses have one uuid", |told| {
            let mut uuids: Vec<&str> = told.updates.iter().filter_map(|status| status["uuid"].as_str()).collect();
            let total = uuids.len();
            uuids.sort_unstable();
            uuids.dedup();
            ensure!(uuids.len() == total, "{uuids:?}");
            Ok(())
        }),
        told("3.4", Story::Finished, "UPDATE", "agent_id is the offer's", |told| {
            each(told, |status| status["agent_id"] == told.offer["agent_id"])
        }),
        told("6.5", Story::Finished, "UPDATE", "executor_id is the task's id", |told| {
            each(told, |status| status["executor_id"]["value"] == told.task["task_id"]["value"])
        }),
        told("3.4", Story::Finished, "UPDATE", "a timestamp in seconds", |told| {
            each(told, |status| status["timestamp"].as_f64().is_some_and(|at| at > 1.6e9 && at < 1e11))
        }),
        told("3.4", Story::Finished, "UPDATE", "SOURCE_EXECUTOR", |told| {
            each(told, |status| status["source"] == "SOURCE_EXECUTOR")
        }),
        told("3.4", Story::Finished, "UPDATE", "container_status with the container's id", |told| {
            each(told, |status| status["container_status"]["container_id"]["value"].is_string())
        }),
        told("3.4", Story::Finished, "UPDATE", "container_status with an IP address", |told| {
            each(told, |status| {
                let address = &status["container_status"]["network_infos"][0]["ip_addresses"][0]["ip_address"];
                address.as_str().is_some_and(|address| address.parse::<std::net::IpAddr>().is_ok())
            })
        }),
        told("6.5", Story::Finished, "UPDATE", "a message about the exit status", |told| {
            let status = told.status("TASK_FINISHED")?;
            ensure!(status["message"].as_str().is_some_and(|message| !message.is_empty()), "{status}");
            Ok(())
        }),
        told("6.5", Story::Finished, "LAUNCH", "the environment of the command is set", |told| {
            ensure!(told.stdout.contains("out of the box"), "stdout: {}", told.stdout);
            Ok(())
        }),
        told("2", Story::Finished, "GET /files/read", "stdout of the task without its stderr", |told| {
            ensure!(!told.stdout.contains("to stderr"), "stdout: {}", told.stdout);
            Ok(())
        }),
    ]
}

fn ends() -> Vec<Row> {
    vec![
        told("7.1", Story::Finished, "GET_TASKS", "the task is among the completed", |told| {
            ensure!(told.completed["state"] == "TASK_FINISHED", "{}", told.completed);
            ensure!(told.completed["framework_id"]["value"] == told.home.id.as_str(), "{}", told.completed);
            Ok(())
        }),
        told("7.1", Story::Finished, "GET_TASKS", "labels and discovery as they were launched", |told| {
            ensure!(told.completed["labels"] == told.task["labels"], "{}", told.completed);
            ensure!(told.completed["discovery"]["visibility"] == "CLUSTER", "{}", told.completed);
            Ok(())
        }),
        told("7.1", Story::Finished, "GET_TASKS", "its resources", |told| {
            ensure!((amount(&told.completed, "cpus") - 0.1).abs() < 1e-9, "{}", told.completed);
            ensure!((amount(&told.completed, "mem") - 32.0).abs() < 1e-9, "{}", told.completed);
            Ok(())
        }),
        told("8.1", Story::Finished, "GET_TASKS", "its statuses, one for each state, without data", |told| {
            let statuses = items(&told.completed["statuses"]);
            let states: Vec<&str> = statuses.iter().filter_map(|status| status["state"].as_str()).collect();
            ensure!(states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"], "{states:?}");
            ensure!(statuses.iter().all(|status| status.get("data").is_none()), "{}", told.completed);
            Ok(())
        }),
        told("6.5", Story::Failed, "UPDATE", "TASK_FAILED", |told| {
            ensure!(told.states().last() == Some(&"TASK_FAILED"), "{:?}", told.states());
            Ok(())
        }),
        told("6.5", Story::Failed, "UPDATE", "the exit status in the message", |told| {
            let status = told.status("TASK_FAILED")?;
            ensure!(status["message"].as_str().is_some_and(|message| message.contains('3')), "{status}");
            Ok(())
        }),
        told(
            "3.2",
            Story::Killed,
            "KILL",
            "TASK_KILLING, then TASK_KILLED, for who knows TASK_KILLING_STATE",
            |told| {
                let states = told.states();
                ensure!(states.ends_with(&["TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]), "{states:?}");
                Ok(())
            },
        ),
        told("7.1", Story::Killed, "GET_TASKS", "while it ran: among the tasks, TASK_RUNNING", |told| {
            ensure!(told.running["state"] == "TASK_RUNNING", "{}", told.running);
            ensure!(told.running["agent_id"] == told.offer["agent_id"], "{}", told.running);
            Ok(())
        }),
        told("7.1", Story::Killed, "GET_TASKS", "a command task names no executor", |told| {
            let id = told.running["executor_id"]["value"].as_str().unwrap_or_default();
            ensure!(id.is_empty(), "{}", told.running);
            Ok(())
        }),
    ]
}

/// A framework with a task that runs.
async fn running(arena: &Arena, changes: Value) -> Result<(Framework, Value, String)> {
    let mut framework = Framework::subscribe(arena, arena.info_with(changes)).await?;
    let (offer, id) = framework.launch_one("sleep 600").await?;
    framework.status(&id, "TASK_RUNNING").await?;
    Ok((framework, offer, id))
}

fn kills() -> Vec<Row> {
    let plain = |arena: Arena| async move {
        let (mut framework, _, id) = running(&arena, json!({})).await?;
        framework.must("KILL", json!({"task_id": {"value": id}})).await?;
        framework.status(&id, "TASK_KILLED").await?;
        ensure!(framework.updates.iter().all(|status| status["state"] != "TASK_KILLING"), "TASK_KILLING was told");
        framework.teardown().await
    };
    let wrong_agent = |arena: Arena| async move {
        let (mut framework, _, id) = running(&arena, json!({})).await?;
        framework.must("KILL", json!({"task_id": {"value": id}, "agent_id": {"value": "other"}})).await?;
        framework.listen(Duration::from_millis(500)).await?;
        ensure!(framework.updates.last().is_some_and(|status| status["state"] == "TASK_RUNNING"), "it was killed");
        framework.teardown().await
    };
    let unknown = |state: &'static str, capabilities: fn() -> Value| {
        move |arena: Arena| async move {
            let mut framework = Framework::quiet_with(&arena, json!({"capabilities": capabilities()})).await?;
            framework.must("KILL", json!({"task_id": {"value": "no-such-task"}})).await?;
            let status = framework.first_status("no-such-task").await?;
            ensure!(status["state"] == state && status["reason"] == "REASON_RECONCILIATION", "{status}");
            ensure!(status["source"] == "SOURCE_MASTER" && status.get("uuid").is_none(), "{status}");
            framework.teardown().await
        }
    };
    let stubborn = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, task) = framework.task(&offer, "trap '' TERM; touch ready; while true; do sleep 0.1; done");
        launch_until_ready(&mut framework, &offer, &id, task).await?;
        let policy = json!({"grace_period": {"nanoseconds": 200_000_000}});
        let begin = std::time::Instant::now();
        framework.must("KILL", json!({"task_id": {"value": id}, "kill_policy": policy})).await?;
        framework.status(&id, "TASK_KILLED").await?;
        // The default would be three seconds.
        ensure!(begin.elapsed() < Duration::from_millis(2900), "killed after {:?}", begin.elapsed());
        framework.teardown().await
    };
    let clean = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, task) = framework.task(&offer, "trap 'exit 0' TERM; touch ready; while true; do sleep 0.1; done");
        launch_until_ready(&mut framework, &offer, &id, task).await?;
        framework.must("KILL", json!({"task_id": {"value": id}})).await?;
        framework.status(&id, "TASK_KILLED").await?;
        framework.teardown().await
    };
    let longest = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, mut task) = framework.task(&offer, "sleep 600");
        task["max_completion_time"] = json!({"nanoseconds": 700_000_000});
        framework.launch(&offer, vec![task]).await?;
        let status = framework.status(&id, "TASK_FAILED").await?;
        ensure!(status["reason"] == "REASON_MAX_COMPLETION_TIME_REACHED", "{status}");
        framework.teardown().await
    };
    let signalled = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let (_, id) = framework.launch_one("kill -9 $$").await?;
        framework.status(&id, "TASK_FAILED").await?;
        framework.teardown().await
    };
    let missing = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, mut task) = framework.task(&offer, "");
        task["command"] = json!({"shell": false, "value": "/no/such/program", "arguments": ["program"]});
        framework.launch(&offer, vec![task]).await?;
        framework.status(&id, "TASK_FAILED").await?;
        framework.teardown().await
    };
    let arguments = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, mut task) = framework.task(&offer, "");
        // Without a shell: the first argument is the name, and nothing is expanded.
        let script = r#"test "$0" = "$HOME" && exit 9; test "$0" = '$HOME' && exit 0; exit 8"#;
        task["command"] = json!({"shell": false, "value": "/bin/sh", "arguments": ["sh", "-c", script, "$HOME"]});
        framework.launch(&offer, vec![task]).await?;
        framework.status(&id, "TASK_FINISHED").await?;
        framework.teardown().await
    };
    vec![
        row("6.5", "KILL", "a task that runs, no TASK_KILLING_STATE", "TASK_KILLED, without TASK_KILLING", plain)
            .within(60),
        row("3.3", "KILL", "a task with another agent's id", "ignored", wrong_agent).within(60),
        row(
            "3.3",
            "KILL",
            "a task that nobody knows, PARTITION_AWARE",
            "TASK_UNKNOWN, as a reconciliation",
            unknown("TASK_UNKNOWN", || json!([{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}])),
        ),
        row(
            "3.3",
            "KILL",
            "a task that nobody knows, not PARTITION_AWARE",
            "TASK_LOST, as a reconciliation",
            unknown("TASK_LOST", || json!([{"type": "MULTI_ROLE"}])),
        ),
        row("6.5", "KILL", "a kill_policy of 0.2 s, a task that ignores TERM", "KILL after that", stubborn).within(60),
        row("6.5", "KILL", "a task that ends with 0 on TERM", "TASK_KILLED all the same", clean).within(60),
        row("6.5", "LAUNCH", "max_completion_time of 0.7 s", "TASK_FAILED, MAX_COMPLETION_TIME_REACHED", longest)
            .within(60),
        row("6.5", "LAUNCH", "a command that ends by a signal", "TASK_FAILED", signalled).within(60),
        row("6.5", "LAUNCH", "a program that is not there", "TASK_FAILED", missing).within(60),
        row("6.5", "LAUNCH", "arguments without a shell", "passed as they are", arguments).within(60),
    ]
}

fn acknowledgements() -> Vec<Row> {
    let one_at_a_time = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        framework.acknowledges = false;
        let (_, id) = framework.launch_one("true").await?;
        let first = framework.first_status(&id).await?;
        framework.listen(Duration::from_millis(1500)).await?;
        ensure!(framework.updates.iter().all(|status| status["uuid"] == first["uuid"]), "{:?}", framework.updates);
        framework.acknowledge(&first).await?;
        let second =
            |framework: &Framework| framework.updates.iter().find(|status| status["uuid"] != first["uuid"]).cloned();
        let second = framework.until("the second status", second).await?;
        framework.acknowledge(&second).await?;
        framework.acknowledges = true;
        framework.status(&id, "TASK_FINISHED").await?;
        framework.teardown().await
    };
    let wrong = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        framework.acknowledges = false;
        let (_, id) = framework.launch_one("true").await?;
        let first = framework.first_status(&id).await?;
        let mut other = first.clone();
        other["uuid"] = json!("AAECAwQFBgcICQoLDA0ODw==");
        framework.acknowledge(&other).await?;
        framework.listen(Duration::from_millis(1000)).await?;
        ensure!(framework.updates.iter().all(|status| status["uuid"] == first["uuid"]), "{:?}", framework.updates);
        framework.teardown().await
    };
    let listed = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let (_, id) = framework.launch_one("true").await?;
        framework.status(&id, "TASK_RUNNING").await?;
        framework.acknowledges = false;
        let last = framework.status(&id, "TASK_FINISHED").await?;
        // What is read may be a moment behind.
        let still = || async {
            let task = shown(&arena, "tasks", &id).await?.context("not among the tasks before it is acknowledged")?;
            let told = task["state"] == "TASK_FINISHED" && task["status_update_state"] == "TASK_FINISHED";
            Ok(told.then_some(()))
        };
        arena.eventually("the state of the task", still).await?;
        framework.acknowledge(&last).await?;
        arena.eventually("the completed task", || shown(&arena, "completed_tasks", &id)).await?;
        framework.teardown().await
    };
    let freed = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, mut task) = framework.task(&offer, "true");
        let all = amount(&offer, "cpus");
        task["resources"] = json!([scalar("cpus", all), scalar("mem", 32.0)]);
        framework.launch(&offer, vec![task]).await?;
        framework.must("SUPPRESS", Value::Null).await?;
        framework.status(&id, "TASK_RUNNING").await?;
        framework.acknowledges = false;
        framework.status(&id, "TASK_FINISHED").await?;
        // It is over for the allocator although nobody acknowledged it.
        let mut other = Framework::start(&arena).await?;
        let (next, _) = other.offer_of(&offer["agent_id"]).await?;
        ensure!(amount(&next, "cpus") >= all - 1e-6, "{next}");
        other.teardown().await?;
        framework.teardown().await
    };
    let again = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        framework.acknowledges = false;
        let (_, id) = framework.launch_one("sleep 600").await?;
        let first = framework.first_status(&id).await?;
        framework.updates.clear();
        let same = |framework: &Framework| framework.updates.iter().find(|one| one["uuid"] == first["uuid"]).cloned();
        let second = framework.until("the same status again", same).await?;
        ensure!(second["state"] == first["state"] && second["timestamp"] == first["timestamp"], "{second}");
        framework.teardown().await
    };
    vec![
        row(
            "8.3",
            "UPDATE",
            "the first status is not acknowledged",
            "the second does not come before it is",
            one_at_a_time,
        )
        .within(60),
        row("8.3", "ACKNOWLEDGE", "another uuid than the one in flight", "ignored", wrong).within(60),
        row(
            "8.1",
            "GET_TASKS",
            "a terminal status that is not acknowledged",
            "the task is still listed, then completed",
            listed,
        )
        .within(60),
        row("8.1", "OFFERS", "a terminal status that is not acknowledged", "its resources are free", freed)
            .alone()
            .within(60),
        row("8.3", "UPDATE", "a status that nobody acknowledges", "told again after 10 s", again).within(90),
    ]
}

fn frameworks() -> Vec<Row> {
    let teardown = |arena: Arena| async move {
        let (framework, _, id) = running(&arena, json!({})).await?;
        framework.teardown().await?;
        let killed = || async {
            let found = shown(&arena, "completed_tasks", &id).await?;
            Ok(found.filter(|task| task["state"] == "TASK_KILLED"))
        };
        arena.eventually("TASK_KILLED", killed).await.map(drop)
    };
    let operator = |arena: Arena| async move {
        let (mut framework, _, id) = running(&arena, json!({"failover_timeout": 60.0})).await?;
        let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": framework.id}}});
        arena.order(&call).await?;
        framework.stream.until_end().await?;
        let killed = || async {
            let found = shown(&arena, "completed_tasks", &id).await?;
            Ok(found.filter(|task| task["state"] == "TASK_KILLED"))
        };
        arena.eventually("TASK_KILLED", killed).await.map(drop)
    };
    let survives = |arena: Arena| async move {
        let (mut framework, _, id) = running(&arena, json!({"failover_timeout": 60.0})).await?;
        framework.come_back().await?;
        let task = shown(&arena, "tasks", &id).await?.context("the task is gone")?;
        ensure!(task["state"] == "TASK_RUNNING", "{task}");
        framework.must("KILL", json!({"task_id": {"value": id}})).await?;
        framework.status(&id, "TASK_KILLED").await?;
        framework.teardown().await
    };
    let missed = |arena: Arena| async move {
        let (mut framework, _, id) = running(&arena, json!({"failover_timeout": 60.0})).await?;
        framework.acknowledges = false;
        framework.must("KILL", json!({"task_id": {"value": id}})).await?;
        framework.status(&id, "TASK_KILLED").await?;
        // What was told and not acknowledged is told to the next stream.
        framework.updates.clear();
        framework.come_back().await?;
        framework.acknowledges = true;
        framework.status(&id, "TASK_KILLED").await?;
        framework.teardown().await
    };
    vec![
        row("3.3", "TEARDOWN", "a task runs", "it is killed, and completed as TASK_KILLED", teardown).within(60),
        row(
            "7.1",
            "TEARDOWN of operators",
            "a connected framework with a task",
            "200, its stream ends, its tasks are killed",
            operator,
        )
        .within(60),
        row("3.1", "SUBSCRIBE", "a failover while a task runs", "the task goes on", survives).within(60),
        row("8.3", "SUBSCRIBE", "a failover while a status is not acknowledged", "it is told again", missed).within(60),
    ]
}

/// Launches a task that makes a file `ready` when its signals are set, and waits until a health check has found it.
async fn launch_until_ready(framework: &mut Framework, offer: &Value, id: &str, mut task: Value) -> Result<()> {
    task["health_check"] = json!({"type": "COMMAND", "command": {"value": "test -e ready"}, "delay_seconds": 0.0,
        "interval_seconds": 0.1, "grace_period_seconds": 60.0});
    framework.launch(offer, vec![task]).await?;
    let is_ready = |status: &Value| status["task_id"]["value"] == id && status["healthy"] == true;
    framework.until("a healthy task", |framework| framework.updates.iter().any(is_ready).then_some(())).await
}

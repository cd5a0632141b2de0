//! Reference 7.2: containers that calls of an agent's operator API make, within others and by themselves.

use super::agent_state::address;
use crate::contest::arena::{AGENT_CALL, Arena, OPERATOR, items};
use crate::contest::framework::{Framework, Next, Stream, scalar};
use crate::contest::row::{Row, row};
use crate::contest::wire::{Answer, exchange};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};
use std::time::Duration;

/// A command that runs, and the container in which others are made.
struct Home {
    arena: Arena,
    framework: Framework,
    agent: String,
    /// The container of the command's executor.
    container: Value,
    task: String,
}

impl Home {
    async fn start(arena: &Arena) -> Result<Self> {
        let mut framework = Framework::start(arena).await?;
        let (offer, task) = framework.launch_one("exec sleep 600").await?;
        let container = framework.status(&task, "TASK_RUNNING").await?["container_status"]["container_id"].clone();
        Ok(Self { arena: arena.clone(), agent: address(&offer)?, framework, container, task })
    }

    /// A name within the command's container.
    fn within(&self, name: &str) -> Value {
        json!({"value": self.arena.name(name), "parent": self.container})
    }

    async fn call(&self, kind: &str, part: Value) -> Result<Answer> {
        call(&self.arena, &self.agent, kind, part).await
    }

    async fn launch(&self, name: &Value, command: &str) -> Result<()> {
        let part = json!({"container_id": name, "command": {"value": command}});
        self.call("LAUNCH_NESTED_CONTAINER", part).await?.expect(200).map(drop)
    }

    /// What a wait for the end tells.
    async fn wait(&self, name: &Value) -> Result<Value> {
        wait(&self.arena, &self.agent, "WAIT_NESTED_CONTAINER", name).await
    }
}

async fn call(arena: &Arena, agent: &str, kind: &str, part: Value) -> Result<Answer> {
    let mut call = json!({"type": kind});
    call[kind.to_ascii_lowercase()] = part;
    arena.agent_operator(agent, &call).await
}

async fn wait(arena: &Arena, agent: &str, kind: &str, name: &Value) -> Result<Value> {
    let answer = call(arena, agent, kind, json!({"container_id": name})).await?.expect(200)?;
    arena.part_of("mesos.v1.agent.Response", kind, &answer)
}

/// Everything that a stream of a container says on one of its outputs, until it ends.
async fn output(stream: &mut Stream, which: &str) -> Result<String> {
    let mut all = Vec::new();
    loop {
        match stream.next(Duration::from_secs(20)).await? {
            Next::Event(event) if event["type"] == "DATA" && event["data"]["type"] == which => {
                let data = event["data"]["data"].as_str().unwrap_or_default();
                all.extend(base64::engine::general_purpose::STANDARD.decode(data)?);
            }
            Next::Event(_) => {}
            Next::Ended => return Ok(String::from_utf8_lossy(&all).into_owned()),
            Next::Silence => bail!("the stream did not end; so far {:?}", String::from_utf8_lossy(&all)),
        }
    }
}

async fn open(arena: &Arena, agent: &str, kind: &str, part: Value) -> Result<Result<Stream, Answer>> {
    let mut call = json!({"type": kind});
    call[kind.to_ascii_lowercase()] = part;
    Stream::open(arena, (agent, OPERATOR), (AGENT_CALL, "mesos.v1.agent.ProcessIO"), &call).await
}

/// ATTACH_CONTAINER_INPUT with these parts, each a record.
async fn input(arena: &Arena, agent: &str, parts: &[Value]) -> Result<Answer> {
    let mut body = Vec::new();
    for part in parts {
        let call = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": part});
        let record = arena.media.write(AGENT_CALL, &call)?;
        body.extend(format!("{}\n", record.len()).into_bytes());
        body.extend(record);
    }
    let headers = [("Content-Type", "application/recordio"), ("Message-Content-Type", arena.media.name())];
    exchange(agent, "POST", OPERATOR, &headers, &body).await
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = life();
    rows.extend(refused());
    rows.extend(alone());
    rows.extend(sessions());
    rows.into_iter().map(|row| row.within(60)).collect()
}

fn life() -> Vec<Row> {
    let round = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        let name = home.within("ends");
        home.launch(&name, "exit 3").await?;
        let told = home.wait(&name).await?;
        ensure!(told["exit_status"] == 3 << 8, "{told}");
        // The end is told again, until the container is removed.
        ensure!(home.wait(&name).await? == told, "another end");
        home.call("REMOVE_NESTED_CONTAINER", json!({"container_id": name})).await?.expect(200)?;
        home.call("WAIT_NESTED_CONTAINER", json!({"container_id": name})).await?.expect(404)?;
        home.framework.teardown().await
    };
    let twice = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        let name = home.within("twice");
        home.launch(&name, "exec sleep 600").await?;
        let part = json!({"container_id": name, "command": {"value": "exec sleep 600"}});
        home.call("LAUNCH_NESTED_CONTAINER", part.clone()).await?.expect(202)?;
        home.call("LAUNCH_CONTAINER", part).await?.expect(202)?;
        home.call("REMOVE_NESTED_CONTAINER", json!({"container_id": name})).await?.expect(500)?;
        home.framework.teardown().await
    };
    let killed = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        for (signal, raw) in [(Value::Null, 9), (json!(15), 15), (json!(10), 10)] {
            let name = home.within("killed");
            home.launch(&name, "exec sleep 600").await?;
            let mut part = json!({"container_id": name});
            if !signal.is_null() {
                part["signal"] = signal;
            }
            home.call("KILL_NESTED_CONTAINER", part).await?.expect(200)?;
            let told = home.wait(&name).await?;
            ensure!(told["exit_status"] == raw, "{told}");
        }
        home.framework.teardown().await
    };
    let shown = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        let name = home.within("shown");
        home.launch(&name, "exec sleep 600").await?;
        for show in [true, false] {
            let asked = json!({"type": "GET_CONTAINERS", "get_containers": {"show_nested": show}});
            let all = arena.agent_read(&home.agent, &asked).await?;
            let is_there = items(&all["containers"]).iter().any(|one| one["container_id"] == name);
            ensure!(is_there == show, "{all}");
        }
        home.framework.teardown().await
    };
    let deeper = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        let outer = home.within("outer");
        home.launch(&outer, "exec sleep 600").await?;
        let inner = json!({"value": "inner", "parent": outer});
        home.launch(&inner, "exec sleep 600").await?;
        // The inner one ends with the outer one.
        home.call("KILL_NESTED_CONTAINER", json!({"container_id": outer})).await?.expect(200)?;
        for name in [&outer, &inner] {
            let told = home.wait(name).await?;
            ensure!(told["exit_status"] == 9, "{told}");
        }
        home.framework.teardown().await
    };
    let with_task = |arena: Arena| async move {
        let mut home = Home::start(&arena).await?;
        let name = home.within("with-task");
        home.launch(&name, "exec sleep 600").await?;
        home.framework.must("KILL", json!({"task_id": {"value": home.task}})).await?;
        let task = home.task.clone();
        home.framework.status(&task, "TASK_KILLED").await?;
        let part = json!({"container_id": name});
        let answer = home.call("WAIT_NESTED_CONTAINER", part).await?;
        ensure!(matches!(answer.status, 200 | 404), "{}", answer.shown());
        home.framework.teardown().await
    };
    let environment = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        let name = home.within("environment");
        let command = json!({"value": "test \"$WHO\" = me -a \"$PWD\" = \"$MESOS_SANDBOX\" -a -z \"$MESOS_EXECUTOR_AUTHENTICATION_TOKEN\"",
            "environment": {"variables": [{"name": "WHO", "value": "me"}]}});
        let part = json!({"container_id": name, "command": command});
        home.call("LAUNCH_CONTAINER", part).await?.expect(200)?;
        let told = home.wait(&name).await?;
        ensure!(told["exit_status"] == 0, "{told}");
        home.framework.teardown().await
    };
    vec![
        row("7.2", "LAUNCH_NESTED_CONTAINER to REMOVE", "a command that ends with 3", "200; 768; then 404", round),
        row("7.2", "LAUNCH_NESTED_CONTAINER, REMOVE", "one that runs, again", "202; it is not removed: 500", twice),
        row("7.2", "KILL_NESTED_CONTAINER", "no signal, TERM, USR1", "200, and the signal in exit_status", killed),
        row("7.2", "GET_CONTAINERS", "a nested container, show_nested or not", "it is there, or not", shown),
        row("7.2", "LAUNCH_NESTED_CONTAINER", "within a nested one that is killed", "both end", deeper),
        row("7.2", "LAUNCH_NESTED_CONTAINER", "within a command's that is killed", "it ends too", with_task),
        row(
            "7.2",
            "LAUNCH_CONTAINER",
            "within another, with an environment",
            "it is set, without a token",
            environment,
        ),
    ]
}

fn refused() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in ["WAIT", "KILL", "REMOVE"] {
        for nested in ["_NESTED", ""] {
            let kind = format!("{kind}{nested}_CONTAINER");
            let said = if kind.starts_with("REMOVE") { 200 } else { 404 };
            let given = "a container that nobody knows; no name; a bad name";
            let name = kind.clone();
            let trial = move |arena: Arena| {
                let kind = kind.clone();
                async move {
                    let agent = arena.agent().to_owned();
                    let parent = json!({"value": "no-such-parent"});
                    let unknown = json!({"container_id": {"value": "no-such-container", "parent": parent}});
                    call(&arena, &agent, &kind, unknown).await?.expect(said)?;
                    arena.agent_operator(&agent, &json!({"type": kind})).await?.expect(400)?;
                    for bad in ["", ".", "a.b", "a b", "a/b"] {
                        let part = json!({"container_id": {"value": bad, "parent": parent}});
                        call(&arena, &agent, &kind, part).await?.expect(400)?;
                    }
                    if kind.contains("NESTED") {
                        call(&arena, &agent, &kind, json!({"container_id": {"value": "a"}})).await?.expect(400)?;
                    }
                    Ok(())
                }
            };
            rows.push(row("7.2", name, given, format!("{said}; 400"), trial));
        }
    }
    let other = |arena: Arena| async move {
        for kind in ["GET_HEALTH", "ATTACH_CONTAINER_OUTPUT", "WAIT_CONTAINER"] {
            let record = arena.media.write(AGENT_CALL, &json!({"type": kind}))?;
            let body = [format!("{}\n", record.len()).into_bytes(), record].concat();
            let headers = [("Content-Type", "application/recordio"), ("Message-Content-Type", arena.media.name())];
            exchange(arena.agent(), "POST", OPERATOR, &headers, &body).await?.expect(415)?;
        }
        Ok(())
    };
    rows.push(row("1.2", "any call but ATTACH_CONTAINER_INPUT", "a body of records", "415", other));
    let launches = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        let command = json!({"value": "true"});
        let orphan = json!({"value": "a", "parent": {"value": "no-such-parent"}});
        let second = json!({"value": "c", "parent": home.within("b")});
        let own_groups = json!({"type": "MESOS", "linux_info": {"share_cgroups": false}});
        let shared = json!({"type": "MESOS", "linux_info": {"share_cgroups": true}});
        let cpus = json!([scalar("cpus", 0.1)]);
        let wrong_variable = json!({"value": "true", "environment": {"variables": [{"name": "A", "type": "SECRET"}]}});
        let mut mine = scalar("cpus", 0.1);
        mine["reservations"] = json!([{"type": "DYNAMIC", "role": "r"}]);
        let mut revocable = scalar("cpus", 0.1);
        revocable["revocable"] = json!({});
        for (kind, part) in [
            ("LAUNCH_NESTED_CONTAINER", json!({"container_id": orphan, "command": command})),
            ("LAUNCH_NESTED_CONTAINER", json!({"container_id": {"value": "a"}, "command": command})),
            ("LAUNCH_NESTED_CONTAINER", json!({"container_id": home.within("e"), "command": wrong_variable})),
            ("LAUNCH_NESTED_CONTAINER", json!({"container_id": second, "command": command, "container": own_groups})),
            ("LAUNCH_NESTED_CONTAINER_SESSION", json!({"container_id": {"value": "a"}, "command": command})),
            (
                "LAUNCH_NESTED_CONTAINER_SESSION",
                json!({"container_id": home.within("s"), "command": command, "container": own_groups}),
            ),
            ("LAUNCH_CONTAINER", json!({"container_id": second, "command": command, "resources": cpus})),
            ("LAUNCH_CONTAINER", json!({"container_id": home.within("r"), "command": command, "resources": cpus})),
            ("LAUNCH_CONTAINER", json!({"container_id": {"value": "a"}, "command": command, "container": shared})),
            ("LAUNCH_CONTAINER", json!({"container_id": {"value": "a"}, "command": command, "resources": [mine]})),
            ("LAUNCH_CONTAINER", json!({"container_id": {"value": "a"}, "command": command, "resources": [revocable]})),
            (
                "LAUNCH_CONTAINER",
                json!({"container_id": {"value": "a"}, "command": command, "resources": [scalar("gpus", 0.5)]}),
            ),
        ] {
            let answer = home.call(kind, part.clone()).await?;
            ensure!(answer.status == 400, "{kind} {part}: {}", answer.shown());
        }
        home.framework.teardown().await
    };
    let given = "no parent, or one that is not there; resources or groups where none may be";
    rows.push(row("7.2", "LAUNCH_NESTED_CONTAINER, LAUNCH_CONTAINER", given, "400", launches));
    rows
}

fn alone() -> Vec<Row> {
    let round = |arena: Arena| async move {
        let agent = arena.agent().to_owned();
        let name = json!({"value": arena.name("alone")});
        let part = json!({"container_id": name, "command": {"value": "exec sleep 600"},
            "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)]});
        call(&arena, &agent, "LAUNCH_CONTAINER", part.clone()).await?.expect(200)?;
        call(&arena, &agent, "LAUNCH_CONTAINER", part).await?.expect(202)?;
        for show in [true, false] {
            let asked = json!({"type": "GET_CONTAINERS", "get_containers": {"show_standalone": show}});
            let all = arena.agent_read(&agent, &asked).await?;
            let is_there = items(&all["containers"]).iter().any(|one| one["container_id"] == name);
            ensure!(is_there == show, "{all}");
        }
        call(&arena, &agent, "KILL_CONTAINER", json!({"container_id": name, "signal": 15})).await?.expect(200)?;
        let told = wait(&arena, &agent, "WAIT_CONTAINER", &name).await?;
        ensure!(told["exit_status"] == 15, "{told}");
        call(&arena, &agent, "REMOVE_CONTAINER", json!({"container_id": name})).await?.expect(200)?;
        call(&arena, &agent, "WAIT_CONTAINER", json!({"container_id": name})).await?.expect(404).map(drop)
    };
    vec![row("7.2", "LAUNCH_CONTAINER to REMOVE_CONTAINER", "a container by itself", "as a nested one", round)]
}

fn sessions() -> Vec<Row> {
    let said = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        for which in ["STDOUT", "STDERR"] {
            let name = home.within("session");
            let to = if which == "STDOUT" { "" } else { " >&2" };
            let command = json!({"value": format!("echo hello{to}; exit 7")});
            let part = json!({"container_id": name, "command": command});
            let opened = open(&arena, &home.agent, "LAUNCH_NESTED_CONTAINER_SESSION", part).await?;
            let mut stream = opened.map_err(|answer| anyhow::anyhow!("it was answered {}", answer.shown()))?;
            let told = output(&mut stream, which).await?;
            ensure!(told == "hello\n", "{told:?}");
            let told = home.wait(&name).await?;
            ensure!(told["exit_status"] == 7 << 8, "{told}");
        }
        home.framework.teardown().await
    };
    let left = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        let name = home.within("left");
        let part = json!({"container_id": name, "command": {"value": "echo ready; exec sleep 600"}});
        let opened = open(&arena, &home.agent, "LAUNCH_NESTED_CONTAINER_SESSION", part).await?;
        let mut stream = opened.map_err(|answer| anyhow::anyhow!("it was answered {}", answer.shown()))?;
        stream.event().await.context("what it says")?;
        drop(stream);
        // Its connection was its life.
        let told = home.wait(&name).await?;
        ensure!(told["exit_status"] == 9, "{told}");
        home.framework.teardown().await
    };
    let unattached = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        let asked = json!({"container_id": home.within("none")});
        let refused = open(&arena, &home.agent, "ATTACH_CONTAINER_OUTPUT", asked).await?;
        ensure!(refused.as_ref().is_err_and(|answer| answer.status == 404), "one that nobody knows");
        let name = home.within("deaf");
        home.launch(&name, "exec sleep 600").await?;
        let refused = open(&arena, &home.agent, "ATTACH_CONTAINER_OUTPUT", json!({"container_id": name})).await?;
        ensure!(refused.as_ref().is_err_and(|answer| answer.status == 500), "one without terminal or session");
        home.framework.teardown().await
    };
    let terminal = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        let name = home.within("terminal");
        let part = json!({"container_id": name, "command": {"value": "sleep 0.7; test -t 1 && echo yes"},
            "container": {"type": "MESOS", "tty_info": {"window_size": {"rows": 7, "columns": 70}}}});
        home.call("LAUNCH_NESTED_CONTAINER", part).await?.expect(200)?;
        let opened = open(&arena, &home.agent, "ATTACH_CONTAINER_OUTPUT", json!({"container_id": name})).await?;
        let mut stream = opened.map_err(|answer| anyhow::anyhow!("it was answered {}", answer.shown()))?;
        let told = output(&mut stream, "STDOUT").await?;
        ensure!(told == "yes\r\n", "{told:?}");
        home.framework.teardown().await
    };
    let spoken = |arena: Arena| async move {
        let home = Home::start(&arena).await?;
        let name = home.within("spoken");
        let part = json!({"container_id": name, "command": {"value": "cat"}});
        let opened = open(&arena, &home.agent, "LAUNCH_NESTED_CONTAINER_SESSION", part).await?;
        let mut stream = opened.map_err(|answer| anyhow::anyhow!("it was answered {}", answer.shown()))?;
        let data = |text: &str| {
            let data = base64::engine::general_purpose::STANDARD.encode(text);
            json!({"type": "PROCESS_IO", "process_io": {"type": "DATA", "data": {"type": "STDIN", "data": data}}})
        };
        let who = json!({"type": "CONTAINER_ID", "container_id": name});
        // Who speaks says to whom first.
        let answer = input(&arena, &home.agent, &[data("hello")]).await?;
        ensure!(answer.status == 400, "{}", answer.shown());
        let unknown = json!({"type": "CONTAINER_ID", "container_id": home.within("none")});
        let answer = input(&arena, &home.agent, &[unknown, data("hello")]).await?;
        ensure!(answer.status == 404, "{}", answer.shown());
        // Nothing more is the end of its input.
        let answer = input(&arena, &home.agent, &[who, data("hel"), data("lo"), data("")]).await?;
        ensure!(answer.status == 200, "{}", answer.shown());
        let told = output(&mut stream, "STDOUT").await?;
        ensure!(told == "hello", "{told:?}");
        let told = home.wait(&name).await?;
        ensure!(told["exit_status"] == 0, "{told}");
        home.framework.teardown().await
    };
    vec![
        row(
            "7.2",
            "ATTACH_CONTAINER_INPUT",
            "a session with cat: two pieces, then nothing",
            "cat says them and ends",
            spoken,
        ),
        row(
            "7.2",
            "LAUNCH_NESTED_CONTAINER_SESSION",
            "a command that says something",
            "its output; then its end",
            said,
        ),
        row("7.2", "LAUNCH_NESTED_CONTAINER_SESSION", "who listens leaves", "it is killed", left),
        row("7.2", "ATTACH_CONTAINER_OUTPUT", "one that nobody knows; one that runs", "404; 500", unattached),
        row("7.2", "ATTACH_CONTAINER_OUTPUT", "a container with a terminal", "what it says there", terminal),
    ]
}

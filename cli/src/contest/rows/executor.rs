//! Reference 6: the executor API of agents. The program of each executor here only sleeps; the row speaks for it, as any client
//! that knows its ids may on an agent that asks for no tokens.

use crate::contest::arena::{Arena, EXECUTOR, EXECUTOR_CALL, items};
use crate::contest::framework::{Framework, Next, Stream, WATCHED, scalar};
use crate::contest::row::{Row, row};
use crate::contest::wire::{Answer, exchange};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// The messages of the executor API.
const MESSAGES: (&str, &str) = (EXECUTOR_CALL, "mesos.v1.executor.Event");

/// Sixteen bytes in base64.
pub(super) const UUID: &str = "AAECAwQFBgcICQoLDA0ODw==";

/// An executor that was launched with one task.
pub(super) struct Stage {
    pub(super) framework: Framework,
    pub(super) offer: Value,
    pub(super) agent: String,
    pub(super) executor: Value,
    task: String,
}

impl Stage {
    /// Launches it; `command` is its program.
    async fn set(arena: &Arena, command: &str) -> Result<Self> {
        Self::set_with(arena, arena.info(), command).await
    }

    /// The same for a framework that says this of itself.
    pub(super) async fn set_with(arena: &Arena, info: Value, command: &str) -> Result<Self> {
        let mut stage = Self::new(arena, info, command).await?;
        let (task, info) = stage.task();
        stage.framework.launch(&stage.offer, vec![info]).await?;
        stage.task = task;
        Ok(stage)
    }

    /// An offer, and an executor for it that was not launched.
    pub(super) async fn new(arena: &Arena, info: Value, command: &str) -> Result<Self> {
        let mut framework = Framework::subscribe(arena, info).await?;
        let offer = framework.offer().await?;
        let address = &offer["url"]["address"];
        let agent = format!("{}:{}", address["ip"].as_str().context("an ip")?, address["port"]);
        let id = arena.name("executor");
        let executor = json!({"executor_id": {"value": id}, "type": "CUSTOM", "name": "contest",
            "command": {"value": command}, "data": "AP8=", "shutdown_grace_period": {"nanoseconds": 100_000_000},
            "resources": [scalar("cpus", 0.05), scalar("mem", 32.0)]});
        Ok(Self { framework, offer, agent, executor, task: String::new() })
    }

    /// Launches a group of so many tasks; their ids.
    pub(super) async fn launch_group(&mut self, count: usize) -> Result<Vec<String>> {
        let mut executor = self.executor.clone();
        executor["framework_id"] = json!({"value": self.framework.id});
        executor["resources"] = json!([scalar("cpus", 0.05), scalar("mem", 32.0), scalar("disk", 8.0)]);
        self.executor = executor;
        let (mut ids, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (id, mut task) = self.task();
            task.as_object_mut().expect("a task is an object").remove("executor");
            ids.push(id);
            tasks.push(task);
        }
        let group = json!({"executor": self.executor, "task_group": {"tasks": tasks}});
        let operation = json!({"type": "LAUNCH_GROUP", "launch_group": group});
        self.framework.accept(&[&self.offer], vec![operation]).await?;
        Ok(ids)
    }

    /// A task for the executor, and its id.
    pub(super) fn task(&self) -> (String, Value) {
        let (id, mut task) = self.framework.task(&self.offer, "");
        task.as_object_mut().expect("a task is an object").remove("command");
        task["executor"] = self.executor.clone();
        task["resources"] = json!([scalar("cpus", 0.05), scalar("mem", 16.0)]);
        task["data"] = json!("dGFzaw==");
        (id, task)
    }

    /// A call with our ids; the part of it named after its type is `body`.
    fn call_of(&self, kind: &str, body: Value) -> Value {
        let mut call = json!({"type": kind, "framework_id": {"value": self.framework.id},
            "executor_id": self.executor["executor_id"]});
        if !body.is_null() {
            call[kind.to_ascii_lowercase()] = body;
        }
        call
    }

    async fn call(&self, kind: &str, body: Value) -> Result<Answer> {
        let call = self.call_of(kind, body);
        self.framework.arena.post_to((&self.agent, EXECUTOR), EXECUTOR_CALL, &call).await
    }

    /// Subscribes with what is not acknowledged, once the agent knows the executor; what came first is SUBSCRIBED.
    pub(super) async fn subscribe_with(&self, body: Value) -> Result<(Stream, Value)> {
        let (arena, call) = (&self.framework.arena, self.call_of("SUBSCRIBE", body));
        let open = || async { Ok(Stream::open(arena, (&self.agent, EXECUTOR), MESSAGES, &call).await?.ok()) };
        let mut stream = arena.eventually("a subscription", open).await?;
        let first = stream.event().await?;
        ensure!(first["type"] == "SUBSCRIBED", "the first event is {first}");
        Ok((stream, first["subscribed"].clone()))
    }

    /// The same with the task that it is sent then.
    async fn subscribe(&self) -> Result<(Stream, Value)> {
        let (mut stream, _) = self.subscribe_with(json!({})).await?;
        let launch = stream.event().await?;
        ensure!(launch["type"] == "LAUNCH", "the second event is {launch}");
        Ok((stream, launch["launch"]["task"].clone()))
    }

    pub(super) fn status(&self, task: &str, state: &str, uuid: &str) -> Value {
        json!({"task_id": {"value": task}, "state": state, "source": "SOURCE_EXECUTOR", "uuid": uuid,
            "timestamp": 1.5e9, "data": "ZGF0YQ=="})
    }

    pub(super) async fn update(&self, status: Value) -> Result<Answer> {
        self.call("UPDATE", json!({"status": status})).await
    }
}

/// The next event of a kind; others before it are passed over.
pub(super) async fn event(stream: &mut Stream, kind: &str) -> Result<Value> {
    for _ in 0..16 {
        let event = stream.event().await?;
        if event["type"] == kind {
            return Ok(event[kind.to_ascii_lowercase()].clone());
        }
    }
    bail!("no {kind} among many events")
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = refused();
    rows.extend(subscriptions());
    rows.extend(updates());
    rows.extend(orders());
    rows.extend(ends());
    rows.into_iter().map(|row| row.within(60)).collect()
}

fn refused() -> Vec<Row> {
    let unknown = |arena: Arena| async move {
        let call = json!({"type": "SUBSCRIBE", "subscribe": {}, "framework_id": {"value": arena.name("unknown")},
            "executor_id": {"value": "e"}});
        arena.post_to((arena.agent(), EXECUTOR), EXECUTOR_CALL, &call).await?.expect(400).map(drop)
    };
    let stranger = |arena: Arena| async move {
        let stage = Stage::set(&arena, "exec sleep 600").await?;
        let (_stream, _) = stage.subscribe().await?;
        let mut call = stage.call_of("SUBSCRIBE", json!({}));
        call["executor_id"]["value"] = json!(arena.name("unknown"));
        arena.post_to((&stage.agent, EXECUTOR), EXECUTOR_CALL, &call).await?.expect(400)?;
        stage.framework.teardown().await
    };
    let early = |arena: Arena| async move {
        let stage = Stage::set(&arena, "exec sleep 600").await?;
        let known = || async {
            let answer = stage.update(stage.status(&stage.task, "TASK_RUNNING", UUID)).await?;
            // As long as the agent does not know the executor that is its answer.
            if answer.status == 400 {
                return Ok(None);
            }
            answer.expect(403).map(Some)
        };
        arena.eventually("403", known).await?;
        stage.framework.teardown().await
    };
    let heartbeat = |arena: Arena| async move {
        let call = json!({"type": "HEARTBEAT", "framework_id": {"value": "f"}, "executor_id": {"value": "e"}});
        arena.post_to((arena.agent(), EXECUTOR), EXECUTOR_CALL, &call).await?.expect(202).map(drop)
    };
    let partless = |arena: Arena| async move {
        for kind in ["SUBSCRIBE", "UPDATE", "MESSAGE"] {
            let call = json!({"type": kind, "framework_id": {"value": "f"}, "executor_id": {"value": "e"}});
            arena.post_to((arena.agent(), EXECUTOR), EXECUTOR_CALL, &call).await?.expect(400)?;
        }
        Ok(())
    };
    let method = |arena: Arena| async move {
        let answer = exchange(arena.agent(), "GET", EXECUTOR, &[], b"").await?.expect(405)?;
        ensure!(answer.header("allow") == Some("POST"), "Allow: {:?}", answer.header("allow"));
        Ok(())
    };
    let media = |arena: Arena| async move {
        for (kind, status) in [(None, 400), (Some("text/plain"), 415), (Some("application/json; charset=utf-8"), 415)] {
            let headers: Vec<(&str, &str)> = kind.iter().map(|kind| ("Content-Type", *kind)).collect();
            exchange(arena.agent(), "POST", EXECUTOR, &headers, b"{}").await?.expect(status)?;
        }
        let body = br#"{"type":"SUBSCRIBE","subscribe":{},"framework_id":{"value":"f"},"executor_id":{"value":"e"}}"#;
        let headers = [("Content-Type", "application/json"), ("Accept", "text/html")];
        exchange(arena.agent(), "POST", EXECUTOR, &headers, body).await?.expect(406).map(drop)
    };
    vec![
        row("1.6", "SUBSCRIBE of an executor", "a framework that nobody knows", "400", unknown),
        row("1.6", "SUBSCRIBE of an executor", "an executor that nobody knows", "400", stranger),
        row("1.6", "UPDATE of an executor", "before SUBSCRIBE", "403", early),
        row("1.6", "HEARTBEAT of an executor", "ids that nobody knows", "202, before any look-up", heartbeat),
        row("1.2", "calls of an executor", "no part of their own", "400", partless),
        row("1.2", "GET /api/v1/executor", "an agent", "405, Allow: POST", method).once(),
        row("1.2", "POST /api/v1/executor", "wrong media types", "400, 415, 406", media).once(),
    ]
}

fn subscriptions() -> Vec<Row> {
    let greeted = |arena: Arena| async move {
        let stage = Stage::set(&arena, "exec sleep 600").await?;
        let (mut stream, told) = stage.subscribe_with(json!({})).await?;
        ensure!(stream.id().is_none(), "the stream of an executor has no id");
        ensure!(told["executor_info"]["executor_id"] == stage.executor["executor_id"], "{told}");
        ensure!(told["executor_info"]["data"] == stage.executor["data"], "{told}");
        ensure!(told["framework_info"]["id"]["value"] == stage.framework.id.as_str(), "{told}");
        ensure!(told["agent_info"]["id"] == stage.offer["agent_id"], "{told}");
        ensure!(told["container_id"]["value"].is_string(), "{told}");
        let launch = event(&mut stream, "LAUNCH").await?;
        ensure!(launch["task"]["task_id"]["value"] == stage.task.as_str(), "{launch}");
        ensure!(launch["task"]["data"] == "dGFzaw==", "{launch}");
        stage.framework.teardown().await
    };
    let replaced = |arena: Arena| async move {
        let stage = Stage::set(&arena, "exec sleep 600").await?;
        let (mut first, _) = stage.subscribe().await?;
        let unacknowledged = json!({"unacknowledged_tasks": [{"name": "t", "task_id": {"value": stage.task},
            "agent_id": stage.offer["agent_id"]}]});
        let (mut second, _) = stage.subscribe_with(unacknowledged).await?;
        first.until_end().await?;
        match second.next(WATCHED).await? {
            Next::Silence => {}
            other => bail!("the second stream was told {other:?}"),
        }
        stage.framework.teardown().await
    };
    let replayed = |arena: Arena| async move {
        let mut stage = Stage::set(&arena, "exec sleep 600").await?;
        let (first, _) = stage.subscribe().await?;
        drop(first);
        let status = stage.status(&stage.task, "TASK_RUNNING", UUID);
        let (mut second, _) = stage.subscribe_with(json!({"unacknowledged_updates": [{"status": status}]})).await?;
        let acknowledged = event(&mut second, "ACKNOWLEDGED").await?;
        ensure!(acknowledged == json!({"task_id": {"value": stage.task}, "uuid": UUID}), "{acknowledged}");
        let task = stage.task.clone();
        stage.framework.status(&task, "TASK_RUNNING").await?;
        stage.framework.teardown().await
    };
    let dropped = |arena: Arena| async move {
        let mut stage = Stage::set(&arena, "exec sleep 600").await?;
        let (first, _) = stage.subscribe().await?;
        drop(first);
        let (_second, _) = stage.subscribe_with(json!({})).await?;
        let task = stage.task.clone();
        let status = stage.framework.first_status(&task).await?;
        ensure!(status["state"] == "TASK_DROPPED" && status["reason"] == "REASON_AGENT_RESTARTED", "{status}");
        stage.framework.teardown().await
    };
    vec![
        row("6.2", "SUBSCRIBE of an executor", "its first", "SUBSCRIBED in full, no stream id; then LAUNCH", greeted),
        row("6.2", "SUBSCRIBE of an executor", "its second", "the first stream ends; nothing comes twice", replaced),
        row("6.2", "SUBSCRIBE of an executor", "an unacknowledged update", "ACKNOWLEDGED, and told on", replayed),
        row("6.2", "SUBSCRIBE of an executor", "a staging task not listed", "TASK_DROPPED, AGENT_RESTARTED", dropped),
    ]
}

fn updates() -> Vec<Row> {
    let taken = |arena: Arena| async move {
        let mut stage = Stage::set(&arena, "exec sleep 600").await?;
        let (mut stream, _) = stage.subscribe().await?;
        let answer = stage.update(stage.status(&stage.task, "TASK_RUNNING", UUID)).await?.expect(202)?;
        ensure!(answer.body.is_empty(), "{}", answer.shown());
        let acknowledged = event(&mut stream, "ACKNOWLEDGED").await?;
        ensure!(acknowledged["uuid"] == UUID, "{acknowledged}");
        let task = stage.task.clone();
        let status = stage.framework.status(&task, "TASK_RUNNING").await?;
        ensure!(status["source"] == "SOURCE_EXECUTOR" && status["data"] == "ZGF0YQ==", "{status}");
        ensure!(status["executor_id"] == stage.executor["executor_id"], "{status}");
        ensure!(status["agent_id"] == stage.offer["agent_id"], "{status}");
        ensure!(status["uuid"] == UUID && status["timestamp"] == json!(1.5e9), "{status}");
        let networks = items(&status["container_status"]["network_infos"]);
        ensure!(networks.iter().any(|network| network["ip_addresses"][0]["ip_address"].is_string()), "{status}");
        stage.framework.teardown().await
    };
    let twice = |arena: Arena| async move {
        let mut stage = Stage::set(&arena, "exec sleep 600").await?;
        let (mut stream, _) = stage.subscribe().await?;
        for _ in 0..2 {
            stage.update(stage.status(&stage.task, "TASK_RUNNING", UUID)).await?.expect(202)?;
            event(&mut stream, "ACKNOWLEDGED").await?;
        }
        let task = stage.task.clone();
        stage.framework.status(&task, "TASK_RUNNING").await?;
        stage.framework.listen(WATCHED).await?;
        ensure!(stage.framework.updates.len() == 1, "{:?}", stage.framework.updates);
        stage.framework.teardown().await
    };
    let wrong = |arena: Arena| async move {
        let stage = Stage::set(&arena, "exec sleep 600").await?;
        let (_stream, _) = stage.subscribe().await?;
        let good = stage.status(&stage.task, "TASK_RUNNING", UUID);
        for change in [
            json!({"uuid": null}),
            json!({"uuid": "AAEC"}),
            json!({"state": "TASK_STAGING"}),
            json!({"source": "SOURCE_MASTER"}),
            json!({"source": null}),
            json!({"executor_id": {"value": "another"}}),
        ] {
            let mut status = good.clone();
            crate::contest::arena::merge(&mut status, &change);
            let answer = stage.update(status).await?;
            ensure!(answer.status == 400, "{change}: {}", answer.shown());
        }
        stage.framework.teardown().await
    };
    let order = |arena: Arena| async move {
        let mut stage = Stage::set(&arena, "exec sleep 600").await?;
        let (_stream, _) = stage.subscribe().await?;
        stage.framework.acknowledges = false;
        let states = [("TASK_STARTING", "AAAAAAAAAAAAAAAAAAAAAQ=="), ("TASK_RUNNING", UUID)];
        for (state, uuid) in states {
            stage.update(stage.status(&stage.task, state, uuid)).await?.expect(202)?;
        }
        let task = stage.task.clone();
        let first = stage.framework.status(&task, "TASK_STARTING").await?;
        stage.framework.listen(WATCHED).await?;
        ensure!(stage.framework.updates.len() == 1, "two are in flight: {:?}", stage.framework.updates);
        stage.framework.acknowledge(&first).await?;
        stage.framework.status(&task, "TASK_RUNNING").await?;
        stage.framework.teardown().await
    };
    vec![
        row("6.2", "UPDATE of an executor", "a status", "202, ACKNOWLEDGED, and UPDATE with all filled in", taken),
        row("8.3", "UPDATE of an executor", "the same status twice", "ACKNOWLEDGED twice, told once", twice),
        row("6.2", "UPDATE of an executor", "no uuid, a short one, STAGING, a wrong source or executor", "400", wrong),
        row("8.3", "UPDATE of an executor", "two without an acknowledgement", "one in flight, then the other", order),
    ]
}

fn orders() -> Vec<Row> {
    let messages = |arena: Arena| async move {
        let mut stage = Stage::set(&arena, "exec sleep 600").await?;
        let (mut stream, _) = stage.subscribe().await?;
        stage.call("MESSAGE", json!({"data": "AP8="})).await?.expect(202)?;
        let is_message = |framework: &Framework| {
            framework.others.iter().find(|event| event["type"] == "MESSAGE").map(|event| event["message"].clone())
        };
        let told = stage.framework.until("the message", is_message).await?;
        ensure!(told["data"] == "AP8=" && told["agent_id"] == stage.offer["agent_id"], "{told}");
        ensure!(told["executor_id"] == stage.executor["executor_id"], "{told}");
        let body = json!({"agent_id": stage.offer["agent_id"], "executor_id": stage.executor["executor_id"],
            "data": "aGVsbG8="});
        stage.framework.must("MESSAGE", body).await?;
        ensure!(event(&mut stream, "MESSAGE").await? == json!({"data": "aGVsbG8="}), "another message");
        stage.framework.teardown().await
    };
    let kill = |arena: Arena| async move {
        let mut stage = Stage::set(&arena, "exec sleep 600").await?;
        let (mut stream, _) = stage.subscribe().await?;
        let body = json!({"task_id": {"value": stage.task}, "agent_id": stage.offer["agent_id"],
            "kill_policy": {"grace_period": {"nanoseconds": 7_000_000_000_i64}}});
        stage.framework.must("KILL", body).await?;
        let told = event(&mut stream, "KILL").await?;
        ensure!(told["task_id"]["value"] == stage.task.as_str(), "{told}");
        ensure!(told["kill_policy"]["grace_period"]["nanoseconds"] == 7_000_000_000_i64, "{told}");
        stage.update(stage.status(&stage.task, "TASK_KILLED", UUID)).await?.expect(202)?;
        let task = stage.task.clone();
        stage.framework.status(&task, "TASK_KILLED").await?;
        stage.framework.teardown().await
    };
    let reused = |arena: Arena| async move {
        let mut stage = Stage::set(&arena, "exec sleep 600").await?;
        let (mut stream, _) = stage.subscribe().await?;
        let agent = stage.offer["agent_id"].clone();
        // One that was on its way before the launch does not name it.
        let named = loop {
            let (offer, _) = stage.framework.revived_offer_of(&agent).await?;
            if items(&offer["executor_ids"]).contains(&stage.executor["executor_id"]) {
                break offer;
            }
            stage.framework.decline(&offer, 0.0).await?;
        };
        stage.offer = named;
        let (second, info) = stage.task();
        stage.framework.launch(&stage.offer, vec![info]).await?;
        let launch = event(&mut stream, "LAUNCH").await?;
        ensure!(launch["task"]["task_id"]["value"] == second.as_str(), "{launch}");
        stage.framework.teardown().await
    };
    let changed = |arena: Arena| async move {
        let mut stage = Stage::set(&arena, "exec sleep 600").await?;
        let (_stream, _) = stage.subscribe().await?;
        let agent = stage.offer["agent_id"].clone();
        let (offer, _) = stage.framework.revived_offer_of(&agent).await?;
        stage.offer = offer;
        let (second, mut info) = stage.task();
        info["executor"]["name"] = json!("another name");
        stage.framework.launch(&stage.offer, vec![info]).await?;
        let status = stage.framework.first_status(&second).await?;
        ensure!(status["state"] == "TASK_ERROR" && status["reason"] == "REASON_TASK_INVALID", "{status}");
        stage.framework.teardown().await
    };
    let shared = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, mut task) = framework.task(&offer, "");
        task.as_object_mut().context("a task")?.remove("command");
        task["executor"] = json!({"executor_id": {"value": arena.name("executor")}, "command": {"value": "true"},
            "container": {"type": "MESOS", "linux_info": {"share_cgroups": true}},
            "resources": [scalar("cpus", 0.05), scalar("mem", 32.0)]});
        framework.launch(&offer, vec![task]).await?;
        let status = framework.first_status(&id).await?;
        ensure!(status["state"] == "TASK_ERROR" && status["reason"] == "REASON_TASK_INVALID", "{status}");
        framework.teardown().await
    };
    vec![
        row("6.2", "MESSAGE", "an executor and its scheduler", "each gets the other's bytes", messages),
        row("6.3", "KILL", "a task of a custom executor", "KILL with the policy; its own status ends it", kill),
        row("4", "LAUNCH", "a second task for a running executor", "LAUNCH on the same stream", reused),
        row("5.1", "LAUNCH", "a running executor under another name", "TASK_ERROR, TASK_INVALID", changed),
        row("5.1", "LAUNCH", "share_cgroups=true on an executor", "TASK_ERROR, TASK_INVALID", shared),
    ]
}

fn ends() -> Vec<Row> {
    let failure = |framework: &Framework| {
        framework.others.iter().find(|event| event["type"] == "FAILURE").map(|event| event["failure"].clone())
    };
    let shutdown = move |arena: Arena| async move {
        let mut stage = Stage::set(&arena, "exec sleep 600").await?;
        let (mut stream, _) = stage.subscribe().await?;
        let ids = json!({"agent_id": stage.offer["agent_id"], "executor_id": stage.executor["executor_id"]});
        stage.framework.must("SHUTDOWN", ids).await?;
        let last = stream.event().await?;
        ensure!(last["type"] == "SHUTDOWN", "{last}");
        let told = stage.framework.until("FAILURE", failure).await?;
        ensure!(told["executor_id"] == stage.executor["executor_id"] && told["status"].is_number(), "{told}");
        let task = stage.task.clone();
        let status = stage.framework.first_status(&task).await?;
        ensure!(status["state"] == "TASK_FAILED" && status["reason"] == "REASON_EXECUTOR_TERMINATED", "{status}");
        stage.framework.teardown().await
    };
    let exit = move |arena: Arena| async move {
        let mut stage = Stage::set(&arena, "exit 3").await?;
        let told = stage.framework.until("FAILURE", failure).await?;
        ensure!(told["status"] == 3 << 8, "{told}");
        let task = stage.task.clone();
        let status = stage.framework.first_status(&task).await?;
        ensure!(status["state"] == "TASK_FAILED" && status["reason"] == "REASON_EXECUTOR_TERMINATED", "{status}");
        stage.framework.teardown().await
    };
    let torn = |arena: Arena| async move {
        let stage = Stage::set(&arena, "exec sleep 600").await?;
        let (mut stream, _) = stage.subscribe().await?;
        stage.framework.teardown().await?;
        let last = stream.event().await?;
        ensure!(last["type"] == "SHUTDOWN", "{last}");
        stream.until_end().await.map(drop)
    };
    vec![
        row("6.4", "SHUTDOWN", "an executor that does not end", "SHUTDOWN, FAILURE, TASK_FAILED", shutdown),
        row("6.4", "LAUNCH", "an executor that ends with 3", "FAILURE with the raw status, TASK_FAILED", exit),
        row("6.4", "TEARDOWN", "a framework with an executor", "SHUTDOWN, and its stream ends", torn),
    ]
}

//! Reference 6.5: groups that run on the built-in default executor.

use crate::contest::arena::Arena;
use crate::contest::framework::{Framework, scalar};
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// A group that was launched.
pub(super) struct Pod {
    pub(super) framework: Framework,
    pub(super) tasks: Vec<String>,
    pub(super) executor: Value,
    pub(super) offer: Value,
}

impl Pod {
    pub(super) async fn launch(arena: &Arena, commands: &[&str]) -> Result<Self> {
        Self::launch_with(arena, commands, |_, _| {}).await
    }

    /// The same with changes to the tasks.
    pub(super) async fn launch_with(
        arena: &Arena,
        commands: &[&str],
        change: impl Fn(usize, &mut Value),
    ) -> Result<Self> {
        let kinds = ["MULTI_ROLE", "PARTITION_AWARE", "TASK_KILLING_STATE"].map(|kind| json!({"type": kind}));
        let mut framework = Framework::subscribe(arena, arena.info_with(json!({"capabilities": kinds}))).await?;
        let offer = framework.offer().await?;
        let executor = json!({"type": "DEFAULT", "executor_id": {"value": arena.name("executor")},
            "framework_id": {"value": framework.id},
            "resources": [scalar("cpus", 0.05), scalar("mem", 32.0), scalar("disk", 8.0)]});
        let mut pod = Self { framework, tasks: Vec::new(), executor, offer };
        pod.add_with(commands, change).await?;
        Ok(pod)
    }

    /// Launches one more group on the same executor, out of the offer that is held.
    async fn add(&mut self, commands: &[&str]) -> Result<()> {
        self.add_with(commands, |_, _| {}).await
    }

    async fn add_with(&mut self, commands: &[&str], change: impl Fn(usize, &mut Value)) -> Result<()> {
        let mut tasks = Vec::new();
        for (at, command) in commands.iter().enumerate() {
            let (id, mut task) = self.framework.task(&self.offer, command);
            task["resources"] = json!([scalar("cpus", 0.05), scalar("mem", 16.0)]);
            change(at, &mut task);
            tasks.push(task);
            self.tasks.push(id);
        }
        let group = json!({"executor": self.executor, "task_group": {"tasks": tasks}});
        self.framework.accept(&[&self.offer], vec![json!({"type": "LAUNCH_GROUP", "launch_group": group})]).await
    }

    pub(super) async fn status(&mut self, at: usize, state: &str) -> Result<Value> {
        let task = self.tasks[at].clone();
        self.framework.status(&task, state).await
    }

    /// The states of a task, in order, repetitions left out.
    fn states(&self, at: usize) -> Vec<&str> {
        let mine = self.framework.updates.iter().filter(|status| status["task_id"]["value"] == self.tasks[at].as_str());
        let mut states: Vec<&str> = mine.filter_map(|status| status["state"].as_str()).collect();
        states.dedup();
        states
    }
}

pub(super) fn rows() -> Vec<Row> {
    let finished = |arena: Arena| async move {
        let mut pod = Pod::launch(&arena, &["true", "true"]).await?;
        for at in [0, 1] {
            let last = pod.status(at, "TASK_FINISHED").await?;
            ensure!(pod.states(at) == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"], "{:?}", pod.states(at));
            ensure!(last["executor_id"] == pod.executor["executor_id"], "{last}");
            ensure!(last["container_status"]["container_id"]["parent"]["value"].is_string(), "{last}");
        }
        pod.framework.teardown().await
    };
    let failed = |arena: Arena| async move {
        let mut pod = Pod::launch(&arena, &["exec sleep 600", "sleep 0.2; exit 3"]).await?;
        pod.status(1, "TASK_FAILED").await?;
        pod.status(0, "TASK_KILLED").await?;
        pod.framework.teardown().await
    };
    let ended = |arena: Arena| async move {
        let mut pod = Pod::launch(&arena, &["exec sleep 600", "true"]).await?;
        pod.status(1, "TASK_FINISHED").await?;
        pod.framework.listen(crate::contest::framework::WATCHED).await?;
        ensure!(pod.states(0) == ["TASK_STARTING", "TASK_RUNNING"], "{:?}", pod.states(0));
        pod.framework.teardown().await
    };
    let killed = |arena: Arena| async move {
        let mut pod = Pod::launch(&arena, &["exec sleep 600", "exec sleep 600"]).await?;
        for at in [0, 1] {
            pod.status(at, "TASK_RUNNING").await?;
        }
        let body = json!({"task_id": {"value": pod.tasks[0]}, "agent_id": pod.offer["agent_id"]});
        pod.framework.must("KILL", body).await?;
        for at in [0, 1] {
            pod.status(at, "TASK_KILLED").await?;
            ensure!(pod.states(at).contains(&"TASK_KILLING"), "{:?}", pod.states(at));
        }
        pod.framework.teardown().await
    };
    let second = |arena: Arena| async move {
        let mut pod = Pod::launch(&arena, &["exec sleep 600"]).await?;
        pod.status(0, "TASK_RUNNING").await?;
        let agent = pod.offer["agent_id"].clone();
        let (offer, _) = pod.framework.revived_offer_of(&agent).await?;
        pod.offer = offer;
        pod.add(&["exit 3"]).await?;
        pod.status(1, "TASK_FAILED").await?;
        pod.framework.listen(crate::contest::framework::WATCHED).await?;
        ensure!(pod.states(0).last() == Some(&"TASK_RUNNING"), "one group's end ended another: {:?}", pod.states(0));
        pod.framework.teardown().await
    };
    let environment = |arena: Arena| async move {
        let mut pod = Pod::launch(
            &arena,
            &["test -n \"$MESOS_CONTAINER_IP\" -a -n \"$MESOS_ALLOCATION_ROLE\" \
            -a \"$PWD\" = \"$MESOS_SANDBOX\" -a -z \"$MESOS_EXECUTOR_AUTHENTICATION_TOKEN\""],
        )
        .await?;
        let task = pod.tasks[0].clone();
        let last = |framework: &Framework| {
            let mut mine = framework.updates.iter().filter(|status| status["task_id"]["value"] == task.as_str());
            mine.find(|status| matches!(status["state"].as_str(), Some("TASK_FINISHED" | "TASK_FAILED"))).cloned()
        };
        let last = pod.framework.until("its end", last).await?;
        ensure!(last["state"] == "TASK_FINISHED", "{last}");
        pod.framework.teardown().await
    };
    let listed = |arena: Arena| async move {
        let mut pod = Pod::launch(&arena, &["exec sleep 600"]).await?;
        pod.status(0, "TASK_RUNNING").await?;
        let all = arena.read("GET_EXECUTORS").await?;
        let mut all = crate::contest::arena::items(&all["executors"]).iter();
        let mine = all.find(|one| one["executor_info"]["executor_id"] == pod.executor["executor_id"]);
        let mine = mine.context("the executor")?;
        ensure!(mine["executor_info"]["type"] == "DEFAULT" && mine["agent_id"] == pod.offer["agent_id"], "{mine}");
        pod.framework.teardown().await
    };
    let over = |arena: Arena| async move {
        let mut pod = Pod::launch(&arena, &["true"]).await?;
        pod.status(0, "TASK_FINISHED").await?;
        let executor = pod.executor["executor_id"].clone();
        let find = |framework: &Framework| {
            let mut failures = framework.others.iter().filter(|event| event["type"] == "FAILURE");
            failures.find(|event| event["failure"]["executor_id"] == executor).cloned()
        };
        let event = pod.framework.until("the end of the executor", find).await?;
        ensure!(event["failure"]["agent_id"] == pod.offer["agent_id"], "{event}");
        ensure!(event["failure"]["status"] == 0, "{event}");
        pod.framework.teardown().await
    };
    let too_long = |arena: Arena| async move {
        let change = |at: usize, task: &mut Value| {
            if at == 1 {
                task["max_completion_time"] = json!({"nanoseconds": 500_000_000});
            }
        };
        let mut pod = Pod::launch_with(&arena, &["exec sleep 600", "exec sleep 600"], change).await?;
        let last = pod.status(1, "TASK_FAILED").await?;
        ensure!(last["reason"] == "REASON_MAX_COMPLETION_TIME_REACHED", "{last}");
        pod.status(0, "TASK_KILLED").await?;
        pod.framework.teardown().await
    };
    let shared = |arena: Arena| async move {
        let commands = ["echo word > common/w; exec sleep 600", "while ! test -s common/w; do sleep 0.1; done"];
        let change = |_: usize, task: &mut Value| {
            let parents = json!({"type": "SANDBOX_PATH", "sandbox_path": {"type": "PARENT", "path": "shared"}});
            task["container"] = json!({"type": "MESOS",
                "volumes": [{"mode": "RW", "container_path": "common", "source": parents}]});
        };
        let mut pod = Pod::launch_with(&arena, &commands, change).await?;
        let reader = pod.tasks[1].clone();
        let is_over = |status: &&Value| {
            status["task_id"]["value"] == reader.as_str()
                && matches!(status["state"].as_str(), Some("TASK_FINISHED" | "TASK_FAILED"))
        };
        let last = |framework: &Framework| framework.updates.iter().find(is_over).cloned();
        let last = pod.framework.until("the end of one", last).await?;
        let is_refused = last["reason"] == "REASON_CONTAINER_LAUNCH_FAILED";
        ensure!(last["state"] == "TASK_FINISHED" || is_refused, "it was run without its volume: {last}");
        pod.framework.teardown().await
    };
    let named = |arena: Arena| async move {
        let mut pod = Pod::launch(&arena, &["sleep 600"]).await?;
        pod.status(0, "TASK_RUNNING").await?;
        let agent = pod.offer["agent_id"].clone();
        let (next, _) = pod.framework.revived_offer_of(&agent).await?;
        ensure!(next["executor_ids"] == json!([pod.executor["executor_id"]]), "{next}");
        pod.framework.teardown().await
    };
    let kept = |arena: Arena| async move {
        let mut pod = Pod::launch(&arena, &["sleep 600"]).await?;
        pod.status(0, "TASK_RUNNING").await?;
        let mut info = pod.framework.info.clone();
        crate::contest::arena::merge(
            &mut info,
            &json!({"id": {"value": pod.framework.id}, "roles": [arena.name("role")]}),
        );
        pod.framework.call("UPDATE_FRAMEWORK", json!({"framework_info": info})).await?.expect(200)?;
        pod.framework.updates.clear();
        pod.framework.must("RECONCILE", json!({})).await?;
        let task = pod.tasks[0].clone();
        let status = pod.framework.first_status(&task).await?;
        ensure!(status["state"] == "TASK_RUNNING" && status["reason"] == "REASON_RECONCILIATION", "{status}");
        pod.framework.teardown().await
    };
    let rows = vec![
        row("3.4", "OFFERS", "an executor of the framework runs on the agent", "executor_ids names it", named),
        row("3.1", "UPDATE_FRAMEWORK", "no more the role under which a task runs", "200, and the task runs on", kept),
        row(
            "12.1",
            "LAUNCH_GROUP",
            "volumes of SANDBOX_PATH, PARENT",
            "the members share them, or fail to launch where the agent has no isolator for it",
            shared,
        ),
        row("3.4", "LAUNCH_GROUP", "all tasks of an executor have ended", "FAILURE with its id and status 0", over),
        row(
            "6.5",
            "LAUNCH_GROUP",
            "a max_completion_time of 0.5 s for one",
            "TASK_FAILED; the other is killed",
            too_long,
        ),
        row("6.5", "LAUNCH_GROUP", "two tasks that end with 0", "STARTING, RUNNING, FINISHED; nested ids", finished),
        row("6.5", "LAUNCH_GROUP", "one of two ends with 3", "it failed, and the other is killed", failed),
        row("6.5", "LAUNCH_GROUP", "one of two ends with 0", "the other runs on", ended),
        row("6.5", "KILL", "one of two tasks of a group", "both are killed", killed),
        row("6.5", "LAUNCH_GROUP", "two groups on one executor", "the end of one is not the other's", second),
        row("6.1", "LAUNCH_GROUP", "the environment of a task", "ip, role and sandbox; no token", environment),
        row("7.1", "GET_EXECUTORS", "a group runs", "its executor, DEFAULT, with its agent", listed),
    ];
    rows.into_iter().map(|row| row.within(60)).collect()
}

//! Reference 6.6: health checks and generic checks of the built-in executors.

use super::pods::Pod;
use crate::contest::arena::{Arena, items};
use crate::contest::framework::{Framework, WATCHED};
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Between two tries of a check, in seconds.
const INTERVAL: f64 = 0.2;

/// A framework with a task that is checked.
struct Checked {
    framework: Framework,
    offer: Value,
    id: String,
}

impl Checked {
    /// Launches a command with a check: `PORT` in it is that of its agent's HTTP.
    async fn launch(arena: &Arena, command: &str, field: &str, mut check: Value) -> Result<Self> {
        let mut framework = Framework::start(arena).await?;
        let offer = framework.offer().await?;
        for kind in ["http", "tcp"] {
            if check[kind].is_object() {
                check[kind]["port"] = offer["url"]["address"]["port"].clone();
            }
        }
        let (id, mut task) = framework.task(&offer, command);
        task[field] = check;
        framework.launch(&offer, vec![task]).await?;
        Ok(Self { framework, offer, id })
    }

    /// The next status that fits.
    async fn status(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let id = self.id.clone();
        let find = |framework: &Framework| {
            framework.updates.iter().find(|status| status["task_id"]["value"] == id.as_str() && fits(status)).cloned()
        };
        self.framework.until(what, find).await
    }

    /// The statuses of the task with a reason.
    fn with_reason(&self, reason: &str) -> Vec<&Value> {
        self.framework.updates.iter().filter(|status| status["reason"] == reason).collect()
    }
}

const HEALTH: &str = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED";
const CHECK: &str = "REASON_TASK_CHECK_STATUS_UPDATED";

/// A check of a kind, tried often and at once.
fn check(kind: &str, part: Value) -> Value {
    let mut check = json!({"type": kind, "delay_seconds": 0.0, "interval_seconds": INTERVAL, "timeout_seconds": 5.0});
    check[kind.to_ascii_lowercase()] = part;
    check
}

/// A health check of a kind that fails at its first failure.
fn health(kind: &str, part: Value) -> Value {
    let mut check = check(kind, part);
    check["grace_period_seconds"] = json!(0.0);
    check["consecutive_failures"] = json!(1);
    check
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = healthy();
    rows.extend(unhealthy());
    rows.extend(generic());
    rows.extend(kept());
    rows.into_iter().map(|row| row.within(60)).collect()
}

fn healthy() -> Vec<Row> {
    let mut rows = Vec::new();
    for (given, check) in [
        ("a command that ends with 0", health("COMMAND", json!({"value": "exit 0"}))),
        (
            "a command without a shell",
            health("COMMAND", json!({"shell": false, "value": "true", "arguments": ["true"]})),
        ),
        ("HTTP that answers 200", health("HTTP", json!({"path": "/health"}))),
        ("HTTP with scheme http and no path", health("HTTP", json!({"scheme": "http", "path": "/version"}))),
        ("TCP where somebody listens", health("TCP", json!({}))),
        (
            "no type, a command",
            json!({"command": {"value": "exit 0"}, "delay_seconds": 0.0, "interval_seconds": INTERVAL}),
        ),
    ] {
        let trial = move |arena: Arena| {
            let check = check.clone();
            async move {
                let mut task = Checked::launch(&arena, "exec sleep 600", "health_check", check).await?;
                let status = task.status("a healthy status", |status| status["healthy"] == true).await?;
                ensure!(status["state"] == "TASK_RUNNING" && status["reason"] == HEALTH, "{status}");
                ensure!(status["source"] == "SOURCE_EXECUTOR" && status["uuid"].is_string(), "{status}");
                // Only changes are told.
                task.framework.listen(WATCHED).await?;
                ensure!(task.with_reason(HEALTH).len() == 1, "{:?}", task.framework.updates);
                task.framework.teardown().await
            }
        };
        rows.push(row("6.6", "LAUNCH with a health check", given, "TASK_RUNNING, healthy, once", trial));
    }
    rows
}

fn unhealthy() -> Vec<Row> {
    let mut rows = Vec::new();
    for (given, check) in [
        ("a command that ends with 1", health("COMMAND", json!({"value": "exit 1"}))),
        ("HTTP that answers 404", health("HTTP", json!({"path": "/no/such/path"}))),
        ("a command that takes too long", {
            let mut check = health("COMMAND", json!({"value": "sleep 600"}));
            check["timeout_seconds"] = json!(0.3);
            check
        }),
    ] {
        let trial = move |arena: Arena| {
            let check = check.clone();
            async move {
                let mut task = Checked::launch(&arena, "exec sleep 600", "health_check", check).await?;
                let status = task.status("an unhealthy status", |status| status["healthy"] == false).await?;
                ensure!(status["state"] == "TASK_RUNNING" && status["reason"] == HEALTH, "{status}");
                let last = task.status("its end", |status| status["state"] == "TASK_KILLED").await?;
                ensure!(last["healthy"] == false, "{last}");
                task.framework.teardown().await
            }
        };
        let said = "TASK_RUNNING, not healthy, then TASK_KILLED, not healthy";
        rows.push(row("6.6", "LAUNCH with a health check", given, said, trial));
    }
    let third = |arena: Arena| async move {
        let mut check = health("COMMAND", json!({"value": "exit 1"}));
        check["consecutive_failures"] = json!(3);
        let mut task = Checked::launch(&arena, "exec sleep 600", "health_check", check).await?;
        task.status("its end", |status| status["state"] == "TASK_KILLED").await?;
        let failures = task.with_reason(HEALTH).iter().filter(|status| status["healthy"] == false).count();
        ensure!(failures == 3, "{:?}", task.framework.updates);
        task.framework.teardown().await
    };
    let grace = |arena: Arena| async move {
        let mut check = health("COMMAND", json!({"value": "exit 1"}));
        check["grace_period_seconds"] = json!(600.0);
        let mut task = Checked::launch(&arena, "exec sleep 600", "health_check", check).await?;
        task.status("it runs", |status| status["state"] == "TASK_RUNNING").await?;
        task.framework.listen(WATCHED).await?;
        ensure!(task.with_reason(HEALTH).is_empty(), "{:?}", task.framework.updates);
        task.framework.teardown().await
    };
    let again = |arena: Arena| async move {
        let mut check = health("COMMAND", json!({"value": "test -e well || { touch well; exit 1; }"}));
        check["consecutive_failures"] = json!(5);
        let mut task = Checked::launch(&arena, "exec sleep 600", "health_check", check).await?;
        task.status("a failure", |status| status["healthy"] == false).await?;
        task.status("a recovery", |status| status["healthy"] == true && status["reason"] == HEALTH).await?;
        task.framework.teardown().await
    };
    let late = |arena: Arena| async move {
        let mut check = health("COMMAND", json!({"value": "exit 0"}));
        check["delay_seconds"] = json!(600.0);
        let mut task = Checked::launch(&arena, "exec sleep 600", "health_check", check).await?;
        task.status("it runs", |status| status["state"] == "TASK_RUNNING").await?;
        task.framework.listen(WATCHED).await?;
        ensure!(task.with_reason(HEALTH).is_empty(), "{:?}", task.framework.updates);
        task.framework.teardown().await
    };
    rows.extend([
        row("6.6", "LAUNCH with a health check", "3 failures allowed, all fail", "told 3 times, then killed", third),
        row("6.6", "LAUNCH with a health check", "failures within the grace period", "nothing is told", grace),
        row("6.6", "LAUNCH with a health check", "a failure, then success", "not healthy, then healthy", again),
        row("6.6", "LAUNCH with a health check", "a delay of ten minutes", "nothing is told", late),
    ]);
    rows
}

fn generic() -> Vec<Row> {
    let mut rows = Vec::new();
    for (given, asked, path, wanted) in [
        (
            "a command that ends with 3",
            check("COMMAND", json!({"command": {"value": "exit 3"}})),
            "/command/exit_code",
            json!(3),
        ),
        (
            "a command that ends with 0",
            check("COMMAND", json!({"command": {"value": "exit 0"}})),
            "/command/exit_code",
            json!(0),
        ),
        ("HTTP that answers 200", check("HTTP", json!({"path": "/health"})), "/http/status_code", json!(200)),
        ("HTTP that answers 404", check("HTTP", json!({"path": "/no/such/path"})), "/http/status_code", json!(404)),
        ("TCP where somebody listens", check("TCP", json!({})), "/tcp/succeeded", json!(true)),
    ] {
        let trial = move |arena: Arena| {
            let (asked, wanted) = (asked.clone(), wanted.clone());
            async move {
                let kind = asked["type"].clone();
                let mut task = Checked::launch(&arena, "exec sleep 600", "check", asked).await?;
                // The first status that it runs tells that there is a check, and no result.
                let first = task.status("it runs", |status| status["state"] == "TASK_RUNNING").await?;
                let told = &first["check_status"];
                ensure!(told["type"] == kind && told.pointer(path).is_none(), "{first}");
                let status = task.status("a result", |status| status["reason"] == CHECK).await?;
                let told = &status["check_status"];
                ensure!(told["type"] == kind && told.pointer(path) == Some(&wanted), "{status}");
                ensure!(status["state"] == "TASK_RUNNING" && status.get("healthy").is_none(), "{status}");
                task.framework.listen(WATCHED).await?;
                ensure!(task.with_reason(CHECK).len() == 1, "{:?}", task.framework.updates);
                task.framework.teardown().await
            }
        };
        rows.push(row("6.6", "LAUNCH with a check", given, "check_status: empty first, then the result, once", trial));
    }
    let changes = |arena: Arena| async move {
        let command = check("COMMAND", json!({"command": {"value": "test -e one && exit 2; touch one; exit 1"}}));
        let mut task = Checked::launch(&arena, "exec sleep 600", "check", command).await?;
        for code in [1, 2] {
            task.status("a result", |status| status["check_status"]["command"]["exit_code"] == code).await?;
        }
        task.framework.teardown().await
    };
    rows.push(row("6.6", "LAUNCH with a check", "a result that changes", "each result is told", changes));
    rows
}

fn kept() -> Vec<Row> {
    let reconciled = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, mut task) = framework.task(&offer, "exec sleep 600");
        task["health_check"] = health("COMMAND", json!({"value": "exit 0"}));
        task["check"] = check("COMMAND", json!({"command": {"value": "exit 4"}}));
        framework.launch(&offer, vec![task]).await?;
        let mut task = Checked { framework, offer, id };
        let is_known =
            |status: &Value| status["healthy"] == true && status["check_status"]["command"]["exit_code"] == 4;
        task.status("both results", is_known).await?;
        let asked = json!({"tasks": [{"task_id": {"value": task.id}, "agent_id": task.offer["agent_id"]}]});
        task.framework.must("RECONCILE", asked).await?;
        let answer = task.status("the answer", |status| status["reason"] == "REASON_RECONCILIATION").await?;
        ensure!(is_known(&answer), "{answer}");
        let tasks = arena.read("GET_TASKS").await?;
        let mine = items(&tasks["tasks"]).iter().find(|one| one["task_id"]["value"] == task.id.as_str());
        let statuses = items(&mine.context("the task")?["statuses"]);
        ensure!(statuses.iter().any(is_known), "{statuses:?}");
        task.framework.teardown().await
    };
    let pod = |arena: Arena| async move {
        let change = |at: usize, task: &mut Value| {
            task["health_check"] = match at {
                0 => health("COMMAND", json!({"value": "exit 0"})),
                _ => health("COMMAND", json!({"value": "exit 1"})),
            };
        };
        let mut pod = Pod::launch_with(&arena, &["exec sleep 600", "exec sleep 600"], change).await?;
        for at in [0, 1] {
            pod.status(at, "TASK_KILLED").await?;
        }
        let sick = pod.framework.updates.iter().find(|status| status["healthy"] == false);
        ensure!(sick.is_some_and(|status| status["task_id"]["value"] == pod.tasks[1].as_str()), "{sick:?}");
        pod.framework.teardown().await
    };
    vec![
        row("6.6", "RECONCILE, GET_TASKS", "a check and a health check have results", "both are told", reconciled),
        row("6.6", "LAUNCH_GROUP", "one of two fails its health check", "both are killed", pod),
    ]
}

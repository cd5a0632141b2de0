//! Tasks that are watched while they run: health checks, generic checks, the longest time that they may take, and the
//! kill policy, all over real HTTP.

use crate::cluster::Cluster;
use crate::framework::{Framework, info, task};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// A server on loopback that answers every request with the status that it is set to.
struct Server {
    status: Arc<AtomicU16>,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let status = Arc::new(AtomicU16::new(200));
        let answers = Arc::clone(&status);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let status = answers.load(Ordering::SeqCst);
                let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            }
        });
        Self { status, port }
    }
}

fn with(mut task: Value, field: &str, value: Value) -> Value {
    task[field] = value;
    task
}

/// The statuses of a task with a reason, as pairs of state and that field.
fn with_reason<'a>(framework: &'a Framework, task: &str, reason: &str) -> Vec<&'a Value> {
    let mine = framework.updates.iter().filter(|status| status["task_id"]["value"] == task);
    mine.filter(|status| status["reason"] == reason).collect()
}

const HEALTH: &str = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED";
const CHECK: &str = "REASON_TASK_CHECK_STATUS_UPDATED";

fn capable() -> Value {
    let mut info = info("checks");
    let capabilities = info["capabilities"].as_array_mut().expect("capabilities");
    capabilities.push(json!({"type": "TASK_KILLING_STATE"}));
    info
}

#[test]
fn a_task_whose_health_check_turns_bad_is_killed_and_says_that_it_was_unhealthy() {
    let cluster = Cluster::start(1);
    let server = Server::start();
    let mut framework = Framework::subscribe(&cluster.api, capable());
    let health = json!({"type": "HTTP", "http": {"port": server.port, "path": "/health"}, "delay_seconds": 0,
        "interval_seconds": 0.1, "timeout_seconds": 10, "grace_period_seconds": 0, "consecutive_failures": 2});
    framework.launch(vec![with(task("watched", "exec sleep 1000"), "health_check", health)]);
    framework.until("the first verdict", |framework| {
        framework.status("watched").is_some_and(|status| status["healthy"] == true)
    });
    let [first] = with_reason(&framework, "watched", HEALTH)[..] else { panic!("{:?}", framework.updates) };
    assert_eq!(first["state"], "TASK_RUNNING");
    let tasks = crate::client::get(&cluster.api, "/tasks").json();
    let shown = &tasks["tasks"][0]["statuses"];
    assert!(shown.as_array().is_some_and(|all| all.iter().any(|status| status["healthy"] == true)), "{tasks}");

    server.status.store(500, Ordering::SeqCst);
    framework.until("its end", |framework| framework.latest("watched") == Some("TASK_KILLED"));
    assert_eq!(framework.states("watched"), ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]);
    let verdicts: Vec<_> =
        with_reason(&framework, "watched", HEALTH).iter().map(|status| status["healthy"].clone()).collect();
    assert_eq!(verdicts, [json!(true), json!(false), json!(false)], "each failure is told, and the second is enough");
    let last = framework.status("watched").expect("a status");
    assert_eq!((last["healthy"].clone(), last["source"].clone()), (json!(false), json!("SOURCE_EXECUTOR")), "{last}");
    framework.teardown();
}

#[test]
fn commands_connections_and_requests_are_checked_and_changes_are_told() {
    let cluster = Cluster::start(1);
    let server = Server::start();
    let mut framework = Framework::subscribe(&cluster.api, capable());
    let times = json!({"delay_seconds": 0, "interval_seconds": 0.1, "timeout_seconds": 10});
    let check = |kind: &str, field: &str, what: Value| {
        let mut check = times.clone();
        check["type"] = json!(kind);
        check[field] = what;
        check
    };
    let tcp = check("TCP", "tcp", json!({"port": server.port}));
    let http = check("HTTP", "http", json!({"port": server.port, "path": "/"}));
    // The command sees what its task does: they share a sandbox.
    let command = check("COMMAND", "command", json!({"command": {"value": "exit $(cat result)"}}));
    framework.launch(vec![
        with(task("tcp", "exec sleep 1000"), "check", tcp),
        with(task("http", "exec sleep 1000"), "check", http),
        with(task("command", "echo 0 > result; sleep 2; echo 7 > result; exec sleep 1000"), "check", command),
    ]);
    let found = |framework: &Framework, task: &str| framework.status(task).map(|status| status["check_status"].clone());
    let tcp = |succeeded: Value| json!({"type": "TCP", "tcp": succeeded});
    framework.until("all results", |framework| {
        found(framework, "tcp") == Some(tcp(json!({"succeeded": true})))
            && found(framework, "http") == Some(json!({"type": "HTTP", "http": {"status_code": 200}}))
            && found(framework, "command") == Some(json!({"type": "COMMAND", "command": {"exit_code": 7}}))
    });
    let first = framework.updates.iter().find(|status| status["task_id"]["value"] == "tcp").expect("a status");
    assert_eq!(first["check_status"], tcp(json!({})), "a check without a result is configured");
    assert_eq!(with_reason(&framework, "tcp", CHECK).len(), 1, "only changes are told");
    let codes: Vec<_> = with_reason(&framework, "command", CHECK)
        .iter()
        .map(|status| status["check_status"]["command"]["exit_code"].clone())
        .collect();
    assert!(codes == [json!(0), json!(7)] || codes.len() == 3, "first of all the file may be missing: {codes:?}");
    server.status.store(503, Ordering::SeqCst);
    framework.until("the change", |framework| {
        found(framework, "http") == Some(json!({"type": "HTTP", "http": {"status_code": 503}}))
    });
    assert_eq!(framework.latest("http"), Some("TASK_RUNNING"), "a generic check ends nothing");
    framework.must("RECONCILE", json!({"tasks": [{"task_id": {"value": "http"}}]}));
    framework.until("the answer", |framework| {
        framework.status("http").is_some_and(|status| status["reason"] == "REASON_RECONCILIATION")
    });
    assert_eq!(found(&framework, "http"), Some(json!({"type": "HTTP", "http": {"status_code": 503}})));
    framework.teardown();
}

#[test]
fn a_task_that_runs_longer_than_it_may_fails() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, capable());
    let second = json!({"nanoseconds": 1_000_000_000_u64});
    framework.launch(vec![with(task("slow", "exec sleep 1000"), "max_completion_time", second)]);
    framework.until("its end", |framework| framework.latest("slow").is_some_and(crate::framework::is_terminal));
    assert_eq!(framework.states("slow"), ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]);
    let last = framework.status("slow").expect("a status");
    assert_eq!(last["reason"], "REASON_MAX_COMPLETION_TIME_REACHED", "{last}");
    framework.teardown();
}

#[test]
fn the_grace_of_a_kill_is_the_callers_else_the_tasks() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, capable());
    // A task is told to run before its shell has set the trap: each says when it has.
    let ready = tempfile::tempdir().expect("a folder");
    let at = |name: &str| ready.path().join(name);
    let trapping = |name: &str, trap: &str| {
        let text = format!("trap '{trap}' TERM; : > {}; while :; do sleep 0.1; done", at(name).display());
        task(name, &text)
    };
    let policy = |nanoseconds: u64| json!({"grace_period": {"nanoseconds": nanoseconds}});
    let long = policy(600_000_000_000);
    let short = policy(300_000_000);
    framework.launch_until(
        vec![
            // Who hears TERM and goes on is ended by KILL alone, after the grace.
            with(trapping("own", "echo heard"), "kill_policy", short.clone()),
            with(trapping("overridden", "echo heard"), "kill_policy", long.clone()),
            with(trapping("patient", "exit 0"), "kill_policy", long),
        ],
        "TASK_RUNNING",
    );
    framework.until("the traps", |_| ["own", "overridden", "patient"].iter().all(|name| at(name).exists()));
    framework.must("KILL", json!({"task_id": {"value": "own"}}));
    framework.must("KILL", json!({"task_id": {"value": "overridden"}, "kill_policy": short}));
    framework.must("KILL", json!({"task_id": {"value": "patient"}}));
    framework.until("their ends", Framework::all_ended);
    for name in ["own", "overridden"] {
        let last = framework.status(name).expect("a status");
        assert_eq!(last["state"], "TASK_KILLED", "{last}");
        assert_eq!(last["message"], "Command terminated with signal Killed", "{last}");
    }
    let last = framework.status("patient").expect("a status");
    assert_eq!(
        (last["state"].as_str(), last["message"].as_str()),
        (Some("TASK_KILLED"), Some("Command exited with status 0")),
        "killed, even when it exits well"
    );
    framework.teardown();
}

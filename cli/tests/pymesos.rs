//! An unchanged third-party framework library: pymesos 0.3.15 from the Python package index. `tools/pymesos` sets it up
//! in the folder of these tests; the scripts beside this file use it as its users do.

use crate::cluster::Cluster;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `tools/pymesos` ends with when the machine has no Python or no package index.
const CANT: i32 = 3;

/// The interpreter of the virtual environment; `None`, aloud, where there can be none.
fn python() -> Option<PathBuf> {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/pymesos");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pymesos");
    let output = Command::new(setup).arg(home).stdin(Stdio::null()).output().expect("the setup script starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(CANT) {
        eprintln!("SKIPPED: pymesos can't be had here, nothing was tested with it: {said}");
        return None;
    }
    assert!(output.status.success(), "{} {said}", output.status);
    Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Runs a script against a cluster; what it reports in its last line.
fn run(python: &Path, script: &str, arguments: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pymesos").join(script);
    let output = Command::new(python).arg("-u").arg(&script).args(arguments).stdin(Stdio::null()).output();
    let output = output.expect("the interpreter starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} {arguments:?}: {}\n{stdout}\n{stderr}", script.display(), output.status);
    assert!(!stderr.contains("[ERROR]") && !stderr.contains("Traceback"), "pymesos complained:\n{stderr}");
    let last = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("no report ({error}): {stdout}\n{stderr}"))
}

#[test]
fn pymesos_runs_a_hundred_tasks_at_once_sees_one_fail_kills_one_and_reconciles() {
    let Some(python) = python() else { return };
    let cluster = Cluster::start_with(2, &["--resources", "cpus:8;mem:4096"]);
    let report = run(&python, "tasks.py", &[&cluster.api]);
    assert_eq!(report["states"]["TASK_FINISHED"], 100, "{report}");
    assert_eq!(report["at_once"], 100, "all hundred ran at the same time: {report}");
    assert_eq!((&report["failing"], &report["killed"]), (&"TASK_FAILED".into(), &"TASK_KILLED".into()), "{report}");
    assert_eq!(report["explicit"], serde_json::json!({"steady": "TASK_RUNNING", "ghost": "TASK_LOST"}), "{report}");
    assert_eq!(report["implicit"], serde_json::json!(["steady"]), "{report}");
    assert_eq!(report["duplicates"], 0, "no state was told twice: {report}");
}

#[test]
fn pymesos_fails_over_with_its_id_to_a_second_driver_in_another_process() {
    let Some(python) = python() else { return };
    let cluster = Cluster::start(1);
    let first = run(&python, "failover.py", &[&cluster.api, "first"]);
    let id = first["framework_id"].as_str().expect("an id");
    assert_eq!(cluster.tasks("sleep 86405.5").len(), 1, "its task goes on without it");
    let second = run(&python, "failover.py", &[&cluster.api, "second", id]);
    assert_eq!((&second["framework_id"], &second["reregistered"]), (&first["framework_id"], &true.into()), "{second}");
    assert_eq!((&second["found"], &second["ended"]), (&"TASK_RUNNING".into(), &"TASK_KILLED".into()), "{second}");
    assert_eq!(cluster.tasks("sleep 86405.5").len(), 0);
}

#[test]
fn pymesos_asks_the_master_for_its_state_with_its_operator_driver() {
    let Some(python) = python() else { return };
    let cluster = Cluster::start(2);
    let report = run(&python, "master_state.py", &[&cluster.api]);
    assert_eq!(
        (&report["healthy"], &report["agents"], &report["frameworks"]),
        (&true.into(), &2.into(), &0.into()),
        "{report}"
    );
}

/// What the executor of `custom.py` found around it, by the task that it told it with.
fn found(report: &Value, task: &str) -> Value {
    report["data"][task].clone()
}

#[test]
fn pymesos_runs_three_tasks_on_one_executor_of_its_own_with_messages_both_ways() {
    let Some(python) = python() else { return };
    let cluster = Cluster::start(1);
    let report = run(&python, "custom.py", &[&cluster.api]);
    assert_eq!(report["processes"], 1, "one executor ran them all: {report}");
    let states = |name: &str| report["states"][name].clone();
    assert_eq!(states("quick"), serde_json::json!(["TASK_RUNNING", "TASK_FINISHED"]), "{report}");
    assert_eq!(states("held"), serde_json::json!(["TASK_RUNNING", "TASK_KILLED"]), "{report}");
    assert_eq!(states("asked"), serde_json::json!(["TASK_RUNNING", "TASK_FAILED"]), "{report}");
    assert_eq!(states("late"), serde_json::json!(["TASK_RUNNING", "TASK_FAILED"]), "its executor left: {report}");
    assert_eq!(report["lost"], serde_json::json!([["own", 7 << 8]]), "FAILURE has the raw wait status: {report}");
    let around = found(&report, "quick");
    assert_eq!((&around["checkpoint"], &around["recovery"]), (&"1".into(), &"15mins".into()), "{report}");
    assert_eq!((&around["directory"], &around["pid_text"]), (&true.into(), &true.into()), "{report}");
    assert_eq!((&around["token"], &around["private"]), (&false.into(), &serde_json::json!([])), "{report}");
    assert_eq!(cluster.tasks("custom_executor.py").len(), 0, "nothing of it is left");
}

#[test]
fn pymesos_executors_come_back_to_an_agent_that_was_killed() {
    let Some(python) = python() else { return };
    // pymesos waits for two seconds and more before it tries again.
    let cluster = Cluster::start_with(1, &["--executor-reregistration-timeout", "15"]);
    let agent = cluster.pid("agent-1").expect("it runs").to_string();
    let report = run(&python, "custom.py", &[&cluster.api, &agent]);
    assert_eq!(report["processes"], 1, "the executor outlived its agent: {report}");
    assert_eq!(report["states"]["asked"], serde_json::json!(["TASK_RUNNING", "TASK_FAILED"]), "{report}");
    assert_eq!(found(&report, "late")["times"], 2, "it subscribed twice: {report}");
    assert_eq!(report["lost"], serde_json::json!([["own", 7 << 8]]), "{report}");
}

//! An unchanged third-party framework in Go: the example scheduler and executor of mesos-go 0.0.11 from the Go module
//! proxy. The executor comes to its sandbox through the fetcher and speaks protobuf; the scheduler speaks both encodings.
//! `tools/mesos-go` builds them in the folder of these tests.

use crate::cluster::Cluster;
use crate::deadline::{SOON, wait_for};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `tools/mesos-go` ends with when the machine has no Go or the module can't be had.
const CANT: i32 = 3;

/// Tasks of one run: more than the offers of two agents hold at once, so that its executors are used again.
const TASKS: usize = 40;

/// Where the two programs are; `None`, aloud, where they can't be.
fn programs() -> Option<PathBuf> {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/mesos-go");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mesos-go");
    let output = Command::new(setup).arg(home).stdin(Stdio::null()).output().expect("the setup script starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(CANT) {
        eprintln!("SKIPPED: mesos-go can't be had here, nothing was tested with it: {said}");
        return None;
    }
    assert!(output.status.success(), "{} {said}", output.status);
    Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

#[test]
fn mesos_go_runs_its_example_scheduler_and_executor_in_both_encodings() {
    let Some(programs) = programs() else { return };
    let cluster = Cluster::start_with(2, &["--resources", "cpus:2;mem:1024"]);
    for codec in ["protobuf", "json"] {
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", "120"]).arg(programs.join("example-scheduler"));
        command.args(["-url", &format!("http://{}/api/v1/scheduler", cluster.api), "-codec", codec, "-executor"]);
        // An empty image: the executor is a program, not a container of Docker. A failover timeout of nothing: the
        // framework is removed when its scheduler ends, and takes its executors with it.
        command.arg(programs.join("example-executor")).args(["-exec.image", "", "-failoverTimeout", "0"]);
        command.args(["-tasks", &TASKS.to_string(), "-cpu", "0.25", "-memory", "32", "-maxRefuseSeconds", "200ms"]);
        command.args(["-metrics.port", "0", "-compression", "-verbose"]);
        let output = command.env_remove("EXEC_IMAGE").stdin(Stdio::null()).output().expect("the scheduler starts");
        let log = String::from_utf8_lossy(&output.stderr);
        let finished = log.lines().filter(|line| line.ends_with(" is in state TASK_FINISHED")).count();
        let is_done = log.contains("mission accomplished, terminating");
        assert!(is_done && finished == TASKS, "{codec}: {finished} of {TASKS} finished, {}:\n{log}", output.status);
        let gone = || cluster.tasks("example-executor").is_empty().then_some(());
        wait_for("the executors to go with their framework", SOON, gone);
    }
}

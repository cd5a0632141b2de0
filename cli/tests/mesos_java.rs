//! An unchanged third-party client in Java: mesos-rxjava 0.1.2 from Maven's registry, protobuf end to end, with the messages of
//! Mesos 1.0. Its scheduler runs commands, and tasks on an executor that uses the same client (`java/Framework.java`).
//! `tools/mesos-java` builds them in the folder of these tests.

use crate::cluster::Cluster;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `tools/mesos-java` ends with when the machine has no Java or the client can't be had.
const CANT: i32 = 3;

/// Commands, and tasks on executors, of one run.
const TASKS: usize = 20;

/// Where the classes are; `None`, aloud, where they can't be.
fn classes() -> Option<PathBuf> {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/mesos-java");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mesos-java");
    let output = Command::new(setup).arg(home).stdin(Stdio::null()).output().expect("the setup script starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(CANT) {
        eprintln!("SKIPPED: mesos-rxjava can't be had here, nothing was tested with it: {said}");
        return None;
    }
    assert!(output.status.success(), "{} {said}", output.status);
    Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

#[test]
fn a_scheduler_and_an_executor_on_mesos_rxjava_run_commands_and_tasks_and_exchange_messages() {
    let Some(classes) = classes() else { return };
    let cluster = Cluster::start_with(2, &["--resources", "cpus:2;mem:1024"]);
    let path = format!("{0}:{0}/lib/*", classes.display());
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "120", "java", "-cp", &path, "Framework", "scheduler"]);
    command.arg(format!("http://{}/api/v1/scheduler", cluster.api));
    command.args([TASKS.to_string(), TASKS.to_string(), format!("exec java -cp '{path}' Framework executor")]);
    let output = command.stdin(Stdio::null()).output().expect("the scheduler starts");
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(told.contains(&format!("all {} finished", 2 * TASKS)), "{}:\n{told}\n{errors}", output.status);
    assert_eq!(told.lines().filter(|line| line.ends_with(" TASK_FINISHED")).count(), 2 * TASKS, "{told}");
    assert_eq!(output.status.code(), Some(0), "{errors}");
}

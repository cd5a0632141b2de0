//! The example that the documentation shows, run as the documentation says.

use crate::cluster::Cluster;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_example_framework_runs_its_tasks_and_prints_their_table() {
    let python = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !python.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: there is no python3 on this machine; the example framework was not tested");
        return;
    }
    let cluster = Cluster::start(2);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/framework.py");
    let output = Command::new("python3").arg(example).arg(&cluster.api).output().expect("python3 starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}{stderr}", output.status);
    let state = |task: &str| {
        let row = stdout.lines().find(|line| line.split_whitespace().next() == Some(task));
        row.and_then(|row| row.split_whitespace().nth(1)).unwrap_or_else(|| panic!("no row of {task} in:\n{stdout}"))
    };
    for number in 1..=20 {
        assert_eq!(state(&format!("count-{number:02}")), "TASK_FINISHED");
    }
    assert_eq!(state("failing"), "TASK_FAILED");
    assert_eq!(state("endless"), "TASK_KILLED");
}

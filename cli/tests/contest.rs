//! The suite of the v1 API (`kaon contest`) against a cluster of our own: no row fails.

use crate::cluster::Cluster;
use std::time::{Duration, Instant};

/// How long the whole suite may take, on a machine with two cores that does nothing else.
const WITHIN: Duration = Duration::from_secs(240);

#[test]
fn every_rule_of_the_v1_api_holds() {
    let cluster = Cluster::start_with(2, &["--resources", "cpus:16;mem:16384;disk:16384;ports:[31000-32000]"]);
    let begin = Instant::now();
    let mut command = crate::cluster::kaon();
    let output = command.args(["contest", "--master", &cluster.api]).output().expect("kaon runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    let failed: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("FAILED ")).collect();
    let failures: Vec<&str> = said.split("\nFAILED ").skip(1).collect();
    assert!(
        output.status.success() && last.ends_with(" passed, 0 failed"),
        "{last}; {} lines; stderr: {}\n{}",
        failed.len(),
        String::from_utf8_lossy(&output.stderr),
        failures.join("\nFAILED ")
    );
    assert!(begin.elapsed() < WITHIN, "it took {:?}", begin.elapsed());
}

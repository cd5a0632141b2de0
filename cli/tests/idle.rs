//! Connections that ask for nothing, as many as a process may have (attack 7): the master keeps its bound, those who work go
//! on, and newcomers are served.

use crate::client::get;
use crate::cluster::Cluster;
use crate::framework::{Framework, info, task};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Above the master's bound of 16,384 connections, and below the 20,000 descriptors of this process.
const CONNECTIONS: usize = 16_800;

/// The most that one of them may cost the master, in bytes: a socket's buffers of ours and its future.
const COST_MAX: u64 = 32 * 1024;

/// How long a newcomer may wait for its answer while they stand.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Resident memory of a process in bytes.
fn resident_bytes(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the master runs");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says so");
    line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).expect("a number") * 1024
}

#[test]
fn thousands_who_only_connect_keep_nobody_out() {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("a limit");
    if limit.0 < CONNECTIONS as u64 + 1000 {
        return println!("SKIPPED, {} descriptors are too few: {CONNECTIONS} idle connections", limit.0);
    }
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("worker"));
    let master = cluster.pid("master-1").expect("there is one");
    let before = resident_bytes(master);
    let silent: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(&cluster.api).expect("the master listens")).collect();
    let began = Instant::now();
    assert_eq!(get(&cluster.api, "/health").status, 200);
    assert!(began.elapsed() < ANSWER_WITHIN, "{:?}", began.elapsed());
    let cost = resident_bytes(master).saturating_sub(before);
    assert!(cost < CONNECTIONS as u64 * COST_MAX, "{cost} bytes for {CONNECTIONS} connections");
    let offer = framework.offer();
    framework.accept(&[&offer], vec![task("a", "true")], 0.1);
    framework.until("a task beside them", |framework| framework.latest("a") == Some("TASK_FINISHED"));
    drop(silent);
    framework.teardown();
}

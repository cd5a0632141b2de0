//! Begin, stop, deadlines, threads.

use crate::stage::*;
use kaon_kernel::actor::{ActorKind, Event};
use kaon_kernel::time::Duration;
use kaon_runtime::StillRunning;
use kaon_runtime::journal::MemoryDisk;
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

const THREE: &[ActorKind] = &[ActorKind::Registrar, ActorKind::Master, ActorKind::Allocator];
const CHILD: &str = "KAON_TEST_THREADS_CHILD";

/// Names of the threads of this process.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("actix") || name.starts_with("kaon"))
        .collect()
}

/// Waits until no thread is left but these: the system takes a joined thread off its list a moment later.
fn until_threads_are(expected: &[&str]) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while threads() != expected {
        assert!(std::time::Instant::now() < deadline, "{:?} are left, not {expected:?}", threads());
        std::thread::yield_now();
    }
}

/// Not a test of its own: it needs a process without other hosts, and has one when its parent set the variable.
#[test]
fn child_counts_threads() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    until_threads_are(&[]);
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(THREE), &disk), |_| {
        Box::new(|event, craft| match event {
            Event::Start(_) => craft.arm(1, Duration::secs(3600)),
            Event::Message(_) => craft.spawn(kaon_kernel::actor::Address::nth(HOST, ActorKind::Framework, 1)),
            _ => {}
        })
    });
    stage.until_started(ALLOCATOR, 1);
    stage.tell(MASTER, 1);
    stage.until("the child", |note| note.who.kind == ActorKind::Framework);
    let names = threads();
    assert!(names.len() >= 4, "host, two arbiters and the journal: {names:?}");
    let begun = std::time::Instant::now();
    assert_eq!(stage.host.stop(PATIENCE), Ok(0));
    println!("stopped in {:?}", begun.elapsed());
    until_threads_are(&[]);
    let prepared = Stage::prepare(config(tree(THREE), &disk), |_| idle());
    until_threads_are(&["kaon-journal"]);
    assert_eq!(prepared.host.stop(PATIENCE), Ok(0));
    until_threads_are(&[]);
    println!("all threads are gone");
}

#[test]
fn a_stopped_host_leaves_no_thread() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "lifecycle::child_counts_threads", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("all threads are gone"), "{text}");
}

#[test]
fn a_handler_that_does_not_return_is_told_at_the_deadline() {
    let (release, gate) = channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(THREE), &disk), move |_| {
        let gate = Arc::clone(&gate);
        Box::new(move |event, _| {
            if matches!(event, Event::Message(_)) {
                let _ = gate.lock().unwrap().recv();
            }
        })
    });
    stage.until_started(ALLOCATOR, 1);
    stage.tell(MASTER, 1);
    stage.until_number(MASTER, 1);
    let deadline = std::time::Duration::from_millis(50);
    assert_eq!(stage.host.stop(deadline), Err(StillRunning(deadline)));
    assert_eq!(stage.host.exit_code(), None);
    drop(release);
    assert_eq!(stage.host.stop(PATIENCE), Ok(0));
    assert_eq!(stage.host.wait(), 0);
}

#[test]
fn chance_differs_between_incarnations_and_repeats_between_hosts() {
    let seeds = || {
        let disk = MemoryDisk::default();
        let (seeds_out, seeds) = channel();
        let stage = Stage::start(config(tree(THREE), &disk), move |birth| {
            let _ = seeds_out.send((birth.address, birth.incarnation, birth.seed));
            Box::new(|event, _| assert!(!matches!(event, Event::Message(_)), "as told"))
        });
        stage.until_started(ALLOCATOR, 1);
        stage.tell(ALLOCATOR, 1);
        stage.until_started(ALLOCATOR, 2);
        stage.finish();
        seeds.try_iter().collect::<Vec<_>>()
    };
    let first = seeds();
    assert_eq!(first, seeds());
    assert_eq!(first.len(), 4);
    assert_ne!(first[2].2, first[3].2);
}

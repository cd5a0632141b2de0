//! The same seed is the same run.

use kaon_sim::{Options, Report, run};

fn small(seed: u64, faults: bool, workers: usize) -> Report {
    let options = Options { agents: 6, frameworks: 3, tasks: 40, seed, faults, workers, ..Options::default() };
    run(&options).expect("the options are sound")
}

/// What must be equal in two runs: all but the figures of the real machine.
fn lasting(report: Report) -> Report {
    let zero = 0.0;
    Report { workers: 0, wall_seconds: zero, events_per_second: zero, peak_memory_bytes: 0, ..report }
}

#[test]
fn a_quiet_cluster_does_all_its_work() {
    let report = small(1, false, 1);
    assert!(report.is_well(), "{report}");
    assert_eq!(report.tasks.values().sum::<u64>(), 40, "{report}");
    assert_eq!(report.relaunched, 0, "{report}");
    assert_eq!(report.tasks.get("open"), None);
    assert_eq!((report.mishaps.frames_dropped, report.mishaps.panics), (0, 0), "{report}");
}

#[test]
fn every_task_gets_the_place_that_it_asks_for() {
    // Two at a time on each machine, which is then full.
    let task_cpus = kaon_kernel::quantity::Quantity::units(4);
    let quiet = Options { agents: 3, tasks: 40, varied: false, placed: true, task_cpus, ..Options::default() };
    let report = run(&quiet).expect("the options are sound");
    assert!(report.is_well(), "{report}");
    assert_eq!(report.relaunched, 0, "no place was refused: {report}");
    let without = run(&Options { placed: false, ..quiet.clone() }).expect("the options are sound");
    assert_ne!(report.trace_hash, without.trace_hash, "places are part of the trace");
    for seed in 1..5 {
        let report = run(&Options { seed, faults: true, ..quiet.clone() }).expect("the options are sound");
        assert!(report.is_well(), "seed {seed}: {report}");
    }
}

#[test]
fn a_framework_that_is_done_leaves() {
    let options = Options { agents: 4, frameworks: 3, tasks: 20, teardown: true, ..Options::default() };
    let report = run(&options).expect("the options are sound");
    assert!(report.is_well(), "{report}");
    assert_eq!(report.frameworks_removed, 3, "{report}");
    assert_eq!(report.resubscribed, 0, "who has left does not come back: {report}");
}

#[test]
fn one_seed_is_one_trace_with_any_number_of_workers() {
    for (seed, faults) in [(1, false), (2, true), (3, true)] {
        let once = lasting(small(seed, faults, 1));
        assert_eq!(once, lasting(small(seed, faults, 1)), "seed {seed} twice");
        for workers in [2, 3] {
            assert_eq!(once, lasting(small(seed, faults, workers)), "seed {seed} with {workers} workers");
        }
    }
}

#[test]
fn another_seed_is_another_trace() {
    assert_ne!(small(1, false, 1).trace_hash, small(2, false, 1).trace_hash);
}

#[test]
fn options_that_make_no_run_are_refused() {
    let refused = |options: Options| run(&options).expect_err("refused").to_string();
    assert!(refused(Options { agents: 0, ..Options::default() }).contains("agents"));
    let large = Options { task_mem: kaon_kernel::quantity::Quantity::units(1 << 30), ..Options::default() };
    assert!(refused(large).contains("does not fit"));
}

//! Metrics of runs small enough to be worked out by hand.

use super::*;
use crate::record::{Capacity, TaskRecord};

/// Times in seconds.
fn task(job: u64, tenant: u32, submit: i64, start: Option<i64>, end: Option<i64>, cpus_milli: u64) -> TaskRecord {
    let us = |at: i64| at * 1_000_000;
    let run_us = start.zip(end).map_or(1_000_000, |(start, end)| us(end - start));
    let (start_us, end_us) = (start.map(us), end.map(us));
    TaskRecord {
        job,
        task: 0,
        tenant,
        submit_us: us(submit),
        start_us,
        end_us,
        run_us,
        cpus_milli,
        mem_mib: 0,
        gpus_milli: 0,
        node: None,
    }
}

fn records() -> Records {
    Records {
        tasks: vec![
            task(1, 0, 0, Some(0), Some(10), 1000),
            task(1, 0, 0, Some(10), Some(30), 2000),
            task(2, 1, 20, Some(30), Some(40), 1000),
            task(3, 1, 30, None, None, 1000),
        ],
        capacity: Capacity { nodes: 1, cpus_milli: 2000, mem_mib: 0, gpus_milli: 0 },
        ..Records::default()
    }
}

#[test]
fn times_are_those_of_the_hand() {
    let (metrics, _) = of(&records(), 4);
    let expected = [
        ("tasks", 4.0),
        ("tasks_finished", 3.0),
        ("tasks_unfinished", 1.0),
        ("tasks_unstarted", 1.0),
        ("queueing_delay_mean", 20.0 / 3.0),
        ("queueing_delay_p50", 10.0),
        ("queueing_delay_max", 10.0),
        ("flow_time_mean", 20.0),
        ("jct_mean", 25.0),
        ("jct_max", 30.0),
        ("slowdown_mean", (1.0 + 1.5 + 2.0) / 3.0),
        ("bounded_slowdown_mean", (1.0 + 1.5 + 2.0) / 3.0),
        ("makespan", 40.0),
        // 10 core-seconds, then 40, then 10, of 80.
        ("utilisation_cpus", 0.75),
        // From 0 to 10 one waits, from 20 to 30 one, from 30 on one.
        ("queue_length_mean", 0.75),
        ("tenants", 2.0),
        // 0.625 and 0.125 of the cluster.
        ("dominant_share_max", 0.625),
        ("jain_index", 0.75 * 0.75 / (2.0 * (0.625 * 0.625 + 0.125 * 0.125))),
    ];
    for (name, value) in expected {
        assert!((metrics[name] - value).abs() < 1e-12, "{name} is {}, not {value}", metrics[name]);
    }
    assert!(!metrics.contains_key("utilisation_gpus"), "there is none");
    let unknown: Vec<&String> = metrics.keys().filter(|name| !listing::is_known(name)).collect();
    assert!(unknown.is_empty(), "not in the listing: {unknown:?}");
}

#[test]
fn intervals_are_averages() {
    let (_, timeline) = of(&records(), 4);
    let queue: Vec<f64> = timeline.intervals.iter().map(|interval| interval.queue).collect();
    assert_eq!(queue, [1.0, 0.0, 1.0, 1.0]);
    let used: Vec<f64> = timeline.intervals.iter().map(|interval| interval.used[0]).collect();
    assert_eq!(used, [0.5, 1.0, 1.0, 0.5]);
    assert_eq!(timeline.tenants, [0, 1]);
    assert_eq!(timeline.intervals[3].shares, [0.0, 0.5, 0.0]);
    // Intervals that do not divide the window average over the edges.
    let (_, timeline) = of(&records(), 3);
    let used: f64 = timeline.intervals.iter().map(|interval| interval.used[0]).sum();
    assert!((used / 3.0 - 0.75).abs() < 1e-6, "{used}");
}

#[test]
fn tasks_without_length_use_nothing() {
    let mut records = records();
    records.tasks.push(task(4, 1, 5, Some(5), Some(5), 2000));
    let (metrics, _) = of(&records, 4);
    assert!((metrics["utilisation_cpus"] - 0.75).abs() < 1e-12);
    assert!((metrics["queue_length_mean"] - 0.75).abs() < 1e-12);
    let (nothing, timeline) = of(&Records::default(), 4);
    assert_eq!(nothing["tasks"], 0.0);
    assert!(timeline.intervals.is_empty() && !nothing.contains_key("flow_time_mean"));
}

#[test]
fn what_is_not_known_of_preempted_tasks_is_left_out() {
    let mut records = records();
    records.preemptions = 1;
    // The second task was thrown out for half of its time.
    records.tasks[1].run_us = 10_000_000;
    let (metrics, timeline) = of(&records, 4);
    // 10 core-seconds, 20, 10, of 80.
    assert!((metrics["utilisation_cpus"] - 0.5).abs() < 1e-12);
    assert!((metrics["queue_length_mean"] - 0.75).abs() < 1e-12);
    assert!(!metrics.contains_key("jain_index") && !metrics.contains_key("fair_share_deviation_mean"));
    let names: Vec<String> =
        timeline.table().map(|t| t.columns().iter().map(|one| one.0.clone()).collect()).unwrap_or_default();
    assert_eq!(names, ["begin_seconds", "queue_length"]);
}

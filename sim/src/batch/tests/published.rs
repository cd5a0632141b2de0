//! The published figures of backfilling on the KTH-SP2 log, to every digit.

use super::*;
use crate::workload::swf;
use std::path::Path;

const LOG: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/traces/swf-parallel-workloads/KTH-SP2-1996.swf.gz");

/// Mean flow time in seconds, longest flow time in seconds, mean and largest bounded slowdown (threshold 10 s).
fn figures(records: &Records) -> (f64, i64, f64, f64) {
    let (mut flow, mut flow_max, mut slowdown, mut slowdown_max) = (0, 0, 0.0, 0.0_f64);
    for task in &records.tasks {
        let flow_us = task.end_us.expect("ended") - task.submit_us;
        let bounded = (flow_us as f64 / task.run_us.max(10_000_000) as f64).max(1.0);
        flow += i128::from(flow_us);
        flow_max = flow_max.max(flow_us);
        slowdown += bounded;
        slowdown_max = slowdown_max.max(bounded);
    }
    let count = records.tasks.len() as f64;
    (flow as f64 / 1e6 / count, flow_max / 1_000_000, slowdown / count, slowdown_max)
}

#[test]
fn backfilling_on_kth_sp2_is_the_published_one_to_every_digit() {
    if !Path::new(LOG).exists() {
        println!("NOT TESTED: the log {LOG} is not here");
        return;
    }
    let log = swf::read(Path::new(LOG), swf::Options::default()).expect("the log");
    assert_eq!((log.entries, log.filtered, log.processors), (28_489, 8, 100));
    let expected = [
        ("easy", 15696.7981812436, 309_231, 92.5765397336295, 14805.2),
        ("easy-exact", 15187.6077033812, 356_843, 71.7223851124418, 10017.2),
        ("easy-sjbf", 14764.0026684456, 372_238, 69.4054005803035, 14805.2),
        ("easy-sjbf-exact", 14295.9468417542, 335_193, 49.8477189313406, 9941.7),
    ];
    for (name, flow, flow_max, slowdown, slowdown_max) in expected {
        let started = std::time::Instant::now();
        let records = run(pool(log.processors), &log.jobs, policy(name), &Parameters::default()).expect("sound");
        println!("{name}: {:?} in {:?}", figures(&records), started.elapsed());
        let found = figures(&records);
        assert!((found.0 / flow - 1.0).abs() < 1e-14, "{name}: {found:?}");
        assert!((found.2 / slowdown - 1.0).abs() < 1e-13, "{name}: {found:?}");
        assert!((found.3 / slowdown_max - 1.0).abs() < 1e-13, "{name}: {found:?}");
        assert_eq!(found.1, flow_max, "{name}");
    }
}

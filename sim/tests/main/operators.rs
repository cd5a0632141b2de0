//! What operators do to a cluster that works: it does what they say, and all work is done all the same.

use kaon_kernel::time::Duration;
use kaon_sim::stage::{Incident, Stage, Trouble, Whom};
use kaon_sim::{Options, Report, run};
use std::sync::Arc;

/// A cluster with four machines and work for a minute or so, in which this happens after five seconds, for ten.
fn with(incidents: &[(Trouble, Whom)], seed: u64) -> Report {
    let incident = |&(trouble, whom)| Incident { at: Duration::secs(5), length: Duration::secs(10), trouble, whom };
    let incidents = incidents.iter().map(incident).collect();
    let stage = Stage { incidents, rack: 2, ..Stage::default() };
    let stage = Some(Arc::new(stage));
    let options = Options { agents: 4, frameworks: 3, tasks: 150, seed, stage, ..Options::default() };
    let report = run(&options).expect("the options are sound");
    assert!(report.is_well(), "{report}");
    assert_eq!(report.tasks.values().sum::<u64>(), 150, "{report}");
    assert_eq!(report.mishaps.panics, 0, "{report}");
    report
}

fn count(report: &Report, name: &str) -> f64 {
    report.metrics.get(name).copied().unwrap_or(0.0)
}

/// Agents that came in; the metric has the old word.
fn registrations(report: &Report) -> f64 {
    let mut counts = report.metrics.iter().filter(|(name, _)| name.ends_with("e_registrations"));
    counts.next().map_or(0.0, |(_, count)| *count)
}

fn told(report: &Report, words: &str) -> bool {
    report.marks.iter().any(|mark| mark.contains(words))
}

#[test]
fn a_drained_agent_ends_its_tasks_and_comes_back() {
    let report = with(&[(Trouble::Drain, Whom::Agent(2))], 1);
    assert!(report.relaunched > 0 && told(&report, "AgentDraining"), "{report}");
    assert_eq!((count(&report, "operator/orders_done"), count(&report, "operator/orders_refused")), (2.0, 0.0));
}

#[test]
fn a_deactivated_agent_keeps_its_tasks() {
    let report = with(&[(Trouble::Deactivate, Whom::Percent(50))], 1);
    assert_eq!(report.relaunched, 0, "{report}");
    assert_eq!((count(&report, "operator/orders_done"), count(&report, "operator/orders_refused")), (4.0, 0.0));
}

#[test]
fn an_agent_that_is_gone_is_replaced() {
    let report = with(&[(Trouble::Gone, Whom::Agent(1))], 1);
    assert!(report.relaunched > 0 && told(&report, "TASK_GONE_BY_OPERATOR"), "{report}");
    assert_eq!(registrations(&report), 5.0, "a new agent on its machine: {report}");
}

#[test]
fn who_is_on_a_machine_that_goes_is_asked_to_leave_and_the_machine_comes_back() {
    let mut answers = 0.0;
    for seed in 1..5 {
        let report = with(&[(Trouble::Maintenance, Whom::Rack(0))], seed);
        assert!(report.relaunched > 0, "{report}");
        assert!(count(&report, "master/messages_inverse_offers") > 0.0, "{report}");
        answers += count(&report, "master/messages_answer_inverse_offers");
        // One change of the schedule at a time: the orders for the second machine are given again.
        assert!(count(&report, "operator/orders_postponed") > 0.0, "{report}");
        assert_eq!(registrations(&report), 6.0, "{report}");
    }
    assert!(answers > 0.0, "frameworks answer two times in three");
}

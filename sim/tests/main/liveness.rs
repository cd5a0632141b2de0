//! Who is there, who is out of reach, and what it costs to know (decision 0017).

use kaon_kernel::time::Duration;
use kaon_sim::stage::{Incident, Stage, Trouble, Whom};
use kaon_sim::{Lengths, Options, Report, run};
use std::sync::Arc;

/// When the trouble begins.
const AT: Duration = Duration::secs(20);
/// `--agent_ping_timeout` times `--max_agent_ping_timeouts`.
const PATIENCE_SECONDS: f64 = 75.0;
/// How long a session may stand in silence here, and messages and a write of the registry travel.
const NOTICED_SECONDS: f64 = 3.1;

/// Two agents with work for five minutes, one of them in this trouble. Nobody sends anything on its behalf but the trouble.
fn in_trouble(trouble: Trouble, seconds: u64, seed: u64) -> Report {
    let incident = Incident { at: AT, length: Duration::secs(seconds), trouble, whom: Whom::Agent(1) };
    let stage = Stage { incidents: vec![incident], ..Stage::default() };
    let options = Options {
        agents: 2,
        frameworks: 1,
        tasks: 10,
        lengths: Lengths::Fixed(300.0),
        varied: false,
        courses: true,
        seed,
        stage: Some(Arc::new(stage)),
        ..Options::default()
    };
    let report = run(&options).expect("the options are sound");
    assert!(report.is_well(), "{report}");
    report
}

/// When the first task was out of reach, after the trouble began, in seconds.
fn unreachable_after(report: &Report) -> Option<f64> {
    let statuses = report.courses.iter().flat_map(|course| &course.statuses);
    let times = statuses.filter(|(state, _, _)| state.contains("UNREACHABLE")).map(|(_, _, at)| at - AT.as_seconds());
    times.reduce(f64::min)
}

#[test]
fn who_is_out_of_reach_is_unreachable_after_the_time_that_the_flags_say() {
    let all = [Trouble::Partition, Trouble::PartitionTo, Trouble::PartitionFrom, Trouble::Pause, Trouble::Crash];
    for (seed, trouble) in (1..).zip(all) {
        let report = in_trouble(trouble, 100, seed);
        let after = unreachable_after(&report).unwrap_or_else(|| panic!("{trouble:?} was not noticed: {report}"));
        assert!((PATIENCE_SECONDS..PATIENCE_SECONDS + NOTICED_SECONDS).contains(&after), "{trouble:?}: {after} s");
        assert!(report.marks.iter().any(|mark| mark.contains("AgentReregistered")), "{trouble:?}: {:?}", report.marks);
    }
}

#[test]
fn who_comes_back_in_time_was_never_out_of_reach() {
    let all = [Trouble::Partition, Trouble::PartitionTo, Trouble::PartitionFrom, Trouble::Pause, Trouble::Crash];
    for (seed, trouble) in (1..).zip(all) {
        let report = in_trouble(trouble, 70, seed);
        assert_eq!(unreachable_after(&report), None, "{trouble:?}");
        // The metric has the old word.
        let back = report.metrics.iter().any(|(name, count)| name.ends_with("e_reregistrations") && *count >= 1.0);
        assert!(report.relaunched == 0 && back, "{trouble:?}: {report}");
    }
}

/// A line that is cut while a session begins, at every moment of its beginning: neither side keeps half of one.
#[test]
fn no_session_stands_on_one_side_alone() {
    let ways = [Trouble::Partition, Trouble::PartitionTo, Trouble::PartitionFrom];
    for step in 0..150 {
        let trouble = ways[step as usize % ways.len()];
        let power = Incident { at: AT, length: Duration::secs(5), trouble: Trouble::Power, whom: Whom::Agent(1) };
        let at = AT + Duration::secs(5) + Duration::micros(100).times(step);
        let cut = Incident { at, length: Duration::secs(10), trouble, whom: Whom::Agent(1) };
        let stage = Stage { incidents: vec![power, cut], ..Stage::default() };
        let options = Options {
            agents: 1,
            frameworks: 1,
            tasks: 2,
            lengths: Lengths::Fixed(10.0),
            deadline: Duration::secs(600),
            stage: Some(Arc::new(stage)),
            ..Options::default()
        };
        let report = run(&options).expect("the options are sound");
        assert!(report.is_well(), "{trouble:?} {step}: {report}");
    }
}

/// An agent in peace costs six pings an hour, each with its timer and its answer.
#[test]
fn an_idle_agent_costs_twenty_events_an_hour_at_most() {
    let events = |agents: u32, hours: f64| {
        let lengths = Lengths::Fixed(hours * 3600.0);
        let options = Options { agents, frameworks: 1, tasks: 1, lengths, varied: false, ..Options::default() };
        run(&options).expect("the options are sound").events
    };
    let hour = |agents| events(agents, 2.0) - events(agents, 1.0);
    let per_agent = (hour(110) - hour(10)) / 100;
    assert!((1..=20).contains(&per_agent), "{per_agent}");
}

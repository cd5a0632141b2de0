//! Health checks and generic checks: when they are tried, what is told of them, and when a task ends for them.

use super::*;
use kaon_kernel::check::{Check, CheckStatus, CheckTarget, Checks, HealthCheck, HttpTarget, TcpTarget};
use kaon_kernel::container::{Probe, ProbeResult};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::Resources;

const AT: TcpTarget = TcpTarget { is_ipv6: false, port: 80 };

fn check(target: CheckTarget) -> Check {
    let (delay, interval, timeout) = (Duration::secs(15), Duration::secs(10), Duration::secs(20));
    Check { target, delay, interval, timeout }
}

fn http() -> CheckTarget {
    CheckTarget::Http(HttpTarget { is_secure: false, at: AT, path: "/health".to_owned() })
}

fn health(check: Check) -> TaskInfo {
    let health = HealthCheck { check, failures_max: 3, grace: Duration::secs(30) };
    TaskInfo { checks: Some(Box::new(Checks { health: Some(health), check: None })), ..task() }
}

fn told(check: Check) -> TaskInfo {
    TaskInfo { checks: Some(Box::new(Checks { health: None, check: Some(check) })), ..task() }
}

impl Bench {
    fn probes(&self) -> Vec<(ContainerId, Probe, Duration)> {
        let probes = self.asked.iter().filter_map(|(_, request)| match request {
            ContainerRequest::Probe { container, probe, timeout, .. } => {
                Some((container.clone(), (**probe).clone(), *timeout))
            }
            _ => None,
        });
        probes.collect()
    }

    fn probed(&mut self, result: Result<ProbeResult, String>) {
        let is_probe = |request: &ContainerRequest| matches!(request, ContainerRequest::Probe { .. });
        self.answer(is_probe, ContainerOutcome::Probed(result));
    }

    /// Lets the next try come due and answers it; what is told of it.
    fn tried(&mut self, result: Result<ProbeResult, String>) -> Vec<TaskStatus> {
        self.pass(Duration::secs(10));
        self.probed(result);
        self.settle_statuses()
    }
}

fn answered(code: u16) -> Result<ProbeResult, String> {
    Ok(ProbeResult::Answered(code))
}

#[test]
fn a_health_check_begins_after_its_delay_and_is_repeated_after_each_result() {
    let mut bench = Bench::running(health(check(http())));
    bench.pass(Duration::nanos(Duration::secs(15).0 - 1));
    assert!(bench.probes().is_empty());
    bench.pass(Duration::nanos(1));
    let [(_, Probe::Http(target), timeout)] = &bench.probes()[..] else { panic!("{:?}", bench.asked) };
    assert_eq!((target.path.as_str(), *timeout), ("/health", Duration::secs(20)));
    bench.pass(Duration::secs(100));
    assert_eq!(bench.probes().len(), 1, "one at a time");
    bench.probed(answered(200));
    bench.pass(Duration::nanos(Duration::secs(10).0 - 1));
    assert!(bench.probes().is_empty());
    bench.pass(Duration::nanos(1));
    assert_eq!(bench.probes().len(), 1);
}

#[test]
fn the_first_success_each_failure_and_each_recovery_are_told_and_enough_failures_end_the_task() {
    let mut bench = Bench::running(health(check(http())));
    bench.pass(Duration::secs(5));
    let first = bench.tried(answered(399));
    let told = |statuses: &[TaskStatus]| -> Vec<_> {
        statuses.iter().map(|status| (status.state, status.healthy, status.reason)).collect()
    };
    let health = Some(Reason::TaskHealthCheckStatusUpdated);
    assert_eq!(told(&first), [(TaskState::Running, Some(true), health)]);
    assert_eq!(told(&bench.tried(answered(204))), [], "the second success is no news");
    for bad in [answered(404), Err("timed out".to_owned())] {
        let [failed] = &bench.tried(bad)[..] else { panic!("each failure is told") };
        assert_eq!((failed.healthy, failed.reason), (Some(false), health));
    }
    assert_eq!(told(&bench.tried(answered(200))), [(TaskState::Running, Some(true), health)], "recovered");
    bench.tried(answered(500));
    bench.tried(answered(199));
    assert!(bench.kills().is_empty());
    let last = bench.tried(answered(400));
    assert_eq!(
        told(&last),
        [(TaskState::Running, Some(false), health), (TaskState::Killing, Some(false), None)],
        "the third in a row"
    );
    assert_eq!(last[0].message.as_deref(), Some("Health check failed: Unexpected HTTP response code: 400"));
    assert_eq!(bench.kills(), vec![Duration::secs(3)]);
    bench.pass(Duration::secs(100));
    assert!(bench.probes().is_empty(), "what ends is not checked");
    bench.exit(Some(ExitStatus::Signal(15)));
    assert_eq!(told(&bench.settle_statuses()), [(TaskState::Killed, Some(false), None)]);
    assert_eq!(bench.finished, Some(0));
}

#[test]
fn failures_within_the_grace_are_passed_over_until_the_first_success() {
    let mut bench = Bench::running(health(check(CheckTarget::Tcp(AT))));
    bench.pass(Duration::secs(5));
    for _ in 0..2 {
        assert!(bench.tried(Ok(ProbeResult::Connected(false))).is_empty(), "15 and 25 s of 30 s have passed");
    }
    let outside = bench.tried(Ok(ProbeResult::Connected(false)));
    assert_eq!(outside.iter().map(|status| status.healthy).collect::<Vec<_>>(), [Some(false)]);
    // A success ends the grace.
    let mut bench = Bench::running(health(check(CheckTarget::Tcp(AT))));
    bench.pass(Duration::secs(5));
    bench.tried(Ok(ProbeResult::Connected(true)));
    assert_eq!(bench.tried(Ok(ProbeResult::Connected(false))).len(), 1);
}

#[test]
fn a_command_check_runs_beside_the_task_with_its_environment() {
    let environment = vec![("WORD".to_owned(), "y".to_owned()), ("MORE".to_owned(), "z".to_owned())];
    let command = CommandInfo { value: Some("probe".to_owned()), environment, ..CommandInfo::default() };
    let mut bench = Bench::running(told(check(CheckTarget::Command(Box::new(command)))));
    bench.pass(Duration::secs(15));
    let probes = bench.probes();
    let [(_, Probe::Command(spec), _)] = &probes[..] else { panic!("{probes:?}") };
    assert_eq!((spec.sandbox.as_str(), spec.join), ("sandbox", true));
    assert_eq!(spec.program, Program::Exec { file: "probe".to_owned(), arguments: Vec::new() });
    let find = |name: &str| spec.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((find("WORD"), find("MORE"), find("PATH")), (Some("y"), Some("z"), Some("/usr/bin")));
}

#[test]
fn a_generic_check_tells_its_result_whenever_it_changed_and_never_ends_a_task() {
    let command = CommandInfo { value: Some("probe".to_owned()), ..CommandInfo::default() };
    let mut bench = Bench::registered();
    bench.agent(ToExecutor::Launch { task: Box::new(told(check(CheckTarget::Command(Box::new(command))))) });
    bench.flush();
    bench.launched();
    let begun = bench.settle_statuses();
    assert_eq!(states(&begun), [TaskState::Starting, TaskState::Running]);
    assert!(begun.iter().all(|status| status.check == Some(CheckStatus::Command(None))), "a check is configured");
    bench.pass(Duration::secs(5));
    let exited = |code| Ok(ProbeResult::Exited(ExitStatus::Code(code)));
    let results = [
        (exited(0), Some(Some(0))),
        (exited(0), None),
        (exited(7), Some(Some(7))),
        (Ok(ProbeResult::Exited(ExitStatus::Signal(9))), Some(None)),
        (Err("timed out".to_owned()), None),
        (exited(7), Some(Some(7))),
    ];
    for (result, wanted) in results {
        let told = bench.tried(result);
        let told: Vec<_> =
            told.iter().map(|status| (status.state, status.reason, status.check, status.healthy)).collect();
        let wanted: Vec<_> = wanted.into_iter().map(CheckStatus::Command).collect();
        let expected: Vec<_> = wanted
            .iter()
            .map(|check| (TaskState::Running, Some(Reason::TaskCheckStatusUpdated), Some(*check), None))
            .collect();
        assert_eq!(told, expected);
    }
    assert!(bench.kills().is_empty());
    bench.exit(Some(ExitStatus::Code(0)));
    let last = bench.settle_statuses();
    assert_eq!((states(&last), last[0].check), (vec![TaskState::Finished], Some(CheckStatus::Command(Some(7)))));
}

#[test]
fn a_try_under_way_is_ended_with_its_task_and_counts_for_nothing() {
    let mut bench = Bench::running(health(check(http())));
    bench.pass(Duration::secs(15));
    let (probe, ..) = bench.probes().remove(0);
    bench.kill(None);
    let is_kill = |request: &ContainerRequest| matches!(request, ContainerRequest::Kill { container, grace } if *container == probe && *grace == Duration::ZERO);
    assert!(bench.asked.iter().any(|(_, request)| is_kill(request)));
    bench.probed(answered(200));
    bench.exit(Some(ExitStatus::Signal(15)));
    assert_eq!(states(&bench.settle_statuses()), [TaskState::Killing, TaskState::Killed]);
}

#[test]
fn verdicts_that_nobody_hears_take_the_place_of_older_ones() {
    let mut bench = Bench::running(health(check(http())));
    bench.link(LinkState::Down);
    bench.pass(Duration::secs(5));
    for round in 0..50 {
        bench.pass(Duration::secs(10));
        bench.probed(answered(if round % 2 == 0 { 200 } else { 500 }));
        bench.flush();
    }
    bench.link(LinkState::Up);
    bench.agent(ToExecutor::Registered { task_killing_state: true, user: None });
    bench.said.retain(|message| !matches!(message, ToAgent::Register { .. }));
    let all = bench.settle_statuses();
    assert!(all.len() <= 16, "{}", all.len());
    assert_eq!(all.last().and_then(|status| status.healthy), Some(false), "the newest is kept");
}

#[test]
fn after_a_panic_checks_begin_anew_with_what_they_had_found() {
    let mut bench = Bench::running(health(check(http())));
    bench.pass(Duration::secs(5));
    bench.tried(answered(200));
    let journal = bench.durable.clone();
    bench.restart(journal);
    bench.agent(ToExecutor::Registered { task_killing_state: true, user: None });
    bench.pass(Duration::secs(15));
    bench.probed(answered(500));
    let [failed] = &bench.settle_statuses()[..] else { panic!("a failure after a success is told, grace or not") };
    assert_eq!(failed.healthy, Some(false));
    bench.exit(Some(ExitStatus::Code(0)));
    let last = bench.settle_statuses();
    assert_eq!((states(&last), last[0].healthy), (vec![TaskState::Finished], Some(false)));
}

#[test]
fn a_limit_that_ends_a_task_is_named_with_its_resources() {
    let mut bench = Bench::running(task());
    let resources = Resources::cpus_and_mem(Quantity(0), Quantity(64_000));
    let limitation =
        Limitation { kind: kaon_kernel::container::LimitKind::Memory, message: "64 MB".to_owned(), resources };
    let exit = Exit { status: None, limitation: Some(Box::new(limitation.clone())), usage: Usage::default() };
    bench.answer(|request| matches!(request, ContainerRequest::Wait { .. }), ContainerOutcome::Exited(exit));
    let last = bench.settle_statuses().remove(0);
    assert_eq!((last.state, last.reason), (TaskState::Failed, Some(Reason::ContainerLimitationMemory)));
    assert_eq!(last.limitation.as_deref(), Some(&limitation.resources));
}

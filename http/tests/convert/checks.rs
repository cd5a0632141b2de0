//! Checks and their results, from the v1 API and back.

use super::{api, changed};
use kaon_http::convert::{health, status};
use kaon_kernel::check::{Check, CheckStatus, CheckTarget, HttpTarget, TcpTarget};
use kaon_kernel::time::Duration;

fn port(is_ipv6: bool) -> TcpTarget {
    TcpTarget { is_ipv6, port: 80 }
}

#[test]
fn what_is_not_said_of_a_check_is_what_mesos_takes_for_it() {
    let check = api::CheckInfo { r#type: Some(3), tcp: Some(api::check_info::Tcp { port: 80 }), ..Default::default() };
    let typed = changed(|task| task.check = Some(check)).checks.expect("checks");
    let seconds = [15, 10, 20].map(Duration::secs);
    let [delay, interval, timeout] = seconds;
    assert_eq!(
        (typed.health, typed.check),
        (None, Some(Check { target: CheckTarget::Tcp(port(false)), delay, interval, timeout }))
    );

    let http = api::health_check::HttpCheckInfo { port: 80, ..Default::default() };
    let health = api::HealthCheck { http: Some(http), ..Default::default() };
    let typed = changed(|task| task.health_check = Some(health)).checks.expect("checks");
    let health = typed.health.expect("a health check");
    assert_eq!((health.failures_max, health.grace), (3, Duration::secs(10)));
    let target = HttpTarget { is_secure: false, at: port(false), path: String::new() };
    assert_eq!((health.check.target, health.check.timeout), (CheckTarget::Http(target), Duration::secs(20)));
    assert_eq!(changed(|_| {}).checks, None);
}

#[test]
fn what_is_said_of_a_check_is_taken_and_stays_for_all_to_read() {
    let http = api::health_check::HttpCheckInfo {
        protocol: Some(api::network_info::Protocol::IPv6 as i32),
        scheme: Some("https".to_owned()),
        port: 80,
        path: Some("/health?full=1".to_owned()),
        statuses: vec![204],
    };
    let check = api::HealthCheck {
        r#type: Some(2),
        http: Some(http),
        delay_seconds: Some(0.5),
        interval_seconds: Some(0.0),
        timeout_seconds: Some(0.0),
        consecutive_failures: Some(7),
        grace_period_seconds: Some(1.25),
        ..Default::default()
    };
    let task = changed(|task| task.health_check = Some(check.clone()));
    assert_eq!(task.defect, None);
    let health = task.checks.as_ref().and_then(|checks| checks.health.clone()).expect("a health check");
    assert_eq!((health.failures_max, health.grace), (7, Duration::millis(1250)));
    assert_eq!((health.check.delay, health.check.interval), (Duration::millis(500), Duration::ZERO));
    assert_eq!(health.check.timeout, Duration::MAX, "none at all");
    let target = HttpTarget { is_secure: true, at: port(true), path: "/health?full=1".to_owned() };
    assert_eq!(health.check.target, CheckTarget::Http(target));
    let out = kaon_http::convert::task::to_v1(&task, "f", kaon_http::convert::resource::Form::Endpoint);
    assert_eq!(out.health_check, Some(check));
}

#[test]
fn what_breaks_a_rule_of_checks_becomes_the_defect_of_its_task() {
    let http = |scheme: Option<&str>, path: &str, port: u32| {
        let http = api::health_check::HttpCheckInfo {
            scheme: scheme.map(str::to_owned),
            path: Some(path.to_owned()),
            port,
            ..Default::default()
        };
        let check = api::HealthCheck { http: Some(http), ..Default::default() };
        changed(|task| task.health_check = Some(check)).defect.map(|defect| defect.words)
    };
    assert_eq!(http(Some("https"), "/", 65_535), None);
    for (defect, words) in [
        (http(Some("ftp"), "/", 80), "scheme"),
        (http(None, "x", 80), "start with '/'"),
        (http(None, "/ x", 80), "spaces"),
        (http(None, "/", 65_536), "below 65536"),
    ] {
        assert!(defect.as_ref().is_some_and(|text| text.contains(words)), "{defect:?} has no {words:?}");
    }
    let command = api::check_info::Command { command: api::CommandInfo::default() };
    let check = api::CheckInfo { r#type: Some(1), command: Some(command), ..Default::default() };
    let defect = changed(|task| task.check = Some(check)).defect.expect("a defect").words;
    assert!(defect.contains("must contain a value"), "{defect}");
}

#[test]
fn results_come_back_as_they_were() {
    for typed in [
        CheckStatus::Command(None),
        CheckStatus::Command(Some(-1)),
        CheckStatus::Http(Some(503)),
        CheckStatus::Http(None),
        CheckStatus::Tcp(Some(false)),
        CheckStatus::Tcp(None),
    ] {
        let info = health::status_to_v1(typed);
        let v1 = api::TaskStatus { check_status: Some(info), state: 1, ..Default::default() };
        let read = status::from_v1(v1).expect("a status");
        assert_eq!((read.check, read.rest.is_empty()), (Some(typed), true));
        assert_eq!(status::to_v1(&read).check_status, Some(info));
    }
    // What ours can't be stays as it was.
    let odd = api::CheckStatusInfo {
        r#type: Some(2),
        http: Some(api::check_status_info::Http { status_code: Some(1 << 20) }),
        ..Default::default()
    };
    let v1 = api::TaskStatus { check_status: Some(odd), state: 1, ..Default::default() };
    let read = status::from_v1(v1).expect("a status");
    assert_eq!((read.check, status::to_v1(&read).check_status), (None, Some(odd)));
}

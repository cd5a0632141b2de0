//! `CheckInfo`, `HealthCheck` and `CheckStatusInfo` (reference 5.1 rule 5, 6.6).
//!
//! Defaults of the v1 messages are filled in here. Like Mesos, a timeout of zero is none at all.

use kaon_kernel::cause::Cause;
use kaon_kernel::check::{Check, CheckStatus, CheckTarget, HealthCheck, HttpTarget, TcpTarget};
use kaon_kernel::time::Duration;

use super::{Error, command};
use crate::v1::mesos as v1;
use crate::v1::mesos::network_info::Protocol;

/// When a check is tried first, in seconds.
const DELAY_SECONDS: f64 = 15.0;
/// How long after a result it is tried again, in seconds.
const INTERVAL_SECONDS: f64 = 10.0;
/// How long a try may take, in seconds.
const TIMEOUT_SECONDS: f64 = 20.0;
/// How long failures of a health check are passed over, in seconds.
const GRACE_SECONDS: f64 = 10.0;
/// How many failures in a row end a task.
const FAILURES_MAX: u32 = 3;

fn rule<T>(text: &str) -> Result<T, Error> {
    Err(Error::Rule(Cause::CheckInvalid, text.to_owned()))
}

fn time(seconds: Option<f64>, default: f64, field: &'static str) -> Result<Duration, Error> {
    Duration::from_seconds(seconds.unwrap_or(default)).ok_or(Error::Time(field))
}

fn check(target: CheckTarget, delay: Option<f64>, interval: Option<f64>, timeout: Option<f64>) -> Result<Check, Error> {
    let timeout = time(timeout, TIMEOUT_SECONDS, "'timeout_seconds'")?;
    Ok(Check {
        target,
        delay: time(delay, DELAY_SECONDS, "'delay_seconds'")?,
        interval: time(interval, INTERVAL_SECONDS, "'interval_seconds'")?,
        timeout: if timeout == Duration::ZERO { Duration::MAX } else { timeout },
    })
}

fn run(info: &v1::CommandInfo) -> Result<CheckTarget, Error> {
    if info.value.is_none() {
        return rule("Command check must contain a value");
    }
    let (command, verdict) = command::from_v1(info.clone());
    verdict.map(|()| CheckTarget::Command(Box::new(command)))
}

fn ask(scheme: Option<&str>, at: TcpTarget, path: Option<&str>) -> Result<CheckTarget, Error> {
    let path = path.unwrap_or_default();
    if !path.is_empty() && !path.starts_with('/') {
        return rule("The path of an HTTP check must start with '/'");
    }
    if path.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return rule("The path of an HTTP check must not hold spaces or control characters");
    }
    let is_secure = match scheme {
        None | Some("http") => false,
        Some("https") => true,
        Some(_) => return rule("Unsupported HTTP health check scheme: expecting 'http' or 'https'"),
    };
    Ok(CheckTarget::Http(HttpTarget { is_secure, at, path: path.to_owned() }))
}

fn at(port: u32, protocol: Option<i32>) -> Result<TcpTarget, Error> {
    let Ok(port) = u16::try_from(port) else { return rule("The port of a check must be below 65536") };
    let is_ipv6 = match protocol.map(Protocol::try_from) {
        None | Some(Ok(Protocol::IPv4)) => false,
        Some(Ok(Protocol::IPv6)) => true,
        Some(Err(_)) => return rule("The protocol of a check must be IPv4 or IPv6"),
    };
    Ok(TcpTarget { is_ipv6, port })
}

/// A check from outside.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_from_v1(info: &v1::CheckInfo) -> Result<Check, Error> {
    use v1::check_info::Type;
    let target = match info.r#type.map(Type::try_from) {
        None => return rule("CheckInfo must specify 'type'"),
        Some(Ok(Type::Command)) => match &info.command {
            None => return rule("Expecting 'command' to be set for COMMAND check"),
            Some(command) => run(&command.command)?,
        },
        Some(Ok(Type::Http)) => match &info.http {
            None => return rule("Expecting 'http' to be set for HTTP check"),
            Some(http) => ask(None, at(http.port, None)?, http.path.as_deref())?,
        },
        Some(Ok(Type::Tcp)) => match &info.tcp {
            None => return rule("Expecting 'tcp' to be set for TCP check"),
            Some(tcp) => CheckTarget::Tcp(at(tcp.port, None)?),
        },
        Some(Ok(Type::Unknown) | Err(_)) => return rule("'UNKNOWN' is not a valid check type"),
    };
    check(target, info.delay_seconds, info.interval_seconds, info.timeout_seconds)
}

/// A health check from outside. A missing type is read off what is there.
///
/// # Errors
/// The first rule that it breaks; statuses of its own are not supported.
pub fn health_from_v1(info: &v1::HealthCheck) -> Result<HealthCheck, Error> {
    use v1::health_check::Type;
    let kind = match info.r#type {
        Some(kind) => Type::try_from(kind).ok(),
        None if info.command.is_some() && info.http.is_none() => Some(Type::Command),
        None if info.http.is_some() && info.command.is_none() => Some(Type::Http),
        None => return rule("HealthCheck must specify 'type'"),
    };
    let target = match kind {
        Some(Type::Command) => match &info.command {
            None => return rule("Expecting 'command' to be set for COMMAND health check"),
            Some(command) => run(command)?,
        },
        // `statuses` is read by nobody in Mesos either.
        Some(Type::Http) => match &info.http {
            None => return rule("Expecting 'http' to be set for HTTP health check"),
            Some(http) => ask(http.scheme.as_deref(), at(http.port, http.protocol)?, http.path.as_deref())?,
        },
        Some(Type::Tcp) => match &info.tcp {
            None => return rule("Expecting 'tcp' to be set for TCP health check"),
            Some(tcp) => CheckTarget::Tcp(at(tcp.port, tcp.protocol)?),
        },
        Some(Type::Unknown) | None => return rule("'UNKNOWN' is not a valid health check type"),
    };
    Ok(HealthCheck {
        check: check(target, info.delay_seconds, info.interval_seconds, info.timeout_seconds)?,
        failures_max: info.consecutive_failures.unwrap_or(FAILURES_MAX),
        grace: time(info.grace_period_seconds, GRACE_SECONDS, "'grace_period_seconds'")?,
    })
}

/// The typed form of a check's result, when it has one; a result that none of ours could be stays behind.
pub(super) fn take_status(status: &mut Option<v1::CheckStatusInfo>) -> Option<CheckStatus> {
    use v1::check_info::Type;
    let info = status.as_ref()?;
    let typed = match info.r#type.map(Type::try_from)? {
        Ok(Type::Command) => CheckStatus::Command(info.command.as_ref()?.exit_code),
        Ok(Type::Http) => {
            let code = info.http.as_ref()?.status_code;
            CheckStatus::Http(code.map(u16::try_from).transpose().ok()?)
        }
        Ok(Type::Tcp) => CheckStatus::Tcp(info.tcp.as_ref()?.succeeded),
        Ok(Type::Unknown) | Err(_) => return None,
    };
    if status_to_v1(typed) == *info {
        *status = None;
    }
    Some(typed)
}

/// The v1 form of a check's result.
pub fn status_to_v1(status: CheckStatus) -> v1::CheckStatusInfo {
    use v1::check_info::Type;
    use v1::check_status_info::{Command, Http, Tcp};
    let mut out = v1::CheckStatusInfo::default();
    match status {
        CheckStatus::Command(exit_code) => {
            out.r#type = Some(Type::Command as i32);
            out.command = Some(Command { exit_code });
        }
        CheckStatus::Http(code) => {
            out.r#type = Some(Type::Http as i32);
            out.http = Some(Http { status_code: code.map(u32::from) });
        }
        CheckStatus::Tcp(succeeded) => {
            out.r#type = Some(Type::Tcp as i32);
            out.tcp = Some(Tcp { succeeded });
        }
    }
    out
}

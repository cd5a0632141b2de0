//! `CheckInfo` and `HealthCheck`: reference 5.1 rule 5. This version carries out neither, so a valid one is refused by
//! name rather than dropped in silence.

use super::{Error, command};
use crate::v1::mesos as v1;

fn rule(text: &str) -> Result<(), Error> {
    Err(Error::Rule(text.to_owned()))
}

fn judge_times(times: &[(Option<f64>, &'static str)]) -> Result<(), Error> {
    match times.iter().find(|(time, _)| time.is_some_and(|time| !(0.0..=9.2e9).contains(&time))) {
        Some((_, field)) => Err(Error::Time(field)),
        None => Ok(()),
    }
}

fn judge_command(info: &v1::CommandInfo) -> Result<(), Error> {
    if info.value.is_none() {
        return rule("Command check must contain a value");
    }
    command::from_v1(info.clone()).1
}

fn judge_path(path: Option<&str>) -> Result<(), Error> {
    if path.is_none_or(|path| path.starts_with('/')) {
        Ok(())
    } else {
        rule("The path of an HTTP check must start with '/'")
    }
}

/// What is wrong with a check.
///
/// # Errors
/// The first rule that it breaks; a valid one is not supported.
pub fn judge_check(check: &v1::CheckInfo) -> Result<(), Error> {
    use v1::check_info::Type;
    match check.r#type.map(Type::try_from) {
        None => return rule("CheckInfo must specify 'type'"),
        Some(Ok(Type::Command)) => match &check.command {
            None => return rule("Expecting 'command' to be set for COMMAND check"),
            Some(command) => judge_command(&command.command)?,
        },
        Some(Ok(Type::Http)) => match &check.http {
            None => return rule("Expecting 'http' to be set for HTTP check"),
            Some(http) => judge_path(http.path.as_deref())?,
        },
        Some(Ok(Type::Tcp)) if check.tcp.is_none() => return rule("Expecting 'tcp' to be set for TCP check"),
        Some(Ok(Type::Tcp)) => {}
        Some(Ok(Type::Unknown) | Err(_)) => return rule("'UNKNOWN' is not a valid check type"),
    }
    judge_times(&[
        (check.delay_seconds, "'delay_seconds'"),
        (check.interval_seconds, "'interval_seconds'"),
        (check.timeout_seconds, "'timeout_seconds'"),
    ])?;
    Err(Error::Unsupported("TaskInfo.check"))
}

/// What is wrong with a health check. A missing type is read off what is there.
///
/// # Errors
/// The first rule that it breaks; a valid one is not supported.
pub fn judge_health(check: &v1::HealthCheck) -> Result<(), Error> {
    use v1::health_check::Type;
    let kind = match check.r#type {
        Some(kind) => Type::try_from(kind).ok(),
        None if check.command.is_some() && check.http.is_none() => Some(Type::Command),
        None if check.http.is_some() && check.command.is_none() => Some(Type::Http),
        None => return rule("HealthCheck must specify 'type'"),
    };
    match kind {
        Some(Type::Command) => match &check.command {
            None => return rule("Expecting 'command' to be set for COMMAND health check"),
            Some(command) => judge_command(command)?,
        },
        Some(Type::Http) => match &check.http {
            None => return rule("Expecting 'http' to be set for HTTP health check"),
            Some(http) => {
                judge_path(http.path.as_deref())?;
                if http.scheme.as_deref().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
                    return rule("Unsupported HTTP health check scheme: expecting 'http' or 'https'");
                }
            }
        },
        Some(Type::Tcp) if check.tcp.is_none() => return rule("Expecting 'tcp' to be set for TCP health check"),
        Some(Type::Tcp) => {}
        Some(Type::Unknown) | None => return rule("'UNKNOWN' is not a valid health check type"),
    }
    judge_times(&[
        (check.delay_seconds, "'delay_seconds'"),
        (check.interval_seconds, "'interval_seconds'"),
        (check.timeout_seconds, "'timeout_seconds'"),
        (check.grace_period_seconds, "'grace_period_seconds'"),
    ])?;
    Err(Error::Unsupported("TaskInfo.health_check"))
}

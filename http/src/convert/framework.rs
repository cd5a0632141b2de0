//! `FrameworkInfo` and the rules that it must keep (reference 3.1, 3.2).

use kaon_kernel::cause::Cause;
use kaon_kernel::framework::{Capability, FrameworkInfo};
use kaon_kernel::id::{FrameworkId, RoleName};
use kaon_kernel::resource::role;
use kaon_kernel::time::Duration;

use super::{Error, labels, rest_of, with_rest};
use crate::v1::mesos as v1;

/// A framework from outside, and the roles that it wants suppressed.
///
/// # Errors
/// The first rule that is broken. The text goes to the framework as an ERROR event.
pub fn from_v1(mut info: v1::FrameworkInfo, suppressed: &[String]) -> Result<(FrameworkInfo, Vec<RoleName>), Error> {
    let rule = |text: String| Error::Rule(Cause::FrameworkInvalid, text);
    let mut capabilities: Vec<Capability> = info
        .capabilities
        .iter()
        .filter_map(|one| Capability::ALL.into_iter().find(|known| Some(*known as i32) == one.r#type))
        .collect();
    capabilities.sort_unstable();
    capabilities.dedup();
    let multi_role = capabilities.contains(&Capability::MultiRole);
    if multi_role && info.role.is_some() {
        return Err(rule("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".to_owned()));
    }
    if !multi_role && !info.roles.is_empty() {
        return Err(rule(
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".to_owned(),
        ));
    }
    let single = info.role.take();
    let named = match multi_role {
        true => core::mem::take(&mut info.roles),
        false => vec![single.unwrap_or_else(|| role::DEFAULT.to_owned())],
    };
    let roles = roles(&named, "FrameworkInfo.roles")?;
    let suppressed_roles = self::roles(suppressed, "suppressed_roles")?;
    if let Some(stray) = suppressed_roles.iter().find(|stray| !roles.contains(stray)) {
        return Err(rule(format!("Suppressed role '{stray}' is not contained in the list of roles")));
    }
    let id = info.id.take().filter(|id| !id.value.is_empty());
    let id = id.map(|id| FrameworkId::parse(&id.value).map_err(|error| rule(format!("Invalid framework ID: {error}"))));
    let failover_timeout = match info.failover_timeout {
        None => Duration::ZERO,
        Some(seconds) => failover_time(seconds)
            .ok_or_else(|| rule(format!("The framework's 'failover_timeout' ({seconds}) is invalid")))?,
    };
    info.failover_timeout = info.failover_timeout.filter(|seconds| failover_timeout.as_seconds() != *seconds);
    judge_filters(&info)?;
    // Those that this version does not know are of no use to anybody.
    info.capabilities.clear();
    let typed = FrameworkInfo {
        id: id.transpose()?,
        user: core::mem::take(&mut info.user),
        name: core::mem::take(&mut info.name),
        roles,
        failover_timeout,
        checkpoint: info.checkpoint.take().unwrap_or(false),
        hostname: info.hostname.take().unwrap_or_default(),
        principal: info.principal.take(),
        webui_url: info.webui_url.take(),
        capabilities,
        labels: labels::take(&mut info.labels),
        rest: rest_of(&info),
    };
    Ok((typed, suppressed_roles))
}

fn roles(named: &[String], field: &str) -> Result<Vec<RoleName>, Error> {
    let mut roles = Vec::with_capacity(named.len());
    let mut seen = std::collections::BTreeSet::new();
    for name in named {
        let role = role::parse(name)?;
        if !seen.insert(role.clone()) {
            return Err(Error::Rule(Cause::FrameworkInvalid, format!("'{field}' contains duplicate items: '{role}'")));
        }
        roles.push(role);
    }
    Ok(roles)
}

/// How long a framework may be away. As in Mesos it may be said to be less than nothing, which is nothing.
fn failover_time(seconds: f64) -> Option<Duration> {
    Duration::from_seconds(seconds.abs()).map(|time| if seconds < 0.0 { Duration::ZERO } else { time })
}

fn judge_filters(info: &v1::FrameworkInfo) -> Result<(), Error> {
    let filters = info.offer_filters.iter().filter_map(|entry| entry.value.min_allocatable_resources.as_ref());
    for quantities in filters.flat_map(|minimum| &minimum.quantities) {
        if quantities.quantities.is_empty() {
            return Err(Error::Rule(
                Cause::FrameworkInvalid,
                "Resource quantities in 'offer_filters' must not be empty".to_owned(),
            ));
        }
        for entry in &quantities.quantities {
            if !(entry.value.value.is_finite() && entry.value.value >= 0.0) {
                return Err(Error::Quantity { name: entry.key.clone(), value: entry.value.value });
            }
        }
    }
    Ok(())
}

/// The v1 form.
pub fn to_v1(info: &FrameworkInfo) -> v1::FrameworkInfo {
    let mut out: v1::FrameworkInfo = with_rest(&info.rest);
    out.id = info.id.as_ref().map(|id| v1::FrameworkId { value: id.to_string() });
    out.user.clone_from(&info.user);
    out.name.clone_from(&info.name);
    let exact = out.failover_timeout.filter(|seconds| failover_time(*seconds) == Some(info.failover_timeout));
    out.failover_timeout = Some(exact.unwrap_or_else(|| info.failover_timeout.as_seconds()));
    out.checkpoint = Some(info.checkpoint);
    if info.has(Capability::MultiRole) {
        out.roles = info.roles.iter().map(ToString::to_string).collect();
    } else {
        out.role = info.roles.first().map(ToString::to_string);
    }
    out.hostname = Some(info.hostname.clone()).filter(|hostname| !hostname.is_empty());
    out.principal = info.principal.clone();
    out.webui_url = info.webui_url.clone();
    let capability = |one: &Capability| v1::framework_info::Capability { r#type: Some(*one as i32) };
    out.capabilities = info.capabilities.iter().map(capability).collect();
    if !info.labels.is_empty() {
        out.labels = labels::to_v1(&info.labels);
    }
    out
}

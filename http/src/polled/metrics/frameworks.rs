//! The numbers that bear the name of a framework, of a principal or of a role (reference 16).

use std::collections::BTreeMap;

use kaon_kernel::message::view::OfferFate;
use kaon_kernel::resource::{ResourceName, Totals};
use kaon_kernel::task::TaskState;

use crate::edge::MasterEdge;
use crate::metric::Sample;
use crate::view::{Framework, Snapshot};

/// How many of a framework's tasks are in each state, by the state's number.
pub(super) type States = [u64; TaskState::ALL.len()];

/// How many of its tasks are in which state. Cost: all its tasks.
pub(super) fn states(framework: &Framework) -> States {
    let mut states = [0; TaskState::ALL.len()];
    for held in framework.tasks.values() {
        states[held.task.state as usize] += 1;
    }
    states
}

/// Adds the numbers of one framework.
pub(super) fn of_framework(
    edge: &MasterEdge,
    id: &str,
    framework: &Framework,
    states: &States,
    samples: &mut Vec<Sample>,
) {
    let prefix = format!("master/frameworks/{}/{id}", encoded(&framework.view.info.name));
    let gauge = |name: String, value: f64| Sample::gauge(format!("{prefix}/{name}"), value);
    let counter = |name: String, count: u64| Sample::counter(format!("{prefix}/{name}"), count);
    let traffic = edge.traffic_of(id);
    samples.push(gauge("subscribed".to_owned(), f64::from(u8::from(framework.view.connected))));
    samples.push(counter("calls".to_owned(), traffic.all_calls()));
    samples.extend(traffic.calls().map(|(kind, calls)| counter(format!("calls/{kind}"), calls)));
    samples.push(counter("events".to_owned(), traffic.all_events()));
    samples.extend(traffic.events().map(|(kind, events)| counter(format!("events/{kind}"), events)));
    samples.push(counter("operations".to_owned(), traffic.all_operations()));
    samples.extend(traffic.operations_by_kind().map(|(kind, done)| counter(format!("operations/{kind}"), done)));
    samples.push(counter("offers/sent".to_owned(), framework.offers_made));
    for (word, fate) in
        [("accepted", OfferFate::Accepted), ("declined", OfferFate::Declined), ("rescinded", OfferFate::Rescinded)]
    {
        samples.push(counter(format!("offers/{word}"), framework.offers_over[fate as usize]));
    }
    for state in TaskState::ALL {
        let word = state.name().to_ascii_lowercase();
        samples.push(match state.is_terminal() {
            true => counter(format!("tasks/terminal/{word}"), framework.ended[state as usize]),
            false => gauge(format!("tasks/active/{word}"), states[state as usize] as f64),
        });
    }
    for role in &framework.view.info.roles {
        let is_suppressed = framework.suppressed.contains(role);
        samples.push(gauge(format!("roles/{}/suppressed", role.as_str()), f64::from(u8::from(is_suppressed))));
    }
}

/// Adds what the frameworks of each principal have sent: what is received is judged at once, so both numbers are the same.
pub(super) fn of_principals(edge: &MasterEdge, snapshot: &Snapshot, samples: &mut Vec<Sample>) {
    let mut calls: BTreeMap<&str, u64> = BTreeMap::new();
    for (id, framework) in snapshot.frameworks.iter() {
        if let Some(principal) = &framework.view.info.principal {
            *calls.entry(principal).or_default() += edge.traffic_of(id.as_str()).all_calls();
        }
    }
    for (principal, calls) in calls {
        for word in ["messages_received", "messages_processed"] {
            samples.push(Sample::counter(format!("frameworks/{principal}/{word}"), calls));
        }
    }
}

/// Adds the shares and quotas of roles. Cost: all tasks and offers.
pub(super) fn of_roles(snapshot: &Snapshot, samples: &mut Vec<Sample>) {
    let mut whole = Totals::default();
    snapshot.agents.values().filter(|view| view.registered).for_each(|view| whole.add(view.total()));
    for (name, role) in snapshot.roles() {
        let held = Totals::of(&role.held());
        if !role.frameworks.is_empty() {
            let parts = held.iter().map(|(name, amount)| match whole.of_name(name).as_scalar() {
                total if total > 0.0 => amount.as_scalar() / total,
                _ => 0.0,
            });
            let share = parts.fold(0.0, f64::max) / role.weight();
            samples.push(Sample::gauge(format!("allocator/mesos/roles/{}/shares/dominant", name.as_str()), share));
        }
        let Some(quota) = role.quota else { continue };
        let used = Totals::of(&role.used);
        let mut gauge = |resource: &ResourceName, word: &str, value: f64| {
            let (role, resource) = (name.as_str(), resource.as_str());
            let name = format!("allocator/mesos/quota/roles/{role}/resources/{resource}/{word}");
            samples.push(Sample::gauge(name, value));
        };
        for (resource, amount) in &quota.guarantees {
            gauge(resource, "guarantee", amount.as_scalar());
        }
        for (resource, amount) in &quota.limits {
            gauge(resource, "limit", amount.as_scalar());
        }
        let named = quota.guarantees.iter().chain(&quota.limits).map(|(resource, _)| resource);
        for resource in named.collect::<std::collections::BTreeSet<_>>() {
            gauge(resource, "offered_or_allocated", held.of_name(resource).as_scalar());
            gauge(resource, "consumed", used.of_name(resource).as_scalar());
        }
    }
}

/// A name as a part of a metric's, as libprocess encodes it: what a URL reserves or may not have becomes `%` and its number.
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        let is_special = b"$&+,/:;=?@ \"<>#%{}|\\^~[]`".contains(&byte) || !(0x20..0x7f).contains(&byte);
        match is_special {
            true => out.push_str(&format!("%{byte:02X}")),
            false => out.push(char::from(byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_frameworks_are_one_part_of_a_metrics_name() {
        assert_eq!(encoded("marathon-1.5_x"), "marathon-1.5_x");
        assert_eq!(encoded("a/b c%é"), "a%2Fb%20c%25%C3%A9");
    }
}

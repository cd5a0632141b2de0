//! The numbers that Mesos always publishes: every monitor finds each of their names, whether it has counted anything or not.

use std::collections::{BTreeMap, BTreeSet};

use crate::metric::Sample;

/// Counters of a master that something here counts, once it happens; 0 until then.
const MASTER_COUNTERS: &[&str] = &[
    "master/dropped_messages",
    "master/messages_decline_offers",
    "master/messages_executor_to_framework",
    "master/messages_exited_executor",
    "master/messages_framework_to_executor",
    "master/messages_kill_task",
    "master/messages_launch_tasks",
    "master/messages_operation_status_update",
    "master/messages_operation_status_update_acknowledgement",
    "master/messages_reconcile_operations",
    "master/messages_reconcile_tasks",
    "master/messages_register_slave",
    "master/messages_reregister_slave",
    "master/messages_resource_request",
    "master/messages_revive_offers",
    "master/messages_status_update",
    "master/messages_status_update_acknowledgement",
    "master/messages_suppress_offers",
    "master/messages_unregister_slave",
    "master/recovery_slave_removals",
    "master/slave_registrations",
    "master/slave_removals",
    "master/slave_removals/reason_registered",
    "master/slave_removals/reason_unhealthy",
    "master/slave_removals/reason_unregistered",
    "master/slave_reregistrations",
    "master/slave_unreachable_completed",
    "master/slave_unreachable_scheduled",
    "allocator/mesos/allocation_runs",
];

/// Gauges of a master that something here sets, once it has begun; 0 until then.
const MASTER_GAUGES: &[&str] = &[
    "allocator/mesos/resources/cpus/offered_or_allocated",
    "allocator/mesos/resources/cpus/total",
    "allocator/mesos/resources/disk/offered_or_allocated",
    "allocator/mesos/resources/disk/total",
    "allocator/mesos/resources/mem/offered_or_allocated",
    "allocator/mesos/resources/mem/total",
    "registrar/log/ensemble_size",
    "registrar/log/recovered",
    "registrar/queued_operations",
    "registrar/registry_size_bytes",
];

/// What of Mesos's master has nothing to count here and is always 0: requests do not wait in its mailbox, there are no
/// caches, nothing thins out removals, agents do not authenticate by messages, and only drivers deactivate frameworks.
pub(crate) const MASTER_NONE: &[&str] = &[
    "master/event_queue_dispatches",
    "master/event_queue_http_requests",
    "master/http_cache_hits",
    "master/messages_authenticate",
    "master/messages_deactivate_framework",
    "master/messages_update_slave",
    "master/slave_shutdowns_canceled",
    "master/slave_shutdowns_completed",
    "master/slave_shutdowns_scheduled",
    "master/slave_unreachable_canceled",
];

/// Counted messages, by the word in the names of those that are valid and those that are not.
const JUDGED: [(&str, &str); 6] = [
    ("messages_status_update", "status_updates"),
    ("messages_status_update_acknowledgement", "status_update_acknowledgements"),
    ("messages_operation_status_update", "operation_status_updates"),
    ("messages_operation_status_update_acknowledgement", "operation_status_update_acknowledgements"),
    ("messages_executor_to_framework", "executor_to_framework_messages"),
    ("messages_framework_to_executor", "framework_to_executor_messages"),
];

/// Our numbers that are a number of Mesos's under another name.
const ALIASES: [(&str, &str); 3] = [
    ("runtime/mailbox_depth/master", "master/event_queue_messages"),
    ("runtime/mailbox_depth/allocator", "allocator/mesos/event_queue_dispatches"),
    ("runtime/mailbox_depth/allocator", "allocator/event_queue_dispatches"),
];

/// Counters of an agent that something here counts, once it happens; 0 until then.
const AGENT_COUNTERS: &[&str] = &[
    "gc/path_removals_failed",
    "gc/path_removals_succeeded",
    "slave/container_launch_errors",
    "slave/executors_terminated",
    "slave/invalid_framework_messages",
    "slave/invalid_status_updates",
    "slave/recovery_errors",
    "slave/valid_framework_messages",
    "slave/valid_status_updates",
];

/// Gauges of an agent, likewise.
const AGENT_GAUGES: &[&str] = &["gc/path_removals_pending", "slave/recovery_time_secs", "slave/registered"];

/// What of Mesos's agent has nothing to count here and is always 0: there are no resource providers, nothing preempts
/// executors, and what a container leaves behind is swept until it is gone.
pub(crate) const AGENT_NONE: &[&str] = &[
    "containerizer/mesos/container_destroy_errors",
    "containerizer/mesos/filesystem/containers_new_rootfs",
    "containerizer/mesos/provisioner/bind/remove_rootfs_errors",
    "containerizer/mesos/provisioner/remove_container_errors",
    "resource_provider_manager/events/disconnect",
    "resource_provider_manager/events/subscribe",
    "resource_provider_manager/subscribed",
    "slave/executors_preempted",
];

/// Completes the numbers of a master.
pub(super) fn of_master(samples: &mut Vec<Sample>) {
    let known: BTreeMap<&str, f64> = samples.iter().map(|sample| (sample.name.as_str(), sample.value)).collect();
    let value = |name: &str| known.get(name).copied().unwrap_or(0.0);
    let mut more = Vec::new();
    for (messages, judged) in JUDGED {
        let invalid = value(&format!("master/invalid_{judged}"));
        // A message is counted before it is judged, so this is never below zero but while both are being counted.
        let valid = (value(&format!("master/{messages}")) - invalid).max(0.0);
        more.push(Sample::counter(format!("master/invalid_{judged}"), invalid as u64));
        more.push(Sample::counter(format!("master/valid_{judged}"), valid as u64));
    }
    more.extend(ALIASES.map(|(ours, name)| Sample::gauge(name, value(ours))));
    more.extend(none(MASTER_COUNTERS.iter().chain(MASTER_NONE), Sample::counter));
    more.extend(none(MASTER_GAUGES, |name, _| Sample::gauge(name, 0.0)));
    add_missing(samples, more);
}

/// Completes the numbers of an agent.
pub(crate) fn of_agent(samples: &mut Vec<Sample>) {
    let mut more: Vec<Sample> = none(AGENT_COUNTERS.iter().chain(AGENT_NONE), Sample::counter).collect();
    more.extend(none(AGENT_GAUGES, |name, _| Sample::gauge(name, 0.0)));
    add_missing(samples, more);
}

fn none<'a>(
    names: impl IntoIterator<Item = &'a &'static str>,
    make: impl Fn(&'static str, u64) -> Sample,
) -> impl Iterator<Item = Sample> {
    names.into_iter().map(move |name| make(name, 0))
}

fn add_missing(samples: &mut Vec<Sample>, more: Vec<Sample>) {
    let known: BTreeSet<String> = samples.iter().map(|sample| sample.name.clone()).collect();
    samples.extend(more.into_iter().filter(|sample| !known.contains(&sample.name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_what_is_always_zero() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operating.md");
        let manual = std::fs::read_to_string(path).expect("the manual");
        let table = manual.split("<!-- metrics-none -->").nth(1).and_then(|rest| rest.split("<!-- /").next());
        let rows = table.expect("the table").lines().filter_map(|row| row.split('|').nth(1));
        let named: BTreeSet<&str> = rows.flat_map(|names| names.split('`').skip(1).step_by(2)).collect();
        assert_eq!(named, MASTER_NONE.iter().chain(AGENT_NONE).copied().collect());
    }

    #[test]
    fn what_is_not_invalid_is_valid_and_nothing_is_there_twice() {
        let mut samples = vec![
            Sample::counter("master/messages_status_update", 7),
            Sample::counter("master/invalid_status_updates", 2),
            Sample::gauge("runtime/mailbox_depth/master", 3.0),
        ];
        of_master(&mut samples);
        let value = |name: &str| samples.iter().find(|sample| sample.name == name).map(|sample| sample.value);
        assert_eq!(value("master/valid_status_updates"), Some(5.0));
        assert_eq!(value("master/event_queue_messages"), Some(3.0));
        assert_eq!(value("master/messages_kill_task"), Some(0.0));
        let names: BTreeSet<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
        assert_eq!(names.len(), samples.len());
    }
}

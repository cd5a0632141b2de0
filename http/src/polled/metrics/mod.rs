//! The numbers of a master that are read off the snapshot, under Mesos's names (reference 16).

pub(crate) mod always;
mod frameworks;

use kaon_kernel::operation::OperationState;
use kaon_kernel::resource::operation::Operation;
use kaon_kernel::resource::{Resource, ResourceName, Resources, Totals};
use kaon_kernel::task::TaskState;

use crate::edge::MasterEdge;
use crate::metric::Sample;
use crate::view::Snapshot;

/// Resources that have `_total`, `_used` and `_percent`.
const COUNTED: [ResourceName; 4] = [ResourceName::Cpus, ResourceName::Gpus, ResourceName::Mem, ResourceName::Disk];

/// What operations do, in Mesos's words. The last two need resource providers.
const OPERATIONS: [&str; 8] =
    ["reserve", "unreserve", "create", "destroy", "grow_volume", "shrink_volume", "create_disk", "destroy_disk"];

/// The states that operations are counted by.
const OPERATION_STATES: [OperationState; 8] = [
    OperationState::Pending,
    OperationState::Recovering,
    OperationState::Unreachable,
    OperationState::Finished,
    OperationState::Failed,
    OperationState::Error,
    OperationState::Dropped,
    OperationState::GoneByOperator,
];

/// Adds them. Cost: all tasks.
pub(crate) fn of_cluster(edge: &MasterEdge, snapshot: &Snapshot, samples: &mut Vec<Sample>) {
    let mut gauge = |name: &str, value: f64| samples.push(Sample::gauge(format!("master/{name}"), value));
    gauge("uptime_secs", edge.uptime_seconds());
    gauge("elected", f64::from(u8::from(edge.is_leading())));
    let agents = |wanted: fn(&kaon_kernel::message::view::AgentView) -> bool| {
        let all = snapshot.agents.values();
        all.filter(|view| view.registered && wanted(view)).count() as f64
    };
    gauge("slaves_connected", agents(|view| view.connected));
    gauge("slaves_active", agents(|view| view.active));
    gauge("slaves_disconnected", agents(|view| !view.connected));
    gauge("slaves_inactive", agents(|view| !view.active));
    gauge("slaves_unreachable", snapshot.unreachable.len() as f64);
    let frameworks = |wanted: fn(&kaon_kernel::message::view::FrameworkView) -> bool| {
        snapshot.frameworks.values().filter(|framework| wanted(&framework.view)).count() as f64
    };
    gauge("frameworks_connected", frameworks(|view| view.connected));
    gauge("frameworks_disconnected", frameworks(|view| !view.connected));
    gauge("frameworks_active", frameworks(|view| view.active));
    gauge("frameworks_inactive", frameworks(|view| !view.active));
    gauge("outstanding_offers", snapshot.offers.len() as f64);
    gauge("operator_event_stream_subscribers", edge.view.watchers() as f64);
    let mut states = [0_u64; TaskState::ALL.len()];
    let mut of_frameworks = Vec::new();
    for (id, framework) in snapshot.frameworks.iter() {
        let own = frameworks::states(framework);
        states.iter_mut().zip(own).for_each(|(all, own)| *all += own);
        if edge.config.framework_metrics {
            frameworks::of_framework(edge, id.as_str(), framework, &own, &mut of_frameworks);
        }
    }
    for state in TaskState::ALL.into_iter().filter(|state| !state.is_terminal() && *state != TaskState::Unknown) {
        gauge(&task_metric(state), states[state as usize] as f64);
    }
    of_operations(snapshot, samples);
    let used = snapshot.users().map(|(_, bag)| bag);
    let all = snapshot.agents.values().filter(|view| view.registered).map(|view| view.total());
    amounts("master", all, used, samples);
    for ((state, source, reason), count) in snapshot.reasons.iter() {
        samples.push(Sample::counter(reason_metric(*state, *source, *reason), *count));
    }
    for state in TaskState::ALL.into_iter().filter(|state| state.is_terminal()) {
        let name = format!("master/{}", task_metric(state));
        samples.push(Sample::counter(name, snapshot.ended[state as usize]));
    }
    samples.extend(of_frameworks);
    frameworks::of_principals(edge, snapshot, samples);
    frameworks::of_roles(snapshot, samples);
    always::of_master(samples);
}

/// The operations that are held until their end is acknowledged, by state and by what they do. Those that were refused have
/// no kind, and are counted since this master began.
fn of_operations(snapshot: &Snapshot, samples: &mut Vec<Sample>) {
    let mut by_kind = [[0_u64; OperationState::ALL.len()]; OPERATIONS.len()];
    for held in snapshot.operations.values() {
        let kind = match held.operation {
            Operation::Reserve { .. } => 0,
            Operation::Unreserve { .. } => 1,
            Operation::Create { .. } => 2,
            Operation::Destroy { .. } => 3,
            Operation::Grow { .. } => 4,
            Operation::Shrink { .. } => 5,
        };
        by_kind[kind][held.status.state as usize] += 1;
    }
    let refused = samples.iter().find(|sample| sample.name == "master/invalid_operations");
    let refused = refused.map_or(0.0, |sample| sample.value);
    let mut gauge = |name: String, value: f64| samples.push(Sample::gauge(format!("master/operations/{name}"), value));
    gauge("total".to_owned(), snapshot.operations.len() as f64);
    for (kind, states) in OPERATIONS.iter().zip(&by_kind) {
        gauge(format!("{kind}/total"), states.iter().sum::<u64>() as f64);
    }
    for state in OPERATION_STATES {
        let word = state.name().strip_prefix("OPERATION_").unwrap_or(state.name()).to_ascii_lowercase();
        let held: u64 = by_kind.iter().map(|states| states[state as usize]).sum();
        let more = if state == OperationState::Error { refused } else { 0.0 };
        gauge(word.clone(), held as f64 + more);
        for (kind, states) in OPERATIONS.iter().zip(&by_kind) {
            gauge(format!("{kind}/{word}"), states[state as usize] as f64);
        }
    }
}

fn task_metric(state: TaskState) -> String {
    let word = state.name().strip_prefix("TASK_").unwrap_or(state.name());
    format!("tasks_{}", word.to_ascii_lowercase())
}

/// `master/task_lost/source_master/reason_slave_removed`: state, source and reason in the words of the old protocol.
fn reason_metric(state: u8, source: u8, reason: u8) -> String {
    use crate::v1::mesos::task_status::{Reason, Source};
    let state = crate::v1::mesos::TaskState::try_from(i32::from(state)).map_or("", |state| state.as_str_name());
    let source = Source::try_from(i32::from(source)).map_or("", |source| source.as_str_name());
    let reason = Reason::try_from(i32::from(reason)).map_or("", |reason| reason.as_str_name());
    format!("master/{state}/{source}/{reason}").to_ascii_lowercase().replace("agent", "slave")
}

/// `cpus_total`, `cpus_used`, `cpus_percent` and their kin, revocable ones apart.
pub(crate) fn amounts<'a>(
    whose: &str,
    all: impl Iterator<Item = &'a Resources>,
    used: impl Iterator<Item = &'a Resources>,
    samples: &mut Vec<Sample>,
) {
    let (all, used) = (split(all), split(used));
    for (suffix, at) in [("", 0), ("_revocable", 1)] {
        for name in COUNTED {
            let (have, taken) = (all[at].of_name(&name).as_scalar(), used[at].of_name(&name).as_scalar());
            let percent = if have > 0.0 { taken / have } else { 0.0 };
            for (word, value) in [("total", have), ("used", taken), ("percent", percent)] {
                samples.push(Sample::gauge(format!("{whose}/{}{suffix}_{word}", name.as_str()), value));
            }
        }
    }
}

/// What can't be taken back, and what can.
fn split<'a>(bags: impl Iterator<Item = &'a Resources>) -> [Totals; 2] {
    let mut totals = [Totals::default(), Totals::default()];
    for bag in bags {
        match bag.iter().any(Resource::is_revocable) {
            // Most machines have nothing that can be taken back.
            false => totals[0].add(bag),
            true => {
                totals[0].add(&bag.filter(|entry| !entry.is_revocable()));
                totals[1].add(&bag.filter(Resource::is_revocable));
            }
        }
    }
    totals
}

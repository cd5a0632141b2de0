//! The numbers of a master that are read off the snapshot, under Mesos's names (reference 16).

use kaon_kernel::operation::OperationState;
use kaon_kernel::resource::{Resource, ResourceName, Resources, Totals};
use kaon_kernel::task::TaskState;

use crate::edge::MasterEdge;
use crate::metric::Sample;
use crate::view::Snapshot;

/// Resources that have `_total`, `_used` and `_percent`.
const COUNTED: [ResourceName; 4] = [ResourceName::Cpus, ResourceName::Gpus, ResourceName::Mem, ResourceName::Disk];

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
    for held in snapshot.frameworks.values().flat_map(|framework| framework.tasks.values()) {
        states[held.task.state as usize] += 1;
    }
    for state in TaskState::ALL.into_iter().filter(|state| !state.is_terminal() && *state != TaskState::Unknown) {
        gauge(&task_metric(state), states[state as usize] as f64);
    }
    let mut operations = [0_u64; OperationState::ALL.len()];
    for held in snapshot.operations.values() {
        operations[held.status.state as usize] += 1;
    }
    gauge("operations/total", snapshot.operations.len() as f64);
    // Those that the master forgets as soon as they are so have no number.
    for state in [OperationState::Pending, OperationState::Finished, OperationState::Failed, OperationState::Dropped] {
        let word = state.name().strip_prefix("OPERATION_").unwrap_or(state.name()).to_ascii_lowercase();
        gauge(&format!("operations/{word}"), operations[state as usize] as f64);
    }
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

//! The numbers of a master that are read off the snapshot, under Mesos's names (reference 16).

use kaon_kernel::operation::OperationState;
use kaon_kernel::resource::{ResourceName, Resources, Totals};
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
    let used = total(snapshot.used_by_agent().values());
    let all = total(snapshot.agents.values().filter(|view| view.registered).map(|view| view.total()));
    for name in COUNTED {
        let (have, taken) = (all.of_name(&name).as_scalar(), used.of_name(&name).as_scalar());
        gauge(&format!("{}_total", name.as_str()), have);
        gauge(&format!("{}_used", name.as_str()), taken);
        gauge(&format!("{}_percent", name.as_str()), if have > 0.0 { taken / have } else { 0.0 });
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

fn total<'a>(bags: impl Iterator<Item = &'a Resources>) -> Totals {
    let mut totals = Totals::default();
    bags.for_each(|bag| totals.add(bag));
    totals
}

//! `TaskStatus` (reference 8).

use kaon_kernel::cause::Cause;
use kaon_kernel::id::{AgentId, ContainerId, ExecutorId, TaskId, Uuid};
use kaon_kernel::task::{ContainerStatus, Reason, Source, TaskState, TaskStatus};
use kaon_kernel::time::WallTime;

use super::resource::{self, Form};
use super::{Error, health, labels, rest_of, time_info, with_rest};
use crate::v1::mesos as v1;

/// The reasons in order of their numbers.
const REASONS: [Reason; 35] = [
    Reason::CommandExecutorFailed,
    Reason::ExecutorTerminated,
    Reason::ExecutorUnregistered,
    Reason::FrameworkRemoved,
    Reason::GcError,
    Reason::InvalidFrameworkId,
    Reason::InvalidOffers,
    Reason::MasterDisconnected,
    Reason::ContainerLimitationMemory,
    Reason::Reconciliation,
    Reason::AgentDisconnected,
    Reason::AgentRemoved,
    Reason::AgentRestarted,
    Reason::AgentUnknown,
    Reason::TaskInvalid,
    Reason::TaskUnauthorized,
    Reason::TaskUnknown,
    Reason::ContainerPreempted,
    Reason::ResourcesUnknown,
    Reason::ContainerLimitation,
    Reason::ContainerLimitationDisk,
    Reason::ContainerLaunchFailed,
    Reason::ContainerUpdateFailed,
    Reason::ExecutorRegistrationTimeout,
    Reason::ExecutorReregistrationTimeout,
    Reason::TaskGroupInvalid,
    Reason::TaskGroupUnauthorized,
    Reason::IoSwitchboardExited,
    Reason::TaskCheckStatusUpdated,
    Reason::TaskHealthCheckStatusUpdated,
    Reason::TaskKilledDuringLaunch,
    Reason::AgentRemovedByOperator,
    Reason::AgentReregistered,
    Reason::MaxCompletionTimeReached,
    Reason::AgentDraining,
];

/// The state of a number.
pub fn state(number: i32) -> Option<TaskState> {
    TaskState::ALL.get(usize::try_from(number).ok()?).copied()
}

fn wall(seconds: f64) -> WallTime {
    // Out of range saturates, and what is no number becomes zero: a time stamp is for people.
    WallTime((seconds * 1e9).round() as u64)
}

/// A status from outside.
///
/// # Errors
/// A state or uuid that is none; source and reason of another version are dropped.
pub fn from_v1(mut status: v1::TaskStatus) -> Result<TaskStatus, Error> {
    let rule = |text: &str| Error::Rule(Cause::StatusInvalid, text.to_owned());
    let state = state(status.state).ok_or_else(|| rule("TaskStatus has no known state"))?;
    let uuid = status.uuid.take().map(|bytes| <[u8; 16]>::try_from(bytes.as_slice()));
    let uuid = uuid.transpose().map_err(|_| rule("TaskStatus 'uuid' must be of 16 bytes"))?;
    let timestamp = wall(status.timestamp.unwrap_or_default());
    // What a time in nanoseconds can't say exactly stays behind.
    status.timestamp = status.timestamp.filter(|seconds| timestamp.as_seconds() != *seconds);
    status.state = v1::TaskStatus::default().state;
    let source = match status.source.take().map(v1::task_status::Source::try_from) {
        Some(Ok(v1::task_status::Source::Agent)) => Source::Agent,
        Some(Ok(v1::task_status::Source::Master)) => Source::Master,
        _ => Source::Executor,
    };
    let reason = status.reason.take().and_then(|number| REASONS.get(usize::try_from(number).ok()?).copied());
    let unreachable_time = status.unreachable_time.take();
    // Resources that do not add up stay behind as they are.
    let broken = status.limitation.as_ref().and_then(|limitation| resource::from_v1(&limitation.resources).ok());
    let limitation = broken.filter(|(resources, _)| !resources.is_empty()).map(|(resources, _)| Box::new(resources));
    if limitation.is_some() {
        status.limitation = None;
    }
    Ok(TaskStatus {
        task_id: TaskId::trusted(core::mem::take(&mut status.task_id.value)),
        state,
        source,
        reason,
        message: status.message.take(),
        uuid: uuid.map(Uuid),
        timestamp,
        agent_id: status.agent_id.take().map(|id| AgentId::trusted(id.value)),
        executor_id: status.executor_id.take().map(|id| ExecutorId::trusted(id.value)),
        data: status.data.take(),
        healthy: status.healthy.take(),
        check: health::take_status(&mut status.check_status),
        labels: labels::take(&mut status.labels),
        container: take_container(&mut status.container_status),
        unreachable_time: unreachable_time.map(|time| WallTime(u64::try_from(time.nanoseconds).unwrap_or(0))),
        limitation,
        rest: rest_of(&status),
    })
}

/// Takes the container's id and process out; its networks stay behind whole, and their addresses are noted.
fn take_container(status: &mut Option<v1::ContainerStatus>) -> Option<ContainerStatus> {
    let inner = status.as_mut()?;
    let id = inner.container_id.as_mut()?;
    let container_id = ContainerId::trusted(core::mem::take(&mut id.value));
    let mut parent = None;
    if id.parent.as_ref().is_some_and(|parent| parent.parent.is_none()) {
        parent = id.parent.take().map(|parent| Box::new(ContainerId::trusted(parent.value)));
    }
    if id.parent.is_none() {
        inner.container_id = None;
    }
    let executor_pid = inner.executor_pid.take();
    let addresses = inner.network_infos.iter().flat_map(|network| &network.ip_addresses);
    let ip_addresses = addresses.filter_map(|address| address.ip_address.clone()).collect();
    if *inner == v1::ContainerStatus::default() {
        *status = None;
    }
    Some(ContainerStatus { container_id, parent, executor_pid, ip_addresses })
}

/// The number of a reason in the v1 API.
pub fn reason_number(reason: Reason) -> i32 {
    i32::from(reason as u8)
}

/// The v1 form.
pub fn to_v1(status: &TaskStatus) -> v1::TaskStatus {
    let mut out: v1::TaskStatus = with_rest(&status.rest);
    out.task_id.value = status.task_id.to_string();
    out.state = i32::from(status.state as u8);
    out.source = Some(i32::from(status.source as u8));
    out.reason = status.reason.map(reason_number);
    out.message = status.message.clone();
    out.uuid = status.uuid.map(|uuid| uuid.0.to_vec());
    let exact = out.timestamp.filter(|seconds| wall(*seconds) == status.timestamp);
    out.timestamp = Some(exact.unwrap_or_else(|| status.timestamp.as_seconds()));
    out.agent_id = status.agent_id.as_ref().map(|id| v1::AgentId { value: id.to_string() });
    out.executor_id = status.executor_id.as_ref().map(|id| v1::ExecutorId { value: id.to_string() });
    out.data = status.data.clone();
    out.healthy = status.healthy;
    if let Some(check) = status.check {
        out.check_status.get_or_insert_with(|| health::status_to_v1(check));
    }
    if !status.labels.is_empty() {
        out.labels = labels::to_v1(&status.labels);
    }
    if let Some(container) = &status.container {
        write_container(container, out.container_status.get_or_insert_default());
    }
    out.unreachable_time = status.unreachable_time.map(time_info);
    if let Some(resources) = &status.limitation {
        let resources = resource::to_v1(resources, Form::Endpoint, None);
        out.limitation = Some(v1::TaskResourceLimitation { resources });
    }
    out
}

/// Where a task or an executor runs.
pub(crate) fn container_to_v1(container: &ContainerStatus) -> v1::ContainerStatus {
    let mut out = v1::ContainerStatus::default();
    write_container(container, &mut out);
    out
}

fn write_container(container: &ContainerStatus, out: &mut v1::ContainerStatus) {
    let id = out.container_id.get_or_insert_default();
    id.value = container.container_id.to_string();
    if let Some(parent) = &container.parent {
        id.parent = Some(Box::new(v1::ContainerId { value: parent.to_string(), parent: None }));
    }
    out.executor_pid = container.executor_pid;
    if out.network_infos.is_empty() && !container.ip_addresses.is_empty() {
        let addresses = container.ip_addresses.iter().map(|address| {
            let protocol =
                if address.contains(':') { v1::network_info::Protocol::IPv6 } else { v1::network_info::Protocol::IPv4 };
            v1::network_info::IpAddress { protocol: Some(protocol as i32), ip_address: Some(address.clone()) }
        });
        out.network_infos = vec![v1::NetworkInfo { ip_addresses: addresses.collect(), ..v1::NetworkInfo::default() }];
    }
}

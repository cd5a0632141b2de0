//! `TaskInfo`, and `Task` as the API shows it (reference 5.1, 8.1).

use kaon_kernel::check::Checks;
use kaon_kernel::id::{AgentId, RoleName, TaskId};
use kaon_kernel::placement::label;
use kaon_kernel::resource::{Resources, role};
use kaon_kernel::task::{Task, TaskInfo};

use super::resource::{self, Form};
use super::{
    Error, command, container, duration, duration_info, executor, health, labels, limits, rest_of, secret, status,
    with_rest,
};
use crate::v1::mesos as v1;

/// A task from outside. The first rule that it breaks is its defect. `framework_id` is the caller's.
pub fn from_v1(mut task: v1::TaskInfo, framework_id: &str) -> TaskInfo {
    let mut verdict = Ok(());
    let mut note = |result: Result<(), Error>| {
        if verdict.is_ok() {
            verdict = result;
        }
    };
    let mut kill_grace = None;
    if let Some(policy) = &mut task.kill_policy
        && let Some(grace) = policy.grace_period.take()
    {
        match duration(&grace, "Task's 'kill_policy.grace_period'") {
            Ok(grace) => kill_grace = Some(grace),
            Err(error) => note(Err(error)),
        }
        task.kill_policy = None;
    }
    let max_completion_time = task.max_completion_time.take().and_then(|longest| {
        let longest = duration(&longest, "Task's 'max_completion_time'");
        longest.map_err(|error| note(Err(error))).ok()
    });
    let check = task.check.as_ref().map(health::check_from_v1).transpose().unwrap_or_else(|error| {
        note(Err(error));
        None
    });
    let health = task.health_check.as_ref().map(health::health_from_v1).transpose().unwrap_or_else(|error| {
        note(Err(error));
        None
    });
    let (resources, allocation) = resource::from_v1(&core::mem::take(&mut task.resources)).unwrap_or_else(|error| {
        note(Err(error));
        (Resources::new(), None)
    });
    let command = task.command.take().map(|info| {
        let (command, verdict) = command::from_v1(info);
        note(verdict);
        command
    });
    let container = task.container.as_ref().map(container::from_v1).transpose().unwrap_or_else(|error| {
        note(Err(error));
        None
    });
    secret::conceal(task.container.as_mut());
    // In a group it may be false, but that is not served; outside of one it may not (rule 13).
    if container::shares_cgroups(task.container.as_ref()) == Some(false) {
        note(Err(Error::Unsupported("LinuxInfo.share_cgroups=false")));
    }
    let entries = task.limits.iter().map(|entry| (entry.key.as_str(), entry.value.value));
    let limits = limits::from_v1(entries, &resources).unwrap_or_else(|error| {
        note(Err(error));
        None
    });
    let allocated = task.executor.as_ref().and_then(|info| resource::allocation(&info.resources));
    let allocation = match (allocation, allocated) {
        (Some(own), Some(other)) if own != other => {
            note(Err(Error::Allocations(own.clone(), other.to_owned())));
            Some(own)
        }
        (own, other) => own.or_else(|| other.map(str::to_owned)),
    };
    let executor = task.executor.take().map(|info| {
        let (executor, verdict) = executor::from_v1(info, framework_id);
        note(verdict);
        executor
    });
    let labels = labels::take(&mut task.labels);
    let placement = label::parse(&labels).unwrap_or_else(|error| {
        note(Err(error.into()));
        None
    });
    TaskInfo {
        name: core::mem::take(&mut task.name),
        task_id: TaskId::trusted(core::mem::take(&mut task.task_id.value)),
        agent_id: AgentId::trusted(core::mem::take(&mut task.agent_id.value)),
        resources,
        limits,
        container: container.flatten(),
        role: RoleName::trusted(allocation.unwrap_or_else(|| role::DEFAULT.to_owned())),
        command,
        executor,
        kill_grace,
        max_completion_time,
        checks: (check.is_some() || health.is_some()).then(|| Box::new(Checks { health, check })),
        data: task.data.take(),
        labels,
        placement: placement.map(Box::new),
        defect: verdict.err().map(|error| Box::new(error.into())),
        rest: rest_of(&task),
    }
}

/// The v1 form, for executors: as the framework wrote it, with what the master has filled in.
pub fn to_v1(task: &TaskInfo, framework_id: &str, form: Form) -> v1::TaskInfo {
    let mut out: v1::TaskInfo = with_rest(&task.rest);
    let role = Some(task.role.as_str());
    out.name.clone_from(&task.name);
    out.task_id.value = task.task_id.to_string();
    out.agent_id.value = task.agent_id.to_string();
    out.resources = resource::to_v1(&task.resources, form, role);
    out.command = task.command.as_ref().map(command::to_v1);
    out.executor = task.executor.as_ref().map(|info| executor::to_v1(info, framework_id, form, role));
    if let Some(grace) = task.kill_grace {
        out.kill_policy = Some(v1::KillPolicy { grace_period: Some(duration_info(grace)) });
    }
    out.max_completion_time = task.max_completion_time.map(duration_info);
    out.data = task.data.clone();
    if !task.labels.is_empty() {
        out.labels = labels::to_v1(&task.labels);
    }
    out
}

/// As whom a task or its executor runs, where its framework said so.
pub(crate) fn user(info: &TaskInfo) -> Option<&str> {
    let command = info.command.as_ref().and_then(|command| command.user.as_deref());
    command.or_else(|| info.executor.as_ref()?.command.as_ref()?.user.as_deref())
}

/// A task as the operator's endpoints show it. The executor of a command is not named, as in Mesos.
pub fn shown_to_v1(task: &Task, framework_id: &str, role: &str) -> v1::Task {
    let info = &task.info;
    let rest: v1::TaskInfo = with_rest(&info.rest);
    v1::Task {
        name: info.name.clone(),
        task_id: v1::TaskId { value: info.task_id.to_string() },
        framework_id: v1::FrameworkId { value: framework_id.to_owned() },
        executor_id: info.executor.as_ref().map(|_| v1::ExecutorId { value: task.executor_id.to_string() }),
        agent_id: v1::AgentId { value: info.agent_id.to_string() },
        state: i32::from(task.state as u8),
        resources: resource::to_v1(&info.resources, Form::Endpoint, Some(role)),
        statuses: task.statuses.iter().map(status::to_v1).collect(),
        status_update_state: task.unacknowledged.map(|(state, _)| i32::from(state as u8)),
        status_update_uuid: task.unacknowledged.map(|(_, uuid)| uuid.0.to_vec()),
        labels: labels::to_v1(&info.labels),
        discovery: rest.discovery,
        container: rest.container,
        health_check: rest.health_check,
        kill_policy: info.kill_grace.map(|grace| v1::KillPolicy { grace_period: Some(duration_info(grace)) }),
        user: user(info).map(str::to_owned),
        limits: rest
            .limits
            .into_iter()
            .map(|entry| v1::task::LimitsEntry { key: entry.key, value: entry.value })
            .collect(),
    }
}

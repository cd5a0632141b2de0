//! `ExecutorInfo` (reference 5.1 rules 7, 8 and 11).

use kaon_kernel::cause::Cause;
use kaon_kernel::id::ExecutorId;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{ExecutorInfo, ExecutorKind};

use super::resource::{self, Form};
use super::{Error, command, container, duration, duration_info, labels, rest_of, secret, with_rest};
use crate::v1::mesos as v1;
use crate::v1::mesos::executor_info::Type;

/// An executor from outside and the first rule that it breaks. `framework_id` is the caller's: the executor may name no
/// other.
pub fn from_v1(mut executor: v1::ExecutorInfo, framework_id: &str) -> (ExecutorInfo, Result<(), Error>) {
    let mut verdict = Ok(());
    let mut note = |result: Result<(), Error>| {
        if verdict.is_ok() {
            verdict = result;
        }
    };
    let kind = match executor.r#type.map(Type::try_from) {
        None | Some(Ok(Type::Custom)) => ExecutorKind::Custom,
        Some(Ok(Type::Default)) => ExecutorKind::Default,
        Some(Ok(Type::Unknown) | Err(_)) => {
            note(Err(Error::Rule(Cause::ExecutorInvalid, "Unknown executor type".to_owned())));
            ExecutorKind::Custom
        }
    };
    if executor.framework_id.take().is_some_and(|named| named.value != framework_id) {
        note(Err(Error::Rule(
            Cause::ExecutorInvalid,
            format!("ExecutorInfo has an invalid FrameworkID (expected {framework_id})"),
        )));
    }
    let shutdown_grace = executor.shutdown_grace_period.take().and_then(|grace| {
        let grace = duration(&grace, "ExecutorInfo's 'shutdown_grace_period'");
        grace.map_err(|error| note(Err(error))).ok()
    });
    let command = executor.command.take().map(|info| {
        let (command, verdict) = command::from_v1(info);
        note(verdict);
        command
    });
    let container = executor.container.as_ref().map(container::from_v1).transpose().unwrap_or_else(|error| {
        note(Err(error));
        None
    });
    secret::conceal(executor.container.as_mut());
    if kind == ExecutorKind::Default
        && let Some(container) = &executor.container
    {
        if container.r#type != v1::container_info::Type::Mesos as i32 {
            note(Err(Error::Rule(
                Cause::ExecutorInvalid,
                "'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor".to_owned(),
            )));
        }
        if container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()) {
            let text = "'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor";
            note(Err(Error::Rule(Cause::ExecutorInvalid, text.to_owned())));
        }
    }
    // Executors have groups of their own in any case (rule 11).
    if container::shares_cgroups(executor.container.as_ref()) == Some(true) {
        note(Err(Error::Rule(
            Cause::ExecutorInvalid,
            "'LinuxInfo.share_cgroups' may not be set to true on an executor".to_owned(),
        )));
    }
    let resources = resource::from_v1(&core::mem::take(&mut executor.resources));
    let resources = resources.map_or_else(
        |error| {
            note(Err(error));
            Resources::new()
        },
        |(resources, _)| resources,
    );
    if resources.iter().any(|entry| entry.identity.as_ref().is_some_and(|identity| identity.shared)) {
        note(Err(Error::Rule(
            Cause::ExecutorInvalid,
            "Executor uses shared resources, which is not allowed".to_owned(),
        )));
    }
    let typed = ExecutorInfo {
        executor_id: ExecutorId::trusted(core::mem::take(&mut executor.executor_id.value)),
        name: executor.name.take().unwrap_or_default(),
        kind,
        command,
        resources,
        container: container.flatten(),
        shutdown_grace,
        data: executor.data.take(),
        labels: labels::take(&mut executor.labels),
        rest: rest_of(&executor),
    };
    (typed, verdict)
}

/// The v1 form, with the framework's id filled in as Mesos does.
pub fn to_v1(executor: &ExecutorInfo, framework_id: &str, form: Form, role: Option<&str>) -> v1::ExecutorInfo {
    let mut out: v1::ExecutorInfo = with_rest(&executor.rest);
    if out.r#type.is_none() && executor.kind == ExecutorKind::Default {
        out.r#type = Some(Type::Default as i32);
    }
    out.executor_id.value = executor.executor_id.to_string();
    out.framework_id = Some(v1::FrameworkId { value: framework_id.to_owned() });
    out.name = Some(executor.name.clone()).filter(|name| !name.is_empty());
    out.command = executor.command.as_ref().map(command::to_v1);
    out.resources = resource::to_v1(&executor.resources, form, role);
    out.shutdown_grace_period = executor.shutdown_grace.map(duration_info);
    out.data = executor.data.clone();
    if !executor.labels.is_empty() {
        out.labels = labels::to_v1(&executor.labels);
    }
    out
}

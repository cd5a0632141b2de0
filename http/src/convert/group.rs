//! `LAUNCH_GROUP`: the shape of a group (reference 5.2). What is wrong with the group as a whole becomes the defect of
//! each of its tasks; the rules about the cluster's state are the master's (`actors/src/master/group.rs`).

use kaon_kernel::cause::Cause;
use kaon_kernel::id::RoleName;
use kaon_kernel::offer::OfferOperation;

use super::{Error, executor, resource, task};
use crate::v1::mesos as v1;
use crate::v1::mesos::executor_info::Type as ExecutorType;
use crate::v1::mesos::offer::operation::LaunchGroup;

/// A group from outside. `has_id` says whether the operation names itself, which a launch may not; `framework_id` is the
/// caller's.
pub fn from_v1(group: LaunchGroup, has_id: bool, framework_id: &str) -> OfferOperation {
    let defect = judge(&group, has_id).err();
    let allocated = resource::allocation(&group.executor.resources).map(str::to_owned);
    let (executor, verdict) = executor::from_v1(group.executor, framework_id);
    let defect = defect.or(verdict.err()).map(|error| Box::new(error.into()));
    let tasks = group.task_group.tasks.into_iter().map(|info| {
        let names_role = resource::allocation(&info.resources).is_some();
        let mut task = task::from_v1(info, framework_id);
        if let Some(role) = allocated.as_ref().filter(|_| !names_role) {
            task.role = RoleName::trusted(role.clone());
        }
        if defect.is_some() {
            task.defect.clone_from(&defect);
        }
        task
    });
    let tasks = tasks.collect();
    OfferOperation::LaunchGroup { executor: Box::new(executor), tasks }
}

fn judge(group: &LaunchGroup, has_id: bool) -> Result<(), Error> {
    let rule = |text: &str| Err(Error::Rule(Cause::GroupInvalid, text.to_owned()));
    if has_id {
        return rule("The 'id' field was set in an offer operation of type LAUNCH_GROUP: it is not supported there");
    }
    match group.executor.r#type.map(ExecutorType::try_from) {
        Some(Ok(ExecutorType::Default | ExecutorType::Custom)) => {}
        None => return rule("'ExecutorInfo.type' must be set for 'LAUNCH_GROUP'"),
        Some(Ok(ExecutorType::Unknown) | Err(_)) => return rule("Unknown executor type"),
    }
    let is_docker = |container: &Option<v1::ContainerInfo>| {
        container.as_ref().is_some_and(|info| info.r#type == v1::container_info::Type::Docker as i32)
    };
    if is_docker(&group.executor.container) {
        return rule("Docker ContainerInfo is not supported on the executor of a task group");
    }
    for task in &group.task_group.tasks {
        if is_docker(&task.container) {
            return rule("Docker ContainerInfo is not supported on a task of a group");
        }
        let linux = task.container.as_ref().and_then(|container| container.linux_info.as_ref());
        if linux.is_some_and(|linux| linux.share_cgroups == Some(false)) {
            return Err(Error::Unsupported("LinuxInfo.share_cgroups=false on a task of a group"));
        }
        if !task.limits.is_empty() {
            return rule("'limits' of a task of a group need 'LinuxInfo.share_cgroups' to be false");
        }
        let has_networks = task.container.as_ref().is_some_and(|container| !container.network_infos.is_empty());
        let is_remote = |check: &v1::HealthCheck| check.http.is_some() || check.tcp.is_some();
        if has_networks && task.health_check.as_ref().is_some_and(is_remote) {
            return rule("HTTP and TCP health checks are not supported for a task of a group with networks of its own");
        }
    }
    Ok(())
}

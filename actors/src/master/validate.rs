//! What a task must fulfil to be launched, in the order of reference 5.1. Mesos: `src/master/validation.cpp`.
//!
//! The edge has judged shapes already (negative times, broken checks, bad environments) and left its verdict in
//! [`TaskInfo::defect`], so that the framework hears of it in the same way.

use super::accept::{Basket, clip};
use super::{Master, TASKS_MAX};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id;
use kaon_kernel::resource::{Resource, ResourceName, Resources, Value, role};
use kaon_kernel::table::{Set, Table};
use kaon_kernel::task::{ExecutorInfo, ExecutorKind, TaskInfo};

impl Master {
    /// What the task takes out of the basket, its executor included when that is new; or why it can't be launched.
    pub(super) fn validate(&self, basket: &Basket, task: &TaskInfo) -> Result<Resources, Defect> {
        self.check_task(basket, task)?;
        let executor = match (&task.command, &task.executor) {
            (Some(_), Some(_)) | (None, None) => {
                let words = "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present";
                return Err(Defect::new(Cause::CommandOrExecutor, words));
            }
            (Some(_), None) => None,
            (None, Some(executor)) => self.check_executor(basket, executor)?.then_some(executor),
        };
        let mut needed = task.resources.clone();
        if let Some(executor) = executor {
            let overlap = |error| format!("Task and executor resources overlap: {error}");
            let added = needed.add(&executor.resources);
            added.map_err(|error| Defect::new(Cause::ResourcesInvalid, overlap(error)))?;
        }
        if !basket.has(&needed) {
            let words = format!("Task uses more resources {needed} than available {}", basket.left);
            return Err(Defect::new(Cause::ResourcesInsufficient, words));
        }
        Ok(needed)
    }

    /// The rules for a task by itself, in a group or not.
    pub(super) fn check_task(&self, basket: &Basket, task: &TaskInfo) -> Result<(), Defect> {
        let refused = |cause, words: String| Err(Defect::new(cause, words));
        if let Err(error) = id::check(task.task_id.as_str()) {
            let words = format!("Task ID '{}' is invalid: {error}", clip(task.task_id.as_str()));
            return refused(Cause::TaskIdInvalid, words);
        }
        let framework = &self.state.frameworks[&basket.framework];
        if framework.tasks.contains_key(&task.task_id) {
            return refused(Cause::TaskIdInUse, format!("Task has duplicate ID: {}", task.task_id));
        }
        if framework.unreachable_tasks.contains_key(&task.task_id) {
            return refused(Cause::TaskIdInUse, format!("Task reuses the ID {} of an unreachable task", task.task_id));
        }
        if framework.tasks.len() >= TASKS_MAX {
            let words = format!("The framework has {TASKS_MAX} tasks already, the most that one may have");
            return refused(Cause::TooManyTasks, words);
        }
        let agent = &self.state.agents[&basket.agent];
        if task.agent_id != agent.id {
            let named = clip(task.agent_id.as_str());
            let words = format!("Task uses invalid agent {named} while agent {} is expected", agent.id);
            return refused(Cause::AgentMismatch, words);
        }
        if let Some(defect) = &task.defect {
            return Err(Defect::clone(defect));
        }
        // What names no role is allocated to that of the offers.
        if task.role.as_str() != role::DEFAULT && task.role != basket.role {
            let words = format!(
                "Task uses resources allocated to role '{}', more than available: the offers are allocated to role '{}'",
                clip(task.role.as_str()),
                basket.role
            );
            return refused(Cause::RoleMismatch, words);
        }
        check_resources("Task", &task.resources)
    }

    /// Whether the executor is new on the agent, and so has to be paid for.
    pub(super) fn check_executor(&self, basket: &Basket, executor: &ExecutorInfo) -> Result<bool, Defect> {
        let invalid = |words: String| Err(Defect::new(Cause::ExecutorInvalid, words));
        if let Err(error) = id::check(executor.executor_id.as_str()) {
            return invalid(format!("Executor ID '{}' is invalid: {error}", clip(executor.executor_id.as_str())));
        }
        match executor.kind {
            ExecutorKind::Default if executor.command.is_some() => {
                return invalid("'ExecutorInfo.command' must not be set for 'DEFAULT' executor".to_owned());
            }
            ExecutorKind::Custom if executor.command.is_none() => {
                return invalid("'ExecutorInfo.command' must be set for 'CUSTOM' executor".to_owned());
            }
            _ => {}
        }
        let key = (basket.framework, executor.executor_id.clone());
        match self.state.agents[&basket.agent].executors.get(&key) {
            Some(running) if running.info == *executor => Ok(false),
            Some(_) => {
                let id = &executor.executor_id;
                let words =
                    format!("ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID '{id}'");
                Err(Defect::new(Cause::ExecutorMismatch, words))
            }
            None if executor.resources.is_empty() => Ok(true),
            None if executor.resources.iter().any(Resource::is_shared) => {
                invalid("Executor resources should not contain any shared resources".to_owned())
            }
            None => check_resources("Executor", &executor.resources).map(|()| true),
        }
    }
}

/// The rules for resources that the types do not keep already.
fn check_resources(whose: &str, resources: &Resources) -> Result<(), Defect> {
    let refused = |cause, words: String| Err(Defect::new(cause, words));
    if resources.is_empty() {
        return refused(Cause::ResourcesMissing, format!("{whose} uses no resources"));
    }
    let (mut directories, mut names) = (Set::default(), Table::default());
    for entry in resources {
        let whole = |quantity: u64| quantity.is_multiple_of(1000);
        if matches!((&entry.name, &entry.value), (ResourceName::Gpus, Value::Scalar(gpus)) if !whole(gpus.0)) {
            let words = format!("The 'gpus' resource must be an unsigned integer, not {entry}");
            return refused(Cause::GpusFractional, words);
        }
        if entry.volume_directory().is_some_and(|directory| !directories.insert(directory)) {
            return refused(Cause::VolumeInvalid, format!("{whose} uses the persistent volume {entry} twice"));
        }
        let first: &Resource = names.entry(&entry.name).or_insert(entry);
        if first.is_revocable() != entry.is_revocable() {
            let words = format!("{whose} mixes revocable and non-revocable resources: {first} and {entry}");
            return refused(Cause::RevocableMixed, words);
        }
    }
    Ok(())
}

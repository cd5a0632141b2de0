//! LAUNCH_GROUP: the tasks of a group are checked together, entered together and sent to their agent in one message: all
//! or none (reference 5.2). Mesos: `src/master/validation.cpp`, `validation::task::group::validate`, and `Master::_accept`.

use super::accept::Basket;
use super::{Master, MasterContext};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::table::Set;
use kaon_kernel::task::{ExecutorInfo, ExecutorKind, Reason, Task, TaskInfo, TaskState};

/// The least that the executor of a group has of processors, memory in MiB, and disk in MiB: for the last any amount.
const EXECUTOR_LEAST: [(&str, Quantity); 3] =
    [("cpus", Quantity(10)), ("mem", Quantity::units(32)), ("disk", Quantity(1))];

impl Master {
    /// Launches a group out of the basket, or tells the framework of each of its tasks why not.
    pub(super) fn launch_group(
        &mut self,
        basket: &mut Basket,
        executor: ExecutorInfo,
        mut tasks: Vec<TaskInfo>,
        context: &mut MasterContext<'_>,
    ) {
        for task in &mut tasks {
            task.executor.get_or_insert_with(|| executor.clone());
        }
        let needed = match self.validate_group(basket, &executor, &tasks) {
            Ok(needed) => needed,
            Err(defect) => {
                context.count("master/invalid_task_groups", 1);
                for task in &tasks {
                    let (state, reason) = (TaskState::Error, Reason::TaskGroupInvalid);
                    self.refuse_task(basket.framework, task, state, reason, defect.clone(), context);
                }
                return;
            }
        };
        self.take(basket, &needed, context);
        tasks.iter_mut().for_each(|task| task.role = basket.role.clone());
        let starts_executor = self.enter_executor(basket, &executor, context);
        let framework = &self.state.frameworks[&basket.framework];
        let (framework_id, framework) = (framework.id.clone(), Box::new(framework.info.clone()));
        let entered = tasks.iter().map(|info| Task {
            info: TaskInfo { data: None, ..info.clone() },
            executor_id: executor.executor_id.clone(),
            state: TaskState::Staging,
            statuses: Vec::new(),
            unacknowledged: None,
        });
        let entered: Vec<Task> = entered.collect();
        let run = ToAgent::RunTaskGroup { framework, tasks, starts_executor };
        context.send(self.state.agents[&basket.agent].address, &AgentMessage::Master(run));
        for task in entered {
            let (framework_id, role) = (framework_id.clone(), basket.role.clone());
            let view = ViewEvent::Task { framework_id, role, task };
            context.emit(Self::VIEW, &view);
            let ViewEvent::Task { task, .. } = view else { unreachable!("it was made above") };
            context.count("master/tasks_launched", 1);
            self.state.add_task(basket.framework, basket.agent, basket.role.clone(), task);
        }
    }

    /// What the group takes out of the basket, its executor included when that is new; or the first rule that one of its
    /// tasks or the executor breaks.
    fn validate_group(
        &self,
        basket: &Basket,
        executor: &ExecutorInfo,
        tasks: &[TaskInfo],
    ) -> Result<Resources, Defect> {
        let invalid = |words: String| Err(Defect::new(Cause::GroupInvalid, words));
        if tasks.is_empty() {
            return invalid("Task group contains no tasks".to_owned());
        }
        let is_new = self.check_executor(basket, executor)?;
        if executor.kind == ExecutorKind::Command {
            return invalid("'ExecutorInfo.type' must be 'DEFAULT' or 'CUSTOM' for a task group".to_owned());
        }
        for (name, least) in EXECUTOR_LEAST {
            let has = executor.resources.scalar(&ResourceName::of(name));
            if has < least {
                let words =
                    format!("Executor of a task group has {name} {has}, which is less than the minimum {least}");
                return Err(Defect::new(Cause::ResourcesMissing, words));
            }
        }
        let mut needed = if is_new { executor.resources.clone() } else { Resources::new() };
        let mut names = Set::default();
        for task in tasks {
            let of_task = |words: String| format!("Task '{}' of the group is invalid: {words}", task.task_id);
            let refused = |cause, words: &str| Err(Defect::new(cause, of_task(words.to_owned())));
            self.check_task(basket, task).map_err(|defect| defect.told(of_task))?;
            if !names.insert(&task.task_id) {
                return refused(Cause::TaskIdInUse, "its ID is that of another task in the group");
            }
            if task.executor.as_ref() != Some(executor) {
                return refused(Cause::ExecutorMismatch, "its 'ExecutorInfo' is not that of the group");
            }
            if let Err(error) = needed.add(&task.resources) {
                return refused(Cause::ResourcesInvalid, &format!("resources overlap: {error}"));
            }
        }
        let running = self.state.frameworks[&basket.framework].tasks.len();
        if running + tasks.len() > super::TASKS_MAX {
            let words = format!("The framework would have more than {} tasks", super::TASKS_MAX);
            return Err(Defect::new(Cause::TooManyTasks, words));
        }
        if !basket.has(&needed) {
            let words = format!("Task group uses more resources {needed} than available {}", basket.left);
            return Err(Defect::new(Cause::ResourcesInsufficient, words));
        }
        Ok(needed)
    }
}

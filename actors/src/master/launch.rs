//! One task of a LAUNCH: checked, entered as staging, sent to its agent.

use super::accept::Basket;
use super::state::HeldExecutor;
use super::{Master, MasterContext};
use kaon_kernel::id::ExecutorId;
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::agent_master::{RunningExecutor, ToAgent};
use kaon_kernel::message::allocator::{Grant, ToAllocator};
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{ExecutorInfo, Reason, Task, TaskInfo, TaskState};

impl Master {
    /// Launches one task out of the basket, or tells the framework why not.
    pub(super) fn launch(&mut self, basket: &mut Basket, mut task: TaskInfo, context: &mut MasterContext<'_>) {
        let needed = match self.validate(basket, &task) {
            Ok(needed) => needed,
            Err(defect) => {
                context.count("master/invalid_tasks", 1);
                let (state, reason) = (TaskState::Error, Reason::TaskInvalid);
                return self.refuse_task(basket.framework, &task, state, reason, defect, context);
            }
        };
        self.take(basket, &needed, context);
        task.role = basket.role.clone();
        let framework = &self.state.frameworks[&basket.framework];
        let (framework_id, framework_info) = (framework.id.clone(), framework.info.clone());
        let executor_id = match &task.executor {
            Some(executor) => executor.executor_id.clone(),
            None => ExecutorId::trusted(task.task_id.as_str()),
        };
        let starts_executor =
            task.executor.as_ref().is_some_and(|executor| self.enter_executor(basket, executor, context));
        // The task is lent to what is told of it, not copied.
        let task =
            Task { info: task, executor_id, state: TaskState::Staging, statuses: Vec::new(), unacknowledged: None };
        let view = ViewEvent::Task { framework_id, role: basket.role.clone(), task };
        context.emit(Self::VIEW, &view);
        let ViewEvent::Task { task, .. } = view else { unreachable!("it was made above") };
        context.count("master/tasks_launched", 1);
        let (framework, info) = (Box::new(framework_info), Box::new(task.info));
        let run = ToAgent::RunTask { framework, task: info, starts_executor };
        let run = AgentMessage::Master(run);
        context.send(self.state.agents[&basket.agent].address, &run);
        let AgentMessage::Master(ToAgent::RunTask { task: info, .. }) = run else { unreachable!("it was made above") };
        let task = Task { info: *info, ..task };
        self.state.add_task(basket.framework, basket.agent, basket.role.clone(), task);
    }

    /// Takes what was checked to be there out of the basket; of a shared volume as many copies as are needed.
    pub(super) fn take(&self, basket: &mut Basket, needed: &Resources, context: &mut MasterContext<'_>) {
        let further = basket.take(needed);
        if !further.is_empty() {
            let (framework, role, agent) = (basket.framework, basket.role.clone(), basket.agent);
            let grant = Grant { framework, role, agent, resources: further };
            self.allocate(&ToAllocator::Share { grant }, context);
        }
    }

    /// Enters the executor of a task that is launched, and charges for it; false when the agent has it already.
    pub(super) fn enter_executor(
        &mut self,
        basket: &Basket,
        executor: &ExecutorInfo,
        context: &mut MasterContext<'_>,
    ) -> bool {
        let key = (basket.framework, executor.executor_id.clone());
        if self.state.agents[&basket.agent].executors.contains_key(&key) {
            return false;
        }
        let held = HeldExecutor { info: executor.clone(), role: basket.role.clone() };
        self.state.add_executor(basket.framework, basket.agent, held);
        let agent_id = self.state.agents[&basket.agent].id.clone();
        let framework_id = self.state.frameworks[&basket.framework].id.clone();
        let executor = RunningExecutor { framework_id, role: basket.role.clone(), info: executor.clone() };
        context.emit(Self::VIEW, &ViewEvent::Executor { agent_id, executor });
        true
    }
}

//! Orders about tasks: run, kill. A task that can't run is refused with a status of its own, which takes the same safe
//! way to its framework as every other.

use crate::agent::checkpoint::{self, TaskRecord};
use crate::agent::container::{Container, Stage};
use crate::agent::environment::{self, Names};
use crate::agent::registration::Registration;
use crate::agent::state::{FRAMEWORKS_MAX, REFUSED_TASKS_MAX, TASKS_MAX, TaskEntry, Waiting};
use crate::agent::status::Stream;
use crate::agent::{Agent, metric};
use kaon_kernel::actor::{Batch, Context};
use kaon_kernel::container::{LaunchSpec, Program};
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{self, AgentId, ContainerId, ExecutorId, FrameworkId, RoleName, TaskId, Uuid};
use kaon_kernel::placement::Placement;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Resources, role};
use kaon_kernel::task::{CommandInfo, ExecutorInfo, ExecutorKind, Reason, Task, TaskInfo, TaskState};
use kaon_kernel::time::Duration;

/// What a command executor takes beside its task, in processors and MiB of memory: 0.1 and 32 (reference 6.5). Added to
/// the limits of the container, charged to nobody.
const EXECUTOR_RESOURCES: (Quantity, Quantity) = (Quantity(100), Quantity::units(32));

/// How much of a command goes into the name of its executor, in characters.
const COMMAND_NAME_MAX: usize = 80;

/// Why a task is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the agent is not registered with the master that sent the task")]
    Unregistered,
    #[error("the agent is being shut down")]
    Leaving,
    #[error("the task is for agent {0}")]
    Elsewhere(String),
    #[error("the agent holds {TASKS_MAX} tasks already")]
    Full,
    #[error("custom executors need the executor API, which this version does not serve yet")]
    CustomExecutor,
    #[error("the task has neither a command nor an executor")]
    Empty,
    #[error("the command has no value")]
    NoValue,
    #[error("the resources of task and executor do not add up: {0}")]
    Resources(String),
    #[error("the task can't be placed: {0}")]
    Place(#[from] kaon_kernel::placement::Reason),
}

impl Refusal {
    /// State and reason by the table of reference 8.2: what no agent could ever run is an error of the task; what only
    /// came at a bad time never reached its executor.
    pub(super) fn verdict(&self) -> (TaskState, Reason) {
        match self {
            Self::Unregistered | Self::Leaving => (TaskState::Dropped, Reason::AgentDisconnected),
            Self::Full => (TaskState::Dropped, Reason::ResourcesUnknown),
            Self::Place(_) => (TaskState::Failed, Reason::ContainerLaunchFailed),
            Self::Elsewhere(_) | Self::CustomExecutor | Self::Empty | Self::NoValue | Self::Resources(_) => {
                (TaskState::Error, Reason::TaskInvalid)
            }
        }
    }
}

impl Agent {
    /// Runs a task under a command executor. A task that is known already is not run twice.
    pub(super) fn on_run_task(&mut self, framework: FrameworkInfo, task: TaskInfo, context: &mut Context<'_, Self>) {
        let Some(framework_id) = framework.id.clone() else { return context.count(metric::IGNORED, 1) };
        let is_nameless = id::check(framework_id.as_str()).is_err() || id::check(task.task_id.as_str()).is_err();
        let known = self.state.framework(&framework_id);
        let has_no_room = self.state.task_count() >= TASKS_MAX + REFUSED_TASKS_MAX
            || (known.is_none() && self.state.frameworks().count() >= FRAMEWORKS_MAX);
        let is_ending = known.is_some_and(|framework| framework.is_ending);
        let is_known = self.state.task_named(&framework_id, &task.task_id).is_some();
        if is_nameless || has_no_room || is_ending || is_known || self.state.agent_id().is_none() {
            return context.count(metric::IGNORED, 1);
        }
        let mut batch = Batch::default();
        batch.put(checkpoint::framework_key(&framework_id), checkpoint::write(&framework));
        self.state.put_framework(framework_id.clone(), framework);
        match self.plan(&framework_id, &task, context) {
            Ok((container, placement)) => {
                let record = container.record();
                batch.put(checkpoint::executor_key(&record.container_id), checkpoint::write(&record));
                let executor_id = record.info.executor_id;
                let number = self.state.add_container(container);
                let place = Some((number, record.container_id));
                self.enter_task(framework_id, task, executor_id, place, placement, &mut batch);
                let ticket = context.persist(batch);
                self.state.wait(ticket, Waiting::Launch(number));
            }
            Err(refusal) => {
                let executor_id = ExecutorId::trusted(task.task_id.as_str());
                let number = self.enter_task(framework_id, task, executor_id, None, None, &mut batch);
                let (state, reason) = refusal.verdict();
                let updates = self.conclude(number, state, reason, refusal.to_string(), &mut batch, context);
                let ticket = context.persist(batch);
                self.state.wait(ticket, Waiting::Stored { updates: updates.into_iter().collect(), ended: None });
            }
        }
    }

    fn enter_task(
        &mut self,
        framework_id: FrameworkId,
        info: TaskInfo,
        executor_id: ExecutorId,
        container: Option<(u64, ContainerId)>,
        placement: Option<Placement>,
        batch: &mut Batch,
    ) -> u64 {
        let record = TaskRecord {
            framework_id: framework_id.clone(),
            info,
            executor_id,
            container_id: container.as_ref().map(|(_, id)| id.clone()),
            placement,
        };
        batch.put(checkpoint::task_key(&framework_id, &record.info.task_id), checkpoint::write(&record));
        let TaskRecord { info, executor_id, placement, .. } = record;
        self.state.add_task(TaskEntry {
            framework_id,
            task: Task { info, executor_id, state: TaskState::Staging, statuses: Vec::new(), unacknowledged: None },
            container: container.map(|(number, _)| number),
            kill: None,
            placement,
            stream: Stream::new(TaskState::Staging),
        })
    }

    /// The container for a task with a command and its place on the machine, or why there can be none. The place is booked.
    fn plan(
        &mut self,
        framework_id: &FrameworkId,
        task: &TaskInfo,
        context: &mut Context<'_, Self>,
    ) -> Result<(Container, Option<Placement>), Refusal> {
        if !matches!(self.registration, Registration::Registered) {
            return Err(Refusal::Unregistered);
        }
        if self.state.is_leaving() {
            return Err(Refusal::Leaving);
        }
        let agent_id = self.state.agent_id().filter(|id| **id == task.agent_id);
        let agent_id = agent_id.cloned().ok_or_else(|| Refusal::Elsewhere(task.agent_id.to_string()))?;
        if self.state.task_count() >= TASKS_MAX {
            return Err(Refusal::Full);
        }
        if task.executor.is_some() {
            return Err(Refusal::CustomExecutor);
        }
        let command = task.command.as_ref().ok_or(Refusal::Empty)?;
        if command.value.is_none() {
            return Err(Refusal::NoValue);
        }
        if self.state.framework(framework_id).is_none() {
            return Err(Refusal::Empty);
        }
        let own = Resources::cpus_and_mem(EXECUTOR_RESOURCES.0, EXECUTOR_RESOURCES.1);
        let resources = task.resources.plus(&own).map_err(|error| Refusal::Resources(error.to_string()))?;
        let limits = task.limits.as_deref().copied().unwrap_or_default();
        let limits = limits.beside(EXECUTOR_RESOURCES.0, EXECUTOR_RESOURCES.1);
        // The last that can go wrong: from here on the place is the task's.
        let seat = self.seat(task)?;
        let framework = self.state.framework(framework_id).map(|entry| &entry.info).ok_or(Refusal::Empty)?;
        let info = command_executor(task, command);
        let container_id = ContainerId::trusted(Uuid(context.chance().uuid()).to_string());
        let names =
            Names { agent_id: &agent_id, framework_id, executor_id: &info.executor_id, container_id: &container_id };
        let grace = info.shutdown_grace.unwrap_or(self.config.executor_shutdown_grace);
        let user = command.user.clone().unwrap_or_else(|| framework.user.clone());
        let spec = LaunchSpec {
            program: Program::BuiltinExecutor,
            environment: environment::executor_environment(&self.config, &names, framework, grace, &task.role),
            sandbox: names.sandbox(),
            join: false,
            user: Some(user).filter(|user| self.config.switch_user && !user.is_empty()),
            resources,
            limits,
            container: task.container.clone(),
            placement: None,
            rlimits: Vec::new(),
            uris: command.uris.clone(),
        };
        let container = Container::planned(framework_id.clone(), container_id, info, task.role.clone(), Box::new(spec));
        Ok(self.seated(container, seat))
    }

    /// The master holds tasks for this agent that the agent did not report. Those that it does not know it never will:
    /// their frameworks hear so by a status that is kept and repeated like any other.
    pub(super) fn on_reconcile(&mut self, tasks: Vec<(FrameworkId, TaskId)>, context: &mut Context<'_, Self>) {
        for (framework_id, task_id) in tasks {
            let is_known = self.state.task_named(&framework_id, &task_id).is_some();
            let agent_id = self.state.agent_id().cloned();
            let has_room = self.state.task_count() < TASKS_MAX + REFUSED_TASKS_MAX;
            let is_nameless = id::check(framework_id.as_str()).is_err() || id::check(task_id.as_str()).is_err();
            let (Some(agent_id), true) = (agent_id, has_room && !is_known && !is_nameless) else {
                context.count(metric::IGNORED, 1);
                continue;
            };
            let executor_id = ExecutorId::trusted(task_id.as_str());
            let mut batch = Batch::default();
            let number =
                self.enter_task(framework_id, never_seen(task_id, agent_id), executor_id, None, None, &mut batch);
            let message = "The task never reached the agent".to_owned();
            let (state, reason) = (TaskState::Dropped, Reason::Reconciliation);
            let updates = self.conclude(number, state, reason, message, &mut batch, context);
            let ticket = context.persist(batch);
            self.state.wait(ticket, Waiting::Stored { updates: updates.into_iter().collect(), ended: None });
        }
    }

    /// Ends a task. One that its executor never got ends here; for others its executor is asked, again after a break.
    pub(super) fn on_kill_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        grace: Option<Duration>,
        context: &mut Context<'_, Self>,
    ) {
        let number = self.state.task_named(framework_id, task_id);
        let live =
            number.and_then(|number| self.state.task_mut(number)).filter(|entry| !entry.task.state.is_terminal());
        let place = live.and_then(|entry| {
            entry.kill = Some(grace);
            entry.container
        });
        let (Some(number), Some(container)) = (number, place) else { return context.count(metric::IGNORED, 1) };
        match self.state.container(container).map(Container::stage) {
            Some(Stage::Persisting | Stage::Waiting | Stage::Launching | Stage::Registering) => {
                let message = "Killed before it was delivered to its executor";
                self.tell(number, TaskState::Killed, Reason::TaskKilledDuringLaunch, message, context);
                self.destroy(container, None, context);
            }
            Some(Stage::Running) => self.repeat_kill(number, context),
            Some(Stage::Recovering | Stage::Reregistering | Stage::Terminating | Stage::Ended) | None => {}
        }
    }
}

/// All that is known of a task that never arrived: its name.
fn never_seen(task_id: TaskId, agent_id: AgentId) -> TaskInfo {
    TaskInfo {
        name: task_id.to_string(),
        task_id,
        agent_id,
        resources: Resources::new(),
        role: RoleName::trusted(role::DEFAULT),
        command: None,
        executor: None,
        limits: None,
        container: None,
        kill_grace: None,
        max_completion_time: None,
        data: None,
        labels: Vec::new(),
        placement: None,
        defect: None,
        rest: Vec::new(),
    }
}

/// The executor that Mesos makes up for a task with a command.
fn command_executor(task: &TaskInfo, command: &CommandInfo) -> ExecutorInfo {
    let value = command.value.as_deref().unwrap_or_default();
    let words: String = if command.shell {
        format!("sh -c '{value}'")
    } else {
        let arguments = command.arguments.iter().map(String::as_str);
        core::iter::once(value).chain(arguments).collect::<Vec<_>>().join(" ")
    };
    let shown: String = match words.char_indices().nth(COMMAND_NAME_MAX) {
        Some((end, _)) => format!("{}...", &words[..end]),
        None => words,
    };
    ExecutorInfo {
        executor_id: ExecutorId::trusted(task.task_id.as_str()),
        name: format!("Command Executor (Task: {}) (Command: {shown})", task.task_id),
        kind: ExecutorKind::Command,
        command: None,
        resources: Resources::new(),
        container: None,
        shutdown_grace: None,
        data: None,
        labels: Vec::new(),
        rest: Vec::new(),
    }
}

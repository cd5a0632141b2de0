//! Orders about tasks: run, kill. A task that can't run is refused with a status of its own, which takes the same safe
//! way to its framework as every other.

use crate::agent::checkpoint::{self, TaskRecord};
use crate::agent::container::{Container, STATUS_UNKNOWN, Stage};
use crate::agent::environment::{self, Names};
use crate::agent::queue;
use crate::agent::registration::Registration;
use crate::agent::state::{Delivery, FRAMEWORKS_MAX, Parked, REFUSED_TASKS_MAX, TASKS_MAX, TaskEntry, Waiting};
use crate::agent::status::Stream;
use crate::agent::{Agent, metric};
use kaon_kernel::actor::{Batch, Context};
use kaon_kernel::container::{LaunchSpec, Program, VolumeLink};
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{self, AgentId, ContainerId, ExecutorId, FrameworkId, RoleName, TaskId, Uuid};
use kaon_kernel::message::MasterMessage;
use kaon_kernel::message::agent_master::ToMaster;
use kaon_kernel::placement::Placement;
use kaon_kernel::resource::{Resources, role};
use kaon_kernel::task::{
    COMMAND_EXECUTOR_CPUS, COMMAND_EXECUTOR_MEM, CommandInfo, ExecutorInfo, ExecutorKind, Reason, Task, TaskInfo,
    TaskState,
};
use kaon_kernel::time::Duration;

/// How much of a command goes into the name of its executor, in characters.
const COMMAND_NAME_MAX: usize = 80;

/// Why a task is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the agent is not registered with the master that sent the task")]
    Unregistered,
    #[error("the agent is being shut down")]
    Leaving,
    #[error("the agent is draining")]
    Draining,
    #[error("the task is for agent {0}")]
    Elsewhere(String),
    #[error("the agent holds {TASKS_MAX} tasks already")]
    Full,
    #[error("the executor of the task has ended or is ending")]
    ExecutorEnding,
    #[error("the task has neither a command nor an executor that can be started")]
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
            Self::Draining => (TaskState::Dropped, Reason::AgentDraining),
            Self::Full => (TaskState::Dropped, Reason::ResourcesUnknown),
            Self::Place(_) => (TaskState::Failed, Reason::ContainerLaunchFailed),
            Self::ExecutorEnding => (TaskState::Dropped, Reason::ExecutorTerminated),
            Self::Elsewhere(_) | Self::Empty | Self::NoValue | Self::Resources(_) => {
                (TaskState::Error, Reason::TaskInvalid)
            }
        }
    }
}

impl Agent {
    /// Runs tasks: one under an executor that is made up for its command, or any number under the executor that they name.
    /// Tasks that are known already are not run twice; those of a group are run all or none.
    pub(super) fn on_run(
        &mut self,
        framework: FrameworkInfo,
        tasks: Vec<TaskInfo>,
        group: Option<Uuid>,
        starts_executor: bool,
        context: &mut Context<'_, Self>,
    ) {
        let Some(framework_id) = framework.id.clone() else { return context.count(metric::IGNORED, 1) };
        let is_nameless = id::check(framework_id.as_str()).is_err()
            || tasks.iter().any(|task| id::check(task.task_id.as_str()).is_err());
        let known = self.state.framework(&framework_id);
        let has_no_room = self.state.task_count() + tasks.len() > TASKS_MAX + REFUSED_TASKS_MAX
            || (known.is_none() && self.state.frameworks().count() >= FRAMEWORKS_MAX);
        let is_ending = known.is_some_and(|framework| framework.is_ending);
        let known_tasks = tasks.iter().filter_map(|task| self.state.task_named(&framework_id, &task.task_id));
        let known_tasks: Vec<u64> = known_tasks.collect();
        let is_known = !known_tasks.is_empty();
        let mut entries = known_tasks.iter().filter_map(|number| self.state.task(*number));
        if is_known && entries.all(|entry| entry.stream.is_closing()) && self.state.has_room_to_park() {
            // The names are free for the master already, and will be here once that is on disk.
            return self.state.park(Parked { framework, tasks, group, starts_executor });
        }
        let is_nothing = tasks.is_empty() || self.state.agent_id().is_none();
        if is_nameless || has_no_room || is_ending || is_known || is_nothing {
            return context.count(metric::IGNORED, 1);
        }
        let mut batch = Batch::default();
        batch.put(checkpoint::framework_key(&framework_id), checkpoint::write(&framework));
        self.state.put_framework(framework_id.clone(), framework);
        match self.plan(&framework_id, &tasks, starts_executor, context) {
            Ok(Plan::Start(container, placements)) => {
                let record = container.record();
                batch.put(checkpoint::executor_key(&record.container_id), checkpoint::write(&record));
                let executor_id = record.info.executor_id;
                let number = self.state.add_container(*container);
                for (task, placement) in tasks.into_iter().zip(placements) {
                    // On disk with its container, before which nothing listens.
                    let way = Way { container: Some(number), group, delivery: Delivery::Queued };
                    self.enter_task(&framework_id, task, executor_id.clone(), way, placement, &mut batch);
                }
                let ticket = context.persist(batch);
                self.state.wait(ticket, Waiting::Launch(number));
            }
            Ok(Plan::Join(number, placements)) => {
                let mut entered = Vec::with_capacity(tasks.len());
                for (task, placement) in tasks.into_iter().zip(placements) {
                    let executor_id = executor_id(&task);
                    let way = Way { container: Some(number), group, delivery: Delivery::Unwritten };
                    entered.push(self.enter_task(&framework_id, task, executor_id, way, placement, &mut batch));
                }
                let ticket = context.persist(batch);
                self.state.wait(ticket, Waiting::Queued(entered));
            }
            Err(refusal) => self.refuse(&framework_id, tasks, starts_executor, &refusal, batch, context),
        }
    }

    /// Names have come free: what waits for them is run, or waits on.
    pub(super) fn run_parked(&mut self, context: &mut Context<'_, Self>) {
        for Parked { framework, tasks, group, starts_executor } in self.state.take_parked() {
            self.on_run(framework, tasks, group, starts_executor, context);
        }
    }

    /// Says of tasks why none of them is run.
    fn refuse(
        &mut self,
        framework_id: &FrameworkId,
        tasks: Vec<TaskInfo>,
        starts_executor: bool,
        refusal: &Refusal,
        mut batch: Batch,
        context: &mut Context<'_, Self>,
    ) {
        let (state, reason) = refusal.verdict();
        let mut updates = Vec::new();
        let executor = tasks.first().and_then(|task| task.executor.as_ref()).map(|info| info.executor_id.clone());
        for task in tasks {
            let executor_id = executor_id(&task);
            let way = Way { container: None, group: None, delivery: Delivery::Unwritten };
            let number = self.enter_task(framework_id, task, executor_id, way, None, &mut batch);
            updates.extend(self.conclude(number, state, reason, refusal.to_string(), &mut batch, context));
        }
        let ticket = context.persist(batch);
        self.state.wait(ticket, Waiting::Stored { updates, ended: None });
        if let (Some(executor_id), true, Some(leader)) = (executor, starts_executor, self.state.leader()) {
            // The master has set resources aside for an executor that will not be.
            let (framework_id, status) = (framework_id.clone(), STATUS_UNKNOWN);
            let message = ToMaster::ExecutorExited { framework_id, executor_id, status };
            context.send(leader.address, &MasterMessage::Agent(message));
        }
    }

    fn enter_task(
        &mut self,
        framework_id: &FrameworkId,
        info: TaskInfo,
        executor_id: ExecutorId,
        way: Way,
        placement: Option<Placement>,
        batch: &mut Batch,
    ) -> u64 {
        let container = way.container.and_then(|number| self.state.container(number));
        let record = TaskRecord {
            framework_id: framework_id.clone(),
            info,
            executor_id,
            container_id: container.map(|container| container.id().clone()),
            group: way.group,
            placement,
        };
        batch.put(checkpoint::task_key(framework_id, &record.info.task_id), checkpoint::write(&record));
        let TaskRecord { framework_id, info, executor_id, placement, .. } = record;
        self.state.add_task(TaskEntry {
            framework_id,
            task: Task { info, executor_id, state: TaskState::Staging, statuses: Vec::new(), unacknowledged: None },
            container: way.container,
            group: way.group,
            delivery: way.delivery,
            kill: None,
            placement,
            stream: Stream::new(TaskState::Staging),
        })
    }

    /// Where tasks will run and their places on the machine, or why they can't. The places are booked.
    fn plan(
        &mut self,
        framework_id: &FrameworkId,
        tasks: &[TaskInfo],
        starts_executor: bool,
        context: &mut Context<'_, Self>,
    ) -> Result<Plan, Refusal> {
        if !matches!(self.registration, Registration::Registered) {
            return Err(Refusal::Unregistered);
        }
        if self.state.is_leaving() {
            return Err(Refusal::Leaving);
        }
        if self.draining.is_some() {
            return Err(Refusal::Draining);
        }
        let agent_id = self.state.agent_id().cloned().ok_or(Refusal::Unregistered)?;
        if let Some(astray) = tasks.iter().find(|task| task.agent_id != agent_id) {
            return Err(Refusal::Elsewhere(astray.agent_id.to_string()));
        }
        if self.state.task_count() + tasks.len() > TASKS_MAX {
            return Err(Refusal::Full);
        }
        let task = tasks.first().ok_or(Refusal::Empty)?;
        let executor = match (&task.executor, &task.command, tasks.len()) {
            (Some(executor), ..) => executor,
            (None, Some(command), 1) => {
                let plan = self.plan_command(framework_id, &agent_id, task, command, context)?;
                return Ok(Plan::Start(Box::new(plan.0), vec![plan.1]));
            }
            (None, ..) => return Err(Refusal::Empty),
        };
        let is_common =
            |task: &TaskInfo| task.executor.as_ref().map(|one| &one.executor_id) == Some(&executor.executor_id);
        if !tasks.iter().all(is_common) {
            return Err(Refusal::Empty);
        }
        if let Some(number) = self.state.container_of(framework_id, &executor.executor_id) {
            return match self.state.container(number).map(Container::stage) {
                Some(Stage::Terminating | Stage::Ended) | None => Err(Refusal::ExecutorEnding),
                Some(_) => Ok(Plan::Join(number, self.seat_all(tasks)?)),
            };
        }
        if !starts_executor {
            return Err(Refusal::ExecutorEnding);
        }
        let (container, placements) = self.plan_executor(framework_id, &agent_id, executor, tasks, context)?;
        Ok(Plan::Start(Box::new(container), placements))
    }

    /// The container for the executor that the tasks name and their places on the machine, or why there can be none. The
    /// places are booked.
    fn plan_executor(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        executor: &ExecutorInfo,
        tasks: &[TaskInfo],
        context: &mut Context<'_, Self>,
    ) -> Result<(Container, Vec<Option<Placement>>), Refusal> {
        let role = &tasks.first().ok_or(Refusal::Empty)?.role;
        let (resources, limits) =
            queue::needs(executor, tasks.iter()).map_err(|error| Refusal::Resources(error.to_string()))?;
        let (program, own) = match (executor.kind, &executor.command) {
            (ExecutorKind::Default, None) => (Program::BuiltinExecutor, None),
            (ExecutorKind::Custom, Some(command)) => {
                let program = command.program_in(executor.container.as_deref()).ok_or(Refusal::NoValue)?;
                (program, Some(command))
            }
            _ => return Err(Refusal::Empty),
        };
        // The last that can go wrong: from here on the places are the tasks'.
        let placements = self.seat_all(tasks)?;
        let framework = self.state.framework(framework_id).map(|entry| &entry.info).ok_or(Refusal::Empty)?;
        let container_id = ContainerId::trusted(context.chance().uuid().to_string());
        let executor_id = &executor.executor_id;
        let names = Names { agent_id, framework_id, executor_id, container_id: &container_id };
        let grace = executor.shutdown_grace.unwrap_or(self.config.executor_shutdown_grace);
        let mut environment = environment::executor_environment(&self.config, &names, framework, grace, role);
        // The default executor starts tasks of several users, and has its own.
        let user = own.map(|command| command.user.clone().unwrap_or_else(|| framework.user.clone()));
        let placement = Self::shared_place(&placements);
        match own {
            Some(command) => {
                placement.iter().for_each(|placement| environment::add_devices(&mut environment, placement));
                environment::make_custom(&mut environment, command);
            }
            // Each of its tasks is told its own.
            None => environment::make_default(&mut environment),
        }
        let volumes = VolumeLink::all_of(&resources);
        let spec = LaunchSpec {
            program,
            environment,
            secrets: own.map_or_else(Vec::new, |command| command.references().collect()),
            sandbox: names.sandbox(),
            join: false,
            user: user.filter(|user| self.config.switch_user && !user.is_empty()),
            resources,
            limits,
            container: executor.container.clone(),
            placement,
            volumes,
            rlimits: executor.container.as_ref().map_or_else(Vec::new, |container| container.rlimits.clone()),
            uris: own.map(|command| command.uris.clone()).unwrap_or_default(),
            // The default executor's tasks have theirs.
            terminal: own.and(executor.container.as_ref()).and_then(|container| container.terminal),
        };
        let info = executor.clone();
        let container = Container::planned(framework_id.clone(), container_id, info, role.clone(), Box::new(spec));
        Ok((container, placements))
    }

    /// The container for a task with a command and its place on the machine, or why there can be none. The place is booked.
    fn plan_command(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        task: &TaskInfo,
        command: &CommandInfo,
        context: &mut Context<'_, Self>,
    ) -> Result<(Container, Option<Placement>), Refusal> {
        if command.program_in(task.container.as_deref()).is_none() {
            return Err(Refusal::NoValue);
        }
        if self.state.framework(framework_id).is_none() {
            return Err(Refusal::Empty);
        }
        let own = Resources::cpus_and_mem(COMMAND_EXECUTOR_CPUS, COMMAND_EXECUTOR_MEM);
        let resources = task.resources.plus(&own).map_err(|error| Refusal::Resources(error.to_string()))?;
        let limits = task.limits.as_deref().copied().unwrap_or_default();
        let limits = limits.beside(COMMAND_EXECUTOR_CPUS, COMMAND_EXECUTOR_MEM);
        // The last that can go wrong: from here on the place is the task's.
        let seat = self.seat(task)?;
        let framework = self.state.framework(framework_id).map(|entry| &entry.info).ok_or(Refusal::Empty)?;
        let info = command_executor(task, command);
        let container_id = ContainerId::trusted(context.chance().uuid().to_string());
        let names = Names { agent_id, framework_id, executor_id: &info.executor_id, container_id: &container_id };
        let grace = info.shutdown_grace.unwrap_or(self.config.executor_shutdown_grace);
        let user = command.user.clone().unwrap_or_else(|| framework.user.clone());
        let spec = LaunchSpec {
            program: Program::BuiltinExecutor,
            environment: environment::executor_environment(&self.config, &names, framework, grace, &task.role),
            // The executor hands them on.
            secrets: command.references().collect(),
            sandbox: names.sandbox(),
            join: false,
            user: Some(user).filter(|user| self.config.switch_user && !user.is_empty()),
            resources,
            limits,
            container: task.container.clone(),
            placement: None,
            volumes: VolumeLink::all_of(&task.resources),
            rlimits: Vec::new(),
            uris: command.uris.clone(),
            // It is the task's, not its executor's.
            terminal: None,
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
            let way = Way { container: None, group: None, delivery: Delivery::Unwritten };
            let unseen = never_seen(task_id, agent_id);
            let number = self.enter_task(&framework_id, unseen, executor_id, way, None, &mut batch);
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
        if self.state.task(number).is_some_and(|entry| entry.delivery != Delivery::Sent) {
            return self.kill_queued(number, container, context);
        }
        // To an executor that is not back yet it is told when it is.
        if self.state.container(container).is_some_and(|container| container.stage() == Stage::Running) {
            self.repeat_kill(number, context);
        }
    }
}

/// Where tasks run.
enum Plan {
    /// In a container of their own, which is to be started.
    Start(Box<Container>, Vec<Option<Placement>>),
    /// In one that is there.
    Join(u64, Vec<Option<Placement>>),
}

/// The way of a task to its executor.
struct Way {
    container: Option<u64>,
    group: Option<Uuid>,
    delivery: Delivery,
}

/// The executor of a task; the one made up for a command takes the task's name.
fn executor_id(task: &TaskInfo) -> ExecutorId {
    let named = task.executor.as_ref().map(|executor| executor.executor_id.clone());
    named.unwrap_or_else(|| ExecutorId::trusted(task.task_id.as_str()))
}

/// All that is known of a task that never arrived: its name.
fn never_seen(task_id: TaskId, agent_id: AgentId) -> TaskInfo {
    TaskInfo { name: task_id.to_string(), ..TaskInfo::bare(task_id, agent_id, RoleName::trusted(role::DEFAULT)) }
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

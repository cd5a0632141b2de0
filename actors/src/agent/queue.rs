//! Tasks on their way to their executor: on disk first, then waiting until the executor listens and its container has
//! room, then handed over; those of a group together (reference 6.2, 6.4).
//!
//! ```text
//! Unwritten --> Queued --> (the container is resized) --> Sent
//!      \__ killed: the agent ends it, with the rest of its group
//! ```

use crate::agent::Agent;
use crate::agent::container::{Container, Stage, Verdict};
use crate::agent::environment::{self, Names};
use crate::agent::state::{Delivery, Waiting};
use kaon_kernel::actor::Context;
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, VolumeLink, VolumeLinks};
use kaon_kernel::container_info::{Limit, Limits};
use kaon_kernel::id::Uuid;
use kaon_kernel::message::executor_agent::ToExecutor;
use kaon_kernel::resource::{ResourceName, Resources, ResourcesError};
use kaon_kernel::task::{ExecutorInfo, ExecutorKind, Reason, TaskInfo, TaskState};

impl Agent {
    /// Tasks are on disk. Those of an executor that listens go on at once.
    pub(super) fn on_queued(&mut self, tasks: &[u64], context: &mut Context<'_, Self>) {
        let mut container = None;
        for task in tasks {
            if let Some(entry) = self.state.task_mut(*task).filter(|entry| entry.delivery == Delivery::Unwritten) {
                entry.delivery = Delivery::Queued;
                container = entry.container;
            }
        }
        if let Some(number) = container {
            self.make_room(number, context);
        }
    }

    /// Gives the container of a listening executor what it and all its tasks take, the volumes of those that wait first; they
    /// are handed over then.
    pub(super) fn make_room(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let has_queued = self.queued(number).next().is_some();
        let container = self.state.container(number).filter(|container| container.stage() == Stage::Running);
        let (Some(container), true) = (container, has_queued) else { return };
        let (framework_id, executor_id) = (container.framework_id(), &container.info().executor_id);
        let (Some(agent_id), container_id) = (self.state.agent_id(), container.id()) else { return };
        let sandbox = Names { agent_id, framework_id, executor_id, container_id }.sandbox();
        let queued = self.queued(number).filter_map(|task| self.state.task(task));
        let links: Vec<VolumeLink> = queued.flat_map(|entry| VolumeLink::all_of(&entry.task.info.resources)).collect();
        if links.is_empty() {
            return self.resize(number, context);
        }
        let (make, remove, empty) = Default::default();
        let links = Some(Box::new(VolumeLinks { sandbox, links }));
        let ticket = context.contain(ContainerRequest::Volumes { make, remove, empty, links });
        self.state.wait(ticket, Waiting::Linked(number));
    }

    /// The volumes of queued tasks are in the sandbox, or can't be.
    pub(super) fn on_linked(&mut self, number: u64, outcome: ContainerOutcome, context: &mut Context<'_, Self>) {
        match outcome {
            ContainerOutcome::Volumes(Ok(())) => self.resize(number, context),
            ContainerOutcome::Volumes(Err(reason)) => self.fail_to_resize(number, &reason, context),
            other => panic!("volumes came back as {other:?}"),
        }
    }

    fn resize(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let container = self.state.container(number).filter(|container| container.stage() == Stage::Running);
        let Some(container) = container else { return };
        let id = container.id().clone();
        match self.takes(number) {
            Ok((resources, limits)) => {
                let ticket = context.contain(ContainerRequest::Update { container: id, resources, limits });
                self.state.wait(ticket, Waiting::Resized(number));
            }
            Err(error) => self.fail_to_resize(number, &error.to_string(), context),
        }
    }

    /// A task has ended: its container gives back what it took. When that fails the container has more than it needs.
    pub(super) fn give_room_back(&mut self, number: u64, task: u64, context: &mut Context<'_, Self>) {
        let has_ended = self.state.task(task).is_some_and(|entry| entry.task.state.is_terminal());
        let container = self.state.container(number).filter(|container| {
            has_ended && container.stage() == Stage::Running && container.info().kind != ExecutorKind::Command
        });
        if let (Some(container), Ok((resources, limits))) = (container, self.takes(number)) {
            let container = container.id().clone();
            let ticket = context.contain(ContainerRequest::Update { container, resources, limits });
            self.state.wait(ticket, Waiting::Nothing);
        }
    }

    /// What an executor and its tasks that have not ended take together.
    fn takes(&self, number: u64) -> Result<(Resources, Limits), ResourcesError> {
        let Some(container) = self.state.container(number) else { return Ok(Default::default()) };
        let tasks = self.state.tasks_of_container(number);
        let entries = tasks.iter().filter_map(|task| self.state.task(*task));
        let live = entries.filter(|entry| !entry.task.state.is_terminal());
        needs(container.info(), live.map(|entry| &entry.task.info))
    }

    /// A container has been resized, or can't be.
    pub(super) fn on_resized(&mut self, number: u64, outcome: ContainerOutcome, context: &mut Context<'_, Self>) {
        match outcome {
            ContainerOutcome::Updated(Ok(())) => self.hand_over(number, context),
            ContainerOutcome::Updated(Err(reason)) => self.fail_to_resize(number, &reason, context),
            other => panic!("an update came back as {other:?}"),
        }
    }

    fn fail_to_resize(&mut self, number: u64, reason: &str, context: &mut Context<'_, Self>) {
        let message = format!("Failed to update the resources of the container: {reason}");
        let (state, reason) = (TaskState::Gone, Reason::ContainerUpdateFailed);
        self.destroy(number, Some(Verdict { state, reason, message, limitation: None }), context);
    }

    /// Gives a listening executor what waits for it, in the order in which it was launched.
    pub(super) fn hand_over(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let listens = |container: &Container| container.stage() == Stage::Running && container.voice().is_some();
        if !self.state.container(number).is_some_and(listens) {
            return;
        }
        let kind = self.state.container(number).map(|container| container.info().kind);
        let is_default = kind == Some(ExecutorKind::Default);
        let mut queued: Vec<u64> = self.queued(number).collect();
        queued.sort_unstable();
        let mut parcel: Vec<TaskInfo> = Vec::new();
        let mut group: Option<Uuid> = None;
        for task in &queued {
            let Some(entry) = self.state.task_mut(*task) else { continue };
            entry.delivery = Delivery::Sent;
            let (mut info, of_group) = (entry.task.info.clone(), entry.group);
            if let (true, Some(placement), Some(command)) = (is_default, &entry.placement, &mut info.command) {
                environment::offer_devices(&mut command.environment, placement);
            }
            if group != of_group {
                self.send_group(number, &mut parcel, context);
                group = of_group;
            }
            match of_group {
                Some(_) => parcel.push(info),
                None => self.tell_executor(number, ToExecutor::Launch { task: Box::new(info) }, context),
            }
        }
        self.send_group(number, &mut parcel, context);
        for task in queued {
            self.repeat_kill(task, context);
        }
    }

    fn send_group(&mut self, number: u64, parcel: &mut Vec<TaskInfo>, context: &mut Context<'_, Self>) {
        let tasks = core::mem::take(parcel);
        if !tasks.is_empty() {
            self.tell_executor(number, ToExecutor::LaunchGroup { tasks }, context);
        }
    }

    /// The tasks that wait for their executor.
    fn queued(&self, number: u64) -> impl Iterator<Item = u64> {
        let tasks = self.state.tasks_of_container(number).into_iter();
        tasks.filter(|task| {
            let entry = self.state.task(*task);
            entry.is_some_and(|entry| entry.delivery == Delivery::Queued && !entry.task.state.is_terminal())
        })
    }

    /// Ends a task that its executor never got, with the rest of its group. An executor that has got nothing, and for
    /// which nothing else waits, is not needed.
    pub(super) fn kill_queued(&mut self, task: u64, container: u64, context: &mut Context<'_, Self>) {
        let group = self.state.task(task).and_then(|entry| entry.group);
        let mut all = self.state.tasks_of_container(container);
        for member in &all {
            let is_meant = |entry: &&crate::agent::state::TaskEntry| {
                *member == task || (group.is_some() && entry.group == group && entry.delivery != Delivery::Sent)
            };
            if self.state.task(*member).filter(is_meant).is_some() {
                let message = "Killed before it was delivered to its executor";
                self.tell(*member, TaskState::Killed, Reason::TaskKilledDuringLaunch, message, context);
            }
        }
        all.retain(|member| self.state.task(*member).is_some_and(|entry| !entry.task.state.is_terminal()));
        let stage = self.state.container(container).map(Container::stage);
        let is_fresh =
            matches!(stage, Some(Stage::Persisting | Stage::Waiting | Stage::Launching | Stage::Registering));
        if is_fresh && all.is_empty() {
            self.destroy(container, None, context);
        }
    }
}

/// What an executor and tasks of its take together, and how far they may go. A limit of one of them is one of the whole
/// container: the others then add what they have of the offer.
pub(super) fn needs<'a>(
    executor: &ExecutorInfo,
    tasks: impl Iterator<Item = &'a TaskInfo>,
) -> Result<(Resources, Limits), ResourcesError> {
    let mut resources = executor.resources.clone();
    let mut limits = Limits::default();
    for task in tasks {
        let own = task.limits.as_deref().copied().unwrap_or_default();
        raise(&mut limits.cpus, own.cpus, &resources, &task.resources, "cpus");
        raise(&mut limits.mem, own.mem, &resources, &task.resources, "mem");
        resources.add(&task.resources)?;
    }
    Ok((resources, limits))
}

/// Raises a limit of a container that has `before` by that of a task that adds `more`.
fn raise(limit: &mut Option<Limit>, own: Option<Limit>, before: &Resources, more: &Resources, name: &str) {
    if limit.is_none() && own.is_none() {
        return;
    }
    let name = ResourceName::of(name);
    let so_far = limit.unwrap_or(Limit::Amount(before.scalar(&name)));
    *limit = Some(match own {
        Some(Limit::Unlimited) => Limit::Unlimited,
        Some(Limit::Amount(amount)) => so_far.plus(amount),
        None => so_far.plus(more.scalar(&name)),
    });
}

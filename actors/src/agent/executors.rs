//! What is the same for all executors: the greeting, statuses, messages; and the way in for those that are actors. Those
//! that speak HTTP come in through `outside.rs` and meet the same verbs: [`Agent::welcome`], [`Agent::on_update`], and
//! [`Agent::tell_executor`].
//!
//! An executor is who its certificate says it is. Its link names a container; what it says counts for that container
//! and the tasks in it alone, and anything else is refused and counted (attacks 26 and 27).

use crate::agent::container::{Container, Stage, Voice};
use crate::agent::state::{Delivery, TASKS_MAX, Waiting};
use crate::agent::status::Error;
use crate::agent::{Agent, Timer, metric};
use kaon_kernel::actor::{ActorKind, Address, Batch, Context, HostId};
use kaon_kernel::frame::Envelope;
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{ExecutorId, FrameworkId, TaskId, Uuid};
use kaon_kernel::message::agent_master::ToMaster;
use kaon_kernel::message::agent_outside::AgentEvent;
use kaon_kernel::message::executor_agent::{ToAgent, ToExecutor};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{ExecutorMessage, MasterMessage};
use kaon_kernel::task::{ExecutorKind, Reason, Source, TaskState, TaskStatus};

/// The largest message between a scheduler and an executor that is passed on, in bytes: well below a frame's bound.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The largest status that is passed on, in bytes of what the framework puts into it.
pub(super) const STATUS_BYTES_MAX: usize = 4 << 20;

/// How many statuses and tasks one registration may name: as many as an agent holds, with a few statuses each at worst.
pub(super) const REGISTRATION_ENTRIES_MAX: usize = 2 * TASKS_MAX;

/// What an executor says it holds when it is taken in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holds<'a> {
    /// It was not asked: it is taken in for the first time.
    Unknown,
    /// These tasks and no others.
    All(&'a [TaskId]),
    /// These and all of which a status was acknowledged.
    Unacknowledged(&'a [TaskId]),
}

impl Agent {
    /// A host has come up that is an executor. Told after a restart of the actor as well, when the executor knows
    /// nothing of it: so it is asked to register.
    pub(super) fn on_executor_linked(&mut self, host: HostId, context: &mut Context<'_, Self>) {
        let identity = self.state.peer(host).map(|peer| peer.identity.clone());
        let number = identity.and_then(|identity| self.state.container_named(&identity));
        let container = number.and_then(|number| self.state.container(number));
        if container.is_some_and(|container| container.voice().is_none() && container.is_recovering()) {
            let message = ExecutorMessage::Agent(ToExecutor::Reconnect);
            context.send(Address::only(host, ActorKind::Executor), &message);
        }
    }

    /// A message that says it is from an executor.
    pub(super) fn on_executor(&mut self, envelope: &Envelope, message: ToAgent, context: &mut Context<'_, Self>) {
        let peer = self.state.peer(envelope.from.host);
        let identity = peer.filter(|peer| peer.role == PeerRole::Executor && envelope.from.kind == ActorKind::Executor);
        let number = identity.and_then(|peer| self.state.container_named(&peer.identity));
        let Some(number) = number else { return context.count(metric::FOREIGN, 1) };
        match message {
            ToAgent::Register { framework_id, executor_id, container_id, unacknowledged, tasks } => {
                let is_same = self.state.container(number).is_some_and(|container| {
                    *container.id() == container_id
                        && *container.framework_id() == framework_id
                        && container.info().executor_id == executor_id
                });
                if !is_same || unacknowledged.len().max(tasks.len()) > REGISTRATION_ENTRIES_MAX {
                    return context.count(metric::FOREIGN, 1);
                }
                self.on_executor_registered(number, envelope.from, unacknowledged, tasks, context);
            }
            ToAgent::Update { status } => self.on_update(number, *status, context),
            ToAgent::Message { data } => self.on_executor_message(number, data, context),
        }
    }

    fn on_executor_registered(
        &mut self,
        number: u64,
        from: Address,
        unacknowledged: Vec<TaskStatus>,
        tasks: Vec<TaskId>,
        context: &mut Context<'_, Self>,
    ) {
        let Some(container) = self.state.container_mut(number) else { return };
        let voice = Some(Voice::Actor(from));
        match container.stage() {
            // The machine has not said yet that it runs; it is greeted then, with its process id known.
            Stage::Launching => {
                container.listen(voice);
            }
            // Until the machine has answered nothing is certain; it is asked again then.
            Stage::Recovering => {}
            Stage::Persisting | Stage::Waiting | Stage::Ended => context.count(metric::FOREIGN, 1),
            Stage::Terminating => {
                container.listen(voice);
                self.tell_executor(number, ToExecutor::Shutdown, context);
            }
            Stage::Registering | Stage::Reregistering | Stage::Running => {
                container.listen(voice);
                self.welcome(number, unacknowledged, Holds::All(&tasks), context);
            }
        }
    }

    /// Takes an executor in: tells it that it is known, takes its statuses, hands it the tasks that wait for it, and kills
    /// that it missed.
    pub(super) fn welcome(
        &mut self,
        number: u64,
        unacknowledged: Vec<TaskStatus>,
        holds: Holds<'_>,
        context: &mut Context<'_, Self>,
    ) {
        let Some(container) = self.state.container_mut(number) else { return };
        let is_fresh = container.stage() != Stage::Running && !container.is_recovering();
        if container.stage() != Stage::Running {
            container.enter(Stage::Running);
        }
        let kind = container.info().kind;
        context.disarm(Timer::Registration(number));
        self.greet(number, context);
        for status in unacknowledged {
            self.on_update(number, status, context);
        }
        for task in self.state.tasks_of_container(number) {
            self.compare(task, holds, context);
        }
        if kind == ExecutorKind::Command {
            // Its container has had room for its one task from the beginning.
            self.hand_over(number, context);
        } else {
            self.make_room(number, context);
        }
        let numbers = self.state.tasks_of_container(number);
        let mut tasks = numbers.iter().filter_map(|task| self.state.task(*task));
        let has_nothing = tasks.all(|entry| entry.task.state.is_terminal());
        let holds_nothing = matches!(holds, Holds::All([]));
        if has_nothing && (is_fresh || holds_nothing) {
            // Its tasks ended before it got any, or the agent fell between the two (reference 6.2). A framework's own
            // executor that had some may wait for more.
            self.shut_down(number, context);
        }
        self.finish_recovery(context);
    }

    /// Brings a task in line with what its executor says it holds.
    fn compare(&mut self, task: u64, holds: Holds<'_>, context: &mut Context<'_, Self>) {
        let Some(entry) = self.state.task_mut(task).filter(|entry| !entry.task.state.is_terminal()) else { return };
        let (is_held, is_all) = match holds {
            Holds::Unknown => (true, false),
            Holds::All(tasks) => (tasks.contains(&entry.task.info.task_id), true),
            Holds::Unacknowledged(tasks) => (tasks.contains(&entry.task.info.task_id), false),
        };
        match (entry.task.state, entry.delivery) {
            (TaskState::Staging, Delivery::Sent) if !is_held && is_all => {
                // An executor that tells all that it has, and takes a task once, can be sent it again.
                entry.delivery = Delivery::Queued;
                return;
            }
            (TaskState::Staging, Delivery::Sent) if !is_held => {
                let message = "The task did not reach its executor";
                return self.tell(task, TaskState::Dropped, Reason::AgentRestarted, message, context);
            }
            (TaskState::Staging, _) => {}
            _ if !is_held && is_all => {
                let message = "The executor does not hold the task any more";
                return self.tell(task, TaskState::Failed, Reason::ExecutorTerminated, message, context);
            }
            _ => {}
        }
        self.repeat_kill(task, context);
    }

    /// Tells an executor that it is known: in few words one that is built in, in full one of a framework.
    fn greet(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let Some(container) = self.state.container(number) else { return };
        let Some(framework) = self.state.framework(container.framework_id()).map(|entry| &entry.info) else { return };
        match container.voice() {
            Some(Voice::Actor(_)) => {
                let is_default = container.info().kind == ExecutorKind::Default;
                let user =
                    Some(&framework.user).filter(|user| is_default && self.config.switch_user && !user.is_empty());
                let (task_killing_state, user) = (framework.has(Capability::TaskKillingState), user.cloned());
                self.tell_executor(number, ToExecutor::Registered { task_killing_state, user }, context);
            }
            Some(Voice::Stream(stream)) => {
                let subscribed = AgentEvent::Subscribed {
                    executor: Box::new(container.info().clone()),
                    framework: Box::new(framework.clone()),
                    agent: Box::new(self.state.info().clone()),
                    container_id: container.id().clone(),
                };
                context.emit(stream, &subscribed);
            }
            None => {}
        }
    }

    /// Tells an executor of a kill that waits for it.
    pub(super) fn repeat_kill(&mut self, task: u64, context: &mut Context<'_, Self>) {
        let Some(entry) = self.state.task(task).filter(|entry| !entry.task.state.is_terminal()) else { return };
        if let (Some(grace), Some(container), Delivery::Sent) = (entry.kill, entry.container, entry.delivery) {
            let kill = ToExecutor::Kill { task_id: entry.task.info.task_id.clone(), grace };
            self.tell_executor(container, kill, context);
        }
    }

    /// An executor says how a task of its container does. It is told that the agent has it once that is true.
    pub(super) fn on_update(&mut self, number: u64, status: TaskStatus, context: &mut Context<'_, Self>) {
        let Some(container) = self.state.container(number) else { return };
        let framework_id = container.framework_id().clone();
        let is_ending = self.state.framework(&framework_id).is_some_and(|framework| framework.is_ending);
        let is_own_task = container.info().kind != ExecutorKind::Command
            || container.info().executor_id.as_str() == status.task_id.as_str();
        let task = self.state.task_named(&framework_id, &status.task_id);
        let (task_id, uuid) = (status.task_id.clone(), status.uuid);
        let Some(task) = task else {
            // A task is gone from the tables when its last status was acknowledged: the executor did not hear that it may
            // stop repeating it. A command executor has had one task; any other name is none of its business.
            return match uuid.filter(|_| is_own_task) {
                Some(uuid) => self.acknowledge_executor(number, task_id, uuid, context),
                None => context.count(metric::INVALID_UPDATES, 1),
            };
        };
        let is_foreign = self.state.task(task).is_none_or(|entry| entry.container != Some(number));
        let is_sayable = !matches!(status.state, TaskState::Staging | TaskState::Unknown | TaskState::Unreachable);
        let size = status.data.as_ref().map_or(0, Vec::len)
            + status.rest.len()
            + status.message.as_ref().map_or(0, String::len);
        if is_foreign || !is_sayable || size > STATUS_BYTES_MAX {
            return context.count(metric::INVALID_UPDATES, 1);
        }
        if let Some(uuid) = uuid.filter(|_| is_ending) {
            // Nobody will ever ask for it: only the executor needs to go on.
            return self.acknowledge_executor(number, task_id, uuid, context);
        }
        let status = TaskStatus {
            source: Source::Executor,
            timestamp: if status.timestamp.0 == 0 { context.wall() } else { status.timestamp },
            agent_id: self.state.agent_id().cloned(),
            executor_id: Some(container.info().executor_id.clone()),
            container: Some(container.status_within(status.container, &self.config.info.ip)),
            unreachable_time: None,
            ..status
        };
        let mut batch = Batch::default();
        match self.accept(task, status, &mut batch) {
            Ok(sequence) => {
                context.count(metric::VALID_UPDATES, 1);
                self.count_end(task, context);
                self.give_room_back(number, task, context);
                let ticket = context.persist(batch);
                self.state.wait(ticket, Waiting::Stored { updates: vec![(task, sequence)], ended: None });
            }
            Err(Error::Known { uuid, is_stored: true }) => self.acknowledge_executor(number, task_id, uuid, context),
            // It is told when it is written.
            Err(Error::Known { is_stored: false, .. }) => {}
            // A step that can't be: it will not get better by being repeated.
            Err(Error::Step { .. }) => {
                context.count(metric::INVALID_UPDATES, 1);
                if let Some(uuid) = uuid {
                    self.acknowledge_executor(number, task_id, uuid, context);
                }
            }
            Err(Error::Nameless | Error::Full) => context.count(metric::INVALID_UPDATES, 1),
        }
    }

    /// Passes an executor's message on to its scheduler. Best effort.
    pub(super) fn on_executor_message(&mut self, number: u64, data: Vec<u8>, context: &mut Context<'_, Self>) {
        let leader = self.state.leader().filter(|_| self.is_registered() && data.len() <= MESSAGE_BYTES_MAX);
        let (Some(leader), Some(container)) = (leader, self.state.container(number)) else {
            return context.count(metric::INVALID_MESSAGES, 1);
        };
        let (framework_id, executor_id) = (container.framework_id().clone(), container.info().executor_id.clone());
        context.count(metric::VALID_MESSAGES, 1);
        context.send(leader.address, &MasterMessage::Agent(ToMaster::Message { framework_id, executor_id, data }));
    }

    /// Passes a scheduler's message on. Best effort.
    pub(super) fn on_scheduler_message(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        data: Vec<u8>,
        context: &mut Context<'_, Self>,
    ) {
        let number = self.state.container_of(framework_id, executor_id);
        let running = number.and_then(|number| self.state.container(number));
        let takes_it = running.is_some_and(|container| container.stage() == Stage::Running);
        match number.filter(|_| takes_it && data.len() <= MESSAGE_BYTES_MAX) {
            Some(number) => {
                context.count(metric::VALID_MESSAGES, 1);
                self.tell_executor(number, ToExecutor::Message { data }, context);
            }
            None => context.count(metric::INVALID_MESSAGES, 1),
        }
    }

    /// Tells an executor that its status is on disk.
    pub(super) fn acknowledge_executor(
        &mut self,
        number: u64,
        task_id: TaskId,
        uuid: Uuid,
        context: &mut Context<'_, Self>,
    ) {
        self.tell_executor(number, ToExecutor::Acknowledged { task_id, uuid }, context);
    }

    /// Says something to an executor, if it was heard in this life of the agent. What is lost on the way it gets again
    /// when it registers anew.
    pub(super) fn tell_executor(&mut self, number: u64, message: ToExecutor, context: &mut Context<'_, Self>) {
        match self.state.container(number).and_then(Container::voice) {
            Some(Voice::Actor(address)) => context.send(address, &ExecutorMessage::Agent(message)),
            Some(Voice::Stream(stream)) => context.emit(stream, &AgentEvent::Told(message)),
            None => {}
        }
    }
}

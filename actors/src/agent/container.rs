//! The life of one executor's container.
//!
//! ```text
//! Persisting -> (Waiting ->) Launching -> Registering -> Running ----------> Terminating -> Ended -> (gone)
//!      \             \             \            \__ it ends by itself ________/
//!       \_____________\_____________\__ killed, refused, too late ___________/
//!
//! after a restart:  Recovering -> Reregistering -> Running
//! ```
//! One whose place is still held by what is about to end waits for it.
//!
//! It is on disk before it is started, and its end is on disk before the master hears of it (law L5). What walls stand
//! around it is the business of the isolators.

use crate::agent::checkpoint::{self, ExecutorRecord};
use crate::agent::environment;
use crate::agent::executors::Holds;
use crate::agent::place::Wish;
use crate::agent::state::Waiting;
use crate::agent::{Agent, Timer, metric};
use kaon_kernel::actor::{Address, Batch, Context, StreamId};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, Exit, ExitStatus, LaunchSpec};
use kaon_kernel::id::{ContainerId, FrameworkId, RoleName};
use kaon_kernel::message::MasterMessage;
use kaon_kernel::message::agent_master::{RunningExecutor, ToMaster};
use kaon_kernel::placement::Placement;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{ContainerStatus, ExecutorInfo, Reason, TaskState};
use kaon_kernel::time::Duration;

/// The raw wait status of an executor of which nobody knows how it ended.
pub(super) const STATUS_UNKNOWN: i32 = -1;

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its record is being written; nothing is started.
    Persisting,
    /// Its place on the machine is about to come free.
    Waiting,
    /// The machine builds it.
    Launching,
    /// It runs; its executor has not been heard.
    Registering,
    /// Known from before a restart; the machine has not said whether it is there.
    Recovering,
    /// It outlived a restart; its executor has not been heard since.
    Reregistering,
    /// Its executor is known and takes orders.
    Running,
    /// It is to end.
    Terminating,
    /// It has ended; that is being written.
    Ended,
}

impl Stage {
    /// Whether a container may go from here to `next`.
    fn may_become(self, next: Self) -> bool {
        match next {
            Self::Persisting | Self::Recovering => false,
            Self::Waiting => self == Self::Persisting,
            Self::Launching => matches!(self, Self::Persisting | Self::Waiting),
            Self::Registering => self == Self::Launching,
            Self::Reregistering => self == Self::Recovering,
            Self::Running => {
                matches!(self, Self::Launching | Self::Registering | Self::Recovering | Self::Reregistering)
            }
            Self::Terminating => !matches!(self, Self::Terminating | Self::Ended),
            Self::Ended => self != Self::Ended,
        }
    }
}

/// What becomes of the tasks that have not ended when their container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: TaskState,
    pub(super) reason: Reason,
    pub(super) message: String,
    /// The resources whose limit was hit.
    pub(super) limitation: Option<Box<Resources>>,
}

/// How an executor is reached. Nothing but [`Agent::tell_executor`] and the greeting makes a difference of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// It is an actor in a process of its own.
    Actor(Address),
    /// It reads a stream of the HTTP edge.
    Stream(StreamId),
}

/// A container with its executor.
#[derive(Clone, Debug)]
pub(super) struct Container {
    framework_id: FrameworkId,
    id: ContainerId,
    info: ExecutorInfo,
    role: RoleName,
    stage: Stage,
    pid: Option<u32>,
    /// Its own addresses, when it has any.
    addresses: Box<[String]>,
    /// Whether the machine was asked to build it and may hold something of it.
    is_built: bool,
    voice: Option<Voice>,
    launch: Option<Box<LaunchSpec>>,
    /// What it waits for a place for.
    wish: Option<Box<Wish>>,
    verdict: Option<Verdict>,
    exit_status: i32,
}

impl Container {
    /// One that is to be started once its record is on disk.
    pub(super) fn planned(
        framework_id: FrameworkId,
        id: ContainerId,
        info: ExecutorInfo,
        role: RoleName,
        launch: Box<LaunchSpec>,
    ) -> Self {
        Self {
            framework_id,
            id,
            info,
            role,
            stage: Stage::Persisting,
            pid: None,
            addresses: Box::default(),
            is_built: false,
            voice: None,
            launch: Some(launch),
            wish: None,
            verdict: None,
            exit_status: STATUS_UNKNOWN,
        }
    }

    /// One that a journal remembers.
    pub(super) fn recovered(record: ExecutorRecord) -> Self {
        Self {
            framework_id: record.framework_id,
            id: record.container_id,
            info: record.info,
            role: record.role,
            stage: Stage::Recovering,
            pid: record.pid,
            addresses: record.addresses.into(),
            is_built: false,
            voice: None,
            launch: None,
            wish: None,
            verdict: None,
            exit_status: STATUS_UNKNOWN,
        }
    }

    pub(super) fn framework_id(&self) -> &FrameworkId {
        &self.framework_id
    }
    pub(super) fn id(&self) -> &ContainerId {
        &self.id
    }
    pub(super) fn info(&self) -> &ExecutorInfo {
        &self.info
    }
    pub(super) fn role(&self) -> &RoleName {
        &self.role
    }
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }
    /// How its executor is reached, once that has registered and as long as it listens.
    pub(super) fn voice(&self) -> Option<Voice> {
        self.voice
    }
    /// Whether a restart still waits to hear of it.
    pub(super) fn is_recovering(&self) -> bool {
        matches!(self.stage, Stage::Recovering | Stage::Reregistering)
    }
    /// Its executor listens here from now on, or nowhere. Where it listened before.
    pub(super) fn listen(&mut self, voice: Option<Voice>) -> Option<Voice> {
        core::mem::replace(&mut self.voice, voice)
    }
    /// Where it will be, for the walls and in its environment.
    pub(super) fn settle_at(&mut self, placement: &Placement) {
        if let Some(spec) = &mut self.launch {
            environment::add_devices(&mut spec.environment, placement);
            spec.placement = Some(placement.clone());
        }
        self.wish = None;
    }
    /// It can be started only when its place is free.
    pub(super) fn wait_for(&mut self, wish: Wish) {
        self.wish = Some(Box::new(wish));
    }
    pub(super) fn wish(&self) -> Option<&Wish> {
        self.wish.as_deref()
    }
    /// Goes to the next stage.
    pub(super) fn enter(&mut self, next: Stage) {
        assert!(self.stage.may_become(next), "container {}: {:?} -> {next:?}", self.id, self.stage);
        self.stage = next;
    }
    /// Where it runs, as statuses tell it.
    pub(super) fn status(&self, ip: &str) -> ContainerStatus {
        let ip_addresses = if self.addresses.is_empty() { vec![ip.to_owned()] } else { self.addresses.to_vec() };
        ContainerStatus { container_id: self.id.clone(), parent: None, executor_pid: self.pid, ip_addresses }
    }
    /// Where a task runs that its executor says to have put in a container within this one, or under other addresses.
    pub(super) fn status_within(&self, reported: Option<ContainerStatus>, ip: &str) -> ContainerStatus {
        let is_here = |one: &ContainerStatus| match &one.parent {
            Some(parent) => **parent == self.id,
            None => one.container_id == self.id,
        };
        let own = self.status(ip);
        match reported.filter(is_here) {
            Some(ContainerStatus { container_id, parent, ip_addresses, .. }) if ip_addresses.is_empty() => {
                ContainerStatus { container_id, parent, ..own }
            }
            Some(reported) => ContainerStatus { executor_pid: own.executor_pid, ..reported },
            None => own,
        }
    }
    /// What is remembered of it.
    pub(super) fn into_past(self) -> (RunningExecutor, ContainerId) {
        let Self { framework_id, role, info, id, .. } = self;
        (RunningExecutor { framework_id, role, info }, id)
    }
    /// What is written of it.
    pub(super) fn record(&self) -> ExecutorRecord {
        ExecutorRecord {
            framework_id: self.framework_id.clone(),
            info: self.info.clone(),
            role: self.role.clone(),
            container_id: self.id.clone(),
            pid: self.pid,
            addresses: self.addresses.to_vec(),
        }
    }
}

impl Agent {
    /// A container's record is on disk: start it, unless it was killed meanwhile.
    pub(super) fn on_container_persisted(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let container =
            self.state.container_mut(number).expect("nothing removes a container before its record is done");
        if container.stage == Stage::Terminating {
            return self.end_container(number, context);
        }

        if container.wish.is_some() {
            if container.stage == Stage::Persisting {
                container.enter(Stage::Waiting);
            }
            return self.seat_one(number, context);
        }
        container.enter(Stage::Launching);
        container.is_built = true;
        let spec = container.launch.take().expect("a container is launched once");
        let request = ContainerRequest::Launch { container: container.id.clone(), spec };
        let ticket = context.contain(request);
        self.state.wait(ticket, Waiting::Launched(number));
    }

    /// A container runs, or could not be started.
    pub(super) fn on_launched(&mut self, number: u64, outcome: ContainerOutcome, context: &mut Context<'_, Self>) {
        let container =
            self.state.container_mut(number).expect("nothing removes a container before its launch is done");
        match outcome {
            ContainerOutcome::Launched { pid, addresses } => {
                container.pid = (pid != 0).then_some(pid);
                container.addresses = addresses.into();
                let mut batch = Batch::default();
                batch.put(checkpoint::executor_key(&container.id), checkpoint::write(&container.record()));
                let is_wanted = container.stage == Stage::Launching;
                if is_wanted {
                    container.enter(Stage::Registering);
                }
                let ticket = context.persist(batch);
                self.state.wait(ticket, Waiting::Noted);
                self.watch(number, context);
                if !is_wanted {
                    return self.kill_container(number, context);
                }
                context.arm(Timer::Registration(number), self.config.executor_registration_timeout);
                if self.state.container(number).is_some_and(|container| container.voice.is_some()) {
                    self.welcome(number, Vec::new(), Holds::Unknown, context);
                }
            }
            ContainerOutcome::Failed { reason } => {
                container.is_built = false;
                let (state, message) = (TaskState::Failed, format!("Failed to launch container: {reason}"));
                let verdict = Verdict { state, reason: Reason::ContainerLaunchFailed, message, limitation: None };
                container.verdict.get_or_insert(verdict);
                context.count(metric::LAUNCH_ERRORS, 1);
                self.end_container(number, context);
            }
            other => panic!("a launch came back as {other:?}"),
        }
    }

    /// Asks to be told when a container ends.
    pub(super) fn watch(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let Some(container) = self.state.container_mut(number) else { return };
        container.is_built = true;
        let ticket = context.contain(ContainerRequest::Wait { container: container.id.clone() });
        self.state.wait(ticket, Waiting::Exit(number));
    }

    /// A fresh executor was not heard in time.
    pub(super) fn on_registration_missed(&mut self, number: u64, context: &mut Context<'_, Self>) {
        if self.state.container(number).is_none_or(|container| container.stage != Stage::Registering) {
            return;
        }
        let message = format!("Executor did not register within {}", self.config.executor_registration_timeout);
        let (state, reason) = (TaskState::Failed, Reason::ExecutorRegistrationTimeout);
        self.destroy(number, Some(Verdict { state, reason, message, limitation: None }), context);
    }

    /// Ends a container at once. Its tasks that have not ended get the verdict when it is gone; without one they fail
    /// because their executor has terminated.
    pub(super) fn destroy(&mut self, number: u64, verdict: Option<Verdict>, context: &mut Context<'_, Self>) {
        let Some(container) = self.state.container_mut(number) else { return };
        if container.verdict.is_none() {
            container.verdict = verdict;
        }
        match container.stage {
            Stage::Ended => {}
            Stage::Waiting if container.wish.is_some() => self.end_container(number, context),
            // Its place is being written down: that comes back first.
            Stage::Waiting => container.enter(Stage::Terminating),
            Stage::Persisting | Stage::Recovering => container.enter(Stage::Terminating),
            // What it fetches may take hours: it is given up now. What runs all the same is killed when that is known.
            Stage::Terminating => self.kill_container(number, context),
            Stage::Launching | Stage::Registering | Stage::Reregistering | Stage::Running => {
                container.enter(Stage::Terminating);
                self.kill_container(number, context);
            }
        }
    }

    fn kill_container(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let Some(container) = self.state.container(number).filter(|container| container.is_built) else { return };
        let request = ContainerRequest::Kill { container: container.id.clone(), grace: Duration::ZERO };
        let ticket = context.contain(request);
        self.state.wait(ticket, Waiting::Nothing);
    }

    /// A container has ended, and nothing of its process tree is left.
    pub(super) fn on_exited(&mut self, number: u64, outcome: ContainerOutcome, context: &mut Context<'_, Self>) {
        let exit = match outcome {
            ContainerOutcome::Exited(exit) => exit,
            ContainerOutcome::Failed { .. } => Exit { status: None, limitation: None, usage: Default::default() },
            other => panic!("a wait came back as {other:?}"),
        };
        let Some(container) = self.state.container_mut(number) else { return };
        container.exit_status = exit.status.map_or(STATUS_UNKNOWN, ExitStatus::raw);
        container.verdict.get_or_insert_with(|| verdict_of(&exit));
        self.end_container(number, context);
    }

    /// Writes down that a container is gone, with what that means for its tasks.
    pub(super) fn end_container(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let Some(container) = self.state.container_mut(number) else { return };
        container.enter(Stage::Ended);
        let verdict = container.verdict.clone().unwrap_or_else(|| Verdict {
            state: TaskState::Failed,
            reason: Reason::ExecutorTerminated,
            message: "Executor terminated".to_owned(),
            limitation: None,
        });
        let framework_id = container.framework_id.clone();
        let mut batch = Batch::default();
        batch.delete(checkpoint::executor_key(&container.id));
        context.disarm(Timer::Registration(number));
        context.disarm(Timer::Grace(number));
        self.hang_up(number, context);
        let is_told = self.state.framework(&framework_id).is_none_or(|framework| !framework.is_ending);
        let mut updates = Vec::new();
        for task in self.state.tasks_of_container(number) {
            if is_told {
                updates.extend(self.pronounce(task, verdict.clone(), &mut batch, context));
            } else {
                self.drop_task(task, &mut batch, context);
            }
        }
        let ticket = context.persist(batch);
        self.state.wait(ticket, Waiting::Stored { updates, ended: Some(number) });
        self.finish_recovery(context);
    }

    /// The end of a container is on disk.
    pub(super) fn on_end_stored(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let Some(container) = self.state.remove_container(number) else { return };
        context.count(metric::EXECUTORS_TERMINATED, 1);
        if container.is_built {
            let ticket = context.contain(ContainerRequest::Cleanup { container: container.id.clone() });
            self.state.wait(ticket, Waiting::Nothing);
            self.sweep_later(context);
        }
        if let Some(leader) = self.state.leader().filter(|_| self.is_registered()) {
            let message = ToMaster::ExecutorExited {
                framework_id: container.framework_id.clone(),
                executor_id: container.info.executor_id.clone(),
                status: container.exit_status,
            };
            context.send(leader.address, &MasterMessage::Agent(message));
        }
        let framework_id = container.framework_id.clone();
        self.state.remember_executor(container);
        self.forget_idle_framework(&framework_id, context);
        self.leave_when_empty(context);
    }
}

fn verdict_of(exit: &Exit) -> Verdict {
    let (reason, message) = match (&exit.limitation, exit.status) {
        (Some(limitation), _) => (limitation.kind.reason(), limitation.message.clone()),
        (None, Some(status)) => (Reason::ExecutorTerminated, format!("Executor {status}")),
        (None, None) => (Reason::ExecutorTerminated, "Executor terminated; its exit status is unknown".to_owned()),
    };
    let resources = exit.limitation.as_ref().map(|limitation| &limitation.resources);
    let limitation = resources.filter(|resources| !resources.is_empty()).cloned().map(Box::new);
    Verdict { state: TaskState::Failed, reason, message, limitation }
}

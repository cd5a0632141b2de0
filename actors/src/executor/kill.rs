//! The ends of tasks: asked for, or by themselves. One that ends badly takes the rest of its group along.

use crate::executor::run::{Cause, Phase, Run};
use crate::executor::{Executor, IGNORED, Timer, Waiting};
use kaon_kernel::actor::Context;
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, Exit, ExitStatus, Limitation, Usage};
use kaon_kernel::id::TaskId;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{Reason, TaskState};
use kaon_kernel::time::Duration;

/// How a task has ended, as its last status tells it.
pub(super) struct End {
    state: TaskState,
    reason: Option<Reason>,
    message: String,
    /// The resources whose limit ended it.
    limitation: Option<Box<Resources>>,
}

impl End {
    pub(super) fn new(state: TaskState, reason: Option<Reason>, message: impl Into<String>) -> Self {
        Self { state, reason, message: message.into(), limitation: None }
    }
    /// One that was killed before there was anything to kill.
    pub(super) fn before_the_start() -> Self {
        Self::new(TaskState::Killed, None, "Killed before the command was started")
    }
}

impl Executor {
    /// Ends a task on request. The grace is the kill's, else the task's, else 3 s; a later kill may change it. The rest of
    /// its group follows when it has ended.
    pub(super) fn on_kill(&mut self, task_id: &TaskId, grace: Option<Duration>, context: &mut Context<'_, Self>) {
        let live = self.run_of(task_id).and_then(|number| self.run(number)).filter(|run| !run.is_over());
        let Some(run) = live else { return context.count(IGNORED, 1) };
        let (number, grace) = (run.number, grace.or(run.own_grace()).unwrap_or(self.config.kill_grace));
        self.stop_run(number, Cause::Killed, grace, context);
    }

    /// Ends a task, if it has not ended.
    pub(super) fn stop_run(&mut self, number: u32, cause: Cause, grace: Duration, context: &mut Context<'_, Self>) {
        let Some(run) = self.run_mut(number).filter(|run| !run.is_over()) else { return };
        let was_stopping = run.stopping;
        run.stopping = Some((was_stopping.map_or(cause, |(first, _)| first), grace));
        let phase = run.phase;
        let is_running = phase != Phase::Launching || self.is_recovered_launch(number);
        if was_stopping.is_none() {
            context.disarm(Timer::Completion(number));
            self.end_checks(number, context);
            if self.task_killing_state && cause == Cause::Killed {
                self.make_status(number, TaskState::Killing, None, None, context);
            }
        }
        if phase == Phase::Started {
            self.watch(number, context);
        }
        self.note(number, context);
        if is_running {
            self.kill_container(number, grace, context);
        }
    }

    /// After a restart a launch may be under way of which no outcome will come: it can be killed all the same.
    fn is_recovered_launch(&self, number: u32) -> bool {
        let awaits = |waiting: &Waiting| *waiting == Waiting::Launched(number);
        self.run(number).is_some_and(|run| run.is_asked) && !self.waiting.iter().any(|(_, waiting)| awaits(waiting))
    }

    pub(super) fn kill_container(&mut self, number: u32, grace: Duration, context: &mut Context<'_, Self>) {
        let Some(run) = self.run(number) else { return };
        let ticket = context.contain(ContainerRequest::Kill { container: run.container.clone(), grace });
        self.wait(ticket, Waiting::Nothing);
    }

    /// A task has ended, and nothing of its process tree is left.
    pub(super) fn on_exited(&mut self, number: u32, outcome: ContainerOutcome, context: &mut Context<'_, Self>) {
        let exit = match outcome {
            ContainerOutcome::Exited(exit) => exit,
            ContainerOutcome::Failed { reason } => {
                Exit { status: None, limitation: Some(Box::new(Limitation::other(reason))), usage: Usage::default() }
            }
            other => panic!("a wait came back as {other:?}"),
        };
        let Some(run) = self.run(number) else { return };
        let ended = format!("Command {}", describe(exit.status));
        let end = match (run.stopping, exit.limitation, exit.status) {
            (Some((Cause::Killed, _)), _, _) => End::new(TaskState::Killed, None, ended),
            (Some((Cause::TooLong, _)), _, _) => {
                let reason = Some(Reason::MaxCompletionTimeReached);
                End::new(TaskState::Failed, reason, "Task ran longer than it may")
            }
            (None, Some(limit), _) => {
                let Limitation { kind, message, resources } = *limit;
                let limitation = Some(Box::new(resources)).filter(|resources| !resources.is_empty());
                End { limitation, ..End::new(TaskState::Failed, Some(kind.reason()), message) }
            }
            (None, None, Some(ExitStatus::Code(0))) => End::new(TaskState::Finished, None, ended),
            (None, None, _) => End::new(TaskState::Failed, None, ended),
        };
        let ticket = context.contain(ContainerRequest::Cleanup { container: run.container.clone() });
        self.wait(ticket, Waiting::Nothing);
        self.settle(number, end, context);
    }

    /// Writes down how a task ended. The rest of its group ends too, unless it ended well. This executor ends when its
    /// agent has heard all ends, and in any case a while after the last.
    pub(super) fn settle(&mut self, number: u32, end: End, context: &mut Context<'_, Self>) {
        self.end_checks(number, context);
        let Some(run) = self.run_mut(number).filter(|run| !run.is_over()) else { return };
        run.phase = Phase::Ended;
        let (group, state) = (run.group, end.state);
        self.make_status(number, state, end.reason, Some(end.message), context);
        if let (Some(run), Some(resources)) = (self.run_mut(number), end.limitation) {
            run.outbox.name_limitation(resources);
        }
        self.note(number, context);
        context.disarm(Timer::Completion(number));
        if state != TaskState::Finished {
            self.end_group(group, context);
        }
        self.await_farewell(context);
        self.end_when_done(context);
    }

    /// Ends what is left of a group, each with its own grace.
    fn end_group(&mut self, group: u32, context: &mut Context<'_, Self>) {
        for number in self.members(group) {
            let Some(run) = self.run(number).filter(|run| run.stopping.is_none()) else { continue };
            let grace = run.own_grace().unwrap_or(self.config.kill_grace);
            self.stop_run(number, Cause::Killed, grace, context);
        }
    }

    /// When all have ended it stays for a while, so that its agent can hear of it.
    pub(super) fn await_farewell(&mut self, context: &mut Context<'_, Self>) {
        if !self.runs.is_empty() && self.runs.iter().all(Run::is_over) {
            context.arm(Timer::Farewell, self.config.farewell);
        }
    }
}

/// How a command ended, in Mesos's words.
pub(super) fn describe(status: Option<ExitStatus>) -> String {
    match status {
        Some(status) => status.to_string(),
        None => "terminated; its exit status is unknown".to_owned(),
    }
}

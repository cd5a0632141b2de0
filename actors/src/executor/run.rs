//! The life of the one task: written down, started, watched, killed, ended.

use crate::executor::config::Inherited;
use crate::executor::status::Outbox;
use crate::executor::{Executor, IGNORED, Timer, Waiting};
use kaon_kernel::actor::{Batch, Context, Record};
use kaon_kernel::container::{
    ContainerOutcome, ContainerRequest, Exit, ExitStatus, LaunchSpec, Limitation, Program, Usage,
};
use kaon_kernel::id::{ContainerId, TaskId, Uuid};
use kaon_kernel::task::{CommandInfo, Reason, TaskInfo, TaskState, TaskStatus};
use kaon_kernel::time::Duration;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize, rancor};

/// The one key of the executor's journal.
const KEY: &str = "run";

/// The layout of its value; raise it with every change of [`Run`].
const VERSION: u8 = 1;

/// What is set aside for the value while it is written: most fit without growing.
const BYTES_USUAL: usize = 1024;

/// Where the task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
enum Phase {
    /// It is being written down, then started.
    Launching,
    /// It runs.
    Running,
    /// It has ended.
    Ended,
}

/// Why the executor ends its task; the first cause stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(super) enum Cause {
    /// It was asked to.
    Killed,
    /// The task ran for longer than it may.
    TooLong,
}

/// The task.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub(super) struct Run {
    task: TaskInfo,
    container: ContainerId,
    phase: Phase,
    /// Why it is being ended, and with which grace.
    stopping: Option<(Cause, Duration)>,
    /// The machine was asked to start it.
    is_asked: bool,
}

/// What the journal holds.
#[derive(Archive, Serialize, Deserialize)]
struct RunRecord {
    run: Run,
    statuses: Vec<TaskStatus>,
}

impl Run {
    pub(super) fn task(&self) -> &TaskInfo {
        &self.task
    }
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Ended
    }
    /// The grace that the task itself asks for.
    pub(super) fn own_grace(&self) -> Option<Duration> {
        self.task.kill_grace
    }
    pub(super) fn invariants(&self) {
        assert!(
            self.phase == Phase::Launching || self.is_asked || self.stopping.is_some(),
            "it runs, but was not started"
        );
    }
}

impl Executor {
    /// Begins with what the journal holds: nothing at first, the task after a panic. The task is never started twice.
    pub(super) fn recover(&mut self, records: &[Record], context: &mut Context<'_, Self>) {
        let Some(record) = records.iter().find(|record| record.key == KEY.as_bytes()) else { return };
        let Some(RunRecord { run, statuses }) = read(&record.value) else {
            // What ran can't be known: the agent hears it from the end of this process.
            return self.end(super::EXIT_STORAGE, context);
        };
        self.outbox = Outbox::restored(statuses);
        let (phase, stopping, longest) = (run.phase, run.stopping, run.task.max_completion_time);
        self.run = Some(Run { is_asked: true, ..run });
        if phase == Phase::Ended {
            return context.arm(Timer::Farewell, self.config.farewell);
        }
        self.watch(context);
        match (stopping, longest) {
            (Some((_, grace)), _) => self.kill_container(grace, context),
            (None, Some(longest)) => context.arm(Timer::Completion, longest),
            (None, None) => {}
        }
    }

    /// Takes the task. A task that it has it takes once; another one is not for it.
    pub(super) fn on_launch(&mut self, task: TaskInfo, context: &mut Context<'_, Self>) {
        if self.run.is_some() || self.is_ending {
            return context.count(IGNORED, 1);
        }
        let container = ContainerId::trusted(Uuid(context.chance().uuid()).to_string());
        self.run = Some(Run { task, container, phase: Phase::Launching, stopping: None, is_asked: false });
        self.make_status(TaskState::Starting, None, None, context);
        self.note(context);
    }

    /// The task is on disk: it may be started, if it still should.
    pub(super) fn launch_when_stored(&mut self, context: &mut Context<'_, Self>) {
        let Some(run) = self.run.as_mut().filter(|run| run.phase == Phase::Launching && !run.is_asked) else { return };
        if run.stopping.is_some() {
            return self.settle(TaskState::Killed, None, "Killed before the command was started".to_owned(), context);
        }
        let Some(program) = program(run.task.command.as_ref()) else {
            return self.settle(TaskState::Failed, None, "The task has no command to run".to_owned(), context);
        };
        run.is_asked = true;
        let spec = LaunchSpec {
            program,
            environment: environment(&self.config.environment, run.task.command.as_ref()),
            sandbox: self.config.sandbox.clone(),
            join: true,
            user: None,
            resources: run.task.resources.clone(),
            limits: run.task.limits.as_deref().copied().unwrap_or_default(),
            // The walls stand around this executor already.
            container: None,
            placement: None,
            volumes: Vec::new(),
            rlimits: run.task.container.as_ref().map_or_else(Vec::new, |container| container.rlimits.clone()),
            uris: Vec::new(),
        };
        let request = ContainerRequest::Launch { container: run.container.clone(), spec: Box::new(spec) };
        let ticket = context.contain(request);
        self.waiting.insert(ticket, Waiting::Launched);
    }

    /// The task runs, or could not be started.
    pub(super) fn on_launched(&mut self, outcome: ContainerOutcome, context: &mut Context<'_, Self>) {
        let Some(run) = &mut self.run else { return };
        match outcome {
            ContainerOutcome::Launched { .. } => {
                run.phase = Phase::Running;
                let (stopping, longest) = (run.stopping, run.task.max_completion_time);
                self.watch(context);
                if let Some((_, grace)) = stopping {
                    self.note(context);
                    return self.kill_container(grace, context);
                }
                if let Some(longest) = longest {
                    context.arm(Timer::Completion, longest);
                }
                self.make_status(TaskState::Running, None, None, context);
                self.note(context);
            }
            ContainerOutcome::Failed { reason } => {
                let message = format!("Failed to launch the command: {reason}");
                self.settle(TaskState::Failed, Some(Reason::ContainerLaunchFailed), message, context);
            }
            other => panic!("a launch came back as {other:?}"),
        }
    }

    fn watch(&mut self, context: &mut Context<'_, Self>) {
        let Some(run) = &self.run else { return };
        let ticket = context.contain(ContainerRequest::Wait { container: run.container.clone() });
        self.waiting.insert(ticket, Waiting::Exit);
    }

    /// Ends the task on request. The grace is the kill's, else the task's, else 3 s; a later kill may change it.
    pub(super) fn on_kill(&mut self, task_id: &TaskId, grace: Option<Duration>, context: &mut Context<'_, Self>) {
        let Some(run) = self.run.as_ref().filter(|run| run.task.task_id == *task_id && !run.is_over()) else {
            return context.count(IGNORED, 1);
        };
        let grace = grace.or(run.own_grace()).unwrap_or(self.config.kill_grace);
        self.stop_task(Cause::Killed, grace, context);
    }

    /// Ends the task, if it runs.
    pub(super) fn stop_task(&mut self, cause: Cause, grace: Duration, context: &mut Context<'_, Self>) {
        let Some(run) = self.run.as_mut().filter(|run| !run.is_over()) else { return };
        let was_stopping = run.stopping;
        run.stopping = Some((was_stopping.map_or(cause, |(first, _)| first), grace));
        let is_running = run.phase == Phase::Running || run.is_recovered_launch(&self.waiting);
        if was_stopping.is_none() {
            context.disarm(Timer::Completion);
            if self.task_killing_state && cause == Cause::Killed {
                self.make_status(TaskState::Killing, None, None, context);
            }
        }
        self.note(context);
        if is_running {
            self.kill_container(grace, context);
        }
    }

    fn kill_container(&mut self, grace: Duration, context: &mut Context<'_, Self>) {
        let Some(run) = &self.run else { return };
        let ticket = context.contain(ContainerRequest::Kill { container: run.container.clone(), grace });
        self.waiting.insert(ticket, Waiting::Nothing);
    }

    /// The task has ended, and nothing of its process tree is left.
    pub(super) fn on_exited(&mut self, outcome: ContainerOutcome, context: &mut Context<'_, Self>) {
        let exit = match outcome {
            ContainerOutcome::Exited(exit) => exit,
            ContainerOutcome::Failed { reason } => {
                Exit { status: None, limitation: Some(Box::new(Limitation::other(reason))), usage: Usage::default() }
            }
            other => panic!("a wait came back as {other:?}"),
        };
        let Some(run) = &self.run else { return };
        let ended = format!("Command {}", describe(exit.status));
        let (state, reason, message) = match (run.stopping, exit.limitation, exit.status) {
            (Some((Cause::Killed, _)), _, _) => (TaskState::Killed, None, ended),
            (Some((Cause::TooLong, _)), _, _) => {
                (TaskState::Failed, Some(Reason::MaxCompletionTimeReached), "Task ran longer than it may".to_owned())
            }
            (None, Some(limit), _) => (TaskState::Failed, Some(limit.kind.reason()), limit.message),
            (None, None, Some(ExitStatus::Code(0))) => (TaskState::Finished, None, ended),
            (None, None, _) => (TaskState::Failed, None, ended),
        };
        let ticket = context.contain(ContainerRequest::Cleanup { container: run.container.clone() });
        self.waiting.insert(ticket, Waiting::Nothing);
        self.settle(state, reason, message, context);
    }

    /// Writes down how the task ended. This executor ends when its agent has that, and in any case after a while.
    fn settle(&mut self, state: TaskState, reason: Option<Reason>, message: String, context: &mut Context<'_, Self>) {
        let Some(run) = &mut self.run else { return };
        run.phase = Phase::Ended;
        run.is_asked = true;
        self.make_status(state, reason, Some(message), context);
        self.note(context);
        context.disarm(Timer::Completion);
        context.arm(Timer::Farewell, self.config.farewell);
        self.end_when_done(context);
    }

    /// Writes down the task as it is, with the statuses that the agent does not have for certain.
    pub(super) fn note(&mut self, context: &mut Context<'_, Self>) {
        // What is written is lent to the record, not copied.
        let Some(run) = self.run.take() else { return };
        let record = RunRecord { run, statuses: self.outbox.lend() };
        let room = AlignedVec::<16>::with_capacity(BYTES_USUAL);
        let archive = rkyv::api::high::to_bytes_in::<_, rancor::Error>(&record, room);
        let archive = archive.expect("writing to memory can't fail");
        self.run = Some(record.run);
        self.outbox.take_back(record.statuses);
        let mut value = Vec::with_capacity(archive.len() + 1);
        value.push(VERSION);
        value.extend_from_slice(&archive);
        let mut batch = Batch::default();
        batch.put(KEY, value);
        let ticket = context.persist(batch);
        self.waiting.insert(ticket, Waiting::Stored(self.outbox.made()));
    }
}

impl Run {
    /// After a restart a launch may be under way of which no outcome will come: it can be killed all the same.
    fn is_recovered_launch(&self, waiting: &std::collections::BTreeMap<kaon_kernel::actor::Ticket, Waiting>) -> bool {
        self.is_asked && !waiting.values().any(|waiting| *waiting == Waiting::Launched)
    }
}

fn read(value: &[u8]) -> Option<RunRecord> {
    let (version, archive) = value.split_first()?;
    let mut aligned = AlignedVec::<16>::with_capacity(archive.len());
    aligned.extend_from_slice(archive);
    let record = (*version == VERSION).then(|| rkyv::from_bytes::<RunRecord, rancor::Error>(&aligned))?;
    record.ok()
}

fn program(command: Option<&CommandInfo>) -> Option<Program> {
    let command = command?;
    let value = command.value.clone()?;
    Some(if command.shell {
        Program::Shell(value)
    } else {
        let arguments = if command.arguments.is_empty() { vec![value.clone()] } else { command.arguments.clone() };
        Program::Exec { file: value, arguments }
    })
}

/// What the task inherits, and over it what the task itself sets.
fn environment(inherited: &Inherited, command: Option<&CommandInfo>) -> Vec<(String, String)> {
    let mut all: Vec<_> = inherited.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for (name, value) in command.iter().flat_map(|command| &command.environment) {
        all.retain(|(present, _)| present != name);
        all.push((name.clone(), value.clone()));
    }
    all
}

fn describe(status: Option<ExitStatus>) -> String {
    match status {
        Some(ExitStatus::Code(code)) => format!("exited with status {code}"),
        Some(ExitStatus::Signal(signal)) => match signal_name(signal) {
            Some(name) => format!("terminated with signal {name}"),
            None => format!("terminated with signal {signal}"),
        },
        None => "terminated; its exit status is unknown".to_owned(),
    }
}

/// The words that `strsignal(3)` has for signals on Linux, as Mesos prints them.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        5 => "Trace/breakpoint trap",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        10 => "User defined signal 1",
        11 => "Segmentation fault",
        12 => "User defined signal 2",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        24 => "CPU time limit exceeded",
        25 => "File size limit exceeded",
        31 => "Bad system call",
        _ => return None,
    })
}

//! The tasks that an executor holds, and what of them outlives a panic.

use crate::executor::check::Live;
use crate::executor::status::Outbox;
use crate::executor::{Executor, Timer, Waiting};
use kaon_kernel::actor::{Batch, Context, Record, exit};
use kaon_kernel::check::CheckStatus;
use kaon_kernel::id::{ContainerId, TaskId};
use kaon_kernel::task::{ExecutorKind, TaskInfo};
use kaon_kernel::time::Duration;
use rkyv::util::AlignedVec;
use rkyv::with::Skip;
use rkyv::{Archive, Deserialize, Serialize, rancor};

/// How the keys of the executor's journal begin; the number of the run follows.
const KEY: &str = "run/";

/// The layout of their values; raise it with every change of [`Run`].
const VERSION: u8 = 2;

/// What is set aside for a value while it is written: most fit without growing.
const BYTES_USUAL: usize = 1024;

/// The most tasks that one executor holds, ended ones of which the agent has not heard included; as many as the agent
/// takes in one registration.
pub(super) const RUNS_MAX: usize = 1_024;

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(super) enum Phase {
    /// It is being written down, then started.
    Launching,
    /// It was started; the rest of its group was not yet.
    Started,
    /// It runs, with all its group, or is being ended; its end is awaited.
    Running,
    /// It has ended.
    Ended,
}

/// Why the executor ends a task; the first cause stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(super) enum Cause {
    /// It was asked to, its health check failed, or another of its group ended badly.
    Killed,
    /// The task ran for longer than it may.
    TooLong,
}

/// What the checks of a task have found. Every status of the task tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Archive, Serialize, Deserialize)]
pub(super) struct Found {
    /// The newest verdict of the health check.
    pub(super) healthy: Option<bool>,
    /// The newest result of the generic check; set from the beginning when there is one.
    pub(super) check: Option<CheckStatus>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub(super) struct Run {
    /// Its name within this executor: it grows.
    pub(super) number: u32,
    /// The number of the first of its group.
    pub(super) group: u32,
    pub(super) task: TaskInfo,
    pub(super) container: ContainerId,
    pub(super) phase: Phase,
    /// Why it is being ended, and with which grace.
    pub(super) stopping: Option<(Cause, Duration)>,
    /// The machine was asked to start it.
    pub(super) is_asked: bool,
    /// What its checks have found; `None` for a task without checks.
    pub(super) found: Option<Box<Found>>,
    /// What the agent does not have for certain.
    pub(super) outbox: Outbox,
    /// Its checks, while they are carried out.
    #[rkyv(with = Skip)]
    pub(super) live: Option<Box<Live>>,
    /// The addresses that it has to itself, where it has any; known to the life that launched it.
    #[rkyv(with = Skip)]
    pub(super) addresses: Option<Box<[String]>>,
}

impl Run {
    /// A task that nothing was done for.
    pub(super) fn new(number: u32, group: u32, task: TaskInfo, container: ContainerId) -> Self {
        let found = task.checks.as_ref().map(|checks| {
            let check = checks.check.as_ref().map(|check| check.target.without_result());
            Box::new(Found { healthy: None, check })
        });
        Self {
            number,
            group,
            task,
            container,
            phase: Phase::Launching,
            stopping: None,
            is_asked: false,
            found,
            outbox: Outbox::default(),
            live: None,
            addresses: None,
        }
    }
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Ended
    }
    /// The grace that the task itself asks for.
    pub(super) fn own_grace(&self) -> Option<Duration> {
        self.task.kill_grace
    }
    fn invariants(&self) {
        self.outbox.invariants();
        assert!(self.group <= self.number, "a group is named after its first");
        assert!(
            self.phase == Phase::Launching || self.is_asked || self.stopping.is_some() || self.is_over(),
            "it runs, but was not started"
        );
        assert!(self.live.is_none() || self.phase == Phase::Running, "only what runs is checked");
    }
}

impl Executor {
    pub(super) fn run(&self, number: u32) -> Option<&Run> {
        let at = self.runs.binary_search_by_key(&number, |run| run.number).ok()?;
        self.runs.get(at)
    }
    pub(super) fn run_mut(&mut self, number: u32) -> Option<&mut Run> {
        let at = self.runs.binary_search_by_key(&number, |run| run.number).ok()?;
        self.runs.get_mut(at)
    }
    /// The run of a task, the newest when its name was used again.
    pub(super) fn run_of(&self, task_id: &TaskId) -> Option<u32> {
        self.runs.iter().rev().find(|run| run.task.task_id == *task_id).map(|run| run.number)
    }
    /// The numbers of a group.
    pub(super) fn members(&self, group: u32) -> Vec<u32> {
        self.runs.iter().filter(|run| run.group == group).map(|run| run.number).collect()
    }
    /// Whether it runs groups of tasks, each in a sandbox of its own.
    pub(super) fn is_for_groups(&self) -> bool {
        self.config.kind == ExecutorKind::Default
    }

    /// Begins with what the journal holds: nothing at first, the tasks after a panic. No task is ever started twice.
    pub(super) fn recover(&mut self, records: &[Record], context: &mut Context<'_, Self>) {
        for record in records.iter().filter(|record| record.key.starts_with(KEY.as_bytes())) {
            let Some(mut run) = read(&record.value) else {
                // What ran can't be known: the agent hears it from the end of this process.
                return self.end(exit::STORAGE, context);
            };
            run.is_asked = true;
            run.outbox.resume();
            self.next = self.next.max(run.number + 1);
            self.runs.push(run);
        }
        let numbers: Vec<u32> = self.runs.iter().map(|run| run.number).collect();
        for number in numbers {
            self.resume(number, context);
        }
        self.await_farewell(context);
    }

    fn resume(&mut self, number: u32, context: &mut Context<'_, Self>) {
        let Some(run) = self.run_mut(number).filter(|run| !run.is_over()) else { return };
        let did_run = run.phase == Phase::Running;
        // Of a launch that was under way no outcome will come; its end will.
        run.phase = Phase::Running;
        let (stopping, longest) = (run.stopping, run.task.max_completion_time);
        self.watch(number, context);
        match (stopping, longest) {
            (Some((_, grace)), _) => self.kill_container(number, grace, context),
            (None, Some(longest)) => context.arm(Timer::Completion(number), longest),
            (None, None) => {}
        }
        if did_run && stopping.is_none() {
            self.begin_checks(number, context);
        }
    }

    /// Writes down a task as it is, with the statuses that the agent does not have for certain.
    pub(super) fn note(&mut self, number: u32, context: &mut Context<'_, Self>) {
        let Some(run) = self.run(number) else { return };
        let made = run.outbox.made();
        let mut batch = Batch::default();
        put(run, &mut batch);
        let ticket = context.persist(batch);
        self.wait(ticket, Waiting::Stored(number, made));
    }

    /// Writes down a whole group, or none of it.
    pub(super) fn note_group(&mut self, group: u32, context: &mut Context<'_, Self>) {
        let mut batch = Batch::default();
        for run in self.runs.iter().filter(|run| run.group == group) {
            put(run, &mut batch);
        }
        let ticket = context.persist(batch);
        self.wait(ticket, Waiting::GroupStored(group));
    }

    /// Forgets a task of which the agent has everything.
    pub(super) fn forget(&mut self, number: u32, context: &mut Context<'_, Self>) {
        let Ok(at) = self.runs.binary_search_by_key(&number, |run| run.number) else { return };
        self.runs.remove(at);
        let mut batch = Batch::default();
        batch.delete(key(number));
        let ticket = context.persist(batch);
        self.wait(ticket, Waiting::Deleted);
    }

    pub(super) fn runs_invariants(&self) {
        let pairs = self.runs.iter().zip(self.runs.iter().skip(1));
        assert!(pairs.clone().all(|(one, two)| one.number < two.number), "runs are in order of their numbers");
        assert!(self.runs.last().is_none_or(|last| last.number < self.next), "numbers are given once");
        assert!(self.runs.len() <= RUNS_MAX, "more tasks than an executor takes");
        self.runs.iter().for_each(Run::invariants);
    }
}

fn key(number: u32) -> String {
    // Keys come back in order of their bytes.
    format!("{KEY}{number:010}")
}

fn put(run: &Run, batch: &mut Batch) {
    let room = AlignedVec::<16>::with_capacity(BYTES_USUAL);
    let archive = rkyv::api::high::to_bytes_in::<_, rancor::Error>(run, room);
    let archive = archive.expect("writing to memory can't fail");
    let mut value = Vec::with_capacity(archive.len() + 1);
    value.push(VERSION);
    value.extend_from_slice(&archive);
    batch.put(key(run.number), value);
}

fn read(value: &[u8]) -> Option<Run> {
    let (version, archive) = value.split_first()?;
    let mut aligned = AlignedVec::<16>::with_capacity(archive.len());
    aligned.extend_from_slice(archive);
    let run = (*version == VERSION).then(|| rkyv::from_bytes::<Run, rancor::Error>(&aligned))?;
    run.ok()
}

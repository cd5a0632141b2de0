//! The stream of statuses of each task (reference 8.3): in order, none lost, none told before it is on disk.
//!
//! ```text
//! accepted --> stored --> in flight --> acknowledged --> settled
//!     |          |            \__ repeated, 10 s doubling to 10 min, and at once after a registration
//!     |          \__ now the executor hears that the agent has it, and only now may the master hear of it (law L5)
//!     \__ told to nobody
//! ```
//! Only the oldest status of a task is ever in flight. An acknowledgement is on disk before the next status goes out:
//! else a crash could send the older one again behind the newer. After the last status of a task the task is forgotten.

use crate::agent::checkpoint::{self, StreamRecord, UpdateRecord};
use crate::agent::container::Verdict;
use crate::agent::state::{TaskEntry, Waiting};
use crate::agent::{Agent, Timer, metric};
use kaon_kernel::actor::{Batch, Context};
use kaon_kernel::id::{FrameworkId, TaskId, Uuid};
use kaon_kernel::message::MasterMessage;
use kaon_kernel::message::agent_master::ToMaster;
use kaon_kernel::task::{Reason, Source, TaskState, TaskStatus};
use kaon_kernel::time::Duration;
use std::collections::VecDeque;

/// How many statuses of one task may wait for their scheduler; a further one is refused, and its executor repeats it.
/// The last one of a task has always room, since there is only one.
pub(super) const UPDATES_MAX: usize = 64;

/// By how many uuids of the past a status is known to have come before. An executor repeats at most what it has not
/// been told is on disk.
const SEEN_MAX: usize = 2 * UPDATES_MAX;

/// Why a status is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// It came before.
    #[error("status {uuid} came before")]
    Known {
        /// Which.
        uuid: Uuid,
        /// Whether it is on disk.
        is_stored: bool,
    },
    /// It carries no uuid.
    #[error("status without a uuid")]
    Nameless,
    /// Its task can't go there.
    #[error("{} after {}", to.name(), from.name())]
    Step {
        /// The newest state accepted.
        from: TaskState,
        /// The state refused.
        to: TaskState,
    },
    /// Too many wait.
    #[error("{UPDATES_MAX} statuses wait already")]
    Full,
}

/// A status on its way.
#[derive(Clone, Debug)]
struct Pending {
    sequence: u64,
    status: TaskStatus,
    is_stored: bool,
}

/// The statuses of one task on their way to its scheduler, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pending: VecDeque<Pending>,
    seen: VecDeque<Uuid>,
    next: u64,
    /// The newest state on disk.
    stored_state: TaskState,
    in_flight: bool,
    /// The oldest is acknowledged, and that is being written down.
    is_settling: bool,
    backoff: Duration,
    /// Its own record was read, which knows more than the statuses that still wait.
    has_history: bool,
}

impl Stream {
    /// The stream of a task of which nothing is heard yet.
    pub(super) fn new(state: TaskState) -> Self {
        Self {
            pending: VecDeque::new(),
            seen: VecDeque::new(),
            next: 0,
            stored_state: state,
            in_flight: false,
            is_settling: false,
            backoff: Duration::ZERO,
            has_history: false,
        }
    }

    /// Goes on where a journal says.
    pub(super) fn restore(&mut self, record: &StreamRecord) {
        self.next = self.next.max(record.next);
        self.seen = record.seen.iter().copied().collect();
        self.stored_state = record.state;
        self.has_history = true;
    }

    /// Takes back a status that a journal holds.
    pub(super) fn restore_update(&mut self, sequence: u64, status: TaskStatus) {
        self.next = self.next.max(sequence + 1);
        if let Some(uuid) = status.uuid.filter(|uuid| !self.seen.contains(uuid)) {
            self.seen.push_back(uuid);
        }
        if !self.has_history {
            self.stored_state = status.state;
        }
        self.pending.push_back(Pending { sequence, status, is_stored: true });
    }

    /// Whether a journal had the record of the stream itself.
    pub(super) fn has_history(&self) -> bool {
        self.has_history
    }
    /// The newest state that is on disk: all that anybody may be told.
    pub(super) fn stored_state(&self) -> TaskState {
        self.stored_state
    }
    /// The oldest status that is not acknowledged, once it is on disk.
    pub(super) fn head(&self) -> Option<&TaskStatus> {
        self.pending.front().filter(|oldest| oldest.is_stored && !self.is_settling).map(|oldest| &oldest.status)
    }
    /// Whether the last status of all is acknowledged, and only that has to be written down.
    pub(super) fn is_closing(&self) -> bool {
        self.is_settling && self.pending.front().is_some_and(|oldest| oldest.status.state.is_terminal())
    }
    /// Whether a status waits to be written.
    pub(super) fn is_unwritten(&self, uuid: Uuid) -> bool {
        self.pending.iter().any(|one| one.status.uuid == Some(uuid) && !one.is_stored)
    }
    /// The state of the newest status that waits.
    pub(super) fn newest_pending(&self) -> Option<TaskState> {
        self.pending.back().map(|newest| newest.status.state)
    }
    /// The sequences of the statuses that wait.
    pub(super) fn sequences(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|one| one.sequence)
    }

    /// Whether a status is taken after `newest`, and its sequence; [`Stream::push`] follows.
    fn admit(&mut self, status: &TaskStatus, newest: TaskState) -> Result<u64, Error> {
        let uuid = status.uuid.ok_or(Error::Nameless)?;
        if self.seen.contains(&uuid) {
            return Err(Error::Known { uuid, is_stored: !self.is_unwritten(uuid) });
        }
        if !newest.may_become(status.state) {
            return Err(Error::Step { from: newest, to: status.state });
        }
        if self.pending.len() >= UPDATES_MAX && !status.state.is_terminal() {
            return Err(Error::Full);
        }
        if self.seen.len() == SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(uuid);
        let sequence = self.next;
        self.next += 1;
        Ok(sequence)
    }

    fn push(&mut self, sequence: u64, status: TaskStatus) {
        // Most often it is the only one; a queue that grows by itself begins with four.
        self.pending.reserve_exact(1);
        self.pending.push_back(Pending { sequence, status, is_stored: false });
    }

    fn store(&mut self, sequence: u64) -> Option<&TaskStatus> {
        let one = self.pending.iter_mut().find(|one| one.sequence == sequence)?;
        one.is_stored = true;
        self.stored_state = one.status.state;
        Some(&one.status)
    }

    fn acknowledge(&mut self, uuid: Uuid) -> Option<(u64, TaskState)> {
        self.head().filter(|status| status.uuid == Some(uuid))?;
        self.is_settling = true;
        self.pending.front().map(|oldest| (oldest.sequence, oldest.status.state))
    }

    fn settle(&mut self) -> Option<TaskState> {
        self.is_settling = false;
        self.in_flight = false;
        self.backoff = Duration::ZERO;
        let settled = self.pending.pop_front().map(|oldest| oldest.status.state);
        if self.pending.is_empty() {
            // A task that runs is silent for long.
            self.pending = VecDeque::new();
        }
        settled
    }

    fn rest(&mut self) {
        self.in_flight = false;
        self.backoff = Duration::ZERO;
    }

    pub(super) fn invariants(&self, newest: TaskState) {
        assert!(self.pending.len() <= UPDATES_MAX + 1, "too many statuses wait");
        let written = self.pending.iter().take_while(|one| one.is_stored).count();
        assert!(self.pending.iter().skip(written).all(|one| !one.is_stored), "statuses are written in order");
        let sequences = self.pending.iter().zip(self.pending.iter().skip(1));
        assert!(sequences.clone().all(|(one, two)| one.sequence < two.sequence), "statuses are in order");
        let last = self.pending.iter().position(|one| one.status.state.is_terminal());
        assert!(last.is_none_or(|at| at + 1 == self.pending.len()), "nothing follows the last status");
        assert!(!self.is_settling || !self.pending.is_empty(), "an acknowledgement of nothing");
        assert!(self.pending.back().is_none_or(|one| one.status.state == newest), "the newest state is the last told");
    }
}

impl Agent {
    /// A status that the agent itself makes, in the finest word for it: the master says TASK_LOST to those who know no
    /// better.
    pub(super) fn own_status(
        &self,
        entry: &TaskEntry,
        state: TaskState,
        reason: Reason,
        message: impl Into<String>,
        context: &mut Context<'_, Self>,
    ) -> TaskStatus {
        let container = entry.container.and_then(|number| self.state.container(number));
        TaskStatus {
            reason: Some(reason),
            message: Some(message.into()),
            uuid: Some(context.chance().uuid()),
            agent_id: self.state.agent_id().cloned(),
            executor_id: Some(entry.task.executor_id.clone()),
            container: container.map(|container| container.status(&self.config.info.ip)),
            ..TaskStatus::bare(entry.task.info.task_id.clone(), state, Source::Agent, context.wall())
        }
    }

    /// Takes a status into the stream of its task, and what must be written into `batch`.
    pub(super) fn accept(&mut self, number: u64, status: TaskStatus, batch: &mut Batch) -> Result<u64, Error> {
        let status = self.while_draining(number, status);
        let entry = self.state.task_mut(number).expect("callers have just found the task");
        let sequence = entry.stream.admit(&status, entry.task.state)?;
        entry.task.state = status.state;
        entry.task.remember(&status);
        let framework_id = entry.framework_id.clone();
        // What is written is lent to its record, not copied.
        let history = StreamRecord {
            framework_id: framework_id.clone(),
            task_id: status.task_id.clone(),
            next: entry.stream.next,
            seen: entry.stream.seen.iter().copied().collect(),
            state: entry.task.state,
            statuses: core::mem::take(&mut entry.task.statuses),
        };
        batch.put(checkpoint::stream_key(&framework_id, &status.task_id), checkpoint::write(&history));
        entry.task.statuses = history.statuses;
        let is_over = status.state.is_terminal();
        let key = checkpoint::update_key(&framework_id, &status.task_id, sequence);
        let update = UpdateRecord { framework_id, sequence, status };
        batch.put(key, checkpoint::write(&update));
        entry.stream.push(sequence, update.status);
        if is_over {
            // Before the master can hear of it, which frees the resources: whoever gets them next finds the place free.
            self.state.vacate(number);
        }
        Ok(sequence)
    }

    /// Makes a status, takes it into the stream and writes it. A task that has ended already keeps its end.
    pub(super) fn tell(
        &mut self,
        number: u64,
        state: TaskState,
        reason: Reason,
        message: impl Into<String>,
        context: &mut Context<'_, Self>,
    ) {
        let mut batch = Batch::default();
        let updates = self.conclude(number, state, reason, message.into(), &mut batch, context);
        if !batch.is_empty() {
            let ticket = context.persist(batch);
            self.state.wait(ticket, Waiting::Stored { updates: updates.into_iter().collect(), ended: None });
        }
    }

    /// As [`Agent::tell`], within a batch of the caller's.
    pub(super) fn conclude(
        &mut self,
        number: u64,
        state: TaskState,
        reason: Reason,
        message: String,
        batch: &mut Batch,
        context: &mut Context<'_, Self>,
    ) -> Option<(u64, u64)> {
        let entry = self.state.task(number)?;
        let status = self.own_status(entry, state, reason, message, context);
        let sequence = self.accept(number, status, batch).ok()?;
        self.count_end(number, context);
        Some((number, sequence))
    }

    /// The last status of a task whose container is gone, within a batch of the caller's.
    pub(super) fn pronounce(
        &mut self,
        number: u64,
        verdict: Verdict,
        batch: &mut Batch,
        context: &mut Context<'_, Self>,
    ) -> Option<(u64, u64)> {
        let entry = self.state.task(number)?;
        let Verdict { state, reason, message, limitation } = verdict;
        let status = TaskStatus { limitation, ..self.own_status(entry, state, reason, message, context) };
        let sequence = self.accept(number, status, batch).ok()?;
        self.count_end(number, context);
        Some((number, sequence))
    }

    /// A status was taken: an end is counted. Nothing follows an end, so each is counted once.
    pub(super) fn count_end(&self, number: u64, context: &mut Context<'_, Self>) {
        if let Some(name) = self.state.task(number).and_then(|entry| metric::ended(entry.task.state)) {
            context.count(name, 1);
        }
    }

    /// Statuses are on disk: now their executors and the master may hear of them.
    pub(super) fn on_stored(&mut self, updates: &[(u64, u64)], ended: Option<u64>, context: &mut Context<'_, Self>) {
        for (number, sequence) in updates {
            let Some(entry) = self.state.task_mut(*number) else { continue };
            let container = entry.container;
            let Some(status) = entry.stream.store(*sequence) else { continue };
            let (from_executor, task_id, uuid) = (status.source == Source::Executor, &status.task_id, status.uuid);
            if let (true, Some(container), Some(uuid)) = (from_executor, container, uuid) {
                let task_id = task_id.clone();
                self.acknowledge_executor(container, task_id, uuid, context);
            }
            self.forward(*number, context);
        }
        if let Some(container) = ended {
            self.on_end_stored(container, context);
        }
    }

    /// Sends the oldest status of a task, unless it is under way or there is nobody to hear it.
    pub(super) fn forward(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let Some(leader) = self.state.leader().filter(|_| self.is_registered()) else { return };
        let (shortest, longest) = (self.config.status_retry_min, self.config.status_retry_max);
        let Some(entry) = self.state.task_mut(number) else { return };
        let latest = entry.stream.stored_state();
        let Some(status) = entry.stream.head().filter(|_| !entry.stream.in_flight) else { return };
        let message =
            ToMaster::Update { framework_id: entry.framework_id.clone(), status: Box::new(status.clone()), latest };
        entry.stream.in_flight = true;
        entry.stream.backoff = match entry.stream.backoff {
            Duration::ZERO => shortest,
            backoff => backoff.doubled(longest),
        };
        let again = entry.stream.backoff;
        context.send(leader.address, &MasterMessage::Agent(message));
        context.arm(Timer::Resend(number), again);
    }

    /// No acknowledgement came in time.
    pub(super) fn on_resend_due(&mut self, number: u64, context: &mut Context<'_, Self>) {
        if let Some(entry) = self.state.task_mut(number).filter(|entry| entry.stream.head().is_some()) {
            entry.stream.in_flight = false;
            self.forward(number, context);
        }
    }

    /// A master has the agent in its pool: all that is not acknowledged goes out at once.
    pub(super) fn resume_streams(&mut self, context: &mut Context<'_, Self>) {
        let numbers: Vec<u64> = self.state.tasks().map(|(number, _)| number).collect();
        for number in numbers {
            if let Some(entry) = self.state.task_mut(number) {
                entry.stream.rest();
            }
            self.forward(number, context);
        }
    }

    /// A scheduler has seen a status. Any but the oldest of its task is ignored.
    pub(super) fn on_acknowledge(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        uuid: Uuid,
        context: &mut Context<'_, Self>,
    ) {
        let number = self.state.task_named(framework_id, task_id);
        let acknowledged = number.and_then(|number| {
            let (sequence, state) = self.state.task_mut(number)?.stream.acknowledge(uuid)?;
            Some((number, sequence, state))
        });
        let Some((number, sequence, state)) = acknowledged else { return context.count(metric::IGNORED, 1) };
        let mut batch = Batch::default();
        batch.delete(checkpoint::update_key(framework_id, task_id, sequence));
        if state.is_terminal() {
            batch.delete(checkpoint::stream_key(framework_id, task_id));
            batch.delete(checkpoint::task_key(framework_id, task_id));
        }
        let ticket = context.persist(batch);
        self.state.wait(ticket, Waiting::Acknowledged(number));
        context.disarm(Timer::Resend(number));
    }

    /// An acknowledgement is on disk: the next status may go, or the task is forgotten.
    pub(super) fn on_acknowledgement_stored(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let settled = self.state.task_mut(number).and_then(|entry| entry.stream.settle());
        if settled.is_some_and(TaskState::is_terminal) {
            if let Some(entry) = self.state.remove_task(number) {
                let framework_id = entry.framework_id.clone();
                self.state.remember_task(entry);
                self.forget_idle_framework(&framework_id, context);
                self.run_parked(context);
            }
        } else {
            self.forward(number, context);
        }
    }

    /// Deletes a task with all its records, told or not: nobody asks for it any more.
    pub(super) fn drop_task(&mut self, number: u64, batch: &mut Batch, context: &mut Context<'_, Self>) {
        let Some(entry) = self.state.remove_task(number) else { return };
        let (framework_id, task_id) = (&entry.framework_id, &entry.task.info.task_id);
        for sequence in entry.stream.sequences() {
            batch.delete(checkpoint::update_key(framework_id, task_id, sequence));
        }
        batch.delete(checkpoint::stream_key(framework_id, task_id));
        batch.delete(checkpoint::task_key(framework_id, task_id));
        context.disarm(Timer::Resend(number));
    }

    /// Forgets a framework that has neither task nor executor left.
    pub(super) fn forget_idle_framework(&mut self, id: &FrameworkId, context: &mut Context<'_, Self>) {
        if self.state.forget_idle_framework(id) {
            let mut batch = Batch::default();
            batch.delete(checkpoint::framework_key(id));
            let ticket = context.persist(batch);
            self.state.wait(ticket, Waiting::Noted);
        }
        self.finish_drain(context);
    }
}

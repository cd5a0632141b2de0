//! How an agent begins: one path for the first start, a restart of the process and a restart after a panic (law L4).
//!
//! 1. The journal is read. What does not read is counted and skipped.
//! 2. The machine is asked which of the remembered containers it still knows; all others it destroys.
//! 3. The tasks of those that are gone fail. Those that are there are waited for, and their executors have
//!    `executor_reregistration_timeout` to register again; after it they are destroyed and their tasks are gone.
//! 4. Only then does the agent register: the master hears what runs, not what ran.
//!
//! Mesos: `Slave::recover`, `Slave::reregisterExecutorTimeout` (reference 6.4, 9).

use crate::agent::checkpoint::{self, Entry, StreamRecord, TaskRecord, UpdateRecord};
use crate::agent::container::{Container, Stage, Verdict};
use crate::agent::registration::Registration;
use crate::agent::state::{Delivery, TaskEntry, Waiting};
use crate::agent::status::Stream;
use crate::agent::{Agent, Timer, metric};
use kaon_kernel::actor::{Context, HostId, Record, exit};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest};
use kaon_kernel::id::{ContainerId, FrameworkId};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::placement::Placement;
use kaon_kernel::task::{Reason, Task, TaskState};

impl Agent {
    /// Begins with what the journal holds.
    pub(super) fn recover(&mut self, records: &[Record], context: &mut Context<'_, Self>) {
        // Keys come in their order, so a task meets its container, but its stream comes before it.
        let mut streams: Vec<StreamRecord> = Vec::new();
        let mut updates: Vec<UpdateRecord> = Vec::new();
        let mut places: Vec<(u64, Placement)> = Vec::new();
        let mut kept = None;
        for record in records {
            match checkpoint::read(record) {
                Ok(Entry::Agent(agent)) => {
                    self.state.see_term(agent.term);
                    if let Some(id) = agent.info.id {
                        self.state.name(id);
                    }
                }
                Ok(Entry::Drain(config)) => self.draining = Some(config),
                Ok(Entry::Executor(executor)) => {
                    self.state.add_container(Container::recovered(executor));
                }
                Ok(Entry::Framework(info)) => {
                    if let Some(id) = info.id.clone() {
                        self.state.put_framework(id, info);
                    }
                }
                Ok(Entry::Operation(held)) => {
                    let number = self.state.add_operation(*held);
                    if let Some(entry) = self.state.operation_mut(number) {
                        entry.is_stored = true;
                    }
                }
                Ok(Entry::Resources(resources)) => kept = Some(resources),
                Ok(Entry::Stream(stream)) => streams.push(stream),
                Ok(Entry::Task(task)) => places.extend(self.restore_task(*task)),
                Ok(Entry::Update(update)) => updates.push(update),
                Err(_) => context.count(metric::RECOVERY_ERRORS, 1),
            }
        }
        if !self.restore_resources(kept.as_ref(), context) {
            return;
        }
        for stream in &streams {
            self.restore_stream(stream);
        }
        for update in updates {
            self.restore_update(update);
        }
        for stream in &streams {
            self.mend_stream(stream);
        }
        // Only now is it known which tasks have ended, and have no place any more.
        for (number, placement) in places {
            let lives = self.state.task(number).is_some_and(|entry| !entry.task.state.is_terminal());
            if lives && !self.state.reoccupy(number, placement) {
                context.count(metric::RECOVERY_ERRORS, 1);
            }
        }
        self.resume_pending_operations(context);
        let known: Vec<ContainerId> = self.state.containers().map(|(_, container)| container.id().clone()).collect();
        let ticket = context.contain(ContainerRequest::Recover { known });
        self.state.wait(ticket, Waiting::Survivors);
    }

    fn restore_task(&mut self, record: TaskRecord) -> Option<(u64, Placement)> {
        let TaskRecord { framework_id, info, executor_id, container_id, group, placement } = record;
        let container = container_id.and_then(|id| self.state.container_named(id.as_str()));
        let number = self.state.add_task(TaskEntry {
            framework_id,
            task: Task { info, executor_id, state: TaskState::Staging, statuses: Vec::new(), unacknowledged: None },
            container,
            group,
            // Nobody knows any more; its executor says when it is back.
            delivery: Delivery::Sent,
            kill: None,
            placement: None,
            stream: Stream::new(TaskState::Staging),
        });
        placement.map(|placement| (number, placement))
    }

    fn restore_stream(&mut self, record: &StreamRecord) {
        let number = self.state.task_named(&record.framework_id, &record.task_id);
        if let Some(entry) = number.and_then(|number| self.state.task_mut(number)) {
            entry.task.state = record.state;
            entry.task.statuses.clone_from(&record.statuses);
            entry.stream.restore(record);
        }
    }

    fn restore_update(&mut self, record: UpdateRecord) {
        let number = self.state.task_named(&record.framework_id, &record.status.task_id);
        if let Some(entry) = number.and_then(|number| self.state.task_mut(number)) {
            // When the record of the stream was damaged nothing is known of the task but what still waits.
            if !entry.stream.has_history() {
                entry.task.state = record.status.state;
                entry.task.remember(&record.status);
            }
            entry.stream.restore_update(record.sequence, record.status);
        }
    }

    /// A status whose own record was damaged is told from the history of its stream, where it stands without data: the
    /// newest state must reach the scheduler, or its task would never end.
    fn mend_stream(&mut self, record: &StreamRecord) {
        let number = self.state.task_named(&record.framework_id, &record.task_id);
        let Some(entry) = number.and_then(|number| self.state.task_mut(number)) else { return };
        let newest = entry.stream.newest_pending();
        let is_short = match newest {
            Some(state) => state != record.state,
            None => record.state.is_terminal(),
        };
        if let Some(last) = record.statuses.last().filter(|last| is_short && last.state == record.state) {
            entry.stream.restore_update(record.next, last.clone());
        }
    }

    /// The machine has said which containers it still knows.
    pub(super) fn on_survivors(&mut self, outcome: ContainerOutcome, context: &mut Context<'_, Self>) {
        let ContainerOutcome::Recovered(survivors) = outcome else {
            return self.end(exit::STORAGE, "what runs on this machine can't be told".to_owned(), context);
        };
        let all: Vec<(u64, ContainerId)> =
            self.state.containers().map(|(number, container)| (number, container.id().clone())).collect();
        context.arm(Timer::Recovery, self.config.executor_reregistration_timeout);
        for (number, id) in all {
            let Some(container) = self.state.container_mut(number) else { continue };
            let is_there = survivors.contains(&id);
            match container.stage() {
                Stage::Recovering if is_there => {
                    container.enter(Stage::Reregistering);
                    self.watch(number, context);
                }
                Stage::Terminating if is_there => {
                    self.watch(number, context);
                    self.destroy(number, None, context);
                }
                Stage::Recovering | Stage::Terminating => self.lose_container(number, context),
                _ => {}
            }
        }
        self.fail_stray_tasks(context);
        self.forget_idle_frameworks(context);
        self.finish_drain(context);
        self.sweep_later(context);
        let linked = self.state.links().filter(|(_, peer)| peer.role == PeerRole::Executor);
        let linked: Vec<HostId> = linked.map(|(host, _)| host).collect();
        for host in linked {
            self.on_executor_linked(host, context);
        }
        self.finish_recovery(context);
    }

    /// A container that was remembered is not there any more.
    fn lose_container(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let message = "Executor ended while the agent was away".to_owned();
        let verdict =
            Verdict { state: TaskState::Failed, reason: Reason::ExecutorTerminated, message, limitation: None };
        self.destroy(number, Some(verdict), context);
        self.end_container(number, context);
    }

    /// Tasks whose container's record was damaged have nobody to speak for them.
    fn fail_stray_tasks(&mut self, context: &mut Context<'_, Self>) {
        let strays =
            self.state.tasks().filter(|(_, entry)| entry.container.is_none() && !entry.task.state.is_terminal());
        let strays: Vec<u64> = strays.map(|(number, _)| number).collect();
        for number in strays {
            let message = "The agent has lost its record of the executor";
            self.tell(number, TaskState::Failed, Reason::ExecutorTerminated, message, context);
        }
    }

    /// The last task of a framework and the framework itself leave the disk in two steps; the second may be missing.
    fn forget_idle_frameworks(&mut self, context: &mut Context<'_, Self>) {
        let frameworks = self.state.frameworks().filter_map(|framework| framework.info.id.clone());
        let frameworks: Vec<FrameworkId> = frameworks.collect();
        for id in &frameworks {
            self.forget_idle_framework(id, context);
        }
    }

    /// Executors had their time.
    pub(super) fn on_recovery_due(&mut self, context: &mut Context<'_, Self>) {
        let late = self.state.containers().filter(|(_, container)| container.is_recovering());
        let late: Vec<u64> = late.map(|(number, _)| number).collect();
        for number in late {
            let message =
                format!("Executor did not register again within {}", self.config.executor_reregistration_timeout);
            let (state, reason) = (TaskState::Gone, Reason::ExecutorReregistrationTimeout);
            self.destroy(number, Some(Verdict { state, reason, message, limitation: None }), context);
        }
        self.finish_recovery(context);
    }

    /// Lets the agent register once no executor is waited for.
    pub(super) fn finish_recovery(&mut self, context: &mut Context<'_, Self>) {
        let is_waiting = self.state.containers().any(|(_, container)| container.is_recovering());
        if self.registration == Registration::Held && !is_waiting && !self.state.is_recovering() {
            context.disarm(Timer::Recovery);
            context.gauge(metric::RECOVERY_SECONDS, context.now().since(self.begun).as_seconds());
            self.begin_registration(context);
        }
    }
}

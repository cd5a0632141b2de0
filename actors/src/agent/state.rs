//! The tables of the agent, and the only code that changes them. Every entry has a number of its own, so that timers
//! and tickets can name it; texts are looked up once.

use crate::agent::container::Container;
use crate::agent::operations::{OPERATIONS_MAX, OperationEntry};
use crate::agent::past::{Past, PastExecutor};
use crate::agent::status::Stream;
use kaon_kernel::actor::{Address, HostId, Term, Ticket};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, Uuid};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::operation::HeldOperation;
use kaon_kernel::placement::{Demand, Machine, Placement, PlacementRequest, Reason};
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{Task, TaskInfo};
use kaon_kernel::time::Duration;
use std::collections::BTreeMap;

/// How many tasks an agent holds, ended ones included until their last status is acknowledged. A re-registration with
/// so many fits into a frame (`kernel/src/frame.rs`).
pub(super) const TASKS_MAX: usize = 10_000;

/// How many tasks beyond [`TASKS_MAX`] it holds only to say why it refused them.
pub(super) const REFUSED_TASKS_MAX: usize = 1_000;

/// How many launches wait for a task id that is about to come free.
const PARKED_MAX: usize = 1_000;

/// How many frameworks may have something on one agent.
pub(super) const FRAMEWORKS_MAX: usize = 1_000;

/// How many links it remembers: one to each executor, and room for the masters and for links about to end.
pub(super) const LINKS_MAX: usize = TASKS_MAX * 2 + 64;

/// A host at the other end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// What its certificate says it is.
    pub(super) role: PeerRole,
    /// Who its certificate says it is; for an executor the id of its container.
    pub(super) identity: String,
}

/// A master that leads, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) address: Address,
    pub(super) term: Term,
}

/// A framework that has something here.
#[derive(Clone, Debug)]
pub(super) struct FrameworkEntry {
    pub(super) info: FrameworkInfo,
    /// Set when the master ended it: its statuses interest nobody any more.
    pub(super) is_ending: bool,
}

/// How far a task has come on its way to its executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It is being written down.
    Unwritten,
    /// It is on disk and waits until its executor takes it.
    Queued,
    /// It was sent to its executor.
    Sent,
}

/// A task.
#[derive(Clone, Debug)]
pub(super) struct TaskEntry {
    pub(super) framework_id: FrameworkId,
    /// What was launched, with all statuses that were accepted; those not on disk yet are told to nobody.
    pub(super) task: Task,
    /// Its container's entry, until that is gone.
    pub(super) container: Option<u64>,
    /// The group that it was launched with, all or none; a name made for this agent alone.
    pub(super) group: Option<Uuid>,
    /// Whether its executor has it.
    pub(super) delivery: Delivery,
    /// A kill to be told to its executor, with the grace that came with it.
    pub(super) kill: Option<Option<Duration>>,
    /// Its place on the machine, until it has ended; `None` for a task that runs anywhere.
    pub(super) placement: Option<Placement>,
    /// Its statuses on their way to the scheduler.
    pub(super) stream: Stream,
}

/// A launch that waits until a task of the same name is forgotten.
#[derive(Clone, Debug)]
pub(super) struct Parked {
    pub(super) framework: FrameworkInfo,
    pub(super) tasks: Vec<TaskInfo>,
    pub(super) group: Option<Uuid>,
    pub(super) starts_executor: bool,
}

/// What follows when an effect comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing; the batch only has to be written.
    Noted,
    /// The container may be started.
    Launch(u64),
    /// These tasks are on disk: their executor may have them.
    Queued(Vec<u64>),
    /// The container has room for its tasks, or can't have.
    Resized(u64),
    /// Statuses (task, sequence) may be told; the container, if one is named, is gone.
    Stored { updates: Vec<(u64, u64)>, ended: Option<u64> },
    /// The oldest status of the task is done with.
    Acknowledged(u64),
    /// The newest of an operation is on disk.
    Operation(u64),
    /// The volumes of queued tasks are in the sandbox of their executor.
    Linked(u64),
    /// Directories of volumes are made and removed, for an operation.
    Volumes(u64),
    /// Everything is deleted: the agent may end.
    Wiped,
    /// The container runs, or does not.
    Launched(u64),
    /// The container has ended.
    Exit(u64),
    /// What the machine still runs after a restart.
    Survivors,
    /// Old sandboxes are removed.
    Swept,
    /// Nothing; a container was asked something whose outcome shows elsewhere.
    Nothing,
}

/// Everything that an agent knows.
pub(super) struct State {
    info: AgentInfo,
    machine: Option<Machine>,
    /// Whether something came free for containers that wait for a place.
    has_vacated: bool,
    term: Term,
    leader: Option<Leader>,
    frameworks: BTreeMap<FrameworkId, FrameworkEntry>,
    // Boxed: a node of the map has room for eleven.
    containers: BTreeMap<u64, Box<Container>>,
    container_numbers: BTreeMap<ContainerId, u64>,
    tasks: BTreeMap<u64, Box<TaskEntry>>,
    task_numbers: BTreeMap<FrameworkId, BTreeMap<TaskId, u64>>,
    /// All that the machine has, where that is not what it was started with.
    converted: Option<Box<Resources>>,
    // Few at a time; found by uuid in one walk.
    operations: BTreeMap<u64, Box<OperationEntry>>,
    links: BTreeMap<HostId, Peer>,
    waiting: BTreeMap<Ticket, Waiting>,
    parked: Vec<Parked>,
    last_number: u64,
    ping_timeout: Duration,
    leaving: bool,
    /// What has ended, where somebody may look.
    past: Option<Box<Past>>,
}

impl State {
    pub(super) fn new(info: AgentInfo, machine: Option<Machine>, past_executors_max: usize) -> Self {
        Self {
            info,
            machine,
            has_vacated: false,
            term: Term(0),
            leader: None,
            frameworks: BTreeMap::new(),
            containers: BTreeMap::new(),
            container_numbers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            task_numbers: BTreeMap::new(),
            converted: None,
            operations: BTreeMap::new(),
            links: BTreeMap::new(),
            waiting: BTreeMap::new(),
            parked: Vec::new(),
            last_number: 0,
            ping_timeout: Duration::MAX,
            leaving: false,
            past: Past::new(past_executors_max),
        }
    }

    pub(super) fn info(&self) -> &AgentInfo {
        &self.info
    }
    pub(super) fn agent_id(&self) -> Option<&AgentId> {
        self.info.id.as_ref()
    }
    pub(super) fn name(&mut self, id: AgentId) {
        self.info.id = Some(id);
    }
    pub(super) fn term(&self) -> Term {
        self.term
    }
    /// Remembers a term; older ones change nothing (law L7).
    pub(super) fn see_term(&mut self, term: Term) {
        self.term = self.term.max(term);
    }
    pub(super) fn leader(&self) -> Option<Leader> {
        self.leader
    }
    pub(super) fn follow(&mut self, leader: Option<Leader>) {
        self.leader = leader;
    }
    /// How long a registered agent may go without a ping.
    pub(super) fn ping_timeout(&self) -> Duration {
        self.ping_timeout
    }
    pub(super) fn set_ping_timeout(&mut self, timeout: Duration) {
        self.ping_timeout = timeout;
    }
    /// Whether the machine has yet to say what it still runs after a start.
    pub(super) fn is_recovering(&self) -> bool {
        self.waiting.values().any(|waiting| *waiting == Waiting::Survivors)
    }
    /// Whether everything here is being ended for good.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    pub(super) fn peer(&self, host: HostId) -> Option<&Peer> {
        self.links.get(&host)
    }
    /// The hosts of masters with a standing link.
    pub(super) fn masters(&self) -> impl Iterator<Item = HostId> + '_ {
        self.links.iter().filter(|(_, peer)| peer.role == PeerRole::Master).map(|(host, _)| *host)
    }
    /// Remembers a link; false when there is no room.
    pub(super) fn link(&mut self, host: HostId, peer: Peer) -> bool {
        let has_room = self.links.len() < LINKS_MAX || self.links.contains_key(&host);
        if has_room {
            self.links.insert(host, peer);
        }
        has_room
    }
    pub(super) fn unlink(&mut self, host: HostId) {
        self.links.remove(&host);
    }
    /// The hosts at the far ends of links, with who they are.
    pub(super) fn links(&self) -> impl Iterator<Item = (HostId, &Peer)> {
        self.links.iter().map(|(host, peer)| (*host, peer))
    }

    pub(super) fn wait(&mut self, ticket: Ticket, waiting: Waiting) {
        self.waiting.insert(ticket, waiting);
    }
    /// Takes out what follows a ticket.
    pub(super) fn settle(&mut self, ticket: Ticket) -> Waiting {
        self.waiting.remove(&ticket).unwrap_or_else(|| panic!("{ticket:?} was never asked for, or came back twice"))
    }

    pub(super) fn framework(&self, id: &FrameworkId) -> Option<&FrameworkEntry> {
        self.frameworks.get(id)
    }
    pub(super) fn frameworks(&self) -> impl Iterator<Item = &FrameworkEntry> {
        self.frameworks.values()
    }
    /// Writes down the words of a framework, over older ones.
    pub(super) fn put_framework(&mut self, id: FrameworkId, info: FrameworkInfo) {
        match self.frameworks.get_mut(&id) {
            Some(entry) => entry.info = info,
            None => {
                if let Some(past) = &mut self.past {
                    past.remove_framework(&id);
                }
                self.frameworks.insert(id, FrameworkEntry { info, is_ending: false });
            }
        }
    }
    pub(super) fn end_framework(&mut self, id: &FrameworkId) {
        if let Some(entry) = self.frameworks.get_mut(id) {
            entry.is_ending = true;
        }
    }
    /// Forgets a framework that has nothing here any more; true when it was there.
    pub(super) fn forget_idle_framework(&mut self, id: &FrameworkId) -> bool {
        let is_idle = !self.task_numbers.contains_key(id)
            && !self.containers.values().any(|container| container.framework_id() == id);
        let Some(forgotten) = is_idle.then(|| self.frameworks.remove(id)).flatten() else { return false };
        if let Some(past) = &mut self.past {
            past.add_framework(forgotten.info);
        }
        true
    }
    /// What has ended here, as far as it is remembered.
    pub(super) fn past(&self) -> Option<&Past> {
        self.past.as_deref()
    }
    /// A container is gone for good.
    pub(super) fn remember_executor(&mut self, container: Container) {
        if let Some(past) = &mut self.past {
            let (executor, container_id) = container.into_past();
            past.add_executor(PastExecutor { executor, container_id });
        }
    }
    /// The end of a task is acknowledged.
    pub(super) fn remember_task(&mut self, entry: TaskEntry) {
        if let Some(past) = &mut self.past {
            past.add_task(entry.framework_id, entry.task);
        }
    }

    pub(super) fn add_container(&mut self, container: Container) -> u64 {
        self.last_number += 1;
        let before = self.container_numbers.insert(container.id().clone(), self.last_number);
        assert!(before.is_none(), "two containers of one name");
        self.containers.insert(self.last_number, Box::new(container));
        self.last_number
    }
    pub(super) fn container(&self, number: u64) -> Option<&Container> {
        self.containers.get(&number).map(Box::as_ref)
    }
    pub(super) fn container_mut(&mut self, number: u64) -> Option<&mut Container> {
        self.containers.get_mut(&number).map(Box::as_mut)
    }
    pub(super) fn containers(&self) -> impl Iterator<Item = (u64, &Container)> {
        self.containers.iter().map(|(number, container)| (*number, container.as_ref()))
    }
    pub(super) fn container_named(&self, id: &str) -> Option<u64> {
        self.container_numbers.get(id).copied()
    }
    /// The container of an executor.
    pub(super) fn container_of(&self, framework_id: &FrameworkId, executor_id: &ExecutorId) -> Option<u64> {
        let mut all = self.containers.iter();
        all.find(|(_, one)| one.framework_id() == framework_id && one.info().executor_id == *executor_id)
            .map(|(number, _)| *number)
    }
    /// Forgets a container; its tasks stay until they are acknowledged.
    pub(super) fn remove_container(&mut self, number: u64) -> Option<Container> {
        let container = self.containers.remove(&number)?;
        self.container_numbers.remove(container.id());
        for entry in self.tasks.values_mut().filter(|entry| entry.container == Some(number)) {
            entry.container = None;
        }
        Some(*container)
    }

    pub(super) fn add_task(&mut self, entry: TaskEntry) -> u64 {
        self.last_number += 1;
        let of_framework = self.task_numbers.entry(entry.framework_id.clone()).or_default();
        let before = of_framework.insert(entry.task.info.task_id.clone(), self.last_number);
        assert!(before.is_none(), "two tasks of one name");
        self.tasks.insert(self.last_number, Box::new(entry));
        self.last_number
    }
    pub(super) fn task(&self, number: u64) -> Option<&TaskEntry> {
        self.tasks.get(&number).map(Box::as_ref)
    }
    pub(super) fn task_mut(&mut self, number: u64) -> Option<&mut TaskEntry> {
        self.tasks.get_mut(&number).map(Box::as_mut)
    }
    pub(super) fn tasks(&self) -> impl Iterator<Item = (u64, &TaskEntry)> {
        self.tasks.iter().map(|(number, entry)| (*number, entry.as_ref()))
    }
    pub(super) fn task_count(&self) -> usize {
        self.tasks.len()
    }
    pub(super) fn task_named(&self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<u64> {
        self.task_numbers.get(framework_id)?.get(task_id).copied()
    }
    pub(super) fn tasks_of_framework(&self, framework_id: &FrameworkId) -> Vec<u64> {
        self.task_numbers.get(framework_id).map(|tasks| tasks.values().copied().collect()).unwrap_or_default()
    }
    pub(super) fn tasks_of_container(&self, container: u64) -> Vec<u64> {
        let Some(framework_id) = self.container(container).map(Container::framework_id) else { return Vec::new() };
        let mut numbers = self.tasks_of_framework(framework_id);
        numbers.retain(|number| self.tasks.get(number).is_some_and(|entry| entry.container == Some(container)));
        numbers
    }
    pub(super) fn remove_task(&mut self, number: u64) -> Option<TaskEntry> {
        self.vacate(number);
        let entry = self.tasks.remove(&number)?;
        if let Some(of_framework) = self.task_numbers.get_mut(&entry.framework_id) {
            of_framework.remove(&entry.task.info.task_id);
            if of_framework.is_empty() {
                self.task_numbers.remove(&entry.framework_id);
            }
        }
        Some(*entry)
    }

    /// All that the machine has.
    pub(super) fn total(&self) -> &Resources {
        self.converted.as_deref().unwrap_or(&self.info.resources)
    }
    /// The machine has something else now.
    pub(super) fn set_total(&mut self, total: Resources) {
        self.converted = (total != self.info.resources).then(|| Box::new(total));
    }
    pub(super) fn add_operation(&mut self, held: HeldOperation) -> u64 {
        self.last_number += 1;
        let entry = OperationEntry { held, is_stored: false, backoff: Duration::ZERO };
        self.operations.insert(self.last_number, Box::new(entry));
        self.last_number
    }
    pub(super) fn operation(&self, number: u64) -> Option<&OperationEntry> {
        self.operations.get(&number).map(Box::as_ref)
    }
    pub(super) fn operation_mut(&mut self, number: u64) -> Option<&mut OperationEntry> {
        self.operations.get_mut(&number).map(Box::as_mut)
    }
    pub(super) fn operations(&self) -> impl Iterator<Item = (u64, &OperationEntry)> {
        self.operations.iter().map(|(number, entry)| (*number, entry.as_ref()))
    }
    pub(super) fn operation_named(&self, uuid: Uuid) -> Option<u64> {
        self.operations().find(|(_, entry)| entry.held.uuid == uuid).map(|(number, _)| number)
    }
    pub(super) fn remove_operation(&mut self, number: u64) {
        self.operations.remove(&number);
    }

    pub(super) fn has_room_to_park(&self) -> bool {
        self.parked.len() < PARKED_MAX
    }
    /// Lets a launch wait for its names.
    pub(super) fn park(&mut self, launch: Parked) {
        self.parked.push(launch);
    }
    /// Takes out all launches that wait, in their order.
    pub(super) fn take_parked(&mut self) -> Vec<Parked> {
        core::mem::take(&mut self.parked)
    }

    pub(super) fn machine(&self) -> Option<&Machine> {
        self.machine.as_ref()
    }
    /// Books a place; it is the caller's to put it into the task's entry.
    pub(super) fn place(&mut self, demand: &Demand, request: &PlacementRequest) -> Result<Placement, Reason> {
        self.machine.as_mut().ok_or(Reason::NoTopology)?.place(demand, request)
    }
    /// Gives back a place that no task has.
    pub(super) fn unplace(&mut self, placement: &Placement) {
        if let Some(machine) = self.machine.as_mut() {
            machine.release(placement);
        }
    }
    /// Books the place that a task had in a former life; false when the machine has it no more, and the task none.
    pub(super) fn reoccupy(&mut self, number: u64, placement: Placement) -> bool {
        let (Some(machine), Some(entry)) = (self.machine.as_mut(), self.tasks.get_mut(&number)) else { return false };
        let is_there = machine.occupy(&placement);
        entry.placement = is_there.then_some(placement);
        is_there
    }
    /// Gives back the place of a task, if it has one.
    pub(super) fn vacate(&mut self, number: u64) {
        let placement = self.tasks.get_mut(&number).and_then(|entry| entry.placement.take());
        if let (Some(placement), Some(machine)) = (placement, self.machine.as_mut()) {
            machine.release(&placement);
            self.has_vacated = true;
        }
    }
    /// Whether a place came free since the last call.
    pub(super) fn take_vacated(&mut self) -> bool {
        core::mem::take(&mut self.has_vacated)
    }

    /// Asserts what must hold between two events.
    pub(super) fn invariants(&self) {
        assert!(self.tasks.len() <= TASKS_MAX + REFUSED_TASKS_MAX, "too many tasks");
        assert!(self.links.len() <= LINKS_MAX, "too many links");
        assert!(self.operations.len() <= OPERATIONS_MAX, "too many operations");
        assert_eq!(self.tasks.len(), self.task_numbers.values().map(BTreeMap::len).sum::<usize>(), "tasks indexed");
        assert_eq!(self.containers.len(), self.container_numbers.len(), "containers indexed");
        for (number, entry) in &self.tasks {
            let found = self.task_named(&entry.framework_id, &entry.task.info.task_id);
            assert_eq!(found, Some(*number), "a task is found by its name");
            if let Some(container) = entry.container {
                assert!(self.containers.contains_key(&container), "a task's container is there");
            }
            entry.stream.invariants(entry.task.state);
        }
        if let Some(machine) = &self.machine {
            let mut again = machine.emptied();
            for placement in self.tasks.values().filter_map(|entry| entry.placement.as_ref()) {
                assert!(again.occupy(placement), "something is used twice");
            }
            assert_eq!(&again, machine, "what is used is what tasks have");
        }
        for (id, number) in &self.container_numbers {
            assert!(self.containers.get(number).is_some_and(|container| container.id() == id), "a container's name");
        }
        self.past.iter().for_each(|past| past.invariants());
        assert!(self.leader.is_none_or(|leader| leader.term == self.term), "an old leader is followed (L7)");
    }
}

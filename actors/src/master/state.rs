//! The master's tables and the only verbs that change them. Each verb keeps the books in balance (L6):
//! on each agent what is used plus what is offered fits into what there is, and an offer is in exactly one place.

use super::config::KILLS_WAITING_MAX;
use kaon_kernel::actor::{Address, HostId, StreamId};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::constraint::OfferRules;
use kaon_kernel::framework::{Capability, FrameworkInfo};
use kaon_kernel::id::{
    AgentId, AgentIndex, ExecutorId, FrameworkId, FrameworkIndex, OfferId, OperationId, RoleName, TaskId, Uuid,
};
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::message::registrar::{AdmittedAgent, REMOVED_MAX};
use kaon_kernel::operation::HeldOperation;
use kaon_kernel::placement::Shape;
use kaon_kernel::resource::Resources;
use kaon_kernel::table::{Set, Table};
use kaon_kernel::task::{ExecutorInfo, Task, TaskState};
use kaon_kernel::time::{Duration, WallTime};

/// All that the master knows in this term.
#[derive(Default)]
pub(super) struct State {
    pub(super) frameworks: Table<FrameworkIndex, Framework>,
    framework_by_id: Table<FrameworkId, FrameworkIndex>,
    pub(super) agents: Table<AgentIndex, Agent>,
    agent_by_id: Table<AgentId, AgentIndex>,
    agent_by_host: Table<HostId, AgentIndex>,
    pub(super) offers: Table<OfferId, HeldOffer>,
    /// In the registry, but not back since this term began.
    pub(super) recovered_agents: Table<AgentId, AdmittedAgent>,
    /// Out of reach, since when.
    pub(super) unreachable_agents: Table<AgentId, WallTime>,
    /// Removed; they may not come back.
    pub(super) removed_frameworks: Set<FrameworkId>,
    last_agent: u32,
    last_agent_name: u32,
    last_framework: u32,
    last_framework_name: u32,
    last_offer: u64,
}

/// An agent that has registered in this term.
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) info: AgentInfo,
    /// The name in its certificate.
    pub(super) identity: String,
    pub(super) address: Address,
    /// Whether its session stands.
    pub(super) connected: bool,
    /// Pings sent since its last answer, or since its session broke.
    pub(super) pings_missed: u32,
    pub(super) registered_time: WallTime,
    pub(super) reregistered_time: Option<WallTime>,
    /// The frameworks' own executors on it. Command executors are not listed: they are their tasks.
    pub(super) executors: Table<(FrameworkIndex, ExecutorId), HeldExecutor>,
    pub(super) tasks: Set<(FrameworkIndex, TaskId)>,
    pub(super) offers: Set<OfferId>,
    /// Kills to send again when it is back, at most [`KILLS_WAITING_MAX`].
    pub(super) kills_waiting: Table<(FrameworkId, TaskId), Option<Duration>>,
    /// What tasks and executors hold.
    pub(super) used: Resources,
    /// What lies in offers.
    pub(super) offered: Resources,
    /// All that it has, where that is not what it was started with.
    converted: Option<Box<Resources>>,
    /// The operations on it whose end is not acknowledged, at most [`OPERATIONS_MAX`](super::config::OPERATIONS_MAX).
    pub(super) operations: Table<Uuid, Box<HeldOperation>>,
    /// Its wish that was granted last in this session.
    pub(super) episode: Option<Uuid>,
    /// Counts the times that it said what it has.
    pub(super) reports: u32,
    /// What its hardware could give at most, if it told.
    pub(super) shape: Option<Box<Shape>>,
}

impl Agent {
    /// All that it has.
    pub(super) fn total(&self) -> &Resources {
        self.converted.as_deref().unwrap_or(&self.info.resources)
    }
    /// The same, where that is not what it was started with.
    pub(super) fn converted(&self) -> Option<&Resources> {
        self.converted.as_deref()
    }
    /// Whether so much is there beside all that is used and offered. Copies of a shared volume take up one.
    pub(super) fn has_room_for(&self, more: &Resources) -> bool {
        let held = self.used.plus(&self.offered).and_then(|held| held.plus(more));
        held.is_ok_and(|held| self.total().contains(&held.without_copies()))
    }
    /// Whether all that is used is there.
    pub(super) fn covers_its_use(&self) -> bool {
        self.total().contains(&self.used.without_copies())
    }
}

/// A framework's executor on an agent.
pub(super) struct HeldExecutor {
    pub(super) info: ExecutorInfo,
    pub(super) role: RoleName,
}

/// A framework that is not removed.
pub(super) struct Framework {
    pub(super) id: FrameworkId,
    pub(super) info: FrameworkInfo,
    pub(super) suppressed: Set<RoleName>,
    /// Which offers it wants; known again once it subscribes again.
    pub(super) offer_rules: OfferRules,
    /// Its stream, while it is connected.
    pub(super) stream: Option<StreamId>,
    /// Whether a proxy was spawned for it, and has reported.
    pub(super) proxy: Proxy,
    /// Known from the registry or from agents only.
    pub(super) recovered: bool,
    pub(super) registered_time: WallTime,
    pub(super) reregistered_time: Option<WallTime>,
    // Boxed: the table moves its entries when it grows, and whenever one is taken out.
    pub(super) tasks: Table<TaskId, Box<HeldTask>>,
    /// Tasks on agents out of reach, at most `unreachable_tasks_max` of the configuration, oldest first.
    pub(super) unreachable_tasks: Table<TaskId, (RoleName, Task)>,
    pub(super) offers: Set<OfferId>,
    /// The operations of which it wants to hear, until it has acknowledged their end.
    pub(super) operations: Table<OperationId, (AgentIndex, Uuid)>,
}

/// The life of a framework's proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    /// There is none.
    None,
    /// Spawned, not heard of yet.
    Spawned,
    /// It has reported; a second report means that it began afresh.
    Attached,
}

/// A task whose last status is not acknowledged yet.
pub(super) struct HeldTask {
    pub(super) task: Task,
    pub(super) agent: AgentIndex,
    pub(super) role: RoleName,
    /// Whether its resources went back: it has ended, told or not.
    pub(super) freed: bool,
}

/// An offer in a framework's hands.
pub(super) struct HeldOffer {
    pub(super) framework: FrameworkIndex,
    pub(super) agent: AgentIndex,
    pub(super) role: RoleName,
    pub(super) resources: Resources,
}

impl Framework {
    /// Whether it takes offers.
    pub(super) fn is_connected(&self) -> bool {
        self.stream.is_some()
    }
    /// Whether it knows the finer states of a loss.
    pub(super) fn partition_aware(&self) -> bool {
        self.info.has(Capability::PartitionAware)
    }
}

impl State {
    /// Empty tables for the next term of the same master: numbers go on, so that no index, and with it no address of a
    /// proxy, is ever used twice. Names carry the term's own master id and begin afresh.
    pub(super) fn beyond(before: &Self) -> Self {
        Self {
            last_agent: before.last_agent,
            last_framework: before.last_framework,
            last_offer: before.last_offer,
            ..Self::default()
        }
    }

    // Frameworks.

    pub(super) fn framework_index(&self, id: &str) -> Option<FrameworkIndex> {
        self.framework_by_id.get(id).copied()
    }

    /// Takes a framework in, without a stream.
    pub(super) fn add_framework(&mut self, id: FrameworkId, info: FrameworkInfo, now: WallTime) -> FrameworkIndex {
        self.last_framework += 1;
        let index = FrameworkIndex(self.last_framework);
        let before = self.framework_by_id.insert(id.clone(), index);
        assert!(before.is_none(), "framework {id} is known already");
        let framework = Framework {
            id,
            info,
            suppressed: Set::default(),
            offer_rules: OfferRules::default(),
            stream: None,
            proxy: Proxy::None,
            recovered: true,
            registered_time: now,
            reregistered_time: None,
            tasks: Table::default(),
            unreachable_tasks: Table::default(),
            offers: Set::default(),
            operations: Table::default(),
        };
        self.frameworks.insert(index, framework);
        index
    }

    /// Forgets a framework; its offers and tasks must be gone before.
    pub(super) fn remove_framework(&mut self, index: FrameworkIndex) -> Option<Framework> {
        let framework = self.frameworks.swap_remove(&index)?;
        assert!(framework.offers.is_empty() && framework.tasks.is_empty(), "{} leaves something behind", framework.id);
        self.framework_by_id.swap_remove(&framework.id);
        self.removed_frameworks.insert(framework.id.clone());
        if self.removed_frameworks.len() > REMOVED_MAX {
            self.removed_frameworks.shift_remove_index(0);
        }
        Some(framework)
    }

    /// A number for the name of a new framework, from 0. Never the same twice, also while earlier ones wait for the registry.
    pub(super) fn take_framework_number(&mut self) -> u32 {
        self.last_framework_name += 1;
        self.last_framework_name - 1
    }

    // Agents.

    pub(super) fn agent_index(&self, id: &str) -> Option<AgentIndex> {
        self.agent_by_id.get(id).copied()
    }

    pub(super) fn agent_at(&self, host: HostId) -> Option<AgentIndex> {
        self.agent_by_host.get(&host).copied()
    }

    /// A number for the name of a new agent, from 0.
    pub(super) fn take_agent_number(&mut self) -> u32 {
        self.last_agent_name += 1;
        self.last_agent_name - 1
    }

    /// Takes an agent in at an address.
    pub(super) fn add_agent(
        &mut self,
        info: AgentInfo,
        identity: String,
        address: Address,
        now: WallTime,
    ) -> AgentIndex {
        let id = info.id.clone().unwrap_or_else(|| panic!("an admitted agent has an id"));
        self.last_agent += 1;
        let index = AgentIndex(self.last_agent);
        let before = self.agent_by_id.insert(id.clone(), index);
        assert!(before.is_none(), "agent {id} is known already");
        self.agent_by_host.insert(address.host, index);
        let agent = Agent {
            id,
            info,
            identity,
            address,
            connected: true,
            pings_missed: 0,
            registered_time: now,
            reregistered_time: None,
            executors: Table::default(),
            tasks: Set::default(),
            offers: Set::default(),
            kills_waiting: Table::default(),
            used: Resources::new(),
            offered: Resources::new(),
            converted: None,
            operations: Table::default(),
            episode: None,
            reports: 0,
            shape: None,
        };
        self.agents.insert(index, agent);
        index
    }

    /// Connects a known agent from an address, which may be new.
    pub(super) fn connect_agent(&mut self, index: AgentIndex, address: Address) {
        let agent = &mut self.agents[&index];
        if self.agent_by_host.get(&agent.address.host) == Some(&index) {
            self.agent_by_host.swap_remove(&agent.address.host);
        }
        agent.address = address;
        agent.connected = true;
        agent.pings_missed = 0;
        self.agent_by_host.insert(address.host, index);
    }

    /// Its session broke.
    pub(super) fn disconnect_agent(&mut self, index: AgentIndex) {
        let agent = &mut self.agents[&index];
        agent.connected = false;
        agent.pings_missed = 0;
        agent.episode = None;
        let host = agent.address.host;
        if self.agent_by_host.get(&host) == Some(&index) {
            self.agent_by_host.swap_remove(&host);
        }
    }

    /// Forgets an agent. Its offers, tasks, executors and operations must be gone before, and with them all that they held.
    pub(super) fn remove_agent(&mut self, index: AgentIndex) {
        self.disconnect_agent(index);
        if let Some(agent) = self.agents.swap_remove(&index) {
            let is_idle = agent.offers.is_empty() && agent.tasks.is_empty() && agent.executors.is_empty();
            let is_free = agent.used.is_empty() && agent.offered.is_empty() && agent.operations.is_empty();
            assert!(is_idle && is_free, "{} leaves something behind", agent.id);
            self.agent_by_id.swap_remove(&agent.id);
        }
    }

    /// Remembers a kill for an agent that is away. False when too many wait.
    pub(super) fn keep_kill(
        &mut self,
        agent: AgentIndex,
        framework_id: FrameworkId,
        task_id: TaskId,
        grace: Option<Duration>,
    ) -> bool {
        let waiting = &mut self.agents[&agent].kills_waiting;
        let room = waiting.len() < KILLS_WAITING_MAX;
        if room {
            waiting.insert((framework_id, task_id), grace);
        }
        room
    }

    // Offers.

    /// A number for an offer or an inverse offer.
    pub(super) fn take_offer_number(&mut self) -> OfferId {
        self.last_offer += 1;
        OfferId(self.last_offer)
    }

    /// Puts granted resources into an offer.
    pub(super) fn hold_offer(&mut self, grant: Grant) -> OfferId {
        let id = self.take_offer_number();
        let agent = &mut self.agents[&grant.agent];
        let added = agent.offered.add(&grant.resources);
        added.unwrap_or_else(|error| panic!("offer {id:?} on {}: {error}", agent.id));
        agent.offers.insert(id);
        self.frameworks[&grant.framework].offers.insert(id);
        let Grant { framework, role, agent, resources } = grant;
        self.offers.insert(id, HeldOffer { framework, agent, role, resources });
        id
    }

    /// Takes an offer out of its framework's hands: from here on it exists nowhere.
    pub(super) fn take_offer(&mut self, id: OfferId) -> Option<HeldOffer> {
        let offer = self.offers.swap_remove(&id)?;
        let agent = &mut self.agents[&offer.agent];
        agent.offers.swap_remove(&id);
        let taken = agent.offered.subtract(&offer.resources);
        taken.unwrap_or_else(|error| panic!("offer {id:?} of {}: {error}", agent.id));
        self.frameworks[&offer.framework].offers.swap_remove(&id);
        Some(offer)
    }

    // What agents have, and operations.

    /// An agent has something else now.
    pub(super) fn set_total(&mut self, agent: AgentIndex, total: Resources) {
        let agent = &mut self.agents[&agent];
        agent.converted = (total != agent.info.resources).then(|| Box::new(total));
    }

    /// Enters an operation, or the newest word on it.
    pub(super) fn put_operation(&mut self, agent: AgentIndex, held: HeldOperation) {
        let author = held.framework_id().and_then(|id| self.framework_index(id.as_str()));
        if let (Some(framework), Some(id)) = (author, &held.status.operation_id) {
            self.frameworks[&framework].operations.insert(id.clone(), (agent, held.uuid));
        }
        self.agents[&agent].operations.insert(held.uuid, Box::new(held));
    }

    /// Forgets an operation.
    pub(super) fn remove_operation(&mut self, agent: AgentIndex, uuid: Uuid) -> Option<Box<HeldOperation>> {
        let held = self.agents[&agent].operations.swap_remove(&uuid)?;
        let author = held.framework_id().and_then(|id| self.framework_index(id.as_str()));
        if let (Some(framework), Some(id)) = (author, &held.status.operation_id) {
            let named = &mut self.frameworks[&framework].operations;
            if named.get(id) == Some(&(agent, uuid)) {
                named.swap_remove(id);
            }
        }
        Some(held)
    }

    // Tasks and executors.

    /// Enters a task and charges its resources to its agent, unless it has ended already.
    pub(super) fn add_task(&mut self, framework: FrameworkIndex, agent: AgentIndex, role: RoleName, task: Task) {
        let task_id = task.info.task_id.clone();
        let freed = task.state.is_terminal();
        if !freed {
            self.charge(agent, &task.info.resources);
        }
        self.agents[&agent].tasks.insert((framework, task_id.clone()));
        let before = self.frameworks[&framework].tasks.insert(task_id, Box::new(HeldTask { task, agent, role, freed }));
        assert!(before.is_none(), "a task is entered twice");
    }

    /// Takes the resources of an ended task back, once. The grant to hand to the allocator.
    pub(super) fn free_task(&mut self, framework: FrameworkIndex, task_id: &TaskId) -> Option<Grant> {
        let held = self.frameworks[&framework].tasks.get_mut(task_id)?;
        if core::mem::replace(&mut held.freed, true) {
            return None;
        }
        let grant = Grant {
            framework,
            role: held.role.clone(),
            agent: held.agent,
            resources: held.task.info.resources.clone(),
        };
        self.discharge(grant.agent, &grant.resources);
        Some(grant)
    }

    /// Forgets a task whose resources went back before.
    pub(super) fn remove_task(&mut self, framework: FrameworkIndex, task_id: &TaskId) -> Option<HeldTask> {
        let held = self.frameworks[&framework].tasks.swap_remove(task_id)?;
        assert!(held.freed, "task {task_id} is forgotten with its resources");
        if let Some(agent) = self.agents.get_mut(&held.agent) {
            agent.tasks.swap_remove(&(framework, task_id.clone()));
        }
        Some(*held)
    }

    /// Keeps a task whose agent is out of reach for those who ask, `most` of them; the one that is forgotten for it.
    pub(super) fn keep_unreachable(
        &mut self,
        framework: FrameworkIndex,
        role: RoleName,
        task: Task,
        most: usize,
    ) -> Option<TaskId> {
        let kept = &mut self.frameworks[&framework].unreachable_tasks;
        kept.insert(task.info.task_id.clone(), (role, task));
        let oldest = if kept.len() > most { kept.shift_remove_index(0) } else { None };
        oldest.map(|(task_id, _)| task_id)
    }

    /// Takes out the tasks that were on an agent when it fell out of reach.
    pub(super) fn take_unreachable(&mut self, framework: FrameworkIndex, agent_id: &AgentId) -> Vec<Task> {
        let kept = &mut self.frameworks[&framework].unreachable_tasks;
        let there = kept.iter().filter(|(_, (_, task))| task.info.agent_id == *agent_id);
        let there: Vec<TaskId> = there.map(|(task_id, _)| task_id.clone()).collect();
        there.iter().filter_map(|task_id| kept.shift_remove(task_id)).map(|(_, task)| task).collect()
    }

    /// Enters an executor and charges its own resources.
    pub(super) fn add_executor(&mut self, framework: FrameworkIndex, agent: AgentIndex, executor: HeldExecutor) {
        self.charge(agent, &executor.info.resources);
        let key = (framework, executor.info.executor_id.clone());
        let before = self.agents[&agent].executors.insert(key, executor);
        assert!(before.is_none(), "an executor is entered twice");
    }

    /// Forgets an executor; the grant to hand to the allocator.
    pub(super) fn remove_executor(
        &mut self,
        framework: FrameworkIndex,
        agent: AgentIndex,
        executor_id: &ExecutorId,
    ) -> Option<Grant> {
        let executor = self.agents[&agent].executors.swap_remove(&(framework, executor_id.clone()))?;
        self.discharge(agent, &executor.info.resources);
        Some(Grant { framework, role: executor.role, agent, resources: executor.info.resources })
    }

    /// The newest state of a task.
    pub(super) fn task_state(&self, framework: FrameworkIndex, task_id: &TaskId) -> Option<TaskState> {
        Some(self.frameworks.get(&framework)?.tasks.get(task_id)?.task.state)
    }

    fn charge(&mut self, agent: AgentIndex, resources: &Resources) {
        let agent = &mut self.agents[&agent];
        agent.used.add(resources).unwrap_or_else(|error| panic!("charging {}: {error}", agent.id));
    }

    fn discharge(&mut self, agent: AgentIndex, resources: &Resources) {
        let agent = &mut self.agents[&agent];
        agent.used.subtract(resources).unwrap_or_else(|error| panic!("discharging {}: {error}", agent.id));
    }
}

//! A master on the bench, with the parts around it played by hand.

use crate::master::{Master, MasterConfig};
use crate::testing::{Rig, sent};
use kaon_kernel::actor::{ActorKind, Address, Effect, HostId, Link, LinkState, StreamId, Term};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::framework::{Capability, FrameworkInfo};
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkId, FrameworkIndex, OfferId, RoleName, TaskId, Uuid};
use kaon_kernel::message::agent_master::{self, ToAgent};
use kaon_kernel::message::allocator::{self, Grant, ToAllocator};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::framework_master::{self, ToFramework};
use kaon_kernel::message::registrar::{self, Registry, RegistryOperation, ToRegistrar};
use kaon_kernel::message::scheduler::{self, Call};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{AgentMessage, AllocatorMessage, FrameworkMessage, MasterMessage, RegistrarMessage};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{CommandInfo, Source, Task, TaskInfo, TaskState, TaskStatus};
use kaon_kernel::time::{Duration, WallTime};
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const HOST: HostId = HostId(1);

/// The bench.
pub(super) struct Play {
    pub(super) rig: Rig<Master>,
    /// Operations that the registrar was asked for and has not written yet.
    pub(super) unwritten: Vec<(u64, RegistryOperation)>,
    /// The epoch of the allocator's books.
    pub(super) epoch: u64,
    /// How often the allocator was told quotas.
    pub(super) quotas: u64,
    /// The newest effects, for whatever a test wants to see.
    pub(super) effects: Vec<Effect>,
}

pub(super) fn resources(cpus: u64, mem: u64) -> Resources {
    Resources::cpus_and_mem(Quantity::units(cpus), Quantity::units(mem))
}

pub(super) fn agent_host(number: u64) -> HostId {
    HostId(100 + number)
}

pub(super) fn agent_info() -> AgentInfo {
    AgentInfo {
        hostname: "machine".to_owned(),
        ip: "10.0.0.1".to_owned(),
        port: 5051,
        resources: resources(4, 4096),
        version: "0.1.0".to_owned(),
        ..AgentInfo::default()
    }
}

pub(super) fn register(info: AgentInfo) -> agent_master::ToMaster {
    agent_master::ToMaster::Register { info: Box::new(info), checkpointed: Resources::new(), episode: FIRST }
}

/// The wish of every first registration here.
const FIRST: Uuid = Uuid([0; 16]);

/// A wish of an agent, none like another.
pub(super) fn episode() -> Uuid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Uuid(u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_le_bytes())
}

/// An agent that is back with nothing made at run time.
pub(super) fn reregister(
    info: AgentInfo,
    frameworks: Vec<FrameworkInfo>,
    tasks: Vec<(FrameworkId, Task)>,
) -> agent_master::ToMaster {
    agent_master::ToMaster::Reregister {
        info: Box::new(info),
        frameworks,
        executors: Vec::new(),
        tasks,
        checkpointed: Resources::new(),
        operations: Vec::new(),
        episode: episode(),
    }
}

pub(super) fn framework_info(failover_timeout: Duration) -> FrameworkInfo {
    FrameworkInfo {
        user: "root".to_owned(),
        name: "test".to_owned(),
        roles: vec![RoleName::trusted("*")],
        failover_timeout,
        checkpoint: true,
        capabilities: vec![Capability::PartitionAware],
        ..FrameworkInfo::default()
    }
}

pub(super) fn task(name: &str, agent_id: &AgentId, resources: Resources) -> TaskInfo {
    TaskInfo {
        name: name.to_owned(),
        resources,
        command: Some(CommandInfo { shell: true, value: Some("true".to_owned()), ..CommandInfo::default() }),
        ..TaskInfo::bare(TaskId::trusted(name), agent_id.clone(), RoleName::trusted("*"))
    }
}

pub(super) fn status(name: &str, state: TaskState, uuid: u8) -> TaskStatus {
    TaskStatus {
        uuid: Some(Uuid([uuid; 16])),
        ..TaskStatus::bare(TaskId::trusted(name), state, Source::Executor, WallTime(1))
    }
}

impl Play {
    /// A master that leads term 1 with an empty registry and an allocator that has asked for everything.
    pub(super) fn leading() -> Self {
        Self::leading_with(Registry::default())
    }

    pub(super) fn leading_with(registry: Registry) -> Self {
        Self::leading_by(MasterConfig::default(), registry)
    }

    pub(super) fn leading_by(config: MasterConfig, registry: Registry) -> Self {
        let rig = Rig::new(Master::new(config), Address::only(HOST, ActorKind::Master));
        let mut play = Self { rig, unwritten: Vec::new(), epoch: 0, quotas: 0, effects: Vec::new() };
        let effects = play.rig.start();
        play.note(effects);
        play.send(ActorKind::Allocator, HOST, MasterMessage::Allocator(allocator::ToMaster::Started));
        let leading = registrar::ToMaster::Leading { term: Term(1), registry: Box::new(registry) };
        play.send(ActorKind::Registrar, HOST, MasterMessage::Registrar(leading));
        play
    }

    pub(super) fn send(&mut self, kind: ActorKind, host: HostId, message: MasterMessage) {
        let effects = self.rig.message(Address::only(host, kind), &message);
        self.note(effects);
    }

    pub(super) fn note(&mut self, effects: Vec<Effect>) {
        for (_, message) in sent::<RegistrarMessage>(&effects) {
            if let RegistrarMessage::Master(ToRegistrar::Apply { number, operation }) = message {
                self.unwritten.push((number, operation));
            }
        }
        for message in to_allocator(&effects) {
            match message {
                ToAllocator::Begin { epoch, .. } => self.epoch = epoch,
                ToAllocator::SetQuotas { number, .. } => self.quotas = number,
                _ => {}
            }
        }
        self.effects = effects;
    }

    /// The registrar writes all that waits; the effects of all are kept.
    pub(super) fn write(&mut self) {
        let mut all = Vec::new();
        while !self.unwritten.is_empty() {
            let (number, _) = self.unwritten.remove(0);
            let applied = registrar::ToMaster::Applied { number };
            self.send(ActorKind::Registrar, HOST, MasterMessage::Registrar(applied));
            all.append(&mut self.effects);
        }
        self.effects = all;
    }

    pub(super) fn link(&mut self, number: u64, state: LinkState) {
        self.link_of(number, number, state);
    }

    /// The same of the process `number` on the machine of another agent.
    pub(super) fn link_of(&mut self, machine: u64, number: u64, state: LinkState) {
        let identity = format!("agent-{machine}");
        let link = Link { host: agent_host(number), role: PeerRole::Agent, identity, state };
        let effects = self.rig.link(link);
        self.note(effects);
    }

    pub(super) fn agent_says(&mut self, number: u64, message: agent_master::ToMaster) {
        self.send(ActorKind::Agent, agent_host(number), MasterMessage::Agent(message));
    }

    /// An agent that is in the pool.
    pub(super) fn agent(&mut self, number: u64) -> (AgentId, AgentIndex) {
        self.agent_with(number, agent_info().resources)
    }

    /// One with these resources.
    pub(super) fn agent_with(&mut self, number: u64, resources: Resources) -> (AgentId, AgentIndex) {
        self.link(number, LinkState::Up);
        self.agent_says(number, register(AgentInfo { resources, ..agent_info() }));
        self.write();
        let registered = to_agent(&self.effects).into_iter().find_map(|message| match message {
            ToAgent::Registered { agent_id, .. } => Some(agent_id),
            _ => None,
        });
        let id = registered.expect("the agent is registered");
        let index = self.rig.actor().state.agent_index(id.as_str()).expect("the agent is in the tables");
        (id, index)
    }

    /// A framework on a stream of its own.
    pub(super) fn framework(&mut self, info: FrameworkInfo, stream: u64) -> FrameworkIndex {
        self.subscribe(info, stream);
        self.write();
        let found = self.rig.actor().state.frameworks.iter().find(|(_, one)| one.stream == Some(StreamId(stream)));
        let index = *found.expect("the framework is subscribed").0;
        let framework_id = self.framework_id(index);
        let attached = framework_master::ToMaster::Attached { framework_id, stream: StreamId(stream) };
        let effects = std::mem::take(&mut self.effects);
        self.proxy_says(index, attached);
        self.effects = effects;
        index
    }

    pub(super) fn subscribe(&mut self, info: FrameworkInfo, stream: u64) {
        let subscribe = scheduler::ToMaster::Subscribe {
            info: Box::new(info),
            suppressed_roles: Vec::new(),
            offers: Box::default(),
            stream: StreamId(stream),
        };
        self.send(ActorKind::Outside, HOST, MasterMessage::Outside(subscribe));
    }

    pub(super) fn framework_id(&self, index: FrameworkIndex) -> FrameworkId {
        self.rig.actor().state.frameworks[&index].id.clone()
    }

    pub(super) fn proxy_says(&mut self, index: FrameworkIndex, message: framework_master::ToMaster) {
        let from = Address::nth(HOST, ActorKind::Framework, index.0);
        let effects = self.rig.message(from, &MasterMessage::Framework(message));
        self.note(effects);
    }

    pub(super) fn call(&mut self, index: FrameworkIndex, call: Call) {
        self.proxy_says(index, framework_master::ToMaster::Call(call));
    }

    /// The allocator grants; the offer that comes of it.
    pub(super) fn grant(&mut self, framework: FrameworkIndex, agent: AgentIndex, resources: Resources) -> OfferId {
        let grant = Grant { framework, role: RoleName::trusted("*"), agent, resources };
        let granted = allocator::ToMaster::Granted { epoch: self.epoch, quotas: self.quotas, grants: vec![grant] };
        self.send(ActorKind::Allocator, HOST, MasterMessage::Allocator(granted));
        let offer = self.events().into_iter().find_map(|event| match event {
            FrameworkEvent::Offers { offers, .. } => Some(offers[0].id),
            _ => None,
        });
        offer.expect("an offer is made")
    }

    /// What frameworks were told last.
    pub(super) fn events(&self) -> Vec<FrameworkEvent> {
        let messages = sent::<FrameworkMessage>(&self.effects).into_iter();
        let delivered = messages.filter_map(|(_, message)| match message {
            FrameworkMessage::Master(ToFramework::Deliver(event)) => Some(event),
            _ => None,
        });
        delivered.collect()
    }

    /// The statuses that frameworks were told last.
    pub(super) fn statuses(&self) -> Vec<(String, TaskState, Option<kaon_kernel::task::Reason>)> {
        let updates = self.events().into_iter().filter_map(|event| match event {
            FrameworkEvent::Update { status } => Some((status.task_id.to_string(), status.state, status.reason)),
            _ => None,
        });
        updates.collect()
    }

    /// What came back to the allocator last.
    pub(super) fn recovered(&self) -> Vec<Resources> {
        let recovered = to_allocator(&self.effects).into_iter().flat_map(|message| match message {
            ToAllocator::Recover { grant, .. } => vec![grant.resources],
            ToAllocator::RecoverMade { made, rest, .. } => vec![made.resources, rest],
            _ => Vec::new(),
        });
        recovered.collect()
    }
}

pub(super) fn to_allocator(effects: &[Effect]) -> Vec<ToAllocator> {
    sent::<AllocatorMessage>(effects)
        .into_iter()
        .filter_map(|(_, message)| match message {
            AllocatorMessage::Master(message) => Some(message),
            AllocatorMessage::Outside(_) => None,
        })
        .collect()
}

pub(super) fn to_agent(effects: &[Effect]) -> Vec<ToAgent> {
    let messages = sent::<AgentMessage>(effects).into_iter();
    let from_master = messages.filter_map(|(_, message)| match message {
        AgentMessage::Master(message) => Some(message),
        AgentMessage::Executor(_) | AgentMessage::Outside(_) => None,
    });
    from_master.collect()
}

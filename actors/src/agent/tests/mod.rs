//! A bench for the agent: the rig of `testing`, a machine that answers by hand, and boxes for what comes out.

mod crash;
mod drain;
mod executors;
mod operations;
mod place;
mod recovery;
mod scripts;
mod sweep;

use crate::agent::{Agent, AgentConfig, checkpoint};
use crate::testing::{Disk, Rig, sent, write};
use kaon_kernel::actor::{ActorKind, Address, Batch, Effect, HostId, Link, LinkState, Outcome, StreamId, Term, Ticket};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, Exit, ExitStatus, LaunchSpec, Usage};
use kaon_kernel::frame::copy;
use kaon_kernel::framework::{Capability, FrameworkInfo};
use kaon_kernel::id::{AgentId, ContainerId, ExecutorId, FrameworkId, MasterId, RoleName, TaskId, Uuid};
use kaon_kernel::message::agent_master::{ToAgent, ToMaster};
use kaon_kernel::message::agent_outside::{AgentEvent, ToAgent as FromOutside};
use kaon_kernel::message::executor_agent::{ToAgent as FromExecutor, ToExecutor};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{AgentMessage, ExecutorMessage, MasterMessage};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{CommandInfo, Source, TaskInfo, TaskState, TaskStatus};
use kaon_kernel::time::{Duration, WallTime};
use std::collections::{BTreeMap, VecDeque};

pub(super) const MASTER: HostId = HostId(1);
pub(super) const AGENT: HostId = HostId(2);
pub(super) const FRAMEWORK: &str = "m-0000";

pub(super) fn config() -> AgentConfig {
    let info = AgentInfo {
        hostname: "host".to_owned(),
        ip: "10.0.0.7".to_owned(),
        port: 5051,
        resources: Resources::cpus_and_mem(Quantity::units(8), Quantity::units(8192)),
        version: "1".to_owned(),
        ..AgentInfo::default()
    };
    AgentConfig::new(info, "10.0.0.7:5051", "/var/lib/kaon")
}

pub(super) fn framework() -> FrameworkInfo {
    FrameworkInfo {
        id: Some(FrameworkId::trusted(FRAMEWORK)),
        user: "nobody".to_owned(),
        name: "f".to_owned(),
        roles: vec![RoleName::trusted("eng")],
        checkpoint: true,
        capabilities: vec![Capability::TaskKillingState],
        ..FrameworkInfo::default()
    }
}

pub(super) fn task(id: &str) -> TaskInfo {
    TaskInfo {
        name: id.to_owned(),
        resources: Resources::cpus_and_mem(Quantity::units(1), Quantity::units(128)),
        command: Some(CommandInfo { shell: true, value: Some("sleep 1".to_owned()), ..CommandInfo::default() }),
        data: Some(vec![1, 2, 3]),
        ..TaskInfo::bare(TaskId::trusted(id), AgentId::trusted("m-S0"), RoleName::trusted("eng"))
    }
}

/// A status as an executor sends it; the uuid is made of the number.
pub(super) fn status(task_id: &str, state: TaskState, number: u128) -> TaskStatus {
    TaskStatus {
        uuid: Some(Uuid(number.to_le_bytes())),
        ..TaskStatus::bare(TaskId::trusted(task_id), state, Source::Executor, WallTime(5))
    }
}

pub(super) fn uuid(number: u128) -> Uuid {
    Uuid(number.to_le_bytes())
}

pub(super) fn exited(code: i32) -> ContainerOutcome {
    ContainerOutcome::Exited(Exit { status: Some(ExitStatus::Code(code)), limitation: None, usage: Usage::default() })
}

/// The agent on its bench.
pub(super) struct Bench {
    pub(super) rig: Rig<Agent>,
    /// Batches that were asked for and are not on disk yet.
    pub(super) unwritten: VecDeque<(Ticket, Batch)>,
    /// What a crash now would leave, if no batch that waits made it.
    pub(super) durable: Disk,
    pub(super) asked: Vec<(Ticket, ContainerRequest)>,
    pub(super) to_master: Vec<ToMaster>,
    pub(super) to_executors: Vec<(HostId, ToExecutor)>,
    /// What went out on streams.
    pub(super) emitted: Vec<(StreamId, AgentEvent)>,
    pub(super) closed: Vec<StreamId>,
    pub(super) counted: BTreeMap<&'static str, u64>,
    pub(super) finished: Option<i32>,
    pub(super) last_words: String,
    /// Names the wish to be registered that was heard last.
    pub(super) episode: Uuid,
    config: AgentConfig,
    incarnations: u64,
}

impl Bench {
    /// An agent that has begun on an empty machine.
    pub(super) fn new(config: AgentConfig) -> Self {
        Self::with_journal(config, Disk::new())
    }

    /// An agent that has begun with a journal.
    pub(super) fn with_journal(config: AgentConfig, journal: Disk) -> Self {
        let rig = Rig::new(Agent::new(config.clone()), Address::only(AGENT, ActorKind::Agent));
        let mut bench = Self {
            rig,
            unwritten: VecDeque::new(),
            durable: Disk::new(),
            asked: Vec::new(),
            to_master: Vec::new(),
            to_executors: Vec::new(),
            emitted: Vec::new(),
            closed: Vec::new(),
            counted: BTreeMap::new(),
            finished: None,
            last_words: String::new(),
            episode: Uuid([0; 16]),
            config,
            incarnations: 0,
        };
        bench.begin(journal);
        bench
    }

    /// Another life of the agent on what is left of its journal. Nothing that was under way comes back.
    pub(super) fn restart(&mut self, journal: Disk) {
        self.incarnations += 1;
        // A host gives each incarnation its own seed; the rig has one, so the address tells the lives apart.
        let me = Address::nth(AGENT, ActorKind::Agent, self.incarnations as u32);
        self.rig = Rig::new(Agent::new(self.config.clone()), me);
        self.begin(journal);
    }

    fn begin(&mut self, journal: Disk) {
        self.unwritten.clear();
        self.asked.clear();
        self.to_master.clear();
        self.to_executors.clear();
        self.durable.clone_from(&journal);
        self.rig.journal = journal;
        let effects = self.rig.start();
        self.absorb(effects);
    }

    pub(super) fn absorb(&mut self, effects: Vec<Effect>) {
        for (_, message) in sent::<MasterMessage>(&effects) {
            match message {
                MasterMessage::Agent(message) => {
                    if let ToMaster::Register { episode, .. } | ToMaster::Reregister { episode, .. } = &message {
                        self.episode = *episode;
                    }
                    self.to_master.push(message);
                }
                other => panic!("an agent said {other:?}"),
            }
        }
        for (to, ExecutorMessage::Agent(message)) in sent::<ExecutorMessage>(&effects) {
            self.to_executors.push((to.host, message));
        }
        for effect in effects {
            match effect {
                Effect::Emit { stream, event } => {
                    let body = event.body::<AgentEvent>().expect("an agent emits its own events");
                    self.emitted.push((stream, copy(body)));
                }
                Effect::Close { stream } => self.closed.push(stream),
                Effect::Persist { ticket, batch } => self.unwritten.push_back((ticket, batch)),
                Effect::Contain { ticket, request } => self.asked.push((ticket, request)),
                Effect::Finish { code, words } => (self.finished, self.last_words) = (Some(code), words),
                Effect::Record(kaon_kernel::actor::Measure::Add(name, more)) => {
                    *self.counted.entry(name).or_default() += more;
                }
                _ => {}
            }
        }
    }

    /// Lets the oldest batch reach the disk and come back; false when none waits.
    pub(super) fn flush_one(&mut self) -> bool {
        let Some((ticket, batch)) = self.unwritten.pop_front() else { return false };
        write(&mut self.durable, batch);
        let effects = self.rig.done(ticket, Outcome::Persisted(Ok(())));
        self.absorb(effects);
        true
    }

    pub(super) fn flush(&mut self) {
        while self.flush_one() {}
    }

    pub(super) fn link(&mut self, host: HostId, role: PeerRole, identity: &str, state: LinkState) {
        let effects = self.rig.link(Link { host, role, identity: identity.to_owned(), state });
        self.absorb(effects);
    }

    pub(super) fn master(&mut self, message: ToAgent) {
        self.master_at(MASTER, 1, message);
    }

    pub(super) fn master_at(&mut self, host: HostId, term: u64, message: ToAgent) {
        let from = Address::only(host, ActorKind::Master);
        let effects = self.rig.message_in_term(from, Term(term), &AgentMessage::Master(message));
        self.absorb(effects);
    }

    pub(super) fn executor(&mut self, host: HostId, message: FromExecutor) {
        let from = Address::only(host, ActorKind::Executor);
        let effects = self.rig.message(from, &AgentMessage::Executor(message));
        self.absorb(effects);
    }

    pub(super) fn outside(&mut self, message: FromOutside) {
        let from = Address::only(AGENT, ActorKind::Outside);
        let effects = self.rig.message(from, &AgentMessage::Outside(message));
        self.absorb(effects);
    }

    pub(super) fn pass(&mut self, length: Duration) {
        let effects = self.rig.pass(length);
        self.absorb(effects);
    }

    /// Answers the first request that fits.
    pub(super) fn answer(&mut self, fits: impl Fn(&ContainerRequest) -> bool, outcome: ContainerOutcome) {
        let at = self.asked.iter().position(|(_, request)| fits(request));
        let at = at.unwrap_or_else(|| panic!("no such request among {:?}", self.asked));
        let (ticket, _) = self.asked.remove(at);
        let effects = self.rig.done(ticket, Outcome::Container(outcome));
        self.absorb(effects);
    }

    pub(super) fn recovered(&mut self, survivors: Vec<ContainerId>) {
        let is_recover = |request: &ContainerRequest| matches!(request, ContainerRequest::Recover { .. });
        self.answer(is_recover, ContainerOutcome::Recovered(survivors));
    }

    pub(super) fn launched(&mut self, pid: u32) {
        let is_launch = |request: &ContainerRequest| matches!(request, ContainerRequest::Launch { .. });
        self.answer(is_launch, ContainerOutcome::Launched { pid, addresses: Vec::new() });
    }

    pub(super) fn exit(&mut self, outcome: ContainerOutcome) {
        self.answer(|request| matches!(request, ContainerRequest::Wait { .. }), outcome);
    }

    /// The launch that waits for its outcome.
    pub(super) fn launch(&self) -> (ContainerId, LaunchSpec) {
        let launches = self.asked.iter().find_map(|(_, request)| match request {
            ContainerRequest::Launch { container, spec } => Some((container.clone(), (**spec).clone())),
            _ => None,
        });
        launches.expect("a launch was asked for")
    }

    pub(super) fn kills(&self) -> usize {
        self.asked.iter().filter(|(_, request)| matches!(request, ContainerRequest::Kill { .. })).count()
    }

    /// Up to the master's pool under the name m-S0.
    pub(super) fn registered(config: AgentConfig) -> Self {
        let mut bench = Self::new(config);
        bench.recovered(Vec::new());
        bench.join();
        bench
    }

    /// Registers with the master of term 1.
    pub(super) fn join(&mut self) {
        self.link(MASTER, PeerRole::Master, "master", LinkState::Up);
        self.master(ToAgent::Leading { master_id: MasterId::trusted("m"), term: Term(1) });
        self.pass(Duration::secs(1));
        let asks = |message: &ToMaster| matches!(message, ToMaster::Register { .. } | ToMaster::Reregister { .. });
        assert!(self.to_master.iter().any(asks), "{:?}", self.to_master);
        self.welcome();
        self.flush();
    }

    pub(super) fn welcome(&mut self) {
        let (agent_id, ping_timeout) = (AgentId::trusted("m-S0"), Duration::secs(75));
        self.master(ToAgent::Registered { agent_id, ping_timeout, episode: self.episode });
    }

    pub(super) fn run(&mut self, task: TaskInfo) {
        let starts_executor = task.executor.is_some();
        self.master(ToAgent::RunTask { framework: Box::new(framework()), task: Box::new(task), starts_executor });
    }

    pub(super) fn kill(&mut self, task_id: &str) {
        let (framework_id, task_id) = (FrameworkId::trusted(FRAMEWORK), TaskId::trusted(task_id));
        self.master(ToAgent::KillTask { framework_id, task_id, grace: None });
    }

    pub(super) fn acknowledge(&mut self, task_id: &str, uuid: Uuid) {
        let (framework_id, task_id) = (FrameworkId::trusted(FRAMEWORK), TaskId::trusted(task_id));
        self.master(ToAgent::Acknowledge { framework_id, task_id, uuid });
    }

    pub(super) fn register_message(task_id: &str, container: &ContainerId, tasks: &[&str]) -> FromExecutor {
        FromExecutor::Register {
            framework_id: FrameworkId::trusted(FRAMEWORK),
            executor_id: ExecutorId::trusted(task_id),
            container_id: container.clone(),
            unacknowledged: Vec::new(),
            tasks: tasks.iter().map(|id| TaskId::trusted(*id)).collect(),
        }
    }

    /// Runs a task up to its executor's registration from `host`.
    pub(super) fn running(&mut self, task_id: &str, host: HostId) -> ContainerId {
        self.run(task(task_id));
        self.flush();
        let (container, _) = self.launch();
        self.launched(77);
        self.flush();
        self.link(host, PeerRole::Executor, container.as_str(), LinkState::Up);
        self.executor(host, Self::register_message(task_id, &container, &[]));
        self.flush();
        container
    }

    pub(super) fn update(&mut self, host: HostId, task_id: &str, state: TaskState, number: u128) {
        self.executor(host, FromExecutor::Update { status: Box::new(status(task_id, state, number)) });
    }

    /// The statuses told to the master since the last call.
    pub(super) fn take_updates(&mut self) -> Vec<(TaskStatus, TaskState)> {
        let all = core::mem::take(&mut self.to_master).into_iter();
        let updates = all.filter_map(|message| match message {
            ToMaster::Update { status, latest, .. } => Some((*status, latest)),
            _ => None,
        });
        updates.collect()
    }

    /// The only status told to the master since the last call.
    pub(super) fn take_update(&mut self) -> TaskStatus {
        let mut updates = self.take_updates();
        assert_eq!(updates.len(), 1, "{updates:?}");
        updates.remove(0).0
    }

    /// The uuids that executors were told are on disk, since the last call.
    pub(super) fn take_acknowledged(&mut self) -> Vec<Uuid> {
        let all = core::mem::take(&mut self.to_executors).into_iter();
        let uuids = all.filter_map(|(_, message)| match message {
            ToExecutor::Acknowledged { uuid, .. } => Some(uuid),
            _ => None,
        });
        uuids.collect()
    }

    pub(super) fn take_registrations(&mut self) -> Vec<ToMaster> {
        let all = core::mem::take(&mut self.to_master).into_iter();
        all.filter(|message| matches!(message, ToMaster::Register { .. } | ToMaster::Reregister { .. })).collect()
    }

    /// The keys on disk, without that of the agent itself.
    pub(super) fn keys(&self) -> Vec<String> {
        let keys = self.durable.keys().map(|key| String::from_utf8_lossy(key).into_owned());
        keys.filter(|key| key != checkpoint::AGENT_KEY).collect()
    }
}

//! Scripted agents behind the network's port: each message is answered at once, by one thread for all.

use crate::world::{MASTER, PATIENCE, Tasks};
use kaon_kernel::actor::{ActorKind, Address, HostId, Link, LinkState, Term};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::frame::{Frame, Route, copy};
use kaon_kernel::id::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, Uuid};
use kaon_kernel::message::agent_master::{ArchivedToAgent, ToMaster};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{AgentMessage, ArchivedAgentMessage, MasterMessage};
use kaon_kernel::port::{Ingress, Network, Refused};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{ContainerStatus, Source, TaskState, TaskStatus};
use kaon_kernel::time::WallTime;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The host of the first agent.
const FIRST: u64 = 1000;

/// How many agents are on their way in at once.
const ADMITTED_AT_ONCE: usize = 64;

/// What a task goes through.
const STATES: [TaskState; 3] = [TaskState::Starting, TaskState::Running, TaskState::Finished];

/// All agents.
pub(crate) struct Agents {
    count: usize,
    cpus: u64,
    tasks: Tasks,
    inbox: Mutex<Sender<Option<Frame>>>,
    outbox: Mutex<Option<Receiver<Option<Frame>>>>,
    names: Mutex<Vec<Option<AgentId>>>,
    registered: AtomicUsize,
    sequence: AtomicU64,
    /// When the last task ended.
    ended: Mutex<Option<Instant>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    master: Mutex<Option<Arc<dyn Ingress>>>,
}

impl Network for Agents {
    fn send(&self, frame: Frame) -> Result<(), Refused> {
        let _ = self.inbox.lock().expect("nobody panics with it").send(Some(frame));
        Ok(())
    }
}

impl Agents {
    pub(crate) fn new(count: usize, cpus: u64, tasks: Tasks) -> Arc<Self> {
        let (inbox, outbox) = channel();
        Arc::new(Self {
            count,
            cpus,
            tasks,
            inbox: Mutex::new(inbox),
            outbox: Mutex::new(Some(outbox)),
            names: Mutex::new(vec![None; count]),
            registered: AtomicUsize::new(0),
            sequence: AtomicU64::new(0),
            ended: Mutex::default(),
            thread: Mutex::default(),
            master: Mutex::default(),
        })
    }

    /// Connects all agents with the master.
    pub(crate) fn start(self: &Arc<Self>, master: Arc<dyn Ingress>) {
        let outbox = self.outbox.lock().expect("nobody panics with it").take().expect("started once");
        *self.master.lock().expect("nobody panics with it") = Some(master.clone());
        let (me, its) = (Arc::clone(self), master.clone());
        let thread = std::thread::spawn(move || {
            while let Ok(Some(frame)) = outbox.recv() {
                me.answer(&frame, &*its);
            }
        });
        *self.thread.lock().expect("nobody panics with it") = Some(thread);
        for number in 0..self.count {
            let host = HostId(FIRST + number as u64);
            let identity = format!("agent-{number}");
            master.link(Link { host, role: PeerRole::Agent, identity, state: LinkState::Up });
            // No more wait for its registry at a time: these agents ask once.
            let deadline = Instant::now() + PATIENCE;
            while self.registered() + ADMITTED_AT_ONCE < number {
                assert!(Instant::now() < deadline, "{} of {} agents registered", self.registered(), self.count);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    pub(crate) fn stop(&self) {
        let _ = self.inbox.lock().expect("nobody panics with it").send(None);
        if let Some(thread) = self.thread.lock().expect("nobody panics with it").take() {
            let _ = thread.join();
        }
        // It holds the host, and the host holds this.
        self.master.lock().expect("nobody panics with it").take();
    }

    pub(crate) fn registered(&self) -> usize {
        self.registered.load(Ordering::Acquire)
    }

    /// When the last task ended; asked once.
    pub(crate) fn ended(&self) -> Option<Instant> {
        self.ended.lock().expect("nobody panics with it").take()
    }

    /// Ends a task that stays.
    pub(crate) fn end_task(&self, agent_id: &str, framework_id: &str, task_id: &str) {
        let number = {
            let names = self.names.lock().expect("nobody panics with it");
            names.iter().position(|name| name.as_ref().is_some_and(|name| name.as_str() == agent_id))
        };
        let number = number.expect("an agent of ours");
        let (framework_id, task_id) = (FrameworkId::trusted(framework_id), TaskId::trusted(task_id));
        let master = self.master.lock().expect("nobody panics with it").clone().expect("started");
        *self.ended.lock().expect("nobody panics with it") = Some(Instant::now());
        self.update(number, framework_id, task_id, 2, &*master);
    }

    /// An executor's message to a framework.
    pub(crate) fn message(&self, framework_id: &str, data: Vec<u8>) {
        let master = self.master.lock().expect("nobody panics with it").clone().expect("started");
        let (framework_id, executor_id) = (FrameworkId::trusted(framework_id), ExecutorId::trusted("e"));
        self.say(0, ToMaster::Message { framework_id, executor_id, data }, &*master);
    }

    fn answer(&self, frame: &Frame, master: &dyn Ingress) {
        let number = (frame.envelope().to.host.0 - FIRST) as usize;
        let Some(ArchivedAgentMessage::Master(message)) = frame.body::<AgentMessage>() else { return };
        match message {
            ArchivedToAgent::Leading { .. } => {
                let info = AgentInfo {
                    hostname: format!("agent-{number}"),
                    ip: "127.0.0.1".to_owned(),
                    port: 5051,
                    resources: Resources::cpus_and_mem(Quantity::units(self.cpus), Quantity::units(self.cpus * 1024)),
                    version: "0".to_owned(),
                    ..AgentInfo::default()
                };
                let episode = Uuid(u128::from(self.sequence.load(Ordering::Relaxed)).to_le_bytes());
                let checkpointed = Resources::new();
                self.say(number, ToMaster::Register { info: Box::new(info), checkpointed, episode }, master);
            }
            ArchivedToAgent::Registered { agent_id, .. } => {
                let name = AgentId::trusted(agent_id.as_str());
                let before = self.names.lock().expect("nobody panics with it")[number].replace(name);
                if before.is_none() {
                    self.registered.fetch_add(1, Ordering::AcqRel);
                }
            }
            ArchivedToAgent::Ping { .. } => self.say(number, ToMaster::Pong, master),
            ArchivedToAgent::RunTask { framework, task, .. } => {
                let framework_id = framework.id.as_ref().map(|id| FrameworkId::trusted(id.as_str()));
                let framework_id = framework_id.expect("a framework that runs tasks has an id");
                self.update(number, framework_id, TaskId::trusted(task.task_id.as_str()), 0, master);
            }
            ArchivedToAgent::Acknowledge { framework_id, task_id, uuid } => {
                let uuid: Uuid = copy(uuid);
                let next = usize::from(uuid.0[15]) + 1;
                let stays = self.tasks == Tasks::Stay && next == 2;
                if next < STATES.len() && !stays {
                    let ids = (FrameworkId::trusted(framework_id.as_str()), TaskId::trusted(task_id.as_str()));
                    self.update(number, ids.0, ids.1, next, master);
                }
            }
            _ => {}
        }
    }

    fn update(&self, number: usize, framework_id: FrameworkId, task_id: TaskId, stage: usize, master: &dyn Ingress) {
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&self.sequence.load(Ordering::Relaxed).to_le_bytes());
        uuid[15] = stage as u8;
        let container_id = ContainerId::trusted(task_id.as_str());
        let status = TaskStatus {
            executor_id: Some(ExecutorId::trusted(task_id.as_str())),
            uuid: Some(Uuid(uuid)),
            agent_id: self.names.lock().expect("nobody panics with it")[number].clone(),
            container: Some(ContainerStatus {
                parent: None,
                container_id,
                executor_pid: Some(1),
                ip_addresses: vec!["127.0.0.1".to_owned()],
            }),
            ..TaskStatus::bare(task_id, STATES[stage], Source::Executor, WallTime(1_000_000_000))
        };
        self.say(number, ToMaster::Update { framework_id, status: Box::new(status), latest: STATES[stage] }, master);
    }

    fn say(&self, number: usize, message: ToMaster, master: &dyn Ingress) {
        let route = Route {
            to: Address::only(MASTER, ActorKind::Master),
            from: Address::only(HostId(FIRST + number as u64), ActorKind::Agent),
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            term: Term(0),
        };
        let frame = Frame::encode(route, &MasterMessage::Agent(message));
        // A session that is full waits, and so does the agent behind it.
        while master.deliver(frame.clone()).is_err() {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

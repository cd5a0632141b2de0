//! The conversation with masters: who leads, and how the agent comes into its pool and stays there.
//!
//! ```text
//! Held --recovered--> Seeking --Leading or Ping--> Waiting --random--> Registering --Registered--> Registered
//!                        ^                            ^                 |  ^                          |
//!                        \__ the link to it fell ___   \   repeated, with backoff                     |
//!                                                       \__ Leading, Ping{connected: false}, no ping __/
//! ```
//! Only a host whose certificate says master is heard, only in the newest term that was seen, and only the one that
//! leads in it (law L7). An agent that began afresh while sessions stood asks the masters who leads.

use crate::agent::checkpoint::{self, AgentRecord};
use crate::agent::operations::WRITE_WAIT;
use crate::agent::state::{Leader, Waiting};
use crate::agent::{Agent, Timer, metric};
use kaon_kernel::actor::{ActorKind, Address, Batch, Context, HostId, Term, exit};
use kaon_kernel::frame::{BODY_BYTES_MAX, Envelope};
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{AgentId, FrameworkId, Uuid};
use kaon_kernel::message::MasterMessage;
use kaon_kernel::message::agent_master::{RunningExecutor, ToAgent, ToMaster};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::task::{Task, TaskInfo};
use kaon_kernel::time::Duration;

/// How the agent stands with the leading master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registration {
    /// It recovers first, so that it knows what it runs.
    Held,
    /// No leader is known.
    Seeking,
    /// A random wait, so that the agents of a new master do not all come at once.
    Waiting,
    /// It has asked; the next time after this wait.
    Registering {
        /// The wait that is under way.
        backoff: Duration,
    },
    /// It is in the pool.
    Registered,
}

impl Agent {
    /// A message that says it is from a master.
    pub(super) fn on_master(&mut self, envelope: &Envelope, message: ToAgent, context: &mut Context<'_, Self>) {
        let from = envelope.from;
        let is_master = self.state.peer(from.host).is_some_and(|peer| peer.role == PeerRole::Master);
        if !is_master || from.kind != ActorKind::Master {
            return context.count(metric::FOREIGN, 1);
        }
        let term = match &message {
            ToAgent::Leading { term, .. } => *term,
            _ => envelope.term,
        };
        if term < self.state.term() {
            return context.count(metric::STALE, 1);
        }
        match message {
            ToAgent::Leading { .. } => return self.follow(from, term, context),
            ToAgent::Ping { connected } => return self.on_ping(from, term, connected, context),
            _ => {}
        }
        if self.state.leader() != Some(Leader { address: from, term }) {
            return context.count(metric::STALE, 1);
        }
        match message {
            ToAgent::Leading { .. } | ToAgent::Ping { .. } => {}
            ToAgent::Registered { agent_id, ping_timeout, episode } => {
                self.on_registered(agent_id, ping_timeout, episode, context);
            }
            ToAgent::Refused { reason } => {
                self.end(exit::REFUSED, format!("the master refuses this agent: {reason}"), context);
            }
            ToAgent::Reconcile { tasks } => self.on_reconcile(tasks, context),
            ToAgent::ApplyOperation { operation } => self.on_apply_operation(*operation, context),
            ToAgent::AcknowledgeOperation { operation, status } => {
                self.on_acknowledge_operation(operation, status, context);
            }
            ToAgent::RunTask { framework, task, starts_executor } => {
                self.on_run(*framework, vec![*task], None, starts_executor, context);
            }
            ToAgent::RunTaskGroup { framework, tasks, starts_executor } => {
                let group = context.chance().uuid();
                self.on_run(*framework, tasks, Some(group), starts_executor, context);
            }
            ToAgent::KillTask { framework_id, task_id, grace } => {
                self.on_kill_task(&framework_id, &task_id, grace, context);
            }
            ToAgent::Acknowledge { framework_id, task_id, uuid } => {
                self.on_acknowledge(&framework_id, &task_id, uuid, context);
            }
            ToAgent::ShutdownFramework { framework_id } => self.on_shutdown_framework(&framework_id, context),
            ToAgent::ShutdownExecutor { framework_id, executor_id } => {
                self.on_shutdown_executor(&framework_id, &executor_id, context);
            }
            ToAgent::Message { framework_id, executor_id, data } => {
                self.on_scheduler_message(&framework_id, &executor_id, data, context);
            }
            ToAgent::UpdateFramework { framework } => self.on_update_framework(*framework, context),
            ToAgent::Drain { config } => self.on_drain(config, context),
            ToAgent::Shutdown { .. } => self.on_shutdown(context),
        }
    }

    /// A master leads: in a new term, in a new session of an old one, or still. One that says so twice, because a session
    /// began and because it was asked, is registered with once: what it grants to the first wish must find us waiting for it.
    fn follow(&mut self, address: Address, term: Term, context: &mut Context<'_, Self>) {
        let leader = Leader { address, term };
        let is_under_way = matches!(self.registration, Registration::Waiting | Registration::Registering { .. });
        if self.state.leader() == Some(leader) && is_under_way {
            return;
        }
        let is_newer = term > self.state.term();
        self.state.see_term(term);
        self.state.follow(Some(leader));
        if is_newer {
            self.note_agent(context);
        }
        self.approach(context);
    }

    /// Begins to register with the leader, when recovery is over.
    fn approach(&mut self, context: &mut Context<'_, Self>) {
        // One that leaves does not come back before it has gone.
        if self.registration == Registration::Held || self.state.is_leaving() {
            return;
        }
        self.episode = context.chance().uuid();
        let bound = self.config.registration_backoff;
        let wait = context.chance().duration_below(bound);
        self.enter(Registration::Waiting, context);
        context.arm(Timer::Register, wait);
    }

    fn enter(&mut self, next: Registration, context: &mut Context<'_, Self>) {
        let was = self.is_registered();
        self.registration = next;
        if was != self.is_registered() {
            context.gauge(metric::REGISTERED, if was { 0.0 } else { 1.0 });
        }
        if !matches!(next, Registration::Waiting | Registration::Registering { .. }) {
            context.disarm(Timer::Register);
        }
        if next != Registration::Registered {
            context.disarm(Timer::Ping);
        }
    }

    fn on_ping(&mut self, from: Address, term: Term, connected: bool, context: &mut Context<'_, Self>) {
        let leader = Leader { address: from, term };
        let known = self.state.leader();
        if known.is_some_and(|known| known != leader && known.term == term) {
            return context.count(metric::STALE, 1);
        }
        context.send(from, &MasterMessage::Agent(ToMaster::Pong));
        if known != Some(leader) {
            return self.follow(from, term, context);
        }
        match self.registration {
            Registration::Registered if connected => context.arm(Timer::Ping, self.state.ping_timeout()),
            Registration::Registered => self.approach(context),
            _ => {}
        }
    }

    /// The master was not heard for as long as it said: it is asked again, and whoever leads in its place is heard.
    pub(super) fn on_ping_missed(&mut self, context: &mut Context<'_, Self>) {
        if self.is_registered() {
            self.approach(context);
        }
    }

    /// The link to a host fell. Without the leader's, statuses wait until somebody leads.
    pub(super) fn on_master_link_down(&mut self, host: HostId, context: &mut Context<'_, Self>) {
        if self.state.leader().is_some_and(|leader| leader.address.host == host) {
            self.state.follow(None);
            if self.registration != Registration::Held {
                self.enter(Registration::Seeking, context);
            }
        }
    }

    /// Recovery is over: whoever leads may hear what runs here.
    pub(super) fn begin_registration(&mut self, context: &mut Context<'_, Self>) {
        self.enter(Registration::Seeking, context);
        if self.state.leader().is_some() {
            return self.approach(context);
        }
        let masters: Vec<HostId> = self.state.masters().collect();
        for host in masters {
            context.send(Address::only(host, ActorKind::Master), &MasterMessage::Agent(ToMaster::WhoLeads));
        }
    }

    /// Asks to be registered, for the first time or again.
    pub(super) fn on_register_due(&mut self, context: &mut Context<'_, Self>) {
        let Some(leader) = self.state.leader() else { return };
        let backoff = match self.registration {
            Registration::Waiting => self.config.registration_backoff,
            Registration::Registering { backoff } => backoff.doubled(self.config.registration_backoff_max),
            Registration::Held | Registration::Seeking | Registration::Registered => return,
        };
        if self.state.operations().any(|(_, entry)| !entry.is_stored) {
            // What is reported must be what a crash would leave.
            return context.arm(Timer::Register, WRITE_WAIT);
        }
        let message = MasterMessage::Agent(self.registration_message());
        context.send(leader.address, &message);
        self.enter(Registration::Registering { backoff }, context);
        context.arm(Timer::Register, backoff);
    }

    fn registration_message(&self) -> ToMaster {
        let info = self.state.info().clone();
        if info.id.is_none() {
            let checkpointed = self.state.total().kept();
            return ToMaster::Register { info: Box::new(info), checkpointed, episode: self.episode };
        }
        let mut report = self.report(info.clone(), Detail::Full);
        for detail in [Detail::NoHistory, Detail::Least] {
            if size_of(&report) > BODY_BYTES_MAX {
                report = self.report(info.clone(), detail);
            }
        }
        report
    }

    /// Everything that runs here, as it is on disk. What only the executor needs of a task is left out.
    fn report(&self, info: kaon_kernel::agent::AgentInfo, detail: Detail) -> ToMaster {
        let frameworks: Vec<FrameworkInfo> = self.state.frameworks().map(|framework| framework.info.clone()).collect();
        let executors = self.state.containers().map(|(_, container)| RunningExecutor {
            framework_id: container.framework_id().clone(),
            role: container.role().clone(),
            info: container.info().clone(),
        });
        let tasks = self.state.tasks().map(|(_, entry)| {
            let stream = &entry.stream;
            let told = entry.task.statuses.iter().filter(|one| one.uuid.is_none_or(|uuid| !stream.is_unwritten(uuid)));
            let statuses = match detail {
                Detail::Full => told.cloned().collect(),
                Detail::NoHistory | Detail::Least => Vec::new(),
            };
            let head = stream.head().and_then(|status| Some((status.state, status.uuid?)));
            let task = Task {
                info: reported(&entry.task.info, detail),
                executor_id: entry.task.executor_id.clone(),
                state: stream.stored_state(),
                statuses,
                unacknowledged: head,
            };
            (entry.framework_id.clone(), task)
        });
        let tasks: Vec<(FrameworkId, Task)> = tasks.collect();
        ToMaster::Reregister {
            info: Box::new(info),
            frameworks,
            executors: executors.collect(),
            tasks,
            checkpointed: self.state.total().kept(),
            operations: self.state.operations().map(|(_, entry)| entry.held.clone()).collect(),
            episode: self.episode,
        }
    }

    fn on_registered(
        &mut self,
        agent_id: AgentId,
        ping_timeout: Duration,
        episode: Uuid,
        context: &mut Context<'_, Self>,
    ) {
        if !matches!(self.registration, Registration::Registering { .. }) || episode != self.episode {
            return context.count(metric::IGNORED, 1);
        }
        match self.state.agent_id() {
            None => {
                self.state.name(agent_id);
                self.note_agent(context);
            }
            Some(known) if *known != agent_id => return context.count(metric::IGNORED, 1),
            Some(_) => {}
        }
        self.state.set_ping_timeout(ping_timeout);
        self.enter(Registration::Registered, context);
        context.arm(Timer::Ping, ping_timeout);
        if let Some(machine) = self.state.machine()
            && let Some(leader) = self.state.leader()
        {
            let shape = Box::new(machine.shape());
            context.send(leader.address, &MasterMessage::Agent(ToMaster::Hardware { shape }));
        }
        self.resume_streams(context);
        self.resume_operations(context);
    }

    /// Writes down who the agent is. Batches are written in order, so that whatever it says later is said by one that
    /// has this on disk.
    fn note_agent(&mut self, context: &mut Context<'_, Self>) {
        if self.state.agent_id().is_none() {
            return;
        }
        let record = AgentRecord { info: self.state.info().clone(), term: self.state.term() };
        let mut batch = Batch::default();
        batch.put(checkpoint::AGENT_KEY, checkpoint::write(&record));
        let ticket = context.persist(batch);
        self.state.wait(ticket, Waiting::Noted);
    }
}

/// How much a report says, so that it fits into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// All that a master needs.
    Full,
    /// Without the statuses of the past.
    NoHistory,
    /// What the books need: names, resources, states.
    Least,
}

/// A task as the master needs it: without the framework's bytes and the command's environment (`Task` of the v1 API has
/// neither).
fn reported(info: &TaskInfo, detail: Detail) -> TaskInfo {
    let mut info = TaskInfo { data: None, ..info.clone() };
    if let Some(command) = &mut info.command {
        command.environment.clear();
    }
    if detail == Detail::Least {
        info.command = None;
        info.labels.clear();
        info.placement = None;
        info.rest.clear();
    }
    info
}

fn size_of(message: &ToMaster) -> usize {
    rkyv::to_bytes::<rkyv::rancor::Error>(message).map_or(usize::MAX, |archive| archive.len())
}

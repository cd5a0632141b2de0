//! The master: tracks agents and frameworks, turns grants into offers and accepted offers into tasks.
//!
//! This file holds the struct and the dispatch, no logic. One file a conversation: [`admission`] (agents in and back),
//! [`subscription`] (frameworks in and back), [`offers`], [`accept`] and [`launch`] with [`validate`], [`operations`] (what
//! becomes of resources; [`orders`]: at an operator's word), [`status`],
//! [`reconcile`], [`control`] (kill, shutdown, messages), [`health`] (sessions, pings, agents out of reach), [`teardown`],
//! [`recovery`] (the beginning of a term), [`pending`] (what waits for the registry), [`update`] (UPDATE_FRAMEWORK), orders
//! of an [`operator`] about [`settings`],
//! machines ([`maintenance`] with [`inverse`] offers) and agents ([`standing`]). [`state`] is the only writer of the tables
//! of agents, frameworks, offers and tasks; [`view`] tells the read side.
//!
//! It leaves who gets what to the allocator, what must outlive it to the registrar, and streams to the proxies. It keeps
//! L5 (nothing is told before the registrar has it), L6 (an offer is in one place), L7 (old terms change nothing).
//! Behaviour: Mesos `src/master/master.cpp`, as written down in the reference, sections 3 to 9.

mod accept;
mod admission;
mod config;
mod control;
mod group;
mod health;
mod invariants;
mod inverse;
mod launch;
mod maintenance;
mod offers;
mod operations;
mod operator;
mod orders;
mod pending;
mod reconcile;
mod recovery;
mod settings;
mod standing;
mod state;
mod status;
mod subscription;
mod teardown;
#[cfg(test)]
mod tests;
mod update;
mod validate;
mod view;

pub use config::{MasterConfig, TASKS_MAX};

use kaon_kernel::actor::{
    Actor, ActorKind, Address, Context, ExitReason, HostId, Link, LinkState, Outcome, Record, Term, Ticket, TimerKey,
    packed, unpacked,
};
use kaon_kernel::frame::{Envelope, copy};
use kaon_kernel::id::{AgentIndex, FrameworkIndex, MasterId, OfferId};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{MasterMessage, agent_master, allocator, framework_master, registrar, scheduler};
use kaon_kernel::table::{Set, Table};
use pending::{Changes, Pending};
use state::State;

/// The master actor.
pub struct Master {
    config: MasterConfig,
    phase: Phase,
    state: State,
    /// Changes that wait for the registrar.
    pending: Changes,
    /// The hosts of agents whose admission waits for the registrar.
    admitting: Set<HostId>,
    /// The hosts with a standing session, and the names in their certificates.
    links: Table<HostId, (PeerRole, String)>,
    allocator: AllocatorBooks,
    /// Operators' orders for resources that wait for the allocator, by their number.
    conversions: Table<u64, orders::Conversion>,
    /// What operators have set, as the registry has it.
    settings: settings::Settings,
    /// Which machines go, and who was asked to leave them.
    maintenance: maintenance::Maintenance,
    /// What operators have said about agents.
    standing: standing::Standing,
    /// Counts statuses for the plant.
    statuses_seen: u64,
}

/// Where the master stands in its term.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The registrar has not said that we lead.
    Waiting,
    /// We lead.
    Leading(Leadership),
}

/// A term of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leadership {
    term: Term,
    master_id: MasterId,
}

/// What the master knows of its allocator's books.
#[derive(Clone, Copy, Debug, Default)]
struct AllocatorBooks {
    /// It runs, and has asked for everything.
    started: bool,
    /// The beginning that our messages build on.
    epoch: u64,
    /// How often it was told quotas.
    quotas: u64,
}

/// What the master wakes up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// When an agent's next ping is due.
    Ping(AgentIndex),
    /// When a disconnected agent has had its time to come back.
    AgentReturn(AgentIndex),
    /// When the agents that are known from the registry only have had their time to come back.
    RecoveredAgents,
    /// When a disconnected framework has had its time to come back.
    FrameworkReturn(FrameworkIndex),
    /// When an offer has been held too long.
    Offer(OfferId),
}

impl TimerKey for Timer {
    fn pack(self) -> u64 {
        let (kind, number) = match self {
            Self::Ping(agent) => (0, u64::from(agent.0)),
            Self::AgentReturn(agent) => (1, u64::from(agent.0)),
            Self::RecoveredAgents => (2, 0),
            Self::FrameworkReturn(framework) => (3, u64::from(framework.0)),
            Self::Offer(offer) => (4, offer.0),
        };
        packed(kind, number)
    }
    fn unpack(number: u64) -> Self {
        let (kind, value) = unpacked(number);
        match kind {
            0 => Self::Ping(AgentIndex(value as u32)),
            1 => Self::AgentReturn(AgentIndex(value as u32)),
            2 => Self::RecoveredAgents,
            3 => Self::FrameworkReturn(FrameworkIndex(value as u32)),
            4 => Self::Offer(OfferId(value)),
            _ => panic!("no timer of a master has the kind {kind}"),
        }
    }
}

type MasterContext<'a> = Context<'a, Master>;

/// The agent on a host.
fn agent_of(host: HostId) -> Address {
    Address::only(host, ActorKind::Agent)
}

impl Master {
    /// A master that waits for its registrar.
    pub fn new(config: MasterConfig) -> Self {
        Self {
            config,
            phase: Phase::Waiting,
            state: State::default(),
            pending: Changes::default(),
            admitting: Set::default(),
            links: Table::default(),
            allocator: AllocatorBooks::default(),
            conversions: Table::default(),
            settings: settings::Settings::default(),
            maintenance: maintenance::Maintenance::default(),
            standing: standing::Standing::default(),
            statuses_seen: 0,
        }
    }

    fn leadership(&self) -> Option<&Leadership> {
        match &self.phase {
            Phase::Leading(leadership) => Some(leadership),
            Phase::Waiting => None,
        }
    }
}

impl Actor for Master {
    type Message = MasterMessage;
    type Timer = Timer;

    fn on_start(&mut self, _: &[Record], context: &mut MasterContext<'_>) {
        self.begin(context);
    }

    fn on_message(
        &mut self,
        envelope: &Envelope,
        message: &<MasterMessage as rkyv::Archive>::Archived,
        context: &mut MasterContext<'_>,
    ) {
        use kaon_kernel::message::ArchivedMasterMessage as Message;
        match message {
            Message::Registrar(message) => match copy::<registrar::ToMaster, _>(message) {
                registrar::ToMaster::Leading { term, registry } => self.on_leading(term, *registry, context),
                registrar::ToMaster::Following { .. } => self.on_following(context),
                registrar::ToMaster::Applied { number } => self.on_applied(number, context),
                registrar::ToMaster::Refused { number, reason } => self.on_refused(number, reason, context),
            },
            Message::Agent(message) => self.on_agent(envelope.from, message, context),
            Message::Framework(message) => match message {
                framework_master::ArchivedToMaster::Call(call) => self.on_call(envelope.from, call, context),
                framework_master::ArchivedToMaster::Attached { stream, .. } => {
                    self.on_attached(envelope.from, copy(stream), context);
                }
                framework_master::ArchivedToMaster::Disconnected { stream } => {
                    self.on_disconnected(envelope.from, copy(stream), context);
                }
            },
            Message::Outside(message) => match copy::<scheduler::ToMaster, _>(message) {
                scheduler::ToMaster::Subscribe { info, suppressed_roles, offers, stream } => {
                    let subscription =
                        subscription::Subscription { info: *info, suppressed_roles, offers: *offers, stream };
                    self.on_subscribe(subscription, context);
                }
                scheduler::ToMaster::Teardown { framework_id } => self.teardown(&framework_id, context),
                scheduler::ToMaster::StreamClosed { stream } => self.on_stream_closed(stream, context),
                scheduler::ToMaster::Order { order, reply } => self.on_order(*order, reply, context),
                scheduler::ToMaster::Convert { agent_id, operation, reply } => {
                    self.on_convert(&agent_id, operation, reply, context);
                }
            },
            Message::Allocator(message) => match copy::<allocator::ToMaster, _>(message) {
                allocator::ToMaster::Started => self.on_allocator_started(context),
                allocator::ToMaster::Converted { number, is_done } => self.on_converted(number, is_done, context),
                allocator::ToMaster::Granted { epoch, quotas, grants } => {
                    self.on_granted(epoch, quotas, grants, context);
                }
                allocator::ToMaster::Asked { epoch, asks } => self.on_asked(epoch, asks, context),
            },
        }
        self.settle_drains(context);
    }

    fn on_timer(&mut self, timer: Timer, context: &mut MasterContext<'_>) {
        match timer {
            Timer::Ping(agent) => self.on_ping_due(agent, context),
            Timer::AgentReturn(agent) => self.on_agent_return_over(agent, context),
            Timer::RecoveredAgents => self.on_recovered_agents_over(context),
            Timer::FrameworkReturn(framework) => self.on_framework_return_over(framework, context),
            Timer::Offer(offer) => self.rescind(offer, context),
        }
    }

    fn on_done(&mut self, ticket: Ticket, _: Outcome, _: &mut MasterContext<'_>) {
        panic!("the master asks for nothing under a ticket, {ticket:?} came back");
    }

    fn on_exit(&mut self, child: Address, reason: ExitReason, context: &mut MasterContext<'_>) {
        if reason == ExitReason::GaveUp {
            self.on_proxy_lost(child, context);
        }
    }

    fn on_link(&mut self, link: &Link, context: &mut MasterContext<'_>) {
        match link.state {
            LinkState::Up => {
                self.links.insert(link.host, (link.role, link.identity.clone()));
                self.announce(link.host, context);
            }
            LinkState::Down => {
                self.links.swap_remove(&link.host);
                self.on_agent_disconnected(link.host, context);
            }
            LinkState::Congested => self.on_agent_congested(link.host, true, context),
            LinkState::Flowing => self.on_agent_congested(link.host, false, context),
        }
    }

    fn term(&self) -> Term {
        self.leadership().map_or(Term(0), |leadership| leadership.term)
    }

    fn invariants(&self) {
        self.state.check();
        invariants::check_pending(self);
    }
}

impl Master {
    fn on_agent(&mut self, from: Address, message: &agent_master::ArchivedToMaster, context: &mut MasterContext<'_>) {
        use agent_master::ArchivedToMaster as Message;
        if self.leadership().is_none() {
            return;
        }
        match message {
            Message::Register { info, checkpointed, episode } => {
                self.on_register(from, *copy::<Box<_>, _>(info), copy(checkpointed), copy(episode), context);
            }
            Message::Reregister { .. } => self.on_reregister(from, copy(message), context),
            Message::Hardware { shape } => self.on_hardware(from.host, copy(shape), context),
            Message::Pong => self.on_pong(from.host, context),
            Message::Update { framework_id, status, latest } => {
                self.on_update(from.host, framework_id.as_str(), *copy::<Box<_>, _>(status), copy(latest), context);
            }
            Message::UpdateOperation { operation } => {
                self.on_update_operation(from.host, *copy::<Box<_>, _>(operation), context);
            }
            Message::ExecutorExited { framework_id, executor_id, status } => {
                context.count("master/messages_exited_executor", 1);
                self.on_executor_exited(
                    from.host,
                    framework_id.as_str(),
                    &copy(executor_id),
                    status.to_native(),
                    context,
                );
            }
            Message::Message { framework_id, executor_id, data } => {
                self.on_executor_message(from.host, framework_id.as_str(), copy(executor_id), data, context);
            }
            Message::Unregister { agent_id } => self.on_unregister(from.host, agent_id.as_str(), context),
            Message::WhoLeads => self.announce(from.host, context),
        }
    }

    fn on_call(&mut self, from: Address, call: &scheduler::ArchivedCall, context: &mut MasterContext<'_>) {
        use scheduler::Call;
        let framework = FrameworkIndex(from.index);
        if !self.state.frameworks.contains_key(&framework) {
            return;
        }
        match copy::<Call, _>(call) {
            Call::Teardown => {
                let framework_id = self.state.frameworks[&framework].id.clone();
                self.teardown(&framework_id, context);
            }
            Call::Accept { offers, operations, refusal } => {
                self.on_accept(framework, offers, operations, refusal, context);
            }
            Call::Decline { offers, refusal } => self.on_decline(framework, offers, refusal, context),
            Call::AnswerInverse { offers, answer, refusal } => {
                self.on_answer_inverse(framework, offers, answer, refusal, context);
            }
            Call::Revive { roles } => self.on_revive(framework, roles, context),
            Call::Suppress { roles } => self.on_suppress(framework, roles, context),
            Call::Kill { task_id, agent_id, grace } => self.on_kill(framework, task_id, agent_id, grace, context),
            Call::Shutdown { executor_id, agent_id } => {
                self.on_shutdown_executor(framework, executor_id, agent_id, context);
            }
            Call::Acknowledge { agent_id, task_id, uuid } => {
                self.on_acknowledge(framework, &agent_id, task_id, uuid, context);
            }
            Call::Reconcile { tasks } => self.on_reconcile(framework, tasks, context),
            Call::AcknowledgeOperation { operation_id, uuid, .. } => {
                self.on_acknowledge_operation(framework, &operation_id, uuid, context);
            }
            Call::ReconcileOperations { operations } => self.on_reconcile_operations(framework, operations, context),
            Call::Message { agent_id, executor_id, data } => {
                self.on_scheduler_message(framework, &agent_id, executor_id, data, context);
            }
            // A hint that the built-in allocator of Mesos ignores as well; demand is read from filters.
            Call::Request => context.count("master/messages_resource_request", 1),
            Call::UpdateFramework(update) => self.on_update_framework(framework, update, context),
        }
    }
}

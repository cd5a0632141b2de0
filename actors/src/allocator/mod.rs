//! The allocator: decides which free resources are offered to whom (design 7).
//!
//! An actor around the [`engine`], in which all decisions are made. The actor keeps time: what changes marks agents, and
//! a timer at a very short delay does one round over what was marked, so that a freed resource is offered in well under
//! a millisecond and a burst of messages costs one round. A batch round over everything comes each interval, only as a
//! bound; it does nothing when nothing changed.
//!
//! The allocator keeps nothing on disk. When it begins it tells its master, which tells it everything again; until then
//! whatever arrives is ignored. Messages can name a framework or agent that has just gone: they are counted as strays
//! and change nothing. Behaviour: [`kaon_kernel::message::allocator`], Mesos `hierarchical.cpp`, reference 11.

pub mod direct;
pub mod engine;
pub mod policy;

#[cfg(test)]
mod tests;

use engine::amounts::Amounts;
use engine::tables::{AgentFacts, Capabilities, FrameworkFacts};
use engine::{Engine, Rules, frame_bytes};
use kaon_kernel::actor::{Actor, ActorKind, Address, Context, Outcome, Record, Ticket, TimerKey};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::constraint::{OfferConstraints, OfferRules};
use kaon_kernel::frame::{BODY_BYTES_MAX, Envelope, copy};
use kaon_kernel::id::{FrameworkIndex, RoleName};
use kaon_kernel::message::allocator::{GRANTS_MAX, Grant, ToAllocator, ToMaster};
use kaon_kernel::message::explain::{Question, Subject};
use kaon_kernel::message::operator::Answer;
use kaon_kernel::message::{AllocatorMessage, MasterMessage};
use kaon_kernel::resource::ResourceName;
use kaon_kernel::time::{Duration, Instant};
use policy::SorterName;
use rkyv::Archive;

/// What an allocator is started with.
#[derive(Clone, Debug, PartialEq)]
pub struct AllocatorConfig {
    /// What the engine decides by.
    pub rules: Rules,
    /// Rounds come at least so far apart: at once after a change when the last one is longer ago, else when it is. At the
    /// interval of the rules or above there are batch rounds only, as in Mesos.
    pub window: Duration,
    /// A plant for the self-test of the simulator's checkers: some grants are told twice though they are booked once.
    /// Never set in a cluster.
    pub plant_double_grant: bool,
    /// The same: limits of quotas are not heard.
    pub plant_no_limits: bool,
    /// Who is next, in place of the sorters of the rules.
    pub policy: Option<Policy>,
}

/// A sorter of [`policy`], for roles and frameworks alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which.
    pub sorter: SorterName,
    /// The classes of roles, for strict priority; a role not named is of class 0.
    pub classes: Vec<(RoleName, u32)>,
    /// The resource of max-min fairness: processors, memory, disk or GPUs; for any other name it is processors.
    pub resource: ResourceName,
}

impl Default for AllocatorConfig {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            window: WINDOW,
            plant_double_grant: false,
            plant_no_limits: false,
            policy: None,
        }
    }
}

/// The default of [`AllocatorConfig::window`]: what is freed under load waits no longer.
pub const WINDOW: Duration = Duration::millis(1);

/// What an allocator is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// When agents are marked: do a round.
    Cycle,
    /// When an interval is over: do a round over everything, if anything changed.
    Batch,
    /// When filters expire.
    Expiry,
}

impl TimerKey for Timer {
    fn pack(self) -> u64 {
        match self {
            Self::Cycle => 0,
            Self::Batch => 1,
            Self::Expiry => 2,
        }
    }
    fn unpack(number: u64) -> Self {
        match number {
            0 => Self::Cycle,
            1 => Self::Batch,
            2 => Self::Expiry,
            _ => panic!("timer {number} was never armed"),
        }
    }
}

/// The allocator.
pub struct Allocator {
    config: AllocatorConfig,
    engine: Engine,
    /// That of the last [`ToAllocator::Begin`]; grants carry it.
    epoch: u64,
    /// That of the last [`ToAllocator::SetQuotas`]; grants carry it.
    quotas: u64,
    /// Whether [`Timer::Cycle`] is armed.
    is_cycle_armed: bool,
    /// When the last round was.
    last_round: Option<Instant>,
    /// Since when something waits for the next.
    wanted_since: Option<Instant>,
    /// For when [`Timer::Expiry`] is armed.
    expiry_at: Option<Instant>,
    /// Whether the next round asks frameworks to leave agents; every batch round does.
    is_ask_due: bool,
    strays: u64,
}

/// A message is cut when its grants take about this many bytes, far below [`BODY_BYTES_MAX`]; one grant alone came in a
/// frame and fits in one.
const MESSAGE_BYTES_MAX: usize = BODY_BYTES_MAX / 4;

impl Allocator {
    /// An allocator with the seats of Mesos, or with the sorter that is asked for.
    pub fn new(config: AllocatorConfig) -> Self {
        let rules = config.rules.clone();
        let engine = match &config.policy {
            None => Engine::new(rules),
            Some(Policy { sorter, classes, resource }) => {
                let order = Box::new(rules.order);
                let unit = Amounts::unit_of(resource).or_else(|| Amounts::unit_of(&ResourceName::Cpus));
                let classes = classes.iter().cloned().collect();
                Engine::with_seats(rules, policy::sorter(*sorter, unit.unwrap_or_default(), classes), order)
            }
        };
        Self::with_engine(config, engine)
    }

    /// An allocator around an engine with other seats. The engine's rules are its own; those in `config` are not read.
    pub fn with_engine(config: AllocatorConfig, mut engine: Engine) -> Self {
        if config.plant_double_grant {
            engine.plant_double_grant();
        }
        Self {
            config,
            engine,
            epoch: 0,
            quotas: 0,
            is_cycle_armed: false,
            last_round: None,
            wanted_since: None,
            expiry_at: None,
            is_ask_due: false,
            strays: 0,
        }
    }

    /// The engine, for explanations, checkers and tests.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// How many messages changed nothing, since they came from elsewhere or named what was not there (any more).
    pub fn strays(&self) -> u64 {
        self.strays
    }

    fn handle(&mut self, message: ToAllocator, context: &mut Context<'_, Self>) -> Result<(), engine::Error> {
        let now = context.now();
        let engine = &mut self.engine;
        match message {
            ToAllocator::Begin { epoch, weights } => {
                self.epoch = epoch;
                engine.begin(now, &weights);
                context.arm_at(Timer::Batch, engine.next_round(now));
                Ok(())
            }
            ToAllocator::Resume => engine.resume(),
            ToAllocator::Pause => engine.pause(),
            ToAllocator::AddFramework { framework, id, roles, suppressed, capabilities, offers, active } => {
                let capabilities = capabilities.iter().collect();
                let facts = FrameworkFacts { id, roles, suppressed, capabilities };
                engine.add_framework(framework, &facts, active)?;
                set_offer_rules(engine, framework, &facts.roles, offers)
            }
            ToAllocator::UpdateFramework { framework, roles, suppressed, capabilities, offers } => {
                let capabilities = capabilities.iter().collect::<Capabilities>();
                engine.update_framework(framework, &roles, &suppressed, capabilities)?;
                set_offer_rules(engine, framework, &roles, offers)
            }
            ToAllocator::ActivateFramework { framework } => engine.activate_framework(framework),
            ToAllocator::DeactivateFramework { framework } => engine.deactivate_framework(framework),
            ToAllocator::RemoveFramework { framework } => engine.remove_framework(framework),
            ToAllocator::AddAgent { agent, id, hostname, total, attributes, domain, used } => {
                let facts = AgentFacts { id, hostname, attributes, domain };
                let unbooked = engine.add_agent(agent, facts, total, used)?;
                if unbooked > 0 {
                    context.count("allocator/used_resources_disputed", u64::from(unbooked));
                }
                Ok(())
            }
            ToAllocator::DescribeAgent { agent, hostname, attributes, domain } => {
                engine.describe_agent(agent, hostname, attributes, domain)
            }
            ToAllocator::UpdateAgent { agent, total } => engine.update_agent(agent, total),
            ToAllocator::SetShape { agent, shape } => engine.set_shape(agent, *shape),
            ToAllocator::DeactivateAgent { agent } => engine.set_agent_active(agent, false),
            ToAllocator::ActivateAgent { agent } => engine.set_agent_active(agent, true),
            ToAllocator::RemoveAgent { agent } => engine.remove_agent(agent),
            ToAllocator::Recover { grant, refusal } => engine.recover(now, grant, refusal),
            ToAllocator::RecoverMade { made, rest, refusal } => {
                let rest = Grant { resources: rest, role: made.role.clone(), ..made };
                let is_back = engine.recover(now, made, None);
                engine.recover(now, rest, Some(refusal)).and(is_back)
            }
            ToAllocator::Revive { framework, roles } => engine.revive(framework, &roles),
            ToAllocator::Suppress { framework, roles } => engine.suppress(framework, &roles),
            ToAllocator::SetQuotas { number, mut quotas } => {
                self.quotas = number;
                if self.config.plant_no_limits {
                    quotas.iter_mut().for_each(|(_, quota)| quota.limits.clear());
                }
                quotas.iter().try_for_each(|(role, quota)| engine.set_quota(role, quota))
            }
            ToAllocator::SetWeights { weights } => {
                weights.iter().try_for_each(|(role, weight)| engine.set_weight(role, *weight))
            }
            ToAllocator::SetWhitelist { hostnames } => engine.set_whitelist(hostnames.as_deref()),
            ToAllocator::ExpectAgents { known } => engine.expect_agents(known),
            ToAllocator::SetUnavailability { agent, unavailability } => {
                self.is_ask_due = true;
                engine.set_unavailability(agent, unavailability)
            }
            ToAllocator::AnswerInverse { framework, agent, refusal } => {
                engine.answer_inverse(now, framework, agent, refusal)
            }
            ToAllocator::Convert { from: Grant { framework, role, agent, resources }, to } => {
                engine.convert(framework, &role, agent, &resources, &to)
            }
            ToAllocator::Share { grant: Grant { framework, role, agent, resources } } => {
                engine.share(framework, &role, agent, &resources)
            }
            ToAllocator::ConvertFree { number, agent, from, to } => {
                let converted = engine.convert_free(agent, &from, &to);
                let master = Address::only(context.me().host, ActorKind::Master);
                let answer = ToMaster::Converted { number, is_done: converted.is_ok() };
                context.send(master, &MasterMessage::Allocator(answer));
                Ok(())
            }
        }
    }

    /// Arms what the engine now waits for.
    fn arm(&mut self, context: &mut Context<'_, Self>) {
        let is_batch_only = self.config.window >= self.config.rules.interval;
        if self.wanted_since.is_none() && self.engine.has_work() {
            self.wanted_since = Some(context.now());
        }
        if self.engine.has_work() && !self.is_cycle_armed && !is_batch_only {
            self.is_cycle_armed = true;
            let since = self.last_round.map_or(Duration::MAX, |last| context.now().since(last));
            context.arm(Timer::Cycle, Duration(self.config.window.0.saturating_sub(since.0)));
        }
        let Some(at) = self.engine.next_expiry() else { return };
        if self.expiry_at.is_none_or(|armed| at < armed) {
            self.expiry_at = Some(at);
            context.arm_at(Timer::Expiry, at);
        }
    }

    fn cycle(&mut self, context: &mut Context<'_, Self>) {
        let mut grants = Vec::new();
        self.last_round = Some(context.now());
        self.engine.cycle(context.now(), context.chance(), &mut grants);
        context.count("allocator/mesos/allocation_runs", 1);
        context.worked("allocator/mesos/allocation_run");
        if let Some(since) = self.wanted_since.take() {
            context.took("allocator/mesos/allocation_run_latency", context.now().since(since));
        }
        let master = Address::only(context.me().host, ActorKind::Master);
        let Self { epoch, quotas, .. } = *self;
        for grants in messages(grants) {
            context.send(master, &MasterMessage::Allocator(ToMaster::Granted { epoch, quotas, grants }));
        }
        if core::mem::take(&mut self.is_ask_due) {
            self.ask(context);
        }
    }

    /// Has frameworks asked to leave agents that will not be there.
    fn ask(&mut self, context: &mut Context<'_, Self>) {
        let mut offers = Vec::new();
        self.engine.inverse_offers(context.now(), &mut offers);
        let master = Address::only(context.me().host, ActorKind::Master);
        for offers in offers.chunks(GRANTS_MAX) {
            let asks = offers.iter().map(|offer| (offer.framework, offer.agent)).collect();
            context.send(master, &MasterMessage::Allocator(ToMaster::Asked { epoch: self.epoch, asks }));
        }
    }

    /// Answers a question from outside. It changes nothing.
    fn explain(&self, question: &Question, context: &mut Context<'_, Self>) {
        context.count("allocator/questions", 1);
        let answer = match self.engine.answer(question, context.now()) {
            Some(explanation) => Answer::Explained(Box::new(explanation)),
            None => Answer::Refused(Defect::new(Cause::NotFound, unknown(&question.subject))),
        };
        context.emit(question.reply, &answer);
        context.close(question.reply);
    }

    fn record(&self, context: &mut Context<'_, Self>) {
        context.gauge("allocator/filters_shed", self.engine.filters_shed() as f64);
        for (name, total, held) in self.engine.totals() {
            let gauges = match name {
                ResourceName::Cpus => {
                    ["allocator/mesos/resources/cpus/total", "allocator/mesos/resources/cpus/offered_or_allocated"]
                }
                ResourceName::Mem => {
                    ["allocator/mesos/resources/mem/total", "allocator/mesos/resources/mem/offered_or_allocated"]
                }
                ResourceName::Disk => {
                    ["allocator/mesos/resources/disk/total", "allocator/mesos/resources/disk/offered_or_allocated"]
                }
                _ => continue,
            };
            for (gauge, amount) in gauges.into_iter().zip([total, held]) {
                context.gauge(gauge, amount as f64 / 1000.0);
            }
        }
    }
}

/// Replaces all that a framework says about offers, role by role.
fn set_offer_rules(
    engine: &mut Engine,
    framework: FrameworkIndex,
    roles: &[RoleName],
    offers: OfferRules,
) -> Result<(), engine::Error> {
    let OfferRules { constraints, mut minimums } = offers;
    let none = OfferConstraints::default();
    for role in roles {
        let own = constraints.iter().find(|(own, _)| own == role).map_or(&none, |(_, constraints)| constraints);
        engine.set_constraints(framework, role, own)?;
        let own = minimums.iter_mut().find(|(own, _)| own == role);
        engine.set_minimums(framework, role, own.map(|(_, minimums)| core::mem::take(minimums)))?;
    }
    Ok(())
}

/// Cuts grants into messages by number and by size.
fn messages(grants: Vec<Grant>) -> Vec<Vec<Grant>> {
    let mut messages: Vec<Vec<Grant>> = Vec::new();
    let mut bytes = 0;
    for grant in grants {
        let more = frame_bytes(&grant.resources) + grant.role.as_str().len();
        match messages.last_mut() {
            Some(last) if last.len() < GRANTS_MAX && bytes + more <= MESSAGE_BYTES_MAX => {
                last.push(grant);
                bytes += more;
            }
            _ => {
                messages.push(vec![grant]);
                bytes = more;
            }
        }
    }
    messages
}

/// Why there is nothing to explain.
fn unknown(subject: &Subject) -> String {
    match subject {
        Subject::Framework(id) => format!("framework {id} is not subscribed: nothing can be offered to it"),
        Subject::Role(role) => format!("no framework is subscribed under role '{role}': nothing can be offered to it"),
        Subject::Agent(id) => format!("agent {id} is not registered: nothing of it can be offered"),
    }
}

impl Actor for Allocator {
    type Message = AllocatorMessage;
    type Timer = Timer;

    fn on_start(&mut self, _recovered: &[Record], context: &mut Context<'_, Self>) {
        let master = Address::only(context.me().host, ActorKind::Master);
        context.send(master, &MasterMessage::Allocator(ToMaster::Started));
    }

    fn on_message(
        &mut self,
        envelope: &Envelope,
        message: &<AllocatorMessage as Archive>::Archived,
        context: &mut Context<'_, Self>,
    ) {
        let message = match copy(message) {
            AllocatorMessage::Master(message) => message,
            AllocatorMessage::Outside(question) => return self.explain(&question, context),
        };
        let is_from_master = envelope.from == Address::only(context.me().host, ActorKind::Master);
        if !is_from_master || self.handle(message, context).is_err() {
            self.strays += 1;
            context.count("allocator/strays", 1);
        }
        self.arm(context);
    }

    fn on_timer(&mut self, timer: Timer, context: &mut Context<'_, Self>) {
        match timer {
            Timer::Cycle => {
                self.is_cycle_armed = false;
                self.cycle(context);
            }
            Timer::Batch => {
                self.engine.mark_batch();
                if self.config.window >= self.config.rules.interval && self.engine.has_work() {
                    self.cycle(context);
                }
                self.ask(context);
                self.record(context);
                context.arm_at(Timer::Batch, self.engine.next_round(context.now()));
            }
            Timer::Expiry => {
                self.expiry_at = None;
                self.engine.expire(context.now());
            }
        }
        self.arm(context);
    }

    fn on_done(&mut self, ticket: Ticket, outcome: Outcome, _context: &mut Context<'_, Self>) {
        panic!("an allocator asks for no effect that comes back, yet {ticket:?} did: {outcome:?}");
    }

    fn invariants(&self) {
        self.engine.invariants();
    }
}

//! The engine of the allocator: tables in, decisions out. No actor, no message, no time of its own.
//!
//! The master's allocator, the simulator, benches and researchers drive the same code: tell it of agents, frameworks and
//! what comes back, then ask for a round ([`Engine::cycle`]). It keeps books in which, on each agent at every step, what
//! is free and what is held are together the total (law L6; see [`tables::Agent`] for agents that come back too small).
//!
//! Two decisions have a seat of their own, so that policies can be changed without touching the books: who is next
//! ([`sorter::Sorter`]) and which agents in which order ([`arrangement::Arrangement`]). What may not be offered at all is
//! the business of neither: `feasible` holds the checks, each with its reason as data, and [`Engine::explain`] asks
//! them again for whoever wonders.
//!
//! What it leaves to others: making offers of grants and taking them back (master), messages and timers
//! ([`super::Allocator`]). Quota, headroom and offer constraints are not in it. Shared volumes are granted to one client
//! at a time, like everything else. Behaviour: Mesos `src/master/allocator/mesos/hierarchical.cpp`, reference 3.2, 3.5
//! and 11.2, policies 1.3.

pub mod amounts;
pub mod arrangement;
mod bags;
mod cycle;
mod explain;
mod feasible;
pub mod filter;
mod frameworks;
mod invariants;
pub mod scenario;
mod settings;
pub mod sorter;
pub mod tables;

#[cfg(test)]
mod tests;

pub use explain::RoleSummary;
pub use feasible::Reason;
pub use settings::{InverseOffer, Minimums};

use crate::allocator::engine::amounts::{Amounts, ScalarNames};
use arrangement::{AgentOrder, Arrangement};
use filter::Filters;
use kaon_kernel::id::{AgentIndex, FrameworkIndex, RoleName};
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::offer::Refusal;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::table::{Set, Table};
use kaon_kernel::time::{Duration, Instant};
use sorter::{Client, Drf, Sorter};
use tables::{Agent, AgentFacts, Framework, Roles};

pub(in crate::allocator) use bags::frame_bytes;

/// What an engine decides by, beside its seats.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// A refusal lasts at least this long, and the batch round comes this often (Mesos `--allocation_interval`, 1 s).
    pub interval: Duration,
    /// An offer must hold at least one of these sets of quantities; with no set there is no minimum (Mesos
    /// `--min_allocatable_resources`, 0.01 processors or 32 MiB).
    pub minimums: Vec<Vec<(ResourceName, Quantity)>>,
    /// Names of resources that don't count in shares (Mesos `--fair_sharing_excluded_resource_names`, none).
    pub excluded_from_shares: Vec<ResourceName>,
    /// Whether agents with GPUs are kept for frameworks that opted in (Mesos `--filter_gpu_resources`, true).
    pub filter_gpu_resources: bool,
    /// The master's region; agents of other regions go to frameworks that are aware of regions. `None`: all are local.
    pub region: Option<String>,
    /// In which order a round visits agents.
    pub order: AgentOrder,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            interval: Duration::secs(1),
            minimums: vec![vec![(ResourceName::Cpus, Quantity(10))], vec![(ResourceName::Mem, Quantity::units(32))]],
            excluded_from_shares: Vec::new(),
            filter_gpu_resources: true,
            region: None,
            order: AgentOrder::Random,
        }
    }
}

impl Rules {
    /// Whether a bag is large enough to be an offer.
    fn is_enough(&self, resources: &Resources) -> bool {
        let reached =
            |set: &Vec<(ResourceName, Quantity)>| set.iter().all(|(name, minimum)| resources.scalar(name) >= *minimum);
        self.minimums.is_empty() || self.minimums.iter().any(reached)
    }
}

/// Why an engine does not do as told. Master and allocator run side by side, so a message can name what has just gone:
/// that is nobody's mistake, and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No master has begun yet.
    #[error("no master has begun")]
    NotBegun,
    /// No framework has this index, or it holds nothing where it gives something back.
    #[error("{0:?} is not there")]
    UnknownFramework(FrameworkIndex),
    /// No agent has this index.
    #[error("{0:?} is not there")]
    UnknownAgent(AgentIndex),
    /// Quota is of top-level roles only.
    #[error("only top-level roles have quota")]
    NotTopLevel,
    /// A guarantee above the limit of the same resource.
    #[error("a guarantee is above its limit")]
    GuaranteeAboveLimit,
    /// A weight of zero.
    #[error("a weight of zero")]
    NoWeight,
    /// An expression that is too long, too large or not well formed, or more constraints than are taken.
    #[error("offer constraints that can't be taken")]
    BadConstraints,
    /// What is to be converted is not there, or what it becomes can't be beside the rest.
    #[error("what is to be converted is not there")]
    NotConvertible,
    /// This engine does not do it yet.
    #[error("not supported yet")]
    Unsupported,
}

/// How far a master has told what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No master has begun.
    Waiting,
    /// It is telling, or ordered a pause.
    Held,
    /// Grants are made.
    Granting,
}

/// The engine.
pub struct Engine {
    rules: Rules,
    sorter: Box<dyn Sorter>,
    arrangement: Box<dyn Arrangement>,
    phase: Phase,
    agents: Table<AgentIndex, Agent>,
    frameworks: Table<FrameworkIndex, Framework>,
    roles: Roles,
    filters: Filters,
    names: ScalarNames,
    /// Of all agents together.
    total: Amounts,
    /// Held of all agents together.
    held: Amounts,
    /// Agents on which something can be offered at all.
    available: Set<AgentIndex>,
    /// Agents that changed since the last round.
    dirty: Set<AgentIndex>,
    /// Whether the next round must visit all agents: somebody wants more than before.
    everyone: bool,
    /// Whether anything changed since a round last visited all agents.
    changed: bool,
    /// When the master began: batch rounds are counted from here.
    begun: Instant,
    /// Scratch space of rounds and measurements.
    candidates: Vec<AgentIndex>,
    measured: Amounts,
    plants_double_grant: bool,
    grants: u64,
}

impl Engine {
    /// An engine with the seats of Mesos: hierarchical DRF, and the agent order of the rules.
    pub fn new(rules: Rules) -> Self {
        let order = rules.order;
        Self::with_seats(rules, Box::<Drf>::default(), Box::new(order))
    }

    /// An engine with other seats.
    pub fn with_seats(rules: Rules, sorter: Box<dyn Sorter>, arrangement: Box<dyn Arrangement>) -> Self {
        let names = ScalarNames::new(rules.excluded_from_shares.clone());
        Self {
            rules,
            sorter,
            arrangement,
            phase: Phase::Waiting,
            agents: Table::default(),
            frameworks: Table::default(),
            roles: Roles::default(),
            filters: Filters::default(),
            names,
            total: Amounts::new(),
            held: Amounts::new(),
            available: Set::default(),
            dirty: Set::default(),
            everyone: false,
            changed: false,
            begun: Instant::default(),
            candidates: Vec::new(),
            measured: Amounts::new(),
            plants_double_grant: false,
            grants: 0,
        }
    }

    /// A plant for the self-test of checkers: from now on some grants are told twice though they are booked once. The
    /// engine's own books stay in balance; who looks only at them sees nothing.
    pub fn plant_double_grant(&mut self) {
        self.plants_double_grant = true;
    }

    /// Forgets everything; nothing is granted before [`Engine::resume`]. Weights are in thousandths and above zero.
    pub fn begin(&mut self, now: Instant, weights: &[(RoleName, u32)]) {
        self.sorter.reset(weights);
        self.phase = Phase::Held;
        self.agents.clear();
        self.frameworks.clear();
        self.roles = Roles::default();
        self.filters = Filters::default();
        self.names = ScalarNames::new(self.rules.excluded_from_shares.clone());
        (self.total, self.held) = (Amounts::new(), Amounts::new());
        self.available.clear();
        self.dirty.clear();
        (self.everyone, self.changed) = (false, false);
        self.begun = now;
    }

    /// Starts to grant.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.check_begun()?;
        self.phase = Phase::Granting;
        self.mark_everyone();
        Ok(())
    }

    /// Grants nothing for now.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.check_begun()?;
        self.phase = Phase::Held;
        Ok(())
    }

    /// An agent is there, with what is in use on it, by frameworks that may not be known yet. Used resources beyond
    /// `total` are kept as excess, see [`Agent`]. Answers how many of `used` could not be booked, since they contradict
    /// each other.
    ///
    /// # Panics
    /// When the agent is there already.
    pub fn add_agent(
        &mut self,
        agent: AgentIndex,
        facts: AgentFacts,
        total: Resources,
        used: &[Grant],
    ) -> Result<u32, Error> {
        self.check_begun()?;
        assert!(!self.agents.contains_key(&agent), "{agent:?} is added twice");
        self.names.measure(&total, &mut self.measured);
        self.total.add(&self.measured);
        self.sorter.set_total(&self.total);
        self.agents.insert(agent, Agent::new(facts, total, self.rules.region.as_deref()));
        let mut unbooked = 0;
        for grant in used.iter().filter(|grant| !grant.resources.is_empty()) {
            let client = self.join(grant.framework, &grant.role);
            let Some(found) = self.agents.get_mut(&agent) else { break };
            let is_first = found.holding(client).is_none();
            if found.take_used(client, &grant.resources) {
                self.book(client, &grant.resources, is_first);
            } else {
                unbooked += 1;
            }
        }
        self.touch(agent);
        Ok(unbooked)
    }

    /// An agent's total has changed. Filters on it are dropped.
    pub fn update_agent(&mut self, agent: AgentIndex, total: Resources) -> Result<(), Error> {
        let found = self.agents.get_mut(&agent).ok_or(Error::UnknownAgent(agent))?;
        self.names.measure(&found.total, &mut self.measured);
        self.total.subtract(&self.measured);
        self.names.measure(&total, &mut self.measured);
        self.total.add(&self.measured);
        self.sorter.set_total(&self.total);
        found.resize(total);
        self.filters.drop_agent(agent);
        self.touch(agent);
        Ok(())
    }

    /// Whether an agent may be offered.
    pub fn set_agent_active(&mut self, agent: AgentIndex, active: bool) -> Result<(), Error> {
        self.agents.get_mut(&agent).ok_or(Error::UnknownAgent(agent))?.active = active;
        self.touch(agent);
        Ok(())
    }

    /// An agent is gone with all that was held of it.
    pub fn remove_agent(&mut self, agent: AgentIndex) -> Result<(), Error> {
        let found = self.agents.swap_remove(&agent).ok_or(Error::UnknownAgent(agent))?;
        self.filters.drop_agent(agent);
        self.available.swap_remove(&agent);
        self.dirty.swap_remove(&agent);
        for (client, holding) in &found.holdings {
            self.unbook(*client, &holding.whole(), true);
        }
        self.names.measure(&found.total, &mut self.measured);
        self.total.subtract(&self.measured);
        self.sorter.set_total(&self.total);
        self.changed = true;
        Ok(())
    }

    /// What was granted comes back. With a refusal the framework is not offered the same again for a while: at least
    /// [`Rules::interval`] (reference 3.5). A refusal of no length is no filter in Mesos, but there the next offer comes
    /// with the next batch round, since what comes back starts none. Here it would come at once, and a framework that
    /// declines everything could keep the master busy; so it lasts until the next batch round would be due.
    ///
    /// # Panics
    /// When a framework that is there gives back more than it holds: the books of master and allocator differ.
    pub fn recover(&mut self, now: Instant, grant: Grant, refusal: Option<Refusal>) -> Result<(), Error> {
        let Grant { framework, role, agent, resources } = grant;
        self.check_begun()?;
        let found = self.agents.get_mut(&agent).ok_or(Error::UnknownAgent(agent))?;
        let Some(known) = self.frameworks.get(&framework) else { return Err(Error::UnknownFramework(framework)) };
        let index = self.roles.find(&role).filter(|index| known.memberships.contains_key(index));
        let client = index.map(|role| Client { framework, role });
        let client = client.filter(|&client| found.holding(client).is_some());
        let is_lenient = found.is_disputed || self.plants_double_grant;
        let Some(client) = client else {
            let id = &found.facts.id;
            assert!(is_lenient, "{resources} come back to agent {id} of {framework:?}, who holds nothing as {role}");
            return Err(Error::UnknownFramework(framework));
        };
        let back = found.give_back(client, &resources, is_lenient);
        let is_last = found.holding(client).is_none();
        let subscribed = known.memberships.get(&client.role).is_some_and(|membership| membership.is_subscribed);
        if let Some(Refusal(length)) = refusal.filter(|_| subscribed && known.active) {
            let until = match length {
                Duration::ZERO => self.next_round(now),
                length => now + length.max(self.rules.interval),
            };
            self.filters.insert(agent, client, resources, until);
        }
        self.touch(agent);
        self.unbook(client, &back, is_last);
        Ok(())
    }

    /// Lets filters fall that have expired at `now`; their agents are visited by the next round.
    pub fn expire(&mut self, now: Instant) {
        let Self { filters, dirty, available, changed, .. } = self;
        filters.expire(now, |agent| {
            *changed = true;
            if available.contains(&agent) {
                dirty.insert(agent);
            }
        });
    }

    /// When the next filter expires.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.filters.next_expiry()
    }

    /// When the batch round after `now` is due: whole intervals after the master began.
    pub fn next_round(&self, now: Instant) -> Instant {
        let interval = self.rules.interval.0.max(1);
        self.begun + Duration((now.since(self.begun).0 / interval + 1).saturating_mul(interval))
    }

    /// The batch round: the next round visits all agents, unless nothing changed since one did.
    pub fn mark_batch(&mut self) {
        self.everyone |= self.changed;
    }

    /// Whether a round would visit any agent.
    pub fn has_work(&self) -> bool {
        self.is_granting() && ((self.everyone && !self.available.is_empty()) || !self.dirty.is_empty())
    }

    /// Whether grants are made at all.
    pub fn is_granting(&self) -> bool {
        self.phase == Phase::Granting
    }

    /// Whether a master has begun.
    pub fn has_begun(&self) -> bool {
        self.phase != Phase::Waiting
    }

    /// An agent's books.
    pub fn agent(&self, agent: AgentIndex) -> Option<&Agent> {
        self.agents.get(&agent)
    }

    /// What one framework holds of one agent under one role, as the master believes.
    pub fn held(&self, framework: FrameworkIndex, role: &RoleName, agent: AgentIndex) -> Resources {
        let client = self.roles.find(role).map(|role| Client { framework, role });
        let holding = client.and_then(|client| self.agents.get(&agent)?.holding(client));
        holding.map_or_else(Resources::new, tables::Holding::whole)
    }

    /// The cluster's scalars by name in thousandths: all of it, and what is held.
    pub fn totals(&self) -> impl Iterator<Item = (&ResourceName, u128, u128)> {
        let held = self.names.named(&self.held).map(|(_, held)| held).chain(core::iter::repeat(0));
        self.names.named(&self.total).zip(held).map(|((name, total), held)| (name, total, held))
    }

    /// How many refusals were not remembered, since their framework had [`filter::FILTERS_PER_FRAMEWORK_MAX`].
    pub fn filters_shed(&self) -> u64 {
        self.filters.shed()
    }

    fn check_begun(&self) -> Result<(), Error> {
        if self.has_begun() { Ok(()) } else { Err(Error::NotBegun) }
    }

    fn mark_everyone(&mut self) {
        (self.everyone, self.changed) = (true, true);
    }

    /// Notes that what can be offered on an agent may have changed.
    fn touch(&mut self, agent: AgentIndex) {
        self.changed = true;
        if self.agents.get(&agent).is_some_and(Agent::is_available) {
            self.available.insert(agent);
            self.dirty.insert(agent);
        } else {
            self.available.swap_remove(&agent);
            self.dirty.swap_remove(&agent);
        }
    }

    /// Counts what a client took, after the agent's books did.
    fn book(&mut self, client: Client, resources: &Resources, is_first: bool) {
        self.names.measure(resources, &mut self.measured);
        self.held.add(&self.measured);
        self.sorter.allocated(client, &self.measured);
        if is_first && let Some(framework) = self.frameworks.get_mut(&client.framework) {
            framework.memberships.entry(client.role).or_default().holdings += 1;
        }
    }

    /// Counts what a client gave back, after the agent's books did.
    fn unbook(&mut self, client: Client, resources: &Resources, is_last: bool) {
        self.names.measure(resources, &mut self.measured);
        self.held.subtract(&self.measured);
        self.sorter.unallocated(client, &self.measured);
        if is_last && let Some(framework) = self.frameworks.get_mut(&client.framework) {
            framework.memberships.entry(client.role).or_default().holdings -= 1;
            self.settle_membership(client);
        }
    }
}

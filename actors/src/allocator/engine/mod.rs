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
//! ([`super::Allocator`]). Behaviour: Mesos `src/master/allocator/mesos/hierarchical.cpp`, reference 3.2, 3.5, 3.6 and
//! 11, policies 1.3. What it does otherwise: rounds are for agents that changed, at once; what is left of an agent after a
//! grant is held out anew in the order after it; a refusal of no length lasts until the next batch round; equal shares are
//! equal as fractions, without rounding; copies of shared volumes don't count in shares.

mod against;
mod agent;
mod agents;
pub mod amounts;
pub mod arrangement;
mod bags;
mod books;
mod cycle;
mod draft;
mod explain;
mod explanation;
mod feasible;
pub mod filter;
mod frameworks;
mod glance;
mod invariants;
mod inverse;
mod partition;
mod quota;
pub mod scenario;
mod settings;
mod share;
pub mod sorter;
pub mod tables;
mod wanted;

#[cfg(test)]
mod tests;

pub use explain::RoleSummary;
pub use feasible::Reason;
pub use inverse::InverseOffer;
pub use partition::Partition;

use amounts::{Amounts, ScalarNames};
use arrangement::{AgentOrder, Arrangement};
use filter::Filters;
use inverse::Maintenance;
use kaon_kernel::id::{AgentIndex, FrameworkIndex, RoleName};
use kaon_kernel::placement::Shape;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::table::{Set, Table};
use kaon_kernel::time::{Duration, Instant};
use quota::Quotas;
use sorter::{Client, Hierarchy, Order, Sorter};
use tables::{Agent, Clients, Framework, Roles};

pub(in crate::allocator) use bags::frame_bytes;

pub use kaon_kernel::constraint::Minimums;
use std::sync::Arc;

/// So many different makes of machines are told apart to be shared; of further ones each agent keeps its own.
const SHAPES_SHARED_MAX: usize = 64;

/// What an engine decides by, beside its seats.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// A refusal lasts at least this long, and the batch round comes this often (Mesos `--allocation_interval`, 1 s).
    pub interval: Duration,
    /// An offer must hold at least one of these sets of quantities; with no set there is no minimum (Mesos
    /// `--min_allocatable_resources`, 0.01 processors or 32 MiB).
    pub minimums: Minimums,
    /// Names of resources that don't count in shares (Mesos `--fair_sharing_excluded_resource_names`, none).
    pub excluded_from_shares: Vec<ResourceName>,
    /// Whether agents with GPUs are kept for frameworks that opted in (Mesos `--filter_gpu_resources`, true).
    pub filter_gpu_resources: bool,
    /// The master's region; agents of other regions go to frameworks that are aware of regions. `None`: all are local.
    pub region: Option<String>,
    /// In which order a round visits agents.
    pub order: AgentOrder,
    /// By what roles are ordered among their siblings (Mesos `--role_sorter`).
    pub roles_by: Order,
    /// By what frameworks are ordered in their role (Mesos `--framework_sorter`).
    pub frameworks_by: Order,
    /// Which roles agents belong to; `None`: all are everybody's.
    pub partition: Option<Partition>,
    /// With any quota set, this part of the agents known from before must be back before anything is granted, in
    /// hundredths (Mesos `--allocator_agent_recovery_factor`, 0.8).
    pub recovery_percent: u32,
    /// The longest wait for them (Mesos `--allocator_recovery_timeout`, 10 minutes).
    pub recovery_timeout: Duration,
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
            roles_by: Order::Drf,
            frameworks_by: Order::Drf,
            partition: None,
            recovery_percent: 80,
            recovery_timeout: Duration::secs(600),
        }
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
    /// The framework is not subscribed in the role.
    #[error("the framework is not subscribed in this role")]
    NotSubscribed,
    /// Quota is of top-level roles only.
    #[error("only top-level roles have quota")]
    NotTopLevel,
    /// A guarantee above the limit of the same resource.
    #[error("a guarantee is above its limit")]
    GuaranteeAboveLimit,
    /// A weight of zero.
    #[error("a weight of zero")]
    NoWeight,
    /// Offer constraints that can't be taken: the master has checked them, and says so before.
    #[error("offer constraints that can't be taken")]
    BadConstraints,
    /// What is to be converted is not there, or what it becomes can't be beside the rest.
    #[error("what is to be converted is not there")]
    NotConvertible,
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

/// The scalars of a bag: those that count in shares, and those that quota is about.
#[derive(Debug, Default)]
struct Measured {
    shares: Amounts,
    open: Amounts,
}

/// A wait for agents that are known from before.
#[derive(Clone, Copy, Debug)]
struct Recovery {
    /// So many must be back.
    needed: usize,
    until: Instant,
}

/// The engine.
pub struct Engine {
    rules: Rules,
    sorter: Box<dyn Sorter>,
    arrangement: Box<dyn Arrangement>,
    phase: Phase,
    recovery: Option<Recovery>,
    /// Each by itself: a table that grows moves them no more, and what is decided touches one place.
    agents: Table<AgentIndex, Box<Agent>>,
    frameworks: Table<FrameworkIndex, Framework>,
    clients: Clients,
    roles: Roles,
    filters: Filters,
    quotas: Quotas,
    names: ScalarNames,
    whitelist: Option<Set<String>>,
    maintenance: Maintenance,
    /// Shapes that agents have, at most [`SHAPES_SHARED_MAX`].
    shapes: Vec<Arc<Shape>>,
    /// Of all agents together.
    total: Amounts,
    /// Held of all agents together.
    held: Amounts,
    /// How many agents there are on which something can be offered at all.
    available: usize,
    /// Agents that changed since the last round.
    dirty: Vec<AgentIndex>,
    /// Whether the next round must visit all agents: somebody wants more than before.
    everyone: bool,
    /// Whether anything changed since a round last visited all agents.
    changed: bool,
    /// Counts the changes after which somebody might take what nobody took before.
    interest: u64,
    /// Clients with minimum sizes of their own.
    particular: u32,
    /// When the master began: batch rounds are counted from here.
    begun: Instant,
    rounds: u64,
    /// Passes of rounds over agents.
    passes: u64,
    /// Scratch space of rounds and measurements.
    candidates: Vec<AgentIndex>,
    arranged: Vec<AgentIndex>,
    marks: cycle::Marks,
    measured: Measured,
    plants_double_grant: bool,
    grants: u64,
}

impl Engine {
    /// An engine with the seats of Mesos: the sorter and the agent order of the rules.
    pub fn new(rules: Rules) -> Self {
        let (order, sorter) = (rules.order, Hierarchy::new(rules.roles_by, rules.frameworks_by));
        Self::with_seats(rules, Box::new(sorter), Box::new(order))
    }

    /// An engine with other seats.
    pub fn with_seats(rules: Rules, sorter: Box<dyn Sorter>, arrangement: Box<dyn Arrangement>) -> Self {
        let names = ScalarNames::new(rules.excluded_from_shares.clone());
        Self {
            rules,
            sorter,
            arrangement,
            phase: Phase::Waiting,
            recovery: None,
            agents: Table::default(),
            frameworks: Table::default(),
            clients: Clients::default(),
            roles: Roles::default(),
            filters: Filters::default(),
            quotas: Quotas::default(),
            names,
            whitelist: None,
            maintenance: Maintenance::default(),
            shapes: Vec::new(),
            total: Amounts::new(),
            held: Amounts::new(),
            available: 0,
            dirty: Vec::new(),
            everyone: false,
            changed: false,
            interest: 1,
            particular: 0,
            begun: Instant::default(),
            rounds: 0,
            passes: 0,
            candidates: Vec::new(),
            arranged: Vec::new(),
            marks: cycle::Marks::default(),
            measured: Measured::default(),
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
        self.recovery = None;
        self.agents.clear();
        self.frameworks.clear();
        self.clients = Clients::default();
        self.roles = Roles::default();
        self.filters = Filters::default();
        self.quotas = Quotas::default();
        self.names = ScalarNames::new(self.rules.excluded_from_shares.clone());
        self.whitelist = None;
        self.maintenance = Maintenance::default();
        self.shapes.clear();
        (self.total, self.held) = (Amounts::new(), Amounts::new());
        self.available = 0;
        self.dirty.clear();
        (self.everyone, self.changed) = (false, false);
        self.particular = 0;
        self.begun = now;
    }

    /// So many agents are known from before. To be told before [`Engine::resume`]: with any quota set, nothing is
    /// granted until [`Rules::recovery_percent`] of them are back or [`Rules::recovery_timeout`] has passed since the
    /// master began, so that guarantees are not given away while the agents that could meet them are on their way.
    pub fn expect_agents(&mut self, known: u32) -> Result<(), Error> {
        self.check_begun()?;
        let needed = (u64::from(known) * u64::from(self.rules.recovery_percent)).div_ceil(100) as usize;
        let until = self.begun + self.rules.recovery_timeout;
        self.recovery = (needed > self.agents.len()).then_some(Recovery { needed, until });
        Ok(())
    }

    /// Starts to grant.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.check_begun()?;
        if !self.quotas.any() {
            self.recovery = None;
        }
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

    /// Lets filters fall that have expired at `now`; their agents are visited by the next round.
    pub fn expire(&mut self, now: Instant) {
        while let Some((tick, due)) = self.filters.due(now) {
            for agent in due {
                let Some(found) = self.agents.get_mut(&agent) else { continue };
                if self.filters.expire_on(&mut found.filters, agent, tick, now) {
                    self.touch(agent);
                }
            }
        }
        if self.recovery.is_some_and(|recovery| recovery.until <= now) {
            self.recovery = None;
            self.mark_everyone();
        }
    }

    /// When the next filter expires, or the wait for agents is over.
    pub fn next_expiry(&self) -> Option<Instant> {
        let recovery = self.recovery.map(|recovery| recovery.until);
        self.filters.next_expiry().into_iter().chain(recovery).min()
    }

    /// When the batch round after `now` is due: whole intervals after the master began.
    pub fn next_round(&self, now: Instant) -> Instant {
        let interval = self.rules.interval.0.max(1);
        self.begun + Duration((now.since(self.begun).0 / interval + 1).saturating_mul(interval))
    }

    /// The batch round: the next round visits all agents, unless nothing changed since one did.
    pub fn mark_batch(&mut self) {
        self.everyone |= self.changed;
        if self.changed && self.quotas.any() {
            // Room under a limit and headroom may have appeared anywhere.
            self.interest += 1;
        }
    }

    /// Whether a round would visit any agent.
    pub fn has_work(&self) -> bool {
        self.is_granting() && self.available > 0 && (self.everyone || !self.dirty.is_empty())
    }

    /// Whether grants are made at all.
    pub fn is_granting(&self) -> bool {
        self.phase == Phase::Granting && self.recovery.is_none()
    }

    /// Whether a master has begun.
    pub fn has_begun(&self) -> bool {
        self.phase != Phase::Waiting
    }

    /// An agent's books.
    pub fn agent(&self, agent: AgentIndex) -> Option<&Agent> {
        self.agents.get(&agent).map(Box::as_ref)
    }

    /// What one framework holds of one agent under one role, as the master believes.
    pub fn held(&self, framework: FrameworkIndex, role: &RoleName, agent: AgentIndex) -> Resources {
        let client = self.roles.find(role).map(|role| Client { framework, role });
        let holding = client.and_then(|client| self.agents.get(&agent)?.holding(client));
        holding.map_or_else(Resources::new, |holding| holding.whole())
    }

    /// The cluster's scalars by name in thousandths, those that count in shares: all of it, and what is held.
    pub fn totals(&self) -> impl Iterator<Item = (&ResourceName, u128, u128)> {
        let held = self.names.named(&self.held).map(|(_, held)| held);
        let all = self.names.named(&self.total).zip(held).map(|((name, total), held)| (name, total, held));
        all.filter(|(_, total, _)| *total > 0)
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
        self.interest += 1;
    }
}

//! Answers to questions from outside, put together from the reasons of the checks.
//!
//! The reasons are those of [`Engine::explain`]; this file counts and groups them, measures what a task would lack on each
//! agent, picks the agent that is nearest, and says what would have to change. Cost: one pass over all agents for each
//! client in question; where a [`Glance`] is enough an agent costs a few comparisons, else one like the agent before it one
//! of its bag.

use super::feasible::Reason;
use super::glance::{Glance, Wish};
use super::sorter::Client;
use super::tables::{Agent, Membership};
use super::{Engine, SHAPES_SHARED_MAX};
use core::cmp::Reverse;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkIndex, RoleName};
use kaon_kernel::message::explain::{
    CLIENTS_MAX, ClientAccount, Explanation, Group, HOLDERS_MAX, Holder, Nearest, Obstacle, Question, Subject,
};
use kaon_kernel::placement::{Demand, PlacementRequest, Reason as Misplaced, Shape};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::table::Table;
use kaon_kernel::time::Instant;
use std::sync::Arc;

/// What a task would need, and where.
struct Wanted<'a> {
    wants: &'a Resources,
    placement: Option<(Demand, &'a PlacementRequest)>,
}

impl<'a> Wanted<'a> {
    fn new(question: &'a Question) -> Self {
        let wants = &question.wants;
        let asks = question.placement.as_deref().filter(|request| request.is_pinned() || request.is_about_gpus());
        let demand = Demand::of(wants).ok();
        Self { wants, placement: demand.zip(asks) }
    }

    /// Why an agent's hardware can't give the place, whatever runs there.
    fn refusal(&self, found: &Agent) -> Option<Misplaced> {
        let (demand, request) = self.placement.as_ref()?;
        match &found.shape {
            None => Some(Misplaced::NoTopology),
            Some(shape) => shape.refusal(demand, request),
        }
    }
}

/// Verdicts on shapes: machines of one make have one.
#[derive(Default)]
struct Shapes {
    known: Vec<(*const Shape, bool)>,
}

impl Shapes {
    fn refuse(&mut self, found: &Agent, wanted: &Wanted<'_>) -> bool {
        if wanted.placement.is_none() {
            return false;
        }
        let at = found.shape.as_ref().map_or(core::ptr::null(), Arc::as_ptr);
        if let Some((_, refused)) = self.known.iter().find(|(other, _)| *other == at) {
            return *refused;
        }
        let refused = wanted.refusal(found).is_some();
        if self.known.len() <= SHAPES_SHARED_MAX {
            self.known.push((at, refused));
        }
        refused
    }
}

/// The word for agents whose hardware can't give the place that is asked for, and how far away they are: nothing that
/// ends or changes there helps.
const TOPOLOGY: &str = "topology";
const TOPOLOGY_DISTANCE: Distance = (10, 0);

/// What keeps one agent from a wish.
enum Against<'a> {
    /// Its hardware can't give the place that is asked for.
    Topology(Misplaced),
    /// There is no offer.
    Offer(Reason<'a>),
    /// There is one, but too small: what is lacking.
    Size(Vec<(ResourceName, Quantity)>),
}

/// How much there is to overcome: the kind of obstacle first, then its size. Less is nearer.
pub(super) type Distance = (u8, u64);

impl Engine {
    /// Answers a question at `now`; `None` when its subject is not known.
    pub fn answer(&self, question: &Question, now: Instant) -> Option<Explanation> {
        let (clients, agent) = self.subjects(&question.subject)?;
        let shown = clients.iter().take(CLIENTS_MAX);
        let accounts = shown.map(|&client| self.account(client, agent, &Wanted::new(question), now));
        let capacity = match agent.and_then(|agent| self.agents.get(&agent)) {
            Some(found) => {
                let (total, free) = (found.total.quantities(), found.free.quantities());
                let held = |name: &ResourceName, all: Quantity| all.0.saturating_sub(free.of_name(name).0);
                total.iter().map(|(name, all)| (name.as_str().to_owned(), all.0, held(name, all))).collect()
            }
            None => {
                self.totals().map(|(name, all, held)| (name.as_str().to_owned(), narrow(all), narrow(held))).collect()
            }
        };
        Some(Explanation {
            clients: accounts.collect(),
            clients_left_out: clients.len().saturating_sub(CLIENTS_MAX) as u32,
            holders: self.holders(agent),
            capacity,
        })
    }

    /// The clients in question in order, and the agent, if it is about one.
    fn subjects(&self, subject: &Subject) -> Option<(Vec<Client>, Option<AgentIndex>)> {
        let members = self.clients.iter().map(|(_, member)| member).filter(|member| member.is_subscribed);
        let mut clients: Vec<Client> = members.map(|member| member.client).collect();
        let mut about = None;
        match subject {
            Subject::Framework(id) => {
                let (&framework, _) = self.frameworks.iter().find(|(_, known)| known.is_known && known.id == *id)?;
                clients.retain(|client| client.framework == framework);
            }
            Subject::Role(name) => {
                let role = self.roles.find(name)?;
                clients.retain(|client| client.role == role);
            }
            Subject::Agent(id) => {
                about = Some(*self.agents.iter().find(|(_, found)| found.facts.id == *id)?.0);
            }
        }
        clients.sort_unstable();
        Some((clients, about))
    }

    fn account(&self, client: Client, about: Option<AgentIndex>, wanted: &Wanted<'_>, now: Instant) -> ClientAccount {
        let wants = wanted.wants;
        let Client { framework, role } = client;
        let name = self.roles.name(role);
        let standing = self.standing(framework, name);
        let mut open = 0;
        let mut groups: Table<&'static str, (u32, Distance, AgentIndex)> = Table::default();
        let asked = self.agents.iter().filter(|(agent, _)| about.is_none_or(|about| about == **agent));
        let member = self.clients.find(client).and_then(|at| self.clients.get(at));
        let wish = member.and_then(|member| Wish::new(self, member, wants));
        let mut before: Option<(&Agent, Option<(&'static str, Distance)>)> = None;
        let mut shapes = Shapes::default();
        for (&agent, found) in asked {
            if shapes.refuse(found, wanted) {
                let group = groups.entry(TOPOLOGY).or_insert((0, TOPOLOGY_DISTANCE, agent));
                group.0 += 1;
                continue;
            }
            let seen = wish.as_ref().map_or(Glance::Unclear, |wish| wish.glance(self, found));
            let verdict = match seen {
                Glance::Open => None,
                Glance::Against(word, distance) => Some((word, distance)),
                Glance::Unclear => {
                    // Most agents of a cluster are like the one before: what was found there is true here as well.
                    let known = before.filter(|(other, _)| is_alike(member, other, found));
                    let verdict = match known {
                        Some((_, verdict)) => verdict,
                        None => self.verdict(framework, name, found, wants, now),
                    };
                    before = Some((found, verdict));
                    verdict
                }
            };
            let Some((word, distance)) = verdict else {
                open += 1;
                continue;
            };
            let group = groups.entry(word).or_insert((0, distance, agent));
            group.0 += 1;
            if distance < group.1 {
                (group.1, group.2) = (distance, agent);
            }
        }
        let nearest = groups.values().min_by_key(|(_, distance, agent)| (*distance, *agent));
        let nearest = nearest.filter(|_| open == 0).and_then(|&(_, _, agent)| {
            let (agent_id, obstacle) = self.obstacle_on(framework, name, agent, wanted, now)?;
            Some(Nearest { agent_id, obstacle })
        });
        let mut groups: Vec<Group> = groups
            .values()
            .filter_map(|&(agents, _, agent)| {
                let (example, obstacle) = self.obstacle_on(framework, name, agent, wanted, now)?;
                Some(Group { obstacle, agents, example })
            })
            .collect();
        groups.sort_by_key(|group| Reverse(group.agents));
        ClientAccount {
            framework_id: self.frameworks[&framework].id.clone(),
            role: name.clone(),
            role_share_millionths: (self.sorter.share(role) * 1e6) as u64,
            allocations: member.map_or(0, |member| member.allocations),
            standing: standing.iter().map(|&reason| Against::Offer(reason).obstacle(now)).collect(),
            agents_open: open,
            groups,
            nearest,
        }
    }

    /// The word for the first thing against all of a wish on one agent, and how much there is to overcome.
    pub(super) fn verdict(
        &self,
        framework: FrameworkIndex,
        role: &RoleName,
        found: &Agent,
        wants: &Resources,
        now: Instant,
    ) -> Option<(&'static str, Distance)> {
        let against = self.first_against(framework, role, found, wants)?;
        Some((against.word(), against.distance(now)))
    }

    /// The first thing against all of a wish on one agent.
    fn first_against<'a>(
        &'a self,
        framework: FrameworkIndex,
        role: &RoleName,
        found: &'a Agent,
        wants: &Resources,
    ) -> Option<Against<'a>> {
        if let Some(reason) = self.against_agent(framework, role, found).first().copied() {
            return Some(Against::Offer(reason));
        }
        let usable = found.free.offerable_to(role);
        if wants.is_empty() || usable.find(wants, Some(role)).is_some() {
            return None;
        }
        let there = usable.quantities();
        let wanted = wants.quantities();
        let lacks = wanted.iter().filter_map(|(name, wanted)| {
            let lack = wanted.0.saturating_sub(there.of_name(name).0);
            (lack > 0).then(|| (name.clone(), Quantity(lack)))
        });
        Some(Against::Size(lacks.collect()))
    }

    fn obstacle_on(
        &self,
        framework: FrameworkIndex,
        role: &RoleName,
        agent: AgentIndex,
        wanted: &Wanted<'_>,
        now: Instant,
    ) -> Option<(AgentId, Obstacle)> {
        let found = self.agents.get(&agent)?;
        let against = match wanted.refusal(found) {
            Some(reason) => Against::Topology(reason),
            None => self.first_against(framework, role, found, wanted.wants)?,
        };
        Some((found.facts.id.clone(), against.obstacle(now)))
    }

    /// Who holds most, of one agent or of all.
    fn holders(&self, agent: Option<AgentIndex>) -> Vec<Holder> {
        let name = |client: Client| {
            let framework_id = self.frameworks.get(&client.framework).map(|known| known.id.clone());
            Some((framework_id?, self.roles.name(client.role).clone()))
        };
        if let Some(found) = agent.and_then(|agent| self.agents.get(&agent)) {
            let holders = found.holdings.iter().filter_map(|(client, holding)| {
                let (framework_id, role) = name(*client)?;
                let held = holding.whole().quantities();
                let held = held.iter().map(|(name, amount)| (name.as_str().to_owned(), amount.0)).collect();
                Some(Holder { framework_id, role, held })
            });
            return holders.take(HOLDERS_MAX).collect();
        }
        let members = self.clients.iter().map(|(_, member)| member).filter(|member| !member.held.is_zero());
        let mut shares: Vec<_> = members.map(|member| (member.held.share_of(&self.total), member)).collect();
        shares.sort_by(|one, two| two.0.total_cmp(&one.0).then_with(|| one.1.client.cmp(&two.1.client)));
        let holders = shares.into_iter().filter_map(|(_, member)| {
            let (framework_id, role) = name(member.client)?;
            let held = self.names.named(&member.held).filter(|(_, amount)| *amount > 0);
            let held = held.map(|(name, amount)| (name.as_str().to_owned(), narrow(amount))).collect();
            Some(Holder { framework_id, role, held })
        });
        holders.take(HOLDERS_MAX).collect()
    }
}

/// Whether two agents are the same to a client: equal in all that the checks look at, neither with a filter of it. One
/// with constraints may find any two agents different.
fn is_alike(member: Option<&Membership>, one: &Agent, other: &Agent) -> bool {
    let Some(member) = member.filter(|member| member.constrained.is_none()) else { return false };
    let is_filtered = |agent: &Agent| member.owner.is_some_and(|owner| agent.filters.has(owner));
    (one.active, one.is_listed, one.has_gpus, one.is_remote)
        == (other.active, other.is_listed, other.has_gpus, other.is_remote)
        && one.free == other.free
        && !is_filtered(one)
        && !is_filtered(other)
}

/// A sum as the API shows it.
fn narrow(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

impl Against<'_> {
    fn word(&self) -> &'static str {
        match self {
            Self::Topology(_) => TOPOLOGY,
            Self::Offer(reason) => reason.word(),
            Self::Size(_) => "too_small",
        }
    }

    /// What time or the framework alone overcomes is nearest, then what a few resources overcome, then what others must
    /// do.
    fn distance(&self, now: Instant) -> Distance {
        match self {
            Self::Topology(_) => TOPOLOGY_DISTANCE,
            Self::Offer(Reason::Filtered { until, .. }) => (1, until.since(now).0),
            Self::Size(lacks) => (2, lacks.iter().fold(0, |sum: u64, (_, lack)| sum.saturating_add(lack.0))),
            Self::Offer(Reason::BelowMinimum { .. }) => (3, 0),
            Self::Offer(Reason::QuotaLimit { left, .. } | Reason::Headroom { left, .. }) => {
                (4, u64::MAX - narrow(*left))
            }
            Self::Offer(Reason::NotUnderstood { .. } | Reason::GpuOptIn | Reason::OtherRegion { .. }) => (5, 0),
            Self::Offer(Reason::Constrained) => (6, 0),
            Self::Offer(Reason::ReservedToOthers { .. }) => (7, 0),
            Self::Offer(Reason::NothingFree) => (8, 0),
            Self::Offer(_) => (9, 0),
        }
    }

    fn obstacle(&self, now: Instant) -> Obstacle {
        let (text, change) = match self {
            Self::Topology(reason @ Misplaced::NoTopology) => {
                (reason.to_string(), "give the agent a topology: --topology".to_owned())
            }
            Self::Topology(reason) => {
                (reason.to_string(), "ask for less in one place, or loosen the placement policy".to_owned())
            }
            Self::Offer(reason) => (reason.to_string(), change(reason, now)),
            Self::Size(lacks) => {
                let lacks = lacks.iter().map(|(name, lack)| format!("{}:{lack}", name.as_str()));
                let lacks = lacks.collect::<Vec<_>>().join("; ");
                let lacks = if lacks.is_empty() { "some of the ports, names or devices".to_owned() } else { lacks };
                (
                    format!("{lacks} are lacking"),
                    format!("ask for {lacks} less, or wait until so much comes back there"),
                )
            }
        };
        Obstacle { word: self.word().to_owned(), text, change }
    }
}

/// The smallest change that would remove a reason.
fn change(reason: &Reason<'_>, now: Instant) -> String {
    match reason {
        Reason::Paused => "wait until the master has told everything".to_owned(),
        Reason::Recovering => "wait for the agents, at most ten minutes from the master's beginning".to_owned(),
        Reason::FrameworkUnknown | Reason::FrameworkInactive => "connect the framework: SUBSCRIBE".to_owned(),
        Reason::AgentUnknown => "register the agent".to_owned(),
        Reason::NotSubscribed => "subscribe the framework in this role".to_owned(),
        Reason::Suppressed => "REVIVE the framework in this role".to_owned(),
        Reason::AgentInactive => "bring the agent back".to_owned(),
        Reason::NotListed => "add its hostname to --whitelist".to_owned(),
        Reason::NotOwned { .. } => "give the agent to the role: --static-partition".to_owned(),
        Reason::Constrained => "loosen the framework's offer constraints in this role".to_owned(),
        Reason::NothingFree => "end something there, or add an agent".to_owned(),
        Reason::ReservedToOthers { role } => format!("subscribe in {role}, or take the reservation back"),
        Reason::NotUnderstood { capability } => format!("give the framework the capability {capability:?}"),
        Reason::GpuOptIn => {
            "give the framework the capability GpuResources, or --filter-gpu-resources false".to_owned()
        }
        Reason::OtherRegion { .. } => "give the framework the capability RegionAware".to_owned(),
        Reason::QuotaLimit { name, .. } => {
            format!("raise the role's limit of {}, or end some of its tasks", name.as_str())
        }
        Reason::Headroom { name, .. } => {
            format!("lower the guarantees of other roles for {}, or add an agent", name.as_str())
        }
        Reason::BelowMinimum { .. } => {
            "lower --min-allocatable-resources, or that of the framework for this role".to_owned()
        }
        Reason::Filtered { until, .. } => {
            format!("wait {:.1} s, or REVIVE the framework in this role", until.since(now).0 as f64 / 1e9)
        }
    }
}

//! Whether something may be offered: a chain of yes-or-no checks, each with its reason as data.
//!
//! Two chains. The *standing* of a client (is it there, connected, subscribed, wanting) keeps it out of the sorter's
//! walk altogether; the *offer* chain is asked for each agent that a walk reaches. An explanation asks both, and every
//! check of them, so that nobody has to guess twice.

use super::draft::{Drafts, Stage, is_enough};
use super::tables::{Agent, Capabilities, Framework, Membership};
use super::{Minimums, Rules};
use core::fmt;
use kaon_kernel::framework::Capability;
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::role::is_within;
use kaon_kernel::resource::{Resource, ResourceName, Resources};
use kaon_kernel::time::Instant;

/// Why a client is not offered something. Borrows from the engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason<'a> {
    /// The master did not yet tell everything, or ordered a pause.
    Paused,
    /// Agents known from before are awaited, so that guarantees can be met.
    Recovering,
    /// No framework has this index.
    FrameworkUnknown,
    /// No agent has this index.
    AgentUnknown,
    /// The framework is not connected.
    FrameworkInactive,
    /// The framework is not subscribed in this role.
    NotSubscribed,
    /// The framework wants nothing in this role now.
    Suppressed,
    /// The agent is deactivated.
    AgentInactive,
    /// The agent's hostname is not on the whitelist.
    NotListed,
    /// The agent belongs to another role, such as this one, or to none.
    NotOwned {
        /// Whose it is.
        owner: Option<&'a RoleName>,
    },
    /// The framework's constraints in this role leave the agent out.
    Constrained,
    /// Nobody can be offered anything on the agent: all of it is held.
    NothingFree,
    /// What is free is reserved to other roles, such as this one.
    ReservedToOthers {
        /// One of the roles that it is reserved to.
        role: &'a RoleName,
    },
    /// What is free needs a capability that the framework does not have.
    NotUnderstood {
        /// The capability.
        capability: Capability,
    },
    /// The agent has GPUs, and the framework did not opt in to such agents.
    GpuOptIn,
    /// The agent lies in another region, and the framework is not aware of regions.
    OtherRegion {
        /// The agent's region.
        region: &'a str,
    },
    /// The top-level role may have no more than so much of what is free, by its quota.
    QuotaLimit {
        /// Of what.
        name: &'a ResourceName,
        /// How much it still may have, in thousandths.
        left: u128,
    },
    /// What is free is kept for guarantees of other roles.
    Headroom {
        /// What.
        name: &'a ResourceName,
        /// How much of it may be given away, in thousandths.
        left: u128,
    },
    /// What could be offered is below every minimum.
    BelowMinimum {
        /// Processors of the offer.
        cpus: Quantity,
        /// Memory of the offer in MiB.
        mem: Quantity,
    },
    /// The framework declined as much or more on this agent, and its filter stands.
    Filtered {
        /// What it declined.
        refused: &'a Resources,
        /// Until when.
        until: Instant,
    },
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => formatter.write_str("allocation is paused"),
            Self::Recovering => formatter.write_str("agents known from before are awaited"),
            Self::FrameworkUnknown => formatter.write_str("the framework is not known"),
            Self::AgentUnknown => formatter.write_str("the agent is not known"),
            Self::FrameworkInactive => formatter.write_str("the framework is not connected"),
            Self::NotSubscribed => formatter.write_str("the framework is not subscribed in this role"),
            Self::Suppressed => formatter.write_str("the framework has suppressed offers in this role"),
            Self::AgentInactive => formatter.write_str("the agent is deactivated"),
            Self::NotListed => formatter.write_str("the agent is not on the whitelist"),
            Self::NotOwned { owner: Some(owner) } => write!(formatter, "the agent belongs to role {owner}"),
            Self::NotOwned { owner: None } => formatter.write_str("the agent belongs to no role"),
            Self::Constrained => formatter.write_str("the framework's offer constraints leave the agent out"),
            Self::QuotaLimit { name, left } => {
                let left = Quantity(u64::try_from(*left).unwrap_or(u64::MAX));
                write!(formatter, "by its quota the role may have {left} more of {}", name.as_str())
            }
            Self::Headroom { name, left } => {
                let left = Quantity(u64::try_from(*left).unwrap_or(u64::MAX));
                write!(formatter, "all but {left} of the free {} is kept for guarantees of other roles", name.as_str())
            }
            Self::NothingFree => formatter.write_str("nothing is free on the agent"),
            Self::ReservedToOthers { role } => write!(formatter, "what is free is reserved to role {role}"),
            Self::NotUnderstood { capability } => write!(formatter, "what is free needs the capability {capability:?}"),
            Self::GpuOptIn => formatter.write_str("the agent has GPUs and the framework lacks GpuResources"),
            Self::OtherRegion { region } => {
                write!(formatter, "the agent is in region {region} and the framework lacks RegionAware")
            }
            Self::BelowMinimum { cpus, mem } => {
                write!(formatter, "cpus:{cpus}; mem:{mem} is below the minimum of an offer")
            }
            Self::Filtered { refused, .. } => write!(formatter, "the framework declined {refused}"),
        }
    }
}

/// What the checks of a client's standing look at.
pub(super) struct Standing<'a> {
    pub(super) is_granting: bool,
    pub(super) is_recovering: bool,
    pub(super) framework: &'a Framework,
    pub(super) membership: Option<&'a Membership>,
}

/// What keeps a client out of every walk, in the order in which it is told.
pub(super) const STANDING: &[fn(&Standing<'_>) -> Option<Reason<'static>>] = &[
    |standing| (!standing.is_granting && !standing.is_recovering).then_some(Reason::Paused),
    |standing| standing.is_recovering.then_some(Reason::Recovering),
    |standing| (!standing.framework.is_known).then_some(Reason::FrameworkUnknown),
    |standing| (!standing.framework.active).then_some(Reason::FrameworkInactive),
    |standing| (!standing.membership.is_some_and(|member| member.is_subscribed)).then_some(Reason::NotSubscribed),
    |standing| standing.membership.is_some_and(|member| member.is_suppressed).then_some(Reason::Suppressed),
];

/// What the checks of an offer look at: one agent, one client, and what the one could be offered of the other.
pub(super) struct Prospect<'a> {
    pub(super) rules: &'a Rules,
    pub(super) agent: &'a Agent,
    pub(super) member: Option<&'a Membership>,
    pub(super) role: &'a RoleName,
    pub(super) capabilities: Capabilities,
    pub(super) offer: Resources,
    pub(super) shortage: Option<(&'a ResourceName, u128, bool)>,
}

impl Prospect<'_> {
    fn is_enough(&self) -> bool {
        is_enough(&self.offer, minimums(self.rules, self.member))
    }
}

/// The minimum sizes that count for a client.
pub(super) fn minimums<'a>(rules: &'a Rules, member: Option<&'a Membership>) -> &'a Minimums {
    member.and_then(|member| member.minimums.as_deref()).unwrap_or(&rules.minimums)
}

type Check = for<'a> fn(&Prospect<'a>) -> Option<Reason<'a>>;

/// What keeps one agent from one client, in the order in which it is told. A round asks the same questions in another
/// order and without words (`cycle`); a property test holds the two against each other.
pub(super) const OFFER: &[Check] = &[
    |prospect| (!prospect.agent.active).then_some(Reason::AgentInactive),
    |prospect| (!prospect.agent.is_listed).then_some(Reason::NotListed),
    |prospect| {
        let owner = prospect.rules.partition.as_ref()?.owner(&prospect.agent.facts.hostname);
        owner.is_none_or(|owner| !is_within(prospect.role, owner)).then_some(Reason::NotOwned { owner })
    },
    |prospect| prospect.agent.free.is_empty().then_some(Reason::NothingFree),
    |prospect| {
        let constrained = prospect.member.and_then(|member| member.constrained.as_ref());
        let is_out = constrained.is_some_and(|constrained| !constrained.holds(prospect.agent.facts.to_choose_by()));
        is_out.then_some(Reason::Constrained)
    },
    |prospect| lacks_gpus(prospect.rules, prospect.agent, prospect.capabilities).then_some(Reason::GpuOptIn),
    |prospect| {
        let region = prospect.agent.facts.domain.as_ref().map_or("", |domain| domain.region.as_str());
        lacks_region(prospect.agent, prospect.capabilities).then_some(Reason::OtherRegion { region })
    },
    |prospect| {
        if !prospect.offer.is_empty() || prospect.agent.free.is_empty() || prospect.shortage.is_some() {
            return None;
        }
        let understood = |entry: &&Resource| missing(entry, prospect.capabilities).is_none();
        let holders = prospect.agent.free.iter().filter(understood).filter_map(Resource::reservation_role);
        let holder = holders.into_iter().find(|holder| !is_within(prospect.role, holder));
        let missing = || prospect.agent.free.iter().find_map(|entry| missing(entry, prospect.capabilities));
        let reserved = holder.map(|role| Reason::ReservedToOthers { role });
        reserved.or_else(|| missing().map(|capability| Reason::NotUnderstood { capability }))
    },
    |prospect| {
        let (name, left, is_limit) = prospect.shortage?;
        if prospect.is_enough() && !prospect.offer.is_empty() {
            return None;
        }
        Some(if is_limit { Reason::QuotaLimit { name, left } } else { Reason::Headroom { name, left } })
    },
    |prospect| {
        if prospect.is_enough() || prospect.offer.is_empty() {
            return None;
        }
        let (cpus, mem) = (prospect.offer.scalar(&ResourceName::Cpus), prospect.offer.scalar(&ResourceName::Mem));
        Some(Reason::BelowMinimum { cpus, mem })
    },
    |prospect| {
        let owner = prospect.member?.owner?;
        let (refused, until) = prospect.agent.filters.blocking(owner, &prospect.offer)?;
        Some(Reason::Filtered { refused, until })
    },
];

/// Whether a framework that did not opt in to GPUs is kept from an agent that has some.
pub(super) fn lacks_gpus(rules: &Rules, agent: &Agent, capabilities: Capabilities) -> bool {
    agent.has_gpus && rules.filter_gpu_resources && !capabilities.has(Capability::GpuResources)
}

/// Whether a framework that does not know of regions is kept from an agent of another one.
pub(super) fn lacks_region(agent: &Agent, capabilities: Capabilities) -> bool {
    agent.is_remote && !capabilities.has(Capability::RegionAware)
}

/// The capabilities that a framework needs for an entry (reference 3.2).
fn needed(entry: &Resource) -> impl Iterator<Item = Capability> {
    let needs = entry.identity.as_ref().map(|identity| {
        [
            (identity.revocable, Capability::RevocableResources),
            (identity.shared, Capability::SharedResources),
            (identity.reservations.len() > 1, Capability::ReservationRefinement),
        ]
    });
    needs.into_iter().flatten().filter(|(needed, _)| *needed).map(|(_, capability)| capability)
}

/// The same as a set.
pub(super) fn needs(entry: &Resource) -> Capabilities {
    needed(entry).fold(Capabilities::default(), |needs, capability| needs.with([&capability].into_iter().collect()))
}

/// The capability that a framework lacks for an entry.
pub(super) fn missing(entry: &Resource, capabilities: Capabilities) -> Option<Capability> {
    needed(entry).find(|&capability| !capabilities.has(capability))
}

/// Every reason of the offer chain against a prospect in one of the two stages.
pub(super) fn against<'a>(
    mut prospect: Prospect<'a>,
    drafts: &mut Drafts<'a>,
    top: u32,
    stage: Stage,
) -> Vec<Reason<'a>> {
    if stage == Stage::Fair || drafts.advances(top) {
        prospect.offer = drafts.offer(prospect.role, top, prospect.capabilities).offer.clone();
    }
    prospect.shortage = drafts.shortage(top);
    OFFER.iter().filter_map(|check| check(&prospect)).collect()
}

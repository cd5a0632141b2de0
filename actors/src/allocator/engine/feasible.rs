//! Whether something may be offered: a chain of yes-or-no checks, each with its reason as data.
//!
//! Two chains. The *standing* of a client (is it there, connected, subscribed, wanting) keeps it out of the sorter's
//! walk altogether; the *offer* chain is asked for each agent that a walk reaches. An explanation asks both, and every
//! check of them, so that nobody has to guess twice.

use super::Rules;
use super::filter::{self, Filter, Memory};
use super::sorter::Client;
use super::tables::{Agent, Capabilities, Framework, Membership};
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
            Self::FrameworkUnknown => formatter.write_str("the framework is not known"),
            Self::AgentUnknown => formatter.write_str("the agent is not known"),
            Self::FrameworkInactive => formatter.write_str("the framework is not connected"),
            Self::NotSubscribed => formatter.write_str("the framework is not subscribed in this role"),
            Self::Suppressed => formatter.write_str("the framework has suppressed offers in this role"),
            Self::AgentInactive => formatter.write_str("the agent is deactivated"),
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
    pub(super) framework: &'a Framework,
    pub(super) membership: Option<&'a Membership>,
}

/// What keeps a client out of every walk, in the order in which it is told.
pub(super) const STANDING: &[fn(&Standing<'_>) -> Option<Reason<'static>>] = &[
    |standing| (!standing.is_granting).then_some(Reason::Paused),
    |standing| (!standing.framework.is_known).then_some(Reason::FrameworkUnknown),
    |standing| (!standing.framework.active).then_some(Reason::FrameworkInactive),
    |standing| (!standing.membership.is_some_and(|member| member.is_subscribed)).then_some(Reason::NotSubscribed),
    |standing| standing.membership.is_some_and(|member| member.is_suppressed).then_some(Reason::Suppressed),
];

/// What the checks of an offer look at: one agent, one client, and what the one could be offered of the other.
pub(super) struct Prospect<'a, 'o> {
    pub(super) rules: &'a Rules,
    pub(super) agent: &'a Agent,
    pub(super) filters: &'a [Filter],
    pub(super) client: Client,
    pub(super) role: &'a RoleName,
    pub(super) capabilities: Capabilities,
    pub(super) draft: Draft<'o>,
}

type Check = for<'a, 'o> fn(&Prospect<'a, 'o>) -> Option<Reason<'a>>;

/// What keeps one agent from one client. The cheap ones come first, and the one that says no most often before the rest.
pub(super) const OFFER: &[Check] = &[
    |prospect| (!prospect.agent.active).then_some(Reason::AgentInactive),
    |prospect| prospect.agent.free.is_empty().then_some(Reason::NothingFree),
    |prospect| {
        let lacks = prospect.agent.has_gpus && !prospect.capabilities.has(Capability::GpuResources);
        (lacks && prospect.rules.filter_gpu_resources).then_some(Reason::GpuOptIn)
    },
    |prospect| {
        let lacks = prospect.agent.is_remote && !prospect.capabilities.has(Capability::RegionAware);
        let region = prospect.agent.facts.domain.as_ref().map_or("", |domain| domain.region.as_str());
        lacks.then_some(Reason::OtherRegion { region })
    },
    |prospect| {
        if !prospect.draft.offer.is_empty() || prospect.agent.free.is_empty() {
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
        if prospect.draft.is_enough || prospect.draft.offer.is_empty() {
            return None;
        }
        let (cpus, mem) =
            (prospect.draft.offer.scalar(&ResourceName::Cpus), prospect.draft.offer.scalar(&ResourceName::Mem));
        Some(Reason::BelowMinimum { cpus, mem })
    },
    |prospect| {
        let filter = filter::blocking(prospect.filters, prospect.client, prospect.draft.offer, prospect.draft.memory)?;
        Some(Reason::Filtered { refused: &filter.refused, until: filter.until })
    },
];

/// The first reason against an offer.
pub(super) fn obstacle<'a>(prospect: &Prospect<'a, '_>) -> Option<Reason<'a>> {
    OFFER.iter().find_map(|check| check(prospect))
}

/// What of `free` a framework in `role` may be offered: the unreserved and what is reserved to the role or an ancestor,
/// without what it does not understand (reference 3.2).
pub(super) fn offerable(free: &Resources, role: &RoleName, capabilities: Capabilities) -> Resources {
    free.filter(|entry| {
        missing(entry, capabilities).is_none() && entry.reservation_role().is_none_or(|holder| is_within(role, holder))
    })
}

/// The capability that a framework lacks for an entry.
fn missing(entry: &Resource, capabilities: Capabilities) -> Option<Capability> {
    let identity = entry.identity.as_ref()?;
    let needs = [
        (identity.revocable, Capability::RevocableResources),
        (identity.shared, Capability::SharedResources),
        (identity.reservations.len() > 1, Capability::ReservationRefinement),
    ];
    let needed = needs.into_iter().filter(|(needed, _)| *needed).map(|(_, capability)| capability);
    needed.into_iter().find(|&capability| !capabilities.has(capability))
}

/// What one client would be offered of one agent.
#[derive(Clone, Copy)]
pub(super) struct Draft<'o> {
    pub(super) offer: &'o Resources,
    /// Whether that reaches a minimum.
    pub(super) is_enough: bool,
    /// What is remembered of this very offer.
    pub(super) memory: &'o Memory,
}

/// What offers of one agent look like, each shape made once: frameworks of one role that understand the same are
/// offered the same, and when nothing has an identity all are.
pub(super) struct Drafts<'a> {
    rules: &'a Rules,
    agent: &'a Agent,
    plain: Option<bool>,
    last: Option<(RoleName, Capabilities, Resources, bool)>,
    memory: Memory,
}

impl<'a> Drafts<'a> {
    pub(super) fn new(rules: &'a Rules, agent: &'a Agent) -> Self {
        Self { rules, agent, plain: None, last: None, memory: Memory::default() }
    }

    /// What a framework in `role` would be offered.
    pub(super) fn offer(&mut self, role: &RoleName, capabilities: Capabilities) -> Draft<'_> {
        let (agent, rules) = (self.agent, self.rules);
        if agent.is_plain {
            let is_enough = *self.plain.get_or_insert_with(|| rules.is_enough(&agent.free));
            return Draft { offer: &agent.free, is_enough, memory: &self.memory };
        }
        let last = self.last.take().filter(|(last, understood, ..)| last == role && *understood == capabilities);
        let (.., offer, is_enough) = self.last.insert(last.unwrap_or_else(|| {
            self.memory.clear();
            let offer = offerable(&agent.free, role, capabilities);
            let is_enough = rules.is_enough(&offer);
            (role.clone(), capabilities, offer, is_enough)
        }));
        Draft { offer, is_enough: *is_enough, memory: &self.memory }
    }
}

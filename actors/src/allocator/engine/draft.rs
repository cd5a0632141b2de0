//! What could be offered of an agent: the reservations of the role, what the framework understands, and of the open
//! scalars as much as quota allows.

use super::agent::Agent;
use super::amounts::ScalarNames;
use super::bags::cut;
use super::feasible::{missing, needs};
use super::quota::{Quotas, UNBOUNDED};
use super::tables::Capabilities;
use super::{Minimums, Rules};
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::role::is_within;
use kaon_kernel::resource::{Resource, ResourceName, Resources, Value};

/// The two passes of a round (reference 11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Guarantees are met: roles that miss something of theirs are given up to that, and of what goes with it as much
    /// as is nobody else's.
    Promised,
    /// Everything else.
    Fair,
}

/// What one client would be offered of one agent.
#[derive(Clone, Copy)]
pub(super) struct Draft<'o> {
    pub(super) offer: &'o Resources,
    /// Whether it is all that is free.
    pub(super) is_all: bool,
    /// Whether that reaches a minimum of the rules.
    pub(super) is_enough: bool,
}

/// Whether a bag is large enough to be an offer.
pub(super) fn is_enough(resources: &Resources, minimums: &Minimums) -> bool {
    let reached =
        |set: &Vec<(ResourceName, Quantity)>| set.iter().all(|(name, least)| resources.scalar(name) >= *least);
    minimums.is_empty() || minimums.iter().any(reached)
}

/// As [`is_enough`] of what is free on an agent on which nothing that is free has an identity: by its sums.
pub(super) fn is_enough_of(agent: &Agent, names: &ScalarNames, minimums: &Minimums) -> bool {
    let amount = |name: &ResourceName| match names.find(name) {
        Some(at) => agent.open.of(at),
        None => u128::from(agent.free.scalar(name).0),
    };
    let reached =
        |set: &Vec<(ResourceName, Quantity)>| set.iter().all(|(name, least)| amount(name) >= u128::from(least.0));
    minimums.is_empty() || minimums.iter().any(reached)
}

/// Whether what is reserved to nobody is large enough to be an offer.
pub(super) fn is_enough_unreserved(free: &Resources, minimums: &Minimums) -> bool {
    let amount = |name: &ResourceName| {
        let unreserved = free.iter().filter(|entry| entry.name == *name && entry.reservation_role().is_none());
        unreserved.fold(0, |sum: u64, entry| match entry.value {
            Value::Scalar(amount) => sum.saturating_add(amount.0),
            _ => sum,
        })
    };
    let reached = |set: &Vec<(ResourceName, Quantity)>| set.iter().all(|(name, least)| amount(name) >= least.0);
    minimums.is_empty() || minimums.iter().any(reached)
}

/// The roles that some of a bag is reserved to, without those below another of them. Those who may have of it are in these
/// roles and below them.
pub(super) fn holders(free: &Resources) -> Vec<&RoleName> {
    let mut holders: Vec<&RoleName> = Vec::new();
    for holder in free.iter().filter_map(Resource::reservation_role) {
        if !holders.iter().any(|other| is_within(holder, other)) {
            holders.retain(|other| !is_within(other, holder));
            holders.push(holder);
        }
    }
    holders
}

/// For whom a draft was made.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    /// The role, when what it may have depends on that: its place among the roles that something free is reserved to.
    holders: Vec<u32>,
    /// Of those that something free needs.
    capabilities: Capabilities,
    /// The top-level role, when its quota cuts the draft.
    top: Option<u32>,
}

/// What offers of one agent look like, each shape made once: frameworks of one role that understand the same are
/// offered the same, and when nothing has an identity and no quota cuts, all are.
pub(super) struct Drafts<'a> {
    rules: &'a Rules,
    quotas: &'a Quotas,
    names: &'a ScalarNames,
    agent: &'a Agent,
    stage: Stage,
    /// Shared volumes of the agent have been granted in this round.
    without_shared: bool,
    is_all_enough: Option<bool>,
    cuts: Option<(u32, bool)>,
    /// All roles that something free is reserved to, and what free resources need, once somebody asked.
    surveyed: Option<(Vec<&'a RoleName>, Capabilities)>,
    /// For which of these roles the last role was let in.
    admitted: Option<(RoleName, Vec<u32>)>,
    made: Vec<(Shape, Resources, bool)>,
}

/// So many shapes of drafts of one agent are kept; one more begins anew.
const SHAPES_MAX: usize = 16;

impl<'a> Drafts<'a> {
    pub(super) fn new(
        rules: &'a Rules,
        quotas: &'a Quotas,
        names: &'a ScalarNames,
        agent: &'a Agent,
        stage: Stage,
        without_shared: bool,
    ) -> Self {
        Self {
            rules,
            quotas,
            names,
            agent,
            stage,
            without_shared,
            is_all_enough: None,
            cuts: None,
            surveyed: None,
            admitted: None,
            made: Vec::new(),
        }
    }

    /// What a framework in `role` would be offered.
    pub(super) fn offer(&mut self, role: &RoleName, top: u32, capabilities: Capabilities) -> Draft<'_> {
        let is_cut = self.is_cut(top);
        let agent = self.agent;
        if agent.is_plain && !is_cut {
            let rules = self.rules;
            let is_all_enough = || is_enough_of(agent, self.names, &rules.minimums);
            let is_enough = *self.is_all_enough.get_or_insert_with(is_all_enough);
            return Draft { offer: &agent.free, is_all: true, is_enough };
        }
        let shape = self.shape(role, capabilities, is_cut.then_some(top));
        let known = self.made.iter().position(|(other, ..)| *other == shape);
        let at = known.unwrap_or_else(|| {
            if self.made.len() >= SHAPES_MAX {
                self.made.clear();
            }
            let offer = self.make(role, top, is_cut, capabilities);
            let is_enough = is_enough(&offer, &self.rules.minimums);
            self.made.push((shape, offer, is_enough));
            self.made.len() - 1
        });
        let (_, offer, is_enough) = &self.made[at];
        Draft { offer, is_all: *offer == agent.free, is_enough: *is_enough }
    }

    fn shape(&mut self, role: &RoleName, capabilities: Capabilities, top: Option<u32>) -> Shape {
        let free = &self.agent.free;
        let (holders, needed) = self.surveyed.get_or_insert_with(|| {
            let mut holders: Vec<&RoleName> = Vec::new();
            let mut needed = Capabilities::default();
            for entry in free.iter().filter(|entry| entry.identity.is_some()) {
                let holder = entry.reservation_role();
                if let Some(holder) = holder.filter(|holder| !holders.contains(holder)) {
                    holders.push(holder);
                }
                needed = needed.with(needs(entry));
            }
            (holders, needed)
        });
        let is_known = self.admitted.as_ref().is_some_and(|(last, _)| last == role);
        if !is_known {
            let admitted = holders.iter().enumerate().filter(|(_, holder)| is_within(role, holder));
            self.admitted = Some((role.clone(), admitted.map(|(at, _)| at as u32).collect()));
        }
        let holders = self.admitted.as_ref().map_or_else(Vec::new, |(_, admitted)| admitted.clone());
        Shape { holders, capabilities: capabilities.and(*needed), top }
    }

    fn make(&self, role: &RoleName, top: u32, is_cut: bool, capabilities: Capabilities) -> Resources {
        let free = &self.agent.free;
        let offer = match self.agent.is_plain {
            true => free.clone(),
            false => {
                let is_in = |entry: &Resource| {
                    let is_out = self.without_shared && entry.identity.as_ref().is_some_and(|own| own.shared);
                    !is_out
                        && missing(entry, capabilities).is_none()
                        && entry.reservation_role().is_none_or(|holder| is_within(role, holder))
                };
                // The whole bag is passed on without a copy.
                if free.iter().all(is_in) { free.clone() } else { free.filter(is_in) }
            }
        };
        if !is_cut {
            return offer;
        }
        let mut given: Vec<(usize, u128)> = Vec::new();
        cut(&offer, |name, have| {
            let Some(at) = self.names.find(name) else { return have };
            let before = given.iter().find(|(given, _)| *given == at).map_or(0, |(_, amount)| *amount);
            let most = self.most(top, at).saturating_sub(before);
            let take = Quantity(u64::try_from(most).map_or(have.0, |most| most.min(have.0)));
            given.retain(|(given, _)| *given != at);
            given.push((at, before + u128::from(take.0)));
            take
        })
    }

    /// Whether quota leaves a role less of the open scalars than is free.
    pub(super) fn is_cut(&mut self, top: u32) -> bool {
        if !self.quotas.any() {
            return false;
        }
        if let Some((_, is_cut)) = self.cuts.filter(|(last, _)| *last == top) {
            return is_cut;
        }
        let is_cut = self.agent.open.iter().any(|(at, free)| self.most(top, at) < free);
        self.cuts = Some((top, is_cut));
        is_cut
    }

    /// So much of the open scalar at a position may go to a role.
    fn most(&self, top: u32, at: usize) -> u128 {
        let (room, surplus) = (self.quotas.top(top).room(at), self.quotas.surplus(at));
        match self.stage {
            Stage::Fair => room.min(surplus),
            Stage::Promised => {
                let base = self.base(top, at);
                base.saturating_add(room.saturating_sub(base).min(surplus))
            }
        }
    }

    /// What of the open scalar at a position would go towards a guarantee.
    fn base(&self, top: u32, at: usize) -> u128 {
        self.agent.open.of(at).min(self.quotas.top(top).missing.of(at))
    }

    /// Whether anything on the agent would go towards a guarantee of a role.
    pub(super) fn advances(&self, top: u32) -> bool {
        self.quotas.top(top).missing.iter().any(|(at, _)| self.base(top, at) > 0)
    }

    /// The name of an open scalar of which a role may have less than is free, with what it may have, and whether its own
    /// limit says so or the headroom.
    pub(super) fn shortage(&self, top: u32) -> Option<(&'a ResourceName, u128, bool)> {
        let (agent, quotas, names) = (self.agent, self.quotas, self.names);
        if !quotas.any() {
            return None;
        }
        let short = agent.open.iter().filter(|&(at, free)| self.most(top, at) < free);
        let shorts = short.filter_map(|(at, _)| {
            let (room, surplus) = (quotas.top(top).room(at), quotas.surplus(at));
            Some((names.name(at)?, self.most(top, at), room <= surplus && room != UNBOUNDED))
        });
        shorts.min_by_key(|(_, most, _)| *most)
    }
}

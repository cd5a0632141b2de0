//! What could be offered of an agent: the reservations of the role, what the framework understands, and of the open
//! scalars as much as quota allows.

use super::agent::Agent;
use super::amounts::ScalarNames;
use super::bags::cut;
use super::feasible::missing;
use super::quota::{Quotas, UNBOUNDED};
use super::tables::Capabilities;
use super::{Minimums, Rules};
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::role::is_within;
use kaon_kernel::resource::{Resource, ResourceName, Resources};

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

/// For whom a draft was made.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    /// The role, when something free is reserved to it or above it.
    role: Option<RoleName>,
    capabilities: Option<Capabilities>,
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
    last: Option<(Shape, Resources, bool)>,
}

impl<'a> Drafts<'a> {
    pub(super) fn new(
        rules: &'a Rules,
        quotas: &'a Quotas,
        names: &'a ScalarNames,
        agent: &'a Agent,
        stage: Stage,
        without_shared: bool,
    ) -> Self {
        Self { rules, quotas, names, agent, stage, without_shared, is_all_enough: None, cuts: None, last: None }
    }

    /// What a framework in `role` would be offered.
    pub(super) fn offer(&mut self, role: &RoleName, top: u32, capabilities: Capabilities) -> Draft<'_> {
        let is_cut = self.is_cut(top);
        let agent = self.agent;
        if agent.is_plain && !is_cut {
            let rules = self.rules;
            let is_enough = *self.is_all_enough.get_or_insert_with(|| is_enough(&agent.free, &rules.minimums));
            return Draft { offer: &agent.free, is_all: true, is_enough };
        }
        let shape = Shape {
            role: (!agent.is_plain && self.is_reserved_to(role)).then(|| role.clone()),
            capabilities: (!agent.is_plain).then_some(capabilities),
            top: is_cut.then_some(top),
        };
        let last = self.last.take().filter(|(last, ..)| *last == shape);
        let made = last.unwrap_or_else(|| {
            let offer = self.make(role, top, is_cut, capabilities);
            let is_enough = is_enough(&offer, &self.rules.minimums);
            (shape, offer, is_enough)
        });
        let (_, offer, is_enough) = self.last.insert(made);
        Draft { offer, is_all: *offer == agent.free, is_enough: *is_enough }
    }

    fn is_reserved_to(&self, role: &RoleName) -> bool {
        let holders = self.agent.free.iter().filter_map(Resource::reservation_role);
        holders.into_iter().any(|holder| is_within(role, holder))
    }

    fn make(&self, role: &RoleName, top: u32, is_cut: bool, capabilities: Capabilities) -> Resources {
        let free = &self.agent.free;
        let offer = match self.agent.is_plain {
            true => free.clone(),
            false => free.filter(|entry| {
                let is_out = self.without_shared && entry.identity.as_ref().is_some_and(|own| own.shared);
                !is_out
                    && missing(entry, capabilities).is_none()
                    && entry.reservation_role().is_none_or(|holder| is_within(role, holder))
            }),
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

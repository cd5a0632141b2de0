//! The first reason against a wish on an agent, by comparing numbers alone, where that is enough: on most agents of most
//! clusters nothing that is free has an identity, and most wishes are of plain amounts. It says what the checks of
//! [`super::feasible`] would say, which a test holds it to; where it can't, it says nothing. No allocation.

use super::Engine;
use super::draft::is_enough;
use super::explanation::Distance;
use super::feasible::{lacks_gpus, lacks_region, minimums};
use super::tables::{Agent, Capabilities, Membership};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, Resources, Value};

/// A wish of one client, made ready for a glance at each agent.
pub(super) struct Wish<'a> {
    member: &'a Membership,
    capabilities: Capabilities,
    amounts: Vec<(&'a ResourceName, Quantity)>,
}

/// What a glance sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glance {
    /// Nothing is against the wish.
    Open,
    /// This is the first thing against it, by its word.
    Against(&'static str, Distance),
    /// A closer look is needed.
    Unclear,
}

impl<'a> Wish<'a> {
    /// `None` when no glance could tell anything: quotas are set, the framework has constraints, or more is wanted than
    /// amounts.
    pub(super) fn new(engine: &Engine, member: &'a Membership, wants: &'a Resources) -> Option<Self> {
        let known = engine.frameworks.get(&member.client.framework)?;
        if engine.quotas.any() || member.constrained.is_some() {
            return None;
        }
        let amount = |entry: &'a kaon_kernel::resource::Resource| match (&entry.value, &entry.identity) {
            (Value::Scalar(amount), None) if entry.name != ResourceName::Gpus => Some((&entry.name, *amount)),
            _ => None,
        };
        let amounts = wants.iter().map(amount).collect::<Option<Vec<_>>>()?;
        Some(Self { member, capabilities: known.capabilities, amounts })
    }

    /// What stands between the client and its wish on an agent.
    pub(super) fn glance(&self, engine: &Engine, found: &Agent) -> Glance {
        if !found.active {
            return Glance::Against("agent_inactive", (9, 0));
        }
        if !found.is_listed {
            return Glance::Against("not_listed", (9, 0));
        }
        if found.free.is_empty() {
            return Glance::Against("nothing_free", (8, 0));
        }
        let is_filtered = self.member.owner.is_some_and(|owner| found.filters.has(owner));
        if !found.is_plain || is_filtered {
            return Glance::Unclear;
        }
        if lacks_gpus(&engine.rules, found, self.capabilities) {
            return Glance::Against("gpu_opt_in", (5, 0));
        }
        if lacks_region(found, self.capabilities) {
            return Glance::Against("other_region", (5, 0));
        }
        if !is_enough(&found.free, minimums(&engine.rules, Some(self.member))) {
            return Glance::Against("below_minimum", (3, 0));
        }
        let lack = self
            .amounts
            .iter()
            .fold(0, |sum: u64, (name, wanted)| sum.saturating_add(wanted.0.saturating_sub(found.free.scalar(name).0)));
        match lack {
            0 => Glance::Open,
            lack => Glance::Against("too_small", (2, lack)),
        }
    }
}

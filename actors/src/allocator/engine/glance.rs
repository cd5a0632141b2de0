//! The first reason against a wish on an agent, by comparing numbers alone, where that is enough: on most agents of most
//! clusters nothing that is free has an identity, and most wishes are of plain amounts. It says what the checks of
//! [`super::feasible`] would say, which a test holds it to; where it can't, it says nothing. No allocation.

use super::Engine;
use super::explanation::Distance;
use super::feasible::{lacks_gpus, lacks_region, minimums};
use super::tables::{Agent, Capabilities, Membership};
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::role::is_within;
use kaon_kernel::resource::{Identity, Ranges, Resource, ResourceName, Resources, Value};

/// A wish of one client, made ready for a glance at each agent.
pub(super) struct Wish<'a> {
    member: &'a Membership,
    role: &'a RoleName,
    capabilities: Capabilities,
    entries: Vec<&'a Resource>,
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
    /// `None` when no glance could tell anything: quotas are set, the cluster is parted, the framework has constraints, or
    /// something reserved or whole devices are wanted.
    pub(super) fn new(engine: &'a Engine, member: &'a Membership, wants: &'a Resources) -> Option<Self> {
        let known = engine.frameworks.get(&member.client.framework)?;
        if engine.quotas.any() || engine.rules.partition.is_some() || member.constrained.is_some() {
            return None;
        }
        let amount = |entry: &'a Resource| match (&entry.value, &entry.identity) {
            (Value::Scalar(_) | Value::Ranges(_), None) if entry.name != ResourceName::Gpus => Some(entry),
            _ => None,
        };
        let entries = wants.iter().map(amount).collect::<Option<Vec<_>>>()?;
        let role = engine.roles.name(member.client.role);
        Some(Self { member, role, capabilities: known.capabilities, entries })
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
        let Some(ours) = self.ours(found).filter(|_| !is_filtered) else { return Glance::Unclear };
        if lacks_gpus(&engine.rules, found, self.capabilities) {
            return Glance::Against("gpu_opt_in", (5, 0));
        }
        if lacks_region(found, self.capabilities) {
            return Glance::Against("other_region", (5, 0));
        }
        if ours == 0 {
            return Glance::Against("reserved_to_others", (7, 0));
        }
        let offered = || (0..).zip(&found.free).filter(|(at, _)| ours >> at & 1 == 1).map(|(_, entry)| entry);
        let sum = |name: &ResourceName| {
            offered().filter(|entry| entry.name == *name).fold(0, |sum: u64, entry| match entry.value {
                Value::Scalar(amount) => sum.saturating_add(amount.0),
                _ => sum,
            })
        };
        let minimums = minimums(&engine.rules, Some(self.member));
        let reached = |set: &Vec<(ResourceName, Quantity)>| set.iter().all(|(name, least)| sum(name) >= least.0);
        if !minimums.is_empty() && !minimums.iter().any(reached) {
            return Glance::Against("below_minimum", (3, 0));
        }
        let mut lack: u64 = 0;
        let mut fits = true;
        for entry in &self.entries {
            match &entry.value {
                Value::Ranges(wanted) => {
                    // Numbers of one name that lie in several entries would have to be put together.
                    let mut there = offered().filter(|own| own.name == entry.name);
                    let own = there.next().and_then(|own| match &own.value {
                        Value::Ranges(ranges) => Some(ranges),
                        _ => None,
                    });
                    if there.next().is_some() {
                        return Glance::Unclear;
                    }
                    fits &= own.is_some_and(|own| own.contains(wanted));
                    let missing = wanted.count().saturating_sub(own.map_or(0, Ranges::count));
                    lack = lack.saturating_add(missing.saturating_mul(1000));
                }
                Value::Scalar(wanted) => lack = lack.saturating_add(wanted.0.saturating_sub(sum(&entry.name))),
                Value::Set(_) | Value::Devices(_) => return Glance::Unclear,
            }
        }
        match lack {
            0 if fits => Glance::Open,
            lack => Glance::Against("too_small", (2, lack)),
        }
    }

    /// Which entries of what is free on an agent are for the client, a bit for each; `None` where that takes a closer look:
    /// something has more to it than one reservation, or there are too many.
    fn ours(&self, found: &Agent) -> Option<u64> {
        let entries = found.free.iter().len();
        if entries > ENTRIES_MAX {
            return None;
        }
        if found.is_plain {
            return Some(u64::MAX);
        }
        let mut ours = 0;
        for (at, entry) in (0..).zip(&found.free) {
            let Some(identity) = &entry.identity else {
                ours |= 1 << at;
                continue;
            };
            let Identity { reservations, disk, revocable, shared, provider_id } = &**identity;
            if disk.is_some() || *revocable || *shared || provider_id.is_some() {
                return None;
            }
            let [reservation] = reservations.as_slice() else { return None };
            ours |= u64::from(is_within(self.role, &reservation.role)) << at;
        }
        Some(ours)
    }
}

/// So many entries have a bit each.
const ENTRIES_MAX: usize = 64;

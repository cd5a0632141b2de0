//! The first reason against a wish on an agent, by comparing numbers alone, where that is enough: on most agents of most
//! clusters nothing that is free has an identity, and most wishes are of plain amounts. It says what the checks of
//! [`super::feasible`] would say, which a test holds it to; where it can't, it says nothing. No allocation.

use super::Engine;
use super::against::{Distance, NEVER, NEVER_FROM};
use super::feasible::{lacks_gpus, lacks_region, minimums};
use super::tables::{Agent, Capabilities, Membership};
use super::wanted::Wanted;
use kaon_kernel::id::RoleName;
use kaon_kernel::resource::role::is_within;
use kaon_kernel::resource::{Identity, Ranges, Resource, ResourceName, Resources, Value};

/// A wish of one client, made ready for a glance at each agent.
pub(super) struct Wish<'a> {
    member: &'a Membership,
    role: &'a RoleName,
    capabilities: Capabilities,
    wanted: &'a Wanted<'a>,
    entries: Vec<&'a Resource>,
    /// What the last agent as a whole is to it: most are like the one before.
    last: Option<(&'a Resources, Whole)>,
}

/// What a glance sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glance {
    /// Nothing is against the wish.
    Open,
    /// This is the first thing against it, by its word, and all that is to overcome.
    Against(&'static str, Distance),
    /// A closer look is needed.
    Unclear,
}

/// What an agent would be to a wish if all of it were free.
#[derive(Clone, Copy, Debug)]
enum Whole {
    Holds,
    /// But for what is reserved to others.
    Reserved,
    /// So much is lacking.
    Never(u64),
    Unclear,
}

/// What a bag has of a wish.
struct Match {
    lack: u64,
    fits: bool,
}

impl<'a> Wish<'a> {
    /// `None` when no glance could tell anything: quotas are set, the cluster is parted, the framework has constraints, or
    /// something reserved or whole devices are wanted.
    pub(super) fn new(engine: &'a Engine, member: &'a Membership, wanted: &'a Wanted<'a>) -> Option<Self> {
        let known = engine.frameworks.get(&member.client.framework)?;
        if engine.quotas.any() || engine.rules.partition.is_some() || member.constrained.is_some() {
            return None;
        }
        let amount = |entry: &'a Resource| match (&entry.value, &entry.identity) {
            (Value::Scalar(_) | Value::Ranges(_), None) if entry.name != ResourceName::Gpus => Some(entry),
            _ => None,
        };
        let entries = wanted.wants.iter().map(amount).collect::<Option<Vec<_>>>()?;
        let role = engine.roles.name(member.client.role);
        Some(Self { member, role, capabilities: known.capabilities, wanted, entries, last: None })
    }

    /// What stands between the client and its wish on an agent.
    pub(super) fn glance(&mut self, engine: &Engine, found: &'a Agent) -> Glance {
        let whole = match self.last {
            Some((last, whole)) if *last == found.total => whole,
            _ => {
                let whole = self.whole(&found.total);
                self.last = Some((&found.total, whole));
                whole
            }
        };
        let is_wish = !self.entries.is_empty();
        match whole {
            Whole::Never(lack) => return Glance::Against(NEVER, (NEVER_FROM + 1, lack)),
            Whole::Unclear if is_wish => return Glance::Unclear,
            _ => {}
        }
        if !found.active {
            return Glance::Against("agent_inactive", (9, 0));
        }
        if !found.is_listed {
            return Glance::Against("not_listed", (9, 0));
        }
        if found.free.is_empty() && !is_wish {
            return Glance::Against("nothing_free", (8, 0));
        }
        let is_filtered = self.member.owner.is_some_and(|owner| found.filters.has(owner));
        let Some(ours) = self.ours(&found.free, found.is_plain).filter(|_| !is_filtered) else {
            return Glance::Unclear;
        };
        // What is reserved is farther away than what the framework lacks.
        let is_reserved = matches!(whole, Whole::Reserved);
        let lacking = if is_reserved { (7, 0) } else { (5, 0) };
        if lacks_gpus(&engine.rules, found, self.capabilities) {
            return Glance::Against("gpu_opt_in", lacking);
        }
        if lacks_region(found, self.capabilities) {
            return Glance::Against("other_region", lacking);
        }
        if is_reserved || (ours == 0 && !is_wish) {
            return Glance::Against("reserved_to_others", (7, 0));
        }
        let Some(Match { lack, fits }) = self.compare(&found.free, ours) else { return Glance::Unclear };
        let is_short = lack > 0 || !fits;
        let minimums = minimums(&engine.rules, Some(self.member));
        let amount = |name: &ResourceName| sum(&found.free, ours, name).max(self.wanted.amounts.of_name(name).0);
        let is_reached =
            minimums.is_empty() || minimums.iter().any(|set| set.iter().all(|(name, least)| amount(name) >= least.0));
        match (is_reached, is_short, found.free.is_empty()) {
            (false, ..) => Glance::Against("below_minimum", (3, 0)),
            (true, true, true) => Glance::Against("nothing_free", (2, lack)),
            (true, true, false) => Glance::Against("too_small", (2, lack)),
            (true, false, _) => Glance::Open,
        }
    }

    fn whole(&self, total: &Resources) -> Whole {
        let is_plain = total.iter().all(|entry| entry.identity.is_none());
        let Some(ours) = self.ours(total, is_plain) else { return Whole::Unclear };
        let all = self.compare(total, u64::MAX);
        match (self.compare(total, ours), all) {
            (Some(Match { fits: true, lack: 0 }), _) => Whole::Holds,
            (Some(_), Some(Match { fits: true, lack: 0 })) => Whole::Reserved,
            (Some(_), Some(Match { lack, .. })) => Whole::Never(lack),
            _ => Whole::Unclear,
        }
    }

    /// How much of the wish a bag has among some of its entries; `None` where that takes a closer look.
    fn compare(&self, bag: &Resources, ours: u64) -> Option<Match> {
        let mut found = Match { lack: 0, fits: true };
        for entry in &self.entries {
            let lack = match &entry.value {
                Value::Ranges(wanted) => {
                    // Numbers of one name that lie in several entries would have to be put together.
                    let mut there = among(bag, ours).filter(|own| own.name == entry.name);
                    let own = there.next().and_then(|own| match &own.value {
                        Value::Ranges(ranges) => Some(ranges),
                        _ => None,
                    });
                    if there.next().is_some() {
                        return None;
                    }
                    found.fits &= own.is_some_and(|own| own.contains(wanted));
                    wanted.count().saturating_sub(own.map_or(0, Ranges::count)).saturating_mul(1000)
                }
                Value::Scalar(wanted) => wanted.0.saturating_sub(sum(bag, ours, &entry.name)),
                Value::Set(_) | Value::Devices(_) => return None,
            };
            found.lack = found.lack.saturating_add(lack);
        }
        Some(found)
    }

    /// Which entries of a bag are for the client, a bit for each; `None` where that takes a closer look: something has more
    /// to it than one reservation, or there are too many.
    fn ours(&self, bag: &Resources, is_plain: bool) -> Option<u64> {
        let entries = bag.iter().len();
        if entries > ENTRIES_MAX {
            return None;
        }
        if is_plain {
            return Some(u64::MAX);
        }
        let mut ours = 0;
        for (at, entry) in (0..).zip(bag) {
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

fn among(bag: &Resources, ours: u64) -> impl Iterator<Item = &Resource> {
    (0..).zip(bag).filter(move |(at, _)| ours >> at & 1 == 1).map(|(_, entry)| entry)
}

/// The scalars of one name among some entries of a bag.
fn sum(bag: &Resources, ours: u64, name: &ResourceName) -> u64 {
    among(bag, ours).filter(|entry| entry.name == *name).fold(0, |sum: u64, entry| match entry.value {
        Value::Scalar(amount) => sum.saturating_add(amount.0),
        _ => sum,
    })
}

/// So many entries have a bit each.
const ENTRIES_MAX: usize = 64;

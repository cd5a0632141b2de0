//! The books of quota: what each top-level role is promised, may have, and has (reference 11.2).
//!
//! A role has consumed what is reserved to it or below it, used or not, and what unreserved and not revocable resources
//! are held under it or below it. What of its guarantees it has not yet consumed must stay free somewhere: that is the
//! headroom that nobody else is given.

use super::amounts::{Amounts, ScalarNames};
use super::sorter::Class;
use super::{Engine, Error, Minimums};
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::{ResourceName, Resources, Value};
use kaon_kernel::table::Table;

/// No bound.
pub(super) const UNBOUNDED: u128 = u128::MAX;

/// A top-level role.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) name: RoleName,
    pub(super) quota: Quota,
    pub(super) guarantees: Amounts,
    limits: Vec<(usize, u128)>,
    pub(super) consumed: Amounts,
    /// What of the guarantees is not consumed.
    pub(super) missing: Amounts,
    pub(super) class: Class,
    /// Roles in use at or below it.
    pub(super) roles: u32,
    /// Clients in the walk.
    pub(super) walked: u32,
    /// Clients with minimum sizes of their own.
    pub(super) particular: u32,
}

impl Top {
    fn new(name: RoleName) -> Self {
        Self {
            name,
            quota: Quota::default(),
            guarantees: Amounts::new(),
            limits: Vec::new(),
            consumed: Amounts::new(),
            missing: Amounts::new(),
            class: Class::Open,
            roles: 0,
            walked: 0,
            particular: 0,
        }
    }

    /// How much more it may have of the scalar at a position.
    pub(super) fn room(&self, at: usize) -> u128 {
        let limit = self.limits.iter().find(|(limited, _)| *limited == at);
        limit.map_or(UNBOUNDED, |(_, limit)| limit.saturating_sub(self.consumed.of(at)))
    }

    /// How much its limit would have to be raised for so much more of the scalar at a position.
    pub(super) fn above(&self, at: usize, more: u128) -> u128 {
        let limit = self.limits.iter().find(|(limited, _)| *limited == at);
        limit.map_or(0, |(_, limit)| self.consumed.of(at).saturating_add(more).saturating_sub(*limit))
    }

    pub(super) fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }
}

/// The books.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    tops: Vec<Option<Top>>,
    by_name: Table<RoleName, u32>,
    vacant: Vec<u32>,
    /// Unreserved, not revocable scalars that are free, of all agents together.
    pub(super) headroom: Amounts,
    /// What is missing of all guarantees together.
    pub(super) required: Amounts,
    /// Roles with a quota.
    set: u32,
    /// Roles by class.
    counts: [u32; 3],
    /// Clients in the walk by the class of their role.
    walked: [u32; 3],
}

impl Quotas {
    pub(super) fn top(&self, at: u32) -> &Top {
        let top = self.tops.get(at as usize).and_then(Option::as_ref);
        top.unwrap_or_else(|| panic!("no top-level role is at place {at}"))
    }

    fn top_mut(&mut self, at: u32) -> &mut Top {
        let top = self.tops.get_mut(at as usize).and_then(Option::as_mut);
        top.unwrap_or_else(|| panic!("no top-level role is at place {at}"))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Top)> {
        self.tops.iter().enumerate().filter_map(|(at, top)| Some((at as u32, top.as_ref()?)))
    }

    /// Whether any role has a quota.
    pub(super) fn any(&self) -> bool {
        self.set > 0
    }

    /// Whether a guarantee is not met.
    pub(super) fn any_promised(&self) -> bool {
        self.counts[Class::Promised as usize] > 0
    }

    /// How many clients of roles of some classes are in the walk.
    pub(super) fn walked_in(&self, classes: &[Class]) -> u32 {
        classes.iter().map(|class| self.walked[*class as usize]).sum()
    }

    /// Whether a limit is reached.
    pub(super) fn any_closed(&self) -> bool {
        self.counts[Class::Closed as usize] > 0
    }

    /// How much of the scalar at a position may go beyond guarantees.
    pub(super) fn surplus(&self, at: usize) -> u128 {
        match self.required.of(at) {
            0 => UNBOUNDED,
            required => self.headroom.of(at).saturating_sub(required),
        }
    }

    pub(super) fn find(&self, role: &RoleName) -> Option<u32> {
        self.by_name.get(top_of(role)).copied()
    }

    /// The place of the top-level role above a role.
    pub(super) fn enter(&mut self, role: &RoleName) -> u32 {
        if let Some(at) = self.find(role) {
            return at;
        }
        let name = if top_of(role) == role.as_str() { role.clone() } else { RoleName::trusted(top_of(role)) };
        let at = self.vacant.pop().unwrap_or_else(|| {
            self.tops.push(None);
            self.tops.len() as u32 - 1
        });
        self.by_name.insert(name.clone(), at);
        self.tops[at as usize] = Some(Top::new(name));
        self.counts[Class::Open as usize] += 1;
        at
    }

    /// Forgets a role of which nothing is known any more.
    fn settle(&mut self, at: u32) {
        let top = self.top(at);
        if top.roles > 0 || !top.quota.is_default() || !top.consumed.is_zero() {
            return;
        }
        self.by_name.swap_remove(&self.top(at).name.clone());
        self.counts[self.top(at).class as usize] -= 1;
        self.tops[at as usize] = None;
        self.vacant.push(at);
    }

    pub(super) fn add_role(&mut self, at: u32) {
        self.top_mut(at).roles += 1;
    }

    pub(super) fn remove_role(&mut self, at: u32) {
        self.top_mut(at).roles -= 1;
        self.settle(at);
    }

    /// A client came into the walk or left it.
    pub(super) fn walked(&mut self, at: u32, is_walked: bool) {
        let top = self.top_mut(at);
        top.walked = if is_walked { top.walked + 1 } else { top.walked - 1 };
        let class = top.class;
        let count = &mut self.walked[class as usize];
        *count = if is_walked { *count + 1 } else { *count - 1 };
    }

    /// A client has minimum sizes of its own from now on, or no longer.
    pub(super) fn particular(&mut self, at: u32, is: bool) {
        let top = self.top_mut(at);
        top.particular = if is { top.particular + 1 } else { top.particular - 1 };
    }

    /// A role consumed more.
    pub(super) fn consume(&mut self, at: u32, amounts: &Amounts) {
        self.top_mut(at).consumed.add(amounts);
    }

    /// A role gave something back.
    pub(super) fn restore(&mut self, at: u32, amounts: &Amounts) {
        self.top_mut(at).consumed.subtract(amounts);
    }

    /// Works out anew what a role misses and its class, after a change of what it consumed. Answers whether what is
    /// missing changed, and the class when that is another.
    pub(super) fn classify(&mut self, at: u32, minimums: &Minimums, names: &ScalarNames) -> (bool, Option<Class>) {
        let top = self.top_mut(at);
        if top.guarantees.is_zero() && top.limits.is_empty() && top.class == Class::Open {
            return (false, None);
        }
        let mut missing = Amounts::new();
        for (position, guarantee) in top.guarantees.iter() {
            missing.set(position, guarantee.saturating_sub(top.consumed.of(position)));
        }
        let reaches = |set: &Vec<(ResourceName, Quantity)>| {
            set.iter().all(|(name, least)| names.find(name).is_none_or(|at| top.room(at) >= u128::from(least.0)))
        };
        let is_closed =
            top.has_limits() && top.particular == 0 && !minimums.is_empty() && !minimums.iter().any(reaches);
        let class = match (missing.is_zero(), is_closed) {
            (false, _) => Class::Promised,
            (true, true) => Class::Closed,
            (true, false) => Class::Open,
        };
        let old_missing = core::mem::replace(&mut top.missing, missing.clone());
        let old = core::mem::replace(&mut top.class, class);
        let walked = top.walked;
        let is_other = old_missing != missing;
        if is_other {
            self.required.subtract(&old_missing);
            self.required.add(&missing);
        }
        if old == class {
            return (is_other, None);
        }
        self.counts[old as usize] -= 1;
        self.counts[class as usize] += 1;
        self.walked[old as usize] -= walked;
        self.walked[class as usize] += walked;
        (is_other, Some(class))
    }

    /// Counts what is reserved on an agent, for the roles that it is reserved to. Answers the roles.
    pub(super) fn reserve(&mut self, total: &Resources, names: &mut ScalarNames, is_more: bool) -> Vec<u32> {
        let mut tops = Vec::new();
        for entry in total {
            let Some(holder) = entry.reservation_role() else { continue };
            let (Value::Scalar(quantity), Some(position)) = (&entry.value, names.position(&entry.name)) else {
                continue;
            };
            let at = self.enter(holder);
            let mut amounts = Amounts::new();
            amounts.set(position, u128::from(quantity.0));
            match is_more {
                true => self.consume(at, &amounts),
                false => self.restore(at, &amounts),
            }
            if !tops.contains(&at) {
                tops.push(at);
            }
        }
        tops
    }
}

/// The first component of a role.
fn top_of(role: &RoleName) -> &str {
    role.as_str().split_once('/').map_or(role.as_str(), |(top, _)| top)
}

impl Engine {
    /// Sets the quota of a top-level role; the default quota removes it. Cost: a pass over nothing but the role.
    pub fn set_quota(&mut self, role: &RoleName, quota: &Quota) -> Result<(), Error> {
        self.check_begun()?;
        if role.as_str().contains('/') {
            return Err(Error::NotTopLevel);
        }
        let exceeds = |(name, guarantee): &(ResourceName, Quantity)| {
            quota.limits.iter().any(|(limited, limit)| limited == name && guarantee > limit)
        };
        if quota.guarantees.iter().any(exceeds) {
            return Err(Error::GuaranteeAboveLimit);
        }
        let at = self.quotas.enter(role);
        let mut guarantees = Amounts::new();
        for (name, amount) in &quota.guarantees {
            if let Some(position) = self.names.position(name) {
                guarantees.set(position, u128::from(amount.0));
            }
        }
        let limits = quota.limits.iter();
        let limits = limits.filter_map(|(name, limit)| Some((self.names.position(name)?, u128::from(limit.0))));
        let limits = limits.collect();
        let top = self.quotas.top_mut(at);
        let (was_set, is_set) = (!top.quota.is_default(), !quota.is_default());
        (top.quota, top.guarantees, top.limits) = (quota.clone(), guarantees, limits);
        self.quotas.set = self.quotas.set + u32::from(is_set) - u32::from(was_set);
        self.classify(at);
        self.quotas.settle(at);
        self.mark_everyone();
        Ok(())
    }

    /// The quota of a role, and what it has consumed by name; `None` for a role that has none and uses nothing.
    pub fn quota(&self, role: &RoleName) -> Option<(&Quota, Vec<(&ResourceName, u128)>)> {
        let top = self.quotas.top(self.quotas.find(role)?);
        let consumed = self.names.named(&top.consumed).filter(|(_, amount)| *amount > 0).collect();
        Some((&top.quota, consumed))
    }

    /// After a change of what a top-level role consumed.
    pub(super) fn classify(&mut self, at: u32) {
        let (is_other, class) = self.quotas.classify(at, &self.rules.minimums, &self.names);
        if is_other {
            // What others may have beyond guarantees has changed too.
            self.interest += 1;
        }
        if let Some(class) = class {
            self.sorter.set_class(&self.quotas.top(at).name, class);
        }
    }

    /// Counts the reservations of an agent's total, or takes them out.
    pub(super) fn count_reservations(&mut self, total: &Resources, is_more: bool) {
        if !is_more && self.quotas.any() {
            self.interest += 1;
        }
        for at in self.quotas.reserve(total, &mut self.names, is_more) {
            self.classify(at);
            self.quotas.settle(at);
        }
    }
}

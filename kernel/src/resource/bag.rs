//! The bag and its algebra.
//!
//! Both bags of a sum, a difference or a comparison are sorted, so that each is one walk over both; in a long bag the
//! walk gallops over what the short one does not name. Nothing is copied but what is new.

use super::entries::Entries;
use crate::quantity::Quantity;
use crate::resource::value::Clash;
use crate::resource::{Resource, ResourceName, Value};
use core::cmp::Ordering;
use core::fmt;
use rkyv::{Archive, Deserialize, Serialize};

/// A canonical bag of resources, sorted by name, identity and value, none of them empty. What can be divided has one
/// entry for each name and identity. What counts whole ([`Resource::stands_alone`]) has one entry for each copy, side by
/// side: two tasks on one shared volume hold two, two nameless MOUNT disks of one size are two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Resources(Entries);

/// Why two bags can't be added or subtracted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourcesError {
    /// More would be taken than is there.
    #[error("{wanted} wanted, {have} there")]
    Insufficient {
        /// What was asked for.
        wanted: String,
        /// What there is of it.
        have: String,
    },
    /// A sum beyond the range of its type.
    #[error("{0} overflows")]
    Overflow(String),
    /// A number, name or device that would be in the bag twice.
    #[error("{0} would be counted twice")]
    Twice(String),
    /// One name with two kinds of values.
    #[error("{0} is both {1} and {2}")]
    Kinds(String, &'static str, &'static str),
    /// Parts of one device that differ in where it is.
    #[error("{0} has a device that is told in two ways")]
    Facts(String),
}

impl Resources {
    /// Nothing.
    pub const fn new() -> Self {
        Self(Entries::new())
    }

    /// The canonical bag of entries in any order; equal ones add up. Cost: that of sorting them.
    pub fn collect(entries: impl IntoIterator<Item = Resource>) -> Result<Self, ResourcesError> {
        let mut sorted: Vec<Resource> = entries.into_iter().map(Resource::normalised).collect();
        sorted.sort();
        let mut bag = Vec::with_capacity(sorted.len());
        let mut rest = sorted.into_iter().peekable();
        while let Some(mut entry) = rest.next() {
            if entry.value.is_empty() {
                continue;
            }
            let is_alone = entry.stands_alone();
            let mut values = Vec::new();
            while let Some(same) = rest.next_if(|next| !is_alone && key(next) == key(&entry)) {
                values.push(same.value);
            }
            // Devices may name one device twice within one entry.
            if !values.is_empty() || matches!(entry.value, Value::Devices(_)) {
                let name = entry.name.as_str().to_owned();
                values.retain(|value| !value.is_empty());
                entry.value = entry.value.sum(values).map_err(|clash| error(clash, &name, name.clone()))?;
            }
            if !entry.value.is_empty() {
                bag.push(entry);
            }
        }
        Ok(Self(bag.into()))
    }

    /// A bag of entries that are canonical and in order, such as some of another bag.
    pub(super) fn of_sorted(entries: Vec<Resource>) -> Self {
        Self(entries.into())
    }

    /// Plain processors and memory: `cpus` in thousandths of a core, `mem` in thousandths of a MiB.
    pub fn cpus_and_mem(cpus: Quantity, mem: Quantity) -> Self {
        let entries = [Resource::scalar(ResourceName::Cpus, cpus), Resource::scalar(ResourceName::Mem, mem)];
        Self(entries.into_iter().filter(|entry| !entry.value.is_empty()).collect())
    }

    /// The entries, in order.
    pub fn iter(&self) -> core::slice::Iter<'_, Resource> {
        self.0.iter()
    }
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum of the scalars of one name, over all identities; of a shared volume one copy counts.
    pub fn scalar(&self, name: &ResourceName) -> Quantity {
        let amounts = self.once().filter(|entry| entry.name == *name).map(|entry| match entry.value {
            Value::Scalar(quantity) => quantity.0,
            _ => 0,
        });
        Quantity(amounts.fold(0, u64::saturating_add))
    }

    /// The entries, of a shared one the first copy only.
    pub(super) fn once(&self) -> impl Iterator<Item = &Resource> {
        let copied = |at: usize| at > 0 && self.0[at].is_shared() && self.0[at] == self.0[at - 1];
        self.0.iter().enumerate().filter(move |(at, _)| !copied(*at)).map(|(_, entry)| entry)
    }

    /// The entries that satisfy a condition.
    pub fn filter(&self, mut keep: impl FnMut(&Resource) -> bool) -> Self {
        Self(self.0.iter().filter(|entry| keep(entry)).cloned().collect())
    }

    /// Whether it has the form that every operation here keeps. A bag that came in a frame was checked for its layout
    /// only: who takes one from a peer asks this first. Linear.
    pub fn is_canonical(&self) -> bool {
        let is_good = |entry: &Resource| {
            !entry.value.is_empty()
                && entry.value.is_canonical()
                && entry.identity.as_ref().is_none_or(|identity| identity.is_normal())
        };
        let is_sorted = |pair: &[Resource]| match key(&pair[0]).cmp(&key(&pair[1])) {
            Ordering::Less => true,
            Ordering::Equal => pair[0].stands_alone() && pair[0].value <= pair[1].value,
            Ordering::Greater => false,
        };
        self.0.iter().all(is_good) && self.0.windows(2).all(is_sorted)
    }

    /// Adds a bag; on refusal nothing is changed. Cost: one walk over both.
    pub fn add(&mut self, other: &Self) -> Result<(), ResourcesError> {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return Ok(());
        }
        let mut fresh: Vec<(usize, &Resource)> = Vec::new();
        let mut at = 0;
        for (done, entry) in other.0.iter().enumerate() {
            at = self.seek(at, entry);
            match self.0.get_mut(at) {
                Some(own) if !entry.stands_alone() && key(own) == key(entry) => {
                    if let Err(clash) = own.value.add(&entry.value) {
                        self.take_back(&other.0[..done]);
                        return Err(error(clash, entry.name.as_str(), entry.to_string()));
                    }
                }
                _ => fresh.push((at, entry)),
            }
        }
        match fresh.as_slice() {
            [] => {}
            [(at, entry)] => self.0.insert(*at, (*entry).clone()),
            _ => {
                let mut merged = Vec::with_capacity(self.0.len() + fresh.len());
                let mut own = core::mem::take(&mut *self.0).into_iter();
                let mut taken = 0;
                for (at, entry) in fresh {
                    merged.extend(own.by_ref().take(at - taken));
                    merged.push(entry.clone());
                    taken = at;
                }
                merged.extend(own);
                self.0 = merged.into();
            }
        }
        Ok(())
    }

    /// Undoes the first part of a sum that was refused: what was added to entries of ours.
    fn take_back(&mut self, added: &[Resource]) {
        let mut at = 0;
        for entry in added.iter().filter(|entry| !entry.stands_alone()) {
            at = self.seek(at, entry);
            if let Some(own) = self.0.get_mut(at).filter(|own| key(own) == key(entry)) {
                own.value.take(&entry.value);
            }
        }
    }

    /// Takes a bag out; on refusal nothing is changed. Cost: one walk over both.
    pub fn subtract(&mut self, other: &Self) -> Result<(), ResourcesError> {
        if self.0.is_shared() {
            *self = self.minus(other)?;
            return Ok(());
        }
        if let Some(missing) = self.first_missing(other) {
            return Err(self.insufficient(missing));
        }
        let mut used_up: Vec<usize> = Vec::new();
        let mut at = 0;
        for entry in &other.0 {
            at = self.seek(at, entry);
            let own = &mut self.0[at];
            if entry.stands_alone() {
                used_up.push(at);
            } else {
                own.value.take(&entry.value);
                if own.value.is_empty() {
                    used_up.push(at);
                }
            }
            at += 1;
        }
        match used_up.as_slice() {
            [] => {}
            [one] => drop(self.0.remove(*one)),
            _ => {
                let mut gone = used_up.into_iter().peekable();
                let mut at = 0;
                self.0.retain(|_| {
                    at += 1;
                    gone.next_if_eq(&(at - 1)).is_none()
                });
            }
        }
        Ok(())
    }

    /// The sum, or why not.
    pub fn plus(&self, other: &Self) -> Result<Self, ResourcesError> {
        let mut sum = self.clone();
        sum.add(other).map(|()| sum)
    }

    /// The difference, or why not. Cost: one walk over both, and a copy of what stays.
    pub fn minus(&self, other: &Self) -> Result<Self, ResourcesError> {
        if other.is_empty() {
            return Ok(self.clone());
        }
        let mut left = Vec::with_capacity(self.0.len());
        let mut next = 0;
        for entry in &other.0 {
            let (at, is_there) = self.look_up(next, entry);
            let Some(own) = self.0.get(at).filter(|_| is_there) else { return Err(self.insufficient(entry)) };
            left.extend_from_slice(&self.0[next..at]);
            if !entry.stands_alone() {
                let Some(value) = own.value.less(&entry.value) else { return Err(self.insufficient(entry)) };
                if !value.is_empty() {
                    left.push(Resource { name: own.name.clone(), identity: own.identity.clone(), value });
                }
            }
            next = at + 1;
        }
        left.extend_from_slice(&self.0[next..]);
        Ok(Self(left.into()))
    }

    fn insufficient(&self, missing: &Resource) -> ResourcesError {
        let have: Vec<String> = self.0.iter().filter(|own| key(own) == key(missing)).map(Resource::to_string).collect();
        let have = if have.is_empty() { "nothing".to_owned() } else { have.join("; ") };
        ResourcesError::Insufficient { wanted: missing.to_string(), have }
    }

    /// Whether every entry of `other` is in it, identity included. One walk over both; nothing is copied.
    pub fn contains(&self, other: &Self) -> bool {
        self.first_missing(other).is_none()
    }

    /// What is in both, identity included.
    pub fn common(&self, other: &Self) -> Self {
        let mut at = 0;
        let entries = self.0.iter().filter_map(|entry| {
            at = other.seek(at, entry);
            let same = other.0.get(at).filter(|same| order(same, entry).is_eq())?;
            at += 1;
            let value = if entry.stands_alone() { entry.value.clone() } else { entry.value.common(&same.value)? };
            Some(Resource { name: entry.name.clone(), identity: entry.identity.clone(), value })
        });
        Self(entries.collect())
    }

    fn first_missing<'o>(&self, other: &'o Self) -> Option<&'o Resource> {
        let mut at = 0;
        other.0.iter().find(|entry| {
            let (place, is_known) = self.look_up(at, entry);
            let is_there = is_known && (entry.stands_alone() || self.0[place].value.covers(&entry.value));
            at = place + 1;
            !is_there
        })
    }

    /// The place of an entry at or after `from`, and whether it is there: each that is passed is compared once, since an
    /// identity can be long.
    fn look_up(&self, from: usize, entry: &Resource) -> (usize, bool) {
        let is_there = core::cell::Cell::new(false);
        let is_before = |own: &Resource| {
            let order = order(own, entry);
            is_there.set(is_there.get() || order.is_eq());
            order.is_lt()
        };
        (gallop(&self.0, from.min(self.0.len()), is_before), is_there.get())
    }

    /// The place of an entry at or after `from`.
    fn seek(&self, from: usize, entry: &Resource) -> usize {
        gallop(&self.0, from.min(self.0.len()), |own| order(own, entry).is_lt())
    }
}

/// The first place at or after `from` where `is_before` does not hold, of a list where it holds for a first part only.
/// Cost: the logarithm of the distance.
pub(super) fn gallop<T>(list: &[T], from: usize, is_before: impl Fn(&T) -> bool) -> usize {
    let rest = &list[from..];
    let mut step = 1;
    while step <= rest.len() && is_before(&rest[step - 1]) {
        step *= 2;
    }
    let (low, high) = (step / 2, (step - 1).min(rest.len()));
    from + low + rest[low..high].partition_point(is_before)
}

/// What two entries must share to be one.
fn key(entry: &Resource) -> (&ResourceName, &Option<super::SharedIdentity>) {
    (&entry.name, &entry.identity)
}

/// The order of the places in a bag: what can be divided has one place, whatever its value.
fn order(own: &Resource, entry: &Resource) -> Ordering {
    if own.identity.is_none() && entry.identity.is_none() {
        return own.name.cmp(&entry.name);
    }
    key(own).cmp(&key(entry)).then_with(|| match entry.stands_alone() {
        true => own.value.cmp(&entry.value),
        false => Ordering::Equal,
    })
}

fn error(clash: Clash, name: &str, entry: String) -> ResourcesError {
    match clash {
        Clash::Overflow => ResourcesError::Overflow(entry),
        Clash::Twice => ResourcesError::Twice(entry),
        Clash::Kinds(one, two) => ResourcesError::Kinds(name.to_owned(), one, two),
        Clash::Facts => ResourcesError::Facts(entry),
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, entry) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(formatter, "{separator}{entry}")?;
        }
        Ok(())
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = core::slice::Iter<'a, Resource>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

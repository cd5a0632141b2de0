//! The bag and its algebra.

use super::entries::Entries;
use crate::id::RoleName;
use crate::quantity::Quantity;
use crate::resource::{Device, Identity, Resource, ResourceName, Value};
use core::cmp::Ordering;
use core::fmt;
use rkyv::{Archive, Deserialize, Serialize};

/// A canonical bag of resources: sorted by (name, identity), one entry for each, none empty.
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
}

impl Resources {
    /// Nothing.
    pub const fn new() -> Self {
        Self(Entries::new())
    }

    /// The canonical bag of entries in any order; equal ones add up.
    pub fn collect(entries: impl IntoIterator<Item = Resource>) -> Result<Self, ResourcesError> {
        let mut bag = Self::new();
        for entry in entries {
            bag.add_entry(entry)?;
        }
        Ok(bag)
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
    /// The sum of the scalars of one name, over all identities.
    pub fn scalar(&self, name: &ResourceName) -> Quantity {
        let amounts = self.0.iter().filter(|entry| entry.name == *name).map(|entry| match entry.value {
            Value::Scalar(quantity) => quantity.0,
            _ => 0,
        });
        Quantity(amounts.fold(0, u64::saturating_add))
    }

    /// The entries that satisfy a condition.
    pub fn filter(&self, mut keep: impl FnMut(&Resource) -> bool) -> Self {
        Self(self.0.iter().filter(|entry| keep(entry)).cloned().collect())
    }

    /// What a framework in `role` may be offered: the unreserved, and what is reserved to the role or to one of its
    /// ancestors (reference 11.1).
    pub fn offerable_to(&self, role: &RoleName) -> Self {
        self.filter(|entry| entry.reservation_role().is_none_or(|holder| super::role::is_within(role, holder)))
    }

    /// Adds a bag; on refusal nothing is changed. Cost: a merge of two sorted lists.
    pub fn add(&mut self, other: &Self) -> Result<(), ResourcesError> {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return Ok(());
        }
        let before = (other.0.len() > 1).then(|| self.0.clone());
        for entry in &other.0 {
            if let Err(error) = self.add_entry(entry.clone()) {
                if let Some(before) = before {
                    self.0 = before;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes a bag out; on refusal nothing is changed.
    pub fn subtract(&mut self, other: &Self) -> Result<(), ResourcesError> {
        if let Some(missing) = other.0.iter().find(|entry| !self.contains_entry(entry)) {
            let have = self.0.iter().find(|entry| key(entry) == key(missing));
            return Err(ResourcesError::Insufficient {
                wanted: missing.to_string(),
                have: have.map_or_else(|| "nothing".to_owned(), ToString::to_string),
            });
        }
        for entry in &other.0 {
            if let Ok(at) = self.find(entry) {
                let rest = minus(&self.0[at].value, &entry.value);
                match rest.filter(|rest| !rest.is_empty()) {
                    Some(rest) => self.0[at].value = rest,
                    None => {
                        self.0.remove(at);
                    }
                }
            }
        }
        Ok(())
    }

    /// The sum, or why not.
    pub fn plus(&self, other: &Self) -> Result<Self, ResourcesError> {
        let mut sum = self.clone();
        sum.add(other).map(|()| sum)
    }

    /// The difference, or why not.
    pub fn minus(&self, other: &Self) -> Result<Self, ResourcesError> {
        let mut rest = self.clone();
        rest.subtract(other).map(|()| rest)
    }

    /// Whether every entry of `other` is in it, identity included.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|entry| self.contains_entry(entry))
    }

    /// A bag of the amounts alone: the same resources without reservations, disks and other identity. What would count
    /// twice then (a shared volume) counts once.
    pub fn unidentified(&self) -> Self {
        let mut bag = Self::new();
        for entry in &self.0 {
            let _ = bag.add_entry(Resource { identity: None, ..entry.clone() });
        }
        bag
    }

    /// The bag under one more reservation layer, outermost when it had none. For `--default_role` and its kin.
    pub fn reserved(&self, reservation: &super::Reservation) -> Self {
        let entries = self.0.iter().map(|entry| {
            let mut identity = entry.identity.clone().unwrap_or_default();
            identity.reservations.push(reservation.clone());
            Resource { identity: Some(identity), ..entry.clone() }
        });
        Self(entries.collect())
    }

    fn contains_entry(&self, entry: &Resource) -> bool {
        self.find(entry).is_ok_and(|at| minus(&self.0[at].value, &entry.value).is_some())
    }

    fn find(&self, entry: &Resource) -> Result<usize, usize> {
        self.0.binary_search_by(|probe| key(probe).cmp(&key(entry)))
    }

    fn add_entry(&mut self, mut entry: Resource) -> Result<(), ResourcesError> {
        if entry.identity.as_deref() == Some(&Identity::default()) {
            entry.identity = None;
        }
        if let Value::Devices(devices) = &mut entry.value {
            devices.sort();
        }
        if entry.value.is_empty() {
            return Ok(());
        }
        match self.find(&entry) {
            Ok(at) => {
                self.0[at].value = plus(&self.0[at], &entry)?;
                Ok(())
            }
            Err(at) => {
                self.0.insert(at, entry);
                Ok(())
            }
        }
    }
}

fn key(entry: &Resource) -> (&ResourceName, &Option<Box<Identity>>) {
    (&entry.name, &entry.identity)
}

fn plus(one: &Resource, two: &Resource) -> Result<Value, ResourcesError> {
    let twice = || ResourcesError::Twice(two.to_string());
    match (&one.value, &two.value) {
        (Value::Scalar(have), Value::Scalar(more)) => {
            have.plus(*more).map(Value::Scalar).ok_or_else(|| ResourcesError::Overflow(two.to_string()))
        }
        (Value::Ranges(have), Value::Ranges(more)) => have.plus(more).map(Value::Ranges).ok_or_else(twice),
        (Value::Set(have), Value::Set(more)) if have.is_disjoint(more) => {
            Ok(Value::Set(have.union(more).cloned().collect()))
        }
        (Value::Set(_), Value::Set(_)) => Err(twice()),
        (Value::Devices(have), Value::Devices(more)) => plus_devices(have, more).map(Value::Devices).ok_or_else(twice),
        (have, more) => Err(ResourcesError::Kinds(two.name.as_str().to_owned(), have.kind(), more.kind())),
    }
}

fn minus(have: &Value, less: &Value) -> Option<Value> {
    match (have, less) {
        (Value::Scalar(have), Value::Scalar(less)) => have.minus(*less).map(Value::Scalar),
        (Value::Ranges(have), Value::Ranges(less)) => have.minus(less).map(Value::Ranges),
        (Value::Set(have), Value::Set(less)) => {
            less.is_subset(have).then(|| Value::Set(have.difference(less).cloned().collect()))
        }
        (Value::Devices(have), Value::Devices(less)) => minus_devices(have, less).map(Value::Devices),
        _ => None,
    }
}

/// A device is whole at this share; no sum of its parts may exceed it.
const DEVICE_WHOLE: u32 = 1000;

fn plus_devices(have: &[Device], more: &[Device]) -> Option<Vec<Device>> {
    let mut sum = have.to_vec();
    for device in more {
        match sum.binary_search_by(|probe| probe.id.cmp(&device.id)) {
            Err(at) => sum.insert(at, device.clone()),
            Ok(at) => {
                let share = sum[at].share.checked_add(device.share).filter(|&share| share <= DEVICE_WHOLE)?;
                sum[at].share = share;
                sum[at].memory_bytes = sum[at].memory_bytes.checked_add(device.memory_bytes)?;
            }
        }
    }
    Some(sum)
}

fn minus_devices(have: &[Device], less: &[Device]) -> Option<Vec<Device>> {
    let mut rest = have.to_vec();
    for device in less {
        let at = rest.binary_search_by(|probe| probe.id.cmp(&device.id)).ok()?;
        rest[at].share = rest[at].share.checked_sub(device.share)?;
        rest[at].memory_bytes = rest[at].memory_bytes.checked_sub(device.memory_bytes)?;
        if rest[at].share == 0 && rest[at].memory_bytes == 0 {
            rest.remove(at);
        }
    }
    Some(rest)
}

/// Bags are ordered by containment.
impl PartialOrd for Resources {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.contains(other), other.contains(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
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

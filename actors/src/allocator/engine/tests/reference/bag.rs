//! Arithmetic of bags for the reference, in which more may be in use than there is. Numbers of ranges are taken one by
//! one.

use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{DiskKind, Ranges, Resource, ResourceName, Resources, Value};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Scalars by name, identities added up.
pub(super) type Lump = BTreeMap<ResourceName, u128>;

/// The scalars of some bags.
pub(super) fn lump<'a>(bags: impl IntoIterator<Item = &'a Resources>) -> Lump {
    let mut sums = Lump::new();
    for entry in bags.into_iter().flatten() {
        if let Value::Scalar(quantity) = entry.value {
            *sums.entry(entry.name.clone()).or_default() += u128::from(quantity.0);
        }
    }
    sums
}

/// An exact fraction, not negative.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fraction(u128, u128);

impl Ord for Fraction {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0 * other.1).cmp(&(other.0 * self.1))
    }
}
impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Fraction {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Fraction {}

/// The dominant share: the largest part of `whole` that is held, divided by a weight in thousandths.
pub(super) fn share_of(held: &Lump, whole: &Lump, weight: u32, excluded: &[ResourceName]) -> Fraction {
    let parts = held.iter().filter(|(name, _)| !excluded.contains(name)).filter_map(|(name, &held)| {
        let whole = whole.get(name).copied().filter(|&whole| whole > 0)?;
        Some(Fraction(held * 1000, whole * u128::from(weight)))
    });
    parts.max().unwrap_or(Fraction(0, 1))
}

/// All bags together, each copy of what is shared counted.
pub(super) fn sum_of<'a>(bags: impl IntoIterator<Item = &'a Resources>) -> Resources {
    let mut sum = Resources::new();
    for bag in bags {
        // Ports and items of different agents may be equal; only amounts are of interest then.
        for entry in bag {
            let entry = Resources::collect([entry.clone()]).expect("one entry");
            if let Ok(more) = sum.plus(&entry) {
                sum = more;
            }
        }
    }
    sum
}

/// What is left of a bag without what is held, where that is more than there is as well. What is shared stays.
pub(super) fn rest_of<'a>(whole: &Resources, held: impl Iterator<Item = &'a Resources> + Clone) -> Resources {
    let left = whole.iter().map(|entry| {
        if entry.identity.as_ref().is_some_and(|identity| identity.shared) {
            return entry.clone();
        }
        let same = |probe: &&Resource| probe.name == entry.name && probe.identity == entry.identity;
        let taken = held.clone().flatten().filter(same).map(|probe| &probe.value).collect::<Vec<_>>();
        let value = match &entry.value {
            Value::Scalar(quantity) => {
                let taken = taken.iter().map(|value| if let Value::Scalar(taken) = value { taken.0 } else { 0 });
                Value::Scalar(Quantity(quantity.0.saturating_sub(taken.sum())))
            }
            Value::Ranges(ranges) => {
                let is_taken = |number: &u64| taken.iter().any(|value| has_number(value, *number));
                let numbers = ranges.iter().flat_map(|(begin, end)| begin..=end).filter(|number| !is_taken(number));
                Value::Ranges(Ranges::new(numbers.map(|number| (number, number)).collect()).expect("each number once"))
            }
            Value::Set(items) => {
                let is_taken = |item: &&String| {
                    taken.iter().any(|value| matches!(value, Value::Set(taken) if taken.contains(*item)))
                };
                Value::Set(items.iter().filter(|item| !is_taken(item)).cloned().collect())
            }
            Value::Devices(_) => panic!("no history has devices"),
        };
        Resource { value, ..entry.clone() }
    });
    Resources::collect(left).expect("parts of one bag")
}

fn has_number(value: &Value, number: u64) -> bool {
    matches!(value, Value::Ranges(ranges) if ranges.iter().any(|(begin, end)| (begin..=end).contains(&number)))
}

/// Whether a bag is all within another.
pub(super) fn fits(part: &Resources, whole: &Resources) -> bool {
    let is_shared = |entry: &&Resource| entry.identity.as_ref().is_some_and(|identity| identity.shared);
    let has = |entry: &Resource| whole.iter().any(|probe| probe.name == entry.name && probe.identity == entry.identity);
    let rest = rest_of(part, core::iter::once(whole));
    rest.iter().all(|entry| is_shared(&entry) && has(entry))
}

/// Amounts without others, by name; only what is more than nothing.
pub(super) fn less(amounts: Lump, others: &Lump) -> Lump {
    let left = amounts.into_iter().map(|(name, amount)| {
        let other = others.get(&name).copied().unwrap_or(0);
        (name, amount.saturating_sub(other))
    });
    left.filter(|(_, amount)| *amount > 0).collect()
}

/// A bag in which the entries that satisfy a condition are cut to an amount for all of one name, in order of entries. A
/// disk with a file system of its own is not cut: it is in whole or not at all.
pub(super) fn cut(bag: &Resources, mut amounts: Lump, is_cut: fn(&Resource) -> bool) -> Resources {
    let entries = bag.iter().filter_map(|entry| {
        let Value::Scalar(quantity) = entry.value else { return Some(entry.clone()) };
        if !is_cut(entry) {
            return Some(entry.clone());
        }
        let left = amounts.get_mut(&entry.name)?;
        let taken = (*left).min(u128::from(quantity.0)) as u64;
        let source = entry.identity.as_ref().and_then(|identity| identity.disk.as_ref()?.source.as_ref());
        if taken < quantity.0 && source.is_some_and(|source| source.kind == DiskKind::Mount) {
            return None;
        }
        *left -= u128::from(taken);
        Some(Resource { value: Value::Scalar(Quantity(taken)), ..entry.clone() })
    });
    Resources::collect(entries).expect("parts of one bag")
}

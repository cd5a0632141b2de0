//! Sums of resources over many machines, for people: what all tasks of a framework use, what is used on an agent.
//!
//! A sum over machines is no bag of one machine: a port that two of them have counts once, and the device that each of them
//! calls `0` twice, so devices are told as an amount.

use std::collections::{BTreeMap, BTreeSet};

use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Ranges, Resource, ResourceName, Resources, SharedIdentity, Value};

/// What sets entries apart that do not add up.
type Key<'a> = (&'a ResourceName, &'a Option<SharedIdentity>);

/// The amounts of one key.
#[derive(Default)]
struct Sum<'a> {
    /// Scalars, and shares of devices, in thousandths.
    amount: u64,
    ranges: Vec<(u64, u64)>,
    items: BTreeSet<&'a String>,
}

impl<'a> Sum<'a> {
    fn add(&mut self, value: &'a Value) {
        let mut more = |amount: u64| self.amount = self.amount.saturating_add(amount);
        match value {
            Value::Scalar(quantity) => more(quantity.0),
            Value::Devices(devices) => devices.iter().for_each(|device| more(device.share.into())),
            Value::Ranges(ranges) => self.ranges.extend(ranges.iter()),
            Value::Set(items) => self.items.extend(items),
        }
    }

    /// A name is of one kind; should two machines differ, one of the kinds is shown.
    fn value(self) -> Value {
        // Each range was a sound one.
        let ranges = || Value::Ranges(Ranges::covering(self.ranges).unwrap_or_default());
        match self.amount {
            0 if self.items.is_empty() => ranges(),
            0 => Value::Set(self.items.into_iter().cloned().collect()),
            amount => Value::Scalar(Quantity(amount)),
        }
    }
}

/// Bags on their way to one sum.
#[derive(Default)]
pub(crate) struct Together<'a> {
    sums: BTreeMap<Key<'a>, Sum<'a>>,
    /// What lies beside its like: volumes and whole disks.
    alone: Vec<&'a Resource>,
}

impl<'a> Together<'a> {
    /// Adds a bag, or some of its entries. Cost: of each the logarithm of how many differ in name or identity.
    pub(crate) fn add(&mut self, entries: impl IntoIterator<Item = &'a Resource>) {
        for entry in entries {
            match entry.stands_alone() {
                true => self.alone.push(entry),
                false => self.sums.entry((&entry.name, &entry.identity)).or_default().add(&entry.value),
            }
        }
    }

    /// The sum.
    pub(crate) fn whole(self) -> Resources {
        let entry = |((name, identity), sum): (Key<'a>, Sum<'a>)| Resource {
            name: name.clone(),
            identity: identity.clone(),
            value: sum.value(),
        };
        let alone = self.alone.into_iter().cloned();
        Resources::collect(alone.chain(self.sums.into_iter().map(entry))).expect("each key is there once")
    }
}

/// All these bags together.
pub(crate) fn together<'a>(bags: impl IntoIterator<Item = &'a Resources>) -> Resources {
    let mut sum = Together::default();
    bags.into_iter().for_each(|bag| sum.add(bag));
    sum.whole()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaon_kernel::resource::parse::resources;

    fn sum(bags: &[&str]) -> String {
        let bags: Vec<Resources> = bags.iter().map(|text| resources(text).expect("valid")).collect();
        together(&bags).to_string()
    }

    #[test]
    fn amounts_add_up_and_what_two_machines_have_counts_once() {
        let expected = resources("cpus:1.5;mem:96;mem(web):8;ports:[10-40];zones:{a,b,c}").expect("valid").to_string();
        let one = "cpus:0.5;mem:64;ports:[10-20,31-40];zones:{a,b}";
        let two = "cpus:1;mem:32;mem(web):8;ports:[15-30];zones:{b,c}";
        assert_eq!(sum(&[one, two]), expected);
        assert_eq!(sum(&[two, one]), expected);
        assert_eq!(sum(&[]), "");
    }
}

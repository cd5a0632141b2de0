//! Totals: quantities by name, what shares and quotas are computed from.

use crate::quantity::Quantity;
use crate::resource::{ResourceName, Resources, Value};

/// Quantities by name in ascending order, without zeros: the books of what was added and taken out bag by bag. Ranges, sets
/// and devices do not count, as in Mesos's sorter. Each copy of a shared volume counts, so that what was added can be taken
/// out again; [`Resources::quantities`] counts one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(Vec<(ResourceName, u64)>);

impl Totals {
    /// The totals of a bag, identities added up.
    pub fn of(resources: &Resources) -> Self {
        let mut totals = Self::default();
        totals.add(resources);
        totals
    }
    /// The quantities in ascending order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, Quantity)> {
        self.0.iter().map(|(name, amount)| (name, Quantity(*amount)))
    }
    /// The quantity of one name.
    pub fn of_name(&self, name: &ResourceName) -> Quantity {
        Quantity(self.find(name).map_or(0, |at| self.0[at].1))
    }
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Adds the scalars of a bag. At [`crate::quantity::QUANTITY_UNITS_MAX`] a resource a sum can't overflow below
    /// 18,000 of them; it saturates then.
    pub fn add(&mut self, resources: &Resources) {
        for entry in resources {
            if let Value::Scalar(_) = entry.value {
                self.add_amount(&entry.name, &entry.value);
            }
        }
    }

    /// Adds the amount of a value: a scalar's, or how many numbers or items it holds. Devices have none. Saturates.
    pub(super) fn add_amount(&mut self, name: &ResourceName, value: &Value) {
        let amount = match value {
            Value::Scalar(quantity) => quantity.0,
            Value::Ranges(ranges) => ranges.count().saturating_mul(1000),
            Value::Set(items) => (items.len() as u64).saturating_mul(1000),
            Value::Devices(_) => return,
        };
        match self.find(name) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(amount),
            Err(at) => self.0.insert(at, (name.clone(), amount)),
        }
    }
    /// Takes the scalars of a bag out.
    ///
    /// # Panics
    /// When more is taken than was added: the books are wrong.
    pub fn subtract(&mut self, resources: &Resources) {
        for entry in resources {
            if let Value::Scalar(quantity) = entry.value {
                let at = self.find(&entry.name);
                let at = at.unwrap_or_else(|_| panic!("{} taken out of totals that have none", entry.name.as_str()));
                let rest = self.0[at].1.checked_sub(quantity.0);
                self.0[at].1 = rest.unwrap_or_else(|| panic!("{entry} taken out of {}", Quantity(self.0[at].1)));
                if self.0[at].1 == 0 {
                    self.0.remove(at);
                }
            }
        }
    }

    fn find(&self, name: &ResourceName) -> Result<usize, usize> {
        self.0.binary_search_by(|(probe, _)| probe.cmp(name))
    }
}

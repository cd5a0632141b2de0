//! Parts of a bag: by reservation, by kind, by what is wanted.

use crate::id::RoleName;
use crate::resource::{Reservation, ReservationError, Resource, Resources, ResourcesError, Totals, role};
use std::collections::BTreeMap;

impl Resources {
    /// What a framework in `role` may be offered: the unreserved, and what is reserved to the role or to one of its
    /// ancestors (reference 11.1).
    pub fn offerable_to(&self, role: &RoleName) -> Self {
        self.filter(|entry| entry.reservation_role().is_none_or(|holder| role::is_within(role, holder)))
    }
    /// What is reserved to nobody.
    pub fn unreserved(&self) -> Self {
        self.filter(|entry| entry.reservation_role().is_none())
    }
    /// What is reserved to exactly this role.
    pub fn reserved_to(&self, role: &RoleName) -> Self {
        self.filter(|entry| entry.is_reserved_to(role))
    }
    /// What is reserved, by role in ascending order.
    pub fn reservations(&self) -> BTreeMap<RoleName, Self> {
        let mut entries: BTreeMap<RoleName, Vec<Resource>> = BTreeMap::new();
        for entry in self {
            if let Some(role) = entry.reservation_role() {
                entries.entry(role.clone()).or_default().push(entry.clone());
            }
        }
        // Parts of one bag in its order are a bag.
        entries.into_iter().map(|(role, entries)| (role, Self::of_sorted(entries))).collect()
    }
    /// The persistent volumes.
    pub fn persistent_volumes(&self) -> Self {
        self.filter(Resource::is_persistent_volume)
    }
    /// What can be taken back at any time.
    pub fn revocable(&self) -> Self {
        self.filter(Resource::is_revocable)
    }
    /// What can't.
    pub fn non_revocable(&self) -> Self {
        self.filter(|entry| !entry.is_revocable())
    }
    /// What several tasks may use at once, each copy.
    pub fn shared(&self) -> Self {
        self.filter(Resource::is_shared)
    }

    /// The amounts alone, by name and without identity: scalars, and how many numbers and items ranges and sets hold. Of a
    /// shared volume one copy counts; devices don't, since theirs are accounts of their own.
    pub fn quantities(&self) -> Totals {
        let mut totals = Totals::default();
        for entry in self.once() {
            totals.add_amount(&entry.name, &entry.value);
        }
        totals
    }

    /// The same amounts without reservations. Refused when something would be there twice then.
    pub fn to_unreserved(&self) -> Result<Self, ResourcesError> {
        Self::collect(self.iter().cloned().map(Resource::unreserved))
    }

    /// The bag with one more reservation on each entry.
    pub fn with_reservation(&self, reservation: &Reservation) -> Result<Self, ReservationError> {
        let entries: Result<Vec<Resource>, _> =
            self.iter().map(|entry| entry.clone().with_reservation(reservation.clone())).collect();
        let mut entries = entries?;
        entries.sort();
        Ok(Self::of_sorted(entries))
    }

    /// Resources for a wish, whatever their reservations: amounts of the wanted names, kinds and disks, taken first from
    /// what is reserved to the role (that of the wanted entry, else `role`), then from the unreserved, then from the rest.
    /// `None` when there is not enough. What is indivisible is found only when exactly that is wanted.
    ///
    /// As Mesos's `Resources::find`, except that ranges, sets and devices are also put together from several entries.
    /// Cost: entries wanted times entries there.
    pub fn find(&self, wanted: &Self, role: Option<&RoleName>) -> Option<Self> {
        let mut left = self.clone();
        let mut found = Self::new();
        for wish in wanted {
            let role = wish.reservation_role().or(role).cloned();
            let mut missing = wish.clone().unreserved();
            for pass in [Pass::Role, Pass::Unreserved, Pass::Any] {
                let taken = left.take_for(&mut missing, |entry| match pass {
                    Pass::Role => entry.reservation_role().is_some() && entry.reservation_role() == role.as_ref(),
                    Pass::Unreserved => entry.reservation_role().is_none(),
                    Pass::Any => true,
                });
                left.subtract(&taken).ok()?;
                found.add(&taken).ok()?;
                if missing.value.is_empty() {
                    break;
                }
            }
            if !missing.value.is_empty() {
                return None;
            }
        }
        Some(found)
    }

    /// What there is for one wish among the eligible entries; the wish becomes what is missing still.
    fn take_for(&self, missing: &mut Resource, is_eligible: impl Fn(&Resource) -> bool) -> Self {
        let is_whole = missing.stands_alone();
        let mut taken = Vec::new();
        for entry in self.iter().filter(|entry| entry.name == missing.name && is_eligible(entry)) {
            if !is_same_but_reserved(entry, missing) || (is_whole && entry.value != missing.value) {
                continue;
            }
            if let Some(value) = entry.value.common(&missing.value) {
                missing.value.take(&value);
                taken.push(Resource { name: entry.name.clone(), identity: entry.identity.clone(), value });
            }
        }
        Self::of_sorted(taken)
    }
}

#[derive(Clone, Copy)]
enum Pass {
    Role,
    Unreserved,
    Any,
}

/// Whether two entries are of one identity, their reservations left aside.
fn is_same_but_reserved(one: &Resource, two: &Resource) -> bool {
    let provider = |entry: &Resource| entry.identity.as_ref().and_then(|identity| identity.provider_id.clone());
    one.disk() == two.disk()
        && one.is_revocable() == two.is_revocable()
        && one.is_shared() == two.is_shared()
        && provider(one) == provider(two)
}

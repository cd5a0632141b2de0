//! Resources, with both forms of reservations (reference 10).
//!
//! Before RESERVATION_REFINEMENT a resource says `role` and, when the reservation was made at run time, `reservation`.
//! Since then it has the stack `reservations`. Either is read; both at once only when they say the same single layer.
//!
//! Reading loses nothing: what the kernel has no room for is refused. Two spellings of one thing become one: labels are
//! sorted, since Mesos compares them without their order; an empty list or message says as much as none; a resource of
//! nothing is none. Writing loses nothing with [`to_v1_whole`], which refuses what a form can't say; [`to_v1`] is the view for
//! readers who want what they can understand.

use std::collections::BTreeSet;

use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{
    DEVICE_WHOLE, Identity, Ranges, Reservation, Resource, ResourceName, Resources, Value, role,
};

use super::{Error, disk, labels};
use crate::v1::mesos as v1;
use crate::v1::mesos::resource::{AllocationInfo, ReservationInfo, RevocableInfo, SharedInfo, reservation_info};
use crate::v1::mesos::value;

/// How reservations are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `role` and `reservation`; what has more than one layer is left out, since it can't be said.
    Plain,
    /// `reservations`.
    Stack,
    /// Both where there is one layer: the form of the operator's endpoints.
    Endpoint,
}

/// Resources from outside, and the role under which they say they are allocated.
///
/// # Errors
/// The first rule that is broken.
pub fn from_v1(resources: &[v1::Resource]) -> Result<(Resources, Option<String>), Error> {
    let mut allocation: Option<String> = None;
    let mut entries = Vec::with_capacity(resources.len());
    for resource in resources {
        if let Some(role) = resource.allocation_info.as_ref().and_then(|info| info.role.as_ref()) {
            match &allocation {
                Some(other) if other != role => return Err(Error::Allocations(other.clone(), role.clone())),
                _ => allocation = Some(role.clone()),
            }
        }
        entries.push(entry(resource)?);
    }
    Ok((Resources::collect(entries)?, allocation))
}

/// The role under which resources say they are allocated: that of the first that names one.
pub(super) fn allocation(resources: &[v1::Resource]) -> Option<&str> {
    resources.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.as_deref())
}

pub(super) fn entry(resource: &v1::Resource) -> Result<Resource, Error> {
    let bad = |reason| Error::Resource { name: resource.name.clone(), reason };
    if resource.name.is_empty() {
        return Err(bad("it has no name"));
    }
    let value = amount(resource)?;
    let reservations = reservations(resource)?;
    let revocable = resource.revocable.is_some();
    let disk =
        resource.disk.as_ref().map(|disk| disk::from_v1(resource, disk, !reservations.is_empty())).transpose()?;
    let shared = resource.shared.is_some();
    if shared && disk.as_ref().is_none_or(|disk| disk.persistence.is_none()) {
        return Err(bad("only persistent volumes can be shared"));
    }
    let provider_id = resource.provider_id.as_ref().map(|id| id.value.clone());
    let identity = Identity { reservations, disk, revocable, shared, provider_id };
    let identity = (identity != Identity::default()).then(|| identity.into());
    Ok(Resource { name: ResourceName::of(&resource.name), identity, value })
}

fn amount(resource: &v1::Resource) -> Result<Value, Error> {
    let bad = |reason| Error::Resource { name: resource.name.clone(), reason };
    let of_another_type = |fields: [bool; 2]| match fields {
        [false, false] => Ok(()),
        _ => Err(bad("it has a value of another type")),
    };
    let (scalar, ranges, set) = (&resource.scalar, &resource.ranges, &resource.set);
    match value::Type::try_from(resource.r#type) {
        Ok(value::Type::Scalar) => {
            of_another_type([ranges.is_some(), set.is_some()])?;
            let scalar = scalar.as_ref().ok_or(bad("it is a scalar without one"))?.value;
            let error = || Error::Quantity { name: resource.name.clone(), value: scalar };
            let quantity = Quantity::from_scalar(scalar).ok_or_else(error)?;
            match resource.name == "gpus" && !quantity.0.is_multiple_of(1000) {
                true => Err(bad("the 'gpus' resource must be an unsigned integer")),
                false => Ok(Value::Scalar(quantity)),
            }
        }
        Ok(value::Type::Ranges) => {
            of_another_type([scalar.is_some(), set.is_some()])?;
            let ranges = ranges.as_ref().ok_or(bad("it has ranges without any"))?;
            let pairs = ranges.range.iter().map(|range| (range.begin, range.end)).collect();
            let error = |reason| Error::Ranges { name: resource.name.clone(), reason };
            Ranges::new(pairs).map(Value::Ranges).map_err(error)
        }
        Ok(value::Type::Set) => {
            of_another_type([scalar.is_some(), ranges.is_some()])?;
            let set = set.as_ref().ok_or(bad("it is a set without one"))?;
            let items: BTreeSet<String> = set.item.iter().cloned().collect();
            if items.len() == set.item.len() { Ok(Value::Set(items)) } else { Err(bad("an item is in the set twice")) }
        }
        Ok(value::Type::Text) | Err(_) => Err(bad("its type is none that resources have")),
    }
}

fn reservations(resource: &v1::Resource) -> Result<Vec<Reservation>, Error> {
    let bad = |reason| Error::Resource { name: resource.name.clone(), reason };
    let sorted = |info: &ReservationInfo| {
        let mut labels = labels::take(&mut info.labels.clone());
        labels.sort();
        labels
    };
    let plain = match (resource.role.as_deref().filter(|role| *role != role::DEFAULT), &resource.reservation) {
        (None, None) => None,
        (None, Some(_)) => return Err(bad("role '*' can't be reserved at run time")),
        (Some(_), Some(info)) if info.r#type.is_some() || info.role.is_some() => {
            return Err(bad("'reservation' says its type or role, which only 'reservations' do"));
        }
        (Some(role), reservation) => Some(Reservation {
            dynamic: reservation.is_some(),
            role: role::parse(role)?,
            principal: reservation.as_ref().and_then(|info| info.principal.clone()),
            labels: reservation.as_ref().map(sorted).unwrap_or_default(),
        }),
    };
    let mut stack = Identity::default();
    for info in &resource.reservations {
        let dynamic = match info.r#type.map(reservation_info::Type::try_from) {
            Some(Ok(reservation_info::Type::Dynamic)) => true,
            Some(Ok(reservation_info::Type::Static)) => false,
            _ => return Err(bad("a reservation has no type")),
        };
        let role = role::parse(info.role.as_deref().ok_or(bad("a reservation has no role"))?)?;
        let reservation = Reservation { dynamic, role, principal: info.principal.clone(), labels: sorted(info) };
        let error = |reason| Error::Reservation { name: resource.name.clone(), reason };
        stack.push(reservation).map_err(error)?;
    }
    match (plain, stack.reservations.as_slice()) {
        (None, _) => Ok(stack.reservations),
        (Some(plain), []) => Ok(vec![plain]),
        // The old form has no room for what a static reservation may say besides its role.
        (Some(plain), [only]) if plain == *only || (!plain.dynamic && !only.dynamic && plain.role == only.role) => {
            Ok(stack.reservations)
        }
        _ => Err(bad("'role' and 'reservations' do not say the same")),
    }
}

/// The v1 form for readers: without what it can't say. `allocation` fills in `allocation_info.role`. Left out are refined
/// reservations in [`Form::Plain`], and parts of devices: whole ones are counted as Mesos counts GPUs.
pub fn to_v1(resources: &Resources, form: Form, allocation: Option<&str>) -> Vec<v1::Resource> {
    let is_shown = |entry: &&Resource| {
        let layers = entry.identity.as_ref().map_or(0, |identity| identity.reservations.len());
        (form != Form::Plain || layers < 2) && whole_devices(&entry.value) != Some(0)
    };
    resources.iter().filter(is_shown).map(|entry| entry_to_v1(entry, form, allocation)).collect()
}

/// The v1 form, all of it: what [`from_v1`] reads back as it was.
///
/// # Errors
/// When the form can't say something.
pub fn to_v1_whole(resources: &Resources, form: Form, allocation: Option<&str>) -> Result<Vec<v1::Resource>, Error> {
    let convert = |entry: &Resource| match unsayable(entry, form) {
        None => Ok(entry_to_v1(entry, form, allocation)),
        Some(reason) => Err(Error::Unsayable { entry: entry.to_string(), reason }),
    };
    resources.iter().map(convert).collect()
}

/// What a form has no room for in an entry.
fn unsayable(entry: &Resource, form: Form) -> Option<&'static str> {
    let reservations = entry.identity.as_ref().map_or(&[][..], |identity| &identity.reservations);
    match &entry.value {
        Value::Devices(_) => return Some("v1 has no devices"),
        Value::Scalar(amount) if Quantity::from_scalar(amount.as_scalar()) != Some(*amount) => {
            return Some("it is beyond the scalars of v1");
        }
        _ => {}
    }
    match (form, reservations) {
        (Form::Plain, [_, _, ..]) => Some("its reservation is refined"),
        (Form::Plain, [only]) if !only.dynamic && (only.principal.is_some() || !only.labels.is_empty()) => {
            Some("its static reservation has a principal or labels")
        }
        _ => None,
    }
}

/// How many whole devices there are; `None` of what is no devices. Parts of several are no whole one.
fn whole_devices(value: &Value) -> Option<u64> {
    let Value::Devices(devices) = value else { return None };
    Some(devices.iter().filter(|device| device.share == DEVICE_WHOLE).count() as u64)
}

pub(super) fn entry_to_v1(entry: &Resource, form: Form, allocation: Option<&str>) -> v1::Resource {
    let mut out = v1::Resource { name: entry.name.as_str().to_owned(), ..v1::Resource::default() };
    write_amount(&entry.value, &mut out);
    out.allocation_info = allocation.map(|role| AllocationInfo { role: Some(role.to_owned()) });
    let reservations = entry.identity.as_ref().map_or(&[][..], |identity| &identity.reservations);
    if form != Form::Stack {
        match reservations {
            [] => out.role = Some(role::DEFAULT.to_owned()),
            [only] => {
                out.role = Some(only.role.to_string());
                out.reservation = only.dynamic.then(|| ReservationInfo {
                    principal: only.principal.clone(),
                    labels: labels::to_v1(&only.labels),
                    ..ReservationInfo::default()
                });
            }
            _ => {}
        }
    }
    if form != Form::Plain {
        out.reservations = reservations.iter().map(reservation_to_v1).collect();
    }
    if let Some(identity) = &entry.identity {
        out.disk = identity.disk.as_ref().map(disk::to_v1);
        out.revocable = identity.revocable.then(RevocableInfo::default);
        out.shared = identity.shared.then(SharedInfo::default);
        out.provider_id = identity.provider_id.clone().map(|value| v1::ResourceProviderId { value });
    }
    out
}

fn write_amount(amount: &Value, out: &mut v1::Resource) {
    let kind = match amount {
        Value::Scalar(quantity) => {
            out.scalar = Some(value::Scalar { value: quantity.as_scalar() });
            value::Type::Scalar
        }
        Value::Devices(_) => {
            let count = whole_devices(amount).unwrap_or_default();
            out.scalar = Some(value::Scalar { value: Quantity::units(count).as_scalar() });
            value::Type::Scalar
        }
        Value::Ranges(ranges) => {
            out.ranges = Some(ranges_to_v1(ranges));
            value::Type::Ranges
        }
        Value::Set(items) => {
            out.set = Some(value::Set { item: items.iter().cloned().collect() });
            value::Type::Set
        }
    };
    out.r#type = kind as i32;
}

/// The v1 form of ranges.
pub(super) fn ranges_to_v1(ranges: &Ranges) -> value::Ranges {
    value::Ranges { range: ranges.iter().map(|(begin, end)| value::Range { begin, end }).collect() }
}

fn reservation_to_v1(reservation: &Reservation) -> ReservationInfo {
    let kind = if reservation.dynamic { reservation_info::Type::Dynamic } else { reservation_info::Type::Static };
    ReservationInfo {
        r#type: Some(kind as i32),
        role: Some(reservation.role.to_string()),
        principal: reservation.principal.clone(),
        labels: labels::to_v1(&reservation.labels),
    }
}

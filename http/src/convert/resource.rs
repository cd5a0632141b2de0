//! Resources, with both forms of reservations (reference 10).
//!
//! Before RESERVATION_REFINEMENT a resource says `role` and, when the reservation was made at run time, `reservation`.
//! Since then it has the stack `reservations`. Either is read; both at once only when they say the same single layer.

use std::collections::BTreeSet;

use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{
    Disk, DiskKind, DiskSource, Identity, Persistence, Ranges, Reservation, Resource, ResourceName, Resources, Value,
    Volume, role,
};

use super::{Error, labels};
use crate::v1::mesos as v1;
use crate::v1::mesos::resource::disk_info::{self, source};
use crate::v1::mesos::resource::{
    AllocationInfo, DiskInfo, ReservationInfo, RevocableInfo, SharedInfo, reservation_info,
};
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

fn entry(resource: &v1::Resource) -> Result<Resource, Error> {
    let bad = |reason| Error::Resource { name: resource.name.clone(), reason };
    if resource.name.is_empty() {
        return Err(bad("it has no name"));
    }
    let value = amount(resource)?;
    let reservations = reservations(resource)?;
    let revocable = resource.revocable.is_some();
    let disk = resource.disk.as_ref().map(|disk| disk_from_v1(resource, disk, !reservations.is_empty())).transpose()?;
    let shared = resource.shared.is_some();
    if shared && disk.as_ref().is_none_or(|disk| disk.persistence.is_none()) {
        return Err(bad("only persistent volumes can be shared"));
    }
    let provider_id = resource.provider_id.as_ref().map(|id| id.value.clone());
    let identity = Identity { reservations, disk, revocable, shared, provider_id };
    let identity = (identity != Identity::default()).then(|| Box::new(identity));
    Ok(Resource { name: ResourceName::of(&resource.name), identity, value })
}

fn amount(resource: &v1::Resource) -> Result<Value, Error> {
    let bad = |reason| Error::Resource { name: resource.name.clone(), reason };
    match value::Type::try_from(resource.r#type) {
        Ok(value::Type::Scalar) => {
            let scalar = resource.scalar.as_ref().ok_or(bad("it is a scalar without one"))?.value;
            let quantity = Quantity::from_scalar(scalar);
            let error = || Error::Quantity { name: resource.name.clone(), value: scalar };
            quantity.map(Value::Scalar).ok_or_else(error)
        }
        Ok(value::Type::Ranges) => {
            let ranges = resource.ranges.as_ref().ok_or(bad("it has ranges without any"))?;
            let pairs = ranges.range.iter().map(|range| (range.begin, range.end)).collect();
            let error = |reason| Error::Ranges { name: resource.name.clone(), reason };
            Ranges::new(pairs).map(Value::Ranges).map_err(error)
        }
        Ok(value::Type::Set) => {
            let set = resource.set.as_ref().ok_or(bad("it is a set without one"))?;
            let items: BTreeSet<String> = set.item.iter().cloned().collect();
            if items.len() == set.item.len() { Ok(Value::Set(items)) } else { Err(bad("an item is in the set twice")) }
        }
        Ok(value::Type::Text) | Err(_) => Err(bad("its type is none that resources have")),
    }
}

fn reservations(resource: &v1::Resource) -> Result<Vec<Reservation>, Error> {
    let bad = |reason| Error::Resource { name: resource.name.clone(), reason };
    let plain = match (resource.role.as_deref().filter(|role| *role != role::DEFAULT), &resource.reservation) {
        (None, None) => None,
        (None, Some(_)) => return Err(bad("role '*' can't be reserved at run time")),
        (Some(role), reservation) => Some(Reservation {
            dynamic: reservation.is_some(),
            role: role::parse(role)?,
            principal: reservation.as_ref().and_then(|info| info.principal.clone()),
            labels: labels::take(&mut reservation.as_ref().and_then(|info| info.labels.clone())),
        }),
    };
    let mut stack: Vec<Reservation> = Vec::with_capacity(resource.reservations.len());
    for info in &resource.reservations {
        let dynamic = match info.r#type.map(reservation_info::Type::try_from) {
            Some(Ok(reservation_info::Type::Dynamic)) => true,
            Some(Ok(reservation_info::Type::Static)) if stack.is_empty() => false,
            Some(Ok(reservation_info::Type::Static)) => return Err(bad("only the first reservation can be static")),
            _ => return Err(bad("a reservation has no type")),
        };
        let role = role::parse(info.role.as_deref().ok_or(bad("a reservation has no role"))?)?;
        if role.as_str() == role::DEFAULT {
            return Err(bad("role '*' can't be reserved"));
        }
        if stack.last().is_some_and(|outer| !role::is_below(&role, &outer.role)) {
            return Err(bad("a refined reservation must be for a sub-role of the one before"));
        }
        let labels = labels::take(&mut info.labels.clone());
        stack.push(Reservation { dynamic, role, principal: info.principal.clone(), labels });
    }
    match plain {
        None => Ok(stack),
        Some(plain) if stack.is_empty() || stack == [plain.clone()] => Ok(vec![plain]),
        Some(_) => Err(bad("'role' and 'reservations' do not say the same")),
    }
}

fn disk_from_v1(resource: &v1::Resource, info: &DiskInfo, reserved: bool) -> Result<Disk, Error> {
    let bad = |reason| Error::Resource { name: resource.name.clone(), reason };
    if resource.name != "disk" {
        return Err(bad("only 'disk' can have DiskInfo"));
    }
    if info.persistence.is_some() {
        if !reserved || resource.revocable.is_some() {
            return Err(bad("a persistent volume must be of reserved and non-revocable disk"));
        }
        if info.volume.is_none() {
            return Err(bad("a persistent volume needs 'volume'"));
        }
    } else if info.volume.is_some() {
        return Err(bad("a volume must be persistent"));
    } else if info.source.is_none() {
        return Err(bad("DiskInfo is set and empty"));
    }
    let persistence = match &info.persistence {
        None => None,
        Some(persistence) => {
            kaon_kernel::id::check(&persistence.id).map_err(|_| bad("its persistence id is invalid"))?;
            Some(Persistence { id: persistence.id.clone(), principal: persistence.principal.clone() })
        }
    };
    let volume = info.volume.as_ref().map(|volume| {
        if volume.image.is_some() || volume.source.is_some() {
            return Err(bad("a persistent volume has neither image nor source"));
        }
        let (container_path, host_path) = (volume.container_path.clone(), volume.host_path.clone());
        Ok(Volume { container_path, host_path, writable: volume.mode == v1::volume::Mode::Rw as i32 })
    });
    let source = info.source.as_ref().map(|source| {
        let kind = match source::Type::try_from(source.r#type) {
            Ok(source::Type::Path) => DiskKind::Path,
            Ok(source::Type::Mount) => DiskKind::Mount,
            Ok(source::Type::Block) => DiskKind::Block,
            Ok(source::Type::Raw) => DiskKind::Raw,
            Ok(source::Type::Unknown) | Err(_) => return Err(bad("its disk source has no known type")),
        };
        let root = match kind {
            DiskKind::Path => source.path.as_ref().and_then(|path| path.root.clone()),
            DiskKind::Mount => source.mount.as_ref().and_then(|mount| mount.root.clone()),
            DiskKind::Block | DiskKind::Raw => None,
        };
        Ok(DiskSource {
            kind,
            root,
            id: source.id.clone(),
            profile: source.profile.clone(),
            vendor: source.vendor.clone(),
            metadata: labels::take(&mut source.metadata.clone()),
        })
    });
    Ok(Disk { persistence, volume: volume.transpose()?, source: source.transpose()? })
}

/// The v1 form. `allocation` fills in `allocation_info.role`.
pub fn to_v1(resources: &Resources, form: Form, allocation: Option<&str>) -> Vec<v1::Resource> {
    let sayable = |entry: &&Resource| {
        form != Form::Plain || entry.identity.as_ref().is_none_or(|identity| identity.reservations.len() < 2)
    };
    resources.iter().filter(sayable).map(|entry| entry_to_v1(entry, form, allocation)).collect()
}

fn entry_to_v1(entry: &Resource, form: Form, allocation: Option<&str>) -> v1::Resource {
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
        out.disk = identity.disk.as_ref().map(disk_to_v1);
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
        // Whole devices as Mesos counts GPUs.
        Value::Devices(devices) => {
            let shares = devices.iter().map(|device| u64::from(device.share)).sum();
            out.scalar = Some(value::Scalar { value: Quantity(shares).as_scalar() });
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

fn disk_to_v1(disk: &Disk) -> DiskInfo {
    let persistence = disk.persistence.as_ref().map(|persistence| disk_info::Persistence {
        id: persistence.id.clone(),
        principal: persistence.principal.clone(),
    });
    let volume = disk.volume.as_ref().map(|volume| v1::Volume {
        mode: if volume.writable { v1::volume::Mode::Rw } else { v1::volume::Mode::Ro } as i32,
        container_path: volume.container_path.clone(),
        host_path: volume.host_path.clone(),
        ..v1::Volume::default()
    });
    let source = disk.source.as_ref().map(|from| {
        let mut out = disk_info::Source {
            id: from.id.clone(),
            profile: from.profile.clone(),
            vendor: from.vendor.clone(),
            metadata: labels::to_v1(&from.metadata),
            ..disk_info::Source::default()
        };
        let kind = match from.kind {
            DiskKind::Path => {
                out.path = Some(source::Path { root: from.root.clone() });
                source::Type::Path
            }
            DiskKind::Mount => {
                out.mount = Some(source::Mount { root: from.root.clone() });
                source::Type::Mount
            }
            DiskKind::Block => source::Type::Block,
            DiskKind::Raw => source::Type::Raw,
        };
        out.r#type = kind as i32;
        out
    });
    DiskInfo { persistence, volume, source }
}

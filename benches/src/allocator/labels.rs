//! Bags with reservations and labels, the shapes that make identities expensive.

use kaon_kernel::framework::Label;
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Identity, Ranges, Reservation, Resource, ResourceName, Resources, Value};

/// A dynamic reservation of processors with so many labels, distinct by `serial`.
pub fn reserved(role: &RoleName, cpus: u64, labels: u32, serial: u64) -> Resource {
    let label = |number| Label { key: format!("key-{number}"), value: Some(format!("value-{serial}-{number}")) };
    let reservation = Reservation {
        dynamic: true,
        role: role.clone(),
        principal: Some("principal".to_owned()),
        labels: (0..labels).map(label).collect(),
    };
    let identity = Identity { reservations: vec![reservation], ..Identity::default() };
    Resource { identity: Some(identity.into()), ..Resource::scalar(ResourceName::Cpus, Quantity::units(cpus)) }
}

/// So many revocable processors.
pub fn revocable(cpus: u64) -> Resource {
    let identity = Identity { revocable: true, ..Identity::default() };
    Resource { identity: Some(identity.into()), ..Resource::scalar(ResourceName::Cpus, Quantity::units(cpus)) }
}

/// Numbers from `begin` to `end` cut into so many ranges, with a hole of one number before each but the first.
///
/// # Panics
/// When there are not that many numbers.
pub fn fragments(begin: u64, end: u64, count: u64) -> Resource {
    let length = (end - begin + 1) / count;
    let ranges = (0..count).map(|at| (begin + at * length + u64::from(at > 0), begin + (at + 1) * length - 1));
    let ranges = Ranges::new(ranges.collect()).expect("ranges with holes between them");
    Resource { name: ResourceName::Ports, identity: None, value: Value::Ranges(ranges) }
}

/// A bag and some entries.
///
/// # Panics
/// When they don't add up.
pub fn with(bag: &Resources, entries: impl IntoIterator<Item = Resource>) -> Resources {
    Resources::collect(bag.iter().cloned().chain(entries)).expect("entries that add up")
}

//! Resources: what a machine has and tasks use, as a canonical sorted bag (reference 10, design 6).
//!
//! A [`Resource`] is a value of one kind with an identity: two amounts add up only when their identities are equal. The
//! bag ([`Resources`]) is canonical, so that equal bags are equal values. All arithmetic is checked: what would overflow
//! or go below zero is refused and changes nothing. [`operation`] turns resources into others: reservations, volumes.
//!
//! The role under which resources are allocated is kept beside a bag (in offers and grants), not in it: Mesos's
//! `allocation_info` is put back at the edge.
//!
//! Where the behaviour comes from: Mesos's `src/common/resources.cpp`, `values.cpp` and `resource_quantities.cpp`.

mod bag;
mod entries;
mod entry;
mod identity;
mod kept;
#[allow(missing_docs, reason = "rkyv's derive leaves the fields of archived variants without the docs that ours have")]
pub mod operation;
pub mod parse;
mod ranges;
pub mod role;
mod select;
mod total;
mod value;

pub use bag::{Resources, ResourcesError};
pub use entry::ReservationError;
pub use identity::SharedIdentity;
pub use ranges::{Ranges, RangesError};
pub use total::Totals;
pub use value::DEVICE_WHOLE;

use crate::framework::Label;
use crate::id::RoleName;
use crate::quantity::Quantity;
use core::fmt;
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::BTreeSet;

/// The name of a resource. Order follows this list, then the alphabet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
pub enum ResourceName {
    /// Processor cores.
    Cpus,
    /// Memory in MiB.
    Mem,
    /// Disk in MiB.
    Disk,
    /// GPUs, whole ones for Mesos clients.
    Gpus,
    /// TCP and UDP ports.
    Ports,
    /// Any other.
    Other(String),
}

impl ResourceName {
    /// The name of a text.
    pub fn of(text: &str) -> Self {
        match text {
            "cpus" => Self::Cpus,
            "mem" => Self::Mem,
            "disk" => Self::Disk,
            "gpus" => Self::Gpus,
            "ports" => Self::Ports,
            other => Self::Other(other.to_owned()),
        }
    }
    /// The text of a name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Cpus => "cpus",
            Self::Mem => "mem",
            Self::Disk => "disk",
            Self::Gpus => "gpus",
            Self::Ports => "ports",
            Self::Other(text) => text,
        }
    }
}

/// An amount of one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub enum Value {
    /// A number in thousandths.
    Scalar(Quantity),
    /// Ranges of numbers, both ends included.
    Ranges(Ranges),
    /// A set of names.
    Set(BTreeSet<String>),
    /// Devices, each an account of its own, in order of their names. Never summed across devices.
    Devices(Vec<Device>),
}

impl Value {
    /// Whether there is nothing of it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(quantity) => quantity.is_zero(),
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(items) => items.is_empty(),
            Self::Devices(devices) => devices.is_empty(),
        }
    }
    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(_) => "SCALAR",
            Self::Ranges(_) => "RANGES",
            Self::Set(_) => "SET",
            Self::Devices(_) => "DEVICES",
        }
    }
}

/// A device, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct Device {
    /// Its identity, such as a GPU's UUID.
    pub id: String,
    /// How much of it, in thousandths; 1000 is all.
    pub share: u32,
    /// How much of its memory, in bytes.
    pub memory_bytes: u64,
    /// The NUMA node that it is nearest to, by its number on the machine.
    pub numa_node: Option<u32>,
    /// Devices with fast links between each other share a group.
    pub link_group: Option<u32>,
}

/// One entry of a bag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct Resource {
    /// Its name.
    pub name: ResourceName,
    /// What sets it apart from the same resource in other hands; `None` for the plain, unreserved case.
    pub identity: Option<SharedIdentity>,
    /// How much.
    pub value: Value,
}

impl Resource {
    /// A plain, unreserved scalar.
    pub fn scalar(name: ResourceName, quantity: Quantity) -> Self {
        Self { name, identity: None, value: Value::Scalar(quantity) }
    }
}

/// What sets one resource apart from another of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct Identity {
    /// The stack of reservations, outermost first; each role is a strict sub-role of the one before.
    pub reservations: Vec<Reservation>,
    /// What kind of disk.
    pub disk: Option<Disk>,
    /// Whether it can be taken back at any time.
    pub revocable: bool,
    /// Whether several tasks may use it at once.
    pub shared: bool,
    /// The resource provider that it comes from.
    pub provider_id: Option<String>,
}

/// One layer of a reservation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct Reservation {
    /// Made by a flag of the agent (only the outermost), or at run time.
    pub dynamic: bool,
    /// For whom.
    pub role: RoleName,
    /// Who made it.
    pub principal: Option<String>,
    /// Labels, sorted: their order is no part of the identity.
    pub labels: Vec<Label>,
}

/// What kind of disk a disk resource is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct Disk {
    /// A persistent volume's id and who made it.
    pub persistence: Option<Persistence>,
    /// Where it is mounted.
    pub volume: Option<Volume>,
    /// Which disk; `None` for the root disk.
    pub source: Option<DiskSource>,
}

/// The lasting part of a volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct Persistence {
    /// Its id, unique for its role on its agent.
    pub id: String,
    /// Who made it.
    pub principal: Option<String>,
}

/// The place of a volume in a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct Volume {
    /// Path in the container.
    pub container_path: String,
    /// Path on the machine.
    pub host_path: Option<String>,
    /// Whether it may be written.
    pub writable: bool,
}

/// A disk other than the root disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct DiskSource {
    /// What kind.
    pub kind: DiskKind,
    /// Its root for PATH and MOUNT.
    pub root: Option<String>,
    /// Its id at its provider.
    pub id: Option<String>,
    /// The provider's profile.
    pub profile: Option<String>,
    /// The provider's vendor.
    pub vendor: Option<String>,
    /// The provider's own labels, sorted.
    pub metadata: Vec<Label>,
}

/// The kinds of disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub enum DiskKind {
    /// A directory that may be split.
    Path,
    /// A file system of its own, indivisible.
    Mount,
    /// A block device.
    Block,
    /// Storage of a provider that is no disk yet.
    Raw,
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name.as_str())?;
        if let Some(identity) = &self.identity {
            for reservation in &identity.reservations {
                write!(formatter, "({})", reservation.role)?;
            }
            if let Some(persistence) = identity.disk.as_ref().and_then(|disk| disk.persistence.as_ref()) {
                write!(formatter, "[{}]", persistence.id)?;
            }
            if identity.revocable {
                formatter.write_str("{REV}")?;
            }
            if identity.shared {
                formatter.write_str("<SHARED>")?;
            }
        }
        match &self.value {
            Value::Scalar(quantity) => write!(formatter, ":{quantity}"),
            Value::Ranges(ranges) => write!(formatter, ":{ranges}"),
            Value::Set(items) => {
                write!(formatter, ":{{{}}}", items.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
            }
            Value::Devices(devices) => {
                let shares = devices.iter().map(|device| format!("{}={}", device.id, device.share));
                write!(formatter, ":{{{}}}", shares.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

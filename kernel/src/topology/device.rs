//! Devices: GPUs, network interfaces, fabric adapters and disks, with what they are near.

use crate::resource::Ranges;
use core::fmt;
use rkyv::{Archive, Deserialize, Serialize};

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub enum DeviceKind {
    /// A graphics processor or another accelerator.
    Gpu,
    /// A network interface.
    Network,
    /// An InfiniBand or similar adapter.
    Fabric,
    /// A disk, or memory that is used as one.
    Disk,
}

/// Where a device is on the PCI bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct PciAddress {
    /// Domain.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device.
    pub device: u8,
    /// Function.
    pub function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04x}:{:02x}:{:02x}.{:01x}", self.domain, self.bus, self.device, self.function)
    }
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Device {
    /// What it is.
    pub kind: DeviceKind,
    /// Its name at the operating system or its driver, or its place on the bus when it has none.
    pub name: String,
    /// Whether a driver serves it as what it is; false for a GPU that is a server's console.
    pub has_driver: bool,
    /// The identity that its maker gave it, such as a GPU's UUID.
    pub uuid: Option<String>,
    /// Where it is on the bus.
    pub pci: Option<PciAddress>,
    /// The bridges and switches of the bus above it, from the root down; numbers mean nothing beyond being equal.
    pub bridges: Vec<u32>,
    /// Who made it, in words or as PCI's number.
    pub vendor: Option<String>,
    /// Its model, in words or as PCI's number.
    pub model: Option<String>,
    /// Its own memory in bytes; zero where it has none or it is unknown.
    pub memory_bytes: u64,
    /// The processing units that are nearest to it.
    pub units: Ranges,
    /// The NUMA node that is nearest to it, by its number. The first of them when several are equally near.
    pub numa_node: Option<u32>,
    /// GPUs with fast links between each other share a group; `None` without such links. Made by [`super::Topology::new`].
    pub link_group: Option<u32>,
}

impl Device {
    /// What it is called in resources and placements: a GPU by its UUID, if it has one, everything else by its name. Unique
    /// on its machine.
    pub fn id(&self) -> &str {
        match (&self.uuid, self.kind) {
            (Some(uuid), DeviceKind::Gpu) => uuid,
            _ => &self.name,
        }
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let optional = [&self.uuid, &self.vendor, &self.model].into_iter().filter_map(Option::as_deref);
        optional.chain([self.name.as_str()])
    }
}

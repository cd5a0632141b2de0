//! Devices: what hwloc shows as PCI devices with operating system names below them, as the things people mean.
//!
//! A graphics processor is one device though drivers give it several names (`nvml0`, `cuda0`, `opencl0d0`): it counts by
//! its PCI device. A disk and a network interface count by their names: one controller may carry several.

use super::{Kind, Node, OsDeviceKind};
use kaon_kernel::resource::Ranges;
use std::fmt;

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// Where a device is on the PCI bus, and what it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciAddress {
    /// Domain.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device.
    pub device: u8,
    /// Function.
    pub function: u8,
    /// Class and subclass, such as 0x0302.
    pub class: u16,
    /// Vendor.
    pub vendor: u16,
    /// The vendor's number for the model.
    pub model: u16,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04x}:{:02x}:{:02x}.{:01x}", self.domain, self.bus, self.device, self.function)
    }
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What it is.
    pub kind: DeviceKind,
    /// Its first name at the operating system, or its place on the bus when it has none.
    pub name: String,
    /// Where it is on the bus.
    pub pci: Option<PciAddress>,
    /// The processing units that are nearest to it.
    pub cpus: Ranges,
    /// The NUMA nodes that are nearest to it.
    pub numa_nodes: Ranges,
    /// What its driver says, by name: `NVIDIAUUID`, `Address` and their like.
    pub infos: Vec<(String, String)>,
}

/// PCI base class of display controllers.
const CLASS_DISPLAY: u16 = 0x03;
/// PCI base class of processing accelerators.
const CLASS_ACCELERATOR: u16 = 0x12;
/// PCI class of a plain VGA controller: without a driver's name below it as likely a server's console as a GPU.
const CLASS_VGA: u16 = 0x0300;
/// The PCI vendor whose VGA controllers are GPUs without doubt: NVIDIA. (AMD's may be a server's console.)
const VENDOR_OF_GPUS: u16 = 0x10de;

/// The devices of a tree.
pub(super) fn devices(machine: &Node) -> Vec<Device> {
    let mut found = Vec::new();
    gather(machine, machine, None, &mut found);
    found
}

fn gather(node: &Node, near: &Node, pci: Option<PciAddress>, found: &mut Vec<Device>) {
    let device = |kind, name, pci, infos| {
        let (cpus, numa_nodes) = (near.cpus.clone(), near.numa_nodes.clone());
        Device { kind, name, pci, cpus, numa_nodes, infos }
    };
    match node.kind {
        Kind::Pci(address) => {
            let names: Vec<&Node> = node.walk().filter(|below| is_gpu_name(below)).collect();
            let base = address.class >> 8;
            let is_console = address.class == CLASS_VGA && address.vendor != VENDOR_OF_GPUS;
            let by_class = matches!(base, CLASS_DISPLAY | CLASS_ACCELERATOR) && !is_console;
            if by_class || !names.is_empty() {
                let name = names.first().and_then(|node| node.name.clone());
                let mut infos = node.infos.clone();
                infos.extend(names.iter().flat_map(|node| node.infos.clone()));
                infos.dedup();
                found.push(device(DeviceKind::Gpu, name.unwrap_or_else(|| address.to_string()), Some(address), infos));
            }
            for child in &node.children {
                gather(child, near, Some(address), found);
            }
        }
        Kind::Os(kind) => {
            let kind = match kind {
                OsDeviceKind::Block => Some(DeviceKind::Disk),
                OsDeviceKind::Network => Some(DeviceKind::Network),
                OsDeviceKind::Fabric => Some(DeviceKind::Fabric),
                // Below a PCI device they are counted with it; elsewhere they name no hardware that could be told apart.
                OsDeviceKind::Gpu | OsDeviceKind::Coprocessor | OsDeviceKind::Dma => None,
            };
            if let Some(kind) = kind {
                found.push(device(kind, node.name.clone().unwrap_or_default(), pci, node.infos.clone()));
            }
        }
        kind => {
            // What is not a device itself is what devices below it are near to.
            let near = if kind == Kind::Bridge { near } else { node };
            node.children.iter().for_each(|child| gather(child, near, pci, found));
        }
    }
}

fn is_gpu_name(node: &Node) -> bool {
    matches!(node.kind, Kind::Os(OsDeviceKind::Gpu | OsDeviceKind::Coprocessor))
}

//! Devices: what hwloc shows as PCI devices with operating system names below them, as the things people mean.
//!
//! A graphics processor is one device though drivers give it several names (`nvml0`, `cuda0`, `opencl0d0`): it counts by
//! its PCI device. A disk and a network interface count by their names: one controller may carry several.

use super::convert::short;
use super::tree::{Kind, Node, OsKind, Pci};
use kaon_kernel::topology::{Device, DeviceKind};

/// PCI base class of display controllers.
const CLASS_DISPLAY: u16 = 0x03;
/// PCI base class of processing accelerators.
const CLASS_ACCELERATOR: u16 = 0x12;
/// PCI class of a plain VGA controller: without a driver's name below it as likely a server's console as a GPU.
const CLASS_VGA: u16 = 0x0300;
/// The PCI vendor whose VGA controllers are GPUs without doubt: NVIDIA. (AMD's may be a server's console.)
const VENDOR_OF_GPUS: u16 = 0x10de;

/// How the names of screens begin (Linux DRM).
const SCREENS: [&str; 3] = ["card", "renderD", "controlD"];

/// In which remark a driver tells the memory of its device, in KiB. The first that is there counts.
const MEMORY_KIBIBYTES: [&str; 5] =
    ["CUDAGlobalMemorySize", "RSMIVRAMSize", "LevelZeroHBMSize", "LevelZeroDDRSize", "OpenCLGlobalMemorySize"];

/// In which remark a driver tells the identity that the maker gave.
const UUIDS: [&str; 3] = ["NVIDIAUUID", "AMDUUID", "LevelZeroUUID"];

/// The devices of a tree, each with hwloc's numbers of all that it stands for.
pub(super) fn devices(machine: &Node) -> Vec<(Device, Vec<u64>)> {
    let memories = machine.walk().filter(|node| node.kind == Kind::NumaNode);
    let memories = memories.filter_map(|node| Some((node.info("PCIBusID")?.to_owned(), node.bytes)));
    let mut search = Search { memories: memories.collect(), bridges: Vec::new(), bridges_met: 0, found: Vec::new() };
    search.gather(machine, machine, None);
    search.found
}

struct Search {
    /// NUMA nodes that are the memory of a device, by the device's address.
    memories: Vec<(String, u64)>,
    /// The bridges above the place where the search is.
    bridges: Vec<u32>,
    bridges_met: u32,
    found: Vec<(Device, Vec<u64>)>,
}

impl Search {
    fn gather(&mut self, node: &Node, near: &Node, pci: Option<&Node>) {
        match node.kind {
            Kind::Pci(_) => {
                self.add_gpu(node, near);
                node.children.iter().for_each(|child| self.gather(child, near, Some(node)));
            }
            Kind::Os(kind) => {
                let kind = match kind {
                    OsKind::Block => DeviceKind::Disk,
                    OsKind::Network => DeviceKind::Network,
                    OsKind::Fabric => DeviceKind::Fabric,
                    // Below a PCI device they are counted with it; elsewhere they name no hardware that could be told apart.
                    OsKind::Gpu | OsKind::Coprocessor | OsKind::Dma => return,
                };
                if let Some(name) = &node.name {
                    let device = self.device(kind, name, near, pci, &[node]);
                    self.found.push((device, vec![node.id]));
                }
            }
            Kind::Bridge => {
                self.bridges_met += 1;
                self.bridges.push(self.bridges_met);
                node.children.iter().for_each(|child| self.gather(child, near, pci));
                self.bridges.pop();
            }
            // What is not a device itself is what devices below it are near to.
            _ => node.children.iter().for_each(|child| self.gather(child, node, pci)),
        }
    }

    fn add_gpu(&mut self, node: &Node, near: &Node) {
        let Kind::Pci(Pci { address, class, vendor, .. }) = node.kind else { return };
        let names: Vec<&Node> = node.walk().filter(|below| is_gpu_name(below)).collect();
        let is_console = class == CLASS_VGA && vendor != VENDOR_OF_GPUS;
        let by_class = matches!(class >> 8, CLASS_DISPLAY | CLASS_ACCELERATOR) && !is_console;
        let memory = self.memories.iter().find(|(at, _)| *at == address.to_string()).map(|(_, bytes)| *bytes);
        if !by_class && names.is_empty() && memory.is_none() {
            return;
        }
        let place = address.to_string();
        let name = names.first().and_then(|node| node.name.as_deref());
        let mut told = vec![node];
        told.extend(&names);
        let mut device = self.device(DeviceKind::Gpu, name.unwrap_or(&place), near, Some(node), &told);
        // The kernel's own names for screens say nothing of computing.
        let is_screen =
            |node: &&Node| node.name.as_deref().is_some_and(|name| SCREENS.iter().any(|word| name.starts_with(word)));
        device.has_driver = names.iter().any(|node| !is_console || !is_screen(node));
        let of_driver = MEMORY_KIBIBYTES.into_iter().find_map(|key| {
            let kibibytes = told.iter().find_map(|node| node.info(key))?.parse::<u64>().ok()?;
            kibibytes.checked_mul(1024)
        });
        let of_model = || device.model.as_deref().and_then(memory_in_model);
        device.memory_bytes = of_driver.or(memory).or_else(of_model).unwrap_or(0);
        let ids = told.iter().map(|node| node.id).collect();
        self.found.push((device, ids));
    }

    fn device(&self, kind: DeviceKind, name: &str, near: &Node, pci: Option<&Node>, told: &[&Node]) -> Device {
        let info = |keys: &[&str]| {
            let found = keys.iter().find_map(|key| told.iter().find_map(|node| node.info(key)));
            found.map(short)
        };
        let bus = match pci.map(|node| node.kind) {
            Some(Kind::Pci(pci)) => Some(pci),
            _ => None,
        };
        let of_bus = |key: &str| pci.and_then(|node| node.info(key)).map(short);
        let numbers = bus.filter(|pci| pci.vendor != 0).map(|pci| format!("{:04x}:{:04x}", pci.vendor, pci.model));
        Device {
            kind,
            name: short(name),
            has_driver: true,
            uuid: info(&UUIDS),
            pci: bus.map(|pci| pci.address),
            bridges: self.bridges.clone(),
            vendor: info(&["GPUVendor", "Vendor"]).or_else(|| of_bus("PCIVendor")),
            model: info(&["GPUModel", "Model"]).or_else(|| of_bus("PCIDevice")).or(numbers),
            memory_bytes: 0,
            units: near.cpus.clone(),
            numa_node: near.numa_nodes.iter().next().and_then(|(first, _)| u32::try_from(first).ok()),
            link_group: None,
        }
    }
}

fn is_gpu_name(node: &Node) -> bool {
    matches!(node.kind, Kind::Os(OsKind::Gpu | OsKind::Coprocessor))
}

/// The size that a model has in its name, such as the 32 GiB of `Tesla V100-SXM3-32GB`: where the driver tells none.
fn memory_in_model(model: &str) -> Option<u64> {
    let words = model.split(|character: char| !character.is_ascii_alphanumeric());
    let mut sizes = words.filter_map(|word| word.strip_suffix("GB")?.parse::<u64>().ok());
    sizes.rfind(|gibibytes| (1..=4096).contains(gibibytes)).map(|gibibytes| gibibytes << 30)
}

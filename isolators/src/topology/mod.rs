//! The hardware of a machine: packages, NUMA nodes, caches, cores, processing units, and devices with what they are near.
//!
//! Read through hwloc (`hwloc.rs`, the only file that touches the C library) from the live machine, from an XML file that
//! `lstopo` exported on another one, or from a synthetic text, and copied once into the plain tree below: it can be sent
//! anywhere, is the same for the same source, and owes nothing to C memory. What is made of it as resources is in
//! [`crate::resources`].

mod device;
mod hwloc;

pub use device::{Device, DeviceKind, PciAddress};

use kaon_kernel::resource::Ranges;
use std::io;
use std::path::{Path, PathBuf};

/// The largest XML file taken, in bytes. That of a machine with 384 processing units has 0.4 MB.
pub const XML_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The longest synthetic text in bytes.
pub const SYNTHETIC_BYTES_MAX: usize = 4096;

/// The most objects of a topology; one with more is refused. The largest machines have some ten thousand.
pub const OBJECTS_MAX: usize = 1_000_000;

/// Why a topology can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library that was linked is another one than was compiled for.
    #[error("the hwloc library does not fit the program")]
    Library,
    /// hwloc refuses a step.
    #[error("hwloc can't {action}: {source}")]
    Refused {
        /// Which step.
        action: &'static str,
        /// The system's word for it.
        #[source]
        source: io::Error,
    },
    /// A file can't be read.
    #[error("can't read '{path}'")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The source is beyond [`XML_BYTES_MAX`], [`SYNTHETIC_BYTES_MAX`] or [`OBJECTS_MAX`].
    #[error("the topology is too large")]
    TooLarge,
    /// A text that is none for C.
    #[error("the text holds a NUL")]
    Nul,
}

/// What kind of object a node of the tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The whole.
    Machine,
    /// A physical package, what goes into a socket.
    Package,
    /// A die within a package.
    Die,
    /// Something in between without a better name.
    Group,
    /// A processor cache that holds data, by level.
    Cache(u8),
    /// A cache on the memory's side.
    MemoryCache,
    /// A NUMA node.
    NumaNode,
    /// A core.
    Core,
    /// A processing unit, that which runs a thread; what Mesos counts as a cpu.
    ProcessingUnit,
    /// A bridge of an I/O bus.
    Bridge,
    /// A PCI device.
    Pci(PciAddress),
    /// A device as the operating system names it.
    Os(OsDeviceKind),
    /// A remark.
    Other,
}

/// The kinds of devices of an operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OsDeviceKind {
    /// A disk, or memory that is used as one.
    Block,
    /// A graphics processor, as its driver names it.
    Gpu,
    /// A network interface.
    Network,
    /// An InfiniBand or similar adapter.
    Fabric,
    /// An engine that copies memory.
    Dma,
    /// A co-processor, such as a GPU under its name for computing.
    Coprocessor,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its number at the operating system, where it has one: unique among processing units and among NUMA nodes.
    pub os_index: Option<u32>,
    /// Its name, for devices.
    pub name: Option<String>,
    /// What sort of its kind, such as `GPUMemory` or `MCDRAM` of a NUMA node.
    pub subtype: Option<String>,
    /// The processing units in it, by their numbers at the operating system; empty for devices.
    pub cpus: Ranges,
    /// The NUMA nodes in it or around it, by their numbers; empty for devices.
    pub numa_nodes: Ranges,
    /// Memory of a NUMA node, or size of a cache, in bytes; zero otherwise, and where it is unknown.
    pub bytes: u64,
    /// What else is known, by name.
    pub infos: Vec<(String, String)>,
    /// What is in it or attached to it: memory first, then parts, then devices.
    pub children: Vec<Node>,
}

impl Node {
    /// This node and all below it, each before its children.
    pub fn walk(&self) -> impl Iterator<Item = &Node> {
        let mut open = vec![self];
        std::iter::from_fn(move || {
            let node = open.pop()?;
            open.extend(node.children.iter().rev());
            Some(node)
        })
    }

    /// The value of a remark.
    pub fn info(&self, name: &str) -> Option<&str> {
        self.infos.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A machine's hardware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The whole.
    pub machine: Node,
    /// All memory that programs of the processors may use, in bytes. On the live machine what the kernel says
    /// (`/proc/meminfo`): the sizes of NUMA nodes may be smaller while memory is still being added to a guest.
    pub memory_bytes: u64,
}

impl Topology {
    /// Reads the machine that this runs on. Only what this process may use counts (control groups, affinity of the
    /// kernel). Blocks for some milliseconds, longer on large machines.
    pub fn discover() -> Result<Self, Error> {
        let mut topology = Self::of(hwloc::load(hwloc::Source::Live)?);
        match memory_of_the_kernel() {
            Ok(bytes) if bytes > 0 => topology.memory_bytes = bytes,
            Ok(_) => tracing::warn!("/proc/meminfo has no MemTotal; memory is taken from hwloc"),
            Err(error) => tracing::warn!(%error, "/proc/meminfo can't be read; memory is taken from hwloc"),
        }
        Ok(topology)
    }

    /// Reads a file that `lstopo --of xml` (hwloc 2) wrote. The file must be one that the operator trusts: it is parsed
    /// by C code.
    pub fn from_xml(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > XML_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        let text = std::fs::read(path).map_err(failed)?;
        hwloc::load(hwloc::Source::Xml(&text)).map(Self::of)
    }

    /// Makes a machine from a description such as `pack:2 [numa(memory=64GiB)] l3:1 core:8 pu:2`.
    pub fn from_synthetic(text: &str) -> Result<Self, Error> {
        if text.len() > SYNTHETIC_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        hwloc::load(hwloc::Source::Synthetic(text)).map(Self::of)
    }

    fn of(machine: Node) -> Self {
        // The memory of a graphics processor may show up as a NUMA node; programs of the processors do not get it.
        let nodes = machine.walk().filter(|node| node.kind == Kind::NumaNode);
        let memory = nodes.filter(|node| node.subtype.as_deref() != Some("GPUMemory"));
        let memory_bytes = memory.fold(0, |sum: u64, node| sum.saturating_add(node.bytes));
        Self { machine, memory_bytes }
    }

    /// All nodes of one kind, in the order of the tree.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Node> {
        self.machine.walk().filter(move |node| node.kind == kind)
    }

    /// How many nodes of one kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.all(kind).count()
    }

    /// Graphics processors, disks and network interfaces with what they are near, in the order of the tree.
    pub fn devices(&self) -> Vec<Device> {
        device::devices(&self.machine)
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes; zero when it is not there.
fn memory_of_the_kernel() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"));
    Ok(total.and_then(|kibibytes| kibibytes.trim().parse::<u64>().ok()).map_or(0, |kibibytes| kibibytes * 1024))
}

#[cfg(test)]
mod tests;

//! What hwloc holds, copied: the tree with everything in it, and the matrices between its objects. The step between the C
//! library and the value that everything else sees.

use kaon_kernel::resource::Ranges;
use kaon_kernel::topology::PciAddress;

/// What kind of object a node of the tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Machine,
    Package,
    Die,
    Group,
    /// A processor cache that holds data, by level.
    Cache(u8),
    /// A cache on the memory's side.
    MemoryCache,
    NumaNode,
    Core,
    ProcessingUnit,
    /// A bridge of an I/O bus.
    Bridge,
    Pci(Pci),
    /// A device as the operating system names it.
    Os(OsKind),
    Other,
}

/// A PCI device: where, and what it says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pci {
    pub(super) address: PciAddress,
    /// Class and subclass, such as 0x0302.
    pub(super) class: u16,
    pub(super) vendor: u16,
    /// The vendor's number for the model.
    pub(super) model: u16,
}

/// The kinds of devices of an operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OsKind {
    Block,
    Gpu,
    Network,
    Fabric,
    Dma,
    Coprocessor,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// hwloc's own number for the object, by which matrices name it.
    pub(super) id: u64,
    /// Its number at the operating system.
    pub(super) os_index: Option<u32>,
    pub(super) name: Option<String>,
    /// What sort of its kind, such as `GPUMemory` of a NUMA node.
    pub(super) subtype: Option<String>,
    /// The processing units in it, by their numbers; empty for devices.
    pub(super) cpus: Ranges,
    /// The NUMA nodes in it or around it, by their numbers; empty for devices.
    pub(super) numa_nodes: Ranges,
    /// Memory of a NUMA node, or size of a cache, in bytes.
    pub(super) bytes: u64,
    pub(super) infos: Vec<(String, String)>,
    /// What is in it or attached to it: memory first, then parts, then devices.
    pub(super) children: Vec<Node>,
}

impl Node {
    /// This node and all below it, each before its children.
    pub(super) fn walk(&self) -> impl Iterator<Item = &Node> {
        let mut open = vec![self];
        std::iter::from_fn(move || {
            let node = open.pop()?;
            open.extend(node.children.iter().rev());
            Some(node)
        })
    }

    /// The value of a remark.
    pub(super) fn info(&self, name: &str) -> Option<&str> {
        self.infos.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A matrix as hwloc has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawMatrix {
    pub(super) name: String,
    /// `HWLOC_DISTANCES_KIND_*`.
    pub(super) kind: u64,
    /// The objects by hwloc's own numbers.
    pub(super) objects: Vec<Option<u64>>,
    pub(super) values: Vec<u64>,
}

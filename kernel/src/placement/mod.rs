//! Exact placement on a machine: which processing units, memory nodes and devices a task gets.
//!
//! A [`Machine`] is a topology with what is used of it. [`Machine::place`] answers with a [`Placement`] or with a
//! [`Reason`], and changes nothing when it refuses; [`Machine::release`] gives back exactly what was placed. It is used by
//! the agent, in real time and in the simulator alike; who may run at all is the allocator's business, and what walls make
//! the kernel obey is that of `isolators/`.
//!
//! The law, held by `kernel/tests/placement.rs` over random machines and histories:
//!
//! 1. Let T be what the machine shares out, and U the sum of the resources of all tasks that are placed. A task without a
//!    request whose resources are in T - U is placed. So an offer, which is a part of T - U (law L6), can always be carried
//!    out, whatever requests other tasks had.
//! 2. Nothing is used twice: of no processing unit, node or device is more placed than it has; a core that is somebody's
//!    own, and a whole GPU, are nobody else's.
//! 3. A placement takes what the resources of its task say: as many processing units, as much memory, as many GPUs.
//! 4. After the release of all placements the machine is as it was, to the last count.
//! 5. A request that can't be carried out is refused with a reason, and a refusal changes nothing. An offer does not promise
//!    that a request can be carried out: it is a sum, and the request asks for a place.
//!
//! Whole GPUs are counted: `gpus:N` in what a machine shares out promises that N of its GPUs can always be had whole.
//! Parts of a GPU are asked for by a request, and come only from GPUs that are not promised; or the machine shares a GPU
//! out by itself as a device, and then the parts are in the offer, one account for each device. Nothing is ever summed
//! over parts of different GPUs.

mod cores;
mod demand;
mod gpus;
pub mod label;
mod layout;
mod machine;
mod memory;
mod reason;
mod request;
mod shape;
#[cfg(test)]
mod tests;

pub use demand::Demand;
pub use layout::MachineError;
pub use machine::Machine;
pub use reason::Reason;
pub use request::{Near, PlacementRequest, Policy};
pub use shape::{GpuShape, HomeShape, SHAPE_PARTS_MAX, Shape};

use crate::quantity::Quantity;
use crate::resource::Ranges;
use crate::topology::set;
use rkyv::{Archive, Deserialize, Serialize};

/// A share of one processing unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct UnitShare {
    /// Its number at the operating system.
    pub unit: u32,
    /// How much of its time, in thousandths.
    pub share: u16,
}

/// Memory of one NUMA node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct NodeMemory {
    /// Its number at the operating system.
    pub node: u32,
    /// How much.
    pub bytes: u64,
}

/// A share of one GPU.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DeviceShare {
    /// Its identity, see [`crate::topology::Device::id`].
    pub id: String,
    /// Its place among the GPUs of the machine in the order of their places on the bus.
    pub ordinal: u32,
    /// How much of it, in thousandths; 1000 is all.
    pub share: u16,
    /// How much of its memory.
    pub memory_bytes: u64,
}

/// Where a task is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Placement {
    /// The amount of processing units that it takes.
    pub cpus: Quantity,
    /// The amount of memory that it takes, in MiB.
    pub mem: Quantity,
    /// How many whole GPUs it takes that are counted.
    pub whole_gpus: u32,
    /// Its processing units, ascending. Empty for a task that runs on any that are nobody's own.
    pub units: Vec<UnitShare>,
    /// Whether these are nobody else's.
    pub exclusive: bool,
    /// Where its memory is, ascending. Empty for a task whose memory may be anywhere.
    pub memory: Vec<NodeMemory>,
    /// Its GPUs, in the order of their places on the bus.
    pub devices: Vec<DeviceShare>,
}

impl Placement {
    /// The numbers of its processing units; empty for anywhere.
    pub fn unit_numbers(&self) -> Ranges {
        set(self.units.iter().map(|share| u64::from(share.unit)))
    }
    /// The numbers of its memory nodes; empty for anywhere.
    pub fn node_numbers(&self) -> Ranges {
        set(self.memory.iter().map(|memory| u64::from(memory.node)))
    }
}

//! Why a task can't be placed: data first, words from it.

use super::request::Policy;
use crate::quantity::Quantity;
use crate::topology::MemoryKind;

/// What is lacking. Amounts of processing units are in thousandths of one, memory in bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// More processing units than are shared out and free altogether.
    #[error("{wanted} cpus wanted, {free} free")]
    Cpus {
        /// What the task takes.
        wanted: Quantity,
        /// What is left of all.
        free: Quantity,
    },
    /// More memory than is shared out and free altogether.
    #[error("{wanted} MiB of memory wanted, {free} MiB free")]
    Memory {
        /// What the task takes.
        wanted: Quantity,
        /// What is left of all.
        free: Quantity,
    },
    /// No place of the wanted extent has so many free.
    #[error("{wanted} cpus wanted {}, the most free there is {best}", place(*.policy))]
    Cores {
        /// What the task takes.
        wanted: Quantity,
        /// Where all of them should lie.
        policy: Policy,
        /// The largest amount that one such place could give.
        best: Quantity,
    },
    /// No place of the wanted extent has so many wholly free cores.
    #[error("{wanted} cpus on cores of their own wanted {}, the most free there is {best}", place(*.policy))]
    ExclusiveCores {
        /// What the task takes.
        wanted: Quantity,
        /// Where all of them should lie.
        policy: Policy,
        /// The processing units of free cores of the best such place.
        best: Quantity,
    },
    /// Cores of its own for an amount that no number of whole cores makes up.
    #[error("{cpus} cpus are no whole cores: a core here has {threads}")]
    NotWholeCores {
        /// What the task takes.
        cpus: Quantity,
        /// The processing units of the smallest core.
        threads: u32,
    },
    /// No place of the wanted extent with enough cores has so much memory free.
    #[error("{wanted} bytes of {} wanted {}, the most free beside enough cores is {best}", memory(*.kind), place(*.policy))]
    NodeMemory {
        /// What the task takes.
        wanted: u64,
        /// Of which kind.
        kind: Option<MemoryKind>,
        /// Where all of it should lie.
        policy: Policy,
        /// The largest amount that one such place could give.
        best: u64,
    },
    /// Fewer whole GPUs are free, near what they should be near.
    #[error("{wanted} whole GPUs wanted, {free} free that fit")]
    WholeGpus {
        /// How many.
        wanted: u32,
        /// How many could be had.
        free: u32,
    },
    /// Whole GPUs are counted; a part of one is asked for by a request, or by the device itself.
    #[error("{0} GPUs wanted: `gpus` counts whole ones")]
    PartOfGpus(Quantity),
    /// No link group has so many free.
    #[error("{wanted} GPUs in one link group wanted, the most free in one is {best}")]
    LinkGroup {
        /// How many.
        wanted: u32,
        /// How many the best group could give.
        best: u32,
    },
    /// No one GPU has so much left that is not promised as a whole.
    #[error("{share} thousandths and {memory_bytes} bytes of one GPU wanted; no GPU that fits has them free")]
    GpuPart {
        /// The share, in thousandths.
        share: u32,
        /// The memory.
        memory_bytes: u64,
    },
    /// A part is asked for beside whole GPUs.
    #[error("a part of one GPU and whole ones wanted; a task gets one or the other")]
    PartAndWhole,
    /// Something is asked of GPUs, and none is taken.
    #[error("GPUs are to be placed, but the task takes none")]
    NoGpus,
    /// GPUs should be near the task's own processing units, and it has none.
    #[error("GPUs near the task's cores wanted, but its policy gives it none")]
    NoCores,
    /// There is no such network interface.
    #[error("there is no network interface '{0}' to be near to")]
    NoNetwork(String),
    /// A device that is not shared out by itself, or has less left.
    #[error("device '{id}': {share} thousandths and {memory_bytes} bytes wanted, {free_share} and {free_bytes} free")]
    Device {
        /// Which.
        id: String,
        /// What the task takes, in thousandths.
        share: u32,
        /// What the task takes of its memory.
        memory_bytes: u64,
        /// What is left, in thousandths.
        free_share: u32,
        /// What is left of its memory.
        free_bytes: u64,
    },
    /// The devices that the task takes are not placed as it asks.
    #[error("the devices of the task are not as it asks: {0}")]
    DevicesElsewhere(&'static str),
    /// The agent was told no topology.
    #[error("the agent knows no topology to place by")]
    NoTopology,
}

fn place(policy: Policy) -> &'static str {
    match policy {
        Policy::OneNode => "near one NUMA node",
        Policy::OnePackage => "in one package",
        Policy::None | Policy::Packed | Policy::Spread => "on the machine",
    }
}

fn memory(kind: Option<MemoryKind>) -> &'static str {
    kind.map_or("memory", MemoryKind::name)
}

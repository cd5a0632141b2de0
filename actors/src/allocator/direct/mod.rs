//! Direct placement: which machine, and which of its GPUs, a task goes to (policies 3, reference `policies.md`).
//!
//! A library without messages. A [`Cluster`] holds what is free in columns; a [`Placement`] chooses; whoever asked books
//! the choice with [`Cluster::place`] and takes it back with [`Cluster::release`]. All arithmetic of resources is in
//! integers (thousandths of a core or of a GPU, MiB), so what is booked is exact.
//!
//! Every policy is indexed: for each [`Shape`] of task it keeps the worth of every machine ready, and mends it from the
//! cluster's log of changes, so that a decision costs a few machines and not all of them. What the index gives is what a
//! scan of all machines gives; the tests compare the two.
//!
//! Left to others: which task is next (`policy/`), preemption, constraints beyond GPU types, and time.

mod best;
mod borg;
mod cluster;
mod clustering;
mod feasible;
mod fit;
mod fragmentation;
mod index;
mod log;
mod packing;
mod power;
mod registry;
mod shapes;
mod task;
mod tetris;

#[cfg(test)]
mod tests;

pub use best::{Best, Score};
pub use borg::{Borg, BorgWeights, CANDIDATES_DEFAULT};
pub use cluster::{Cluster, ClusterError, GPU_UNITS, GPUS_MAX, Largest, Misfit, NODES_MAX, Node, NodeIndex, NodeSpec};
pub use clustering::GpuClustering;
pub use feasible::{FirstFit, Random, RoundRobin};
pub use fit::{BestFit, Counted, DotProduct, EPvm, Rounding, WorstFit};
pub use fragmentation::{Fgd, Fragments, Workload};
pub use packing::GpuPacking;
pub use registry::{PLACEMENTS, Parameters, PlacementName, Unsuited, placement};
pub use shapes::{SHAPES_MAX, TieBreak};
pub use task::{BadDemand, GPU_TYPES_MAX, GpuDemand, GpuSet, GpuType, GpuTypes, Shape, Task};
pub use tetris::{Candidate, Contender, Knobs, Pick, Tetris, TetrisQueue};

use kaon_kernel::chance::Chance;

/// Where a task goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The machine.
    pub node: NodeIndex,
    /// The GPUs on it: none, one for a part, or as many as are asked for whole.
    pub gpus: GpuSet,
}

/// The seat of "where": chooses a machine and its GPUs for one task. Pure: the same calls give the same choices.
///
/// A placement remembers what it has seen of its cluster, so one placement belongs to one [`Cluster`] for life.
pub trait Placement: Send {
    /// A machine on which `task` fits, or none when it fits nowhere. Nothing is booked.
    fn choose(&mut self, cluster: &Cluster, task: &Task, chance: &mut Chance) -> Option<Choice>;
}

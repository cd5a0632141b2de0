//! Placements that ask only whether a machine admits a task: the first, the next, or any.

use super::index::Admitting;
use super::shapes::{Shapes, TieBreak};
use super::{Choice, Cluster, GpuDemand, GpuSet, Node, NodeIndex, Placement, Shape, Task};
use kaon_kernel::chance::Chance;

/// The machines that admit each shape, in the order of ties.
#[derive(Debug)]
pub(super) struct Admission {
    shapes: Shapes<Admitting>,
}

impl Admission {
    pub(super) fn new(tie: TieBreak) -> Self {
        Self { shapes: Shapes::new(tie) }
    }

    pub(super) fn of(&mut self, cluster: &Cluster, shape: &Shape) -> &Admitting {
        self.shapes.renew(cluster);
        self.shapes.settle(cluster, shape, |node| u64::from(cluster.node(node).admits(shape)))
    }

    pub(super) fn node(&self, position: usize) -> NodeIndex {
        self.shapes.node(position)
    }
}

/// The first machine, in the order of ties, that admits the task.
#[derive(Debug)]
pub struct FirstFit(Admission);

impl FirstFit {
    /// For one cluster.
    pub fn new(tie: TieBreak) -> Self {
        Self(Admission::new(tie))
    }
}

impl Placement for FirstFit {
    fn choose(&mut self, cluster: &Cluster, task: &Task, _: &mut Chance) -> Option<Choice> {
        let position = self.0.of(cluster, &task.shape).next(0)?;
        let node = cluster.node(self.0.node(position));
        Some(Choice { node: node.index(), gpus: node.tightest(&task.shape) })
    }
}

/// The first machine after the last one chosen that admits the task; wraps.
#[derive(Debug)]
pub struct RoundRobin {
    admission: Admission,
    /// The position after the last one chosen.
    next: usize,
}

impl RoundRobin {
    /// For one cluster; begins with the first machine in the order of ties.
    pub fn new(tie: TieBreak) -> Self {
        Self { admission: Admission::new(tie), next: 0 }
    }
}

impl Placement for RoundRobin {
    fn choose(&mut self, cluster: &Cluster, task: &Task, _: &mut Chance) -> Option<Choice> {
        let from = self.next;
        let admitting = self.admission.of(cluster, &task.shape);
        let position = admitting.next(from).or_else(|| admitting.next(0))?;
        self.next = position + 1;
        let node = cluster.node(self.admission.node(position));
        Some(Choice { node: node.index(), gpus: node.tightest(&task.shape) })
    }
}

/// A machine drawn uniformly from those that admit the task, and a GPU drawn uniformly from those that fit a part.
/// Draws once for the machine and, for a part, once for the GPU.
#[derive(Debug)]
pub struct Random(Admission);

impl Random {
    /// For one cluster. Without a tie there is nothing to break: positions only name the machines that are drawn.
    pub fn new(tie: TieBreak) -> Self {
        Self(Admission::new(tie))
    }
}

impl Placement for Random {
    fn choose(&mut self, cluster: &Cluster, task: &Task, chance: &mut Chance) -> Option<Choice> {
        let admitting = self.0.of(cluster, &task.shape);
        let drawn = chance.below(u64::from(admitting.count())) as u32;
        let position = admitting.nth(drawn)?;
        let node = cluster.node(self.0.node(position));
        Some(Choice { node: node.index(), gpus: any_gpu(node, &task.shape, chance) })
    }
}

fn any_gpu(node: Node<'_>, shape: &Shape, chance: &mut Chance) -> GpuSet {
    let GpuDemand::Part(units) = shape.gpu else { return node.tightest(shape) };
    let mut fitting = node.gpu_free().iter().enumerate().filter(|(_, free)| **free >= units);
    let drawn = chance.below(fitting.clone().count() as u64) as usize;
    fitting.nth(drawn).map_or(GpuSet::default(), |(number, _)| GpuSet::one(number))
}

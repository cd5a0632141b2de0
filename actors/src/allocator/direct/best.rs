//! Placements that take the machine with the best score.

use super::index::Largest;
use super::shapes::{Shapes, TieBreak};
use super::{Choice, Cluster, GpuSet, Node, Placement, Shape, Task};
use kaon_kernel::chance::Chance;

/// What a machine is worth to a task of some shape. Pure: a function of both and of what [`Score::prepare`] saw.
pub trait Score: Send {
    /// Machines were added. Called before the first question, and never between two of one cluster otherwise.
    fn prepare(&mut self, _cluster: &Cluster) {}

    /// The worth of a machine that admits the shape; the largest wins. [`worth`] makes one of a float, [`u64::MAX`] is
    /// never reached.
    fn worth(&self, node: Node<'_>, shape: &Shape) -> u64;

    /// The GPUs taken on the machine that won.
    fn gpus(&self, node: Node<'_>, shape: &Shape) -> GpuSet {
        node.tightest(shape)
    }
}

/// A number as a worth, in the same order: the larger float has the larger worth, and none is zero.
pub(super) fn worth(score: f64) -> u64 {
    // Adding zero makes one zero of the two.
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Takes the machine with the largest worth. A decision costs the scores of the machines that changed since the last
/// task of this shape, and a few cache lines; the first task of a shape costs the scores of all.
#[derive(Debug)]
pub struct Best<S> {
    score: S,
    shapes: Shapes<Largest>,
}

impl<S: Score> Best<S> {
    /// A placement by this score, for one cluster.
    pub fn new(score: S, tie: TieBreak) -> Self {
        Self { score, shapes: Shapes::new(tie) }
    }

    /// The best machine for a shape and its worth.
    pub(super) fn best<'a>(&mut self, cluster: &'a Cluster, shape: &Shape) -> Option<(Node<'a>, u64)> {
        if self.shapes.renew(cluster) {
            self.score.prepare(cluster);
        }
        let score = &self.score;
        let index = self.shapes.settle(cluster, shape, |node| {
            let node = cluster.node(node);
            if node.admits(shape) { score.worth(node, shape) } else { 0 }
        });
        let position = index.best()?;
        let worth = index.worth(position);
        Some((cluster.node(self.shapes.node(position)), worth))
    }

    pub(super) fn score(&self) -> &S {
        &self.score
    }
}

impl<S: Score> Placement for Best<S> {
    fn choose(&mut self, cluster: &Cluster, task: &Task, _: &mut Chance) -> Option<Choice> {
        let (node, _) = self.best(cluster, &task.shape)?;
        Some(Choice { node: node.index(), gpus: self.score.gpus(node, &task.shape) })
    }
}

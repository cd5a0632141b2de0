//! A placement after Borg's published principles (policies 3.3; Verma et al., EuroSys 2015).
//!
//! Machines are looked at from a start that moves on, until enough of them admit the task (relaxed randomisation); the
//! best of those wins. The score is a weighted sum of terms between 0 and 1:
//! - stranding after placement, (largest free fraction) - (smallest free fraction) over the machine's resources: less is
//!   better;
//! - spread: the part of the job's tasks that is in the machine's failure domain already: less is better;
//! - packages: the part of the task's packages that is there already: more is better;
//! - mix: the part of the machine's tasks that is of the other band (production or not): more is better.
//!
//! Borg also weighs victims of preemption; without preemption there are none, and the term is left out. The paper gives
//! no weights: those here are ours.

use super::feasible::Admission;
use super::{Choice, Cluster, Node, Placement, Task, TieBreak};
use kaon_kernel::chance::Chance;

/// So many feasible machines are scored for one decision.
pub const CANDIDATES_DEFAULT: u32 = 32;

/// How much each term counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BorgWeights {
    /// Against stranding.
    pub stranding: f64,
    /// Against tasks of one job in one failure domain.
    pub spread: f64,
    /// For packages that are there.
    pub packages: f64,
    /// For a mix of production tasks and others.
    pub mix: f64,
}

impl Default for BorgWeights {
    fn default() -> Self {
        Self { stranding: 1.0, spread: 0.5, packages: 0.25, mix: 0.25 }
    }
}

/// The placement. A decision costs the scores of the candidates.
#[derive(Debug)]
pub struct Borg {
    admission: Admission,
    weights: BorgWeights,
    candidates: u32,
    /// The position at which the next look begins.
    start: usize,
}

impl Borg {
    /// For one cluster. `candidates` of at least the number of machines makes it a full scan; zero counts as one.
    pub fn new(weights: BorgWeights, candidates: u32, tie: TieBreak) -> Self {
        Self { admission: Admission::new(tie), weights, candidates: candidates.max(1), start: 0 }
    }

    /// The score of a machine that admits the task.
    pub fn score(&self, cluster: &Cluster, node: Node<'_>, task: &Task) -> f64 {
        let weights = &self.weights;
        let (here, in_all) = if task.job == 0 { (0, 0) } else { cluster.spread(task.job, node.index()) };
        let has = (node.packages() & task.packages).count_ones();
        let bands = node.bands();
        let others = bands[usize::from(task.is_production)];
        weights.packages * part(has, task.packages.count_ones()) + weights.mix * part(others, bands[0] + bands[1])
            - weights.spread * part(here, in_all)
            - weights.stranding * stranding(node, task)
    }
}

fn part(some: u32, all: u32) -> f64 {
    f64::from(some) / f64::from(all.max(1))
}

fn stranding(node: Node<'_>, task: &Task) -> f64 {
    let shape = &task.shape;
    let resources = [
        (node.cpu_free() - shape.cpu_milli, node.cpu_capacity()),
        (node.mem_free() - shape.mem_mib, node.mem_capacity()),
        (node.gpu_units_free() - shape.gpu.units_in_all(), node.gpu_units_capacity()),
    ];
    let (mut most, mut least) = (0.0_f64, 1.0_f64);
    for (left, capacity) in resources.into_iter().filter(|(_, capacity)| *capacity > 0) {
        let free = left as f64 / capacity as f64;
        (most, least) = (most.max(free), least.min(free));
    }
    (most - least).max(0.0)
}

impl Placement for Borg {
    /// Ties go to the machine that is looked at first.
    fn choose(&mut self, cluster: &Cluster, task: &Task, _: &mut Chance) -> Option<Choice> {
        let admitting = self.admission.of(cluster, &task.shape);
        let count = admitting.count().min(self.candidates);
        let mut positions = Vec::with_capacity(count as usize);
        let mut from = self.start;
        for _ in 0..count {
            let position = admitting.next(from).or_else(|| admitting.next(0))?;
            positions.push(position);
            from = position + 1;
        }
        let mut best: Option<(f64, Node<'_>)> = None;
        for &position in &positions {
            let node = cluster.node(self.admission.node(position));
            let score = self.score(cluster, node, task);
            if best.is_none_or(|(other, _)| score > other) {
                best = Some((score, node));
            }
        }
        self.start = from;
        best.map(|(_, node)| Choice { node: node.index(), gpus: node.tightest(&task.shape) })
    }
}

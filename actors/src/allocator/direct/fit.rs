//! Scores by how well a task fits into what is free: best and worst fit, the dot product, E-PVM (policies 3, 3.1).
//!
//! Amounts are normalised by the largest capacity of any machine, computed as floats in one fixed order of operations.

use super::best::{Score, worth};
use super::power::Powers;
use super::{Cluster, Node, Shape};

/// Which resources count in a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// CPU.
    pub cpu: bool,
    /// Memory.
    pub mem: bool,
    /// GPU units, all of a machine's GPUs together.
    pub gpu: bool,
}

impl Counted {
    /// All three.
    pub const ALL: Self = Self { cpu: true, mem: true, gpu: true };
    /// CPU and GPU, as in the openb results.
    pub const CPU_GPU: Self = Self { cpu: true, mem: false, gpu: true };
}

/// How fine scores are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// As they are.
    #[default]
    Exact,
    /// Cut to a whole percent first, as in the openb results; more machines tie.
    Percent,
}

impl Rounding {
    /// A score of about 0 to 1 as a worth.
    fn worth(self, score: f64) -> u64 {
        match self {
            Self::Exact => worth(score),
            Self::Percent => worth((100.0 * score).floor()),
        }
    }
}

/// Which resources of a cluster count, and their largest capacities. A resource that no machine has does not count.
#[derive(Clone, Copy, Debug)]
struct Scale {
    counted: Counted,
    rounding: Rounding,
    /// CPU, memory, GPU; zero for what does not count.
    largest: [f64; 3],
    kinds: f64,
}

impl Scale {
    fn new(counted: Counted, rounding: Rounding) -> Self {
        Self { counted, rounding, largest: [0.0; 3], kinds: 1.0 }
    }

    fn prepare(&mut self, cluster: &Cluster) {
        let largest = cluster.largest();
        let of = |is_counted: bool, amount: u64| if is_counted { amount as f64 } else { 0.0 };
        self.largest = [
            of(self.counted.cpu, largest.cpu_milli),
            of(self.counted.mem, largest.mem_mib),
            of(self.counted.gpu, largest.gpu_units),
        ];
        self.kinds = self.largest.iter().filter(|&&one| one > 0.0).count().max(1) as f64;
    }

    /// The mean over the counted resources of what `part` makes of (free, demand, largest).
    fn mean(&self, node: Node<'_>, shape: &Shape, part: impl Fn(f64, f64, f64) -> f64) -> f64 {
        let mut sum = 0.0;
        for ((free, demand), largest) in amounts(node, shape).into_iter().zip(self.largest) {
            if largest > 0.0 {
                sum += part(free as f64, demand as f64, largest);
            }
        }
        sum / self.kinds
    }

    /// What is left after placement, as a part of the largest machine: 0 for none, 1 for all.
    fn left(&self, node: Node<'_>, shape: &Shape) -> f64 {
        self.mean(node, shape, |free, demand, largest| (free - demand) / largest)
    }
}

/// (Free, demand) of CPU, memory, GPU units.
fn amounts(node: Node<'_>, shape: &Shape) -> [(u64, u64); 3] {
    [
        (node.cpu_free(), shape.cpu_milli),
        (node.mem_free(), shape.mem_mib),
        (node.gpu_units_free(), shape.gpu.units_in_all()),
    ]
}

/// The machine with the least left after placement. Stretching whole scores over the feasible machines, as the openb
/// protocol does, does not change which are the best, and is left out.
#[derive(Clone, Copy, Debug)]
pub struct BestFit(Scale);

impl BestFit {
    /// By these resources, at equal weights.
    pub fn new(counted: Counted, rounding: Rounding) -> Self {
        Self(Scale::new(counted, rounding))
    }
}

impl Score for BestFit {
    fn prepare(&mut self, cluster: &Cluster) {
        self.0.prepare(cluster);
    }
    fn worth(&self, node: Node<'_>, shape: &Shape) -> u64 {
        self.0.rounding.worth(1.0 - self.0.left(node, shape))
    }
}

/// The machine with the most left after placement.
#[derive(Clone, Copy, Debug)]
pub struct WorstFit(Scale);

impl WorstFit {
    /// By these resources, at equal weights.
    pub fn new(counted: Counted, rounding: Rounding) -> Self {
        Self(Scale::new(counted, rounding))
    }
}

impl Score for WorstFit {
    fn prepare(&mut self, cluster: &Cluster) {
        self.0.prepare(cluster);
    }
    fn worth(&self, node: Node<'_>, shape: &Shape) -> u64 {
        self.0.rounding.worth(self.0.left(node, shape))
    }
}

/// The product of demand and free amounts, resource by resource, in one of its two opposite conventions.
#[derive(Clone, Copy, Debug)]
pub struct DotProduct {
    scale: Scale,
    prefers_least: bool,
}

impl DotProduct {
    /// The smallest product wins: the machine with the least of what the task needs (openb).
    pub fn least(counted: Counted, rounding: Rounding) -> Self {
        Self { scale: Scale::new(counted, rounding), prefers_least: true }
    }

    /// The largest product wins: an empty machine whose free shape is like the demand (Panigrahy et al. 2011, Tetris).
    pub fn alignment(counted: Counted, rounding: Rounding) -> Self {
        Self { scale: Scale::new(counted, rounding), prefers_least: false }
    }
}

impl Score for DotProduct {
    fn prepare(&mut self, cluster: &Cluster) {
        self.scale.prepare(cluster);
    }
    fn worth(&self, node: Node<'_>, shape: &Shape) -> u64 {
        let product = self.scale.mean(node, shape, |free, demand, largest| demand * free / (largest * largest));
        self.scale.rounding.worth(if self.prefers_least { 1.0 - product } else { product })
    }
}

/// The smallest rise of the sum over resources of `n^(used part)`, where n is the number of machines (E-PVM, Amir et al.,
/// TPDS 2000). Spreads load, and shuns a machine of which anything is nearly used up.
#[derive(Clone, Debug, Default)]
pub struct EPvm {
    powers: Powers,
}

impl Score for EPvm {
    fn prepare(&mut self, cluster: &Cluster) {
        self.powers = Powers::of(cluster.len().max(1) as f64);
    }
    fn worth(&self, node: Node<'_>, shape: &Shape) -> u64 {
        let capacities = [node.cpu_capacity(), node.mem_capacity(), node.gpu_units_capacity()];
        let mut rise = 0.0;
        for ((free, demand), capacity) in amounts(node, shape).into_iter().zip(capacities) {
            if capacity > 0 {
                let used = capacity - free;
                rise += self.powers.at(used + demand, capacity) - self.powers.at(used, capacity);
            }
        }
        worth(-rise)
    }
}

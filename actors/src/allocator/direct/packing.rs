//! GPU packing: GPUs in use first, then idle ones of machines in use, then idle machines (policies 3.4).

use super::best::Score;
use super::{GPU_UNITS, GPUS_MAX, Node, Shape};

/// The score, in whole numbers; ties are many.
#[derive(Clone, Copy, Debug, Default)]
pub struct GpuPacking;

/// What the bands of the score begin with.
const IDLE_NODE: u64 = 33;
const IDLE_GPU: u64 = 50;
const SHARED: u64 = 100;

impl GpuPacking {
    /// The points of a machine that admits the shape: 0 to 100.
    pub fn points(node: Node<'_>, shape: &Shape) -> u64 {
        let wanted = shape.gpu.count() as usize;
        if wanted == 0 {
            return 0;
        }
        let gpus = node.gpus();
        if node.gpus_idle() == gpus {
            return IDLE_NODE.saturating_sub(gpus as u64).max(gpus as u64);
        }
        let mut fitting = [0; GPUS_MAX];
        let mut count = 0;
        for &free in node.gpu_free().iter().filter(|free| **free >= shape.gpu.units()) {
            fitting[count] = free;
            count += 1;
        }
        let fitting = &mut fitting[..count];
        fitting.sort_unstable();
        let chosen = &fitting[..wanted.min(count)];
        let idle = chosen.iter().filter(|&&free| free == GPU_UNITS).count() as u64;
        if idle > 0 {
            return IDLE_GPU.saturating_sub(idle).max(IDLE_NODE);
        }
        let parts = chosen.iter().map(|&free| u64::from(free / 10)).sum::<u64>();
        SHARED.saturating_sub(parts / 10).max(IDLE_GPU)
    }
}

impl Score for GpuPacking {
    fn worth(&self, node: Node<'_>, shape: &Shape) -> u64 {
        Self::points(node, shape) + 1
    }
}

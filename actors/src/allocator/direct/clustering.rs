//! GPU clustering: tasks of one kind together (policies 3.5).

use super::best::Score;
use super::{Node, Shape};

/// The score, in whole numbers. The kind of a task is that it shares a GPU, or how many whole ones it takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct GpuClustering;

/// GPU units of the largest machine of the published experiments, by which the base is measured.
const UNITS_FULL: u64 = 8000;

impl GpuClustering {
    /// The points of a machine that admits the shape: 0 to 100.
    pub fn points(node: Node<'_>, shape: &Shape) -> u64 {
        let Some(kind) = shape.gpu.kind() else { return 0 };
        let base = 25 * UNITS_FULL.saturating_sub(node.gpu_units_free()) / UNITS_FULL;
        let kinds = node.kinds();
        let has_own = kinds.get(kind).is_some_and(|&tasks| tasks > 0);
        let has_others = kinds.iter().enumerate().any(|(other, &tasks)| other != kind && tasks > 0);
        base + match (has_own, has_others) {
            (true, false) => 75,
            (true, true) => 50,
            (false, false) => 25,
            (false, true) => 0,
        }
    }
}

impl Score for GpuClustering {
    fn worth(&self, node: Node<'_>, shape: &Shape) -> u64 {
        Self::points(node, shape) + 1
    }
}

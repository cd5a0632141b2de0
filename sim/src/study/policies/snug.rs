//! The machine with the fewest GPU units left after placement: best fit on GPUs alone. The example of
//! `docs/adding/policy.md`.

use super::Own;
use kaon_actors::allocator::direct::{Best, Node, Score, Shape};

/// What the registry says of it.
pub(super) const POLICY: Own = Own {
    name: "snug",
    about: "the machine with the fewest GPU units left after placement",
    make: |parameters| Box::new(Best::new(Snug, parameters.tie)),
};

struct Snug;

impl Score for Snug {
    /// The largest worth wins; zero is kept for machines on which the task does not fit.
    fn worth(&self, node: Node<'_>, shape: &Shape) -> u64 {
        let left = node.gpu_units_free() - shape.gpu.units_in_all();
        1 + node.gpu_units_capacity() - left
    }
}

//! The seat of "which agents in which order": the order in which a round visits its candidates.

use kaon_kernel::chance::Chance;
use kaon_kernel::id::AgentIndex;

/// Puts the candidates of one round in order. Pure: the same candidates, state and chance give the same order.
pub trait Arrangement: Send {
    /// Arranges `candidates`, which come in ascending order of their indexes, without repeats.
    fn arrange(&mut self, candidates: &mut [AgentIndex], chance: &mut Chance);
}

/// The orders that come with Kaon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentOrder {
    /// A seeded shuffle in every round, as in Mesos.
    #[default]
    Random,
    /// In order of their indexes: the order in which the master came to know them.
    Given,
}

impl Arrangement for AgentOrder {
    fn arrange(&mut self, candidates: &mut [AgentIndex], chance: &mut Chance) {
        match self {
            Self::Random => chance.shuffle(candidates),
            Self::Given => {}
        }
    }
}

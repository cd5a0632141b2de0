//! Placements by name.

use super::best::{Best, Score};
use super::shapes::TieBreak;
use super::{
    BestFit, Borg, BorgWeights, CANDIDATES_DEFAULT, Counted, DotProduct, EPvm, Fgd, FirstFit, GpuClustering,
    GpuPacking, Placement, Random, RoundRobin, Rounding, Tetris, Workload, WorstFit,
};
use crate::allocator::policy::{UnknownPolicy, named};
use core::fmt;
use thiserror::Error;

/// A placement that comes with Kaon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlacementName {
    /// [`Random`].
    Random,
    /// [`FirstFit`].
    FirstFit,
    /// [`BestFit`].
    BestFit,
    /// [`WorstFit`].
    WorstFit,
    /// [`RoundRobin`].
    RoundRobin,
    /// [`DotProduct::least`].
    DotProduct,
    /// [`DotProduct::alignment`].
    DotProductAlignment,
    /// [`Tetris`].
    Tetris,
    /// [`EPvm`].
    EPvm,
    /// [`Borg`].
    Borg,
    /// [`GpuPacking`].
    GpuPacking,
    /// [`GpuClustering`].
    GpuClustering,
    /// [`Fgd`].
    Fgd,
}

/// Every placement with its name and what it chooses.
pub const PLACEMENTS: [(PlacementName, &str, &str); 13] = [
    (PlacementName::Random, "random", "any machine that the task fits on, drawn uniformly"),
    (PlacementName::FirstFit, "first-fit", "the first machine that the task fits on"),
    (PlacementName::BestFit, "best-fit", "the machine with the least left after placement"),
    (PlacementName::WorstFit, "worst-fit", "the machine with the most left after placement"),
    (PlacementName::RoundRobin, "round-robin", "the first machine after the last one used; wraps"),
    (PlacementName::DotProduct, "dot-product", "the smallest product of demand and free amounts"),
    (PlacementName::DotProductAlignment, "dot-product-alignment", "the largest product of demand and free amounts"),
    (PlacementName::Tetris, "tetris", "the largest alignment of demand with what is free, by the machine's own size"),
    (PlacementName::EPvm, "e-pvm", "the smallest rise of the sum of n^(used part), n being the number of machines"),
    (PlacementName::Borg, "borg", "of some machines: little stranded, jobs spread, packages there, bands mixed"),
    (PlacementName::GpuPacking, "gpu-packing", "GPUs in use before idle ones, machines in use before idle ones"),
    (PlacementName::GpuClustering, "gpu-clustering", "machines that run tasks of the same GPU kind"),
    (PlacementName::Fgd, "fgd", "the smallest growth of GPU fragmentation for a target workload"),
];

impl PlacementName {
    /// The placement of a name.
    ///
    /// # Errors
    /// When there is none; the error names the nearest.
    pub fn parse(name: &str) -> Result<Self, UnknownPolicy> {
        named("placement", name, PLACEMENTS.iter().map(|(one, name, _)| (*one, *name)))
    }

    /// Its name in flags and scenarios.
    pub fn word(self) -> &'static str {
        self.row().1
    }

    /// What it chooses, in a line.
    pub fn about(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        &PLACEMENTS[self as usize]
    }
}

impl fmt::Display for PlacementName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// What placements can be told. Each uses what concerns it.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Which of equal machines wins, and the order of `first-fit`, `round-robin` and `borg`.
    pub tie: TieBreak,
    /// Resources in fits and dot products.
    pub counted: Counted,
    /// Precision of fits and dot products.
    pub rounding: Rounding,
    /// The target of `fgd`.
    pub workload: Option<Workload>,
    /// The weights of `borg`.
    pub borg: BorgWeights,
    /// Machines that `borg` scores for one decision.
    pub candidates: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            tie: TieBreak::Index,
            counted: Counted::ALL,
            rounding: Rounding::Exact,
            workload: None,
            borg: BorgWeights::default(),
            candidates: CANDIDATES_DEFAULT,
        }
    }
}

impl Parameters {
    /// Those of the openb protocol (policies 7): CPU and GPU in whole percents, ties by a permutation of the machines.
    pub fn openb(seed: u64, workload: Workload) -> Self {
        Self {
            tie: TieBreak::Permutation(seed),
            counted: Counted::CPU_GPU,
            rounding: Rounding::Percent,
            workload: Some(workload),
            ..Self::default()
        }
    }
}

/// Why a placement can't be made with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unsuited {
    /// FGD measures fragmentation for some workload.
    #[error("placement 'fgd' needs a target workload")]
    NoWorkload,
}

/// Makes a placement.
///
/// # Errors
/// When a parameter is missing that it can't do without.
pub fn placement(name: PlacementName, parameters: &Parameters) -> Result<Box<dyn Placement>, Unsuited> {
    let Parameters { tie, counted, rounding, .. } = *parameters;
    Ok(match name {
        PlacementName::Random => Box::new(Random::new(tie)),
        PlacementName::FirstFit => Box::new(FirstFit::new(tie)),
        PlacementName::BestFit => best(BestFit::new(counted, rounding), tie),
        PlacementName::WorstFit => best(WorstFit::new(counted, rounding), tie),
        PlacementName::RoundRobin => Box::new(RoundRobin::new(tie)),
        PlacementName::DotProduct => best(DotProduct::least(counted, rounding), tie),
        PlacementName::DotProductAlignment => best(DotProduct::alignment(counted, rounding), tie),
        PlacementName::Tetris => best(Tetris, tie),
        PlacementName::EPvm => best(EPvm::default(), tie),
        PlacementName::Borg => Box::new(Borg::new(parameters.borg, parameters.candidates, tie)),
        PlacementName::GpuPacking => best(GpuPacking, tie),
        PlacementName::GpuClustering => best(GpuClustering, tie),
        PlacementName::Fgd => best(Fgd::new(parameters.workload.clone().ok_or(Unsuited::NoWorkload)?), tie),
    })
}

fn best(score: impl Score + 'static, tie: TieBreak) -> Box<dyn Placement> {
    Box::new(Best::new(score, tie))
}

//! What is placed: the amounts that a task asks for, and what of it else a policy looks at.

use core::fmt;
use thiserror::Error;

/// A cluster tells so many types of GPU apart: the bits of [`GpuTypes`].
pub const GPU_TYPES_MAX: u8 = 64;

/// A type of GPU, by its number in the cluster; below [`GPU_TYPES_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GpuType(pub u8);

/// The types of GPU that a task accepts; the empty set accepts all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GpuTypes(pub u64);

impl GpuTypes {
    /// These types and no others; a type beyond [`GPU_TYPES_MAX`] is no machine's, and left out.
    pub fn of(types: &[GpuType]) -> Self {
        Self(types.iter().filter(|one| one.0 < GPU_TYPES_MAX).fold(0, |bits, one| bits | 1 << one.0))
    }

    /// Whether a task goes with GPUs of this type.
    pub fn accepts(self, one: GpuType) -> bool {
        self.0 == 0 || (one.0 < GPU_TYPES_MAX && self.0 >> one.0 & 1 == 1)
    }
}

/// What a task asks of GPUs. A part goes to one GPU with so much free; whole GPUs must be completely free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GpuDemand {
    /// No GPU.
    #[default]
    None,
    /// So many thousandths of one GPU, below 1000.
    Part(u16),
    /// So many whole GPUs, at least one.
    Whole(u8),
}

/// A request for GPUs that no machine can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadDemand {
    /// Only one GPU can be shared.
    #[error("{count} GPUs of {units} thousandths each: only one GPU can be asked for in part")]
    PartOfMany {
        /// GPUs asked for.
        count: u8,
        /// Thousandths of each.
        units: u16,
    },
    /// More of one GPU than there is.
    #[error("{0} thousandths of one GPU are more than all of it")]
    BeyondWhole(u16),
    /// A GPU of which nothing is asked.
    #[error("a GPU of which no part is asked")]
    NoUnits,
}

impl GpuDemand {
    /// The demand for `count` GPUs and `units` thousandths of each, as traces write it.
    ///
    /// # Errors
    /// A part of many GPUs, nothing of a GPU, or more than all of it.
    pub fn request(count: u8, units: u16) -> Result<Self, BadDemand> {
        match (count, units) {
            (0, _) => Ok(Self::None),
            (_, 0) => Err(BadDemand::NoUnits),
            (count, 1000) => Ok(Self::Whole(count)),
            (_, 1001..) => Err(BadDemand::BeyondWhole(units)),
            (1, units) => Ok(Self::Part(units)),
            (count, units) => Err(BadDemand::PartOfMany { count, units }),
        }
    }

    /// GPUs that take part.
    pub fn count(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Part(_) => 1,
            Self::Whole(count) => u32::from(count),
        }
    }

    /// Thousandths asked of each of them.
    pub fn units(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Part(units) => units,
            Self::Whole(_) => 1000,
        }
    }

    /// Thousandths of all of them together.
    pub fn units_in_all(self) -> u64 {
        u64::from(self.count()) * u64::from(self.units())
    }

    /// The kind of task that GPU clustering tells apart: 0 for sharing, else the number of whole GPUs; none without GPU.
    pub(super) fn kind(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Part(_) => Some(0),
            Self::Whole(count) => Some(usize::from(count)),
        }
    }
}

/// GPUs of one machine, by their numbers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct GpuSet(pub u16);

impl GpuSet {
    /// One GPU; its number is below [`super::GPUS_MAX`].
    pub fn one(number: usize) -> Self {
        Self(1 << number)
    }

    /// How many.
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Their numbers, ascending.
    pub fn numbers(self) -> impl Iterator<Item = usize> {
        let mut bits = self.0;
        core::iter::from_fn(move || {
            let number = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
            bits &= bits - 1;
            Some(number)
        })
    }
}

impl fmt::Debug for GpuSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.numbers()).finish()
    }
}

/// The amounts that a task asks for. Tasks of one shape are placed alike, and share an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Memory.
    pub mem_mib: u64,
    /// GPUs.
    pub gpu: GpuDemand,
    /// Types of GPU that will do.
    pub types: GpuTypes,
}

/// One task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// What it asks for.
    pub shape: Shape,
    /// Its job, by which tasks are spread over failure domains; 0 for a task on its own.
    pub job: u32,
    /// Whether it is of a production band; such tasks are mixed with others on a machine.
    pub is_production: bool,
    /// The packages that it needs, as bits; a machine keeps what was installed once.
    pub packages: u64,
}

impl Task {
    /// A task of which nothing but its shape is known.
    pub fn of(shape: Shape) -> Self {
        Self { shape, ..Self::default() }
    }
}

//! Amounts. Integers only: a scalar is a count of thousandths, as Mesos compares and adds its doubles (three decimals,
//! reference 10). Arithmetic is checked; what would overflow or go below zero is refused, never wrapped.

use core::fmt;
use rkyv::{Archive, Deserialize, Serialize};

/// A scalar in thousandths: `cpus: 0.5` is `Quantity(500)`, `mem: 512` (MiB) is `Quantity(512_000)`. Never negative.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[rkyv(derive(PartialEq, Eq, PartialOrd, Ord, Debug))]
pub struct Quantity(pub u64);

/// The largest scalar accepted from outside, 10^12 units: sums over 10^5 machines stay far below `u64::MAX`.
pub const QUANTITY_UNITS_MAX: f64 = 1e12;

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole units.
    pub const fn units(value: u64) -> Self {
        Self(value * 1000)
    }
    /// A scalar of the v1 API, rounded to thousandths as Mesos rounds; `None` when negative, not finite, or beyond
    /// [`QUANTITY_UNITS_MAX`].
    pub fn from_scalar(value: f64) -> Option<Self> {
        (value.is_finite() && (0.0..=QUANTITY_UNITS_MAX).contains(&value))
            .then(|| Self((value * 1000.0).round() as u64))
    }
    /// The scalar of the v1 API.
    pub fn as_scalar(self) -> f64 {
        self.0 as f64 / 1000.0
    }
    /// Whether there is nothing.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
    /// The sum, `None` on overflow.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
    /// The difference, `None` when `other` is more.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        match part {
            0 => write!(formatter, "{whole}"),
            _ => write!(formatter, "{}", format!("{whole}.{part:03}").trim_end_matches('0')),
        }
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

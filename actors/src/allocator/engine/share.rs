//! Shares as exact fractions, compared by floats wherever these tell them apart.

use std::cmp::Ordering;

/// Three roundings on each side of a comparison are far below this.
const ROUNDING: f64 = 1e-14;

/// A dominant share and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dominant {
    /// Position of the resource; 0 when nothing is held.
    pub(super) at: usize,
    pub(super) share: Share,
}

impl Dominant {
    pub(super) const NONE: Self = Self { at: 0, share: Share::ZERO };
}

/// A weighted share as an exact fraction, with its float beside it: most comparisons need no more than the float.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) float: f64,
    amount: u128,
    whole: u128,
    weight: u32,
}

impl Share {
    pub(super) const ZERO: Self = Self { float: 0.0, amount: 0, whole: 1, weight: 1000 };

    /// `amount` of `whole`, divided by a weight in thousandths. None of it where there is no whole.
    pub(super) fn new(amount: u128, whole: u128, weight: u32) -> Self {
        if amount == 0 || whole == 0 {
            return Self::ZERO;
        }
        Self::weighed(float(amount) / float(whole), amount, whole, weight)
    }

    /// As [`Share::new`] of a whole that is not zero.
    #[inline]
    pub(super) fn near(amount: u64, whole: u64, weight: u32) -> Self {
        Self::weighed(amount as f64 / whole as f64, u128::from(amount), u128::from(whole), weight)
    }

    #[inline]
    fn weighed(part: f64, amount: u128, whole: u128, weight: u32) -> Self {
        let float = if weight == 1000 { part } else { part / (f64::from(weight) / 1000.0) };
        Self { float, amount, whole, weight }
    }

    /// Exact: floats that differ by more than their rounding decide, and the fractions otherwise.
    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        let difference = self.float - other.float;
        if difference.abs() > ROUNDING * self.float.max(other.float) {
            return if difference < 0.0 { Ordering::Less } else { Ordering::Greater };
        }
        if self.whole == other.whole && self.weight == other.weight {
            return self.amount.cmp(&other.amount);
        }
        let cross = |one: &Self, two: &Self| {
            let part = one.amount.checked_mul(u128::from(two.weight))?;
            if one.whole == two.whole { Some(part) } else { part.checked_mul(two.whole) }
        };
        match (cross(self, other), cross(other, self)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // Beyond 128 bits the floats have to do.
            _ => self.float.total_cmp(&other.float),
        }
    }
}

/// The conversion of 64 bits is one instruction, that of 128 a call.
fn float(amount: u128) -> f64 {
    if amount >> 64 == 0 { amount as u64 as f64 } else { large(amount) }
}

#[cold]
fn large(amount: u128) -> f64 {
    amount as f64
}

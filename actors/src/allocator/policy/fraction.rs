//! Exact fractions that refuse to overflow, and what division needs of a number.

use core::fmt;
use num_rational::Ratio;
use num_traits::{CheckedAdd, CheckedDiv, CheckedMul, CheckedSub};
use thiserror::Error;

/// A result does not fit in a fraction of two 128-bit integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a fraction outgrows 128 bits")]
pub struct Overflow;

/// What division computes with. Both kinds follow one order of operations.
pub trait Number: Copy + PartialOrd + fmt::Debug {
    /// `over / under`.
    ///
    /// # Errors
    /// When `under` is zero.
    fn ratio(over: u64, under: u64) -> Result<Self, Overflow>;
    /// The sum.
    ///
    /// # Errors
    /// When it does not fit, as all below.
    fn plus(self, other: Self) -> Result<Self, Overflow>;
    /// The difference.
    ///
    /// # Errors
    /// When it does not fit.
    fn minus(self, other: Self) -> Result<Self, Overflow>;
    /// The product.
    ///
    /// # Errors
    /// When it does not fit.
    fn times(self, other: Self) -> Result<Self, Overflow>;
    /// The quotient.
    ///
    /// # Errors
    /// When it does not fit, or of a division by zero.
    fn over(self, other: Self) -> Result<Self, Overflow>;
    /// Zero.
    fn zero() -> Self;
    /// The nearest float.
    fn float(self) -> f64;
    /// That of the two numbers, one exact and one nearly so, which is of this kind.
    fn pick(exact: Option<Fraction>, near: f64) -> Option<Self>;
}

/// An exact fraction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fraction(Ratio<i128>);

impl Fraction {
    /// `over / under`, in lowest terms.
    ///
    /// # Panics
    /// When `under` is zero.
    pub fn new(over: i64, under: i64) -> Self {
        Self(Ratio::new(i128::from(over), i128::from(under)))
    }

    /// The largest whole number that is not larger; none when it does not fit.
    pub fn floor(self) -> Option<u64> {
        u64::try_from(self.0.floor().to_integer()).ok()
    }
}

impl fmt::Debug for Fraction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

impl Number for Fraction {
    fn ratio(over: u64, under: u64) -> Result<Self, Overflow> {
        let whole = Ratio::from_integer(i128::from(over));
        whole.checked_div(&Ratio::from_integer(i128::from(under))).map(Self).ok_or(Overflow)
    }
    fn plus(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(&other.0).map(Self).ok_or(Overflow)
    }
    fn minus(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_sub(&other.0).map(Self).ok_or(Overflow)
    }
    fn times(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_mul(&other.0).map(Self).ok_or(Overflow)
    }
    fn over(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_div(&other.0).map(Self).ok_or(Overflow)
    }
    fn zero() -> Self {
        Self(Ratio::from_integer(0))
    }
    fn float(self) -> f64 {
        *self.0.numer() as f64 / *self.0.denom() as f64
    }
    fn pick(exact: Option<Self>, _: f64) -> Option<Self> {
        exact
    }
}

impl Number for f64 {
    fn ratio(over: u64, under: u64) -> Result<Self, Overflow> {
        if under == 0 { Err(Overflow) } else { Ok(over as Self / under as Self) }
    }
    fn plus(self, other: Self) -> Result<Self, Overflow> {
        Ok(self + other)
    }
    fn minus(self, other: Self) -> Result<Self, Overflow> {
        Ok(self - other)
    }
    fn times(self, other: Self) -> Result<Self, Overflow> {
        Ok(self * other)
    }
    fn over(self, other: Self) -> Result<Self, Overflow> {
        if other == 0.0 { Err(Overflow) } else { Ok(self / other) }
    }
    fn zero() -> Self {
        0.0
    }
    fn float(self) -> f64 {
        self
    }
    fn pick(_: Option<Fraction>, near: f64) -> Option<Self> {
        Some(near)
    }
}

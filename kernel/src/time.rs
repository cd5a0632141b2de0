//! Time as a value: it arrives with each call and is constant inside it (law L1).
//!
//! Two clocks exist in the world. [`Instant`] is the host's own monotonic line and is used for every deadline.
//! [`WallTime`] is plain data for people and for the v1 API; nothing is ever scheduled by it.

use core::fmt;
use core::ops::{Add, Sub};
use rkyv::{Archive, Deserialize, Serialize};

/// Nanoseconds on the host's monotonic line. Zero is the start of the host, or of the simulated world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
pub struct Instant(pub u64);

/// A length of time in nanoseconds. Arithmetic saturates: no configured delay can overflow a deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
pub struct Duration(pub u64);

/// Nanoseconds since the Unix epoch, as data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
pub struct WallTime(pub u64);

/// The units of Mesos's text form (stout's `Duration`), the largest first, each with its nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("weeks", 604_800_000_000_000),
    ("days", 86_400_000_000_000),
    ("hrs", 3_600_000_000_000),
    ("mins", 60_000_000_000),
    ("secs", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// Longer than any run.
    pub const MAX: Self = Self(u64::MAX);

    /// A duration of whole nanoseconds.
    pub const fn nanos(value: u64) -> Self {
        Self(value)
    }
    /// A duration of whole microseconds.
    pub const fn micros(value: u64) -> Self {
        Self(value.saturating_mul(1_000))
    }
    /// A duration of whole milliseconds.
    pub const fn millis(value: u64) -> Self {
        Self(value.saturating_mul(1_000_000))
    }
    /// A duration of whole seconds.
    pub const fn secs(value: u64) -> Self {
        Self(value.saturating_mul(1_000_000_000))
    }
    /// Seconds as they come from the v1 API: `None` when negative, not a number, or beyond 2^63 nanoseconds (the range
    /// of Mesos's `Duration`, an int64 of nanoseconds).
    pub fn from_seconds(value: f64) -> Option<Self> {
        Self::from_nanos(value * 1e9)
    }
    fn from_nanos(value: f64) -> Option<Self> {
        (value.is_finite() && value >= 0.0 && value < i64::MAX as f64).then_some(Self(value as u64))
    }
    /// The text form of Mesos's flags and variables (stout's `Duration`): a number, which may have decimals, and a unit, such
    /// as `10mins`. `None` for what is none, or lies beyond [`Duration::from_seconds`].
    pub fn from_text(text: &str) -> Option<Self> {
        let unit_at = text.find(|character: char| character.is_ascii_alphabetic())?;
        let (number, said) = text.split_at(unit_at);
        let (_, nanos) = UNITS.into_iter().find(|(unit, _)| *unit == said)?;
        Self::from_nanos(number.parse::<f64>().ok()? * nanos as f64)
    }
    /// That text form: a whole number of the largest unit that leaves one.
    pub fn text(self) -> String {
        let whole = UNITS.into_iter().find(|(_, nanos)| self.0 > 0 && self.0.is_multiple_of(*nanos));
        whole.map_or_else(|| "0ns".to_owned(), |(unit, nanos)| format!("{}{unit}", self.0 / nanos))
    }
    /// Seconds for people and for the v1 API.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
    /// Twice as long, at most `limit`: the step of every retry.
    pub fn doubled(self, limit: Self) -> Self {
        Self(self.0.saturating_mul(2)).min(limit)
    }
    /// This duration times `factor`, saturating.
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl WallTime {
    /// Seconds since the Unix epoch, the form of v1 time stamps.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Instant {
    /// Time passed since `earlier`; zero when `earlier` lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

impl Add for Duration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Duration {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add<Duration> for WallTime {
    type Output = Self;
    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            nanos if nanos < 1_000 => write!(formatter, "{nanos} ns"),
            nanos if nanos < 1_000_000 => write!(formatter, "{:.1} us", nanos as f64 / 1e3),
            nanos if nanos < 1_000_000_000 => write!(formatter, "{:.1} ms", nanos as f64 / 1e6),
            nanos => write!(formatter, "{:.3} s", nanos as f64 / 1e9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_written_as_mesos_writes_them() {
        assert_eq!(Duration::from_text("10mins"), Some(Duration::secs(600)));
        assert_eq!(Duration::from_text("1.5hrs"), Some(Duration::secs(5_400)));
        assert_eq!(Duration::from_text("250ms"), Some(Duration::millis(250)));
        for wrong in ["", "10", "mins", "-1secs", "1e400secs", "10minutes", "NaNsecs"] {
            assert_eq!(Duration::from_text(wrong), None, "{wrong}");
        }
        for text in ["0ns", "1ns", "90us", "1001ms", "59secs", "90mins", "25hrs", "6days", "2weeks"] {
            assert_eq!(Duration::from_text(text).map(Duration::text).as_deref(), Some(text));
        }
    }
}

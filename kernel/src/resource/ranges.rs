//! Sets of numbers kept as coalesced ranges, such as ports.

use core::fmt;
use rkyv::{Archive, Deserialize, Serialize};

/// Ranges in ascending order, both ends included, without overlap or touch: the canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct Ranges(Vec<(u64, u64)>);

/// Why ranges can't be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// A range ends before it begins.
    #[error("range [{0}-{1}] ends before it begins")]
    Reversed(u64, u64),
    /// Two given ranges overlap.
    #[error("ranges overlap at {0}")]
    Overlap(u64),
}

impl Ranges {
    /// The canonical form of ranges in any order. Overlaps are refused: in a resource they would count twice.
    pub fn new(mut ranges: Vec<(u64, u64)>) -> Result<Self, RangesError> {
        ranges.sort_unstable();
        let mut canonical: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
        for (begin, end) in ranges {
            if begin > end {
                return Err(RangesError::Reversed(begin, end));
            }
            match canonical.last_mut() {
                Some(last) if begin <= last.1 => return Err(RangesError::Overlap(begin)),
                Some(last) if begin - 1 == last.1 => last.1 = end,
                _ => canonical.push((begin, end)),
            }
        }
        Ok(Self(canonical))
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }
    /// Whether there is no number in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// How many numbers are in it, saturating.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, &(begin, end)| sum.saturating_add((end - begin).saturating_add(1)))
    }

    /// The union; `None` when a number is in both. Linear.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        let mut merged = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(&&one), Some(&&two)) if one.0 <= two.0 => left.next().map(|_| one),
                (_, Some(&&two)) => right.next().map(|_| two),
                (Some(&&one), None) => left.next().map(|_| one),
                (None, None) => return Some(Self(merged)),
            };
            let (begin, end) = next?;
            match merged.last_mut() {
                Some((_, last)) if begin <= *last => return None,
                Some((_, last)) if begin - 1 == *last => *last = end,
                _ => merged.push((begin, end)),
            }
        }
    }

    /// What is left without `other`; `None` when a number of `other` is missing. Linear.
    pub fn minus(&self, other: &Self) -> Option<Self> {
        let mut left = Vec::with_capacity(self.0.len() + other.0.len());
        let mut taken = other.0.iter().peekable();
        for &(mut begin, end) in &self.0 {
            let mut open = true;
            while let Some(&&(from, to)) = taken.peek() {
                if from > end {
                    break;
                }
                if from < begin || to > end {
                    return None;
                }
                if from > begin {
                    left.push((begin, from - 1));
                }
                taken.next();
                if to == end {
                    open = false;
                    break;
                }
                begin = to + 1;
            }
            if open {
                left.push((begin, end));
            }
        }
        taken.next().is_none().then_some(Self(left))
    }

    /// Whether every number of `other` is in it.
    pub fn contains(&self, other: &Self) -> bool {
        self.minus(other).is_some()
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.iter().map(|(begin, end)| format!("{begin}-{end}"));
        write!(formatter, "[{}]", parts.collect::<Vec<_>>().join(", "))
    }
}

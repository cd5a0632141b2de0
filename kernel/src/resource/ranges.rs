//! Sets of numbers kept as coalesced ranges, such as ports.
//!
//! An agent's ports fragment with every task that takes one, to thousands of ranges. So sums and differences copy runs
//! and look at the places where the two meet only: the cost is one copy, and a binary search for each range of the other.

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
    pub fn new(ranges: Vec<(u64, u64)>) -> Result<Self, RangesError> {
        Self::canonical(ranges, |_, begin, _| Err(RangesError::Overlap(begin)))
    }

    /// The canonical form of ranges in any order, where overlaps count once: for the texts of flags, which Mesos reads so.
    pub fn covering(ranges: Vec<(u64, u64)>) -> Result<Self, RangesError> {
        Self::canonical(ranges, |last, _, end| {
            *last = end.max(*last);
            Ok(())
        })
    }

    fn canonical(
        mut ranges: Vec<(u64, u64)>,
        overlap: impl Fn(&mut u64, u64, u64) -> Result<(), RangesError>,
    ) -> Result<Self, RangesError> {
        ranges.sort_unstable();
        let mut canonical: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
        for (begin, end) in ranges {
            if begin > end {
                return Err(RangesError::Reversed(begin, end));
            }
            match canonical.last_mut() {
                Some(last) if begin <= last.1 => overlap(&mut last.1, begin, end)?,
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

    /// Whether it has the form that every operation keeps. What came in a frame has been checked for its layout only.
    pub fn is_canonical(&self) -> bool {
        let apart = |pair: &[(u64, u64)]| pair[0].1 < pair[1].0 && pair[1].0 - pair[0].1 > 1;
        self.0.iter().all(|(begin, end)| begin <= end) && self.0.windows(2).all(apart)
    }

    /// The union; `None` when a number is in both.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        let mut merged = Vec::with_capacity(self.0.len() + other.0.len());
        let mut next = 0;
        for &(begin, end) in &other.0 {
            let at = self.seek(next, begin);
            if self.0.get(at).is_some_and(|own| own.0 <= end) {
                return None;
            }
            append(&mut merged, &self.0[next..at]);
            append(&mut merged, &[(begin, end)]);
            next = at;
        }
        append(&mut merged, &self.0[next..]);
        Some(Self(merged))
    }

    /// What is left without `other`; `None` when a number of `other` is missing.
    pub fn minus(&self, other: &Self) -> Option<Self> {
        let mut left = Vec::with_capacity(self.0.len() + other.0.len());
        // Where the next own range begins: later than it says when its first part has been taken.
        let (mut next, mut open) = (0, None);
        for &(from, to) in &other.0 {
            let at = self.seek(next, from);
            if at > next {
                left.push((open.take().unwrap_or(self.0[next].0), self.0[next].1));
                left.extend_from_slice(&self.0[next + 1..at]);
                next = at;
            }
            let &(begin, end) = self.0.get(at)?;
            let begin = open.unwrap_or(begin);
            if from < begin || to > end {
                return None;
            }
            if from > begin {
                left.push((begin, from - 1));
            }
            open = (to < end).then(|| to + 1);
            next += usize::from(open.is_none());
        }
        if let Some(&(begin, end)) = self.0.get(next) {
            left.push((open.unwrap_or(begin), end));
            left.extend_from_slice(&self.0[next + 1..]);
        }
        Some(Self(left))
    }

    /// The numbers that are in both. Linear.
    pub fn common(&self, other: &Self) -> Self {
        let (mut one, mut two) = (0, 0);
        let mut both = Vec::new();
        while let (Some(first), Some(second)) = (self.0.get(one), other.0.get(two)) {
            let (begin, end) = (first.0.max(second.0), first.1.min(second.1));
            if begin <= end {
                both.push((begin, end));
            }
            if first.1 < second.1 { one += 1 } else { two += 1 }
        }
        Self(both)
    }

    /// Whether every number of `other` is in it. A binary search for each range of `other`; nothing is copied.
    pub fn contains(&self, other: &Self) -> bool {
        let mut next = 0;
        other.0.iter().all(|&(from, to)| {
            next = self.seek(next, from);
            self.0.get(next).is_some_and(|own| own.0 <= from && to <= own.1)
        })
    }

    /// The first range at or after `from` that does not end before `number`.
    fn seek(&self, from: usize, number: u64) -> usize {
        super::bag::gallop(&self.0, from, |range| range.1 < number)
    }
}

/// Appends ranges that begin after the last one; the two that touch become one.
fn append(merged: &mut Vec<(u64, u64)>, run: &[(u64, u64)]) {
    let Some((first, rest)) = run.split_first() else { return };
    match merged.last_mut() {
        Some(last) if first.0 - 1 == last.1 => last.1 = first.1,
        _ => merged.push(*first),
    }
    merged.extend_from_slice(rest);
}

impl fmt::Display for Ranges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[")?;
        for (position, (begin, end)) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(formatter, "{separator}{begin}-{end}")?;
        }
        formatter.write_str("]")
    }
}

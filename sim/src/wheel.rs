//! A priority queue for times: a hierarchical wheel, whose far buckets are only ever appended to.
//!
//! A heap over a million waiting events touches a cache line a level; here an entry is written once into the bucket of
//! its time, moved once more when that time is near, and sorted among the few of its own tick. The order that comes out
//! is exactly that of the keys.

use crate::queue::Key;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Bits of a tick's length: 2^16 ns are 66 us, a fraction of a network delay.
const TICK_BITS: u32 = 16;
/// Bits of the number of buckets in one round: 4096 ticks are 268 ms, 4096 rounds 18 minutes.
const ROUND_BITS: u32 = 12;
const BUCKETS: usize = 1 << ROUND_BITS;

/// An event's place in the order, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its place in the order.
    pub(crate) key: Key,
    /// For which machine.
    pub(crate) machine: u32,
    /// Where it lies in the slab.
    pub(crate) place: u32,
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The first is the greatest, as a heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}

/// One round of buckets, with a bit for each that is not empty.
struct Round {
    buckets: Vec<Vec<Entry>>,
    full: [u64; BUCKETS / 64],
}

impl Default for Round {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Vec::new()).collect(), full: [0; BUCKETS / 64] }
    }
}

impl Round {
    fn push(&mut self, bucket: u64, entry: Entry) {
        let bucket = bucket as usize % BUCKETS;
        self.full[bucket / 64] |= 1 << (bucket % 64);
        self.buckets[bucket].push(entry);
    }

    /// The first bucket behind `bucket` that is not empty, in this round.
    fn next(&self, bucket: u64) -> Option<u64> {
        let from = bucket as usize % BUCKETS + 1;
        if from == BUCKETS {
            return None;
        }
        let mut word = from / 64;
        let mut bits = self.full[word] & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.full.get(word)?;
        }
        Some((word * 64) as u64 + u64::from(bits.trailing_zeros()))
    }

    fn drain(&mut self, bucket: u64) -> Vec<Entry> {
        let bucket = bucket as usize % BUCKETS;
        self.full[bucket / 64] &= !(1 << (bucket % 64));
        core::mem::take(&mut self.buckets[bucket])
    }
}

/// Entries by their time.
#[derive(Default)]
pub(crate) struct Wheel {
    /// The present tick. What is due in it or before lies in `present`.
    tick: u64,
    present: BinaryHeap<Entry>,
    /// Ticks of the present round.
    ticks: Round,
    /// Later rounds of the present turn.
    rounds: Round,
    /// Beyond.
    beyond: Vec<Entry>,
}

impl Wheel {
    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        let tick = entry.key.due.0 >> TICK_BITS;
        if tick <= self.tick {
            self.present.push(entry);
        } else if tick >> ROUND_BITS == self.tick >> ROUND_BITS {
            self.ticks.push(tick, entry);
        } else if tick >> (2 * ROUND_BITS) == self.tick >> (2 * ROUND_BITS) {
            self.rounds.push(tick >> ROUND_BITS, entry);
        } else {
            self.beyond.push(entry);
        }
    }

    /// The first entry.
    pub(crate) fn first(&mut self) -> Option<Entry> {
        while self.present.is_empty() && self.turn() {}
        self.present.peek().copied()
    }

    /// Takes the first entry out.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        while self.present.is_empty() && self.turn() {}
        self.present.pop()
    }

    /// Goes on to the next bucket that is not empty; false when there is none.
    fn turn(&mut self) -> bool {
        if let Some(bucket) = self.ticks.next(self.tick) {
            self.tick = self.tick >> ROUND_BITS << ROUND_BITS | bucket;
            // The heap takes the bucket over as it is; the bucket keeps the heap's room.
            let bucket = &mut self.ticks.buckets[bucket as usize];
            let spare = core::mem::take(&mut self.present).into_vec();
            self.present = BinaryHeap::from(core::mem::replace(bucket, spare));
            let at = self.tick as usize % BUCKETS;
            self.ticks.full[at / 64] &= !(1 << (at % 64));
        } else if let Some(bucket) = self.rounds.next(self.tick >> ROUND_BITS) {
            let round = self.tick >> (2 * ROUND_BITS) << ROUND_BITS | bucket;
            self.tick = round << ROUND_BITS;
            for entry in self.rounds.drain(bucket) {
                self.push(entry);
            }
        } else if let Some(turn) =
            self.beyond.iter().map(|entry| entry.key.due.0 >> TICK_BITS >> (2 * ROUND_BITS)).min()
        {
            self.tick = turn << (2 * ROUND_BITS);
            for entry in core::mem::take(&mut self.beyond) {
                self.push(entry);
            }
        } else {
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Stamp;
    use kaon_kernel::chance::Chance;
    use kaon_kernel::time::Instant;

    /// Against a plain sort: near, far, very far, in the past of the wheel, and at the edges of rounds and turns.
    #[test]
    fn the_order_is_that_of_the_keys_at_every_distance() {
        for seed in 0..20 {
            let (mut chance, mut stamp, mut wheel) = (Chance::new(seed), Stamp::new(1), Wheel::default());
            let (mut all, mut out, mut now) = (Vec::new(), Vec::new(), 0);
            for step in 0..3000_u64 {
                let spread = 1 << chance.below(52);
                let edge = if chance.below(4) == 0 { 1 << (TICK_BITS + ROUND_BITS * (step as u32 % 3)) } else { 1 };
                let due = (now + chance.below(spread)) / edge * edge;
                // Nothing is ever due before what was taken out last.
                let key = stamp.key(Instant(due.max(now)));
                all.push(key);
                wheel.push(Entry { key, machine: 0, place: 0 });
                if chance.below(3) == 0
                    && let Some(first) = wheel.first()
                {
                    assert_eq!(wheel.pop(), Some(first));
                    now = first.key.due.0;
                    out.push(first.key);
                }
            }
            out.extend(core::iter::from_fn(|| wheel.pop()).map(|entry| entry.key));
            let mut sorted = all;
            sorted.sort_unstable();
            assert!(out.is_sorted_by_key(|key| key.due), "seed {seed}");
            out.sort_unstable();
            assert_eq!(out, sorted, "seed {seed}");
        }
    }
}

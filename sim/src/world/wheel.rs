//! Who waits for what time: a hierarchical wheel, whose far buckets are only ever appended to.
//!
//! A heap over a million waiting events touches a cache line a level; here an entry is written once into the bucket of
//! its time, moved once more when that time is near, and taken out with all others of a window of time, which it leaves
//! to the taker to sort.

use crate::world::queue::Key;
use kaon_kernel::time::Instant;

/// Bits of a tick's length: 2^16 ns are 66 us, a fraction of a network delay.
const TICK_BITS: u32 = 16;
/// Bits of the number of buckets in one round: 4096 ticks are 268 ms, 4096 rounds 18 minutes.
const ROUND_BITS: u32 = 12;
const BUCKETS: usize = 1 << ROUND_BITS;
/// The most emptied buckets whose room is kept: a burst must not leave its size in all of them.
const SPARE_MAX: usize = 16;

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
    /// Adds an entry; an empty bucket without room takes some that is spare.
    fn push(&mut self, bucket: u64, entry: Entry, spare: &mut Vec<Vec<Entry>>) {
        let bucket = bucket as usize % BUCKETS;
        self.full[bucket / 64] |= 1 << (bucket % 64);
        let bucket = &mut self.buckets[bucket];
        if bucket.capacity() == 0 {
            *bucket = spare.pop().unwrap_or_default();
        }
        bucket.push(entry);
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

    fn bucket(&self, bucket: u64) -> &[Entry] {
        &self.buckets[bucket as usize % BUCKETS]
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
    present: Vec<Entry>,
    /// Ticks of the present round.
    ticks: Round,
    /// Later rounds of the present turn.
    rounds: Round,
    /// Beyond.
    beyond: Vec<Entry>,
    /// When the first entry is due, where that is known.
    first: Option<Instant>,
    /// The room of buckets that were emptied, at most [`SPARE_MAX`].
    spare: Vec<Vec<Entry>>,
}

impl Wheel {
    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.first = self.first.map(|first| first.min(entry.key.due));
        self.place(entry);
    }

    fn place(&mut self, entry: Entry) {
        let tick = entry.key.due.0 >> TICK_BITS;
        if tick <= self.tick {
            self.present.push(entry);
        } else if tick >> ROUND_BITS == self.tick >> ROUND_BITS {
            self.ticks.push(tick, entry, &mut self.spare);
        } else if tick >> (2 * ROUND_BITS) == self.tick >> (2 * ROUND_BITS) {
            self.rounds.push(tick >> ROUND_BITS, entry, &mut self.spare);
        } else {
            self.beyond.push(entry);
        }
    }

    /// When the first entry is due. Cost: where it is not known, a look at all in the first bucket.
    pub(crate) fn first(&mut self) -> Option<Instant> {
        if self.first.is_none() {
            let first = |entries: &[Entry]| entries.iter().map(|entry| entry.key.due).min();
            self.first = first(&self.present)
                .or_else(|| first(self.ticks.bucket(self.ticks.next(self.tick)?)))
                .or_else(|| first(self.rounds.bucket(self.rounds.next(self.tick >> ROUND_BITS)?)))
                .or_else(|| first(&self.beyond));
        }
        self.first
    }

    /// Takes out all that is due before `end`, in no order. Cost: what is taken, and what else is due in its last tick.
    pub(crate) fn take(&mut self, end: Instant, out: &mut Vec<Entry>) {
        self.first = None;
        loop {
            out.extend(self.present.extract_if(.., |entry| entry.key.due < end));
            if !self.present.is_empty() || !self.turn(end) {
                return;
            }
        }
    }

    /// Keeps the room of a bucket for the next one that needs some, unless enough is kept.
    fn keep(&mut self, room: Vec<Entry>) {
        debug_assert!(room.is_empty());
        if self.spare.len() < SPARE_MAX {
            self.spare.push(room);
        }
    }

    /// Goes on to the next bucket that is not empty; false when there is none, or it begins at `end` or later.
    fn turn(&mut self, end: Instant) -> bool {
        let end = end.0.div_ceil(1 << TICK_BITS);
        if let Some(bucket) = self.ticks.next(self.tick) {
            let tick = self.tick >> ROUND_BITS << ROUND_BITS | bucket;
            if tick >= end {
                return false;
            }
            self.tick = tick;
            let room = core::mem::replace(&mut self.present, self.ticks.drain(bucket));
            self.keep(room);
        } else if let Some(bucket) = self.rounds.next(self.tick >> ROUND_BITS) {
            let round = self.tick >> (2 * ROUND_BITS) << ROUND_BITS | bucket;
            if round << ROUND_BITS >= end {
                return false;
            }
            self.tick = round << ROUND_BITS;
            let mut entries = self.rounds.drain(bucket);
            for entry in entries.drain(..) {
                self.place(entry);
            }
            self.keep(entries);
        } else if let Some(turn) =
            self.beyond.iter().map(|entry| entry.key.due.0 >> TICK_BITS >> (2 * ROUND_BITS)).min()
        {
            if turn << (2 * ROUND_BITS) >= end {
                return false;
            }
            self.tick = turn << (2 * ROUND_BITS);
            for entry in core::mem::take(&mut self.beyond) {
                self.place(entry);
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
    use crate::world::queue::Stamp;
    use kaon_kernel::chance::Chance;
    use kaon_kernel::time::Instant;

    /// Against a plain sort: near, far, very far, in the past of the wheel, and at the edges of rounds and turns.
    #[test]
    fn each_window_takes_what_is_due_in_it_at_every_distance() {
        for seed in 0..20 {
            let (mut chance, mut stamp, mut wheel) = (Chance::new(seed), Stamp::new(1), Wheel::default());
            let (mut all, mut out, mut now) = (Vec::new(), Vec::new(), 0);
            for step in 0..3000_u64 {
                let spread = 1 << chance.below(52);
                let edge = if chance.below(4) == 0 { 1 << (TICK_BITS + ROUND_BITS * (step as u32 % 3)) } else { 1 };
                let due = (now + chance.below(spread)) / edge * edge;
                // Nothing is ever due before the end of what was taken out last.
                let key = stamp.key(Instant(due.max(now)));
                all.push(key);
                wheel.push(Entry { key, machine: 0, place: 0 });
                if chance.below(3) == 0
                    && let Some(first) = wheel.first()
                {
                    let ticks = chance.below(4);
                    let (length, begin) = (1 + chance.below(1 << TICK_BITS << ticks), out.len());
                    let end = Instant(first.0 + length);
                    wheel.take(end, &mut out);
                    assert!(out[begin..].iter().all(|entry: &Entry| (now..end.0).contains(&entry.key.due.0)), "{seed}");
                    assert!(out[begin..].iter().any(|entry| entry.key.due == first), "seed {seed}");
                    assert!(wheel.first().is_none_or(|next| next >= end), "seed {seed}");
                    now = end.0;
                }
            }
            wheel.take(Instant(u64::MAX), &mut out);
            assert!(wheel.first().is_none());
            let mut keys: Vec<Key> = out.iter().map(|entry| entry.key).collect();
            keys.sort_unstable();
            all.sort_unstable();
            assert_eq!(keys, all, "seed {seed}");
        }
    }
}

//! The events to come, in order.
//!
//! The order is (due, origin, count): when, which machine caused it, and that machine's own counter. It depends on
//! nothing but the history of the machines themselves, so it is the same however they are split over workers.

use crate::happening::Happening;
use kaon_kernel::time::Instant;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Bits of a machine's own event counter: 10^12 events.
const COUNT_BITS: u32 = 40;

/// The place of an event in the order of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// When it happens.
    pub(crate) due: Instant,
    /// Origin and its count in one number.
    tie: u64,
}

/// Numbers the events that one machine causes.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    origin: u32,
    count: u64,
}

impl Stamp {
    /// The counter of a machine.
    pub(crate) fn new(origin: u32) -> Self {
        Self { origin, count: 0 }
    }
    /// The next key.
    pub(crate) fn key(&mut self, due: Instant) -> Key {
        self.count += 1;
        debug_assert!(self.count < 1 << COUNT_BITS);
        Key { due, tie: u64::from(self.origin) << COUNT_BITS | self.count }
    }
    /// A number that no other call on any machine returns.
    pub(crate) fn unique(&mut self) -> u64 {
        self.count += 1;
        u64::from(self.origin) << COUNT_BITS | self.count
    }
}

struct Entry {
    key: Key,
    machine: u32,
    slab: u32,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}

/// The queue of one shard: a heap of small entries over a slab of events, and a line for what goes to a neighbour.
///
/// All near events wait equally long, so they line up by themselves and cost no heap. Between two machines of one shard
/// the line may hold equal times in another order than the heap would; on each machine the order is exact, and only
/// that one is visible.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    slab: Vec<Option<Happening>>,
    free: Vec<u32>,
    near: VecDeque<(Key, u32, Happening)>,
}

impl Queue {
    /// Adds an event.
    pub(crate) fn push(&mut self, key: Key, machine: u32, happening: Happening) {
        let slab = match self.free.pop() {
            Some(slab) => {
                self.slab[slab as usize] = Some(happening);
                slab
            }
            None => {
                self.slab.push(Some(happening));
                (self.slab.len() - 1) as u32
            }
        };
        self.heap.push(Entry { key, machine, slab });
    }

    /// Adds an event that is due one near delay after now.
    pub(crate) fn push_near(&mut self, key: Key, machine: u32, happening: Happening) {
        debug_assert!(self.near.back().is_none_or(|(last, _, _)| last.due <= key.due));
        self.near.push_back((key, machine, happening));
    }

    /// When the next event is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let near = self.near.front().map(|(key, _, _)| key.due);
        let far = self.heap.peek().map(|entry| entry.key.due);
        match (near, far) {
            (Some(near), Some(far)) => Some(near.min(far)),
            (near, far) => near.or(far),
        }
    }

    /// Takes the next event that is due before `end`, with the machine that it is for.
    pub(crate) fn pop(&mut self, end: Instant) -> Option<(Key, u32, Happening)> {
        let near = self.near.front().map(|(key, _, _)| *key);
        let far = self.heap.peek().map(|entry| entry.key);
        let from_near = match (near, far) {
            (Some(near), Some(far)) => near < far,
            (near, _) => near.is_some(),
        };
        if from_near {
            return if near?.due < end { self.near.pop_front() } else { None };
        }
        if far?.due >= end {
            return None;
        }
        let entry = self.heap.pop()?;
        let happening = self.slab[entry.slab as usize].take();
        self.free.push(entry.slab);
        Some((entry.key, entry.machine, happening.expect("each entry owns its place in the slab")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_time_then_origin_then_count() {
        let (mut one, mut two) = (Stamp::new(1), Stamp::new(2));
        let late = two.key(Instant(9));
        let keys = [one.key(Instant(5)), one.key(Instant(5)), two.key(Instant(5)), one.key(Instant(9)), late];
        let mut queue = Queue::default();
        for position in [4, 2, 0, 3] {
            queue.push(keys[position], 0, Happening::Boot { slot: position as u16 });
        }
        queue.push_near(keys[1], 0, Happening::Boot { slot: 1 });
        let mut seen = Vec::new();
        while let Some((key, _, _)) = queue.pop(Instant(10)) {
            seen.push(key);
        }
        assert_eq!(seen, keys);
        assert!(queue.next_due().is_none());
    }

    #[test]
    fn nothing_at_or_behind_the_end_is_taken() {
        let mut queue = Queue::default();
        queue.push(Stamp::new(0).key(Instant(5)), 0, Happening::Boot { slot: 0 });
        assert!(queue.pop(Instant(5)).is_none());
        assert!(queue.pop(Instant(6)).is_some());
    }
}

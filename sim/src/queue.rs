//! The events to come, in order.
//!
//! The order is (due, origin, count): when, which machine caused it, and that machine's own counter. It depends on
//! nothing but the history of the machines themselves, so it is the same however they are split over workers.

use crate::happening::Happening;
use crate::wheel::{Entry, Wheel};
use kaon_kernel::time::Instant;
use std::collections::VecDeque;

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

/// Names an event that waits, for as long as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting(u32);

/// A place in the slab. The event of a cancelled entry is gone at once; the entry is passed over when it is due.
struct Slot {
    key: Key,
    happening: Option<Happening>,
}

/// The queue of one shard: a wheel of small entries over a slab of events, and a line for what goes to a neighbour.
///
/// All near events wait equally long, so they line up by themselves and cost no wheel. Between two machines of one shard
/// the line may hold equal times in another order than the wheel would; on each machine the order is exact, and only
/// that one is visible.
#[derive(Default)]
pub(crate) struct Queue {
    wheel: Wheel,
    slab: Vec<Slot>,
    free: Vec<u32>,
    near: VecDeque<(Key, u32, Happening)>,
}

impl Queue {
    /// Adds an event.
    pub(crate) fn push(&mut self, key: Key, machine: u32, happening: Happening) -> Waiting {
        let slot = Slot { key, happening: Some(happening) };
        let place = match self.free.pop() {
            Some(place) => {
                self.slab[place as usize] = slot;
                place
            }
            None => {
                self.slab.push(slot);
                (self.slab.len() - 1) as u32
            }
        };
        self.wheel.push(Entry { key, machine, place });
        Waiting(place)
    }

    /// Takes back an event that waits: most timers are disarmed long before they are due, and a hundred thousand
    /// executors have a dozen each.
    pub(crate) fn cancel(&mut self, waiting: Waiting) {
        let taken = self.slab[waiting.0 as usize].happening.take();
        assert!(taken.is_some(), "an event is taken back that does not wait");
        self.free.push(waiting.0);
    }

    /// Adds an event that is due one near delay after now.
    pub(crate) fn push_near(&mut self, key: Key, machine: u32, happening: Happening) {
        debug_assert!(self.near.back().is_none_or(|(last, _, _)| last.due <= key.due));
        self.near.push_back((key, machine, happening));
    }

    /// The next entry of the wheel that was not cancelled.
    fn far(&mut self) -> Option<Entry> {
        loop {
            let entry = self.wheel.first()?;
            let slot = &self.slab[entry.place as usize];
            if slot.key == entry.key && slot.happening.is_some() {
                return Some(entry);
            }
            self.wheel.pop();
        }
    }

    /// When the next event is due.
    pub(crate) fn next_due(&mut self) -> Option<Instant> {
        let far = self.far().map(|entry| entry.key.due);
        let near = self.near.front().map(|(key, _, _)| key.due);
        match (near, far) {
            (Some(near), Some(far)) => Some(near.min(far)),
            (near, far) => near.or(far),
        }
    }

    /// Takes the next event that is due before `end`, with the machine that it is for.
    pub(crate) fn pop(&mut self, end: Instant) -> Option<(Key, u32, Happening)> {
        let near = self.near.front().map(|(key, _, _)| *key);
        let far = self.far();
        let from_near = match (near, far) {
            (Some(near), Some(far)) => near < far.key,
            (near, _) => near.is_some(),
        };
        if from_near {
            return if near?.due < end { self.near.pop_front() } else { None };
        }
        let entry = far.filter(|entry| entry.key.due < end)?;
        self.wheel.pop();
        let happening = self.slab[entry.place as usize].happening.take();
        self.free.push(entry.place);
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
    fn what_is_cancelled_does_not_happen_and_its_place_is_used_again() {
        let (mut queue, mut stamp) = (Queue::default(), Stamp::new(3));
        let early = queue.push(stamp.key(Instant(5)), 0, Happening::Boot { slot: 0 });
        queue.cancel(early);
        let again = queue.push(stamp.key(Instant(7)), 0, Happening::Boot { slot: 1 });
        assert_eq!(again, early, "the place is free");
        assert_eq!(queue.next_due(), Some(Instant(7)));
        assert!(matches!(queue.pop(Instant(8)), Some((_, 0, Happening::Boot { slot: 1 }))));
        assert!(queue.pop(Instant(u64::MAX)).is_none());
    }

    #[test]
    fn nothing_at_or_behind_the_end_is_taken() {
        let mut queue = Queue::default();
        queue.push(Stamp::new(0).key(Instant(5)), 0, Happening::Boot { slot: 0 });
        assert!(queue.pop(Instant(5)).is_none());
        assert!(queue.pop(Instant(6)).is_some());
    }
}

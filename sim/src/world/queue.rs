//! The events to come, in order.
//!
//! The order is (due, origin, count): when, which machine caused it, and that machine's own counter. It depends on
//! nothing but the history of the machines themselves, so it is the same however they are split over workers.

use crate::machine::happening::Happening;
use crate::world::wheel::{Entry, Wheel};
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

/// The queue of one shard: a wheel of small entries over a slab of events, and the window of time that is being gone
/// through.
///
/// Within a window no machine hears from another one, so it is gone through machine by machine: what a machine's first
/// event brought into the caches its next ones find there. On each machine the order is exact, and only that is visible.
#[derive(Default)]
pub(crate) struct Queue {
    wheel: Wheel,
    slab: Vec<Slot>,
    free: Vec<u32>,
    /// What was due in the window when it was opened, by machine, then by key.
    window: Vec<Entry>,
    /// How much of that has happened.
    gone: usize,
    /// The machine whose turn it is, and the end of the window.
    turn: Option<(u32, Instant)>,
    /// What the machine whose turn it is has added to the window, in order.
    soon: VecDeque<Entry>,
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
        let entry = Entry { key, machine, place };
        match self.turn {
            Some((present, end)) if key.due < end => {
                assert!(present == machine, "machine {present} reaches {machine} faster than the network");
                self.add_soon(entry);
            }
            _ => self.wheel.push(entry),
        }
        Waiting(place)
    }

    /// Most of what is soon is one near delay away, so it comes in order.
    fn add_soon(&mut self, entry: Entry) {
        match self.soon.back() {
            Some(last) if last.key > entry.key => {
                let place = self.soon.partition_point(|other| other.key < entry.key);
                self.soon.insert(place, entry);
            }
            _ => self.soon.push_back(entry),
        }
    }

    /// Takes back an event that waits: most timers are disarmed long before they are due, and a hundred thousand
    /// executors have a dozen each.
    pub(crate) fn cancel(&mut self, waiting: Waiting) {
        let taken = self.slab[waiting.0 as usize].happening.take();
        assert!(taken.is_some(), "an event is taken back that does not wait");
        self.free.push(waiting.0);
    }

    /// When an event that waits is due.
    pub(crate) fn due(&self, waiting: Waiting) -> Instant {
        self.slab[waiting.0 as usize].key.due
    }

    /// When the next event is due, or one was that was cancelled.
    pub(crate) fn next_due(&mut self) -> Option<Instant> {
        self.wheel.first()
    }

    /// Opens the window of all that is due before `end`.
    pub(crate) fn open(&mut self, end: Instant) {
        debug_assert!(self.turn.is_none() && self.soon.is_empty());
        self.window.clear();
        self.gone = 0;
        self.wheel.take(end, &mut self.window);
        self.window.sort_unstable_by_key(|entry| (entry.machine, entry.key));
        self.turn = self.window.first().map(|entry| (entry.machine, end));
    }

    /// The machine whose turn it is; none when the window is over.
    pub(crate) fn turn(&self) -> Option<u32> {
        self.turn.map(|(machine, _)| machine)
    }

    /// Takes the next event of the machine whose turn it is. After its last one it is the next machine's turn.
    pub(crate) fn pop(&mut self) -> Option<(Key, Happening)> {
        let (machine, end) = self.turn?;
        loop {
            let due = self.window.get(self.gone).filter(|entry| entry.machine == machine);
            let entry = match (due, self.soon.front()) {
                (Some(due), Some(soon)) if soon.key < due.key => self.soon.pop_front()?,
                (Some(due), _) => {
                    self.gone += 1;
                    *due
                }
                (None, Some(_)) => self.soon.pop_front()?,
                (None, None) => {
                    self.turn = self.window.get(self.gone).map(|entry| (entry.machine, end));
                    return None;
                }
            };
            let slot = &mut self.slab[entry.place as usize];
            if slot.key == entry.key
                && let Some(happening) = slot.happening.take()
            {
                self.free.push(entry.place);
                return Some((entry.key, happening));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(slot: u16) -> Happening {
        Happening::Boot { slot }
    }

    fn drain(queue: &mut Queue, end: Instant) -> Vec<(u32, Key)> {
        let mut seen = Vec::new();
        queue.open(end);
        while let Some(machine) = queue.turn() {
            seen.extend(core::iter::from_fn(|| queue.pop()).map(|(key, _)| (machine, key)));
        }
        seen
    }

    #[test]
    fn on_each_machine_the_order_is_time_then_origin_then_count() {
        let (mut one, mut two) = (Stamp::new(1), Stamp::new(2));
        let late = two.key(Instant(9));
        let keys = [one.key(Instant(5)), one.key(Instant(5)), two.key(Instant(5)), one.key(Instant(9)), late];
        let mut queue = Queue::default();
        for position in [4, 2, 0, 3, 1] {
            queue.push(keys[position], 7, boot(position as u16));
        }
        queue.push(one.key(Instant(1)), 8, boot(9));
        let seen = drain(&mut queue, Instant(10));
        assert_eq!(seen[..5], keys.map(|key| (7, key)));
        assert_eq!(seen[5].0, 8);
        assert!(queue.next_due().is_none());
    }

    #[test]
    fn what_a_machine_adds_to_its_turn_happens_in_order_and_the_rest_later() {
        let (mut queue, mut stamp) = (Queue::default(), Stamp::new(1));
        for due in [2, 6] {
            queue.push(stamp.key(Instant(due)), 1, boot(0));
        }
        queue.open(Instant(10));
        assert_eq!(queue.pop().map(|(key, _)| key.due), Some(Instant(2)));
        let gone = queue.push(stamp.key(Instant(4)), 1, boot(0));
        for due in [8, 3, 7, 10] {
            queue.push(stamp.key(Instant(due)), 1, boot(0));
        }
        queue.cancel(gone);
        let rest: Vec<u64> = core::iter::from_fn(|| queue.pop()).map(|(key, _)| key.due.0).collect();
        assert_eq!((rest, queue.turn()), (vec![3, 6, 7, 8], None));
        assert_eq!(queue.next_due(), Some(Instant(10)));
    }

    #[test]
    fn what_is_cancelled_does_not_happen_and_its_place_is_used_again() {
        let (mut queue, mut stamp) = (Queue::default(), Stamp::new(3));
        let early = queue.push(stamp.key(Instant(5)), 0, boot(0));
        queue.cancel(early);
        let again = queue.push(stamp.key(Instant(7)), 0, boot(1));
        assert_eq!(again, early, "the place is free");
        let seen = drain(&mut queue, Instant(8));
        assert_eq!(seen.iter().map(|(_, key)| key.due).collect::<Vec<_>>(), [Instant(7)]);
        assert!(queue.next_due().is_none());
    }

    #[test]
    fn nothing_at_or_behind_the_end_is_taken() {
        let mut queue = Queue::default();
        queue.push(Stamp::new(0).key(Instant(5)), 0, boot(0));
        assert!(drain(&mut queue, Instant(5)).is_empty());
        assert_eq!(drain(&mut queue, Instant(6)).len(), 1);
    }
}

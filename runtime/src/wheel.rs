//! The timers of one actor: a hierarchical wheel (Varghese and Lauck, 1987, scheme 7).
//!
//! Eight levels of 64 slots over ticks of 2^20 ns (1.05 ms): level 0 holds what is due within 64 ticks, each level above
//! 64 times as much, so that the whole of a 64-bit instant fits. Arming, replacing and disarming cost O(1); a timer
//! moves down at most seven times in its life. What is due within the current tick waits in a small heap in order of its
//! instant, so that nothing fires early and order is exact: by instant, then by order of arming.
//!
//! One wheel per actor, on its arbiter's thread: no lock, no message between a wheel and its actor, and a timer that is
//! disarmed or replaced can't fire late, because firing and handling are one step. The generation of an entry tells
//! what lies in the heap from what took its place.

use kaon_kernel::time::Instant;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Armed timers of one actor, at most. More is a broken invariant of the actor, and it falls. Twice the tasks that a
/// cluster of 10,000 agents is built for.
pub(crate) const TIMERS_MAX: usize = 1 << 20;

const TICK_BITS: u32 = 20;
const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
const LEVELS: usize = 8;
const NONE: u32 = u32::MAX;
/// The place of an entry that waits in the heap.
const IN_HEAP: u16 = u16::MAX;

#[derive(Clone, Copy)]
struct Entry {
    timer: u64,
    at: Instant,
    /// Order of arming; also tells this use of the entry from another.
    generation: u64,
    previous: u32,
    next: u32,
    place: u16,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct TimerWheel {
    entries: Vec<Entry>,
    free: Vec<u32>,
    by_timer: FxHashMap<u64, u32>,
    /// Heads of the slots; empty until the first arming, since most actors arm nothing.
    slots: Vec<u32>,
    occupied: [u64; LEVELS],
    /// Every entry in a slot lies in a later tick.
    tick: u64,
    due: BinaryHeap<Reverse<(Instant, u64, u32)>>,
    generation: u64,
}

impl TimerWheel {
    /// Sets `timer` to `at`, in place of an earlier setting.
    ///
    /// # Panics
    /// Beyond [`TIMERS_MAX`].
    pub(crate) fn arm(&mut self, timer: u64, at: Instant) {
        self.disarm(timer);
        assert!(self.by_timer.len() < TIMERS_MAX, "more than {TIMERS_MAX} timers armed");
        if self.slots.is_empty() {
            self.slots = vec![NONE; LEVELS * SLOTS];
        }
        self.generation += 1;
        let entry = Entry { timer, at, generation: self.generation, previous: NONE, next: NONE, place: IN_HEAP };
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.by_timer.insert(timer, index);
        self.insert(index);
    }

    /// Forgets `timer`; nothing happens when it is not armed.
    pub(crate) fn disarm(&mut self, timer: u64) {
        if let Some(index) = self.by_timer.remove(&timer) {
            self.unlink(index);
            self.release(index);
        }
    }

    /// Takes out the next timer that is due at `now`.
    pub(crate) fn fire(&mut self, now: Instant) -> Option<u64> {
        if self.by_timer.is_empty() {
            return None;
        }
        self.advance(now.0 >> TICK_BITS);
        while let Some(&Reverse((at, generation, index))) = self.due.peek() {
            if self.is_stale(generation, index) {
                self.due.pop();
                continue;
            }
            if at > now {
                return None;
            }
            self.due.pop();
            let timer = self.entries[index as usize].timer;
            self.by_timer.remove(&timer);
            self.release(index);
            return Some(timer);
        }
        None
    }

    /// When to call [`TimerWheel::fire`] next: the instant of the next timer, or an earlier one at which timers move
    /// down a level.
    pub(crate) fn wake_at(&mut self) -> Option<Instant> {
        if self.by_timer.is_empty() {
            return None;
        }
        while let Some(&Reverse((at, generation, index))) = self.due.peek() {
            if !self.is_stale(generation, index) {
                return Some(at);
            }
            self.due.pop();
        }
        self.next_slot().map(|(_, _, tick)| Instant(tick << TICK_BITS))
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self { tick: self.tick, ..Self::default() };
    }

    /// How many timers are armed.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_timer.len()
    }

    fn is_stale(&self, generation: u64, index: u32) -> bool {
        self.entries[index as usize].generation != generation
    }

    fn insert(&mut self, index: u32) {
        let entry = self.entries[index as usize];
        let tick = entry.at.0 >> TICK_BITS;
        if tick <= self.tick {
            self.entries[index as usize].place = IN_HEAP;
            self.due.push(Reverse((entry.at, entry.generation, index)));
            return;
        }
        let highest_difference = 63 - (tick ^ self.tick).leading_zeros();
        let level = (highest_difference / LEVEL_BITS) as usize;
        let slot = (tick >> (level as u32 * LEVEL_BITS)) as usize % SLOTS;
        let place = level * SLOTS + slot;
        let head = self.slots[place];
        if head != NONE {
            self.entries[head as usize].previous = index;
        }
        let entry = &mut self.entries[index as usize];
        (entry.previous, entry.next, entry.place) = (NONE, head, place as u16);
        self.slots[place] = index;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { previous, next, place, .. } = self.entries[index as usize];
        if place == IN_HEAP {
            return;
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous != NONE {
            self.entries[previous as usize].next = next;
            return;
        }
        let place = place as usize;
        self.slots[place] = next;
        if next == NONE {
            self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
        }
    }

    fn release(&mut self, index: u32) {
        self.entries[index as usize].generation = 0;
        self.free.push(index);
    }

    /// The next slot that holds anything: level, slot, and the tick at which it begins. What a level holds lies within
    /// the current slot of the level above, so the lowest level that holds anything comes first.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&occupied| occupied != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = level as u32 * LEVEL_BITS;
        let block = self.tick >> (shift + LEVEL_BITS) << (shift + LEVEL_BITS);
        Some((level, slot, block | (slot as u64) << shift))
    }

    fn advance(&mut self, now_tick: u64) {
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > now_tick {
                break;
            }
            self.tick = tick;
            let place = level * SLOTS + slot;
            let mut index = std::mem::replace(&mut self.slots[place], NONE);
            self.occupied[level] &= !(1 << slot);
            while index != NONE {
                let next = self.entries[index as usize].next;
                self.insert(index);
                index = next;
            }
        }
        self.tick = self.tick.max(now_tick);
    }
}

#[cfg(test)]
mod tests;

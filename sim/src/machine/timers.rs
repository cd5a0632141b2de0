//! The timers of one actor that are armed. Nearly every actor has a handful, and there are a hundred thousand of those; a
//! master has one for each agent.
//!
//! A timer that is armed anew for later keeps its place in the queue, and moves when it comes to that place: most are armed
//! anew many times before they are ever due, as that of an agent at every ping.

use crate::world::queue::Waiting;
use kaon_kernel::table::Table;
use kaon_kernel::time::Instant;

/// How many are looked through one by one.
const FEW: usize = 8;

/// An armed timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    /// Where it waits; nowhere while its actor handles it.
    pub(crate) waiting: Option<Waiting>,
    /// When it is due: when it comes to that place, or later.
    pub(crate) due: Instant,
}

/// Where each armed timer waits, by its packed number.
#[derive(Default)]
pub(crate) struct Timers {
    few: Vec<(u64, Armed)>,
    /// Those that had no room among the few.
    many: Option<Box<Table<u64, Armed>>>,
}

impl Timers {
    /// A timer, if it is armed.
    pub(crate) fn get_mut(&mut self, timer: u64) -> Option<&mut Armed> {
        match self.few.iter().position(|(number, _)| *number == timer) {
            Some(position) => Some(&mut self.few[position].1),
            None => self.many.as_mut()?.get_mut(&timer),
        }
    }

    /// Arms a timer, in place of how it was armed before.
    pub(crate) fn put(&mut self, timer: u64, armed: Armed) {
        if let Some(known) = self.get_mut(timer) {
            *known = armed;
        } else if self.few.len() < FEW {
            self.few.push((timer, armed));
        } else {
            self.many.get_or_insert_default().insert(timer, armed);
        }
    }

    /// Takes a timer out, if it is armed.
    pub(crate) fn remove(&mut self, timer: u64) -> Option<Waiting> {
        match self.few.iter().position(|(number, _)| *number == timer) {
            Some(position) => self.few.swap_remove(position).1.waiting,
            None => self.many.as_mut()?.swap_remove(&timer)?.waiting,
        }
    }

    /// Takes all out.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Waiting> {
        let Self { few, many } = core::mem::take(self);
        let all = few.into_iter().map(|(_, armed)| armed).chain(many.into_iter().flat_map(|many| many.into_values()));
        all.filter_map(|armed| armed.waiting)
    }
}

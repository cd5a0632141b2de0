//! The timers of one actor that are armed. Nearly every actor has a handful, and there are a hundred thousand of those; a
//! master has one for each agent.

use crate::queue::Waiting;
use kaon_kernel::table::Table;

/// How many are looked through one by one.
const FEW: usize = 8;

/// Where each armed timer waits, by its packed number.
#[derive(Default)]
pub(crate) struct Timers {
    few: Vec<(u64, Waiting)>,
    /// Those that had no room among the few.
    many: Option<Box<Table<u64, Waiting>>>,
}

impl Timers {
    /// Arms a timer that is not armed.
    pub(crate) fn insert(&mut self, timer: u64, waiting: Waiting) {
        if self.few.len() < FEW {
            self.few.push((timer, waiting));
        } else {
            self.many.get_or_insert_default().insert(timer, waiting);
        }
    }

    /// Takes a timer out, if it is armed.
    pub(crate) fn remove(&mut self, timer: u64) -> Option<Waiting> {
        match self.few.iter().position(|(number, _)| *number == timer) {
            Some(position) => Some(self.few.swap_remove(position).1),
            None => self.many.as_mut()?.swap_remove(&timer),
        }
    }

    /// Takes all out.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Waiting> {
        let Self { few, many } = core::mem::take(self);
        few.into_iter().map(|(_, waiting)| waiting).chain(many.into_iter().flat_map(|many| many.into_values()))
    }
}

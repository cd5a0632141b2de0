//! How far a study is: what several runs at a time tell, added up.

use std::sync::atomic::{AtomicU64, Ordering};

/// A run is so many parts.
const PARTS: u64 = 1000;

/// How far a study is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Runs that are done.
    pub runs_done: u64,
    /// All runs.
    pub runs: u64,
    /// Parts of runs that are done, those under way included.
    pub parts_done: u64,
    /// All parts.
    pub parts: u64,
    /// Events handled so far.
    pub events: u64,
}

/// The sum over the runs of a study.
pub(crate) struct Sum<'a> {
    runs: u64,
    runs_done: AtomicU64,
    parts_done: AtomicU64,
    events: AtomicU64,
    tell: &'a (dyn Fn(Progress) + Sync),
}

impl<'a> Sum<'a> {
    pub(crate) fn new(runs: u64, tell: &'a (dyn Fn(Progress) + Sync)) -> Self {
        let zero = || AtomicU64::new(0);
        Self { runs, runs_done: zero(), parts_done: zero(), events: zero(), tell }
    }
}

/// What one run tells of itself.
pub(crate) struct Meter<'a> {
    sum: &'a Sum<'a>,
    parts: u64,
    events: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(sum: &'a Sum<'a>) -> Self {
        Self { sum, parts: 0, events: 0 }
    }

    /// So much of the run is done, of so much, with so many events. Never goes back.
    pub(crate) fn at(&mut self, done: u64, of: u64, events: u64) {
        let parts = (u128::from(done) * u128::from(PARTS) / u128::from(of.max(1))).min(u128::from(PARTS)) as u64;
        self.sum.parts_done.fetch_add(parts.saturating_sub(self.parts), Ordering::Relaxed);
        self.sum.events.fetch_add(events.saturating_sub(self.events), Ordering::Relaxed);
        (self.parts, self.events) = (self.parts.max(parts), self.events.max(events));
        (self.sum.tell)(Progress {
            runs_done: self.sum.runs_done.load(Ordering::Relaxed),
            runs: self.sum.runs,
            parts_done: self.sum.parts_done.load(Ordering::Relaxed),
            parts: self.sum.runs * PARTS,
            events: self.sum.events.load(Ordering::Relaxed),
        });
    }

    /// The run is done.
    pub(crate) fn done(mut self, events: u64) {
        self.sum.runs_done.fetch_add(1, Ordering::Relaxed);
        self.at(1, 1, events);
    }
}

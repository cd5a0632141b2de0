//! Workers: the machines of a world spread over threads, without any effect on what happens.
//!
//! Nothing reaches another machine sooner than the network's least delay (the lookahead). So all events of a window of
//! that length are independent between machines: each worker goes through those of its own machine by machine, and what
//! crosses is exchanged between windows. A world with one worker keeps the same windows.

use crate::lane::{Lane, Setup};
use crate::machine::Machine;
use crossbeam::utils::{Backoff, CachePadded};
use kaon_kernel::time::Instant;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// The machines of one worker.
pub(crate) struct Shard {
    pub(crate) machines: Vec<Machine>,
    pub(crate) lane: Lane,
}

impl Shard {
    /// Goes through all events that are due before `end`.
    pub(crate) fn run(&mut self, end: Instant) {
        let Self { machines, lane } = self;
        lane.queue.open(end);
        while let Some(machine) = lane.queue.turn() {
            let machine = &mut machines[lane.setup.local(machine)];
            while let Some((key, happening)) = lane.queue.pop() {
                lane.key = key;
                machine.happen(happening, lane);
            }
        }
    }
}

/// The shards of a world, and the signals between those who run them.
pub(crate) struct Crew {
    pub(crate) shards: Vec<Mutex<Shard>>,
    /// Counts windows; a new one is the sign to begin.
    window: CachePadded<AtomicU64>,
    /// The end of the window.
    end: CachePadded<AtomicU64>,
    /// How many workers are through with it.
    through: CachePadded<AtomicUsize>,
    over: AtomicBool,
}

/// Tells that a worker is through, however it leaves.
struct Through<'a>(&'a AtomicUsize);

impl Drop for Through<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Sends the workers home, however the run ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Crew {
    /// Spreads machines over the setup's workers.
    pub(crate) fn new(machines: Vec<Machine>, setup: &Arc<Setup>) -> Self {
        let mut shards: Vec<Shard> = (0..setup.shards)
            .map(|shard| Shard { machines: Vec::new(), lane: Lane::new(setup.clone(), shard) })
            .collect();
        for machine in machines {
            let shard = &mut shards[setup.shard(machine.index)];
            debug_assert_eq!(shard.machines.len(), setup.local(machine.index));
            shard.machines.push(machine);
        }
        Self {
            shards: shards.into_iter().map(Mutex::new).collect(),
            window: CachePadded::new(AtomicU64::new(0)),
            end: CachePadded::new(AtomicU64::new(0)),
            through: CachePadded::new(AtomicUsize::new(0)),
            over: AtomicBool::new(false),
        }
    }

    /// A shard, between windows.
    pub(crate) fn shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.shards[number].lock().expect("a worker of the simulator has panicked; see above")
    }

    /// Runs `conduct` with the workers standing by.
    pub(crate) fn with_workers<R>(&self, conduct: impl FnOnce() -> R) -> R {
        let scope = crossbeam::thread::scope(|scope| {
            for number in 1..self.shards.len() {
                scope.spawn(move |_| self.work(number));
            }
            let _over = Over(&self.over);
            conduct()
        });
        scope.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn work(&self, number: usize) {
        let mut seen = 0;
        loop {
            let backoff = Backoff::new();
            let window = loop {
                let window = self.window.load(Ordering::Acquire);
                if window != seen {
                    break window;
                }
                if self.over.load(Ordering::Acquire) {
                    return;
                }
                backoff.snooze();
            };
            seen = window;
            let _through = Through(&self.through);
            self.shard(number).run(Instant(self.end.load(Ordering::Acquire)));
        }
    }

    /// One window: everything that is due before `end`, then the exchange.
    pub(crate) fn run_window(&self, end: Instant) {
        let is_busy = |number: &usize| self.shard(*number).lane.queue.next_due().is_some_and(|due| due < end);
        let mut at_work = (0..self.shards.len()).filter(is_busy);
        match (at_work.next(), at_work.next()) {
            (None, _) => {}
            (Some(alone), None) => self.shard(alone).run(end),
            (Some(_), Some(_)) => {
                drop(at_work);
                self.end.store(end.0, Ordering::Release);
                self.through.store(0, Ordering::Release);
                self.window.fetch_add(1, Ordering::Release);
                self.shard(0).run(end);
                let backoff = Backoff::new();
                while self.through.load(Ordering::Acquire) < self.shards.len() - 1 {
                    backoff.snooze();
                }
            }
        }
        if self.shards.len() > 1 {
            self.exchange();
        }
    }

    fn exchange(&self) {
        for from in 0..self.shards.len() {
            for to in 0..self.shards.len() {
                let mut crossings = core::mem::take(&mut self.shard(from).lane.outbox[to]);
                if crossings.is_empty() {
                    continue;
                }
                let mut target = self.shard(to);
                for crossing in crossings.drain(..) {
                    target.lane.queue.push(crossing.key, crossing.machine, crossing.happening);
                }
                drop(target);
                self.shard(from).lane.outbox[to] = crossings;
            }
        }
    }

    /// When the next event of any machine is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        (0..self.shards.len()).filter_map(|number| self.shard(number).lane.queue.next_due()).min()
    }
}

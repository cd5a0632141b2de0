//! Workers: the machines of a world spread over threads, without any effect on what happens.
//!
//! Nothing reaches another machine sooner than the network's least delay (the lookahead). So all events of a window of
//! that length are independent between machines: each worker goes through those of its own machine by machine, and what
//! crosses is exchanged between windows. A world with one worker keeps the same windows.
//!
//! Who waits spins for a moment and then sleeps: on a machine that has other work to do, a spinning thread takes the time of
//! the one that it waits for. A window that will hold little is gone through by one thread, since waking another costs more.

use crate::machine::Machine;
use crate::world::lane::{Lane, Setup};
use crossbeam::utils::{Backoff, CachePadded};
use kaon_kernel::time::Instant;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

/// Threads share a window when the one before had at least so many events: an event takes some 2 us, a handover 10 us.
const SHARED_EVENTS_MIN: u64 = 32;

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
    /// The conductor's thread, then those of the workers: whom to wake.
    threads: Mutex<Vec<Thread>>,
    /// Events up to the end of the last window.
    events: AtomicU64,
    /// Events in the last window.
    recent: AtomicU64,
}

/// Tells that a worker is through, however it leaves.
struct Through<'a>(&'a Crew);

impl Drop for Through<'_> {
    fn drop(&mut self) {
        self.0.through.fetch_add(1, Ordering::Release);
        self.0.threads().iter().take(1).for_each(Thread::unpark);
    }
}

/// Sends the workers home, however the run ends.
struct Over<'a>(&'a Crew);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
        self.0.threads().iter().skip(1).for_each(Thread::unpark);
    }
}

/// Waits for what another thread does, which wakes this one behind it.
fn wait_until(is_done: impl Fn() -> bool) {
    let backoff = Backoff::new();
    while !is_done() {
        if backoff.is_completed() {
            thread::park();
        } else {
            backoff.snooze();
        }
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
            threads: Mutex::default(),
            events: AtomicU64::new(0),
            recent: AtomicU64::new(0),
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shard, between windows.
    pub(crate) fn shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.shards[number].lock().expect("a worker of the simulator has panicked; see above")
    }

    /// Runs `conduct` with the workers standing by.
    pub(crate) fn with_workers<R>(&self, conduct: impl FnOnce() -> R) -> R {
        let scope = crossbeam::thread::scope(|scope| {
            let _over = Over(self);
            *self.threads() = vec![thread::current()];
            for number in 1..self.shards.len() {
                let worker = scope.spawn(move |_| self.work(number));
                self.threads().push(worker.thread().clone());
            }
            conduct()
        });
        scope.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn work(&self, number: usize) {
        let mut seen = 0;
        loop {
            let is_over = || self.over.load(Ordering::Acquire);
            wait_until(|| self.window.load(Ordering::Acquire) != seen || is_over());
            if is_over() {
                return;
            }
            seen = self.window.load(Ordering::Acquire);
            let _through = Through(self);
            self.shard(number).run(Instant(self.end.load(Ordering::Acquire)));
        }
    }

    /// One window: everything that is due before `end`, then the exchange.
    pub(crate) fn run_window(&self, end: Instant) {
        if self.shards.len() == 1 {
            return self.shard(0).run(end);
        }
        let is_busy = |number: &usize| self.shard(*number).lane.queue.next_due().is_some_and(|due| due < end);
        let at_work: Vec<usize> = (0..self.shards.len()).filter(is_busy).collect();
        if at_work.len() > 1 && self.recent.load(Ordering::Relaxed) >= SHARED_EVENTS_MIN {
            self.end.store(end.0, Ordering::Release);
            self.through.store(0, Ordering::Release);
            self.window.fetch_add(1, Ordering::Release);
            self.threads().iter().skip(1).for_each(Thread::unpark);
            self.shard(0).run(end);
            wait_until(|| self.through.load(Ordering::Acquire) == self.shards.len() - 1);
        } else {
            at_work.into_iter().for_each(|number| self.shard(number).run(end));
        }
        self.exchange();
        let events = (0..self.shards.len()).map(|number| self.shard(number).lane.counts.events).sum();
        let before = self.events.swap(events, Ordering::Relaxed);
        self.recent.store(events - before, Ordering::Relaxed);
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

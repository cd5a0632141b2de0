//! What a worker carries from event to event: the time, its queue, its way to other workers, and its notebook.

use crate::explore::plant::Plant;
use crate::explore::story::{Note, Ring};
use crate::machine::happening::Happening;
use crate::machine::process::Cast;
use crate::world::laws::{Laws, NEAR};
use crate::world::queue::{Key, Queue, Stamp};
use kaon_kernel::actor::{Effect, Moment};
use kaon_kernel::port::Streams;
use kaon_kernel::table::Table;
use kaon_kernel::time::{Duration, Instant, WallTime};
use std::sync::Arc;

/// The wall time at which every world begins: 2023-11-14T22:13:20Z, as data.
pub(crate) const WALL_START: WallTime = WallTime(1_700_000_000 * 1_000_000_000);

/// What is fixed for a whole run.
pub(crate) struct Setup {
    /// The seed that actors' chance is split from.
    pub(crate) seed: u64,
    /// The physics.
    pub(crate) laws: Laws,
    /// From here on nothing is lost and nothing fails by chance.
    pub(crate) calm: Instant,
    /// Over how many workers the machines are spread.
    pub(crate) shards: usize,
    /// An actor's invariants are asserted after each of so many events of its machine.
    pub(crate) invariants_every: u64,
    /// A panic that no fault planted ends the run.
    pub(crate) strict: bool,
    /// A mistake of the host that the run was asked for.
    pub(crate) plant: Option<Plant>,
    /// Who hears outside what the master emits, when somebody does.
    pub(crate) edge: Option<Arc<dyn Streams>>,
    /// The wall time at which the world begins.
    pub(crate) wall_start: WallTime,
    /// Makes actors.
    pub(crate) cast: Cast,
}

impl Setup {
    /// Which worker drives a machine: the master's machine, the busiest, has the first one for itself.
    pub(crate) fn shard(&self, machine: u32) -> usize {
        match (self.shards, machine) {
            (1, _) | (_, 0) => 0,
            (shards, machine) => 1 + (machine as usize - 1) % (shards - 1),
        }
    }
    /// The machine's position in its worker's list.
    pub(crate) fn local(&self, machine: u32) -> usize {
        match (self.shards, machine) {
            (1, machine) => machine as usize,
            (_, 0) => 0,
            (shards, machine) => (machine as usize - 1) / (shards - 1),
        }
    }
}

/// An event on its way to another worker.
pub(crate) struct Crossing {
    pub(crate) key: Key,
    pub(crate) machine: u32,
    pub(crate) happening: Happening,
}

/// A claim that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// When, in the order of the run.
    pub(crate) key: Key,
    /// Where.
    pub(crate) machine: u32,
    /// Which claim.
    pub(crate) claim: &'static str,
    /// What was seen.
    pub(crate) words: String,
}

/// What a run counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events delivered.
    pub(crate) events: u64,
    /// Frames between processes.
    pub(crate) frames: u64,
    /// Frames that found no session, or a broken one.
    pub(crate) dropped: u64,
    /// Frames that a full mailbox refused.
    pub(crate) refused: u64,
    /// Frames that came twice.
    pub(crate) twice: u64,
    /// Frames for an actor that is not there.
    pub(crate) misdirected: u64,
    /// Sessions that a lost frame broke.
    pub(crate) broken: u64,
    /// Panics healed.
    pub(crate) panics: u64,
    /// Processes that ended before their time.
    pub(crate) crashes: u64,
}

impl Counts {
    /// Adds another worker's counts.
    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.frames += other.frames;
        self.dropped += other.dropped;
        self.refused += other.refused;
        self.twice += other.twice;
        self.misdirected += other.misdirected;
        self.broken += other.broken;
        self.panics += other.panics;
        self.crashes += other.crashes;
    }
}

/// What a worker carries.
pub(crate) struct Lane {
    /// The time of the present event.
    pub(crate) key: Key,
    pub(crate) setup: Arc<Setup>,
    /// Which worker this is.
    shard: usize,
    pub(crate) queue: Queue,
    /// What goes to other workers at the end of the window.
    pub(crate) outbox: Vec<Vec<Crossing>>,
    /// Vectors of effects to use again.
    pool: Vec<Vec<Effect>>,
    pub(crate) ring: Ring,
    pub(crate) found: Vec<Found>,
    pub(crate) counts: Counts,
    /// What the actors of all its machines count.
    pub(crate) counters: Table<&'static str, u64>,
}

impl Lane {
    /// An empty lane of one worker.
    pub(crate) fn new(setup: Arc<Setup>, shard: usize) -> Self {
        let outbox = (0..setup.shards).map(|_| Vec::new()).collect();
        Self {
            key: Stamp::new(0).key(Instant(0)),
            setup,
            shard,
            queue: Queue::default(),
            outbox,
            pool: Vec::new(),
            ring: Ring::default(),
            found: Vec::new(),
            counts: Counts::default(),
            counters: Table::default(),
        }
    }

    /// The present time.
    pub(crate) fn now(&self) -> Instant {
        self.key.due
    }

    /// The present time on both clocks.
    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.now(), wall: self.setup.wall_start + Duration(self.now().0) }
    }

    /// Whether faults by chance are over.
    pub(crate) fn is_calm(&self) -> bool {
        self.now() >= self.setup.calm
    }

    /// Schedules an event on any machine. Those of another machine lie a network delay ahead.
    pub(crate) fn push(&mut self, stamp: &mut Stamp, machine: u32, due: Instant, happening: Happening) {
        let key = stamp.key(due);
        let shard = self.setup.shard(machine);
        if shard == self.shard {
            self.queue.push(key, machine, happening);
        } else {
            assert!(due >= self.now() + self.setup.laws.network.least, "{happening:?} is faster than the network");
            self.outbox[shard].push(Crossing { key, machine, happening });
        }
    }

    /// Schedules an event on the same machine, one near delay ahead.
    pub(crate) fn push_near(&mut self, stamp: &mut Stamp, machine: u32, happening: Happening) {
        let key = stamp.key(self.now() + NEAR);
        self.queue.push(key, machine, happening);
    }

    /// Counts `more` of `name`.
    pub(crate) fn count(&mut self, name: &'static str, more: u64) {
        *self.counters.entry(name).or_default() += more;
    }

    /// Remembers the present event.
    pub(crate) fn note(&mut self, machine: u32, note: impl FnOnce() -> Note) {
        self.ring.note(self.key, machine, note);
    }

    /// Says that a claim does not hold. The run ends with the present window.
    pub(crate) fn find(&mut self, machine: u32, claim: &'static str, words: String) {
        self.note(machine, || Note::Words(format!("{claim}: {words}")));
        self.found.push(Found { key: self.key, machine, claim, words });
    }

    /// An empty vector of effects.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        self.pool.pop().unwrap_or_default()
    }

    /// Gives a drained vector back.
    pub(crate) fn give_effects(&mut self, effects: Vec<Effect>) {
        debug_assert!(effects.is_empty());
        self.pool.push(effects);
    }
}

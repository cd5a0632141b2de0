//! A test rig: one actor alone on a bench, with its timers and its journal, driven by hand.
//!
//! Where two machines or much time matter, use `sim/`. Here a test hands in one event at a time and reads what came out.

use kaon_kernel::actor::{
    Actor, ActorCell, Address, Batch, Cell, Effect, Event, ExitReason, Link, Moment, Operation, Outcome, Record, Term,
    Ticket,
};
use kaon_kernel::frame::{Frame, Root, Route};
use kaon_kernel::time::{Duration, Instant, WallTime};
use std::collections::BTreeMap;

/// The wall time at which every rig starts, in seconds since the epoch.
pub const WALL_START_SECONDS: u64 = 1_700_000_000;

/// What an actor has on disk, by key.
pub type Disk = BTreeMap<Vec<u8>, Vec<u8>>;

/// Writes a batch to a disk.
pub fn write(disk: &mut Disk, batch: Batch) {
    for operation in batch.0 {
        match operation {
            Operation::Put(record) => drop(disk.insert(record.key, record.value)),
            Operation::Delete(key) => drop(disk.remove(&key)),
        }
    }
}

/// One actor on a bench.
pub struct Rig<A> {
    cell: ActorCell<A>,
    me: Address,
    now: Instant,
    sequence: u64,
    timers: BTreeMap<u64, Instant>,
    /// What the actor has on disk. Batches are written at once; their outcomes wait in [`Rig::unflushed`].
    pub journal: Disk,
    /// Tickets of batches whose outcome the test has not let come back yet.
    pub unflushed: Vec<Ticket>,
}

impl<A: Actor> Rig<A> {
    /// Puts an actor on the bench; [`Rig::start`] comes next.
    pub fn new(actor: A, me: Address) -> Self {
        let cell = ActorCell::new(actor, me, 7);
        let (timers, journal) = (BTreeMap::new(), BTreeMap::new());
        Self { cell, me, now: Instant(0), sequence: 0, timers, journal, unflushed: Vec::new() }
    }

    /// The actor's state.
    pub fn actor(&self) -> &A {
        self.cell.state().downcast_ref().expect("the cell holds the actor that it was made of")
    }

    /// The time of the bench.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Lets it begin with what its journal holds.
    pub fn start(&mut self) -> Vec<Effect> {
        let records = self.journal.iter().map(|(key, value)| Record { key: key.clone(), value: value.clone() });
        let records = records.collect();
        self.event(Event::Start(records))
    }

    /// Hands it a message.
    pub fn message<M: Root>(&mut self, from: Address, message: &M) -> Vec<Effect> {
        self.message_in_term(from, Term(0), message)
    }

    /// Hands it a message that carries a term.
    pub fn message_in_term<M: Root>(&mut self, from: Address, term: Term, message: &M) -> Vec<Effect> {
        self.sequence += 1;
        let route = Route { to: self.me, from, sequence: self.sequence, term };
        self.event(Event::Message(Frame::encode(route, message)))
    }

    /// Lets an effect come back.
    pub fn done(&mut self, ticket: Ticket, outcome: Outcome) -> Vec<Effect> {
        self.event(Event::Done(ticket, outcome))
    }

    /// Lets every batch that waits come back as written, and those that follow from it.
    pub fn flush(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while !self.unflushed.is_empty() {
            let ticket = self.unflushed.remove(0);
            effects.extend(self.done(ticket, Outcome::Persisted(Ok(()))));
        }
        effects
    }

    /// Tells it that a child has ended.
    pub fn exit(&mut self, child: Address, reason: ExitReason) -> Vec<Effect> {
        self.event(Event::Exit(child, reason))
    }

    /// Tells it that a link has changed.
    pub fn link(&mut self, link: Link) -> Vec<Effect> {
        self.event(Event::Link(link))
    }

    /// Lets time pass; timers that come due are fired in order.
    pub fn pass(&mut self, length: Duration) -> Vec<Effect> {
        let end = self.now + length;
        let mut effects = Vec::new();
        while let Some((&timer, &at)) = self.timers.iter().min_by_key(|(timer, at)| (**at, **timer)) {
            if at > end {
                break;
            }
            self.timers.remove(&timer);
            self.now = self.now.max(at);
            effects.extend(self.event(Event::Timer(timer)));
        }
        self.now = end;
        effects
    }

    /// Hands it any event. Timers and the journal are kept by the rig, everything is returned as well.
    pub fn event(&mut self, event: Event) -> Vec<Effect> {
        let wall = WallTime(Duration::secs(WALL_START_SECONDS).0) + Duration(self.now.0);
        let mut effects = Vec::new();
        self.cell.handle(event, Moment { now: self.now, wall }, &mut effects);
        self.cell.invariants();
        for effect in &effects {
            match effect {
                Effect::Arm { timer, at } => {
                    self.timers.insert(*timer, *at);
                }
                Effect::Disarm { timer } => {
                    self.timers.remove(timer);
                }
                Effect::Persist { ticket, batch } => {
                    write(&mut self.journal, batch.clone());
                    self.unflushed.push(*ticket);
                }
                _ => {}
            }
        }
        effects
    }
}

/// The messages of one type among effects, with their receivers, copied out.
pub fn sent<M>(effects: &[Effect]) -> Vec<(Address, M)>
where
    M: Root,
    M::Archived: rkyv::Deserialize<M, rkyv::api::high::HighDeserializer<rkyv::rancor::Error>>,
{
    let frames = effects.iter().filter_map(|effect| match effect {
        Effect::Send(frame) | Effect::Emit { event: frame, .. } => Some(frame),
        _ => None,
    });
    let bodies = frames.filter_map(|frame| Some((frame.envelope().to, frame.body::<M>()?)));
    bodies.map(|(to, body)| (to, rkyv::deserialize(body).expect("copying out of memory can't fail"))).collect()
}

//! What both hosts share of driving an actor: a cell hides the actor's types and keeps its counters and its chance.

use crate::actor::context::Counters;
use crate::actor::effect::{Effect, Outcome, Record, Ticket};
use crate::actor::{Actor, Address, Context, ExitReason, Link, TimerKey};
use crate::chance::Chance;
use crate::frame::Frame;
use crate::time::{Instant, WallTime};
use core::any::Any;
use core::marker::PhantomData;

/// The time of one event, on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// On the host's monotonic line.
    pub now: Instant,
    /// For people and the API.
    pub wall: WallTime,
}

/// What can happen to an actor.
#[derive(Clone, Debug)]
pub enum Event {
    /// It begins, with what its journal holds.
    Start(Vec<Record>),
    /// A message has arrived.
    Message(Frame),
    /// A timer is due.
    Timer(u64),
    /// An effect has come back.
    Done(Ticket, Outcome),
    /// A child has ended.
    Exit(Address, ExitReason),
    /// A link has changed.
    Link(Link),
}

/// An actor with its types hidden, as a host sees it.
pub trait Cell {
    /// Handles one event; effects are appended to `effects`. When it panics the cell must be dropped, and so must the
    /// effects of this call.
    fn handle(&mut self, event: Event, moment: Moment, effects: &mut Vec<Effect>);
    /// Asserts what must hold between two events.
    fn invariants(&self);
    /// The actor itself, for checkers and tests that read its state.
    fn state(&self) -> &dyn Any;
}

/// An actor of type `A` in its cell.
pub struct ActorCell<A> {
    actor: A,
    me: Address,
    chance: Chance,
    counters: Counters,
}

impl<A: Actor> ActorCell<A> {
    /// A cell for `actor` at `me` on a host with `seed`. Give each incarnation its own seed.
    pub fn new(actor: A, me: Address, seed: u64) -> Self {
        Self { actor, me, chance: Chance::for_actor(seed, me), counters: Counters::default() }
    }
}

impl<A: Actor> Cell for ActorCell<A> {
    fn handle(&mut self, event: Event, moment: Moment, effects: &mut Vec<Effect>) {
        let mut context = Context {
            me: self.me,
            moment,
            term: self.actor.term(),
            chance: &mut self.chance,
            counters: &mut self.counters,
            effects,
            actor: PhantomData,
        };
        match event {
            Event::Start(recovered) => self.actor.on_start(&recovered, &mut context),
            Event::Message(frame) => {
                let body = frame.body::<A::Message>();
                let body = body.unwrap_or_else(|| panic!("{frame:?} is not for this kind of actor"));
                self.actor.on_message(frame.envelope(), body, &mut context);
            }
            Event::Timer(timer) => self.actor.on_timer(A::Timer::unpack(timer), &mut context),
            Event::Done(ticket, outcome) => self.actor.on_done(ticket, outcome, &mut context),
            Event::Exit(child, reason) => self.actor.on_exit(child, reason, &mut context),
            Event::Link(link) => self.actor.on_link(&link, &mut context),
        }
    }

    fn invariants(&self) {
        self.actor.invariants();
    }

    fn state(&self) -> &dyn Any {
        &self.actor
    }
}

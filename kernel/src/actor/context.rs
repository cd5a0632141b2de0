//! What a handler may do: the one way out of an actor.

use crate::actor::effect::{Batch, ChildSpec, Effect, Measure, Ticket};
use crate::actor::{Actor, Address, Moment, StreamId, Term, TimerKey};
use crate::chance::Chance;
use crate::container::ContainerRequest;
use crate::frame::{Frame, Root, Route};
use crate::time::{Duration, Instant, WallTime};
use core::marker::PhantomData;

/// The actor's view of its host during one event. An actor may only add effects; the host drains them afterwards.
pub struct Context<'a, A> {
    pub(super) me: Address,
    pub(super) moment: Moment,
    pub(super) term: Term,
    pub(super) chance: &'a mut Chance,
    pub(super) counters: &'a mut Counters,
    pub(super) effects: &'a mut Vec<Effect>,
    pub(super) actor: PhantomData<A>,
}

/// The numbers that a cell keeps for its actor between events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) sequence: u64,
    pub(super) ticket: u64,
}

impl<A: Actor> Context<'_, A> {
    /// Where I live.
    pub fn me(&self) -> Address {
        self.me
    }
    /// The time of this event; constant during it.
    pub fn now(&self) -> Instant {
        self.moment.now
    }
    /// The same moment for people and for the API.
    pub fn wall(&self) -> WallTime {
        self.moment.wall
    }
    /// My own stream of chance.
    pub fn chance(&mut self) -> &mut Chance {
        self.chance
    }
    /// My messages carry this term from now on: for the handler in which [`Actor::term`] changes.
    pub fn set_term(&mut self, term: Term) {
        self.term = term;
    }
    /// Sends a message. Cost: encoding it.
    pub fn send<M: Root>(&mut self, to: Address, message: &M) {
        let frame = self.frame(to, message);
        self.effects.push(Effect::Send(frame));
    }
    /// Wakes me for `timer` after `delay`; an earlier arming of the same timer is forgotten.
    pub fn arm(&mut self, timer: A::Timer, delay: Duration) {
        self.arm_at(timer, self.moment.now + delay);
    }
    /// Wakes me for `timer` at `at`, or at once when that is past.
    pub fn arm_at(&mut self, timer: A::Timer, at: Instant) {
        self.effects.push(Effect::Arm { timer: timer.pack(), at });
    }
    /// Forgets `timer`.
    pub fn disarm(&mut self, timer: A::Timer) {
        self.effects.push(Effect::Disarm { timer: timer.pack() });
    }
    /// Writes to my journal; the outcome comes under the ticket. Tell nobody before (law L5).
    pub fn persist(&mut self, batch: Batch) -> Ticket {
        let ticket = self.ticket();
        self.effects.push(Effect::Persist { ticket, batch });
        ticket
    }
    /// Asks something of a container; the outcome comes under the ticket.
    pub fn contain(&mut self, request: ContainerRequest) -> Ticket {
        let ticket = self.ticket();
        self.effects.push(Effect::Contain { ticket, request });
        ticket
    }
    /// Puts an event on a stream to the outside.
    pub fn emit<M: Root>(&mut self, stream: StreamId, event: &M) {
        let event = self.frame(Address::outside(self.me.host), event);
        self.effects.push(Effect::Emit { stream, event });
    }
    /// Ends a stream to the outside.
    pub fn close(&mut self, stream: StreamId) {
        self.effects.push(Effect::Close { stream });
    }
    /// Starts a child.
    pub fn spawn(&mut self, child: Address, spec: ChildSpec) {
        self.effects.push(Effect::Spawn { child, spec });
    }
    /// Stops a child.
    pub fn stop(&mut self, child: Address) {
        self.effects.push(Effect::Stop { child });
    }
    /// Counts `more` of `name`.
    pub fn count(&mut self, name: &'static str, more: u64) {
        self.effects.push(Effect::Record(Measure::Add(name, more)));
    }
    /// Sets the gauge `name`.
    pub fn gauge(&mut self, name: &'static str, value: f64) {
        self.effects.push(Effect::Record(Measure::Set(name, value)));
    }
    /// Records one of the lengths of `name`.
    pub fn took(&mut self, name: &'static str, length: Duration) {
        self.effects.push(Effect::Record(Measure::Took(name, length)));
    }
    /// Records under `name` how long the host has worked at this event.
    pub fn worked(&mut self, name: &'static str) {
        self.effects.push(Effect::Record(Measure::Worked(name)));
    }
    /// Ends me, and my host with `code` when I stand at its root.
    pub fn finish(&mut self, code: i32) {
        self.finish_because(code, String::new());
    }
    /// The same, with words for whoever looks after the host.
    pub fn finish_because(&mut self, code: i32, words: String) {
        self.effects.push(Effect::Finish { code, words });
    }

    fn ticket(&mut self) -> Ticket {
        self.counters.ticket += 1;
        Ticket(self.counters.ticket)
    }

    fn frame<M: Root>(&mut self, to: Address, message: &M) -> Frame {
        self.counters.sequence += 1;
        let route = Route { to, from: self.me, sequence: self.counters.sequence, term: self.term };
        Frame::encode(route, message)
    }
}

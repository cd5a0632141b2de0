//! Carrying out effects: one arm per variant, no wildcard (law L2).
//!
//! What can't be delivered is counted under `runtime/undeliverable` or `runtime/refused` and dropped: a message may be
//! lost, its sender retries by timer. What has a ticket comes back in every case.

use crate::mailbox::{Item, Mailbox, fits};
use crate::seat::Seat;
use crate::supervise::Report;
use kaon_kernel::actor::{Address, ChildSpec, Effect, Measure, Outcome, Ticket};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest};
use kaon_kernel::frame::Frame;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Seat {
    /// Carries out one effect of the actor.
    ///
    /// # Panics
    /// When the actor breaks a rule: it spawns where somebody lives, on another host, or arms too many timers. The step
    /// that called this catches it, and the actor falls.
    pub(crate) fn carry(&mut self, effect: Effect) {
        match effect {
            Effect::Send(frame) => self.send(frame),
            Effect::Arm { timer, at } => self.wheel.arm(timer, at),
            Effect::Disarm { timer } => self.wheel.disarm(timer),
            Effect::Persist { ticket, batch } => {
                self.shared.journal.write(&self.mailbox, self.incarnation, ticket, batch);
            }
            Effect::Contain { ticket, request } => self.contain(ticket, request),
            Effect::Emit { stream, event } => match self.shared.ports.streams.get() {
                Some(streams) => streams.emit(stream, event),
                None => self.undeliverable(),
            },
            Effect::Close { stream } => match self.shared.ports.streams.get() {
                Some(streams) => streams.close(stream),
                None => self.undeliverable(),
            },
            Effect::Spawn { child, spec } => self.spawn_child(child, spec),
            Effect::Stop { child } => {
                self.report(Report::Stop { parent: self.me, incarnation: self.incarnation, child });
            }
            Effect::Record(Measure::Add(name, more)) => self.recorded.add(&self.shared.metrics, name, more),
            Effect::Record(Measure::Set(name, value)) => self.recorded.set(&self.shared.metrics, name, value),
            Effect::Record(Measure::Took(name, length)) => {
                self.shared.metrics.took(name, self.shared.clock.now(), length);
            }
            Effect::Record(Measure::Worked(name)) => {
                let now = self.shared.clock.now();
                self.shared.metrics.took(name, now, now.since(self.batch_began));
            }
            Effect::Finish { code, words } => {
                if !words.is_empty() {
                    tracing::error!(actor = %self.me, code, "{words}");
                }
                self.finishing.get_or_insert(code);
            }
        }
    }

    fn send(&mut self, frame: Frame) {
        let to = frame.envelope().to;
        if to.host != self.me.host {
            let sent = self.shared.ports.network.get().map(|network| network.send(frame));
            if !matches!(sent, Some(Ok(()))) {
                self.undeliverable();
            }
            return;
        }
        if !fits(&frame, to.kind) {
            return self.undeliverable();
        }
        if self.neighbours.find(&self.shared.directory, to).is_some_and(|mailbox| !mailbox.is_open()) {
            self.neighbours.forget(to);
        }
        match self.neighbours.find(&self.shared.directory, to) {
            // A full mailbox counts for itself.
            Some(mailbox) => drop(mailbox.offer(frame)),
            None => self.undeliverable(),
        }
    }

    fn contain(&mut self, ticket: Ticket, request: ContainerRequest) {
        let (mailbox, incarnation) = (Arc::clone(&self.mailbox), self.incarnation);
        let done = Box::new(move |outcome| {
            mailbox.tell(Item::Done(Box::new((incarnation, ticket, Outcome::Container(outcome)))));
        });
        match self.shared.ports.containers.get() {
            Some(containers) => containers.request(request, done),
            None => done(ContainerOutcome::Failed { reason: "this host runs no containers".to_owned() }),
        }
    }

    /// The child's mailbox stands when this returns, so what its parent sends it next finds it.
    fn spawn_child(&mut self, child: Address, spec: ChildSpec) {
        assert_eq!(child.host, self.me.host, "{} spawns {child} on another host", self.me);
        let meter = Arc::clone(self.shared.metrics.meter(child.kind));
        let mailbox = Arc::new(Mailbox::new(child, self.shared.bounds, meter));
        assert!(self.shared.directory.enter(Arc::clone(&mailbox)), "{} spawns where {child} lives already", self.me);
        self.neighbours.forget(child);
        self.report(Report::Spawn { parent: self.me, incarnation: self.incarnation, mailbox, spec });
    }

    fn undeliverable(&self) {
        self.shared.metrics.undeliverable.fetch_add(1, Ordering::Relaxed);
    }
}

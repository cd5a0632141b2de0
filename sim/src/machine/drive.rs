//! How actors are driven: an event in, effects out, and what happens when a handler panics. The rules of supervision are
//! the kernel's, as in the real-time host.

use crate::explore::plant::{self, Plant};
use crate::explore::story::Note;
use crate::machine::guard;
use crate::machine::happening::Happening;
use crate::machine::place::{At, Place};
use crate::machine::process::{Birth, Peer};
use crate::machine::timers::Armed;
use crate::machine::{Machine, Manner};
use crate::world::lane::Lane;
use kaon_kernel::actor::mailbox::Admission;
use kaon_kernel::actor::supervision::{Decision, Strategy};
use kaon_kernel::actor::{
    ActorKind, Address, Batch, ChildSpec, Effect, Event, ExitReason, Link, LinkState, Measure, Outcome, StorageError,
    StreamId, Ticket,
};
use kaon_kernel::frame::Frame;
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::time::{Duration, Instant, WallTime};

/// The longest time from the fall of a master to the return of all its agents, in seconds: as if the master had set it.
pub(crate) const AGENTS_BACK: &str = "agents_back_seconds";

impl Machine {
    /// An actor begins with what its journal holds; then it is told of each session that stands.
    pub(crate) fn begin(&mut self, at: At, lane: &mut Lane) {
        let process = &mut self.processes[at.slot as usize];
        let life = u64::from(process.life);
        let Some(seat) = process.seat(at).filter(|seat| seat.cell.is_none()) else { return };
        let Address { kind, index, .. } = seat.address;
        let (address, spec, standing) = (seat.address, seat.spec.clone(), seat.parent.is_none());
        let seed = lane.setup.seed ^ u64::from(at.incarnation) << 48 ^ life << 32;
        let environment = process.environment.clone();
        let birth = Birth {
            address,
            seed,
            spec: spec.as_ref(),
            environment: environment.as_ref(),
            returned: self.returned.as_ref(),
            legacy: self.legacy.as_ref(),
        };
        let cell = match (lane.setup.cast)(&birth) {
            Ok(cell) => cell,
            Err(reason) => {
                lane.note(self.index, || Note::Words(format!("{address} can't begin: {reason}")));
                return self.end_process(at.slot, Manner::Exit(1), lane);
            }
        };
        let trusting = lane.setup.plant == Some(Plant::TornBatch);
        let records = self.disk.replay(at.slot, kind, index, trusting);
        let process = &mut self.processes[at.slot as usize];
        if let Some(seat) = process.seat(at) {
            seat.cell = Some(cell);
            seat.started = lane.now();
        }
        self.drive(at, Event::Start(records), lane);
        if standing {
            let process = &self.processes[at.slot as usize];
            let stands = process.peers.values().filter(|peer| peer.session != 0);
            let states = |peer: &Peer| [Some(LinkState::Up), peer.congested.then_some(LinkState::Congested)];
            let links = stands.flat_map(|peer| states(peer).into_iter().flatten().filter_map(|state| peer.link(state)));
            let links: Vec<Link> = links.collect();
            for link in links {
                self.drive(at, Event::Link(link), lane);
            }
        }
        self.drain_mailbox(at, lane);
    }

    /// Lets an actor handle one event. Nothing happens when that incarnation is no more.
    pub(crate) fn drive(&mut self, at: At, event: Event, lane: &mut Lane) {
        let Some(seat) = self.processes[at.slot as usize].seat(at).filter(|seat| seat.cell.is_some()) else { return };
        let address = seat.address;
        self.events += 1;
        lane.counts.events += 1;
        let who = u64::from(at.slot) << 48 | (address.kind as u64) << 32 | u64::from(address.index);
        match &event {
            Event::Message(frame) => {
                let envelope = frame.envelope();
                let from = Place::of(envelope.from.host);
                let sender = u64::from(from.machine) << 16 ^ u64::from(from.slot) ^ (envelope.from.kind as u64) << 48;
                self.trace(lane, 2, who ^ envelope.sequence.rotate_left(17) ^ sender, frame.body_bytes());
            }
            Event::Timer(timer) => self.trace(lane, 3, who ^ timer.rotate_left(17), &[]),
            Event::Start(records) => self.trace(lane, 4, who ^ (records.len() as u64) << 20, &[]),
            Event::Done(ticket, _) => self.trace(lane, 5, who ^ ticket.0.rotate_left(17), &[]),
            Event::Exit(child, _) => self.trace(lane, 6, who ^ u64::from(child.index) << 20, &[]),
            Event::Link(link) => {
                self.trace(lane, 7, who ^ (link.state as u64) << 20, link.identity.as_bytes());
            }
        }
        lane.note(self.index, || Note::of(address, &event));

        let mut moment = lane.moment();
        moment.wall = WallTime(moment.wall.0.saturating_add_signed(self.clock_ahead));
        let mut effects = lane.take_effects();
        let check = self.events.is_multiple_of(lane.setup.invariants_every);
        let Some(seat) = self.processes[at.slot as usize].seat(at) else { return };
        let planted = core::mem::take(&mut seat.planted);
        let Some(cell) = seat.cell.as_mut() else { return };
        let outcome = guard::run(|| {
            cell.handle(event, moment, &mut effects);
            assert!(!planted, "a planted fault");
            if check {
                cell.invariants();
            }
        });
        let (slow, until) = self.slow;
        seat.busy_until =
            moment.now + lane.setup.laws.handling.max(if moment.now < until { slow } else { Duration::ZERO });
        match outcome {
            Ok(()) => self.carry_out(at, &mut effects, lane),
            Err(words) => {
                effects.clear();
                if lane.setup.strict && !planted {
                    lane.find(self.index, "no actor panics", format!("{address}: {words}"));
                }
                self.fall(at, lane);
            }
        }
        lane.give_effects(effects);
    }

    /// Carries out what an actor wants, in order: every effect there is (law L2).
    fn carry_out(&mut self, at: At, effects: &mut Vec<Effect>, lane: &mut Lane) {
        let mut finish = None;
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(frame) => self.send(at.slot, frame, lane),
                Effect::Arm { timer, at: due } => self.arm(at, timer, due, lane),
                Effect::Disarm { timer } => {
                    let seat = self.processes[at.slot as usize].seat(at);
                    if let Some(waiting) = seat.and_then(|seat| seat.timers.remove(timer)) {
                        lane.queue.cancel(waiting);
                    }
                }
                Effect::Persist { ticket, batch } => self.persist(at, ticket, batch, lane),
                Effect::Contain { ticket, request } => self.contain(at, ticket, request, lane),
                Effect::Emit { stream: StreamId::VIEW, event } => {
                    self.observe(&event, lane);
                    if let Some(edge) = &lane.setup.edge {
                        edge.emit(StreamId::VIEW, event);
                    }
                }
                Effect::Emit { stream, event } => self.emit(at.slot, stream, event, lane),
                Effect::Close { stream } => self.close(at.slot, stream, lane),
                Effect::Spawn { child, spec } => self.spawn(at, child, spec, lane),
                Effect::Stop { child } => self.stop(at, child, lane),
                Effect::Record(Measure::Add(name, more)) => lane.count(name, more),
                Effect::Record(Measure::Set(name, value)) => {
                    self.gauges.insert(name, value);
                }
                // Work takes no virtual time, and what waits for a disk or a round shows in the run's own numbers.
                Effect::Record(Measure::Took(..) | Measure::Worked(_)) => {}
                Effect::Finish { code, .. } => finish = Some(code),
            }
        }
        if let Some(code) = finish {
            self.finish(at, code, lane);
        }
    }

    /// Puts a message into an actor's mailbox, or hands it over at once when the actor is idle.
    pub(crate) fn deliver(&mut self, slot: u16, frame: Frame, lane: &mut Lane) {
        let envelope = *frame.envelope();
        if let Some(plant) = lane.setup.plant
            && self.intercept(plant, &frame, lane)
        {
            return;
        }
        if self.is_crowded(slot, &envelope, lane) {
            return self.turn_away(slot, frame, lane);
        }
        let process = &mut self.processes[slot as usize];
        let Some(actor) = process.find(envelope.to.kind, envelope.to.index) else {
            lane.counts.misdirected += 1;
            return;
        };
        let at = process.at(actor);
        let seat = &mut process.seats[actor as usize];
        let idle = seat.cell.is_some() && seat.busy_until <= lane.now() && seat.mailbox.is_empty();
        if idle {
            return self.drive(at, Event::Message(frame), lane);
        }
        match lane.setup.laws.bounds.admit(envelope.class, seat.mailbox.len()) {
            Admission::Accepted => {
                seat.mailbox.push_back(frame);
                if seat.cell.is_some() && seat.mailbox.len() == 1 {
                    let due = seat.busy_until;
                    lane.push(&mut self.stamp, self.index, due, Happening::Wake { at });
                }
            }
            Admission::Refused => self.turn_away(slot, frame, lane),
        }
    }

    /// Lets an actor handle what waits for it, until it is busy.
    pub(crate) fn drain_mailbox(&mut self, at: At, lane: &mut Lane) {
        loop {
            let Some(seat) = self.processes[at.slot as usize].seat(at).filter(|seat| seat.cell.is_some()) else {
                return;
            };
            if seat.mailbox.is_empty() {
                return;
            }
            if seat.busy_until > lane.now() {
                let due = seat.busy_until;
                return lane.push(&mut self.stamp, self.index, due, Happening::Wake { at });
            }
            if let Some(frame) = seat.mailbox.pop_front() {
                self.drive(at, Event::Message(frame), lane);
            }
        }
    }

    pub(crate) fn arm(&mut self, at: At, timer: u64, due: Instant, lane: &mut Lane) {
        let Some(seat) = self.processes[at.slot as usize].seat(at) else { return };
        // What is due before the lookahead's end is at most "at once": the next instant, never the past.
        let due = due.max(lane.now());
        if let Some(armed) = seat.timers.get_mut(timer)
            && let Some(waiting) = armed.waiting
        {
            if lane.queue.due(waiting) <= due {
                armed.due = due;
                return;
            }
            lane.queue.cancel(waiting);
        }
        let key = self.stamp.key(due);
        let waiting = Some(lane.queue.push(key, self.index, Happening::Timer { at, timer }));
        seat.timers.put(timer, Armed { waiting, due });
    }

    /// A timer comes to its place. One that was disarmed was cancelled, one of an earlier incarnation is void, and one that was
    /// armed anew for later moves on.
    pub(crate) fn fire(&mut self, at: At, timer: u64, lane: &mut Lane) {
        let Some(seat) = self.processes[at.slot as usize].seat(at) else { return };
        let Some(armed) = seat.timers.get_mut(timer) else { return };
        armed.waiting = None;
        if armed.due > lane.now() {
            let due = armed.due;
            return self.arm(at, timer, due, lane);
        }
        if !lane.setup.plant.is_some_and(|plant| plant.stops_timer(at, timer, lane.now().0)) {
            self.drive(at, Event::Timer(timer), lane);
        }
        // Most are armed anew by their actors; the others are not armed any more.
        if let Some(seat) = self.processes[at.slot as usize].seat(at)
            && seat.timers.get_mut(timer).is_some_and(|armed| armed.waiting.is_none())
        {
            seat.timers.remove(timer);
        }
    }

    fn persist(&mut self, at: At, ticket: Ticket, batch: Batch, lane: &mut Lane) {
        let Some(seat) = self.processes[at.slot as usize].seat(at) else { return };
        let Address { kind, index, .. } = seat.address;
        let length = lane.setup.laws.disk.draw(&mut self.chance);
        if self.disk.is_full(lane.now()) {
            // What is on its way before it stays in order: a full disk refuses at once, as a journal's file does.
            let outcome = Box::new(Outcome::Persisted(Err(StorageError("no space left on device".to_owned()))));
            return lane.push_near(&mut self.stamp, self.index, Happening::Done { at, ticket, outcome });
        }
        let hasty = lane.setup.plant == Some(Plant::HastyDisk);
        let haste = if hasty { plant::HASTE } else { 1 };
        let due = lane.now() + length.times(self.disk.factor(lane.now())).times(haste);
        if hasty {
            let outcome = Box::new(Outcome::Persisted(Ok(())));
            lane.push_near(&mut self.stamp, self.index, Happening::Done { at, ticket, outcome });
        }
        let (journal, epoch, due) = self.disk.write(kind, index, at, ticket, batch, due);
        lane.push(&mut self.stamp, self.index, due, Happening::Flush { journal, epoch });
    }

    /// A batch is on disk.
    pub(crate) fn flush(&mut self, journal: u32, epoch: u32, lane: &mut Lane) {
        if let Some((at, ticket)) = self.disk.flush(journal, epoch)
            && lane.setup.plant != Some(Plant::HastyDisk)
        {
            self.drive(at, Event::Done(ticket, Outcome::Persisted(Ok(()))), lane);
        }
    }

    /// The checker of the view sees what the master shows.
    fn observe(&mut self, event: &Frame, lane: &mut Lane) {
        let Some(view) = self.view.as_mut() else { return };
        let Some(event) = event.body::<ViewEvent>() else { return };
        let before = view.returns;
        let mut seen = view.observe(event, lane.now());
        if let Some(operator) = self.operator.as_mut() {
            seen = seen.and_then(|()| operator.promises.observe(event, |agent| view.machine_of(agent)));
        }
        if let Err(violation) = seen {
            lane.find(self.index, violation.claim, violation.words);
        }
        if view.returns > before {
            let back = lane.now().since(self.fell).as_seconds();
            let longest = self.gauges.entry(AGENTS_BACK).or_default();
            *longest = longest.max(back);
        }
    }

    fn spawn(&mut self, at: At, child: Address, spec: ChildSpec, lane: &mut Lane) {
        let process = &mut self.processes[at.slot as usize];
        if process.find(child.kind, child.index).is_some() || child.host != process.host() {
            return lane.find(self.index, "one actor an address", format!("{child} is spawned over a living one"));
        }
        let actor = process.seat_actor(child, Some(at.actor), Some(spec));
        let at = process.at(actor);
        lane.push_near(&mut self.stamp, self.index, Happening::Begin { at });
    }

    fn stop(&mut self, at: At, child: Address, lane: &mut Lane) {
        let process = &mut self.processes[at.slot as usize];
        let Some(actor) = process.find(child.kind, child.index) else { return };
        if process.seats[actor as usize].parent == Some(at.actor) {
            process.vacate(actor, true);
            let exit = Happening::Exit { at, child, reason: ExitReason::Stopped };
            lane.push_near(&mut self.stamp, self.index, exit);
        }
    }

    fn finish(&mut self, at: At, code: i32, lane: &mut Lane) {
        let process = &mut self.processes[at.slot as usize];
        let Some(seat) = process.seat(at) else { return };
        let (child, parent) = (seat.address, seat.parent);
        match parent {
            None => self.end_process(at.slot, Manner::Exit(code), lane),
            Some(parent) => {
                process.vacate(at.actor, true);
                let exit = Happening::Exit { at: process.at(parent), child, reason: ExitReason::Finished };
                lane.push_near(&mut self.stamp, self.index, exit);
            }
        }
    }

    /// A handler has panicked: the policy of the tree decides.
    fn fall(&mut self, at: At, lane: &mut Lane) {
        lane.counts.panics += 1;
        let process = &mut self.processes[at.slot as usize];
        let tree = process.role.tree();
        let Some(seat) = process.seat(at) else { return };
        let (address, parent, started) = (seat.address, seat.parent, seat.started);
        let restarts = match parent {
            None => &mut process.restarts,
            // A count of its own, as in the runtime: one bad child spoils nothing for others.
            Some(_) => &mut process.seats[at.actor as usize].restarts,
        };
        match (restarts.decide(&tree.policy, started, lane.now()), parent) {
            (Decision::Restart { after }, parent) => {
                let last = match (parent, tree.policy.strategy) {
                    (None, Strategy::RestForOne) => tree.actors.len() as u32,
                    (None, Strategy::OneForOne) | (Some(_), _) => at.actor + 1,
                };
                let due = lane.now() + after.max(crate::world::laws::NEAR);
                for actor in at.actor..last {
                    process.vacate(actor, false);
                    let at = process.at(actor);
                    lane.push(&mut self.stamp, self.index, due, Happening::Begin { at });
                }
                if let Some(parent) = parent {
                    let reason = ExitReason::Restarted;
                    let exit = Happening::Exit { at: process.at(parent), child: address, reason };
                    lane.push(&mut self.stamp, self.index, due, exit);
                }
            }
            (Decision::Escalate, Some(parent)) => {
                process.vacate(at.actor, true);
                let exit = Happening::Exit { at: process.at(parent), child: address, reason: ExitReason::GaveUp };
                lane.push_near(&mut self.stamp, self.index, exit);
            }
            (Decision::Escalate, None) => self.end_process(at.slot, Manner::Exit(1), lane),
        }
    }
}

/// A frame from the edge of a process to one of its actors.
pub(crate) fn is_for_actor(kind: ActorKind) -> bool {
    kind != ActorKind::Outside && kind != ActorKind::Client
}

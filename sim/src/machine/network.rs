//! What travels between processes: sessions, frames, streams.
//!
//! A session is made by a hello and a welcome, keeps each conversation in order (QUIC does), and ends as a whole: what
//! was under way then is lost, both sides notice in their own time, and the side that had dialled dials again. Between
//! conversations frames may overtake each other. A line that is cut shortly delays; cut for longer than a session lives
//! in silence, in one direction or in both, it loses the session at both ends, whether anything is sent or not: QUIC's
//! packets that keep a silent session alive want answers. While all is well that costs no event.

use crate::explore::plant::Plant;
use crate::machine::drive::is_for_actor;
use crate::machine::happening::{Badge, Happening};
use crate::machine::place::Place;
use crate::machine::process::{Peer, Role, Stream};
use crate::machine::{Cut, Machine};
use crate::world::lane::Lane;
use crate::world::laws::{DETECT, DIAL_FIRST, DIAL_LAST, LOOPBACK};
use kaon_kernel::actor::{ActorKind, Address, Event, HostId, Link, LinkState, StreamId, Term};
use kaon_kernel::frame::{Frame, Kind, Root, Route};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::scheduler::{self, ArchivedCall, ArchivedToFramework, ArchivedToMaster};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{ArchivedFrameworkMessage, ArchivedMasterMessage, FrameworkMessage, MasterMessage};
use kaon_kernel::time::{Duration, Instant};

/// How a client's actor is told of the end of a stream: as a link of this name and the stream's number that is down.
/// Streams are all the links that a client has beside the one to the master.
pub(crate) const STREAM_LINK: &str = "stream-";

impl Peer {
    fn new(host: HostId, badge: Badge) -> Self {
        Self {
            host,
            badge,
            session: 0,
            pending: 0,
            broken: false,
            congested: false,
            floors: [Instant(0); ActorKind::COUNT],
        }
    }

    /// The link as actors are told of it; clients are no peers.
    pub(crate) fn link(&self, state: LinkState) -> Option<Link> {
        let role = self.badge.role?;
        Some(Link { host: self.host, role, identity: self.badge.identity.as_ref().to_owned(), state })
    }
}

impl Machine {
    /// Sends a frame to a neighbour, or over the session to its receiver's host.
    pub(crate) fn send(&mut self, slot: u16, frame: Frame, lane: &mut Lane) {
        let to = frame.envelope().to;
        let process = &mut self.processes[slot as usize];
        if to.host == process.host() {
            return lane.push_near(&mut self.stamp, self.index, Happening::Frame { frame, session: 0 });
        }
        if process.role == Role::Client {
            self.client_sends(slot, &frame, lane);
        }
        let place = Place::of(to.host);
        if self.processes[slot as usize].peers.get(&place).is_some_and(|peer| peer.host == to.host) {
            let bytes = frame.body_bytes().len();
            self.transmit(slot, place, to.kind, bytes, lane, |session| Happening::Frame { frame, session });
        } else {
            lane.counts.dropped += 1;
        }
    }

    /// What a client says is read along: a subscription opens a stream, acknowledgements are checked.
    fn client_sends(&mut self, slot: u16, frame: &Frame, lane: &mut Lane) {
        if let Some(stream) = subscription(frame) {
            let process = &mut self.processes[slot as usize];
            process.retain_streams(|_, _| false);
            process.open_stream(stream, Stream { client: process.place, proxy: None });
        }
        let call = match frame.body::<FrameworkMessage>() {
            Some(ArchivedFrameworkMessage::Outside(ArchivedToFramework::Call { call, .. })) => call,
            _ => return,
        };
        if let (ArchivedCall::Acknowledge { uuid, .. }, Some(ledger)) = (call, self.ledger.as_mut())
            && let Err(violation) = ledger.acknowledged(uuid)
        {
            lane.find(self.index, violation.claim, violation.words);
        }
    }

    /// Puts something on a session. By chance, or where a line is cut, it is lost, and the session with it.
    pub(crate) fn transmit(
        &mut self,
        slot: u16,
        place: Place,
        conversation: ActorKind,
        bytes: usize,
        lane: &mut Lane,
        make: impl FnOnce(u64) -> Happening,
    ) {
        let process = &mut self.processes[slot as usize];
        let (me, now, laws) = (process.place, lane.now(), lane.setup.laws);
        let Some(peer) = process.peers.get_mut(&place).filter(|peer| peer.session != 0 && !peer.broken) else {
            lane.counts.dropped += 1;
            return;
        };
        lane.counts.frames += 1;
        if lane.setup.plant.is_some_and(|plant| plant.loses(now.0)) {
            return;
        }
        let session = peer.session;
        let mut due = now;
        if place.machine == self.index {
            due = due + LOOPBACK.draw(&mut self.chance);
        } else {
            if let Some(cut) = self.cuts.get(&place.machine).filter(|cut| now < cut.until) {
                if cut.long {
                    lane.counts.dropped += 1;
                    return;
                }
                due = cut.until;
            }
            if let Some(sending) = (bytes as u64 * 1_000_000_000).checked_div(laws.bytes_per_second) {
                self.wire_free = self.wire_free.max(due) + Duration(sending);
                due = self.wire_free;
            }
            due = due + laws.network.draw(&mut self.chance);
            if laws.loss_parts > 0 && !lane.is_calm() && self.chance.parts_per_million(laws.loss_parts) {
                peer.broken = true;
                lane.counts.broken += 1;
                for (to, other) in [(me, place), (place, me)] {
                    let due = now + DETECT.draw(&mut self.chance).max(laws.network.least);
                    lane.push(&mut self.stamp, to.machine, due, Happening::Lost { to, peer: other, session });
                }
                return;
            }
        }
        let floor = &mut peer.floors[conversation as usize];
        if lane.setup.plant != Some(Plant::Overtaking) {
            due = due.max(*floor);
        }
        let happening = make(session);
        let comes_twice = laws.twice_parts > 0
            && !lane.is_calm()
            && happening.may_come_twice()
            && self.chance.parts_per_million(laws.twice_parts);
        if comes_twice {
            lane.counts.twice += 1;
            lane.push(&mut self.stamp, place.machine, due, happening.clone());
            due = due + LOOPBACK.draw(&mut self.chance);
        }
        *floor = due;
        lane.push(&mut self.stamp, place.machine, due, happening);
    }

    /// A frame arrives. It counts only on the session that it was sent on, in the life that it was sent to.
    pub(crate) fn arrive(&mut self, frame: Frame, session: u64, lane: &mut Lane) {
        let envelope = *frame.envelope();
        let (place, from) = (Place::of(envelope.to.host), Place::of(envelope.from.host));
        let Some(process) = self.processes.get_mut(place.slot as usize) else { return };
        if !process.up || process.host() != envelope.to.host {
            lane.counts.dropped += 1;
            return;
        }
        if session != 0 {
            let Some(peer) = process.peers.get(&from).filter(|peer| peer.session == session) else {
                lane.counts.dropped += 1;
                return;
            };
            if peer.badge.role.is_none()
                && let Some(stream) = subscription(&frame)
            {
                process.open_stream(stream, Stream { client: from, proxy: None });
            }
        }
        if is_for_actor(envelope.to.kind) {
            self.deliver(place.slot, frame, lane);
        } else {
            lane.counts.misdirected += 1;
        }
    }

    /// Puts an event on a stream to a client.
    pub(crate) fn emit(&mut self, slot: u16, stream: StreamId, frame: Frame, lane: &mut Lane) {
        let Some(open) = self.processes[slot as usize].stream(stream) else {
            if self.operator_hears(stream, &frame, lane) {
                return;
            }
            // No simulated client reads there.
            return lane.setup.edge.iter().for_each(|edge| edge.emit(stream, frame.clone()));
        };
        open.proxy = Some(frame.envelope().from);
        let client = open.client;
        let Some(to) = self.client_host(slot, client) else { return };
        let bytes = frame.body_bytes().len();
        let make = |session| Happening::Event { to, session, stream, frame };
        self.transmit(slot, client, ActorKind::Outside, bytes, lane, make);
    }

    /// Ends a stream, behind what it still holds.
    pub(crate) fn close(&mut self, slot: u16, stream: StreamId, lane: &mut Lane) {
        let Some(open) = self.processes[slot as usize].close_stream(stream) else {
            return lane.setup.edge.iter().for_each(|edge| edge.close(stream));
        };
        let Some(to) = self.client_host(slot, open.client) else { return };
        let make = |session| Happening::StreamEnd { to, session, stream };
        self.transmit(slot, open.client, ActorKind::Outside, 0, lane, make);
    }

    fn client_host(&self, slot: u16, client: Place) -> Option<HostId> {
        self.processes[slot as usize].peers.get(&client).map(|peer| peer.host)
    }

    /// A client hears something on a stream. What comes on an older stream than its newest is not read any more.
    pub(crate) fn hear(&mut self, to: HostId, session: u64, stream: StreamId, frame: Option<Frame>, lane: &mut Lane) {
        let place = Place::of(to);
        let process = &mut self.processes[place.slot as usize];
        let stands = process.peers.values().any(|peer| peer.session == session);
        if !process.up || process.host() != to || !stands || process.stream(stream).is_none() {
            return;
        }
        let Some(actor) = process.find(ActorKind::Client, 0) else { return };
        let at = process.at(actor);
        let Some(frame) = frame else {
            process.retain_streams(|_, _| false);
            let link = process.peers.values().next().and_then(|peer| peer.link(LinkState::Down));
            if let Some(link) = link {
                let identity = format!("{STREAM_LINK}{}", stream.0);
                self.drive(at, Event::Link(Link { identity, ..link }), lane);
            }
            return;
        };
        if let (Some(event), Some(ledger)) = (frame.body::<FrameworkEvent>(), self.ledger.as_mut())
            && let Err(violation) = ledger.told(event)
        {
            lane.find(self.index, violation.claim, violation.words);
        }
        self.drive(at, Event::Message(frame), lane);
    }

    /// A process tries to reach another, and again later.
    pub(crate) fn dial(&mut self, from: HostId, place: Place, attempt: u32, lane: &mut Lane) {
        let me = Place::of(from);
        let process = &mut self.processes[me.slot as usize];
        if !process.up || process.host() != from {
            return;
        }
        let session = self.stamp.unique();
        let unknown = Badge { role: None, identity: "".into() };
        if process.peers.is_empty() {
            // An executor has one peer in its life; a table that grows by itself begins with room for four.
            process.peers.reserve_exact(1);
        }
        let peer = process.peers.entry(place).or_insert_with(|| Peer::new(place.host(0), unknown));
        if peer.session != 0 {
            return;
        }
        peer.pending = session;
        let badge = Box::new(process.badge.clone());
        let mut wait = DIAL_FIRST;
        for _ in 0..attempt.min(8) {
            wait = wait.doubled(DIAL_LAST);
        }
        let wait = wait + self.chance.duration_below(wait);
        let again = Happening::Dial { from, peer: place, attempt: attempt + 1 };
        lane.push(&mut self.stamp, self.index, lane.now() + wait, again);
        if let Some(delay) = self.delay_to(place, lane) {
            let hello = Happening::Hello { from, to: place, session, badge };
            lane.push(&mut self.stamp, place.machine, lane.now() + delay, hello);
        }
    }

    /// How long a packet outside any session takes; `None` when it is lost.
    fn delay_to(&mut self, place: Place, lane: &Lane) -> Option<kaon_kernel::time::Duration> {
        if place.machine == self.index {
            return Some(LOOPBACK.draw(&mut self.chance));
        }
        let laws = lane.setup.laws;
        let cut = self.cuts.get(&place.machine).is_some_and(|cut| lane.now() < cut.until);
        let lost = laws.loss_parts > 0 && !lane.is_calm() && self.chance.parts_per_million(laws.loss_parts);
        (!cut && !lost).then(|| laws.network.draw(&mut self.chance))
    }

    /// Somebody wants a session. An older one with the same place is over; a hello that a newer one has overtaken is
    /// not answered.
    pub(crate) fn hello(&mut self, from: HostId, to: Place, session: u64, badge: Badge, lane: &mut Lane) {
        let place = Place::of(from);
        let Some(process) = self.processes.get(to.slot as usize).filter(|process| process.up) else { return };
        let (host, mine) = (process.host(), process.badge.clone());
        let Some(delay) = self.delay_to(place, lane) else { return };
        let due = lane.now() + delay;
        let known = self.processes[to.slot as usize].peers.get(&place).map(|peer| (peer.host, peer.session));
        if let Some((older, old)) = known {
            if (older.0, old) > (from.0, session) {
                return;
            }
            self.hang_up(to, place, old, due, lane);
            self.lose(to.slot, place, old, lane);
        }
        let welcome = Happening::Welcome { from: host, to: from, session, badge: Box::new(mine) };
        lane.push(&mut self.stamp, place.machine, due, welcome);
        let mut peer = Peer::new(from, badge);
        peer.session = session;
        peer.floors = [due; 8];
        let process = &mut self.processes[to.slot as usize];
        if process.up && process.host() == host {
            process.peers.insert(place, peer);
            self.doubt(to, place, session, lane);
            self.tell_link(to.slot, place, LinkState::Up, lane);
        }
    }

    /// The other side has answered.
    pub(crate) fn welcome(&mut self, from: HostId, to: HostId, session: u64, badge: Badge, lane: &mut Lane) {
        let (place, me) = (Place::of(from), Place::of(to));
        let Some(process) = self.processes.get_mut(me.slot as usize) else { return };
        if !process.up || process.host() != to {
            return;
        }
        let Some(peer) = process.peers.get_mut(&place).filter(|peer| peer.pending == session) else {
            // It has another session by now, or is about to. What the other side is not told it hears from silence.
            let delay = self.delay_to(place, lane).unwrap_or_else(|| DETECT.draw(&mut self.chance));
            self.hang_up(me, place, session, lane.now() + delay, lane);
            return;
        };
        *peer = Peer::new(from, badge);
        peer.session = session;
        self.doubt(me, place, session, lane);
        self.tell_link(me.slot, place, LinkState::Up, lane);
    }

    /// Tells the other side that a session is over.
    fn hang_up(&mut self, me: Place, other: Place, session: u64, due: Instant, lane: &mut Lane) {
        if session != 0 {
            lane.push(&mut self.stamp, other.machine, due, Happening::Lost { to: other, peer: me, session });
        }
    }

    /// A process notices that a session is gone; who had dialled dials again.
    pub(crate) fn lose(&mut self, slot: u16, place: Place, session: u64, lane: &mut Lane) {
        let Some(process) = self.processes.get_mut(slot as usize).filter(|process| process.up) else { return };
        let Some(peer) = process.peers.get_mut(&place) else { return };
        if session != 0 && peer.pending == session {
            // The end has overtaken the welcome, which is not taken when it comes.
            peer.pending = 0;
        }
        if session == 0 || peer.session != session {
            return;
        }
        peer.session = 0;
        peer.broken = false;
        let link = peer.link(LinkState::Down);
        let is_client = peer.badge.role.is_none();
        let host = process.host();
        if process.dials == Some(place) {
            let due = lane.now() + self.chance.duration_below(DIAL_FIRST);
            lane.push(&mut self.stamp, self.index, due, Happening::Dial { from: host, peer: place, attempt: 0 });
        } else {
            process.peers.swap_remove(&place);
        }
        if let Some(link) = link {
            self.tell_standing(slot, &link, lane);
        }
        if is_client {
            self.end_streams(slot, place, lane);
        }
    }

    /// The reader of these streams is gone: who writes on them is told by the edge.
    fn end_streams(&mut self, slot: u16, client: Place, lane: &mut Lane) {
        let process = &mut self.processes[slot as usize];
        let mut ended = Vec::new();
        process.retain_streams(|stream, open| {
            let over = open.client == client;
            if over {
                ended.push((stream, open.proxy));
            }
            !over
        });
        for (stream, proxy) in ended {
            let host = self.processes[slot as usize].host();
            match proxy {
                Some(proxy) => {
                    let message = FrameworkMessage::Outside(scheduler::ToFramework::StreamClosed { stream });
                    self.speak_as_edge(slot, proxy, &message, lane);
                }
                None => {
                    let message = MasterMessage::Outside(scheduler::ToMaster::StreamClosed { stream });
                    self.speak_as_edge(slot, Address::only(host, ActorKind::Master), &message, lane);
                }
            }
        }
    }

    /// Says something as the edge of a process does: to an actor in the same process.
    pub(crate) fn speak_as_edge<M: Root>(&mut self, slot: u16, to: Address, message: &M, lane: &mut Lane) {
        let process = &mut self.processes[slot as usize];
        process.sequence += 1;
        let from = Address::outside(process.host());
        let route = Route { to, from, sequence: process.sequence, term: Term(0) };
        let frame = Frame::encode(route, message);
        lane.push_near(&mut self.stamp, self.index, Happening::Frame { frame, session: 0 });
    }

    /// Tells the standing actors of a process what has become of a session that it has.
    pub(crate) fn tell_link(&mut self, slot: u16, place: Place, state: LinkState, lane: &mut Lane) {
        let Some(process) = self.processes.get_mut(slot as usize).filter(|process| process.up) else { return };
        let Some(peer) = process.peers.get_mut(&place).filter(|peer| peer.session != 0) else { return };
        peer.congested = state == LinkState::Congested;
        if let Some(link) = peer.link(state) {
            self.tell_standing(slot, &link, lane);
        }
    }

    fn tell_standing(&mut self, slot: u16, link: &Link, lane: &mut Lane) {
        let process = &self.processes[slot as usize];
        // An agent's executor hears of nobody but its agent; a client sees the master as its leader.
        debug_assert!(process.role != Role::Executor || link.role == PeerRole::Agent);
        let standing = process.role.tree().actors.len().min(process.seats.len());
        let present: Vec<_> = (0..standing as u32).map(|actor| process.at(actor)).collect();
        for at in present {
            self.drive(at, Event::Link(link.clone()), lane);
        }
    }

    /// A session that was under way when its line was cut begins in silence, and ends of it at both ends.
    fn doubt(&mut self, me: Place, peer: Place, session: u64, lane: &mut Lane) {
        if self.silences.get(&peer.machine).is_some_and(|until| lane.now() < *until) {
            let [here, there] = [(); 2].map(|()| lane.now() + DETECT.draw(&mut self.chance));
            lane.push(&mut self.stamp, self.index, here, Happening::Lost { to: me, peer, session });
            self.hang_up(me, peer, session, there, lane);
        }
    }

    /// The line to another machine is cut, in one or both directions. A long cut ends the sessions over it.
    pub(crate) fn cut(&mut self, machine: u32, outgoing: bool, cut: Cut, lane: &mut Lane) {
        // A cut within a longer one mends nothing.
        let is_longest = self.cuts.get(&machine).is_none_or(|known| known.until < cut.until);
        if outgoing && is_longest {
            self.cuts.insert(machine, cut);
        }
        if !cut.long {
            return;
        }
        let silent = self.silences.entry(machine).or_insert(cut.until);
        *silent = cut.until.max(*silent);
        let process = &self.processes[0];
        let crossing = process.peers.iter().filter(|(place, peer)| place.machine == machine && peer.session != 0);
        let sessions: Vec<(Place, u64)> = crossing.map(|(&place, peer)| (place, peer.session)).collect();
        for (peer, session) in sessions {
            let due = lane.now() + DETECT.draw(&mut self.chance);
            let lost = Happening::Lost { to: Place::standing(self.index), peer, session };
            lane.push(&mut self.stamp, self.index, due, lost);
        }
    }
}

/// The stream that a frame asks a subscription for.
fn subscription(frame: &Frame) -> Option<StreamId> {
    if frame.envelope().kind != Kind::Master {
        return None;
    }
    match frame.body::<MasterMessage>()? {
        ArchivedMasterMessage::Outside(ArchivedToMaster::Subscribe { stream, .. }) => {
            Some(StreamId(stream.0.to_native()))
        }
        _ => None,
    }
}

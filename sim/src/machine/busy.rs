//! A master that has no room for a call says so: the caller hears 503 and has its call back.
//!
//! The rule is that of the HTTP edge and of the runtime: a call is taken when its proxy has room, and when the master, to
//! which the proxy hands it on, is at most half full of what others wait for. What to do with a call that comes back is the
//! caller's business (`client/again.rs`).

use crate::machine::Machine;
use crate::machine::happening::Happening;
use crate::machine::place::Place;
use crate::world::lane::Lane;
use kaon_kernel::actor::{ActorKind, Class, Event, HostId, Link, LinkState, StreamId};
use kaon_kernel::frame::{Envelope, Frame, copy};
use kaon_kernel::message::scheduler::{ArchivedToFramework, Call};
use kaon_kernel::message::{ArchivedFrameworkMessage, FrameworkMessage};
use std::sync::{Arc, Mutex, PoisonError};

/// How a client's actor is told that calls are back: as a link of this name that is down. They lie in [`Returned`].
pub(crate) const BUSY_LINK: &str = "busy";

/// The calls of a client that were turned away, each with the stream it was said for. The client takes them out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returned(Arc<Mutex<Vec<(StreamId, Call)>>>);

impl Returned {
    fn put(&self, stream: StreamId, call: Call) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((stream, call));
    }

    /// All that lie there.
    pub(crate) fn take(&self) -> Vec<(StreamId, Call)> {
        core::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Machine {
    /// Whether a call is turned away although its proxy has room.
    pub(crate) fn is_crowded(&self, slot: u16, envelope: &Envelope, lane: &Lane) -> bool {
        if envelope.class != Class::Outside || envelope.to.kind != ActorKind::Framework {
            return false;
        }
        let process = &self.processes[slot as usize];
        let master = process.find(ActorKind::Master, 0).map(|actor| &process.seats[actor as usize]);
        master.is_some_and(|master| !lane.setup.laws.bounds.admits_to_hand_on(master.mailbox.len()))
    }

    /// A mailbox has no room for a frame. A client is told; among actors the sender repeats what matters by itself.
    pub(crate) fn turn_away(&mut self, slot: u16, frame: Frame, lane: &mut Lane) {
        lane.counts.refused += 1;
        let from = frame.envelope().from;
        let client = Place::of(from.host);
        let stands = self.processes[slot as usize].peers.get(&client).is_some_and(|peer| peer.host == from.host);
        if from.kind == ActorKind::Client && stands {
            let make = |session| Happening::Busy { to: from.host, session, frame };
            self.transmit(slot, client, ActorKind::Outside, 0, lane, make);
        }
    }

    /// A client hears 503. Of a subscription it is not told: it asks again when nobody answers.
    pub(crate) fn hear_busy(&mut self, to: HostId, session: u64, frame: &Frame, lane: &mut Lane) {
        let place = Place::of(to);
        let process = &self.processes[place.slot as usize];
        let stands = process.peers.values().find(|peer| peer.session == session);
        let Some(link) = stands.and_then(|peer| peer.link(LinkState::Down)).filter(|_| process.host() == to) else {
            return;
        };
        let (Some(actor), Some(returned)) = (process.find(ActorKind::Client, 0), self.returned.as_ref()) else {
            return;
        };
        if let Some(ArchivedFrameworkMessage::Outside(ArchivedToFramework::Call { stream, call })) =
            frame.body::<FrameworkMessage>()
        {
            returned.put(StreamId(stream.0.to_native()), copy(call));
            let at = process.at(actor);
            self.drive(at, Event::Link(Link { identity: BUSY_LINK.to_owned(), ..link }), lane);
        }
    }
}

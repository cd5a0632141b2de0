//! The connections of a server by where they come from, so that room is made at the cost of whoever takes most of it.
//!
//! At the bound a newcomer takes the place of a connection that asks for nothing: one of the source that holds the most, one
//! that never asked before one that did, the one idle for longest among [`LOOKED_AT`]. Whoever holds a stream or waits for an
//! answer keeps its place. So a stranger with any number of idle connections puts out its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Limits;
use super::connection::Progress;

/// How many connections of one source are looked at for one that can go. The next look goes on where this one ended, so
/// that all have their turn.
const LOOKED_AT: usize = 64;

/// How many sources are looked through for one newcomer, the largest first.
const SOURCES_LOOKED_AT: usize = 16;

/// Connections that are looked at with the lock held when the slow ones are told off.
const SWEPT_AT_ONCE: usize = 1024;

/// Where a connection comes from: an IPv4 address, or the network of 64 bits of an IPv6 address, of which one stranger has
/// all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source(u128);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => Self(address.to_bits() >> 64 << 64),
        }
    }
}

/// A connection's place among those of its source, in order of arrival.
type Place = (Source, u64);

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<Seats>);

#[derive(Debug, Default)]
struct Seats {
    all: BTreeMap<Place, Arc<Progress>>,
    sources: BTreeMap<Source, Holding>,
    /// The sources by how much they hold.
    sizes: BTreeSet<(usize, Source)>,
    last: u64,
}

/// What one source holds.
#[derive(Clone, Copy, Debug, Default)]
struct Holding {
    connections: usize,
    /// Where the next look begins.
    next: u64,
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in. Cost: logarithmic.
    pub(super) fn enter(self: &Arc<Self>, source: Source, progress: Arc<Progress>) -> Seat {
        let mut seats = self.lock();
        seats.last += 1;
        let place = (source, seats.last);
        seats.all.insert(place, progress);
        seats.count(source, 1);
        Seat { room: Arc::clone(self), place }
    }

    /// Hangs up on one that asks for nothing; whether there was one. Cost: [`LOOKED_AT`] looks in each of
    /// [`SOURCES_LOOKED_AT`] sources at most.
    pub(super) fn make(&self) -> bool {
        let mut seats = self.lock();
        let largest: Vec<Source> =
            seats.sizes.iter().rev().take(SOURCES_LOOKED_AT).map(|(_, source)| *source).collect();
        largest.into_iter().any(|source| seats.put_one_out(source))
    }

    /// Hangs up on those that are too slow. Cost: all connections, the lock never held for more than [`SWEPT_AT_ONCE`].
    pub(super) fn sweep(&self, limits: &Limits) {
        let mut from: Place = (Source(0), 0);
        loop {
            let seats = self.lock();
            let mut looked_at = 0;
            for (place, progress) in seats.all.range(from..).take(SWEPT_AT_ONCE) {
                progress.tell_off(limits);
                from = (place.0, place.1 + 1);
                looked_at += 1;
            }
            if looked_at < SWEPT_AT_ONCE {
                return;
            }
        }
    }
}

impl Seats {
    fn count(&mut self, source: Source, change: isize) {
        let holding = self.sources.entry(source).or_default();
        self.sizes.remove(&(holding.connections, source));
        holding.connections = holding.connections.saturating_add_signed(change);
        if holding.connections == 0 {
            self.sources.remove(&source);
        } else {
            self.sizes.insert((holding.connections, source));
        }
    }

    /// A connection is looked at no more. It may take a moment to end.
    fn forget(&mut self, place: Place) {
        if self.all.remove(&place).is_some() {
            self.count(place.0, -1);
        }
    }

    fn put_one_out(&mut self, source: Source) -> bool {
        let next = self.sources.get(&source).map_or(0, |holding| holding.next);
        let behind = self.all.range((source, next)..=(source, u64::MAX));
        let before = self.all.range((source, 0)..(source, next));
        let looked_at = behind.chain(before).take(LOOKED_AT);
        let mut goes: Option<(_, Place, &Arc<Progress>)> = None;
        let mut end = next;
        for (place, progress) in looked_at {
            end = place.1;
            let Some(idle) = progress.idle() else { continue };
            if goes.as_ref().is_none_or(|(longest, ..)| idle < *longest) {
                goes = Some((idle, *place, progress));
            }
        }
        if let Some((_, place, progress)) = goes {
            progress.make_room();
            self.forget(place);
            return true;
        }
        if let Some(holding) = self.sources.get_mut(&source) {
            holding.next = end + 1;
        }
        false
    }
}

/// A place in the room; given back when dropped, however the connection ends.
pub(super) struct Seat {
    room: Arc<Room>,
    place: Place,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.lock().forget(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn source(last: u8) -> Source {
        IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)).into()
    }

    fn enter(room: &Arc<Room>, from: Source) -> (Arc<Progress>, Seat) {
        let progress = Arc::new(Progress::default());
        let seat = room.enter(from, Arc::clone(&progress));
        (progress, seat)
    }

    #[test]
    fn whoever_holds_most_makes_room() {
        let room = Arc::new(Room::default());
        let few = enter(&room, source(1));
        let many: Vec<_> = (0..100).map(|_| enter(&room, source(2))).collect();
        for _ in 0..100 {
            assert!(room.make());
        }
        assert!(many.iter().all(|(progress, _)| progress.idle().is_none()), "all of them were put out");
        assert!(few.0.idle().is_some(), "and nobody else");
        assert!(room.make() && few.0.idle().is_none(), "until there is nobody else");
        assert!(!room.make());
        drop((few, many));
        let seats = room.lock();
        assert!(seats.all.is_empty() && seats.sources.is_empty() && seats.sizes.is_empty());
    }

    #[test]
    fn those_who_asked_go_after_those_who_never_did_and_those_at_work_stay() {
        let room = Arc::new(Room::default());
        let (asked, _first) = enter(&room, source(1));
        asked.on_request();
        asked.on_answered();
        let (busy, _second) = enter(&room, source(1));
        busy.on_request();
        let (silent, _third) = enter(&room, source(1));
        assert!(room.make() && silent.idle().is_none() && asked.idle().is_some());
        assert!(room.make() && asked.idle().is_none());
        assert!(!room.make(), "one that is being answered keeps its place");
    }

    #[test]
    fn the_idle_are_found_behind_any_number_at_work() {
        let room = Arc::new(Room::default());
        let at_work: Vec<_> = (0..10 * LOOKED_AT).map(|_| enter(&room, source(1))).collect();
        at_work.iter().for_each(|(progress, _)| progress.on_request());
        let (idle, _seat) = enter(&room, source(1));
        let looks = (0..20).take_while(|_| !room.make()).count();
        assert_eq!(looks, 10, "each look goes on where the last one ended");
        assert!(idle.idle().is_none());
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let of = |segments: [u16; 8]| Source::from(IpAddr::V6(Ipv6Addr::from(segments)));
        assert_eq!(of([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1]), of([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]));
        assert_ne!(of([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1]), of([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1]));
        assert_eq!(of([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]), source(1));
    }
}

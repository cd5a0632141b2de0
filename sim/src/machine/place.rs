//! Where a process of the simulated world lives, and how that is folded into a [`HostId`].
//!
//! A real host draws its id at random; a simulated one writes its place into it, so that a frame finds its machine and
//! process by shifting bits, without a table. Actors treat the number as opaque, as they must.

use kaon_kernel::actor::HostId;

/// Bits of the life's number: 16 million starts of one process slot.
const LIFE_BITS: u32 = 24;
/// Bits of the slot on a machine.
const SLOT_BITS: u32 = 16;
/// The most machines of one world.
pub(crate) const MACHINES_MAX: u32 = 1 << 24;
/// The most processes at once on one machine.
pub(crate) const PROCESSES_MAX: usize = 1 << SLOT_BITS;

/// A slot for a process on a machine. Who lives there changes with each life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// Index of the machine in the world.
    pub(crate) machine: u32,
    /// Index of the process on it; zero is the standing one.
    pub(crate) slot: u16,
}

impl Place {
    /// The standing process of a machine.
    pub(crate) fn standing(machine: u32) -> Self {
        Self { machine, slot: 0 }
    }

    /// The host id of a life of this place.
    pub(crate) fn host(self, life: u32) -> HostId {
        let place = u64::from(self.machine) << SLOT_BITS | u64::from(self.slot);
        HostId(place << LIFE_BITS | u64::from(life) & ((1 << LIFE_BITS) - 1))
    }

    /// The place of a host.
    pub(crate) fn of(host: HostId) -> Self {
        let place = host.0 >> LIFE_BITS;
        Self { machine: (place >> SLOT_BITS) as u32, slot: place as u16 }
    }
}

/// An incarnation of one actor: what an outcome or a timer is for. Events for an older one are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// The process slot on its machine.
    pub(crate) slot: u16,
    /// The life of that process.
    pub(crate) life: u32,
    /// The actor's index in the process.
    pub(crate) actor: u32,
    /// Which start of that actor.
    pub(crate) incarnation: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_tells_its_place() {
        let place = Place { machine: MACHINES_MAX - 1, slot: u16::MAX };
        assert_eq!(Place::of(place.host(3)), place);
        assert_ne!(place.host(3), place.host(4));
        assert_eq!(Place::of(Place::standing(7).host(1)), Place::standing(7));
    }
}

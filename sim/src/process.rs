//! A simulated process: its actors, its sessions, its streams.

use crate::happening::Badge;
use crate::place::{At, Place};
use crate::timers::Timers;
use kaon_kernel::actor::supervision::{self, Restarts, Tree};
use kaon_kernel::actor::{ActorKind, Address, Cell, ChildSpec, HostId, StreamId};
use kaon_kernel::frame::Frame;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::table::Table;
use kaon_kernel::time::Instant;
use std::collections::VecDeque;

/// A client's process.
pub(crate) const CLIENT_TREE: Tree = Tree { policy: supervision::Policy::DEFAULT, actors: &[ActorKind::Client] };

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A master's host.
    Master,
    /// An agent's host.
    Agent,
    /// An executor's host, in a container.
    Executor,
    /// A framework's scheduler.
    Client,
}

impl Role {
    /// Its standing actors.
    pub(crate) fn tree(self) -> Tree {
        match self {
            Self::Master => supervision::MASTER_TREE,
            Self::Agent => supervision::AGENT_TREE,
            Self::Executor => supervision::EXECUTOR_TREE,
            Self::Client => CLIENT_TREE,
        }
    }
    /// What its certificate says; a client has none.
    pub(crate) fn peer(self) -> Option<PeerRole> {
        match self {
            Self::Master => Some(PeerRole::Master),
            Self::Agent => Some(PeerRole::Agent),
            Self::Executor => Some(PeerRole::Executor),
            Self::Client => None,
        }
    }
}

/// What an actor is made from.
pub(crate) struct Birth<'a> {
    /// Where it lives.
    pub(crate) address: Address,
    /// The seed of this incarnation.
    pub(crate) seed: u64,
    /// What it is, when it was spawned.
    pub(crate) spec: Option<&'a ChildSpec>,
    /// The environment of its process: what an executor is told.
    pub(crate) environment: &'a [(String, String)],
}

/// A cell that a worker may carry to another thread.
pub(crate) type AnyCell = Box<dyn Cell + Send>;

/// Makes actors; the reason when there is none to make.
pub(crate) type Cast = Box<dyn Fn(&Birth<'_>) -> Result<AnyCell, String> + Send + Sync>;

/// A seat for an actor.
pub(crate) struct Seat {
    pub(crate) address: Address,
    /// Its parent's index; `None` for a standing actor.
    pub(crate) parent: Option<u32>,
    pub(crate) spec: Option<ChildSpec>,
    /// `None` while it waits for its start, and when it is gone.
    pub(crate) cell: Option<AnyCell>,
    pub(crate) gone: bool,
    pub(crate) incarnation: u32,
    pub(crate) started: Instant,
    pub(crate) timers: Timers,
    pub(crate) mailbox: VecDeque<Frame>,
    pub(crate) busy_until: Instant,
    /// The restarts of its children.
    pub(crate) restarts: Restarts,
    /// A fault: its next event ends in a panic.
    pub(crate) planted: bool,
}

/// What a process knows of another.
pub(crate) struct Peer {
    pub(crate) host: HostId,
    pub(crate) badge: Badge,
    /// The session that stands; zero when none does.
    pub(crate) session: u64,
    /// The session that was asked for and not answered yet; zero when none was.
    pub(crate) pending: u64,
    /// The session has lost a frame: nothing more goes through, and it will be noticed.
    pub(crate) broken: bool,
    /// When the last frame of each conversation arrives: none overtakes it. By kind of receiver.
    pub(crate) floors: [Instant; 8],
}

/// A stream from the edge of a master's process to a client.
pub(crate) struct Stream {
    pub(crate) client: Place,
    /// The proxy that has spoken on it.
    pub(crate) proxy: Option<Address>,
}

/// The environment of a process in one piece of memory: a hundred thousand executors have seventeen variables each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// All names and values in turn.
    text: Box<str>,
    /// Where each of them ends.
    ends: Box<[u32]>,
}

impl Environment {
    /// Folds variables. As on a real machine a NUL ends a text.
    pub(crate) fn fold(variables: &[(String, String)]) -> Self {
        let (mut text, mut ends) = (String::with_capacity(1024), Vec::with_capacity(2 * variables.len()));
        for part in variables.iter().flat_map(|(name, value)| [name, value]) {
            text.push_str(part.split('\0').next().unwrap_or_default());
            ends.push(text.len() as u32);
        }
        Self { text: text.into(), ends: ends.into() }
    }

    /// The variables in their order.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let mut begin = 0;
        let mut parts = self.ends.iter().map(|&end| {
            let part = self.text[begin..end as usize].to_owned();
            begin = end as usize;
            part
        });
        let mut variables = Vec::with_capacity(self.ends.len() / 2);
        variables.extend(core::iter::from_fn(|| parts.next().zip(parts.next())));
        variables
    }
}

/// A process, alive or waiting for its next life.
pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) badge: Badge,
    pub(crate) place: Place,
    pub(crate) life: u32,
    pub(crate) up: bool,
    pub(crate) seats: Vec<Seat>,
    /// Spawned actors by kind and index.
    children: Table<(u16, u32), u32>,
    pub(crate) restarts: Restarts,
    /// Whom it dials.
    pub(crate) dials: Vec<Place>,
    pub(crate) peers: Table<Place, Peer>,
    /// Streams that are open at this edge (a master's), or the newest that was opened (a client's).
    pub(crate) streams: Table<StreamId, Stream>,
    /// What an executor is told, folded: see [`Environment`].
    pub(crate) environment: Environment,
    /// The container around it.
    pub(crate) container: Option<u32>,
    /// Counts the frames that its edge itself makes.
    pub(crate) sequence: u64,
}

impl Process {
    /// A process that has not started yet.
    pub(crate) fn new(role: Role, identity: &str, place: Place, dials: Vec<Place>) -> Self {
        Self {
            role,
            badge: Badge { role: role.peer(), identity: identity.into() },
            place,
            life: 0,
            up: false,
            seats: Vec::new(),
            children: Table::default(),
            restarts: Restarts::default(),
            dials,
            peers: Table::default(),
            streams: Table::default(),
            environment: Environment::default(),
            container: None,
            sequence: 0,
        }
    }

    /// This life's host.
    pub(crate) fn host(&self) -> HostId {
        self.place.host(self.life)
    }

    /// The present incarnation of an actor.
    pub(crate) fn at(&self, actor: u32) -> At {
        let incarnation = self.seats[actor as usize].incarnation;
        At { slot: self.place.slot, life: self.life, actor, incarnation }
    }

    /// The present incarnation of the same actor.
    pub(crate) fn newest(&self, at: At) -> At {
        if (at.actor as usize) < self.seats.len() { self.at(at.actor) } else { at }
    }

    /// The seat of an incarnation, if it is the present one.
    pub(crate) fn seat(&mut self, at: At) -> Option<&mut Seat> {
        let alive = self.up && self.life == at.life;
        let seat = self.seats.get_mut(at.actor as usize).filter(|_| alive)?;
        (seat.incarnation == at.incarnation && !seat.gone).then_some(seat)
    }

    /// The actor that lives at an address of this host.
    pub(crate) fn find(&self, kind: ActorKind, index: u32) -> Option<u32> {
        let standing = self.role.tree().actors;
        if index == 0
            && let Some(position) = standing.iter().position(|&other| other == kind)
        {
            return (position < self.seats.len()).then_some(position as u32);
        }
        self.children.get(&(kind as u16, index)).copied()
    }

    /// Adds a seat for an actor that is to begin; answers with its index.
    pub(crate) fn seat_actor(&mut self, address: Address, parent: Option<u32>, spec: Option<ChildSpec>) -> u32 {
        let number = self.seats.len() as u32;
        if parent.is_some() {
            self.children.insert((address.kind as u16, address.index), number);
        }
        self.seats.push(Seat {
            address,
            parent,
            spec,
            cell: None,
            gone: false,
            incarnation: 1,
            started: Instant(0),
            timers: Timers::default(),
            mailbox: VecDeque::new(),
            busy_until: Instant(0),
            restarts: Restarts::default(),
            planted: false,
        });
        number
    }

    /// The table of spawned actors is emptied with the seats.
    pub(crate) fn forget_children(&mut self) {
        self.children.clear();
    }

    /// Takes an actor out of its seat. Its timers and outcomes under way are void, its children are gone; its mailbox
    /// stays for its next incarnation, unless it is gone for good.
    pub(crate) fn vacate(&mut self, actor: u32, for_good: bool) {
        for child in 0..self.seats.len() as u32 {
            if self.seats[child as usize].parent == Some(actor) && !self.seats[child as usize].gone {
                self.vacate(child, true);
            }
        }
        let seat = &mut self.seats[actor as usize];
        seat.cell = None;
        seat.incarnation += 1;
        seat.timers = Timers::default();
        seat.busy_until = Instant(0);
        if for_good {
            seat.gone = true;
            seat.mailbox = VecDeque::new();
            if seat.parent.is_some() {
                let key = (seat.address.kind as u16, seat.address.index);
                self.children.swap_remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_unfolds_to_what_was_folded() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let variables = vec![pair("A", "1"), pair("EMPTY", ""), pair("B", "two=2")];
        assert_eq!(Environment::fold(&variables).variables(), variables);
        assert_eq!(Environment::default().variables(), Vec::new());
    }
}

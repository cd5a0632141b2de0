//! A simulated process: its actors, its sessions, its streams.

use crate::machine::busy::Returned;
use crate::machine::happening::Badge;
use crate::machine::legacy::Legacy;
use crate::machine::place::{At, Place};
use crate::machine::timers::Timers;
use kaon_actors::executor::Inherited;
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
    pub(crate) environment: Option<&'a Inherited>,
    /// Where the calls of a client lie that were turned away.
    pub(crate) returned: Option<&'a Returned>,
    /// What the last life of a client left.
    pub(crate) legacy: Option<&'a Legacy>,
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
    /// How often it was restarted, where it is a child; those of standing actors count for their process.
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
    /// What was told last of its flow: too much is under way.
    pub(crate) congested: bool,
    /// When the last frame of each conversation arrives: none overtakes it. By kind of receiver.
    pub(crate) floors: [Instant; ActorKind::COUNT],
}

/// A stream from the edge of a master's process to a client.
pub(crate) struct Stream {
    pub(crate) client: Place,
    /// The proxy that has spoken on it.
    pub(crate) proxy: Option<Address>,
}

/// What only processes with many others around them have. A hundred thousand executors have not.
#[derive(Default)]
struct Crowd {
    /// Spawned actors by kind and index.
    children: Table<(u16, u32), u32>,
    /// Streams that are open at this edge (a master's), or the newest that was opened (a client's).
    streams: Table<StreamId, Stream>,
}

/// A process, alive or waiting for its next life.
pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) badge: Badge,
    pub(crate) place: Place,
    pub(crate) life: u32,
    pub(crate) up: bool,
    pub(crate) seats: Vec<Seat>,
    pub(crate) peers: Table<Place, Peer>,
    /// Whom it dials.
    pub(crate) dials: Option<Place>,
    pub(crate) restarts: Restarts,
    crowd: Option<Box<Crowd>>,
    /// What an executor is told.
    pub(crate) environment: Option<Inherited>,
    /// The container around it.
    pub(crate) container: Option<u32>,
    /// Counts the frames that its edge itself makes.
    pub(crate) sequence: u64,
}

impl Process {
    /// A process that has not started yet.
    pub(crate) fn new(role: Role, identity: &str, place: Place, dials: Option<Place>) -> Self {
        Self {
            role,
            badge: Badge { role: role.peer(), identity: identity.into() },
            place,
            life: 0,
            up: false,
            seats: Vec::new(),
            peers: Table::default(),
            dials,
            restarts: Restarts::default(),
            crowd: None,
            environment: None,
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
        self.crowd.as_ref()?.children.get(&(kind as u16, index)).copied()
    }

    /// Adds a seat for an actor that is to begin; answers with its index.
    pub(crate) fn seat_actor(&mut self, address: Address, parent: Option<u32>, spec: Option<ChildSpec>) -> u32 {
        let number = self.seats.len() as u32;
        if parent.is_some() {
            self.crowd.get_or_insert_default().children.insert((address.kind as u16, address.index), number);
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

    /// Spawned actors and streams end with the process.
    pub(crate) fn forget_crowd(&mut self) {
        self.crowd = None;
    }

    /// A stream that is open at this edge.
    pub(crate) fn stream(&mut self, stream: StreamId) -> Option<&mut Stream> {
        self.crowd.as_mut()?.streams.get_mut(&stream)
    }

    /// Opens a stream at this edge.
    pub(crate) fn open_stream(&mut self, id: StreamId, stream: Stream) {
        self.crowd.get_or_insert_default().streams.insert(id, stream);
    }

    /// Closes a stream at this edge.
    pub(crate) fn close_stream(&mut self, stream: StreamId) -> Option<Stream> {
        self.crowd.as_mut()?.streams.swap_remove(&stream)
    }

    /// Keeps of the open streams those that `keep` wants.
    pub(crate) fn retain_streams(&mut self, mut keep: impl FnMut(StreamId, &Stream) -> bool) {
        if let Some(crowd) = self.crowd.as_mut() {
            crowd.streams.retain(|&id, stream| keep(id, stream));
        }
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
            if let (Some(_), Some(crowd)) = (seat.parent, self.crowd.as_mut()) {
                let key = (seat.address.kind as u16, seat.address.index);
                crowd.children.swap_remove(&key);
            }
        }
    }
}

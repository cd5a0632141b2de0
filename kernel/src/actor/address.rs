//! Where an actor lives.

use core::fmt;

/// One process that runs actors: drawn at random when it starts, so that it also tells one life from the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct HostId(pub u64);

/// A term of leadership. Higher is newer; zero is "not of a leader".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct Term(pub u64);

/// A stream to the outside, numbered by the host that carries it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct StreamId(pub u64);

impl StreamId {
    /// The stream of cluster changes from which the read side builds its snapshots.
    pub const VIEW: Self = Self(0);
}

/// The kinds of actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum ActorKind {
    /// Not an actor: the host itself, or a client behind its HTTP edge.
    Outside = 0,
    /// Tracks agents and frameworks.
    Master = 1,
    /// Decides which free resources are offered to whom.
    Allocator = 2,
    /// Keeps the registry in a replicated log.
    Registrar = 3,
    /// Stands for one machine.
    Agent = 4,
    /// Runs tasks on an agent.
    Executor = 5,
    /// Stands for one subscribed framework.
    Framework = 6,
    /// A client of the cluster that itself runs as an actor: a simulated scheduler.
    Client = 7,
}

impl ActorKind {
    /// All of them, by their numbers.
    pub const ALL: [Self; 8] = [
        Self::Outside,
        Self::Master,
        Self::Allocator,
        Self::Registrar,
        Self::Agent,
        Self::Executor,
        Self::Framework,
        Self::Client,
    ];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The kind of a number; `None` when no kind has it.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The kind of a word, see [`ActorKind::word`].
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The word for it in metrics, journals and traces.
    pub fn word(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Master => "master",
            Self::Allocator => "allocator",
            Self::Registrar => "registrar",
            Self::Agent => "agent",
            Self::Executor => "executor",
            Self::Framework => "framework",
            Self::Client => "client",
        }
    }
}

/// The place of an actor: which host, what kind, which of its kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The process.
    pub host: HostId,
    /// What it is.
    pub kind: ActorKind,
    /// Which of its kind on this host; zero where there is one.
    pub index: u32,
}

impl Address {
    /// The only actor of its kind on a host.
    pub const fn only(host: HostId, kind: ActorKind) -> Self {
        Self { host, kind, index: 0 }
    }
    /// One of several of its kind on a host.
    pub const fn nth(host: HostId, kind: ActorKind, index: u32) -> Self {
        Self { host, kind, index }
    }
    /// The host itself, or a client behind its edge.
    pub const fn outside(host: HostId) -> Self {
        Self::only(host, ActorKind::Outside)
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}", self.0)
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            0 => write!(formatter, "{}@{}", self.kind.word(), self.host),
            index => write!(formatter, "{}.{index}@{}", self.kind.word(), self.host),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

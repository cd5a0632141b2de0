//! What can happen on a machine.

use crate::machine::place::{At, Place};
use crate::world::operator::Act;
use kaon_kernel::actor::{Address, ExitReason, HostId, LinkState, Outcome, StreamId, Ticket};
use kaon_kernel::container::ExitStatus;
use kaon_kernel::frame::Frame;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::time::{Duration, Instant};
use std::sync::Arc;

/// Who a process is, as its certificate says; a client has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Badge {
    /// Its part in the cluster; `None` for a client, which is no peer.
    pub(crate) role: Option<PeerRole>,
    /// Its name, such as `agent-7`, `master-0`, or a container's id.
    pub(crate) identity: Arc<str>,
}

/// An event of the world, for one machine. What is large and rare lies in a box: a million events wait at once.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// The machine has power again.
    PowerOn,
    /// Its power fails: all that runs is gone, the disk stays.
    PowerOff,
    /// A process starts.
    Boot {
        /// Its slot.
        slot: u16,
    },
    /// A process is ended from outside.
    Crash {
        /// Its slot.
        slot: u16,
        /// How long it stays away.
        away: Duration,
    },
    /// One of the executors on the machine is ended from outside.
    CrashExecutor {
        /// Chooses which; there may be none.
        pick: u64,
    },
    /// The next event of an actor of the standing process ends in a panic.
    Plant {
        /// Chooses which actor.
        pick: u64,
    },
    /// An actor begins.
    Begin {
        /// Which.
        at: At,
    },
    /// A frame arrives at a process.
    Frame {
        /// The frame.
        frame: Frame,
        /// The session that it came on; zero between actors of one process.
        session: u64,
    },
    /// A frame arrives on a stream at a client.
    Event {
        /// The client's process.
        to: HostId,
        /// The session that it came on.
        session: u64,
        /// The stream.
        stream: StreamId,
        /// The event.
        frame: Frame,
    },
    /// A stream ends at a client.
    StreamEnd {
        /// The client's process.
        to: HostId,
        /// The session that it came on.
        session: u64,
        /// The stream.
        stream: StreamId,
    },
    /// A client hears that the master had no room for a call.
    Busy {
        /// The client's process.
        to: HostId,
        /// The session that it comes on.
        session: u64,
        /// The call.
        frame: Frame,
    },
    /// An actor that was busy looks into its mailbox.
    Wake {
        /// Which.
        at: At,
    },
    /// A timer is due.
    Timer {
        /// Whose.
        at: At,
        /// The packed timer.
        timer: u64,
    },
    /// An effect has come back.
    Done {
        /// To whom.
        at: At,
        /// Its ticket.
        ticket: Ticket,
        /// What became of it.
        outcome: Box<Outcome>,
    },
    /// A child has ended.
    Exit {
        /// Its parent.
        at: At,
        /// The child.
        child: Address,
        /// Why.
        reason: ExitReason,
    },
    /// The oldest batch of a journal that waits is on disk.
    Flush {
        /// The journal's index on this machine.
        journal: u32,
        /// The life of the journal's queue; a crash begins another.
        epoch: u32,
    },
    /// A process tries to reach another.
    Dial {
        /// The process.
        from: HostId,
        /// The other.
        peer: Place,
        /// How often it has tried in vain.
        attempt: u32,
    },
    /// The first word of a session.
    Hello {
        /// The process that dials.
        from: HostId,
        /// Where it wants to go.
        to: Place,
        /// The session's number.
        session: u64,
        /// Who it is.
        badge: Box<Badge>,
    },
    /// The answer to a hello.
    Welcome {
        /// The process that answers.
        from: HostId,
        /// The process that dialled.
        to: HostId,
        /// The session's number.
        session: u64,
        /// Who answers.
        badge: Box<Badge>,
    },
    /// A process notices that a session is gone.
    Lost {
        /// The process; the session's number says which life of it.
        to: Place,
        /// The other side.
        peer: Place,
        /// The session's number.
        session: u64,
    },
    /// A session flows worse or better.
    Flow {
        /// The other side; the standing process is told.
        peer: Place,
        /// How it flows.
        state: LinkState,
    },
    /// The line to another machine is cut for a while.
    Cut {
        /// The other machine.
        peer: u32,
        /// Whether it is this direction that is cut; a session notices the other one too.
        outgoing: bool,
        /// Until when.
        until: Instant,
        /// Longer than a session lives in silence: what is sent meanwhile is lost with it. Otherwise it is sent again
        /// and comes late.
        long: bool,
    },
    /// The disk is slow for a while.
    SlowDisk {
        /// How many times slower.
        factor: u64,
        /// Until when.
        until: Instant,
    },
    /// Nothing can be written for a while.
    FullDisk {
        /// Until when.
        until: Instant,
    },
    /// The machine stands still for a while; what comes meanwhile waits.
    Pause {
        /// Until when.
        until: Instant,
    },
    /// Each message keeps an actor busy for longer, for a while.
    Slow {
        /// How long.
        handling: Duration,
        /// Until when.
        until: Instant,
    },
    /// The wall clock is set.
    Clock {
        /// Nanoseconds ahead of the right time.
        ahead: i64,
    },
    /// The operator does something.
    Operate {
        /// What.
        act: Act,
    },
    /// A container has started, or could not.
    Started {
        /// Its index.
        container: u32,
        /// Which life of that index.
        generation: u32,
    },
    /// A container's first process ends.
    Ended {
        /// Its index.
        container: u32,
        /// Which life of that index.
        generation: u32,
        /// How.
        status: ExitStatus,
    },
}

impl Happening {
    /// Whether it happens to a machine that stands still, too.
    pub(crate) fn is_physical(&self) -> bool {
        matches!(self, Self::PowerOff | Self::PowerOn | Self::Cut { .. } | Self::Pause { .. } | Self::Clock { .. })
    }
}

const _: () = assert!(size_of::<Happening>() <= 40, "a waiting event is small");

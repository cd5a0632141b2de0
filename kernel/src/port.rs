//! The ports of a host: the traits through which edges that know nothing of each other meet.
//!
//! The runtime implements [`Ingress`] for transport and http; transport implements [`Network`] and http implements
//! [`Streams`] for the runtime. `cli/` plugs them together. The simulator stands behind the same effects without them.

use crate::actor::{Address, HostId, Link, StreamId};
use crate::container::{ContainerOutcome, ContainerRequest};
use crate::frame::Frame;
use core::fmt;

/// Why a host does not take a frame. The reason is told to the caller; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The mailbox has no room for this class of message.
    #[error("the {0} is overloaded; try again later")]
    Full(&'static str),
    /// No actor lives there.
    #[error("no actor at {0}")]
    NoActor(Address),
    /// No session to that host.
    #[error("no session to host {0}")]
    NoSession(HostId),
    /// The frame is not for an actor of that kind.
    #[error("{0} does not take this message")]
    Misdirected(Address),
}

/// The way in: how transport and http hand things to the actors of a host.
pub trait Ingress: Send + Sync + 'static {
    /// Puts a frame into the mailbox of its receiver on this host. Never blocks.
    fn deliver(&self, frame: Frame) -> Result<(), Refused>;
    /// Tells the standing actors of this host that a link has changed.
    fn link(&self, link: Link);
}

/// The way out to other hosts.
pub trait Network: Send + Sync + 'static {
    /// Queues a frame for the session to its receiver's host. Never blocks. Congestion is told through
    /// [`Ingress::link`] before the queue is full.
    fn send(&self, frame: Frame) -> Result<(), Refused>;
}

/// The way out to readers behind the HTTP edge.
pub trait Streams: Send + Sync + 'static {
    /// Queues an event on a stream. A stream that has no room is closed by the edge, which then says so to the proxy.
    fn emit(&self, stream: StreamId, event: Frame);
    /// Ends a stream after what it still holds.
    fn close(&self, stream: StreamId);
}

/// The machine's containers. Calls return at once; `done` is called exactly once for each, from any thread.
pub trait Containers: Send + Sync + 'static {
    /// Carries a request out.
    fn request(&self, request: ContainerRequest, done: Box<dyn FnOnce(ContainerOutcome) + Send>);
}

impl fmt::Debug for dyn Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Network")
    }
}

//! The closed set of what an actor may ask of its host (law L2). Both hosts carry out every one; one test lists them.

use crate::actor::{Address, StreamId};
use crate::container::{ContainerOutcome, ContainerRequest};
use crate::frame::Frame;
use crate::id::FrameworkId;
use crate::time::{Duration, Instant};

/// Joins an effect with its outcome. Counted by each actor, from 1 in each incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What an actor wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Bring a message to another actor, near or far. It may be lost when the other host falls.
    Send(Frame),
    /// Wake me then, for this timer; replaces an earlier one of the same number.
    Arm {
        /// The packed timer.
        timer: u64,
        /// When.
        at: Instant,
    },
    /// Don't wake me for this timer.
    Disarm {
        /// The packed timer.
        timer: u64,
    },
    /// Write to my journal, flush, then tell me. Batches of one actor are written in order, each wholly or not at all.
    Persist {
        /// Comes back with [`Outcome::Persisted`].
        ticket: Ticket,
        /// What to write.
        batch: Batch,
    },
    /// Do something with a container.
    Contain {
        /// Comes back with [`Outcome::Container`].
        ticket: Ticket,
        /// What to do.
        request: ContainerRequest,
    },
    /// Put an event on a stream to the outside. A stream whose reader is too slow is closed by the host.
    Emit {
        /// The stream.
        stream: StreamId,
        /// The event.
        event: Frame,
    },
    /// End a stream after what it still holds.
    Close {
        /// The stream.
        stream: StreamId,
    },
    /// Start a child under me.
    Spawn {
        /// Where it lives; an actor living there already is a broken invariant.
        child: Address,
        /// What it is.
        spec: ChildSpec,
    },
    /// Stop a child of mine. [`crate::actor::Actor::on_exit`] follows.
    Stop {
        /// The child.
        child: Address,
    },
    /// Record a metric.
    Record(Measure),
    /// I am done: stop me, and the host with me when I stand at its root.
    Finish {
        /// The exit code of the host's process, when I stand at its root.
        code: i32,
        /// Why, for the log that whoever looks after the host reads; empty where there is nothing to say.
        words: String,
    },
}

/// What can be spawned at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildSpec {
    /// The proxy of a subscribed framework.
    Framework {
        /// The framework.
        framework_id: FrameworkId,
        /// The stream on which it reads.
        stream: StreamId,
    },
}

/// A change to one number in the metrics. Names follow Mesos where it has one (reference 16).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// Count up.
    Add(&'static str, u64),
    /// Set to a value.
    Set(&'static str, f64),
    /// One length of what has many: the last, and percentiles over a time, are shown.
    Took(&'static str, Duration),
    /// The same, as long as the host has worked at this event until now; in virtual time that is none.
    Worked(&'static str),
}

/// How an effect under a ticket ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The batch is on disk and flushed, or it is not and will never be.
    Persisted(Result<(), StorageError>),
    /// What became of a container request.
    Container(ContainerOutcome),
}

/// Why a batch is not on disk. After it the journal takes nothing more until the actor restarts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal: {0}")]
pub struct StorageError(pub String);

/// One entry of a journal: an ordered table from bytes to bytes, one for each actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key; journals are replayed in ascending order of keys.
    pub key: Vec<u8>,
    /// Its value, an archive or text of the actor's own.
    pub value: Vec<u8>,
}

/// A change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Write an entry, over an older one.
    Put(Record),
    /// Remove an entry, if it is there.
    Delete(Vec<u8>),
}

/// Changes written together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch(pub Vec<Operation>);

impl Batch {
    /// Adds a write.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push(Operation::Put(Record { key: key.into(), value: value.into() }));
    }
    /// Adds a removal.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.0.push(Operation::Delete(key.into()));
    }
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

//! Mailboxes: where everything that happens to an actor waits for its turn, in order of arrival.
//!
//! Frames are bounded by class ([`Bounds`]); what the host itself puts in (outcomes, ends of children, links) is bounded
//! by what the actor asked for. The queue outlives the actor's incarnations: frames that arrive while it is down wait
//! for the next one, everything else carries its incarnation and dies with it (law L7).
//!
//! The wake-up protocol: a sender pushes, then raises `scheduled`; only who raised it wakes the drain. While the drain
//! runs the flag stays up, so that a burst costs one wake-up.

use crate::metrics::Meter;
use crossbeam::queue::SegQueue;
use crossbeam::utils::CachePadded;
use kaon_kernel::actor::mailbox::{Admission, Bounds};
use kaon_kernel::actor::{ActorKind, Address, ExitReason, Link, Outcome, Ticket};
use kaon_kernel::frame::Frame;
use kaon_kernel::port::Refused;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

/// One thing that waits.
pub(crate) enum Item {
    Frame(Frame),
    /// An outcome, boxed since it is large and rare.
    Done(Box<(u64, Ticket, Outcome)>),
    Exit(u64, Address, ExitReason),
    Link(u64, Arc<Link>),
}

/// The mailbox of one address.
pub(crate) struct Mailbox {
    pub(crate) address: Address,
    pub(crate) meter: Arc<Meter>,
    bounds: Bounds,
    open: AtomicBool,
    /// Of the seat's task, which stays the same as long as the seat.
    waker: OnceLock<Waker>,
    queue: SegQueue<Item>,
    frames: CachePadded<AtomicUsize>,
    scheduled: CachePadded<AtomicBool>,
}

impl Mailbox {
    pub(crate) fn new(address: Address, bounds: Bounds, meter: Arc<Meter>) -> Self {
        Self {
            address,
            meter,
            bounds,
            open: AtomicBool::new(true),
            waker: OnceLock::new(),
            queue: SegQueue::new(),
            frames: CachePadded::new(AtomicUsize::new(0)),
            scheduled: CachePadded::new(AtomicBool::new(false)),
        }
    }

    /// Queues a frame, or refuses it by the rule of its class. Never blocks. The bound holds with any number of senders.
    pub(crate) fn offer(&self, frame: Frame) -> Result<(), Refused> {
        let envelope = frame.envelope();
        if !fits(&frame, self.address.kind) {
            return Err(Refused::Misdirected(self.address));
        }
        if !self.is_open() {
            return Err(Refused::NoActor(self.address));
        }
        let class = envelope.class;
        let queued = self.frames.fetch_add(1, Ordering::Relaxed);
        match self.bounds.admit(class, queued) {
            Admission::Accepted => {
                self.push(Item::Frame(frame));
                Ok(())
            }
            Admission::Refused => {
                self.frames.fetch_sub(1, Ordering::Relaxed);
                self.meter.refused(class);
                Err(Refused::Full(self.address.kind.word()))
            }
        }
    }

    /// Queues what the host has to say; dropped when the actor is gone for good.
    pub(crate) fn tell(&self, item: Item) {
        if self.is_open() {
            self.push(item);
        }
    }

    fn push(&self, item: Item) {
        self.queue.push(item);
        if !self.scheduled.swap(true, Ordering::AcqRel)
            && let Some(waker) = self.waker.get()
        {
            waker.wake_by_ref();
        }
    }

    /// Takes the next item.
    pub(crate) fn pop(&self) -> Option<Item> {
        let item = self.queue.pop()?;
        if matches!(item, Item::Frame(_)) {
            self.frames.fetch_sub(1, Ordering::Relaxed);
        }
        Some(item)
    }

    /// The drain runs, and is to be woken through `waker` later: the same in every call.
    pub(crate) fn drain_begins(&self, waker: &Waker) {
        let known = self.waker.get_or_init(|| waker.clone());
        debug_assert!(known.will_wake(waker), "a seat is one task");
        // Only a hint to senders that no wake-up is needed; `drain_rests` is what settles it.
        self.scheduled.store(true, Ordering::Relaxed);
    }

    /// The drain found nothing: from now on senders wake it. False when something has arrived meanwhile that nobody has
    /// woken it for. A sender whose swap comes before ours has its push seen here; one that comes after finds the flag
    /// down and wakes.
    pub(crate) fn drain_rests(&self) -> bool {
        self.scheduled.swap(false, Ordering::AcqRel);
        self.queue.is_empty() || self.scheduled.swap(true, Ordering::AcqRel)
    }

    /// Whether its actor is, or will be, there.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Frames that wait.
    pub(crate) fn depth(&self) -> usize {
        self.frames.load(Ordering::Relaxed)
    }

    /// Refuses everything from now on and throws away what waits.
    pub(crate) fn close(&self) {
        self.open.store(false, Ordering::Release);
        while self.pop().is_some() {}
    }
}

/// Whether a frame's message is one for actors of `kind`.
pub(crate) fn fits(frame: &Frame, kind: ActorKind) -> bool {
    frame.envelope().kind.receiver() == Some(kind)
}

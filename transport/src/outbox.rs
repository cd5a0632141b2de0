//! What waits to be sent on one session: a queue for each conversation, an urgent one beside them, bounds, and the marks
//! at which the host is told to hold back.
//!
//! A conversation is what one actor says to another. Each has a lane of its own, which is a QUIC stream of its own: what
//! it says arrives in order, and a conversation that the peer is slow to read holds up no other. Few conversations cross
//! between two hosts (agent and master, registrar and registrar, agent and executor: one each way), so [`LANES_MAX`]
//! lanes are plenty; should there be more, the later ones share lanes, which keeps their order too.
//!
//! [`Class::Periodic`] alone goes by the urgent lane: pings and pongs overtake everything, so that a peer that is only
//! busy does not look dead. They carry nothing that must keep its place among other messages.

use crate::tls::LANES_MAX;
use kaon_kernel::actor::mailbox::{Admission, Bounds};
use kaon_kernel::actor::{Address, Class, HostId};
use kaon_kernel::frame::Frame;
use kaon_kernel::port::Refused;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The lane of [`Class::Periodic`].
pub(crate) const URGENT: usize = 0;

/// Frames that may wait for one session. Thousands of frames are what a master says to one agent in minutes, or to a
/// registrar in a second.
pub const FRAMES: Bounds = Bounds { open: 8192, reserved: 8192 };

/// Bytes that may wait for one session: as long as fewer wait than this, one more frame is taken whatever its size, so
/// the queue may exceed its bound by one frame.
pub const BYTES: Bounds = Bounds { open: 16 << 20, reserved: 16 << 20 };

/// Urgent frames that may wait for one session. By [`Bounds::admit`] half of `open` is theirs; a session whose urgent
/// lane is that far behind is as good as dead.
pub const URGENT_FRAMES: Bounds = Bounds { open: 512, reserved: 0 };

/// The host is told that the session is congested when this part of an open bound is used up, ...
const HIGH_WATER_DIVISOR: usize = 2;

/// ... and that it flows again when no more than this part is.
const LOW_WATER_DIVISOR: usize = 4;

/// What a writer takes at a time, in bytes; at least one frame.
const BATCH_BYTES: usize = 64 << 10;

/// The frames of one session that wait to be sent.
pub(crate) struct Outbox {
    host: HostId,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    lanes: Vec<Lane>,
    /// Which conversation has which lane; at most [`LANES_MAX`].
    conversations: Vec<((Address, Address), usize)>,
    /// Frames outside the urgent lane that were queued and are not written yet.
    frames: usize,
    /// Their bytes.
    bytes: usize,
    is_congested: bool,
    stage: Stage,
}

struct Lane {
    queue: VecDeque<Frame>,
    wake: Arc<Notify>,
}

/// How far an outbox is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It takes frames.
    Open,
    /// It takes none; the lanes are emptied.
    Draining,
    /// The lanes are empty and the peer has all of it; the urgent lane is emptied, which is the goodbye.
    Leaving,
    /// What was left is lost.
    Closed,
}

/// What a writer has to write next.
pub(crate) struct Batch {
    pub(crate) frames: Vec<Frame>,
    pub(crate) bytes: usize,
}

impl Outbox {
    pub(crate) fn new(host: HostId) -> Self {
        let state = State {
            lanes: vec![Lane::new()],
            conversations: Vec::new(),
            frames: 0,
            bytes: 0,
            is_congested: false,
            stage: Stage::Open,
        };
        Self { host, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Queues a frame, or refuses it by its class. Constant cost; never waits for the network.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), Refused> {
        const FULL: Refused = Refused::Full("session");
        let mut state = self.lock();
        if state.stage != Stage::Open {
            return Err(Refused::NoSession(self.host));
        }
        let class = frame.envelope().class;
        if class == Class::Periodic {
            let urgent = &mut state.lanes[URGENT];
            if URGENT_FRAMES.admit(class, urgent.queue.len()) == Admission::Refused {
                return Err(FULL);
            }
            urgent.push(frame);
            return Ok(());
        }
        let admissions = [FRAMES.admit(class, state.frames), BYTES.admit(class, state.bytes)];
        if admissions.contains(&Admission::Refused) {
            return Err(FULL);
        }
        let lanes = state.lanes.len();
        let lane = state.lane_of(frame.envelope().from, frame.envelope().to);
        state.frames += 1;
        state.bytes += frame.bytes().len();
        state.lanes[lane].push(frame);
        let was_congested = state.is_congested;
        state.is_congested |= state.is_above(HIGH_WATER_DIVISOR);
        if state.lanes.len() > lanes || state.is_congested != was_congested {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for frames in a lane. None when the lane has come to its end.
    pub(crate) async fn take(&self, lane: usize) -> Option<Batch> {
        let last = if lane == URGENT { Stage::Leaving } else { Stage::Draining };
        loop {
            let wake = {
                let mut state = self.lock();
                let stage = state.stage;
                let lane = &mut state.lanes[lane];
                if !lane.queue.is_empty() {
                    return Some(lane.batch());
                }
                if stage >= last {
                    return None;
                }
                Arc::clone(&lane.wake)
            };
            wake.notified().await;
        }
    }

    /// A batch was handed to QUIC, which now answers for it within its own window.
    pub(crate) fn written(&self, lane: usize, batch: &Batch) {
        if lane == URGENT {
            return;
        }
        let mut state = self.lock();
        // After the end the counts were set to zero.
        state.frames = state.frames.saturating_sub(batch.frames.len());
        state.bytes = state.bytes.saturating_sub(batch.bytes);
        if state.is_congested && !state.is_above(LOW_WATER_DIVISOR) {
            state.is_congested = false;
            self.changed.notify_one();
        }
    }

    /// Waits until there are more lanes than before, the congestion has changed, or a stage was reached. May wake for
    /// nothing; only one task may wait.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How many lanes there are, and whether the peer is behind.
    pub(crate) fn status(&self) -> (usize, bool) {
        let state = self.lock();
        (state.lanes.len(), state.is_congested)
    }

    /// Goes on to a later stage; does nothing when it was reached before. At [`Stage::Closed`] tells how many frames were
    /// lost.
    pub(crate) fn advance(&self, stage: Stage) -> usize {
        let mut state = self.lock();
        if state.stage >= stage {
            return 0;
        }
        state.stage = stage;
        let mut lost = 0;
        if state.stage == Stage::Closed {
            lost = state.lanes.iter().map(|lane| lane.queue.len()).sum();
            state.lanes.iter_mut().for_each(|lane| lane.queue.clear());
            (state.frames, state.bytes) = (0, 0);
        }
        // One writer at most waits for each lane; when it is busy it finds the permit later.
        state.lanes.iter().for_each(|lane| lane.wake.notify_one());
        drop(state);
        self.changed.notify_one();
        lost
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The lane of a conversation. Cost: a look through at most [`LANES_MAX`] entries.
    fn lane_of(&mut self, from: Address, to: Address) -> usize {
        let known = self.conversations.iter().find(|(pair, _)| *pair == (from, to));
        if let Some((_, lane)) = known {
            return *lane;
        }
        if self.conversations.len() == LANES_MAX {
            return 1 + (from.index ^ to.index.rotate_left(16)) as usize % LANES_MAX;
        }
        self.lanes.push(Lane::new());
        let lane = self.lanes.len() - 1;
        self.conversations.push(((from, to), lane));
        lane
    }

    fn is_above(&self, divisor: usize) -> bool {
        self.frames > FRAMES.open / divisor || self.bytes > BYTES.open / divisor
    }
}

impl Lane {
    fn new() -> Self {
        Self { queue: VecDeque::new(), wake: Arc::new(Notify::new()) }
    }

    fn push(&mut self, frame: Frame) {
        self.queue.push_back(frame);
        self.wake.notify_one();
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch { frames: Vec::new(), bytes: 0 };
        while let Some(frame) = self.queue.pop_front() {
            batch.bytes += frame.bytes().len();
            batch.frames.push(frame);
            if batch.bytes >= BATCH_BYTES {
                break;
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests;

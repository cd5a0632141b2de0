//! The read model: what readers of the cluster's state are answered from.
//!
//! The master emits what changed (`kaon_kernel::message::view`); a thread of our own folds the events into a [`Snapshot`] in
//! the making. A reader folds in what still waits and takes a copy that shares all its parts: it never asks the master, holds
//! no lock while it answers (law L10), and finds all that was emitted before it came; so whoever has read an event on a stream
//! finds it in `/state`.
//!
//! Events are gathered for 2 ms before the thread takes them, and no copy is made until somebody reads: a change after a
//! copy pays for the part that it touches, and most changes happen while nobody looks.
//!
//! Bound: [`QUEUE_EVENTS_MAX`] events wait. When they do, the emitting thread folds them itself, so that a flood slows its
//! source down and nothing is lost.

mod fold;
mod roles;
mod shelves;
mod snapshot;
mod together;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kaon_kernel::frame::Frame;
use kaon_kernel::message::view::ViewEvent;

use crate::watch::{Watcher, Watchers};

pub use self::roles::Role;
pub use self::shelves::Shelves;
pub use self::snapshot::{
    Completed, Framework, Held, History, InverseAnswers, InverseOffered, Leadership, Offered, Snapshot,
    UNREACHABLE_AGENTS_MAX,
};
pub(crate) use self::together::together;

/// Events that wait to be folded in: a launch of 20,000 tasks at once.
pub const QUEUE_EVENTS_MAX: usize = 65_536;

/// How long events are gathered before they are folded in without a reader: the longest that those who watch wait for one.
const GATHER: Duration = Duration::from_millis(2);

/// The read model.
#[derive(Debug)]
pub struct View {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Held by whoever folds.
    draft: Mutex<Draft>,
    /// Who is told of changes. Taken while the draft is held, never the other way round.
    watchers: Mutex<Watchers>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: Vec<Frame>,
    /// Whether the thread is to be woken by the next event.
    is_awaited: bool,
    is_over: bool,
}

/// The snapshot in the making.
#[derive(Debug, Default)]
struct Draft {
    snapshot: Snapshot,
    /// The copy that readers take, as long as nothing has changed since.
    shown: Option<Arc<Snapshot>>,
}

/// A panic while the lock was held is a bug of ours that ended its thread; what is behind the lock is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl View {
    /// A read model that knows nothing yet, with its thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(history: History) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        lock(&shared.draft).snapshot.history = history;
        let worker = Arc::clone(&shared);
        std::thread::Builder::new().name("kaon-view".to_owned()).spawn(move || worker.run())?;
        Ok(Self { shared })
    }

    /// The cluster as all events told it that came before. Cost: the events that wait, and the end of a fold under way.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let mut draft = self.shared.fold();
        let Draft { snapshot, shown } = &mut *draft;
        Arc::clone(shown.get_or_insert_with(|| Arc::new(snapshot.clone())))
    }

    /// Lets somebody watch; the state from which the changes go on. Cost: waits for a fold under way.
    pub(crate) fn watch(&self, watcher: &Arc<Watcher>) -> Snapshot {
        let draft = lock(&self.shared.draft);
        lock(&self.shared.watchers).add(watcher);
        draft.snapshot.clone()
    }

    /// Somebody watches no more.
    pub(crate) fn unwatch(&self, watcher: &Arc<Watcher>) {
        lock(&self.shared.watchers).remove(watcher);
    }

    /// How many watch.
    pub(crate) fn watchers(&self) -> usize {
        lock(&self.shared.watchers).len()
    }

    /// Takes an event of the master in. Returns at once, except when the queue is full.
    pub fn push(&self, frame: Frame) {
        let mut queue = lock(&self.shared.queue);
        queue.frames.push(frame);
        let is_full = queue.frames.len() >= QUEUE_EVENTS_MAX;
        let is_awaited = core::mem::take(&mut queue.is_awaited);
        drop(queue);
        if is_full {
            drop(self.shared.fold());
        } else if is_awaited {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        lock(&self.shared.queue).is_over = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut queue = lock(&self.queue);
            while queue.frames.is_empty() && !queue.is_over {
                queue.is_awaited = true;
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.is_over {
                return;
            }
            drop(queue);
            std::thread::sleep(GATHER);
            drop(self.fold());
        }
    }

    /// Takes what waits into the draft. Several threads may come here: the draft's lock is taken before the queue is emptied,
    /// so events keep their order.
    fn fold(&self) -> MutexGuard<'_, Draft> {
        let mut draft = lock(&self.draft);
        let frames = core::mem::take(&mut lock(&self.queue).frames);
        if frames.is_empty() {
            return draft;
        }
        draft.shown = None;
        let mut watchers = lock(&self.watchers);
        for frame in &frames {
            if let Some(event) = frame.body::<ViewEvent>() {
                let event = kaon_kernel::frame::copy(event);
                watchers.tell(&draft.snapshot, &event);
                draft.snapshot.apply(event);
            }
        }
        draft
    }
}

//! The read model: what readers of the cluster's state are answered from.
//!
//! The master emits what changed (`kaon_kernel::message::view`); a thread of our own folds the events into immutable
//! [`Snapshot`]s. Readers take the newest one: they never ask the master and hold no lock (law L10). What a reader sees is
//! behind the master by the events under way, milliseconds as a rule.
//!
//! Bound: [`QUEUE_EVENTS_MAX`] events wait. When they do, the emitting thread folds them itself, so that a flood slows its
//! source down and nothing is lost.

mod fold;
mod roles;
mod shelves;
mod snapshot;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use kaon_kernel::frame::Frame;
use kaon_kernel::message::view::ViewEvent;

use crate::watch::{Watcher, Watchers};

pub use self::roles::Role;
pub use self::shelves::Shelves;
pub(crate) use self::snapshot::add;
pub use self::snapshot::{
    COMPLETED_FRAMEWORKS_MAX, COMPLETED_TASKS_MAX, Completed, Framework, Held, InverseAnswers, InverseOffered,
    Leadership, Offered, Snapshot, UNREACHABLE_AGENTS_MAX,
};

/// Events that wait to be folded in: a launch of 20,000 tasks at once.
pub const QUEUE_EVENTS_MAX: usize = 65_536;

/// The read model.
#[derive(Debug)]
pub struct View {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    newest: ArcSwap<Snapshot>,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// The snapshot in the making; held by whoever folds.
    draft: Mutex<Snapshot>,
    /// Who is told of changes. Taken while the draft is held, never the other way round.
    watchers: Mutex<Watchers>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: Vec<Frame>,
    is_over: bool,
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
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let worker = Arc::clone(&shared);
        std::thread::Builder::new().name("kaon-view".to_owned()).spawn(move || worker.run())?;
        Ok(Self { shared })
    }

    /// The newest snapshot. Constant cost.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.newest.load_full()
    }

    /// Folds in what has come so far, so that whoever gave an order finds in the next snapshot what became of it. Cost: the
    /// events that wait, and the end of a fold under way.
    pub(crate) fn catch_up(&self) {
        self.shared.fold();
    }

    /// Lets somebody watch; the state from which the changes go on. Cost: waits for a fold under way.
    pub(crate) fn watch(&self, watcher: &Arc<Watcher>) -> Snapshot {
        let draft = lock(&self.shared.draft);
        lock(&self.shared.watchers).add(watcher);
        draft.clone()
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
        drop(queue);
        if is_full {
            self.shared.fold();
        } else {
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
            let queue = lock(&self.queue);
            let idle = |queue: &mut Queue| queue.frames.is_empty() && !queue.is_over;
            let queue = self.wake.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
            if queue.is_over {
                return;
            }
            drop(queue);
            self.fold();
        }
    }

    /// Takes what waits and makes the next snapshot of it. Two threads may come here: the draft's lock is taken before the
    /// queue is emptied, so events keep their order.
    fn fold(&self) {
        let mut draft = lock(&self.draft);
        let mut watchers = lock(&self.watchers);
        let frames = core::mem::take(&mut lock(&self.queue).frames);
        for frame in &frames {
            if let Some(event) = frame.body::<ViewEvent>() {
                let event = kaon_kernel::frame::copy(event);
                watchers.tell(&draft, &event);
                draft.apply(event);
            }
        }
        self.newest.store(Arc::new(draft.clone()));
    }
}

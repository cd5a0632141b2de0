//! What waits for one reader: a bounded queue between the actors, which never wait, and a connection that may.
//!
//! A reader that falls behind by more than its [`Bounds`] is cut off, and what waited for it is freed at once. Left to others:
//! what waits, and for whom ([`crate::stream`], [`crate::watch`]).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use kaon_kernel::frame::Frame;

use crate::server::Hangup;

/// Something that takes memory while it waits.
pub(crate) trait Weighed {
    /// How much, in bytes.
    fn weight(&self) -> usize;
}

impl Weighed for Frame {
    fn weight(&self) -> usize {
        self.bytes().len()
    }
}

impl Weighed for Bytes {
    fn weight(&self) -> usize {
        self.len()
    }
}

/// How much may wait.
#[derive(Debug)]
pub(crate) struct Bounds {
    /// Items in this queue.
    pub(crate) items_max: usize,
    /// Bytes in this queue.
    pub(crate) bytes_max: usize,
    /// What this queue and others hold together, where that is bounded.
    pub(crate) together: Option<Together>,
}

/// What several queues hold together.
#[derive(Debug)]
pub(crate) struct Together {
    /// Bytes that wait.
    pub(crate) bytes: Arc<AtomicUsize>,
    /// How many may.
    pub(crate) bytes_max: usize,
}

/// A queue with one reader.
#[derive(Debug)]
pub(crate) struct Queue<T: Weighed> {
    bounds: Bounds,
    /// The connection of the reader, which ends when it is cut off.
    hangup: Hangup,
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    waiting: VecDeque<T>,
    waiting_bytes: usize,
    state: State,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// It ends after what waits.
    Closing,
    /// It has ended before its time.
    Cut(&'static str),
}

impl<T: Weighed> Queue<T> {
    /// An empty one.
    pub(crate) fn new(bounds: Bounds, hangup: Hangup) -> Self {
        let inner = Inner { waiting: VecDeque::new(), waiting_bytes: 0, state: State::Open, waker: None };
        Self { bounds, hangup, inner: Mutex::new(inner) }
    }

    /// A panic under the lock is a bug of ours that ended its thread; what is behind the lock is whole.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something in, after `taken` has seen it. What comes after the end is dropped, and not seen.
    ///
    /// # Errors
    /// Why the reader is cut off now. Told once.
    pub(crate) fn push(&self, item: T, taken: impl FnOnce(&T)) -> Result<(), &'static str> {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return Ok(());
        }
        let bytes = item.weight();
        if let Some(reason) = self.excess(&inner, bytes) {
            self.end(&mut inner, State::Cut(reason));
            drop(inner);
            self.hangup.now();
            return Err(reason);
        }
        taken(&item);
        inner.waiting_bytes += bytes;
        if let Some(together) = &self.bounds.together {
            together.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        inner.waiting.push_back(item);
        wake(&mut inner);
        Ok(())
    }

    /// Which bound so many bytes more would break.
    fn excess(&self, inner: &Inner<T>, bytes: usize) -> Option<&'static str> {
        let Bounds { items_max, bytes_max, together } = &self.bounds;
        if inner.waiting.len() >= *items_max {
            return Some("too many events wait for the reader");
        }
        if inner.waiting_bytes + bytes > *bytes_max {
            return Some("too many bytes wait for the reader");
        }
        let is_over = |all: &Together| all.bytes.load(Ordering::Relaxed) + bytes > all.bytes_max;
        together.as_ref().is_some_and(is_over).then_some("too many bytes wait for all readers")
    }

    /// Ends it after what waits.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        if inner.state == State::Open {
            inner.state = State::Closing;
            wake(&mut inner);
        }
    }

    /// Ends it at once; whether it was still open.
    pub(crate) fn abandon(&self) -> bool {
        let mut inner = self.lock();
        let was_open = inner.state == State::Open;
        let state = if was_open { State::Cut("its connection is gone") } else { inner.state };
        self.end(&mut inner, state);
        was_open
    }

    fn end(&self, inner: &mut Inner<T>, state: State) {
        inner.state = state;
        inner.waiting = VecDeque::new();
        self.release(core::mem::take(&mut inner.waiting_bytes));
        wake(inner);
    }

    fn release(&self, bytes: usize) {
        if let Some(together) = &self.bounds.together {
            together.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// What has waited longest, or how the queue has ended.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Option<Result<T, &'static str>>> {
        let mut inner = self.lock();
        if let State::Cut(reason) = inner.state {
            return Poll::Ready(Some(Err(reason)));
        }
        match inner.waiting.pop_front() {
            Some(item) => {
                let bytes = item.weight();
                inner.waiting_bytes -= bytes;
                self.release(bytes);
                Poll::Ready(Some(Ok(item)))
            }
            None if inner.state == State::Closing => Poll::Ready(None),
            None => {
                inner.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T: Weighed> Drop for Queue<T> {
    fn drop(&mut self) {
        self.abandon();
    }
}

fn wake<T>(inner: &mut Inner<T>) {
    if let Some(waker) = inner.waker.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::task::Wake;

    const ITEMS_MAX: usize = 5;
    const BYTES_MAX: usize = 100;
    const ALL_BYTES_MAX: usize = 150;

    fn queue(all: &Arc<AtomicUsize>) -> Queue<Bytes> {
        let together = Some(Together { bytes: Arc::clone(all), bytes_max: ALL_BYTES_MAX });
        Queue::new(Bounds { items_max: ITEMS_MAX, bytes_max: BYTES_MAX, together }, Hangup::default())
    }

    fn item(bytes: usize) -> Bytes {
        Bytes::from(vec![b'x'; bytes])
    }

    fn next(queue: &Queue<Bytes>) -> Poll<Option<Result<Bytes, &'static str>>> {
        queue.poll(&Context::from_waker(Waker::noop()))
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push(usize),
        Poll,
        Close,
        Abandon,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..60_usize).prop_map(Step::Push),
            6 => Just(Step::Poll),
            1 => Just(Step::Close),
            1 => Just(Step::Abandon),
        ]
    }

    proptest! {
        /// Against a plain queue: what is taken comes out in its order, what is too much ends it, and the sum is what waits.
        #[test]
        fn it_is_a_queue_until_its_end(steps in prop::collection::vec((any::<bool>(), step()), 0..60)) {
            let all = Arc::new(AtomicUsize::new(0));
            let queues = [queue(&all), queue(&all)];
            let mut models = [VecDeque::new(), VecDeque::new()];
            let (mut closed, mut cut) = ([false; 2], [false; 2]);
            for (which, step) in steps {
                let at = usize::from(which);
                let sum: usize = models.iter().flatten().sum();
                match step {
                    Step::Push(bytes) => {
                        let is_open = !closed[at] && !cut[at];
                        let own: usize = models[at].iter().sum();
                        let fits = models[at].len() < ITEMS_MAX && own + bytes <= BYTES_MAX && sum + bytes <= ALL_BYTES_MAX;
                        let mut is_seen = false;
                        let pushed = queues[at].push(item(bytes), |_| is_seen = true);
                        prop_assert_eq!(is_seen, is_open && fits);
                        prop_assert_eq!(pushed.is_err(), is_open && !fits);
                        if is_seen {
                            models[at].push_back(bytes);
                        } else if is_open {
                            cut[at] = true;
                            models[at].clear();
                        }
                    }
                    Step::Poll => match (next(&queues[at]), models[at].pop_front()) {
                        (Poll::Ready(Some(Ok(item))), Some(bytes)) => prop_assert_eq!(item.len(), bytes),
                        (Poll::Ready(Some(Err(_))), None) => prop_assert!(cut[at]),
                        (Poll::Ready(None), None) => prop_assert!(closed[at] && !cut[at]),
                        (Poll::Pending, None) => prop_assert!(!closed[at] && !cut[at]),
                        (other, expected) => prop_assert!(false, "{other:?} instead of {expected:?}"),
                    },
                    Step::Close => {
                        queues[at].close();
                        closed[at] |= !cut[at];
                    }
                    Step::Abandon => {
                        let was_open = queues[at].abandon();
                        prop_assert_eq!(was_open, !closed[at] && !cut[at]);
                        cut[at] |= was_open;
                        models[at].clear();
                    }
                }
                prop_assert_eq!(all.load(Ordering::Relaxed), models.iter().flatten().sum::<usize>());
            }
            drop(queues);
            prop_assert_eq!(all.load(Ordering::Relaxed), 0);
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_reader_that_waits_is_woken_by_an_item_and_by_every_end() {
        let ends: [fn(&Queue<Bytes>); 4] = [
            |queue| queue.push(item(1), |_| {}).expect("it fits"),
            |queue| assert!(queue.push(item(BYTES_MAX + 1), |_| {}).is_err()),
            |queue| queue.close(),
            |queue| assert!(queue.abandon()),
        ];
        for end in ends {
            let queue = queue(&Arc::default());
            let woken = Arc::new(Woken::default());
            assert!(queue.poll(&Context::from_waker(&Waker::from(Arc::clone(&woken)))).is_pending());
            assert_eq!(woken.0.load(Ordering::Relaxed), 0);
            end(&queue);
            assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        }
    }
}

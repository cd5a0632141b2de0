//! The stream of one subscriber: a bounded queue between the actors, which never wait, and a reader that may.
//!
//! Events wait as frames and are encoded when the connection can take them, on the connection's own future. One event is
//! one RecordIO record in one HTTP chunk. A reader that falls behind by more than [`QUEUE_BYTES_MAX`] or
//! [`QUEUE_RECORDS_MAX`] is cut off, and what waited for it is freed at once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame as Chunk};
use kaon_kernel::actor::{Address, StreamId};
use kaon_kernel::frame::Frame;
use kaon_kernel::id::{FrameworkId, MasterId};
use kaon_kernel::message::event::FrameworkEvent;

use crate::answer::Broken;
use crate::codec::{self, MediaType};
use crate::edge::MasterEdge;
use crate::server::Hangup;
use crate::traffic::Traffic;
use crate::{convert, recordio};

/// Events that may wait for one reader: a minute of a thousand statuses a second.
pub(crate) const QUEUE_RECORDS_MAX: usize = 65_536;

/// Bytes that may wait for one reader: some eight times all offers of 10,000 agents.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Bytes that may wait for all readers together.
pub(crate) const QUEUES_BYTES_MAX: usize = 1 << 30;

/// One subscriber.
pub(crate) struct Subscriber {
    pub(crate) stream: StreamId,
    /// What its calls carry as `Mesos-Stream-Id`.
    pub(crate) uuid: String,
    media: MediaType,
    inner: Mutex<Inner>,
    hangup: Hangup,
    /// Bytes that wait for all subscribers.
    total: Arc<AtomicUsize>,
}

/// Who a subscriber is, as its first event told.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) framework_id: FrameworkId,
    pub(crate) master_id: MasterId,
    pub(crate) proxy: Address,
    pub(crate) traffic: Arc<Traffic>,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Frame>,
    waiting_bytes: usize,
    state: State,
    session: Option<Session>,
    /// The proxy that spoke on it last, whom its end is told.
    proxy: Option<Address>,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// It ends after what waits.
    Closing,
    /// It has ended before its time.
    Cut(&'static str),
}

impl Subscriber {
    pub(crate) fn new(
        stream: StreamId,
        uuid: String,
        media: MediaType,
        hangup: Hangup,
        total: Arc<AtomicUsize>,
    ) -> Self {
        Self { stream, uuid, media, inner: Mutex::default(), hangup, total }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who it is.
    pub(crate) fn identify(&self, session: Session) {
        self.lock().session = Some(session);
    }

    pub(crate) fn session(&self) -> Option<Session> {
        self.lock().session.clone()
    }

    /// The actor whom its end is told; `None` before anybody has spoken on it.
    pub(crate) fn proxy(&self) -> Option<Address> {
        self.lock().proxy
    }

    /// Queues an event.
    ///
    /// # Errors
    /// Why it is cut off now. Told once.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), &'static str> {
        let mut inner = self.lock();
        inner.proxy = Some(frame.envelope().from);
        if inner.state != State::Open {
            return Ok(());
        }
        let bytes = frame.bytes().len();
        let reason = if inner.waiting.len() >= QUEUE_RECORDS_MAX {
            Some("too many events wait for the reader")
        } else if inner.waiting_bytes + bytes > QUEUE_BYTES_MAX {
            Some("too many bytes wait for the reader")
        } else if self.total.load(Ordering::Relaxed) + bytes > QUEUES_BYTES_MAX {
            Some("too many bytes wait for all readers")
        } else {
            None
        };
        if let Some(reason) = reason {
            self.end(&mut inner, State::Cut(reason));
            drop(inner);
            self.hangup.now();
            return Err(reason);
        }
        if let Some(session) = &inner.session {
            session.traffic.event(&frame);
        }
        inner.waiting_bytes += bytes;
        self.total.fetch_add(bytes, Ordering::Relaxed);
        inner.waiting.push_back(frame);
        wake(&mut inner);
        Ok(())
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

    fn end(&self, inner: &mut Inner, state: State) {
        inner.state = state;
        inner.waiting = VecDeque::new();
        self.total.fetch_sub(core::mem::take(&mut inner.waiting_bytes), Ordering::Relaxed);
        wake(inner);
    }

    /// The next chunk of the body: the record that `write` makes of the next event for which it makes one.
    pub(crate) fn poll_record(
        &self,
        context: &Context<'_>,
        mut write: impl FnMut(&Frame) -> Option<Bytes>,
    ) -> Poll<Option<Result<Chunk<Bytes>, Broken>>> {
        loop {
            match ready!(self.poll(context)) {
                None => return Poll::Ready(None),
                Some(Err(reason)) => return Poll::Ready(Some(Err(Broken::Cut(reason)))),
                Some(Ok(frame)) => {
                    if let Some(record) = write(&frame) {
                        return Poll::Ready(Some(Ok(Chunk::data(record))));
                    }
                }
            }
        }
    }

    /// The next event, or how the stream has ended.
    fn poll(&self, context: &Context<'_>) -> Poll<Option<Result<Frame, &'static str>>> {
        let mut inner = self.lock();
        if let State::Cut(reason) = inner.state {
            return Poll::Ready(Some(Err(reason)));
        }
        match inner.waiting.pop_front() {
            Some(frame) => {
                let bytes = frame.bytes().len();
                inner.waiting_bytes -= bytes;
                self.total.fetch_sub(bytes, Ordering::Relaxed);
                Poll::Ready(Some(Ok(frame)))
            }
            None if inner.state == State::Closing => Poll::Ready(None),
            None => {
                inner.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn wake(inner: &mut Inner) {
    if let Some(waker) = inner.waker.take() {
        waker.wake();
    }
}

/// One record in one chunk.
pub(crate) fn record(media: MediaType, event: &FrameworkEvent, edge: &MasterEdge) -> Bytes {
    recordio::encode(&codec::encode(media, &convert::event::to_v1(event, edge.master_info())))
}

/// The body of a SUBSCRIBE's answer. When it goes while the stream stands, the actors hear of it.
pub(crate) struct Records {
    pub(crate) subscriber: Arc<Subscriber>,
    pub(crate) edge: Arc<MasterEdge>,
}

impl Body for Records {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk<Bytes>, Broken>>> {
        self.subscriber.poll_record(context, |frame| {
            let event = kaon_kernel::frame::copy(frame.body::<FrameworkEvent>()?);
            Some(record(self.subscriber.media, &event, &self.edge))
        })
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        let was_open = self.subscriber.abandon();
        self.edge.on_reader_gone(&self.subscriber, was_open);
    }
}

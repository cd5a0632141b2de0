//! The stream of one subscriber: who it is, and the queue of events between the actors and its connection.
//!
//! Events wait as frames ([`crate::queue`]) and are encoded when the connection can take them, on the connection's own future.
//! One event is one RecordIO record in one HTTP chunk. A reader that falls behind by more than [`QUEUE_BYTES_MAX`] or
//! [`QUEUE_RECORDS_MAX`] is cut off.

use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame as Chunk};
use kaon_kernel::actor::{Address, StreamId};
use kaon_kernel::frame::Frame;
use kaon_kernel::id::{FrameworkId, MasterId};
use kaon_kernel::message::event::FrameworkEvent;

use crate::answer::Broken;
use crate::codec::{self, MediaType};
use crate::edge::MasterEdge;
use crate::queue::{Bounds, Queue, Together};
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
    queue: Queue<Frame>,
    /// Taken before the queue, never the other way round.
    who: Mutex<Who>,
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
struct Who {
    session: Option<Session>,
    /// The proxy that spoke on it last, whom its end is told.
    proxy: Option<Address>,
}

impl Subscriber {
    /// `total` are the bytes that wait for all subscribers.
    pub(crate) fn new(
        stream: StreamId,
        uuid: String,
        media: MediaType,
        hangup: Hangup,
        total: Arc<AtomicUsize>,
    ) -> Self {
        let together = Some(Together { bytes: total, bytes_max: QUEUES_BYTES_MAX });
        let bounds = Bounds { items_max: QUEUE_RECORDS_MAX, bytes_max: QUEUE_BYTES_MAX, together };
        Self { stream, uuid, media, queue: Queue::new(bounds, hangup), who: Mutex::default() }
    }

    fn who(&self) -> MutexGuard<'_, Who> {
        self.who.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who it is.
    pub(crate) fn identify(&self, session: Session) {
        self.who().session = Some(session);
    }

    pub(crate) fn session(&self) -> Option<Session> {
        self.who().session.clone()
    }

    /// The actor whom its end is told; `None` before anybody has spoken on it.
    pub(crate) fn proxy(&self) -> Option<Address> {
        self.who().proxy
    }

    /// Queues an event.
    ///
    /// # Errors
    /// Why it is cut off now. Told once.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), &'static str> {
        let mut who = self.who();
        who.proxy = Some(frame.envelope().from);
        self.queue.push(frame, |frame| {
            if let Some(session) = &who.session {
                session.traffic.event(frame);
            }
        })
    }

    /// Ends it after what waits.
    pub(crate) fn close(&self) {
        self.queue.close();
    }

    /// Ends it at once; whether it was still open.
    pub(crate) fn abandon(&self) -> bool {
        self.queue.abandon()
    }

    /// The next chunk of the body: the record that `write` makes of the next event for which it makes one.
    pub(crate) fn poll_record(
        &self,
        context: &Context<'_>,
        mut write: impl FnMut(&Frame) -> Option<Bytes>,
    ) -> Poll<Option<Result<Chunk<Bytes>, Broken>>> {
        loop {
            match ready!(self.queue.poll(context)) {
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

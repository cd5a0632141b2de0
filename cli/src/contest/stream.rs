//! Streams of events. Those of a framework are read all the time, whether its row looks or not: an offer that nobody looks
//! at goes back, so that it is not held while others wait for it.

use super::arena::{Arena, SCHEDULER, SCHEDULER_CALL, items};
use super::framework::{LONG_SECONDS, SOON};
use super::media::Media;
use super::wire::{self, Answer, Connection};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long an offer lies unread until it is declined: longer than rows are busy with something else.
const UNREAD_MAX: Duration = Duration::from_secs(2);

/// Between two looks at what lies unread.
const LOOK: Duration = Duration::from_millis(200);

/// How many events lie unread; then no more are read.
const UNREAD_EVENTS_MAX: usize = 4096;

/// What came from a stream.
#[derive(Debug)]
pub(crate) enum Next {
    /// An event.
    Event(Value),
    /// The server ended the stream.
    Ended,
    /// Nothing in the given time.
    Silence,
}

/// A stream of events.
pub(crate) struct Stream {
    source: Source,
    /// The head of the answer.
    pub(crate) head: Answer,
}

enum Source {
    /// Read when somebody asks.
    Asked(Box<Reader>),
    /// Read all the time.
    Followed(Followed),
}

struct Reader {
    connection: Connection,
    message: &'static str,
    arena: Arena,
}

impl Stream {
    /// A call that is answered with a stream; the answer when it is not 200.
    pub(crate) async fn open(
        arena: &Arena,
        (address, path): (&str, &str),
        (call_message, message): (&str, &'static str),
        call: &Value,
    ) -> Result<Result<Self, Answer>> {
        let body = arena.media.write(call_message, call)?;
        let mut connection = Connection::open(address).await?;
        let headers = [("Content-Type", arena.media.name()), ("Accept", arena.media.name())];
        connection.send("POST", path, &headers, &body).await?;
        Self::opened(arena, connection, message).await
    }

    /// The stream that answers what was sent on a connection.
    pub(crate) async fn opened(
        arena: &Arena,
        mut connection: Connection,
        message: &'static str,
    ) -> Result<Result<Self, Answer>> {
        let head = connection.head().await?;
        if head.status != 200 {
            let mut refused = head;
            if let Some(length) = refused.header("content-length").and_then(|length| length.parse::<usize>().ok())
                && length > 0
            {
                refused.body = connection.rest(length).await?;
            }
            return Ok(Err(refused));
        }
        ensure!(head.header("transfer-encoding") == Some("chunked"), "a stream is chunked");
        ensure!(head.header("content-length").is_none(), "a stream has no length");
        let media = head.header("content-type");
        ensure!(media == Some(arena.media.name()), "a stream has the type of its messages, not {media:?}");
        let reader = Reader { connection, message, arena: arena.clone() };
        Ok(Ok(Self { source: Source::Asked(Box::new(reader)), head }))
    }

    /// The same stream, read all the time; offers that lie unread are declined as this framework.
    pub(crate) fn followed(self, framework_id: &str) -> Self {
        let Self { source, head } = self;
        let source = match source {
            Source::Asked(reader) => {
                let stream_id = head.header("mesos-stream-id").unwrap_or_default().to_owned();
                Source::Followed(Followed::start(*reader, framework_id.to_owned(), stream_id))
            }
            followed @ Source::Followed(_) => followed,
        };
        Self { source, head }
    }

    /// Whether offers lay unread and were declined since this was asked last.
    pub(crate) fn take_declined(&self) -> bool {
        match &self.source {
            Source::Asked(_) => false,
            Source::Followed(followed) => std::mem::take(&mut lock(&followed.queue.unread).has_declined),
        }
    }

    /// The id that later calls carry.
    pub(crate) fn id(&self) -> Option<&str> {
        self.head.header("mesos-stream-id")
    }

    /// The next event.
    pub(crate) async fn next(&mut self, wait: Duration) -> Result<Next> {
        match &mut self.source {
            Source::Asked(reader) => reader.next(wait).await,
            Source::Followed(followed) => followed.next(wait).await,
        }
    }

    /// The next event, which has to come.
    pub(crate) async fn event(&mut self) -> Result<Value> {
        match self.next(SOON).await? {
            Next::Event(event) => Ok(event),
            other => bail!("expected an event, got {other:?}"),
        }
    }

    /// Reads until the stream ends, and gives back the events before that.
    pub(crate) async fn until_end(&mut self) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        loop {
            match self.next(SOON).await? {
                Next::Event(event) => events.push(event),
                Next::Ended => return Ok(events),
                Next::Silence => bail!("the stream did not end; before: {events:?}"),
            }
        }
    }
}

impl Reader {
    async fn next(&mut self, wait: Duration) -> Result<Next> {
        let Ok(record) = tokio::time::timeout(wait, self.connection.record()).await else { return Ok(Next::Silence) };
        let Some(record) = record? else { return Ok(Next::Ended) };
        if self.arena.media == Media::Json {
            let plain = record.iter().all(|byte| (0x20..0x7f).contains(byte));
            ensure!(plain, "an event is not ASCII on one line: {}", String::from_utf8_lossy(&record));
        }
        // The schema has no field for it, but clients look for one named after the type.
        if record == br#"{"type":"SHUTDOWN","shutdown":{}}"# {
            return Ok(Next::Event(json!({"type": "SHUTDOWN"})));
        }
        let event = self.arena.media.read(self.message, &record)?;
        let kind = event["type"].as_str().context("an event without a type")?.to_ascii_lowercase();
        ensure!(
            kind == "heartbeat" || kind == "shutdown" || event[&kind].is_object(),
            "an event without its part: {event}"
        );
        Ok(Next::Event(event))
    }
}

/// What came and was not asked for yet.
#[derive(Default)]
struct Unread {
    events: VecDeque<(Instant, Result<Next>)>,
    has_ended: bool,
    has_declined: bool,
}

#[derive(Default)]
struct Queue {
    unread: Mutex<Unread>,
    came: Notify,
    taken: Notify,
}

struct Followed {
    queue: Arc<Queue>,
    reading: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn lock(unread: &Mutex<Unread>) -> MutexGuard<'_, Unread> {
    unread.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Followed {
    fn start(reader: Reader, framework_id: String, stream_id: String) -> Self {
        let queue = Arc::new(Queue::default());
        let reading = tokio::spawn(follow(Arc::clone(&queue), reader, framework_id, stream_id));
        Self { queue, reading }
    }

    async fn next(&mut self, wait: Duration) -> Result<Next> {
        let end = tokio::time::Instant::now() + wait;
        loop {
            let came = self.queue.came.notified();
            {
                let mut unread = lock(&self.queue.unread);
                if let Some((_, event)) = unread.events.pop_front() {
                    self.queue.taken.notify_one();
                    return event;
                }
                if unread.has_ended {
                    return Ok(Next::Ended);
                }
            }
            if tokio::time::timeout_at(end, came).await.is_err() {
                return Ok(Next::Silence);
            }
        }
    }
}

/// Reads to the end.
async fn follow(queue: Arc<Queue>, mut reader: Reader, framework_id: String, stream_id: String) {
    loop {
        if lock(&queue.unread).events.len() < UNREAD_EVENTS_MAX {
            let next = reader.next(LOOK).await;
            let is_over = matches!(next, Ok(Next::Ended) | Err(_));
            if !matches!(next, Ok(Next::Silence)) {
                let mut unread = lock(&queue.unread);
                unread.events.push_back((Instant::now(), next));
                unread.has_ended = is_over;
                queue.came.notify_one();
            }
            if is_over {
                return;
            }
        } else {
            // Room, or time to look at what has become stale.
            let _ = tokio::time::timeout(LOOK, queue.taken.notified()).await;
        }
        let ids = take_stale(&mut lock(&queue.unread));
        if !ids.is_empty() {
            let call = json!({"type": "DECLINE", "framework_id": {"value": framework_id},
                "decline": {"offer_ids": ids, "filters": {"refuse_seconds": LONG_SECONDS}}});
            let Ok(body) = reader.arena.media.write(SCHEDULER_CALL, &call) else { continue };
            let headers = [("Content-Type", reader.arena.media.name()), ("Mesos-Stream-Id", &stream_id)];
            // Who is refused here is no longer this framework, and its offers went back with its stream.
            let _ = wire::exchange(reader.arena.master(), "POST", SCHEDULER, &headers, &body).await;
        }
    }
}

/// Takes the offers out that have lain there for too long.
fn take_stale(unread: &mut Unread) -> Vec<Value> {
    let mut ids = Vec::new();
    unread.events.retain(|(came, event)| match event {
        Ok(Next::Event(event)) if event["type"] == "OFFERS" && came.elapsed() > UNREAD_MAX => {
            ids.extend(items(&event["offers"]["offers"]).iter().map(|offer| offer["id"].clone()));
            false
        }
        _ => true,
    });
    unread.has_declined |= !ids.is_empty();
    ids
}

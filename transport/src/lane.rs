//! Frames on a stream, both ways.
//!
//! A stream is a sequence of frames and nothing else. Out: small frames are gathered into one buffer, large ones go to
//! QUIC as they are, without a copy. In: the header is read and judged first, so that nothing is allocated for a frame
//! that will be refused; then the body is read straight into the aligned buffer that the frame keeps, validated once
//! (law L3), and handed over.
//!
//! Flow control reaches the sender: while the mailbox of a receiver has no room for a message that must not be dropped,
//! its lane is not read, QUIC's window fills, the peer's queue grows, and the peer's host is told.

use crate::endpoint::Shared;
use crate::outbox::Batch;
use crate::permission::{permits_envelope, permits_frame};
use crate::reason::CloseReason;
use crate::session::Session;
use bytes::Bytes;
use core::time::Duration;
use kaon_kernel::actor::Class;
use kaon_kernel::frame::{Buffer, Envelope, Frame, HEADER_BYTES};
use kaon_kernel::port::Refused;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use tokio::time::{Instant, sleep_until};

/// Frames up to this size are copied together, in bytes; larger ones are passed on in place.
const GATHERED_BYTES_MAX: usize = 4 << 10;

/// What is allocated for a body before any of it has arrived, in bytes. A peer gets more only as it delivers.
const BODY_STEP_BYTES: usize = 256 << 10;

/// How long a full mailbox may hold up a lane. A mailbox that takes nothing for so long belongs to a host that is lost;
/// ending the session makes the loss known to both.
pub const DELIVERY_WAIT_MAX: Duration = Duration::from_secs(10);

/// The first wait for room in a mailbox; it doubles up to [`DELIVERY_RETRY_MAX`].
const DELIVERY_RETRY_MIN: Duration = Duration::from_millis(1);

/// The longest single wait for room in a mailbox.
const DELIVERY_RETRY_MAX: Duration = Duration::from_millis(50);

/// How a stream that was read came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The peer finished it, between two frames.
    Finished,
    /// We refuse what was on it.
    Refused(CloseReason),
    /// The connection is gone; its own error says why.
    Lost,
}

/// A frame that knows how to be the owner of its bytes.
struct Owner(Frame);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// Writes the frames of a lane until its queue has come to its end, then waits until the peer has all of it.
pub(crate) async fn write(
    shared: &Shared,
    session: &Session,
    lane: usize,
    stream: &mut SendStream,
) -> Result<(), CloseReason> {
    let broken = |error| match error {
        WriteError::ConnectionLost(error) => CloseReason::of_connection(&error),
        WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => CloseReason::Stream,
    };
    while let Some(batch) = session.outbox.take(lane).await {
        stream.write_all_chunks(&mut chunks(&batch)).await.map_err(broken)?;
        shared.counters.frames_out.add(batch.frames.len() as u64);
        shared.counters.bytes_out.add(batch.bytes as u64);
        session.outbox.written(lane, &batch);
    }
    // Neither can fail in another way than the connection does, which its session sees.
    let _ = stream.finish();
    let _ = stream.stopped().await;
    Ok(())
}

fn chunks(batch: &Batch) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let mut gathered = Vec::new();
    for frame in &batch.frames {
        if frame.bytes().len() <= GATHERED_BYTES_MAX {
            gathered.extend_from_slice(frame.bytes());
            continue;
        }
        if !gathered.is_empty() {
            chunks.push(Bytes::from(core::mem::take(&mut gathered)));
        }
        chunks.push(Bytes::from_owner(Owner(frame.clone())));
    }
    if !gathered.is_empty() {
        chunks.push(Bytes::from(gathered));
    }
    chunks
}

/// Reads frames and hands them to the host until the stream ends.
pub(crate) async fn read(shared: &Shared, session: &Session, stream: &mut RecvStream) -> Ended {
    loop {
        match read_one(shared, session, stream).await {
            Ok(true) => {}
            Ok(false) => return Ended::Finished,
            Err(ended) => return ended,
        }
    }
}

/// False at the end of the stream.
async fn read_one(shared: &Shared, session: &Session, stream: &mut RecvStream) -> Result<bool, Ended> {
    let (ours, peer) = (shared.identity.role, session.identity.role);
    let judge = |envelope: &Envelope| {
        if envelope.from.host != session.host {
            Err(CloseReason::Spoofed)
        } else if envelope.to.host != shared.host {
            Err(CloseReason::Stray)
        } else if !permits_envelope(peer, ours, envelope) {
            Err(CloseReason::Forbidden)
        } else {
            Ok(())
        }
    };
    let Some(frame) = read_frame(stream, judge).await? else { return Ok(false) };
    if !permits_frame(peer, ours, &frame) {
        return Err(Ended::Refused(CloseReason::Forbidden));
    }
    deliver(shared, frame).await?;
    Ok(true)
}

/// Reads one frame whose header pleases `judge`. None at the end of the stream.
pub(crate) async fn read_frame(
    stream: &mut RecvStream,
    judge: impl Fn(&Envelope) -> Result<(), CloseReason>,
) -> Result<Option<Frame>, Ended> {
    let mut header = [0; HEADER_BYTES];
    match stream.read_exact(&mut header).await {
        Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
        read => read.map_err(ended)?,
    }
    let envelope = Envelope::parse(&header).map_err(|error| Ended::Refused(error.into()))?;
    judge(&envelope).map_err(Ended::Refused)?;
    let whole = HEADER_BYTES + envelope.length as usize;
    let mut buffer = Buffer::with_capacity(whole.min(BODY_STEP_BYTES));
    buffer.extend_from_slice(&header);
    while buffer.len() < whole {
        let have = buffer.len();
        // By doubling, so that a large frame is moved about once, and a promised one costs nothing.
        buffer.resize(whole.min((have * 2).max(BODY_STEP_BYTES)), 0);
        stream.read_exact(&mut buffer[have..]).await.map_err(ended)?;
    }
    let frame = Frame::admit(buffer).map_err(|error| Ended::Refused(error.into()))?;
    Ok(Some(frame))
}

fn ended(error: ReadExactError) -> Ended {
    match error {
        ReadExactError::FinishedEarly(_) => Ended::Refused(CloseReason::Truncated),
        ReadExactError::ReadError(ReadError::ConnectionLost(_)) => Ended::Lost,
        ReadExactError::ReadError(_) => Ended::Refused(CloseReason::Stream),
    }
}

/// Hands a frame to the host. What may be dropped is dropped when its receiver has no room; the rest waits.
async fn deliver(shared: &Shared, frame: Frame) -> Result<(), Ended> {
    let class = frame.envelope().class;
    let bytes = frame.bytes().len() as u64;
    let mut refused = shared.ingress.deliver(frame.clone());
    if class == Class::Guaranteed && matches!(refused, Err(Refused::Full(_))) {
        let deadline = Instant::now() + DELIVERY_WAIT_MAX;
        let mut wait = DELIVERY_RETRY_MIN;
        while matches!(refused, Err(Refused::Full(_))) {
            if Instant::now() >= deadline {
                return Err(Ended::Refused(CloseReason::Overloaded));
            }
            sleep_until(deadline.min(Instant::now() + wait)).await;
            wait = (wait * 2).min(DELIVERY_RETRY_MAX);
            refused = shared.ingress.deliver(frame.clone());
        }
    }
    let counters = &shared.counters;
    match refused {
        Ok(()) => {
            counters.frames_in.add(1);
            counters.bytes_in.add(bytes);
        }
        Err(Refused::Full(_)) => counters.dropped_full.add(1),
        Err(Refused::NoActor(_) | Refused::NoSession(_) | Refused::Misdirected(_)) => counters.dropped_unknown.add(1),
    }
    Ok(())
}

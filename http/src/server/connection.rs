//! One connection: hyper speaks HTTP on it, and it notes its progress, so that the server can hang up when there is none.
//!
//! hyper's own head timeout runs on idle connections as well, which must stay open here; so the watch is ours. It is one for
//! all connections: an idle one costs its memory and no timer.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame as Chunk, SizeHint};
use hyper::header::ACCEPT_ENCODING;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

use super::request::Request;
use super::{Handler, Limits, gzip};
use crate::answer::{self, Answer, Broken};

/// Headers of one request.
const HEADERS_MAX: usize = 100;

/// Hangs up on a connection from anywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hangup(Arc<Notify>);

impl Hangup {
    /// Ends the connection, whatever it is doing.
    pub(crate) fn now(&self) {
        self.0.notify_one();
    }
}

/// What a connection is doing, and since when.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<State>,
    hangup: Hangup,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Whether a request has come on it.
    has_asked: bool,
    /// Since when the reader takes nothing of what is being written.
    stalled: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// A head is on its way since then.
    Head(Instant),
    /// A request is being answered.
    Busy,
    /// Nothing is under way since then.
    Idle(Instant),
    /// It was hung up on.
    Leaving,
}

impl Default for State {
    fn default() -> Self {
        // Whoever connects is about to send a head.
        Self { phase: Phase::Head(Instant::now()), has_asked: false, stalled: None }
    }
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether it ever asked, and since when it asks for nothing: it is idle, or the head of its request does not end. Such a
    /// connection makes room for a newer one, so that those who only connect keep nobody out.
    pub(super) fn idle(&self) -> Option<(bool, Instant)> {
        let state = self.lock();
        match state.phase {
            Phase::Idle(since) | Phase::Head(since) => Some((state.has_asked, since)),
            Phase::Busy | Phase::Leaving => None,
        }
    }
    /// Hangs up on it, once.
    pub(super) fn make_room(&self) {
        self.lock().phase = Phase::Leaving;
        self.hangup.now();
    }
    fn on_read(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Idle(_)) {
            state.phase = Phase::Head(Instant::now());
        }
    }
    pub(super) fn on_request(&self) {
        let mut state = self.lock();
        (state.phase, state.has_asked) = (Phase::Busy, true);
    }
    pub(super) fn on_answered(&self) {
        self.lock().phase = Phase::Idle(Instant::now());
    }
    fn on_write(&self, has_moved: bool) {
        let mut state = self.lock();
        match has_moved {
            true => state.stalled = None,
            false => state.stalled = state.stalled.or_else(|| Some(Instant::now())),
        }
    }
    /// Hangs up on it when it is too slow.
    pub(super) fn tell_off(&self, limits: &Limits) {
        if let Some(reason) = self.overdue(limits) {
            tracing::debug!(reason, "hung up");
            self.make_room();
        }
    }
    /// Why it should be hung up on, if it should.
    fn overdue(&self, limits: &Limits) -> Option<&'static str> {
        let state = self.lock();
        if state.stalled.is_some_and(|since| since.elapsed() > limits.stall_time) {
            return Some("the reader takes nothing");
        }
        match state.phase {
            Phase::Head(since) if since.elapsed() > limits.head_time => Some("the head of a request does not end"),
            _ => None,
        }
    }
}

/// One connection.
pub(super) struct Connection<H> {
    pub(super) handler: Arc<H>,
    pub(super) limits: Limits,
    pub(super) progress: Arc<Progress>,
    pub(super) bodies: Arc<AtomicUsize>,
    pub(super) is_ending: watch::Receiver<bool>,
}

impl<H: Handler> Connection<H> {
    pub(super) async fn run(mut self, socket: TcpStream) {
        let io = TokioIo::new(Watched { socket, progress: Arc::clone(&self.progress) });
        let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            self.progress.on_request();
            let (handler, progress) = (Arc::clone(&self.handler), Arc::clone(&self.progress));
            let request = Request::new(request, progress.hangup.clone(), self.limits, Arc::clone(&self.bodies));
            async move {
                let takes_gzip = gzip::accepts(request.header(&ACCEPT_ENCODING));
                let mut answer = match request.refusal() {
                    Some(refusal) => refusal,
                    // In a box of its own: a connection without a request does not carry what the longest answer needs.
                    None => Box::pin(handler.handle(request)).await,
                };
                if takes_gzip {
                    answer = Box::pin(gzip::pack(answer)).await;
                }
                Ok::<Answer, std::convert::Infallible>(answer.map(|body| Answered { body, progress }.boxed_unsync()))
            }
        });
        let mut http = http1::Builder::new();
        http.half_close(false).keep_alive(true).max_buf_size(self.limits.head_bytes.max(8192)).max_headers(HEADERS_MAX);
        let mut connection = pin!(http.serve_connection(io, service));
        let hangup = self.progress.hangup.clone();
        let mut is_ending = false;
        loop {
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended");
                    }
                    return;
                }
                () = hangup.0.notified() => return,
                _ = self.is_ending.changed(), if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// A body that says when it is done with.
struct Answered {
    body: answer::Body,
    progress: Arc<Progress>,
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.progress.on_answered();
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk<Bytes>, Broken>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that tells of its progress.
struct Watched {
    socket: TcpStream,
    progress: Arc<Progress>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.progress.on_read();
        }
        read
    }
}

impl Watched {
    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.progress.on_write(written.is_ready());
        written
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.note(written)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.note(written)
    }
    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

//! A request, and the reading of its body within bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_ENCODING, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::{Hangup, Limits, gzip};
use crate::answer::{self, Answer};

/// A request whose head has been read.
pub struct Request {
    head: Parts,
    body: Incoming,
    hangup: Hangup,
    limits: Limits,
    bodies: Arc<AtomicUsize>,
}

impl Request {
    pub(super) fn new(
        request: hyper::Request<Incoming>,
        hangup: Hangup,
        limits: Limits,
        bodies: Arc<AtomicUsize>,
    ) -> Self {
        let (head, body) = request.into_parts();
        Self { head, body, hangup, limits, bodies }
    }

    /// What is wrong with the head on every path.
    pub(super) fn refusal(&self) -> Option<Answer> {
        if self.head.method == Method::CONNECT {
            return Some(answer::not_allowed("GET, HEAD, POST"));
        }
        let declared = self.body.size_hint().exact().or(Some(self.body.size_hint().lower()));
        if declared.is_some_and(|bytes| bytes > self.limits.body_bytes as u64) {
            return Some(self.too_large());
        }
        None
    }

    /// Its method.
    pub fn method(&self) -> &Method {
        &self.head.method
    }
    /// Its path, as it came.
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }
    /// What follows the question mark.
    pub fn query(&self) -> Option<&str> {
        self.head.uri.query()
    }
    /// Path and query as they came.
    pub(crate) fn target(&self) -> &str {
        self.head.uri.path_and_query().map_or("", |target| target.as_str())
    }
    /// A header's first value, when it is text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }
    /// A header by its lower-case name.
    pub(crate) fn header_named(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }
    pub(crate) fn hangup(&self) -> Hangup {
        self.hangup.clone()
    }

    fn too_large(&self) -> Answer {
        let text = format!("The body is larger than {} bytes", self.limits.body_bytes);
        closing(answer::refusal(StatusCode::PAYLOAD_TOO_LARGE, text))
    }

    /// The next piece of a body that is a stream; nothing at its end. Neither its size nor its time is bounded here: who reads it
    /// keeps little of it.
    pub(crate) async fn chunk(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads the body to its end.
    ///
    /// # Errors
    /// The refusal: 408, 413, 415 for another encoding than gzip, 503 when too many bodies are being read, 400 when it breaks off.
    pub(crate) async fn read_body(&mut self) -> Result<Bytes, Answer> {
        let encoding = self.head.headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes().to_ascii_lowercase());
        let is_packed = match encoding.as_deref() {
            None | Some(b"identity") => false,
            Some(b"gzip") => true,
            Some(_) => {
                let text = "Content-Encoding is not supported; send the body in gzip or as it is";
                return Err(answer::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
            }
        };
        let body = match tokio::time::timeout(self.limits.body_time, self.collect()).await {
            Ok(read) => read?,
            Err(_) => {
                return Err(closing(answer::refusal(StatusCode::REQUEST_TIMEOUT, "The body did not come in time")));
            }
        };
        if is_packed { gzip::unpack(body, self.limits.body_bytes).await } else { Ok(body) }
    }

    async fn collect(&mut self) -> Result<Bytes, Answer> {
        let mut share = Share { bodies: Arc::clone(&self.bodies), bytes: 0 };
        let mut collected = BytesMut::new();
        while let Some(chunk) = self.body.frame().await {
            let chunk = chunk.map_err(|_| closing(answer::bad("The body is malformed")))?;
            let Ok(data) = chunk.into_data() else { continue };
            if collected.len() + data.len() > self.limits.body_bytes {
                return Err(self.too_large());
            }
            if share.take(data.len()) > self.limits.bodies_bytes {
                let text = "Too many bodies are being read; try again later";
                return Err(closing(answer::refusal(StatusCode::SERVICE_UNAVAILABLE, text)));
            }
            collected.extend_from_slice(&data);
        }
        Ok(collected.freeze())
    }
}

/// The rest of the request is not read, so nothing can follow it.
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// What one body takes of the room for all; given back when its reading ends, however it does.
struct Share {
    bodies: Arc<AtomicUsize>,
    bytes: usize,
}

impl Share {
    /// Takes more; what all take together now.
    fn take(&mut self, bytes: usize) -> usize {
        self.bytes += bytes;
        self.bodies.fetch_add(bytes, Ordering::Relaxed) + bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.bodies.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

//! The streams of the agent's operator API (reference 7.2): what a container writes, as records of `ProcessIO`, and what it is
//! told. Data and control share a stream; heartbeats say that it lives.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use kaon_kernel::nested::{Piece, Said};

use super::AgentEdge;
use super::nested::{self, Asked, Speaker, Unattached};
use super::token::Claims;
use crate::answer::{self, Answer, Broken};
use crate::codec::{self, MediaType, media};
use crate::convert::container;
use crate::recordio::{self, Decoder};
use crate::server::Request;
use crate::take;
use crate::v1::agent as api;
use crate::v1::agent::call::Type;
use crate::v1::agent::call::attach_container_input::Type as InputType;
use crate::v1::agent::process_io::{self, Type as IoType};
use crate::v1::mesos as v1;

/// How often a stream says that it lives (`--http_heartbeat_interval`, reference 15.2).
const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);

/// The largest record that is taken in, in bytes: a terminal's user pastes less.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// How long the first record of a stream may take: it says what the stream is for.
const FIRST_WITHIN: Duration = Duration::from_secs(15);

/// LAUNCH_NESTED_CONTAINER_SESSION: a container that ends with its stream.
pub(super) async fn session(
    edge: &AgentEdge,
    call: api::Call,
    claims: Option<&Claims>,
    accepted: media::Body,
) -> Answer {
    let asked = call.launch_nested_container_session.unwrap_or_default();
    let order = Asked { command: asked.command, container: asked.container, is_session: true, ..Asked::default() };
    let (order, calls) = match (order.read(&asked.container_id, claims), nested::calls(edge)) {
        (Ok(order), Ok(calls)) => (order, calls),
        (Err(refusal), _) | (_, Err(refusal)) => return *refusal,
    };
    let container = order.container.clone();
    let launched = match nested::launch(&*calls, order).await {
        Ok(answer) | Err(answer) => answer,
    };
    if launched.status() != StatusCode::OK {
        return *launched;
    }
    match calls.listen(container).await {
        Ok(pieces) => records(pieces, accepted),
        Err(reason) => unattached(reason),
    }
}

/// ATTACH_CONTAINER_OUTPUT.
pub(super) async fn output(
    edge: &AgentEdge,
    call: api::Call,
    claims: Option<&Claims>,
    accepted: media::Body,
) -> Answer {
    let asked = call.attach_container_output.unwrap_or_default();
    let (container, calls) = match (nested::known(&asked.container_id, claims), nested::calls(edge)) {
        (Ok(container), Ok(calls)) => (container, calls),
        (Err(refusal), _) | (_, Err(refusal)) => return *refusal,
    };
    match calls.listen(container).await {
        Ok(pieces) => records(pieces, accepted),
        Err(reason) => unattached(reason),
    }
}

fn unattached(reason: Unattached) -> Answer {
    match reason {
        Unattached::Unknown(text) => answer::refusal(StatusCode::NOT_FOUND, text),
        Unattached::Busy(text) => answer::refusal(StatusCode::CONFLICT, text),
        Unattached::Failed(text) => answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, text),
    }
}

/// The answer whose body is a container's pieces and heartbeats. It is taken from as fast as its reader reads, no faster.
fn records(pieces: BoxStream<'static, Piece>, accepted: media::Body) -> Answer {
    let (media::Body::Single(media) | media::Body::Records(media)) = accepted;
    let beats = stream::unfold(tokio::time::interval(HEARTBEAT_EVERY), |mut interval| async move {
        interval.tick().await;
        Some((Some(heartbeat()), interval))
    });
    // The first tick is at once; a reader is told nothing before its interval.
    let beats = beats.skip(1);
    let data = pieces.map(|piece| Some(data(piece))).chain(stream::once(async { None }));
    let both =
        stream::select(data, beats).take_while(|one| std::future::ready(one.is_some())).filter_map(|one| async { one });
    let chunks = both.map(move |io| Ok::<_, Broken>(Frame::data(recordio::encode(&codec::encode(media, &io)))));
    let mut answer = Response::new(StreamBody::new(chunks).boxed_unsync());
    let kind = |media: MediaType| HeaderValue::from_static(media.name());
    let headers = answer.headers_mut();
    match accepted {
        media::Body::Single(media) => drop(headers.insert(CONTENT_TYPE, kind(media))),
        media::Body::Records(media) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media::RECORDIO));
            headers.insert("message-content-type", kind(media));
        }
    }
    answer
}

fn data(piece: Piece) -> api::ProcessIo {
    let (kind, bytes) = match piece {
        Piece::Out(bytes) => (process_io::data::Type::Stdout, bytes),
        Piece::Err(bytes) => (process_io::data::Type::Stderr, bytes),
    };
    let data = process_io::Data { r#type: Some(kind as i32), data: Some(bytes) };
    api::ProcessIo { r#type: Some(IoType::Data as i32), data: Some(data), control: None }
}

fn heartbeat() -> api::ProcessIo {
    let nanoseconds = i64::try_from(HEARTBEAT_EVERY.as_nanos()).unwrap_or(i64::MAX);
    let heartbeat = process_io::control::Heartbeat { interval: Some(v1::DurationInfo { nanoseconds }) };
    let control = process_io::Control {
        r#type: Some(process_io::control::Type::Heartbeat as i32),
        tty_info: None,
        heartbeat: Some(heartbeat),
    };
    api::ProcessIo { r#type: Some(IoType::Control as i32), data: None, control: Some(control) }
}

/// ATTACH_CONTAINER_INPUT: the request is the stream, and its answer comes at the end.
pub(super) async fn input(
    edge: Arc<AgentEdge>,
    mut request: Request,
    claims: Option<&Claims>,
    media: MediaType,
) -> Answer {
    match hear(&edge, &mut request, claims, media).await {
        Ok(()) => answer::empty(StatusCode::OK),
        Err(refusal) => {
            let mut refusal = *refusal;
            // The rest of the stream is not read, so nothing can follow it.
            refusal.headers_mut().insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
            refusal
        }
    }
}

/// The records of a request, one after the other.
struct Records<'a> {
    request: &'a mut Request,
    decoder: Decoder,
    media: MediaType,
}

impl Records<'_> {
    /// The next record; nothing at the end.
    async fn next(&mut self) -> Result<Option<api::call::AttachContainerInput>, Box<Answer>> {
        let bad = |reason: String| Box::new(answer::bad(reason));
        loop {
            let record =
                self.decoder.next_record().map_err(|error| bad(format!("Failed to decode record: {error}")))?;
            let Some(record) = record else {
                match self.request.chunk().await {
                    Some(Ok(chunk)) => self.decoder.push(&chunk),
                    // Whoever speaks may go away in the middle of a word.
                    Some(Err(_)) | None => return Ok(None),
                }
                continue;
            };
            let call: api::Call = codec::decode(self.media, &record)
                .map_err(|error| bad(format!("Failed to parse body into Call: {error}")))?;
            if call.r#type != Some(Type::AttachContainerInput as i32) {
                // Records are the body of this call and of no other.
                let suits = media::agent_request_suits(media::Body::Records(self.media), false);
                return Err(match (call.r#type, suits) {
                    (Some(_), Err(error)) => Box::new(take::refused(error)),
                    _ => Box::new(take::no_type()),
                });
            }
            let input = call.attach_container_input;
            return input.map(Some).ok_or_else(|| bad("Expecting 'attach_container_input' to be present".to_owned()));
        }
    }
}

async fn hear(
    edge: &AgentEdge,
    request: &mut Request,
    claims: Option<&Claims>,
    media: MediaType,
) -> Result<(), Box<Answer>> {
    let bad = |reason: &str| Box::new(answer::bad(reason));
    let mut records = Records { request, decoder: Decoder::new(RECORD_BYTES_MAX), media };
    let first = tokio::time::timeout(FIRST_WITHIN, records.next()).await;
    let late = || Box::new(answer::refusal(StatusCode::REQUEST_TIMEOUT, "The first record did not come in time"));
    let first = first.map_err(|_| late())??.ok_or_else(|| bad("Expecting a record of type CONTAINER_ID"))?;
    if first.r#type != Some(InputType::ContainerId as i32) {
        return Err(bad("Expecting 'attach_container_input.type' to be CONTAINER_ID first"));
    }
    let container =
        first.container_id.ok_or_else(|| bad("Expecting 'attach_container_input.container_id' to be present"))?;
    let container = nested::known(&container, claims)?;
    let speaker = nested::calls(edge)?.speak(container).await;
    let mut speaker = speaker.map_err(|reason| Box::new(unattached(reason)))?;
    loop {
        let next = tokio::select! {
            next = records.next() => next?,
            // There is nobody to speak to any more.
            () = speaker.ended() => return Ok(()),
        };
        let Some(input) = next else { return Ok(()) };
        let io = input.process_io.ok_or_else(|| bad("Expecting 'attach_container_input.process_io' to be present"))?;
        if let Some(said) = said(io)
            && !say(&mut *speaker, said).await
        {
            return Ok(());
        }
    }
}

async fn say(speaker: &mut dyn Speaker, said: Said) -> bool {
    speaker.say(said).await
}

/// What a record says; heartbeats, and what only containers say, nothing.
fn said(io: api::ProcessIo) -> Option<Said> {
    match (io.data, io.control) {
        (Some(data), _) if data.r#type == Some(process_io::data::Type::Stdin as i32) => {
            Some(Said::Input(data.data.unwrap_or_default()))
        }
        (None, Some(control)) => Some(Said::Window(container::terminal(&control.tty_info?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_mesos_shapes() {
        let told = codec::encode(MediaType::Json, &data(Piece::Err(b"hi".to_vec())));
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told, serde_json::json!({"type": "DATA", "data": {"type": "STDERR", "data": "aGk="}}));
        let told = codec::encode(MediaType::Json, &heartbeat());
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["control"]["heartbeat"]["interval"]["nanoseconds"], 30_000_000_000_i64);
        let size = Some(v1::tty_info::WindowSize { rows: 7, columns: 1 << 20 });
        let control = process_io::Control {
            r#type: Some(process_io::control::Type::TtyInfo as i32),
            tty_info: Some(v1::TtyInfo { window_size: size }),
            heartbeat: None,
        };
        let io = api::ProcessIo { r#type: Some(IoType::Control as i32), data: None, control: Some(control) };
        let window = kaon_kernel::container_info::Window { rows: 7, columns: u16::MAX };
        assert_eq!(said(io), Some(Said::Window(window)));
        assert_eq!(said(heartbeat()), None);
        assert_eq!(said(data(Piece::Out(b"x".to_vec()))), None, "nobody speaks with a container's voice");
    }
}

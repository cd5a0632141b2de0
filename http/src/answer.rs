//! Answers: status, headers, body.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use kaon_kernel::cause::{self, Cause};
use serde::Serialize;

use crate::codec::MediaType;
use crate::rope::{Pieces, Rope};

/// Why a body broke off; the connection ends with it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Broken {
    /// The reader was too slow, or its stream was cut for another reason.
    #[error("the stream was cut: {0}")]
    Cut(&'static str),
    /// A file could not be read to its end.
    #[error("the file can't be read on: {0}")]
    File(String),
}

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, Broken>;

/// An answer.
pub type Answer = Response<Body>;

/// The whole body once more, beside an answer whose body may still be packed.
#[derive(Clone, Debug)]
pub(crate) struct Whole(pub(crate) Vec<Bytes>);

/// A body of known length.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer without a body, and so without a type.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(whole(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// An answer with a body.
pub(crate) fn with(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let bytes = bytes.into();
    let mut answer = Response::new(whole(bytes.clone()));
    answer.extensions_mut().insert(Whole(vec![bytes]));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// An answer with a large body: 200.
pub(crate) fn pieces(content_type: &'static str, rope: Rope) -> Answer {
    let pieces = rope.into_pieces();
    let mut answer = Response::new(Pieces::new(pieces.clone()).boxed_unsync());
    answer.extensions_mut().insert(Whole(pieces));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A refusal: plain text, one line, and in a header the word that its status has for programs.
pub(crate) fn refusal(status: StatusCode, reason: impl ToString) -> Answer {
    because(status, cause_of(status), reason)
}

/// A refusal with a word of its own.
pub(crate) fn because(status: StatusCode, cause: Cause, reason: impl ToString) -> Answer {
    let mut text = reason.to_string();
    text.push('\n');
    let mut answer = with(status, "text/plain", text);
    answer.headers_mut().insert(cause::HEADER, HeaderValue::from_static(cause.word()));
    answer
}

fn cause_of(status: StatusCode) -> Cause {
    match status {
        StatusCode::UNAUTHORIZED => Cause::Unauthorized,
        StatusCode::FORBIDDEN => Cause::Forbidden,
        StatusCode::NOT_FOUND => Cause::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Cause::MethodNotAllowed,
        StatusCode::NOT_ACCEPTABLE => Cause::NotAcceptable,
        StatusCode::REQUEST_TIMEOUT => Cause::TooSlow,
        StatusCode::CONFLICT => Cause::Conflict,
        StatusCode::PAYLOAD_TOO_LARGE => Cause::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Cause::UnsupportedMediaType,
        StatusCode::NOT_IMPLEMENTED => Cause::NotImplemented,
        StatusCode::SERVICE_UNAVAILABLE => Cause::Unavailable,
        other if other.is_server_error() => Cause::Failed,
        _ => Cause::BadRequest,
    }
}

/// 400.
pub fn bad(reason: impl ToString) -> Answer {
    refusal(StatusCode::BAD_REQUEST, reason)
}

/// 400 with a word of its own.
pub(crate) fn bad_because(cause: Cause, reason: impl ToString) -> Answer {
    because(StatusCode::BAD_REQUEST, cause, reason)
}

/// 405 with what is allowed.
pub fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, format!("Expecting one of {{ '{allow}' }}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// 307. A location that no header can hold is our configuration's fault and answers 503.
pub(crate) fn redirect(location: &str) -> Answer {
    match HeaderValue::from_str(location) {
        Ok(value) => {
            let mut answer = empty(StatusCode::TEMPORARY_REDIRECT);
            answer.headers_mut().insert(LOCATION, value);
            answer
        }
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "The leader's address can't be told"),
    }
}

/// An answer in one of the two encodings of the v1 API.
pub(crate) fn message(media: MediaType, bytes: Vec<u8>) -> Answer {
    with(StatusCode::OK, media.name(), bytes)
}

/// JSON, or a call of the function that `jsonp` names.
pub fn json(value: &impl Serialize, jsonp: Option<&str>) -> Answer {
    match serde_json::to_vec(value) {
        Ok(text) => json_pieces(text.into(), jsonp),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made"),
    }
}

/// The same of JSON that is written already.
pub(crate) fn json_pieces(text: Rope, jsonp: Option<&str>) -> Answer {
    match jsonp.filter(|name| !name.is_empty()) {
        None => pieces(MediaType::Json.name(), text),
        Some(name) if !is_function_name(name) => bad("'jsonp' must be a function's name"),
        Some(name) => {
            let mut call = Rope::from(format!("{name}(").into_bytes());
            call.append(text);
            call.room().extend_from_slice(b");");
            pieces("text/javascript", call)
        }
    }
}

/// Mesos repeats any text; we repeat no more than a name, so that nobody writes a page through us.
fn is_function_name(name: &str) -> bool {
    name.len() <= 128 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.'))
}

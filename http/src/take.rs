//! How every endpoint of the v1 API takes a call: method, media type, body, decoding, in Mesos's order (reference 1.2).
//! What the call says is its handler's matter.

use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, StatusCode};
use kaon_kernel::cause::Cause;

use crate::answer::{self, Answer};
use crate::codec::{self, MediaType, media};
use crate::server::Request;

/// A call that was read, and how many bytes it took.
pub(crate) struct Taken<C> {
    pub(crate) call: C,
    pub(crate) bytes: usize,
}

/// Takes a call.
///
/// # Errors
/// The refusal: 400, 405, 408, 413, 415, 503.
pub(crate) async fn call<C: codec::Message>(request: &mut Request) -> Result<Taken<C>, Answer> {
    if let Some(refusal) = unless_posted(request) {
        return Err(refusal);
    }
    let media = media::request(request.header(&CONTENT_TYPE)).map_err(refused)?;
    body(request, media).await
}

/// The refusal of any method but POST.
pub(crate) fn unless_posted(request: &Request) -> Option<Answer> {
    (request.method() != Method::POST).then(|| answer::not_allowed("POST"))
}

/// Reads a call of known type.
///
/// # Errors
/// The refusal: 400, 408, 413, 415, 503.
pub(crate) async fn body<C: codec::Message>(request: &mut Request, media: MediaType) -> Result<Taken<C>, Answer> {
    let body = request.read_body().await?;
    match codec::decode(media, &body) {
        Ok(call) => Ok(Taken { call, bytes: body.len() }),
        Err(error) => Err(answer::bad_because(Cause::Malformed, format!("Failed to parse body into Call: {error}"))),
    }
}

/// What the answer may be written in.
///
/// # Errors
/// 406.
pub(crate) fn accepted(request: &Request) -> Result<MediaType, media::Error> {
    media::response(request.header(&ACCEPT))
}

/// The refusal of a header.
pub(crate) fn refused(error: media::Error) -> Answer {
    answer::refusal(StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST), error)
}

/// The refusal of a call without a type.
pub(crate) fn no_type() -> Answer {
    answer::bad_because(Cause::FieldMissing, "Expecting 'type' to be present")
}

/// The refusal of a call without the part that goes with its type.
pub(crate) fn no_part(part: &str) -> Answer {
    answer::bad_because(Cause::FieldMissing, format!("Expecting '{part}' to be present"))
}

/// The refusal of a call that is not served, by its name.
pub(crate) fn not_served(name: &str) -> Answer {
    answer::refusal(StatusCode::NOT_IMPLEMENTED, format!("{name} is not implemented by this version of Kaon"))
}

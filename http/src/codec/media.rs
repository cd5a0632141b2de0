//! Media types and content negotiation: pure functions over header values.
//!
//! The rules are Mesos 1.11's (`master/http.cpp`, `slave/http.cpp`, libprocess' `Request::acceptsMediaType`), and are not those
//! of HTTP in general: `Content-Type` is compared as it stands, without parameters; of the weights in `Accept` only zero
//! counts; JSON wins whenever it is allowed.

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// The type of a stream of records when it is not named after the messages in it.
pub const RECORDIO: &str = "application/recordio";

impl MediaType {
    /// The name in headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Protobuf => PROTOBUF,
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            JSON => Some(Self::Json),
            PROTOBUF => Some(Self::Protobuf),
            _ => None,
        }
    }

    fn accepted(header: Option<&str>) -> Option<Self> {
        [Self::Json, Self::Protobuf].into_iter().find(|media| accepts(header, media.name()))
    }
}

/// A request refused for its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 400: a header that must be there is not.
    #[error("expecting '{0}' to be present")]
    Missing(&'static str),
    /// 415: the body is of a type that this endpoint does not read.
    #[error("expecting '{header}' of {expected}")]
    Unsupported {
        /// Which header.
        header: &'static str,
        /// What it may say.
        expected: &'static str,
    },
    /// 406: no type that this endpoint writes is accepted.
    #[error("expecting '{header}' to allow {expected}")]
    NotAcceptable {
        /// Which header.
        header: &'static str,
        /// What it should allow.
        expected: &'static str,
    },
}

impl Error {
    /// The HTTP status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::Missing(_) => 400,
            Self::NotAcceptable { .. } => 406,
            Self::Unsupported { .. } => 415,
        }
    }
}

const EITHER: &str = "application/json or application/x-protobuf";
const ANY_OF_THREE: &str = "application/json, application/x-protobuf or application/recordio";

/// The type of a request's body, on every endpoint but the agent's operator API.
///
/// # Errors
/// 400 without the header, 415 with any other type.
pub fn request(content_type: Option<&str>) -> Result<MediaType, Error> {
    let name = content_type.ok_or(Error::Missing("Content-Type"))?;
    MediaType::named(name).ok_or(Error::Unsupported { header: "Content-Type", expected: EITHER })
}

/// The type of an answer, on every endpoint but the agent's operator API. A missing `Accept` allows all.
///
/// # Errors
/// 406 when neither type is allowed.
pub fn response(accept: Option<&str>) -> Result<MediaType, Error> {
    MediaType::accepted(accept).ok_or(Error::NotAcceptable { header: "Accept", expected: EITHER })
}

/// The body of a request or an answer of the agent's operator API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// One message.
    Single(MediaType),
    /// Records, each one message of this type (`application/recordio`).
    Records(MediaType),
}

/// The type of a request's body on the agent's operator API.
///
/// # Errors
/// 400 without `Content-Type`, or without `Message-Content-Type` on records; 415 with other types, or with
/// `Message-Content-Type` on a single message.
pub fn agent_request(content_type: Option<&str>, message_content_type: Option<&str>) -> Result<Body, Error> {
    let name = content_type.ok_or(Error::Missing("Content-Type"))?;
    if name == RECORDIO {
        let inner = message_content_type.ok_or(Error::Missing("Message-Content-Type"))?;
        return MediaType::named(inner)
            .map(Body::Records)
            .ok_or(Error::Unsupported { header: "Message-Content-Type", expected: EITHER });
    }
    let media = MediaType::named(name).ok_or(Error::Unsupported { header: "Content-Type", expected: ANY_OF_THREE })?;
    if message_content_type.is_some() {
        return Err(Error::Unsupported { header: "Content-Type", expected: RECORDIO });
    }
    Ok(Body::Single(media))
}

/// Records are the body of ATTACH_CONTAINER_INPUT, and of no other call. Asked once the call is known.
///
/// # Errors
/// 415 when the body and the call do not go together.
pub fn agent_request_suits(body: Body, is_attach_container_input: bool) -> Result<(), Error> {
    match (body, is_attach_container_input) {
        (Body::Single(_), false) | (Body::Records(_), true) => Ok(()),
        (Body::Single(_), true) => Err(Error::Unsupported { header: "Content-Type", expected: RECORDIO }),
        (Body::Records(_), false) => Err(Error::Unsupported { header: "Content-Type", expected: EITHER }),
    }
}

/// The type of an answer on the agent's operator API. [`Body::Single`] on a call that streams means records under the name
/// of the messages' own type.
///
/// # Errors
/// 406 when no type is allowed, or `Message-Accept` is there without records being chosen.
pub fn agent_response(accept: Option<&str>, message_accept: Option<&str>) -> Result<Body, Error> {
    if let Some(media) = MediaType::accepted(accept) {
        if message_accept.is_some() {
            return Err(Error::NotAcceptable { header: "Accept", expected: RECORDIO });
        }
        return Ok(Body::Single(media));
    }
    if !accepts(accept, RECORDIO) {
        return Err(Error::NotAcceptable { header: "Accept", expected: ANY_OF_THREE });
    }
    MediaType::accepted(message_accept)
        .map(Body::Records)
        .ok_or(Error::NotAcceptable { header: "Message-Accept", expected: EITHER })
}

/// `application/recordio` is an answer to ATTACH_CONTAINER_OUTPUT and LAUNCH_NESTED_CONTAINER_SESSION only. Asked once the
/// call is known.
///
/// # Errors
/// 406 when the call does not stream.
pub fn agent_response_suits(body: Body, streams: bool) -> Result<(), Error> {
    match body {
        Body::Records(_) if !streams => Err(Error::NotAcceptable { header: "Accept", expected: EITHER }),
        Body::Records(_) | Body::Single(_) => Ok(()),
    }
}

/// Whether an `Accept` header allows a type: the most exact of its entries that matches decides (`type/subtype`, then
/// `type/*`, then `*/*`), and refuses only with a weight of zero. Without the header everything is allowed.
/// Cost: three passes over the header.
pub fn accepts(header: Option<&str>, media_type: &str) -> bool {
    let Some(header) = header else { return true };
    let main = media_type.split('/').next().unwrap_or(media_type);
    [media_type, &format!("{main}/*"), "*/*"]
        .into_iter()
        .find_map(|candidate| {
            header.split(',').find_map(|entry| {
                let mut parts = entry.split(';').map(str::trim);
                let name = parts.next()?;
                name.eq_ignore_ascii_case(candidate).then(|| !parts.any(is_zero_weight))
            })
        })
        .unwrap_or(false)
}

fn is_zero_weight(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f64>().is_ok_and(|weight| weight <= 0.0)
    })
}

#[cfg(test)]
mod tests;

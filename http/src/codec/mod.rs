//! Bytes to v1 messages and back, in the two encodings that Mesos speaks.
//!
//! JSON goes by way of protobuf: prost makes wire bytes, tables built from the descriptors turn wire bytes into JSON and
//! back ([`Schema`]). So there is one place that knows prost's types, one that checks what came from outside
//! (required fields, depth, memory), and no generated serialiser to review. The rules are those of `stout`'s
//! JSON and protobuf conversion in Apache Mesos 1.11, told in each module; three of ours are stricter, as duplicates in JSON,
//! integers out of range and text that is not UTF-8 are refused where Mesos keeps the last, wraps around, and passes on.
//!
//! Left to others: what a call means, whether it is valid ([`crate::v1`] types say nothing of that), body size limits.

mod check;
mod error;
pub mod media;
mod merge;
mod plan;
mod read;
mod text;
mod wire;
mod write;

use prost::Name;

pub use self::error::{Error, MISSING_NAMED_MAX};
pub use self::media::MediaType;
use self::plan::{MessageId, Plans};
pub use self::wire::Malformed;

/// Messages inside messages, the outermost counted. The longest way through the schema without a type met twice is less than a
/// third of this (a test says so), a nested container adds one level per parent, and Mesos's own protobuf library stops at 100.
pub const MESSAGE_DEPTH_MAX: usize = 64;

/// What a reader is ready to spend on one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The inline size of all elements of repeated fields once decoded, in bytes, estimated from above (a test holds the
    /// estimate between once and twice the size of the Rust type). The content of strings is never longer than the input
    /// and is not counted.
    pub memory_bytes_max: usize,
}

impl Limits {
    /// For calls from outside: 128 MiB hold some 15,000 tasks of one ACCEPT, or the reconciliation of half a million.
    pub const CALL: Self = Self { memory_bytes_max: 128 << 20 };
}

/// A v1 message: what prost makes from `proto/`.
pub trait Message: prost::Message + Name + Default {}

impl<T: prost::Message + Name + Default> Message for T {}

/// Reads a message that came from outside, within [`Limits::CALL`].
///
/// # Errors
/// Says what is wrong and where; the answer to all of them is 400.
pub fn decode<T: Message>(media: MediaType, body: &[u8]) -> Result<T, Error> {
    decode_within(media, body, Limits::CALL)
}

/// Reads a message that came from outside. Cost: linear in the body; nothing is allocated in proportion to a number in it.
///
/// # Errors
/// As [`decode`].
pub fn decode_within<T: Message>(media: MediaType, body: &[u8], limits: Limits) -> Result<T, Error> {
    let schema = Schema::of::<T>();
    let converted;
    let wire = match media {
        MediaType::Protobuf => body,
        MediaType::Json => {
            converted = schema.from_json(body)?;
            &converted
        }
    };
    let merged;
    let wire = match schema.check(wire, limits) {
        Err(Error::Twice { .. }) if media == MediaType::Protobuf => {
            merged = schema.merged(wire, limits)?;
            schema.check(&merged, limits)?;
            &merged
        }
        checked => {
            checked?;
            wire
        }
    };
    T::decode(wire).map_err(|cause| Error::Library { reason: cause.to_string() })
}

/// Writes a message. JSON is one line of ASCII.
pub fn encode<T: Message>(media: MediaType, message: &T) -> Vec<u8> {
    let wire = message.encode_to_vec();
    match media {
        MediaType::Protobuf => wire,
        MediaType::Json => Schema::of::<T>().to_json(&wire).expect("prost wrote these bytes for this type"),
    }
}

/// One message type by its descriptor: conversion between the encodings without the Rust type.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    id: MessageId,
}

impl Schema {
    /// The type with this full name, such as `mesos.v1.Offer`.
    pub fn named(full_name: &str) -> Option<Self> {
        Plans::all().named(full_name).map(|id| Self { id })
    }

    /// The type behind a generated struct.
    pub fn of<T: Message>() -> Self {
        Self::named(&T::full_name()).expect("types and tables are made from the same descriptors")
    }

    /// JSON in Mesos's form from wire bytes that prost wrote or [`Schema::check`] let pass.
    ///
    /// # Errors
    /// When the bytes are no message of this type after all.
    pub fn to_json(self, wire: &[u8]) -> Result<Vec<u8>, Malformed> {
        write::to_json(self.id, wire)
    }

    /// Wire bytes from JSON. Required fields are not looked at: that is [`Schema::check`].
    ///
    /// # Errors
    /// When it is not JSON, or JSON of another shape.
    pub fn from_json(self, json: &[u8]) -> Result<Vec<u8>, Error> {
        read::from_json(self.id, json)
    }

    /// Whether wire bytes from outside are a complete message of this type, within the limits, with nothing given twice.
    ///
    /// # Errors
    /// When they are not; all missing required fields are listed at once.
    pub fn check(self, wire: &[u8], limits: Limits) -> Result<(), Error> {
        check::check(self.id, wire, limits)
    }

    /// The same message with nothing given twice, by the rules of protobuf; to be checked.
    ///
    /// # Errors
    /// When the bytes are no message, are nested too deep, or have more parts than the limits allow for.
    pub fn merged(self, wire: &[u8], limits: Limits) -> Result<Vec<u8>, Error> {
        merge::plain(self.id, wire, limits)
    }
}

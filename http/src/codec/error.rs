//! Why a message from outside was refused, and how to say where in it.

use std::fmt;

use super::wire::Malformed;

/// How many missing fields one refusal names; the rest are counted.
pub const MISSING_NAMED_MAX: usize = 16;

/// Characters of a client's own map key or enum name that are repeated in a refusal.
const QUOTED_CHARS_MAX: usize = 64;

/// A refused message. Every one of them answers 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not JSON, or nested deeper than any parser should follow.
    #[error("cannot parse the JSON: {reason}")]
    Syntax {
        /// The parser's words, with line and column.
        reason: String,
    },
    /// Not protobuf, or not of this type.
    #[error("cannot parse the protobuf at {path}: {reason}")]
    Protobuf {
        /// The message in which it happened.
        path: String,
        /// What is wrong there.
        reason: Malformed,
    },
    /// The protobuf library refused what the check before it let pass.
    #[error("cannot parse the protobuf: {reason}")]
    Library {
        /// The library's words.
        reason: String,
    },
    /// JSON of another kind than the field's.
    #[error("{path} wants {wanted}, not {found}")]
    Kind {
        /// The field.
        path: String,
        /// What the field takes.
        wanted: &'static str,
        /// What was there.
        found: &'static str,
    },
    /// A number that the field cannot hold.
    #[error("{path} wants {wanted}, and the number is outside")]
    Range {
        /// The field.
        path: String,
        /// What the field takes.
        wanted: &'static str,
    },
    /// A string that is not the base64 of any bytes.
    #[error("{path} is not base64")]
    Base64 {
        /// The field.
        path: String,
    },
    /// A required enum with a name that this version does not know. Elsewhere such a name leaves the field unset.
    #[error("{path} is required and does not know the name {name}")]
    EnumName {
        /// The field.
        path: String,
        /// The name, quoted and cut.
        name: String,
    },
    /// A singular field or a map key given twice in JSON. Parsers differ in which one they keep, so neither is kept. (Mesos
    /// keeps the last.) In protobuf the rule is known to all, and what is given twice becomes one.
    #[error("{path} is given twice")]
    Twice {
        /// The field, or the map entry.
        path: String,
    },
    /// Messages inside messages beyond [`super::MESSAGE_DEPTH_MAX`].
    #[error("messages are nested deeper than {limit}")]
    Depth {
        /// The bound.
        limit: usize,
    },
    /// What the message would take in memory is beyond the bound of its reader.
    #[error("the message would take more than {limit_bytes} bytes of memory")]
    Memory {
        /// The bound, [`super::Limits::memory_bytes_max`].
        limit_bytes: usize,
    },
    /// Required fields that are not there.
    #[error("missing required fields: {}{}", .paths.join(", "), More(*.more))]
    Missing {
        /// The first [`MISSING_NAMED_MAX`] of them.
        paths: Vec<String>,
        /// How many there are beside those.
        more: usize,
    },
}

struct More(usize);

impl fmt::Display for More {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(formatter, " and {} more", self.0) }
    }
}

/// The way from the outermost message to where the reader is: `accept.operations[2].launch.task_infos[0].limits["cpus"]`.
#[derive(Debug, Default)]
pub(super) struct Path {
    segments: Vec<Segment>,
}

#[derive(Debug)]
pub(super) enum Segment {
    Field(&'static str),
    Index(usize),
    Key(String),
}

impl Path {
    pub(super) fn push(&mut self, segment: Segment) {
        self.segments.push(segment);
    }

    pub(super) fn pop(&mut self) {
        self.segments.pop();
    }

    /// The path of a field of the message that the reader is in.
    pub(super) fn to(&self, field: &str) -> String {
        if self.segments.is_empty() { field.to_owned() } else { format!("{self}.{field}") }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segments.is_empty() {
            return formatter.write_str("the message");
        }
        for (at, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Field(name) if at == 0 => formatter.write_str(name)?,
                Segment::Field(name) => write!(formatter, ".{name}")?,
                Segment::Index(index) => write!(formatter, "[{index}]")?,
                Segment::Key(key) => write!(formatter, "[{}]", quoted(key))?,
            }
        }
        Ok(())
    }
}

/// A client's words in quotes, escaped and cut, fit for a log line.
pub(super) fn quoted(words: &str) -> String {
    let cut: String = words.chars().take(QUOTED_CHARS_MAX).collect();
    let dots = if cut.len() < words.len() { ".." } else { "" };
    format!("{cut:?}{dots}")
}

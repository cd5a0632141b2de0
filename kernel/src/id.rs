//! Identifiers: typed, never bare strings, so that mixing them does not compile.
//!
//! Text ids are what the v1 API shows. They are checked once, where they enter ([`TaskId::parse`] and its siblings, the
//! rule of Mesos's `common/validation.cpp`), are cheap to clone, and travel as plain strings in a frame.

use core::borrow::Borrow;
use core::fmt;
use rkyv::rancor::{Fallible, Source};
use rkyv::ser::Writer;
use rkyv::string::{ArchivedString, StringResolver};
use rkyv::{Archive, Deserialize, Place, Serialize, SerializeUnsized};
use std::sync::Arc;

/// The longest text id in bytes (Linux `NAME_MAX`, as in Mesos: ids become directory names).
pub const ID_BYTES_MAX: usize = 255;

/// Why a text can't be an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("ID must not be empty")]
    Empty,
    /// The text is longer than [`ID_BYTES_MAX`].
    #[error("ID must not be greater than {ID_BYTES_MAX} characters, it has {0}")]
    TooLong(usize),
    /// The text is `.` or `..`, which name directories.
    #[error("'.' and '..' are disallowed as IDs")]
    Dots,
    /// The text holds a control character, a slash or a backslash.
    #[error("ID contains the disallowed character {0:?}")]
    Character(char),
}

/// Checks a text id by the rule of reference 5.1 number 1.
pub fn check(text: &str) -> Result<(), IdError> {
    match text {
        "" => Err(IdError::Empty),
        "." | ".." => Err(IdError::Dots),
        _ if text.len() > ID_BYTES_MAX => Err(IdError::TooLong(text.len())),
        // Nearly every id is of plain ASCII, which is seen at a glance.
        _ if text.bytes().all(|byte| matches!(byte, b' '..=b'.' | b'0'..=b'[' | b']'..=b'~')) => Ok(()),
        _ => match text.chars().find(|c| c.is_control() || matches!(c, '/' | '\\')) {
            Some(character) => Err(IdError::Character(character)),
            None => Ok(()),
        },
    }
}

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes an id from outside, checked.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text).map(|()| Self(text.into()))
            }
            /// An id that our own code made or that was checked before.
            pub fn trusted(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:?}", &*self.0)
            }
        }
        /// Tables keyed by the id answer to its text, so that a look-up from a frame copies nothing.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl Archive for $name {
            type Archived = ArchivedString;
            type Resolver = StringResolver;
            fn resolve(&self, resolver: StringResolver, out: Place<ArchivedString>) {
                ArchivedString::resolve_from_str(&self.0, resolver, out);
            }
        }
        impl<S: Fallible<Error: Source> + Writer + ?Sized> Serialize<S> for $name
        where
            str: SerializeUnsized<S>,
        {
            fn serialize(&self, serializer: &mut S) -> Result<StringResolver, S::Error> {
                ArchivedString::serialize_from_str(&self.0, serializer)
            }
        }
        impl<D: Fallible + ?Sized> Deserialize<$name, D> for ArchivedString {
            fn deserialize(&self, _: &mut D) -> Result<$name, D::Error> {
                Ok($name(self.as_str().into()))
            }
        }
        impl From<&ArchivedString> for $name {
            fn from(archived: &ArchivedString) -> Self {
                Self(archived.as_str().into())
            }
        }
    };
}

text_id!(
    /// A machine's agent, for as long as it keeps its state: `<master id>-S<number>`.
    AgentId
);
text_id!(
    /// A framework: `<master id>-NNNN`, or chosen by the client.
    FrameworkId
);
text_id!(
    /// A task, chosen by its framework and unique in it.
    TaskId
);
text_id!(
    /// An executor, chosen by its framework; the command executor takes its task's id.
    ExecutorId
);
text_id!(
    /// One life of a container: a random UUID.
    ContainerId
);
text_id!(
    /// An operation on resources, chosen by its framework when it wants to hear what becomes of it.
    OperationId
);
text_id!(
    /// One life of a leading master: a random UUID, the prefix of what it names.
    MasterId
);
text_id!(
    /// A resource role, such as `*` or `eng/web`. See [`crate::resource::role`].
    RoleName
);

/// An offer, counted by the master that made it. Printed as `<master id>-O<number>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[rkyv(derive(PartialEq, Eq, Hash, Debug))]
pub struct OfferId(pub u64);

impl OfferId {
    /// The text that clients see.
    pub fn text(self, master: &str) -> String {
        format!("{master}-O{}", self.0)
    }
    /// Reads the text back; `None` when it is not one of this master's offers.
    pub fn parse(text: &str, master: &str) -> Option<Self> {
        let number = text.strip_prefix(master)?.strip_prefix("-O")?;
        let canonical = !number.starts_with('+') && (number == "0" || !number.starts_with('0'));
        canonical.then(|| number.parse().ok().map(Self)).flatten()
    }
}

/// A status update or an operation: sixteen random bytes, as the v1 API carries them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[rkyv(derive(PartialEq, Eq, Debug))]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// A UUID of version 4 from sixteen random bytes (RFC 9562, section 5.4).
    pub const fn random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (position, byte) in self.0.iter().enumerate() {
            at += usize::from(matches!(position, 4 | 6 | 8 | 10));
            for digit in [byte >> 4, byte & 15] {
                text[at] = b"0123456789abcdef"[digit as usize];
                at += 1;
            }
        }
        formatter.write_str(core::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Position of an agent in the leading master's tables. Never reused within one incarnation of the master; what the
/// master and its allocator say to each other carries these in place of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[rkyv(derive(PartialEq, Eq, Hash, Debug))]
pub struct AgentIndex(pub u32);

/// Position of a framework in the leading master's tables, with the same promise as [`AgentIndex`]. It is also the
/// index in the address of the framework's proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[rkyv(derive(PartialEq, Eq, Hash, Debug))]
pub struct FrameworkIndex(pub u32);

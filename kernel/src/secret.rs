//! What only the program that it is meant for reads: no state, event or log shows it (`Secret` of the v1 API).

use core::fmt;
use rkyv::{Archive, Deserialize, Serialize};

/// A secret: itself, or where the agent that needs it finds it.
#[derive(Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Secret {
    /// Its bytes. One for an environment is a text without NUL.
    Value(Vec<u8>),
    /// Its name: the agent asks its resolver for the bytes when it launches.
    Reference(SecretReference),
}

/// The name of a secret (`Secret.Reference`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct SecretReference {
    /// Which.
    pub name: String,
    /// Which part of it, where it has parts.
    pub key: Option<String>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => formatter.write_str("(secret)"),
            Self::Reference(reference) => reference.fmt(formatter),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "'{}'", self.name.escape_default())?;
        self.key.as_ref().map_or(Ok(()), |key| write!(formatter, " (key '{}')", key.escape_default()))
    }
}

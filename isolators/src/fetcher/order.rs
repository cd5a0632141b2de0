//! What the agent tells a worker, and what the worker says.

use super::bounds::Bounds;
use crate::launcher::description::User;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

/// The largest order in bytes: a thousand long URIs.
pub(super) const ORDER_BYTES_MAX: usize = 16 << 20;

/// Everything that a worker must know. Travels as its length (four bytes, little endian) and JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Absolute.
    pub(super) work_directory: PathBuf,
    /// Where things are put, below it; none for a worker that only fills the cache.
    pub(super) sandbox: Option<String>,
    /// Whom to become before anything foreign is touched.
    pub(super) user: Option<User>,
    pub(super) stall_timeout: Duration,
    pub(super) frameworks_home: Option<PathBuf>,
    pub(super) bounds: Bounds,
    pub(super) jobs: Vec<Job>,
}

/// One thing to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Job {
    /// Bring it into a file of the cache, which must not be there yet. Room is asked for before it is taken.
    Keep {
        /// The URI.
        from: String,
        /// The URI without its secrets, for people.
        shown: String,
        /// The file.
        path: PathBuf,
    },
    /// Bring it into the sandbox.
    Place {
        /// Where from.
        from: Source,
        /// The URI without its secrets, for people.
        shown: String,
        /// Its path in the sandbox.
        name: String,
        /// Whether it may be executed.
        executable: bool,
        /// Whether it is unpacked if its name says that it is an archive.
        extract: bool,
    },
}

/// Where something comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Source {
    /// From the outside.
    Uri(String),
    /// From a file of the cache.
    Kept(PathBuf),
}

/// What a worker says, one JSON text a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// May I keep so many bytes more? Answered by one byte: 1 for yes, 0 for no.
    Room {
        /// How many.
        bytes: u64,
    },
    /// There was no room.
    NoRoom,
    /// All is done.
    Done,
    /// Something could not be fetched; nothing after it was tried.
    Failed {
        /// What and why.
        reason: String,
    },
}

impl Order {
    pub(super) fn write(&self) -> io::Result<Vec<u8>> {
        write(self)
    }
}

/// An order in the form in which it travels.
pub(crate) fn write(order: &impl Serialize) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(order)?;
    if body.len() > ORDER_BYTES_MAX {
        let text = format!("the order takes {} bytes, at most {ORDER_BYTES_MAX} go", body.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    Ok([&length[..], &body].concat())
}

/// Reads an order.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > ORDER_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the order is too large"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

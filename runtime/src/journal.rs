//! Journals: what an actor finds again after a panic, a restart or a crash (laws L4, L5).
//!
//! A [`Journal`] keeps one ordered table per actor. [`SledJournal`] is the default, on sled with the safeguards that its
//! format lacks; [`MemoryJournal`] is its twin for hosts without a disk and for tests, with crashes and torn writes on
//! demand. One conformance suite runs over both. `JournalThread` is the one writer of a host: it gathers the batches of
//! all actors that wait, writes one batch per actor, flushes once, and only then lets the outcomes come back.
//!
//! A journal is named by kind and index, without the host: a host's id is new in each life of its process, its standing
//! actors find their tables again. Children are numbered anew by each incarnation of their parent, so the host forgets
//! the table of a child when it is spawned and when it ends.
//!
//! What is left to others: replication (the registrar), and what to do with a damaged directory ([`Error::advice`]).

mod digest;
mod memory;
mod sled;
mod snapshot;
mod thread;
mod witness;

pub use memory::{MemoryDisk, MemoryJournal, Survivors};
pub use sled::SledJournal;
pub use snapshot::{export, export_file, import, import_file};
pub(crate) use thread::{Command, JournalQueue};

use kaon_kernel::actor::{ActorKind, Address, Batch, Record};
use std::fmt;
use std::path::PathBuf;

/// The name of one actor's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalName {
    /// What the actor is.
    pub kind: ActorKind,
    /// Which of its kind.
    pub index: u32,
}

impl From<Address> for JournalName {
    fn from(address: Address) -> Self {
        Self { kind: address.kind, index: address.index }
    }
}

impl fmt::Display for JournalName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.kind.word(), self.index)
    }
}

impl JournalName {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (word, index) = text.split_once('.')?;
        let kind = ActorKind::of_word(word)?;
        Some(Self { kind, index: index.parse().ok()? })
    }
}

/// The storage under a host. One thread uses it; every call may block.
pub trait Journal: Send {
    /// The tables that hold anything.
    fn names(&mut self) -> Result<Vec<JournalName>, Error>;

    /// All that a table holds, in ascending order of keys, checked: every value, their number, and that nothing which
    /// was acknowledged is missing.
    fn replay(&mut self, name: JournalName) -> Result<Vec<Record>, Error>;

    /// Writes batches in order, all of them or none. Not durable before [`Journal::flush`] returns.
    fn write(&mut self, name: JournalName, batches: &[Batch]) -> Result<(), Error>;

    /// Makes durable what was written. After an error nothing that was not flushed before counts as written.
    fn flush(&mut self) -> Result<(), Error>;

    /// Empties a table for good. Costs a flush when there was one, nothing otherwise.
    fn forget(&mut self, name: JournalName) -> Result<(), Error>;
}

/// What can go wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process works in the directory.
    #[error("journal directory {} is in use by another process", directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// The file system refused.
    #[error("{what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The store refused.
    #[error("{what} in the journal")]
    Store {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: ::sled::Error,
    },
    /// The store panicked: on damaged data it does so in place of an error (sled issue 1387).
    #[error("the journal's store panicked in {what}: {message}")]
    Panicked {
        /// What was tried.
        what: &'static str,
        /// What it said.
        message: String,
    },
    /// An earlier flush failed; nobody knows what is on disk until the directory is opened again.
    #[error("the journal is closed after a failed flush: {0}")]
    Broken(String),
    /// What was read is not what was written.
    #[error("journal of {name} is damaged: {what}")]
    Damaged {
        /// Whose.
        name: JournalName,
        /// What does not fit.
        what: String,
    },
    /// The witness beside the store is damaged or missing.
    #[error("witness {} is damaged: {what}", path.display())]
    Witness {
        /// Its path.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The table is whole but older than what was acknowledged.
    #[error("journal of {name} went back to write {found}, write {acknowledged} was acknowledged")]
    RolledBack {
        /// Whose.
        name: JournalName,
        /// The last write in the store; zero when the table is gone.
        found: u64,
        /// The last write that the witness knows of.
        acknowledged: u64,
    },
    /// A file is not a whole snapshot.
    #[error("not a whole snapshot: {0}")]
    Snapshot(String),
    /// Injected by a test.
    #[error("injected fault: {0}")]
    Injected(&'static str),
}

impl Error {
    /// What an operator, or the program, should do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "stop the other process, or give each its own directory",
            Self::File { .. } | Self::Store { .. } | Self::Broken(_) => {
                "check that the disk has room and is writable, then start again"
            }
            Self::Panicked { .. } | Self::Damaged { .. } | Self::Witness { .. } | Self::RolledBack { .. } => {
                "do not go on from this directory, acknowledged state may be missing: set it aside; a master then \
                 rejoins its peers as a new replica, an agent registers afresh, or import the last snapshot"
            }
            Self::Snapshot(_) => "import another snapshot; nothing was changed by this one",
            Self::Injected(_) => "none: a test asked for it",
        }
    }

    /// The error with all its causes, for a log line or an outcome.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

#[cfg(test)]
mod tests;

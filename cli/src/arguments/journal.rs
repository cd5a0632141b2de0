//! `kaon journal`: the backup of what a master or an agent keeps.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `kaon journal`.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Journal {
    /// Write all that the journal of a stopped master or agent holds into one file.
    #[command(after_help = "Example:\n  kaon journal export .kaon/master-1 registry.backup")]
    Export(JournalFile),
    /// Fill the journal of a new master or agent from such a file.
    Import(JournalFile),
}

/// A directory and a file.
#[derive(Args, Debug, Clone)]
pub(crate) struct JournalFile {
    /// The directory of the master or agent, as its `--dir` has it.
    pub(crate) dir: PathBuf,
    /// The file. Export replaces it once the new one is whole and on disk.
    pub(crate) file: PathBuf,
}

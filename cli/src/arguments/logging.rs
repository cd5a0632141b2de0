//! Where a process logs.

use clap::Args;
use std::path::PathBuf;

/// What a process is told of its own log.
#[derive(Args, Debug, Clone)]
pub(crate) struct Logging {
    /// The file that its stderr goes to, if any: operators read it through the API.
    #[arg(long, env = "KAON_EXTERNAL_LOG_FILE", value_name = "FILE")]
    pub(crate) external_log_file: Option<PathBuf>,
}

//! Arguments of the simulator's smaller commands.

use clap::Args;
use std::path::PathBuf;

/// `kaon sim convert`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Convert {
    /// What the file is; `kaon sim list` names the formats that scenarios read.
    #[arg(value_name = "FORMAT", value_parser = kaon_sim::workload::convert::FORMATS.map(|(name, _)| name))]
    pub(crate) format: String,
    /// The file: plain, gzip or zstd.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where the native table goes; standard output when not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Count bad rows and go on, in place of stopping at the first.
    #[arg(long)]
    pub(crate) lenient: bool,
}

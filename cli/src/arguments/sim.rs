//! Arguments of the simulator's smaller commands.

use super::Scenario;
use clap::Args;
use std::path::PathBuf;

/// `kaon sim convert`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Convert {
    /// What the file is, or `auto`: told by how it begins.
    #[arg(value_name = "FORMAT", value_parser = formats())]
    pub(crate) format: String,
    /// The file: plain, gzip, zstd or Parquet.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where the native table goes, as CSV, or as Parquet when the name ends in `.parquet`; standard output when not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Count bad rows and go on, in place of stopping at the first.
    #[arg(long)]
    pub(crate) lenient: bool,
}

/// `kaon sim list`.
#[derive(Args, Debug, Clone)]
pub(crate) struct SimList {
    /// List the keys of scenarios, too.
    #[arg(long)]
    pub(crate) keys: bool,
}

/// `kaon sim check`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Check {
    /// The scenario: a file, or the name of one that is shipped.
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: PathBuf,
    /// What must hold of the means, such as `jct.p99 < 600` or `fgd:gpu_allocation_ratio > 95`; may be given again.
    #[arg(long = "assert", value_name = "ASSERTION", required = true)]
    pub(crate) assertions: Vec<String>,
    /// Write the verdicts as a JUnit report.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// The seeds, such as `1-10`; the scenario's when not given.
    #[arg(long)]
    pub(crate) seeds: Option<String>,
    #[command(flatten)]
    pub(crate) how: Scenario,
}

/// The names of the formats, and the word for none.
fn formats() -> clap::builder::PossibleValuesParser {
    use kaon_sim::workload::convert::{AUTO, FORMATS};
    FORMATS.iter().map(|(name, _)| *name).chain([AUTO]).collect::<Vec<_>>().into()
}

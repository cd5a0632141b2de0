//! `kaon sim convert`: any format of workloads and nodes to the native one.

use crate::arguments::Convert;
use anyhow::Result;
use kaon_sim::workload::convert::{Written, convert};
use kaon_sim::workload::rows::Strictness;
use std::fs::File;
use std::io::{BufWriter, Write, stdout};

/// Converts, and tells on stderr what was left out.
pub(super) fn run(arguments: &Convert) -> Result<()> {
    let strictness = if arguments.lenient { Strictness::Lenient } else { Strictness::Strict };
    let is_parquet = |path: &std::path::PathBuf| path.extension().is_some_and(|ending| ending == "parquet");
    let written = if arguments.out.as_ref().is_some_and(is_parquet) { Written::Parquet } else { Written::Csv };
    let skipped = match &arguments.out {
        None => convert(&arguments.format, &arguments.file, strictness, written, &mut stdout().lock())?,
        Some(path) => {
            // A file that is only half a table must not be taken for a whole one.
            let fill = |file: &mut File| {
                let mut out = BufWriter::new(file);
                let skipped = convert(&arguments.format, &arguments.file, strictness, written, &mut out)?;
                out.flush()?;
                Ok(skipped)
            };
            let told = |error| anyhow::Error::new(error).context(format!("can't write {}", path.display()));
            kaon_runtime::replace_file(path, fill, told)?
        }
    };
    if skipped.rows > 0 {
        eprintln!("{} rows left out", skipped.rows);
    }
    skipped.shown.iter().for_each(|note| eprintln!("  {note}"));
    Ok(())
}

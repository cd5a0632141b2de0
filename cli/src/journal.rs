//! `kaon journal export|import`: the whole journal of a host that does not run, as one checked file. Whoever runs it holds
//! the journal's lock, so that neither side can change meanwhile.

use crate::arguments::{Journal, JournalFile};
use crate::host;
use crate::table::say;
use anyhow::{Context, Result, anyhow, bail};
use kaon_runtime::journal::{Error, export_file, import_file};

/// Runs one of them.
pub(crate) fn run(command: &Journal) -> Result<()> {
    let told = |error: Error| anyhow!("{}", error.chain());
    match command {
        Journal::Export(JournalFile { dir, file }) => {
            let directory = dir.join(host::JOURNAL_DIRECTORY);
            if !directory.is_dir() {
                bail!("{} holds no journal; give the --dir of a master or an agent", dir.display());
            }
            let entries = export_file(&mut *host::journal(&directory)?, file).map_err(told)?;
            say(format_args!("{entries} entries in {}", file.display()))?;
        }
        Journal::Import(JournalFile { dir, file }) => {
            std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
            let mut journal = host::journal(&dir.join(host::JOURNAL_DIRECTORY))?;
            let entries = import_file(&mut *journal, file).map_err(told)?;
            say(format_args!("{entries} entries from {}", file.display()))?;
        }
    }
    Ok(())
}

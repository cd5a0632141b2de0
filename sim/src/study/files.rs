//! What a study reads and writes besides scenarios: hashes of inputs, tables, the summary, the report.

use super::error::Error;
use super::report;
use super::runner::Findings;
use super::summary::{Input, SUMMARY_FILE};
use crate::table::Table;
use crate::workload::shipped;
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

/// The report's name in the folder of a study.
pub const REPORT_FILE: &str = "report.html";

/// An input with the hash of its bytes.
pub(super) fn input(path: &Path) -> Result<Input, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut file: Box<dyn Read> = match shipped::bytes(path) {
        Some(bytes) => Box::new(bytes),
        None => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            read => context.update(&buffer[..read]),
        }
    }
    let mut sha256 = String::new();
    for byte in context.finish().as_ref() {
        write!(sha256, "{byte:02x}").expect("a text takes what is written");
    }
    Ok(Input { path: path.to_string_lossy().into_owned(), sha256 })
}

/// Makes the folder of a study.
pub(super) fn folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn put(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    std::fs::write(path, bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Writes the tables of one run: `tasks/POLICY-SEED` and `intervals/POLICY-SEED`, each as CSV and as Parquet.
pub(super) fn tables(out: &Path, policy: &str, seed: u64, tables: &[(&str, Option<&Table>)]) -> Result<(), Error> {
    for (kind, table) in tables {
        let Some(table) = table else { continue };
        let folder = out.join(kind);
        self::folder(&folder)?;
        put(&folder.join(format!("{policy}-{seed}.csv")), table.to_csv())?;
        put(&folder.join(format!("{policy}-{seed}.parquet")), crate::table::write::file(table))?;
    }
    Ok(())
}

/// Writes the summary and the report.
pub(super) fn write(out: &Path, findings: &Findings) -> Result<(), Error> {
    let path = out.join(SUMMARY_FILE);
    let mut text = serde_json::to_string_pretty(&findings.summary)
        .map_err(|error| Error::Record { path: path.clone(), why: error.to_string() })?;
    text.push('\n');
    put(&path, text)?;
    put(&out.join(REPORT_FILE), report::html(findings))
}

/// The machine's processor by its own name; empty when nobody says.
pub(super) fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    line.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned()).unwrap_or_default()
}

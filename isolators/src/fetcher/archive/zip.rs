//! Zip, with stored and deflated entries: the rules are those of tar.

use super::super::bounds::Budget;
use super::super::error::Error;
use super::super::name::shown;
use super::super::tree::{TARGET_BYTES_MAX, Tree};
use super::copy;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use zip::ZipArchive;
use zip::result::ZipError;

/// The fixed part of the record at the end, and the longest comment after it, in bytes.
const END_BYTES: u64 = 22;
const COMMENT_BYTES_MAX: u64 = 65_535;

/// The kinds of a Unix mode.
const KIND_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// The modes of what was packed elsewhere than on Unix.
const MODE_FILE: u32 = 0o644;
const MODE_DIRECTORY: u32 = 0o755;

/// Unpacks a zip archive.
pub(super) fn unpack(mut file: File, tree: &mut Tree, budget: &mut Budget) -> Result<(), Error> {
    // Before the directory is read into memory.
    budget.entries_announced(entries(&mut file)?)?;
    file.rewind().map_err(Error::io("read the archive"))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    for index in 0..archive.len() {
        budget.entry()?;
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let path = entry.name_raw().to_owned();
        let refuse = |what| Err(Error::Entry { path: shown(&path), what });
        let mode = entry.unix_mode();
        let kind = mode.map_or(0, |mode| mode & KIND_MASK);
        if entry.is_dir() || kind == DIRECTORY {
            tree.directory(&path, mode.unwrap_or(MODE_DIRECTORY))?;
            continue;
        }
        match kind {
            0 | FILE => {
                budget.announced(entry.size())?;
                let mut to = tree.file(&path, mode.filter(|mode| mode & 0o777 != 0).unwrap_or(MODE_FILE))?;
                copy(&mut entry, &mut to, budget)?;
            }
            LINK => {
                let mut target = Vec::new();
                let most = TARGET_BYTES_MAX as u64 + 1;
                entry
                    .by_ref()
                    .take(most)
                    .read_to_end(&mut target)
                    .map_err(|error| Error::Damaged(error.to_string()))?;
                tree.symbolic_link(&path, &target)?;
            }
            _ => return refuse("a device, a pipe or something else that is no file"),
        }
    }
    Ok(())
}

fn damaged(error: ZipError) -> Error {
    Error::Damaged(error.to_string())
}

/// How many entries the record at the end announces.
fn entries(file: &mut File) -> Result<u64, Error> {
    let failed = |error: std::io::Error| Error::Damaged(error.to_string());
    let length = file.metadata().map_err(failed)?.len();
    let start = length.saturating_sub(END_BYTES + COMMENT_BYTES_MAX);
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    let mut tail = Vec::new();
    file.take(END_BYTES + COMMENT_BYTES_MAX).read_to_end(&mut tail).map_err(failed)?;
    let end = tail.windows(4).rposition(|four| four == b"PK\x05\x06");
    let end = end.filter(|end| tail.len() - end >= END_BYTES as usize);
    let end = end.ok_or_else(|| Error::Damaged("it has no end".to_owned()))?;
    match u16::from_le_bytes([tail[end + 10], tail[end + 11]]) {
        u16::MAX => many_entries(file, &tail[..end]),
        entries => Ok(entries.into()),
    }
}

/// The count of an archive that needs more than 16 bits for it: the record before the end says where it is.
fn many_entries(file: &mut File, before: &[u8]) -> Result<u64, Error> {
    const LOCATOR_BYTES: usize = 20;
    let locator = before.len().checked_sub(LOCATOR_BYTES).map(|at| &before[at..]);
    let Some(locator) = locator.filter(|locator| locator.starts_with(b"PK\x06\x07")) else {
        return Ok(u16::MAX.into());
    };
    let mut eight = [0; 8];
    eight.copy_from_slice(&locator[8..16]);
    let mut record = [0; 40];
    file.seek(SeekFrom::Start(u64::from_le_bytes(eight)))
        .and_then(|_| file.read_exact(&mut record))
        .map_err(|error| Error::Damaged(error.to_string()))?;
    eight.copy_from_slice(&record[32..40]);
    match record.starts_with(b"PK\x06\x06") {
        true => Ok(u64::from_le_bytes(eight)),
        false => Err(Error::Damaged("its end leads nowhere".to_owned())),
    }
}

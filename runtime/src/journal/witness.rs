//! The witness: a small file beside the store that remembers what was acknowledged.
//!
//! Why: damaged, sled may open an earlier state and say nothing. The witness holds the number of the last acknowledged
//! write of each table; a store that opens with less went back.
//!
//! Cost: each flush appends 24 bytes per table that it wrote, with one `write(2)` and without an fsync, so that a batch
//! costs one fsync as before. That survives the death of the process in any form, and it is written after the store's
//! flush, so it never claims too much. A loss of power may take its tail: what was acknowledged since the last rewrite is
//! then not covered. The file is rewritten durably (temporary file, fsync, rename, fsync of the directory) when it is
//! opened, closed, when a table is forgotten, and each time it has grown by [`GROWTH_BYTES_MAX`].
//!
//! A record that is not whole at the very end is the tear of a crash. Anywhere else it is damage.

use super::{Error, JournalName};
use crate::whole::replace_file;
use kaon_kernel::actor::ActorKind;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How much is appended before the file is rewritten: 2,700 records.
const GROWTH_BYTES_MAX: usize = 64 << 10;

const MAGIC: &[u8; 8] = b"KAONWIT1";
const RECORD_BYTES: usize = 24;

/// See the module's text.
pub(super) struct Witness {
    path: PathBuf,
    file: File,
    last: BTreeMap<JournalName, u64>,
    grown_bytes: usize,
}

impl Witness {
    /// Reads the witness at `path`; `None` when there is no file.
    pub(super) fn read(path: &Path) -> Result<Option<BTreeMap<JournalName, u64>>, Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { what: "reading", path: path.to_owned(), source }),
        };
        let damaged = |what: &str| Error::Witness { path: path.to_owned(), what: what.to_owned() };
        let records = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as one"))?;
        let mut last = BTreeMap::new();
        let mut torn = false;
        for record in records.chunks(RECORD_BYTES) {
            if torn {
                return Err(damaged("a record in its middle is not whole"));
            }
            match parse(record) {
                Some((name, sequence)) => {
                    let known = last.entry(name).or_insert(sequence);
                    *known = sequence.max(*known);
                }
                None => torn = true,
            }
        }
        Ok(Some(last))
    }

    /// Writes a witness that knows `last`, in place of what was there.
    pub(super) fn create(path: &Path, last: BTreeMap<JournalName, u64>) -> Result<Self, Error> {
        let file = write_whole(path, &last)?;
        Ok(Self { path: path.to_owned(), file, last, grown_bytes: 0 })
    }

    /// These writes are on disk.
    pub(super) fn acknowledge(&mut self, writes: &[(JournalName, u64)]) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(writes.len() * RECORD_BYTES);
        for &(name, sequence) in writes {
            self.last.insert(name, sequence);
            bytes.extend_from_slice(&record(name, sequence));
        }
        let written = self.file.write_all(&bytes);
        written.map_err(|source| Error::File { what: "appending to", path: self.path.clone(), source })?;
        self.grown_bytes += bytes.len();
        if self.grown_bytes > GROWTH_BYTES_MAX { self.rewrite() } else { Ok(()) }
    }

    /// A table is about to be emptied: from now on it may be missing.
    pub(super) fn forget(&mut self, name: JournalName) -> Result<(), Error> {
        if self.last.remove(&name).is_some() { self.rewrite() } else { Ok(()) }
    }

    /// Makes durable what it knows.
    pub(super) fn rewrite(&mut self) -> Result<(), Error> {
        self.file = write_whole(&self.path, &self.last)?;
        self.grown_bytes = 0;
        Ok(())
    }
}

/// Replaces the file at `path`, durably, and returns it open at its end.
fn write_whole(path: &Path, last: &BTreeMap<JournalName, u64>) -> Result<File, Error> {
    let mut bytes = MAGIC.to_vec();
    for (&name, &sequence) in last {
        bytes.extend_from_slice(&record(name, sequence));
    }
    let told = |source| Error::File { what: "replacing", path: path.to_owned(), source };
    replace_file(path, |file| file.write_all(&bytes).map_err(told), told)?;
    let opened = OpenOptions::new().append(true).open(path);
    opened.map_err(|source| Error::File { what: "opening", path: path.to_owned(), source })
}

fn record(name: JournalName, sequence: u64) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[0..2].copy_from_slice(&(name.kind as u16).to_le_bytes());
    bytes[4..8].copy_from_slice(&name.index.to_le_bytes());
    bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..16]);
    bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<(JournalName, u64)> {
    let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
    let kind = ActorKind::from_number(u16::from_le_bytes([bytes[0], bytes[1]]))?;
    let index = u32::from_le_bytes(bytes[4..8].try_into().ok()?);
    let sequence = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
    let name = JournalName { kind, index };
    (record(name, sequence) == *bytes).then_some((name, sequence))
}

//! A whole journal as one checksummed file: on a schedule, and before an upgrade of the store.
//!
//! ```text
//! "KAONSNP1"
//! one entry each: 1, kind u16, index u32, key length u32, value length u32, key, value, CRC32C of all of this
//! 0, number of entries u64, CRC32C of both
//! ```
//! Little endian. A file without its end is refused whole.

use super::{Error, Journal, JournalName};
use crate::whole::replace_file;
use kaon_kernel::actor::{ActorKind, Batch};
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const MAGIC: &[u8; 8] = b"KAONSNP1";

/// The largest key or value that is read from a snapshot, in bytes: a frame's body and some.
const PART_BYTES_MAX: u32 = 32 << 20;

/// How many entries are written to a journal in one batch when a snapshot comes in.
const BATCH_ENTRIES: usize = 1024;

/// Writes all that `journal` holds and returns how many entries that was.
pub fn export(journal: &mut dyn Journal, out: &mut dyn Write) -> Result<u64, Error> {
    let write_error = |error: io::Error| Error::Snapshot(format!("writing it: {error}"));
    let mut count = 0u64;
    out.write_all(MAGIC).map_err(write_error)?;
    for name in journal.names()? {
        for record in journal.replay(name)? {
            let mut entry = vec![1];
            entry.extend_from_slice(&(name.kind as u16).to_le_bytes());
            entry.extend_from_slice(&name.index.to_le_bytes());
            entry.extend_from_slice(&(record.key.len() as u32).to_le_bytes());
            entry.extend_from_slice(&(record.value.len() as u32).to_le_bytes());
            entry.extend_from_slice(&record.key);
            entry.extend_from_slice(&record.value);
            entry.extend_from_slice(&crc32c::crc32c(&entry).to_le_bytes());
            out.write_all(&entry).map_err(write_error)?;
            count += 1;
        }
    }
    let mut end = vec![0];
    end.extend_from_slice(&count.to_le_bytes());
    end.extend_from_slice(&crc32c::crc32c(&end).to_le_bytes());
    out.write_all(&end).map_err(write_error)?;
    Ok(count)
}

/// Writes a snapshot to a file: the old one stays until the new one is whole and durable.
pub fn export_file(journal: &mut dyn Journal, path: &Path) -> Result<u64, Error> {
    let told = |source| Error::File { what: "replacing", path: path.to_owned(), source };
    let fill = |file: &mut File| {
        let is_file = file.metadata().map_err(told)?.is_file();
        if is_file {
            // As the journal itself, it is for its owner alone.
            file.set_permissions(Permissions::from_mode(0o600)).map_err(told)?;
        }
        let mut out = BufWriter::new(file);
        let count = export(journal, &mut out)?;
        out.flush().map(|()| count).map_err(told)
    };
    replace_file(path, fill, told)
}

/// Brings a snapshot into an empty journal and returns how many entries it had. The whole of it is read and checked
/// before anything is written.
pub fn import(journal: &mut dyn Journal, input: &mut dyn Read) -> Result<u64, Error> {
    if !journal.names()?.is_empty() {
        return Err(Error::Snapshot("the journal is not empty".to_owned()));
    }
    let tables = parse(input)?;
    let mut count = 0;
    for (name, entries) in tables {
        for entries in entries.chunks(BATCH_ENTRIES) {
            let mut batch = Batch::default();
            entries.iter().for_each(|(key, value)| batch.put(key.as_slice(), value.as_slice()));
            count += entries.len() as u64;
            journal.write(name, &[batch])?;
        }
    }
    journal.flush()?;
    Ok(count)
}

/// Brings a snapshot in from a file.
pub fn import_file(journal: &mut dyn Journal, path: &Path) -> Result<u64, Error> {
    let opened = File::open(path);
    let file = opened.map_err(|source| Error::File { what: "opening", path: path.to_owned(), source })?;
    import(journal, &mut BufReader::new(file))
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn parse(input: &mut dyn Read) -> Result<BTreeMap<JournalName, Entries>, Error> {
    let mut input = Input { input, checksum: 0 };
    if &input.array::<8>()? != MAGIC {
        return Err(Error::Snapshot("it does not begin as one".to_owned()));
    }
    let mut tables: BTreeMap<JournalName, Entries> = BTreeMap::new();
    let mut count = 0;
    loop {
        input.checksum = 0;
        match input.array::<1>()? {
            [1] => {
                let kind = u16::from_le_bytes(input.array()?);
                let index = u32::from_le_bytes(input.array()?);
                let lengths = (u32::from_le_bytes(input.array()?), u32::from_le_bytes(input.array()?));
                let key = input.bytes(lengths.0)?;
                let value = input.bytes(lengths.1)?;
                input.check()?;
                let kind = ActorKind::from_number(kind);
                let kind = kind.ok_or_else(|| Error::Snapshot("an actor of an unknown kind".to_owned()))?;
                tables.entry(JournalName { kind, index }).or_default().push((key, value));
                count += 1;
            }
            [0] => {
                let written = u64::from_le_bytes(input.array()?);
                input.check()?;
                if written != count {
                    return Err(Error::Snapshot(format!("{count} entries, {written} were written")));
                }
                if !input.is_over()? {
                    return Err(Error::Snapshot("something follows its end".to_owned()));
                }
                return Ok(tables);
            }
            [other] => return Err(Error::Snapshot(format!("mark {other}"))),
        }
    }
}

struct Input<'a> {
    input: &'a mut dyn Read,
    /// Of what was read since the last mark.
    checksum: u32,
}

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|error| Error::Snapshot(error.to_string()))?;
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes);
        Ok(bytes)
    }

    fn bytes(&mut self, length: u32) -> Result<Vec<u8>, Error> {
        if length > PART_BYTES_MAX {
            return Err(Error::Snapshot(format!("a part of {length} bytes, at most {PART_BYTES_MAX} are allowed")));
        }
        let mut bytes = vec![0; length as usize];
        self.input.read_exact(&mut bytes).map_err(|error| Error::Snapshot(error.to_string()))?;
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes);
        Ok(bytes)
    }

    fn is_over(&mut self) -> Result<bool, Error> {
        let read = self.input.take(1).read_to_end(&mut Vec::new());
        read.map(|bytes| bytes == 0).map_err(|error| Error::Snapshot(error.to_string()))
    }

    fn check(&mut self) -> Result<(), Error> {
        let computed = self.checksum;
        let written = u32::from_le_bytes(self.array()?);
        if computed == written { Ok(()) } else { Err(Error::Snapshot("a checksum differs".to_owned())) }
    }
}

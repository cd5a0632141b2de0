//! What the registrar has on disk, record by record, and the checks that it passes before it is believed.
//!
//! | key | value |
//! |---|---|
//! | `c` | the charter: whose journal it is, and who votes |
//! | `e` + index | one entry: its term, and the archive of its operation |
//! | `h` | the hard state: term, vote, commit |
//! | `s` | the snapshot: the registry as of an index, and where the log begins |
//!
//! Every value begins with a version and ends with a checksum over key and value. The journal's store has its own; this
//! one also notices a record that came back under another key or from another time, and costs little. Numbers are little
//! endian, the index in a key is big endian, so that entries come back in order.
//!
//! Nothing damaged is repaired here: a voter that has forgotten what it promised must not vote.

use kaon_kernel::actor::{Batch, Record};
use kaon_kernel::frame::Buffer;
use kaon_kernel::message::registrar::{Registry, RegistryOperation};
use rkyv::Archive;

/// Version of the records' layout, also when [`RegistryOperation`] or [`Registry`] change theirs.
const VERSION: u8 = 2;

/// The largest index and term that are believed; beyond lies damage.
pub(super) const COUNT_MAX: u64 = 1 << 60;

const CHARTER: &[u8] = b"c";
const HARD: &[u8] = b"h";
const SNAPSHOT: &[u8] = b"s";
const ENTRY: u8 = b'e';

/// Why a journal is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key that no registrar writes.
    #[error("record {0:?} is not of a registrar")]
    Key(Vec<u8>),
    /// A value that its checksum or its own form contradicts.
    #[error("the {0} is damaged")]
    Value(&'static str),
    /// A value in another layout.
    #[error("the {what} is of version {version}, this build knows {VERSION}")]
    Version {
        /// Which record.
        what: &'static str,
        /// Its version.
        version: u8,
    },
    /// There are records, and not the one that every journal has.
    #[error("the {0} is missing")]
    Missing(&'static str),
    /// It was written by another voter, or for another group.
    #[error(
        "it belongs to registrar {number} of the group {voters:?}, and the configuration says registrar {configured} of {group:?}"
    )]
    Foreign {
        /// Whose it is.
        number: u64,
        /// Its group.
        voters: Vec<u64>,
        /// Who starts.
        configured: u64,
        /// The group that is configured.
        group: Vec<u64>,
    },
    /// Entries are gone.
    #[error("entries {from} to {to} are missing")]
    Gap {
        /// The first that is gone.
        from: u64,
        /// The last that is known to be gone.
        to: u64,
    },
    /// Two records contradict each other.
    #[error("contradiction: {0}")]
    Contradiction(&'static str),
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) index: u64,
    pub(super) term: u64,
}

/// Whose journal it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Charter {
    pub(super) number: u64,
    /// Ascending.
    pub(super) voters: Vec<u64>,
}

/// What a voter may never forget. `commit` may lag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hard {
    pub(super) term: u64,
    pub(super) vote: u64,
    pub(super) commit: u64,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) mark: Mark,
    /// The archive of the operation, or nothing.
    pub(super) operation: Vec<u8>,
}

/// The registry as of a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Portrait {
    pub(super) mark: Mark,
    /// The entry before the first that is kept: at or before `mark`.
    pub(super) floor: Mark,
    /// The archive of the registry.
    pub(super) registry: Vec<u8>,
}

/// A whole journal, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Journal {
    pub(super) hard: Hard,
    pub(super) portrait: Option<Portrait>,
    /// Without a gap from the floor on.
    pub(super) lines: Vec<Line>,
}

/// Reads and checks a journal; `None` when it is empty. Linear cost.
pub(super) fn load(records: &[Record], charter: &Charter) -> Result<Option<Journal>, Error> {
    if records.is_empty() {
        return Ok(None);
    }
    let mut journal = Journal::default();
    let (mut found, mut hard) = (None, None);
    for record in records {
        match record.key.as_slice() {
            CHARTER => found = Some(read_charter(&record.value)?),
            HARD => hard = Some(read_hard(&record.value)?),
            SNAPSHOT => journal.portrait = Some(read_portrait(&record.value)?),
            [ENTRY, index @ ..] if index.len() == 8 => {
                journal.lines.push(read_line(&record.key, index, &record.value)?)
            }
            key => return Err(Error::Key(key.to_vec())),
        }
    }
    let found = found.ok_or(Error::Missing("charter"))?;
    if found != *charter {
        let (configured, group) = (charter.number, charter.voters.clone());
        return Err(Error::Foreign { number: found.number, voters: found.voters, configured, group });
    }
    journal.hard = hard.ok_or(Error::Missing("hard state"))?;
    check(&journal)?;
    Ok(Some(journal))
}

/// The story that the records tell must have no hole and no contradiction.
fn check(journal: &Journal) -> Result<(), Error> {
    let hard = journal.hard;
    let floor = journal.portrait.as_ref().map_or(Mark::default(), |portrait| portrait.floor);
    let mut last = floor;
    for line in &journal.lines {
        if line.mark.index <= last.index {
            return Err(Error::Contradiction("an entry before the beginning of the log"));
        }
        if line.mark.index != last.index + 1 {
            return Err(Error::Gap { from: last.index + 1, to: line.mark.index - 1 });
        }
        if line.mark.term < last.term {
            return Err(Error::Contradiction("an entry of an older term than the one before it"));
        }
        last = line.mark;
    }
    if last.term > hard.term {
        return Err(Error::Contradiction("an entry of a newer term than the hard state"));
    }
    if let Some(portrait) = &journal.portrait {
        if portrait.mark.index > last.index {
            return Err(Error::Gap { from: last.index + 1, to: portrait.mark.index });
        }
        if portrait.mark.index > hard.commit {
            return Err(Error::Contradiction("a snapshot beyond the commit of the hard state"));
        }
        let kept = portrait.mark.index - floor.index;
        let at = if kept == 0 { floor } else { journal.lines[kept as usize - 1].mark };
        if at != portrait.mark {
            return Err(Error::Contradiction("the snapshot and the log are of different terms"));
        }
    }
    if hard.commit > last.index {
        return Err(Error::Gap { from: last.index + 1, to: hard.commit });
    }
    Ok(())
}

/// Writes the charter.
pub(super) fn put_charter(batch: &mut Batch, charter: &Charter) {
    let numbers = core::iter::once(charter.number).chain(charter.voters.iter().copied());
    batch.put(CHARTER, seal(CHARTER, &numbers.collect::<Vec<_>>(), &[]));
}

/// Writes the hard state.
pub(super) fn put_hard(batch: &mut Batch, hard: Hard) {
    batch.put(HARD, seal(HARD, &[hard.term, hard.vote, hard.commit], &[]));
}

/// Writes an entry.
pub(super) fn put_line(batch: &mut Batch, mark: Mark, operation: &[u8]) {
    let key = entry_key(mark.index);
    let value = seal(&key, &[mark.term], operation);
    batch.put(key, value);
}

/// Removes an entry.
pub(super) fn delete_line(batch: &mut Batch, index: u64) {
    batch.delete(entry_key(index));
}

/// Writes the snapshot.
pub(super) fn put_portrait(batch: &mut Batch, mark: Mark, floor: Mark, registry: &[u8]) {
    let numbers = [mark.index, mark.term, floor.index, floor.term];
    batch.put(SNAPSHOT, seal(SNAPSHOT, &numbers, registry));
}

/// Whether bytes are the archive of an operation. Linear cost.
pub(super) fn is_operation(bytes: &[u8]) -> bool {
    is_archive::<RegistryOperation>(bytes)
}

/// Whether bytes are the archive of a registry. Linear cost.
pub(super) fn is_registry(bytes: &[u8]) -> bool {
    is_archive::<Registry>(bytes)
}

/// A copy that lies as an archive must.
pub(super) fn aligned(bytes: &[u8]) -> Buffer {
    let mut buffer = Buffer::with_capacity(bytes.len());
    buffer.extend_from_slice(bytes);
    buffer
}

fn is_archive<T>(bytes: &[u8]) -> bool
where
    T: Archive<
        Archived: for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, rkyv::rancor::Failure>>,
    >,
{
    rkyv::access::<T::Archived, rkyv::rancor::Failure>(&aligned(bytes)).is_ok()
}

fn entry_key(index: u64) -> Vec<u8> {
    let mut key = vec![ENTRY];
    key.extend_from_slice(&index.to_be_bytes());
    key
}

fn read_charter(value: &[u8]) -> Result<Charter, Error> {
    const WHAT: &str = "charter";
    let body = open(WHAT, CHARTER, value)?;
    let (numbers, []) = body.as_chunks::<8>() else { return Err(Error::Value(WHAT)) };
    let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
    let number = numbers.next().ok_or(Error::Value(WHAT))?;
    Ok(Charter { number, voters: numbers.collect() })
}

fn read_hard(value: &[u8]) -> Result<Hard, Error> {
    const WHAT: &str = "hard state";
    let ([term, vote, commit], []) = numbers(WHAT, open(WHAT, HARD, value)?)? else { return Err(Error::Value(WHAT)) };
    Ok(Hard { term: count(WHAT, term)?, vote, commit: count(WHAT, commit)? })
}

fn read_line(key: &[u8], index: &[u8], value: &[u8]) -> Result<Line, Error> {
    const WHAT: &str = "entry";
    let ([term], operation) = numbers(WHAT, open(WHAT, key, value)?)?;
    let index = index.iter().fold(0, |index, byte| index << 8 | u64::from(*byte));
    if !operation.is_empty() && !is_operation(operation) {
        return Err(Error::Value(WHAT));
    }
    let mark = Mark { index: count(WHAT, index)?, term: count(WHAT, term)? };
    Ok(Line { mark, operation: operation.to_vec() })
}

fn read_portrait(value: &[u8]) -> Result<Portrait, Error> {
    const WHAT: &str = "snapshot";
    let ([index, term, floor_index, floor_term], registry) = numbers(WHAT, open(WHAT, SNAPSHOT, value)?)?;
    if floor_index > index || floor_term > term || !is_registry(registry) {
        return Err(Error::Value(WHAT));
    }
    let mark = Mark { index: count(WHAT, index)?, term: count(WHAT, term)? };
    Ok(Portrait { mark, floor: Mark { index: floor_index, term: floor_term }, registry: registry.to_vec() })
}

fn numbers<'a, const N: usize>(what: &'static str, body: &'a [u8]) -> Result<([u64; N], &'a [u8]), Error> {
    let (numbers, rest) = body.split_at_checked(8 * N).ok_or(Error::Value(what))?;
    let (chunks, _) = numbers.as_chunks::<8>();
    Ok((core::array::from_fn(|at| u64::from_le_bytes(chunks[at])), rest))
}

fn count(what: &'static str, number: u64) -> Result<u64, Error> {
    if number <= COUNT_MAX { Ok(number) } else { Err(Error::Value(what)) }
}

fn seal(key: &[u8], numbers: &[u64], rest: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + 8 * numbers.len() + rest.len() + 8);
    value.push(VERSION);
    for number in numbers {
        value.extend_from_slice(&number.to_le_bytes());
    }
    value.extend_from_slice(rest);
    let sum = checksum(key, &value);
    value.extend_from_slice(&sum.to_le_bytes());
    value
}

fn open<'a>(what: &'static str, key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Error> {
    let (body, sum) = value.split_last_chunk::<8>().ok_or(Error::Value(what))?;
    if checksum(key, body) != u64::from_le_bytes(*sum) {
        return Err(Error::Value(what));
    }
    let (version, body) = body.split_first().ok_or(Error::Value(what))?;
    if *version != VERSION {
        return Err(Error::Version { what, version: *version });
    }
    Ok(body)
}

/// A 64-bit sum, eight bytes at a step (multiply and fold; the constant is that of FNV-1a). Each step is one to one in
/// the word it takes in, so that damage inside one word is always noticed. No defence against intent.
fn checksum(key: &[u8], value: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |word: u64| {
        sum = (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        sum ^= sum >> 29;
    };
    for part in [key, value] {
        let (words, rest) = part.as_chunks::<8>();
        words.iter().for_each(|word| take(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| take(u64::from(*byte)));
        take(part.len() as u64);
    }
    sum
}

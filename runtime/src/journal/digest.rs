//! The checks that a table carries: sealed values, and a summary that every batch brings up to date.

use kaon_kernel::actor::{Operation, Record};
use std::collections::BTreeMap;

/// Version of the seal.
const LAYOUT: u8 = 1;

/// Bytes in front of a sealed value: layout, length, CRC32C over key and value, little endian.
const SEAL_BYTES: usize = 9;

/// What a table is in all: the number of the last write to it, how many entries it has, and the exclusive or of the
/// digests of them, so that an entry that is missing, superfluous or older than it should be shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) sequence: u64,
    pub(super) count: u64,
    pub(super) digest: u64,
}

impl Summary {
    pub(super) const BYTES: usize = 24;

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..].copy_from_slice(&self.digest.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let part = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        (bytes.len() == Self::BYTES).then_some(())?;
        Some(Self { sequence: part(0)?, count: part(8)?, digest: part(16)? })
    }

    /// An entry has come.
    pub(super) fn include(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.digest ^= entry_digest(key, value);
    }

    /// An entry has gone.
    pub(super) fn exclude(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.digest ^= entry_digest(key, value);
    }

    /// Says what differs from the summary that was computed anew from the entries.
    pub(super) fn compare(self, counted: Self) -> Result<(), String> {
        if self.count != counted.count {
            return Err(format!("{} entries, {} were written", counted.count, self.count));
        }
        if self.digest != counted.digest {
            return Err(format!("the digest of its {} entries differs", self.count));
        }
        Ok(())
    }
}

fn entry_digest(key: &[u8], value: &[u8]) -> u64 {
    let of_key = crc32c::crc32c(key);
    let of_both = crc32c::crc32c_append(of_key, value);
    let mixed = (u64::from(of_key) << 32 | u64::from(of_both)) ^ (value.len() as u64).rotate_left(48);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

/// A value with its check in front.
pub(super) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(SEAL_BYTES + value.len());
    sealed.push(LAYOUT);
    sealed.extend_from_slice(&(value.len() as u32).to_le_bytes());
    sealed.extend_from_slice(&crc32c::crc32c_append(crc32c::crc32c(key), value).to_le_bytes());
    sealed.extend_from_slice(value);
    sealed
}

/// The value under a seal, or what is wrong with it.
pub(super) fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], String> {
    let Some((head, value)) = sealed.split_first_chunk::<SEAL_BYTES>() else {
        return Err(format!("a value of {} bytes has no seal", sealed.len()));
    };
    let [layout, head @ ..] = *head;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    if layout != LAYOUT {
        return Err(format!("layout {layout}, this build reads {LAYOUT}"));
    }
    if length as usize != value.len() {
        return Err(format!("a value of {} bytes should have {length}", value.len()));
    }
    if checksum != crc32c::crc32c_append(crc32c::crc32c(key), value) {
        return Err("the checksum of a value differs".to_owned());
    }
    Ok(value)
}

/// What a run of operations leaves behind: the last change of each key, in order of keys.
pub(super) fn last_of_each_key<'a>(
    operations: impl Iterator<Item = &'a Operation>,
) -> BTreeMap<&'a [u8], Option<&'a [u8]>> {
    let mut last = BTreeMap::new();
    for operation in operations {
        match operation {
            Operation::Put(Record { key, value }) => last.insert(key.as_slice(), Some(value.as_slice())),
            Operation::Delete(key) => last.insert(key.as_slice(), None),
        };
    }
    last
}

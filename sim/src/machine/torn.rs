//! What a crash leaves of a write that was under way: its bytes, cut anywhere, also inside a record.
//!
//! A batch goes to disk as its length, a sum of what follows, then its operations: two lengths, key, value. A journal that
//! looks at length and sum takes all of it or nothing, which is the contract of `Effect::Persist`. One that trusts what it
//! finds is a plant.

use kaon_kernel::actor::{Batch, Operation, Record};
use xxhash_rust::xxh3::xxh3_64;

/// The bytes of the length and of the sum.
const HEAD: usize = 12;
/// The length of a value that says that the key is deleted.
const DELETED: u32 = u32::MAX;

/// A batch as it goes to disk.
pub(crate) fn written(batch: &Batch) -> Vec<u8> {
    let mut body = Vec::new();
    for operation in &batch.0 {
        let (key, value) = match operation {
            Operation::Put(Record { key, value }) => (key, Some(value)),
            Operation::Delete(key) => (key, None),
        };
        body.extend_from_slice(&(key.len() as u32).to_le_bytes());
        body.extend_from_slice(&value.map_or(DELETED, |value| value.len() as u32).to_le_bytes());
        body.extend_from_slice(key);
        body.extend_from_slice(value.map_or(&[], Vec::as_slice));
    }
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(&body).to_le_bytes());
    bytes.append(&mut body);
    bytes
}

/// What a journal makes of the bytes: all of the batch, or nothing.
pub(crate) fn read(bytes: &[u8]) -> Option<Batch> {
    let (head, body) = bytes.split_at_checked(HEAD)?;
    let (length, sum) = head.split_at(4);
    let is_whole = u32::from_le_bytes(length.try_into().ok()?) as usize == body.len()
        && u64::from_le_bytes(sum.try_into().ok()?) == xxh3_64(body);
    is_whole.then(|| read_blindly(bytes))
}

/// The same by a journal that looks at neither length nor sum: the last record ends where the bytes end.
pub(crate) fn read_blindly(bytes: &[u8]) -> Batch {
    let mut batch = Batch::default();
    let mut rest = bytes.get(HEAD..).unwrap_or_default();
    let mut take = |length: u32| {
        let (taken, left) = rest.split_at(rest.len().min(length as usize));
        rest = left;
        taken.to_vec()
    };
    let number = |bytes: Vec<u8>| bytes.try_into().ok().map(u32::from_le_bytes);
    while let (Some(key), Some(value)) = (number(take(4)), number(take(4))) {
        let key = take(key);
        batch.0.push(match value {
            DELETED => Operation::Delete(key),
            length => Operation::Put(Record { key, value: take(length) }),
        });
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_write_is_nothing_and_a_trusting_journal_reads_half_a_record() {
        let mut batch = Batch::default();
        batch.put(*b"one", *b"first value");
        batch.delete(*b"two");
        batch.put(*b"three", *b"third value");
        let bytes = written(&batch);
        assert_eq!(read(&bytes), Some(batch.clone()));
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), None, "cut at {cut}");
        }
        let inside = read_blindly(&bytes[..bytes.len() - 3]);
        assert_eq!(inside.0[..2], batch.0[..2]);
        assert_eq!(inside.0[2], Operation::Put(Record { key: b"three".to_vec(), value: b"third va".to_vec() }));
        assert_eq!(read_blindly(&bytes[..HEAD + 5]), Batch::default(), "not even its lengths are there");
    }
}

//! RecordIO, the framing of all v1 streams: the length in decimal digits, one line feed, that many bytes, and again.
//!
//! The format is Mesos's (`3rdparty/stout/include/stout/recordio.hpp`). Two readings are stricter here, since no writer
//! needs the looseness: a length has no leading zero, and is never zero.

use bytes::{Buf as _, Bytes, BytesMut};

/// Digits of the largest 64-bit length.
const LENGTH_DIGITS_MAX: usize = 20;

/// Why a stream cannot be read any further. Every one is final: there is no telling where the next record would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else than a digit or the line feed after the digits.
    #[error("a record length has the byte 0x{0:02x} in it")]
    Junk(u8),
    /// A length that begins with a zero; so a length of zero too.
    #[error("a record length begins with a zero")]
    Zero,
    /// No 64-bit number has so many digits.
    #[error("a record length has more than {LENGTH_DIGITS_MAX} digits")]
    Digits,
    /// A record larger than the reader takes.
    #[error("a record of {length_bytes} bytes is larger than the limit of {limit_bytes}")]
    TooLarge {
        /// What the length said; capped at 2^64 - 1.
        length_bytes: u64,
        /// The limit of this decoder.
        limit_bytes: usize,
    },
    /// The stream ended inside a record.
    #[error("the stream ended inside a record")]
    Truncated,
}

/// One record with its length in front, to be written as one chunk. One allocation, one copy.
///
/// # Panics
/// On an empty record: no reader takes one.
pub fn encode(record: &[u8]) -> Bytes {
    assert!(!record.is_empty(), "a record is never empty");
    let mut out = Vec::with_capacity(LENGTH_DIGITS_MAX + 1 + record.len());
    out.extend_from_slice(record.len().to_string().as_bytes());
    out.push(b'\n');
    out.extend_from_slice(record);
    out.into()
}

/// Takes records out of chunks that begin and end anywhere.
///
/// Memory: what was pushed and not yet taken. A length alone reserves nothing; a caller that takes all records after each
/// push holds at most one record and one chunk.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    record_bytes_max: usize,
    /// The length of the record whose bytes are awaited.
    awaited: Option<usize>,
    /// What ended the stream; said again at every further call.
    failed: Option<Error>,
}

impl Decoder {
    /// A decoder at the beginning of a stream, taking records up to this size.
    pub fn new(record_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), record_bytes_max, awaited: None, failed: None }
    }

    /// Appends a chunk as it came. Nothing is kept once the stream has failed.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// The next whole record, or `None` until more is pushed. The bytes are not copied.
    ///
    /// # Errors
    /// When the length cannot be read or is refused; from then on always.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let length = match self.length() {
            Ok(Some(length)) => length,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.failed = Some(error);
                self.buffer = BytesMut::new();
                return Err(error);
            }
        };
        if self.buffer.len() < length {
            self.awaited = Some(length);
            return Ok(None);
        }
        self.awaited = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Says that no more will come.
    ///
    /// # Errors
    /// When the stream had failed, or what was pushed ends inside a record. Records not yet taken count as inside.
    pub fn finish(self) -> Result<(), Error> {
        match self.failed {
            Some(failed) => Err(failed),
            None if self.buffer.is_empty() && self.awaited.is_none() => Ok(()),
            None => Err(Error::Truncated),
        }
    }

    /// The length in front of the buffer, taken out of it. Leaves an unfinished one where it is: at most twenty digits are
    /// read again.
    fn length(&mut self) -> Result<Option<usize>, Error> {
        if let Some(awaited) = self.awaited {
            return Ok(Some(awaited));
        }
        let mut length = 0_u64;
        for (at, byte) in self.buffer.iter().copied().enumerate() {
            match byte {
                b'\n' if at > 0 => {
                    let record = usize::try_from(length).ok().filter(|length| *length <= self.record_bytes_max);
                    let record = record.ok_or(self.too_large(length))?;
                    self.buffer.advance(at + 1);
                    return Ok(Some(record));
                }
                b'0' if at == 0 => return Err(Error::Zero),
                b'0'..=b'9' if at >= LENGTH_DIGITS_MAX => return Err(Error::Digits),
                b'0'..=b'9' => length = length.saturating_mul(10).saturating_add(u64::from(byte - b'0')),
                other => return Err(Error::Junk(other)),
            }
        }
        // Said before the line feed comes, so that a length without an end is not waited for.
        if length > self.record_bytes_max as u64 { Err(self.too_large(length)) } else { Ok(None) }
    }

    fn too_large(&self, length_bytes: u64) -> Error {
        Error::TooLarge { length_bytes, limit_bytes: self.record_bytes_max }
    }
}

#[cfg(test)]
mod tests;

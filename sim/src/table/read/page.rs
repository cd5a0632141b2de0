//! Pages of one column: unpacked, and their values as text.

use super::{refuse, thrift};
use std::fmt::Write as _;
use std::io::{self, Read};

/// How values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Physical {
    Boolean,
    Int32,
    Int64,
    Float,
    Double,
    Bytes,
}

/// How pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Zstd,
}

/// A column of a flat table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) physical: Physical,
    pub(super) may_be_missing: bool,
}

/// Values as text in one piece; what is missing is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    text: String,
    ends: Vec<usize>,
}

impl Cells {
    pub(super) fn at(&self, row: usize) -> &str {
        let begin = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.text[begin..self.ends[row]]
    }

    fn end(&mut self) {
        self.ends.push(self.text.len());
    }
}

/// The largest page in bytes, unpacked.
const PAGE_BYTES_MAX: usize = 1 << 30;
/// Kinds of pages.
const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_2: i64 = 3;
/// Encodings.
const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const RLE: i64 = 3;
const RLE_DICTIONARY: i64 = 8;

/// Reads the pages of a column chunk with so many rows.
pub(super) fn read(mut bytes: &[u8], column: &Column, codec: Codec, rows: usize) -> io::Result<Cells> {
    let (mut cells, mut dictionary) = (Cells::default(), Cells::default());
    while cells.ends.len() < rows {
        let (header, taken) = thrift::read(bytes)?;
        let (whole, packed) = (header.count(2)? as usize, header.count(3)? as usize);
        let Some(page) = bytes[taken..].get(..packed).filter(|_| whole <= PAGE_BYTES_MAX) else {
            return refuse("a page is longer than its column, or than is read");
        };
        bytes = &bytes[taken + packed..];
        let (about, number) = match header.whole(1) {
            Some(DATA) => (header.inner(5), DATA),
            Some(DICTIONARY) => (header.inner(7), DICTIONARY),
            Some(DATA_2) => (header.inner(8), DATA_2),
            // An index: not needed.
            _ => continue,
        };
        let Some(about) = about else { return refuse("a page does not say what is in it") };
        let count = about.count(1)? as usize;
        if number == DICTIONARY {
            let page = unpack(page, codec, whole)?;
            let mut values = Plain { bytes: &page, physical: column.physical, bit: 0 };
            for _ in 0..count {
                values.next(&mut dictionary)?;
            }
            continue;
        }
        if count > rows - cells.ends.len() {
            return refuse("a page has more values than the table has rows");
        }
        let (encoding, levels, page) = if number == DATA_2 {
            let (length, repeats) = (about.count(5)? as usize, about.count(6)? as usize);
            let Some((levels, values)) = page.split_at_checked(length).filter(|_| repeats == 0 && length <= whole)
            else {
                return refuse("a page has lists in it, or ends too early");
            };
            let is_packed = about.whole(7) != Some(0);
            let values = if is_packed { unpack(values, codec, whole - length)? } else { values.to_vec() };
            let levels = if column.may_be_missing { Some(levels.to_vec()) } else { None };
            (about.whole(4), levels, values)
        } else {
            let page = unpack(page, codec, whole)?;
            let (levels, values) = if column.may_be_missing { split_levels(&page)? } else { (None, page.as_slice()) };
            let levels = levels.map(<[u8]>::to_vec);
            let values = values.to_vec();
            (about.whole(2), levels, values)
        };
        let present = match levels {
            Some(levels) => {
                let mut runs = Runs::new(&levels, 1);
                (0..count).map(|_| runs.next().map(|level| level == 1)).collect::<io::Result<Vec<bool>>>()?
            }
            None => vec![true; count],
        };
        values(&page, column.physical, encoding, &present, &dictionary, &mut cells)?;
    }
    Ok(cells)
}

/// The definition levels of a page of version 1, with their length before them, and the values.
fn split_levels(page: &[u8]) -> io::Result<(Option<&[u8]>, &[u8])> {
    let Some((length, rest)) = page.split_first_chunk::<4>() else { return refuse("a page ends too early") };
    match rest.split_at_checked(u32::from_le_bytes(*length) as usize) {
        Some((levels, values)) => Ok((Some(levels), values)),
        None => refuse("a page ends too early"),
    }
}

fn values(
    bytes: &[u8],
    physical: Physical,
    encoding: Option<i64>,
    present: &[bool],
    dictionary: &Cells,
    cells: &mut Cells,
) -> io::Result<()> {
    match encoding {
        Some(PLAIN) => {
            let mut plain = Plain { bytes, physical, bit: 0 };
            for is_there in present {
                if *is_there { plain.next(cells)? } else { cells.end() }
            }
        }
        Some(RLE) if physical == Physical::Boolean => {
            let Some(rest) = bytes.get(4..) else { return refuse("a page ends too early") };
            let mut runs = Runs::new(rest, 1);
            for is_there in present {
                if *is_there {
                    cells.text.push_str(if runs.next()? == 1 { "true" } else { "false" });
                }
                cells.end();
            }
        }
        Some(PLAIN_DICTIONARY | RLE_DICTIONARY) => {
            // A page of nothing but missing values may have no byte of values.
            let (width, rest) = bytes.split_first().unwrap_or((&0, &[]));
            if *width > 32 {
                return refuse("places in a dictionary are at most 32 bits wide");
            }
            let mut runs = Runs::new(rest, *width);
            for is_there in present {
                if *is_there {
                    let place = runs.next()? as usize;
                    if place >= dictionary.ends.len() {
                        return refuse("a value is not in the dictionary");
                    }
                    cells.text.push_str(dictionary.at(place));
                }
                cells.end();
            }
        }
        other => return refuse(format!("encoding {} is not read", super::told(other))),
    }
    Ok(())
}

/// Values one after the other.
struct Plain<'a> {
    bytes: &'a [u8],
    physical: Physical,
    /// The next bit of a byte of booleans.
    bit: u8,
}

impl Plain<'_> {
    fn chunk<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let Some((chunk, rest)) = self.bytes.split_first_chunk::<N>() else { return refuse("a page ends too early") };
        self.bytes = rest;
        Ok(*chunk)
    }

    fn next(&mut self, into: &mut Cells) -> io::Result<()> {
        let text = &mut into.text;
        let written = match self.physical {
            Physical::Boolean => {
                let Some(byte) = self.bytes.first() else { return refuse("a page ends too early") };
                let is_on = byte >> self.bit & 1 == 1;
                self.bit = (self.bit + 1) % 8;
                if self.bit == 0 {
                    self.bytes = &self.bytes[1..];
                }
                write!(text, "{is_on}")
            }
            Physical::Int32 => write!(text, "{}", i32::from_le_bytes(self.chunk()?)),
            Physical::Int64 => write!(text, "{}", i64::from_le_bytes(self.chunk()?)),
            Physical::Float => number(f64::from(f32::from_le_bytes(self.chunk()?)), text),
            Physical::Double => number(f64::from_le_bytes(self.chunk()?), text),
            Physical::Bytes => {
                let length = u32::from_le_bytes(self.chunk()?) as usize;
                let Some((bytes, rest)) = self.bytes.split_at_checked(length) else {
                    return refuse("a page ends too early");
                };
                self.bytes = rest;
                let Ok(value) = core::str::from_utf8(bytes) else { return refuse("a text is not UTF-8") };
                text.push_str(value);
                Ok(())
            }
        };
        written.expect("a text takes what is written");
        into.end();
        Ok(())
    }
}

/// A number; one that is none, which is how some tools write what is missing, is nothing.
fn number(value: f64, into: &mut String) -> core::fmt::Result {
    if value.is_nan() { Ok(()) } else { write!(into, "{value}") }
}

/// Runs of equal numbers and packed ones in turn.
struct Runs<'a> {
    bytes: &'a [u8],
    width: u8,
    /// What is left of a run: how many, and which.
    equal: (u64, u64),
    /// What is left of packed numbers, and the bits at hand.
    packed: u64,
    bits: u128,
    bits_count: u32,
}

impl<'a> Runs<'a> {
    fn new(bytes: &'a [u8], width: u8) -> Self {
        Self { bytes, width, equal: (0, 0), packed: 0, bits: 0, bits_count: 0 }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let Some((byte, rest)) = self.bytes.split_first() else { return refuse("a page ends too early") };
        self.bytes = rest;
        Ok(*byte)
    }

    fn next(&mut self) -> io::Result<u64> {
        loop {
            if self.equal.0 > 0 {
                self.equal.0 -= 1;
                return Ok(self.equal.1);
            }
            if self.packed > 0 {
                self.packed -= 1;
                while self.bits_count < u32::from(self.width) {
                    self.bits |= u128::from(self.byte()?) << self.bits_count;
                    self.bits_count += 8;
                }
                let value = self.bits & ((1 << self.width) - 1);
                self.bits >>= self.width;
                self.bits_count -= u32::from(self.width);
                return Ok(value as u64);
            }
            let mut head = 0;
            for shift in (0..64).step_by(7) {
                let byte = self.byte()?;
                head |= u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            if head & 1 == 1 {
                (self.packed, self.bits, self.bits_count) = ((head >> 1).saturating_mul(8), 0, 0);
            } else {
                let mut value = 0;
                for place in 0..u32::from(self.width.div_ceil(8)) {
                    value |= u64::from(self.byte()?) << (8 * place);
                }
                self.equal = (head >> 1, value);
            }
            if self.equal.0 == 0 && self.packed == 0 && self.bytes.is_empty() {
                return refuse("a page ends too early");
            }
        }
    }
}

fn unpack(bytes: &[u8], codec: Codec, whole: usize) -> io::Result<Vec<u8>> {
    let limited = |source: &mut dyn Read| {
        let mut unpacked = Vec::new();
        source.take(whole as u64 + 1).read_to_end(&mut unpacked)?;
        Ok::<_, io::Error>(unpacked)
    };
    let unpacked = match codec {
        Codec::None => bytes.to_vec(),
        Codec::Snappy => {
            if snap::raw::decompress_len(bytes).map_err(io::Error::other)? != whole {
                return refuse("a page is not as long as it says");
            }
            snap::raw::Decoder::new().decompress_vec(bytes).map_err(io::Error::other)?
        }
        Codec::Gzip => limited(&mut flate2::bufread::MultiGzDecoder::new(bytes))?,
        Codec::Zstd => limited(&mut ruzstd::decoding::StreamingDecoder::new(bytes).map_err(io::Error::other)?)?,
    };
    if unpacked.len() != whole { refuse("a page is not as long as it says") } else { Ok(unpacked) }
}

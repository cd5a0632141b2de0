//! Parquet files, as little of them as our tables need: one row group, one page a column, plain encoding, no compression.
//!
//! The format is that of the Apache Parquet specification, version 1 data pages; its metadata is Thrift in the compact
//! protocol. The `parquet` crate reads and writes all of the format with a tree of some sixty crates. This writes 64-bit
//! integers, which may be missing, doubles, and texts. The test keeps the bytes as they are.

use super::{Column, Table};

pub(crate) const MAGIC: &[u8] = b"PAR1";
/// Physical types of the format.
const INT64: i32 = 2;
const DOUBLE: i32 = 5;
const BYTE_ARRAY: i32 = 6;
/// The converted type of a text.
const UTF8: i32 = 0;
/// Whether a column's values may be missing.
const REQUIRED: i32 = 0;
const OPTIONAL: i32 = 1;
/// Encodings of the format.
const PLAIN: i32 = 0;
const RLE: i32 = 3;

/// Thrift's compact protocol, the types that the metadata has.
#[derive(Default)]
struct Compact {
    bytes: Vec<u8>,
    /// The last field of each open struct.
    fields: Vec<i16>,
}

const TYPE_I32: u8 = 5;
const TYPE_I64: u8 = 6;
const TYPE_BINARY: u8 = 8;
const TYPE_LIST: u8 = 9;
const TYPE_STRUCT: u8 = 12;

impl Compact {
    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn zigzag(&mut self, value: i64) {
        self.varint((value as u64) << 1 ^ (value >> 63) as u64);
    }

    /// The header of a field; all of ours are at most 15 after the one before.
    fn field(&mut self, id: i16, kind: u8) {
        let last = self.fields.last_mut().expect("inside a struct");
        self.bytes.push(((id - *last) as u8) << 4 | kind);
        *last = id;
    }

    fn i32(&mut self, id: i16, value: i32) {
        self.field(id, TYPE_I32);
        self.zigzag(value.into());
    }

    fn i64(&mut self, id: i16, value: i64) {
        self.field(id, TYPE_I64);
        self.zigzag(value);
    }

    fn text(&mut self, id: i16, value: &str) {
        self.field(id, TYPE_BINARY);
        self.bare_text(value);
    }

    fn bare_text(&mut self, value: &str) {
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    fn list(&mut self, id: i16, kind: u8, length: usize) {
        self.field(id, TYPE_LIST);
        if length < 15 {
            self.bytes.push((length as u8) << 4 | kind);
        } else {
            self.bytes.push(0xf0 | kind);
            self.varint(length as u64);
        }
    }

    /// A struct as the next item of a list, or after [`Self::field`].
    fn open(&mut self) {
        self.fields.push(0);
    }

    fn close(&mut self) {
        self.fields.pop();
        self.bytes.push(0);
    }
}

/// What the footer says of a column.
struct Chunk<'a> {
    name: &'a str,
    physical: i32,
    repetition: i32,
    offset: usize,
    bytes: usize,
}

/// A table as the bytes of a file.
pub(crate) fn file(table: &Table) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let chunks: Vec<Chunk<'_>> = table.columns().iter().map(|(name, column)| chunk(name, column, &mut out)).collect();
    let footer = footer(&chunks, table.rows());
    out.extend_from_slice(&footer);
    out.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    out.extend_from_slice(MAGIC);
    out
}

fn chunk<'a>(name: &'a str, column: &Column, out: &mut Vec<u8>) -> Chunk<'a> {
    let (body, physical, repetition) = match column {
        Column::Whole(values) => (values.iter().flat_map(|value| value.to_le_bytes()).collect(), INT64, REQUIRED),
        Column::Real(values) => (values.iter().flat_map(|value| value.to_le_bytes()).collect(), DOUBLE, REQUIRED),
        Column::Maybe(values) => {
            let mut body = levels(values);
            body.extend(values.iter().flatten().flat_map(|value| value.to_le_bytes()));
            (body, INT64, OPTIONAL)
        }
        Column::Text(values) => {
            let text = |value: &String| [&(value.len() as u32).to_le_bytes(), value.as_bytes()].concat();
            (values.iter().flat_map(text).collect(), BYTE_ARRAY, REQUIRED)
        }
    };
    let mut header = Compact::default();
    header.open();
    header.i32(1, 0); // a data page
    header.i32(2, body.len() as i32);
    header.i32(3, body.len() as i32);
    header.field(5, TYPE_STRUCT);
    header.open();
    header.i32(1, column.len() as i32);
    header.i32(2, PLAIN);
    header.i32(3, RLE);
    header.i32(4, RLE);
    header.close();
    header.close();
    let offset = out.len();
    out.extend_from_slice(&header.bytes);
    out.extend_from_slice(&body);
    Chunk { name, physical, repetition, offset, bytes: out.len() - offset }
}

/// Which values are there, one bit each, as runs of equal bits; with its length before it.
fn levels(values: &[Option<i64>]) -> Vec<u8> {
    let mut runs = Compact::default();
    let mut at = 0;
    while at < values.len() {
        let is_there = values[at].is_some();
        let length = values[at..].iter().take_while(|value| value.is_some() == is_there).count();
        runs.varint((length as u64) << 1);
        runs.bytes.push(u8::from(is_there));
        at += length;
    }
    let mut body = (runs.bytes.len() as u32).to_le_bytes().to_vec();
    body.append(&mut runs.bytes);
    body
}

fn footer(chunks: &[Chunk<'_>], rows: usize) -> Vec<u8> {
    let mut meta = Compact::default();
    meta.open();
    meta.i32(1, 1); // version of the format
    meta.list(2, TYPE_STRUCT, chunks.len() + 1);
    meta.open();
    meta.text(4, "table");
    meta.i32(5, chunks.len() as i32);
    meta.close();
    for chunk in chunks {
        meta.open();
        meta.i32(1, chunk.physical);
        meta.i32(3, chunk.repetition);
        meta.text(4, chunk.name);
        if chunk.physical == BYTE_ARRAY {
            meta.i32(6, UTF8);
        }
        meta.close();
    }
    meta.i64(3, rows as i64);
    meta.list(4, TYPE_STRUCT, 1);
    meta.open();
    meta.list(1, TYPE_STRUCT, chunks.len());
    for chunk in chunks {
        meta.open();
        meta.i64(2, chunk.offset as i64);
        meta.field(3, TYPE_STRUCT);
        meta.open();
        meta.i32(1, chunk.physical);
        meta.list(2, TYPE_I32, 2);
        meta.zigzag(PLAIN.into());
        meta.zigzag(RLE.into());
        meta.list(3, TYPE_BINARY, 1);
        meta.bare_text(chunk.name);
        meta.i32(4, 0); // no compression
        meta.i64(5, rows as i64);
        meta.i64(6, chunk.bytes as i64);
        meta.i64(7, chunk.bytes as i64);
        meta.i64(9, chunk.offset as i64);
        meta.close();
        meta.close();
    }
    meta.i64(2, chunks.iter().map(|chunk| chunk.bytes as i64).sum());
    meta.i64(3, rows as i64);
    meta.close();
    meta.text(6, "kaon");
    meta.close();
    meta.bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole tables of this writer were read by pyarrow 26.0.1 and compared with the CSV beside them. A change of these bytes
    /// has to be read by it again.
    #[test]
    fn the_bytes_are_those_of_the_writer_that_others_read() {
        let table = Table::new()
            .with("job", Column::Whole(vec![1, -2, 3]))
            .with("end_us", Column::Maybe(vec![Some(7), None, Some(9)]))
            .with("share", Column::Real(vec![0.5, 1.0, 2.0]));
        let bytes = file(&table);
        assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (MAGIC, MAGIC));
        assert_eq!(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes)), "f217a2121f41adf1");
    }
}

//! Parquet files as rows of text: the header and one line a row, as the same table would stand in CSV, so that every reader of
//! CSV reads Parquet, too, and names a bad row by its number.
//!
//! What tools write by default is read: flat tables of booleans, integers, doubles and texts, which may be missing; plain or
//! dictionary encoding; pages of version 1 and 2; no compression, Snappy, gzip or zstd. The rest is refused by name. After the
//! Apache Parquet specification; why the `parquet` crate is not used is said beside the writer.

mod page;
mod thrift;

use page::{Cells, Codec, Column, Physical};
use std::io::{self, Read};
use thrift::{Fields, Value};

/// The first and the last bytes of a file.
pub(crate) use super::write::MAGIC;

/// The largest file in bytes: it is held whole, and its text beside it.
const FILE_BYTES_MAX: u64 = 4 << 30;
/// The most columns.
const COLUMNS_MAX: usize = 1000;
/// The most rows.
const ROWS_MAX: u64 = 100_000_000;
/// Bytes at the end: the length of the metadata, and the magic.
const TAIL_BYTES: usize = 8;

/// A file that is not read, in words.
fn refuse<T>(why: impl Into<String>) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("Parquet: {}", why.into())))
}

/// A number of the metadata, in words.
fn told(number: Option<i64>) -> String {
    number.map_or_else(|| "unknown".to_owned(), |number| number.to_string())
}

/// Reads a whole file into CSV.
pub(crate) fn to_csv(source: impl Read) -> io::Result<Vec<u8>> {
    let mut file = Vec::new();
    source.take(FILE_BYTES_MAX + 1).read_to_end(&mut file)?;
    if file.len() as u64 > FILE_BYTES_MAX {
        return refuse(format!("larger than {FILE_BYTES_MAX} bytes"));
    }
    if file.len() < MAGIC.len() + TAIL_BYTES || !file.ends_with(MAGIC) {
        return refuse("the file does not end as one");
    }
    let tail = file.len() - TAIL_BYTES;
    let length = u32::from_le_bytes([file[tail], file[tail + 1], file[tail + 2], file[tail + 3]]) as usize;
    let Some(begin) = tail.checked_sub(length).filter(|begin| *begin >= MAGIC.len()) else {
        return refuse("the metadata is longer than the file");
    };
    let (metadata, _) = thrift::read(&file[begin..tail])?;
    let columns = schema(&metadata)?;
    let mut text = String::new();
    for (position, column) in columns.iter().enumerate() {
        text.push_str(if position > 0 { "," } else { "" });
        quoted(&column.name, &mut text);
    }
    text.push('\n');
    let mut rows: u64 = 0;
    for group in metadata.list(4) {
        let Value::Struct(group) = group else { return refuse("a group of rows is no structure") };
        let count = group.count(3)?;
        rows = rows.saturating_add(count);
        if rows > ROWS_MAX {
            return refuse(format!("more than {ROWS_MAX} rows"));
        }
        let chunks = group.list(1);
        if chunks.len() != columns.len() {
            return refuse("a group of rows has other columns than the table");
        }
        let cells = columns.iter().zip(chunks).map(|(column, chunk)| read_chunk(&file, column, chunk, count as usize));
        let cells = cells.collect::<io::Result<Vec<Cells>>>()?;
        for row in 0..count as usize {
            for (position, cells) in cells.iter().enumerate() {
                text.push_str(if position > 0 { "," } else { "" });
                quoted(cells.at(row), &mut text);
            }
            text.push('\n');
        }
    }
    Ok(text.into_bytes())
}

/// A field of CSV; line ends become blanks, since no reader of ours wants them.
fn quoted(field: &str, into: &mut String) {
    if field.contains([',', '"', '\n', '\r']) {
        into.push('"');
        into.extend(field.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }).flat_map(|c| {
            let twice = (c == '"').then_some(c);
            [Some(c), twice].into_iter().flatten()
        }));
        into.push('"');
    } else {
        into.push_str(field);
    }
}

/// The columns of a flat table.
fn schema(metadata: &Fields) -> io::Result<Vec<Column>> {
    let mut columns = Vec::new();
    let mut elements = metadata.list(2).iter();
    let Some(Value::Struct(root)) = elements.next() else { return refuse("there is no schema") };
    for element in elements {
        let Value::Struct(element) = element else { return refuse("the schema is none") };
        let name = element.text(4).unwrap_or_default();
        if element.whole(5).unwrap_or(0) > 0 || element.whole(3) == Some(2) {
            return refuse(format!("column {name:?} holds structures or lists"));
        }
        let physical = match element.whole(1) {
            Some(0) => Physical::Boolean,
            Some(1) => Physical::Int32,
            Some(2) => Physical::Int64,
            Some(4) => Physical::Float,
            Some(5) => Physical::Double,
            Some(6) => Physical::Bytes,
            other => return refuse(format!("column {name:?} is of type {}, which is not read", told(other))),
        };
        columns.push(Column { name, physical, may_be_missing: element.whole(3) == Some(1) });
    }
    if root.whole(5) != i64::try_from(columns.len()).ok() || columns.is_empty() || columns.len() > COLUMNS_MAX {
        return refuse(format!("between 1 and {COLUMNS_MAX} columns side by side are read"));
    }
    Ok(columns)
}

fn read_chunk(file: &[u8], column: &Column, chunk: &Value, rows: usize) -> io::Result<Cells> {
    let name = &column.name;
    let Value::Struct(chunk) = chunk else { return refuse(format!("column {name:?} is no structure")) };
    let Some(Value::Struct(about)) = chunk.get(3) else {
        return refuse(format!("column {name:?} says nothing of itself"));
    };
    if chunk.get(1).is_some() {
        return refuse(format!("column {name:?} lies in another file"));
    }
    let codec = match about.whole(4) {
        Some(0) => Codec::None,
        Some(1) => Codec::Snappy,
        Some(2) => Codec::Gzip,
        Some(6) => Codec::Zstd,
        other => return refuse(format!("column {name:?} is compressed by codec {}, which is not read", told(other))),
    };
    let data = about.count(9)?;
    // Some writers say zero where there is no dictionary.
    let dictionary = about.whole(11).filter(|at| *at > 0).and_then(|at| u64::try_from(at).ok());
    let begin = dictionary.map_or(data, |at| at.min(data)) as usize;
    let end = begin.saturating_add(about.count(7)? as usize);
    let Some(bytes) = file.get(begin..end.min(file.len())) else {
        return refuse(format!("column {name:?} begins beyond the file"));
    };
    page::read(bytes, column, codec, rows)
        .map_err(|error| io::Error::new(error.kind(), format!("{error} (column {name:?})")))
}

#[cfg(test)]
mod tests;

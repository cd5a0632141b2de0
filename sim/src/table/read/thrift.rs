//! Thrift's compact protocol, as far as the metadata of Parquet goes: any structure is read into its numbered fields.

use super::refuse;
use std::io;

/// How deep structures may lie in each other; Parquet's lie five deep.
const DEPTH_MAX: u32 = 16;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Whole(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Struct(Fields),
    /// Read past: a double, a map.
    Other,
}

/// The fields of a structure by their numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(Vec<(i16, Value)>);

impl Fields {
    pub(super) fn get(&self, id: i16) -> Option<&Value> {
        self.0.iter().find(|(one, _)| *one == id).map(|(_, value)| value)
    }

    pub(super) fn whole(&self, id: i16) -> Option<i64> {
        if let Some(Value::Whole(number)) = self.get(id) { Some(*number) } else { None }
    }

    /// A number that must be there, from zero.
    pub(super) fn count(&self, id: i16) -> io::Result<u64> {
        match self.whole(id).map(u64::try_from) {
            Some(Ok(count)) => Ok(count),
            _ => refuse(format!("field {id} of the metadata is missing or below zero")),
        }
    }

    pub(super) fn list(&self, id: i16) -> &[Value] {
        if let Some(Value::List(values)) = self.get(id) { values } else { &[] }
    }

    pub(super) fn text(&self, id: i16) -> Option<String> {
        if let Some(Value::Bytes(bytes)) = self.get(id) {
            Some(String::from_utf8_lossy(bytes).into_owned())
        } else {
            None
        }
    }

    pub(super) fn inner(&self, id: i16) -> Option<&Fields> {
        if let Some(Value::Struct(fields)) = self.get(id) { Some(fields) } else { None }
    }
}

/// Reads a structure; how many bytes it took.
pub(super) fn read(bytes: &[u8]) -> io::Result<(Fields, usize)> {
    let mut reader = Reader { bytes, at: 0 };
    let fields = reader.fields(0)?;
    Ok((fields, reader.at))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> io::Result<u8> {
        let Some(byte) = self.bytes.get(self.at) else { return refuse("the metadata ends too early") };
        self.at += 1;
        Ok(*byte)
    }

    fn skip(&mut self, count: u64) -> io::Result<&[u8]> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let Some(bytes) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return refuse("the metadata ends too early");
        };
        self.at += bytes.len();
        Ok(bytes)
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        refuse("a number in the metadata is too long")
    }

    fn zigzag(&mut self) -> io::Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn fields(&mut self, depth: u32) -> io::Result<Fields> {
        let mut fields = Vec::new();
        let mut id: i16 = 0;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(Fields(fields));
            }
            let step = i16::from(head >> 4);
            id = if step == 0 { self.zigzag()? as i16 } else { id.wrapping_add(step) };
            let value = match head & 0x0f {
                1 => Value::Whole(1),
                2 => Value::Whole(0),
                kind => self.value(kind, depth)?,
            };
            fields.push((id, value));
        }
    }

    fn value(&mut self, kind: u8, depth: u32) -> io::Result<Value> {
        if depth >= DEPTH_MAX {
            return refuse("the metadata lies too deep");
        }
        Ok(match kind {
            // A boolean in a list is a byte.
            1..=3 => Value::Whole(i64::from(self.byte()? as i8)),
            4..=6 => Value::Whole(self.zigzag()?),
            7 => {
                self.skip(8)?;
                Value::Other
            }
            8 => {
                let length = self.varint()?;
                Value::Bytes(self.skip(length)?.to_vec())
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                // Each value takes a byte at least, so the list is never longer than what is left.
                if count > (self.bytes.len() - self.at) as u64 {
                    return refuse("a list in the metadata is longer than the metadata");
                }
                let values = (0..count).map(|_| self.value(head & 0x0f, depth + 1));
                Value::List(values.collect::<io::Result<_>>()?)
            }
            11 => {
                let count = self.varint()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                for _ in 0..count {
                    self.value(kinds >> 4, depth + 1)?;
                    self.value(kinds & 0x0f, depth + 1)?;
                }
                Value::Other
            }
            12 => Value::Struct(self.fields(depth + 1)?),
            other => return refuse(format!("the metadata has a value of kind {other}")),
        })
    }
}

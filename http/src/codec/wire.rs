//! Protobuf wire bytes, one field at a time: enough to look into a message without making one.
//!
//! Groups are refused: the v1 schema has none, and skipping unknown ones is the one place where the format itself nests
//! without a length.

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A number, a length or a value goes past the end of its message.
    #[error("a field ends after its message")]
    Truncated,
    /// A varint of more than ten bytes or more than 64 bits.
    #[error("a number has more than 64 bits")]
    Overlong,
    /// Field numbers are 1 to 2^29 - 1.
    #[error("a field number is out of range")]
    FieldNumber,
    /// Groups (wire types 3 and 4) and the wire types that do not exist (6 and 7).
    #[error("a field has wire type {0}")]
    WireType(u8),
    /// The field is known, and its kind is written otherwise.
    #[error("a field is not written as its kind is")]
    Mismatch,
    /// A string field holds bytes that are no UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
}

const FIELD_NUMBER_MAX: u64 = (1 << 29) - 1;

#[derive(Clone, Copy, Debug)]
pub(super) enum WireValue<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

impl<'a> WireValue<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed::Mismatch),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::Utf8)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: WireValue<'a>,
}

/// The fields of a message in the order of its bytes.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let tag = varint(&mut self.rest)?;
        let number = tag >> 3;
        if number == 0 || number > FIELD_NUMBER_MAX {
            return Err(Malformed::FieldNumber);
        }
        let value = match tag & 7 {
            0 => WireValue::Varint(varint(&mut self.rest)?),
            1 => {
                let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated)?;
                self.rest = rest;
                WireValue::Fixed64(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| Malformed::Truncated)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
                self.rest = rest;
                WireValue::Bytes(bytes)
            }
            5 => {
                let (_, rest) = self.rest.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
                self.rest = rest;
                WireValue::Fixed32
            }
            other => return Err(Malformed::WireType(other as u8)),
        };
        Ok(Field { number: number as u32, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() { None } else { Some(self.field()) }
    }
}

/// Takes one varint from the front.
pub(super) fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (at, byte) in rest.iter().copied().enumerate() {
        // The tenth byte has room for one bit.
        if at == 9 && byte > 1 {
            return Err(Malformed::Overlong);
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *rest = &rest[at + 1..];
            return Ok(value);
        }
    }
    Err(Malformed::Truncated)
}

/// The numbers of a packed field that is written as varints.
pub(super) fn packed(mut bytes: &[u8]) -> impl Iterator<Item = Result<u64, Malformed>> {
    std::iter::from_fn(move || if bytes.is_empty() { None } else { Some(varint(&mut bytes)) })
}

/// Wire bytes under construction. A message inside is opened and closed; its length is put in front when it is known.
#[derive(Debug, Default)]
pub(super) struct Sink {
    bytes: Vec<u8>,
}

/// Where an open message begins. Closed exactly once, inner ones first.
#[derive(Debug)]
#[must_use]
pub(super) struct Open {
    start: usize,
}

impl Sink {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back an open message and all that was written since `length`.
    pub(super) fn cut(&mut self, length: usize, open: Open) {
        debug_assert!(length < open.start);
        self.bytes.truncate(length);
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn tag(&mut self, number: u32, wire_type: u64) {
        self.raw_varint(u64::from(number) << 3 | wire_type);
    }

    pub(super) fn varint(&mut self, number: u32, value: u64) {
        self.tag(number, 0);
        self.raw_varint(value);
    }

    pub(super) fn double(&mut self, number: u32, value: f64) {
        self.tag(number, 1);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, number: u32, value: &[u8]) {
        self.tag(number, 2);
        self.raw_varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    pub(super) fn open(&mut self, number: u32) -> Open {
        self.tag(number, 2);
        self.bytes.push(0);
        Open { start: self.bytes.len() }
    }

    /// Moves the content when its length needs more than one byte: at most once per level of nesting.
    pub(super) fn close(&mut self, open: Open) {
        let length = self.bytes.len() - open.start;
        if let (Ok(byte), true) = (u8::try_from(length), length < 0x80) {
            self.bytes[open.start - 1] = byte;
            return;
        }
        let mut prefix = Self::default();
        prefix.raw_varint(length as u64);
        self.bytes.splice(open.start - 1..open.start, prefix.bytes);
    }
}

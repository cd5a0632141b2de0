//! From wire bytes to JSON as Mesos writes it (`stout`'s mapping, which is not the one of proto3).
//!
//! The input is what prost has just written, or what [`super::check`] has let pass; it is not checked again. Each message is
//! read once into a list of its fields, the list is put into the order of declaration, and written from there.

use super::plan::{FieldPlan, Kind, MessageId, Plans};
use super::text;
use super::wire::{Fields, Malformed, WireValue, packed};

/// JSON is at most about this many times as long as the wire bytes it is made from (2.5 measured on offers, 3 on tasks).
const GROWTH: usize = 3;

/// Cost: linear in the bytes, plus one step for each field that the types of its messages declare.
pub(super) fn to_json(root: MessageId, message: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut writer =
        Writer { plans: Plans::all(), out: Vec::with_capacity(message.len() * GROWTH), entries: Vec::new() };
    writer.message(root, message)?;
    Ok(writer.out)
}

struct Writer<'a> {
    plans: &'static Plans,
    out: Vec<u8>,
    /// A stack: each open message has its fields on top while it is being written.
    entries: Vec<(u16, WireValue<'a>)>,
}

impl<'a> Writer<'a> {
    fn message(&mut self, id: MessageId, message: &'a [u8]) -> Result<(), Malformed> {
        let plan = self.plans.message(id);
        let base = self.entries.len();
        for field in Fields::new(message) {
            let field = field?;
            if let Some(index) = plan.index_of_number(field.number) {
                self.entries.push((index, field.value));
            }
        }
        let end = self.entries.len();
        // Stable, so that the elements of a repeated field stay in their order.
        self.entries[base..].sort_by_key(|(index, _)| *index);

        self.out.push(b'{');
        let first = self.out.len();
        let mut next = base;
        for (index, field) in (0_u16..).zip(&plan.fields) {
            let start = next;
            while next < end && self.entries[next].0 == index {
                next += 1;
            }
            // Most fields of most messages: nothing there, and nothing to show for it.
            if start == next && field.json_default.is_none() {
                continue;
            }
            let before = self.out.len();
            if before > first {
                self.out.push(b',');
            }
            self.out.extend_from_slice(&field.json_key);
            if !self.field(field, start, next)? {
                self.out.truncate(before);
            }
        }
        self.out.push(b'}');
        self.entries.truncate(base);
        Ok(())
    }

    /// Writes the value made of these entries, or the default, or says that there is nothing to show.
    fn field(&mut self, field: &'static FieldPlan, start: usize, end: usize) -> Result<bool, Malformed> {
        if let Kind::Map(entry) = field.kind {
            return self.map(entry, start, end);
        }
        if field.is_repeated() {
            return self.list(field, start, end);
        }
        let shown = match self.entries[start..end].last() {
            Some((_, value)) => self.value(field.kind, *value)?,
            None => false,
        };
        match &field.json_default {
            Some(default) if !shown => {
                self.out.extend_from_slice(default);
                Ok(true)
            }
            _ => Ok(shown),
        }
    }

    fn list(&mut self, field: &'static FieldPlan, start: usize, end: usize) -> Result<bool, Malformed> {
        self.out.push(b'[');
        let first = self.out.len();
        for at in start..end {
            match (field.kind, self.entries[at].1) {
                (Kind::Double, WireValue::Bytes(packed_doubles)) => {
                    for bytes in packed_doubles.chunks(8) {
                        let bytes = bytes.try_into().map_err(|_| Malformed::Truncated)?;
                        self.element(field.kind, WireValue::Fixed64(u64::from_le_bytes(bytes)), first)?;
                    }
                }
                (Kind::String | Kind::Bytes | Kind::Message(_), value) => self.element(field.kind, value, first)?,
                (_, WireValue::Bytes(numbers)) => {
                    for number in packed(numbers) {
                        self.element(field.kind, WireValue::Varint(number?), first)?;
                    }
                }
                (_, value) => self.element(field.kind, value, first)?,
            }
        }
        let shown = self.out.len() > first;
        self.out.push(b']');
        Ok(shown)
    }

    fn element(&mut self, kind: Kind, value: WireValue<'a>, first: usize) -> Result<(), Malformed> {
        let before = self.out.len();
        if before > first {
            self.out.push(b',');
        }
        if !self.value(kind, value)? {
            self.out.truncate(before);
        }
        Ok(())
    }

    fn map(&mut self, entry: MessageId, start: usize, end: usize) -> Result<bool, Malformed> {
        let value_kind = self.plans.message(entry).field(1).kind;
        self.out.push(b'{');
        let first = self.out.len();
        for at in start..end {
            let mut key = "";
            let mut content = WireValue::Bytes(&[]);
            for part in Fields::new(self.entries[at].1.bytes()?) {
                let part = part?;
                match part.number {
                    1 => key = part.value.text()?,
                    2 => content = part.value,
                    _ => {}
                }
            }
            if self.out.len() > first {
                self.out.push(b',');
            }
            text::string(&mut self.out, key);
            self.out.push(b':');
            self.value(value_kind, content)?;
        }
        let shown = self.out.len() > first;
        self.out.push(b'}');
        Ok(shown)
    }

    /// Writes one value; false (and nothing written) for a number that its enum does not know.
    fn value(&mut self, kind: Kind, value: WireValue<'a>) -> Result<bool, Malformed> {
        match (kind, value) {
            (Kind::Double, WireValue::Fixed64(bits)) => text::double(&mut self.out, f64::from_bits(bits)),
            (Kind::Int32, WireValue::Varint(number)) => text::signed(&mut self.out, i64::from(number as i32)),
            (Kind::Int64, WireValue::Varint(number)) => text::signed(&mut self.out, number as i64),
            (Kind::Uint32, WireValue::Varint(number)) => text::unsigned(&mut self.out, u64::from(number as u32)),
            (Kind::Uint64, WireValue::Varint(number)) => text::unsigned(&mut self.out, number),
            (Kind::Bool, WireValue::Varint(number)) => text::boolean(&mut self.out, number != 0),
            (Kind::Enum(known), WireValue::Varint(number)) => {
                match self.plans.enumeration(known).json_name(number as i32) {
                    Some(name) => self.out.extend_from_slice(name),
                    None => return Ok(false),
                }
            }
            // ASCII that is written as it stands is UTF-8 as well.
            (Kind::String, value) if text::is_plain(value.bytes()?) => text::plain(&mut self.out, value.bytes()?),
            (Kind::String, value) => text::string(&mut self.out, value.text()?),
            (Kind::Bytes, value) => text::bytes(&mut self.out, value.bytes()?),
            (Kind::Message(inner), value) => self.message(inner, value.bytes()?)?,
            _ => return Err(Malformed::Mismatch),
        }
        Ok(true)
    }
}

//! From JSON as Mesos clients write it to wire bytes, in one pass and without a tree.
//!
//! serde_json parses, the tables say what each name and value means. Required fields are not checked here but on the
//! result, by [`super::check`], the same for both encodings. What is looser or stricter than proto3 JSON:
//! a lone value stands for a list of one, numbers and booleans come as strings too, unknown enum names leave a field unset;
//! field names are the proto names only, enum numbers are refused, so is a field given twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::MESSAGE_DEPTH_MAX;
use super::error::{Error, Path, Segment, quoted};
use super::plan::{FieldPlan, Kind, Label, MessageId, MessagePlan, Plans};
use super::text;
use super::wire::Sink;

/// Cost: linear in the input; the output is at most a few times as long (a digit can become a double).
pub(super) fn from_json(root: MessageId, json: &[u8]) -> Result<Vec<u8>, Error> {
    // All of it, what nobody reads included: a parser looks at the texts that it keeps only.
    let json = std::str::from_utf8(json).map_err(|error| Error::Syntax { reason: format!("not UTF-8: {error}") })?;
    let mut reader = Reader {
        plans: Plans::all(),
        sink: Sink::with_capacity(json.len() / 2),
        path: Path::default(),
        depth: 0,
        refusal: None,
    };
    let mut parser = serde_json::Deserializer::from_str(json);
    let done = Root { id: root, reader: &mut reader }.deserialize(&mut parser).and_then(|()| parser.end());
    match (done, reader.refusal) {
        (Ok(()), _) => Ok(reader.sink.into_bytes()),
        (Err(_), Some(refusal)) => Err(refusal),
        (Err(syntax), None) => Err(Error::Syntax { reason: syntax.to_string() }),
    }
}

struct Reader {
    plans: &'static Plans,
    sink: Sink,
    path: Path,
    /// Messages open now.
    depth: usize,
    /// Why reading stopped. serde's own error type has room for a text only.
    refusal: Option<Error>,
}

impl Reader {
    fn refuse<E: serde::de::Error>(&mut self, refusal: Error) -> E {
        self.refusal = Some(refusal);
        E::custom("refused")
    }

    fn wrong<E: serde::de::Error>(&mut self, field: &FieldPlan, found: &'static str) -> E {
        let path = self.path.to_string();
        self.refuse(Error::Kind { path, wanted: wanted(field.kind), found })
    }

    fn object<'de, A: MapAccess<'de>>(&mut self, id: MessageId, mut object: A) -> Result<(), A::Error> {
        self.depth += 1;
        if self.depth > MESSAGE_DEPTH_MAX {
            return Err(self.refuse(Error::Depth { limit: MESSAGE_DEPTH_MAX }));
        }
        let plan = self.plans.message(id);
        let mut seen = 0_u128;
        while let Some(index) = object.next_key_seed(Name { plan })? {
            let Some(index) = index else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            let field = plan.field(index);
            if seen & 1 << index != 0 {
                let path = self.path.to(&field.name);
                return Err(self.refuse(Error::Twice { path }));
            }
            seen |= 1 << index;
            self.path.push(Segment::Field(&field.name));
            object.next_value_seed(Value { field, element: false, reader: self })?;
            self.path.pop();
        }
        self.depth -= 1;
        Ok(())
    }

    fn map<'de, A: MapAccess<'de>>(
        &mut self,
        field: &'static FieldPlan,
        entry: MessageId,
        mut map: A,
    ) -> Result<(), A::Error> {
        let value = self.plans.message(entry).field(1);
        while let Some(key) = map.next_key::<String>()? {
            let before = self.sink.len();
            let open = self.sink.open(field.number);
            self.sink.bytes(1, key.as_bytes());
            let empty = self.sink.len();
            self.path.push(Segment::Key(key));
            map.next_value_seed(Value { field: value, element: false, reader: self })?;
            self.path.pop();
            if self.sink.len() > empty {
                self.sink.close(open);
            } else {
                // The value was null: there is no such entry.
                self.sink.cut(before, open);
            }
        }
        Ok(())
    }

    fn integer<E: serde::de::Error>(&mut self, field: &FieldPlan, number: i128) -> Result<(), E> {
        let wire = match field.kind {
            Kind::Int32 => i32::try_from(number).ok().map(|number| i64::from(number) as u64),
            Kind::Int64 => i64::try_from(number).ok().map(|number| number as u64),
            Kind::Uint32 => u32::try_from(number).ok().map(u64::from),
            _ => u64::try_from(number).ok(),
        };
        match wire {
            Some(wire) => {
                self.sink.varint(field.number, wire);
                Ok(())
            }
            None => Err(self.out_of_range(field)),
        }
    }

    fn real<E: serde::de::Error>(&mut self, field: &FieldPlan, number: f64) -> Result<(), E> {
        // Far outside of all integers that a field takes, and still exact.
        const BEYOND: f64 = 1e30;
        match field.kind {
            Kind::Double => {
                self.sink.double(field.number, number);
                Ok(())
            }
            _ if number.abs() < BEYOND => self.integer(field, number.trunc() as i128),
            _ => Err(self.out_of_range(field)),
        }
    }

    fn out_of_range<E: serde::de::Error>(&mut self, field: &FieldPlan) -> E {
        let path = self.path.to_string();
        self.refuse(Error::Range { path, wanted: wanted(field.kind) })
    }

    fn words<E: serde::de::Error>(&mut self, field: &FieldPlan, words: &str) -> Result<(), E> {
        match field.kind {
            Kind::String => self.sink.bytes(field.number, words.as_bytes()),
            Kind::Bytes => match text::bytes_from(words) {
                Some(bytes) => self.sink.bytes(field.number, &bytes),
                None => {
                    let path = self.path.to_string();
                    return Err(self.refuse(Error::Base64 { path }));
                }
            },
            Kind::Enum(known) => match self.plans.enumeration(known).number(words) {
                Some(number) => self.sink.varint(field.number, i64::from(number) as u64),
                None if field.label == Label::Required => {
                    let path = self.path.to_string();
                    return Err(self.refuse(Error::EnumName { path, name: quoted(words) }));
                }
                None => {}
            },
            Kind::Bool => match words {
                "true" => self.sink.varint(field.number, 1),
                "false" => self.sink.varint(field.number, 0),
                _ => return Err(self.wrong(field, "a string")),
            },
            Kind::Double if words == "Infinity" => self.sink.double(field.number, f64::INFINITY),
            Kind::Double if words == "-Infinity" => self.sink.double(field.number, f64::NEG_INFINITY),
            Kind::Double | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => {
                return self.number_in(field, words);
            }
            Kind::Message(_) | Kind::Map(_) => return Err(self.wrong(field, "a string")),
        }
        Ok(())
    }

    /// A number that came as a string: what JSON would take without the quotes.
    fn number_in<E: serde::de::Error>(&mut self, field: &FieldPlan, words: &str) -> Result<(), E> {
        if field.kind != Kind::Double {
            if let Ok(number) = words.parse::<u64>() {
                return self.integer(field, number.into());
            }
            if let Ok(number) = words.parse::<i64>() {
                return self.integer(field, number.into());
            }
        }
        match serde_json::from_str::<f64>(words) {
            Ok(number) => self.real(field, number),
            Err(_) => Err(self.wrong(field, "a string")),
        }
    }
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Double => "a number",
        Kind::Int32 => "a 32-bit integer",
        Kind::Int64 => "a 64-bit integer",
        Kind::Uint32 => "an unsigned 32-bit integer",
        Kind::Uint64 => "an unsigned 64-bit integer",
        Kind::Bool => "a boolean",
        Kind::String => "a string",
        Kind::Bytes => "a base64 string",
        Kind::Enum(_) => "the name of an enum value",
        Kind::Message(_) | Kind::Map(_) => "an object",
    }
}

struct Root<'r> {
    id: MessageId,
    reader: &'r mut Reader,
}

impl<'de> DeserializeSeed<'de> for Root<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.reader.object(self.id, object)
    }
}

/// A field's name: its index, or nothing for one that the type does not have.
struct Name {
    plan: &'static MessagePlan,
}

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<u16>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<u16>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<u16>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<u16>, E> {
        Ok(self.plan.index_of_name(name))
    }
}

struct Value<'r> {
    field: &'static FieldPlan,
    /// Inside an array: an array in an array is no element.
    element: bool,
    reader: &'r mut Reader,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Bool => {
                self.reader.sink.varint(self.field.number, value.into());
                Ok(())
            }
            _ => Err(self.reader.wrong(self.field, "a boolean")),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        match self.field.kind {
            Kind::Double => self.visit_f64(value as f64),
            Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => self.reader.integer(self.field, value.into()),
            _ => Err(self.reader.wrong(self.field, "a number")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        match self.field.kind {
            Kind::Double => self.visit_f64(value as f64),
            Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => self.reader.integer(self.field, value.into()),
            _ => Err(self.reader.wrong(self.field, "a number")),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        match self.field.kind {
            Kind::Double | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => {
                self.reader.real(self.field, value)
            }
            _ => Err(self.reader.wrong(self.field, "a number")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.reader.words(self.field, value)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        match self.field.kind {
            Kind::Map(entry) => self.reader.map(self.field, entry, object),
            Kind::Message(inner) => {
                let open = self.reader.sink.open(self.field.number);
                self.reader.object(inner, object)?;
                self.reader.sink.close(open);
                Ok(())
            }
            _ => Err(self.reader.wrong(self.field, "an object")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let Self { field, element, reader } = self;
        if !field.is_repeated() || element || matches!(field.kind, Kind::Map(_)) {
            return Err(reader.wrong(field, "an array"));
        }
        for index in 0.. {
            reader.path.push(Segment::Index(index));
            let more = array.next_element_seed(Value { field, element: true, reader: &mut *reader })?;
            reader.path.pop();
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }
}

//! Random messages of any type, over descriptors.

use std::collections::HashMap;

use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};

/// Nesting beyond which optional messages are left out, so that a random message ends.
const DEPTH_MAX: usize = 7;

/// Fields of one message tree: beyond these only what is required comes.
const FIELDS_MAX: usize = 400;

/// A generator of messages; the same seed gives the same ones.
pub(crate) struct Random {
    state: u64,
    fields: usize,
    /// One in how many required fields is left out; none when zero.
    pub(crate) omit_one_in: u64,
    /// The paths of what was left out.
    pub(crate) omitted: Vec<String>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, fields: 0, omit_one_in: 0, omitted: Vec::new() }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn message(&mut self, kind: &MessageDescriptor) -> DynamicMessage {
        self.fields = 0;
        self.inner(kind, 0, "")
    }

    fn inner(&mut self, kind: &MessageDescriptor, depth: usize, path: &str) -> DynamicMessage {
        let mut message = DynamicMessage::new(kind.clone());
        for field in kind.fields() {
            let to = if path.is_empty() { field.name().to_owned() } else { format!("{path}.{}", field.name()) };
            if field.cardinality() == Cardinality::Required {
                if self.omit_one_in > 0 && self.below(self.omit_one_in) == 0 {
                    self.omitted.push(to);
                    continue;
                }
            } else {
                let is_message = matches!(field.kind(), Kind::Message(_));
                let stops = self.fields > FIELDS_MAX || (is_message && depth >= DEPTH_MAX);
                // One member of a oneof at most.
                let taken =
                    field.containing_oneof().is_some_and(|oneof| oneof.fields().any(|other| message.has_field(&other)));
                if stops || taken || self.below(if is_message { 3 } else { 2 }) == 0 {
                    continue;
                }
            }
            self.fields += 1;
            let value = self.field(&field, depth, &to);
            // The zero of a field without presence (`google.protobuf.Duration`) is the same as nothing.
            if field.supports_presence() || !value.is_default_for_field(&field) {
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize, path: &str) -> Value {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { unreachable!("a map has entries") };
            let value = entry.map_entry_value_field();
            let mut map = HashMap::new();
            for _ in 0..=self.below(3) {
                let key = self.text();
                if !map.contains_key(&MapKey::String(key.clone())) {
                    let to = format!("{path}[{key:?}]");
                    map.insert(MapKey::String(key), self.value(&value, depth, &to));
                }
            }
            Value::Map(map)
        } else if field.is_list() {
            let count = 1 + self.below(3);
            Value::List((0..count).map(|index| self.value(field, depth, &format!("{path}[{index}]"))).collect())
        } else {
            self.value(field, depth, path)
        }
    }

    fn value(&mut self, field: &FieldDescriptor, depth: usize, path: &str) -> Value {
        match field.kind() {
            Kind::Double => Value::F64(self.double()),
            Kind::Int32 => Value::I32(self.integer() as i32),
            Kind::Int64 => Value::I64(self.integer() as i64),
            Kind::Uint32 => Value::U32(self.integer() as u32),
            Kind::Uint64 => Value::U64(self.integer()),
            Kind::Bool => Value::Bool(self.below(2) == 0),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => {
                let length = self.below(20);
                Value::Bytes((0..length).map(|_| self.next() as u8).collect::<Vec<_>>().into())
            }
            Kind::Enum(known) => {
                let at = self.below(known.values().len() as u64) as usize;
                Value::EnumNumber(known.values().nth(at).expect("in range").number())
            }
            Kind::Message(inner) => Value::Message(self.inner(&inner, depth + 1, path)),
            other => panic!("{other:?} is not in the schema"),
        }
    }

    fn integer(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(3),
            1 => u64::MAX - self.below(3),
            2 => 1 << self.below(64),
            _ => self.next(),
        }
    }

    fn double(&mut self) -> f64 {
        match self.below(4) {
            0 => self.below(1000) as f64,
            1 => self.below(1_000_000) as f64 / 1000.0,
            2 => -0.0,
            _ => Some(f64::from_bits(self.next())).filter(|number| number.is_finite()).unwrap_or(f64::MAX),
        }
    }

    fn text(&mut self) -> String {
        const LETTERS: [char; 12] =
            ['a', 'Z', '0', '_', '/', '"', '\\', '\n', '\u{1}', '\u{e9}', '\u{2028}', '\u{1f600}'];
        let length = self.below(8);
        (0..length).map(|_| LETTERS[self.below(LETTERS.len() as u64) as usize]).collect()
    }
}

/// The message as it reads back from its JSON: explicit defaults have become values.
pub(crate) fn with_defaults(message: &DynamicMessage) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.descriptor());
    for field in message.descriptor().fields() {
        let proto = field.field_descriptor_proto();
        let is_deprecated = proto.options.as_ref().is_some_and(|options| options.deprecated());
        let shows = field.cardinality() == Cardinality::Optional && proto.default_value.is_some() && !is_deprecated;
        if message.has_field(&field) {
            filled.set_field(&field, with_defaults_inside(message.get_field(&field).into_owned()));
        } else if shows {
            filled.set_field(&field, field.default_value());
        }
    }
    filled
}

fn with_defaults_inside(value: Value) -> Value {
    match value {
        Value::Message(inner) => Value::Message(with_defaults(&inner)),
        Value::List(list) => Value::List(list.into_iter().map(with_defaults_inside).collect()),
        Value::Map(map) => Value::Map(map.into_iter().map(|(key, value)| (key, with_defaults_inside(value))).collect()),
        other => other,
    }
}

/// Compares without printing descriptors, which would be pages.
pub(crate) fn assert_same(left: &DynamicMessage, right: &DynamicMessage, what: &str) {
    assert!(left == right, "{what}\n{}\n{}", left, right);
}

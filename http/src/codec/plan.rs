//! What the codec knows about each message type: tables made once from the descriptors, read by every encoding.
//!
//! prost-reflect could do this walk at run time over `DynamicMessage`; tables over plain wire bytes cost a fraction of it.
//! Only what the v1 schema uses exists here (no groups, no extensions, no floats, no zigzag or fixed integers, maps keyed
//! by strings): a schema that grows beyond that stops the first test that touches the codec, not a running master.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::prost_types::field_descriptor_proto::Type;
use prost_reflect::{Cardinality, FieldDescriptor, MessageDescriptor, Value};

use super::text;

/// Bits in the mask of fields seen; `ResourceStatistics`, the widest message, has 58 fields.
const FIELDS_MAX: usize = 128;

/// No field has this number.
const ABSENT: u16 = u16::MAX;

/// An index into [`Plans::message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageId(u32);

/// An index into [`Plans::enumeration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EnumId(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Bool,
    String,
    Bytes,
    Enum(EnumId),
    Message(MessageId),
    /// A `map<string, V>`; the entry has the key as field 1 and the value as field 2.
    Map(MessageId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Required,
    Optional,
    /// Maps too.
    Repeated,
}

#[derive(Debug)]
pub(super) struct FieldPlan {
    pub(super) name: Box<str>,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) label: Label,
    /// `"name":`
    pub(super) json_key: Box<[u8]>,
    /// What JSON shows when the field is unset: the explicit default of an optional field that is not deprecated.
    pub(super) json_default: Option<Box<[u8]>>,
    /// What one element adds to a decoded message: the inline size of the Rust value, roughly.
    pub(super) element_bytes: usize,
}

impl FieldPlan {
    pub(super) fn is_repeated(&self) -> bool {
        self.label == Label::Repeated
    }
}

#[derive(Debug)]
pub(super) struct MessagePlan {
    /// In the order of declaration, the order of JSON.
    pub(super) fields: Box<[FieldPlan]>,
    /// The required ones, one bit per index in `fields`.
    pub(super) required: u128,
    by_number: Box<[u16]>,
    by_name: Box<[u16]>,
}

impl MessagePlan {
    pub(super) fn index_of_number(&self, number: u32) -> Option<u16> {
        self.by_number.get(number as usize).copied().filter(|index| *index != ABSENT)
    }

    pub(super) fn index_of_name(&self, name: &str) -> Option<u16> {
        let order = |index: &u16| (*self.fields[usize::from(*index)].name).cmp(name);
        self.by_name.binary_search_by(order).ok().map(|at| self.by_name[at])
    }

    pub(super) fn field(&self, index: u16) -> &FieldPlan {
        &self.fields[usize::from(index)]
    }
}

#[derive(Debug)]
pub(super) struct EnumPlan {
    by_number: Box<[(i32, Box<[u8]>)]>,
    by_name: Box<[(Box<str>, i32)]>,
}

impl EnumPlan {
    /// The name with its quotes, as JSON shows it.
    pub(super) fn json_name(&self, number: i32) -> Option<&[u8]> {
        let at = self.by_number.binary_search_by_key(&number, |(known, _)| *known).ok()?;
        Some(&self.by_number[at].1)
    }

    pub(super) fn number(&self, name: &str) -> Option<i32> {
        let at = self.by_name.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(self.by_name[at].1)
    }
}

#[derive(Debug)]
pub(super) struct Plans {
    messages: Box<[MessagePlan]>,
    enums: Box<[EnumPlan]>,
    names: HashMap<Box<str>, MessageId>,
}

static PLANS: LazyLock<Plans> = LazyLock::new(Builder::build);

impl Plans {
    /// All of them; built at the first use (a few milliseconds), shared from then on.
    pub(super) fn all() -> &'static Self {
        &PLANS
    }

    pub(super) fn named(&self, full_name: &str) -> Option<MessageId> {
        self.names.get(full_name).copied()
    }

    pub(super) fn message(&self, id: MessageId) -> &MessagePlan {
        &self.messages[id.0 as usize]
    }

    pub(super) fn enumeration(&self, id: EnumId) -> &EnumPlan {
        &self.enums[id.0 as usize]
    }
}

struct Builder {
    messages: HashMap<String, (MessageId, MessageDescriptor)>,
    enums: HashMap<String, EnumId>,
    /// Inline sizes already known; `None` while one is being computed, which is how recursion shows.
    sizes: HashMap<String, Option<usize>>,
}

impl Builder {
    fn build() -> Plans {
        let pool = crate::v1::descriptor_pool();
        let messages: Vec<_> = pool.all_messages().collect();
        let enums: Vec<_> = pool.all_enums().collect();
        let mut builder = Self {
            messages: (0..)
                .zip(&messages)
                .map(|(at, message)| (message.full_name().to_owned(), (MessageId(at), message.clone())))
                .collect(),
            enums: (0..).zip(&enums).map(|(at, known)| (known.full_name().to_owned(), EnumId(at))).collect(),
            sizes: HashMap::new(),
        };
        Plans {
            messages: messages.iter().map(|message| builder.message(message)).collect(),
            enums: enums
                .iter()
                .map(|known| {
                    let mut by_number = Vec::new();
                    let mut by_name = Vec::new();
                    for value in known.values() {
                        by_number.push((value.number(), format!("\"{}\"", value.name()).into_bytes().into()));
                        by_name.push((value.name().into(), value.number()));
                    }
                    by_number.sort_unstable();
                    by_name.sort_unstable();
                    EnumPlan { by_number: by_number.into(), by_name: by_name.into() }
                })
                .collect(),
            names: builder.messages.into_iter().map(|(name, (id, _))| (name.into_boxed_str(), id)).collect(),
        }
    }

    fn message(&mut self, message: &MessageDescriptor) -> MessagePlan {
        // `fields()` goes by number, the declaration by position in the descriptor.
        let declared = &message.descriptor_proto().field;
        assert!(declared.len() <= FIELDS_MAX, "{} has more fields than the mask has bits", message.full_name());
        let fields: Box<[FieldPlan]> = declared
            .iter()
            .map(|field| {
                let field = message.get_field(declared_number(field.number)).expect("the field was declared");
                self.field(&field)
            })
            .collect();
        let mut required = 0;
        let mut by_number = Vec::new();
        let mut by_name = Vec::new();
        for (at, field) in (0_u16..).zip(&fields) {
            if field.label == Label::Required {
                required |= 1 << at;
            }
            let number = field.number as usize;
            if by_number.len() <= number {
                by_number.resize(number + 1, ABSENT);
            }
            by_number[number] = at;
            by_name.push(at);
        }
        by_name.sort_unstable_by_key(|at| &fields[usize::from(*at)].name);
        MessagePlan { required, by_number: by_number.into(), by_name: by_name.into(), fields }
    }

    fn field(&mut self, field: &FieldDescriptor) -> FieldPlan {
        let proto = field.field_descriptor_proto();
        let kind = self.kind(field);
        let label = match field.cardinality() {
            Cardinality::Required => Label::Required,
            Cardinality::Optional => Label::Optional,
            Cardinality::Repeated => Label::Repeated,
        };
        let is_deprecated = proto.options.as_ref().is_some_and(|options| options.deprecated());
        let shows_default = label == Label::Optional && proto.default_value.is_some() && !is_deprecated;
        FieldPlan {
            name: field.name().into(),
            number: field.number(),
            kind,
            label,
            json_key: format!("\"{}\":", field.name()).into_bytes().into(),
            json_default: shows_default.then(|| default_as_json(field)),
            element_bytes: self.element_bytes(field),
        }
    }

    fn kind(&self, field: &FieldDescriptor) -> Kind {
        let of_message = |kind: prost_reflect::Kind| match kind {
            prost_reflect::Kind::Message(inner) => self.messages[inner.full_name()].0,
            other => unreachable!("{other:?} is no message"),
        };
        if field.is_map() {
            return Kind::Map(of_message(field.kind()));
        }
        match field.field_descriptor_proto().r#type() {
            Type::Double => Kind::Double,
            Type::Int32 => Kind::Int32,
            Type::Int64 => Kind::Int64,
            Type::Uint32 => Kind::Uint32,
            Type::Uint64 => Kind::Uint64,
            Type::Bool => Kind::Bool,
            Type::String => Kind::String,
            Type::Bytes => Kind::Bytes,
            Type::Enum => match field.kind() {
                prost_reflect::Kind::Enum(inner) => Kind::Enum(self.enums[inner.full_name()]),
                other => unreachable!("{other:?} is no enum"),
            },
            Type::Message => Kind::Message(of_message(field.kind())),
            other => unreachable!("{} is {other:?}, which the codec has no rule for", field.full_name()),
        }
    }

    fn element_bytes(&mut self, field: &FieldDescriptor) -> usize {
        match field.kind() {
            prost_reflect::Kind::Message(inner) => self.message_bytes(&inner),
            prost_reflect::Kind::String | prost_reflect::Kind::Bytes => size_of::<String>(),
            _ => 2 * size_of::<u64>(),
        }
    }

    /// How large the generated struct is, from above: optional scalars count 16 bytes, a recursive field is boxed.
    fn message_bytes(&mut self, message: &MessageDescriptor) -> usize {
        match self.sizes.get(message.full_name()) {
            Some(Some(known)) => return *known,
            Some(None) => return size_of::<Box<()>>(),
            None => {}
        }
        self.sizes.insert(message.full_name().to_owned(), None);
        let bytes =
            size_of::<usize>()
                + message
                    .fields()
                    .map(|field| {
                        if field.is_list() || field.is_map() {
                            size_of::<Vec<()>>()
                        } else {
                            self.element_bytes(&field)
                        }
                    })
                    .sum::<usize>();
        self.sizes.insert(message.full_name().to_owned(), Some(bytes));
        bytes
    }
}

fn declared_number(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).expect("the compiler numbered the field")
}

fn default_as_json(field: &FieldDescriptor) -> Box<[u8]> {
    let mut out = Vec::new();
    match field.default_value() {
        Value::Bool(value) => text::boolean(&mut out, value),
        Value::I32(value) => text::signed(&mut out, value.into()),
        Value::U32(value) => text::unsigned(&mut out, value.into()),
        Value::I64(value) => text::signed(&mut out, value),
        Value::U64(value) => text::unsigned(&mut out, value),
        Value::F64(value) => text::double(&mut out, value),
        Value::String(value) => text::string(&mut out, &value),
        Value::EnumNumber(number) => match field.kind() {
            prost_reflect::Kind::Enum(known) => {
                let value = known.get_value(number).expect("a default is one of the values");
                text::string(&mut out, value.name());
            }
            other => unreachable!("{other:?} is no enum"),
        },
        other => unreachable!("{other:?} cannot be a default in this schema"),
    }
    out.into()
}

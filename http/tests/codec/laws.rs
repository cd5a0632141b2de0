//! What holds for every message of every type in the schema.

use kaon_http::codec::{Error, Limits, MISSING_NAMED_MAX, Schema};
use kaon_http::v1;
use proptest::prelude::*;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};

use super::random::{Random, assert_same, with_defaults};
use super::typed;

/// Every message type but map entries, which are no messages of their own.
fn all_types() -> impl Iterator<Item = MessageDescriptor> {
    v1::descriptor_pool().all_messages().filter(|kind| !kind.is_map_entry())
}

fn schema(kind: &MessageDescriptor) -> Schema {
    Schema::named(kind.full_name()).expect("every type has a schema")
}

/// Has the protobuf library's own JSON form for `google.protobuf.Duration`, which Mesos does not use.
fn has_well_known_type(kind: &MessageDescriptor) -> bool {
    kind.full_name().starts_with("google.")
        || matches!(kind.full_name(), "mesos.v1.master.Call" | "mesos.v1.master.Call.DrainAgent")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn wire_to_json_to_wire(seed: u64) {
        let mut random = Random::new(seed);
        for kind in all_types() {
            let message = random.message(&kind);
            let wire = message.encode_to_vec();
            prop_assert_eq!(schema(&kind).check(&wire, Limits::CALL), Ok(()), "{}", kind.full_name());

            let json = schema(&kind).to_json(&wire).unwrap();
            prop_assert!(json.iter().all(|byte| (b' '..=b'~').contains(byte)));
            let back = schema(&kind).from_json(&json).unwrap();
            prop_assert_eq!(schema(&kind).check(&back, Limits::CALL), Ok(()));
            let back = DynamicMessage::decode(kind.clone(), &*back).unwrap();
            assert_same(&back, &with_defaults(&message), kind.full_name());

            // The order of declaration, whatever the order of the numbers.
            let shown: indexed::Object = serde_json::from_slice(&json).unwrap();
            let declared = kind.descriptor_proto().field.iter().map(|field| field.name());
            let present = declared.filter(|name| shown.0.iter().any(|key| key == name));
            prop_assert!(present.eq(shown.0.iter()), "{}", kind.full_name());
        }
    }

    /// prost-reflect's JSON is another implementation of nearly the same mapping.
    #[test]
    fn another_implementation_reads_and_writes_the_same(seed: u64) {
        let options = SerializeOptions::new()
            .use_proto_field_name(true)
            .stringify_64_bit_integers(false)
            .use_enum_numbers(false)
            .skip_default_fields(true);
        let mut random = Random::new(seed);
        for kind in all_types().filter(|kind| !has_well_known_type(kind)) {
            let message = random.message(&kind);
            let json = schema(&kind).to_json(&message.encode_to_vec()).unwrap();
            let mut parser = serde_json::Deserializer::from_slice(&json);
            let theirs = DynamicMessage::deserialize(kind.clone(), &mut parser).unwrap();
            assert_same(&theirs, &with_defaults(&message), kind.full_name());

            let mut out = Vec::new();
            message.serialize_with_options(&mut serde_json::Serializer::new(&mut out), &options).unwrap();
            let wire = schema(&kind).from_json(&out).unwrap();
            assert_same(&DynamicMessage::decode(kind.clone(), &*wire).unwrap(), &message, kind.full_name());
        }
    }

    #[test]
    fn all_missing_fields_are_named(seed: u64) {
        let mut random = Random::new(seed);
        random.omit_one_in = 8;
        for kind in all_types() {
            random.omitted.clear();
            let message = random.message(&kind);
            let mut omitted = random.omitted.clone();
            omitted.sort_unstable();
            for wire in [
                message.encode_to_vec(),
                schema(&kind).from_json(&schema(&kind).to_json(&message.encode_to_vec()).unwrap()).unwrap(),
            ] {
                match schema(&kind).check(&wire, Limits::CALL) {
                    Ok(()) => prop_assert_eq!(&omitted, &Vec::<String>::new()),
                    Err(Error::Missing { mut paths, more }) => {
                        prop_assert_eq!(paths.len() + more, omitted.len());
                        paths.sort_unstable();
                        if omitted.len() <= MISSING_NAMED_MAX {
                            prop_assert_eq!(&paths, &omitted);
                        }
                        prop_assert!(paths.iter().all(|path| omitted.contains(path)));
                    }
                    Err(other) => prop_assert!(false, "{other}"),
                }
            }
        }
    }

    /// Two messages one after the other are one in protobuf; another implementation says which.
    #[test]
    fn messages_given_twice_are_merged_as_elsewhere(seed: u64) {
        let mut random = Random::new(seed);
        for kind in all_types() {
            let both = [random.message(&kind).encode_to_vec(), random.message(&kind).encode_to_vec()].concat();
            let plain = schema(&kind).merged(&both, Limits::CALL).unwrap();
            prop_assert_eq!(schema(&kind).check(&plain, Limits::CALL), Ok(()), "{}", kind.full_name());
            let wanted = DynamicMessage::decode(kind.clone(), &*both).unwrap();
            let merged = DynamicMessage::decode(kind.clone(), &*plain).unwrap();
            assert_same(&merged, &wanted, kind.full_name());
        }
    }

    #[test]
    fn types_and_descriptors_agree(seed: u64) {
        let mut random = Random::new(seed);
        for (name, through_type) in typed::ALL {
            let kind = v1::descriptor_pool().get_message_by_name(name).unwrap();
            let message = random.message(&kind);
            through_type(&message);
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_never_worse(seed: u64, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut random = Random::new(seed);
        for (name, _) in typed::ALL {
            let kind = v1::descriptor_pool().get_message_by_name(name).unwrap();
            let mut wire = random.message(&kind).encode_to_vec();
            let mut json = schema(&kind).to_json(&wire).unwrap();
            for (at, flip) in &flips {
                for bytes in [&mut wire, &mut json] {
                    if !bytes.is_empty() {
                        let at = at.index(bytes.len());
                        bytes[at] ^= flip;
                    }
                }
            }
            typed::decode_any(name, &wire, &json);
        }
    }
}

mod indexed {
    use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

    /// The keys of an object in their order.
    pub(super) struct Object(pub(super) Vec<String>);

    impl<'de> Deserialize<'de> for Object {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Keys;
            impl<'de> Visitor<'de> for Keys {
                type Value = Object;
                fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    formatter.write_str("an object")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                    let mut keys = Vec::new();
                    while let Some((key, IgnoredAny)) = map.next_entry()? {
                        keys.push(key);
                    }
                    Ok(Object(keys))
                }
            }
            deserializer.deserialize_map(Keys)
        }
    }
}

//! The two encodings behind one form: a row writes and reads JSON values, and what travels is JSON or protobuf.
//!
//! The conversion is `prost-reflect`'s over the descriptors, not the product's codec: an error of the codec can't hide in
//! both directions. What comes is judged on the way: no field, enum value or type that the schema does not have, and no
//! message without a field that it requires.

use anyhow::{Context, Result, bail, ensure};
use prost_reflect::{Cardinality, DynamicMessage, Kind, MessageDescriptor, SerializeOptions};
use serde_json::Value;

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Media {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

impl Media {
    /// The name in headers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    /// The name in the table.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }

    /// The bytes of a message.
    pub(crate) fn write(self, message: &str, value: &Value) -> Result<Vec<u8>> {
        match self {
            Self::Json => Ok(value.to_string().into_bytes()),
            Self::Protobuf => {
                let dynamic = DynamicMessage::deserialize(descriptor(message)?, value)
                    .with_context(|| format!("a row wrote what is no {message}: {value}"))?;
                Ok(prost_reflect::prost::Message::encode_to_vec(&dynamic))
            }
        }
    }

    /// A message of these bytes, complete and without anything that the schema does not know.
    pub(crate) fn read(self, message: &str, bytes: &[u8]) -> Result<Value> {
        let descriptor = descriptor(message)?;
        let value = match self {
            Self::Json => {
                let value: Value = serde_json::from_slice(bytes)
                    .with_context(|| format!("no JSON: {}", String::from_utf8_lossy(bytes)))?;
                DynamicMessage::deserialize(descriptor.clone(), &value)
                    .with_context(|| format!("no {message}: {value}"))?;
                value
            }
            Self::Protobuf => {
                let dynamic = DynamicMessage::decode(descriptor.clone(), bytes)
                    .with_context(|| format!("no {message} in {} bytes", bytes.len()))?;
                ensure!(dynamic.unknown_fields().next().is_none(), "a {message} with unknown fields");
                let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
                dynamic.serialize_with_options(serde_json::value::Serializer, &options)?
            }
        };
        complete(&descriptor, &value).with_context(|| format!("an incomplete {message}: {value}"))?;
        Ok(value)
    }
}

fn descriptor(message: &str) -> Result<MessageDescriptor> {
    kaon_http::v1::descriptor_pool().get_message_by_name(message).with_context(|| format!("no message {message}"))
}

/// Whether all required fields are there, at every depth.
fn complete(message: &MessageDescriptor, value: &Value) -> Result<()> {
    for field in message.fields() {
        let Some(inner) = value.get(field.name()).filter(|inner| !inner.is_null()) else {
            if field.cardinality() == Cardinality::Required {
                bail!("{} has no {}", message.name(), field.name());
            }
            continue;
        };
        if field.is_map() {
            if let Kind::Message(entry) = field.kind()
                && let Kind::Message(kind) = entry.map_entry_value_field().kind()
            {
                inner.as_object().into_iter().flatten().try_for_each(|(_, one)| complete(&kind, one))?;
            }
        } else if let Kind::Message(kind) = field.kind() {
            match inner {
                Value::Array(many) => many.iter().try_for_each(|one| complete(&kind, one))?,
                one => complete(&kind, one)?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Media;
    use serde_json::json;

    const CALL: &str = "mesos.v1.scheduler.Call";

    #[test]
    fn both_encodings_carry_the_same() {
        let call = json!({"type": "ACKNOWLEDGE", "acknowledge": {"agent_id": {"value": "a"}, "task_id": {"value": "t"},
            "uuid": "AAECAwQFBgcICQoLDA0ODw=="}});
        for media in [Media::Json, Media::Protobuf] {
            let bytes = media.write(CALL, &call).expect("a call");
            assert_eq!(media.read(CALL, &bytes).expect("it reads back"), call, "{media:?}");
        }
    }

    #[test]
    fn what_is_unknown_or_incomplete_is_refused() {
        for wrong in [
            json!({"type": "KILL", "kill": {}}),
            json!({"type": "KILL", "kill": {"task_id": {}}}),
            json!({"type": "NONE"}),
            json!({"typ": "KILL"}),
        ] {
            assert!(Media::Json.read(CALL, wrong.to_string().as_bytes()).is_err(), "{wrong}");
        }
        assert!(Media::Protobuf.read(CALL, &[0x9a, 0x3f, 0x00]).is_err(), "field 1011 does not exist");
    }
}

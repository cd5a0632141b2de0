//! Wire bytes in which something comes more than once, made plain: what every protobuf parser does while it reads. Of a
//! singular number or text the last counts, the parts of a singular message are one message, and of map entries with the
//! same key the last counts.
//!
//! Rare, so it is a pass of its own that nothing else pays for: [`super::check`] refuses what is given twice, and only then is
//! this asked. What comes of it is checked from the beginning.

use std::collections::BTreeMap;

use super::error::{Error, Path};
use super::plan::{FieldPlan, Kind, MessageId, Plans};
use super::wire::{Field, Fields, Malformed, Sink, WireValue};
use super::{Limits, MESSAGE_DEPTH_MAX};

/// What remembering one part of a message, or one map entry, takes at most, in bytes.
const PART_BYTES: usize = 64;

/// The same message with nothing given twice; fields that its type does not have are left out. Cost: each byte is read once for
/// each level of nesting that it is in, and what is remembered meanwhile counts against the memory of the limits.
pub(super) fn plain(root: MessageId, message: &[u8], limits: Limits) -> Result<Vec<u8>, Error> {
    let sink = Sink::with_capacity(message.len());
    let mut merge = Merge { plans: Plans::all(), sink, limits, memory_bytes: 0 };
    merge.message(root, &[message], 1)?;
    Ok(merge.sink.into_bytes())
}

/// What is known of a singular field so far.
enum Single<'a> {
    /// The last value.
    Value(WireValue<'a>),
    /// All parts of a message.
    Parts(Vec<&'a [u8]>),
}

/// Singular fields by their index, each with the number of the field at which it came last: of the members of a `oneof` the
/// last counts, so they are written in that order.
type Singles<'a> = BTreeMap<u16, (usize, Single<'a>)>;

struct Merge {
    plans: &'static Plans,
    sink: Sink,
    limits: Limits,
    memory_bytes: usize,
}

impl Merge {
    /// Writes the fields of the message that lies in these parts.
    fn message(&mut self, id: MessageId, parts: &[&[u8]], depth: usize) -> Result<(), Error> {
        if depth > MESSAGE_DEPTH_MAX {
            return Err(Error::Depth { limit: MESSAGE_DEPTH_MAX });
        }
        let plan = self.plans.message(id);
        let mut singles = Singles::new();
        let mut entries: BTreeMap<(u16, &[u8]), &[u8]> = BTreeMap::new();
        for (at, field) in parts.iter().flat_map(|part| Fields::new(part)).enumerate() {
            let field = field.map_err(malformed)?;
            let Some(index) = plan.index_of_number(field.number) else { continue };
            let known = plan.field(index);
            match known.kind {
                Kind::Map(_) => {
                    let bytes = field.value.bytes().map_err(malformed)?;
                    self.remember()?;
                    entries.insert((index, key(bytes)?), bytes);
                }
                Kind::Message(inner) if known.is_repeated() => {
                    self.inner(known, inner, &[field.value.bytes().map_err(malformed)?], depth)?;
                }
                Kind::Message(_) => {
                    let bytes = field.value.bytes().map_err(malformed)?;
                    match singles.get_mut(&index) {
                        // An empty part adds nothing to what is there.
                        Some((last, _)) if bytes.is_empty() => *last = at,
                        Some((last, Single::Parts(parts))) => {
                            self.remember()?;
                            *last = at;
                            parts.push(bytes);
                        }
                        _ => {
                            self.remember()?;
                            singles.insert(index, (at, Single::Parts(vec![bytes])));
                        }
                    }
                }
                _ if known.is_repeated() => self.value(&field)?,
                // A number that the enum does not have leaves what was there.
                Kind::Enum(names) if singles.contains_key(&index) && !self.is_of(names, field.value) => {}
                _ => {
                    singles.insert(index, (at, Single::Value(field.value)));
                }
            }
        }
        let mut singles: Vec<_> = singles.into_iter().collect();
        singles.sort_unstable_by_key(|(_, (last, _))| *last);
        for (index, (_, single)) in singles {
            let known = plan.field(index);
            match (single, known.kind) {
                (Single::Parts(parts), Kind::Message(inner)) => self.inner(known, inner, &parts, depth)?,
                (Single::Value(value), _) => self.value(&Field { number: known.number, value })?,
                (Single::Parts(_), _) => unreachable!("only messages have parts"),
            }
        }
        for ((index, _), bytes) in entries {
            let known = plan.field(index);
            if let Kind::Map(entry) = known.kind {
                self.inner(known, entry, &[bytes], depth)?;
            }
        }
        Ok(())
    }

    fn inner(&mut self, field: &FieldPlan, id: MessageId, parts: &[&[u8]], depth: usize) -> Result<(), Error> {
        let open = self.sink.open(field.number);
        self.message(id, parts, depth + 1)?;
        self.sink.close(open);
        Ok(())
    }

    fn value(&mut self, field: &Field<'_>) -> Result<(), Error> {
        match field.value {
            WireValue::Varint(number) => self.sink.varint(field.number, number),
            WireValue::Fixed64(bits) => self.sink.double(field.number, f64::from_bits(bits)),
            WireValue::Bytes(bytes) => self.sink.bytes(field.number, bytes),
            // No field of the schema is written so.
            WireValue::Fixed32 => return Err(malformed(Malformed::Mismatch)),
        }
        Ok(())
    }

    fn is_of(&self, names: super::plan::EnumId, value: WireValue<'_>) -> bool {
        matches!(value, WireValue::Varint(number) if self.plans.enumeration(names).json_name(number as i32).is_some())
    }

    fn remember(&mut self) -> Result<(), Error> {
        self.memory_bytes = self.memory_bytes.saturating_add(PART_BYTES);
        if self.memory_bytes > self.limits.memory_bytes_max {
            return Err(Error::Memory { limit_bytes: self.limits.memory_bytes_max });
        }
        Ok(())
    }
}

/// The key of a map entry.
fn key(entry: &[u8]) -> Result<&[u8], Error> {
    let mut key: &[u8] = &[];
    for part in Fields::new(entry) {
        let part = part.map_err(malformed)?;
        if part.number == 1 {
            key = part.value.bytes().map_err(malformed)?;
        }
    }
    Ok(key)
}

fn malformed(reason: Malformed) -> Error {
    Error::Protobuf { path: Path::default().to_string(), reason }
}

//! Looks through wire bytes before prost makes a message of them: proto2 `required`, depth, memory, and repetition.
//!
//! prost enforces none of these except a depth of 100. A message of two bytes may take a kilobyte once decoded, so the
//! memory is counted here, where nothing has been allocated yet.

use super::error::{Error, MISSING_NAMED_MAX, Path, Segment};
use super::plan::{FieldPlan, Kind, Label, MessageId, MessagePlan, Plans};
use super::wire::{Fields, Malformed, WireValue};
use super::{Limits, MESSAGE_DEPTH_MAX};

/// One pass over the bytes; cost in proportion to their number, times the depth of nesting for none of them.
pub(super) fn check(root: MessageId, message: &[u8], limits: Limits) -> Result<(), Error> {
    let mut check =
        Check { plans: Plans::all(), path: Path::default(), missing: Vec::new(), more: 0, limits, memory_bytes: 0 };
    check.message(root, message, 1)?;
    if check.missing.is_empty() { Ok(()) } else { Err(Error::Missing { paths: check.missing, more: check.more }) }
}

struct Check {
    plans: &'static Plans,
    path: Path,
    missing: Vec<String>,
    more: usize,
    limits: Limits,
    memory_bytes: usize,
}

impl Check {
    fn message(&mut self, id: MessageId, message: &[u8], depth: usize) -> Result<(), Error> {
        if depth > MESSAGE_DEPTH_MAX {
            return Err(Error::Depth { limit: MESSAGE_DEPTH_MAX });
        }
        let plan = self.plans.message(id);
        let mut present = 0_u128;
        // How often the repeated field that is being read was met; senders write one field's elements together.
        let mut run = (0, 0);
        let mut keys = Vec::new();
        for field in Fields::new(message) {
            let field = field.map_err(|reason| self.malformed(reason))?;
            let Some(index) = plan.index_of_number(field.number) else { continue };
            let known = plan.field(index);
            let bit = 1_u128 << index;
            if known.is_repeated() {
                let position = if run.0 == index { run.1 } else { 0 };
                run = (index, position + 1);
                self.charge(known, field.value)?;
                match known.kind {
                    Kind::Map(entry) => keys.push((index, self.entry(known, entry, field.value, depth)?)),
                    Kind::Message(inner) => {
                        self.path.push(Segment::Field(&known.name));
                        self.path.push(Segment::Index(position));
                        self.inner(inner, field.value, depth)?;
                        self.path.pop();
                        self.path.pop();
                    }
                    _ => {}
                }
            } else if present & bit != 0 {
                return Err(Error::Twice { path: self.path.to(&known.name) });
            } else if let Kind::Message(inner) = known.kind {
                self.path.push(Segment::Field(&known.name));
                self.inner(inner, field.value, depth)?;
                self.path.pop();
            }
            if self.is_known(known, field.value)? {
                present |= bit;
            }
        }
        self.unique(plan, keys)?;
        self.required(plan, present);
        Ok(())
    }

    fn inner(&mut self, id: MessageId, value: WireValue<'_>, depth: usize) -> Result<(), Error> {
        let bytes = value.bytes().map_err(|reason| self.malformed(reason))?;
        self.message(id, bytes, depth + 1)
    }

    /// Whether a value counts as present: a number that an enum does not know does not (proto2). Refuses a value that is
    /// not written as its kind is.
    fn is_known(&self, field: &FieldPlan, value: WireValue<'_>) -> Result<bool, Error> {
        match (field.kind, value) {
            (Kind::Enum(known), WireValue::Varint(number)) => {
                Ok(self.plans.enumeration(known).json_name(number as i32).is_some())
            }
            (Kind::Double, WireValue::Fixed64(_))
            | (Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Map(_), WireValue::Bytes(_))
            | (Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool, WireValue::Varint(_)) => Ok(true),
            // Packed.
            (
                Kind::Double | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool,
                WireValue::Bytes(_),
            )
            | (Kind::Enum(_), WireValue::Bytes(_))
                if field.is_repeated() =>
            {
                Ok(true)
            }
            _ => Err(self.malformed(Malformed::Mismatch)),
        }
    }

    fn charge(&mut self, field: &FieldPlan, value: WireValue<'_>) -> Result<(), Error> {
        let elements = match value {
            // Packed: at least one byte each.
            WireValue::Bytes(bytes)
                if !matches!(field.kind, Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Map(_)) =>
            {
                bytes.len()
            }
            _ => 1,
        };
        self.memory_bytes = self.memory_bytes.saturating_add(elements.saturating_mul(field.element_bytes));
        if self.memory_bytes > self.limits.memory_bytes_max {
            return Err(Error::Memory { limit_bytes: self.limits.memory_bytes_max });
        }
        Ok(())
    }

    /// Checks one map entry and returns its key. A value that is not there is a default one, complete or not.
    fn entry<'a>(
        &mut self,
        field: &'static FieldPlan,
        entry: MessageId,
        value: WireValue<'a>,
        depth: usize,
    ) -> Result<&'a [u8], Error> {
        let entry_bytes = value.bytes().map_err(|reason| self.malformed(reason))?;
        let mut key: &[u8] = &[];
        let mut content = None;
        for part in Fields::new(entry_bytes) {
            let part = part.map_err(|reason| self.malformed(reason))?;
            match part.number {
                1 => key = part.value.bytes().map_err(|reason| self.malformed(reason))?,
                2 if content.is_some() => return Err(Error::Twice { path: self.path.to(&field.name) }),
                2 => content = Some(part.value),
                _ => {}
            }
        }
        let value_plan = self.plans.message(entry).field(1);
        if let Kind::Message(inner) = value_plan.kind {
            self.path.push(Segment::Field(&field.name));
            self.path.push(Segment::Key(String::from_utf8_lossy(key).into_owned()));
            self.inner(inner, content.unwrap_or(WireValue::Bytes(&[])), depth)?;
            self.path.pop();
            self.path.pop();
        } else if let Some(content) = content {
            self.is_known(value_plan, content)?;
        }
        Ok(key)
    }

    fn unique(&self, plan: &'static MessagePlan, mut keys: Vec<(u16, &[u8])>) -> Result<(), Error> {
        keys.sort_unstable();
        for pair in keys.windows(2) {
            if pair[0] == pair[1] {
                let (index, key) = pair[0];
                let mut path = Path::default();
                path.push(Segment::Field(&plan.field(index).name));
                path.push(Segment::Key(String::from_utf8_lossy(key).into_owned()));
                return Err(Error::Twice { path: self.path.to(&path.to_string()) });
            }
        }
        Ok(())
    }

    fn required(&mut self, plan: &'static MessagePlan, present: u128) {
        let mut missing = plan.required & !present;
        while missing != 0 {
            let field = &plan.fields[missing.trailing_zeros() as usize];
            debug_assert_eq!(field.label, Label::Required);
            if self.missing.len() < MISSING_NAMED_MAX {
                self.missing.push(self.path.to(&field.name));
            } else {
                self.more += 1;
            }
            missing &= missing - 1;
        }
    }

    fn malformed(&self, reason: Malformed) -> Error {
        Error::Protobuf { path: self.path.to_string(), reason }
    }
}

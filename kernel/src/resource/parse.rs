//! Resource and attribute texts of flags, as Mesos writes them (reference 10): `cpus:4;mem:2048;ports(web):[1-2,5-6]`.
//!
//! The other form of `--resources`, a JSON array of v1 messages, is the edge's to read; it answers with the same types.
//! As in Mesos, blanks within values don't matter, ranges that overlap become one, and a name may come twice: its amounts
//! add up. Stricter than Mesos, which takes `a::1` for `a:1`: exactly one colon.
//!
//! Where the behaviour comes from: Mesos's `src/common/resources.cpp`, `values.cpp` and `attributes.cpp`.

use crate::agent::{Attribute, AttributeValue};
use crate::quantity::Quantity;
use crate::resource::{
    Identity, Ranges, RangesError, Reservation, Resource, ResourceName, Resources, SharedIdentity, Value, role,
};
use core::fmt;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

/// What is wrong with a text, and at which character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The whole text.
    pub text: String,
    /// Where in it, in bytes from 0.
    pub at: usize,
    /// What is wrong.
    pub reason: String,
}

/// How many characters of a line an error shows before and after the place.
const SHOWN_CHARS: usize = 50;

impl ParseError {
    /// An error at a part of a text; at its begin when the part is of another text.
    pub fn new(text: &str, part: &str, reason: impl Into<String>) -> Self {
        let at = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
        let at = if at <= text.len() && text.is_char_boundary(at) { at } else { 0 };
        Self { text: text.to_owned(), at, reason: reason.into() }
    }
}

impl std::error::Error for ParseError {}

/// The reason with the line and the character counted from 1, the line, and a caret below the place.
impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.text.split_at_checked(self.at).unwrap_or((&self.text, ""));
        let line = before.matches('\n').count() + 1;
        let (before, after) = (before.rsplit('\n').next().unwrap_or(""), after.split('\n').next().unwrap_or(""));
        let column = before.chars().count();
        write!(formatter, "{} at ", self.reason)?;
        if self.text.contains('\n') {
            write!(formatter, "line {line}, ")?;
        }
        let skipped = column.saturating_sub(SHOWN_CHARS);
        let shown = before.chars().skip(skipped).chain(after.chars().take(SHOWN_CHARS));
        let shown: String = shown.map(|character| if character.is_control() { ' ' } else { character }).collect();
        write!(formatter, "character {}\n  {shown}\n  {:>width$}", column + 1, "^", width = column - skipped + 1)
    }
}

/// What a `--resources` flag says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The resources.
    pub resources: Resources,
    /// The names that it mentions, those of which it says that there is nothing too.
    pub names: BTreeSet<ResourceName>,
}

struct Source<'a>(&'a str);

impl Source<'_> {
    fn error(&self, part: &str, reason: impl Into<String>) -> ParseError {
        ParseError::new(self.0, part, reason)
    }
}

/// Reads a resource text. A role in parentheses is a static reservation; `*` is none.
pub fn resources(text: &str) -> Result<Resources, ParseError> {
    said(text).map(|said| said.resources)
}

/// Reads a resource text with the names that it mentions.
pub fn said(text: &str) -> Result<Said, ParseError> {
    let source = Source(text);
    let mut gathered: BTreeMap<(ResourceName, Option<SharedIdentity>), Gathered> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for token in text.split(';').filter(|token| !token.trim().is_empty()) {
        let trimmed = token.trim_start();
        let (head, value) = token.split_once(':').ok_or_else(|| source.error(trimmed, "expected 'name:value'"))?;
        if let Some(at) = value.find(':') {
            return Err(source.error(&value[at..], "more than one ':'"));
        }
        let (name, identity) = head_of(&source, head)?;
        let value = resource_value(&source, &name, value)?;
        names.insert(name.clone());
        match gathered.entry((name, identity)) {
            Entry::Vacant(place) => drop(place.insert(value)),
            Entry::Occupied(mut own) => own.get_mut().add(&source, trimmed, value)?,
        }
    }
    let entries = gathered.into_iter().map(|((name, identity), gathered)| {
        let value = gathered.value().map_err(|error| source.error(text, error.to_string()))?;
        Ok(Resource { name, identity, value })
    });
    let entries = entries.collect::<Result<Vec<_>, ParseError>>()?;
    let resources = Resources::collect(entries).map_err(|error| source.error(text, error.to_string()))?;
    Ok(Said { resources, names })
}

/// `name` or `name(role)`.
fn head_of(source: &Source<'_>, head: &str) -> Result<(ResourceName, Option<SharedIdentity>), ParseError> {
    let (name, holder) = match head.split_once('(') {
        None => (head, None),
        Some((name, rest)) => {
            let end = rest.find(')').ok_or_else(|| source.error(&head[name.len()..], "missing ')'"))?;
            if let Some(more) = Some(rest[end + 1..].trim_start()).filter(|more| !more.is_empty()) {
                return Err(source.error(more, "expected ':'"));
            }
            let inner = rest[..end].trim();
            (name, Some(role::parse(inner).map_err(|error| source.error(inner, error.to_string()))?))
        }
    };
    if name.trim().is_empty() {
        return Err(source.error(name, "missing name"));
    }
    let identity = holder.filter(|holder| holder.as_str() != role::DEFAULT).map(|role| {
        let reservation = Reservation { dynamic: false, role, principal: None, labels: Vec::new() };
        Identity { reservations: vec![reservation], ..Identity::default() }.into()
    });
    Ok((ResourceName::of(name.trim()), identity))
}

/// The amounts of one name, which may come any number of times. What takes sorting is put together once, at the end.
enum Gathered {
    Scalar(Quantity),
    Ranges(Vec<(u64, u64)>),
    Set(BTreeSet<String>),
}

impl Gathered {
    fn add(&mut self, source: &Source<'_>, token: &str, more: Self) -> Result<(), ParseError> {
        match (self, more) {
            (Self::Scalar(own), Self::Scalar(more)) => {
                let sum = own.plus(more).filter(|sum| sum.as_scalar() <= crate::quantity::QUANTITY_UNITS_MAX);
                *own = sum.ok_or_else(|| source.error(token, "the sum is out of range"))?;
            }
            (Self::Ranges(own), Self::Ranges(more)) => own.extend(more),
            (Self::Set(own), Self::Set(more)) => own.extend(more),
            (own, more) => {
                return Err(source.error(token, format!("it is {} here and {} before", more.kind(), own.kind())));
            }
        }
        Ok(())
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(_) => "SCALAR",
            Self::Ranges(_) => "RANGES",
            Self::Set(_) => "SET",
        }
    }

    fn value(self) -> Result<Value, RangesError> {
        Ok(match self {
            Self::Scalar(quantity) => Value::Scalar(quantity),
            Self::Ranges(parts) => Value::Ranges(Ranges::covering(parts)?),
            Self::Set(items) => Value::Set(items),
        })
    }
}

/// Reads an attribute text: `rack:r1;cores:[0-3];gen:2.5`. Each token is split at its first colon; lines are tokens too.
pub fn attributes(text: &str) -> Result<Vec<Attribute>, ParseError> {
    let source = Source(text);
    let tokens = text.split([';', '\n']).filter(|token| !token.trim().is_empty());
    let parsed = tokens.map(|token| {
        let trimmed = token.trim_start();
        let (name, value) = token.split_once(':').ok_or_else(|| source.error(trimmed, "expected 'name:value'"))?;
        if name.trim().is_empty() {
            return Err(source.error(name, "missing name"));
        }
        let trimmed = value.trim();
        let value = match trimmed.chars().next() {
            None => return Err(source.error(value, "missing value")),
            Some('[') => {
                let parts = ranges(&source, trimmed)?;
                AttributeValue::Ranges(
                    Ranges::covering(parts).map_err(|error| source.error(trimmed, error.to_string()))?,
                )
            }
            Some('{') => return Err(source.error(trimmed, "sets are not allowed in attributes")),
            Some(_) => match float(trimmed).and_then(Quantity::from_scalar) {
                Some(quantity) => AttributeValue::Scalar(quantity),
                None => AttributeValue::Text(trimmed.to_owned()),
            },
        };
        Ok(Attribute { name: name.trim().to_owned(), value })
    });
    parsed.collect()
}

fn resource_value(source: &Source<'_>, name: &ResourceName, text: &str) -> Result<Gathered, ParseError> {
    let trimmed = text.trim();
    match trimmed.chars().next() {
        None => Err(source.error(text, "missing value")),
        Some('[') => ranges(source, trimmed).map(Gathered::Ranges),
        Some('{') => set(source, trimmed).map(Gathered::Set),
        Some(_) => {
            let number = float(trimmed).ok_or_else(|| source.error(trimmed, "expected a number, '[' or '{'"))?;
            let quantity = Quantity::from_scalar(number).ok_or_else(|| source.error(trimmed, "number out of range"))?;
            if *name == ResourceName::Gpus && !quantity.0.is_multiple_of(1000) {
                return Err(source.error(trimmed, "gpus must be a whole number"));
            }
            Ok(Gathered::Scalar(quantity))
        }
    }
}

/// What stands between brackets.
fn inner<'a>(source: &Source<'_>, text: &'a str, close: char) -> Result<&'a str, ParseError> {
    let end = text.find(close).ok_or_else(|| source.error(&text[text.len()..], format!("missing '{close}'")))?;
    match text[end + 1..].trim_start() {
        "" => Ok(&text[1..end]),
        more => Err(source.error(more, "expected ';' or the end")),
    }
}

fn set(source: &Source<'_>, text: &str) -> Result<BTreeSet<String>, ParseError> {
    let mut items = BTreeSet::new();
    for item in inner(source, text, '}')?.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        if !items.insert(item.replace(' ', "")) {
            return Err(source.error(item, "it is in the set twice"));
        }
    }
    Ok(items)
}

/// Ranges as they are written; they may overlap.
fn ranges(source: &Source<'_>, text: &str) -> Result<Vec<(u64, u64)>, ParseError> {
    let parts = inner(source, text, ']')?.split(',').filter(|part| !part.trim().is_empty()).map(|part| {
        let trimmed = part.trim();
        let (begin, end) = part.split_once('-').ok_or_else(|| source.error(trimmed, "expected 'begin-end'"))?;
        let number = |text: &str| whole(text).ok_or_else(|| source.error(text.trim(), "expected a whole number"));
        let (begin, end) = (number(begin)?, number(end)?);
        match begin <= end {
            true => Ok((begin, end)),
            false => Err(source.error(trimmed, "the range ends before it begins")),
        }
    });
    parts.collect()
}

/// A number that may be hexadecimal, blanks within it left out.
fn whole(text: &str) -> Option<u64> {
    let compact = text.replace(char::is_whitespace, "");
    match compact.strip_prefix("0x").or_else(|| compact.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')),
        None => compact.parse().ok(),
    }
}

fn float(text: &str) -> Option<f64> {
    let compact = text.replace(char::is_whitespace, "");
    match compact.starts_with("0x") || compact.starts_with("0X") {
        true => whole(&compact).map(|number| number as f64),
        false => compact.parse().ok(),
    }
}

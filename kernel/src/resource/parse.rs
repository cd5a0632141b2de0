//! Resource and attribute texts of flags, as Mesos writes them (reference 10): `cpus:4;mem:2048;ports(web):[1-2,5-6]`.

use crate::agent::{Attribute, AttributeValue};
use crate::quantity::Quantity;
use crate::resource::{Identity, Ranges, Reservation, Resource, ResourceName, Resources, Value, role};

/// What is wrong with a text, and at which character (counted in bytes from 0).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at character {at} of '{text}'")]
pub struct ParseError {
    /// The whole text.
    pub text: String,
    /// Where in it.
    pub at: usize,
    /// What is wrong.
    pub reason: String,
}

struct Source<'a>(&'a str);

impl Source<'_> {
    fn error(&self, part: &str, reason: impl Into<String>) -> ParseError {
        let at = (part.as_ptr() as usize).wrapping_sub(self.0.as_ptr() as usize).min(self.0.len());
        ParseError { text: self.0.to_owned(), at, reason: reason.into() }
    }
}

/// Reads a resource text. A role in parentheses is a static reservation; `*` is none.
pub fn resources(text: &str) -> Result<Resources, ParseError> {
    let source = Source(text);
    let mut bag = Resources::new();
    for token in text.split(';').filter(|token| !token.trim().is_empty()) {
        let (head, value) = token.split_once(':').ok_or_else(|| source.error(token, "expected 'name:value'"))?;
        if value.contains(':') {
            return Err(source.error(value, "more than one ':'"));
        }
        let (name, reserved) = match head.trim().split_once('(') {
            None => (head.trim(), None),
            Some((name, rest)) => {
                let inner = rest.strip_suffix(')').ok_or_else(|| source.error(rest, "missing ')'"))?;
                let holder = role::parse(inner.trim()).map_err(|error| source.error(inner, error.to_string()))?;
                (name.trim(), Some(holder).filter(|holder| holder.as_str() != role::DEFAULT))
            }
        };
        if name.is_empty() {
            return Err(source.error(token, "missing name"));
        }
        let identity = reserved.map(|role| {
            let reservation = Reservation { dynamic: false, role, principal: None, labels: Vec::new() };
            Box::new(Identity { reservations: vec![reservation], ..Identity::default() })
        });
        let entry = Resource { name: ResourceName::of(name), identity, value: resource_value(&source, value)? };
        let one = Resources::collect([entry]).map_err(|error| source.error(token, error.to_string()))?;
        bag.add(&one).map_err(|error| source.error(token, error.to_string()))?;
    }
    Ok(bag)
}

/// Reads an attribute text: `rack:r1;cores:[0-3];gen:2.5`. Each token is split at its first colon.
pub fn attributes(text: &str) -> Result<Vec<Attribute>, ParseError> {
    let source = Source(text);
    let tokens = text.split(';').filter(|token| !token.trim().is_empty());
    let parsed = tokens.map(|token| {
        let (name, value) = token.split_once(':').ok_or_else(|| source.error(token, "expected 'name:value'"))?;
        let trimmed = value.trim();
        let value = match trimmed.chars().next() {
            None => return Err(source.error(value, "missing value")),
            Some('[') => AttributeValue::Ranges(ranges(&source, trimmed)?),
            Some('{') => return Err(source.error(trimmed, "sets are not allowed in attributes")),
            Some(_) => match trimmed.parse::<f64>().ok().and_then(Quantity::from_scalar) {
                Some(quantity) => AttributeValue::Scalar(quantity),
                None => AttributeValue::Text(trimmed.to_owned()),
            },
        };
        Ok(Attribute { name: name.trim().to_owned(), value })
    });
    parsed.collect()
}

fn resource_value(source: &Source<'_>, text: &str) -> Result<Value, ParseError> {
    let trimmed = text.trim();
    match trimmed.chars().next() {
        None => Err(source.error(text, "missing value")),
        Some('[') => ranges(source, trimmed).map(Value::Ranges),
        Some('{') => {
            let inner = trimmed[1..].strip_suffix('}').ok_or_else(|| source.error(trimmed, "missing '}'"))?;
            Ok(Value::Set(inner.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()))
        }
        Some(_) => {
            let number = trimmed.parse::<f64>().map_err(|_| source.error(trimmed, "expected a number, '[' or '{'"))?;
            let quantity = Quantity::from_scalar(number);
            quantity.map(Value::Scalar).ok_or_else(|| source.error(trimmed, "number out of range"))
        }
    }
}

fn ranges(source: &Source<'_>, text: &str) -> Result<Ranges, ParseError> {
    let inner = text[1..].strip_suffix(']').ok_or_else(|| source.error(text, "missing ']'"))?;
    let parts = inner.split(',').filter(|part| !part.trim().is_empty()).map(|part| {
        let (begin, end) = part.split_once('-').ok_or_else(|| source.error(part, "expected 'begin-end'"))?;
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| source.error(text, "expected a whole number"));
        Ok((number(begin)?, number(end)?))
    });
    let parts = parts.collect::<Result<Vec<_>, ParseError>>()?;
    Ranges::new(parts).map_err(|error| source.error(text, error.to_string()))
}

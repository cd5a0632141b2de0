//! What `--resources` says: a text as Mesos writes it, or a JSON array of v1 messages (reference 10).
//!
//! A flag says what a machine has. What is made at run time (dynamic reservations, persistent volumes, shared and revocable
//! resources) comes from an agent's checkpoint and is refused here.

use kaon_kernel::resource::parse::{self, ParseError, Said};
use kaon_kernel::resource::{Resource, ResourceName};
use serde::de::IgnoredAny;

use super::resource;
use crate::codec::{self, MediaType};
use crate::v1::mesos as v1;

/// Reads the value of the flag. Errors point at the character of a text, at the element of an array.
///
/// # Errors
/// The first thing that is wrong.
pub fn said(text: &str) -> Result<Said, ParseError> {
    if text.trim_start().starts_with('[') { array(text) } else { parse::said(text) }
}

fn array(text: &str) -> Result<Said, ParseError> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or(&reason);
        return Err(ParseError::new(text, at_line(text, error.line(), error.column()), reason));
    }
    let mut said = Said::default();
    for element in elements(text) {
        let error = |reason: String| ParseError::new(text, element, reason);
        if !element.starts_with('{') {
            return Err(error("expected a resource: {\"name\": .., \"type\": .., ..}".to_owned()));
        }
        let message: v1::Resource =
            codec::decode(MediaType::Json, element.as_bytes()).map_err(|refusal| error(refusal.to_string()))?;
        if message.allocation_info.is_some() {
            return Err(error("a flag can't allocate resources".to_owned()));
        }
        let (bag, _) =
            resource::from_v1(std::slice::from_ref(&message)).map_err(|refusal| error(refusal.to_string()))?;
        if let Some(reason) = bag.iter().find_map(made_at_run_time) {
            return Err(error(format!("a flag can't {reason}")));
        }
        said.resources.add(&bag).map_err(|refusal| error(refusal.to_string()))?;
        said.names.insert(ResourceName::of(&message.name));
    }
    Ok(said)
}

fn made_at_run_time(entry: &Resource) -> Option<&'static str> {
    let reservations = entry.identity.as_ref().map_or(&[][..], |identity| &identity.reservations);
    let is_provided = entry.identity.as_ref().is_some_and(|identity| identity.provider_id.is_some());
    let rules = [
        (reservations.iter().any(|reservation| reservation.dynamic), "reserve dynamically: reserve it at run time"),
        (entry.is_persistent_volume(), "make persistent volumes: create them at run time"),
        (entry.is_revocable(), "make resources revocable"),
        (is_provided, "speak for a resource provider"),
    ];
    rules.into_iter().find(|(is_broken, _)| *is_broken).map(|(_, reason)| reason)
}

/// The rest of a text from a line and a column on, both counted from 1 in bytes.
fn at_line(text: &str, line: usize, column: usize) -> &str {
    let begin: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    text.get(begin + column.saturating_sub(1)..).unwrap_or(&text[text.len()..])
}

/// The elements of an array that is known to be JSON, each as it is written.
fn elements(text: &str) -> Vec<&str> {
    let (mut depth, mut in_string, mut escaped, mut begin) = (0_usize, false, false, 0);
    let mut elements = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth == 1 {
                    begin = at + 1;
                }
            }
            b']' | b'}' | b',' if depth == 1 => {
                elements.push(text[begin..at].trim());
                begin = at + 1;
                depth -= usize::from(byte != b',');
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    // Between the brackets of an empty array there is no element.
    elements.retain(|element| !element.is_empty());
    elements
}

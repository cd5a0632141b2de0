//! Requests as labels of a task, for clients that speak the API of Mesos. Documented in `docs/topology.md`.
//!
//! A label whose key does not begin with [`PREFIX`] is none of our business. One that does is read or refused: a wish that
//! is silently dropped is worse than a task that does not start.

use super::request::{Near, PlacementRequest, Policy};
use crate::framework::Label;
use crate::nearest::nearest;
use crate::resource::Ranges;
use crate::topology::{MemoryKind, NUMBER_END, TEXT_BYTES_MAX};

/// What the keys of our labels begin with.
pub const PREFIX: &str = "kaon.placement/";

/// The keys after the prefix.
pub const KEYS: [&str; 7] = ["policy", "cores", "memory", "gpu-share", "gpu-memory", "gpu-links", "gpu-near"];

const POLICIES: [Policy; 5] = [Policy::None, Policy::OneNode, Policy::OnePackage, Policy::Packed, Policy::Spread];

const KINDS: [MemoryKind; 4] = [MemoryKind::Dram, MemoryKind::HighBandwidth, MemoryKind::Cxl, MemoryKind::NonVolatile];

/// Why labels make no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A key under the prefix that means nothing.
    #[error("there is no label '{PREFIX}{key}'{}", hint(nearest))]
    Key {
        /// The key after the prefix, cut to [`TEXT_BYTES_MAX`] bytes.
        key: String,
        /// The one that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A value that its key does not take.
    #[error("label '{PREFIX}{key}': expected {expected}, not '{value}'")]
    Value {
        /// The key after the prefix.
        key: &'static str,
        /// What it is, cut to [`TEXT_BYTES_MAX`] bytes.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A key that is there twice.
    #[error("label '{PREFIX}{0}' is there twice")]
    Twice(&'static str),
    /// Labels that ask for two things which can't both be.
    #[error("labels under '{PREFIX}': {0}")]
    Conflict(&'static str),
}

fn hint(nearest: &Option<&'static str>) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean '{PREFIX}{nearest}'?"),
        None => format!("; there are {}", KEYS.join(", ")),
    }
}

/// The request that labels make; `None` when none of them is ours. Cost: linear in the labels.
///
/// # Errors
/// The first label of ours that means nothing, and what contradicts itself.
pub fn parse(labels: &[Label]) -> Result<Option<PlacementRequest>, LabelError> {
    let mut request = PlacementRequest::default();
    let mut seen: Vec<&'static str> = Vec::new();
    for label in labels {
        let Some(name) = label.key.strip_prefix(PREFIX) else { continue };
        let Some(key) = KEYS.into_iter().find(|key| *key == name) else {
            let name = cut(name);
            let nearest = nearest(&name, KEYS);
            return Err(LabelError::Key { key: name, nearest });
        };
        if seen.contains(&key) {
            return Err(LabelError::Twice(key));
        }
        seen.push(key);
        let value = label.value.as_deref().unwrap_or_default();
        read(&mut request, key, value).map_err(|expected| LabelError::Value { key, value: cut(value), expected })?;
    }
    if request.gpus_near == Some(Near::Cores) && !request.is_pinned() {
        return Err(LabelError::Conflict("'gpu-near' is 'cores', but no 'policy' or 'cores' gives the task its own"));
    }
    if request.one_link_group && request.wants_part() {
        return Err(LabelError::Conflict("a part of one GPU has no links: 'gpu-links' is for whole ones"));
    }
    Ok((!seen.is_empty()).then_some(request))
}

fn read(request: &mut PlacementRequest, key: &str, value: &str) -> Result<(), &'static str> {
    match key {
        "policy" => {
            let found = POLICIES.into_iter().find(|policy| policy.name() == value);
            request.policy = found.ok_or("none, numa, package, packed or spread")?;
        }
        "cores" => match value {
            "shared" => request.exclusive = false,
            "exclusive" => request.exclusive = true,
            _ => return Err("shared or exclusive"),
        },
        "memory" => {
            let found = KINDS.into_iter().find(|kind| kind.name() == value);
            request.memory = Some(found.ok_or("dram, hbm, cxl or nvm")?);
        }
        "gpu-share" => {
            request.gpu_share = Some(thousandths(value).ok_or("a number above 0 and up to 1, such as 0.25")?)
        }
        "gpu-memory" => request.gpu_memory_bytes = Some(bytes(value).ok_or("a size such as 512MiB or 16GiB")?),
        "gpu-links" => match value {
            "any" => request.one_link_group = false,
            "group" => request.one_link_group = true,
            _ => return Err("any or group"),
        },
        _ => request.gpus_near = Some(near(value).ok_or("cores, nic, nic:NAME or units:LIST such as units:0-7,16")?),
    }
    Ok(())
}

/// A share with up to three decimals as thousandths, 1 to 1000.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_plain =
        part.len() <= 3 && [whole, part].iter().all(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let whole = whole.parse::<u32>().ok().filter(|whole| is_plain && *whole <= 1)?;
    let part = format!("{part:0<3}").parse::<u32>().ok()?;
    Some(whole * 1000 + part).filter(|share| (1..=1000).contains(share))
}

/// A size with its unit in bytes, above zero.
fn bytes(text: &str) -> Option<u64> {
    let at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(1 << shift)
}

fn near(text: &str) -> Option<Near> {
    match text.split_once(':') {
        None if text == "cores" => Some(Near::Cores),
        None if text == "nic" => Some(Near::AnyNetwork),
        Some(("nic", name)) if !name.is_empty() && name.len() <= TEXT_BYTES_MAX => Some(Near::Network(name.to_owned())),
        Some(("units", list)) if list.len() <= TEXT_BYTES_MAX => {
            let range = |part: &str| {
                let (begin, end) = part.split_once('-').unwrap_or((part, part));
                let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number < NUMBER_END);
                Some((number(begin)?, number(end)?))
            };
            let ranges = list.split(',').map(range).collect::<Option<Vec<_>>>()?;
            Ranges::new(ranges).ok().map(Near::Units)
        }
        _ => None,
    }
}

/// What a refusal repeats of a text.
fn cut(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}

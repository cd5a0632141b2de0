//! Arithmetic of single values. Never across kinds, never across devices, never beyond a type's range.

use crate::resource::{Device, Ranges, Value};
use std::collections::BTreeSet;

/// A device is whole at this share; no sum of its parts may exceed it.
pub const DEVICE_WHOLE: u32 = 1000;

/// Why two values have no sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clash {
    Overflow,
    Twice,
    Kinds(&'static str, &'static str),
    Facts,
}

impl Value {
    /// The sum of values of one name and identity, in any order. Cost: that of sorting what they hold.
    pub(super) fn sum(self, others: Vec<Self>) -> Result<Self, Clash> {
        match self {
            Self::Scalar(mut sum) => {
                for value in others {
                    let Self::Scalar(more) = value else { return Err(Clash::Kinds("SCALAR", value.kind())) };
                    sum = sum.plus(more).ok_or(Clash::Overflow)?;
                }
                Ok(Self::Scalar(sum))
            }
            Self::Ranges(sum) if others.is_empty() => Ok(Self::Ranges(sum)),
            Self::Ranges(sum) => {
                let mut all: Vec<(u64, u64)> = sum.iter().collect();
                for value in others {
                    let Self::Ranges(more) = value else { return Err(Clash::Kinds("RANGES", value.kind())) };
                    all.extend(more.iter());
                }
                Ranges::new(all).map(Self::Ranges).map_err(|_| Clash::Twice)
            }
            Self::Set(mut sum) => {
                for value in others {
                    let Self::Set(more) = value else { return Err(Clash::Kinds("SET", value.kind())) };
                    let count = sum.len() + more.len();
                    sum.extend(more);
                    if sum.len() < count {
                        return Err(Clash::Twice);
                    }
                }
                Ok(Self::Set(sum))
            }
            Self::Devices(mut all) => {
                for value in others {
                    let Self::Devices(more) = value else { return Err(Clash::Kinds("DEVICES", value.kind())) };
                    all.extend(more);
                }
                all.sort();
                let mut sum: Vec<Device> = Vec::with_capacity(all.len());
                for device in all.into_iter().filter(|device| !is_nothing(device)) {
                    match sum.last_mut() {
                        Some(last) if last.id == device.id => add_to(last, &device)?,
                        _ if device.share > DEVICE_WHOLE => return Err(Clash::Twice),
                        _ => sum.push(device),
                    }
                }
                Ok(Self::Devices(sum))
            }
        }
    }

    /// Adds another value; on refusal nothing is changed. Linear.
    pub(super) fn add(&mut self, more: &Self) -> Result<(), Clash> {
        match (&mut *self, more) {
            (Self::Scalar(have), Self::Scalar(more)) => *have = have.plus(*more).ok_or(Clash::Overflow)?,
            (Self::Ranges(have), Self::Ranges(more)) => *have = have.plus(more).ok_or(Clash::Twice)?,
            (Self::Set(have), Self::Set(more)) => {
                if !is_disjoint(have, more) {
                    return Err(Clash::Twice);
                }
                have.extend(more.iter().cloned());
            }
            (Self::Devices(have), Self::Devices(more)) => *have = plus_devices(have, more)?,
            (have, more) => return Err(Clash::Kinds(have.kind(), more.kind())),
        }
        Ok(())
    }

    /// Takes a part out that it has.
    ///
    /// # Panics
    /// When it has it not: the caller asked [`Self::covers`] before.
    pub(super) fn take(&mut self, part: &Self) {
        match (&mut *self, part) {
            (Self::Scalar(have), Self::Scalar(less)) if *have >= *less => have.0 -= less.0,
            (Self::Set(have), Self::Set(less)) => {
                assert!(less.iter().all(|item| have.remove(item)), "a part is taken out of a set that has it");
            }
            _ => *self = self.less(part).expect("a part is taken out of a value that has it"),
        }
    }

    /// What is left without a part; `None` when it has it not.
    pub(super) fn less(&self, part: &Self) -> Option<Self> {
        match (self, part) {
            (Self::Scalar(have), Self::Scalar(part)) => have.minus(*part).map(Self::Scalar),
            (Self::Ranges(have), Self::Ranges(part)) if have == part => Some(Self::Ranges(Ranges::default())),
            (Self::Ranges(have), Self::Ranges(part)) => have.minus(part).map(Self::Ranges),
            (Self::Set(have), Self::Set(part)) => {
                let rest: BTreeSet<String> = have.difference(part).cloned().collect();
                (rest.len() + part.len() == have.len()).then_some(Self::Set(rest))
            }
            (Self::Devices(have), Self::Devices(part)) => minus_devices(have, part).map(Self::Devices),
            _ => None,
        }
    }

    /// Whether `part` is in it. Copies nothing.
    pub(super) fn covers(&self, part: &Self) -> bool {
        match (self, part) {
            (Self::Scalar(have), Self::Scalar(part)) => have >= part,
            (Self::Ranges(have), Self::Ranges(part)) => have.contains(part),
            (Self::Set(have), Self::Set(part)) => part.is_subset(have),
            (Self::Devices(have), Self::Devices(part)) => {
                let mut rest = have.iter();
                part.iter().all(|part| rest.find(|have| have.id >= part.id).is_some_and(|have| covers(have, part)))
            }
            _ => false,
        }
    }

    /// What is in both; nothing of the kinds differ.
    pub(super) fn common(&self, other: &Self) -> Option<Self> {
        let common = match (self, other) {
            (Self::Scalar(one), Self::Scalar(two)) => Self::Scalar(*one.min(two)),
            (Self::Ranges(one), Self::Ranges(two)) => Self::Ranges(one.common(two)),
            (Self::Set(one), Self::Set(two)) => Self::Set(one.intersection(two).cloned().collect()),
            (Self::Devices(one), Self::Devices(two)) => Self::Devices(common_devices(one, two)),
            _ => return None,
        };
        (!common.is_empty()).then_some(common)
    }

    /// Whether it has the form that every operation keeps.
    pub(super) fn is_canonical(&self) -> bool {
        match self {
            Self::Scalar(_) | Self::Set(_) => true,
            Self::Ranges(ranges) => ranges.is_canonical(),
            Self::Devices(devices) => {
                let is_good = |device: &Device| !is_nothing(device) && device.share <= DEVICE_WHOLE;
                devices.iter().all(is_good) && devices.windows(2).all(|pair| pair[0].id < pair[1].id)
            }
        }
    }
}

/// Looks the fewer up in the more.
fn is_disjoint(one: &BTreeSet<String>, two: &BTreeSet<String>) -> bool {
    let (few, many) = if one.len() < two.len() { (one, two) } else { (two, one) };
    !few.iter().any(|item| many.contains(item))
}

fn is_nothing(device: &Device) -> bool {
    device.share == 0 && device.memory_bytes == 0
}

/// Whether two parts tell the same of their device.
fn is_told_alike(one: &Device, two: &Device) -> bool {
    one.id == two.id && one.numa_node == two.numa_node && one.link_group == two.link_group
}

fn covers(have: &Device, part: &Device) -> bool {
    is_told_alike(have, part) && have.share >= part.share && have.memory_bytes >= part.memory_bytes
}

fn add_to(have: &mut Device, more: &Device) -> Result<(), Clash> {
    if !is_told_alike(have, more) {
        return Err(Clash::Facts);
    }
    let share = have.share.checked_add(more.share).filter(|&share| share <= DEVICE_WHOLE).ok_or(Clash::Twice)?;
    have.memory_bytes = have.memory_bytes.checked_add(more.memory_bytes).ok_or(Clash::Overflow)?;
    have.share = share;
    Ok(())
}

fn plus_devices(have: &[Device], more: &[Device]) -> Result<Vec<Device>, Clash> {
    let mut sum = Vec::with_capacity(have.len() + more.len());
    let mut rest = have.iter().peekable();
    for device in more {
        while let Some(before) = rest.next_if(|own| own.id < device.id) {
            sum.push(before.clone());
        }
        let mut both = device.clone();
        if let Some(own) = rest.next_if(|own| own.id == device.id) {
            add_to(&mut both, own)?;
        }
        sum.push(both);
    }
    sum.extend(rest.cloned());
    Ok(sum)
}

fn minus_devices(have: &[Device], less: &[Device]) -> Option<Vec<Device>> {
    let mut left = Vec::with_capacity(have.len());
    let mut less = less.iter().peekable();
    for device in have {
        let mut rest = device.clone();
        if let Some(part) = less.next_if(|part| part.id == device.id) {
            if !covers(device, part) {
                return None;
            }
            rest.share -= part.share;
            rest.memory_bytes -= part.memory_bytes;
        }
        if !is_nothing(&rest) {
            left.push(rest);
        }
    }
    less.next().is_none().then_some(left)
}

fn common_devices(one: &[Device], two: &[Device]) -> Vec<Device> {
    let mut rest = two.iter().peekable();
    let parts = one.iter().filter_map(|device| {
        while rest.next_if(|other| other.id < device.id).is_some() {}
        let other = rest.next_if(|other| is_told_alike(device, other))?;
        let share = device.share.min(other.share);
        Some(Device { share, memory_bytes: device.memory_bytes.min(other.memory_bytes), ..device.clone() })
    });
    parts.filter(|part| !is_nothing(part)).collect()
}

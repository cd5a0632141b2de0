//! What two bags have in common: for books in which more is in use than there is.
//!
//! The algebra of the kernel refuses what does not fit. An agent that comes back smaller than its tasks is a state of the
//! world, though, and must be kept in books that still balance; so here a bag is split into what fits and what does not.

use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{DiskKind, Resource, ResourceName, Resources, Value};

/// Whether nothing in a bag has an identity.
pub(super) fn is_plain(resources: &Resources) -> bool {
    resources.iter().all(|entry| entry.identity.is_none())
}

/// Whether quota is about an entry: neither reserved nor revocable.
pub(super) fn is_open(entry: &Resource) -> bool {
    entry.identity.as_ref().is_none_or(|own| own.reservations.is_empty() && !own.revocable && !own.shared)
}

fn is_shared(entry: &Resource) -> bool {
    entry.identity.as_ref().is_some_and(|own| own.shared)
}

/// Whether there is a shared volume in a bag.
pub(super) fn has_shared(resources: &Resources) -> bool {
    resources.iter().any(is_shared)
}

/// Parts a bag into what only one can hold and the shared volumes.
pub(super) fn split_shared(resources: &Resources) -> (Resources, Vec<Resource>) {
    if !has_shared(resources) {
        return (resources.clone(), Vec::new());
    }
    let shared = resources.iter().filter(|entry| is_shared(entry)).cloned().collect();
    (resources.filter(|entry| !is_shared(entry)), shared)
}

/// Cuts the open scalars of a bag down to so much of each name, entry by entry in order. A disk that is mounted whole is
/// left out when it is too large; everything else stays.
pub(super) fn cut(resources: &Resources, mut most: impl FnMut(&ResourceName, Quantity) -> Quantity) -> Resources {
    let entries = resources.iter().filter_map(|entry| match entry.value {
        Value::Scalar(have) if is_open(entry) => {
            let take = most(&entry.name, have);
            let disk = entry.identity.as_ref().and_then(|own| own.disk.as_ref());
            let is_whole = disk.and_then(|disk| disk.source.as_ref()).is_some_and(|own| own.kind == DiskKind::Mount);
            if take.is_zero() || (is_whole && take < have) {
                return None;
            }
            Some(Resource { value: Value::Scalar(take), ..entry.clone() })
        }
        _ => Some(entry.clone()),
    });
    Resources::collect(entries).expect("parts of one bag add up as the bag does")
}

/// Splits `wanted` into what `have` covers and the rest, entry by entry, identity included. Their sum is `wanted`.
pub(super) fn split(wanted: &Resources, have: &Resources) -> (Resources, Resources) {
    if have.is_empty() || wanted.is_empty() {
        return (Resources::new(), wanted.clone());
    }
    if have.contains(wanted) {
        return (wanted.clone(), Resources::new());
    }
    let covered = wanted.common(have);
    let rest = wanted.minus(&covered).expect("what is common to two bags is in each");
    (covered, rest)
}

/// About how many bytes a bag takes in a frame: an upper bound, so that messages can be cut before they are encoded.
pub(in crate::allocator) fn frame_bytes(resources: &Resources) -> usize {
    /// An entry with its name, without what hangs on it.
    const ENTRY: usize = 96;
    /// A range, or the header of a text.
    const ITEM: usize = 16;
    /// A device without its name.
    const DEVICE: usize = 64;
    /// An identity without its reservations, or a reservation without its labels.
    const LAYER: usize = 256;
    let entries = resources.iter().map(|entry| {
        let value = match &entry.value {
            Value::Scalar(_) => 0,
            Value::Ranges(ranges) => ranges.iter().count() * ITEM,
            Value::Set(items) => items.iter().map(|item| item.len() + ITEM).sum(),
            Value::Devices(devices) => devices.iter().map(|device| device.id.len() + DEVICE).sum(),
        };
        let identity = entry.identity.as_ref().map_or(0, |identity| {
            let texts = identity.reservations.iter().map(|reservation| {
                let labels = reservation.labels.iter();
                let labels =
                    labels.map(|label| label.key.len() + label.value.as_ref().map_or(0, String::len) + 2 * ITEM);
                LAYER + reservation.role.as_str().len() + labels.sum::<usize>()
            });
            let disk = identity.disk.as_ref().and_then(|disk| disk.source.as_ref());
            let metadata = disk.map_or(0, |source| {
                let labels = source.metadata.iter();
                labels.map(|label| label.key.len() + label.value.as_ref().map_or(0, String::len) + 2 * ITEM).sum()
            });
            8 * LAYER + texts.sum::<usize>() + metadata
        });
        ENTRY + entry.name.as_str().len() + value + identity
    });
    entries.sum()
}

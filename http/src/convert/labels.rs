//! Labels.

use kaon_kernel::framework::Label;

use crate::v1::mesos as v1;

/// Takes the labels out. A list that is there and empty stays behind as such.
pub fn take(labels: &mut Option<v1::Labels>) -> Vec<Label> {
    let Some(list) = labels else { return Vec::new() };
    let taken = core::mem::take(&mut list.labels);
    if !taken.is_empty() {
        *labels = None;
    }
    taken.into_iter().map(|label| Label { key: label.key, value: label.value }).collect()
}

/// The v1 form; `None` for no labels.
pub fn to_v1(labels: &[Label]) -> Option<v1::Labels> {
    (!labels.is_empty()).then(|| v1::Labels {
        labels: labels.iter().map(|label| v1::Label { key: label.key.clone(), value: label.value.clone() }).collect(),
    })
}

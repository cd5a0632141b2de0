//! Metrics of a run, from the records that its engine leaves (reference `policies.md`, section 5).
//!
//! Names are those of the reference in snake case, the statistic last. Times are in seconds, shares and ratios are parts
//! of one. Percentiles are by nearest rank. A metric that has no value in a run (no task ended, no GPU in the cluster) is
//! left out and not zero. Tasks that did not end are counted apart and are in no mean.

pub(crate) mod fairness;
pub(crate) mod listing;
mod schedulers;
pub(crate) mod timeline;
pub(crate) mod times;

#[cfg(test)]
mod tests;

pub use listing::{METRICS, MetricRow};

use crate::record::Records;
use std::collections::BTreeMap;
use timeline::Timeline;

/// Metrics by name, in the order of their names.
pub type Metrics = BTreeMap<String, f64>;

/// Everything that records tell, with the timeline that was computed on the way.
pub(crate) fn of(records: &Records, intervals: usize) -> (Metrics, Timeline) {
    let mut metrics = Metrics::new();
    times::add(records, &mut metrics);
    let timeline = Timeline::of(records, intervals);
    timeline.add(&mut metrics);
    schedulers::add(records, &mut metrics);
    (metrics, timeline)
}

/// Enters a value, unless there is none.
pub(crate) fn enter(metrics: &mut Metrics, name: impl Into<String>, value: Option<f64>) {
    if let Some(value) = value.filter(|value| value.is_finite()) {
        metrics.insert(name.into(), value);
    }
}

pub(crate) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

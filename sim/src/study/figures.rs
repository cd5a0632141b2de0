//! What is drawn of a run, small enough to be kept while others run: distributions at some quantiles, a stretch of the
//! schedule, the per-interval table.

use super::metrics::timeline::TENANTS_SHOWN;
use super::metrics::{self, times};
use crate::record::Records;
use crate::table::Table;

/// Points of a distribution's curve.
const CURVE_POINTS: usize = 200;
/// Tasks in a Gantt chart: as many as can be told apart.
const BARS_MAX: usize = 160;
/// Lanes of a Gantt chart.
const LANES_MAX: usize = 40;

/// A curve of points (value, part of the tasks that do not exceed it).
pub(crate) type Curve = Vec<(f64, f64)>;

/// One task in a Gantt chart. Times are in seconds from the first submit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) lane: usize,
    pub(crate) tenant: u32,
    pub(crate) begin: f64,
    pub(crate) end: f64,
}

/// What is drawn of a run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) policy: String,
    pub(crate) seed: u64,
    /// Waiting times in seconds.
    pub(crate) waiting: Curve,
    pub(crate) slowdown: Curve,
    pub(crate) bars: Vec<Bar>,
    pub(crate) course: Option<Table>,
    /// The names of the tenants, where they have any.
    tenants: Vec<String>,
}

impl Figures {
    /// What a tenant is called, and its colour: those whose shares are shown have one of their own, all others the last.
    pub(crate) fn tenant(&self, number: u32) -> (String, usize) {
        let name = self.tenants.get(number as usize).cloned().unwrap_or_else(|| format!("tenant {number}"));
        let column = format!("share_{number}");
        let shares = self.course.iter().flat_map(Table::columns).filter(|(name, _)| name.starts_with("share_"));
        let at = shares.take(TENANTS_SHOWN).position(|(name, _)| *name == column);
        (name, at.unwrap_or(TENANTS_SHOWN))
    }

    pub(crate) fn of(policy: &str, seed: u64, records: Option<&Records>, course: Option<Table>) -> Self {
        let tasks = records.map_or(&[][..], |records| &records.tasks);
        let waiting = tasks.iter().filter_map(times::queueing_delay_us).map(metrics::seconds).collect();
        let slowdown = tasks.iter().filter_map(times::bounded_slowdown).collect();
        Self {
            policy: policy.to_owned(),
            seed,
            waiting: curve(waiting),
            slowdown: curve(slowdown),
            bars: records.map_or_else(Vec::new, bars),
            course,
            tenants: records.map_or_else(Vec::new, |records| records.tenants.clone()),
        }
    }
}

fn curve(mut values: Vec<f64>) -> Curve {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len();
    let points = count.min(CURVE_POINTS);
    let at = |point: usize| {
        let rank = (point + 1) * count / points;
        (values[rank - 1], rank as f64 / count as f64)
    };
    (0..points).map(at).collect()
}

/// Tasks from the middle of the run, each on the lowest lane that is free: how full the schedule is shows in the lanes.
/// Of tasks that were thrown out it is not known when they ran: none then.
fn bars(records: &Records) -> Vec<Bar> {
    if records.preemptions > 0 {
        return Vec::new();
    }
    let begun = records.tasks.iter().map(|task| task.submit_us).min().unwrap_or(0);
    let mut ran: Vec<(i64, i64, u32)> = records
        .tasks
        .iter()
        .filter_map(|task| Some((task.start_us?, task.end_us?, task.tenant)))
        .filter(|(start, end, _)| start < end)
        .collect();
    ran.sort_unstable();
    let from = ran.len().saturating_sub(BARS_MAX) / 2;
    let mut lanes: Vec<i64> = Vec::new();
    let mut bars = Vec::new();
    for &(start, end, tenant) in ran.iter().skip(from).take(BARS_MAX) {
        let lane = lanes.iter().position(|&free| free <= start).unwrap_or(lanes.len());
        if lane == LANES_MAX {
            break;
        }
        if lane == lanes.len() {
            lanes.push(end);
        } else {
            lanes[lane] = end;
        }
        let (begin, end) = (metrics::seconds(start - begun), metrics::seconds(end - begun));
        bars.push(Bar { lane, tenant, begin, end });
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_keeps_both_ends() {
        let curve = curve((1..=1000).rev().map(f64::from).collect());
        assert_eq!((curve.len(), curve[0], curve[CURVE_POINTS - 1]), (CURVE_POINTS, (5.0, 0.005), (1000.0, 1.0)));
        assert_eq!(super::curve(vec![2.0]), [(2.0, 1.0)]);
        assert!(super::curve(Vec::new()).is_empty());
    }
}

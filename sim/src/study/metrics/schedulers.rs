//! What schedulers did: busyness, conflicts, offers, waits before the first attempt; and locality.

use super::{Metrics, enter, seconds};
use crate::record::{Records, SchedulerRecord};
use crate::study::statistic::{mean, percentile};

/// A day in microseconds.
const DAY_US: i64 = 86_400_000_000;

pub(super) fn add(records: &Records, metrics: &mut Metrics) {
    locality(records, metrics);
    if records.schedulers.is_empty() {
        return;
    }
    let sum = |of: fn(&SchedulerRecord) -> u64| records.schedulers.iter().map(of).sum::<u64>() as f64;
    let ratio = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
    enter(metrics, "conflict_fraction", ratio(sum(|one| one.conflicted), sum(|one| one.jobs_placed)));
    enter(metrics, "offer_rejection_rate", ratio(sum(|one| one.offers_declined), sum(|one| one.offers)));
    enter(metrics, "abandoned_jobs", Some(sum(|one| one.jobs_abandoned)));
    let begun = records.jobs.iter().map(|job| job.submit_us).min().unwrap_or(0);
    let end = window_end(records).unwrap_or(begun);
    for (number, scheduler) in records.schedulers.iter().enumerate() {
        let name = &scheduler.name;
        // What a scheduler decides last may end after all else.
        let busy = ratio(scheduler.busy_us as f64, (end - begun) as f64).map(|busy| busy.min(1.0));
        enter(metrics, format!("scheduler_busyness_{name}_mean"), busy);
        let days: Vec<f64> = scheduler
            .busy_by_day_us
            .iter()
            .zip(0_i64..)
            .filter_map(|(busy, day)| {
                // Of the first day and the last only what lies in the window.
                let length = end.min((day + 1) * DAY_US) - begun.max(day * DAY_US);
                (length > 0).then(|| (*busy as f64 / length as f64).min(1.0))
            })
            .collect();
        let middle = median(days.clone());
        enter(metrics, format!("scheduler_busyness_{name}_median"), middle);
        let off = middle.map(|middle| days.iter().map(|day| (day - middle).abs()).collect());
        enter(metrics, format!("scheduler_busyness_{name}_mad"), off.and_then(median));
        let own = records.jobs.iter().filter(|job| job.scheduler as usize == number);
        let waits = own.filter_map(|job| job.first_attempt_us.map(|first| first - job.submit_us));
        let mut waits: Vec<f64> = waits.map(seconds).collect();
        enter(metrics, format!("scheduler_wait_{name}_mean"), mean(&waits));
        waits.sort_unstable_by(f64::total_cmp);
        enter(metrics, format!("scheduler_wait_{name}_p90"), percentile(&waits, 90));
    }
}

fn locality(records: &Records, metrics: &mut Metrics) {
    let local = &records.locality;
    let all = (local.node + local.rack + local.elsewhere) as f64;
    if all > 0.0 {
        enter(metrics, "locality_node", Some(local.node as f64 / all));
        enter(metrics, "locality_rack", Some((local.node + local.rack) as f64 / all));
    }
}

/// The last thing that is known to have happened.
fn window_end(records: &Records) -> Option<i64> {
    let ends = records.tasks.iter().filter_map(|task| task.end_us);
    ends.chain(records.jobs.iter().filter_map(|job| job.placed_us)).max()
}

/// The middle value; the mean of the two middle ones of an even number.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        1 => values.get(half).copied(),
        _ => half.checked_sub(1).map(|below| (values[below] + values[half]) / 2.0),
    }
}

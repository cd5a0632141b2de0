//! Waiting, flow times and slowdowns of tasks and jobs, and how many there were.

use super::{Metrics, enter, seconds};
use crate::record::{Records, TaskRecord};
use crate::study::statistic::{mean, percentile};
use std::collections::BTreeMap;

/// Run times below this count as this in a bounded slowdown: 10 s (policies 5).
pub(crate) const BOUND_US: i64 = 10_000_000;

/// The percentiles of every distribution of times.
const PERCENTS: [u32; 4] = [50, 90, 95, 99];

/// From submit to first start, in microseconds.
pub(crate) fn queueing_delay_us(task: &TaskRecord) -> Option<i64> {
    task.start_us.map(|start| start - task.submit_us)
}

/// From submit to end, in microseconds.
pub(crate) fn flow_time_us(task: &TaskRecord) -> Option<i64> {
    task.end_us.map(|end| end - task.submit_us)
}

/// Flow time over run time; none for a task that takes no time.
pub(crate) fn slowdown(task: &TaskRecord) -> Option<f64> {
    flow_time_us(task).filter(|_| task.run_us > 0).map(|flow| flow as f64 / task.run_us as f64)
}

/// The same with short tasks taken for longer ones.
pub(crate) fn bounded_slowdown(task: &TaskRecord) -> Option<f64> {
    flow_time_us(task).map(|flow| (flow as f64 / task.run_us.max(BOUND_US) as f64).max(1.0))
}

pub(super) fn add(records: &Records, metrics: &mut Metrics) {
    let tasks = &records.tasks;
    let count = |is: fn(&TaskRecord) -> bool| Some(tasks.iter().filter(|task| is(task)).count() as f64);
    enter(metrics, "tasks", Some(tasks.len() as f64));
    enter(metrics, "tasks_finished", count(|task| task.end_us.is_some()));
    enter(metrics, "tasks_unfinished", count(|task| task.end_us.is_none()));
    enter(metrics, "tasks_unstarted", count(|task| task.start_us.is_none()));
    enter(metrics, "preemptions", Some(records.preemptions as f64));
    times(metrics, "queueing_delay", tasks.iter().filter_map(queueing_delay_us).collect());
    times(metrics, "flow_time", tasks.iter().filter_map(flow_time_us).collect());
    times(metrics, "jct", jobs(tasks));
    ratios(metrics, "slowdown", tasks.iter().filter_map(slowdown).collect());
    ratios(metrics, "bounded_slowdown", tasks.iter().filter_map(bounded_slowdown).collect());
    let ended = tasks.iter().filter_map(|task| task.end_us).max();
    let begun = tasks.iter().map(|task| task.submit_us).min();
    enter(metrics, "makespan", ended.zip(begun).map(|(end, begin)| seconds(end - begin)));
}

/// From the submit of each job to the end of its last task, in the order of job numbers; jobs with an open task are left
/// out.
fn jobs(tasks: &[TaskRecord]) -> Vec<i64> {
    let mut jobs: BTreeMap<u64, (i64, Option<i64>)> = BTreeMap::new();
    for task in tasks {
        let (submit, end) = jobs.entry(task.job).or_insert((task.submit_us, task.end_us));
        *submit = task.submit_us.min(*submit);
        *end = end.zip(task.end_us).map(|(one, other)| one.max(other));
    }
    jobs.values().filter_map(|(submit, end)| end.map(|end| end - submit)).collect()
}

fn times(metrics: &mut Metrics, name: &str, mut values: Vec<i64>) {
    values.sort_unstable();
    let sum: i128 = values.iter().map(|&value| i128::from(value)).sum();
    let mean = (!values.is_empty()).then(|| sum as f64 / values.len() as f64 / 1e6);
    enter(metrics, format!("{name}_mean"), mean);
    for percent in PERCENTS {
        enter(metrics, format!("{name}_p{percent}"), percentile(&values, percent).map(seconds));
    }
    enter(metrics, format!("{name}_max"), values.last().copied().map(seconds));
}

/// The statistics of a distribution of ratios.
pub(crate) fn ratios(metrics: &mut Metrics, name: &str, mut values: Vec<f64>) {
    // The sum in the order of the workload: published means were made so.
    enter(metrics, format!("{name}_mean"), mean(&values));
    values.sort_unstable_by(f64::total_cmp);
    for percent in PERCENTS {
        enter(metrics, format!("{name}_p{percent}"), percentile(&values, percent));
    }
    enter(metrics, format!("{name}_max"), values.last().copied());
}

//! The per-task table of a run.

use crate::record::{Records, TaskRecord};
use crate::table::{Column, Table};

/// The per-task table.
pub(crate) fn tasks(records: &Records) -> Table {
    let tasks = &records.tasks;
    let whole = |of: fn(&TaskRecord) -> i64| Column::Whole(tasks.iter().map(of).collect());
    let maybe = |of: fn(&TaskRecord) -> Option<i64>| Column::Maybe(tasks.iter().map(of).collect());
    Table::new()
        .with("job", whole(|task| task.job as i64))
        .with("task", whole(|task| task.task.into()))
        .with("tenant", whole(|task| task.tenant.into()))
        .with("submit_us", whole(|task| task.submit_us))
        .with("start_us", maybe(|task| task.start_us))
        .with("end_us", maybe(|task| task.end_us))
        .with("run_us", whole(|task| task.run_us))
        .with("cpus_milli", whole(|task| task.cpus_milli as i64))
        .with("mem_mib", whole(|task| task.mem_mib as i64))
        .with("gpus_milli", whole(|task| task.gpus_milli as i64))
        .with("node", maybe(|task| task.node.map(i64::from)))
}

//! The native format: one schema for tasks and one for nodes, as CSV with a header or as Parquet, columns in any order.
//!
//! Tasks: `job,task,tenant,submit_us,run_us,planned_us,cpus_milli,mem_mib,gpus,gpu_milli,gpu_types,priority`.
//! `job`, `submit_us` and `cpus_milli` must be there. Times are microseconds from the start; an empty `run_us` means that
//! the task does not end, an empty `planned_us` that nobody said how long it would run. `gpu_milli` is the part of each GPU
//! in thousandths (1000 when empty and `gpus` is not), `gpu_types` separates types by a vertical bar.
//!
//! Nodes: `name,cpus_milli,mem_mib,gpus,gpu_type`; `name` and `cpus_milli` must be there.

use super::model::{AMOUNT_MAX, GPUS_MAX, Node, SECONDS_MAX, Task};
use super::rows::{Fault, Fields, Format, Split};
use crate::table::{Column, Table, write};
use std::io::{self, Write};

const TASK_COLUMNS: [(&str, bool); 12] = [
    ("job", true),
    ("task", false),
    ("tenant", false),
    ("submit_us", true),
    ("run_us", false),
    ("planned_us", false),
    ("cpus_milli", true),
    ("mem_mib", false),
    ("gpus", false),
    ("gpu_milli", false),
    ("gpu_types", false),
    ("priority", false),
];

const NODE_COLUMNS: [(&str, bool); 5] =
    [("name", true), ("cpus_milli", true), ("mem_mib", false), ("gpus", false), ("gpu_type", false)];

/// The tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tasks;

fn or_zero(fields: &Fields<'_>, column: usize, most: u64) -> Result<u64, Fault> {
    if fields.is_empty(column) { Ok(0) } else { fields.unsigned(column, most) }
}

impl Format for Tasks {
    type Row = Task;

    fn split(&self) -> Split {
        Split::At(',')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &TASK_COLUMNS
    }

    fn has_header(&self) -> bool {
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Task>, Fault> {
        const TIME_MAX: u64 = SECONDS_MAX * 1_000_000;
        let maybe = |column: usize| match fields.is_empty(column) {
            true => Ok(None),
            false => fields.unsigned(column, TIME_MAX).map(|time| Some(time as i64)),
        };
        let gpus = or_zero(fields, 8, GPUS_MAX)? as u32;
        let gpu_milli = if fields.is_empty(9) && gpus > 0 { 1000 } else { or_zero(fields, 9, 1000)? as u32 };
        if (gpus == 0) != (gpu_milli == 0) || gpus > 1 && gpu_milli != 1000 {
            return Err(Fault::Unsound(format!("{gpus} GPUs of {gpu_milli} thousandths each: only one can be shared")));
        }
        let priority = if fields.is_empty(11) { 0 } else { fields.signed(11)? };
        Ok(Some(Task {
            job: fields.unsigned(0, u64::MAX)?,
            task: or_zero(fields, 1, u64::from(u32::MAX))? as u32,
            tenant: fields.text(2).to_owned(),
            submit_us: fields.unsigned(3, TIME_MAX)? as i64,
            run_us: maybe(4)?,
            planned_us: maybe(5)?,
            cpus_milli: fields.unsigned(6, AMOUNT_MAX)?,
            mem_mib: or_zero(fields, 7, AMOUNT_MAX)?,
            gpus,
            gpu_milli,
            gpu_types: fields.text(10).split('|').filter(|text| !text.is_empty()).map(str::to_owned).collect(),
            priority: i32::try_from(priority).map_err(|_| fields.unfit(11, "a priority of 32 bits"))?,
        }))
    }
}

/// The nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nodes;

impl Format for Nodes {
    type Row = Node;

    fn split(&self) -> Split {
        Split::At(',')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &NODE_COLUMNS
    }

    fn has_header(&self) -> bool {
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Node>, Fault> {
        Ok(Some(Node {
            name: fields.text(0).to_owned(),
            cpus_milli: fields.unsigned(1, AMOUNT_MAX)?,
            mem_mib: or_zero(fields, 2, AMOUNT_MAX)?,
            gpus: or_zero(fields, 3, GPUS_MAX)? as u32,
            gpu_type: fields.text(4).to_owned(),
        }))
    }
}

/// A field, in quotes where it needs them.
fn field(text: &str) -> String {
    let is_bare = text.trim() == text && !text.contains([',', '"']);
    if !is_bare { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

fn header(columns: &[(&str, bool)], out: &mut impl Write) -> io::Result<()> {
    let names: Vec<&str> = columns.iter().map(|column| column.0).collect();
    writeln!(out, "{}", names.join(","))
}

fn refused(is_name: bool) -> io::Result<()> {
    let words = if is_name { "a name has a line end in it" } else { "a type has a line end or a bar in it" };
    Err(io::Error::new(io::ErrorKind::InvalidInput, words))
}

fn check_task(task: &Task) -> io::Result<()> {
    match () {
        () if task.tenant.contains(['\n', '\r']) => refused(true),
        () if task.gpu_types.iter().any(|name| name.contains(['\n', '\r', '|'])) => refused(false),
        () => Ok(()),
    }
}

fn check_node(node: &Node) -> io::Result<()> {
    if [&node.name, &node.gpu_type].iter().any(|name| name.contains(['\n', '\r'])) { refused(true) } else { Ok(()) }
}

/// Writes tasks of any origin in the native format; what the reader reads back is equal. A tenant with a line end in its
/// name cannot be written.
pub fn write_tasks(tasks: impl IntoIterator<Item = Task>, out: &mut impl Write) -> io::Result<()> {
    header(&TASK_COLUMNS, out)?;
    for task in tasks {
        check_task(&task)?;
        let maybe = |time: Option<i64>| time.map(|time| time.to_string()).unwrap_or_default();
        writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{},{},{}",
            task.job,
            task.task,
            field(&task.tenant),
            task.submit_us,
            maybe(task.run_us),
            maybe(task.planned_us),
            task.cpus_milli,
            task.mem_mib,
            task.gpus,
            task.gpu_milli,
            field(&task.gpu_types.join("|")),
            task.priority
        )?;
    }
    Ok(())
}

/// Writes nodes of any origin in the native format.
pub fn write_nodes(nodes: impl IntoIterator<Item = Node>, out: &mut impl Write) -> io::Result<()> {
    header(&NODE_COLUMNS, out)?;
    for node in nodes {
        check_node(&node)?;
        let (name, gpu_type) = (field(&node.name), field(&node.gpu_type));
        writeln!(out, "{name},{},{},{},{gpu_type}", node.cpus_milli, node.mem_mib, node.gpus)?;
    }
    Ok(())
}

/// The same as a Parquet file, whole in memory.
pub fn write_tasks_parquet(tasks: &[Task], out: &mut impl Write) -> io::Result<()> {
    tasks.iter().try_for_each(check_task)?;
    let whole = |of: fn(&Task) -> i64| Column::Whole(tasks.iter().map(of).collect());
    let maybe = |of: fn(&Task) -> Option<i64>| Column::Maybe(tasks.iter().map(of).collect());
    let text = |of: fn(&Task) -> String| Column::Text(tasks.iter().map(of).collect());
    let columns = [
        whole(|task| task.job as i64),
        whole(|task| task.task.into()),
        text(|task| task.tenant.clone()),
        whole(|task| task.submit_us),
        maybe(|task| task.run_us),
        maybe(|task| task.planned_us),
        whole(|task| task.cpus_milli as i64),
        whole(|task| task.mem_mib as i64),
        whole(|task| task.gpus.into()),
        whole(|task| task.gpu_milli.into()),
        text(|task| task.gpu_types.join("|")),
        whole(|task| task.priority.into()),
    ];
    write_table(&TASK_COLUMNS, columns, out)
}

/// Nodes as a Parquet file.
pub fn write_nodes_parquet(nodes: &[Node], out: &mut impl Write) -> io::Result<()> {
    nodes.iter().try_for_each(check_node)?;
    let whole = |of: fn(&Node) -> i64| Column::Whole(nodes.iter().map(of).collect());
    let text = |of: fn(&Node) -> String| Column::Text(nodes.iter().map(of).collect());
    let columns = [
        text(|node| node.name.clone()),
        whole(|node| node.cpus_milli as i64),
        whole(|node| node.mem_mib as i64),
        whole(|node| node.gpus.into()),
        text(|node| node.gpu_type.clone()),
    ];
    write_table(&NODE_COLUMNS, columns, out)
}

fn write_table<const N: usize>(
    names: &[(&str, bool); N],
    columns: [Column; N],
    out: &mut impl Write,
) -> io::Result<()> {
    let named = names.iter().zip(columns);
    let table = named.fold(Table::new(), |table, ((name, _), column)| table.with(*name, column));
    out.write_all(&write::file(&table))
}

//! From any format to the native one, row by row.

use super::model::{Node, Task};
use super::rows::{Format, ReadError, Rows, Skipped, Strictness};
use super::{alibaba, detect, gavel, native, openb, shipped, swf, swim};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Every format, with one line on what it is; those of nodes end in `-nodes`. What is CSV may be Parquet, too.
pub const FORMATS: [(&str, &str); 9] = [
    ("native", "tasks as CSV or Parquet, the schema of this project"),
    ("native-nodes", "nodes as CSV or Parquet, the schema of this project"),
    ("openb", "pods of the openb GPU cluster, CSV (Alibaba 2023)"),
    ("openb-nodes", "nodes of the openb GPU cluster, CSV (Alibaba 2023)"),
    ("swf", "Standard Workload Format, logs of batch systems"),
    ("swim", "SWIM, Hadoop jobs of Facebook, TSV (64 MiB a map task, 1 GiB a reduce task, 20 MiB/s)"),
    ("gavel", "Philly jobs as prepared for Gavel, TSV (run times on V100 from its table of rates)"),
    ("alibaba-dlrm", "inference instances with five resources, CSV (Alibaba 2025)"),
    ("alibaba-spot-nodes", "inventory of a GPU fleet, CSV (Alibaba 2026)"),
];

/// Why a file is not converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// No such format.
    #[error("no workload format is called {0:?}")]
    Format(String),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It begins as a file of no format does.
    #[error(
        "{path}: its first lines are those of no format{lacking}; name its format where it is one (`kaon sim list`)",
        path = path.display(),
        lacking = lacking.as_ref().map_or_else(String::new, |lacking| format!(" ({lacking})"))
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it lacks to be one that it is like.
        lacking: Option<String>,
    },
    /// It is of another kind than is wanted.
    #[error("{path}: this is in format {format:?}, and {wanted} are wanted here", path = path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is.
        format: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// It is no log that can be run.
    #[error(transparent)]
    Log(#[from] swf::LogError),
    /// It cannot be written.
    #[error("the native table cannot be written")]
    Write(#[from] io::Error),
}

/// The word for a format that is told by the file.
pub const AUTO: &str = "auto";

/// The table of rates, beside a list of jobs.
const RATES: &str = "isolated_throughputs.tsv";

/// The format that was named, or the one that the file tells.
///
/// # Errors
/// When the file cannot be read, or looks like no format.
pub fn settle<'a>(format: &'a str, path: &Path) -> Result<&'a str, ConvertError> {
    if format != AUTO {
        return Ok(format);
    }
    let open = |why| ReadError::Open { path: path.to_owned(), why };
    detect::format_of(path)
        .map_err(open)?
        .ok_or_else(|| ConvertError::Unknown { path: path.to_owned(), lacking: detect::lacking(path) })
}

/// The tasks of a file in a format of tasks, all in memory. Jobs of Gavel without a rate are left out; `gavel` reads its
/// rates on V100 from the table beside the file, and from the one that is shipped where there is none.
pub fn tasks(format: &str, path: &Path, strictness: Strictness) -> Result<(Vec<Task>, Skipped), ConvertError> {
    fn all<F: Format>(path: &Path, format: F, strictness: Strictness) -> Result<(Vec<F::Row>, Skipped), ReadError> {
        Rows::open(path, format, strictness)?.collect_all().map(|(rows, _, skipped)| (rows, skipped))
    }
    match settle(format, path)? {
        "native" => Ok(all(path, native::Tasks, strictness)?),
        "openb" => Ok(all(path, openb::Pods::default(), strictness)?),
        "alibaba-dlrm" => {
            let (rows, skipped) = all(path, alibaba::Instances::default(), strictness)?;
            Ok((rows.into_iter().map(|row| row.task).collect(), skipped))
        }
        "swim" => {
            let (rows, mut skipped) = all(path, swim::Swim, strictness)?;
            let conversion = swim::Conversion::default();
            for job in rows.iter().filter(|job| conversion.cuts(job)) {
                let (name, most) = (&job.name, conversion.tasks_max);
                skipped.shown.push(format!("{}: job {name} is cut to {most} tasks of a kind", path.display()));
            }
            Ok(((0..).zip(&rows).flat_map(|(number, job)| conversion.tasks(number, job)).collect(), skipped))
        }
        "gavel" => {
            let (rows, mut skipped) = all(path, gavel::Jobs, strictness)?;
            let beside = path.with_file_name(RATES);
            let table = if beside.is_file() { beside } else { shipped::resolve(&format!("../data/gavel/{RATES}")) };
            let (rates, _) = all(&table, gavel::RateRows, Strictness::Strict)?;
            let rates = gavel::Rates::new(rates);
            let tasks: Vec<Task> =
                (0..).zip(&rows).filter_map(|(number, job)| rates.task(number, job, "v100")).collect();
            let left = rows.len() - tasks.len();
            if left > 0 {
                skipped.shown.push(format!("{}: {left} jobs without a rate on v100 are left out", path.display()));
            }
            Ok((tasks, skipped))
        }
        "swf" => {
            let log = swf::read(path, swf::Options { strictness, ..swf::Options::default() })?;
            let task = |job: &crate::batch::Job| Task {
                job: job.id,
                tenant: job.tenant.to_string(),
                submit_us: job.submit_us,
                run_us: Some(job.run_us),
                planned_us: Some(job.planned_us),
                cpus_milli: job.processors * 1000,
                ..Task::default()
            };
            Ok((log.jobs.iter().map(task).collect(), log.skipped))
        }
        other => Err(unfit(other, path, "tasks")),
    }
}

/// Why a file in this format is not read where `wanted` are.
fn unfit(format: &str, path: &Path, wanted: &'static str) -> ConvertError {
    let format = format.to_owned();
    match FORMATS.iter().any(|(name, _)| *name == format) {
        true => ConvertError::Kind { path: path.to_owned(), format, wanted },
        false => ConvertError::Format(format),
    }
}

/// The nodes of a file in a format of nodes.
pub fn nodes(format: &str, path: &Path, strictness: Strictness) -> Result<(Vec<Node>, Skipped), ConvertError> {
    let read = match settle(format, path)? {
        "native-nodes" => Rows::open(path, native::Nodes, strictness)?.collect_all().map(|all| (all.0, all.2)),
        "openb-nodes" => Rows::open(path, openb::Nodes, strictness)?.collect_all().map(|all| (all.0, all.2)),
        "alibaba-spot-nodes" => Rows::open(path, alibaba::Fleet, strictness)?.collect_all().map(|all| (all.0, all.2)),
        other => return Err(unfit(other, path, "machines")),
    };
    Ok(read?)
}

/// What the native table is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Text.
    Csv,
    /// A Parquet file.
    Parquet,
}

/// Converts a file of any format to the native one; what a lenient reader left out is told.
pub fn convert(
    format: &str,
    path: &Path,
    strictness: Strictness,
    written: Written,
    out: &mut impl Write,
) -> Result<Skipped, ConvertError> {
    let format = settle(format, path)?;
    if format.ends_with("-nodes") {
        let (nodes, skipped) = nodes(format, path, strictness)?;
        match written {
            Written::Csv => native::write_nodes(nodes, out)?,
            Written::Parquet => native::write_nodes_parquet(&nodes, out)?,
        }
        return Ok(skipped);
    }
    let (tasks, skipped) = tasks(format, path, strictness)?;
    match written {
        Written::Csv => native::write_tasks(tasks, out)?,
        Written::Parquet => native::write_tasks_parquet(&tasks, out)?,
    }
    Ok(skipped)
}

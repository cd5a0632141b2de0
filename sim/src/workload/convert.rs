//! From any format to the native one, row by row.

use super::model::{Node, Task};
use super::rows::{Format, ReadError, Rows, Skipped, Strictness};
use super::{alibaba, gavel, native, openb, swf, swim};
use std::io::{self, Write};
use std::path::Path;

/// Every format, with one line on what it is; those of nodes end in `-nodes`.
pub const FORMATS: [(&str, &str); 9] = [
    ("native", "tasks as CSV, the schema of this project"),
    ("native-nodes", "nodes as CSV, the schema of this project"),
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
    /// It is no log that can be run.
    #[error(transparent)]
    Log(#[from] swf::LogError),
    /// It cannot be written.
    #[error("the native table cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// The tasks of a file in a format of tasks, all in memory. Jobs of Gavel without a rate are left out; `gavel` reads its
/// rates from the table beside the file unless it is the one that is shipped.
pub fn tasks(format: &str, path: &Path, strictness: Strictness) -> Result<(Vec<Task>, Skipped), ConvertError> {
    fn all<F: Format>(path: &Path, format: F, strictness: Strictness) -> Result<(Vec<F::Row>, Skipped), ReadError> {
        Rows::open(path, format, strictness)?.collect_all().map(|(rows, _, skipped)| (rows, skipped))
    }
    match format {
        "native" => Ok(all(path, native::Tasks, strictness)?),
        "openb" => Ok(all(path, openb::Pods::default(), strictness)?),
        "alibaba-dlrm" => {
            let (rows, skipped) = all(path, alibaba::Instances::default(), strictness)?;
            Ok((rows.into_iter().map(|row| row.task).collect(), skipped))
        }
        "swim" => {
            let (rows, skipped) = all(path, swim::Swim, strictness)?;
            let conversion = swim::Conversion::default();
            Ok(((0..).zip(&rows).flat_map(|(number, job)| conversion.tasks(number, job)).collect(), skipped))
        }
        "gavel" => {
            let (rows, skipped) = all(path, gavel::Jobs, strictness)?;
            let (rates, _) =
                all(&path.with_file_name("isolated_throughputs.tsv"), gavel::RateRows, Strictness::Strict)?;
            let rates = gavel::Rates::new(rates);
            Ok(((0..).zip(&rows).filter_map(|(number, job)| rates.task(number, job, "v100")).collect(), skipped))
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
        _ => Err(ConvertError::Format(format.to_owned())),
    }
}

/// The nodes of a file in a format of nodes.
pub fn nodes(format: &str, path: &Path, strictness: Strictness) -> Result<(Vec<Node>, Skipped), ConvertError> {
    let read = match format {
        "native-nodes" => Rows::open(path, native::Nodes, strictness)?.collect_all().map(|all| (all.0, all.2)),
        "openb-nodes" => Rows::open(path, openb::Nodes, strictness)?.collect_all().map(|all| (all.0, all.2)),
        "alibaba-spot-nodes" => Rows::open(path, alibaba::Fleet, strictness)?.collect_all().map(|all| (all.0, all.2)),
        _ => return Err(ConvertError::Format(format.to_owned())),
    };
    Ok(read?)
}

/// Converts a file of any format to the native one; what a lenient reader left out is told.
pub fn convert(
    format: &str,
    path: &Path,
    strictness: Strictness,
    out: &mut impl Write,
) -> Result<Skipped, ConvertError> {
    if format.ends_with("-nodes") {
        let (nodes, skipped) = nodes(format, path, strictness)?;
        native::write_nodes(nodes, out)?;
        return Ok(skipped);
    }
    let (tasks, skipped) = tasks(format, path, strictness)?;
    native::write_tasks(tasks, out)?;
    Ok(skipped)
}

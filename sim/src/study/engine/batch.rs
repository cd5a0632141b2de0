//! Batch orders on a pool of processors: on a log of a real machine, where seeds differ in nothing, or on drawn jobs.

use super::input::{self, Left};
use super::{Engine, Outcome, PolicyRow, alone};
use crate::batch::{self, Job, Levels, Parameters, Passes, Pool, Ties, Unit};
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::metrics::{Metrics, times};
use crate::study::scenario::{Scenario, Settings, unit};
use crate::workload::convert::{self, ConvertError};
use crate::workload::generate::{self, Shape};
use crate::workload::model::Task;
use crate::workload::swf;
use std::path::Path;

/// The orders.
pub(super) fn policies() -> Vec<PolicyRow> {
    batch::POLICIES.iter().map(|&(name, about)| PolicyRow { name, about }).collect()
}

/// Where jobs come from.
enum Source {
    /// A log.
    Jobs(Vec<Job>),
    /// Drawn anew for each seed.
    Shape(Shape),
}

/// A pool and its jobs.
pub(super) struct Batch {
    pool: Pool,
    source: Source,
    parameters: Parameters,
    /// Whether tenants also run alone, each on its part.
    is_fairness_told: bool,
    left: Left,
}

/// A log of a batch system, or a workload of any other format as jobs on one pool.
fn log(path: &Path, settings: &Settings, left: &mut Left) -> Result<(Pool, Source), Error> {
    let processors = Some(settings.count("cluster.processors")).filter(|&processors| processors > 0);
    let format = convert::settle(settings.text("workload.format"), path).or_else(|error| match error {
        // An empty log is told by its reader.
        ConvertError::Unknown { .. } => Ok("swf"),
        other => Err(Error::Unfit(other.to_string())),
    })?;
    let (pool, mut jobs) = if format == "swf" {
        let options = swf::Options {
            processors,
            strictness: input::strictness(settings),
            is_closed_loop: settings.switch("workload.closed_loop"),
        };
        let log = swf::read(path, options).map_err(|error| Error::Unfit(error.to_string()))?;
        left.skip(path, &log.skipped);
        left.drop(path, log.filtered, "jobs do not pass the filter (docs/workloads.md, SWF)");
        (Pool { processors: log.processors, unit: Unit::Processor }, log.jobs)
    } else {
        let tasks = input::tasks(path, settings, left)?;
        pooled(path, &tasks, processors, settings.text("cluster.unit"), left)?
    };
    let most = settings.count("workload.jobs");
    if most > 0 {
        jobs.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
    if jobs.is_empty() {
        return Err(Error::Input { path: path.to_owned(), why: "no job passes the filter".to_owned() });
    }
    Ok((pool, Source::Jobs(jobs)))
}

/// Tasks of a trace as jobs on one pool: each takes its GPUs or its cores, rounded up, all at once. Left out are tasks that do
/// not end within the trace, that need none of what the pool is made of, and that are wider than it.
fn pooled(
    path: &Path,
    tasks: &[Task],
    processors: Option<u64>,
    unit: &str,
    left: &mut Left,
) -> Result<(Pool, Vec<Job>), Error> {
    let is_gpu = unit == "gpus" || unit == "auto" && tasks.iter().any(|task| task.gpus > 0);
    let what = if is_gpu { "GPUs" } else { "cores" };
    let Some(processors) = processors else {
        let why = format!(
            "{}: the file does not say how large the pool is: 'cluster.processors' must be said, in {what}",
            path.display()
        );
        return Err(Error::Unfit(why));
    };
    let numbers = input::Tenants::of(tasks);
    let job = |task: &Task| {
        let wide = if is_gpu { u64::from(task.gpus) } else { task.cpus_milli.div_ceil(1000) };
        let run_us = task.run_us?;
        let planned_us = task.planned_us.unwrap_or(run_us);
        ((1..=processors).contains(&wide)).then(|| Job {
            id: task.job,
            tenant: numbers.number(&task.tenant),
            submit_us: task.submit_us,
            after: None,
            processors: wide,
            run_us: run_us.min(planned_us),
            planned_us,
        })
    };
    let jobs: Vec<Job> = tasks.iter().filter_map(job).collect();
    let why = format!("tasks do not end within the trace, need no {what}, or more than there are");
    left.drop(path, (tasks.len() - jobs.len()) as u64, &why);
    let unit = if is_gpu { Unit::Gpu } else { Unit::Processor };
    Ok((Pool { processors, unit }, jobs))
}

/// The queues of least attained service, by the processor time at which each ends.
fn levels(texts: &[String]) -> Result<Levels, Error> {
    let ends = texts.iter().map(|text| unit::micros(text)).collect::<Result<Vec<i64>, String>>();
    ends.map(Levels::At).map_err(|why| Error::Unfit(format!("'engine.levels' {why}")))
}

fn drawn(settings: &Settings) -> Result<(Pool, Source), Error> {
    let (jobs, processors) = (settings.count("workload.jobs"), settings.count("cluster.processors"));
    if jobs == 0 || processors == 0 {
        let why = "without 'workload.log', 'workload.jobs' and 'cluster.processors' must be said";
        return Err(Error::Unfit(why.to_owned()));
    }
    let unit = if settings.text("cluster.unit") == "gpus" { Unit::Gpu } else { Unit::Processor };
    Ok((Pool { processors, unit }, Source::Shape(input::shape(settings, "workload.processors")?)))
}

impl Batch {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let mut left = Left::default();
        let (pool, source) = match settings.path("workload.log") {
            Some(path) => log(path, settings, &mut left)?,
            None => drawn(settings)?,
        };
        let ties = match settings.text("engine.order") {
            "completions-first" => Ties::CompletionsFirst,
            _ => Ties::SubmissionsFirst,
        };
        let passes = match settings.text("engine.passes") {
            "each-time" => Passes::EachTime,
            _ => Passes::EachEvent,
        };
        let preemption_cost_us = settings.micros("engine.preemption_cost");
        let levels = levels(settings.names("engine.levels"))?;
        let parameters = Parameters { ties, passes, preemption_cost_us, levels };
        let is_fairness_told = settings.switch("output.finish_time_fairness");
        Ok(Self { pool, source, parameters, is_fairness_told, left })
    }
}

impl Engine for Batch {
    fn notes(&self) -> &[String] {
        &self.left.notes
    }

    fn run(&self, policy: &str, seed: u64, _: &mut Meter<'_>) -> Result<Outcome, String> {
        let policy = policy.parse().map_err(|error: batch::PolicyError| error.to_string())?;
        let drawn = match &self.source {
            Source::Jobs(_) => Vec::new(),
            Source::Shape(shape) => generate::jobs(shape, seed).map_err(|error| error.to_string())?,
        };
        let jobs = if let Source::Jobs(jobs) = &self.source { jobs } else { &drawn };
        let records = batch::run(self.pool, jobs, policy, &self.parameters).map_err(|error| error.to_string())?;
        let mut metrics = Metrics::new();
        self.left.add(&mut metrics);
        if self.is_fairness_told {
            let ratios = alone::finish_time_ratios(self.pool, jobs, policy, &self.parameters, &records)?;
            times::ratios(&mut metrics, "finish_time_fairness", ratios);
        }
        Ok(Outcome { metrics, ..Outcome::of(records) })
    }
}

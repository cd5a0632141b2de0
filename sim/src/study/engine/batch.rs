//! Batch orders on a pool of processors: on a log of a real machine, where seeds differ in nothing, or on drawn jobs.

use super::{Engine, Outcome, PolicyRow, alone};
use crate::batch::{self, Job, Parameters, Passes, Pool, Ties, Unit};
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::metrics::{Metrics, times};
use crate::study::scenario::{Scenario, Settings, law};
use crate::workload::generate::{self, Arrivals, Law, Shape};
use crate::workload::swf::{self, Log};
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
}

/// The period of the time of day.
const DAY_US: f64 = 86_400e6;

fn log(path: &Path, settings: &Settings) -> Result<(u64, Source), Error> {
    let processors = Some(settings.count("cluster.processors")).filter(|&processors| processors > 0);
    let options = swf::Options { processors, ..swf::Options::default() };
    let Log { processors, mut jobs, .. } = swf::read(path, options).map_err(|error| Error::Unfit(error.to_string()))?;
    let most = settings.count("workload.jobs");
    if most > 0 {
        jobs.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
    if jobs.is_empty() {
        return Err(Error::Input { path: path.to_owned(), why: "no job passes the filter".to_owned() });
    }
    Ok((processors, Source::Jobs(jobs)))
}

fn drawn(settings: &Settings) -> Result<(u64, Source), Error> {
    let read = |key: &str, unit: f64| {
        law::law(settings.text(key), unit).map_err(|why| Error::Unfit(format!("'{key}': {why}")))
    };
    let gap_us = settings.micros("workload.gap") as f64;
    let tenants = u32::try_from(settings.count("workload.tenants")).unwrap_or(u32::MAX);
    let arrivals = match settings.text("workload.arrivals") {
        "bursty" => {
            let burst_us = settings.micros("workload.burst") as f64;
            Arrivals::Bursty { gap_us, density: settings.number("workload.density"), burst_us }
        }
        "diurnal" => Arrivals::Diurnal { gap_us, swing: settings.number("workload.swing"), period_us: DAY_US },
        "closed" => Arrivals::ClosedLoop { users: tenants, think_us: Law::Exponential(gap_us) },
        _ => Arrivals::Poisson { gap_us },
    };
    let (jobs, processors) = (settings.count("workload.jobs"), settings.count("cluster.processors"));
    if jobs == 0 || processors == 0 {
        let why = "without 'workload.log', 'workload.jobs' and 'cluster.processors' must be said";
        return Err(Error::Unfit(why.to_owned()));
    }
    let shape = Shape {
        jobs: u32::try_from(jobs).unwrap_or(u32::MAX),
        arrivals,
        run_us: read("workload.lengths", 1e6)?,
        processors: read("workload.processors", 1.0)?,
        overestimate: read("workload.overestimate", 1.0)?,
        tenants,
    };
    Ok((processors, Source::Shape(shape)))
}

impl Batch {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let (processors, source) = match settings.path("workload.log") {
            Some(path) => log(path, settings)?,
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
        let parameters = Parameters { ties, passes, preemption_cost_us, ..Parameters::default() };
        let is_fairness_told = settings.switch("output.finish_time_fairness");
        Ok(Self { pool: Pool { processors, unit: Unit::Processor }, source, parameters, is_fairness_told })
    }
}

impl Engine for Batch {
    fn run(&self, policy: &str, seed: u64, _: &mut Meter<'_>) -> Result<Outcome, String> {
        let policy = policy.parse().map_err(|error: batch::PolicyError| error.to_string())?;
        let drawn = match &self.source {
            Source::Jobs(_) => Vec::new(),
            Source::Shape(shape) => generate::jobs(shape, seed).map_err(|error| error.to_string())?,
        };
        let jobs = if let Source::Jobs(jobs) = &self.source { jobs } else { &drawn };
        let records = batch::run(self.pool, jobs, policy, &self.parameters).map_err(|error| error.to_string())?;
        let mut metrics = Metrics::new();
        if self.is_fairness_told {
            let ratios = alone::finish_time_ratios(self.pool, jobs, policy, &self.parameters, &records)?;
            times::ratios(&mut metrics, "finish_time_fairness", ratios);
        }
        Ok(Outcome {
            trace_hash: records.trace_hash(),
            events: records.events,
            records: Some(records),
            metrics,
            ..Outcome::default()
        })
    }
}

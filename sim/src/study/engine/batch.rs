//! Batch orders on a pool of processors, on a log of a real machine. There is no chance in them: seeds differ in nothing.

use super::{Engine, Outcome, PolicyRow};
use crate::batch::{self, Job, Parameters, Passes, Pool, Ties, Unit};
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::scenario::Scenario;
use crate::workload::swf::{self, Log};
use std::path::Path;

/// The orders.
pub(super) fn policies() -> Vec<PolicyRow> {
    batch::POLICIES.iter().map(|&(name, about)| PolicyRow { name, about }).collect()
}

/// A pool and its jobs.
pub(super) struct Batch {
    pool: Pool,
    jobs: Vec<Job>,
    parameters: Parameters,
}

impl Batch {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let path = settings.path("workload.log").unwrap_or(Path::new(""));
        let processors = Some(settings.count("cluster.processors")).filter(|&processors| processors > 0);
        let options = swf::Options { processors, ..swf::Options::default() };
        let Log { processors, mut jobs, .. } =
            swf::read(path, options).map_err(|error| Error::Input { path: path.to_owned(), why: error.to_string() })?;
        let most = settings.count("workload.jobs");
        if most > 0 {
            jobs.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        }
        if jobs.is_empty() {
            return Err(Error::Input { path: path.to_owned(), why: "no job passes the filter".to_owned() });
        }
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
        Ok(Self { pool: Pool { processors, unit: Unit::Processor }, jobs, parameters })
    }
}

impl Engine for Batch {
    fn run(&self, policy: &str, _seed: u64, _: &mut Meter<'_>) -> Result<Outcome, String> {
        let policy = policy.parse().map_err(|error: batch::PolicyError| error.to_string())?;
        let records = batch::run(self.pool, &self.jobs, policy, &self.parameters).map_err(|error| error.to_string())?;
        Ok(Outcome {
            trace_hash: records.trace_hash(),
            events: records.events,
            records: Some(records),
            ..Outcome::default()
        })
    }
}

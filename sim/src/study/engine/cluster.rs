//! The whole cluster: the very actors on the virtual-time host, with its checkers on.
//!
//! The host keeps no record of single tasks, so there are no distributions of times here; what it counts is told.

use super::{Engine, Outcome, PolicyRow};
use crate::options::Options;
use crate::sharing::Sharing;
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::metrics::enter;
use crate::study::scenario::Scenario;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::time::Duration;

/// The policies of the allocator.
pub(super) fn policies() -> Vec<PolicyRow> {
    Sharing::ALL.map(|(_, name, about)| PolicyRow { name, about }).to_vec()
}

/// A cluster of a scenario.
pub(super) struct Cluster {
    options: Options,
}

impl Cluster {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let cores = |key: &str| {
            Quantity::from_scalar(settings.number(key)).ok_or_else(|| Error::Unfit(format!("'{key}' is no amount")))
        };
        let memory = |key: &str| Quantity::units(settings.mebibytes(key));
        let small = |key: &str| u32::try_from(settings.count(key)).unwrap_or(u32::MAX);
        let lengths = settings.text("workload.lengths");
        let options = Options {
            agents: small("cluster.agents"),
            frameworks: small("frameworks.count"),
            tasks: small("workload.count"),
            workers: settings.count("engine.workers") as usize,
            faults: settings.switch("faults.random"),
            agent_cpus: cores("cluster.cpus")?,
            agent_mem: memory("cluster.memory"),
            task_cpus: cores("workload.cpus")?,
            task_mem: memory("workload.memory"),
            lengths: lengths.parse().map_err(|error| Error::Unfit(format!("'workload.lengths': {error}")))?,
            varied: settings.switch("workload.varied"),
            teardown: settings.switch("frameworks.teardown"),
            deadline: Duration::micros(settings.micros("duration").unsigned_abs()),
            ..Options::default()
        };
        options.check().map_err(|error| Error::Unfit(error.to_string()))?;
        Ok(Self { options })
    }
}

impl Engine for Cluster {
    fn run(&self, policy: &str, seed: u64, meter: &mut Meter<'_>) -> Result<Outcome, String> {
        let sharing = Sharing::parse(policy).map_err(|error| error.to_string())?;
        let options = Options { seed, sharing, ..self.options.clone() };
        let mut tell = |at: &crate::Progress| meter.at(at.ended, at.tasks, at.events);
        let report = crate::run_with_progress(&options, &mut tell).map_err(|error| error.to_string())?;
        let mut outcome = Outcome { events: report.events, ..Outcome::default() };
        outcome.trace_hash = u64::from_str_radix(&report.trace_hash, 16).map_err(|error| error.to_string())?;
        let open = report.tasks.get("open").copied().unwrap_or(0);
        let tasks: u64 = report.tasks.values().sum();
        let offers = report.offers_accepted + report.offers_declined;
        let metrics = &mut outcome.metrics;
        let mut count = |name: &str, value: u64| enter(metrics, name, Some(value as f64));
        count("tasks", tasks);
        count("tasks_finished", tasks - open);
        count("tasks_unfinished", open);
        count("tasks_relaunched", report.relaunched);
        count("offers_accepted", report.offers_accepted);
        count("offers_declined", report.offers_declined);
        count("failures", report.failures.len() as u64);
        count("events", report.events);
        let rejected = (offers > 0).then(|| report.offers_declined as f64 / offers as f64);
        enter(metrics, "offer_rejection_rate", rejected);
        enter(metrics, "simulated_seconds", Some(report.simulated_seconds));
        outcome.marks = report.marks;
        outcome.failures = report.failures.iter().map(ToString::to_string).collect();
        Ok(outcome)
    }

    fn shrink(&self, seed: u64) -> Result<Option<String>, String> {
        let options = Options { seed, workers: 1, ..self.options.clone() };
        let shrunk = crate::shrink(&options).map_err(|error| error.to_string())?;
        Ok(shrunk.map(|shrunk| shrunk.to_string()))
    }
}

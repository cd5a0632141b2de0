//! The whole cluster: the very actors on the virtual-time host, with its checkers on.
//!
//! Every task leaves a record, as in the other engines, so metrics of times, shares and locality are the same ones. What only a
//! whole cluster has is beside them: offers, launches anew, the delay that the cluster adds to each task, failovers.

mod stage;

use super::input::Left;
use super::{Engine, Outcome, PolicyRow};
use crate::options::Options;
use crate::record::{Records, TaskRecord};
use crate::sharing::Sharing;
use crate::stage::Stage;
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::metrics::{Metrics, enter, times};
use crate::study::scenario::Scenario;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::time::Duration;
use std::sync::Arc;

/// Waits of frameworks with data, under DRF.
const DELAYS: [(&str, u64, &str); 3] = [
    ("no-delay", 0, "DRF; frameworks launch wherever they are offered something"),
    ("delay-1s", 1, "DRF; frameworks wait 1 s for agents with their data"),
    ("delay-5s", 5, "DRF; frameworks wait 5 s for agents with their data"),
];

/// The policies of the allocator, and those of frameworks with data.
pub(super) fn policies() -> Vec<PolicyRow> {
    let delays = DELAYS.iter().map(|&(name, _, about)| PolicyRow { name, about });
    Sharing::ALL.iter().map(|&(_, name, about)| PolicyRow { name, about }).chain(delays).collect()
}

/// A cluster of a scenario.
pub(super) struct Cluster {
    scenario: Scenario,
    options: Options,
    stage: Stage,
    left: Left,
}

impl Cluster {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let cores =
            |key: &str| Quantity::from_scalar(settings.number(key)).ok_or_else(|| settings.wrong(key, "is no amount"));
        let memory = |key: &str| Quantity::units(settings.mebibytes(key));
        let small = |key: &str| u32::try_from(settings.count(key)).unwrap_or(u32::MAX);
        let lengths = settings.text("workload.lengths");
        let mut left = Left::default();
        let mut stage = stage::read(settings, &mut left)?;
        let (agent_cpus, agent_mem) = (cores("cluster.cpus")?, memory("cluster.memory"));
        stage::drop_unfit(settings, &mut stage, (agent_cpus, agent_mem), &mut left)?;
        let agents = if stage.sizes.is_empty() { small("cluster.agents") } else { stage.sizes.len() as u32 };
        let (frameworks, tasks) = match stage.groups.as_slice() {
            [] => (small("frameworks.count"), small("workload.count")),
            groups => groups.iter().fold((0_u32, 0_u32), |sum, group| {
                (sum.0.saturating_add(group.frameworks), sum.1.saturating_add(group.tasks()))
            }),
        };
        stage::check_targets(settings, &stage, agents, frameworks)?;
        let is_like_agents = stage.groups.is_empty() && stage.sizes.is_empty();
        let options = Options {
            agents,
            frameworks,
            tasks,
            workers: settings.count("engine.workers") as usize,
            faults: settings.switch("faults.random"),
            agent_cpus,
            agent_mem,
            // Tasks of groups and of lists have been held against their machines one by one.
            task_cpus: if is_like_agents { cores("workload.cpus")? } else { Quantity::ZERO },
            task_mem: if is_like_agents { memory("workload.memory") } else { Quantity::ZERO },
            lengths: lengths.parse().map_err(|error| settings.wrong("workload.lengths", error))?,
            varied: settings.switch("workload.varied"),
            teardown: settings.switch("frameworks.teardown"),
            deadline: Duration::micros(settings.micros("duration").unsigned_abs()),
            ..Options::default()
        };
        options.check().map_err(|error| match error {
            crate::Error::TooLarge { what: "cpus", .. } => settings.wrong("workload.cpus", error),
            crate::Error::TooLarge { .. } => settings.wrong("workload.memory", error),
            error => Error::Unfit(error.to_string()),
        })?;
        Ok(Self { scenario: scenario.clone(), options, stage, left })
    }

    fn options(&self, policy: &str, seed: u64) -> Result<Options, String> {
        let delay = DELAYS.iter().find(|(name, ..)| *name == policy).map(|(_, seconds, _)| Duration::secs(*seconds));
        let sharing = match delay {
            Some(_) => Sharing::Drf,
            None => Sharing::parse(policy).map_err(|error| error.to_string())?,
        };
        let repeat = self.scenario.command(seed, &[policy]);
        let stage = Stage { wait: delay, repeat, ..self.stage.clone() };
        let options = Options { seed, sharing, stage: Some(Arc::new(stage)), ..self.options.clone() };
        options.check().map_err(|error| error.to_string())?;
        Ok(options)
    }

    /// What the cluster adds to each task, over all and by group: from submit to end, without the run itself.
    fn delays(&self, records: &Records, metrics: &mut Metrics) {
        let extra = |task: &TaskRecord| {
            let end = task.end_us?;
            Some((end - task.submit_us - task.run_us).max(0) as f64 / 1e6)
        };
        let tasks = &records.tasks;
        times::ratios(metrics, "extra_delay", tasks.iter().filter_map(extra).collect());
        let mut first = 0;
        for group in &self.stage.groups {
            let own = first..first + group.frameworks;
            let mine = || tasks.iter().filter(|task| own.contains(&task.tenant));
            times::ratios(metrics, &format!("extra_delay_{}", group.name), mine().filter_map(extra).collect());
            let waits = mine().filter_map(times::queueing_delay_us).map(|wait| wait as f64 / 1e6);
            times::ratios(metrics, &format!("queueing_delay_{}", group.name), waits.collect());
            let ended = mine().filter(|task| task.end_us.is_some()).count();
            enter(metrics, format!("tasks_finished_{}", group.name), Some(ended as f64));
            first = own.end;
        }
    }
}

impl Engine for Cluster {
    fn notes(&self) -> &[String] {
        &self.left.notes
    }

    fn run(&self, policy: &str, seed: u64, meter: &mut Meter<'_>) -> Result<Outcome, String> {
        let options = self.options(policy, seed)?;
        let mut tell = |at: &crate::Progress| meter.at(at.ended, at.tasks, at.events);
        let mut report = crate::run_with_progress(&options, &mut tell).map_err(|error| error.to_string())?;
        let mut outcome = Outcome { events: report.events, ..Outcome::default() };
        outcome.trace_hash = u64::from_str_radix(&report.trace_hash, 16).map_err(|error| error.to_string())?;
        let records = report.records.take();
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
        count("crashes", report.mishaps.crashes);
        count("resubscriptions", report.resubscribed);
        let rejected = (offers > 0).then(|| report.offers_declined as f64 / offers as f64);
        enter(metrics, "offer_rejection_rate", rejected);
        enter(metrics, "simulated_seconds", Some(report.simulated_seconds));
        enter(metrics, "agents_back_seconds_max", report.metrics.get(crate::AGENTS_BACK).copied());
        self.left.add(metrics);
        if let Some(records) = &records {
            self.delays(records, metrics);
        }
        outcome.records = records;
        outcome.marks = report.marks;
        outcome.failures = report.failures.iter().map(ToString::to_string).collect();
        Ok(outcome)
    }

    fn shrink(&self, seed: u64) -> Result<Option<String>, String> {
        if !self.stage.is_plain() {
            return Ok(None);
        }
        let options = Options { seed, workers: 1, ..self.options.clone() };
        let shrunk = crate::shrink(&options).map_err(|error| error.to_string())?;
        Ok(shrunk.map(|shrunk| shrunk.to_string()))
    }
}

#[cfg(test)]
mod tests;

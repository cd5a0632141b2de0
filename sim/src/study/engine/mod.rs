//! What carries out one run of a study: a function of (scenario, policy, seed) and nothing else.
//!
//! An engine reads its inputs once, when it is made, and is then asked for runs by many threads at a time.

mod alone;
mod architecture;
mod batch;
mod cluster;
mod input;
mod locality;
mod machines;
mod placement;
mod sharing;

use super::error::Error;
use super::meter::Meter;
use super::metrics::Metrics;
use super::scenario::{Fidelity, Scenario, Settings};
use crate::record::Records;
use crate::table::Table;
use std::collections::BTreeSet;

/// A policy that a kind of study offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    /// Its name in scenarios and after `--policy`.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
}

/// What a run leaves.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Runs over all that happened. Equal runs have equal hashes on any machine.
    pub(crate) trace_hash: u64,
    /// Events handled.
    pub(crate) events: u64,
    /// Tasks and capacity, if the engine keeps them; metrics of times and shares are computed from them.
    pub(crate) records: Option<Records>,
    /// Metrics beyond those.
    pub(crate) metrics: Metrics,
    /// The per-task table, if the engine has one of its own in place of the records.
    pub(crate) tasks: Option<Table>,
    /// The per-interval table, if the engine has one of its own in place of the timeline of the records.
    pub(crate) course: Option<Table>,
    /// What was reached at all, where the engine has branches to reach.
    pub(crate) marks: BTreeSet<String>,
    /// Claims that did not hold, each with the line that repeats the run.
    pub(crate) failures: Vec<String>,
}

impl Outcome {
    /// What is told of a run by its records alone.
    fn of(records: Records) -> Self {
        let (trace_hash, events) = (records.trace_hash(), records.events);
        Self { trace_hash, events, records: Some(records), ..Self::default() }
    }
}

/// An engine with its inputs.
pub(crate) trait Engine: Sync {
    /// One run.
    ///
    /// # Errors
    /// What is wrong with the policy's parameters, in words.
    fn run(&self, policy: &str, seed: u64, meter: &mut Meter<'_>) -> Result<Outcome, String>;

    /// What is to be known of the inputs: rows and jobs that were left out.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// A failing run made small, in words; `None` where the engine can't, or the run does not fail.
    ///
    /// # Errors
    /// As [`Engine::run`].
    fn shrink(&self, _seed: u64) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// The policies of a kind of study.
pub fn policies(fidelity: Fidelity) -> Vec<PolicyRow> {
    match fidelity {
        Fidelity::Cluster => cluster::policies(),
        Fidelity::Sharing => sharing::POLICIES.to_vec(),
        Fidelity::Locality => locality::POLICIES.to_vec(),
        Fidelity::Machines => machines::POLICIES.to_vec(),
        Fidelity::Architecture => architecture::policies(),
        Fidelity::Batch => batch::policies(),
        Fidelity::Placement => placement::policies(),
    }
}

/// Other names of policies, each with the one that is listed.
const ALIASES: &[(&str, &str)] = &[
    ("fifo", "fcfs"),
    ("shortest-job-first", "sjf"),
    ("shortest-remaining-time", "srpt"),
    ("least-attained-service", "las"),
    ("tiresias", "las"),
    ("conservative-backfilling", "conservative"),
    ("easy-backfilling", "easy"),
    ("dominant-resource-fairness", "drf"),
    ("delay", "delay-scheduling"),
    ("two-level", "offers"),
    ("two-level-offers", "offers"),
    ("shared-state", "shared"),
    ("omega", "shared"),
    ("sparrow", "late-binding"),
    ("power-of-two-choices", "per-task-sampling"),
    ("quincy", "min-cost-flow"),
    ("firmament", "min-cost-flow"),
    ("fragmentation-gradient-descent", "fgd"),
    ("borg-like", "borg"),
];

/// The listed name of a policy of a kind; the same where it is listed itself.
pub(crate) fn canonical(fidelity: Fidelity, name: &str) -> &str {
    let rows = policies(fidelity);
    let is_listed = |name: &str| rows.iter().any(|row| row.name == name);
    match ALIASES.iter().find(|(alias, _)| *alias == name) {
        Some((_, listed)) if !is_listed(name) && is_listed(listed) => listed,
        _ => name,
    }
}

/// Other names that a policy has.
pub fn aliases(name: &str) -> Vec<&'static str> {
    ALIASES.iter().filter(|(_, listed)| *listed == name).map(|(alias, _)| *alias).collect()
}

/// The engine of a scenario, with its inputs read.
pub(crate) fn open(scenario: &Scenario) -> Result<Box<dyn Engine>, Error> {
    match scenario.fidelity {
        Fidelity::Cluster => Ok(Box::new(cluster::Cluster::open(scenario)?)),
        Fidelity::Sharing => Ok(Box::new(sharing::Sharing::open(scenario)?)),
        Fidelity::Architecture => Ok(Box::new(architecture::Architectures::open(scenario)?)),
        Fidelity::Locality => Ok(Box::new(locality::LocalityStudy::open(scenario)?)),
        Fidelity::Machines => Ok(Box::new(machines::Machines::open(scenario)?)),
        Fidelity::Batch => Ok(Box::new(batch::Batch::open(scenario)?)),
        Fidelity::Placement => Ok(Box::new(placement::Openb::open(scenario)?)),
    }
}

/// The names of rows that metrics are named after: words, each given once.
fn words(rows: &[Settings]) -> Result<(), Error> {
    let mut seen = Vec::new();
    for row in rows {
        let name = row.text("name");
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
            return Err(row.wrong("name", format_args!("\"{name}\" is no word of letters, digits, - and _")));
        }
        if seen.contains(&name) {
            return Err(row.wrong("name", format_args!("\"{name}\" is given twice")));
        }
        seen.push(name);
    }
    Ok(())
}

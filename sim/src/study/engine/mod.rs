//! What carries out one run of a study: a function of (scenario, policy, seed) and nothing else.
//!
//! An engine reads its inputs once, when it is made, and is then asked for runs by many threads at a time.

mod alone;
mod architecture;
mod batch;
mod cluster;
mod locality;
mod placement;
mod sharing;

use super::error::Error;
use super::meter::Meter;
use super::metrics::Metrics;
use super::scenario::{Fidelity, Scenario};
use super::table::Table;
use crate::record::Records;
use std::collections::BTreeSet;

/// A policy that a kind of study offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    /// Its name in scenarios and after `--policy`.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
}

/// A format of workloads and node lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatRow {
    /// Its name.
    pub name: &'static str,
    /// The key of scenarios that takes such a file.
    pub key: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
}

/// The formats that scenarios read, each plain, gzip or zstd.
pub const FORMATS: &[FormatRow] = &[
    FormatRow { name: "openb nodes", key: "cluster.nodes", about: "CSV: sn, cpu_milli, memory_mib, gpu, model" },
    FormatRow {
        name: "openb pods",
        key: "workload.tasks",
        about: "CSV: name, cpu_milli, memory_mib, num_gpu, gpu_milli, gpu_spec",
    },
    FormatRow {
        name: "swf",
        key: "workload.log",
        about: "batch logs: eighteen numbers a job, Standard Workload Format",
    },
];

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

/// An engine with its inputs.
pub(crate) trait Engine: Sync {
    /// One run.
    ///
    /// # Errors
    /// What is wrong with the policy's parameters, in words.
    fn run(&self, policy: &str, seed: u64, meter: &mut Meter<'_>) -> Result<Outcome, String>;

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
        Fidelity::Cluster => cluster::POLICIES.to_vec(),
        Fidelity::Sharing => sharing::POLICIES.to_vec(),
        Fidelity::Locality => locality::POLICIES.to_vec(),
        Fidelity::Architecture => architecture::policies(),
        Fidelity::Batch => batch::policies(),
        Fidelity::Placement => placement::policies(),
    }
}

/// The engine of a scenario, with its inputs read.
pub(crate) fn open(scenario: &Scenario) -> Result<Box<dyn Engine>, Error> {
    match scenario.fidelity {
        Fidelity::Cluster => Ok(Box::new(cluster::Cluster::open(scenario)?)),
        Fidelity::Sharing => Ok(Box::new(sharing::Sharing::open(scenario)?)),
        Fidelity::Architecture => Ok(Box::new(architecture::Architectures::open(scenario)?)),
        Fidelity::Locality => Ok(Box::new(locality::LocalityStudy::open(scenario)?)),
        Fidelity::Batch => Ok(Box::new(batch::Batch::open(scenario)?)),
        Fidelity::Placement => Ok(Box::new(placement::Openb::open(scenario)?)),
    }
}

/// Names that metrics are named after: words, each given once.
fn words<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = Vec::new();
    for name in names {
        let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !is_word || seen.contains(&name) {
            return Err(Error::Unfit(format!("{what} \"{name}\": names are words, each given once")));
        }
        seen.push(name);
    }
    Ok(())
}

//! What a study found, as it is written to `summary.json`. The schema is documented in `docs/simulator.md` and only grows.

use super::metrics::Metrics;
use super::statistic::Spread;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the file in the folder of a study.
pub const SUMMARY_FILE: &str = "summary.json";

/// Metrics that are looked at first, in this order, where there are any.
const FIRST: &[&str] = &[
    "gpu_allocation_ratio",
    "fragmentation_ratio_at_50",
    "fragmentation_ratio_at_90",
    "inflation_ratio",
    "compaction_ratio_p90",
    "flow_time_mean",
    "bounded_slowdown_mean",
    "queueing_delay_mean",
    "queueing_delay_p99",
    "jct_p99",
    "makespan",
    "utilisation_cpus",
    "utilisation_gpus",
    "jain_index",
    "fair_share_deviation_mean",
    "locality_node",
    "locality_rack",
    "conflict_fraction",
    "offer_rejection_rate",
    "tasks_finished",
    "simulated_seconds",
    "events",
];
/// So many metrics are few.
const FEW: usize = 16;

/// The program that ran a study.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// The commit it was built from; `unknown` outside a checkout.
    pub commit: String,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its path.
    pub path: String,
    /// The SHA-256 of its bytes as they are on disk, in hex.
    pub sha256: String,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedSummary {
    /// Its seed.
    pub seed: u64,
    /// The hash over all that happened, in hex.
    pub trace_hash: String,
    /// Its metrics.
    pub metrics: Metrics,
    /// What was reached at all, where the engine has branches to reach: a rare one is a mark that few seeds have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub marks: BTreeSet<String>,
    /// Claims that did not hold; empty when all is well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// The runs of one policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicySummary {
    /// The policy.
    pub policy: String,
    /// Its runs, in the order of the seeds asked for.
    pub seeds: Vec<SeedSummary>,
    /// Metrics that every run has, over the runs.
    pub metrics: BTreeMap<String, Spread>,
}

/// How fast it went. The one part that differs between two runs of one study.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Events handled in all runs.
    pub events: u64,
    /// Wall time of all runs together, in seconds, reading inputs not included.
    pub wall_seconds: f64,
    /// Events in a second of wall time.
    pub events_per_second: f64,
    /// Runs at a time.
    pub jobs: usize,
    /// The largest resident memory of the process in bytes.
    pub peak_memory_bytes: u64,
    /// The machine's processor.
    pub processor: String,
    /// Its threads.
    pub processor_threads: usize,
}

/// A study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: String,
    /// The program.
    pub kaon: Program,
    /// The files it read, in the order of their keys.
    pub inputs: Vec<Input>,
    /// Every key of the scenario with its value, defaults and overrides included.
    pub parameters: serde_json::Value,
    /// What was left out of the inputs, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What came out, policy by policy in the order asked for.
    pub policies: Vec<PolicySummary>,
    /// How fast it went.
    pub speed: Speed,
}

impl PolicySummary {
    /// Of some runs.
    pub(crate) fn of(policy: &str, seeds: Vec<SeedSummary>) -> Self {
        let names = seeds.first().map(|seed| seed.metrics.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let spread = |name: &String| {
            let values: Option<Vec<f64>> = seeds.iter().map(|seed| seed.metrics.get(name).copied()).collect();
            values.and_then(|values| Spread::of(&values)).map(|spread| (name.clone(), spread))
        };
        let metrics = names.iter().filter_map(spread).collect();
        Self { policy: policy.to_owned(), seeds, metrics }
    }
}

impl Summary {
    /// All claims that did not hold, with policy and seed.
    pub fn failures(&self) -> Vec<(&str, u64, &str)> {
        let mut found = Vec::new();
        for policy in &self.policies {
            for run in &policy.seeds {
                found.extend(run.failures.iter().map(|what| (policy.policy.as_str(), run.seed, what.as_str())));
            }
        }
        found
    }

    /// What was reached, and by how many runs.
    pub fn marks(&self) -> BTreeMap<String, u64> {
        let mut reached = BTreeMap::new();
        for mark in self.policies.iter().flat_map(|policy| &policy.seeds).flat_map(|run| &run.marks) {
            *reached.entry(mark.clone()).or_default() += 1;
        }
        reached
    }

    /// The metrics that are looked at first: the usual ones, or all where there are few.
    pub fn headline(&self) -> Vec<&str> {
        let all = self.metric_names();
        if all.len() <= FEW {
            return all;
        }
        FIRST.iter().copied().filter(|name| all.contains(name)).collect()
    }

    /// The same study with the runs of one seed only: what replays that seed.
    pub fn only(&self, seed: u64) -> Self {
        let of = |policy: &PolicySummary| {
            let runs = policy.seeds.iter().filter(|run| run.seed == seed).cloned().collect();
            PolicySummary::of(&policy.policy, runs)
        };
        let mut parameters = self.parameters.clone();
        if let Some(seeds) = parameters.get_mut("seeds") {
            *seeds = seed.to_string().into();
        }
        Self { policies: self.policies.iter().map(of).collect(), parameters, ..self.clone() }
    }

    /// The metrics that some policy has, in the order of their names.
    pub fn metric_names(&self) -> Vec<&str> {
        let all: std::collections::BTreeSet<&str> =
            self.policies.iter().flat_map(|policy| policy.metrics.keys().map(String::as_str)).collect();
        all.into_iter().collect()
    }
}

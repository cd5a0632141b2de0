//! Running again what a summary holds, and whether the same came out.

use super::error::Error;
use super::meter::Progress;
use super::runner::{Request, Study};
use super::scenario::Scenario;
use super::summary::{SUMMARY_FILE, Summary};
use std::path::Path;

/// A run that came out differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The policy.
    pub policy: String,
    /// The seed.
    pub seed: u64,
    /// The hash that was recorded.
    pub recorded: String,
    /// The hash of the new run; none when it was not run again.
    pub found: Option<String>,
}

/// A study that was run again.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// What came out now.
    pub summary: Summary,
    /// Inputs whose bytes are not those of the record.
    pub inputs_changed: Vec<String>,
    /// Runs with another trace.
    pub mismatches: Vec<Mismatch>,
}

impl Summary {
    /// Reads the summary of a folder, or of a file.
    ///
    /// # Errors
    /// A file that can't be read or is no summary.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = if path.is_dir() { path.join(SUMMARY_FILE) } else { path.to_owned() };
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        serde_json::from_str(&text).map_err(|error| Error::Record { path, why: error.to_string() })
    }
}

/// Runs the study of a record again.
///
/// # Errors
/// Those of reading the record and its inputs, and of the runs.
pub fn replay(path: &Path, request: &Request, progress: &(dyn Fn(Progress) + Sync)) -> Result<Replayed, Error> {
    let record = Summary::open(path)?;
    let scenario = Scenario::from_parameters(&record.scenario, &record.parameters, &path.to_string_lossy())?;
    let summary = Study::open(scenario)?.run(request, progress)?;
    let changed = |(old, new): &(&super::Input, &super::Input)| old.sha256 != new.sha256;
    let pairs = record.inputs.iter().zip(&summary.inputs);
    let inputs_changed = pairs.filter(changed).map(|(old, _)| old.path.clone()).collect();
    let hash = |policy: &str, seed: u64| {
        let policy = summary.policies.iter().find(|one| one.policy == policy)?;
        policy.seeds.iter().find(|one| one.seed == seed).map(|one| one.trace_hash.clone())
    };
    let mut mismatches = Vec::new();
    for policy in &record.policies {
        for run in &policy.seeds {
            let found = hash(&policy.policy, run.seed);
            if found.as_ref() != Some(&run.trace_hash) {
                let (policy, recorded) = (policy.policy.clone(), run.trace_hash.clone());
                mismatches.push(Mismatch { policy, seed: run.seed, recorded, found });
            }
        }
    }
    Ok(Replayed { summary, inputs_changed, mismatches })
}

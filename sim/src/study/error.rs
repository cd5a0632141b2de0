//! Why a study can't be done.

use super::scenario::node::Place;
use std::path::PathBuf;

/// Why a study can't be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("can't read {path}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file can't be written.
    #[error("can't write {path}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Neither a file nor a scenario that is shipped.
    #[error("there is no scenario {path}; these are shipped: {shipped}", path = path.display())]
    NoScenario {
        /// What was asked for.
        path: PathBuf,
        /// The names of those there are.
        shipped: String,
    },
    /// The scenario is wrong.
    #[error("{place}: {why}")]
    Scenario {
        /// File and line, or the override.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// A workload or a node list is wrong.
    #[error("{path}: {why}", path = path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where there is one.
        why: String,
    },
    /// A policy that the scenario's kind does not have.
    #[error("there is no policy '{name}' for kind '{kind}'{near}; there are: {known}")]
    NoPolicy {
        /// What was asked for.
        name: String,
        /// The kind of the scenario.
        kind: &'static str,
        /// The nearest as the end of a sentence; may be empty.
        near: String,
        /// Those there are.
        known: String,
    },
    /// The values of a scenario do not go together.
    #[error("{0}")]
    Unfit(String),
    /// A run failed on its own.
    #[error("policy {policy}, seed {seed}: {why}")]
    Run {
        /// The policy.
        policy: String,
        /// The seed.
        seed: u64,
        /// Why.
        why: String,
    },
    /// A record of an earlier run is not one.
    #[error("{path} is no record of a study: {why}", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// An assertion can't be read.
    #[error("the assertion \"{text}\" {why}")]
    Assertion {
        /// The assertion.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    pub(crate) fn scenario((place, why): (Place, String)) -> Self {
        Self::Scenario { place: place.to_string(), why }
    }
}

//! Studies: what is asked of a simulated cluster, run many times, measured, compared and written down.
//!
//! A [`Scenario`] is a small TOML file. A [`Study`] is a scenario with its inputs read; it runs every policy with every seed
//! over all cores, and leaves a [`Summary`], tables and a report. [`assertion`] judges a summary, [`compare`] sets two
//! side by side, [`replay()`] runs what a summary says again.
//!
//! Left to others: the simulations themselves (`batch`, the host of `world`, the placements of `kaon_actors`). Definitions
//! of metrics and policies follow the reference `policies.md`.

pub mod assertion;
pub mod compare;
mod engine;
mod error;
mod figures;
mod files;
mod meter;
mod metrics;
mod nearest;
mod policies;
mod replay;
mod report;
mod runner;
mod scenario;
mod statistic;
mod summary;
mod table;

#[cfg(test)]
mod tests;

pub use engine::{PolicyRow, aliases, policies};
pub use error::Error;
pub use files::REPORT_FILE;
pub use meter::Progress;
pub use metrics::{METRICS, MetricRow, Metrics};
pub use replay::{Mismatch, Replayed, replay};
pub use runner::{Request, Study};
pub use scenario::{Fidelity, KeyRow, SHIPPED, Scenario, Settings, Shipped};
pub use statistic::Spread;
pub use summary::{Input, PolicySummary, Program, SUMMARY_FILE, SeedSummary, Speed, Summary};

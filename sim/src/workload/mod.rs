//! What simulated clusters are asked to do: traces of real clusters, generators, and the plans of simulated frameworks.
//!
//! - [`rows`] reads text files by rows, plain or compressed, never more than one row at a time, and names file and line of
//!   what it cannot accept. The formats stand on it: [`swf`] (batch logs).
//! - `plan` is what the simulated frameworks of the full cluster do.
//!
//! Which licence each public trace has, and where it comes from, is said beside its data.

mod compressed;
pub mod numbers;
mod plan;
pub mod rows;
pub mod swf;

pub use plan::{Lengths, LengthsError};
pub(crate) use plan::{TaskPlan, plan};

//! What simulated clusters are asked to do: traces of real clusters, generators, and the plans of simulated frameworks.
//!
//! - [`rows`] reads text files by rows, plain or compressed, never more than one row at a time, and names file and line of
//!   what it cannot accept. The formats stand on it: [`swf`], [`openb`], [`swim`], [`gavel`], [`alibaba`], [`omega`], and
//!   [`native`], the schema of this project, to which [`convert`] brings the others. Their common shape is in [`model`].
//! - [`generate`] makes workloads that nobody recorded.
//! - `plan` is what the simulated frameworks of the full cluster do.
//!
//! Licence and origin of each public trace are said in its file here and beside the data in `sim/data`.

pub mod alibaba;
mod compressed;
pub mod convert;
pub mod detect;
pub mod gavel;
pub mod generate;
pub mod hwloc;
pub mod model;
pub mod native;
pub mod numbers;
pub mod omega;
pub mod openb;
mod plan;
pub mod rows;
pub mod shipped;
pub mod swf;
pub mod swim;
#[cfg(test)]
mod tests;

pub use plan::{Lengths, LengthsError};
pub(crate) use plan::{TaskPlan, plan, plan_group};

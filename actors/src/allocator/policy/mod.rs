//! How a cluster is shared between tenants (policies 1, reference `policies.md`): fair division as a library, and sorters
//! for the allocator's first seat.
//!
//! [`divide`] gives every tenant an amount of tasks that may be a fraction, [`serve`] hands out whole tasks one by one;
//! both follow a [`Rule`]. They are for analysis: what each tenant is entitled to now, what another rule would have given.
//! The order of a live cluster is that of a [`Sorter`](super::engine::sorter::Sorter): hierarchical DRF and the random
//! sorter are the engine's, those here are in [`sorter()`]. A cluster in static parts is a [`Partition`].
//!
//! Numbers are exact fractions, or floats where fractions of many tenants would outgrow 128 bits ([`Number`]).

mod ceei;
mod continuous;
mod discrete;
mod fraction;
mod name;
mod problem;
mod solve;
mod sorter;

#[cfg(test)]
mod tests;

pub use super::engine::Partition;
pub use ceei::{Equilibrium, RELATIVE_ERROR_MAX, equilibrium};
pub use continuous::{Division, divide};
pub use discrete::{Service, TASKS_MAX, Unfit, serve};
pub use fraction::{Fraction, Number, Overflow};
pub use name::{UnknownPolicy, named};
pub use problem::{Problem, RESOURCES_MAX, Refused, Rule, TENANTS_MAX, Tenant};
pub use sorter::{PRICES_KEPT, Ranked, SORTERS, SorterName, Yardstick, sorter};

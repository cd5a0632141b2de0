//! How a cluster is shared: fair division as a library, and sorters for the allocator's first seat (policies 1, reference
//! `policies.md`).

mod name;

pub use name::{UnknownPolicy, named};

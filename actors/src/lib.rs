//! The actors: master, allocator, registrar, agent, executor, framework proxy.
//!
//! Pure state machines on the contract of [`kaon_kernel::actor`]. They do not import each other; they share only the
//! messages of [`kaon_kernel::message`]. What drives them is `runtime/` or `sim/`.
#![forbid(unsafe_code)]

pub mod agent;
pub mod allocator;
pub mod constraints;
pub mod executor;
pub mod framework;
pub mod master;
pub mod registrar;
pub mod testing;

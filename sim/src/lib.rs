//! The virtual-time host: the same actors, ten thousand machines, faults included.
//!
//! [`run`] builds a cluster out of the very actors that run on real machines (master, allocator, registrar, proxies,
//! agents, executors) and out of simulated frameworks, and lets virtual time pass until every task has ended. Network,
//! disks, containers and faults are simulated; all chance comes from the seed. Two runs of one seed deliver the same
//! events in the same order and end with the same trace hash, with any number of workers (laws L1, L9).
//!
//! Inside: `world` (build, time, end, workers, the order of events, what people do to the cluster meanwhile), `machine`
//! (actors and supervision, network, disks, containers and what simulated commands do), `client` (frameworks), `faults` (the
//! swarm), `check` (the claims), `explore` (many seeds, planted mistakes, a failure made small and told in words).
//! [`serve`] stands behind a real HTTP edge, so that real frameworks meet a cluster in virtual time.
//!
//! Beside it stand engines that simulate less and more of it: [`batch`] (queues on a pool, and on machines),
//! [`architecture`] (who decides on what knowledge), both pure functions that fill a [`record::Records`]; [`workload`]
//! reads traces and makes workloads for them; [`theory`] holds them against closed formulas. [`study`] is the front of all:
//! scenarios, sweeps, metrics, reports.
#![forbid(unsafe_code)]

pub mod architecture;
pub mod batch;
mod check;
mod client;
mod explore;
mod faults;
mod machine;
mod options;
pub mod record;
mod report;
pub mod serve;
mod sharing;
pub mod stage;
pub mod study;
mod table;
#[cfg(test)]
mod tests;
pub mod theory;
pub mod workload;
mod world;

pub use explore::explore;
pub use explore::plant::Plant;
pub use explore::shrink::{RUNS_MAX, Shrunk, shrink};
pub(crate) use machine::drive::AGENTS_BACK;
pub use options::{AGENTS_MAX, Error, FRAMEWORKS_MAX, Options, WORKERS_MAX};
pub use report::{Course, Exploration, Failure, Mishaps, Report};
pub use sharing::Sharing;
pub use workload::{Lengths, LengthsError};
pub use world::Progress;

/// Runs a simulated cluster until every task has ended, a claim is broken, or its deadline is reached.
pub fn run(options: &Options) -> Result<Report, Error> {
    run_with_progress(options, &mut |_| ())
}

/// The same, telling now and then (each second of virtual time) how far it is.
pub fn run_with_progress(options: &Options, progress: &mut dyn FnMut(&Progress)) -> Result<Report, Error> {
    options.check()?;
    Ok(world::World::new(options).run(progress))
}

//! The virtual-time host: the same actors, ten thousand machines, faults included.
//!
//! [`run`] builds a cluster out of the very actors that run on real machines (master, allocator, registrar, proxies,
//! agents, executors) and out of simulated frameworks, and lets virtual time pass until every task has ended. Network,
//! disks, containers and faults are simulated; all chance comes from the seed. Two runs of one seed deliver the same
//! events in the same order and end with the same trace hash, with any number of workers (laws L1, L9).
//!
//! Inside: `world` (build, time, end), `crew` (workers), `queue` with `wheel` (the order of events), `machine` with `drive`
//! (actors and supervision), `network`, `disk`, `containers`, `program` (what simulated commands do), `client` (frameworks),
//! `faults` (the swarm), `operator` (what people do to the cluster meanwhile), `check` (the claims), `story` (a failure in words). [`serve`] stands behind a real HTTP edge, so that
//! real frameworks meet a cluster in virtual time.
//!
//! Beside it stand engines that simulate less and more of it: [`batch`] (queues on a pool, and on machines),
//! [`architecture`] (who decides on what knowledge), both pure functions that fill a [`record::Records`]; [`workload`]
//! reads traces and makes workloads for them; [`theory`] holds them against closed formulas. [`study`] is the front of all:
//! scenarios, sweeps, metrics, reports.
#![forbid(unsafe_code)]

pub mod architecture;
pub mod batch;
mod busy;
mod cast;
mod check;
mod client;
mod clock;
mod containers;
mod crew;
mod disk;
mod drive;
mod explore;
mod faults;
mod guard;
mod happening;
mod lane;
mod laws;
mod machine;
mod network;
mod operator;
mod options;
mod place;
mod plant;
mod process;
mod program;
mod queue;
pub mod record;
mod report;
pub mod serve;
mod sharing;
mod shrink;
pub mod stage;
mod story;
pub mod study;
mod table;
#[cfg(test)]
mod tests;
pub mod theory;
mod timers;
mod torn;
mod twice;
mod wheel;
pub mod workload;
mod world;

pub(crate) use drive::AGENTS_BACK;
pub use explore::explore;
pub use options::{AGENTS_MAX, Error, FRAMEWORKS_MAX, Options, WORKERS_MAX};
pub use plant::Plant;
pub use report::{Course, Exploration, Failure, Mishaps, Report};
pub use sharing::Sharing;
pub use shrink::{RUNS_MAX, Shrunk, shrink};
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

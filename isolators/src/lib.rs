//! The machine: topology, containers, sandboxes, processes.
//!
//! What is here: [`containers::ProcessContainers`] carries out the kernel's container requests on Linux;
//! [`launcher::main`] is the small process that stands between the agent and each container's program and outlives the
//! agent; [`isolator`] and [`chain`] are the seam at which walls (limits, namespaces) are added; [`topology`] reads the
//! hardware and [`resources`] turns it into what the machine shares out.
//!
//! What is not: any decision. The agent and the executor decide, this crate does. The shape is an agent that never works
//! between fork and exec, a launcher that is this binary again, and contributions merged into one launch description
//! (dependencies reference 7); the behaviour follows Mesos's containerizer (reference 9 and 12).
//!
//! All unsafe code is in `syscall.rs` with its folder, and in `topology/hwloc.rs`.
#![deny(unsafe_code)]

pub mod build;
pub mod cgroups;
pub mod chain;
pub mod containers;
mod contribution;
pub mod disk;
pub mod docker;
pub mod fetcher;
pub mod filesystem;
pub mod gpu;
mod guard;
pub mod images;
pub mod isolator;
pub mod launcher;
pub mod linux;
pub mod members;
mod mounts;
pub mod namespaces;
pub mod network;
pub mod numa;
mod orphans;
pub mod posix;
mod probe;
mod process;
mod record;
pub mod resources;
pub mod sandbox;
pub mod seccomp;
pub mod secrets;
mod sweep;
mod syscall;
pub mod topology;
pub mod volumes;
pub mod way;

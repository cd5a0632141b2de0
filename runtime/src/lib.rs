//! The real-time host of actors, on actix and tokio.
//!
//! It drives the very cells that the simulator drives ([`kaon_kernel::actor::Cell`]) and carries out every effect they
//! ask for (law L2). What it adds is the world: mailboxes with bounds, a clock, timers, a journal, supervision after
//! panics, and metrics. It knows no actor by its type: a factory makes the cells, `cli/` passes it in.
//!
//! ```text
//! transport, http --Ingress--> mailbox --drain--> Seat (one actix actor per cell, on an arbiter)
//!                                                  |  Send        -> mailbox of a neighbour, or the Network port
//!   Supervisor (root)  <---- reports, orders ----> |  Arm, Disarm -> its timer wheel
//!   who restarts whom: kernel::actor::supervision  |  Persist     -> journal thread, group commit
//!                                                  |  Contain, Emit, Close -> ports
//! ```
//!
//! Reading order: [`Host`] (the way in), `seat` (how a cell is driven), `carry` (one arm per effect), `supervise` (who
//! restarts whom), [`journal`] (what survives), `wheel` (timers), [`metrics`].
#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "an allocator is one by an unsafe trait")]
mod allocator;
mod carry;
mod clock;
mod directory;
mod host;
pub mod journal;
mod mailbox;
pub mod metrics;
mod seat;
mod supervise;
mod timing;
mod wheel;
mod whole;

pub use allocator::Allocator;
pub use clock::HostClock;
pub use host::{AlreadyPlugged, Host, HostConfig, Ports, StillRunning};
pub use seat::{Birth, Factory, Origin};
pub use whole::replace_file;

//! The outside: the Mesos v1 and v0 HTTP APIs, RecordIO streams, metrics.
//!
//! ```text
//! clients -- server (connections, bounds) -- edge (a master's)        -- Ingress --> actors
//!                                         \  agent (an agent's files)
//!                  view (snapshots) <---- edge <-- Streams -- events of the actors
//! ```
//! Nothing here holds cluster state that anybody else relies on: calls are handed to the actors, reads come from snapshots
//! that the master's events are folded into (law L10).

pub mod agent;
pub mod answer;
pub mod codec;
pub mod convert;
pub mod edge;
mod explain;
mod files;
mod frame;
mod help;
mod legacy;
mod listing;
mod maintenance;
pub mod metric;
mod operator;
mod order;
mod path;
mod polled;
mod process;
mod queue;
pub mod recordio;
mod rope;
mod scheduler;
pub mod server;
mod stream;
mod take;
mod traffic;
pub mod v1;
pub mod version;
pub mod view;
mod watch;

pub use agent::{
    AgentConfig, AgentEdge, ContainerCalls, ContainerFigures, ContainerSource, ImagePruner, Launched, Speaker,
    Unattached,
};
pub use edge::{Leader, MasterConfig, MasterEdge};
pub use metric::{Kind, Sample};
pub use process::Verbosity;
pub use server::{Limits, listen, serve};
pub use view::History;

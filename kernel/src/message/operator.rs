//! Operators and the master: orders, as the HTTP edge hands them in, and their answers.
//!
//! ```text
//! edge                         master                       registrar
//!   |  Order { order, reply } --> |  Apply ---------------------> |
//!   |                             |  <------------------ Applied  |
//!   |  <== Answer on the stream = |
//! ```
//! The answer comes on a stream of its own that the edge opened for it; it is the only event there. An answer that does
//! not come says nothing: the order may have taken effect, and giving it again changes nothing more.

use crate::cause::Defect;
use crate::frame::Classified;
use crate::id::{AgentId, RoleName};
use crate::maintenance::{DrainConfig, MachineId, Window};
use crate::message::explain::Explanation;
use crate::quota::Quota;
use rkyv::{Archive, Deserialize, Serialize};

/// What an operator wants changed. Each is taken whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Order {
    /// Set the quotas of these roles (UPDATE_QUOTA); the default quota removes one.
    SetQuotas {
        /// Each role once.
        quotas: Vec<(RoleName, Quota)>,
        /// Whether the checks against the size of the cluster and what is in use are left out.
        force: bool,
    },
    /// Set the weights of these roles (UPDATE_WEIGHTS), in thousandths and above zero.
    SetWeights {
        /// Each role once.
        weights: Vec<(RoleName, u32)>,
    },
    /// Replace the schedule of maintenance (UPDATE_MAINTENANCE_SCHEDULE).
    SetSchedule {
        /// All windows.
        windows: Vec<Window>,
    },
    /// These machines go now: their agents are shut down and stay out (START_MAINTENANCE).
    StartMaintenance {
        /// Which; scheduled.
        machines: Vec<MachineId>,
    },
    /// These machines are back: their agents may return (STOP_MAINTENANCE).
    StopMaintenance {
        /// Which; down.
        machines: Vec<MachineId>,
    },
    /// End everything on an agent and offer nothing of it (DRAIN_AGENT).
    Drain {
        /// Which.
        agent_id: AgentId,
        /// How.
        config: DrainConfig,
    },
    /// Offer nothing of an agent (DEACTIVATE_AGENT).
    Deactivate {
        /// Which.
        agent_id: AgentId,
    },
    /// Offer of an agent again (REACTIVATE_AGENT).
    Reactivate {
        /// Which.
        agent_id: AgentId,
    },
    /// An agent is gone for good (MARK_AGENT_GONE).
    MarkGone {
        /// Which.
        agent_id: AgentId,
    },
}

/// What became of an order or a question.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum Answer {
    /// It has taken effect, and outlives the master.
    Done,
    /// It is under way, and will take effect.
    Accepted,
    /// Nothing was changed: what it needs is not free, or gone by now.
    Conflict {
        /// For people.
        reason: String,
    },
    /// Nothing was changed.
    Refused(Defect),
    /// What was asked for.
    Explained(Box<Explanation>),
    /// Nothing was changed: what the order names is not known.
    NotFound {
        /// For people.
        reason: String,
    },
    /// Nothing was changed, and it is not the order's fault: try again later.
    Unavailable {
        /// For people.
        reason: String,
    },
}

impl Classified for Answer {}

/// So many roles can have a quota, and so many a weight.
pub const SETTINGS_MAX: usize = 10_000;

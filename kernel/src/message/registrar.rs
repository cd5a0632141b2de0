//! Master and registrar, and registrars among each other.
//!
//! The registry is the one thing that must outlive every master: which agents and frameworks are admitted. The registrar
//! keeps it in a replicated log (raft); an operation has taken effect when [`ToMaster::Applied`] says so, and the master
//! tells nobody before (law L5).

use crate::actor::{HostId, Term};
use crate::agent::AgentInfo;
use crate::framework::FrameworkInfo;
use crate::id::{AgentId, FrameworkId, RoleName};
use crate::maintenance::{AgentOrders, DrainConfig, MachineId, Window};
use crate::quota::Quota;
use crate::time::WallTime;
use rkyv::{Archive, Deserialize, Serialize};

/// What a master says to its registrar.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToRegistrar {
    /// I began: tell me when I lead.
    Attach,
    /// Put this into the log.
    Apply {
        /// Comes back with [`ToMaster::Applied`]; counted by the master.
        number: u64,
        /// What.
        operation: RegistryOperation,
    },
}

/// A change to the registry. Applying one twice changes nothing more.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum RegistryOperation {
    /// An agent is in, for the first time or back from out of reach.
    AdmitAgent {
        /// Its words; `id` is set.
        info: AgentInfo,
        /// The name in its certificate: nobody else may come back under its id.
        identity: String,
    },
    /// It is out of reach.
    MarkUnreachable {
        /// Which.
        agent_id: AgentId,
        /// Since when.
        since: WallTime,
    },
    /// It left, or is forgotten.
    RemoveAgent {
        /// Which.
        agent_id: AgentId,
    },
    /// A framework is in, or changed its words.
    AdmitFramework {
        /// Its words; `id` is set.
        info: FrameworkInfo,
    },
    /// It is removed and may not come back.
    RemoveFramework {
        /// Which.
        framework_id: FrameworkId,
        /// Since when.
        since: WallTime,
    },
    /// Quotas of roles; the default quota removes one.
    SetQuotas {
        /// Each role once.
        quotas: Vec<(RoleName, Quota)>,
    },
    /// Weights of roles.
    SetWeights {
        /// In thousandths, above zero, each role once.
        weights: Vec<(RoleName, u32)>,
    },
    /// The schedule of maintenance. Machines that are down stay down as long as it names them.
    SetSchedule {
        /// All windows.
        windows: Vec<Window>,
    },
    /// Scheduled machines go down.
    StartMaintenance {
        /// Which.
        machines: Vec<MachineId>,
    },
    /// Machines are back, and leave the schedule.
    StopMaintenance {
        /// Which.
        machines: Vec<MachineId>,
    },
    /// Everything on an agent is to end; nothing of it is offered.
    DrainAgent {
        /// Which.
        agent_id: AgentId,
        /// How.
        config: DrainConfig,
        /// Since when.
        since: WallTime,
    },
    /// Nothing is on a draining agent any more.
    MarkDrained {
        /// Which.
        agent_id: AgentId,
    },
    /// Nothing of an agent is offered.
    DeactivateAgent {
        /// Which.
        agent_id: AgentId,
    },
    /// An agent is offered again; that it was drained is forgotten.
    ReactivateAgent {
        /// Which.
        agent_id: AgentId,
    },
    /// An agent is gone and may not come back.
    MarkGone {
        /// Which.
        agent_id: AgentId,
        /// Since when.
        since: WallTime,
    },
}

/// What the log adds up to.
#[derive(Clone, Debug, Default, PartialEq, Archive, Serialize, Deserialize)]
pub struct Registry {
    /// Agents in the pool, in order of admission.
    pub agents: Vec<AdmittedAgent>,
    /// Agents out of reach, oldest first, at most [`UNREACHABLE_MAX`].
    pub unreachable: Vec<(AdmittedAgent, WallTime)>,
    /// Frameworks, in order of admission.
    pub frameworks: Vec<FrameworkInfo>,
    /// Removed frameworks, oldest first, at most [`REMOVED_MAX`].
    pub removed: Vec<(FrameworkId, WallTime)>,
    /// Quotas, in the order in which they were set, at most [`SETTINGS_MAX`](super::operator::SETTINGS_MAX).
    pub quotas: Vec<(RoleName, Quota)>,
    /// Weights in thousandths, as for quotas.
    pub weights: Vec<(RoleName, u32)>,
    /// The schedule of maintenance.
    pub schedule: Vec<Window>,
    /// The machines of the schedule that are down.
    pub down: Vec<MachineId>,
    /// What operators have said about agents that are in the pool or out of reach, in the order in which they did.
    pub orders: Vec<(AgentId, AgentOrders)>,
    /// Agents that are gone, oldest first, at most [`GONE_MAX`].
    pub gone: Vec<(AgentId, WallTime)>,
}

/// An agent in the registry.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct AdmittedAgent {
    /// Its words; `id` is set.
    pub info: AgentInfo,
    /// The name in its certificate.
    pub identity: String,
}

/// How many agents out of reach are remembered (Mesos `--registry_max_agent_count`).
pub const UNREACHABLE_MAX: usize = 102_400;

/// How many agents that are gone are remembered (Mesos `--registry_max_agent_count`).
pub const GONE_MAX: usize = 102_400;

/// How many removed frameworks are remembered. Mesos remembers 50 and forgets them at failover.
pub const REMOVED_MAX: usize = 10_000;

/// What a registrar says to its master.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToMaster {
    /// You lead, and this is what is known. Sent once for each attachment and term.
    Leading {
        /// The term, above zero.
        term: Term,
        /// What the log adds up to.
        registry: Box<Registry>,
    },
    /// You do not lead (any more); whoever leads, if known.
    Following {
        /// The leader's host.
        leader: Option<HostId>,
    },
    /// The operation is in the log and on disk.
    Applied {
        /// Which.
        number: u64,
    },
    /// The operation is in the log and changed nothing: what it asked for does not hold, or does not fit.
    Refused {
        /// Which.
        number: u64,
        /// For people.
        reason: String,
    },
}

/// Registrar to registrar: one message of the consensus engine, in its own encoding. Lost ones are repeated by it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PeerMessage {
    /// The bytes.
    pub data: Vec<u8>,
}

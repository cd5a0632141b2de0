//! What a framework says of itself.

use crate::id::{FrameworkId, RoleName};
use crate::time::Duration;
use rkyv::{Archive, Deserialize, Serialize};

/// A framework (`FrameworkInfo` of the v1 API).
#[derive(Clone, Debug, Default, PartialEq, Archive, Serialize, Deserialize)]
pub struct FrameworkInfo {
    /// Given by the master, or chosen by the client; `None` only before the first subscription.
    pub id: Option<FrameworkId>,
    /// Default user of its tasks.
    pub user: String,
    /// For people.
    pub name: String,
    /// The roles in which it takes offers, checked, without repeats. Without [`Capability::MultiRole`] exactly one.
    pub roles: Vec<RoleName>,
    /// How long its tasks live on after its stream broke.
    pub failover_timeout: Duration,
    /// Whether its executors outlive the agent's process.
    pub checkpoint: bool,
    /// Where it runs.
    pub hostname: String,
    /// Who it is to the authenticator.
    pub principal: Option<String>,
    /// Its web page.
    pub webui_url: Option<String>,
    /// What it understands, sorted.
    pub capabilities: Vec<Capability>,
    /// Labels.
    pub labels: Vec<Label>,
    /// Fields of the v1 message that only its readers understand, as protobuf: the edge puts them back when asked.
    pub rest: Vec<u8>,
}

impl FrameworkInfo {
    /// Whether it has a capability.
    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// What a framework understands (reference 3.2). The numbers are those of the v1 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[rkyv(derive(PartialEq, Eq, Debug))]
#[repr(u8)]
pub enum Capability {
    /// Takes revocable resources.
    RevocableResources = 1,
    /// Wants TASK_KILLING.
    TaskKillingState = 2,
    /// Takes offers of machines with GPUs.
    GpuResources = 3,
    /// Takes shared volumes.
    SharedResources = 4,
    /// Knows the finer states in place of TASK_LOST.
    PartitionAware = 5,
    /// Has several roles.
    MultiRole = 6,
    /// Knows reservation stacks.
    ReservationRefinement = 7,
    /// Takes offers of other regions.
    RegionAware = 8,
}

impl Capability {
    /// All capabilities, in order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::RevocableResources,
        Self::TaskKillingState,
        Self::GpuResources,
        Self::SharedResources,
        Self::PartitionAware,
        Self::MultiRole,
        Self::ReservationRefinement,
        Self::RegionAware,
    ];
}

/// A key with an optional value (`Label` of the v1 API).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct Label {
    /// Key.
    pub key: String,
    /// Value.
    pub value: Option<String>,
}

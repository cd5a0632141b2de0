//! What a task may ask of its place on a machine, beside how much it takes.

use crate::topology::MemoryKind;
use rkyv::{Archive, Deserialize, Serialize};

/// Where the processing units and the memory of a task lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Policy {
    /// Anywhere, as every task without a request: no processing unit is its own.
    #[default]
    None,
    /// All of them near one NUMA node, whichever it is, and its memory there.
    OneNode,
    /// All of them in one package, and its memory there.
    OnePackage,
    /// As close together as they fit: one NUMA node, else one package, else as few nodes as possible.
    Packed,
    /// As far apart as possible: the same number near each NUMA node, on cores of their own where there are enough.
    Spread,
}

impl Policy {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::OneNode => "numa",
            Self::OnePackage => "package",
            Self::Packed => "packed",
            Self::Spread => "spread",
        }
    }
}

/// What the GPUs of a task are near to.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Near {
    /// The processing units that the task gets. Needs a policy.
    Cores,
    /// These processing units, by their numbers.
    Units(crate::resource::Ranges),
    /// Any network interface or fabric adapter.
    AnyNetwork,
    /// The network interface or fabric adapter of this name.
    Network(String),
}

/// What a task asks of its place. The default asks nothing: the task runs anywhere, as it would in Mesos.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PlacementRequest {
    /// Where processing units and memory lie.
    pub policy: Policy,
    /// Whole cores that nobody else runs on. With [`Policy::None`] they are [`Policy::Packed`].
    pub exclusive: bool,
    /// Which kind of memory; `None` for the ordinary one of the node.
    pub memory: Option<MemoryKind>,
    /// So many thousandths of one GPU, 1 to 1000.
    pub gpu_share: Option<u32>,
    /// So many bytes of the memory of one GPU.
    pub gpu_memory_bytes: Option<u64>,
    /// All GPUs in one link group.
    pub one_link_group: bool,
    /// What the GPUs are near to.
    pub gpus_near: Option<Near>,
}

impl PlacementRequest {
    /// Whether processing units and memory get a place of their own.
    pub fn is_pinned(&self) -> bool {
        self.exclusive || self.memory.is_some() || self.policy != Policy::None
    }
    /// Whether a part of one GPU is asked for.
    pub fn wants_part(&self) -> bool {
        self.gpu_share.is_some() || self.gpu_memory_bytes.is_some()
    }
    /// Whether anything is asked of GPUs.
    pub fn is_about_gpus(&self) -> bool {
        self.wants_part() || self.one_link_group || self.gpus_near.is_some()
    }
}

//! Quota: what a role is promised, and what it may have at most (reference 11.2, `QuotaConfig` of the v1 API).

use crate::quantity::Quantity;
use crate::resource::ResourceName;
use rkyv::{Archive, Deserialize, Serialize};

/// The quota of a top-level role, over its whole subtree. Only scalars count; reserved amounts of the role count whether
/// they are used or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Quota {
    /// Promised amounts by name, each once; what is not named is promised nothing. They are kept free for the role.
    pub guarantees: Vec<(ResourceName, Quantity)>,
    /// Largest amounts by name, each once; what is not named has no limit.
    pub limits: Vec<(ResourceName, Quantity)>,
}

impl Quota {
    /// Whether it says nothing: no promise and no limit.
    pub fn is_default(&self) -> bool {
        self.limits.is_empty() && self.guarantees.iter().all(|(_, amount)| amount.is_zero())
    }
}

//! The static partition: every agent belongs to a role (policies 1.6). A matter of feasibility, not of order.

use kaon_kernel::id::{AgentIndex, RoleName};
use kaon_kernel::table::Table;

/// Which role owns which agent. What a role owns is also there for the roles below it in the tree.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    owners: Table<AgentIndex, RoleName>,
}

impl Partition {
    /// Gives an agent to a role, and takes it from the one that had it.
    pub fn assign(&mut self, agent: AgentIndex, role: &RoleName) {
        self.owners.insert(agent, role.clone());
    }

    /// Takes an agent out of the partition: nobody is offered it then.
    pub fn withdraw(&mut self, agent: AgentIndex) {
        self.owners.swap_remove(&agent);
    }

    /// Whether a role may be offered an agent: its own, or one of a role above it.
    pub fn admits(&self, agent: AgentIndex, role: &RoleName) -> bool {
        self.owners.get(&agent).is_some_and(|owner| {
            let below = role.as_str().strip_prefix(owner.as_str());
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

//! The static partition: every agent belongs to a role (policies 1.6). A matter of feasibility, not of order.

use kaon_kernel::id::RoleName;
use kaon_kernel::resource::role::is_within;
use kaon_kernel::table::Table;

/// Which role owns the agents of which hostname. What a role owns is also there for the roles below it in the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    owners: Table<String, RoleName>,
}

impl Partition {
    /// Gives the agents of a hostname to a role, and takes them from the one that had them.
    pub fn assign(&mut self, hostname: impl Into<String>, role: &RoleName) {
        self.owners.insert(hostname.into(), role.clone());
    }

    /// Whose the agents of a hostname are.
    pub fn owner(&self, hostname: &str) -> Option<&RoleName> {
        self.owners.get(hostname)
    }

    /// Whether a role may be offered agents of a hostname: its own, or those of a role above it.
    pub fn admits(&self, hostname: &str, role: &RoleName) -> bool {
        self.owner(hostname).is_some_and(|owner| is_within(role, owner))
    }
}

//! `numa`: the exact processing units and memory nodes of a placement, in three ways that hold each other: the `cpuset`
//! controller (which the container can't leave), the affinity of its first process, and its memory policy
//! (`set_mempolicy(2)`, `MPOL_BIND`), so that memory comes from those nodes or not at all.

use crate::cgroups::{Cgroups, Cpuset, Isolated};
use crate::isolator::{Contribution, Error, Isolator, Survivor};
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::id::ContainerId;
use std::sync::Arc;

/// Name of [`Numa`].
pub const NUMA: &str = "numa";

/// The isolator.
pub struct Numa {
    group: Isolated<Cpuset>,
}

impl Numa {
    /// Over the groups of an agent.
    ///
    /// # Errors
    /// When the machine has no `cpuset` controller, or the agent may not use it.
    pub fn new(cgroups: Arc<Cgroups>) -> Result<Self, Error> {
        Ok(Self { group: Isolated::new(cgroups, Cpuset { name: NUMA })? })
    }
}

impl Isolator for Numa {
    fn name(&self) -> &'static str {
        NUMA
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn recover(&self, survivors: &[Survivor], orphans: &[ContainerId]) -> Result<(), Error> {
        self.group.recover(survivors, orphans)
    }

    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let wanted = self.group.prepare(container, spec)?;
        let Some(placement) = &spec.placement else { return Ok(wanted) };
        let units = placement.units.iter().map(|share| share.unit).collect();
        let memory_nodes = placement.memory.iter().map(|memory| memory.node).collect();
        Ok(Contribution { units, memory_nodes, ..wanted })
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), Error> {
        self.group.cleanup(container)
    }
}

//! Who is next in the allocator of a run: the policies of the real one, by their names.

use crate::explore::plant::Plant;
use crate::options::Options;
use kaon_actors::allocator::engine::sorter::Order;
use kaon_actors::allocator::engine::{Partition, Rules};
use kaon_actors::allocator::policy::{SorterName, UnknownPolicy, named};
use kaon_actors::allocator::{AllocatorConfig, Policy};
use kaon_kernel::id::RoleName;
use kaon_kernel::resource::ResourceName;

/// Simulated frameworks are in so many roles, `role-0` and on, in turn.
pub(crate) const ROLES: u32 = 4;

/// A policy of the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Hierarchical weighted dominant resource fairness.
    #[default]
    Drf,
    /// By lot.
    Lottery,
    /// By another sorter. Classes of strict priority are the numbers of the roles; max-min is of processors.
    Sorter(SorterName),
    /// Machines belong to the roles, in turn; inside a part dominant resource fairness.
    StaticPartition,
}

impl Sharing {
    /// All of them, with their names and what they are.
    pub const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Drf, "drf", "hierarchical weighted DRF, coarse-grained offers, as in the Mesos allocator"),
        (Self::Lottery, "lottery", "the next role and framework are drawn by lot, by weight"),
        (Self::Sorter(SorterName::Asset), "asset-fairness", "the smallest sum of parts of all resources"),
        (Self::Sorter(SorterName::MaxMin), "max-min", "the smallest part of the processors"),
        (
            Self::Sorter(SorterName::Ceei),
            "ceei",
            "the cheapest bundle at the prices of the equilibrium of equal incomes",
        ),
        (
            Self::Sorter(SorterName::StrictPriority),
            "strict-priority",
            "role-3 before role-2 before role-1 before role-0",
        ),
        (Self::StaticPartition, "static-partition", "each role has every fourth machine, and no other"),
    ];

    /// The policy of a name.
    ///
    /// # Errors
    /// When there is none; the error names the nearest.
    pub fn parse(name: &str) -> Result<Self, UnknownPolicy> {
        named("policy", name, Self::ALL.iter().map(|(one, name, _)| (*one, *name)))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(one, ..)| *one == self).map_or("", |(_, name, _)| name)
    }

    /// So many machines it takes at least to run tasks of so many frameworks.
    pub(crate) fn machines_min(self, frameworks: u32) -> u64 {
        if self == Self::StaticPartition { u64::from(ROLES.min(frameworks)) } else { 1 }
    }

    /// The allocator of a run.
    pub(crate) fn allocator(options: &Options) -> AllocatorConfig {
        let groups = options.stage.as_ref().map_or(&[][..], |stage| &stage.groups);
        let roles = roles(options);
        let mut config = AllocatorConfig {
            plant_double_grant: options.plant == Some(Plant::DoubleGrant),
            plant_no_limits: options.plant == Some(Plant::ForgottenLimit),
            ..AllocatorConfig::default()
        };
        match options.sharing {
            Self::Drf => {}
            Self::Lottery => {
                config.rules = Rules { roles_by: Order::Random, frameworks_by: Order::Random, ..config.rules };
            }
            Self::Sorter(sorter) => {
                config.policy = Some(Policy { sorter, classes: roles, resource: ResourceName::Cpus });
            }
            Self::StaticPartition => {
                let mut partition = Partition::default();
                let parts = if groups.is_empty() { ROLES.min(options.frameworks) as usize } else { roles.len() };
                for machine in 1..=options.agents {
                    partition.assign(crate::world::cast::hostname(machine), &roles[machine as usize % parts].0);
                }
                config.rules.partition = Some(partition);
            }
        }
        config
    }
}

/// The roles of the frameworks of a run, each with its class.
pub(crate) fn roles(options: &Options) -> Vec<(RoleName, u32)> {
    match options.stage.as_ref().map_or(&[][..], |stage| &stage.groups) {
        [] => (0..ROLES).map(|number| (RoleName::trusted(format!("role-{number}")), number)).collect(),
        groups => groups.iter().map(|group| (group.role(), group.class)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_brings_every_task_to_its_end() {
        let mut hashes = std::collections::BTreeSet::new();
        for (sharing, name, _) in Sharing::ALL {
            assert_eq!(Sharing::parse(name), Ok(sharing));
            let options = Options { agents: 8, frameworks: 5, tasks: 120, sharing, ..Options::default() };
            let report = crate::run(&options).expect("options within their bounds");
            assert!(report.failures.is_empty(), "{name}: {:?}", report.failures);
            assert_eq!(report.tasks.get("open"), None, "{name}");
            hashes.insert(report.trace_hash);
        }
        assert!(hashes.len() >= 6, "policies decide differently: {hashes:?}");
        assert_eq!(Sharing::parse("static").map_err(|error| error.nearest), Err("static-partition"));
    }
}

//! The roles of a cluster, gathered from all that names one.

use std::collections::{BTreeMap, BTreeSet};

use kaon_kernel::id::{FrameworkId, RoleName};
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::{Resources, role};

use super::snapshot::Snapshot;
use super::together::{Together, together};

/// A role: what is said of it, and what its frameworks hold. Those of its sub-roles are not counted here.
#[derive(Clone, Debug, Default)]
pub struct Role<'a> {
    /// In thousandths, when an operator set it.
    pub weight: Option<u32>,
    /// When an operator set it.
    pub quota: Option<&'a Quota>,
    /// The frameworks that are in it.
    pub frameworks: BTreeSet<&'a FrameworkId>,
    /// What tasks and executors use.
    pub used: Resources,
    /// What lies in offers.
    pub offered: Resources,
    /// What agents keep for it.
    pub reserved: Resources,
}

impl Role<'_> {
    /// Its weight as the API shows it.
    pub fn weight(&self) -> f64 {
        self.weight.map_or(1.0, |thousandths| f64::from(thousandths) / 1000.0)
    }

    /// What it uses and is offered.
    pub fn held(&self) -> Resources {
        together([&self.used, &self.offered])
    }
}

impl Snapshot {
    /// Every role that anybody is in, holds something in, has reserved or set (reference 2, `/roles`); `*` is always
    /// among them. Cost: all tasks, offers and entries of agents.
    pub fn roles(&self) -> BTreeMap<&RoleName, Role<'_>> {
        static DEFAULT: std::sync::LazyLock<RoleName> = std::sync::LazyLock::new(|| RoleName::trusted(role::DEFAULT));
        let mut roles: BTreeMap<&RoleName, Role<'_>> = BTreeMap::new();
        roles.entry(&DEFAULT).or_default();
        for (name, weight) in &self.settings.weights {
            roles.entry(name).or_default().weight = Some(*weight);
        }
        for (name, quota) in &self.settings.quotas {
            roles.entry(name).or_default().quota = Some(quota);
        }
        let [mut used, mut offered, mut reserved]: [BTreeMap<&RoleName, Together<'_>>; 3] = Default::default();
        for (id, framework) in self.frameworks.iter() {
            for name in &framework.view.info.roles {
                roles.entry(name).or_default().frameworks.insert(id);
            }
            for held in framework.tasks.values().filter(|held| held.is_using()) {
                used.entry(&held.role).or_default().add(&held.task.info.resources);
            }
            for executor in framework.executors.values() {
                used.entry(&executor.role).or_default().add(&executor.info.resources);
            }
        }
        for offer in self.offers.values() {
            offered.entry(&offer.role).or_default().add(&offer.resources);
        }
        for entry in self.agents.values().flat_map(|view| view.total()) {
            if let Some(name) = entry.reservation_role() {
                reserved.entry(name).or_default().add([entry]);
            }
        }
        used.into_iter().for_each(|(name, sum)| roles.entry(name).or_default().used = sum.whole());
        offered.into_iter().for_each(|(name, sum)| roles.entry(name).or_default().offered = sum.whole());
        reserved.into_iter().for_each(|(name, sum)| roles.entry(name).or_default().reserved = sum.whole());
        roles
    }
}

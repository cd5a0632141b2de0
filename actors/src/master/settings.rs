//! Settings of operators: quotas and weights of roles.
//!
//! When one takes effect the allocator is told, and what lies in offers made by the old settings is taken back. Mesos: `src/master/quota_handler.cpp`,
//! `weights_handler.cpp`; reference 7.1 (UPDATE_QUOTA, UPDATE_WEIGHTS) and 11.2.

use super::{Master, MasterConfig, MasterContext};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id::{OfferId, RoleName};
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::operator::{Answer, SETTINGS_MAX};
use kaon_kernel::message::view::{SettingsView, ViewEvent};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::{ResourceName, Resources, Totals, role};
use kaon_kernel::table::Set;
use kaon_kernel::task::ExecutorKind;
use std::collections::BTreeMap;

/// What operators have set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// None is the default.
    quotas: BTreeMap<RoleName, Quota>,
    /// In thousandths.
    weights: BTreeMap<RoleName, u32>,
}

impl Settings {
    /// Those of the registry over those of the flags.
    pub(super) fn new(flags: &MasterConfig, weights: Vec<(RoleName, u32)>, quotas: Vec<(RoleName, Quota)>) -> Self {
        let weights = flags.weights.iter().cloned().chain(weights).collect();
        Self { quotas: flags.quotas.iter().cloned().chain(quotas).collect(), weights }
    }

    pub(super) fn weights(&self) -> Vec<(RoleName, u32)> {
        self.weights.iter().map(|(role, weight)| (role.clone(), *weight)).collect()
    }

    pub(super) fn quotas(&self) -> Vec<(RoleName, Quota)> {
        self.quotas.iter().map(|(role, quota)| (role.clone(), quota.clone())).collect()
    }

    fn take_quotas(&mut self, quotas: &[(RoleName, Quota)]) {
        for (role, quota) in quotas {
            match quota.is_default() {
                true => self.quotas.remove(role),
                false => self.quotas.insert(role.clone(), quota.clone()),
            };
        }
    }
}

impl Master {
    /// The registry has quotas: they take effect.
    pub(super) fn on_quotas_set(&mut self, quotas: Vec<(RoleName, Quota)>, context: &mut MasterContext<'_>) -> Answer {
        self.settings.take_quotas(&quotas);
        self.allocator.quotas += 1;
        self.on_set(&ToAllocator::SetQuotas { number: self.allocator.quotas, quotas }, context)
    }

    /// The registry has weights: they take effect.
    pub(super) fn on_weights_set(&mut self, weights: Vec<(RoleName, u32)>, context: &mut MasterContext<'_>) -> Answer {
        self.settings.weights.extend(weights.iter().cloned());
        self.on_set(&ToAllocator::SetWeights { weights }, context)
    }

    fn on_set(&mut self, setting: &ToAllocator, context: &mut MasterContext<'_>) -> Answer {
        self.allocate(setting, context);
        // Mesos takes back as many offers as the new guarantees need, and for weights all; here it is always all. The
        // allocator hands them out again at once, by the new rules.
        let offers: Vec<OfferId> = self.state.offers.keys().copied().collect();
        for id in offers {
            self.rescind(id, context);
        }
        self.show_settings(context);
        Answer::Done
    }

    pub(super) fn show_settings(&self, context: &mut MasterContext<'_>) {
        let view = SettingsView { quotas: self.settings.quotas(), weights: self.settings.weights() };
        context.emit(Self::VIEW, &ViewEvent::Settings(view));
    }

    fn check_roles<'a>(&self, roles: impl Iterator<Item = &'a RoleName>) -> Result<(), Defect> {
        let mut seen = Set::default();
        for role in roles {
            if !self.may_use(role) {
                let words = format!("role '{role}' is not among --roles");
                return Err(Defect::new(Cause::RoleNotAllowed, words));
            }
            if !seen.insert(role.clone()) {
                return Err(invalid(format!("role '{role}' is named twice")));
            }
        }
        Ok(())
    }

    /// Whether weights can be set.
    pub(super) fn check_weights(&self, weights: &[(RoleName, u32)]) -> Result<(), Defect> {
        self.check_roles(weights.iter().map(|(role, _)| role))?;
        let new = weights.iter().filter(|(role, _)| !self.settings.weights.contains_key(role)).count();
        check_room(self.settings.weights.len() + new)?;
        match weights.iter().find(|(_, weight)| *weight == 0) {
            Some((role, _)) => Err(invalid(format!("the weight of role '{role}' is not above zero"))),
            None => Ok(()),
        }
    }

    /// Whether quotas can be set.
    pub(super) fn check_quotas(&self, quotas: &[(RoleName, Quota)], force: bool) -> Result<(), Defect> {
        self.check_roles(quotas.iter().map(|(role, _)| role))?;
        let mut after = self.settings.clone();
        after.take_quotas(quotas);
        check_room(after.quotas.len())?;
        for (role, quota) in quotas {
            if role.as_str().contains('/') {
                return Err(invalid(format!("role '{role}' is not at the top of its tree: only those have a quota")));
            }
            for (name, guarantee) in &quota.guarantees {
                let limit = quota.limits.iter().find(|(probe, _)| probe == name).map(|(_, limit)| *limit);
                if let Some(limit) = limit.filter(|limit| guarantee > limit) {
                    let name = name.as_str();
                    let words = format!("role '{role}': the guarantee {name}:{guarantee} is above its limit {limit}");
                    return Err(invalid(words));
                }
            }
        }
        if force {
            return Ok(());
        }
        self.check_capacity(&after)?;
        quotas.iter().try_for_each(|(role, quota)| self.check_consumption(role, quota))
    }

    /// Whether the cluster could keep all its promises at once.
    fn check_capacity(&self, after: &Settings) -> Result<(), Defect> {
        let mut capacity = Totals::default();
        for agent in self.state.agents.values() {
            capacity.add(agent.total());
        }
        let mut promised: BTreeMap<&ResourceName, u64> = BTreeMap::new();
        for (name, amount) in after.quotas.values().flat_map(|quota| &quota.guarantees) {
            let sum = promised.entry(name).or_default();
            *sum = sum.saturating_add(amount.0);
        }
        for (name, promised) in promised {
            let capacity = capacity.of_name(name);
            if promised > capacity.0 {
                let (name, promised) = (name.as_str(), Quantity(promised));
                let words = format!(
                    "all guarantees together are {name}:{promised}, the agents have {name}:{capacity}; force=true sets \
                     them all the same"
                );
                return Err(Defect::new(Cause::QuotaOvercommitted, words));
            }
        }
        Ok(())
    }

    /// Whether what a role has already is within its limits.
    fn check_consumption(&self, role: &RoleName, quota: &Quota) -> Result<(), Defect> {
        if quota.limits.is_empty() {
            return Ok(());
        }
        let consumed = self.consumption(role);
        for (name, limit) in &quota.limits {
            let has = consumed.of_name(name);
            if has > *limit {
                let name = name.as_str();
                let words = format!(
                    "role '{role}' has {name}:{has} already, above the limit {name}:{limit}; force=true sets it all the \
                     same"
                );
                return Err(Defect::new(Cause::QuotaOvercommitted, words));
            }
        }
        Ok(())
    }

    /// What counts against the quota of a role: all that is reserved to it, and the rest that its tasks and executors
    /// use. Cost: all entries of agents, all tasks.
    fn consumption(&self, top: &RoleName) -> Totals {
        let mut consumed = Totals::default();
        let mut add_unreserved = |role: &RoleName, resources: &Resources| {
            if role::is_within(role, top) {
                consumed.add(&resources.filter(|entry| entry.reservation_role().is_none() && !entry.is_revocable()));
            }
        };
        for framework in self.state.frameworks.values() {
            for held in framework.tasks.values().filter(|held| !held.freed) {
                add_unreserved(&held.role, &held.task.info.resources);
            }
        }
        for agent in self.state.agents.values() {
            let executors = agent.executors.values().filter(|executor| executor.info.kind != ExecutorKind::Command);
            executors.for_each(|executor| add_unreserved(&executor.role, &executor.info.resources));
        }
        for agent in self.state.agents.values() {
            let is_its = |holder: &RoleName| role::is_within(holder, top);
            consumed.add(&agent.total().filter(|entry| entry.reservation_role().is_some_and(is_its)));
        }
        consumed
    }
}

fn check_room(after: usize) -> Result<(), Defect> {
    match after <= SETTINGS_MAX {
        true => Ok(()),
        false => Err(invalid(format!("at most {SETTINGS_MAX} roles can have a quota or a weight"))),
    }
}

fn invalid(words: String) -> Defect {
    Defect::new(Cause::QuotaInvalid, words)
}

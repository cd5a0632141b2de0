//! Orders of operators: quotas and weights of roles.
//!
//! An order is checked, put into the registry, and takes effect when it is there: the allocator is told, and what lies in
//! offers made by the old settings is taken back. Mesos: `src/master/quota_handler.cpp`, `weights_handler.cpp`;
//! reference 7.1 (UPDATE_QUOTA, UPDATE_WEIGHTS) and 11.2.

use super::{Master, MasterConfig, MasterContext, Pending};
use kaon_kernel::actor::StreamId;
use kaon_kernel::id::{OfferId, RoleName};
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::operator::{Answer, Order, SETTINGS_MAX};
use kaon_kernel::message::registrar::RegistryOperation;
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

    fn take(&mut self, order: &Order) {
        match order {
            Order::SetQuotas { quotas, .. } => {
                for (role, quota) in quotas {
                    match quota.is_default() {
                        true => self.quotas.remove(role),
                        false => self.quotas.insert(role.clone(), quota.clone()),
                    };
                }
            }
            Order::SetWeights { weights } => self.weights.extend(weights.iter().cloned()),
        }
    }
}

impl Master {
    /// An operator changes a setting.
    pub(super) fn on_order(&mut self, order: Order, reply: StreamId, context: &mut MasterContext<'_>) {
        if self.leadership().is_none() {
            let reason = "this master does not lead (any more)".to_owned();
            return Self::answer(reply, Answer::Unavailable { reason }, context);
        }
        if let Err(reason) = self.check_order(&order) {
            context.count("master/orders_refused", 1);
            return Self::answer(reply, Answer::Refused { reason }, context);
        }
        let operation = match &order {
            Order::SetQuotas { quotas, .. } => RegistryOperation::SetQuotas { quotas: quotas.clone() },
            Order::SetWeights { weights } => RegistryOperation::SetWeights { weights: weights.clone() },
        };
        if !self.register(operation, Pending::Order(Box::new(order), reply), context) {
            let reason = "too many changes wait for the registry".to_owned();
            Self::answer(reply, Answer::Unavailable { reason }, context);
        }
    }

    /// The registry has it: it takes effect.
    pub(super) fn on_ordered(&mut self, order: Order, reply: StreamId, context: &mut MasterContext<'_>) {
        self.settings.take(&order);
        let message = match order {
            Order::SetQuotas { quotas, .. } => ToAllocator::SetQuotas { quotas },
            Order::SetWeights { weights } => ToAllocator::SetWeights { weights },
        };
        self.allocate(&message, context);
        // Mesos takes back as many offers as the new guarantees need, and for weights all; here it is always all. The
        // allocator hands them out again at once, by the new rules.
        let offers: Vec<OfferId> = self.state.offers.keys().copied().collect();
        for id in offers {
            self.rescind(id, context);
        }
        self.show_settings(context);
        Self::answer(reply, Answer::Done, context);
    }

    pub(super) fn show_settings(&self, context: &mut MasterContext<'_>) {
        let view = SettingsView { quotas: self.settings.quotas(), weights: self.settings.weights() };
        context.emit(Self::VIEW, &ViewEvent::Settings(view));
    }

    /// The one event on the stream of an order.
    pub(super) fn answer(reply: StreamId, answer: Answer, context: &mut MasterContext<'_>) {
        context.emit(reply, &answer);
        context.close(reply);
    }

    fn check_order(&self, order: &Order) -> Result<(), String> {
        let roles: Vec<&RoleName> = match order {
            Order::SetQuotas { quotas, .. } => quotas.iter().map(|(role, _)| role).collect(),
            Order::SetWeights { weights } => weights.iter().map(|(role, _)| role).collect(),
        };
        let mut seen = Set::default();
        for role in roles {
            if !self.may_use(role) {
                return Err(format!("role '{role}' is not among --roles"));
            }
            if !seen.insert(role.clone()) {
                return Err(format!("role '{role}' is named twice"));
            }
        }
        let mut after = self.settings.clone();
        after.take(order);
        if after.quotas.len().max(after.weights.len()) > SETTINGS_MAX {
            return Err(format!("at most {SETTINGS_MAX} roles can have a quota or a weight"));
        }
        match order {
            Order::SetQuotas { quotas, force } => self.check_quotas(quotas, *force, &after),
            Order::SetWeights { weights } => match weights.iter().find(|(_, weight)| *weight == 0) {
                Some((role, _)) => Err(format!("the weight of role '{role}' is not above zero")),
                None => Ok(()),
            },
        }
    }

    fn check_quotas(&self, quotas: &[(RoleName, Quota)], force: bool, after: &Settings) -> Result<(), String> {
        for (role, quota) in quotas {
            if role.as_str().contains('/') {
                return Err(format!("role '{role}' is not at the top of its tree: only those have a quota"));
            }
            for (name, guarantee) in &quota.guarantees {
                let limit = quota.limits.iter().find(|(probe, _)| probe == name).map(|(_, limit)| *limit);
                if let Some(limit) = limit.filter(|limit| guarantee > limit) {
                    let name = name.as_str();
                    return Err(format!("role '{role}': the guarantee {name}:{guarantee} is above its limit {limit}"));
                }
            }
        }
        if force {
            return Ok(());
        }
        self.check_capacity(after)?;
        quotas.iter().try_for_each(|(role, quota)| self.check_consumption(role, quota))
    }

    /// Whether the cluster could keep all its promises at once.
    fn check_capacity(&self, after: &Settings) -> Result<(), String> {
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
                return Err(format!(
                    "all guarantees together are {name}:{promised}, the agents have {name}:{capacity}; force=true sets \
                     them all the same"
                ));
            }
        }
        Ok(())
    }

    /// Whether what a role has already is within its limits.
    fn check_consumption(&self, role: &RoleName, quota: &Quota) -> Result<(), String> {
        if quota.limits.is_empty() {
            return Ok(());
        }
        let consumed = self.consumption(role);
        for (name, limit) in &quota.limits {
            let has = consumed.of_name(name);
            if has > *limit {
                let name = name.as_str();
                return Err(format!(
                    "role '{role}' has {name}:{has} already, above the limit {name}:{limit}; force=true sets it all the \
                     same"
                ));
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

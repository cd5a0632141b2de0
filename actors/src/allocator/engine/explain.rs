//! Why a framework has no offers: the reasons of the checks, asked after the fact.

use super::Engine;
use super::draft::{Drafts, Stage};
use super::feasible::{Prospect, Reason, STANDING, Standing, against};
use super::sorter::{Class, Client};
use super::tables::Agent;
use kaon_kernel::id::{AgentIndex, FrameworkIndex, RoleName};
use std::collections::BTreeMap;

/// What stands between a framework and offers in one of its roles.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleSummary {
    /// The role.
    pub role: RoleName,
    /// The weighted share by which the role is ordered among its siblings.
    pub share: f64,
    /// Allocations that the framework was ever given in this role.
    pub allocations: u64,
    /// On how many agents filters of it stand.
    pub agents_filtered: usize,
    /// What keeps it from offers on any agent, in words; empty when nothing does.
    pub standing: Vec<String>,
    /// Agents on which nothing speaks against an offer: somebody else was before it, or the next round will make one.
    pub agents_open: u32,
    /// How many agents each reason keeps from it. An agent is counted under its first reason.
    pub agents_by_reason: BTreeMap<&'static str, u32>,
}

impl Reason<'_> {
    /// The word for a reason in summaries and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Recovering => "recovering",
            Self::NotListed => "not_listed",
            Self::NotOwned { .. } => "not_owned",
            Self::Constrained => "constrained",
            Self::QuotaLimit { .. } => "quota_limit",
            Self::Headroom { .. } => "headroom",
            Self::FrameworkUnknown => "framework_unknown",
            Self::AgentUnknown => "agent_unknown",
            Self::FrameworkInactive => "framework_inactive",
            Self::NotSubscribed => "not_subscribed",
            Self::Suppressed => "suppressed",
            Self::AgentInactive => "agent_inactive",
            Self::NothingFree => "nothing_free",
            Self::ReservedToOthers { .. } => "reserved_to_others",
            Self::NotUnderstood { .. } => "not_understood",
            Self::GpuOptIn => "gpu_opt_in",
            Self::OtherRegion { .. } => "other_region",
            Self::BelowMinimum { .. } => "below_minimum",
            Self::Filtered { .. } => "filtered",
        }
    }
}

impl Engine {
    /// Every reason for which a framework is not offered anything of an agent in a role, in the order of the checks.
    /// Empty when nothing speaks against it: it gets what is free unless somebody comes before it.
    pub fn explain(&self, framework: FrameworkIndex, role: &RoleName, agent: AgentIndex) -> Vec<Reason<'_>> {
        let mut reasons = self.standing(framework, role);
        match self.agents.get(&agent) {
            Some(found) => reasons.extend(self.against_agent(framework, role, found)),
            None => reasons.push(Reason::AgentUnknown),
        }
        reasons
    }

    /// The part of [`Engine::explain`] that is about the agent.
    pub(super) fn against_agent<'a>(
        &'a self,
        framework: FrameworkIndex,
        role: &RoleName,
        found: &'a Agent,
    ) -> Vec<Reason<'a>> {
        let mut reasons = Vec::new();
        let Some(known) = self.frameworks.get(&framework) else { return reasons };
        // A role that nobody is in has no index; reasons of standing say so already.
        let Some((index, name)) = self.roles.find(role).map(|index| (index, self.roles.name(index))) else {
            return reasons;
        };
        let at = self.clients.find(Client { framework, role: index });
        let top = at.map_or_else(|| self.quotas.find(role), |at| Some(self.clients.at(at).top));
        let Some(top) = top else { return reasons };
        let in_stage = |stage| {
            let mut drafts = Drafts::new(&self.rules, &self.quotas, &self.names, found, stage, false);
            let prospect = Prospect {
                rules: &self.rules,
                agent: found,
                member: at.and_then(|at| self.clients.get(at)),
                role: name,
                capabilities: known.capabilities,
                offer: Default::default(),
                shortage: None,
            };
            against(prospect, &mut drafts, top, stage)
        };
        // What one of the two stages would give is given.
        let is_promised = self.quotas.top(top).class == Class::Promised;
        if !is_promised || !in_stage(Stage::Promised).is_empty() {
            reasons.extend(in_stage(Stage::Fair));
        }
        reasons
    }

    /// What stands between a framework and offers, for each role that it is subscribed in; `None` when it is not known.
    /// Cost: one pass over all agents for each role.
    pub fn summary(&self, framework: FrameworkIndex) -> Option<Vec<RoleSummary>> {
        let known = self.frameworks.get(&framework).filter(|known| known.is_known)?;
        let members = known.memberships.iter().map(|(role, at)| (role, self.clients.at(at)));
        let subscribed = members.filter(|(_, member)| member.is_subscribed);
        let summaries = subscribed.map(|(role, member)| {
            let name = self.roles.name(role);
            let standing = self.standing(framework, name);
            let (mut agents_open, mut agents_by_reason) = (0, BTreeMap::new());
            for &agent in self.agents.keys() {
                match self.explain(framework, name, agent).get(standing.len()) {
                    Some(reason) => *agents_by_reason.entry(reason.word()).or_insert(0) += 1,
                    None => agents_open += 1,
                }
            }
            let filtered = self.agents.values().filter(|found| member.owner.is_some_and(|own| found.filters.has(own)));
            RoleSummary {
                role: name.clone(),
                share: self.sorter.share(role),
                allocations: member.allocations,
                agents_filtered: filtered.count(),
                standing: standing.iter().map(ToString::to_string).collect(),
                agents_open,
                agents_by_reason,
            }
        });
        Some(summaries.collect())
    }

    pub(super) fn standing(&self, framework: FrameworkIndex, role: &RoleName) -> Vec<Reason<'static>> {
        let Some(known) = self.frameworks.get(&framework) else { return vec![Reason::FrameworkUnknown] };
        let membership = self.roles.find(role).and_then(|role| known.memberships.get(role));
        let membership = membership.and_then(|at| self.clients.get(at));
        let (is_granting, is_recovering) = (self.is_granting(), self.recovery.is_some());
        let standing = Standing { is_granting, is_recovering, framework: known, membership };
        STANDING.iter().filter_map(|check| check(&standing)).collect()
    }
}

//! One round: which candidate goes to whom.

use super::Engine;
use super::feasible::{Drafts, Prospect, obstacle};
use super::sorter::Client;
use core::ops::ControlFlow;
use kaon_kernel::chance::Chance;
use kaon_kernel::id::AgentIndex;
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::time::Instant;

/// With the plant of [`Engine::plant_double_grant`] every so many grants are told twice.
const PLANT_EVERY: u64 = 16;

impl Engine {
    /// One round over the agents that changed, or over all when somebody wants more than before. Grants are appended.
    ///
    /// Coarse grained as in Mesos: for each agent, the first client in the sorter's order against whom nothing speaks
    /// gets all that it may be offered of the agent; shares are updated, and the next agent follows. What is left on an
    /// agent then (reserved to others, or not understood) is held out once more, in the order after the grant.
    pub fn cycle(&mut self, now: Instant, chance: &mut Chance, grants: &mut Vec<Grant>) {
        self.expire(now);
        if !self.is_granting() {
            return;
        }
        let mut candidates = core::mem::take(&mut self.candidates);
        candidates.clear();
        match self.everyone {
            true => candidates.extend(&self.available),
            false => candidates.extend(&self.dirty),
        }
        self.dirty.clear();
        if self.everyone {
            (self.everyone, self.changed) = (false, false);
        }
        candidates.sort_unstable();
        self.arrangement.arrange(&mut candidates, chance);
        for &agent in &candidates {
            self.offer(agent, grants);
        }
        self.candidates = candidates;
    }

    /// Holds one agent out until nobody takes anything more of it.
    fn offer(&mut self, agent: AgentIndex, grants: &mut Vec<Grant>) {
        while let Some((client, grant)) = self.choose(agent) {
            let Some(found) = self.agents.get_mut(&agent) else { return };
            let is_first = found.holding(client).is_none();
            found.take(client, &grant.resources);
            if !found.is_available() {
                self.available.swap_remove(&agent);
            }
            self.book(client, &grant.resources, is_first);
            self.grants += 1;
            if self.plants_double_grant && self.grants.is_multiple_of(PLANT_EVERY) {
                grants.push(grant.clone());
            }
            grants.push(grant);
        }
    }

    /// The first client in order against whom nothing speaks, and what it gets.
    fn choose(&mut self, agent: AgentIndex) -> Option<(Client, Grant)> {
        let Self { sorter, agents, frameworks, roles, filters, rules, .. } = self;
        let found = agents.get(&agent).filter(|found| found.is_available())?;
        let filters = filters.on(agent);
        let mut drafts = Drafts::new(rules, found);
        let mut chosen = None;
        sorter.walk(&mut |client| {
            let Some(framework) = frameworks.get(&client.framework) else { return ControlFlow::Continue(()) };
            let (role, capabilities) = (roles.name(client.role), framework.capabilities);
            let draft = drafts.offer(role, capabilities);
            let prospect = Prospect { rules, agent: found, filters, client, role, capabilities, draft };
            if draft.offer.is_empty() || obstacle(&prospect).is_some() {
                return ControlFlow::Continue(());
            }
            let (framework, role, resources) = (client.framework, role.clone(), draft.offer.clone());
            chosen = Some((client, Grant { framework, role, agent, resources }));
            ControlFlow::Break(())
        });
        chosen
    }
}

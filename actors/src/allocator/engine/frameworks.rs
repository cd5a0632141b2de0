//! Frameworks come, change, fall silent and go.

use super::sorter::Client;
use super::tables::{Capabilities, Framework, FrameworkFacts};
use super::{Engine, Error};
use kaon_kernel::id::{FrameworkIndex, RoleName};

impl Engine {
    /// A framework is there. What it holds may have been told before, with the agents.
    ///
    /// # Panics
    /// When the framework is there already.
    pub fn add_framework(
        &mut self,
        framework: FrameworkIndex,
        facts: &FrameworkFacts,
        active: bool,
    ) -> Result<(), Error> {
        self.check_begun()?;
        let known = self.frameworks.entry(framework).or_insert_with(Framework::expected);
        assert!(!known.is_known, "{framework:?} is added twice");
        known.id.clone_from(&facts.id);
        (known.is_known, known.active) = (true, active);
        known.capabilities = facts.capabilities;
        for (role, at) in known.memberships.iter() {
            self.sorter.add_framework(Client { framework, role }, &facts.id);
            self.clients.at_mut(at).capabilities = facts.capabilities;
        }
        for role in &facts.roles {
            let at = self.join(framework, role);
            self.set_subscription(at, true, facts.suppressed.contains(role));
        }
        self.mark_everyone();
        Ok(())
    }

    /// A framework has other roles or capabilities. Roles that are no longer suppressed lose their filters.
    pub fn update_framework(
        &mut self,
        framework: FrameworkIndex,
        roles: &[RoleName],
        suppressed: &[RoleName],
        capabilities: Capabilities,
    ) -> Result<(), Error> {
        self.check_known(framework)?;
        self.subscribe(framework, roles, suppressed, capabilities);
        Ok(())
    }

    /// A framework is connected again.
    pub fn activate_framework(&mut self, framework: FrameworkIndex) -> Result<(), Error> {
        self.set_framework_active(framework, true)
    }

    /// A framework is not connected; what it holds stays with it. Its filters are dropped.
    pub fn deactivate_framework(&mut self, framework: FrameworkIndex) -> Result<(), Error> {
        self.set_framework_active(framework, false)?;
        for at in self.places_of(framework) {
            self.drop_filters(at);
        }
        Ok(())
    }

    /// A framework is gone. What is still booked to it are grants that were under way when it went: they are free again,
    /// and when the master gives them back as well that is a framework not known. Cost: a pass over all agents when
    /// there are any such grants.
    pub fn remove_framework(&mut self, framework: FrameworkIndex) -> Result<(), Error> {
        let known = self.frameworks.get_mut(&framework).ok_or(Error::UnknownFramework(framework))?;
        known.is_known = false;
        let places = self.places_of(framework);
        let holds = places.iter().any(|&at| self.clients.at(at).holdings > 0);
        for at in places {
            self.drop_filters(at);
            self.set_subscription(at, false, false);
        }
        if holds {
            for at in 0..self.agents.len() {
                self.release_all(framework, at);
            }
        }
        self.maintenance.forget_framework(framework);
        self.frameworks.swap_remove(&framework);
        self.changed = true;
        Ok(())
    }

    /// A framework wants offers again in some of its roles, whatever it declined before.
    pub fn revive(&mut self, framework: FrameworkIndex, roles: &[RoleName]) -> Result<(), Error> {
        self.check_known(framework)?;
        for at in self.subscriptions(framework, roles) {
            self.drop_filters(at);
            self.set_subscription(at, true, false);
        }
        self.maintenance.lift_filters(framework);
        self.mark_everyone();
        Ok(())
    }

    /// A framework wants no offers in some of its roles. Its filters stay.
    pub fn suppress(&mut self, framework: FrameworkIndex, roles: &[RoleName]) -> Result<(), Error> {
        self.check_known(framework)?;
        for at in self.subscriptions(framework, roles) {
            self.set_subscription(at, true, true);
        }
        self.changed = true;
        Ok(())
    }

    /// Makes sure that a client is in the books, and answers its place.
    pub(super) fn join(&mut self, framework: FrameworkIndex, role: &RoleName) -> u32 {
        let known = self.frameworks.entry(framework).or_insert_with(Framework::expected);
        let index = self.roles.find(role);
        if let Some(at) = index.and_then(|index| known.memberships.get(index)) {
            return at;
        }
        let (index, is_new) = self.roles.acquire(role);
        let top = self.quotas.enter(role);
        if is_new {
            self.sorter.add_role(index, role);
            self.quotas.add_role(top);
        }
        let client = Client { framework, role: index };
        let at = self.clients.insert(client, top, known.capabilities);
        self.roles.join(index, at);
        known.memberships.insert(index, at);
        self.sorter.add_framework(client, &known.id);
        at
    }

    /// Brings the sorter and the tables to what a membership says: whether it is in the walk, and whether it is at all.
    pub(super) fn settle_membership(&mut self, at: u32) {
        let member = self.clients.at_mut(at);
        let (client, top) = (member.client, member.top);
        let Some(known) = self.frameworks.get_mut(&client.framework) else { return };
        let wants = member.is_subscribed && !member.is_suppressed;
        let is_walked = known.is_known && known.active && wants;
        let (subscribed, holdings) = (member.is_subscribed, member.holdings);
        if self.clients.walk(at, is_walked) {
            if let Some(owner) = self.clients.at(at).owner {
                self.filters.rest(owner, !is_walked);
            }
            self.quotas.walked(top, is_walked);
            self.sorter.set_active(client, is_walked);
        }
        if !subscribed {
            self.put_minimums(at, None);
            self.clients.at_mut(at).constrained = None;
        }
        if subscribed || holdings > 0 {
            return;
        }
        self.drop_filters(at);
        self.clients.remove(at);
        self.sorter.remove_framework(client);
        if self.roles.leave(client.role, at) {
            self.sorter.remove_role(client.role);
            self.quotas.remove_role(top);
        }
        if let Some(known) = self.frameworks.get_mut(&client.framework) {
            known.memberships.remove(client.role);
            if !known.is_known && known.memberships.is_empty() {
                self.frameworks.swap_remove(&client.framework);
            }
        }
    }

    fn subscribe(
        &mut self,
        framework: FrameworkIndex,
        roles: &[RoleName],
        suppressed: &[RoleName],
        capabilities: Capabilities,
    ) {
        if let Some(known) = self.frameworks.get_mut(&framework) {
            known.capabilities = capabilities;
        }
        let joined = roles.iter().map(|role| (self.join(framework, role), suppressed.contains(role)));
        let joined = joined.collect::<Vec<_>>();
        for at in self.places_of(framework) {
            let subscription = joined.iter().find(|(other, _)| *other == at).map(|(_, suppressed)| *suppressed);
            let member = self.clients.at_mut(at);
            member.capabilities = capabilities;
            if subscription.is_none() || (member.is_suppressed && subscription == Some(false)) {
                self.drop_filters(at);
            }
            self.set_subscription(at, subscription.is_some(), subscription == Some(true));
        }
        self.mark_everyone();
    }

    fn set_subscription(&mut self, at: u32, is_subscribed: bool, is_suppressed: bool) {
        let member = self.clients.at_mut(at);
        (member.is_subscribed, member.is_suppressed) = (is_subscribed, is_suppressed);
        self.settle_membership(at);
    }

    fn set_framework_active(&mut self, framework: FrameworkIndex, active: bool) -> Result<(), Error> {
        self.check_known(framework)?;
        if let Some(known) = self.frameworks.get_mut(&framework) {
            known.active = active;
        }
        for at in self.places_of(framework) {
            self.settle_membership(at);
        }
        self.mark_everyone();
        Ok(())
    }

    /// Frees what a framework that is going still holds of the agent at a place in the table.
    fn release_all(&mut self, framework: FrameworkIndex, at: usize) {
        let Some((&agent, found)) = self.agents.get_index_mut(at) else { return };
        let holdings = found.holdings.iter().filter(|(client, _)| client.framework == framework);
        let holdings = holdings.map(|(client, holding)| (*client, holding.whole(), holding.exclusive()));
        let holdings = holdings.collect::<Vec<_>>();
        if holdings.is_empty() {
            return;
        }
        self.quotas.headroom.subtract(&found.open);
        for (client, whole, _) in &holdings {
            self.names.measure_where(whole, &mut self.measured.open, super::bags::is_open);
            found.give_back(*client, whole, &self.measured.open, true, &mut self.names);
        }
        self.quotas.headroom.add(&found.open);
        self.touch(agent);
        for (client, _, exclusive) in &holdings {
            self.measure(exclusive);
            self.unbook(self.place(*client), true);
        }
    }

    /// Drops all filters of a client.
    fn drop_filters(&mut self, at: u32) {
        if let Some(owner) = self.clients.at_mut(at).owner.take() {
            self.filters.give_up(owner);
            self.interest += 1;
        }
    }

    fn places_of(&self, framework: FrameworkIndex) -> Vec<u32> {
        self.frameworks
            .get(&framework)
            .map_or_else(Vec::new, |known| known.memberships.iter().map(|(_, at)| at).collect())
    }

    /// The places of a framework among `roles` in which it is subscribed.
    fn subscriptions(&self, framework: FrameworkIndex, roles: &[RoleName]) -> Vec<u32> {
        let Some(known) = self.frameworks.get(&framework) else { return Vec::new() };
        let places = roles.iter().filter_map(|role| known.memberships.get(self.roles.find(role)?));
        places.filter(|&at| self.clients.at(at).is_subscribed).collect()
    }

    pub(super) fn check_known(&self, framework: FrameworkIndex) -> Result<(), Error> {
        let known = self.frameworks.get(&framework).is_some_and(|known| known.is_known);
        if known { Ok(()) } else { Err(Error::UnknownFramework(framework)) }
    }
}

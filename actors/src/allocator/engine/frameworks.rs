//! Frameworks come, change, fall silent and go.

use super::sorter::{Client, RoleIndex};
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
        for &role in known.memberships.keys() {
            self.sorter.add_framework(Client { framework, role }, &facts.id);
        }
        self.subscribe(framework, &facts.roles, &facts.suppressed, facts.capabilities);
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
        for role in self.roles_of(framework) {
            self.filters.drop_client(Client { framework, role });
        }
        Ok(())
    }

    /// A framework is gone. What is still booked to it are grants that were under way when it went: they are free again,
    /// and when the master gives them back as well that is a framework not known. Cost: a pass over all agents when
    /// there are any such grants.
    pub fn remove_framework(&mut self, framework: FrameworkIndex) -> Result<(), Error> {
        let known = self.frameworks.get_mut(&framework).ok_or(Error::UnknownFramework(framework))?;
        known.is_known = false;
        let holds = known.memberships.values().any(|membership| membership.holdings > 0);
        for role in self.roles_of(framework) {
            self.filters.drop_client(Client { framework, role });
            self.set_subscription(Client { framework, role }, false, false);
        }
        if holds {
            for at in 0..self.agents.len() {
                self.release_all(framework, at);
            }
        }
        self.frameworks.swap_remove(&framework);
        self.changed = true;
        Ok(())
    }

    /// A framework wants offers again in some of its roles, whatever it declined before.
    pub fn revive(&mut self, framework: FrameworkIndex, roles: &[RoleName]) -> Result<(), Error> {
        self.check_known(framework)?;
        for client in self.subscriptions(framework, roles) {
            self.filters.drop_client(client);
            self.set_subscription(client, true, false);
        }
        self.mark_everyone();
        Ok(())
    }

    /// A framework wants no offers in some of its roles. Its filters stay.
    pub fn suppress(&mut self, framework: FrameworkIndex, roles: &[RoleName]) -> Result<(), Error> {
        self.check_known(framework)?;
        for client in self.subscriptions(framework, roles) {
            self.set_subscription(client, true, true);
        }
        self.changed = true;
        Ok(())
    }

    /// Makes sure that a client is in the books, and answers it.
    pub(super) fn join(&mut self, framework: FrameworkIndex, role: &RoleName) -> Client {
        let known = self.frameworks.entry(framework).or_insert_with(Framework::expected);
        if let Some(index) = self.roles.find(role).filter(|index| known.memberships.contains_key(index)) {
            return Client { framework, role: index };
        }
        let (index, is_new) = self.roles.acquire(role);
        if is_new {
            self.sorter.add_role(index, role);
        }
        known.memberships.insert(index, Default::default());
        let client = Client { framework, role: index };
        self.sorter.add_framework(client, &known.id);
        client
    }

    /// Brings the sorter and the tables to what a membership says: whether it is in the walk, and whether it is at all.
    pub(super) fn settle_membership(&mut self, client: Client) {
        let Some(known) = self.frameworks.get_mut(&client.framework) else { return };
        let Some(membership) = known.memberships.get(&client.role).copied() else { return };
        let wants = membership.is_subscribed && !membership.is_suppressed;
        self.sorter.set_active(client, known.is_known && known.active && wants);
        if membership.is_subscribed || membership.holdings > 0 {
            return;
        }
        self.filters.drop_client(client);
        known.memberships.swap_remove(&client.role);
        let is_forgotten = !known.is_known && known.memberships.is_empty();
        self.sorter.remove_framework(client);
        if self.roles.release(client.role) {
            self.sorter.remove_role(client.role);
        }
        if is_forgotten {
            self.frameworks.swap_remove(&client.framework);
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
        for role in self.roles_of(framework) {
            let client = Client { framework, role };
            let subscription = joined.iter().find(|(other, _)| *other == client).map(|(_, suppressed)| *suppressed);
            let known = self.frameworks.get(&framework);
            let was_suppressed = known.is_some_and(|known| known.memberships[&role].is_suppressed);
            if subscription.is_none() || (was_suppressed && subscription == Some(false)) {
                self.filters.drop_client(client);
            }
            self.set_subscription(client, subscription.is_some(), subscription == Some(true));
        }
        self.mark_everyone();
    }

    fn set_subscription(&mut self, client: Client, is_subscribed: bool, is_suppressed: bool) {
        let known = self.frameworks.get_mut(&client.framework);
        if let Some(membership) = known.and_then(|known| known.memberships.get_mut(&client.role)) {
            (membership.is_subscribed, membership.is_suppressed) = (is_subscribed, is_suppressed);
            self.settle_membership(client);
        }
    }

    fn set_framework_active(&mut self, framework: FrameworkIndex, active: bool) -> Result<(), Error> {
        self.check_known(framework)?;
        if let Some(known) = self.frameworks.get_mut(&framework) {
            known.active = active;
        }
        for role in self.roles_of(framework) {
            self.settle_membership(Client { framework, role });
        }
        self.mark_everyone();
        Ok(())
    }

    /// Frees what a framework that is going still holds of the agent at a place in the table.
    fn release_all(&mut self, framework: FrameworkIndex, at: usize) {
        let Some((&agent, found)) = self.agents.get_index_mut(at) else { return };
        let holdings = found.holdings.iter().filter(|(client, _)| client.framework == framework);
        let holdings = holdings.map(|(client, holding)| (*client, holding.whole())).collect::<Vec<_>>();
        for (client, whole) in &holdings {
            found.give_back(*client, whole, false);
        }
        if holdings.is_empty() {
            return;
        }
        self.touch(agent);
        for (client, whole) in &holdings {
            self.unbook(*client, whole, true);
        }
    }

    fn roles_of(&self, framework: FrameworkIndex) -> Vec<RoleIndex> {
        self.frameworks.get(&framework).map_or_else(Vec::new, |known| known.memberships.keys().copied().collect())
    }

    /// The clients of a framework among `roles` in which it is subscribed.
    fn subscriptions(&self, framework: FrameworkIndex, roles: &[RoleName]) -> Vec<Client> {
        let Some(known) = self.frameworks.get(&framework) else { return Vec::new() };
        let subscribed = |role: &RoleIndex| known.memberships.get(role).is_some_and(|member| member.is_subscribed);
        let found = roles.iter().filter_map(|role| self.roles.find(role)).filter(subscribed);
        found.map(|role| Client { framework, role }).collect()
    }

    fn check_known(&self, framework: FrameworkIndex) -> Result<(), Error> {
        let known = self.frameworks.get(&framework).is_some_and(|known| known.is_known);
        if known { Ok(()) } else { Err(Error::UnknownFramework(framework)) }
    }
}

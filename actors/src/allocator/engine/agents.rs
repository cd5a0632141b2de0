//! Agents come, change and go, and what was granted of them comes back.

use super::agent::{Agent, Returned};
use super::sorter::Client;
use super::tables::AgentFacts;
use super::{Engine, Error};
use kaon_kernel::agent::{Attribute, Domain};
use kaon_kernel::id::{AgentIndex, FrameworkIndex, RoleName};
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::offer::Refusal;
use kaon_kernel::resource::Resources;
use kaon_kernel::time::{Duration, Instant};
use std::borrow::Cow;

impl Engine {
    /// An agent is there, with what is in use on it, by frameworks that may not be known yet. Used resources beyond
    /// `total` are kept as excess, see [`Agent`]. Answers how many of `used` could not be booked, since they contradict
    /// each other.
    ///
    /// # Panics
    /// When the agent is there already.
    pub fn add_agent<'a>(
        &mut self,
        agent: AgentIndex,
        facts: AgentFacts,
        total: Resources,
        used: impl Into<Cow<'a, [Grant]>>,
    ) -> Result<u32, Error> {
        self.check_begun()?;
        let mut found = Box::new(Agent::new(facts, total, self.rules.region.as_deref(), &mut self.names));
        found.is_listed = self.lists(&found.facts.hostname);
        self.enter_total(&found, true);
        let mut unbooked = 0;
        for grant in used.into().into_owned().into_iter().filter(|grant| !grant.resources.is_empty()) {
            let at = self.join(grant.framework, &grant.role);
            let client = self.clients.at(at).client;
            let is_first = found.holding(client).is_none();
            self.measure(&grant.resources);
            if found.take_used(client, grant.resources, &self.measured.open, &mut self.names) {
                self.book(at, is_first);
            } else {
                unbooked += 1;
                self.settle_membership(at);
            }
        }
        self.quotas.headroom.add(&found.open);
        let (place, before) = self.agents.insert_full(agent, found);
        assert!(before.is_none(), "{agent:?} is added twice");
        self.loosen();
        if self.recovery.is_some_and(|recovery| self.agents.len() >= recovery.needed) {
            self.recovery = None;
            self.mark_everyone();
        }
        self.touch_at(place);
        Ok(unbooked)
    }

    /// An agent says other things of itself than before: whoever chooses by them is asked anew. Filters on it are dropped.
    pub fn describe_agent(
        &mut self,
        agent: AgentIndex,
        hostname: String,
        attributes: Vec<Attribute>,
        domain: Option<Domain>,
    ) -> Result<(), Error> {
        let at = self.agents.get_index_of(&agent).ok_or(Error::UnknownAgent(agent))?;
        let is_listed = self.lists(&hostname);
        let found = &mut self.agents[at];
        found.facts = AgentFacts { id: found.facts.id.clone(), hostname, attributes, domain };
        found.is_listed = is_listed;
        found.is_remote = found.facts.is_remote(self.rules.region.as_deref());
        self.filters.drop_all(&mut found.filters);
        self.forget_verdicts(agent);
        self.loosen();
        self.touch_at(at);
        Ok(())
    }

    /// An agent's total has changed. Filters on it are dropped.
    pub fn update_agent(&mut self, agent: AgentIndex, total: Resources) -> Result<(), Error> {
        let at = self.agents.get_index_of(&agent).ok_or(Error::UnknownAgent(agent))?;
        self.total_of(at, false);
        let found = &mut self.agents[at];
        self.quotas.headroom.subtract(&found.open);
        found.resize(total, &mut self.names);
        self.quotas.headroom.add(&found.open);
        self.filters.drop_all(&mut found.filters);
        self.total_of(at, true);
        self.loosen();
        self.touch_at(at);
        Ok(())
    }

    /// Whether an agent may be offered.
    pub fn set_agent_active(&mut self, agent: AgentIndex, active: bool) -> Result<(), Error> {
        self.agents.get_mut(&agent).ok_or(Error::UnknownAgent(agent))?.active = active;
        self.touch(agent);
        Ok(())
    }

    /// An agent is gone with all that was held of it.
    pub fn remove_agent(&mut self, agent: AgentIndex) -> Result<(), Error> {
        let mut found = self.agents.swap_remove(&agent).ok_or(Error::UnknownAgent(agent))?;
        self.available -= usize::from(found.is_counted);
        self.filters.drop_all(&mut found.filters);
        self.quotas.headroom.subtract(&found.open);
        self.maintenance.forget_agent(agent);
        self.forget_verdicts(agent);
        for (client, holding) in &found.holdings {
            self.measure(&holding.exclusive());
            self.unbook(self.place(*client), true);
        }
        self.enter_total(&found, false);
        self.changed = true;
        Ok(())
    }

    /// Whether an agent is what a framework's constraints want is found out once, and again when it may be otherwise.
    fn forget_verdicts(&mut self, agent: AgentIndex) {
        for member in self.clients.iter_mut() {
            if let Some(constrained) = &mut member.constrained {
                constrained.forget(agent);
            }
        }
    }

    /// What was granted comes back. With a refusal the framework is not offered the same again for a while: at least
    /// [`super::Rules::interval`] (reference 3.5). A refusal of no length is no filter in Mesos, but there the next offer
    /// comes with the next batch round, since what comes back starts none. Here it would come at once, and a framework
    /// that declines everything could keep the master busy; so it lasts until the next batch round would be due.
    ///
    /// # Panics
    /// When a framework that is there gives back more than it holds: the books of master and allocator differ.
    pub fn recover(&mut self, now: Instant, grant: Grant, refusal: Option<Refusal>) -> Result<(), Error> {
        let Grant { framework, role, agent, resources } = grant;
        self.check_begun()?;
        let place = self.agents.get_index_of(&agent).ok_or(Error::UnknownAgent(agent))?;
        let known = self.frameworks.get(&framework).ok_or(Error::UnknownFramework(framework))?;
        let is_active = known.active;
        let found = &self.agents[place];
        let is_meant = |client: &Client| client.framework == framework && *self.roles.name(client.role) == role;
        let client = found.holdings.iter().map(|(client, _)| *client).find(is_meant);
        let is_lenient = found.is_disputed || self.plants_double_grant;
        let Some(client) = client else {
            let id = &found.facts.id;
            assert!(is_lenient, "{resources} come back to agent {id} of {framework:?}, who holds nothing as {role}");
            return Err(Error::UnknownFramework(framework));
        };
        self.measure(&resources);
        let Self { agents, quotas, names, measured, .. } = self;
        let found = &mut agents[place];
        quotas.headroom.subtract(&found.open);
        let back = found.give_back(client, &resources, &measured.open, is_lenient, names);
        quotas.headroom.add(&found.open);
        let is_last = found.holding(client).is_none();
        if let Returned::Part(part) = back {
            self.measure(&part);
        }
        let at = self.place(client);
        if let Some(Refusal(length)) = refusal
            && is_active
            && self.clients.at(at).is_subscribed
        {
            let until = match length {
                Duration::ZERO => self.next_round(now),
                length => now + length.max(self.rules.interval),
            };
            self.refuse(place, at, resources, until);
        }
        self.touch_at(place);
        self.unbook(at, is_last);
        Ok(())
    }

    /// Remembers a refusal on the agent at a place in the table.
    fn refuse(&mut self, place: usize, at: u32, refused: Resources, until: Instant) {
        let Self { agents, clients, filters, .. } = self;
        let Some((&agent, found)) = agents.get_index_mut(place) else { return };
        if clients.at(at).owner.is_none() {
            let is_resting = !clients.is_walked(at);
            let member = clients.at_mut(at);
            member.owner = filters.own(at, member.client.framework, is_resting);
        }
        let Some(owner) = clients.at(at).owner else { return };
        filters.insert(&mut found.filters, agent, owner, refused, until);
        if filters.is_cluttered(agents.len()) {
            filters.requeue(agents.iter().map(|(agent, found)| (*agent, &found.filters)));
        }
    }

    /// What a framework holds of an agent becomes something else (RESERVE, UNRESERVE, CREATE, DESTROY ..). Filters stay,
    /// and it is no allocation.
    pub fn convert(
        &mut self,
        framework: FrameworkIndex,
        role: &RoleName,
        agent: AgentIndex,
        from: &Resources,
        to: &Resources,
    ) -> Result<(), Error> {
        let index = self.agents.get_index_of(&agent).ok_or(Error::UnknownAgent(agent))?;
        let client = self.roles.find(role).map(|role| Client { framework, role });
        let client = client.filter(|&client| self.agents[index].holding(client).is_some());
        let client = client.ok_or(Error::UnknownFramework(framework))?;
        self.converted(index, from, to, |found, names| found.convert(client, from, to, names))?;
        let at = self.place(client);
        for (resources, is_more) in [(from, false), (to, true)] {
            self.measure(resources);
            let Self { measured, clients, quotas, sorter, held, .. } = self;
            let member = clients.at_mut(at);
            if is_more {
                held.add(&measured.shares);
                member.held.add(&measured.shares);
                sorter.adjusted(member.client, &measured.shares, true);
                quotas.consume(member.top, &measured.open);
            } else {
                held.subtract(&measured.shares);
                member.held.subtract(&measured.shares);
                sorter.adjusted(member.client, &measured.shares, false);
                quotas.restore(member.top, &measured.open);
            }
            let top = member.top;
            self.classify(top);
        }
        self.touch(agent);
        Ok(())
    }

    /// A framework uses further copies of shared volumes, beside those that it holds of the agent.
    pub fn share(
        &mut self,
        framework: FrameworkIndex,
        role: &RoleName,
        agent: AgentIndex,
        copies: &Resources,
    ) -> Result<(), Error> {
        let found = self.agents.get_mut(&agent).ok_or(Error::UnknownAgent(agent))?;
        let client = self.roles.find(role).map(|role| Client { framework, role });
        let is_known = client.is_some_and(|client| found.share(client, copies));
        if is_known { Ok(()) } else { Err(Error::UnknownFramework(framework)) }
    }

    /// What is free on an agent becomes something else, by an operator's order.
    pub fn convert_free(&mut self, agent: AgentIndex, from: &Resources, to: &Resources) -> Result<(), Error> {
        let index = self.agents.get_index_of(&agent).ok_or(Error::UnknownAgent(agent))?;
        self.converted(index, from, to, |found, names| found.convert_free(from, to, names))?;
        self.touch(agent);
        Ok(())
    }

    /// Cost: that of what is converted, whatever else the agent has.
    fn converted(
        &mut self,
        index: usize,
        from: &Resources,
        to: &Resources,
        convert: impl FnOnce(&mut Agent, &mut super::amounts::ScalarNames) -> bool,
    ) -> Result<(), Error> {
        let found = &mut self.agents[index];
        self.quotas.headroom.subtract(&found.open);
        let is_done = convert(found, &mut self.names);
        self.quotas.headroom.add(&found.open);
        if !is_done {
            return Err(Error::NotConvertible);
        }
        self.count_total(from, false);
        self.count_total(to, true);
        self.loosen();
        Ok(())
    }

    /// More may be free of guarantees than before.
    fn loosen(&mut self) {
        if self.quotas.any_promised() {
            self.interest += 1;
        }
    }

    /// Counts the total of the agent at a place in the table, or takes it out.
    fn total_of(&mut self, index: usize, is_more: bool) {
        let total = core::mem::take(&mut self.agents[index].total);
        self.count_total(&total, is_more);
        self.agents[index].total = total;
    }

    fn enter_total(&mut self, found: &Agent, is_more: bool) {
        self.count_total(&found.total, is_more);
    }

    fn count_total(&mut self, total: &Resources, is_more: bool) {
        let Self { names, measured, sorter, .. } = self;
        names.measure(total, &mut measured.shares);
        match is_more {
            true => self.total.add(&measured.shares),
            false => self.total.subtract(&measured.shares),
        }
        sorter.set_total(&self.total);
        if !super::bags::is_plain(total) {
            self.count_reservations(total, is_more);
        }
    }
}

//! Sums that follow the agents' books: what each client, each role and all together hold.

use super::Engine;
use super::bags::is_plain;
use super::sorter::Client;
use kaon_kernel::id::AgentIndex;
use kaon_kernel::resource::Resources;

impl Engine {
    /// Notes that what can be offered on an agent may have changed.
    pub(super) fn touch(&mut self, agent: AgentIndex) {
        match self.agents.get_index_of(&agent) {
            Some(place) => self.touch_at(place),
            None => self.changed = true,
        }
    }

    /// The same of the agent at a place in the table.
    pub(super) fn touch_at(&mut self, place: usize) {
        self.changed = true;
        let Some((&agent, found)) = self.agents.get_index_mut(place) else { return };
        let (was, is) = (found.is_counted, found.is_available());
        found.is_counted = is;
        self.available = self.available + usize::from(is) - usize::from(was);
        found.nobody_at = 0;
        if is && !found.is_dirty {
            found.is_dirty = true;
            self.dirty.push(agent);
        }
    }

    /// Measures a bag, copies of shared volumes left out.
    pub(super) fn measure(&mut self, resources: &Resources) {
        let Self { names, measured, .. } = self;
        let is_exclusive =
            |entry: &kaon_kernel::resource::Resource| entry.identity.as_ref().is_none_or(|own| !own.shared);
        names.measure_where(resources, &mut measured.shares, is_exclusive);
        if is_plain(resources) {
            measured.open.clone_from(&measured.shares);
        } else {
            names.measure_where(resources, &mut measured.open, super::bags::is_open);
        }
        names.silence(&mut measured.shares);
    }

    /// Counts what was measured as taken by a client, after the agent's books did.
    pub(super) fn book(&mut self, at: u32, is_first: bool) {
        let Self { measured, clients, quotas, sorter, held, .. } = self;
        let member = clients.at_mut(at);
        held.add(&measured.shares);
        member.held.add(&measured.shares);
        member.allocations += 1;
        member.holdings += u32::from(is_first);
        sorter.allocated(member.client, &measured.shares);
        let top = member.top;
        quotas.consume(top, &measured.open);
        self.classify(top);
    }

    /// Counts what was measured as given back by a client, after the agent's books did.
    pub(super) fn unbook(&mut self, at: u32, is_last: bool) {
        let Self { measured, clients, quotas, sorter, held, .. } = self;
        let member = clients.at_mut(at);
        held.subtract(&measured.shares);
        member.held.subtract(&measured.shares);
        member.holdings -= u32::from(is_last);
        sorter.unallocated(member.client, &measured.shares);
        let top = member.top;
        quotas.restore(top, &measured.open);
        if quotas.any() {
            self.interest += 1;
        }
        self.classify(top);
        if is_last {
            self.settle_membership(at);
        }
    }

    /// The place of a client that holds something of an agent.
    pub(super) fn place(&self, client: Client) -> u32 {
        self.clients.find(client).unwrap_or_else(|| panic!("{client:?} holds something and is not there"))
    }
}

//! What must hold between any two calls. A full check: one pass over every table.

use super::Engine;
use super::amounts::Amounts;
use super::sorter::Client;
use kaon_kernel::id::AgentIndex;
use kaon_kernel::table::Table;

impl Engine {
    /// Asserts that on each agent free and held are together the total (law L6), and that every index and every sum is
    /// what the tables say.
    pub fn invariants(&self) {
        let mut names = self.names.clone();
        let (mut measured, mut total, mut held) = (Amounts::new(), Amounts::new(), Amounts::new());
        let mut by_client: Table<Client, (Amounts, u32)> = Table::default();
        for (&agent, found) in &self.agents {
            found.invariants();
            names.measure(&found.total, &mut measured);
            total.add(&measured);
            for (client, holding) in &found.holdings {
                names.measure(&holding.whole(), &mut measured);
                held.add(&measured);
                let (amounts, agents) = by_client.entry(*client).or_default();
                amounts.add(&measured);
                *agents += 1;
            }
            assert_eq!(self.available.contains(&agent), found.is_available(), "{agent:?} in the set of the available");
        }
        assert!(total == self.total, "the cluster's total is not that of its agents");
        assert!(held == self.held, "what is held is not what the agents say");
        let is_agent = |agent: &AgentIndex| self.agents.contains_key(agent);
        assert!(self.available.iter().all(is_agent) && self.dirty.iter().all(is_agent), "an agent that is not there");
        for (&framework, known) in &self.frameworks {
            assert!(known.is_known || !known.memberships.is_empty(), "{framework:?} is expected and holds nothing");
            for (&role, membership) in &known.memberships {
                let client = Client { framework, role };
                let (amounts, agents) = by_client.swap_remove(&client).unwrap_or_default();
                assert_eq!(membership.holdings, agents, "agents of which {client:?} holds something");
                assert!(membership.is_subscribed || agents > 0, "{client:?} is of no use");
                let booked = self.sorter.holds(client).map(|(amounts, _)| amounts);
                assert!(booked.is_some_and(|booked| *booked == amounts), "{client:?} in the sorter's books");
                assert_eq!(self.roles.find(self.roles.name(role)), Some(role), "the name of {role:?}");
            }
        }
        assert!(by_client.is_empty(), "holdings of clients that are not there: {:?}", by_client.keys());
        let is_client = |client: Client| {
            let known = self.frameworks.get(&client.framework);
            known.is_some_and(|known| known.memberships.contains_key(&client.role))
        };
        self.filters.invariants(is_client, |agent| self.agents.contains_key(&agent));
    }
}

//! What must hold between any two calls. A full check: one pass over every table.

use super::Engine;
use super::amounts::Amounts;
use super::sorter::Client;
use kaon_kernel::id::FrameworkIndex;
use kaon_kernel::table::{Set, Table};

impl Engine {
    /// Asserts that on each agent free and held are together the total (law L6), that quota's books say what agents and
    /// clients say, and that every index and every sum is what the tables say. The seats are not asked: a sorter may
    /// think what it likes.
    pub fn invariants(&self) {
        let mut names = self.names.clone();
        let (mut measured, mut total, mut held) = (Amounts::new(), Amounts::new(), Amounts::new());
        let mut headroom = Amounts::new();
        let mut by_client: Table<Client, (Amounts, u32)> = Table::default();
        let mut consumed: Table<u32, Amounts> = Table::default();
        let mut available = 0;
        for (&agent, found) in &self.agents {
            found.invariants();
            names.measure(&found.total, &mut measured);
            total.add(&measured);
            headroom.add(&found.open);
            names.measure_where(&found.free, &mut measured, super::bags::is_open);
            assert!(measured == found.open, "the open scalars of {agent:?}");
            for (client, holding) in &found.holdings {
                let whole = holding.exclusive();
                names.measure(&whole, &mut measured);
                held.add(&measured);
                let (amounts, agents) = by_client.entry(*client).or_default();
                amounts.add(&measured);
                *agents += 1;
                names.measure_where(&whole, &mut measured, super::bags::is_open);
                let top = self.clients.at(self.place(*client)).top;
                consumed.entry(top).or_default().add(&measured);
            }
            for entry in found.total.iter() {
                let Some(holder) = entry.reservation_role() else { continue };
                let top = self.quotas.find(holder).unwrap_or(u32::MAX);
                let one = kaon_kernel::resource::Resources::collect([entry.clone()]).expect("one entry is a bag");
                names.measure_where(&one, &mut measured, |_| true);
                if !measured.is_zero() {
                    consumed.entry(top).or_default().add(&measured);
                }
            }
            assert_eq!(found.is_counted, found.is_available(), "{agent:?} among the available");
            assert!(!found.is_dirty || self.dirty.contains(&agent), "{agent:?} waits for no round");
            available += usize::from(found.is_counted);
        }
        assert!(total == self.total, "the cluster's total is not that of its agents");
        assert!(held == self.held, "what is held is not what the agents say");
        assert!(headroom == self.quotas.headroom, "what is free of reservations is not what the agents say");
        assert_eq!(available, self.available, "how many agents are available");
        self.check_quotas(consumed);
        self.check_clients(by_client);
        self.filters.invariants(self.agents.iter().map(|(agent, found)| (*agent, &found.filters)));
    }

    fn check_quotas(&self, mut consumed: Table<u32, Amounts>) {
        let mut required = Amounts::new();
        for (at, top) in self.quotas.iter() {
            let consumed = consumed.swap_remove(&at).unwrap_or_default();
            assert!(consumed == top.consumed, "what {} has consumed", top.name);
            required.add(&top.missing);
            let walked = self.clients.iter().filter(|(place, own)| own.top == at && self.clients.is_walked(*place));
            assert_eq!(walked.count(), top.walked as usize, "clients of {} in the walk", top.name);
        }
        assert!(consumed.values().all(Amounts::is_zero), "consumption of roles that are not there");
        assert!(required == self.quotas.required, "what is missing of guarantees");
    }

    fn check_clients(&self, mut by_client: Table<Client, (Amounts, u32)>) {
        let (mut walked, mut particular) = (0, 0);
        let mut known_clients: Set<(FrameworkIndex, u32)> = Set::default();
        for (&framework, known) in &self.frameworks {
            assert!(known.is_known || !known.memberships.is_empty(), "{framework:?} is expected and holds nothing");
            for (role, at) in known.memberships.iter() {
                let (client, member) = (Client { framework, role }, self.clients.at(at));
                known_clients.insert((framework, at));
                assert_eq!(member.client, client);
                let (amounts, agents) = by_client.swap_remove(&client).unwrap_or_default();
                assert_eq!(member.holdings, agents, "agents of which {client:?} holds something");
                assert!(member.is_subscribed || agents > 0, "{client:?} is of no use");
                assert!(amounts == member.held, "what {client:?} holds");
                assert_eq!(self.roles.find(self.roles.name(role)), Some(role), "the name of {role:?}");
                let wants = member.is_subscribed && !member.is_suppressed && known.is_known && known.active;
                assert_eq!(self.clients.is_walked(at), wants, "{client:?} in the walk");
                walked += u32::from(wants);
                particular += u32::from(member.minimums.is_some());
            }
        }
        assert!(by_client.is_empty(), "holdings of clients that are not there: {:?}", by_client.keys());
        assert_eq!(known_clients.len(), self.clients.iter().count(), "clients of no framework");
        assert_eq!((walked, particular), (self.clients.walked, self.particular));
    }
}

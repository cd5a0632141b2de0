//! Who declined what, and for how long (reference 3.5).
//!
//! A filter stands between one client and one agent: as long as it lasts, the client is not offered resources that what
//! it refused contains. More than that gets through. Filters fall when they expire, when the agent changes or goes, and
//! when the framework revives, disconnects or leaves.

use super::sorter::Client;
use core::cell::Cell;
use core::ops::Range;
use kaon_kernel::id::{AgentIndex, FrameworkIndex};
use kaon_kernel::resource::Resources;
use kaon_kernel::table::{Set, Table};
use kaon_kernel::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many filters of one framework are kept: room for each of 100,000 agents, and some. A refusal beyond it is not
/// remembered, so the framework may be offered the same again; it is counted in
/// [`super::Engine::filters_shed`].
pub const FILTERS_PER_FRAMEWORK_MAX: u32 = 131_072;

/// So many filters of one client on one agent are kept; the one that would expire first gives way.
pub const FILTERS_PER_AGENT_MAX: usize = 8;

/// An equal refusal is sought among so many filters on the agent.
const EQUAL_LOOKS_MAX: usize = 4;

/// Filters expire at whole multiples of this: 10,000 declines in one breath are then a few wake-ups, not 10,000.
pub const EXPIRY_GRAIN: Duration = Duration::millis(10);

/// One refusal.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) client: Client,
    /// Shared by those who declined the same of one agent, so that it is compared once for all of them.
    pub(super) refused: Arc<Resources>,
    pub(super) until: Instant,
    serial: u64,
}

/// All filters that stand.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// By agent in ascending order of clients, so that a look at one agent stays in one place.
    by_agent: Table<AgentIndex, Vec<Filter>>,
    by_client: Table<Client, Set<AgentIndex>>,
    by_framework: Table<FrameworkIndex, u32>,
    /// By expiry.
    expiry: BTreeMap<Instant, Set<(AgentIndex, Client, u64)>>,
    serial: u64,
    shed: u64,
}

impl Filters {
    /// Remembers a refusal until the first multiple of [`EXPIRY_GRAIN`] that is not before `until`. What an older filter
    /// of the same client on the same agent says as well is not kept twice.
    pub(super) fn insert(&mut self, agent: AgentIndex, client: Client, refused: Resources, until: Instant) {
        let until = Instant(until.0.div_ceil(EXPIRY_GRAIN.0).saturating_mul(EXPIRY_GRAIN.0));
        let same = || self.on(agent).iter().filter(|filter| filter.client == client);
        if same().any(|filter| filter.until >= until && filter.refused.contains(&refused)) {
            return;
        }
        let obsolete = same().filter(|filter| filter.until <= until && refused.contains(&filter.refused));
        let mut obsolete = obsolete.map(|filter| filter.serial).collect::<Vec<_>>();
        if same().count() - obsolete.len() >= FILTERS_PER_AGENT_MAX {
            let lasting = same().filter(|filter| !obsolete.contains(&filter.serial));
            obsolete.extend(lasting.min_by_key(|filter| (filter.until, filter.serial)).map(|filter| filter.serial));
        }
        if !obsolete.is_empty() {
            self.drop_if(agent, client, |filter| obsolete.contains(&filter.serial));
        }
        let count = self.by_framework.entry(client.framework).or_insert(0);
        if *count >= FILTERS_PER_FRAMEWORK_MAX {
            self.shed += 1;
            return;
        }
        *count += 1;
        self.serial += 1;
        let serial = self.serial;
        let filters = self.by_agent.entry(agent).or_default();
        // A look at a few is enough: where many decline one agent, most of them decline the same.
        let equal = filters.iter().rev().take(EQUAL_LOOKS_MAX).find(|filter| *filter.refused == refused);
        let refused = equal.map_or_else(|| Arc::new(refused), |filter| Arc::clone(&filter.refused));
        let at = filters.partition_point(|filter| filter.client <= client);
        filters.insert(at, Filter { client, refused, until, serial });
        self.by_client.entry(client).or_default().insert(agent);
        self.expiry.entry(until).or_default().insert((agent, client, serial));
    }

    /// The filters on an agent, for [`blocking`].
    pub(super) fn on(&self, agent: AgentIndex) -> &[Filter] {
        self.by_agent.get(&agent).map_or(&[], Vec::as_slice)
    }

    /// How many refusals were not remembered, since the master began.
    pub(super) fn shed(&self) -> u64 {
        self.shed
    }

    /// On how many agents filters of a client stand.
    pub(super) fn agents_of(&self, client: Client) -> usize {
        self.by_client.get(&client).map_or(0, |agents| agents.len())
    }

    /// When the next ones expire.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiry.keys().next().copied()
    }

    /// Drops what has expired at `now`, and tells of which agents.
    pub(super) fn expire(&mut self, now: Instant, mut expired: impl FnMut(AgentIndex)) {
        while let Some(due) = self.expiry.first_entry().filter(|due| *due.key() <= now) {
            for (agent, client, serial) in due.remove() {
                self.drop_if(agent, client, |filter| filter.serial == serial);
                expired(agent);
            }
        }
    }

    /// Drops those of a client. Cost: its agents.
    pub(super) fn drop_client(&mut self, client: Client) {
        for agent in self.by_client.swap_remove(&client).unwrap_or_default() {
            self.drop_if(agent, client, |_| true);
        }
    }

    /// Drops those on an agent.
    pub(super) fn drop_agent(&mut self, agent: AgentIndex) {
        let mut clients = self.on(agent).iter().map(|filter| filter.client).collect::<Vec<_>>();
        clients.dedup();
        for client in clients {
            self.drop_if(agent, client, |_| true);
        }
    }

    /// Takes filters of one client on one agent out of all four indexes; emptied entries go with them.
    fn drop_if(&mut self, agent: AgentIndex, client: Client, condition: impl Fn(&Filter) -> bool) {
        let Self { by_agent, by_client, by_framework, expiry, .. } = self;
        let Some(filters) = by_agent.get_mut(&agent) else { return };
        let range = of_client(filters, client);
        let mut stays = false;
        for at in range.rev() {
            if !condition(&filters[at]) {
                stays = true;
                continue;
            }
            let Filter { until, serial, .. } = filters.remove(at);
            if let Some(due) = expiry.get_mut(&until) {
                due.swap_remove(&(agent, client, serial));
                if due.is_empty() {
                    expiry.remove(&until);
                }
            }
            if let Some(count) = by_framework.get_mut(&client.framework) {
                *count -= 1;
                if *count == 0 {
                    by_framework.swap_remove(&client.framework);
                }
            }
        }
        if filters.is_empty() {
            by_agent.swap_remove(&agent);
        }
        if !stays && let Some(agents) = by_client.get_mut(&client) {
            agents.swap_remove(&agent);
            if agents.is_empty() {
                by_client.swap_remove(&client);
            }
        }
    }

    /// Asserts that the indexes say the same, and that nothing stands for a client or agent that is not there.
    pub(super) fn invariants(&self, is_client: impl Fn(Client) -> bool, is_agent: impl Fn(AgentIndex) -> bool) {
        let mut count = 0;
        for (&agent, filters) in &self.by_agent {
            assert!(is_agent(agent), "filters on {agent:?}, which is not there");
            assert!(filters.is_sorted_by_key(|filter| filter.client), "filters on {agent:?} are out of order");
            for filter in filters {
                assert!(is_client(filter.client), "a filter of {:?}, which is not there", filter.client);
                let due = self.expiry.get(&filter.until);
                assert!(
                    due.is_some_and(|due| due.contains(&(agent, filter.client, filter.serial))),
                    "a filter that never expires"
                );
                assert!(self.by_client.get(&filter.client).is_some_and(|agents| agents.contains(&agent)));
            }
            count += filters.len();
        }
        assert_eq!(count, self.expiry.values().map(|due| due.len()).sum::<usize>(), "filters and expiries differ");
        assert_eq!(count, self.by_framework.values().map(|&count| count as usize).sum::<usize>());
        let pairs = self.by_client.iter().flat_map(|(client, agents)| agents.iter().map(move |agent| (client, agent)));
        for (client, agent) in pairs {
            assert!(
                self.on(*agent).iter().any(|filter| filter.client == *client),
                "{client:?} has no filter on {agent:?}"
            );
        }
    }
}

/// Whether what a filter refused contains an offer, remembered for the last refusal asked about: on one agent most are
/// one and the same.
#[derive(Debug, Default)]
pub(super) struct Memory(Cell<Option<(*const Resources, bool)>>);

impl Memory {
    fn contains(&self, refused: &Arc<Resources>, offer: &Resources) -> bool {
        if let Some((last, answer)) = self.0.get().filter(|(last, _)| *last == Arc::as_ptr(refused)) {
            debug_assert_eq!(answer, refused.contains(offer), "what was remembered of {last:?} is of another offer");
            return answer;
        }
        // A decline of all that is there leaves an equal bag, and to be equal is far cheaper to see than to be contained.
        let answer = **refused == *offer || refused.contains(offer);
        self.0.set(Some((Arc::as_ptr(refused), answer)));
        answer
    }

    /// Another offer is looked at from now on.
    pub(super) fn clear(&self) {
        self.0.set(None);
    }
}

/// The filter that keeps an offer from a client, if there is one.
pub(super) fn blocking<'a>(
    filters: &'a [Filter],
    client: Client,
    offer: &Resources,
    memory: &Memory,
) -> Option<&'a Filter> {
    filters[of_client(filters, client)].iter().find(|filter| memory.contains(&filter.refused, offer))
}

/// Where the filters of a client are among those on an agent.
fn of_client(filters: &[Filter], client: Client) -> Range<usize> {
    let begin = filters.partition_point(|filter| filter.client < client);
    let length = filters[begin..].iter().take_while(|filter| filter.client == client).count();
    begin..begin + length
}

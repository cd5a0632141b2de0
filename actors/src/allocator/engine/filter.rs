//! Who declined what, and for how long (reference 3.5).
//!
//! A filter stands between one client and one agent: as long as it lasts, the client is not offered resources that what
//! it refused contains. More than that gets through. Filters fall when they expire, when the agent changes or goes, and
//! when the framework revives, disconnects or leaves.
//!
//! Filters lie with their agent, grouped by what was refused: where many decline one agent most decline the same, which
//! is then compared once for all. A filter is eight bytes: its owner and its end. The filters of a client have an owner of
//! their own, and fall together when the owner is given up; what is left of them is swept up later.

use kaon_kernel::id::{AgentIndex, FrameworkIndex};
use kaon_kernel::resource::Resources;
use kaon_kernel::table::Table;
use kaon_kernel::time::{Duration, Instant};
use std::collections::BTreeMap;

/// So many filters of one framework are kept: room for each of 100,000 agents, and some. A refusal beyond it is not
/// remembered, so the framework may be offered the same again; it is counted in
/// [`super::Engine::filters_shed`].
pub const FILTERS_PER_FRAMEWORK_MAX: u32 = 131_072;

/// So many filters of one client on one agent are kept; the one that would expire first gives way.
pub const FILTERS_PER_AGENT_MAX: usize = 8;

/// An equal refusal is sought among so many on the agent.
const EQUAL_LOOKS_MAX: usize = 4;

/// Filters expire at whole multiples of this: 10,000 declines in one breath are then a few wake-ups, not 10,000.
pub const EXPIRY_GRAIN: Duration = Duration::millis(10);

/// Bits of a filter's end, counted in grains: 87 years.
const TICK_BITS: u32 = 38;
const TICK_MAX: u64 = (1 << TICK_BITS) - 1;

/// So many owners at once; beyond it refusals are not remembered.
const OWNERS_MAX: usize = 1 << (64 - TICK_BITS);

/// The owner of a client's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(u32);

/// One filter: whose, and until when. Ascending by owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u64);

impl Entry {
    fn new(owner: Owner, tick: u64) -> Self {
        Self(u64::from(owner.0) << TICK_BITS | tick)
    }
    fn owner(self) -> Owner {
        Owner((self.0 >> TICK_BITS) as u32)
    }
    fn tick(self) -> u64 {
        self.0 & TICK_MAX
    }
}

/// Those who refused the same.
#[derive(Debug)]
struct Group {
    refused: Resources,
    entries: Vec<Entry>,
}

impl Group {
    fn of(&self, owner: Owner) -> &[Entry] {
        let begin = self.entries.partition_point(|entry| entry.owner().0 < owner.0);
        let length = self.entries[begin..].iter().take_while(|entry| entry.owner() == owner).count();
        &self.entries[begin..begin + length]
    }
}

/// The filters on one agent.
#[derive(Debug)]
pub(super) struct AgentFilters {
    groups: Vec<Group>,
    /// For when the agent is in the queue of expiries.
    queued: u64,
}

impl Default for AgentFilters {
    fn default() -> Self {
        Self { groups: Vec::new(), queued: u64::MAX }
    }
}

impl AgentFilters {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Something of the groups, which lie away from it.
    pub(super) fn glimpse(&self) -> usize {
        self.groups.first().map_or(0, |group| group.entries.len())
    }

    /// Something of what lies away from the groups.
    pub(super) fn glimpse_further(&self) -> usize {
        let look = |group: &Group| group.entries.last().map_or(0, |entry| entry.0 as usize);
        self.groups.first().map_or(0, look)
    }

    /// The filter that keeps an offer from an owner, if there is one: what was refused, and until when.
    pub(super) fn blocking(&self, owner: Owner, offer: &Resources) -> Option<(&Resources, Instant)> {
        self.groups.iter().find_map(|group| {
            let last = group.of(owner).last()?;
            covers(&group.refused, offer).then(|| (&group.refused, end(last.tick())))
        })
    }

    /// Of the filters of an owner that refuse something such as this, the one that stands longest.
    pub(super) fn longest(&self, owner: Owner, is_such: impl Fn(&Resources) -> bool) -> Option<(&Resources, Instant)> {
        let such = self.groups.iter().filter_map(|group| {
            let last = group.of(owner).last()?;
            is_such(&group.refused).then(|| (&group.refused, end(last.tick())))
        });
        such.max_by_key(|(_, until)| *until)
    }

    /// Whether any filter of an owner stands.
    pub(super) fn has(&self, owner: Owner) -> bool {
        self.groups.iter().any(|group| !group.of(owner).is_empty())
    }
}

/// A decline of all that is there leaves an equal bag, and to be equal is far cheaper to see than to be contained.
pub(super) fn covers(refused: &Resources, offer: &Resources) -> bool {
    refused == offer || refused.contains(offer)
}

fn end(tick: u64) -> Instant {
    Instant(tick.saturating_mul(EXPIRY_GRAIN.0))
}

#[derive(Debug)]
struct OwnerEntry {
    /// The client's place in the engine's table.
    client: u32,
    framework: FrameworkIndex,
    filters: u32,
    is_given_up: bool,
    /// Whether the client wants nothing now.
    is_resting: bool,
}

/// What is known of all filters together.
#[derive(Debug, Default)]
pub(super) struct Filters {
    owners: Vec<OwnerEntry>,
    vacant: Vec<u32>,
    by_framework: Table<FrameworkIndex, u32>,
    /// Agents by the tick at which the first of their filters expires. An agent may stand at later ticks as well, of no
    /// account.
    queue: BTreeMap<u64, Vec<AgentIndex>>,
    queued: usize,
    shed: u64,
    /// Owners that are resting.
    resting: u32,
    /// Filters of owners given up that are not swept up yet.
    left: u64,
}

impl Filters {
    /// A new owner for a client's filters.
    pub(super) fn own(&mut self, client: u32, framework: FrameworkIndex, is_resting: bool) -> Option<Owner> {
        let entry = OwnerEntry { client, framework, filters: 0, is_given_up: false, is_resting: false };
        let owner = self.enter(entry)?;
        self.rest(owner, is_resting);
        Some(owner)
    }

    /// Notes whether the client of an owner wants something now.
    pub(super) fn rest(&mut self, owner: Owner, is_resting: bool) {
        let was = core::mem::replace(&mut self.owners[owner.0 as usize].is_resting, is_resting);
        self.resting = self.resting + u32::from(is_resting) - u32::from(was);
    }

    fn enter(&mut self, entry: OwnerEntry) -> Option<Owner> {
        if let Some(at) = self.vacant.pop() {
            self.owners[at as usize] = entry;
            return Some(Owner(at));
        }
        if self.owners.len() >= OWNERS_MAX {
            return None;
        }
        self.owners.push(entry);
        Some(Owner(self.owners.len() as u32 - 1))
    }

    /// Drops all filters of an owner. They are swept up when somebody passes by.
    pub(super) fn give_up(&mut self, owner: Owner) {
        self.rest(owner, false);
        let entry = &mut self.owners[owner.0 as usize];
        entry.is_given_up = true;
        let (framework, filters) = (entry.framework, entry.filters);
        self.left += u64::from(filters);
        if filters == 0 {
            self.vacant.push(owner.0);
        }
        self.count_less(framework, filters);
    }

    /// Remembers a refusal until the first multiple of [`EXPIRY_GRAIN`] that is not before `until`. What an older filter
    /// of the same owner on the same agent says as well is not kept twice.
    pub(super) fn insert(
        &mut self,
        on: &mut AgentFilters,
        agent: AgentIndex,
        owner: Owner,
        refused: Resources,
        until: Instant,
    ) {
        let tick = until.0.div_ceil(EXPIRY_GRAIN.0).min(TICK_MAX);
        let mut standing: Vec<(usize, Entry)> = Vec::new();
        for (place, group) in on.groups.iter().enumerate() {
            for &entry in group.of(owner) {
                if entry.tick() >= tick && covers(&group.refused, &refused) {
                    return;
                }
                standing.push((place, entry));
            }
        }
        if !standing.is_empty() {
            standing.retain(|&(place, entry)| {
                let is_obsolete = entry.tick() <= tick && covers(&refused, &on.groups[place].refused);
                if is_obsolete {
                    self.remove(&mut on.groups[place], entry);
                }
                !is_obsolete
            });
            if standing.len() >= FILTERS_PER_AGENT_MAX
                && let Some(&(place, entry)) = standing.iter().min_by_key(|(_, entry)| entry.tick())
            {
                self.remove(&mut on.groups[place], entry);
            }
        }
        let framework = self.owners[owner.0 as usize].framework;
        let count = self.by_framework.entry(framework).or_insert(0);
        if *count >= FILTERS_PER_FRAMEWORK_MAX {
            self.shed += 1;
            return;
        }
        *count += 1;
        self.owners[owner.0 as usize].filters += 1;
        // A look at a few is enough: where many decline one agent, most of them decline the same.
        let equal = on.groups.iter().enumerate().rev().take(EQUAL_LOOKS_MAX);
        let equal = equal.into_iter().find(|(_, group)| group.refused == refused).map(|(place, _)| place);
        let place = equal.unwrap_or_else(|| {
            self.sweep(on, 0);
            on.groups.push(Group { refused, entries: Vec::new() });
            on.groups.len() - 1
        });
        if on.groups[place].entries.len() == on.groups[place].entries.capacity() {
            self.sweep_group(&mut on.groups[place], 0);
        }
        let entries = &mut on.groups[place].entries;
        let entry = Entry::new(owner, tick);
        entries.insert(entries.partition_point(|other| *other <= entry), entry);
        self.enqueue(on, agent, tick);
    }

    fn enqueue(&mut self, on: &mut AgentFilters, agent: AgentIndex, tick: u64) {
        if tick < on.queued {
            on.queued = tick;
            self.queue.entry(tick).or_default().push(agent);
            self.queued += 1;
        }
    }

    /// Whether so many agents stand in the queue in vain that it should be made anew: [`Filters::requeue`].
    pub(super) fn is_cluttered(&self, agents: usize) -> bool {
        self.queued > 4 * agents + 1024
    }

    /// Makes the queue anew.
    pub(super) fn requeue<'a>(&mut self, agents: impl Iterator<Item = (AgentIndex, &'a AgentFilters)>) {
        self.queue.clear();
        self.queued = 0;
        for (agent, filters) in agents.filter(|(_, filters)| filters.queued < u64::MAX) {
            self.queue.entry(filters.queued).or_default().push(agent);
            self.queued += 1;
        }
    }

    /// How many refusals were not remembered, since the master began.
    pub(super) fn shed(&self) -> u64 {
        self.shed
    }

    /// When the next ones expire, or did before they fell.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.queue.keys().next().copied().map(end)
    }

    /// Agents on which filters may have expired at `now`, each with the tick for [`Filters::expire_on`].
    pub(super) fn due(&mut self, now: Instant) -> Option<(u64, Vec<AgentIndex>)> {
        let due = self.queue.first_entry().filter(|due| end(*due.key()) <= now)?;
        let due = due.remove_entry();
        self.queued -= due.1.len();
        Some(due)
    }

    /// Drops what has expired on an agent by `now`. False when nothing has.
    pub(super) fn expire_on(&mut self, on: &mut AgentFilters, agent: AgentIndex, tick: u64, now: Instant) -> bool {
        if on.queued != tick {
            return false;
        }
        let expired = self.sweep(on, now.0 / EXPIRY_GRAIN.0);
        on.queued = u64::MAX;
        let next = on.groups.iter().flat_map(|group| &group.entries).map(|entry| entry.tick()).min();
        if let Some(next) = next {
            self.enqueue(on, agent, next);
        }
        expired
    }

    /// Drops all on an agent.
    pub(super) fn drop_all(&mut self, on: &mut AgentFilters) {
        self.sweep(on, u64::MAX);
        on.queued = u64::MAX;
    }

    /// Whether so many clients as want something now, all of them, have refused what is free on an agent, as far as a look at
    /// each group tells: it counts a group, nobody in it, which is no answer while there are filters of no account.
    pub(super) fn is_refused_by_all(&self, on: &AgentFilters, free: &Resources, wanting: u32) -> bool {
        self.resting == 0
            && self.left == 0
            && on.groups.iter().any(|group| group.entries.len() >= wanting as usize && covers(&group.refused, free))
    }

    /// Calls for each filter on an agent with its client, and whether it covers all that is free there.
    pub(super) fn on(&self, on: &AgentFilters, free: &Resources, mut with: impl FnMut(u32, bool)) {
        for group in &on.groups {
            let covers = covers(&group.refused, free);
            for entry in &group.entries {
                let owner = &self.owners[entry.owner().0 as usize];
                if !owner.is_given_up {
                    with(owner.client, covers);
                }
            }
        }
    }

    /// Drops what stands no longer than `tick`, and what belongs to owners given up. Whether anything expired.
    fn sweep(&mut self, on: &mut AgentFilters, tick: u64) -> bool {
        let mut expired = false;
        for group in &mut on.groups {
            expired |= self.sweep_group(group, tick);
        }
        on.groups.retain(|group| !group.entries.is_empty());
        expired
    }

    fn sweep_group(&mut self, group: &mut Group, tick: u64) -> bool {
        let mut expired = false;
        group.entries.retain(|entry| {
            let owner = &self.owners[entry.owner().0 as usize];
            let is_given_up = owner.is_given_up;
            let stays = !is_given_up && entry.tick() > tick;
            if !stays {
                expired |= !is_given_up;
                self.count_out(entry.owner());
            }
            stays
        });
        expired
    }

    fn remove(&mut self, group: &mut Group, entry: Entry) {
        if let Ok(at) = group.entries.binary_search(&entry) {
            group.entries.remove(at);
            self.count_out(entry.owner());
        }
    }

    /// One filter of an owner less.
    fn count_out(&mut self, owner: Owner) {
        let entry = &mut self.owners[owner.0 as usize];
        entry.filters -= 1;
        let framework = entry.framework;
        if !entry.is_given_up {
            return self.count_less(framework, 1);
        }
        self.left -= 1;
        if entry.filters == 0 {
            self.vacant.push(owner.0);
        }
    }

    fn count_less(&mut self, framework: FrameworkIndex, filters: u32) {
        if filters > 0
            && let Some(count) = self.by_framework.get_mut(&framework)
        {
            *count -= filters;
            if *count == 0 {
                self.by_framework.swap_remove(&framework);
            }
        }
    }

    /// Asserts that counts and queue are what the agents say.
    pub(super) fn invariants<'a>(&self, agents: impl Iterator<Item = (AgentIndex, &'a AgentFilters)>) {
        let mut counts = vec![0; self.owners.len()];
        for (agent, on) in agents {
            for group in &on.groups {
                assert!(group.entries.is_sorted(), "filters on {agent:?} are out of order");
                for entry in &group.entries {
                    counts[entry.owner().0 as usize] += 1;
                    assert!(entry.tick() >= on.queued, "a filter on {agent:?} that never expires");
                }
            }
            let is_queued = |agents: &Vec<AgentIndex>| agents.contains(&agent);
            assert!(on.queued == u64::MAX || self.queue.get(&on.queued).is_some_and(is_queued));
        }
        let mut by_framework: Table<FrameworkIndex, u32> = Table::default();
        for (owner, count) in self.owners.iter().zip(counts) {
            assert_eq!(owner.filters, count, "filters of {owner:?}");
            if !owner.is_given_up && count > 0 {
                *by_framework.entry(owner.framework).or_default() += count;
            }
        }
        assert!(by_framework == self.by_framework, "filters of frameworks");
    }
}

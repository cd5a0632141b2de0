//! An agent's books: what is free on it, and who holds what.

use super::amounts::{Amounts, ScalarNames};
use super::bags::{has_shared, is_open, is_plain, split, split_shared};
use super::filter::AgentFilters;
use super::sorter::Client;
use super::tables::AgentFacts;
use kaon_kernel::placement::Shape;
use kaon_kernel::resource::{Resource, ResourceName, Resources};
use std::sync::Arc;

/// An agent, and who holds what of it.
///
/// The books balance at every step: `free` and what the holdings cover are together `total`, exactly. An agent can
/// come back smaller than what runs on it, though; the part of a holding that no resource stands for is kept beside as
/// its excess. Nothing is free of what anybody has in excess: what comes back stands for that first.
///
/// Shared volumes are never taken out of what is free: who is granted one gets a copy.
///
/// What every round and every return looks at lies in the first two lines of the cache: thousands of agents are visited
/// in an order of which memory knows nothing, and each line that has to come costs more than all that is decided by it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Agent {
    pub(super) free: Resources,
    /// In ascending order of clients.
    pub(super) holdings: Vec<(Client, Holding)>,
    pub(super) filters: AgentFilters,
    /// The unreserved, not revocable scalars that are free: what quota is about.
    pub(super) open: Amounts,
    /// While the interest of frameworks is at this number, nobody takes anything of what is free now.
    pub(super) nobody_at: u64,
    /// The last pass over agents that saw it: a round collects its candidates in one, and visits them in others.
    pub(super) seen_in: u64,
    pub(super) active: bool,
    /// Whether its hostname may be offered.
    pub(super) is_listed: bool,
    /// Whether it has changed since the last round.
    pub(super) is_dirty: bool,
    /// Whether it is counted among the available.
    pub(super) is_counted: bool,
    /// Whether it has GPUs at all.
    pub(super) has_gpus: bool,
    /// Whether it lies in another region than the master.
    pub(super) is_remote: bool,
    /// Whether nothing in `free` has an identity: it is the same offer to everybody.
    pub(super) is_plain: bool,
    /// Whether it has shared volumes at all.
    pub(super) has_shared: bool,
    /// Whether the master once told of used resources that can't be in one bag (a port in two tasks). From then on more
    /// may come back than is booked.
    pub(super) is_disputed: bool,
    /// The last round that granted a copy of a shared volume of it.
    pub(super) shared_in: u64,
    pub(super) total: Resources,
    /// What its hardware could give at most, if that is known; agents of one make share it.
    pub(super) shape: Option<Arc<Shape>>,
    pub(super) facts: AgentFacts,
}

/// What one client holds of one agent.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// Resources of the agent.
    pub(super) covered: Resources,
    /// What it holds beyond what the agent has.
    pub(super) excess: Resources,
    /// Copies of shared volumes; almost always none.
    pub(super) shared: Option<Box<Copies>>,
}

type Copies = Vec<(Resource, u32)>;

/// What of a return was booked.
pub(super) enum Returned {
    /// All of it.
    All,
    /// This part of it.
    Part(Resources),
}

impl Agent {
    pub(super) fn new(facts: AgentFacts, total: Resources, home_region: Option<&str>, names: &mut ScalarNames) -> Self {
        let is_remote = facts.is_remote(home_region);
        let mut agent = Self {
            facts,
            free: total.clone(),
            total,
            holdings: Vec::new(),
            open: Amounts::new(),
            filters: AgentFilters::default(),
            shape: None,
            nobody_at: 0,
            seen_in: 0,
            shared_in: 0,
            active: true,
            is_listed: true,
            is_dirty: false,
            is_counted: false,
            has_gpus: false,
            is_remote,
            is_plain: true,
            has_shared: false,
            is_disputed: false,
        };
        agent.survey();
        agent.refresh(names);
        agent
    }

    /// What the master told of it.
    pub fn facts(&self) -> &AgentFacts {
        &self.facts
    }
    /// All that it has.
    pub fn total(&self) -> &Resources {
        &self.total
    }
    /// What nobody holds, and what is shared.
    pub fn free(&self) -> &Resources {
        &self.free
    }
    /// Whether it may be offered.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Whether there is anything to offer on it now.
    pub(super) fn is_available(&self) -> bool {
        self.active && self.is_listed && !self.free.is_empty()
    }

    /// Touches what deciding about it will need, so many pointers away from it, and answers something of it.
    pub(super) fn glimpse(&self, away: u32) -> usize {
        match away {
            0 => self.holdings.len() ^ self.filters.is_empty() as usize ^ self.seen_in as usize,
            1 => {
                let last = self.holdings.last().map_or(0, |(client, _)| client.role.0 as usize);
                last ^ usize::from(self.free.is_empty()) ^ self.filters.glimpse()
            }
            _ => self.filters.glimpse_further(),
        }
    }

    pub(super) fn holding(&self, client: Client) -> Option<&Holding> {
        let at = self.holdings.binary_search_by_key(&client, |(holder, _)| *holder).ok()?;
        Some(&self.holdings[at].1)
    }

    fn holding_mut(&mut self, client: Client) -> &mut Holding {
        let at = match self.holdings.binary_search_by_key(&client, |(holder, _)| *holder) {
            Ok(at) => at,
            Err(at) => {
                if self.holdings.is_empty() {
                    self.holdings.reserve_exact(1);
                }
                self.holdings.insert(at, (client, Holding::default()));
                at
            }
        };
        &mut self.holdings[at].1
    }

    /// Books all that is free to a client. Only for an agent without shared volumes.
    pub(super) fn take_all(&mut self, client: Client) {
        let all = core::mem::take(&mut self.free);
        let holding = self.holding_mut(client);
        if holding.covered.is_empty() {
            holding.covered = all;
        } else if let Err(error) = holding.covered.add(&all) {
            panic!("a grant on agent {} of what its holder has already: {error}", self.facts.id);
        }
        self.open.clear();
        self.is_plain = true;
    }

    /// Books free resources to a client.
    pub(super) fn take(&mut self, client: Client, resources: &Resources, names: &mut ScalarNames) {
        let (exclusive, shared) = split_shared(resources);
        if let Err(error) = self.free.subtract(&exclusive) {
            panic!("a grant on agent {} of what is not free: {error}", self.facts.id);
        }
        let holding = self.holding_mut(client);
        let added = holding.covered.add(&exclusive);
        holding.add_copies(&shared);
        if let Err(error) = added {
            panic!("a grant on agent {} of what its holder has already: {error}", self.facts.id);
        }
        self.refresh(names);
    }

    /// Books resources that are in use already, whether the agent has them or not; `open` are the open scalars of them.
    /// False when they can't be in one bag with what the client uses already; they are not booked then.
    pub(super) fn take_used(
        &mut self,
        client: Client,
        resources: Resources,
        open: &Amounts,
        names: &mut ScalarNames,
    ) -> bool {
        let known = self.holding(client);
        if known.is_none_or(|holding| holding.is_empty())
            && !has_shared(&resources)
            && let Ok(free) = self.free.minus(&resources)
        {
            self.free = free;
            self.holding_mut(client).covered = resources;
            self.open.subtract(open);
            self.is_plain = self.is_plain || is_plain(&self.free);
            return true;
        }
        let (exclusive, shared) = split_shared(&resources);
        if known.is_some_and(|holding| holding.exclusive().plus(&exclusive).is_err()) {
            self.is_disputed = true;
            return false;
        }
        let holding = self.holding_mut(client);
        holding.excess.add(&exclusive).expect("what adds up with a whole adds up with a part of it");
        holding.add_copies(&shared);
        self.cover();
        self.refresh(names);
        true
    }

    /// Lets free resources stand for what is in excess, in order of clients.
    fn cover(&mut self) {
        for (_, holding) in self.holdings.iter_mut().filter(|(_, holding)| !holding.excess.is_empty()) {
            let (covered, excess) = split(&holding.excess, &self.free);
            self.free.subtract(&covered).expect("what was split off from the free resources is among them");
            holding.covered.add(&covered).expect("the two parts of a holding are one bag");
            holding.excess = excess;
        }
    }

    /// Books what comes back of a client that holds something: all, unless `is_lenient`. `open` are the open scalars of
    /// what comes back.
    pub(super) fn give_back(
        &mut self,
        client: Client,
        resources: &Resources,
        open: &Amounts,
        is_lenient: bool,
        names: &mut ScalarNames,
    ) -> Returned {
        if let Some(at) = self.holdings.iter().position(|(holder, _)| *holder == client)
            && self.holdings[at].1.is_exactly(resources)
        {
            let (_, holding) = self.holdings.remove(at);
            if self.free.is_empty() && self.holdings.iter().all(|(_, other)| other.excess.is_empty()) {
                self.is_plain = is_plain(&holding.covered);
                self.free = holding.covered;
                self.open.clone_from(open);
            } else {
                self.release(holding.covered, names);
            }
            return Returned::All;
        }
        let id = self.facts.id.clone();
        let (exclusive, shared) = split_shared(resources);
        let holding = self.holding_mut(client);
        let (paid, rest) = match holding.excess.is_empty() {
            true => (Resources::new(), exclusive),
            false => split(&exclusive, &holding.excess),
        };
        let has_copies = holding.remove_copies(&shared);
        let freed = match holding.covered.contains(&rest) && has_copies {
            true => rest,
            false if is_lenient => split(&rest, &holding.covered).0,
            false => panic!("{resources} come back to agent {id} of {client:?}, who holds {}", holding.covered),
        };
        holding.excess.subtract(&paid).expect("what pays the excess was split off from it");
        holding.covered.subtract(&freed).expect("what is freed is covered, as checked before");
        if holding.is_empty() {
            self.holdings.retain(|(holder, _)| *holder != client);
        }
        let back = freed.plus(&paid).expect("two parts of one bag add up");
        self.release(freed, names);
        Returned::Part(back)
    }

    /// Makes resources free, as far as nobody has them in excess.
    fn release(&mut self, freed: Resources, names: &mut ScalarNames) {
        if self.free.is_empty() {
            self.free = freed;
        } else {
            let id = &self.facts.id;
            let added = self.free.add(&freed);
            added.unwrap_or_else(|error| panic!("what comes back to agent {id} is free already: {error}"));
        }
        self.cover();
        self.refresh(names);
    }

    /// Gives it another total: holdings keep what they can, in order of clients, and what is left is free.
    pub(super) fn resize(&mut self, total: Resources, names: &mut ScalarNames) {
        let is_excess = |(_, holding): &(Client, Holding)| !holding.excess.is_empty();
        let grown = if self.holdings.iter().any(is_excess) { None } else { total.minus(&self.total).ok() };
        self.total = total;
        if grown.is_none_or(|grown| self.free.add(&grown).is_err()) {
            for (_, holding) in &mut self.holdings {
                holding.excess = holding.exclusive();
                holding.covered = Resources::new();
            }
            self.free = self.total.clone();
            self.cover();
        }
        self.survey();
        self.refresh(names);
    }

    /// Notes further copies of shared volumes with a client. False when it holds nothing, or something that is not shared
    /// is among them.
    pub(super) fn share(&mut self, client: Client, copies: &Resources) -> bool {
        let (exclusive, copies) = split_shared(copies);
        let is_known = self.holding(client).is_some() && exclusive.is_empty();
        if is_known {
            self.holding_mut(client).add_copies(&copies);
        }
        is_known
    }

    /// Turns what a client holds into something else. False when it does not hold it, or when the result can't be beside
    /// the rest; nothing is changed then. Copies of a shared volume that goes may still be granted to others, on their way
    /// to the master: it gives them back.
    pub(super) fn convert(
        &mut self,
        client: Client,
        from: &Resources,
        to: &Resources,
        names: &mut ScalarNames,
    ) -> bool {
        let Some(holding) = self.holding(client).filter(|holding| holding.excess.is_empty()) else { return false };
        let (taken, taken_copies) = split_shared(from);
        let (made, made_copies) = split_shared(to);
        let Ok(covered) = holding.covered.minus(&taken).and_then(|rest| rest.plus(&made)) else { return false };
        let copies = |copies: &[Resource]| Resources::collect(copies.iter().cloned());
        let (Ok(gone), Ok(new)) = (copies(&taken_copies), copies(&made_copies)) else { return false };
        let Ok(free) = self.free.minus(&gone).and_then(|rest| rest.plus(&new)) else { return false };
        if !exchange(&mut self.total, from, to) {
            return false;
        }
        let holding = self.holding_mut(client);
        if !holding.remove_copies(&taken_copies) {
            assert!(exchange(&mut self.total, to, from), "what was exchanged can be exchanged back");
            return false;
        }
        holding.covered = covered;
        holding.add_copies(&made_copies);
        self.free = free;
        self.survey();
        self.refresh(names);
        true
    }

    /// Turns what is free into something else. False when it is not free, or when the result can't be beside the rest;
    /// nothing is changed then.
    pub(super) fn convert_free(&mut self, from: &Resources, to: &Resources, names: &mut ScalarNames) -> bool {
        let (_, copies) = split_shared(from);
        let mut held = self.holdings.iter().flat_map(|(_, holding)| holding.shared.iter().flat_map(|held| held.iter()));
        if held.any(|(copy, _)| copies.contains(copy)) {
            return false;
        }
        let Ok(free) = self.free.minus(from).and_then(|rest| rest.plus(to)) else { return false };
        if !exchange(&mut self.total, from, to) {
            return false;
        }
        self.free = free;
        self.survey();
        self.refresh(names);
        true
    }

    /// Looks at the total.
    fn survey(&mut self) {
        (self.has_gpus, self.has_shared) = (false, false);
        for entry in &self.total {
            self.has_gpus |= entry.name == ResourceName::Gpus;
            self.has_shared |= entry.is_shared();
        }
    }

    /// Looks at what is free.
    fn refresh(&mut self, names: &mut ScalarNames) {
        self.is_plain = is_plain(&self.free);
        names.measure_where(&self.free, &mut self.open, is_open);
    }

    /// Asserts that free and covered are together the total.
    pub(super) fn invariants(&self) {
        let id = &self.facts.id;
        let (mut sum, free_copies) = split_shared(&self.free);
        let (total, copies) = split_shared(&self.total);
        assert_eq!(free_copies, copies, "shared volumes of agent {id} are always free");
        for (client, holding) in &self.holdings {
            assert!(!holding.is_empty(), "an empty holding of {client:?} on {id}");
            assert!(split(&holding.excess, &self.free).0.is_empty(), "free on {id}, and in excess of {client:?}");
            sum.add(&holding.covered).unwrap_or_else(|error| panic!("agent {id}: {error}"));
        }
        assert!(sum == total, "agent {id}: free and held are {sum}, the total is {total}");
        assert!(self.holdings.is_sorted_by_key(|(client, _)| *client));
        assert_eq!(self.is_plain, is_plain(&self.free));
    }
}

/// Takes one bag out of another and puts something else in. False when it is not in, or the result can't be beside the
/// rest; nothing is changed then. In place: an agent can have thousands of reservations, of which a few change.
fn exchange(bag: &mut Resources, from: &Resources, to: &Resources) -> bool {
    if bag.subtract(from).is_err() {
        return false;
    }
    let is_done = bag.add(to).is_ok();
    if !is_done {
        bag.add(from).expect("what was in can be put back");
    }
    is_done
}

impl Holding {
    pub(super) fn is_empty(&self) -> bool {
        self.covered.is_empty() && self.excess.is_empty() && self.shared.is_none()
    }

    /// All that it holds but for shared volumes.
    pub(super) fn exclusive(&self) -> Resources {
        if self.excess.is_empty() {
            return self.covered.clone();
        }
        self.covered.plus(&self.excess).expect("the two parts of a holding are one bag")
    }

    /// All that the master thinks it holds.
    pub(super) fn whole(&self) -> Resources {
        let mut whole = self.exclusive();
        for (copy, count) in self.shared.iter().flat_map(|copies| copies.iter()) {
            let copy = Resources::collect([copy.clone()]).expect("one entry is a bag");
            for _ in 0..*count {
                whole.add(&copy).expect("copies of a shared volume add up");
            }
        }
        whole
    }

    fn is_exactly(&self, resources: &Resources) -> bool {
        self.excess.is_empty() && self.shared.is_none() && self.covered == *resources
    }

    fn add_copies(&mut self, copies: &[Resource]) {
        for copy in copies {
            let held = self.shared.get_or_insert_default();
            match held.iter_mut().find(|(held, _)| held == copy) {
                Some((_, count)) => *count += 1,
                None => held.push((copy.clone(), 1)),
            }
        }
    }

    /// Takes a copy of each; false when one is not there.
    fn remove_copies(&mut self, copies: &[Resource]) -> bool {
        let mut are_there = true;
        for copy in copies {
            let held = self.shared.iter_mut().flat_map(|held| held.iter_mut());
            match held.into_iter().find(|(held, _)| held == copy) {
                Some((_, count)) => *count -= 1,
                None => are_there = false,
            }
        }
        if let Some(held) = &mut self.shared {
            held.retain(|(_, count)| *count > 0);
            if held.is_empty() {
                self.shared = None;
            }
        }
        are_there
    }
}

//! One round: which candidate goes to whom.

use super::Engine;
use super::agent::Agent;
use super::bags::has_shared;
use super::draft::{Drafts, Stage, holders, is_enough, is_enough_of, is_enough_unreserved};
use super::feasible::{lacks_gpus, lacks_region};
use super::quota::Quotas;
use super::sorter::{Class, Client};
use super::tables::{Clients, Roles};
use super::{AgentIndex, Rules};
use core::ops::ControlFlow;
use kaon_kernel::chance::Chance;
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::resource::Resources;
use kaon_kernel::time::Instant;

/// So many agents are looked at ahead.
const AHEAD: usize = 16;

/// With the plant of [`Engine::plant_double_grant`] every so many grants are told twice.
const PLANT_EVERY: u64 = 16;

/// What a visit to an agent notes of clients, by their places. Numbers that are not the visit's are of no account.
#[derive(Debug, Default)]
pub(super) struct Marks {
    visit: u64,
    /// The visit, and whether a filter of the client is known to cover all that is free.
    filtered: Vec<(u64, bool)>,
    walk: u64,
    /// The last walk that came by.
    seen: Vec<u64>,
}

impl Marks {
    fn grow(&mut self, places: usize) {
        if self.filtered.len() < places {
            self.filtered.resize(places, (0, false));
            self.seen.resize(places, 0);
        }
    }
}

/// What a client gets.
struct Choice {
    at: u32,
    client: Client,
    resources: Resources,
    is_all: bool,
}

impl Engine {
    /// One round over the agents that changed, or over all when somebody wants more than before. Grants are appended.
    ///
    /// Coarse grained as in Mesos: for each agent, the first client in the sorter's order against whom nothing speaks
    /// gets all that it may be offered of the agent; shares are updated, and the next agent follows. What is left on an
    /// agent then (reserved to others, beyond a quota, or not understood) is held out once more, in the order after the
    /// grant. Guarantees that are not met are served before: a pass of their own over the same agents.
    ///
    /// Cost: the candidates times the logarithm of the siblings of who gets something; a candidate that nobody took is
    /// passed over at once until it or somebody's interest changes.
    pub fn cycle(&mut self, now: Instant, chance: &mut Chance, grants: &mut Vec<Grant>) {
        self.expire(now);
        if !self.is_granting() {
            return;
        }
        let mut candidates = core::mem::take(&mut self.candidates);
        candidates.clear();
        self.passes += 1;
        let Self { agents, passes, .. } = self;
        let is_candidate = |found: &mut Agent| {
            if found.is_counted {
                found.seen_in = *passes;
            }
            found.is_counted
        };
        if self.everyone {
            candidates.extend(agents.iter_mut().filter_map(|(&agent, found)| {
                found.is_dirty = false;
                is_candidate(found).then_some(agent)
            }));
            (self.everyone, self.changed) = (false, false);
        } else {
            candidates.extend(self.dirty.iter().copied().filter(|agent| {
                let found = agents.get_mut(agent).filter(|found| found.is_dirty);
                found.is_some_and(|found| {
                    found.is_dirty = false;
                    is_candidate(found)
                })
            }));
        }
        self.dirty.clear();
        candidates.sort_unstable();
        self.rounds += 1;
        self.marks.grow(self.clients.places());
        self.sorter.begin_round(chance);
        if self.quotas.any_promised() {
            self.visit(&candidates, Stage::Promised, chance, grants);
        }
        self.visit(&candidates, Stage::Fair, chance, grants);
        self.candidates = candidates;
    }

    /// Visits each candidate once, in the order of the arrangement. One that the arrangement drops comes at the end; one that
    /// it adds is passed over.
    fn visit(&mut self, candidates: &[AgentIndex], stage: Stage, chance: &mut Chance, grants: &mut Vec<Grant>) {
        let mut arranged = core::mem::take(&mut self.arranged);
        arranged.clear();
        arranged.extend_from_slice(candidates);
        self.arrangement.arrange(&mut arranged, chance);
        self.passes += 1;
        let visited = self.visit_all(&arranged, stage, grants);
        if visited < candidates.len() {
            self.visit_all(candidates, stage, grants);
        }
        self.arranged = arranged;
    }

    /// Visits those of some agents that were last seen in the pass before this one, and answers how many.
    fn visit_all(&mut self, agents: &[AgentIndex], stage: Stage, grants: &mut Vec<Grant>) -> usize {
        let mut visited = 0;
        let mut places = Vec::with_capacity(AHEAD);
        for agents in agents.chunks(AHEAD) {
            places.clear();
            places.extend(agents.iter().filter_map(|agent| self.agents.get_index_of(agent)));
            // Agents lie far apart in memory. Touching what some of them will need before the first is decided waits for all
            // of them at once.
            for away in 0..=2 {
                let glimpses = places.iter().map(|&place| self.agents[place].glimpse(away));
                core::hint::black_box(glimpses.fold(0, |seen, more| seen ^ more));
            }
            for &place in &places {
                let found = &mut self.agents[place];
                if found.seen_in + 1 == self.passes {
                    found.seen_in = self.passes;
                    visited += 1;
                    self.offer(place, stage, grants);
                }
            }
        }
        visited
    }

    /// Holds the agent at a place in the table out until nobody takes anything more of it.
    fn offer(&mut self, place: usize, stage: Stage, grants: &mut Vec<Grant>) {
        self.marks.visit += 1;
        let mut is_first_look = true;
        while let Some(choice) = self.choose(place, stage, is_first_look) {
            is_first_look = false;
            let Choice { at, client, resources, is_all } = choice;
            let found = &mut self.agents[place];
            let is_first = found.holding(client).is_none();
            self.quotas.headroom.subtract(&found.open);
            let takes_all = is_all && !found.has_shared;
            if takes_all && found.is_plain {
                self.measured.shares.clone_from(&found.open);
                self.measured.open.clone_from(&found.open);
                self.names.silence(&mut self.measured.shares);
            } else {
                if has_shared(&resources) {
                    found.shared_in = self.rounds;
                }
                self.measure(&resources);
            }
            let found = &mut self.agents[place];
            if takes_all {
                found.take_all(client);
            } else {
                found.take(client, &resources, &mut self.names);
                self.quotas.headroom.add(&found.open);
            }
            let is_counted = found.is_available();
            let was_counted = core::mem::replace(&mut found.is_counted, is_counted);
            self.available -= usize::from(was_counted && !is_counted);
            self.book(at, is_first);
            self.grants += 1;
            let role = self.roles.name(client.role).clone();
            let (&agent, _) = self.agents.get_index(place).expect("a place in the table");
            let grant = Grant { framework: client.framework, role, agent, resources };
            if self.plants_double_grant && self.grants.is_multiple_of(PLANT_EVERY) {
                grants.push(grant.clone());
            }
            grants.push(grant);
        }
    }

    /// The first client in order against whom nothing speaks, and what it gets.
    fn choose(&mut self, place: usize, stage: Stage, is_first_look: bool) -> Option<Choice> {
        let Self { sorter, agents, clients, roles, filters, rules, quotas, names, marks, .. } = self;
        let (&index, agent) = agents.get_index(place).filter(|(_, found)| found.is_available())?;
        if agent.nobody_at == self.interest {
            return None;
        }
        let without_shared = agent.has_shared && agent.shared_in == self.rounds;
        let is_common = self.particular == 0;
        if agent.is_plain && is_common && !is_enough_of(agent, names, &rules.minimums) {
            return None;
        }
        if !agent.filters.is_empty() && filters.is_refused_by_all(&agent.filters, &agent.free, clients.walked) {
            return self.nobody(place, stage, without_shared);
        }
        let classes: &[Class] = match stage {
            Stage::Promised => &[Class::Promised],
            Stage::Fair if agent.is_plain && quotas.any_closed() => &[Class::Promised, Class::Open],
            Stage::Fair => &Class::ALL,
        };
        let counts = |clients: &Clients, at: u32| {
            clients.is_walked(at)
                && (classes.len() == Class::ALL.len() || classes.contains(&quotas.top(clients.at(at).top).class))
        };
        // Where what is nobody's is too little for an offer, only they can have one to whom the rest is reserved.
        let holders = match agent.is_plain {
            true => Vec::new(),
            false if is_common && !is_enough_unreserved(&agent.free, &rules.minimums) => holders(&agent.free),
            false => Vec::new(),
        };
        let within = holders.iter().flat_map(|holder| roles.clients_within(holder));
        let within = within.filter(|&at| counts(clients, at)).collect::<Vec<_>>();
        let walked = if holders.is_empty() { quotas.walked_in(classes) } else { within.len() as u32 };
        let mut blocked = 0;
        if is_first_look && !agent.filters.is_empty() {
            let visit = marks.visit;
            filters.on(&agent.filters, &agent.free, |at, covers| {
                let mark = &mut marks.filtered[at as usize];
                let is_new = *mark != (visit, true);
                if covers && is_new {
                    *mark = (visit, true);
                    blocked += u32::from(holders.is_empty() && counts(clients, at));
                } else if is_new {
                    *mark = (visit, false);
                }
            });
            let is_blocked = |at: &&u32| marks.filtered[**at as usize] == (visit, true);
            blocked += within.iter().filter(is_blocked).count() as u32;
        }
        let mut chosen = None;
        if blocked < walked {
            marks.walk += 1;
            let drafts = Drafts::new(rules, quotas, names, agent, stage, without_shared);
            let mut look = Look { rules, quotas, clients, roles, marks, index, agent, stage, drafts };
            let (mut seen, mut steps) = (0, 0);
            // A sorter that goes round in circles is stopped.
            let steps_max = 2 * u64::from(look.clients.walked) + 64;
            let mut visit = |client| {
                steps += 1;
                let Some(at) = look.clients.find(client).filter(|&at| look.clients.is_walked(at)) else {
                    return if steps > steps_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
                };
                let walk = look.marks.walk;
                seen += u32::from(core::mem::replace(&mut look.marks.seen[at as usize], walk) != walk);
                chosen = look.weigh(at);
                if chosen.is_some() || steps > steps_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            match holders.as_slice() {
                [] => sorter.walk_classes(classes, &mut visit),
                holders => sorter.walk_within(holders, classes, &mut visit),
            }
            // Nor may a sorter leave out those whom it does not like.
            if chosen.is_none() && (seen < walked || !holders.is_empty()) {
                let walk = look.marks.walk;
                let places = match holders.is_empty() {
                    true => (0..look.clients.places() as u32).filter(|&at| look.clients.is_walked(at)).collect(),
                    false => within,
                };
                let mut left =
                    places.into_iter().filter(|&at| look.marks.seen[at as usize] != walk).collect::<Vec<_>>();
                left.sort_unstable();
                chosen = left.into_iter().find_map(|at| look.weigh(at));
            }
        }
        match chosen {
            None => self.nobody(place, stage, without_shared),
            chosen => chosen,
        }
    }

    /// Notes that nobody takes anything of an agent.
    fn nobody(&mut self, place: usize, stage: Stage, without_shared: bool) -> Option<Choice> {
        if stage == Stage::Fair && !without_shared {
            self.agents[place].nobody_at = self.interest;
        }
        None
    }
}

/// A look at one agent for one client after the other.
struct Look<'a> {
    rules: &'a Rules,
    quotas: &'a Quotas,
    clients: &'a mut Clients,
    roles: &'a Roles,
    marks: &'a mut Marks,
    index: AgentIndex,
    agent: &'a Agent,
    stage: Stage,
    drafts: Drafts<'a>,
}

impl Look<'_> {
    /// What a client gets of the agent, if nothing speaks against it: the questions of [`super::feasible::OFFER`], the
    /// cheap ones first.
    fn weigh(&mut self, at: u32) -> Option<Choice> {
        let (visit, is_filtered) = self.marks.filtered[at as usize];
        let has_filter = visit == self.marks.visit;
        if has_filter && is_filtered {
            return None;
        }
        let member = self.clients.at_mut(at);
        let hostname = &self.agent.facts.hostname;
        let role = self.roles.name(member.client.role);
        if self.rules.partition.as_ref().is_some_and(|partition| !partition.admits(hostname, role)) {
            return None;
        }
        if lacks_gpus(self.rules, self.agent, member.capabilities) || lacks_region(self.agent, member.capabilities) {
            return None;
        }
        if self.stage == Stage::Promised
            && (self.quotas.top(member.top).class != Class::Promised || !self.drafts.advances(member.top))
        {
            return None;
        }
        let draft = self.drafts.offer(role, member.top, member.capabilities);
        let is_enough = match &member.minimums {
            None => draft.is_enough,
            Some(minimums) => is_enough(draft.offer, minimums),
        };
        if draft.offer.is_empty() || !is_enough {
            return None;
        }
        if let Some(constrained) = &mut member.constrained
            && !constrained.allow(self.index, self.agent.facts.to_choose_by())
        {
            return None;
        }
        let is_blocked = |owner| self.agent.filters.blocking(owner, draft.offer).is_some();
        if has_filter && member.owner.is_some_and(is_blocked) {
            return None;
        }
        let (client, is_all) = (member.client, draft.is_all);
        Some(Choice { at, client, resources: draft.offer.clone(), is_all })
    }
}

//! An allocator written from the contracts alone (reference 3.2, 3.5, 3.6, 10, 11; policies 1.2, 1.3; the engine's own
//! documentation where it says that it differs), to be compared with the engine. Nothing is kept but what was said:
//! every sum, share, order and headroom is computed from scratch each time, shares as exact fractions.

use super::bag::{Lump, cut, fits, less, lump, rest_of, share_of, sum_of};
use super::constraints::holds;
use crate::allocator::engine::filter::EXPIRY_GRAIN;
use crate::allocator::engine::{Minimums, Rules};
use kaon_kernel::agent::{Attribute, Domain};
use kaon_kernel::chance::Chance;
use kaon_kernel::constraint::OfferConstraints;
use kaon_kernel::framework::Capability;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::{Resource, ResourceName, Resources, Value};
use kaon_kernel::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

impl Agent {
    /// A part of one of a client's grants becomes something else, or comes back.
    pub(super) fn change(&mut self, who: &Who, from: &Resources, to: &Resources) {
        let mut grants = self.held.iter_mut().filter(|(other, _)| other == who);
        let grant = grants.find(|(_, held)| held.contains(from)).expect("a part of a grant");
        grant.1 = grant.1.minus(from).and_then(|rest| rest.plus(to)).expect("a part of a grant");
        self.held.retain(|(_, held)| !held.is_empty());
    }
}

/// A framework in a role.
pub(super) type Who = (u32, String);

/// A grant: framework, role, agent, what.
pub(super) type Given = (u32, String, u32, Resources);

#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) total: Resources,
    pub(super) active: bool,
    pub(super) hostname: String,
    pub(super) attributes: Vec<Attribute>,
    pub(super) domain: Option<Domain>,
    /// Every grant that has not come back.
    pub(super) held: Vec<(Who, Resources)>,
}

#[derive(Clone, Debug)]
pub(super) struct Framework {
    pub(super) id: String,
    pub(super) active: bool,
    pub(super) roles: BTreeSet<String>,
    pub(super) suppressed: BTreeSet<String>,
    pub(super) capabilities: BTreeSet<Capability>,
    pub(super) constraints: BTreeMap<String, OfferConstraints>,
    pub(super) minimums: BTreeMap<String, Minimums>,
}

#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) who: Who,
    pub(super) agent: u32,
    pub(super) refused: Resources,
    pub(super) until: Instant,
}

/// The allocator.
pub(super) struct Reference {
    pub(super) rules: Rules,
    pub(super) is_shuffled: bool,
    pub(super) granting: bool,
    pub(super) weights: BTreeMap<String, u32>,
    /// By top-level role.
    pub(super) quotas: BTreeMap<String, Quota>,
    pub(super) whitelist: Option<Vec<String>>,
    pub(super) agents: BTreeMap<u32, Agent>,
    pub(super) frameworks: BTreeMap<u32, Framework>,
    pub(super) filters: Vec<Filter>,
    /// Allocations ever made: by client, by role itself, by node of the tree.
    counts: (BTreeMap<Who, u64>, BTreeMap<String, u64>, BTreeMap<String, u64>),
    /// Agents that the next round visits, unless it visits all.
    touched: BTreeSet<u32>,
    everyone: bool,
    /// Agents whose shared resources somebody was given in the round under way.
    shared: BTreeSet<u32>,
}

/// Guarantees first, then what is left.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Guarantees,
    Rest,
}

/// Whether quota and headroom are about it: an unreserved scalar that nobody can take back.
fn is_plain(entry: &Resource) -> bool {
    entry.reservation_role().is_none() && !entry.is_revocable() && matches!(entry.value, Value::Scalar(_))
}

fn is_shared(entry: &Resource) -> bool {
    entry.identity.as_ref().is_some_and(|identity| identity.shared)
}

/// A role and everything above it, innermost first.
fn upwards(role: &str) -> impl Iterator<Item = &str> {
    core::iter::successors(Some(role), |path| path.rsplit_once('/').map(|(above, _)| above))
}

fn is_within(role: &str, above: &str) -> bool {
    upwards(role).any(|path| path == above)
}

impl Reference {
    pub(super) fn new(rules: Rules, is_shuffled: bool) -> Self {
        Self {
            rules,
            is_shuffled,
            granting: true,
            weights: BTreeMap::new(),
            quotas: BTreeMap::new(),
            whitelist: None,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            filters: Vec::new(),
            counts: Default::default(),
            touched: BTreeSet::new(),
            everyone: true,
            shared: BTreeSet::new(),
        }
    }

    pub(super) fn touch(&mut self, agent: u32) {
        self.touched.insert(agent);
    }

    pub(super) fn touch_all(&mut self) {
        self.everyone = true;
    }

    pub(super) fn visits_all(&self) -> bool {
        self.everyone
    }

    /// What nobody holds of an agent; what is shared stays there, whoever holds it.
    pub(super) fn free(&self, agent: u32) -> Resources {
        let agent = &self.agents[&agent];
        rest_of(&agent.total, agent.held.iter().map(|(_, held)| held))
    }

    /// Notes one allocation more.
    pub(super) fn count(&mut self, who: &Who) {
        *self.counts.0.entry(who.clone()).or_default() += 1;
        *self.counts.1.entry(who.1.clone()).or_default() += 1;
        for path in upwards(&who.1) {
            *self.counts.2.entry(path.to_owned()).or_default() += 1;
        }
    }

    /// Who is of any use: subscribed, or holding something.
    fn clients(&self) -> BTreeSet<Who> {
        let subscribed = self.frameworks.iter();
        let subscribed =
            subscribed.flat_map(|(&index, known)| known.roles.iter().map(move |role| (index, role.clone())));
        let holding = self.agents.values().flat_map(|agent| agent.held.iter().map(|(who, _)| who.clone()));
        subscribed.chain(holding).collect()
    }

    /// Forgets what nobody can ask about any more.
    pub(super) fn forget(&mut self) {
        let clients = self.clients();
        let agents = self.agents.keys().copied().collect::<BTreeSet<_>>();
        self.filters.retain(|filter| {
            let subscribed =
                self.frameworks.get(&filter.who.0).is_some_and(|known| known.roles.contains(&filter.who.1));
            subscribed && agents.contains(&filter.agent)
        });
        self.counts.0.retain(|who, _| clients.contains(who));
        self.counts.1.retain(|role, _| clients.iter().any(|(_, other)| other == role));
        self.counts.2.retain(|path, _| clients.iter().any(|(_, other)| is_within(other, path)));
    }

    /// What comes back, and what is refused with it.
    pub(super) fn recover(&mut self, now: Instant, given: &Given, refusal: Option<Duration>) {
        let (framework, role, agent, resources) = given;
        let who = (*framework, role.clone());
        self.agents.get_mut(agent).expect("a known agent").change(&who, resources, &Resources::new());
        self.touch(*agent);
        let is_heard = |known: &Framework| known.active && known.roles.contains(role);
        if let Some(length) = refusal.filter(|_| self.frameworks.get(framework).is_some_and(is_heard)) {
            let interval = self.rules.interval.0;
            let until = match length {
                Duration::ZERO => (now.0 / interval + 1) * interval,
                length => now.0 + length.0.max(interval),
            };
            let until = Instant(until.div_ceil(EXPIRY_GRAIN.0) * EXPIRY_GRAIN.0);
            self.filters.push(Filter { who, agent: *agent, refused: resources.clone(), until });
        }
        self.forget();
    }

    /// The grants of one round, in order.
    pub(super) fn round(&mut self, now: Instant, chance: &mut Chance) -> Vec<Given> {
        let expired = self.filters.iter().filter(|filter| filter.until <= now).map(|filter| filter.agent);
        self.touched.extend(expired.collect::<Vec<_>>());
        self.filters.retain(|filter| filter.until > now);
        let mut given = Vec::new();
        if !self.granting {
            return given;
        }
        self.shared.clear();
        let (visited, everyone) = (core::mem::take(&mut self.touched), core::mem::take(&mut self.everyone));
        let candidates = self.agents.iter();
        let candidates =
            candidates.filter(|(index, agent)| self.is_visited(agent) && (everyone || visited.contains(index)));
        let candidates = candidates.map(|(index, _)| *index).filter(|index| !self.free(*index).is_empty());
        let mut candidates = candidates.collect::<Vec<_>>();
        if self.is_shuffled {
            chance.shuffle(&mut candidates);
        }
        if self.quotas.keys().any(|top| !self.unsatisfied(top).is_empty()) {
            self.hand_out(Stage::Guarantees, &candidates, &mut given);
            candidates.sort_unstable();
            if self.is_shuffled {
                chance.shuffle(&mut candidates);
            }
        }
        self.hand_out(Stage::Rest, &candidates, &mut given);
        given
    }

    fn is_visited(&self, agent: &Agent) -> bool {
        agent.active && self.whitelist.as_ref().is_none_or(|names| names.contains(&agent.hostname))
    }

    fn hand_out(&mut self, stage: Stage, candidates: &[u32], given: &mut Vec<Given>) {
        for &agent in candidates {
            while let Some((who, offer)) = self.next_offer(stage, agent) {
                self.agents.get_mut(&agent).expect("a known agent").held.push((who.clone(), offer.clone()));
                self.count(&who);
                if offer.iter().any(is_shared) {
                    self.shared.insert(agent);
                }
                given.push((who.0, who.1, agent, offer));
            }
        }
    }

    fn next_offer(&self, stage: Stage, agent: u32) -> Option<(Who, Resources)> {
        self.order().into_iter().find_map(|who| {
            let offer = self.offer(stage, &who, agent)?;
            Some((who, offer))
        })
    }

    /// What of its quota a top-level role has: everything reserved in its subtree, and what else is held under it.
    fn consumed(&self, top: &str) -> Lump {
        let mut parts = Vec::new();
        for agent in self.agents.values() {
            let is_reserved =
                |entry: &Resource| entry.reservation_role().is_some_and(|role| is_within(role.as_str(), top));
            parts.push(agent.total.filter(is_reserved));
            let held = agent.held.iter().filter(|((_, role), _)| is_within(role, top));
            parts.extend(held.map(|(_, held)| held.filter(is_plain)));
        }
        lump(&parts)
    }

    /// What is still missing of a guarantee, by name; only what is more than nothing.
    fn unsatisfied(&self, top: &str) -> Lump {
        let guarantees = self.quotas.get(top).map_or(&[][..], |quota| &quota.guarantees);
        let promised = guarantees.iter().map(|(name, amount)| (name.clone(), u128::from(amount.0))).collect();
        less(promised, &self.consumed(top))
    }

    /// What may be given of a name beyond guarantees: what is free of it everywhere, less what is promised and missing.
    fn surplus(&self, name: &ResourceName) -> u128 {
        let promised = |top: &String| self.unsatisfied(top).get(name).copied().unwrap_or(0);
        let required = self.quotas.keys().map(promised).sum::<u128>();
        if required == 0 {
            return u128::MAX;
        }
        let free = self.agents.keys().map(|agent| self.free(*agent).filter(is_plain)).collect::<Vec<_>>();
        lump(&free).get(name).copied().unwrap_or(0).saturating_sub(required)
    }

    /// How much of each unreserved scalar a role may be given of an agent; `None` when that would not be of use for the
    /// stage.
    fn portion(&self, stage: Stage, role: &str, agent: u32) -> Option<Lump> {
        let top = role.split('/').next().expect("a path has a first component");
        let (missing, consumed) = (self.unsatisfied(top), self.consumed(top));
        let of = |amounts: &Lump, name: &ResourceName| amounts.get(name).copied().unwrap_or(0);
        let mut advances = false;
        let portion = lump([&self.free(agent).filter(is_plain)]).into_iter().map(|(name, free)| {
            let limit = self.quotas.get(top).and_then(|quota| quota.limits.iter().find(|(other, _)| *other == name));
            let room = limit.map_or(u128::MAX, |(_, limit)| u128::from(limit.0).saturating_sub(of(&consumed, &name)));
            let base = match stage {
                Stage::Guarantees => free.min(of(&missing, &name)),
                Stage::Rest => 0,
            };
            advances |= base > 0;
            let extra = (free - base).min(room.saturating_sub(base)).min(self.surplus(&name));
            (name, base + extra)
        });
        let portion = portion.collect();
        (advances || stage == Stage::Rest).then_some(portion)
    }

    /// What a client is offered of an agent: all that it may have, or nothing.
    fn offer(&self, stage: Stage, (framework, role): &Who, agent: u32) -> Option<Resources> {
        let known = &self.frameworks[framework];
        let there = &self.agents[&agent];
        let has_gpus = there.total.iter().any(|entry| entry.name == ResourceName::Gpus);
        if has_gpus && self.rules.filter_gpu_resources && !known.capabilities.contains(&Capability::GpuResources) {
            return None;
        }
        let region = there.domain.as_ref().map(|domain| &domain.region);
        let is_remote = matches!((region, &self.rules.region), (Some(there), Some(home)) if there != home);
        if is_remote && !known.capabilities.contains(&Capability::RegionAware) {
            return None;
        }
        if known.constraints.get(role).is_some_and(|constraints| !holds(constraints, there)) {
            return None;
        }
        let free = self.free(agent).filter(|entry| {
            let is_taken = is_shared(entry) && self.shared.contains(&agent);
            understands(known, entry)
                && !is_taken
                && entry.reservation_role().is_none_or(|holder| is_within(role, holder.as_str()))
        });
        let offer = cut(&free, self.portion(stage, role, agent)?, is_plain);
        let is_enough = |set: &Vec<_>| set.iter().all(|(name, least)| offer.scalar(name) >= *least);
        let minimums = known.minimums.get(role).unwrap_or(&self.rules.minimums);
        if offer.is_empty() || !(minimums.is_empty() || minimums.iter().any(is_enough)) {
            return None;
        }
        let filtered = self.filters.iter().any(|filter| {
            (filter.who.0, &filter.who.1, filter.agent) == (*framework, role, agent) && fits(&offer, &filter.refused)
        });
        (!filtered).then_some(offer)
    }

    /// Clients that want something, in order: depth first, at each level by (share, allocations, name).
    pub(super) fn order(&self) -> Vec<Who> {
        let mut order = Vec::new();
        self.walk("", &self.clients(), &mut order);
        order
    }

    fn walk(&self, above: &str, clients: &BTreeSet<Who>, order: &mut Vec<Who>) {
        let children = clients.iter().filter_map(|(_, role)| child_of(above, role)).collect::<BTreeSet<_>>();
        let total = sum_of(self.agents.values().map(|agent| &agent.total));
        let held_by = |wanted: &dyn Fn(&Who) -> bool| {
            let all = self.agents.values().flat_map(|agent| &agent.held);
            let held = all.filter(|(who, _)| wanted(who)).map(|(_, held)| held.filter(|entry| !is_shared(entry)));
            lump(&held.collect::<Vec<_>>())
        };
        let share = |held, whole: &_, weight| share_of(&held, whole, weight, &self.rules.excluded_from_shares);
        let whole = lump([&total]);
        let mut level = Vec::new();
        for child in &children {
            let weight = self.weights.get(child).copied().unwrap_or(1000);
            let held = held_by(&|(_, role)| is_within(role, child));
            let name = child.rsplit('/').next().expect("a path has a last component").to_owned();
            level.push((share(held, &whole, weight), self.counts.2.get(child), name, Some(child)));
        }
        if clients.iter().any(|(_, role)| role == above) {
            // The virtual leaf: the role itself among its children.
            let held = held_by(&|(_, role)| role == above);
            level.push((share(held, &whole, 1000), self.counts.1.get(above), ".".to_owned(), None));
        }
        level.sort();
        for (.., child) in level {
            match child {
                Some(child) => self.walk(child, clients, order),
                None => {
                    let whole = held_by(&|(_, role)| role == above);
                    let wants = |known: &Framework| known.active && !known.suppressed.contains(above);
                    let members = self.frameworks.iter();
                    let members = members.filter(|(_, known)| known.roles.contains(above) && wants(known));
                    let mut members = members.map(|(&index, known)| {
                        let who = (index, above.to_owned());
                        let held = held_by(&|other| *other == who);
                        (share(held, &whole, 1000), self.counts.0.get(&who), &known.id, who)
                    });
                    let mut sorted = members.by_ref().collect::<Vec<_>>();
                    sorted.sort();
                    order.extend(sorted.into_iter().map(|(.., who)| who));
                }
            }
        }
    }
}

/// The child of a node on the way to a role below it.
fn child_of(above: &str, role: &str) -> Option<String> {
    upwards(role).find(|path| path.rsplit_once('/').map_or("", |(parent, _)| parent) == above).map(str::to_owned)
}

fn understands(framework: &Framework, entry: &Resource) -> bool {
    let Some(identity) = &entry.identity else { return true };
    let has = |capability| framework.capabilities.contains(&capability);
    (!identity.revocable || has(Capability::RevocableResources))
        && (!identity.shared || has(Capability::SharedResources))
        && (identity.reservations.len() < 2 || has(Capability::ReservationRefinement))
}

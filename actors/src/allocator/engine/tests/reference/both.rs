//! The engine and the reference side by side: every verb goes to both, and every round is compared.

use super::allocator::{Agent, Framework, Given, Reference};
use crate::allocator::engine::arrangement::AgentOrder;
use crate::allocator::engine::tables::{AgentFacts, FrameworkFacts};
use crate::allocator::engine::{Engine, Minimums, Rules};
use kaon_kernel::agent::{Attribute, Domain};
use kaon_kernel::chance::Chance;
use kaon_kernel::constraint::OfferConstraints;
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::offer::Refusal;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::Resources;
use kaon_kernel::time::{Duration, Instant};
use std::collections::BTreeSet;

/// The two.
pub(super) struct Both {
    pub(super) engine: Engine,
    pub(super) reference: Reference,
    pub(super) now: Instant,
    rounds: u64,
    /// Whether anything changed since a round visited all agents: without that a batch round visits none.
    changed: bool,
    /// What was done, for whoever reads of a difference.
    pub(super) story: Vec<String>,
}

fn names(roles: &BTreeSet<String>) -> Vec<RoleName> {
    roles.iter().map(|role| RoleName::trusted(role.as_str())).collect()
}

fn grant((framework, role, agent, resources): &Given) -> Grant {
    Grant {
        framework: FrameworkIndex(*framework),
        role: RoleName::trusted(role.as_str()),
        agent: AgentIndex(*agent),
        resources: resources.clone(),
    }
}

impl Both {
    pub(super) fn new(rules: Rules, weights: &[(&str, u32)]) -> Self {
        let mut reference = Reference::new(rules.clone(), rules.order == AgentOrder::Random);
        reference.weights = weights.iter().map(|(role, weight)| ((*role).to_owned(), *weight)).collect();
        let mut engine = Engine::new(rules);
        let weights = weights.iter().map(|(role, weight)| (RoleName::trusted(*role), *weight)).collect::<Vec<_>>();
        engine.begin(Instant(0), &weights);
        engine.resume().expect("it has begun");
        Self { engine, reference, now: Instant(0), rounds: 0, changed: true, story: Vec::new() }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        self.changed = true;
        self.story.push(line());
    }

    pub(super) fn add_framework(
        &mut self,
        index: u32,
        roles: BTreeSet<String>,
        suppressed: BTreeSet<String>,
        capabilities: BTreeSet<Capability>,
    ) {
        self.tell(|| format!("framework {index} in {roles:?}, suppressed {suppressed:?}, {capabilities:?}"));
        let id = format!("{index:04}");
        let facts = FrameworkFacts {
            id: FrameworkId::trusted(id.as_str()),
            roles: names(&roles),
            suppressed: names(&suppressed),
            capabilities: capabilities.iter().collect(),
        };
        self.engine.add_framework(FrameworkIndex(index), &facts, true).expect("it has begun");
        let (constraints, minimums) = Default::default();
        let known = Framework { id, active: true, roles, suppressed, capabilities, constraints, minimums };
        self.reference.frameworks.insert(index, known);
        self.reference.touch_all();
    }

    pub(super) fn update_framework(
        &mut self,
        index: u32,
        roles: BTreeSet<String>,
        suppressed: BTreeSet<String>,
        capabilities: BTreeSet<Capability>,
    ) {
        self.tell(|| format!("framework {index} now in {roles:?}, suppressed {suppressed:?}, {capabilities:?}"));
        let understood = capabilities.iter().collect();
        let updated =
            self.engine.update_framework(FrameworkIndex(index), &names(&roles), &names(&suppressed), understood);
        updated.expect("it is there");
        let known = self.reference.frameworks.get_mut(&index).expect("it is there");
        let woken = known.suppressed.difference(&suppressed).cloned().collect::<BTreeSet<_>>();
        known.constraints.retain(|role, _| roles.contains(role));
        known.minimums.retain(|role, _| roles.contains(role));
        (known.roles, known.suppressed, known.capabilities) = (roles, suppressed, capabilities);
        self.reference.filters.retain(|filter| filter.who.0 != index || !woken.contains(&filter.who.1));
        self.reference.forget();
        self.reference.touch_all();
    }

    pub(super) fn set_framework_active(&mut self, index: u32, active: bool) {
        self.tell(|| format!("framework {index} active: {active}"));
        let framework = FrameworkIndex(index);
        let set = match active {
            true => self.engine.activate_framework(framework),
            false => self.engine.deactivate_framework(framework),
        };
        set.expect("it is there");
        self.reference.frameworks.get_mut(&index).expect("it is there").active = active;
        if !active {
            self.reference.filters.retain(|filter| filter.who.0 != index);
        }
        self.reference.touch_all();
    }

    pub(super) fn remove_framework(&mut self, index: u32) {
        self.tell(|| format!("framework {index} goes"));
        self.engine.remove_framework(FrameworkIndex(index)).expect("it is there");
        self.reference.frameworks.remove(&index);
        let mut freed = Vec::new();
        for (agent, there) in &mut self.reference.agents {
            let before = there.held.len();
            there.held.retain(|((framework, _), _)| *framework != index);
            freed.extend((there.held.len() < before).then_some(*agent));
        }
        freed.into_iter().for_each(|agent| self.reference.touch(agent));
        self.reference.forget();
    }

    pub(super) fn revive(&mut self, index: u32, role: &str) {
        self.tell(|| format!("framework {index} revives {role}"));
        self.engine.revive(FrameworkIndex(index), &[RoleName::trusted(role)]).expect("it is there");
        let known = self.reference.frameworks.get_mut(&index).expect("it is there");
        known.suppressed.remove(role);
        self.reference.filters.retain(|filter| (filter.who.0, filter.who.1.as_str()) != (index, role));
        self.reference.touch_all();
    }

    pub(super) fn suppress(&mut self, index: u32, role: &str) {
        self.tell(|| format!("framework {index} suppresses {role}"));
        self.engine.suppress(FrameworkIndex(index), &[RoleName::trusted(role)]).expect("it is there");
        let known = self.reference.frameworks.get_mut(&index).expect("it is there");
        if known.roles.contains(role) {
            known.suppressed.insert(role.to_owned());
        }
    }

    pub(super) fn add_agent(
        &mut self,
        index: u32,
        total: Resources,
        (attributes, domain): (Vec<Attribute>, Option<Domain>),
        used: &[Given],
    ) {
        self.tell(|| format!("agent {index} with {total}, in use {used:?}, {attributes:?}, {domain:?}"));
        let hostname = format!("machine-{index}");
        let id = AgentId::trusted(format!("S{index}"));
        let facts =
            AgentFacts { id, hostname: hostname.clone(), attributes: attributes.clone(), domain: domain.clone() };
        let grants = used.iter().map(grant).collect::<Vec<_>>();
        let added = self.engine.add_agent(AgentIndex(index), facts, total.clone(), &grants);
        assert_eq!(added, Ok(0), "histories contradict nothing");
        let held = used.iter().map(|(framework, role, _, held)| ((*framework, role.clone()), held.clone())).collect();
        self.reference.agents.insert(index, Agent { total, active: true, hostname, attributes, domain, held });
        for (framework, role, ..) in used {
            self.reference.count(&(*framework, role.clone()));
        }
        self.reference.touch(index);
    }

    pub(super) fn update_agent(&mut self, index: u32, total: Resources) {
        self.tell(|| format!("agent {index} now with {total}"));
        self.engine.update_agent(AgentIndex(index), total.clone()).expect("it is there");
        self.reference.agents.get_mut(&index).expect("it is there").total = total;
        self.reference.filters.retain(|filter| filter.agent != index);
        self.reference.touch(index);
    }

    pub(super) fn set_agent_active(&mut self, index: u32, active: bool) {
        self.tell(|| format!("agent {index} active: {active}"));
        self.engine.set_agent_active(AgentIndex(index), active).expect("it is there");
        self.reference.agents.get_mut(&index).expect("it is there").active = active;
        self.reference.touch(index);
    }

    pub(super) fn remove_agent(&mut self, index: u32) {
        self.tell(|| format!("agent {index} goes"));
        self.engine.remove_agent(AgentIndex(index)).expect("it is there");
        self.reference.agents.remove(&index);
        self.reference.forget();
    }

    pub(super) fn recover(&mut self, given: &Given, refusal: Option<Duration>) {
        self.tell(|| format!("back: {given:?}, refused for {refusal:?}"));
        self.engine.recover(self.now, grant(given), refusal.map(Refusal)).expect("it was granted");
        self.reference.recover(self.now, given, refusal);
    }

    pub(super) fn convert(&mut self, (framework, role, agent, from): &Given, to: &Resources) {
        self.tell(|| format!("framework {framework} converts {from} of agent {agent} to {to} as {role}"));
        let name = RoleName::trusted(role.as_str());
        let index = FrameworkIndex(*framework);
        self.engine.convert(index, &name, AgentIndex(*agent), from, to).expect("it holds that");
        let there = self.reference.agents.get_mut(agent).expect("it is there");
        there.change(&(*framework, role.clone()), from, to);
        there.total = there.total.minus(from).and_then(|rest| rest.plus(to)).expect("a part of what there is");
        self.reference.touch(*agent);
    }

    pub(super) fn set_quota(&mut self, role: &str, quota: Quota) {
        self.tell(|| format!("quota of {role}: {quota:?}"));
        self.engine.set_quota(&RoleName::trusted(role), &quota).expect("a top-level role");
        if quota.is_default() {
            self.reference.quotas.remove(role);
        } else {
            self.reference.quotas.insert(role.to_owned(), quota);
        }
        self.reference.touch_all();
    }

    pub(super) fn set_weight(&mut self, role: &str, thousandths: u32) {
        self.tell(|| format!("weight of {role}: {thousandths}"));
        self.engine.set_weight(&RoleName::trusted(role), thousandths).expect("a weight above zero");
        self.reference.weights.insert(role.to_owned(), thousandths);
        self.reference.touch_all();
    }

    pub(super) fn set_whitelist(&mut self, agents: Option<&[u32]>) {
        self.tell(|| format!("whitelist: {agents:?}"));
        let names = |agents: &[u32]| agents.iter().map(|index| format!("machine-{index}")).collect::<Vec<_>>();
        let names = agents.map(names);
        self.engine.set_whitelist(names.as_deref()).expect("it has begun");
        self.reference.whitelist = names;
        self.reference.touch_all();
    }

    pub(super) fn set_constraints(&mut self, index: u32, role: &str, constraints: OfferConstraints) {
        self.tell(|| format!("constraints of framework {index} in {role}: {constraints:?}"));
        let set = self.engine.set_constraints(FrameworkIndex(index), &RoleName::trusted(role), &constraints);
        set.expect("it is there");
        let known = self.reference.frameworks.get_mut(&index).expect("it is there");
        known.constraints.insert(role.to_owned(), constraints);
        self.reference.touch_all();
    }

    pub(super) fn set_minimums(&mut self, index: u32, role: &str, minimums: Option<Minimums>) {
        self.tell(|| format!("minimums of framework {index} in {role}: {minimums:?}"));
        let set = self.engine.set_minimums(FrameworkIndex(index), &RoleName::trusted(role), minimums.clone());
        set.expect("it is there");
        let known = self.reference.frameworks.get_mut(&index).expect("it is there");
        match minimums {
            Some(minimums) => known.minimums.insert(role.to_owned(), minimums),
            None => known.minimums.remove(role),
        };
        self.reference.touch_all();
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.story.push(format!("paused: {paused}"));
        if paused { self.engine.pause() } else { self.engine.resume() }.expect("it has begun");
        self.reference.granting = !paused;
        if !paused {
            self.changed = true;
            self.reference.touch_all();
        }
    }

    /// A round of both, with the same chance; over all agents when it is a batch round.
    ///
    /// # Panics
    /// When they differ.
    pub(super) fn round(&mut self, is_batch: bool) -> usize {
        self.rounds += 1;
        self.story.push(format!("round, batch: {is_batch}"));
        if is_batch {
            self.engine.mark_batch();
            if self.changed {
                self.reference.touch_all();
            }
        }
        self.changed |= self.reference.filters.iter().any(|filter| filter.until <= self.now);
        self.changed &= !(self.reference.granting && self.reference.visits_all());
        let mut grants = Vec::new();
        self.engine.cycle(self.now, &mut Chance::new(self.rounds), &mut grants);
        let given = self.reference.round(self.now, &mut Chance::new(self.rounds));
        let given = given.iter().map(grant).collect::<Vec<_>>();
        if grants != given {
            panic!("the engine grants {}\nthe reference {}", show(&grants), show(&given));
        }
        self.story.push(format!("  {}", show(&grants)));
        grants.len()
    }

    /// Asserts that both have the same books.
    pub(super) fn compare(&self) {
        self.engine.invariants();
        for (&index, agent) in &self.reference.agents {
            let found = self.engine.agent(AgentIndex(index)).expect("it is there");
            let free = self.reference.free(index);
            assert_eq!(*found.free(), free, "free on agent {index}");
            assert_eq!(*found.total(), agent.total, "total of agent {index}");
        }
    }
}

/// Whoever reads of a failure reads the story of it; of a shrunk one the last.
impl Drop for Both {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.story.join("\n"));
        }
    }
}

fn show(grants: &[Grant]) -> String {
    let show = |grant: &Grant| {
        format!("({} {} {}: {})", grant.framework.0, grant.role.as_str(), grant.agent.0, grant.resources)
    };
    grants.iter().map(show).collect::<Vec<_>>().join(" ")
}

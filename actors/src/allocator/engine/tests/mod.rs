//! Tests of the engine, without the actor.

mod amounts;
mod books;
mod carried;
mod declines;
mod explanation;
mod feasibility;
mod flat;
mod properties;
mod quota;
mod reference;
mod settings;
mod sorter;
mod wish;

use super::tables::{AgentFacts, FrameworkFacts};
use super::{Engine, Rules};
use kaon_kernel::agent::Domain;
use kaon_kernel::chance::Chance;
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::offer::Refusal;
use kaon_kernel::resource::{Resources, parse};
use kaon_kernel::time::{Duration, Instant};

/// An engine with its time and chance, and verbs that take plain numbers and texts.
struct Play {
    engine: Engine,
    chance: Chance,
    now: Instant,
}

fn bag(text: &str) -> Resources {
    parse::resources(text).expect("a resource text of a test")
}

fn role(text: &str) -> RoleName {
    RoleName::trusted(text)
}

fn roles(texts: &[&str]) -> Vec<RoleName> {
    texts.iter().map(|text| role(text)).collect()
}

fn facts(agent: u32, region: Option<&str>) -> AgentFacts {
    let domain = region.map(|region| Domain { region: region.to_owned(), zone: "a".to_owned() });
    let (id, hostname) = (AgentId::trusted(format!("S{agent}")), format!("machine-{agent}"));
    AgentFacts { id, hostname, attributes: Vec::new(), domain }
}

fn framework_facts(framework: u32, names: &[&str], suppressed: &[&str], capabilities: &[Capability]) -> FrameworkFacts {
    FrameworkFacts {
        id: FrameworkId::trusted(format!("{framework:04}")),
        roles: roles(names),
        suppressed: roles(suppressed),
        capabilities: capabilities.iter().collect(),
    }
}

fn grant(framework: u32, name: &str, agent: u32, resources: &str) -> Grant {
    let (framework, agent) = (FrameworkIndex(framework), AgentIndex(agent));
    Grant { framework, role: role(name), agent, resources: bag(resources) }
}

impl Play {
    /// An engine that has begun and grants.
    fn new() -> Self {
        Self::with(Rules::default(), &[])
    }

    fn with(rules: Rules, weights: &[(RoleName, u32)]) -> Self {
        let mut engine = Engine::new(rules);
        engine.begin(Instant(0), weights);
        engine.resume().expect("it has begun");
        Self { engine, chance: Chance::new(1), now: Instant(0) }
    }

    fn framework(&mut self, framework: u32, names: &[&str]) {
        self.framework_with(framework, names, &[], &[]);
    }

    fn framework_with(&mut self, framework: u32, names: &[&str], suppressed: &[&str], capabilities: &[Capability]) {
        let facts = framework_facts(framework, names, suppressed, capabilities);
        self.engine.add_framework(FrameworkIndex(framework), &facts, true).expect("the engine has begun");
    }

    fn agent(&mut self, agent: u32, total: &str) {
        self.agent_in_use(agent, total, &[]);
    }

    fn agent_in_use(&mut self, agent: u32, total: &str, used: &[Grant]) -> u32 {
        let added = self.engine.add_agent(AgentIndex(agent), facts(agent, None), bag(total), used);
        added.expect("the engine has begun")
    }

    fn recover(&mut self, grant: Grant, refusal: Option<Duration>) {
        self.engine.recover(self.now, grant, refusal.map(Refusal)).expect("both sides are there");
    }

    /// A round, checked.
    fn round(&mut self) -> Vec<Grant> {
        let mut grants = Vec::new();
        self.engine.cycle(self.now, &mut self.chance, &mut grants);
        self.engine.invariants();
        grants
    }

    /// A round, as (framework, agent).
    fn winners(&mut self) -> Vec<(u32, u32)> {
        self.round().iter().map(|grant| (grant.framework.0, grant.agent.0)).collect()
    }

    fn reasons(&self, framework: u32, name: &str, agent: u32) -> Vec<&'static str> {
        let reasons = self.engine.explain(FrameworkIndex(framework), &role(name), AgentIndex(agent));
        reasons.iter().map(|reason| reason.word()).collect()
    }
}

//! A cluster to be measured: an engine, its time and chance, and verbs for what the benchmarks do to it.

use kaon_actors::allocator::engine::tables::{AgentFacts, Capabilities, FrameworkFacts};
use kaon_actors::allocator::engine::{Engine, Rules};
use kaon_kernel::chance::Chance;
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::offer::Refusal;
use kaon_kernel::resource::{Resources, parse};
use kaon_kernel::time::{Duration, Instant};

/// A refusal that outlasts any benchmark.
pub const FOREVER: Refusal = Refusal::MAX;

/// The peer coalesces what happens while a run is pending: 10,000 added agents cause three to five runs there. So many
/// are made here.
pub const RUNS_WHILE_ADDING: usize = 4;

/// An agent as it is going to be added.
#[derive(Clone, Debug)]
pub struct NewAgent {
    /// What the master tells of it.
    pub facts: AgentFacts,
    /// All that it has.
    pub total: Resources,
    /// What is in use on it.
    pub used: Vec<Grant>,
}

/// The cluster.
pub struct Bed {
    /// The engine.
    pub engine: Engine,
    /// Its chance.
    pub chance: Chance,
    /// Its time.
    pub now: Instant,
    /// What was granted and has not come back.
    pub grants: Vec<Grant>,
}

/// The bag of a resource text.
///
/// # Panics
/// When the text is none.
pub fn bag(text: &str) -> Resources {
    parse::resources(text).expect("a resource text of a benchmark")
}

/// The name of a role.
pub fn role(text: &str) -> RoleName {
    RoleName::trusted(text)
}

/// What a master tells of the framework with this index.
pub fn framework(index: u32, roles: &[RoleName]) -> FrameworkFacts {
    FrameworkFacts {
        id: FrameworkId::trusted(format!("framework-{index:05}")),
        roles: roles.to_vec(),
        suppressed: Vec::new(),
        capabilities: capabilities(),
    }
}

/// All the capabilities that matter to an allocator.
pub fn capabilities() -> Capabilities {
    Capability::ALL.iter().collect()
}

/// The agent with this index.
pub fn agent(index: u32, total: Resources, used: Vec<Grant>) -> NewAgent {
    let facts = AgentFacts {
        id: AgentId::trusted(format!("agent-S{index}")),
        hostname: format!("machine-{index}"),
        attributes: Vec::new(),
        domain: None,
    };
    NewAgent { facts, total, used }
}

/// Some resources of one agent in a framework's hands.
pub fn grant(framework: u32, role: &RoleName, agent: u32, resources: Resources) -> Grant {
    Grant { framework: FrameworkIndex(framework), role: role.clone(), agent: AgentIndex(agent), resources }
}

impl Default for Bed {
    fn default() -> Self {
        Self::new(Rules::default(), &[])
    }
}

impl Bed {
    /// An engine that has begun and grants.
    ///
    /// # Panics
    /// Never: an engine that has begun can grant.
    pub fn new(rules: Rules, weights: &[(RoleName, u32)]) -> Self {
        let mut engine = Engine::new(rules);
        engine.begin(Instant(0), weights);
        engine.resume().expect("it has begun");
        Self { engine, chance: Chance::new(1), now: Instant(0), grants: Vec::new() }
    }

    /// Adds frameworks; indexes count from zero. Answers the processor time in milliseconds.
    ///
    /// # Panics
    /// When there are some already.
    pub fn frameworks(&mut self, facts: &[FrameworkFacts]) -> f64 {
        super::timed(|| {
            for (index, facts) in facts.iter().enumerate() {
                self.engine.add_framework(FrameworkIndex(index as u32), facts, true).expect("it has begun");
            }
        })
        .0
    }

    /// Adds agents, indexes counting from zero, with so many rounds in between and after. Answers the processor time in
    /// milliseconds.
    ///
    /// # Panics
    /// When there are some already.
    pub fn agents(&mut self, agents: Vec<NewAgent>, runs: usize) -> f64 {
        let stride = agents.len().div_ceil(runs.max(1)).max(1);
        let (spent, ()) = super::timed(|| {
            for (index, NewAgent { facts, total, used }) in agents.into_iter().enumerate() {
                let added = self.engine.add_agent(AgentIndex(index as u32), facts, total, used);
                assert_eq!(added, Ok(0), "all that is in use can be booked");
                if runs > 0 && (index + 1).is_multiple_of(stride) {
                    self.engine.cycle(self.now, &mut self.chance, &mut self.grants);
                }
            }
            if runs > 0 {
                self.engine.cycle(self.now, &mut self.chance, &mut self.grants);
            }
        });
        spent
    }

    /// A round over all that changed. Answers the processor time in milliseconds and the number of grants.
    pub fn round(&mut self) -> (f64, usize) {
        let before = self.grants.len();
        let (spent, ()) = super::timed(|| self.engine.cycle(self.now, &mut self.chance, &mut self.grants));
        (spent, self.grants.len() - before)
    }

    /// A round over all agents, whatever changed.
    ///
    /// # Panics
    /// Never: an engine that has begun can grant.
    pub fn full_round(&mut self) -> (f64, usize) {
        self.engine.resume().expect("it has begun");
        self.round()
    }

    /// All that was granted comes back. Answers the processor time in milliseconds.
    ///
    /// # Panics
    /// When the engine does not know what it granted.
    pub fn give_back(&mut self, refusal: Option<Refusal>) -> f64 {
        let grants = core::mem::take(&mut self.grants);
        super::timed(|| {
            for grant in grants {
                self.engine.recover(self.now, grant, refusal).expect("it was granted");
            }
        })
        .0
    }

    /// So much time goes by.
    pub fn wait(&mut self, length: Duration) {
        self.now = self.now + length;
    }
}

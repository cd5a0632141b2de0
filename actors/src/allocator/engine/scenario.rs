//! Made-up clusters, to measure and to play with.

use super::tables::{AgentFacts, Capabilities, FrameworkFacts};
use super::{Engine, Rules};
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Ranges, Resource, ResourceName, Resources, Value};
use kaon_kernel::time::Instant;

/// A cluster of equal agents and equal frameworks, the shape of Mesos's own allocator benchmarks.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Agents.
    pub agents: u32,
    /// Frameworks.
    pub frameworks: u32,
    /// Roles, over which the frameworks are spread in turn; at least one.
    pub roles: u32,
}

impl Scenario {
    /// An engine that knows all of it and has not granted anything: the next round visits every agent.
    pub fn engine(self, rules: Rules) -> Engine {
        let mut engine = Engine::new(rules);
        engine.begin(Instant(0), &[]);
        for framework in 0..self.frameworks {
            let facts = FrameworkFacts {
                id: FrameworkId::trusted(format!("framework-{framework:04}")),
                roles: vec![RoleName::trusted(format!("role-{:04}", framework % self.roles.max(1)))],
                suppressed: Vec::new(),
                capabilities: Capabilities::default(),
            };
            engine.add_framework(FrameworkIndex(framework), &facts, true).expect("the engine has begun");
        }
        let total = agent_resources();
        for agent in 0..self.agents {
            let facts = AgentFacts {
                id: AgentId::trusted(format!("agent-S{agent}")),
                hostname: format!("machine-{agent}"),
                attributes: Vec::new(),
                domain: None,
            };
            let added = engine.add_agent(AgentIndex(agent), facts, total.clone(), &[]);
            added.expect("the engine has begun");
        }
        engine.resume().expect("the engine has begun");
        engine
    }
}

/// `cpus:24;mem:4096;disk:4096;ports:[31000-32000]`, the common agent of those benchmarks.
pub fn agent_resources() -> Resources {
    let scalar = |name, units| Resource::scalar(name, Quantity::units(units));
    let ports = Ranges::new(vec![(31_000, 32_000)]).expect("one range in order");
    let entries = [
        scalar(ResourceName::Cpus, 24),
        scalar(ResourceName::Mem, 4096),
        scalar(ResourceName::Disk, 4096),
        Resource { name: ResourceName::Ports, identity: None, value: Value::Ranges(ports) },
    ];
    Resources::collect(entries).expect("four different names")
}

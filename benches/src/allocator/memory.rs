//! What the engine's books weigh. Measured by whoever has a counting allocator; what is counted is what was asked for,
//! without the slack of an allocator.

use super::bed::{Bed, NewAgent, agent, bag, framework, grant, role};
use kaon_kernel::id::AgentIndex;

/// Bytes for each of one kind.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Of what.
    pub what: &'static str,
    /// Bytes for each.
    pub bytes: f64,
    /// At most so many are meant to be.
    pub goal: Option<f64>,
}

/// Weighs the books of so many agents with so many tasks on each. `in_use` answers the bytes that are allocated now.
pub fn weights(agents: u32, tasks: u32, in_use: impl Fn() -> usize) -> Vec<Weight> {
    let name = role("role");
    let mut bed = Bed::default();
    bed.frameworks(&(0..50).map(|index| framework(index, core::slice::from_ref(&name))).collect::<Vec<_>>());
    let total = bag("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
    let each = |bytes: usize, before: usize, count: u32| (bytes as f64 - before as f64) / f64::from(count);

    let before = in_use();
    for index in 0..agents {
        let NewAgent { facts, total, used } = agent(index, total.clone(), Vec::new());
        bed.engine.add_agent(AgentIndex(index), facts, total, &used).expect("it has begun");
    }
    let idle = each(in_use(), before, agents);

    let before = in_use();
    bed.full_round();
    bed.grants = Vec::new();
    let granted = each(in_use(), before, agents);

    // Tasks: each agent has frameworks that hold a part of it, and each holds as many tasks.
    let mut bed = Bed::default();
    bed.frameworks(&(0..50).map(|index| framework(index, core::slice::from_ref(&name))).collect::<Vec<_>>());
    let before = in_use();
    for index in 0..agents {
        let used = |task: u32| {
            let port = 31_000 + 2 * task;
            grant((index + task % 4) % 50, &name, index, bag(&format!("cpus:0.1;mem:32;ports:[{port}-{port}]")))
        };
        let NewAgent { facts, total, used } = agent(index, total.clone(), (0..tasks).map(used).collect());
        bed.engine.add_agent(AgentIndex(index), facts, total, &used).expect("it has begun");
    }
    let running = (each(in_use(), before, agents) - idle) / f64::from(tasks);

    let mut bed = Bed::default();
    bed.frameworks(&[framework(0, core::slice::from_ref(&name))]);
    for index in 0..agents {
        let NewAgent { facts, total, used } = agent(index, total.clone(), Vec::new());
        bed.engine.add_agent(AgentIndex(index), facts, total, &used).expect("it has begun");
    }
    bed.full_round();
    let before = in_use();
    bed.give_back(Some(super::bed::FOREVER));
    bed.full_round();
    let filter = each(in_use(), before, agents);

    let weight = |what, bytes, goal| Weight { what, bytes, goal };
    vec![
        weight("an idle agent", idle, Some(2048.0)),
        weight("a grant of a whole agent", granted, None),
        weight("a running task with a port", running, Some(300.0)),
        weight("a decline of a whole agent, against its grant", filter, None),
    ]
}

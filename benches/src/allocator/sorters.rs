//! The sorter alone, flat and as trees: 10,000 agents, one allocation on each, clients in turn.

use super::bed::{bag, role};
use super::labels::{fragments, with};
use super::table::Row;
use core::ops::ControlFlow;
use kaon_actors::allocator::engine::amounts::{Amounts, ScalarNames};
use kaon_actors::allocator::engine::sorter::{Client, Drf, RoleIndex, Sorter};
use kaon_kernel::id::{FrameworkId, FrameworkIndex};

/// Agents, clients, and what the peer took: adding clients, agents and allocations in ms, sorting and sorting again in
/// us, removing the allocations in ms. Wall time: the peer's sorter runs in the benchmark's own thread.
const FLAT: [(u32, u32, [f64; 6]); 9] = [
    (1_000, 50, [0.04, 0.67, 1.3, 3.5, 0.7, 55.0]),
    (1_000, 200, [0.11, 0.34, 1.1, 3.0, 0.8, 56.0]),
    (1_000, 1_000, [1.14, 0.36, 1.3, 24.0, 0.9, 57.0]),
    (5_000, 50, [0.04, 2.6, 7.6, 4.2, 0.7, 279.0]),
    (5_000, 200, [0.12, 1.8, 5.6, 5.4, 0.8, 280.0]),
    (5_000, 1_000, [1.14, 1.8, 6.4, 11.0, 0.8, 279.0]),
    (10_000, 50, [0.04, 4.0, 15.0, 2.2, 0.8, 554.0]),
    (10_000, 200, [0.13, 3.7, 12.0, 5.0, 0.8, 555.0]),
    (10_000, 1_000, [1.15, 3.9, 14.0, 3.4, 0.8, 559.0]),
];

/// Levels below the root, children of each node, and what the peer took with 10,000 agents.
const TREES: [(u32, u32, [f64; 6]); 3] = [
    (2, 32, [6.8, 3.9, 18.0, 9.1, 0.9, 850.0]),
    (6, 3, [1.4, 3.8, 51.0, 68.0, 2.3, 1927.0]),
    (9, 2, [1.4, 3.9, 79.0, 95.0, 3.2, 2698.0]),
];

/// Every case, flat ones first.
pub fn all() -> Vec<Row> {
    let flat = FLAT.iter().flat_map(|&(agents, clients, peer)| {
        let paths = (0..clients).map(|client| format!("client{client}")).collect();
        sorter("sorter", format!("{agents} x {clients}"), agents, paths, peer)
    });
    let trees = TREES.iter().flat_map(|&(levels, branching, peer)| {
        let mut paths = Vec::new();
        grow("", levels, branching, &mut paths);
        let shape = format!("10000, {levels} levels of {branching} ({})", paths.len());
        sorter("sorter tree", shape, 10_000, paths, peer)
    });
    flat.chain(trees).collect()
}

fn grow(above: &str, levels: u32, branching: u32, paths: &mut Vec<String>) {
    for child in 0..if levels == 0 { 0 } else { branching } {
        let path = if above.is_empty() { format!("{child}") } else { format!("{above}/{child}") };
        grow(&path, levels - 1, branching, paths);
        paths.push(path);
    }
}

fn sorter(case: &'static str, shape: String, agents: u32, paths: Vec<String>, peer: [f64; 6]) -> Vec<Row> {
    let mut sorter = Drf::default();
    sorter.reset(&[]);
    let mut names = ScalarNames::new(Vec::new());
    let paths = paths.iter().map(|path| role(path)).collect::<Vec<_>>();
    let client = |at: u32| Client { framework: FrameworkIndex(0), role: RoleIndex(at % paths.len() as u32) };
    let id = FrameworkId::trusted("0");
    let (adding, ()) = super::timed(|| {
        for (at, path) in paths.iter().enumerate() {
            let client = client(at as u32);
            sorter.add_role(client.role, path);
            sorter.add_framework(client, &id);
            sorter.set_active(client, true);
        }
    });
    let agent = bag("cpus:24;mem:4096;disk:4096");
    let (mut total, mut measured) = (Amounts::new(), Amounts::new());
    let (adding_agents, ()) = super::timed(|| {
        for _ in 0..agents {
            names.measure(&agent, &mut measured);
            total.add(&measured);
            sorter.set_total(&total);
        }
    });
    let allocation = with(&bag("cpus:16;mem:2014;disk:1024"), [fragments(31_000, 32_000, 100)]);
    let (allocating, ()) = super::timed(|| {
        for at in 0..agents {
            names.measure(&allocation, &mut measured);
            sorter.allocated(client(at), &measured);
        }
    });
    let sort = |sorter: &mut Drf| {
        let mut visited = 0_usize;
        let (spent, ()) = super::timed(|| {
            sorter.walk(&mut |_| {
                visited += 1;
                ControlFlow::Continue(())
            });
        });
        assert_eq!(visited, paths.len(), "every client is in the walk");
        spent
    };
    let sorting = sort(&mut sorter);
    let again = sort(&mut sorter);
    let (removing, ()) = super::timed(|| {
        for at in 0..agents {
            names.measure(&allocation, &mut measured);
            sorter.unallocated(client(at), &measured);
        }
    });
    let row = |phase, ours, peer| Row::new(case, shape.clone(), phase, ours).beside(peer);
    vec![
        row("add clients", adding, peer[0]),
        row("add agents", adding_agents, peer[1]),
        row("add allocations", allocating, peer[2]),
        row("sort and walk all", sorting, peer[3] / 1e3),
        row("walk all again", again, peer[4] / 1e3),
        row("remove allocations", removing, peer[5]),
    ]
}

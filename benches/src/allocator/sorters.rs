//! The sorter alone, flat and as trees: 10,000 agents, one allocation on each, clients in turn.
//!
//! The peer's benchmark adds its clients and never activates them, and its sort passes inactive clients over: of a flat list
//! it sorts nothing, of a tree the inner nodes. So the rows beside its figures are of inactive clients here as well; the same
//! with all of them active, which is what a cluster has, follows in rows without a peer. What an agent has is measured
//! once, as there.

use super::bed::{bag, role};
use super::labels::{fragments, with};
use super::table::Row;
use super::{median, timed_by_the_wall};
use core::ops::ControlFlow;
use kaon_actors::allocator::engine::amounts::{Amounts, ScalarNames};
use kaon_actors::allocator::engine::sorter::{Client, Drf, RoleIndex, Sorter};
use kaon_kernel::id::{FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::resource::Resources;

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

/// One sorter with a client for each path.
struct Bench {
    sorter: Drf,
    clients: Vec<Client>,
    total: Amounts,
}

impl Bench {
    /// With all clients added, and the milliseconds that took.
    fn new(paths: &[RoleName], is_active: bool) -> (f64, Self) {
        let mut sorter = Drf::default();
        sorter.reset(&[]);
        let client = |at: usize| Client { framework: FrameworkIndex(0), role: RoleIndex(at as u32) };
        let clients = (0..paths.len()).map(client).collect::<Vec<_>>();
        let id = FrameworkId::trusted("0");
        let (adding, ()) = super::timed(|| {
            for (&client, path) in clients.iter().zip(paths) {
                sorter.add_role(client.role, path);
                sorter.add_framework(client, &id);
                if is_active {
                    sorter.set_active(client, true);
                }
            }
        });
        (adding, Self { sorter, clients, total: Amounts::new() })
    }

    fn agents(&mut self, count: u32, amounts: &Amounts) -> f64 {
        super::timed(|| {
            for _ in 0..count {
                self.total.add(amounts);
                self.sorter.set_total(&self.total);
            }
        })
        .0
    }

    /// One allocation after the other, clients in turn.
    fn allocations(&mut self, count: u32, mut each: impl FnMut(&mut Drf, Client)) -> f64 {
        let Self { sorter, clients, .. } = self;
        super::timed(|| clients.iter().cycle().take(count as usize).for_each(|&client| each(sorter, client))).0
    }

    /// A walk to the end after everybody changed: the median of some, in milliseconds of wall time as the peer's, and how
    /// many clients were visited.
    fn sort(&mut self, change: &mut dyn FnMut(&mut Drf, Client)) -> (f64, usize) {
        let Self { sorter, clients, .. } = self;
        let mut visited = 0;
        let mut once = || {
            clients.iter().for_each(|&client| change(sorter, client));
            let walk = || {
                visited = 0;
                sorter.walk(&mut |_| {
                    visited += 1;
                    ControlFlow::Continue(())
                });
            };
            timed_by_the_wall(walk).0
        };
        (median(&mut (0..SORTS).map(|_| once()).collect::<Vec<_>>()), visited)
    }

    /// A walk to the end, so many times in turn: milliseconds each, and how many clients were visited.
    fn walk(&mut self, times: u32) -> (f64, usize) {
        let mut visited = 0;
        let (spent, ()) = super::timed(|| {
            for _ in 0..times {
                visited = 0;
                self.sorter.walk(&mut |_| {
                    visited += 1;
                    ControlFlow::Continue(())
                });
            }
        });
        (spent / f64::from(times), visited)
    }
}

/// Reading the clock takes longer than a walk that finds its order ready: so many are timed together.
const WALKS: u32 = 1_000;

/// So many sorts after a change are timed one by one.
const SORTS: usize = 101;

fn sorter(case: &'static str, shape: String, agents: u32, paths: Vec<String>, peer: [f64; 6]) -> Vec<Row> {
    let mut names = ScalarNames::new(Vec::new());
    let mut measure = |bag: &Resources| {
        let mut amounts = Amounts::new();
        names.measure(bag, &mut amounts);
        amounts
    };
    let agent = measure(&bag("cpus:24;mem:4096;disk:4096"));
    let allocation = with(&bag("cpus:16;mem:2014;disk:1024"), [fragments(31_000, 32_000, 100)]);
    let paths = paths.iter().map(|path| role(path)).collect::<Vec<_>>();
    let mut rows = Vec::new();
    for is_active in [false, true] {
        let (adding, mut bench) = Bench::new(&paths, is_active);
        let adding_agents = bench.agents(agents, &agent);
        let mut amounts = Amounts::new();
        let allocating = bench.allocations(agents, |sorter, client| {
            names.measure(&allocation, &mut amounts);
            sorter.allocated(client, &amounts);
        });
        let (sorting, visited) = bench.sort(&mut |sorter, client| {
            names.measure(&allocation, &mut amounts);
            sorter.adjusted(client, &amounts, true);
            sorter.adjusted(client, &amounts, false);
        });
        assert_eq!(visited, if is_active { paths.len() } else { 0 }, "active clients are in the walk");
        let (again, _) = bench.walk(WALKS);
        let removing = bench.allocations(agents, |sorter, client| {
            names.measure(&allocation, &mut amounts);
            sorter.unallocated(client, &amounts);
        });
        let row =
            |phase, ours, peer: f64| Row::new(case, shape.clone(), phase, ours).beside((!is_active).then_some(peer));
        rows.extend(match is_active {
            false => vec![
                row("add clients", adding, peer[0]),
                row("add agents", adding_agents, peer[1]),
                row("add allocations", allocating, peer[2]),
                row("sort, none active", sorting, peer[3] / 1e3),
                row("sort again, none active", again, peer[4] / 1e3),
                row("remove allocations", removing, peer[5]),
            ],
            true => vec![
                row("add and activate clients", adding, f64::NAN),
                row("sort and walk all", sorting, f64::NAN),
                row("walk all again", again, f64::NAN),
            ],
        });
    }
    rows
}

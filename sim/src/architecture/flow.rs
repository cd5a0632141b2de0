//! Placement in rounds as a flow of least cost (Quincy).
//!
//! In each round every waiting task is a unit of supply. It flows to a preferred node or rack, through the cluster to any
//! node, or stays unscheduled; nodes drain as many units as they have free slots. Costs are a [`Costs`], the solver is a
//! [`Solver`]: either can be replaced alone. Running tasks stay where they are.

use super::book::Events;
use super::{Error, MACHINES_MAX, TASKS_MAX, TIME_MAX_US};
use crate::record::{Capacity, Locality, Records, TaskRecord};

/// The most tasks of one round: the rest waits for the next, in the order of submission.
pub const ROUND_TASKS_MAX: usize = 5000;
/// The largest cost that a cost model can ask; more is cut to it.
pub const COST_MAX: i64 = 1 << 32;

/// An arc of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arc {
    /// Its tail.
    pub from: u32,
    /// Its head.
    pub to: u32,
    /// The most units it carries.
    pub capacity: i64,
    /// Cost of one unit, from zero.
    pub cost: i64,
}

/// A network with one source and one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Vertices are numbered from zero.
    pub vertices: u32,
    /// Arcs.
    pub arcs: Vec<Arc>,
    /// Where all units come from.
    pub source: u32,
    /// Where all units go to.
    pub sink: u32,
    /// How many units there are.
    pub supply: i64,
}

/// Finds a flow of least cost among the largest ones.
pub trait Solver {
    /// The units on each arc, in the order of the arcs.
    fn solve(&self, network: &Network) -> Vec<i64>;
}

/// Successive shortest paths, by the port of the AtCoder library. About (units) x (arcs) x log(vertices).
#[derive(Clone, Copy, Debug, Default)]
pub struct ShortestPaths;

impl Solver for ShortestPaths {
    fn solve(&self, network: &Network) -> Vec<i64> {
        let mut graph = ac_library::MinCostFlowGraph::new(network.vertices as usize);
        for arc in &network.arcs {
            graph.add_edge(arc.from as usize, arc.to as usize, arc.capacity, arc.cost);
        }
        graph.flow(network.source as usize, network.sink as usize, network.supply);
        graph.edges().iter().map(|edge| edge.flow).collect()
    }
}

/// A task with data somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its job.
    pub job: u64,
    /// When it is submitted.
    pub submit_us: i64,
    /// How long it runs.
    pub run_us: i64,
    /// Its input: node and MiB there, ascending by node.
    pub input_mib: Vec<(u32, u64)>,
}

/// What placements cost.
pub trait Costs {
    /// On this node; none when the task has no preference for it.
    fn node(&self, task: &Task, node: u32, cluster: &Cluster) -> Option<i64>;
    /// Anywhere in this rack; none when the task has no preference for it.
    fn rack(&self, task: &Task, rack: u32, cluster: &Cluster) -> Option<i64>;
    /// Anywhere.
    fn anywhere(&self, task: &Task, cluster: &Cluster) -> i64;
    /// Nowhere in this round, after waiting so long.
    fn unscheduled(&self, task: &Task, waited_us: i64) -> i64;
}

/// Costs of moving data, and of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfers {
    /// For each MiB from another node of the rack.
    pub rack_cost: i64,
    /// For each MiB from another rack.
    pub core_cost: i64,
    /// For each second of waiting, and once at the beginning.
    pub wait_cost: i64,
}

impl Default for Transfers {
    /// A MiB from another rack costs twice one from the same rack, and a second of waiting as much as 100 of these.
    fn default() -> Self {
        Self { rack_cost: 1, core_cost: 2, wait_cost: 200 }
    }
}

impl Transfers {
    /// The cost of moving a task's input, given which part is on the node and which in its rack.
    fn cost(&self, task: &Task, is_on: impl Fn(u32) -> bool, is_near: impl Fn(u32) -> bool) -> i64 {
        let one = |(node, mib): &(u32, u64)| {
            let each = match () {
                () if is_on(*node) => 0,
                () if is_near(*node) => self.rack_cost,
                () => self.core_cost,
            };
            i64::try_from(*mib).unwrap_or(COST_MAX).saturating_mul(each)
        };
        task.input_mib.iter().map(one).fold(0, i64::saturating_add).min(COST_MAX)
    }
}

impl Costs for Transfers {
    fn node(&self, task: &Task, node: u32, cluster: &Cluster) -> Option<i64> {
        task.input_mib.binary_search_by_key(&node, |part| part.0).ok()?;
        let rack = cluster.rack(node);
        Some(self.cost(task, |other| other == node, |other| cluster.rack(other) == rack))
    }

    fn rack(&self, task: &Task, rack: u32, cluster: &Cluster) -> Option<i64> {
        let is_here = |node: u32| cluster.rack(node) == rack;
        task.input_mib.iter().any(|part| is_here(part.0)).then(|| self.cost(task, |_| false, is_here))
    }

    fn anywhere(&self, task: &Task, _cluster: &Cluster) -> i64 {
        self.cost(task, |_| false, |_| false)
    }

    fn unscheduled(&self, _task: &Task, waited_us: i64) -> i64 {
        (1 + waited_us / 1_000_000).saturating_mul(self.wait_cost).min(COST_MAX)
    }
}

/// Nodes in racks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Nodes; node n is in rack n / `rack_nodes`.
    pub nodes: u32,
    /// Nodes of a rack.
    pub rack_nodes: u32,
    /// Tasks that a node runs at once.
    pub slots: u32,
    /// Time from one round to the next.
    pub round_us: i64,
}

impl Cluster {
    /// The rack of a node.
    pub fn rack(&self, node: u32) -> u32 {
        node / self.rack_nodes
    }

    fn racks(&self) -> u32 {
        self.nodes.div_ceil(self.rack_nodes)
    }
}

/// The network of one round. Vertices: source, sink, unscheduled, cluster, racks, nodes, tasks. All costs are multiplied
/// by the number of tasks and one; what that leaves room for makes it dearer to leave an earlier task than a later one.
pub fn network(cluster: &Cluster, free: &[u32], tasks: &[&Task], now_us: i64, costs: &impl Costs) -> Network {
    let (source, sink, unscheduled, whole) = (0, 1, 2, 3);
    let rack = |rack: u32| 4 + rack;
    let node = |node: u32| 4 + cluster.racks() + node;
    let first_task = 4 + cluster.racks() + cluster.nodes;
    let supply = tasks.len() as i64;
    let mut network = Network { vertices: first_task + tasks.len() as u32, arcs: Vec::new(), source, sink, supply };
    let mut arc = |from, to, capacity, cost: i64| {
        network.arcs.push(Arc { from, to, capacity, cost });
    };
    let scaled = |cost: i64| cost.clamp(0, COST_MAX) * (supply + 1);
    for (rank, task) in (0..).zip(tasks) {
        let index = first_task + rank;
        arc(source, index, 1, 0);
        let stay = costs.unscheduled(task, now_us - task.submit_us);
        arc(index, unscheduled, 1, scaled(stay) + supply - i64::from(rank));
        arc(index, whole, 1, scaled(costs.anywhere(task, cluster)));
        let mut racks: Vec<u32> = task.input_mib.iter().map(|part| cluster.rack(part.0)).collect();
        racks.dedup();
        for one in racks {
            if let Some(cost) = costs.rack(task, one, cluster) {
                arc(index, rack(one), 1, scaled(cost));
            }
        }
        for (one, _) in &task.input_mib {
            if let Some(cost) = costs.node(task, *one, cluster) {
                arc(index, node(*one), 1, scaled(cost));
            }
        }
    }
    arc(unscheduled, sink, supply, 0);
    for one in 0..cluster.racks() {
        arc(whole, rack(one), supply, 0);
    }
    for (one, free) in (0..).zip(free).filter(|(_, free)| **free > 0) {
        arc(rack(cluster.rack(one)), node(one), i64::from(*free), 0);
        arc(node(one), sink, i64::from(*free), 0);
    }
    network
}

/// Where each task goes, from the units on the arcs; none when it stays. Units that share an aggregate are told apart by
/// order: the first task that goes into it takes the first way out.
fn placements(cluster: &Cluster, network: &Network, flow: &[i64], tasks: usize) -> Vec<Option<u32>> {
    let first_node = 4 + cluster.racks();
    let first_task = first_node + cluster.nodes;
    let mut out: Vec<Vec<(u32, i64)>> = vec![Vec::new(); network.vertices as usize];
    for (arc, units) in network.arcs.iter().zip(flow).filter(|(_, units)| **units > 0) {
        out[arc.from as usize].push((arc.to, *units));
    }
    let mut walk = |task: usize| {
        let mut at = first_task + task as u32;
        loop {
            let (to, units) = out[at as usize].iter_mut().find(|way| way.1 > 0)?;
            *units -= 1;
            at = *to;
            if at == 2 {
                return None;
            }
            if at >= first_node {
                return Some(at - first_node);
            }
        }
    };
    (0..tasks).map(&mut walk).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Submit { task: u32 },
    End { task: u32, node: u32 },
    Round,
}

/// Runs `tasks` until all have ended. A round is held when tasks wait and slots are free, at whole multiples of the time
/// between rounds.
pub fn run(cluster: &Cluster, tasks: &[Task], costs: &impl Costs, solver: &impl Solver) -> Result<Records, Error> {
    check(cluster, tasks)?;
    let record = |task: &Task| TaskRecord {
        job: task.job,
        task: 0,
        tenant: 0,
        submit_us: task.submit_us,
        start_us: None,
        end_us: None,
        run_us: task.run_us,
        cpus_milli: 1000,
        mem_mib: 0,
        gpus_milli: 0,
        node: None,
    };
    let mut records: Vec<TaskRecord> = tasks.iter().map(record).collect();
    for index in 1..records.len() {
        if records[index].job == records[index - 1].job {
            records[index].task = records[index - 1].task + 1;
        }
    }
    let mut free = vec![cluster.slots; cluster.nodes as usize];
    let mut waiting: Vec<u32> = Vec::new();
    let mut events = Events::new();
    let mut locality = Locality::default();
    let mut is_round_set = false;
    for (index, task) in (0..).zip(tasks) {
        events.push(task.submit_us, Event::Submit { task: index });
    }
    while let Some((now_us, event)) = events.pop(None) {
        match event {
            Event::Submit { task } => waiting.push(task),
            Event::End { task, node } => {
                records[task as usize].end_us = Some(now_us);
                free[node as usize] += 1;
            }
            Event::Round => {
                is_round_set = false;
                let count = waiting.len().min(ROUND_TASKS_MAX);
                let asked: Vec<&Task> = waiting[..count].iter().map(|task| &tasks[*task as usize]).collect();
                let network = network(cluster, &free, &asked, now_us, costs);
                let places = placements(cluster, &network, &solver.solve(&network), count);
                for (task, node) in waiting[..count].iter().zip(&places) {
                    let Some(node) = *node else { continue };
                    let record = &mut records[*task as usize];
                    (record.start_us, record.node) = (Some(now_us), Some(node));
                    free[node as usize] -= 1;
                    events.push(now_us + record.run_us, Event::End { task: *task, node });
                    count_locality(cluster, &tasks[*task as usize], node, &mut locality);
                }
                waiting.retain(|task| records[*task as usize].start_us.is_none());
            }
        }
        if !is_round_set && !waiting.is_empty() && free.iter().any(|free| *free > 0) {
            is_round_set = true;
            // After all else of this moment, or at the next round.
            let is_between = now_us % cluster.round_us > 0 || event == Event::Round;
            let rounds = now_us / cluster.round_us + i64::from(is_between);
            events.push(rounds * cluster.round_us, Event::Round);
        }
    }
    let slots = u64::from(cluster.nodes) * u64::from(cluster.slots);
    let capacity = Capacity { nodes: u64::from(cluster.nodes), cpus_milli: slots * 1000, ..Capacity::default() };
    Ok(Records { tasks: records, capacity, locality, events: events.handled(), ..Records::default() })
}

fn count_locality(cluster: &Cluster, task: &Task, node: u32, locality: &mut Locality) {
    let is_on = |other: u32| other == node;
    let is_near = |other: u32| cluster.rack(other) == cluster.rack(node);
    match task.input_mib.as_slice() {
        [] => {}
        parts if parts.iter().any(|part| is_on(part.0)) => locality.node += 1,
        parts if parts.iter().any(|part| is_near(part.0)) => locality.rack += 1,
        _ => locality.elsewhere += 1,
    }
}

fn check(cluster: &Cluster, tasks: &[Task]) -> Result<(), Error> {
    if cluster.nodes == 0 || cluster.nodes as usize > MACHINES_MAX {
        return Err(Error::Machines(cluster.nodes as usize));
    }
    if cluster.rack_nodes == 0 || cluster.slots == 0 || cluster.slots > 1_000_000 {
        return Err(Error::Parameter("a rack has at least one node, a node 1 to 1,000,000 slots"));
    }
    if cluster.round_us <= 0 || cluster.round_us > TIME_MAX_US || tasks.len() as u64 > TASKS_MAX {
        return Err(Error::Parameter("rounds need a time between them, and the tasks have a bound"));
    }
    for task in tasks {
        let is_input =
            task.input_mib.is_sorted_by(|a, b| a.0 < b.0) && task.input_mib.iter().all(|part| part.0 < cluster.nodes);
        if !is_input || [task.submit_us, task.run_us].iter().any(|time| !(0..=TIME_MAX_US).contains(time)) {
            return Err(Error::Time(format!("a task of job {}, or its input", task.job)));
        }
    }
    Ok(())
}

//! Placement alone: tasks arrive one after the other, each goes to a machine or nowhere, none ever leaves. The openb
//! protocol (reference `policies.md`, section 7), step by step.
//!
//! The generators are split by purpose (arrivals, placement, ties, compaction) so that a draw in one disturbs no other.

mod compaction;
mod course;
mod input;

use super::input::Left;
use super::{Engine, Outcome, PolicyRow};
use crate::record::Digest;
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::metrics::{Metrics, enter};
use crate::study::policies::OWN;
use crate::study::scenario::Scenario;
use crate::study::statistic::percentile;
use crate::table::{Column, Table};
use course::Course;
use input::{Pod, read_nodes, read_pods};
use kaon_actors::allocator::direct::{
    Choice, Cluster, NodeSpec, PLACEMENTS, Parameters, Placement, PlacementName, Shape, Task, Workload, placement,
};
use kaon_kernel::chance::Chance;

/// Sets the chance of arrivals apart from that of everything else.
const ARRIVALS: u64 = 0x0be2_b000_0000_0001;
/// The same for policies that draw.
const DRAWS: u64 = 0x0be2_b000_0000_0002;
/// After so many arrivals it is told how far a run is.
const TOLD_EVERY: usize = 1024;

/// The placements, and those of researchers.
pub(super) fn policies() -> Vec<PolicyRow> {
    let shipped = PLACEMENTS.iter().map(|&(_, name, about)| PolicyRow { name, about });
    shipped.chain(OWN.iter().map(|own| PolicyRow { name: own.name, about: own.about })).collect()
}

/// A cluster's machines and the tasks that arrive.
pub(super) struct Openb {
    nodes: Vec<NodeSpec>,
    pods: Vec<Pod>,
    workload: Workload,
    load: f64,
    is_compacting: bool,
    left: Left,
}

impl Openb {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let mut types = input::Types::default();
        let mut left = Left::default();
        let nodes = read_nodes(settings, &mut types, &mut left)?;
        let pods = read_pods(settings, &mut types, &mut left)?;
        let shapes = pods.iter().map(|pod| pod.shape);
        let workload = Workload::covering(shapes, settings.count("workload.covered_percent"));
        let load = settings.number("workload.load");
        let is_compacting = settings.switch("cluster.compaction");
        let openb = Self { nodes, pods, workload, load, is_compacting, left };
        if openb.capacity() == 0 {
            return Err(Error::Unfit("the cluster has no GPU: arrivals are measured by its GPU capacity".to_owned()));
        }
        if openb.pods.iter().all(|pod| pod.shape.gpu.units_in_all() == 0) {
            return Err(Error::Unfit("no task asks for a GPU: arrivals are measured by their GPU request".to_owned()));
        }
        Ok(openb)
    }

    /// GPU units of the cluster.
    fn capacity(&self) -> u64 {
        self.nodes.iter().map(|node| u64::from(node.gpus) * 1000).sum()
    }

    fn cluster(&self, nodes: impl Iterator<Item = usize>) -> Result<Cluster, String> {
        let mut cluster = Cluster::default();
        for node in nodes {
            cluster.add(self.nodes[node]).map_err(|error| error.to_string())?;
        }
        Ok(cluster)
    }

    fn policy(&self, name: &str, seed: u64) -> Result<Box<dyn Placement>, String> {
        let parameters = Parameters::openb(seed, self.workload.clone());
        if let Some(own) = OWN.iter().find(|own| own.name == name) {
            return Ok((own.make)(&parameters));
        }
        let name = PlacementName::parse(name).map_err(|error| error.to_string())?;
        placement(name, &parameters).map_err(|error| error.to_string())
    }

    /// Step 3: the order of arrival, by index into the pods.
    fn arrivals(&self, seed: u64) -> Vec<usize> {
        let mut chance = Chance::new(seed ^ ARRIVALS);
        let mut order: Vec<usize> = (0..self.pods.len()).collect();
        chance.shuffle(&mut order);
        let mark = (self.capacity() as f64 * self.load) as u64;
        let request = |pod: usize| self.pods[pod].shape.gpu.units_in_all();
        let mut arrived: u64 = order.iter().map(|&pod| request(pod)).sum();
        while arrived > mark {
            let out = chance.below(order.len() as u64) as usize;
            arrived -= request(order.remove(out));
        }
        loop {
            let drawn = chance.below(self.pods.len() as u64) as usize;
            // The published experiments test with the units of one GPU, whatever the number of GPUs.
            if arrived + u64::from(self.pods[drawn].shape.gpu.units()) > mark {
                return order;
            }
            arrived += request(drawn);
            order.push(drawn);
        }
    }
}

impl Engine for Openb {
    fn notes(&self) -> &[String] {
        &self.left.notes
    }

    fn run(&self, policy: &str, seed: u64, meter: &mut Meter<'_>) -> Result<Outcome, String> {
        let mut cluster = self.cluster(0..self.nodes.len())?;
        let mut placement = self.policy(policy, seed)?;
        let mut chance = Chance::new(seed ^ DRAWS);
        let mut course = Course::new(self.workload.clone(), self.capacity());
        let mut digest = Digest::new();
        let arrivals = self.arrivals(seed);
        let mut placed: Vec<Option<Choice>> = Vec::with_capacity(arrivals.len());
        for (number, &pod) in arrivals.iter().enumerate() {
            if number % TOLD_EVERY == 0 {
                meter.at(number as u64, arrivals.len() as u64, number as u64);
            }
            let task = Task::of(self.pods[pod].shape);
            let choice = placement.choose(&cluster, &task, &mut chance);
            if let Some(choice) = choice {
                cluster.place(choice, &task).map_err(|misfit| format!("the policy chose wrongly: {misfit}"))?;
            }
            digest.unsigned(pod as u64);
            digest.maybe(choice.map(|choice| i64::from(choice.node.0) << 16 | i64::from(choice.gpus.0)));
            course.note(&cluster, task.shape.gpu.units_in_all(), choice.is_some());
            placed.push(choice);
        }
        let mut metrics = course.metrics();
        let mut count = |name: &str, value: usize| enter(&mut metrics, name, Some(value as f64));
        let started = placed.iter().flatten().count();
        count("tasks", arrivals.len());
        count("tasks_unstarted", arrivals.len() - started);
        self.left.add(&mut metrics);
        self.stranded(&cluster, &mut metrics);
        if self.is_compacting {
            let sizes = compaction::sizes(self, policy, seed)?;
            let percents: Vec<f64> = sizes.iter().map(|size| *size as f64 * 100.0 / self.nodes.len() as f64).collect();
            enter(&mut metrics, "compaction_ratio_p90", percentile(&percents, 90));
            enter(&mut metrics, "compaction_ratio_min", percents.first().copied());
            enter(&mut metrics, "compaction_ratio_max", percents.last().copied());
        }
        Ok(Outcome {
            trace_hash: digest.finish(),
            events: arrivals.len() as u64,
            metrics,
            tasks: Some(self.table(&arrivals, &placed)),
            course: Some(course.table()),
            ..Outcome::default()
        })
    }
}

impl Openb {
    /// What is free on machines that lack something else for the smallest task, as a part of the capacity.
    fn stranded(&self, cluster: &Cluster, metrics: &mut Metrics) {
        let least = |of: fn(&Shape) -> u64| self.pods.iter().map(|pod| of(&pod.shape)).filter(|&one| one > 0).min();
        let least = [least(|one| one.cpu_milli), least(|one| one.mem_mib), least(|one| one.gpu.units_in_all())];
        let (mut stranded, mut capacity) = ([0_u64; 3], [0_u64; 3]);
        for node in cluster.nodes() {
            let free = [node.cpu_free(), node.mem_free(), node.gpu_units_free()];
            let has = [node.cpu_capacity(), node.mem_capacity(), node.gpu_units_capacity()];
            for one in 0..3 {
                capacity[one] += has[one];
                let lacks = |other: usize| other != one && least[other].is_some_and(|least| free[other] < least);
                if (0..3).any(lacks) {
                    stranded[one] += free[one];
                }
            }
        }
        for (one, name) in ["cpus", "mem", "gpus"].into_iter().enumerate() {
            let part = (capacity[one] > 0).then(|| stranded[one] as f64 / capacity[one] as f64);
            enter(metrics, format!("stranded_{name}"), part);
        }
    }

    /// The per-task table: in the order of arrival, tasks by their place in the list.
    fn table(&self, arrivals: &[usize], placed: &[Option<Choice>]) -> Table {
        let of = |value: fn(&Shape) -> u64| {
            Column::Whole(arrivals.iter().map(|&pod| value(&self.pods[pod].shape) as i64).collect())
        };
        let node = placed.iter().map(|one| one.map(|choice| i64::from(choice.node.0)));
        let gpus = placed.iter().map(|one| one.map(|choice| i64::from(choice.gpus.0)));
        Table::new()
            .with("task", Column::Whole(arrivals.iter().map(|&pod| pod as i64).collect()))
            .with("cpus_milli", of(|shape| shape.cpu_milli))
            .with("mem_mib", of(|shape| shape.mem_mib))
            .with("gpus_milli", of(|shape| shape.gpu.units_in_all()))
            .with("node", Column::Maybe(node.collect()))
            .with("gpu_bits", Column::Maybe(gpus.collect()))
    }
}

#[cfg(test)]
mod tests;

//! Fragmentation of GPUs as seen by a target workload, and the placement that lets it grow least (FGD; policies 3.6; Weng
//! et al., USENIX ATC 2023).
//!
//! For a shape t of the workload, what is fragmented on a machine is all that is free of its GPUs when t asks for no GPU,
//! does not accept their type or can't be hosted now, and otherwise what is free of GPUs too small for t. The sum over
//! the workload, weighted by popularity, is computed in whole numbers: GPU units times tasks counted.
//!
//! For a shape that takes one GPU, in part or whole, both cases come to one: what is free of GPUs too small for t. So a
//! machine's fragmentation is a sum of table look-ups, one for each GPU; the tables depend on which shapes find
//! enough CPU and accept the type.

use super::best::Score;
use super::{Cluster, GPU_TYPES_MAX, GPU_UNITS, GPUS_MAX, GpuDemand, GpuSet, GpuType, Node, Shape, Task};
use kaon_kernel::table::Table;
use std::cmp::Reverse;

/// The weights of one group of GPU types at one level of free CPU.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    /// Tasks for which all that is free is of no use, or all but idle GPUs when enough are idle.
    always: u64,
    /// By how many sizes of one-GPU demands are at most what is free of a GPU: the tasks that ask for more.
    beyond: Vec<u64>,
    /// By idle GPUs: the tasks that take several whole ones and find them.
    hosted: [u64; GPUS_MAX + 1],
}

/// The tasks that a cluster is expected to run, by shape and popularity. Memory does not count.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Free CPU from which one more shape is hosted, ascending; a level is how many are reached.
    cpu_steps: Vec<u64>,
    /// What is free of a GPU, to how many sizes of one-GPU demands it reaches.
    reach: Vec<u16>,
    /// The group of each type.
    groups: Vec<u16>,
    /// By group and level.
    rows: Vec<Row>,
    tasks: u64,
    /// From which fall of fragmentation on a score has each percent, from 1 on.
    percents: Vec<i64>,
}

impl Workload {
    /// The most popular shapes of these tasks that together cover `percent` of them, as the openb protocol counts them
    /// (95): by CPU and GPU, memory left out; the most frequent first, of equal ones the larger in (CPU, units, number,
    /// types).
    pub fn covering(tasks: impl Iterator<Item = Shape>, percent: u64) -> Self {
        let mut counts: Table<Shape, u64> = Table::default();
        let mut total: u64 = 0;
        for shape in tasks {
            *counts.entry(Shape { mem_mib: 0, ..shape }).or_default() += 1;
            total += 1;
        }
        let mut shapes = counts.into_iter().collect::<Vec<_>>();
        shapes.sort_by_key(|(shape, count)| {
            Reverse((*count, shape.cpu_milli, shape.gpu.units(), shape.gpu.count(), shape.types))
        });
        let mut covered = 0;
        let reaches = |(_, count): &&(Shape, u64)| {
            let is_short = u128::from(covered) * 100 < u128::from(total) * u128::from(percent);
            covered += count;
            is_short
        };
        let popular = shapes.iter().take_while(reaches).copied().collect::<Vec<_>>();
        Self::of(&popular)
    }

    /// These shapes, each with the number of its tasks. Building costs shapes squared times GPU types that differ.
    pub fn of(shapes: &[(Shape, u64)]) -> Self {
        let mut cpu_steps = shapes.iter().map(|(shape, _)| shape.cpu_milli).collect::<Vec<_>>();
        cpu_steps.sort_unstable();
        cpu_steps.dedup();
        let single = |shape: &Shape| shape.gpu.count() == 1;
        let mut sizes = shapes.iter().filter(|(shape, _)| single(shape)).map(|(shape, _)| shape.gpu.units());
        let mut sizes = sizes.by_ref().collect::<Vec<_>>();
        sizes.sort_unstable();
        sizes.dedup();
        let reach = (0..=GPU_UNITS).map(|free| sizes.partition_point(|&size| size <= free) as u16).collect();
        let mut accepted: Vec<Vec<bool>> = Vec::new();
        let mut groups = Vec::new();
        for one in (0..GPU_TYPES_MAX).map(GpuType) {
            let pattern = shapes.iter().map(|(shape, _)| shape.types.accepts(one)).collect::<Vec<_>>();
            let known = accepted.iter().position(|other| *other == pattern);
            groups.push(known.unwrap_or(accepted.len()) as u16);
            if known.is_none() {
                accepted.push(pattern);
            }
        }
        let mut rows = Vec::new();
        for pattern in &accepted {
            for level in 0..=cpu_steps.len() {
                let cpu = level.checked_sub(1).map(|reached| cpu_steps[reached]);
                rows.push(row(shapes, pattern, cpu, &sizes));
            }
        }
        let tasks = shapes.iter().map(|(_, count)| count).sum::<u64>();
        Self { cpu_steps, reach, groups, rows, tasks, percents: percents(tasks) }
    }

    /// Tasks counted: [`Workload::fragmentation`] is in GPU units times this.
    pub fn tasks(&self) -> u64 {
        self.tasks
    }

    /// What is fragmented on a machine, in GPU units times [`Workload::tasks`].
    pub fn fragmentation(&self, node: Node<'_>) -> u64 {
        let row = self.row(node.gpu_type(), node.cpu_free());
        let parts = node.gpu_free().iter().map(|&free| self.part(row, free)).sum();
        row.total(node.gpu_units_free(), parts, node.gpus_idle())
    }

    fn row(&self, of: GpuType, cpu_free: u64) -> &Row {
        let level = self.cpu_steps.partition_point(|&step| step <= cpu_free);
        let group = usize::from(self.groups[usize::from(of.0)]);
        &self.rows[group * (self.cpu_steps.len() + 1) + level]
    }

    /// What one GPU adds for demands of one GPU.
    fn part(&self, row: &Row, free: u16) -> u64 {
        u64::from(free) * row.beyond[usize::from(self.reach[usize::from(free)])]
    }

    /// The score of a fall of fragmentation: `floor(100 / (1 + exp(-fall / 1000)))`, the fall in GPU units.
    fn score(&self, before: u64, after: u64) -> u64 {
        let fall = before as i64 - after as i64;
        self.percents.partition_point(|&from| from <= fall) as u64
    }

    /// The score of a machine for a shape, and the GPUs by which it gets it.
    fn best(&self, node: Node<'_>, shape: &Shape) -> (u64, GpuSet) {
        let before = self.fragmentation(node);
        let row = self.row(node.gpu_type(), node.cpu_free() - shape.cpu_milli);
        let free = node.gpu_free();
        let parts = free.iter().map(|&one| self.part(row, one)).sum::<u64>();
        let (units, idle) = (node.gpu_units_free(), node.gpus_idle());
        match shape.gpu {
            GpuDemand::None => (self.score(before, row.total(units, parts, idle)), GpuSet::default()),
            GpuDemand::Whole(count) => {
                let taken = u64::from(count) * self.part(row, GPU_UNITS);
                let after = row.total(units - shape.gpu.units_in_all(), parts - taken, idle - usize::from(count));
                (self.score(before, after), node.tightest(shape))
            }
            GpuDemand::Part(part) => {
                let mut best = (0, GpuSet::default());
                for (number, &one) in free.iter().enumerate().filter(|(_, one)| **one >= part) {
                    let parts = parts - self.part(row, one) + self.part(row, one - part);
                    let after =
                        row.total(units - u64::from(part), parts, idle - usize::from(one == GPU_UNITS && part > 0));
                    let score = self.score(before, after);
                    if score > best.0 || best.1.count() == 0 {
                        best = (score, GpuSet::one(number));
                    }
                }
                best
            }
        }
    }
}

impl Row {
    /// The whole from what is free in all, the sum over GPUs, and the GPUs that are idle.
    fn total(&self, units: u64, parts: u64, idle: usize) -> u64 {
        units * self.always + parts - idle as u64 * u64::from(GPU_UNITS) * self.hosted[idle]
    }
}

/// The weights for machines of types that `accepted` says of, and `cpu` free or a little more; none is less than any
/// shape asks for.
fn row(shapes: &[(Shape, u64)], accepted: &[bool], cpu: Option<u64>, sizes: &[u16]) -> Row {
    let mut row = Row { always: 0, beyond: vec![0; sizes.len() + 1], hosted: [0; GPUS_MAX + 1] };
    for ((shape, count), &is_accepted) in shapes.iter().zip(accepted) {
        let has_cpu = cpu.is_some_and(|cpu| shape.cpu_milli <= cpu);
        match shape.gpu.count() as usize {
            1 if has_cpu && is_accepted => {
                let too_small = sizes.partition_point(|&size| size < shape.gpu.units());
                row.beyond[..=too_small].iter_mut().for_each(|weight| *weight += count);
            }
            0 | 1 => row.always += count,
            several => {
                row.always += count;
                if has_cpu && is_accepted && several <= GPUS_MAX {
                    row.hosted[several..].iter_mut().for_each(|weight| *weight += count);
                }
            }
        }
    }
    row
}

/// The score is k percent when the fall is at least `1000 ln(k / (100 - k))` units. But for k = 50, which is zero, these
/// are irrational and no whole fall meets them, so the last bit of the logarithm never decides.
fn percents(tasks: u64) -> Vec<i64> {
    let bound = |percent: u32| (f64::from(percent) / f64::from(100 - percent)).ln();
    (1..100).map(|percent| (1000.0 * tasks as f64 * bound(percent)).ceil() as i64).collect()
}

/// The placement by the smallest growth of fragmentation, in whole points; a part goes to the GPU with the best score,
/// the lowest number of equal ones.
#[derive(Clone, Debug)]
pub struct Fgd(Workload);

impl Fgd {
    /// For this workload.
    pub fn new(workload: Workload) -> Self {
        Self(workload)
    }
}

impl Score for Fgd {
    fn worth(&self, node: Node<'_>, shape: &Shape) -> u64 {
        self.0.best(node, shape).0 + 1
    }
    fn gpus(&self, node: Node<'_>, shape: &Shape) -> GpuSet {
        self.0.best(node, shape).1
    }
}

/// The fragmentation of a whole cluster, kept up to date at the cost of the machines that changed.
#[derive(Clone, Debug)]
pub struct Fragments {
    workload: Workload,
    parts: Vec<u64>,
    sum: u64,
    seen: u64,
    epoch: u64,
}

impl Fragments {
    /// For this workload and one cluster.
    pub fn new(workload: Workload) -> Self {
        Self { workload, parts: Vec::new(), sum: 0, seen: 0, epoch: 0 }
    }

    /// Fragmented GPU units of the cluster now. The ratio of the published results is this over the units that are free,
    /// the amount is this over all units.
    pub fn units(&mut self, cluster: &Cluster) -> f64 {
        let changes = cluster.log().since(self.seen).filter(|_| self.epoch == cluster.epoch());
        match changes {
            Some(changes) => {
                for node in changes {
                    let part = &mut self.parts[node.0 as usize];
                    self.sum -= *part;
                    *part = self.workload.fragmentation(cluster.node(node));
                    self.sum += *part;
                }
            }
            None => {
                self.parts = cluster.nodes().map(|node| self.workload.fragmentation(node)).collect();
                self.sum = self.parts.iter().sum();
            }
        }
        (self.seen, self.epoch) = (cluster.log().written(), cluster.epoch());
        self.sum as f64 / self.workload.tasks.max(1) as f64
    }
}

impl From<&[Task]> for Workload {
    /// All shapes of these tasks.
    fn from(tasks: &[Task]) -> Self {
        Self::covering(tasks.iter().map(|task| task.shape), 100)
    }
}

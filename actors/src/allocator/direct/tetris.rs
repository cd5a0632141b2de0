//! Tetris: machines by alignment with their own free amounts, tasks by alignment and remaining work (policies 3.2;
//! Grandl et al., SIGCOMM 2014).
//!
//! As a [`super::Placement`] it places one task: the machine with the largest alignment, the sum over resources of
//! (demand / capacity) (free / capacity). [`TetrisQueue`] also chooses which task is next.

use super::best::{Best, Score, worth};
use super::{Choice, Cluster, Node, NodeIndex, Shape, TieBreak};

/// The alignment as a score.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tetris;

impl Tetris {
    /// The alignment of a shape with a machine; a resource that the machine does not have is left out.
    pub fn alignment(node: Node<'_>, shape: &Shape) -> f64 {
        let resources = [
            (shape.cpu_milli, node.cpu_free(), node.cpu_capacity()),
            (shape.mem_mib, node.mem_free(), node.mem_capacity()),
            (shape.gpu.units_in_all(), node.gpu_units_free(), node.gpu_units_capacity()),
        ];
        let mut sum = 0.0;
        for (demand, free, capacity) in resources.into_iter().filter(|(.., capacity)| *capacity > 0) {
            let capacity = capacity as f64;
            sum += (demand as f64 / capacity) * (free as f64 / capacity);
        }
        sum
    }
}

impl Score for Tetris {
    fn worth(&self, node: Node<'_>, shape: &Shape) -> u64 {
        worth(Self::alignment(node, shape))
    }
}

/// The knobs of the paper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knobs {
    /// From 0, pure efficiency, up to below 1, strict fairness: only the part `1 - fairness` of the jobs that is furthest
    /// below its fair share is considered.
    pub fairness: f64,
    /// A job whose stage is past this part is served before others; 1 switches that off.
    pub barrier: f64,
    /// What an alignment loses when the task's input is not on the machine.
    pub remote_penalty: f64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self { fairness: 0.25, barrier: 0.9, remote_penalty: 0.1 }
    }
}

/// A job with tasks to place.
#[derive(Clone, Copy, Debug)]
pub struct Contender<'a> {
    /// The sum over its remaining tasks of duration times normalised demand.
    pub remaining_work: f64,
    /// By how much it is below its fair share.
    pub deficit: f64,
    /// The finished part of its running stage.
    pub stage_done: f64,
    /// Its tasks that could start now.
    pub tasks: &'a [Candidate<'a>],
}

/// A task that could start.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What it asks for, at its peak.
    pub shape: Shape,
    /// Where its input is; empty when it is the same everywhere.
    pub local: &'a [NodeIndex],
}

/// Which task goes where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Position of the job among the contenders.
    pub job: usize,
    /// Position of the task in its job.
    pub task: usize,
    /// Its machine.
    pub choice: Choice,
}

/// Chooses tasks and machines together.
#[derive(Debug)]
pub struct TetrisQueue {
    machines: Best<Tetris>,
    knobs: Knobs,
}

/// One task with its best machine.
struct Ranked {
    pick: Pick,
    alignment: f64,
    work: f64,
    is_urgent: bool,
}

impl TetrisQueue {
    /// For one cluster.
    pub fn new(knobs: Knobs, tie: TieBreak) -> Self {
        Self { machines: Best::new(Tetris, tie), knobs }
    }

    /// The next task and its machine: among the jobs that fairness leaves, those past the barrier first, the largest
    /// `A - eps P`, where A is the alignment with the task's best machine, P the job's remaining work, and eps the mean of
    /// A over the mean of P in this round. Ties go to the earlier job, then to the earlier task. Costs one indexed
    /// question and the local machines for each candidate.
    pub fn next(&mut self, cluster: &Cluster, jobs: &[Contender<'_>]) -> Option<Pick> {
        let mut order = (0..jobs.len()).collect::<Vec<_>>();
        order.sort_by(|&one, &two| jobs[two].deficit.total_cmp(&jobs[one].deficit));
        let left = (1.0 - self.knobs.fairness.clamp(0.0, 1.0)) * jobs.len() as f64;
        order.truncate((left.ceil() as usize).max(1));
        order.sort_unstable();
        let mut ranked = Vec::new();
        for job in order {
            let contender = &jobs[job];
            for (task, candidate) in contender.tasks.iter().enumerate() {
                let Some((choice, alignment)) = self.machine(cluster, candidate) else { continue };
                ranked.push(Ranked {
                    pick: Pick { job, task, choice },
                    alignment,
                    work: contender.remaining_work,
                    is_urgent: self.knobs.barrier < 1.0 && contender.stage_done >= self.knobs.barrier,
                });
            }
        }
        if ranked.iter().any(|one| one.is_urgent) {
            ranked.retain(|one| one.is_urgent);
        }
        let (mut alignments, mut works) = (0.0, 0.0);
        for one in &ranked {
            alignments += one.alignment;
            works += one.work;
        }
        let eps = if works > 0.0 { alignments / works } else { 0.0 };
        let mut best: Option<(f64, Pick)> = None;
        for one in &ranked {
            let score = one.alignment - eps * one.work;
            if best.is_none_or(|(other, _)| score > other) {
                best = Some((score, one.pick));
            }
        }
        best.map(|(_, pick)| pick)
    }

    /// The best machine for a candidate: the best of all at the price of remote reads, or a local one without.
    fn machine(&mut self, cluster: &Cluster, candidate: &Candidate<'_>) -> Option<(Choice, f64)> {
        let shape = &candidate.shape;
        let (node, _) = self.machines.best(cluster, shape)?;
        let mut best = (node, Tetris::alignment(node, shape));
        if !candidate.local.is_empty() {
            if !candidate.local.contains(&node.index()) {
                best.1 *= 1.0 - self.knobs.remote_penalty;
            }
            for &local in candidate.local.iter().filter(|local| (local.0 as usize) < cluster.len()) {
                let node = cluster.node(local);
                let alignment = Tetris::alignment(node, shape);
                if node.admits(shape) && alignment > best.1 {
                    best = (node, alignment);
                }
            }
        }
        let gpus = self.machines.score().gpus(best.0, shape);
        Some((Choice { node: best.0.index(), gpus }, best.1))
    }
}

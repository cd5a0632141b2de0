//! Strict priority with preemption.
//!
//! Waiting tasks are gone through from the highest priority down, ties by submission and order of the list. A task goes to
//! the best fit; where none fits it may evict tasks of lower priority. Victims on a node: lowest priority first, then
//! latest start, until it fits; then those for which room is left are put back, highest priority first. The node: lowest
//! highest priority of a victim, fewest victims of it, smallest sum of priorities, fewest victims, best fit, smallest
//! index. Victims go back to the queue with their age.

use super::super::Times;
use super::{Amounts, Error, Nodes, Task, check, records};
use crate::record::Records;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// What becomes of evicted work, and who is safe from whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Work is kept up to the last whole multiple of this; none loses it all.
    pub checkpoint_us: Option<i64>,
    /// Lower ends of bands of priorities, ascending: nobody evicts within a band. What is below the first is no band.
    pub bands: Vec<i32>,
}

/// Highest first: reversed priority, submission, place in the list.
type Key = (Reverse<i32>, i64, usize);

struct Engine<'a> {
    tasks: &'a [Task],
    parameters: &'a Parameters,
    nodes: Nodes,
    waiting: BTreeSet<Key>,
    /// The tasks on each node.
    on: Vec<Vec<usize>>,
    left_us: Vec<i64>,
    since_us: Vec<i64>,
    stretch: Vec<u32>,
    times: Vec<(Times, Option<u32>)>,
    ends: BinaryHeap<Reverse<(i64, usize, u32)>>,
    preemptions: u64,
}

/// Runs `tasks` until all have ended. Each pass looks at every node once for each different request that waits.
pub fn run(sizes: &[Amounts], tasks: &[Task], parameters: &Parameters) -> Result<Records, Error> {
    let nodes = Nodes::new(sizes)?;
    check(&nodes, tasks)?;
    if parameters.checkpoint_us.is_some_and(|every| every <= 0) || !parameters.bands.is_sorted_by(|a, b| a < b) {
        return Err(Error::Parameter("checkpoints need a time between them, bands are ascending"));
    }
    let mut engine = Engine {
        tasks,
        parameters,
        on: vec![Vec::new(); sizes.len()],
        nodes,
        waiting: BTreeSet::new(),
        left_us: tasks.iter().map(|task| task.run_us).collect(),
        since_us: vec![0; tasks.len()],
        stretch: vec![0; tasks.len()],
        times: vec![(Times::default(), None); tasks.len()],
        ends: BinaryHeap::new(),
        preemptions: 0,
    };
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|task| tasks[*task].submit_us);
    let mut submissions = order.into_iter().peekable();
    let mut handled = 0;
    loop {
        let next_end = engine.ends.peek().map(|end| end.0.0);
        let now_us = match submissions.peek().map(|task| tasks[*task].submit_us) {
            // Submissions first at equal times.
            Some(submit_us) if next_end.is_none_or(|end| submit_us <= end) => {
                let task = submissions.next().expect("it was seen");
                engine.waiting.insert(engine.key(task));
                submit_us
            }
            _ => {
                let Some(Reverse((end_us, task, stretch))) = engine.ends.pop() else { break };
                if engine.stretch[task] != stretch {
                    continue;
                }
                engine.leave(task);
                engine.times[task].0.end_us = end_us;
                end_us
            }
        };
        handled += 1;
        engine.pass(now_us);
    }
    assert!(engine.waiting.is_empty(), "tasks are left that never ran");
    let mut records = records(&engine.nodes, tasks, &engine.times);
    (records.preemptions, records.events) = (engine.preemptions, handled);
    Ok(records)
}

impl Engine<'_> {
    fn key(&self, task: usize) -> Key {
        (Reverse(self.tasks[task].priority), self.tasks[task].submit_us, task)
    }

    /// Takes a task off its node.
    fn leave(&mut self, task: usize) {
        let node = self.times[task].1.expect("it runs");
        self.on[node as usize].retain(|one| *one != task);
        self.nodes.give(node, &self.tasks[task].request);
        self.stretch[task] += 1;
    }

    fn start(&mut self, task: usize, node: u32, now_us: i64) {
        self.waiting.remove(&self.key(task));
        self.nodes.take(node, &self.tasks[task].request);
        self.on[node as usize].push(task);
        if self.times[task].1.is_none() {
            self.times[task].0.start_us = now_us;
        }
        self.times[task].1 = Some(node);
        self.since_us[task] = now_us;
        self.ends.push(Reverse((now_us + self.left_us[task], task, self.stretch[task])));
    }

    fn evict(&mut self, task: usize, now_us: i64) {
        self.leave(task);
        let done_us = self.tasks[task].run_us - self.left_us[task] + now_us - self.since_us[task];
        let kept_us = self.parameters.checkpoint_us.map_or(0, |every| done_us / every * every);
        self.left_us[task] = self.tasks[task].run_us - kept_us;
        self.preemptions += 1;
        self.waiting.insert(self.key(task));
    }

    fn pass(&mut self, now_us: i64) {
        // What did not fit once in this pass does not fit again: room only goes to tasks of higher priority.
        let mut hopeless: BTreeSet<(Amounts, i32)> = BTreeSet::new();
        let mut after = None;
        while let Some(key) = match after {
            None => self.waiting.first(),
            Some(last) => self.waiting.range((core::ops::Bound::Excluded(last), core::ops::Bound::Unbounded)).next(),
        } {
            let key = *key;
            after = Some(key);
            let task = &self.tasks[key.2];
            if hopeless.contains(&(task.request, task.priority)) {
                continue;
            }
            if let Some(node) = self.nodes.best(&task.request) {
                self.start(key.2, node, now_us);
                continue;
            }
            match self.cheapest(key.2) {
                Some((node, victims)) => {
                    victims.into_iter().for_each(|victim| self.evict(victim, now_us));
                    self.start(key.2, node, now_us);
                }
                None => {
                    hopeless.insert((task.request, task.priority));
                }
            }
        }
    }

    fn may_evict(&self, task: usize, victim: usize) -> bool {
        let band = |priority: i32| self.parameters.bands.partition_point(|lower| *lower <= priority);
        let (mine, theirs) = (self.tasks[task].priority, self.tasks[victim].priority);
        theirs < mine && (band(theirs) == 0 || band(theirs) != band(mine))
    }

    /// The node whose victims cost least, and who they are.
    fn cheapest(&self, task: usize) -> Option<(u32, Vec<usize>)> {
        let request = &self.tasks[task].request;
        let priority = |victim: &usize| i64::from(self.tasks[*victim].priority);
        let mut best = None;
        for node in 0..self.on.len() {
            let mut order: Vec<usize> = self.on[node].clone();
            order.retain(|victim| self.may_evict(task, *victim));
            order.sort_by_key(|victim| (priority(victim), Reverse(self.since_us[*victim]), *victim));
            let mut free = self.nodes.free[node];
            let mut victims = Vec::new();
            for victim in order {
                if free.fits(request) {
                    break;
                }
                free = free.plus(&self.tasks[victim].request);
                victims.push(victim);
            }
            if !free.fits(request) {
                continue;
            }
            // Back from the highest priority down, as far as there is room.
            let mut spare = free.minus(request);
            for index in (0..victims.len()).rev() {
                let held = &self.tasks[victims[index]].request;
                if spare.fits(held) {
                    spare = spare.minus(held);
                    victims.remove(index);
                }
            }
            let highest = victims.iter().map(priority).max();
            let of_it = victims.iter().filter(|victim| Some(priority(victim)) == highest).count();
            let sum: i64 = victims.iter().map(priority).sum();
            let cost = (highest, of_it, sum, victims.len(), self.nodes.rest(&spare, &Amounts::default()), node);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, victims));
            }
        }
        best.map(|(cost, victims)| (cost.5 as u32, victims))
    }
}

//! Delay scheduling: a job that is next but has no local task for a node is passed over for a while (Zaharia et al.,
//! EuroSys 2010).
//!
//! After each event the nodes are offered in turn, going on where the last offer was taken. Jobs are asked in fair order:
//! fewest running tasks, then submission. A job launches a task that prefers the node; after waiting `rack_us` without
//! launching a local one also a task that prefers a node of its rack; after `anywhere_us` more any task. The wait begins
//! when it is first passed over and is reset when it launches a local task.

use super::super::Times;
use super::{Amounts, Error, Nodes, Task, check, jobs, records};
use crate::record::{Locality, Records};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Nodes of a rack; node n is in rack n / `rack_nodes`.
    pub rack_nodes: u32,
    /// W1: until a task may run in the rack of its data.
    pub rack_us: i64,
    /// W2: from then until it may run anywhere.
    pub anywhere_us: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Submit(usize),
    End(usize),
    /// A job may have waited long enough.
    Wake,
}

struct Job {
    pending: Vec<usize>,
    running: u32,
    /// Since when it is passed over.
    waits_since_us: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Node,
    Rack,
    Anywhere,
}

struct Engine<'a> {
    tasks: &'a [Task],
    parameters: Parameters,
    nodes: Nodes,
    jobs: Vec<Job>,
    active: Vec<usize>,
    times: Vec<(Times, Option<u32>)>,
    locality: Locality,
    next_node: usize,
    events: BinaryHeap<Reverse<(i64, u64, Event)>>,
    made: u64,
}

/// Runs `tasks`, by jobs, until all have ended.
pub fn run(sizes: &[Amounts], tasks: &[Task], parameters: Parameters) -> Result<Records, Error> {
    let nodes = Nodes::new(sizes)?;
    check(&nodes, tasks)?;
    let is_time = |time: i64| (0..=super::TIME_MAX_US).contains(&time);
    if parameters.rack_nodes == 0 || !is_time(parameters.rack_us) || !is_time(parameters.anywhere_us) {
        return Err(Error::Parameter("a rack has at least one node, waits are not below zero"));
    }
    let ranges = jobs(tasks);
    let job_of: Vec<usize> = (0..).zip(&ranges).flat_map(|(index, job)| job.clone().map(move |_| index)).collect();
    let job =
        |range: &core::ops::Range<usize>| Job { pending: range.clone().collect(), running: 0, waits_since_us: None };
    let mut engine = Engine {
        tasks,
        parameters,
        nodes,
        jobs: ranges.iter().map(job).collect(),
        active: Vec::new(),
        times: vec![(Times::default(), None); tasks.len()],
        locality: Locality::default(),
        next_node: 0,
        events: BinaryHeap::new(),
        made: 0,
    };
    for (index, range) in ranges.iter().enumerate() {
        engine.expect(tasks[range.start].submit_us, Event::Submit(index));
    }
    let mut handled = 0;
    while let Some(Reverse((now_us, _, event))) = engine.events.pop() {
        handled += 1;
        match event {
            Event::Submit(job) => engine.active.push(job),
            Event::End(task) => {
                engine.times[task].0.end_us = now_us;
                engine.jobs[job_of[task]].running -= 1;
                engine.nodes.give(engine.times[task].1.expect("it ran"), &tasks[task].request);
            }
            Event::Wake => {}
        }
        engine.pass(now_us);
    }
    assert!(engine.active.is_empty(), "tasks are left that never ran");
    let locality = engine.locality;
    Ok(Records { events: handled, locality, ..records(&engine.nodes, tasks, &engine.times) })
}

impl Engine<'_> {
    fn expect(&mut self, time_us: i64, event: Event) {
        self.made += 1;
        self.events.push(Reverse((time_us, self.made, event)));
    }

    /// Offers nodes until a whole round of them finds no taker.
    fn pass(&mut self, now_us: i64) {
        let count = self.nodes.free.len();
        let mut refused = 0;
        while refused < count && !self.active.is_empty() {
            let node = self.next_node;
            if self.offer(node, now_us) {
                refused = 0;
            } else {
                refused += 1;
                self.next_node = (node + 1) % count;
            }
        }
    }

    /// Offers a node to the jobs in fair order; true when one took it.
    fn offer(&mut self, node: usize, now_us: i64) -> bool {
        if self.nodes.free[node] == Amounts::default() {
            return false;
        }
        self.active.sort_by_key(|job| (self.jobs[*job].running, *job));
        for index in 0..self.active.len() {
            let job = self.active[index];
            let waited_us = self.jobs[job].waits_since_us.map_or(-1, |since| now_us - since);
            let allowed = match waited_us {
                waited if waited >= self.parameters.rack_us + self.parameters.anywhere_us => Level::Anywhere,
                waited if waited >= self.parameters.rack_us => Level::Rack,
                _ => Level::Node,
            };
            if let Some((level, place)) = self.candidate(job, node, allowed) {
                self.launch(job, place, node, level, now_us);
                if self.jobs[job].pending.is_empty() {
                    self.active.remove(index);
                }
                return true;
            }
            if self.jobs[job].waits_since_us.is_none() && self.would_run(job, node) {
                self.jobs[job].waits_since_us = Some(now_us);
                let (rack_us, anywhere_us) = (self.parameters.rack_us, self.parameters.anywhere_us);
                self.expect(now_us + rack_us, Event::Wake);
                self.expect(now_us + rack_us + anywhere_us, Event::Wake);
            }
        }
        false
    }

    fn level(&self, task: usize, node: usize) -> Level {
        let preferred = &self.tasks[task].preferred;
        let rack = |node: u32| node / self.parameters.rack_nodes;
        match () {
            () if preferred.is_empty() || preferred.binary_search(&(node as u32)).is_ok() => Level::Node,
            () if preferred.iter().any(|one| rack(*one) == rack(node as u32)) => Level::Rack,
            () => Level::Anywhere,
        }
    }

    /// Whether anything but its preferences keeps a job from a node.
    fn would_run(&self, job: usize, node: usize) -> bool {
        self.jobs[job].pending.iter().any(|task| self.nodes.free[node].fits(&self.tasks[*task].request))
    }

    /// The pending task with the best locality that fits, within what is allowed, and its place in the list.
    fn candidate(&self, job: usize, node: usize, allowed: Level) -> Option<(Level, usize)> {
        let fits = |task: &usize| self.nodes.free[node].fits(&self.tasks[*task].request);
        let all = self.jobs[job].pending.iter().enumerate().filter(|(_, task)| fits(task));
        all.map(|(place, task)| (self.level(*task, node), place)).min().filter(|found| found.0 <= allowed)
    }

    fn launch(&mut self, job: usize, place: usize, node: usize, level: Level, now_us: i64) {
        let state = &mut self.jobs[job];
        let task = state.pending.remove(place);
        state.running += 1;
        if level == Level::Node {
            state.waits_since_us = None;
        }
        let asked = &self.tasks[task];
        if !asked.preferred.is_empty() {
            match level {
                Level::Node => self.locality.node += 1,
                Level::Rack => self.locality.rack += 1,
                Level::Anywhere => self.locality.elsewhere += 1,
            }
        }
        self.nodes.take(node as u32, &asked.request);
        self.times[task] = (Times { start_us: now_us, ..Times::default() }, Some(node as u32));
        self.expect(now_us + asked.run_us, Event::End(task));
    }
}

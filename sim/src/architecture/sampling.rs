//! Many schedulers without shared state: tasks go to workers with queues, found by random probes (Sparrow).
//!
//! A worker has slots and one queue, first come first served. What a probe finds is the number of tasks (or, under late
//! binding, of reservations) that wait there, and of those that run. Ties go to the worker that was drawn first.

use super::book::Events;
use super::{Error, Job, MACHINES_MAX, TIME_MAX_US, check_jobs};
use crate::record::{Capacity, Records, TaskRecord};
use crate::workload::generate::stream;
use kaon_kernel::chance::Chance;
use std::collections::VecDeque;

/// How workers are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probing {
    /// Each task to a random worker.
    Random,
    /// For each task the shortest queue of so many random workers.
    PerTask(u32),
    /// For m tasks the m shortest queues of m times so many random workers.
    Batch(u32),
    /// Probes of m times so many workers wait in the queues; a worker that gets to one asks for a task.
    Late(u32),
}

/// A cluster of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Workers.
    pub workers: u32,
    /// Tasks that a worker runs at once.
    pub slots: u32,
    /// Time of a message, one way.
    pub delay_us: i64,
    /// How workers are found.
    pub probing: Probing,
}

impl Default for Cluster {
    /// What the authors simulated: 10,000 workers with 4 slots, half a millisecond one way, late binding with two probes
    /// for each task.
    fn default() -> Self {
        Self { workers: 10_000, slots: 4, delay_us: 500, probing: Probing::Late(2) }
    }
}

/// The workers on which the tasks of a job may run, by job; no entry means all.
pub type Allowed<'a> = &'a [Option<Vec<u32>>];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Submit {
        job: u32,
    },
    /// Probes have reached their workers; the answers decide where tasks go.
    Probe {
        job: u32,
    },
    /// A task, or a reservation, has reached its worker.
    Arrive {
        job: u32,
        task: Option<u32>,
        worker: u32,
    },
    /// A worker asks for a task.
    Ask {
        job: u32,
        worker: u32,
    },
    /// The answer: a task, or none is left.
    Answer {
        job: u32,
        task: Option<u32>,
        worker: u32,
    },
    End {
        job: u32,
        task: u32,
        worker: u32,
    },
}

#[derive(Clone, Default)]
struct Worker {
    queue: VecDeque<(u32, Option<u32>)>,
    busy: u32,
}

struct Engine<'a> {
    cluster: Cluster,
    jobs: &'a [Job],
    allowed: Allowed<'a>,
    workers: Vec<Worker>,
    /// Tasks handed out, by job.
    given: Vec<u32>,
    first_task: Vec<usize>,
    records: Records,
    everybody: Vec<u32>,
    chance: Chance,
    events: Events<Event>,
}

/// Runs `jobs` until all tasks have ended. `allowed` is empty or has an entry for each job.
pub fn run(cluster: Cluster, jobs: &[Job], allowed: Allowed<'_>, seed: u64) -> Result<Records, Error> {
    let (workers, slots) = (cluster.workers as usize, u64::from(cluster.slots));
    if workers == 0 || workers > MACHINES_MAX {
        return Err(Error::Machines(workers));
    }
    let probes = match cluster.probing {
        Probing::Random => 1,
        Probing::PerTask(probes) | Probing::Batch(probes) | Probing::Late(probes) => probes,
    };
    if slots == 0 || slots > 1_000_000 || probes == 0 || probes > 1000 {
        return Err(Error::Parameter("a worker has 1 to 1,000,000 slots, a task 1 to 1,000 probes"));
    }
    if !(0..=TIME_MAX_US).contains(&cluster.delay_us) {
        return Err(Error::Time("a message".to_owned()));
    }
    let is_sound = |list: &Option<Vec<u32>>| {
        let list = list.as_deref().unwrap_or(&[0]);
        !list.is_empty() && list.is_sorted_by(|a, b| a < b) && list.iter().all(|worker| *worker < cluster.workers)
    };
    if !(allowed.is_empty() || allowed.len() == jobs.len()) || !allowed.iter().all(is_sound) {
        return Err(Error::Parameter("allowed workers: one list a job, ascending, none empty, all of them workers"));
    }
    check_jobs(jobs, usize::MAX)?;
    let mut records = Records::default();
    let mut first_task = Vec::with_capacity(jobs.len());
    for job in jobs {
        first_task.push(records.tasks.len());
        // A task takes a place of its worker, whatever it asks for.
        records.tasks.extend(job.records().map(|task| TaskRecord { cpus_milli: 1000, mem_mib: 0, ..task }));
    }
    records.capacity =
        Capacity { nodes: workers as u64, cpus_milli: workers as u64 * slots * 1000, ..Capacity::default() };
    let mut engine = Engine {
        cluster,
        jobs,
        allowed,
        workers: vec![Worker::default(); workers],
        given: vec![0; jobs.len()],
        first_task,
        records,
        everybody: (0..cluster.workers).collect(),
        chance: stream(seed, "probes"),
        events: Events::new(),
    };
    engine.run();
    let handled = engine.events.handled();
    Ok(Records { events: handled, ..engine.records })
}

impl Engine<'_> {
    fn run(&mut self) {
        for (index, job) in (0..).zip(self.jobs) {
            self.events.push(job.submit_us, Event::Submit { job: index });
        }
        while let Some((now_us, event)) = self.events.pop(None) {
            let delay_us = self.cluster.delay_us;
            match event {
                Event::Submit { job } => self.submit(job, now_us),
                Event::Probe { job } => self.choose(job, now_us),
                Event::Arrive { job, task, worker } => {
                    self.workers[worker as usize].queue.push_back((job, task));
                    self.serve(worker, now_us);
                }
                Event::Ask { job, worker } => {
                    let given = &mut self.given[job as usize];
                    let task = (*given < self.jobs[job as usize].tasks).then_some(*given);
                    *given += u32::from(task.is_some());
                    self.events.push(now_us + delay_us, Event::Answer { job, task, worker });
                }
                Event::Answer { job, task: Some(task), worker } => self.start(job, task, worker, now_us),
                Event::Answer { task: None, worker, .. } => {
                    self.workers[worker as usize].busy -= 1;
                    self.serve(worker, now_us);
                }
                Event::End { job, task, worker } => {
                    self.records.tasks[self.first_task[job as usize] + task as usize].end_us = Some(now_us);
                    self.workers[worker as usize].busy -= 1;
                    self.serve(worker, now_us);
                }
            }
        }
        assert!(self.records.tasks.iter().all(|task| task.end_us.is_some()), "tasks are left that never ended");
    }

    /// So many distinct workers at random, in the order of the draws; all there are, if they are fewer.
    fn draw(&mut self, job: u32, count: u64) -> Vec<u32> {
        if let Some(Some(list)) = self.allowed.get(job as usize) {
            let mut list = list.clone();
            return draw(&mut list, count, &mut self.chance);
        }
        draw(&mut self.everybody, count, &mut self.chance)
    }

    fn submit(&mut self, job: u32, now_us: i64) {
        let tasks = self.jobs[job as usize].tasks;
        match self.cluster.probing {
            Probing::Random => {
                for task in 0..tasks {
                    let worker = self.draw(job, 1)[0];
                    let event = Event::Arrive { job, task: Some(task), worker };
                    self.events.push(now_us + self.cluster.delay_us, event);
                }
            }
            Probing::Late(probes) => {
                let drawn = self.draw(job, u64::from(probes) * u64::from(tasks));
                // At least one reservation a task, also where workers are fewer.
                for worker in drawn.iter().cycle().take(drawn.len().max(tasks as usize)) {
                    let event = Event::Arrive { job, task: None, worker: *worker };
                    self.events.push(now_us + self.cluster.delay_us, event);
                }
            }
            Probing::PerTask(_) | Probing::Batch(_) => {
                self.events.push(now_us + self.cluster.delay_us, Event::Probe { job });
            }
        }
    }

    fn load(&self, worker: u32) -> u64 {
        let worker = &self.workers[worker as usize];
        worker.queue.len() as u64 + u64::from(worker.busy)
    }

    /// Probes have been answered: where the tasks go. Their loads are those of now, the tasks arrive a round trip later.
    fn choose(&mut self, job: u32, now_us: i64) {
        let tasks = self.jobs[job as usize].tasks;
        let there_us = now_us + 2 * self.cluster.delay_us;
        let mut chosen = Vec::with_capacity(tasks as usize);
        if let Probing::PerTask(probes) = self.cluster.probing {
            for _ in 0..tasks {
                let drawn = self.draw(job, u64::from(probes));
                chosen.extend(drawn.into_iter().min_by_key(|worker| self.load(*worker)));
            }
        } else if let Probing::Batch(probes) = self.cluster.probing {
            chosen = self.draw(job, u64::from(probes) * u64::from(tasks));
            chosen.sort_by_key(|worker| self.load(*worker));
        }
        for (task, worker) in (0..tasks).zip(chosen.iter().cycle()) {
            self.events.push(there_us, Event::Arrive { job, task: Some(task), worker: *worker });
        }
    }

    /// A worker takes from its queue while a slot is free.
    fn serve(&mut self, worker: u32, now_us: i64) {
        while self.workers[worker as usize].busy < self.cluster.slots {
            let Some((job, task)) = self.workers[worker as usize].queue.pop_front() else { break };
            self.workers[worker as usize].busy += 1;
            match task {
                Some(task) => self.start(job, task, worker, now_us),
                None => self.events.push(now_us + self.cluster.delay_us, Event::Ask { job, worker }),
            }
        }
    }

    fn start(&mut self, job: u32, task: u32, worker: u32, now_us: i64) {
        let record = &mut self.records.tasks[self.first_task[job as usize] + task as usize];
        record.start_us = Some(now_us);
        record.node = Some(worker);
        self.events.push(now_us + record.run_us, Event::End { job, task, worker });
    }
}

/// The first steps of a shuffle.
fn draw(list: &mut [u32], count: u64, chance: &mut Chance) -> Vec<u32> {
    let count = count.min(list.len() as u64) as usize;
    for index in 0..count {
        let other = index + chance.below((list.len() - index) as u64) as usize;
        list.swap(index, other);
    }
    list[..count].to_vec()
}

//! Gangs: a job starts when all of its tasks are placed at the same instant.
//!
//! Jobs are gone through in the order of submission after each event; one that does not fit is passed over. The variant
//! with holding is how hoarding in a two-level scheduler is shown: a job takes what it can get, holds it idle, and gives
//! all back when it has not got everything within a time; it then goes to the end of the queue.

use super::super::Times;
use super::{Amounts, Error, Nodes, Task, check, jobs, records};
use crate::record::Records;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The most turns of holding of one job: with hoarding by two jobs, nothing else would end a run.
pub const TURNS_MAX: u32 = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Submit(usize),
    End(usize),
    /// The time of a job's holding is over; the number tells its turn.
    GiveUp(usize, u32),
}

struct State {
    /// Nodes of the tasks placed so far, while it holds.
    held: Vec<u32>,
    turn: u32,
    has_started: bool,
    left: usize,
}

/// Runs `tasks`, by jobs, until all have ended. `holding_us` none places jobs whole; else it is how long a job holds a
/// part. A job that could not start in [`TURNS_MAX`] turns is left unfinished, as is one that cannot be placed whole.
pub fn run(sizes: &[Amounts], tasks: &[Task], holding_us: Option<i64>) -> Result<Records, Error> {
    let mut nodes = Nodes::new(sizes)?;
    check(&nodes, tasks)?;
    if holding_us.is_some_and(|time| !(1..=super::TIME_MAX_US).contains(&time)) {
        return Err(Error::Parameter("holding needs a time"));
    }
    let jobs = jobs(tasks);
    let mut times = vec![(Times::default(), None); tasks.len()];
    let state =
        |job: &core::ops::Range<usize>| State { held: Vec::new(), turn: 0, has_started: false, left: job.len() };
    let mut states: Vec<State> = jobs.iter().map(state).collect();
    let (mut events, mut made, mut handled) = (BinaryHeap::new(), 0u64, 0);
    let mut queue: Vec<usize> = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        made += 1;
        events.push(Reverse((tasks[job.start].submit_us, made, Event::Submit(index))));
    }
    let job_of: Vec<usize> = (0..).zip(&jobs).flat_map(|(index, job)| job.clone().map(move |_| index)).collect();
    while let Some(Reverse((now_us, _, event))) = events.pop() {
        match event {
            Event::Submit(job) => queue.push(job),
            Event::End(task) => {
                times[task].0.end_us = now_us;
                nodes.give(times[task].1.expect("it ran"), &tasks[task].request);
                states[job_of[task]].left -= 1;
            }
            Event::GiveUp(job, turn) => {
                let state = &mut states[job];
                if state.has_started || state.turn != turn {
                    continue;
                }
                for (task, node) in jobs[job].clone().zip(state.held.drain(..)) {
                    nodes.give(node, &tasks[task].request);
                }
                state.turn += 1;
                queue.retain(|one| *one != job);
                if state.turn < TURNS_MAX {
                    queue.push(job);
                }
            }
        }
        handled += 1;
        for job in queue.clone() {
            let state = &mut states[job];
            let was_empty = state.held.is_empty();
            for task in jobs[job].clone().skip(state.held.len()) {
                let Some(node) = nodes.best(&tasks[task].request) else { break };
                nodes.take(node, &tasks[task].request);
                state.held.push(node);
            }
            if state.held.len() == jobs[job].len() {
                state.has_started = true;
                queue.retain(|one| *one != job);
                for (task, node) in jobs[job].clone().zip(state.held.drain(..)) {
                    times[task] = (Times { start_us: now_us, ..Times::default() }, Some(node));
                    made += 1;
                    events.push(Reverse((now_us + tasks[task].run_us, made, Event::End(task))));
                }
            } else if let Some(time_us) = holding_us {
                if was_empty && !state.held.is_empty() {
                    made += 1;
                    events.push(Reverse((now_us + time_us, made, Event::GiveUp(job, state.turn))));
                }
            } else {
                for (task, node) in jobs[job].clone().zip(state.held.drain(..)) {
                    nodes.give(node, &tasks[task].request);
                }
            }
        }
    }
    Ok(Records { events: handled, ..records(&nodes, tasks, &times) })
}

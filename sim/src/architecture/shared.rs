//! One scheduler for all jobs, or several on shared state: a queue each, one job at a time, placement on random machines
//! that fit, a commit at the end of the decision.

use super::book::{Book, Events};
use super::{Architecture, Cell, Claim, Commit, Conflict, Job, RETRY_US, Scheduler};
use crate::record::Records;
use crate::workload::generate::stream;
use kaon_kernel::chance::Chance;
use std::collections::VecDeque;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A job comes, for the first time or again.
    Arrive { job: u32 },
    /// A scheduler has decided.
    Decide { scheduler: u32 },
    /// A task has ended.
    End { job: u32, task: u32, machine: u32 },
}

#[derive(Default)]
struct Desk {
    queue: VecDeque<u32>,
    /// The job it thinks about, and the claims it will commit; none when it places at the end of its thinking.
    current: Option<(u32, Option<Vec<Claim>>)>,
}

pub(super) struct Shared<'a> {
    book: Book<'a>,
    cell: Cell,
    desks: Vec<Desk>,
    rules: Option<(Conflict, Commit)>,
    candidates: Vec<u32>,
    chance: Chance,
    events: Events<Event>,
}

impl<'a> Shared<'a> {
    pub(super) fn new(
        cell: &Cell,
        schedulers: &'a [Scheduler],
        jobs: &'a [Job],
        architecture: Architecture,
        seed: u64,
    ) -> Self {
        let rules = match architecture {
            Architecture::Shared { conflict, commit } => Some((conflict, commit)),
            _ => None,
        };
        let desks = if rules.is_some() { schedulers.len() } else { 1 };
        Self {
            book: Book::new(cell, schedulers, jobs),
            cell: cell.clone(),
            desks: (0..desks).map(|_| Desk::default()).collect(),
            rules,
            candidates: (0..cell.machines().len() as u32).collect(),
            chance: stream(seed, "placement"),
            events: Events::new(),
        }
    }

    pub(super) fn run(mut self, until_us: Option<i64>) -> Records {
        for (index, job) in (0..).zip(self.book.jobs) {
            self.events.push(job.submit_us, Event::Arrive { job: index });
        }
        while let Some((now_us, event)) = self.events.pop(until_us) {
            match event {
                Event::Arrive { job } => {
                    let desk = if self.rules.is_some() { self.book.jobs[job as usize].scheduler } else { 0 };
                    self.desks[desk as usize].queue.push_back(job);
                    self.begin(desk, now_us);
                }
                Event::Decide { scheduler } => {
                    self.decide(scheduler, now_us);
                    self.begin(scheduler, now_us);
                }
                Event::End { job, task, machine } => {
                    let asked = &self.book.jobs[job as usize];
                    self.cell.release(machine, asked.cpus_milli, asked.mem_mib);
                    self.book.end(job, task, now_us);
                }
            }
        }
        let handled = self.events.handled();
        self.book.close(handled)
    }

    fn begin(&mut self, scheduler: u32, now_us: i64) {
        let desk = &mut self.desks[scheduler as usize];
        if desk.current.is_some() {
            return;
        }
        let Some(job) = desk.queue.pop_front() else { return };
        let until_us = self.book.think(scheduler, job, now_us);
        // Where several decide at once, the claims are made on a copy as it is now.
        let claims = self.rules.map(|_| {
            let mut copy = self.cell.clone();
            self.book_claims(&mut copy, job)
        });
        self.desks[scheduler as usize].current = Some((job, claims));
        self.events.push(until_us, Event::Decide { scheduler });
    }

    fn book_claims(&mut self, cell: &mut Cell, job: u32) -> Vec<Claim> {
        let asked = &self.book.jobs[job as usize];
        let request = (asked.cpus_milli, asked.mem_mib);
        cell.scatter(self.book.left(job), request, &mut self.candidates, &mut self.chance)
    }

    fn decide(&mut self, scheduler: u32, now_us: i64) {
        let (job, claims) = self.desks[scheduler as usize].current.take().expect("it was thinking");
        let (claims, accepted) = match (claims, self.rules) {
            (Some(claims), Some((conflict, commit))) => {
                let accepted = self.cell.commit(&claims, conflict, commit);
                (claims, accepted)
            }
            _ => {
                let mut cell = core::mem::replace(&mut self.cell, Cell::uniform(0, 0, 0));
                let claims = self.book_claims(&mut cell, job);
                self.cell = cell;
                let accepted = vec![true; claims.len()];
                (claims, accepted)
            }
        };
        for (claim, _) in claims.iter().zip(&accepted).filter(|(_, is_accepted)| **is_accepted) {
            let (end_us, task) = self.book.start(job, claim.machine, now_us);
            self.events.push(end_us, Event::End { job, task, machine: claim.machine });
        }
        if self.book.attempted(scheduler, job, &accepted, now_us) {
            self.events.push(now_us + RETRY_US, Event::Arrive { job });
        }
    }
}

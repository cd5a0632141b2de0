//! Two levels with offers, as modelled for Mesos in the Omega study: all that is free goes to one scheduler at a time.
//!
//! An offer goes out when a scheduler without an offer has a job and anything is free: at least `gather_us` after the
//! offer before, and `think_us` after that. It holds every free machine, locked until the answer. The scheduler thinks
//! about the job at the head of its queue, places what fits, and gives back the rest. The scheduler that holds the smallest
//! dominant share goes first, ties to the smaller number. What was not placed goes to the end of the queue.

use super::book::{Book, Events};
use super::{Cell, Job, Scheduler};
use crate::record::Records;
use crate::workload::generate::stream;
use kaon_kernel::chance::Chance;
use std::collections::VecDeque;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { job: u32 },
    Offer,
    Answer { scheduler: u32 },
    End { job: u32, task: u32, machine: u32 },
}

#[derive(Default)]
struct Desk {
    queue: VecDeque<u32>,
    /// The job it thinks about, and the offer it thinks with.
    current: Option<(u32, Cell)>,
    cpus_milli: u64,
    mem_mib: u64,
}

pub(super) struct Offers<'a> {
    book: Book<'a>,
    /// What is free and not offered.
    cell: Cell,
    desks: Vec<Desk>,
    /// Free resources are gathered at least so long before the next offer.
    gather_us: i64,
    /// The allocator thinks so long about an offer.
    think_us: i64,
    /// The allocator is at work on an offer.
    is_allocating: bool,
    /// Since when it gathers.
    since_us: i64,
    candidates: Vec<u32>,
    chance: Chance,
    events: Events<Event>,
}

impl<'a> Offers<'a> {
    pub(super) fn new(
        cell: &Cell,
        schedulers: &'a [Scheduler],
        jobs: &'a [Job],
        (gather_us, think_us): (i64, i64),
        seed: u64,
    ) -> Self {
        Self {
            book: Book::new(cell, schedulers, jobs),
            cell: cell.clone(),
            desks: schedulers.iter().map(|_| Desk::default()).collect(),
            gather_us,
            think_us,
            is_allocating: false,
            since_us: 0,
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
                    self.desks[self.book.jobs[job as usize].scheduler as usize].queue.push_back(job);
                }
                Event::Offer => self.offer(now_us),
                Event::Answer { scheduler } => self.answer(scheduler, now_us),
                Event::End { job, task, machine } => {
                    let asked = &self.book.jobs[job as usize];
                    self.cell.release(machine, asked.cpus_milli, asked.mem_mib);
                    let desk = &mut self.desks[asked.scheduler as usize];
                    desk.cpus_milli -= asked.cpus_milli;
                    desk.mem_mib -= asked.mem_mib;
                    self.book.end(job, task, now_us);
                }
            }
            self.allocate(now_us);
        }
        let handled = self.events.handled();
        self.book.close(handled)
    }

    fn wants(&self) -> impl Iterator<Item = u32> {
        let all = (0..).zip(&self.desks);
        all.filter(|(_, desk)| desk.current.is_none() && !desk.queue.is_empty()).map(|(index, _)| index)
    }

    /// Starts on an offer, if there is anything to offer to anybody.
    fn allocate(&mut self, now_us: i64) {
        let is_wanted = self.wants().next().is_some();
        let is_free = |machine: &super::Machine| machine.cpus_milli > 0 || machine.mem_mib > 0;
        if self.is_allocating || !is_wanted || !self.cell.machines().iter().any(is_free) {
            return;
        }
        self.is_allocating = true;
        let gathered_us = now_us.max(self.since_us + self.gather_us);
        self.events.push(gathered_us + self.think_us, Event::Offer);
    }

    fn offer(&mut self, now_us: i64) {
        self.is_allocating = false;
        let capacity = self.book.capacity();
        let share = |index: &u32| {
            let desk = &self.desks[*index as usize];
            // Shares as exact fractions over one denominator.
            let cpus = u128::from(desk.cpus_milli) * u128::from(capacity.mem_mib.max(1));
            let mem = u128::from(desk.mem_mib) * u128::from(capacity.cpus_milli.max(1));
            cpus.max(mem)
        };
        let Some(to) = self.wants().min_by_key(|index| (share(index), *index)) else { return };
        self.since_us = now_us;
        let offered = self.cell.clone();
        self.cell = Cell::uniform(offered.machines().len() as u32, 0, 0);
        let desk = &mut self.desks[to as usize];
        let job = desk.queue.pop_front().expect("it wants an offer for a job");
        let until_us = self.book.think(to, job, now_us);
        desk.current = Some((job, offered));
        self.events.push(until_us, Event::Answer { scheduler: to });
    }

    fn answer(&mut self, scheduler: u32, now_us: i64) {
        let desk = &mut self.desks[scheduler as usize];
        let (job, mut offered) = desk.current.take().expect("it has an offer");
        let asked = &self.book.jobs[job as usize];
        let request = (asked.cpus_milli, asked.mem_mib);
        let claims = offered.scatter(self.book.left(job), request, &mut self.candidates, &mut self.chance);
        for claim in &claims {
            desk.cpus_milli += claim.cpus_milli;
            desk.mem_mib += claim.mem_mib;
            let (end_us, task) = self.book.start(job, claim.machine, now_us);
            self.events.push(end_us, Event::End { job, task, machine: claim.machine });
        }
        for (index, rest) in (0..).zip(offered.machines()) {
            self.cell.release(index, rest.cpus_milli, rest.mem_mib);
        }
        self.book.offered(scheduler, !claims.is_empty());
        if self.book.attempted(scheduler, job, &vec![true; claims.len()], now_us) {
            self.desks[scheduler as usize].queue.push_back(job);
        }
    }
}

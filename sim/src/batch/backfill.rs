//! First come, shortest first, and EASY backfilling in both orders: a head that nobody may delay, and jobs that pass it.
//!
//! A running job whose planned end is now or earlier counts as having given its processors back, even if its completion
//! at this very time is still to be handled: the published numbers depend on it.

use super::drive::Scheduler;
use super::releases::Releases;
use super::waiting::Waiting;
use super::{Job, Order, Pool};

/// The scheduler.
pub(super) struct Backfill<'a> {
    jobs: &'a [Job],
    planned_us: &'a [i64],
    is_backfilling: bool,
    /// Whether the head is the first in place (of all others: the first that was submitted).
    is_head_by_place: bool,
    /// Whether places are ranks by length, known before; else they are given at submission.
    is_ranked: bool,
    /// The place of each job.
    place: Vec<u32>,
    /// The job at each place.
    at: Vec<u32>,
    /// Jobs in the order of submission, and how many of the first of them have all started.
    submitted: Vec<u32>,
    head: usize,
    has_started: Vec<bool>,
    waiting: Waiting,
    count: usize,
    free: u64,
    releases: Releases,
    /// The planned end of each running job.
    ends_us: Vec<i64>,
}

impl<'a> Backfill<'a> {
    pub(super) fn new(pool: Pool, jobs: &'a [Job], planned_us: &'a [i64], order: Order) -> Self {
        let is_ranked = matches!(order, Order::EasySjbf | Order::Sjf);
        let mut place = vec![0; jobs.len()];
        let mut at = Vec::with_capacity(jobs.len());
        if is_ranked {
            at.extend(0..jobs.len() as u32);
            at.sort_by_key(|job| (planned_us[*job as usize], jobs[*job as usize].submit_us, *job));
            (0..).zip(&at).for_each(|(rank, job)| place[*job as usize] = rank);
        }
        Self {
            jobs,
            planned_us,
            is_backfilling: matches!(order, Order::Easy | Order::EasySjbf),
            is_head_by_place: order == Order::Sjf,
            is_ranked,
            place,
            at,
            submitted: Vec::with_capacity(jobs.len()),
            head: 0,
            has_started: vec![false; jobs.len()],
            waiting: Waiting::new(jobs.len()),
            count: 0,
            free: pool.processors,
            releases: Releases::new(),
            ends_us: vec![0; jobs.len()],
        }
    }

    /// The job nobody may delay.
    fn head(&mut self) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        if self.is_head_by_place {
            return self.waiting.first(0).map(|place| self.at[place]);
        }
        while self.has_started[self.submitted[self.head] as usize] {
            self.head += 1;
        }
        Some(self.submitted[self.head])
    }

    fn start(&mut self, job: u32, now_us: i64, starts: &mut Vec<u32>) {
        let index = job as usize;
        self.waiting.remove(self.place[index] as usize);
        self.count -= 1;
        self.has_started[index] = true;
        self.ends_us[index] = now_us + self.planned_us[index];
        if self.ends_us[index] > now_us {
            self.free -= self.jobs[index].processors;
            self.releases.add(self.ends_us[index], self.jobs[index].processors);
        }
        starts.push(job);
    }

    fn backfill(&mut self, head: u32, now_us: i64, starts: &mut Vec<u32>) {
        let lacking = self.jobs[head as usize].processors - self.free;
        let (shadow_us, back) = self.releases.enough(lacking).expect("no job is wider than the pool");
        let mut extra = back - lacking;
        let window_us = shadow_us - now_us;
        let mut from = 0;
        while self.free > 0 {
            let (free, narrow) = (self.free, extra.min(self.free));
            let fits = |least: super::waiting::Least| {
                least.processors <= narrow || least.processors <= free && least.planned_us <= window_us
            };
            let Some(place) = self.waiting.next(from, fits) else { break };
            let job = self.at[place];
            if self.planned_us[job as usize] > window_us {
                extra -= self.jobs[job as usize].processors;
            }
            self.start(job, now_us, starts);
            from = place + 1;
        }
    }
}

impl Scheduler for Backfill<'_> {
    fn submit(&mut self, job: u32, _now_us: i64) {
        let index = job as usize;
        if !self.is_ranked {
            self.place[index] = self.at.len() as u32;
            self.at.push(job);
        }
        self.submitted.push(job);
        self.waiting.insert(self.place[index] as usize, self.jobs[index].processors, self.planned_us[index]);
        self.count += 1;
    }

    fn complete(&mut self, job: u32, now_us: i64) {
        let index = job as usize;
        if self.ends_us[index] > now_us {
            self.free += self.jobs[index].processors;
            self.releases.remove(self.ends_us[index], self.jobs[index].processors);
        }
    }

    fn pass(&mut self, now_us: i64, starts: &mut Vec<u32>) {
        self.free += self.releases.due(now_us);
        let mut head = self.head();
        while let Some(job) = head.filter(|job| self.jobs[*job as usize].processors <= self.free) {
            self.start(job, now_us, starts);
            head = self.head();
        }
        if let Some(job) = head.filter(|_| self.is_backfilling && self.count > 1) {
            self.backfill(job, now_us, starts);
        }
    }
}

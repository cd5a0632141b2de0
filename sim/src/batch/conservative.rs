//! Conservative backfilling: a reservation for every job at its submission, and nobody delays anybody.
//!
//! When a job ends before its planned end, the reservations are gone through in the order of submission and each is moved
//! to its earliest feasible time, once. No job ever starts later than it was first promised; that is asserted.

use super::drive::Scheduler;
use super::profile::Profile;
use super::{Job, Pool};
use std::collections::BTreeSet;

/// The scheduler.
pub(super) struct Conservative<'a> {
    jobs: &'a [Job],
    planned_us: &'a [i64],
    profile: Profile,
    /// The jobs that wait, in the order of submission; those that started since are still in it.
    waiting: Vec<u32>,
    has_started: Vec<bool>,
    /// The reserved start of each job that waits, the actual one of each that runs.
    start_us: Vec<i64>,
    promised_us: Vec<i64>,
    /// Reserved starts and places in the order of submission, of those that wait.
    reserved: BTreeSet<(i64, u32, u32)>,
    place: Vec<u32>,
    submitted: u32,
    /// Until when anything came free that not every job was offered yet. What a job could not use when it was last looked
    /// at it can use now only by starting before this time.
    looser_until_us: i64,
    /// A job ended early since the reservations were last gone through.
    is_looser: bool,
    summits: Vec<(i64, i64)>,
}

impl<'a> Conservative<'a> {
    pub(super) fn new(pool: Pool, jobs: &'a [Job], planned_us: &'a [i64]) -> Self {
        Self {
            jobs,
            planned_us,
            profile: Profile::new(pool.processors, 0),
            waiting: Vec::new(),
            has_started: vec![false; jobs.len()],
            start_us: vec![0; jobs.len()],
            promised_us: vec![0; jobs.len()],
            reserved: BTreeSet::new(),
            place: vec![0; jobs.len()],
            submitted: 0,
            looser_until_us: 0,
            is_looser: false,
            summits: Vec::new(),
        }
    }

    fn reserve(&mut self, job: u32, start_us: i64) {
        let index = job as usize;
        self.start_us[index] = start_us;
        let width = self.jobs[index].processors as i64;
        self.profile.add(start_us, start_us + self.planned_us[index], -width);
        self.reserved.insert((start_us, self.place[index], job));
    }

    /// Moves reservations forward in time.
    fn tighten(&mut self, now_us: i64) {
        let mut waiting = core::mem::take(&mut self.waiting);
        waiting.retain(|job| !self.has_started[*job as usize]);
        if waiting.is_empty() {
            return;
        }
        self.profile.summits(&mut self.summits);
        let mut until_us = core::mem::take(&mut self.looser_until_us);
        for job in &waiting {
            let index = *job as usize;
            let (job_at, start_us, planned_us) = (&self.jobs[index], self.start_us[index], self.planned_us[index]);
            let width = job_at.processors as i64;
            let summit = self.summits.partition_point(|summit| summit.1 < width);
            let from_us = self.summits.get(summit).map_or(i64::MAX, |summit| summit.0.max(now_us));
            if from_us >= start_us.min(until_us) {
                continue;
            }
            let found = self.profile.find_earlier(job_at.processors, planned_us, from_us, start_us, until_us);
            let Some(earlier_us) = found else { continue };
            // Those before it in the order are offered what it leaves when a job next ends early.
            until_us = until_us.max(start_us + planned_us);
            self.looser_until_us = self.looser_until_us.max(start_us + planned_us);
            self.profile.add(start_us, start_us + planned_us, width);
            self.reserved.remove(&(start_us, self.place[index], *job));
            self.reserve(*job, earlier_us);
            self.profile.summits(&mut self.summits);
        }
        self.waiting = waiting;
    }
}

impl Scheduler for Conservative<'_> {
    fn submit(&mut self, job: u32, now_us: i64) {
        self.profile.forget(now_us);
        let index = job as usize;
        self.place[index] = self.submitted;
        self.submitted += 1;
        let found = self.profile.find(self.jobs[index].processors, self.planned_us[index], now_us);
        let start_us = found.expect("no job is wider than the pool");
        self.promised_us[index] = start_us;
        self.waiting.push(job);
        self.reserve(job, start_us);
    }

    fn complete(&mut self, job: u32, now_us: i64) {
        self.profile.forget(now_us);
        let index = job as usize;
        let end_us = self.start_us[index] + self.planned_us[index];
        if end_us > now_us {
            self.profile.add(now_us, end_us, self.jobs[index].processors as i64);
            self.is_looser = true;
            self.looser_until_us = self.looser_until_us.max(end_us);
        }
    }

    fn pass(&mut self, now_us: i64, starts: &mut Vec<u32>) {
        self.profile.forget(now_us);
        if core::mem::take(&mut self.is_looser) {
            self.tighten(now_us);
        }
        while let Some((start_us, _, job)) = self.reserved.first().copied().filter(|first| first.0 <= now_us) {
            self.reserved.pop_first();
            let index = job as usize;
            assert!(start_us <= self.promised_us[index], "job {} starts after its promise", self.jobs[index].id);
            self.has_started[index] = true;
            starts.push(job);
        }
        if self.reserved.is_empty() {
            self.waiting.clear();
        }
    }

    fn wake_us(&self) -> Option<i64> {
        self.reserved.first().map(|first| first.0)
    }
}

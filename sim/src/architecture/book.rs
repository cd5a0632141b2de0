//! What every architecture keeps of its jobs and schedulers, and the records it ends with.

use super::{ATTEMPTS_MAX, Cell, FRUITLESS_ATTEMPTS_MAX, Job, Scheduler};
use crate::record::{Capacity, JobRecord, Records, SchedulerRecord};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const DAY_US: i64 = 86_400_000_000;

/// Events by time, then by the order in which they were made.
pub(super) struct Events<E> {
    heap: BinaryHeap<Reverse<(i64, u64, E)>>,
    made: u64,
    handled: u64,
}

impl<E: Ord> Events<E> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), made: 0, handled: 0 }
    }

    pub(super) fn push(&mut self, time_us: i64, event: E) {
        self.made += 1;
        self.heap.push(Reverse((time_us, self.made, event)));
    }

    /// The next event, unless it is after the end of the run.
    pub(super) fn pop(&mut self, until_us: Option<i64>) -> Option<(i64, E)> {
        let Reverse((time_us, _, event)) = self.heap.pop()?;
        if until_us.is_some_and(|until| time_us > until) {
            return None;
        }
        self.handled += 1;
        Some((time_us, event))
    }

    pub(super) fn handled(&self) -> u64 {
        self.handled
    }
}

/// The state of a job.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Tasks placed; they are placed in order.
    pub(super) placed: u32,
    first_task: usize,
}

/// Jobs, tasks, schedulers.
pub(super) struct Book<'a> {
    pub(super) jobs: &'a [Job],
    pub(super) schedulers: &'a [Scheduler],
    pub(super) progress: Vec<Progress>,
    records: Records,
}

impl<'a> Book<'a> {
    pub(super) fn new(cell: &Cell, schedulers: &'a [Scheduler], jobs: &'a [Job]) -> Self {
        let mut records = Records::default();
        let mut progress = Vec::with_capacity(jobs.len());
        for job in jobs {
            progress.push(Progress { placed: 0, first_task: records.tasks.len() });
            records.tasks.extend(job.records());
            records.jobs.push(JobRecord {
                job: job.id,
                scheduler: job.scheduler,
                submit_us: job.submit_us,
                first_attempt_us: None,
                placed_us: None,
                attempts: 0,
                conflicts: 0,
                abandoned: false,
            });
        }
        let scheduler =
            |scheduler: &Scheduler| SchedulerRecord { name: scheduler.name.clone(), ..SchedulerRecord::default() };
        records.schedulers = schedulers.iter().map(scheduler).collect();
        let machines = cell.machines();
        records.capacity = Capacity {
            nodes: machines.len() as u64,
            cpus_milli: machines.iter().map(|machine| machine.cpus_milli).sum(),
            mem_mib: machines.iter().map(|machine| machine.mem_mib).sum(),
            gpus_milli: 0,
        };
        Self { jobs, schedulers, progress, records }
    }

    pub(super) fn left(&self, job: u32) -> u32 {
        self.jobs[job as usize].tasks - self.progress[job as usize].placed
    }

    /// A scheduler begins to think about a job: until when.
    pub(super) fn think(&mut self, by: u32, job: u32, now_us: i64) -> i64 {
        let scheduler = &self.schedulers[self.jobs[job as usize].scheduler as usize];
        let end_us = now_us + scheduler.job_us + scheduler.task_us * i64::from(self.left(job));
        let record = &mut self.records.jobs[job as usize];
        record.first_attempt_us.get_or_insert(now_us);
        record.attempts += 1;
        let by = &mut self.records.schedulers[by as usize];
        by.attempts += 1;
        by.busy_us += end_us - now_us;
        let mut from_us = now_us;
        while from_us < end_us {
            let day = (from_us / DAY_US) as usize;
            let stop_us = end_us.min((day as i64 + 1) * DAY_US);
            if by.busy_by_day_us.len() <= day {
                by.busy_by_day_us.resize(day + 1, 0);
            }
            by.busy_by_day_us[day] += stop_us - from_us;
            from_us = stop_us;
        }
        end_us
    }

    /// The next task of a job starts on a machine: when it ends.
    pub(super) fn start(&mut self, job: u32, machine: u32, now_us: i64) -> (i64, u32) {
        let progress = &mut self.progress[job as usize];
        let task = progress.placed;
        progress.placed += 1;
        let record = &mut self.records.tasks[progress.first_task + task as usize];
        record.start_us = Some(now_us);
        record.node = Some(machine);
        (now_us + record.run_us, task)
    }

    pub(super) fn end(&mut self, job: u32, task: u32, now_us: i64) {
        self.records.tasks[self.progress[job as usize].first_task + task as usize].end_us = Some(now_us);
    }

    /// An attempt is over; true when the job has to be tried again.
    pub(super) fn attempted(&mut self, by: u32, job: u32, accepted: &[bool], now_us: i64) -> bool {
        let kept = accepted.iter().filter(|one| **one).count() as u64;
        let lost = accepted.len() as u64 - kept;
        let scheduler = &mut self.records.schedulers[by as usize];
        let record = &mut self.records.jobs[job as usize];
        scheduler.claims_accepted += kept;
        scheduler.claims_conflicted += lost;
        scheduler.conflicted += u64::from(lost > 0);
        scheduler.committed += u64::from(kept > 0);
        record.conflicts += u32::from(lost > 0);
        let progress = &self.progress[job as usize];
        if progress.placed == self.jobs[job as usize].tasks {
            record.placed_us = Some(now_us);
            scheduler.jobs_placed += 1;
            return false;
        }
        let is_fruitless = progress.placed == 0 && record.attempts >= FRUITLESS_ATTEMPTS_MAX;
        if is_fruitless || record.attempts >= ATTEMPTS_MAX {
            record.abandoned = true;
            scheduler.jobs_abandoned += 1;
            return false;
        }
        true
    }

    pub(super) fn offered(&mut self, to: u32, is_used: bool) {
        self.records.schedulers[to as usize].offers += 1;
        self.records.schedulers[to as usize].offers_declined += u64::from(!is_used);
    }

    pub(super) fn capacity(&self) -> Capacity {
        self.records.capacity
    }

    pub(super) fn close(mut self, events: u64) -> Records {
        self.records.events = events;
        self.records
    }
}

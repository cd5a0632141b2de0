//! Virtual time for the orders that never stop a job: submissions, completions, wake-ups, one after the other.

use super::{Job, Outcome, Parameters, Passes, Ties, Times};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Who decides. Jobs are indices.
pub(super) trait Scheduler {
    /// A job was submitted.
    fn submit(&mut self, job: u32, now_us: i64);

    /// A running job has ended.
    fn complete(&mut self, job: u32, now_us: i64);

    /// Which jobs start now.
    fn pass(&mut self, now_us: i64, starts: &mut Vec<u32>);

    /// A time at which to be asked again, if nothing happens before.
    fn wake_us(&self) -> Option<i64> {
        None
    }
}

/// Times and numbers, smallest first.
type Heap<T> = BinaryHeap<Reverse<T>>;

/// What is to come.
struct Events {
    /// Submissions whose time is known from the start, latest first.
    known: Vec<(i64, u32)>,
    /// Submissions after a completion: time, number, job.
    turns: Heap<(i64, u64, u32)>,
    /// Completions: time, number, job.
    ends: Heap<(i64, u64, u32)>,
    made: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Submit(u32),
    Complete(u32),
    Wake,
}

impl Events {
    fn submission_us(&self) -> Option<i64> {
        let known = self.known.last().map(|next| next.0);
        let turn = self.turns.peek().map(|next| next.0.0);
        known.into_iter().chain(turn).min()
    }

    /// The next event and its time.
    fn next(&mut self, ties: Ties, wake_us: Option<i64>) -> Option<(i64, Event)> {
        let submission = self.submission_us();
        let end = self.ends.peek().map(|next| next.0.0);
        let is_submission = match (submission, end) {
            (Some(submission), Some(end)) => match ties {
                Ties::SubmissionsFirst => submission <= end,
                Ties::CompletionsFirst => submission < end,
            },
            (submission, _) => submission.is_some(),
        };
        let first = if is_submission { submission } else { end };
        if let Some(wake) = wake_us.filter(|wake| first.is_none_or(|first| *wake < first)) {
            return Some((wake, Event::Wake));
        }
        if !is_submission {
            return self.ends.pop().map(|Reverse((time, _, job))| (time, Event::Complete(job)));
        }
        // Known submissions go before those that a completion made at the same time.
        if self.known.last().map(|next| next.0) == submission {
            return self.known.pop().map(|(time, job)| (time, Event::Submit(job)));
        }
        self.turns.pop().map(|Reverse((time, _, job))| (time, Event::Submit(job)))
    }
}

/// For each job, the jobs that are submitted after it: a list in one array.
pub(super) struct Turns {
    first: Vec<u32>,
    jobs: Vec<u32>,
}

impl Turns {
    pub(super) fn new(jobs: &[Job]) -> Self {
        let mut first = vec![0; jobs.len() + 1];
        for after in jobs.iter().filter_map(|job| job.after) {
            first[after.job as usize + 1] += 1;
        }
        for index in 1..first.len() {
            first[index] += first[index - 1];
        }
        let mut next = first.clone();
        let mut turns = vec![0; first.last().copied().unwrap_or(0) as usize];
        for (index, job) in (0..).zip(jobs) {
            if let Some(after) = job.after {
                let place = &mut next[after.job as usize];
                turns[*place as usize] = index;
                *place += 1;
            }
        }
        Self { first, jobs: turns }
    }

    pub(super) fn after(&self, job: u32) -> &[u32] {
        let index = job as usize;
        &self.jobs[self.first[index] as usize..self.first[index + 1] as usize]
    }
}

/// The submissions that are known from the start, latest first.
pub(super) fn known(jobs: &[Job]) -> Vec<(i64, u32)> {
    let all = (0..).zip(jobs).filter(|(_, job)| job.after.is_none());
    let mut known: Vec<(i64, u32)> = all.map(|(index, job)| (job.submit_us, index)).collect();
    known.sort_unstable_by_key(|next| Reverse(*next));
    known
}

/// Lets time pass until every job has ended.
pub(super) fn run(jobs: &[Job], mut scheduler: impl Scheduler, parameters: &Parameters) -> Outcome {
    let turns = Turns::new(jobs);
    let mut events = Events { known: known(jobs), turns: Heap::new(), ends: Heap::new(), made: 0 };
    let mut times = vec![Times::default(); jobs.len()];
    let (mut starts, mut handled, mut left) = (Vec::new(), 0, jobs.len());
    while let Some((now_us, event)) = events.next(parameters.ties, scheduler.wake_us()) {
        handled += 1;
        match event {
            Event::Submit(job) => {
                times[job as usize].submit_us = now_us;
                scheduler.submit(job, now_us);
            }
            Event::Complete(job) => {
                left -= 1;
                scheduler.complete(job, now_us);
                for next in turns.after(job) {
                    let think_us = jobs[*next as usize].after.map_or(0, |after| after.think_us);
                    events.made += 1;
                    events.turns.push(Reverse((now_us + think_us, events.made, *next)));
                }
            }
            Event::Wake => {}
        }
        if parameters.passes == Passes::EachTime {
            let next = events.submission_us().into_iter().chain(events.ends.peek().map(|next| next.0.0)).min();
            if next == Some(now_us) {
                continue;
            }
        }
        scheduler.pass(now_us, &mut starts);
        for job in starts.drain(..) {
            let (job, times) = (&jobs[job as usize], (job, &mut times[job as usize]));
            times.1.start_us = now_us;
            times.1.end_us = now_us + job.run_us.min(job.planned_us);
            events.made += 1;
            events.ends.push(Reverse((times.1.end_us, events.made, times.0)));
        }
    }
    assert_eq!(left, 0, "jobs are left that never ended");
    Outcome { times, preemptions: 0, events: handled }
}

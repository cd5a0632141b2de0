//! Orders that stop running jobs: shortest remaining time, least attained service.
//!
//! After each event the jobs, running and waiting, are gone through from the best key to the worst; each runs if it fits
//! beside the better ones that do. Keys end in submission and input order, so that none is equal. A stopped job keeps
//! what it has done and pays the stated cost when it goes on.

use super::drive::{Turns, known};
use super::{Job, Levels, Order, Outcome, Parameters, Pool, Ties, Times};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// Smaller goes first: remaining time or level, place in the order of submission, job.
type Key = (i64, u32, u32);

struct State {
    /// Work left until the end, costs of preemption included.
    left_us: i64,
    /// Time it ran so far.
    done_us: i64,
    /// Since when it runs.
    since_us: i64,
    /// Counts starts and stops, so that the events of an earlier stretch are known as old.
    stretch: u32,
    place: u32,
    /// The key under which it stands among those that run or wait.
    key: Key,
    is_running: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Submit,
    End,
    Level,
}

/// Time, class at equal times, number, kind, job, stretch.
type Event = (i64, u8, u64, Kind, u32, u32);

struct Engine<'a> {
    jobs: &'a [Job],
    planned_us: &'a [i64],
    order: Order,
    parameters: &'a Parameters,
    states: Vec<State>,
    times: Vec<Times>,
    running: BTreeSet<Key>,
    waiting: BTreeSet<Key>,
    free: u64,
    events: BinaryHeap<Reverse<Event>>,
    made: u64,
    preemptions: u64,
}

pub(super) fn run(pool: Pool, jobs: &[Job], planned_us: &[i64], order: Order, parameters: &Parameters) -> Outcome {
    let turns = Turns::new(jobs);
    let state = |job: &Job| State {
        left_us: job.run_us.min(job.planned_us),
        done_us: 0,
        since_us: 0,
        stretch: 0,
        place: 0,
        key: (0, 0, 0),
        is_running: false,
    };
    let mut engine = Engine {
        jobs,
        planned_us,
        order,
        parameters,
        states: jobs.iter().map(state).collect(),
        times: vec![Times::default(); jobs.len()],
        running: BTreeSet::new(),
        waiting: BTreeSet::new(),
        free: pool.processors,
        events: BinaryHeap::new(),
        made: 0,
        preemptions: 0,
    };
    for (submit_us, job) in known(jobs).into_iter().rev() {
        engine.expect(submit_us, Kind::Submit, job);
    }
    let (mut handled, mut submitted) = (0, 0);
    while let Some(Reverse((now_us, _, _, kind, job, stretch))) = engine.events.pop() {
        let state = &mut engine.states[job as usize];
        if kind != Kind::Submit && (!state.is_running || state.stretch != stretch) {
            continue;
        }
        handled += 1;
        match kind {
            Kind::Submit => {
                engine.times[job as usize].submit_us = now_us;
                state.place = submitted;
                submitted += 1;
                engine.wait(job, now_us);
            }
            Kind::End => {
                engine.running.remove(&state.key);
                state.is_running = false;
                engine.free += jobs[job as usize].processors;
                engine.times[job as usize].end_us = now_us;
                for next in turns.after(job) {
                    let think_us = jobs[*next as usize].after.map_or(0, |after| after.think_us);
                    engine.expect(now_us + think_us, Kind::Submit, *next);
                }
            }
            Kind::Level => engine.step_down(job, now_us),
        }
        engine.pass(now_us);
    }
    assert!(engine.waiting.is_empty() && engine.running.is_empty(), "jobs are left that never ended");
    Outcome { times: engine.times, preemptions: engine.preemptions, events: handled }
}

impl Engine<'_> {
    fn expect(&mut self, time_us: i64, kind: Kind, job: u32) {
        let is_first = (kind == Kind::Submit) == (self.parameters.ties == Ties::SubmissionsFirst);
        self.made += 1;
        let stretch = self.states[job as usize].stretch;
        self.events.push(Reverse((time_us, u8::from(!is_first), self.made, kind, job, stretch)));
    }

    /// The part of the key that the order gives. Of a running job it is the one that holds as long as it runs: for the
    /// remaining time that is its planned end, which orders jobs as what remains of them does.
    fn rank(&self, job: u32, now_us: i64) -> i64 {
        let (index, state) = (job as usize, &self.states[job as usize]);
        match self.order {
            Order::Srpt => {
                let remaining_us = (self.planned_us[index] - state.done_us).max(0);
                remaining_us + if state.is_running { now_us } else { 0 }
            }
            _ => self.level(self.attained_us(job)).0,
        }
    }

    fn attained_us(&self, job: u32) -> i64 {
        let width = i64::try_from(self.jobs[job as usize].processors).unwrap_or(i64::MAX);
        self.states[job as usize].done_us.saturating_mul(width)
    }

    /// The level of an attained service, and where it ends.
    fn level(&self, attained_us: i64) -> (i64, Option<i64>) {
        match &self.parameters.levels {
            Levels::Every(step) => (attained_us / step, Some((attained_us / step + 1).saturating_mul(*step))),
            Levels::At(ends) => {
                let level = ends.partition_point(|end| *end <= attained_us);
                (level as i64, ends.get(level).copied())
            }
        }
    }

    fn wait(&mut self, job: u32, now_us: i64) {
        let key = (self.rank(job, now_us), self.states[job as usize].place, job);
        self.states[job as usize].key = key;
        self.waiting.insert(key);
    }

    fn start(&mut self, job: u32, now_us: i64) {
        let index = job as usize;
        self.waiting.remove(&self.states[index].key);
        self.free -= self.jobs[index].processors;
        let state = &mut self.states[index];
        if state.stretch == 0 {
            self.times[index].start_us = now_us;
        }
        state.is_running = true;
        state.since_us = now_us;
        state.stretch += 1;
        let end_us = now_us + state.left_us;
        self.expect(end_us, Kind::End, job);
        self.enter(job, now_us);
    }

    /// Puts a job that runs among those that run, and notes when its key changes.
    fn enter(&mut self, job: u32, now_us: i64) {
        let index = job as usize;
        let key = (self.rank(job, now_us), self.states[index].place, job);
        self.states[index].key = key;
        self.running.insert(key);
        if self.order == Order::Las {
            let attained_us = self.attained_us(job);
            if let (_, Some(end_us)) = self.level(attained_us) {
                let width = i64::try_from(self.jobs[index].processors).unwrap_or(i64::MAX);
                let until_us = (end_us - attained_us).div_euclid(width) + i64::from((end_us - attained_us) % width > 0);
                if until_us < self.states[index].left_us {
                    self.expect(now_us + until_us, Kind::Level, job);
                }
            }
        }
    }

    /// Accounts for the time since `since_us`.
    fn settle(&mut self, job: u32, now_us: i64) {
        let state = &mut self.states[job as usize];
        let ran_us = now_us - state.since_us;
        state.left_us -= ran_us;
        state.done_us += ran_us;
        state.since_us = now_us;
    }

    fn step_down(&mut self, job: u32, now_us: i64) {
        self.running.remove(&self.states[job as usize].key);
        self.settle(job, now_us);
        self.enter(job, now_us);
    }

    fn stop(&mut self, job: u32, now_us: i64) {
        self.running.remove(&self.states[job as usize].key);
        self.settle(job, now_us);
        self.free += self.jobs[job as usize].processors;
        let state = &mut self.states[job as usize];
        state.is_running = false;
        state.stretch += 1;
        state.left_us += self.parameters.preemption_cost_us;
        self.preemptions += 1;
        self.wait(job, now_us);
    }

    /// The key a waiting job would have if it ran.
    fn as_running(&self, key: Key, now_us: i64) -> Key {
        if self.order == Order::Srpt { (key.0 + now_us, key.1, key.2) } else { key }
    }

    fn pass(&mut self, now_us: i64) {
        let mut from = Key::default();
        while let Some(key) = self.waiting.range(from..).next().copied() {
            from = (key.0, key.1, key.2 + 1);
            let wanted = self.jobs[key.2 as usize].processors;
            let better = self.as_running(key, now_us);
            let has_worse = self.running.last().is_some_and(|last| *last > better);
            if self.free == 0 && !has_worse {
                break;
            }
            let mut room = self.free;
            if has_worse && room < wanted {
                for worse in self.running.iter().rev().take_while(|worse| **worse > better) {
                    room += self.jobs[worse.2 as usize].processors;
                    if room >= wanted {
                        break;
                    }
                }
            }
            if room < wanted {
                continue;
            }
            while self.free < wanted {
                let worst = self.running.last().copied().expect("the room was counted over these");
                self.stop(worst.2, now_us);
            }
            self.start(key.2, now_us);
        }
    }
}

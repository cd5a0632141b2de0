//! The course of a run over time: queue, use and shares, as averages over equal intervals from the first submit to the
//! last end.
//!
//! One sweep over starts and ends in order of time. Records hold the first start and the end of a task only, so where
//! tasks were thrown out and started anew nobody knows when each held its resources: then there are only the queue, and
//! the utilisation over the whole window, from run times.

use super::fairness::{Parts, dominant, fair_shares, jain};
use super::{Metrics, enter, seconds};
use crate::record::{Capacity, Records, TaskRecord};
use crate::study::statistic::mean;
use crate::table::{Column, Table};
use std::collections::BTreeMap;

/// Tenants with a share of their own in tables; the others are added up.
pub(crate) const TENANTS_SHOWN: usize = 7;
/// Beyond so many tenants the deviation from fair shares, which costs their square, is left out.
const TENANTS_MEASURED: usize = 512;

/// Averages over one interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Interval {
    /// Its begin, from the first submit, in seconds.
    pub(crate) begin_seconds: f64,
    /// Tasks submitted and not started.
    pub(crate) queue: f64,
    /// Tasks that hold resources.
    pub(crate) running: f64,
    /// Parts of the capacity in use: CPU, memory, GPU.
    pub(crate) used: Parts,
    /// Dominant shares of the tenants shown, in their order, and of all others together.
    pub(crate) shares: Vec<f64>,
}

/// The course of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Timeline {
    pub(crate) intervals: Vec<Interval>,
    /// The tenants shown, those with most of the cluster first.
    pub(crate) tenants: Vec<u32>,
    capacity: Capacity,
    /// Each tenant's dominant share, averaged over the window.
    averages: Vec<f64>,
    /// Mean over tenants with demand and over instants of the distance to the fair share.
    deviation: Option<f64>,
    /// Use of CPU, memory, GPU over the window, as parts of the capacity.
    used: Parts,
    /// Tasks were thrown out: what was held when is not known.
    is_split: bool,
}

/// A value whose integral is taken interval by interval.
struct Integral {
    value: f64,
    since: i64,
    sums: Vec<f64>,
}

#[derive(Clone, Copy)]
struct Window {
    begin: i64,
    end: i64,
    count: usize,
}

impl Window {
    fn edge(self, interval: usize) -> i64 {
        let length = i128::from(self.end - self.begin) * interval as i128 / self.count as i128;
        self.begin + length as i64
    }

    fn interval(self, at: i64) -> usize {
        let length = i128::from(self.end - self.begin).max(1);
        let interval = i128::from(at - self.begin) * self.count as i128 / length;
        let mut interval = usize::try_from(interval).unwrap_or(0).min(self.count - 1);
        // Edges are cut to whole microseconds; the last ones of an interval may lie beyond.
        while interval + 1 < self.count && self.edge(interval + 1) <= at {
            interval += 1;
        }
        interval
    }
}

impl Integral {
    fn new(window: Window) -> Self {
        Self { value: 0.0, since: window.begin, sums: vec![0.0; window.count] }
    }

    /// The value changes at `now`; until then it was what it was.
    fn change(&mut self, window: Window, now: i64, value: f64) {
        let now = now.clamp(window.begin, window.end);
        if self.value != 0.0 {
            let mut from = self.since;
            let mut interval = window.interval(from);
            while from < now {
                let until = if interval + 1 < window.count { window.edge(interval + 1).min(now) } else { now };
                self.sums[interval] += self.value * (until - from) as f64;
                from = until;
                interval += 1;
            }
        }
        (self.value, self.since) = (value, now);
    }

    /// Averages over the intervals.
    fn averages(mut self, window: Window) -> Vec<f64> {
        self.change(window, window.end, 0.0);
        let length = |interval: usize| (window.edge(interval + 1) - window.edge(interval)).max(1) as f64;
        self.sums.iter().enumerate().map(|(interval, sum)| sum / length(interval)).collect()
    }

    fn total(&self) -> f64 {
        self.sums.iter().sum()
    }
}

/// What one tenant holds and waits for, in whole amounts.
#[derive(Clone, Copy, Default)]
struct Held {
    held: [i128; 3],
    waiting: [i128; 3],
}

fn amounts(task: &TaskRecord) -> [i128; 3] {
    [task.cpus_milli.into(), task.mem_mib.into(), task.gpus_milli.into()]
}

fn parts(amounts: &[i128; 3], capacity: &Capacity) -> Parts {
    let capacity = [capacity.cpus_milli, capacity.mem_mib, capacity.gpus_milli];
    core::array::from_fn(|one| if capacity[one] == 0 { 0.0 } else { amounts[one] as f64 / capacity[one] as f64 })
}

/// What happens to a task, in the order of what happens at one instant: nothing is in use twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    End,
    Submit,
    Start,
    /// Starts and ends at once.
    Pass,
}

/// What has been summed up on the way from the first step to the last.
struct Sweep {
    window: Window,
    capacity: Capacity,
    /// By number of the tenant, as `shares`.
    held: Vec<Held>,
    all: [i128; 3],
    waiting: i32,
    active: i32,
    shares: Vec<Integral>,
    queue: Integral,
    running: Integral,
    used: [Integral; 3],
    /// Of the middles of the intervals that lie behind.
    deviations: Vec<f64>,
    /// How many those are.
    sampled: usize,
}

impl Sweep {
    fn new(window: Window, tenants: usize, capacity: Capacity) -> Self {
        let integral = || Integral::new(window);
        Self {
            window,
            capacity,
            held: vec![Held::default(); tenants],
            all: [0; 3],
            waiting: 0,
            active: 0,
            shares: (0..tenants).map(|_| integral()).collect(),
            queue: integral(),
            running: integral(),
            used: core::array::from_fn(|_| integral()),
            deviations: Vec::new(),
            sampled: 0,
        }
    }

    /// A step of a task of a tenant.
    fn step(&mut self, at: i64, step: Step, tenant: usize, amounts: [i128; 3]) {
        let window = self.window;
        while self.sampled < window.count && at > middle(window, self.sampled) {
            self.deviations.extend(deviation(&self.held, &self.capacity));
            self.sampled += 1;
        }
        // How waiting and holding change.
        let (waits, holds) = match step {
            Step::Submit => (1, 0),
            Step::Start => (-1, 1),
            Step::Pass => (-1, 0),
            Step::End => (0, -1),
        };
        self.waiting += waits;
        self.active += holds;
        let own = &mut self.held[tenant];
        for (one, amount) in amounts.into_iter().enumerate() {
            own.waiting[one] += i128::from(waits) * amount;
            own.held[one] += i128::from(holds) * amount;
            self.all[one] += i128::from(holds) * amount;
        }
        self.queue.change(window, at, self.waiting.into());
        if holds != 0 {
            self.running.change(window, at, self.active.into());
            self.shares[tenant].change(window, at, dominant(&parts(&own.held, &self.capacity)));
            for (integral, part) in self.used.iter_mut().zip(parts(&self.all, &self.capacity)) {
                integral.change(window, at, part);
            }
        }
    }

    /// Nothing is held after the window.
    fn end(mut self) -> Self {
        for share in &mut self.shares {
            share.change(self.window, self.window.end, 0.0);
        }
        self
    }
}

impl Timeline {
    pub(crate) fn of(records: &Records, count: usize) -> Self {
        let begin = records.tasks.iter().map(|task| task.submit_us).min();
        let end = records.tasks.iter().filter_map(|task| task.end_us.or(task.start_us)).max();
        let capacity = records.capacity;
        let Some((begin, end)) = begin.zip(end).filter(|(begin, end)| begin < end) else {
            return Self { capacity, ..Self::default() };
        };
        let window = Window { begin, end, count: count.max(1) };
        let mut numbers = BTreeMap::new();
        for task in &records.tasks {
            let next = numbers.len();
            numbers.entry(task.tenant).or_insert(next);
        }
        let mut sweep = Sweep::new(window, numbers.len(), capacity);
        for (at, step, index) in steps(records, end) {
            let task = &records.tasks[index as usize];
            sweep.step(at, step, numbers[&task.tenant], amounts(task));
        }
        let Sweep { shares, queue, running, used, deviations, .. } = sweep.end();
        let length = (end - begin) as f64;
        let averages: Vec<f64> = shares.iter().map(|share| share.total() / length).collect();
        let names: BTreeMap<usize, u32> = numbers.iter().map(|(&tenant, &number)| (number, tenant)).collect();
        let mut order: Vec<usize> = (0..averages.len()).collect();
        order.sort_by(|&a, &b| averages[b].total_cmp(&averages[a]).then(names[&a].cmp(&names[&b])));
        let shares: Vec<Vec<f64>> = shares.into_iter().map(|share| share.averages(window)).collect();
        let (queue, running) = (queue.averages(window), running.averages(window));
        let is_split = records.preemptions > 0;
        let whole = if is_split {
            from_run_times(records, window)
        } else {
            core::array::from_fn(|one| used[one].total() / length)
        };
        let used = used.map(|integral| integral.averages(window));
        let shown = &order[..order.len().min(TENANTS_SHOWN)];
        let interval = |number: usize| {
            let rest: f64 = order[shown.len()..].iter().map(|&tenant| shares[tenant][number]).sum();
            Interval {
                begin_seconds: seconds(window.edge(number) - begin),
                queue: queue[number],
                running: running[number],
                used: core::array::from_fn(|one| used[one][number]),
                shares: shown.iter().map(|&tenant| shares[tenant][number]).chain([rest]).collect(),
            }
        };
        Self {
            intervals: (0..window.count).map(interval).collect(),
            tenants: shown.iter().map(|number| names[number]).collect(),
            capacity,
            averages,
            deviation: mean(&deviations),
            used: whole,
            is_split,
        }
    }

    /// Utilisation over the window, and how evenly tenants shared.
    pub(super) fn add(&self, metrics: &mut Metrics) {
        let capacity = [self.capacity.cpus_milli, self.capacity.mem_mib, self.capacity.gpus_milli];
        for (one, name) in ["cpus", "mem", "gpus"].into_iter().enumerate() {
            let is_known = capacity[one] > 0 && !self.intervals.is_empty();
            enter(metrics, format!("utilisation_{name}"), is_known.then_some(self.used[one]));
        }
        let queue: Vec<f64> = self.intervals.iter().map(|interval| interval.queue).collect();
        enter(metrics, "queue_length_mean", mean(&queue));
        if capacity.iter().any(|&one| one > 0) && !self.is_split {
            enter(metrics, "tenants", Some(self.averages.len() as f64));
            enter(metrics, "dominant_share_max", self.averages.iter().copied().reduce(f64::max));
            enter(metrics, "jain_index", jain(&self.averages));
            enter(metrics, "fair_share_deviation_mean", self.deviation);
        }
    }
}

fn middle(window: Window, interval: usize) -> i64 {
    let (begin, end) = (window.edge(interval), window.edge(interval + 1));
    begin + (end - begin) / 2
}

/// The mean distance of the tenants with demand from their fair shares, now; none when nobody wants anything.
fn deviation(held: &[Held], capacity: &Capacity) -> Option<f64> {
    if held.len() > TENANTS_MEASURED {
        return None;
    }
    let wanted = |one: &Held| core::array::from_fn(|r| one.held[r] + one.waiting[r]);
    let demands: Vec<Parts> = held.iter().map(|one| parts(&wanted(one), capacity)).collect();
    let fair = fair_shares(&demands);
    let distances: Vec<f64> = held
        .iter()
        .zip(&demands)
        .zip(&fair)
        .filter(|((_, demand), _)| dominant(demand) > 0.0)
        .map(|((one, _), fair)| (dominant(&parts(&one.held, capacity)) - fair).abs())
        .collect();
    mean(&distances)
}

/// The use over the window when all that is known is how long tasks ran.
fn from_run_times(records: &Records, window: Window) -> Parts {
    let mut sums = [0_i128; 3];
    for task in records.tasks.iter().filter(|task| task.end_us.is_some()) {
        for (sum, amount) in sums.iter_mut().zip(amounts(task)) {
            *sum += amount * i128::from(task.run_us);
        }
    }
    parts(&sums, &records.capacity).map(|part| part / (window.end - window.begin) as f64)
}

/// What happens, in order of time.
fn steps(records: &Records, end: i64) -> Vec<(i64, Step, u32)> {
    let mut steps = Vec::with_capacity(records.tasks.len() * 3);
    for (index, task) in records.tasks.iter().enumerate() {
        let mut add = |at: i64, step: Step| steps.push((at, step, index as u32));
        add(task.submit_us, Step::Submit);
        let Some(start) = task.start_us else { continue };
        let ended = task.end_us.unwrap_or(end);
        if start < ended {
            add(start, Step::Start);
            add(ended, Step::End);
        } else {
            add(start, Step::Pass);
        }
    }
    steps.sort_unstable();
    steps
}

impl Timeline {
    /// The per-interval table; none when no time passed.
    pub(crate) fn table(&self) -> Option<Table> {
        if self.intervals.is_empty() {
            return None;
        }
        let column = |of: &dyn Fn(&Interval) -> f64| Column::Real(self.intervals.iter().map(of).collect());
        let mut table = Table::new()
            .with("begin_seconds", column(&|one| one.begin_seconds))
            .with("queue_length", column(&|one| one.queue));
        if self.is_split {
            return Some(table);
        }
        table = table.with("running", column(&|one| one.running));
        let capacity = [self.capacity.cpus_milli, self.capacity.mem_mib, self.capacity.gpus_milli];
        for (resource, name) in ["cpus", "mem", "gpus"].into_iter().enumerate() {
            if capacity[resource] > 0 {
                table = table.with(format!("utilisation_{name}"), column(&|one| one.used[resource]));
            }
        }
        for (number, tenant) in self.tenants.iter().enumerate() {
            table = table.with(format!("share_{tenant}"), column(&|one| one.shares[number]));
        }
        Some(table.with("share_others", column(&|one| one.shares.last().copied().unwrap_or(0.0))))
    }
}

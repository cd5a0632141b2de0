//! Troubles as what happens to single machines: what a scenario says, what the swarm draws, and churn.

use super::{Plan, Planner, operators};
use crate::machine::happening::Happening;
use crate::options::Options;
use crate::stage::{Incident, Stage, Trouble, Whom};
use crate::workload::generate::Law;
use crate::world::laws::DETECT;
use kaon_kernel::chance::Chance;
use kaon_kernel::time::{Duration, Instant};

/// A slow disk flushes so many times slower.
const SLOW_TIMES: u64 = 100;
/// A message costs an actor on a slow machine so long.
const SLOW_HANDLING: Duration = Duration::millis(5);
/// A wall clock jumps so far ahead.
const CLOCK_AHEAD: i64 = 30_000_000_000;
/// A flapping line is cut and whole for so long in turn.
const FLAP: Duration = Duration::secs(1);
/// At most so many machines fail by churn in one run.
const CHURNED_MAX: u32 = 1_000_000;
/// Sets the chance of churn and of targets apart from that of the swarm.
const STREAM: u64 = 0x5707_2a11_c4a5_0004;

/// How a trouble strikes one machine; the master is machine 0. The first happening is when it begins.
pub(super) fn strike(
    trouble: Trouble,
    machine: u32,
    at: Instant,
    length: Duration,
    pick: u64,
) -> Vec<(u32, Instant, Happening)> {
    let until = at + length;
    match trouble {
        Trouble::Crash => vec![(machine, at, Happening::Crash { slot: 0, away: length })],
        Trouble::Power => vec![(machine, at, Happening::PowerOff), (machine, until, Happening::PowerOn)],
        Trouble::Executor => vec![(machine, at, Happening::CrashExecutor { pick })],
        Trouble::Partition => cut(machine, (true, true), at, until),
        Trouble::PartitionTo => cut(machine, (true, false), at, until),
        Trouble::PartitionFrom => cut(machine, (false, true), at, until),
        Trouble::Flapping => {
            let mut course = Vec::new();
            let mut from = at;
            while from < until {
                course.extend(cut(machine, (true, true), from, (from + FLAP).min(until)));
                from = from + FLAP.times(2);
            }
            course
        }
        Trouble::SlowDisk => vec![(machine, at, Happening::SlowDisk { factor: SLOW_TIMES, until })],
        Trouble::FullDisk => vec![(machine, at, Happening::FullDisk { until })],
        Trouble::Pause => {
            let mut course = vec![(machine, at, Happening::Pause { until })];
            // Its peers notice a long silence, and it finds its sessions gone.
            if length > DETECT.least {
                course.extend(cut(machine, (true, true), at, until));
            }
            course
        }
        Trouble::Slow => vec![(machine, at, Happening::Slow { handling: SLOW_HANDLING, until })],
        Trouble::Clock => {
            vec![
                (machine, at, Happening::Clock { ahead: CLOCK_AHEAD }),
                (machine, until, Happening::Clock { ahead: 0 }),
            ]
        }
        Trouble::Drain | Trouble::Deactivate | Trouble::Gone | Trouble::Maintenance => {
            operators::strike(trouble, machine, at, until)
        }
    }
}

/// The line between a machine and the master is cut, in the directions there and back.
pub(super) fn cut(
    machine: u32,
    (there, back): (bool, bool),
    at: Instant,
    until: Instant,
) -> Vec<(u32, Instant, Happening)> {
    let long = until.since(at) > DETECT.least + DETECT.spread;
    let here = Happening::Cut { peer: 0, outgoing: there, until, long };
    let beyond = Happening::Cut { peer: machine, outgoing: back, until, long };
    vec![(machine, at, here), (0, at, beyond)]
}

/// Whom a trouble strikes, by machine.
fn machines(whom: Whom, options: &Options, stage: &Stage, chance: &mut Chance) -> Vec<u32> {
    let range = |first: u32, count: u32| {
        let first = first.saturating_add(1);
        (first..=first.saturating_add(count.max(1) - 1).min(options.agents)).collect()
    };
    match whom {
        Whom::Master => vec![0],
        Whom::Agent(number) => vec![number],
        Whom::Rack(number) => range(number.saturating_mul(stage.rack), stage.rack),
        Whom::Zone(number) => {
            let size = stage.rack.saturating_mul(stage.zone);
            range(number.saturating_mul(size), size)
        }
        Whom::Percent(percent) => {
            let mut all: Vec<u32> = (1..=options.agents).collect();
            chance.shuffle(&mut all);
            all.truncate((u64::from(options.agents) * u64::from(percent)).div_ceil(100) as usize);
            all
        }
        Whom::Framework(number) => vec![options.agents.saturating_add(1).saturating_add(number)],
    }
}

/// What a scenario says goes wrong, and its churn.
pub(super) fn stage(plan: &mut Plan, options: &Options, stage: &Stage) {
    let mut chance = Chance::new(options.seed ^ STREAM);
    for Incident { at, length, trouble, whom } in &stage.incidents {
        let begin = Instant(0) + *at;
        let most = options.agents + options.frameworks;
        for machine in machines(*whom, options, stage, &mut chance).into_iter().filter(|machine| *machine <= most) {
            // An agent has no line to itself; a master's is that of each agent.
            plan.faults.extend(strike(*trouble, machine, begin, *length, chance.bits()));
        }
        plan.calm = plan.calm.max(begin + *length);
        let word = Trouble::ALL.iter().find(|(one, _)| one == trouble).map_or("", |(_, word)| word);
        plan.words.push(format!("{:.3} s: {word} of {whom:?} for {length}", at.as_seconds()));
    }
    let churn = &stage.churn;
    let joining = churn.joining.min(options.agents.saturating_sub(1));
    for late in 0..joining {
        let wait = Duration(churn.over.0 / u64::from(joining) * u64::from(late + 1));
        plan.joins.push((options.agents - late, Instant(0) + wait));
        plan.calm = plan.calm.max(Instant(0) + wait);
    }
    if churn.failing > Duration::ZERO && churn.until > Duration::ZERO {
        let (gaps, away) = (Law::Exponential(churn.failing.as_seconds()), Law::Exponential(churn.away.as_seconds()));
        let draw = |law: &Law, chance: &mut Chance| Duration::from_seconds(law.draw(chance)).unwrap_or(Duration::ZERO);
        let mut at = Instant(0) + draw(&gaps, &mut chance);
        let (end, mut count) = (Instant(0) + churn.until, 0);
        while at < end && count < CHURNED_MAX {
            let machine = 1 + chance.below(u64::from(options.agents)) as u32;
            let length = draw(&away, &mut chance);
            plan.faults.extend(strike(Trouble::Power, machine, at, length, 0));
            plan.calm = plan.calm.max(at + length);
            at = at + draw(&gaps, &mut chance);
            count += 1;
        }
        plan.words.push(format!("churn: {count} losses of power"));
    }
}

impl Planner {
    fn struck(&mut self, trouble: Trouble, (least, most): (u64, u64), what: &str) {
        let machine = if self.toss() { 0 } else { self.some_agent() };
        let machine = if matches!(trouble, Trouble::Flapping) { machine.max(1) } else { machine };
        self.strike_one(trouble, machine, (least, most), what);
    }

    fn strike_one(&mut self, trouble: Trouble, machine: u32, (least, most): (u64, u64), what: &str) {
        let (length, pick) = (self.seconds(least, most), self.chance.bits());
        let at = self.moment(length);
        let words = format!("machine {machine} {what} for {length}");
        self.add_all(strike(trouble, machine, at, length, pick), words);
    }

    pub(super) fn racks(&mut self, _: &Options) {
        let size = (self.agents / 3).max(1);
        let first = 1 + self.chance.below(u64::from(self.agents)) as u32;
        self.together(first, size, "a rack");
    }

    pub(super) fn zones(&mut self, _: &Options) {
        let size = (self.agents / 2).max(1);
        self.together(1, size, "a zone");
    }

    fn together(&mut self, first: u32, size: u32, what: &str) {
        let last = (first + size - 1).min(self.agents);
        let length = self.seconds(2, 40);
        let at = self.moment(length);
        let all = (first..=last).flat_map(|machine| strike(Trouble::Power, machine, at, length, 0)).collect();
        self.add_all(all, format!("{what}, agents {first} to {last}, has no power for {length}"));
    }

    pub(super) fn flapping(&mut self, _: &Options) {
        self.struck(Trouble::Flapping, (3, 20), "has a flapping line");
    }

    pub(super) fn pauses(&mut self, options: &Options) {
        match self.chance.below(4) {
            0 => {
                let client = 1 + self.agents + self.chance.below(u64::from(options.frameworks)) as u32;
                self.strike_one(Trouble::Pause, client, (1, 15), "stands still");
            }
            _ => self.struck(Trouble::Pause, (1, 15), "stands still"),
        }
    }

    pub(super) fn slow_machines(&mut self, _: &Options) {
        self.struck(Trouble::Slow, (2, 20), "is slow");
    }

    pub(super) fn clocks(&mut self, _: &Options) {
        self.struck(Trouble::Clock, (1, 30), "has a clock 30 s ahead");
    }

    pub(super) fn full_disks(&mut self, _: &Options) {
        self.struck(Trouble::FullDisk, (1, 10), "has a full disk");
    }
}

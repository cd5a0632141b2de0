//! What goes wrong in a run, chosen by its seed.
//!
//! A swarm: each seed turns on a random subset of the kinds of faults, because all of them at once hide what one of them
//! alone would show. Faults end with the storm; after it the cluster has to come to rest by itself.

mod incident;
mod operators;

use crate::client::ClientFaults;
use crate::machine::happening::Happening;
use crate::machine::place::Place;
use crate::options::Options;
use crate::stage::Network;
use crate::world::laws::{DETECT, Delay, Laws};
use kaon_kernel::actor::LinkState;
use kaon_kernel::chance::Chance;
use kaon_kernel::time::{Duration, Instant};

/// Sets the chance of faults apart from that of everything else.
const STREAM: u64 = 0x5707_2a11_c4a5_0001;
/// The most faults of one kind in a run.
const FAULTS_MAX: u64 = 6;
/// The open part of a small mailbox, in messages: a flood of one framework fills it.
const SMALL_MAILBOX: usize = 512;

/// The plan of a run: its physics, its faults, and the patience of its actors.
pub(crate) struct Plan {
    pub(crate) laws: Laws,
    /// From here on nothing goes wrong any more.
    pub(crate) calm: Instant,
    /// What happens, to which machine and when.
    pub(crate) faults: Vec<(u32, Instant, Happening)>,
    /// The same in words.
    pub(crate) words: Vec<String>,
    /// How often agents are pinged.
    pub(crate) ping_interval: Duration,
    /// How long a disconnected agent may take to come back.
    pub(crate) agent_return: Duration,
    /// What goes wrong with frameworks.
    pub(crate) clients: ClientFaults,
    /// Machines that get their power later than the others, and when.
    pub(crate) joins: Vec<(u32, Instant)>,
}

impl Plan {
    /// Whether operators do anything.
    pub(crate) fn has_operator(&self) -> bool {
        self.faults.iter().any(|(_, _, happening)| matches!(happening, Happening::Operate { .. }))
    }
}

struct Planner {
    chance: Chance,
    /// Counts what the seed has chosen so far, whether it is kept or not.
    chosen: u32,
    kept: Option<Vec<u32>>,
    agents: u32,
    storm: Duration,
    plan: Plan,
}

/// The plan of a seed. The master is machine 0, agents follow, then clients.
pub(crate) fn plan(options: &Options) -> Plan {
    let mut chance = Chance::new(options.seed ^ STREAM);
    let mut plan = Plan {
        laws: Laws::QUIET,
        calm: Instant(0),
        faults: Vec::new(),
        words: Vec::new(),
        ping_interval: Duration::secs(15),
        agent_return: Duration::secs(600),
        clients: ClientFaults::default(),
        joins: Vec::new(),
    };
    if let Some(stage) = options.stage.as_ref() {
        incident::stage(&mut plan, options, stage);
        if let Some(network) = stage.network {
            let Network { least, spread, tail_parts, loss_parts, lossy, bytes_per_second } = network;
            plan.laws.network = Delay { least, spread, tail_parts };
            (plan.laws.loss_parts, plan.laws.bytes_per_second) = (loss_parts, bytes_per_second);
            if loss_parts > 0 {
                plan.calm = plan.calm.max(Instant(0) + lossy);
            }
        }
    }
    if !options.faults {
        plan.faults.sort_by_key(|(machine, at, _)| (*at, *machine));
        return plan;
    }
    plan.ping_interval = Duration::secs([2, 5, 15][chance.below(3) as usize]);
    plan.agent_return = Duration::secs([15, 60, 600][chance.below(3) as usize]);
    let storm = Duration::secs(20 + chance.below(100));
    plan.calm = plan.calm.max(Instant(storm.0));
    let kept = options.kept_faults.clone();
    let mut planner = Planner { chance, chosen: 0, kept, agents: options.agents, storm, plan };
    planner.physics();
    for kind in [
        Planner::master_crashes,
        Planner::agent_crashes,
        Planner::executor_crashes,
        Planner::power_cuts,
        Planner::cut_lines,
        Planner::cut_clients,
        Planner::slow_disks,
        Planner::panics,
        Planner::congestion,
        Planner::racks,
        Planner::zones,
        Planner::flapping,
        Planner::pauses,
        Planner::slow_machines,
        Planner::clocks,
        Planner::full_disks,
    ] {
        if planner.toss() {
            let count = 1 + planner.chance.below(FAULTS_MAX);
            for _ in 0..count {
                kind(&mut planner, options);
            }
        }
    }
    planner.clients();
    if planner.toss() {
        for _ in 0..1 + planner.chance.below(FAULTS_MAX) {
            planner.operators(options);
        }
    }
    planner.plan.faults.sort_by_key(|(machine, at, _)| (*at, *machine));
    planner.plan
}

impl Planner {
    fn toss(&mut self) -> bool {
        self.chance.below(2) == 0
    }

    fn physics(&mut self) {
        let toss = [(); 7].map(|()| self.toss());
        type Change = fn(&mut Laws);
        let all: [(&str, Change); 7] = [
            ("long and uneven latencies", |laws| {
                laws.network = Delay { spread: Duration::millis(20), tail_parts: 5_000, ..laws.network };
            }),
            ("lost frames", |laws| laws.loss_parts = 1_000),
            ("failing launches", |laws| laws.launch_failure_parts = 50_000),
            ("busy actors", |laws| laws.handling = Duration::micros(20)),
            ("uneven disks", |laws| {
                laws.disk = Delay { spread: Duration::millis(10), tail_parts: 10_000, ..laws.disk };
            }),
            ("frames that come twice", |laws| laws.twice_parts = 20_000),
            ("small mailboxes", |laws| laws.bounds.open = SMALL_MAILBOX),
        ];
        for ((words, change), _) in all.into_iter().zip(toss).filter(|(_, on)| *on) {
            if self.chooses() {
                change(&mut self.plan.laws);
                self.plan.words.push(words.to_owned());
            }
        }
    }

    /// What goes wrong with frameworks, each by itself.
    fn clients(&mut self) {
        let storm = Instant(0) + self.storm;
        let all = ["frameworks fail over as they accept", "frameworks say calls twice", "frameworks flood the master"];
        for (kind, words) in all.into_iter().enumerate() {
            let (is_on, part) = (self.toss(), self.chance.unit());
            if !is_on || !self.chooses() {
                continue;
            }
            let clients = &mut self.plan.clients;
            match kind {
                0 => clients.failover_parts = 200_000,
                1 => clients.twice_parts = 200_000,
                _ => clients.flood_at = Instant((storm.0 as f64 * part) as u64),
            }
            self.plan.words.push(words.to_owned());
        }
        self.plan.clients.calm = self.plan.calm;
    }

    /// Whether the next thing that the seed chooses is kept.
    fn chooses(&mut self) -> bool {
        let number = self.chosen;
        self.chosen += 1;
        self.kept.as_ref().is_none_or(|kept| kept.contains(&number))
    }

    /// A moment in the storm that leaves `length` of it.
    fn moment(&mut self, length: Duration) -> Instant {
        let least = Duration::secs(1);
        let rest = self.storm - length.min(self.storm - least - least);
        let at = Instant(0) + least + self.chance.duration_below(rest - least);
        // What is longer than the storm itself makes it longer.
        self.plan.calm = self.plan.calm.max(at + length);
        at
    }

    fn some_agent(&mut self) -> u32 {
        1 + self.chance.below(u64::from(self.agents)) as u32
    }

    fn seconds(&mut self, least: u64, most: u64) -> Duration {
        Duration::millis(least * 1000 + self.chance.below((most - least) * 1000))
    }

    fn add<const N: usize>(&mut self, happenings: [(u32, Instant, Happening); N], words: String) {
        self.add_all(happenings.to_vec(), words);
    }

    /// One fault: what happens, to which machine and when, the first of it being when it begins.
    fn add_all(&mut self, happenings: Vec<(u32, Instant, Happening)>, words: String) {
        if self.chooses() {
            let begin = happenings.first().map_or(0.0, |(_, at, _)| at.0 as f64 / 1e9);
            self.plan.words.push(format!("{begin:.3} s: {words}"));
            self.plan.faults.extend(happenings);
        }
    }

    fn master_crashes(&mut self, _: &Options) {
        let away = self.seconds(1, 20);
        let at = self.moment(away);
        self.add([(0, at, Happening::Crash { slot: 0, away })], format!("the master crashes for {away}"));
    }

    fn agent_crashes(&mut self, _: &Options) {
        let (machine, away) = (self.some_agent(), self.seconds(1, 20));
        let at = self.moment(away);
        self.add([(machine, at, Happening::Crash { slot: 0, away })], format!("agent-{machine} crashes for {away}"));
    }

    fn executor_crashes(&mut self, _: &Options) {
        let (machine, pick) = (self.some_agent(), self.chance.bits());
        let at = self.moment(Duration::ZERO);
        self.add([(machine, at, Happening::CrashExecutor { pick })], format!("an executor of agent-{machine} crashes"));
    }

    fn power_cuts(&mut self, _: &Options) {
        let (machine, away) = (self.some_agent(), self.seconds(2, 60));
        let at = self.moment(away);
        let course = [(machine, at, Happening::PowerOff), (machine, at + away, Happening::PowerOn)];
        self.add(course, format!("the machine of agent-{machine} is off for {away}"));
    }

    fn cut_lines(&mut self, _: &Options) {
        let machine = self.some_agent();
        self.cut(machine, format!("agent-{machine}"));
    }

    fn cut_clients(&mut self, options: &Options) {
        let number = self.chance.below(u64::from(options.frameworks)) as u32;
        self.cut(1 + self.agents + number, format!("client-{number}"));
    }

    /// Cuts the line between a machine and the master's, in one direction or both.
    fn cut(&mut self, machine: u32, name: String) {
        let long = self.toss();
        let length = if long { self.seconds(4, 40) } else { Duration::millis(10 + self.chance.below(400)) };
        debug_assert!(!long || length > DETECT.least + DETECT.spread);
        let at = self.moment(length);
        let until = at + length;
        let (there, back) = [(true, true), (true, false), (false, true)][self.chance.below(3) as usize];
        let way = match (there, back) {
            (true, true) => "both ways",
            (true, false) => "towards the master",
            (false, _) => "from the master",
        };
        let words = format!("the line of {name} is cut {way} for {length}");
        let here = Happening::Cut { peer: 0, outgoing: there, until, long };
        let beyond = Happening::Cut { peer: machine, outgoing: back, until, long };
        self.add([(machine, at, here), (0, at, beyond)], words);
    }

    fn slow_disks(&mut self, _: &Options) {
        let machine = if self.toss() { 0 } else { self.some_agent() };
        let (factor, length) = (10 + self.chance.below(500), self.seconds(1, 20));
        let at = self.moment(length);
        let words = format!("the disk of machine {machine} is {factor} times slower for {length}");
        self.add([(machine, at, Happening::SlowDisk { factor, until: at + length })], words);
    }

    fn panics(&mut self, _: &Options) {
        let machine = if self.toss() { 0 } else { self.some_agent() };
        let (at, pick) = (self.moment(Duration::ZERO), self.chance.bits());
        self.add([(machine, at, Happening::Plant { pick })], format!("an actor of machine {machine} panics"));
    }

    fn congestion(&mut self, _: &Options) {
        let (machine, length) = (self.some_agent(), self.seconds(1, 10));
        let (at, peer) = (self.moment(length), Place::standing(machine));
        let words = format!("the session to agent-{machine} is congested for {length}");
        let flow = |at, state| (0, at, Happening::Flow { peer, state });
        self.add([flow(at, LinkState::Congested), flow(at + length, LinkState::Flowing)], words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_end_with_the_storm_and_seeds_differ() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let options = Options { seed, faults: true, ..Options::default() };
            let plan = plan(&options);
            for (_, at, happening) in &plan.faults {
                let is_people = matches!(happening, Happening::Operate { .. });
                assert!(*at <= plan.calm || is_people, "{happening:?} at {at:?} after {:?}", plan.calm);
                kinds.insert(format!("{happening:?}").split([' ', '{']).next().map(str::to_owned));
            }
        }
        assert_eq!(kinds.len(), 13, "{kinds:?}");
        assert!(super::plan(&Options::default()).faults.is_empty());
    }
}

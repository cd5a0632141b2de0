//! A whole simulated cluster: how it is built, how its time passes, when it is done, and what is claimed then.

pub(crate) mod cast;
pub(crate) mod clock;
pub(crate) mod crew;
pub(crate) mod lane;
pub(crate) mod laws;
pub(crate) mod operator;
pub(crate) mod queue;
pub(crate) mod wheel;

use crate::check::{View, Violation};
use crate::client::{Client, Tally};
use crate::explore::story::{self, Ring};
use crate::faults::{self, Plan};
use crate::machine::Machine;
use crate::machine::busy::Returned;
use crate::machine::guard;
use crate::machine::happening::Happening;
use crate::machine::legacy::Legacy;
use crate::machine::place::{MACHINES_MAX, Place};
use crate::machine::process::{Cast, Role};
use crate::options::Options;
use crate::record::{Capacity, Records};
use crate::report::{Failure, Mishaps, Report};
use crate::serve::Figure;
use crate::sharing;
use crate::stage::Work;
use crate::world::clock::{Stopwatch, peak_memory_bytes};
use crate::world::crew::{Crew, Shard};
use crate::world::lane::{Counts, Found, Setup, WALL_START};
use crate::world::operator::{Act, Operator};
use kaon_actors::allocator::Allocator;
use kaon_kernel::chance::Chance;
use kaon_kernel::id::RoleName;
use kaon_kernel::port::Streams;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::task::TaskState;
use kaon_kernel::time::{Duration, Instant, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard};
use xxhash_rust::xxh3::xxh3_64;

/// How often it is looked whether all is done, in virtual time.
const TICK: Duration = Duration::secs(1);
/// How long the world goes on after all is done, so that what should not happen any more can show.
const SETTLE: Duration = Duration::secs(5);
/// Machines get power within this time.
const POWER_SPREAD: Duration = Duration::millis(500);
/// Sets the chance of the world's building apart from that of everything else.
const BUILD: u64 = 0x5707_2a11_c4a5_0003;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Tasks that have ended for good.
    pub ended: u64,
    /// All tasks.
    pub tasks: u64,
    /// Events delivered so far.
    pub events: u64,
    /// Virtual time in seconds.
    pub simulated_seconds: f64,
}

/// A simulated cluster.
pub(crate) struct World {
    options: Options,
    plan: Plan,
    pub(crate) crew: Crew,
    setup: Arc<Setup>,
    now: Instant,
    next_tick: Instant,
}

impl World {
    /// The world of a run, before its first event.
    pub(crate) fn new(options: &Options) -> Self {
        let plan = faults::plan(options);
        let cast = cast::cast(options, &plan);
        Self::with_cast(options, plan, cast, true)
    }

    /// The same with actors of the caller's choice. A strict world fails at a panic that nobody planted.
    pub(crate) fn with_cast(options: &Options, plan: Plan, cast: Cast, strict: bool) -> Self {
        Self::build(options, plan, cast, strict, (None, WALL_START))
    }

    /// A world whose master is heard outside, and whose clocks begin at a time of the caller's choice.
    pub(crate) fn behind(
        options: &Options,
        plan: Plan,
        cast: Cast,
        (edge, wall): (Arc<dyn Streams>, WallTime),
    ) -> Self {
        Self::build(options, plan, cast, true, (Some(edge), wall))
    }

    fn build(
        options: &Options,
        plan: Plan,
        cast: Cast,
        strict: bool,
        (edge, wall_start): (Option<Arc<dyn Streams>>, WallTime),
    ) -> Self {
        guard::install();
        let machines = 1 + options.agents + options.frameworks;
        assert!(machines <= MACHINES_MAX, "{machines} machines");
        let setup = Arc::new(Setup {
            seed: options.seed,
            laws: plan.laws,
            calm: plan.calm,
            shards: options.workers,
            invariants_every: options.invariants_interval(),
            strict,
            plant: options.plant,
            edge,
            wall_start,
            cast,
        });
        let master = Place::standing(0);
        let machine = |index: u32| {
            let mut machine = match index {
                0 => Machine::new(0, Role::Master, &name(options, 0), None, options.seed),
                _ => {
                    let role = if index <= options.agents { Role::Agent } else { Role::Client };
                    Machine::new(index, role, &name(options, index), Some(master), options.seed)
                }
            };
            match machine.standing().role {
                Role::Master => {
                    machine.view = Some(Box::new(View::default()));
                    machine.operator = plan.has_operator().then(|| Box::new(operator_of(options)));
                }
                Role::Client => {
                    machine.ledger = Some(Box::default());
                    machine.returned = Some(Returned::default());
                    machine.legacy = Some(Legacy::default());
                }
                Role::Agent | Role::Executor => {}
            }
            machine
        };
        let crew = Crew::new((0..machines).map(machine).collect(), &setup);
        let next_tick = Instant(0) + TICK;
        let world = Self { options: options.clone(), plan, crew, setup, now: Instant(0), next_tick };
        world.schedule(machines);
        world
    }

    fn schedule(&self, machines: u32) {
        let mut chance = Chance::new(self.options.seed ^ BUILD);
        let late: BTreeMap<u32, Instant> = self.plan.joins.iter().copied().collect();
        for index in 0..machines {
            let wait = if index == 0 { Duration::ZERO } else { chance.duration_below(POWER_SPREAD) };
            let late = late.get(&index).copied().unwrap_or(Instant(0));
            self.push(index, late + wait, Happening::PowerOn);
        }
        for (machine, at, happening) in &self.plan.faults {
            self.push(*machine, *at, happening.clone());
        }
        if self.plan.has_operator() {
            self.push(0, self.plan.calm + operator::ROUND, Happening::Operate { act: Act::PutRight });
        }
    }

    pub(crate) fn push(&self, machine: u32, due: Instant, happening: Happening) {
        let mut shard = self.crew.shard(self.setup.shard(machine));
        let local = self.setup.local(machine);
        let key = shard.machines[local].stamp.key(due);
        shard.lane.queue.push(key, machine, happening);
    }

    /// Runs until all is done, something is found, or time is up.
    pub(crate) fn run(mut self, progress: &mut dyn FnMut(&Progress)) -> Report {
        let stopwatch = Stopwatch::start();
        let crew = &self.crew;
        // The conductor needs the world, the workers only the crew.
        let (options, plan, setup) = (&self.options, &self.plan, &self.setup);
        let mut conductor =
            Conductor { options, plan, setup, crew, now: self.now, next_tick: self.next_tick, quiet_since: None };
        let unfinished = crew.with_workers(|| conductor.conduct(progress));
        self.now = conductor.now;
        self.report(stopwatch.elapsed(), unfinished)
    }

    /// Lets some time pass, with one worker: for tests of the world itself.
    #[cfg(test)]
    pub(crate) fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        while !self.pass_towards(end, u32::MAX) {}
    }

    /// Lets time pass until `goal`, at most so many windows, with one worker; whether it is there.
    pub(crate) fn pass_towards(&mut self, goal: Instant, windows: u32) -> bool {
        for _ in 0..windows {
            let Some(due) = self.crew.next_due().filter(|&due| due < goal) else {
                self.now = self.now.max(goal);
                return true;
            };
            let end = (due + self.setup.laws.network.least).min(goal);
            self.crew.run_window(end);
            self.now = end;
        }
        false
    }

    /// Virtual time.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// When the next event is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.crew.next_due()
    }

    /// The first claim that did not hold; a master that has begun another life is nobody's any more.
    pub(crate) fn broken(&self) -> Option<String> {
        let shard = self.crew.shard(0);
        let found = shard.lane.found.first().map(|found| format!("{}: {}", found.claim, found.words));
        let life = shard.machines[0].standing().life;
        found.or_else(|| (life > 1).then(|| "the master has begun another life".to_owned()))
    }

    /// What the actors count and set, with one worker.
    pub(crate) fn figures(&self) -> Vec<(String, Figure)> {
        let shard = self.crew.shard(0);
        let mut figures: BTreeMap<String, Figure> =
            shard.lane.counters.iter().map(|(&name, &count)| (name.to_owned(), Figure::Counter(count))).collect();
        let set = shard.machines.iter().flat_map(|machine| &machine.gauges);
        for (&name, &value) in set {
            if let Figure::Gauge(sum) = figures.entry(name.to_owned()).or_insert(Figure::Gauge(0.0)) {
                *sum += value;
            }
        }
        figures.into_iter().collect()
    }

    fn report(&self, wall: Duration, unfinished: Option<Violation>) -> Report {
        let options = &self.options;
        let mut counts = Counts::default();
        let (mut found, mut hashes, mut tally, mut open) = (Vec::new(), Vec::new(), Tally::default(), 0);
        let mut metrics = BTreeMap::<String, f64>::new();
        let (mut dismissed, mut marks, mut courses) = (Vec::new(), BTreeSet::new(), Vec::new());
        let shards: Vec<_> = (0..self.crew.shards.len()).map(|number| self.crew.shard(number)).collect();
        let key = |index: u32| (self.setup.shard(index), self.setup.local(index));
        for shard in &shards {
            counts.add(&shard.lane.counts);
            found.extend(shard.lane.found.iter().cloned());
            for (&name, &count) in &shard.lane.counters {
                *metrics.entry(name.to_owned()).or_default() += count as f64;
            }
        }
        for index in 0..=options.agents + options.frameworks {
            let (shard, local) = key(index);
            let machine = &shards[shard].machines[local];
            hashes.extend_from_slice(&machine.hash.to_le_bytes());
            for (&name, &value) in &machine.gauges {
                *metrics.entry(name.to_owned()).or_default() += value;
            }
            for (state, source, reason) in machine.ledger.iter().flat_map(|ledger| &ledger.told) {
                marks.insert(format!("{state} of {source} {reason}").trim_end().to_owned());
            }
            if let Some(client) = client(machine) {
                add(&mut tally, &client.tally);
                open += client.open() as u64;
                courses.extend(client.courses.iter().flatten().cloned());
                if let Some(why) = &client.dismissed {
                    dismissed.push((index, why.clone()));
                }
            }
        }
        marks.extend(metrics.iter().filter(|(_, value)| **value > 0.0).map(|(name, _)| format!("counted {name}")));
        found.sort_by_key(|found| found.key);
        let rings: Vec<&Ring> = shards.iter().map(|shard| &shard.lane.ring).collect();
        let story = || story::tell(rings.iter().copied(), |index| name(options, index));
        let failure = |claim: &str, words: String, place: String, at: Instant| Failure {
            claim: claim.to_owned(),
            words,
            place,
            at_seconds: at.0 as f64 / 1e9,
            seed: options.seed,
            repeat: options.command(),
            story: story(),
        };
        let seen = |Found { key, machine, claim, words }: &Found| {
            failure(claim, words.clone(), name(options, *machine), key.due)
        };
        let mut failures: Vec<Failure> = found.iter().map(seen).collect();
        for (index, why) in dismissed {
            failures.push(failure("no framework is dismissed", why, name(options, index), self.now));
        }
        let errors = tally.ended[TaskState::Error as usize];
        if errors > 0 {
            let words = format!("{errors} tasks ended with TASK_ERROR");
            failures.push(failure("no sound task is refused", words, "the cluster".to_owned(), self.now));
        }
        if let Some(Violation { claim, words }) = unfinished {
            failures.push(failure(claim, words, "the cluster".to_owned(), self.now));
        }
        let mut tasks: BTreeMap<String, u64> = TaskState::ALL
            .iter()
            .zip(tally.ended)
            .filter(|(_, count)| *count > 0)
            .map(|(state, count)| (state.name().to_owned(), count))
            .collect();
        if open > 0 {
            tasks.insert("open".to_owned(), open);
        }
        hashes.extend_from_slice(&counts.events.to_le_bytes());
        let wall_seconds = wall.as_seconds();
        Report {
            trace_hash: format!("{:016x}", xxh3_64(&hashes)),
            seed: options.seed,
            agents: options.agents,
            frameworks: options.frameworks,
            workers: options.workers,
            tasks,
            relaunched: tally.relaunched,
            resubscribed: tally.resubscribed,
            frameworks_removed: shards[0].machines[0].view.as_ref().map_or(0, |view| view.frameworks_removed),
            offers_accepted: tally.accepted,
            offers_declined: tally.declined,
            calls_turned_away: tally.turned_away,
            statuses: tally.statuses,
            events: counts.events,
            events_per_second: counts.events as f64 / wall_seconds.max(1e-9),
            simulated_seconds: self.now.0 as f64 / 1e9,
            wall_seconds,
            peak_memory_bytes: peak_memory_bytes(),
            mishaps: Mishaps {
                frames: counts.frames,
                frames_dropped: counts.dropped,
                messages_refused: counts.refused,
                frames_twice: counts.twice,
                messages_misdirected: counts.misdirected,
                sessions_broken: counts.broken,
                panics: counts.panics,
                crashes: counts.crashes,
            },
            faults: self.plan.words.clone(),
            metrics,
            courses,
            records: self.records(&shards),
            marks,
            failures,
        }
    }
}

impl World {
    /// Every task of every framework, when a scenario wants them.
    fn records(&self, shards: &[MutexGuard<'_, Shard>]) -> Option<Records> {
        let options = &self.options;
        let stage = options.stage.as_ref().filter(|stage| stage.is_recorded)?;
        let mut records = Records { capacity: capacity(options, &stage.sizes), ..Records::default() };
        for number in 0..options.frameworks {
            let index = 1 + options.agents + number;
            let machine = &shards[self.setup.shard(index)].machines[self.setup.local(index)];
            let client = client(machine);
            records.tenants.push(client.map_or_else(|| name(options, index), |client| client.name().to_owned()));
            let Some(client) = client else { continue };
            let jobs = stage.group(number).and_then(|(group, place)| match &group.work {
                Work::Listed(lists) => lists.get(place as usize),
                Work::Drawn { .. } => None,
            });
            let first = records.tasks.len() as u64;
            records.tasks.extend(client.records(number, first, jobs.map(Vec::as_slice)));
            records.locality.node += client.tally.local;
            records.locality.elsewhere += client.tally.remote;
        }
        Some(records)
    }
}

/// What all agents have together.
fn capacity(options: &Options, sizes: &[(Quantity, Quantity)]) -> Capacity {
    let nodes = u64::from(options.agents);
    let alike = (options.agent_cpus, options.agent_mem);
    let all = (0..options.agents as usize).map(|index| sizes.get(index).copied().unwrap_or(alike));
    let (cpus_milli, mem) = all.fold((0, 0), |sum, (cpus, mem)| (sum.0 + cpus.0, sum.1 + mem.0));
    Capacity { nodes, cpus_milli, mem_mib: mem / 1000, gpus_milli: 0 }
}

/// Passes the time of a world, window by window.
struct Conductor<'a> {
    options: &'a Options,
    plan: &'a Plan,
    setup: &'a Setup,
    crew: &'a Crew,
    now: Instant,
    next_tick: Instant,
    /// Since when all is done.
    quiet_since: Option<Instant>,
}

impl Conductor<'_> {
    /// Until the end; what is claimed then and does not hold.
    fn conduct(&mut self, progress: &mut dyn FnMut(&Progress)) -> Option<Violation> {
        let deadline = Instant(0) + self.options.deadline;
        while let Some(due) = self.crew.next_due() {
            if due >= deadline {
                self.now = deadline;
                return Some(self.unfinished());
            }
            if due >= self.next_tick {
                self.now = self.next_tick;
                self.next_tick = self.next_tick + TICK;
                if self.tick(progress) {
                    return self.at_the_end();
                }
                continue;
            }
            self.now = due;
            let end = due + self.setup.laws.network.least;
            self.crew.run_window(end.min(self.next_tick).min(deadline));
            let broken = (0..self.crew.shards.len()).any(|number| !self.crew.shard(number).lane.found.is_empty());
            if broken {
                return None;
            }
        }
        Some(Violation { claim: "the world goes on", words: "nobody waits for anything".to_owned() })
    }

    /// Each machine with a client on it.
    fn clients<T>(&self, mut look: impl FnMut(&Client, &Machine) -> T) -> Vec<T> {
        let first = 1 + self.options.agents;
        let visit = |index: u32| {
            let shard = self.crew.shard(self.setup.shard(index));
            let machine = &shard.machines[self.setup.local(index)];
            client(machine).map(|client| look(client, machine))
        };
        (first..first + self.options.frameworks).filter_map(visit).collect()
    }

    /// Whether the operator, if there is one, has put everything right.
    fn is_put_right(&self) -> bool {
        let shard = self.crew.shard(self.setup.shard(0));
        shard.machines[self.setup.local(0)].operator.as_ref().is_none_or(|operator| operator.is_at_rest)
    }

    fn view<T>(&self, look: impl FnOnce(&View) -> T) -> Option<T> {
        let shard = self.crew.shard(self.setup.shard(0));
        shard.machines[self.setup.local(0)].view.as_deref().map(look)
    }

    /// Looks around; whether the run is over.
    fn tick(&mut self, progress: &mut dyn FnMut(&Progress)) -> bool {
        let open: usize = self.clients(|client, _| client.open()).iter().sum();
        let events = (0..self.crew.shards.len()).map(|number| self.crew.shard(number).lane.counts.events).sum();
        let tasks = u64::from(self.options.tasks);
        progress(&Progress {
            ended: tasks.saturating_sub(open as u64),
            tasks,
            events,
            simulated_seconds: self.now.0 as f64 / 1e9,
        });
        let done = self.clients(|client, _| client.is_done());
        let all = done.len() == self.options.frameworks as usize && done.iter().all(|&done| done);
        let rest = self.view(|view| view.at_the_end().is_err()).unwrap_or(false) || !self.is_put_right();
        if !all || rest || self.now < self.plan.calm {
            self.quiet_since = None;
            return false;
        }
        let since = *self.quiet_since.get_or_insert(self.now);
        self.now.since(since) >= SETTLE
    }

    /// The allocator's books against what the master shows: what the one holds for given and the other does not know is lost
    /// to everybody.
    fn books_differ(&self) -> Option<Violation> {
        let shard = self.crew.shard(self.setup.shard(0));
        let machine = &shard.machines[self.setup.local(0)];
        let view = machine.view.as_deref()?;
        let mut cells = machine.standing().seats.iter().filter_map(|seat| seat.cell.as_ref());
        let allocator: &Allocator = cells.find_map(|cell| cell.state().downcast_ref())?;
        let mut totals = allocator.engine().totals().map(|(name, _, given)| (name, given, view.held(name)));
        totals.find(|(_, given, shown)| given != shown).map(|(name, given, shown)| Violation {
            claim: "what is given is shown",
            words: format!("{given} thousandths of {} are given, {shown} are shown", name.as_str()),
        })
    }

    fn at_the_end(&self) -> Option<Violation> {
        let ledgers = self.clients(|_, machine| machine.ledger.as_ref().and_then(|ledger| ledger.at_the_end().err()));
        ledgers.into_iter().flatten().next().or_else(|| self.books_differ())
    }

    fn unfinished(&self) -> Violation {
        let open: usize = self.clients(|client, _| client.open()).iter().sum();
        match (open, self.view(View::at_the_end)) {
            (0, Some(Err(violation))) => violation,
            (0, _) if !self.is_put_right() => {
                let words = "what operators have ordered is not undone".to_owned();
                Violation { claim: "the cluster is as it was", words }
            }
            (open, _) => {
                let words = format!("{open} tasks have not ended after {}", self.options.deadline);
                Violation { claim: "every task ends", words }
            }
        }
    }
}

/// The operator of a run.
fn operator_of(options: &Options) -> Operator {
    let mut roles: Vec<RoleName> = sharing::roles(options).into_iter().map(|(role, _)| role).collect();
    // Of the roles of a run of numbers alone the first ones have frameworks.
    roles.truncate(options.frameworks as usize);
    Operator::new(options.agents, roles)
}

fn client(machine: &Machine) -> Option<&Client> {
    machine.standing().seats.first()?.cell.as_ref()?.state().downcast_ref()
}

fn add(sum: &mut Tally, other: &Tally) {
    for (sum, count) in sum.ended.iter_mut().zip(other.ended) {
        *sum += count;
    }
    sum.relaunched += other.relaunched;
    sum.resubscribed += other.resubscribed;
    sum.accepted += other.accepted;
    sum.declined += other.declined;
    sum.turned_away += other.turned_away;
    sum.statuses += other.statuses;
}

/// What a machine is called.
fn name(options: &Options, index: u32) -> String {
    match index {
        0 => "master-1".to_owned(),
        index if index <= options.agents => format!("agent-{index}"),
        index => format!("client-{}", index - options.agents - 1),
    }
}

//! One simulated machine: power, processes, and what happens to them. How actors are driven is in [`drive`], what
//! travels in [`network`], what they run in [`containers`].

pub(crate) mod busy;
pub(crate) mod containers;
pub(crate) mod disk;
pub(crate) mod drive;
pub(crate) mod guard;
pub(crate) mod happening;
pub(crate) mod legacy;
pub(crate) mod network;
pub(crate) mod place;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod timers;
pub(crate) mod torn;
pub(crate) mod twice;

use crate::check::{Ledger, View};
use crate::explore::plant::Plant;
use crate::explore::story::Note;
use crate::machine::busy::Returned;
use crate::machine::containers::Containers;
use crate::machine::disk::Disk;
use crate::machine::happening::Happening;
use crate::machine::legacy::Legacy;
use crate::machine::place::{PROCESSES_MAX, Place};
use crate::machine::process::{Process, Role};
use crate::world::lane::Lane;
use crate::world::laws::{BOOT, DETECT, DETECT_NEARBY, LOOPBACK, RESTART_AFTER};
use crate::world::operator::Operator;
use crate::world::queue::Stamp;
use kaon_actors::executor::Inherited;
use kaon_kernel::actor::{Address, Event};
use kaon_kernel::chance::Chance;
use kaon_kernel::container::ExitStatus;
use kaon_kernel::table::Table;
use kaon_kernel::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// By how many processes a machine's room for them grows.
const PROCESSES_MORE: usize = 4;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// By itself, with a code; its sessions are closed in good order.
    Exit(i32),
    /// Without warning; it is started again after a while.
    Crash(Duration),
    /// With its container, or with the machine.
    Killed,
}

/// A line that is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) until: Instant,
    pub(crate) long: bool,
}

/// A machine.
pub(crate) struct Machine {
    pub(crate) index: u32,
    pub(crate) stamp: Stamp,
    powered: bool,
    /// It stands still until then.
    paused: Instant,
    /// So long a message keeps its actors busy, until then.
    pub(crate) slow: (Duration, Instant),
    /// Nanoseconds that its wall clock is ahead.
    pub(crate) clock_ahead: i64,
    /// When its standing process ended last.
    pub(crate) fell: Instant,
    /// When its wire has sent what it was given, where wires have a bound.
    pub(crate) wire_free: Instant,
    /// The standing process, then those of executors.
    pub(crate) processes: Vec<Process>,
    pub(crate) free: Vec<u16>,
    pub(crate) disk: Disk,
    pub(crate) containers: Containers,
    /// The chance of its wires, disks and programs; actors have their own.
    pub(crate) chance: Chance,
    /// Lines that are cut, by machine at the other end.
    pub(crate) cuts: Table<u32, Cut>,
    /// Until when no session to another machine lives, because a direction of its line is cut for long.
    pub(crate) silences: Table<u32, Instant>,
    /// Runs over everything that was delivered here.
    pub(crate) hash: u64,
    /// Counts what was delivered here.
    pub(crate) events: u64,
    /// What its actors set; what they count is in the lane.
    pub(crate) gauges: Table<&'static str, f64>,
    /// The checker of the master's view, on a master's machine.
    pub(crate) view: Option<Box<View>>,
    /// The operator, on a master's machine, when there is one.
    pub(crate) operator: Option<Box<Operator>>,
    /// The checker of what a framework is told, on a client's machine.
    pub(crate) ledger: Option<Box<Ledger>>,
    /// Calls that were turned away, on a client's machine.
    pub(crate) returned: Option<Returned>,
    /// What the last life of a client left, on its machine.
    pub(crate) legacy: Option<Legacy>,
}

impl Machine {
    /// A machine with its standing process, without power.
    pub(crate) fn new(index: u32, role: Role, identity: &str, dials: Option<Place>, seed: u64) -> Self {
        let place = Place::standing(index);
        Self {
            index,
            stamp: Stamp::new(index),
            powered: false,
            paused: Instant(0),
            slow: (Duration::ZERO, Instant(0)),
            clock_ahead: 0,
            fell: Instant(0),
            wire_free: Instant(0),
            processes: vec![Process::new(role, identity, place, dials)],
            free: Vec::new(),
            disk: Disk::default(),
            containers: Containers::default(),
            chance: Chance::for_actor(seed, Address::outside(place.host(0))),
            cuts: Table::default(),
            silences: Table::default(),
            hash: 0,
            events: 0,
            gauges: Table::default(),
            view: None,
            operator: None,
            ledger: None,
            returned: None,
            legacy: None,
        }
    }

    /// The standing process.
    pub(crate) fn standing(&self) -> &Process {
        &self.processes[0]
    }

    /// One step.
    pub(crate) fn happen(&mut self, happening: Happening, lane: &mut Lane) {
        if lane.now().0 + 1 < self.paused.0 && !happening.is_physical() {
            return self.wait_for_the_end_of_the_pause(happening, lane);
        }
        match happening {
            Happening::Frame { frame, session } => self.arrive(frame, session, lane),
            Happening::Timer { at, timer } => self.fire(at, timer, lane),
            Happening::Done { at, ticket, outcome } => {
                let stray = lane.setup.plant == Some(Plant::StrayOutcome);
                let at = if stray { self.processes[at.slot as usize].newest(at) } else { at };
                self.drive(at, Event::Done(ticket, *outcome), lane);
            }
            Happening::Event { to, session, stream, frame } => self.hear(to, session, stream, Some(frame), lane),
            Happening::StreamEnd { to, session, stream } => self.hear(to, session, stream, None, lane),
            Happening::Busy { to, session, frame } => self.hear_busy(to, session, &frame, lane),
            Happening::Flush { journal, epoch } => self.flush(journal, epoch, lane),
            Happening::Begin { at } => self.begin(at, lane),
            Happening::Wake { at } => self.drain_mailbox(at, lane),
            Happening::Exit { at, child, reason } => self.drive(at, Event::Exit(child, reason), lane),
            Happening::Dial { from, peer, attempt } => self.dial(from, peer, attempt, lane),
            Happening::Hello { from, to, session, badge } => self.hello(from, to, session, *badge, lane),
            Happening::Welcome { from, to, session, badge } => self.welcome(from, to, session, *badge, lane),
            Happening::Lost { to, peer, session } => self.lose(to.slot, peer, session, lane),
            Happening::Started { container, generation } => self.container_started(container, generation, lane),
            Happening::Ended { container, generation, status } => {
                self.container_ended(container, generation, status, lane);
            }
            Happening::Boot { slot } => self.boot(slot, lane),
            Happening::Operate { act } => self.operate(act, lane),
            Happening::PowerOn => {
                self.note(Note::World("power is on"), lane);
                self.powered = true;
                self.boot(0, lane);
            }
            Happening::PowerOff => self.power_off(lane),
            Happening::Crash { slot, away } => {
                self.note(Note::World("the process crashes"), lane);
                self.end_process(slot, Manner::Crash(away), lane);
            }
            Happening::CrashExecutor { pick } => self.crash_executor(pick, lane),
            Happening::Plant { pick } => self.plant(pick, lane),
            Happening::Flow { peer, state } => {
                self.note(Note::World("a session changes its flow"), lane);
                self.tell_link(0, peer, state, lane);
            }
            Happening::Cut { peer, outgoing, until, long } => {
                self.note(Note::World("a line is cut"), lane);
                self.cut(peer, outgoing, Cut { until, long }, lane);
            }
            Happening::SlowDisk { factor, until } => {
                self.note(Note::World("the disk is slow"), lane);
                self.disk.slow_down(factor, until);
            }
            Happening::FullDisk { until } => {
                self.note(Note::World("the disk is full"), lane);
                self.disk.fill_up(until);
            }
            Happening::Pause { until } => {
                self.note(Note::World("the machine stands still"), lane);
                self.paused = self.paused.max(until);
            }
            Happening::Slow { handling, until } => {
                self.note(Note::World("the machine is slow"), lane);
                self.slow = (handling, until);
            }
            Happening::Clock { ahead } => {
                self.note(Note::World("the clock jumps"), lane);
                self.clock_ahead = ahead;
            }
        }
    }

    /// What comes while the machine stands still happens in its order just before the pause ends: what is due at its end comes
    /// after it.
    fn wait_for_the_end_of_the_pause(&mut self, happening: Happening, lane: &mut Lane) {
        let due = Instant(self.paused.0 - 1);
        if let Happening::Timer { at, timer } = happening {
            // It is the timer's only event: one that waits for it anew takes its place.
            let seat = self.processes[at.slot as usize].seat(at);
            if let Some(armed) = seat.and_then(|seat| seat.timers.get_mut(timer)) {
                armed.waiting = None;
                let due = due.max(armed.due);
                self.arm(at, timer, due, lane);
            }
            return;
        }
        let key = self.stamp.key(due);
        lane.queue.push(key, self.index, happening);
    }

    /// Mixes something into the trace hash.
    pub(crate) fn trace(&mut self, lane: &Lane, tag: u64, number: u64, bytes: &[u8]) {
        let seed = lane.now().0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.rotate_left(32) ^ tag << 56;
        let word = if bytes.is_empty() { seed } else { xxh3_64_with_seed(bytes, seed) };
        self.hash = (self.hash.rotate_left(23) ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }

    fn note(&mut self, note: Note, lane: &mut Lane) {
        self.trace(lane, 1, 0, &[]);
        lane.note(self.index, || note);
    }

    /// A process begins another life.
    pub(crate) fn boot(&mut self, slot: u16, lane: &mut Lane) {
        let process = &mut self.processes[slot as usize];
        let homeless = process.role == Role::Executor && process.container.is_none();
        if process.up || !self.powered || homeless {
            return;
        }
        process.life += 1;
        process.up = true;
        process.restarts = Default::default();
        process.sequence = 0;
        let host = process.host();
        let tree = process.role.tree();
        process.seats.reserve_exact(tree.actors.len());
        for &kind in tree.actors {
            let actor = process.seat_actor(Address::only(host, kind), None, None);
            let at = process.at(actor);
            lane.push_near(&mut self.stamp, self.index, Happening::Begin { at });
        }
        if let Some(peer) = process.dials {
            let due = lane.now() + BOOT.draw(&mut self.chance);
            lane.push(&mut self.stamp, self.index, due, Happening::Dial { from: host, peer, attempt: 0 });
        }
    }

    /// A process ends. Its peers notice sooner or later; what of its journal was not flushed may be lost.
    pub(crate) fn end_process(&mut self, slot: u16, manner: Manner, lane: &mut Lane) {
        let process = &mut self.processes[slot as usize];
        if !process.up {
            return;
        }
        process.up = false;
        if slot == 0 {
            self.fell = lane.now();
        }
        if manner != Manner::Exit(0) {
            lane.counts.crashes += 1;
        }
        for (&place, peer) in &process.peers {
            let nearby = place.machine == self.index;
            let wait = match (manner, nearby) {
                (Manner::Exit(_), true) => LOOPBACK.draw(&mut self.chance),
                (Manner::Exit(_), false) => lane.setup.laws.network.draw(&mut self.chance),
                (_, true) => DETECT_NEARBY.draw(&mut self.chance),
                (_, false) => DETECT.draw(&mut self.chance),
            };
            for session in [peer.session, peer.pending].into_iter().filter(|&session| session != 0) {
                let lost = Happening::Lost { to: place, peer: process.place, session };
                let due = lane.now() + wait.max(lane.setup.laws.network.least);
                lane.push(&mut self.stamp, place.machine, due, lost);
            }
        }
        process.peers = Table::default();
        for mut seat in core::mem::take(&mut process.seats) {
            for waiting in seat.timers.take() {
                lane.queue.cancel(waiting);
            }
        }
        process.forget_crowd();
        self.disk.crash(slot, &mut self.chance);
        match (process.role, manner) {
            (Role::Executor, _) => {
                self.disk.erase(slot);
                self.free.push(slot);
                let status = match manner {
                    Manner::Exit(code) => ExitStatus::Code(code),
                    Manner::Crash(_) | Manner::Killed => ExitStatus::Signal(11),
                };
                if let Some(container) = process.container.take() {
                    self.executor_ended(container, status, lane);
                }
            }
            (_, Manner::Exit(0) | Manner::Killed) => {}
            (_, Manner::Exit(_)) => self.boot_later(slot, RESTART_AFTER, lane),
            (_, Manner::Crash(away)) => self.boot_later(slot, away, lane),
        }
    }

    fn boot_later(&mut self, slot: u16, away: Duration, lane: &mut Lane) {
        let due = lane.now() + away;
        lane.push(&mut self.stamp, self.index, due, Happening::Boot { slot });
    }

    /// Starts a process in a container, dialling the standing process of the machine.
    pub(crate) fn start_executor(
        &mut self,
        container: u32,
        identity: &str,
        environment: Inherited,
        lane: &mut Lane,
    ) -> u16 {
        let slot = self.free.pop().unwrap_or_else(|| {
            assert!(self.processes.len() < PROCESSES_MAX, "too many processes on one machine");
            self.processes.len() as u16
        });
        let place = Place { machine: self.index, slot };
        let mut process = Process::new(Role::Executor, identity, place, Some(Place::standing(self.index)));
        process.environment = Some(environment);
        process.container = Some(container);
        match self.processes.get_mut(slot as usize) {
            Some(seat) => {
                process.life = seat.life;
                *seat = process;
            }
            None => {
                // Machines have about as many processes as each other, and there are ten thousand machines.
                if self.processes.len() == self.processes.capacity() {
                    self.processes.reserve_exact(PROCESSES_MORE);
                }
                self.processes.push(process);
            }
        }
        let due = lane.now() + BOOT.draw(&mut self.chance);
        lane.push(&mut self.stamp, self.index, due, Happening::Boot { slot });
        slot
    }

    fn power_off(&mut self, lane: &mut Lane) {
        self.note(Note::World("power fails"), lane);
        self.powered = false;
        self.paused = Instant(0);
        self.containers.clear();
        for slot in 0..self.processes.len() {
            self.kill_process(slot as u16, lane);
        }
    }

    /// Ends a process whose container ends with it, also one that has not begun yet.
    pub(crate) fn kill_process(&mut self, slot: u16, lane: &mut Lane) {
        let process = &mut self.processes[slot as usize];
        let contained = process.container.take().is_some();
        if process.up {
            self.end_process(slot, Manner::Killed, lane);
        } else if contained {
            self.free.push(slot);
        }
    }

    fn crash_executor(&mut self, pick: u64, lane: &mut Lane) {
        let alive = |process: &&Process| process.up && process.role == Role::Executor;
        let slots: Vec<u16> = self.processes.iter().filter(alive).map(|process| process.place.slot).collect();
        if slots.is_empty() {
            return;
        }
        self.note(Note::World("an executor crashes"), lane);
        let slot = slots[(pick % slots.len() as u64) as usize];
        self.end_process(slot, Manner::Killed, lane);
    }

    /// Plants a panic into one of the actors that live here now.
    fn plant(&mut self, pick: u64, lane: &mut Lane) {
        let mut seats: Vec<_> = self
            .processes
            .iter_mut()
            .flat_map(|process| &mut process.seats)
            .filter(|seat| seat.cell.is_some())
            .collect();
        if seats.is_empty() {
            return;
        }
        let position = (pick % seats.len() as u64) as usize;
        seats[position].planted = true;
        self.note(Note::World("a panic is planted"), lane);
    }
}

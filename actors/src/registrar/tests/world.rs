//! A small world for a group of registrars: their disks, a network between them, and the claims that are checked after
//! every event. The registrars know nothing of it, and the claims know nothing of raft.
//!
//! Every operation admits a framework of a new name, so the registry's list of frameworks is the sequence of what was
//! applied.

use super::*;
use crate::registrar::Peer;
use crate::testing::{Disk, write};
use kaon_kernel::actor::{Batch, Event, Link, LinkState, Operation, Outcome, Ticket};
use kaon_kernel::chance::Chance;
use kaon_kernel::frame::Frame;
use kaon_kernel::message::session::PeerRole;
use std::collections::{BTreeMap, VecDeque};

pub(super) const TICK: Duration = Duration::millis(100);

pub(super) struct Node {
    /// `None` while it is down.
    pub(super) rig: Option<Rig<Registrar>>,
    pub(super) host: HostId,
    pub(super) disk: Disk,
    pub(super) under_way: VecDeque<(Ticket, Batch)>,
    /// The term in which its master leads, as far as that one was told.
    pub(super) leads: Option<u64>,
}

pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    /// Frames on their way: the sender's place, the receiver's, the frame.
    pub(super) network: Vec<(usize, usize, Frame)>,
    /// Pairs of places between which frames are lost.
    pub(super) cut: Vec<(usize, usize)>,
    /// The disks say that they have written, and have not: a planted fault.
    pub(super) lying_disks: bool,
    pub(super) trace: u64,
    /// What the group has applied, as far as anybody has seen.
    pub(super) history: Vec<String>,
    pub(super) acknowledged: Vec<u64>,
    pub(super) leaders: BTreeMap<u64, usize>,
    /// Snapshots of others that were written.
    pub(super) installed: u64,
    proposed: u64,
    lives: u64,
    snapshot_every: u64,
}

impl World {
    /// A group of `size`, all up and linked, nothing flushed yet.
    pub(super) fn new(size: usize, snapshot_every: u64) -> Self {
        let node = |_| Node { rig: None, host: HostId(0), disk: Disk::new(), under_way: VecDeque::new(), leads: None };
        let mut world = Self {
            nodes: (0..size).map(node).collect(),
            network: Vec::new(),
            cut: Vec::new(),
            lying_disks: false,
            trace: 0,
            history: Vec::new(),
            acknowledged: Vec::new(),
            leaders: BTreeMap::new(),
            installed: 0,
            proposed: 0,
            lives: 0,
            snapshot_every,
        };
        (0..size).for_each(|place| world.start(place));
        world
    }

    pub(super) fn start(&mut self, place: usize) {
        self.lives += 1;
        let host = HostId(1_000 * self.lives + place as u64);
        let peers = (1..=self.nodes.len() as u64).map(Peer::numbered).collect();
        let config = RegistrarConfig {
            tick: TICK,
            snapshot_every: self.snapshot_every,
            ..RegistrarConfig::new(place as u64 + 1, peers)
        };
        let mut rig = bench(config, host);
        rig.journal = self.nodes[place].disk.clone();
        self.nodes[place] =
            Node { host, rig: Some(rig), leads: None, under_way: VecDeque::new(), ..self.nodes[place].take() };
        self.step(place, |rig| rig.start());
        self.step(place, |rig| attach(rig, host));
        for other in 0..self.nodes.len() {
            if other != place && self.nodes[other].rig.is_some() {
                self.link(place, other, LinkState::Up);
                self.link(other, place, LinkState::Up);
            }
        }
    }

    /// It falls; of the batches under way the first `reached` are on disk.
    pub(super) fn crash(&mut self, place: usize, reached: usize) {
        let node = &mut self.nodes[place];
        node.rig = None;
        node.leads = None;
        let under_way = std::mem::take(&mut node.under_way);
        if !self.lying_disks {
            under_way.into_iter().take(reached).for_each(|(_, batch)| write(&mut node.disk, batch));
        }
        self.network.retain(|(from, to, _)| *from != place && *to != place);
        for other in 0..self.nodes.len() {
            if other != place && self.nodes[other].rig.is_some() {
                self.link(other, place, LinkState::Down);
            }
        }
    }

    fn link(&mut self, at: usize, other: usize, state: LinkState) {
        let (host, identity) = (self.nodes[other].host, format!("master-{}", other + 1));
        self.step(at, |rig| rig.link(Link { host, role: PeerRole::Master, identity, state }));
    }

    pub(super) fn flush(&mut self, place: usize) -> bool {
        let Some((ticket, batch)) = self.nodes[place].under_way.pop_front() else { return false };
        if !self.lying_disks {
            write(&mut self.nodes[place].disk, batch);
        }
        self.step(place, |rig| rig.done(ticket, Outcome::Persisted(Ok(()))));
        true
    }

    pub(super) fn deliver(&mut self, at: usize) {
        let (_, to, frame) = self.network.swap_remove(at);
        self.step(to, |rig| rig.event(Event::Message(frame)));
    }

    pub(super) fn tick(&mut self, place: usize) {
        self.step(place, |rig| rig.pass(TICK));
    }

    /// The master of `place`, if it believes that it leads, asks for one more framework.
    pub(super) fn ask(&mut self, place: usize) -> bool {
        let (Some(term), host) = (self.nodes[place].leads, self.nodes[place].host) else { return false };
        self.proposed += 1;
        let number = self.proposed;
        self.step(place, |rig| apply(rig, host, term, number, admit_framework(&number.to_string())));
        true
    }

    pub(super) fn leader(&self) -> Option<usize> {
        let leaders = self.nodes.iter().enumerate().filter_map(|(place, node)| Some((node.leads?, place)));
        leaders.max().map(|(_, place)| place)
    }

    /// One quiet round: everything is flushed and delivered in order, one tick passes.
    pub(super) fn round(&mut self) {
        for place in 0..self.nodes.len() {
            self.tick(place);
        }
        // What one delivery causes is delivered, too; the bound is against a group that chatters without end.
        for _ in 0..100 {
            for place in 0..self.nodes.len() {
                while self.flush(place) {}
            }
            let frames = std::mem::take(&mut self.network);
            if frames.is_empty() {
                return;
            }
            for (_, to, frame) in frames {
                self.step(to, |rig| rig.event(Event::Message(frame)));
            }
        }
        panic!("the group chatters without end");
    }

    /// Quiet rounds until `done`; what was waited for in case it does not come.
    pub(super) fn settle(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..200 {
            if done(self) {
                return;
            }
            self.round();
        }
        panic!("200 ticks without {what}");
    }

    pub(super) fn is_settled(&self) -> bool {
        let same = |node: &Node| node.rig.as_ref().is_none_or(|rig| names(rig) == self.history);
        self.leader().is_some() && self.nodes.iter().all(same)
    }

    fn step(&mut self, place: usize, event: impl FnOnce(&mut Rig<Registrar>) -> Vec<Effect>) {
        let Some(rig) = &mut self.nodes[place].rig else { return };
        let effects = event(rig);
        rig.unflushed.clear();
        for word in told(&effects) {
            self.on_word(place, word);
        }
        for effect in effects {
            match effect {
                Effect::Persist { ticket, batch } => {
                    self.note(place as u64);
                    self.note(batch.0.len() as u64);
                    self.installed += batch.0.iter().filter(|operation| is_install(operation)).count() as u64;
                    self.nodes[place].under_way.push_back((ticket, batch));
                }
                Effect::Send(frame) => {
                    frame.bytes().to_vec().chunks(8).for_each(|chunk| {
                        self.note(chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
                    });
                    let to = self.nodes.iter().position(|node| registrar_at(node.host) == frame.envelope().to);
                    if let Some(to) = to.filter(|to| !self.cut.contains(&(place, *to))) {
                        self.network.push((place, to, frame));
                    }
                }
                _ => {}
            }
        }
        self.check_applied(place);
    }

    fn on_word(&mut self, place: usize, word: ToMaster) {
        match word {
            ToMaster::Leading { term, registry } => {
                let leader = *self.leaders.entry(term.0).or_insert(place);
                assert_eq!(leader, place, "two leaders in {term:?}");
                self.nodes[place].leads = Some(term.0);
                let known: Vec<_> = registry.frameworks.iter().map(|info| info.name.parse().unwrap()).collect();
                let lost = self.acknowledged.iter().find(|number| !known.contains(*number));
                assert_eq!(lost, None, "leader of {term:?} lacks what was acknowledged");
            }
            ToMaster::Following { .. } => self.nodes[place].leads = None,
            ToMaster::Applied { number } => {
                assert!(!self.acknowledged.contains(&number), "{number} is acknowledged twice");
                self.acknowledged.push(number);
            }
            ToMaster::Refused { number, reason } => panic!("{number} is refused: {reason}"),
        }
    }

    /// All applied sequences are prefixes of one.
    fn check_applied(&mut self, place: usize) {
        let Some(rig) = &self.nodes[place].rig else { return };
        let names = names(rig);
        let common = names.len().min(self.history.len());
        assert_eq!(names[..common], self.history[..common], "registrar {} applied something else", place + 1);
        self.history.extend_from_slice(&names[common..]);
    }

    fn note(&mut self, word: u64) {
        self.trace = (self.trace.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Node {
    fn take(&mut self) -> Self {
        let (disk, under_way) = (std::mem::take(&mut self.disk), VecDeque::new());
        Self { rig: None, host: self.host, disk, under_way, leads: None }
    }
}

pub(super) fn names(rig: &Rig<Registrar>) -> Vec<String> {
    rig.actor().registry().frameworks.into_iter().map(|info| info.name).collect()
}

/// A snapshot of another registrar leaves nothing of the log, one of its own leaves some: see `journal` for the layout.
fn is_install(operation: &Operation) -> bool {
    matches!(operation, Operation::Put(record) if record.key == b"s" && record.value[1..9] == record.value[17..25])
}

/// One run of random steps with loss, delay, disorder, partitions and crashes; then all heals and must come together.
pub(super) fn run_schedule(seed: u64, lying_disks: bool) -> World {
    let mut chance = Chance::new(seed);
    let mut world = World::new(3, 4 + chance.below(12));
    world.lying_disks = lying_disks;
    // Each run has its own mixture of troubles; all at once would hide what each can do.
    let (loss, crashes, cuts) = (chance.below(20), chance.below(3), chance.below(3));
    for _ in 0..4_000 {
        let place = chance.below(3) as usize;
        match chance.below(100) {
            0..55 if !world.network.is_empty() => {
                // Mostly the oldest: long disorder is rare.
                let reach = if chance.below(4) == 0 { world.network.len() } else { world.network.len().min(3) };
                let at = chance.below(reach as u64) as usize;
                if chance.below(100) < loss {
                    world.network.swap_remove(at);
                } else {
                    world.deliver(at);
                }
            }
            0..75 => drop(world.flush(place)),
            75..88 => world.tick(place),
            88..97 => drop(world.ask(place)),
            97 if crashes > 0 => match world.nodes[place].rig.is_some() {
                true => {
                    let reached = chance.below(world.nodes[place].under_way.len() as u64 + 1) as usize;
                    world.crash(place, reached);
                }
                false => world.start(place),
            },
            98 if cuts > 0 => {
                let other = (place + 1) % 3;
                world.cut = if chance.below(2) == 0 {
                    vec![(place, other)]
                } else {
                    vec![(place, other), (other, place), (place, (place + 2) % 3), ((place + 2) % 3, place)]
                };
                // What was under way between them is lost with the cut.
                let cut = world.cut.clone();
                world.network.retain(|(from, to, _)| !cut.contains(&(*from, *to)));
            }
            99 => world.cut.clear(),
            _ => {
                for place in 0..3 {
                    if world.nodes[place].rig.is_none() && chance.below(4) == 0 {
                        world.start(place);
                    }
                }
            }
        }
    }
    world.cut.clear();
    for place in 0..3 {
        if world.nodes[place].rig.is_none() {
            world.start(place);
        }
    }
    world.settle("a leader", |world| world.leader().is_some());
    // What an earlier leader had in its log is decided once the new one has written something.
    world.settle("an acknowledgement", |world| {
        let before = world.acknowledged.len();
        if let Some(leader) = world.leader() {
            world.ask(leader);
        }
        world.round();
        world.acknowledged.len() > before
    });
    world.settle("agreement", |world| world.is_settled());
    let lost = world.acknowledged.iter().find(|number| !world.history.contains(&number.to_string()));
    assert_eq!(lost, None, "an acknowledged operation is gone");
    world
}

//! The stage on which toy actors play: a host, a disk, and notes of all that happens to each actor.

use kaon_kernel::actor::supervision::{Policy, Tree};
use kaon_kernel::actor::{
    ActorKind, Address, Cell, ChildSpec, Effect, Event, HostId, Moment, Record, StreamId, Term, Ticket,
};
use kaon_kernel::frame::{Frame, Root, Route};
use kaon_kernel::id::{FrameworkId, FrameworkIndex};
use kaon_kernel::message::{
    AgentMessage, AllocatorMessage, FrameworkMessage, MasterMessage, RegistrarMessage, agent_master, allocator,
    registrar, scheduler,
};
use kaon_kernel::port::Ingress;
use kaon_kernel::time::Duration;
use kaon_runtime::journal::MemoryDisk;
use kaon_runtime::{Birth, Host, HostConfig, Ports};
use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

pub(crate) const HOST: HostId = HostId(0x0a);

pub(crate) const MASTER: Address = Address::only(HOST, ActorKind::Master);
pub(crate) const REGISTRAR: Address = Address::only(HOST, ActorKind::Registrar);
pub(crate) const ALLOCATOR: Address = Address::only(HOST, ActorKind::Allocator);

/// A policy that lets tests be quick: no wait between restarts.
pub(crate) const PROMPT: Policy = Policy { run_min: Duration::ZERO, ..Policy::DEFAULT };

/// What happened to an actor.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) who: Address,
    pub(crate) incarnation: u64,
    pub(crate) moment: Moment,
    pub(crate) event: Event,
}

impl Note {
    /// The number in the message, when it is one.
    pub(crate) fn number(&self) -> Option<u64> {
        match &self.event {
            Event::Message(frame) => Some(number(frame)),
            _ => None,
        }
    }
    /// Whether it is the beginning of this incarnation.
    pub(crate) fn is_start_of(&self, who: Address, incarnation: u64) -> bool {
        self.who == who && self.incarnation == incarnation && matches!(self.event, Event::Start(_))
    }
    /// What the journal held, when it is a beginning.
    pub(crate) fn recovered(&self) -> Option<&[Record]> {
        match &self.event {
            Event::Start(records) => Some(records),
            _ => None,
        }
    }
}

/// What an actor does about an event; made anew for each incarnation.
pub(crate) type Play = Box<dyn FnMut(&Event, &mut Stagecraft<'_>)>;

/// What a play may use.
pub(crate) struct Stagecraft<'a> {
    pub(crate) me: Address,
    pub(crate) moment: Moment,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Stagecraft<'_> {
    pub(crate) fn send(&mut self, to: Address, number: u64) {
        self.effects.push(Effect::Send(message(self.me, to, number)));
    }
    pub(crate) fn arm(&mut self, timer: u64, after: Duration) {
        self.effects.push(Effect::Arm { timer, at: self.moment.now + after });
    }
    pub(crate) fn persist(&mut self, ticket: u64, key: &str, value: &str) {
        let mut batch = kaon_kernel::actor::Batch::default();
        batch.put(key, value);
        self.effects.push(Effect::Persist { ticket: Ticket(ticket), batch });
    }
    pub(crate) fn spawn(&mut self, child: Address) {
        let spec = ChildSpec::Framework { framework_id: FrameworkId::trusted("toy"), stream: StreamId(1) };
        self.effects.push(Effect::Spawn { child, spec });
    }
}

struct Toy {
    birth: Birth,
    notes: Sender<Note>,
    play: Play,
}

impl Cell for Toy {
    fn handle(&mut self, event: Event, moment: Moment, effects: &mut Vec<Effect>) {
        let (who, incarnation) = (self.birth.address, self.birth.incarnation);
        let mut craft = Stagecraft { me: who, moment, effects };
        let _ = self.notes.send(Note { who, incarnation, moment, event: event.clone() });
        (self.play)(&event, &mut craft);
    }
    fn invariants(&self) {}
    fn state(&self) -> &dyn Any {
        &self.birth
    }
}

/// A host with toys on it.
pub(crate) struct Stage {
    pub(crate) host: Host,
    notes: Receiver<Note>,
    /// All notes so far, but for those that [`Stage::until`] has not read yet.
    pub(crate) seen: RefCell<Vec<Arc<Note>>>,
}

/// A tree of these actors.
pub(crate) fn tree(actors: &'static [ActorKind]) -> Tree {
    Tree { policy: PROMPT, actors }
}

/// The configuration of a host on a disk in memory.
pub(crate) fn config(tree: Tree, disk: &MemoryDisk) -> HostConfig {
    HostConfig::new(HOST, 7, tree, Box::new(disk.open().expect("a sound disk")))
}

impl Stage {
    /// A host that has not begun.
    pub(crate) fn prepare(config: HostConfig, plays: impl Fn(&Birth) -> Play + Send + Sync + 'static) -> Self {
        let (notes_out, notes) = channel();
        let factory = move |birth: Birth| -> Box<dyn Cell> {
            let play = plays(&birth);
            Box::new(Toy { birth, notes: notes_out.clone(), play })
        };
        let host = Host::prepare(config, Arc::new(factory)).expect("prepares");
        Self { host, notes, seen: RefCell::default() }
    }

    /// A host that runs.
    pub(crate) fn start(config: HostConfig, plays: impl Fn(&Birth) -> Play + Send + Sync + 'static) -> Self {
        Self::start_with(config, Ports::default(), plays)
    }

    /// A host that runs, with ports.
    pub(crate) fn start_with(
        config: HostConfig,
        ports: Ports,
        plays: impl Fn(&Birth) -> Play + Send + Sync + 'static,
    ) -> Self {
        let stage = Self::prepare(config, plays);
        stage.host.plug(ports).expect("plugs");
        stage.host.begin().expect("begins");
        stage
    }

    /// Waits for the next note that `is_it`.
    pub(crate) fn until(&self, what: &str, is_it: impl Fn(&Note) -> bool) -> Arc<Note> {
        loop {
            let note = self.notes.recv_timeout(PATIENCE);
            let Ok(note) = note else { panic!("waited in vain for {what}; seen: {:#?}", self.seen.borrow()) };
            let note = Arc::new(note);
            self.seen.borrow_mut().push(Arc::clone(&note));
            if is_it(&note) {
                return note;
            }
        }
    }

    pub(crate) fn until_started(&self, who: Address, incarnation: u64) -> Arc<Note> {
        self.until(&format!("start {incarnation} of {who}"), |note| note.is_start_of(who, incarnation))
    }

    pub(crate) fn until_number(&self, who: Address, number: u64) -> Arc<Note> {
        self.until(&format!("{number} at {who}"), |note| note.who == who && note.number() == Some(number))
    }

    /// Delivers a number from outside.
    pub(crate) fn tell(&self, to: Address, number: u64) {
        self.host.deliver(message(Address::outside(HOST), to, number)).expect("there is room");
    }

    /// Stops the host and returns all notes.
    pub(crate) fn finish(self) -> Vec<Arc<Note>> {
        assert_eq!(self.host.stop(PATIENCE), Ok(0));
        let mut seen = self.seen.into_inner();
        seen.extend(self.notes.try_iter().map(Arc::new));
        seen
    }
}

/// A play that does nothing.
pub(crate) fn idle() -> Play {
    Box::new(|_, _| {})
}

/// A message with a number in it, of a type that the receiver takes.
pub(crate) fn message(from: Address, to: Address, number: u64) -> Frame {
    let stream = StreamId(number);
    match to.kind {
        ActorKind::Allocator => {
            let framework = FrameworkIndex(number as u32);
            let body = allocator::ToAllocator::ActivateFramework { framework };
            encode(from, to, &AllocatorMessage::Master(body))
        }
        ActorKind::Registrar => {
            let data = number.to_le_bytes().to_vec();
            encode(from, to, &RegistrarMessage::Peer(registrar::PeerMessage { data }))
        }
        ActorKind::Agent => {
            let grace = Some(Duration(number));
            let (framework_id, task_id) = (FrameworkId::trusted("f"), kaon_kernel::id::TaskId::trusted("t"));
            let body = agent_master::ToAgent::KillTask { framework_id, task_id, grace };
            encode(from, to, &AgentMessage::Master(body))
        }
        ActorKind::Framework => {
            encode(from, to, &FrameworkMessage::Outside(scheduler::ToFramework::StreamClosed { stream }))
        }
        _ => encode(from, to, &MasterMessage::Outside(scheduler::ToMaster::StreamClosed { stream })),
    }
}

pub(crate) fn encode<M: Root>(from: Address, to: Address, body: &M) -> Frame {
    Frame::encode(Route { to, from, sequence: 1, term: Term(0) }, body)
}

/// The number in a message that [`message`] made; other messages have none that is used.
pub(crate) fn number(frame: &Frame) -> u64 {
    fn read<M: Root>(frame: &Frame) -> Option<M>
    where
        M::Archived: rkyv::Deserialize<M, rkyv::api::high::HighDeserializer<rkyv::rancor::Error>>,
    {
        frame.body::<M>().and_then(|body| rkyv::deserialize(body).ok())
    }
    if let Some(MasterMessage::Outside(scheduler::ToMaster::StreamClosed { stream })) = read(frame) {
        return stream.0;
    }
    if let Some(FrameworkMessage::Outside(scheduler::ToFramework::StreamClosed { stream })) = read(frame) {
        return stream.0;
    }
    if let Some(AllocatorMessage::Master(allocator::ToAllocator::ActivateFramework { framework })) = read(frame) {
        return u64::from(framework.0);
    }
    if let Some(AgentMessage::Master(agent_master::ToAgent::KillTask { grace: Some(grace), .. })) = read(frame) {
        return grace.0;
    }
    if let Some(RegistrarMessage::Peer(message)) = read(frame) {
        return message.data.try_into().map_or(u64::MAX, u64::from_le_bytes);
    }
    u64::MAX
}

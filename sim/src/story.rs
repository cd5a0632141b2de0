//! The last events before something broke, in words.

use crate::queue::Key;
use kaon_kernel::actor::{Address, LinkState};
use kaon_kernel::frame::{Frame, Kind, Root};
use kaon_kernel::message::agent_outside::AgentEvent;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::operator::Answer;
use kaon_kernel::message::session::Hello;
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::message::{
    AgentMessage, AllocatorMessage, ExecutorMessage, FrameworkMessage, MasterMessage, RegistrarMessage,
};
use rkyv::api::high::HighDeserializer;
use rkyv::rancor;
use std::collections::VecDeque;
use std::fmt::Debug;

/// How many events each worker remembers.
const RING: usize = TOLD;
/// How many of them a story tells.
const TOLD: usize = 40;
/// The longest text of one message, in bytes.
const WORDS_MAX: usize = 300;

/// Something to remember.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// A frame was delivered.
    Frame(Frame),
    /// A timer fired.
    Timer(Address, u64),
    /// Anything else that reached an actor.
    Event(Address, &'static str),
    /// A link changed.
    Link(Address, LinkState, Box<str>),
    /// Something happened to the world.
    World(&'static str),
    /// In words.
    Words(String),
}

/// The last events of one worker.
#[derive(Default)]
pub(crate) struct Ring(VecDeque<(Key, u32, Note)>);

impl Ring {
    /// Remembers; the oldest is forgotten.
    pub(crate) fn note(&mut self, key: Key, machine: u32, note: Note) {
        if self.0.len() == RING {
            self.0.pop_front();
        }
        self.0.push_back((key, machine, note));
    }
}

/// The last events of all workers in the order of the run, one line each.
pub(crate) fn tell<'a>(rings: impl IntoIterator<Item = &'a Ring>, name: impl Fn(u32) -> String) -> Vec<String> {
    let mut notes: Vec<_> = rings.into_iter().flat_map(|ring| &ring.0).collect();
    notes.sort_by_key(|(key, _, _)| *key);
    let last = notes.len().saturating_sub(TOLD);
    let line = |(key, machine, note): &&(Key, u32, Note)| {
        let words = match note {
            Note::Frame(frame) => format!("{frame:?} {}", body(frame)),
            Note::Timer(address, timer) => format!("timer {timer:#x} of {address}"),
            Note::Event(address, words) => format!("{words} for {address}"),
            Note::Link(address, state, identity) => format!("link {identity} {state:?} for {address}"),
            Note::World(words) => (*words).to_owned(),
            Note::Words(words) => words.clone(),
        };
        format!("{:>14.6} s  {}  {words}", key.due.0 as f64 / 1e9, name(*machine))
    };
    notes[last..].iter().map(line).collect()
}

/// What a frame says, shortened.
fn body(frame: &Frame) -> String {
    let mut text = match frame.envelope().kind {
        Kind::Master => words::<MasterMessage>(frame),
        Kind::Allocator => words::<AllocatorMessage>(frame),
        Kind::Registrar => words::<RegistrarMessage>(frame),
        Kind::Agent => words::<AgentMessage>(frame),
        Kind::Executor => words::<ExecutorMessage>(frame),
        Kind::Framework => words::<FrameworkMessage>(frame),
        Kind::Event => words::<FrameworkEvent>(frame),
        Kind::View => words::<ViewEvent>(frame),
        Kind::Answer => words::<Answer>(frame),
        Kind::AgentEvent => words::<AgentEvent>(frame),
        Kind::Hello => words::<Hello>(frame),
    };
    if text.len() > WORDS_MAX {
        let mut end = WORDS_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn words<M: Root + Debug>(frame: &Frame) -> String
where
    M::Archived: rkyv::Deserialize<M, HighDeserializer<rancor::Error>>,
{
    let body = frame.body::<M>().map(rkyv::deserialize::<M, rancor::Error>);
    match body {
        Some(Ok(message)) => format!("{message:?}"),
        _ => String::new(),
    }
}

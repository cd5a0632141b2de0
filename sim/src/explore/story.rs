//! The last events before something broke, in words.

use crate::world::queue::Key;
use kaon_kernel::actor::{Address, Event, LinkState};
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

impl Note {
    /// What there is to remember of an actor's event.
    pub(crate) fn of(address: Address, event: &Event) -> Self {
        match event {
            Event::Message(frame) => Self::Frame(frame.clone()),
            Event::Timer(timer) => Self::Timer(address, *timer),
            Event::Start(_) => Self::Event(address, "start"),
            Event::Done(..) => Self::Event(address, "outcome"),
            Event::Exit(..) => Self::Event(address, "exit of a child"),
            Event::Link(link) => Self::Link(address, link.state, link.identity.as_str().into()),
        }
    }
}

/// An event that is remembered.
struct Noted {
    key: Key,
    /// Several may share a key; they keep their order.
    count: u64,
    machine: u32,
    note: Note,
}

impl Noted {
    fn order(&self) -> (Key, u64) {
        (self.key, self.count)
    }
}

/// The last events of one worker, and some more in no order. The worker goes through a window machine by machine, so the
/// last ones are those with the greatest keys, not those that came last.
#[derive(Default)]
pub(crate) struct Ring {
    notes: Vec<Noted>,
    count: u64,
    /// What is earlier is not among the last.
    floor: Option<Key>,
}

impl Ring {
    /// Remembers. Now and then all but the last are forgotten.
    pub(crate) fn note(&mut self, key: Key, machine: u32, note: impl FnOnce() -> Note) {
        if self.floor.is_some_and(|floor| key < floor) {
            return;
        }
        self.count += 1;
        self.notes.push(Noted { key, count: self.count, machine, note: note() });
        if self.notes.len() == 2 * RING {
            let (_, earliest, _) =
                self.notes.select_nth_unstable_by(RING, |one, other| other.order().cmp(&one.order()));
            self.floor = Some(earliest.key);
            self.notes.truncate(RING);
        }
    }
}

/// The last events of all workers in the order of the run, one line each.
pub(crate) fn tell<'a>(rings: impl IntoIterator<Item = &'a Ring>, name: impl Fn(u32) -> String) -> Vec<String> {
    let mut notes: Vec<_> = rings.into_iter().flat_map(|ring| &ring.notes).collect();
    notes.sort_unstable_by_key(|noted| noted.order());
    let last = notes.len().saturating_sub(TOLD);
    let line = |Noted { key, machine, note, .. }: &&Noted| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::queue::Stamp;
    use kaon_kernel::chance::Chance;
    use kaon_kernel::time::Instant;

    #[test]
    fn the_last_are_told_in_order_whatever_order_they_came_in() {
        let (mut ring, mut stamp, mut chance) = (Ring::default(), Stamp::new(1), Chance::new(7));
        let mut all: Vec<u64> = (0..1000).collect();
        for window in all.chunks_mut(50) {
            chance.shuffle(window);
            for &due in window.iter() {
                ring.note(stamp.key(Instant(due * 1_000_000_000)), 0, || Note::World("turn"));
            }
        }
        let seconds = |line: &String| line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
        let told: Vec<_> = tell([&ring], |_| "m".to_owned()).iter().map(seconds).collect();
        assert_eq!(told, (960..1000).map(|due| Some(f64::from(due))).collect::<Vec<_>>());
    }
}

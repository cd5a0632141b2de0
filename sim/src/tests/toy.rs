//! Actors whose behaviour a test writes down as a function from events to effects.

use crate::faults;
use crate::machine::process::{AnyCell, Birth, Cast};
use crate::options::Options;
use crate::world::World;
use kaon_kernel::actor::{Address, Cell, Effect, Event, Moment, Term};
use kaon_kernel::frame::{Frame, Root, Route};
use kaon_kernel::time::Duration;
use std::any::Any;
use std::sync::{Arc, Mutex};

/// What an actor does at an event.
pub(super) type Act = dyn Fn(Address, &Event, Moment) -> Vec<Effect> + Send + Sync;

/// What happened, in words, in order.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(super) fn add(&self, words: String) {
        self.0.lock().expect("a log").push(words);
    }
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("a log").clone()
    }
    /// How many lines contain a text.
    pub(super) fn count(&self, text: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(text)).count()
    }
}

struct Toy {
    me: Address,
    act: Arc<Act>,
    log: Log,
}

impl Cell for Toy {
    fn handle(&mut self, event: Event, moment: Moment, effects: &mut Vec<Effect>) {
        let (kind, index) = (self.me.kind.word(), self.me.index);
        let words = match &event {
            Event::Start(records) => format!("start with {}", records.len()),
            Event::Message(frame) => format!("message {:?}", frame.envelope().kind),
            Event::Timer(timer) => format!("timer {timer}"),
            Event::Done(ticket, outcome) => format!("done {} {outcome:?}", ticket.0),
            Event::Exit(child, reason) => format!("exit {}.{} {reason:?}", child.kind.word(), child.index),
            Event::Link(link) => format!("link {} {:?}", link.identity, link.state),
        };
        self.log.add(format!("{kind}.{index} {words}"));
        effects.extend((self.act)(self.me, &event, moment));
    }
    fn invariants(&self) {}
    fn state(&self) -> &dyn Any {
        &()
    }
}

/// A world of one master, one agent and one client, all played by toys, and its log.
pub(super) fn world(act: impl Fn(Address, &Event, Moment) -> Vec<Effect> + Send + Sync + 'static) -> (World, Log) {
    let (log, act): (Log, Arc<Act>) = (Log::default(), Arc::new(act));
    let written = log.clone();
    let cast: Cast = Box::new(move |birth: &Birth<'_>| {
        let toy = Toy { me: birth.address, act: act.clone(), log: written.clone() };
        Ok(Box::new(toy) as AnyCell)
    });
    let options = Options { agents: 1, frameworks: 1, tasks: 0, ..Options::default() };
    let plan = faults::plan(&options);
    (World::with_cast(&options, plan, cast, false), log)
}

/// A frame between toys.
pub(super) fn frame<M: Root>(from: Address, to: Address, message: &M) -> Frame {
    Frame::encode(Route { to, from, sequence: 1, term: Term(0) }, message)
}

/// Lets some time pass.
pub(super) fn pass(world: &mut World, seconds: u64) {
    world.pass(Duration::secs(seconds));
}

//! A seat: the actix actor in which a cell sits.
//!
//! actix gives it its place on an arbiter and the mailbox for orders of the supervisor. What happens to the actor itself
//! waits in [`Mailbox`], which one future of the seat, [`Drain`], empties: due timers and queued events in batches, each
//! event within `catch_unwind`, its effects carried out right after it (`carry`). A panic therefore costs the cell, never
//! the seat: actix's own supervisor does not restart after a panic, so restarting is ours (`supervise`).
//!
//! What one event costs beside its handler: one pop from a queue, one guard, a share of two clock readings and of the
//! metrics of its batch; nothing is logged or locked.

use crate::directory::Neighbours;
use crate::host::Shared;
use crate::journal::{self, Command};
use crate::mailbox::{Item, Mailbox};
use crate::metrics::Recorded;
use crate::supervise::{Report, Supervisor, panic_text};
use crate::wheel::TimerWheel;
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use kaon_kernel::actor::{ActorKind, Address, Cell, ChildSpec, Effect, Event, Moment, Record};
use kaon_kernel::time::{Duration, Instant};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use tokio::time::Sleep;

/// Events handled before the other actors of the arbiter have their turn.
const EVENTS_PER_WAKE: usize = 256;

/// Events that share one reading of the clock: `now` may lag by so many handlers.
const EVENTS_PER_BATCH: usize = 16;

/// The longest sleep; a timer beyond it costs a wake-up a month. tokio's own clock ends after two years.
const SLEEP_MAX: Duration = Duration::secs(30 * 24 * 3600);

/// Which actor a cell is to be made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Birth {
    /// Where it lives.
    pub address: Address,
    /// What it is.
    pub origin: Origin,
    /// Which of its lives in this process at this place, from 1.
    pub incarnation: u64,
    /// The seed of this incarnation, for [`kaon_kernel::actor::ActorCell::new`].
    pub seed: u64,
}

/// Where an actor comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// It stands in the tree of its host.
    Standing(ActorKind),
    /// An actor spawned it.
    Child {
        /// Which.
        parent: Address,
        /// As what.
        spec: ChildSpec,
    },
}

/// Makes the cell of an actor, on the thread where it will live. Called for every incarnation.
pub type Factory = Arc<dyn Fn(Birth) -> Box<dyn Cell> + Send + Sync>;

/// Panics planted in place of the handling of certain events of one kind of actor, for tests and for chaos.
pub(crate) struct Plants {
    pub(crate) at: Vec<u64>,
    pub(crate) handled: AtomicU64,
}

impl Plants {
    fn is_next(&self) -> bool {
        self.at.contains(&(self.handled.fetch_add(1, Ordering::Relaxed) + 1))
    }
}

/// What the supervisor orders.
pub(crate) enum Order {
    /// Begin this incarnation.
    Begin(u64),
    /// The journal's answer to it.
    Recovered(u64, Result<Vec<Record>, journal::Error>),
    /// Drop the cell and wait for the next [`Order::Begin`].
    Halt,
    /// Drop the cell and go.
    Leave,
}

impl Message for Order {
    type Result = ();
}

enum Life {
    /// No cell: what arrives waits.
    Down,
    /// The journal is being read.
    Replaying,
    Live(Box<dyn Cell>),
}

/// See the module's text.
pub(crate) struct Seat {
    pub(crate) me: Address,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) supervisor: Addr<Supervisor>,
    pub(crate) incarnation: u64,
    pub(crate) wheel: TimerWheel,
    pub(crate) neighbours: Neighbours,
    pub(crate) recorded: Recorded,
    /// Set by the effect that ends the actor.
    pub(crate) finishing: Option<i32>,
    origin: Origin,
    life: Life,
    started: Instant,
    effects: Vec<Effect>,
    plants: Option<Arc<Plants>>,
    /// When the events that are handled together began.
    pub(crate) batch_began: Instant,
}

impl Seat {
    pub(crate) fn new(
        shared: Arc<Shared>,
        mailbox: Arc<Mailbox>,
        supervisor: Addr<Supervisor>,
        origin: Origin,
    ) -> Self {
        let me = mailbox.address;
        Self {
            me,
            plants: shared.plants(me.kind),
            shared,
            mailbox,
            supervisor,
            incarnation: 0,
            wheel: TimerWheel::default(),
            neighbours: Neighbours::new(),
            recorded: Recorded::default(),
            finishing: None,
            origin,
            life: Life::Down,
            started: Instant(0),
            effects: Vec::new(),
            batch_began: Instant(0),
        }
    }

    fn is_live(&self) -> bool {
        matches!(self.life, Life::Live(_))
    }

    fn begin(&mut self, incarnation: u64, seat: Addr<Self>) {
        self.incarnation = incarnation;
        self.life = Life::Replaying;
        let answer = move |result| seat.do_send(Order::Recovered(incarnation, result));
        self.shared.journal.ask(Command::Replay(self.me.into(), Box::new(answer)));
    }

    /// Start, then the links that stand: the one path of first start, restart and failover.
    fn recovered(&mut self, incarnation: u64, result: Result<Vec<Record>, journal::Error>) {
        if incarnation != self.incarnation || !matches!(self.life, Life::Replaying) {
            return;
        }
        let records = match result {
            Ok(records) => records,
            Err(error) => {
                self.life = Life::Down;
                self.report(Report::Unreadable { who: self.me, incarnation, error });
                return;
            }
        };
        let seed = self.shared.seed ^ incarnation.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let birth = Birth { address: self.me, origin: self.origin.clone(), incarnation, seed };
        let moment = self.shared.clock.moment();
        self.started = moment.now;
        match catch_unwind(AssertUnwindSafe(|| (self.shared.factory)(birth))) {
            Ok(cell) => self.life = Life::Live(cell),
            Err(payload) => return self.fall(&panic_text(payload.as_ref())),
        }
        self.step(Event::Start(records), moment);
        let mut handled = 1;
        if self.is_live() && matches!(self.origin, Origin::Standing(_)) {
            for link in self.shared.links.listen(&self.mailbox, incarnation) {
                if self.is_live() {
                    self.step(Event::Link((*link).clone()), moment);
                    handled += 1;
                }
            }
        }
        self.mailbox.meter.handled(handled, self.shared.clock.now().since(moment.now));
        if self.is_live() {
            self.report(Report::Started { who: self.me, incarnation });
        }
    }

    /// Handles due timers and what waits, at most [`EVENTS_PER_BATCH`], and says how many that were, and whether it came
    /// to the end of what waits.
    fn batch(&mut self, moment: Moment) -> (usize, bool) {
        let mut handled = 0;
        // Half of a batch at most, so that an actor which keeps waking itself still hears others.
        while handled < EVENTS_PER_BATCH / 2 && self.is_live() {
            let Some(timer) = self.wheel.fire(moment.now) else { break };
            self.step(Event::Timer(timer), moment);
            handled += 1;
        }
        while handled < EVENTS_PER_BATCH && self.is_live() {
            let Some(item) = self.mailbox.pop() else { return (handled, true) };
            let event = match item {
                Item::Frame(frame) => Event::Message(frame),
                Item::Done(done) if done.0 == self.incarnation => Event::Done(done.1, done.2),
                Item::Exit(incarnation, child, reason) if incarnation == self.incarnation => Event::Exit(child, reason),
                Item::Link(incarnation, link) if incarnation == self.incarnation => Event::Link((*link).clone()),
                // Meant for an earlier life (law L7).
                Item::Done(_) | Item::Exit(..) | Item::Link(..) => continue,
            };
            self.step(event, moment);
            handled += 1;
        }
        (handled, false)
    }

    /// One event and its effects. A panic in the handler drops all its effects: none was carried out yet.
    fn step(&mut self, event: Event, moment: Moment) {
        let Life::Live(mut cell) = std::mem::replace(&mut self.life, Life::Down) else { return };
        let mut effects = std::mem::take(&mut self.effects);
        self.batch_began = moment.now;
        let result = catch_unwind(AssertUnwindSafe(|| {
            if self.plants.as_ref().is_some_and(|plants| plants.is_next()) {
                panic!("planted");
            }
            cell.handle(event, moment, &mut effects);
            effects.drain(..).for_each(|effect| self.carry(effect));
        }));
        effects.clear();
        self.effects = effects;
        self.life = Life::Live(cell);
        match result {
            Ok(()) => {
                if let Some(code) = self.finishing.take() {
                    self.halt();
                    self.report(Report::Finished { who: self.me, incarnation: self.incarnation, code });
                }
            }
            Err(payload) => self.fall(&panic_text(payload.as_ref())),
        }
    }

    fn fall(&mut self, why: &str) {
        self.halt();
        let (incarnation, started) = (self.incarnation, self.started);
        tracing::error!(actor = %self.me, incarnation, why, "an actor fell");
        self.report(Report::Fell { who: self.me, incarnation, started });
    }

    /// Ends this incarnation: nothing of it happens any more.
    fn halt(&mut self) {
        let life = std::mem::replace(&mut self.life, Life::Down);
        // A cell that panicked may panic again when it is dropped.
        if catch_unwind(AssertUnwindSafe(|| drop(life))).is_err() {
            tracing::warn!(actor = %self.me, "an actor panicked while it was dropped");
        }
        self.finishing = None;
        self.wheel.clear();
        if matches!(self.origin, Origin::Standing(_)) {
            self.shared.links.leave(self.me);
        }
    }

    pub(crate) fn report(&self, report: Report) {
        self.supervisor.do_send(report);
    }
}

impl Actor for Seat {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.spawn(Drain { sleep: None, set_for: None });
    }
}

impl Handler<Order> for Seat {
    type Result = ();

    fn handle(&mut self, order: Order, context: &mut Self::Context) {
        match order {
            Order::Begin(incarnation) => self.begin(incarnation, context.address()),
            Order::Recovered(incarnation, result) => self.recovered(incarnation, result),
            Order::Halt => {
                self.halt();
                self.report(Report::Halted { who: self.me, incarnation: self.incarnation });
            }
            Order::Leave => {
                self.halt();
                self.shared.directory.remove(self.me);
                self.report(Report::Left { who: self.me });
                context.stop();
            }
        }
    }
}

/// The future that empties the mailbox of a seat and sleeps until its next timer.
struct Drain {
    /// Made at the first timer.
    sleep: Option<Pin<Box<Sleep>>>,
    /// What the sleep is set for; never later than the next timer.
    set_for: Option<Instant>,
}

impl ActorFuture<Seat> for Drain {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        seat: &mut Seat,
        _: &mut Context<Seat>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        let mut left = EVENTS_PER_WAKE;
        seat.mailbox.drain_begins(task.waker());
        // While the seat is down the flag stays up and nobody wakes it; the order that lets it begin polls this future.
        if !seat.is_live() {
            return Poll::Pending;
        }
        let mut moment = seat.shared.clock.moment();
        while seat.is_live() {
            let (handled, is_empty) = seat.batch(moment);
            if handled > 0 {
                // One reading ends this batch and begins the next.
                let begun = std::mem::replace(&mut moment, seat.shared.clock.moment());
                seat.mailbox.meter.handled(handled as u64, moment.now.since(begun.now));
                left = left.saturating_sub(handled);
                if left == 0 {
                    task.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            if is_empty && self.sleeps(seat, moment.now, task) && seat.mailbox.drain_rests() {
                return Poll::Pending;
            }
            if handled == 0 {
                moment = seat.shared.clock.moment();
            }
        }
        Poll::Pending
    }
}

impl Drain {
    /// Sleeps until the next timer; false when it is due already.
    fn sleeps(&mut self, seat: &mut Seat, now: Instant, task: &mut std::task::Context<'_>) -> bool {
        let Some(at) = seat.wheel.wake_at().map(|at| at.min(now + SLEEP_MAX)) else { return true };
        if at <= now {
            // tokio's clock has ticks of a millisecond, and would sleep to the next.
            return false;
        }
        match self.set_for {
            // Set, and asked since: it wakes the task by itself.
            Some(set_for) if set_for <= at && now < set_for => return true,
            Some(set_for) if set_for <= at => {}
            _ => {
                let deadline = seat.shared.clock.deadline(at);
                self.set_for = Some(at);
                match &mut self.sleep {
                    Some(sleep) => sleep.as_mut().reset(deadline),
                    None => self.sleep = Some(Box::pin(tokio::time::sleep_until(deadline))),
                }
            }
        }
        let Some(sleep) = &mut self.sleep else { return true };
        if sleep.as_mut().poll(task).is_pending() {
            return true;
        }
        self.set_for = None;
        false
    }
}

//! A simulated cluster behind a real edge: real frameworks call, and time is virtual.
//!
//! The edge (of `http/`, plugged in by `cli/`) hands frames in as it does to the runtime's host, and reads what the master
//! emits. A thread of its own drives the world: virtual time runs at a stated pace beside the wall clock, and can be told to
//! jump, so that what takes minutes is seen in milliseconds. The world is that of [`crate::run`], checkers included; what is
//! not repeatable is when calls come in. The master keeps its first life: nothing here makes it fall.

use crate::faults;
use crate::machine::happening::Happening;
use crate::machine::place::Place;
use crate::options::{Error, Options};
use crate::world::World;
use crate::world::cast;
use crate::world::clock::Stopwatch;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use kaon_kernel::actor::{HostId, Link};
use kaon_kernel::frame::Frame;
use kaon_kernel::port::{Ingress, Refused, Streams};
use kaon_kernel::time::{Duration, Instant, WallTime};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Calls that wait for the world at once; beyond, the edge answers 503.
const CALLS_MAX: usize = 65_536;
/// So many windows (of one network delay each) are gone through before calls are looked for.
const WINDOWS: u32 = 64;
/// An actor's invariants are asserted after each of so many events of its machine, unless the options say: somebody waits.
const INVARIANTS_EVERY: u64 = 1000;
/// The longest sleep of the thread, in real time: how late it sees that time has passed.
const SLEEP_MAX: std::time::Duration = std::time::Duration::from_millis(20);
/// How long a question for numbers may take, in real time.
const LOOK_MAX: std::time::Duration = std::time::Duration::from_secs(1);
/// The slowest and the fastest pace, in virtual seconds a second.
pub const SPEEDS: core::ops::RangeInclusive<f64> = 0.001..=1e6;

/// Why there is no cluster to serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The options make no world.
    #[error(transparent)]
    Options(#[from] Error),
    /// The pace.
    #[error("the speed must be between {} and {}", SPEEDS.start(), SPEEDS.end())]
    Speed,
    /// No thread to drive it.
    #[error("no thread for the simulated cluster: {0}")]
    Thread(#[from] std::io::Error),
}

/// A number of the cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// It only grows.
    Counter(u64),
    /// It is what it is now.
    Gauge(f64),
}

enum Order {
    Frame(Frame),
    Jump(Duration, Sender<Instant>),
    Look(Sender<Vec<(String, Figure)>>),
}

#[derive(Default)]
struct Shared {
    /// Virtual nanoseconds since the beginning.
    now: AtomicU64,
    waiting: AtomicUsize,
    /// What of the claims about the world did not hold; it stands still since.
    broken: Mutex<Option<String>>,
}

/// A simulated cluster that is being driven. It ends when the last handle is dropped.
pub struct Served {
    orders: Option<Sender<Order>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The host that a served master lives on.
pub fn master_host() -> HostId {
    Place::standing(0).host(1)
}

/// Starts a cluster of `options`, whose simulated frameworks may be none; at `wall` its clocks begin. What its master emits
/// goes to `edge`. A virtual second takes `1 / speed` seconds.
///
/// # Errors
/// When the options make no world, or there is no thread for it.
pub fn serve(options: &Options, edge: Arc<dyn Streams>, wall: WallTime, speed: f64) -> Result<Served, ServeError> {
    Options { frameworks: options.frameworks.max(1), workers: 1, ..options.clone() }.check()?;
    if !SPEEDS.contains(&speed) {
        return Err(ServeError::Speed);
    }
    let invariants_every = options.invariants_every.or(Some(INVARIANTS_EVERY));
    let options = Options { workers: 1, invariants_every, ..options.clone() };
    let (orders, inbox) = unbounded();
    let shared = Arc::new(Shared::default());
    let seen = Arc::clone(&shared);
    let drive = move || {
        let plan = faults::plan(&options);
        let cast = cast::cast(&options, &plan);
        let world = World::behind(&options, plan, cast, (edge, wall));
        Driver { world, speed, watch: Stopwatch::start(), ahead: Duration::ZERO, jumps: Vec::new(), shared: seen }
            .run(&inbox);
    };
    let thread = std::thread::Builder::new().name("simulator".to_owned()).spawn(drive)?;
    Ok(Served { orders: Some(orders), shared, thread: Some(thread) })
}

impl Served {
    /// Virtual time since the beginning.
    pub fn now(&self) -> Duration {
        Duration(self.shared.now.load(Ordering::Acquire))
    }

    /// Lets virtual time pass as fast as the machine can, and waits for it. Calls are heard meanwhile. False when the world
    /// stands still.
    pub fn jump(&self, by: Duration) -> bool {
        let (answer, is_there) = bounded(1);
        self.order(Order::Jump(by, answer)) && is_there.recv().is_ok()
    }

    /// What the actors count, by name.
    pub fn figures(&self) -> Vec<(String, Figure)> {
        let (answer, figures) = bounded(1);
        match self.order(Order::Look(answer)) {
            true => figures.recv_timeout(LOOK_MAX).unwrap_or_default(),
            false => Vec::new(),
        }
    }

    /// Why the world stands still, if it does: a claim about it that does not hold.
    pub fn broken(&self) -> Option<String> {
        self.shared.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn order(&self, order: Order) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has been told by the hook; here is nobody to tell it to.
            let _ = thread.join();
        }
    }
}

impl Ingress for Served {
    fn deliver(&self, frame: Frame) -> Result<(), Refused> {
        let to = frame.envelope().to;
        if to.host != master_host() {
            return Err(Refused::NoActor(to));
        }
        if self.shared.waiting.fetch_add(1, Ordering::AcqRel) >= CALLS_MAX {
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(Refused::Full("simulator"));
        }
        if self.order(Order::Frame(frame)) { Ok(()) } else { Err(Refused::NoActor(to)) }
    }

    fn link(&self, _: Link) {}
}

/// The thread that drives a served world.
struct Driver {
    world: World,
    speed: f64,
    watch: Stopwatch,
    /// How much virtual time was jumped over.
    ahead: Duration,
    jumps: Vec<(Instant, Sender<Instant>)>,
    shared: Arc<Shared>,
}

impl Driver {
    /// Where virtual time is by the wall clock and the jumps that were made.
    fn paced(&self) -> Instant {
        Instant((self.watch.elapsed().0 as f64 * self.speed) as u64) + self.ahead
    }

    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            let goal = self.jumps.iter().map(|(goal, _)| *goal).max().unwrap_or(Instant(0)).max(self.paced());
            let is_there = self.world.pass_towards(goal, WINDOWS);
            let now = self.world.now();
            self.shared.now.store(now.0, Ordering::Release);
            self.land(now);
            if let Some(words) = self.world.broken() {
                *self.shared.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
                return;
            }
            let sleep = if is_there { self.until_next(now) } else { std::time::Duration::ZERO };
            let mut order = inbox.recv_timeout(sleep);
            if matches!(order, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            while let Ok(one) = order {
                self.carry_out(one);
                order = inbox.try_recv().map_err(|_| RecvTimeoutError::Timeout);
            }
        }
    }

    /// Jumps that have come to their end: from here on time runs at its pace again.
    fn land(&mut self, now: Instant) {
        let paced = self.paced();
        let (landed, under_way) = core::mem::take(&mut self.jumps).into_iter().partition(|(goal, _)| *goal <= now);
        self.jumps = under_way;
        let landed: Vec<(Instant, Sender<Instant>)> = landed;
        if !landed.is_empty() {
            self.ahead = self.ahead + now.since(paced);
        }
        for (_, answer) in landed {
            // Who asked may be gone.
            let _ = answer.send(now);
        }
    }

    fn until_next(&self, now: Instant) -> std::time::Duration {
        let next = self.world.next_due().map_or(Duration::MAX, |due| due.since(now));
        let real = next.as_seconds() / self.speed;
        if real < SLEEP_MAX.as_secs_f64() { std::time::Duration::from_secs_f64(real) } else { SLEEP_MAX }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Frame(frame) => {
                self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
                self.world.push(0, self.world.now(), Happening::Frame { frame, session: 0 });
            }
            Order::Jump(by, answer) => self.jumps.push((self.world.now() + by, answer)),
            Order::Look(answer) => {
                // Who asked may be gone.
                let _ = answer.send(self.world.figures());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaon_kernel::actor::{ActorKind, Address, StreamId, Term};
    use kaon_kernel::frame::Route;
    use kaon_kernel::framework::FrameworkInfo;
    use kaon_kernel::id::RoleName;
    use kaon_kernel::message::MasterMessage;
    use kaon_kernel::message::event::{ArchivedFrameworkEvent, FrameworkEvent};
    use kaon_kernel::message::scheduler::ToMaster;

    /// An edge that passes on what it is given.
    struct Ear(Sender<(StreamId, Frame)>);

    impl Streams for Ear {
        fn emit(&self, stream: StreamId, event: Frame) {
            // The test may be over.
            let _ = self.0.send((stream, event));
        }
        fn close(&self, _: StreamId) {}
    }

    fn info() -> FrameworkInfo {
        FrameworkInfo {
            id: None,
            user: "kaon".into(),
            name: "outside".to_owned(),
            roles: vec![RoleName::trusted("role")],
            failover_timeout: Duration::ZERO,
            checkpoint: false,
            hostname: String::new(),
            principal: None,
            webui_url: None,
            capabilities: Vec::new(),
            labels: Vec::new(),
            rest: Vec::new(),
        }
    }

    #[test]
    fn a_caller_from_outside_is_heard_and_time_jumps() {
        let (ear, heard) = unbounded();
        let options = Options { agents: 3, frameworks: 0, tasks: 0, ..Options::default() };
        let served = serve(&options, Arc::new(Ear(ear)), WallTime(0), 1000.0).expect("the options are sound");
        let stream = StreamId(7);
        // Agents have power within half a second, and the registrar leads by then.
        assert!(served.jump(Duration::secs(5)));
        let ask = ToMaster::Subscribe {
            info: Box::new(info()),
            suppressed_roles: Vec::new(),
            offers: Box::default(),
            stream,
        };
        let (to, from) = (Address::only(master_host(), ActorKind::Master), Address::outside(master_host()));
        let frame = Frame::encode(Route { to, from, sequence: 1, term: Term(0) }, &MasterMessage::Outside(ask));
        served.deliver(frame).expect("there is room");
        let mut offered = 0;
        while offered < 3 {
            let (on, frame) = heard.recv_timeout(LOOK_MAX * 20).expect("the master answers");
            match frame.body::<FrameworkEvent>() {
                Some(ArchivedFrameworkEvent::Offers { offers, .. }) if on == stream => offered += offers.len(),
                _ => {}
            }
        }
        let before = served.now();
        assert!(served.jump(Duration::secs(3600)));
        assert!(served.now() >= before + Duration::secs(3600));
        assert_eq!(served.broken(), None);
        assert!(!served.figures().is_empty());
        let stray = Address::only(HostId(99), ActorKind::Master);
        let ask = MasterMessage::Outside(ToMaster::StreamClosed { stream });
        let frame = Frame::encode(Route { to: stray, from, sequence: 2, term: Term(0) }, &ask);
        assert_eq!(served.deliver(frame), Err(Refused::NoActor(stray)));
        assert!(matches!(serve(&options, Arc::new(Ear(unbounded().0)), WallTime(0), 0.0), Err(ServeError::Speed)));
    }
}

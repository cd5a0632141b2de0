//! A simulated framework: a batch of tasks, run through the cluster as a careful scheduler would.
//!
//! It subscribes and subscribes again with its id when its stream ends, launches what fits into an offer and declines the
//! rest, suppresses when nothing is left to launch, acknowledges every status, asks about tasks after it was away or
//! when one is silent, and launches anew (under a new id, counted) what the cluster lost. After a fall it comes back under its
//! id and knows what it knew (`past`). It is an actor like any other; its streams are links to it (see `network`).

mod again;
mod group;
mod held;
mod offers;
mod past;
mod room;
mod statuses;
mod task;
pub(crate) mod volumes;

use crate::machine::busy::{BUSY_LINK, Returned};
use crate::machine::legacy::Legacy;
use crate::machine::network::STREAM_LINK;
use crate::report::Course;
use crate::stage::Behaviour;
use crate::workload::TaskPlan;
use again::Unsaid;
use held::Held;
use kaon_kernel::actor::{
    Actor, ActorKind, Address, Context, HostId, Link, LinkState, Outcome, Record, StreamId, Ticket, TimerKey, packed,
    unpacked,
};
use kaon_kernel::frame::Envelope;
use kaon_kernel::framework::{Capability, FrameworkInfo};
use kaon_kernel::id::{FrameworkId, OfferId, RoleName};
use kaon_kernel::message::event::{ArchivedFrameworkEvent, FrameworkEvent};
use kaon_kernel::message::scheduler::{Call, ClientOffer, ToFramework, ToMaster};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{FrameworkMessage, MasterMessage};
use kaon_kernel::offer::{OfferOperation, Refusal};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::task::TaskState;
use kaon_kernel::time::{Duration, Instant};
use std::collections::VecDeque;
pub(crate) use task::{Job, Phase};

/// The first wait before it subscribes again, and the longest.
const BACKOFF_FIRST: Duration = Duration::millis(200);
/// See [`BACKOFF_FIRST`].
const BACKOFF_LAST: Duration = Duration::secs(10);
/// Without a word on its stream for so long (three heartbeats of 15 s) it subscribes anew.
const STREAM_SILENCE: Duration = Duration::secs(45);
/// How often it looks for silent tasks.
const REVIEW: Duration = Duration::secs(20);
/// How long a framework's tasks outlive its stream; longer than any simulated trouble.
const FAILOVER: Duration = Duration::secs(7 * 24 * 3600);

/// What a simulated framework is made from.
#[derive(Clone, Debug)]
pub(crate) struct ClientConfig {
    /// Its number, from zero; part of its name.
    pub(crate) number: u32,
    /// Its machine: what its streams are named after.
    pub(crate) machine: u32,
    /// Its name.
    pub(crate) name: String,
    /// How it takes offers.
    pub(crate) behaviour: Behaviour,
    /// How long it waits for an agent with the data of one of its tasks.
    pub(crate) wait: Duration,
    /// The agents that hold the data of each task; empty where tasks have none.
    pub(crate) copies: Vec<Box<[u32]>>,
    /// Under which role it takes offers.
    pub(crate) role: RoleName,
    /// Whether it knows the finer states in place of TASK_LOST.
    pub(crate) partition_aware: bool,
    /// What each task takes, where it reserves or makes groups.
    pub(crate) cpus: Quantity,
    /// The same of memory.
    pub(crate) mem: Quantity,
    /// Its tasks, in order of submission.
    pub(crate) tasks: Vec<TaskPlan>,
    /// Whether every task asks for a place of its own.
    pub(crate) placed: bool,
    /// Whether it reserves and makes persistent volumes.
    pub(crate) volumes: bool,
    /// Whether it launches its tasks in groups.
    pub(crate) grouped: bool,
    /// Whether it removes itself when all is done.
    pub(crate) teardown: bool,
    /// Whether it keeps the course of each launch.
    pub(crate) courses: bool,
    /// What goes wrong with it.
    pub(crate) swarm: ClientFaults,
    /// Where its calls lie that were turned away.
    pub(crate) returned: Returned,
    /// Where it leaves what its next life is to know.
    pub(crate) legacy: Legacy,
}

/// What goes wrong with frameworks, until calm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientFaults {
    /// So many of a million acceptances are the last word before the framework fails over to another life of itself, which
    /// knows what it knew.
    pub(crate) failover_parts: u32,
    /// So many of a million calls that may be said twice are.
    pub(crate) twice_parts: u32,
    /// When each floods the master with questions; none is zero.
    pub(crate) flood_at: Instant,
    /// From here on nothing goes wrong any more.
    pub(crate) calm: Instant,
}

/// Questions of a flood; each is answered by a status of every task.
const FLOOD_CALLS: u32 = 3000;

/// What it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tasks by their last state.
    pub(crate) ended: [u64; TaskState::ALL.len()],
    /// Launches of tasks that were lost before.
    pub(crate) relaunched: u64,
    /// Subscriptions after the first.
    pub(crate) resubscribed: u64,
    /// Offers taken.
    pub(crate) accepted: u64,
    /// Offers declined.
    pub(crate) declined: u64,
    /// Statuses told.
    pub(crate) statuses: u64,
    /// Launches beside the data of their tasks.
    pub(crate) local: u64,
    /// Launches anywhere else.
    pub(crate) remote: u64,
    /// Calls that came back, since the master had no room for them.
    pub(crate) turned_away: u64,
}

/// A simulated framework.
pub(crate) struct Client {
    config: ClientConfig,
    framework_id: Option<FrameworkId>,
    /// The leading master's host, when it can be reached.
    leader: Option<HostId>,
    /// Counts its streams; part of their numbers.
    streams: u32,
    session: Session,
    backoff: Duration,
    jobs: Vec<Job>,
    /// Jobs to launch, oldest first.
    queue: VecDeque<u32>,
    /// Jobs before this one have been submitted.
    submitted: u32,
    /// Offers in hand.
    held: Vec<Held>,
    /// Since when it is offered agents without the data it wants.
    waits_since: Option<Instant>,
    open: usize,
    suppressed: bool,
    /// What it has to say again.
    unsaid: Unsaid,
    /// Counts its operations and volumes; part of their names.
    operations: u64,
    pub(crate) tally: Tally,
    /// The course of each launch, when it is asked for.
    pub(crate) courses: Option<Vec<Course>>,
    /// The master has removed it, as it had asked.
    departed: bool,
    /// Why it can't go on, if so.
    pub(crate) dismissed: Option<String>,
}

/// Where it stands with the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// No stream.
    Away,
    /// A stream was asked for.
    Asked(StreamId),
    /// It reads on a stream; its proxy takes its calls.
    In(StreamId, Address),
}

/// What it wakes up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// When it is time to subscribe.
    Subscribe,
    /// When nothing was heard for too long.
    Silence,
    /// When it looks for silent tasks.
    Review,
    /// When it ends one of its tasks.
    Kill(u32),
    /// When the next of its tasks is submitted.
    Submit,
    /// When it has held its offers for long enough.
    Hold,
    /// When it floods the master.
    Flood,
    /// When it says calls again that were turned away.
    Again,
}

impl TimerKey for Timer {
    fn pack(self) -> u64 {
        let (kind, job) = match self {
            Self::Subscribe => (0, 0),
            Self::Silence => (1, 0),
            Self::Review => (2, 0),
            Self::Kill(job) => (3, job),
            Self::Submit => (4, 0),
            Self::Hold => (5, 0),
            Self::Flood => (6, 0),
            Self::Again => (7, 0),
        };
        packed(kind, u64::from(job))
    }
    fn unpack(timer: u64) -> Self {
        let (kind, job) = unpacked(timer);
        match kind {
            0 => Self::Subscribe,
            1 => Self::Silence,
            2 => Self::Review,
            3 => Self::Kill(job as u32),
            4 => Self::Submit,
            5 => Self::Hold,
            6 => Self::Flood,
            7 => Self::Again,
            _ => panic!("no timer of a client has the kind {kind}"),
        }
    }
}

type ClientContext<'a> = Context<'a, Client>;

impl Client {
    /// A framework that has not subscribed yet, or the next life of one that fell.
    pub(crate) fn new(config: ClientConfig) -> Self {
        let jobs: Vec<Job> = config.tasks.iter().map(|&plan| Job::new(plan)).collect();
        Self {
            framework_id: None,
            leader: None,
            streams: 0,
            session: Session::Away,
            backoff: BACKOFF_FIRST,
            queue: VecDeque::new(),
            submitted: 0,
            held: Vec::new(),
            waits_since: None,
            open: jobs.len(),
            jobs,
            suppressed: false,
            unsaid: Unsaid::default(),
            operations: 0,
            tally: Tally::default(),
            courses: config.courses.then(Vec::new),
            departed: false,
            dismissed: None,
            config,
        }
        .remember()
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    /// Whether all its tasks have ended for good.
    pub(crate) fn is_done(&self) -> bool {
        self.open == 0
    }

    /// How many of its tasks have not ended yet.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Takes up what is submitted by now, and waits for the next.
    fn submit(&mut self, context: &mut ClientContext<'_>) {
        let now = context.now();
        let due = |job: &Job| Instant(0) + job.plan.submit;
        while let Some(job) = self.jobs.get(self.submitted as usize).filter(|job| due(job) <= now) {
            debug_assert!(job.phase == Phase::Waiting);
            self.queue.push_back(self.submitted);
            self.submitted += 1;
        }
        if let Some(next) = self.jobs.get(self.submitted as usize) {
            context.arm(Timer::Submit, due(next).since(now));
        }
    }

    /// So many tasks run at a time; none without a bound.
    fn most_at_once(&self) -> Option<u32> {
        if let Behaviour::Spark { executors, .. } = self.config.behaviour { Some(executors) } else { None }
    }

    fn info(&self) -> FrameworkInfo {
        let number = self.config.number;
        let mut capabilities = vec![Capability::TaskKillingState];
        if self.config.partition_aware {
            capabilities.push(Capability::PartitionAware);
        }
        capabilities.push(Capability::MultiRole);
        if self.config.volumes {
            capabilities.push(Capability::ReservationRefinement);
        }
        FrameworkInfo {
            id: self.framework_id.clone(),
            user: "kaon".into(),
            name: self.config.name.clone(),
            roles: vec![self.config.role.clone()],
            failover_timeout: FAILOVER,
            checkpoint: true,
            hostname: format!("client-{number}"),
            capabilities,
            ..FrameworkInfo::default()
        }
    }

    fn subscribe(&mut self, context: &mut ClientContext<'_>) {
        let Some(leader) = self.leader.filter(|_| self.dismissed.is_none() && !self.departed) else { return };
        self.tally.resubscribed += u64::from(self.streams > 0);
        self.streams += 1;
        let stream = StreamId(u64::from(self.config.machine) << 32 | u64::from(self.streams));
        self.session = Session::Asked(stream);
        self.suppressed = self.queue.is_empty();
        let suppressed_roles = if self.suppressed { vec![self.config.role.clone()] } else { Vec::new() };
        let (info, offers) = (Box::new(self.info()), Box::default());
        let ask = MasterMessage::Outside(ToMaster::Subscribe { info, suppressed_roles, offers, stream });
        context.send(Address::only(leader, ActorKind::Master), &ask);
        self.backoff = self.backoff.doubled(BACKOFF_LAST);
        let wait = self.backoff.times(2) + context.chance().duration_below(self.backoff);
        context.arm(Timer::Subscribe, wait);
    }

    fn stream_is_gone(&mut self, context: &mut ClientContext<'_>) {
        self.session = Session::Away;
        self.held.clear();
        self.forget_unsaid(context);
        context.disarm(Timer::Hold);
        context.disarm(Timer::Silence);
        if self.leader.is_some() {
            let wait = self.backoff + context.chance().duration_below(self.backoff);
            context.arm(Timer::Subscribe, wait);
        }
    }

    /// All is done, and it wants to be removed.
    fn is_leaving(&self) -> bool {
        self.config.teardown && self.is_done()
    }

    fn call(&mut self, call: Call, context: &mut ClientContext<'_>) {
        let Session::In(stream, proxy) = self.session else { return };
        let faults = self.config.swarm;
        let is_calm = context.now() >= faults.calm;
        // What a client says again when it has not heard the answer; an acceptance is not among it.
        let may_be_twice =
            !matches!(call, Call::Accept { .. } | Call::Acknowledge { .. } | Call::AcknowledgeOperation { .. });
        let twice = !is_calm && may_be_twice && context.chance().parts_per_million(faults.twice_parts);
        let falls = !is_calm
            && matches!(call, Call::Accept { .. })
            && context.chance().parts_per_million(faults.failover_parts);
        let message = FrameworkMessage::Outside(ToFramework::Call { stream, call });
        context.send(proxy, &message);
        if twice {
            context.send(proxy, &message);
        }
        if falls {
            // Nobody reads any more what is still on its way.
            context.close(stream);
            self.stream_is_gone(context);
        }
    }

    /// Accepts one offer.
    fn accept(&mut self, id: OfferId, operations: Vec<OfferOperation>, context: &mut ClientContext<'_>) {
        self.tally.accepted += 1;
        let offers = vec![ClientOffer::Known(id)];
        self.call(Call::Accept { offers, operations, refusal: Refusal::DEFAULT }, context);
    }

    fn on_subscribed(&mut self, id: &str, proxy: Address, context: &mut ClientContext<'_>) {
        let Session::Asked(stream) = self.session else { return };
        let again = self.framework_id.is_some();
        self.framework_id = Some(FrameworkId::trusted(id));
        self.session = Session::In(stream, proxy);
        self.backoff = BACKOFF_FIRST;
        context.disarm(Timer::Subscribe);
        if again {
            self.ask_about_all(context);
        }
        self.ask_for_offers(context);
        self.leave_when_done(context);
    }

    /// Suppresses or revives, as the queue wants.
    fn ask_for_offers(&mut self, context: &mut ClientContext<'_>) {
        let wanted = !self.queue.is_empty();
        if wanted == self.suppressed && matches!(self.session, Session::In(..)) {
            self.suppressed = !wanted;
            let roles = Vec::new();
            self.call(if wanted { Call::Revive { roles } } else { Call::Suppress { roles } }, context);
        }
    }

    fn leave_when_done(&mut self, context: &mut ClientContext<'_>) {
        if self.is_leaving() {
            self.call(Call::Teardown, context);
        }
    }
}

impl Actor for Client {
    type Message = FrameworkEvent;
    type Timer = Timer;

    fn on_start(&mut self, _: &[Record], context: &mut ClientContext<'_>) {
        context.arm(Timer::Review, REVIEW);
        self.submit(context);
        let flood = self.config.swarm.flood_at;
        if flood > context.now() {
            context.arm(Timer::Flood, flood.since(context.now()));
        }
    }

    fn on_message(&mut self, envelope: &Envelope, event: &ArchivedFrameworkEvent, context: &mut ClientContext<'_>) {
        context.arm(Timer::Silence, STREAM_SILENCE);
        match event {
            ArchivedFrameworkEvent::Subscribed { framework_id, .. } => {
                self.on_subscribed(framework_id.as_str(), envelope.from, context);
            }
            ArchivedFrameworkEvent::Offers { offers, .. } => self.on_offers(offers, context),
            ArchivedFrameworkEvent::Update { status } => self.on_status(status, context),
            ArchivedFrameworkEvent::OperationUpdated { status, .. } => self.on_operation(status, context),
            ArchivedFrameworkEvent::Error { message, .. } => {
                // A newer stream of ours has taken over, the master is not elected yet (real clients are sent to the
                // leader by their edge), or we have left. Anything else is the end.
                let passing = ["Framework failed over", "This master does not lead"];
                let expected = passing.iter().any(|text| message.as_str().starts_with(text));
                if self.is_leaving() {
                    self.departed |= !expected;
                } else if !expected {
                    self.dismissed = Some(message.as_str().to_owned());
                }
            }
            ArchivedFrameworkEvent::Rescind { offer_id, .. } => self.rescinded(OfferId(offer_id.0.to_native())),
            ArchivedFrameworkEvent::InverseOffers { offers, .. } => self.on_inverse_offers(offers, context),
            ArchivedFrameworkEvent::RescindInverseOffer { .. }
            | ArchivedFrameworkEvent::Failure { .. }
            | ArchivedFrameworkEvent::Message { .. }
            // Tasks tell of their ends themselves.
            | ArchivedFrameworkEvent::Heartbeat => {}
        }
    }

    fn on_timer(&mut self, timer: Timer, context: &mut ClientContext<'_>) {
        match timer {
            Timer::Subscribe => self.subscribe(context),
            Timer::Silence => self.stream_is_gone(context),
            Timer::Review => {
                self.review(context);
                context.arm(Timer::Review, REVIEW);
            }
            Timer::Kill(job) => self.kill(job, context),
            Timer::Submit => {
                self.submit(context);
                self.ask_for_offers(context);
            }
            Timer::Hold => self.stop_holding(context),
            Timer::Again => self.say_again(context),
            Timer::Flood => {
                for _ in 0..FLOOD_CALLS {
                    self.call(Call::Reconcile { tasks: Vec::new() }, context);
                }
            }
        }
    }

    fn on_done(&mut self, ticket: Ticket, _: Outcome, _: &mut ClientContext<'_>) {
        panic!("a client asks for nothing under a ticket, {ticket:?} came back");
    }

    fn on_link(&mut self, link: &Link, context: &mut ClientContext<'_>) {
        if link.identity == BUSY_LINK {
            return self.turned_away(context);
        }
        if let Some(number) = link.identity.strip_prefix(STREAM_LINK) {
            let stream = match self.session {
                Session::Away => return,
                Session::Asked(stream) | Session::In(stream, _) => stream,
            };
            if number == stream.0.to_string() {
                // The end of a stream without an error is the answer to a teardown.
                self.departed |= self.is_leaving() && matches!(self.session, Session::In(..));
                self.stream_is_gone(context);
            }
            return;
        }
        match (link.role, link.state) {
            (PeerRole::Master, LinkState::Up) => {
                self.leader = Some(link.host);
                let wait = context.chance().duration_below(BACKOFF_FIRST);
                context.arm(Timer::Subscribe, wait);
            }
            (PeerRole::Master, LinkState::Down) => {
                self.leader = None;
                self.stream_is_gone(context);
            }
            _ => {}
        }
    }

    fn invariants(&self) {
        let open = self.jobs.iter().filter(|job| !matches!(job.phase, Phase::Ended)).count();
        assert_eq!(open, self.open, "open tasks are counted right");
        let waiting = self.jobs[..self.submitted as usize].iter().filter(|job| job.phase == Phase::Waiting).count();
        assert_eq!(waiting, self.queue.len(), "who waits is in the queue");
    }
}

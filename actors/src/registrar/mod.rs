//! The registrar: keeps the registry in a replicated log, and tells its master when that one leads.
//!
//! ```text
//!                Attach                     own entry of this term applied
//!   (silent) ------------> Following  <----------------------------------> Leading
//!                          {leader}        lost the term, or a majority    {term, registry}, then Applied{number} ..
//! ```
//!
//! One registrar lives on each master's host. An operation of the leading master is proposed, written here and by a
//! majority, committed, applied to the registry, and only then acknowledged (law L5). What waits while a flush is under
//! way is proposed together: 10,000 agents that register at once cost about ten flushes. A master that loses its lead is
//! told `Following`; what it has not seen acknowledged may or may not be in the registry that it gets when it leads again.
//!
//! Left to others: elections and replication (`consensus`, carried out by raft-rs in `engine`), what operations mean
//! ([`apply`]), whether they make sense (the master). Not here at all: changes of membership.
//!
//! What is lost and what happens then: messages between registrars are repeated by the engine. Between a master and its
//! registrar nothing is lost, they share a host; when either falls, both start afresh. A disk that refuses a write ends
//! the host (Mesos aborts the master when storing the registry fails): a voter must not go on from what it only has in
//! memory.
//!
//! Sources: Mesos `master/registrar.cpp` (batching, abort on a failed store), reference section 13; the raft paper and
//! thesis (pre-vote, check-quorum, writing in parallel 10.2.1).

pub mod apply;
mod config;
mod consensus;
mod engine;
mod journal;
mod log;
mod rows;
mod standing;
#[cfg(test)]
mod tests;
mod wire;

pub use apply::{Book, Limits};
pub use config::{Error as ConfigError, PEERS_MAX, Peer, RegistrarConfig};
pub use journal::Error as JournalError;

use apply::Ignored;
use consensus::{Committed, Consensus, Letter, Ready, Refusal, Snapshot};
use engine::Engine;
use journal::Charter;
use kaon_kernel::actor::{
    Actor, ActorKind, Address, Batch, Context, HostId, Link, LinkState, Outcome, Record, Term, Ticket, TimerKey, exit,
};
use kaon_kernel::frame::Envelope;
use kaon_kernel::message::registrar::{
    ArchivedPeerMessage, ArchivedToRegistrar, PeerMessage, Registry, RegistryOperation, ToMaster,
};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{ArchivedRegistrarMessage, MasterMessage, RegistrarMessage};
use kaon_kernel::time::Instant;
use rkyv::Archive;
use rkyv::rancor;
use std::collections::{BTreeMap, VecDeque};

/// How many operations are proposed together at most, and so share a flush.
pub const BATCH_OPERATIONS_MAX: usize = 1_024;

/// How many bytes of operations are proposed together at most (the one that crosses the line is the last).
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// How many operations may be in the log and not committed yet. A leader without a majority stops here.
pub const PROPOSED_MAX: usize = 8 * BATCH_OPERATIONS_MAX;

/// The largest operation in bytes of its archive. Larger ones are refused.
pub const OPERATION_BYTES_MAX: usize = 1 << 20;

/// How many batches may be on their way to the disk. Beyond, the engine waits.
pub const FLIGHTS_MAX: usize = 16;

/// What an operator is told when a journal is refused.
const REFUSED: &str = "the journal of this registrar is damaged or not its own. Keep this master stopped and restore \
    the journal from this machine's last copy. Do not start it on an emptied journal under the same number: a voter \
    that has forgotten its votes can undo what the group has promised. If a majority of the other masters is well, the \
    cluster runs on without this one";

/// What a registrar may be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// When the next tick of the consensus clock is due. Not armed in a group of one, which has nobody to wait for.
    Tick,
}

impl TimerKey for Timer {
    fn pack(self) -> u64 {
        0
    }
    fn unpack(_: u64) -> Self {
        Self::Tick
    }
}

/// The actor. See the module's text.
pub struct Registrar {
    config: RegistrarConfig,
    book: Book,
    /// The last entry that is in the book.
    applied: u64,
    /// The term of that entry.
    applied_term: u64,
    /// `None` before the start and after the disk has failed.
    engine: Option<Box<dyn Consensus>>,
    /// Where the other voters live, as far as their links are up.
    hosts: BTreeMap<u64, HostId>,
    /// `None` until the master has said that it is there.
    master: Option<Master>,
    flights: VecDeque<Flight>,
    /// How many operations wait, or are in the log and not applied, as it was shown last.
    queued: usize,
}

/// What is known of the master on this host.
struct Master {
    /// What it was told last.
    told: Told,
    /// In this term it leads only once this entry is applied: an earlier life of it may have asked for all up to here.
    barrier: (Term, u64),
    /// Operations that wait to be proposed: its number, and the archive.
    waiting: VecDeque<(u64, Vec<u8>)>,
    /// Operations in the log, in its order.
    proposed: VecDeque<Proposed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Following(Option<HostId>),
    Leading(u64),
}

struct Proposed {
    index: u64,
    term: u64,
    number: u64,
    since: Instant,
}

/// Why an operation does not come into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Unlogged {
    #[error("the change takes {bytes} bytes, and {OPERATION_BYTES_MAX} is the most: ask for less at once")]
    TooLarge { bytes: usize },
    #[error("too many changes wait for the registry; try again later")]
    Crowded,
}

/// A batch on its way to the disk, and what waits for it.
struct Flight {
    /// `None` once it is on disk.
    ticket: Option<Ticket>,
    /// The rounds of the engine that it completes, if any.
    number: Option<u64>,
    letters: Vec<Letter>,
    install: Option<Snapshot>,
}

impl Registrar {
    /// A registrar that has not started yet. Every life of one is made afresh.
    pub fn new(config: RegistrarConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            config,
            book: Book::new(Limits::DEFAULT),
            applied: 0,
            applied_term: 0,
            engine: None,
            hosts: BTreeMap::new(),
            master: None,
            flights: VecDeque::new(),
            queued: 0,
        })
    }

    /// The registry as far as this registrar has applied the log. A standby's may lag.
    pub fn registry(&self) -> Registry {
        self.book.registry()
    }

    /// The term in which this registrar leads and has caught up, if it does.
    pub fn leads(&self) -> Option<Term> {
        let standing = self.engine.as_ref()?.standing();
        let leads = standing.leader == Some(self.config.me) && self.applied_term == standing.term;
        leads.then_some(Term(standing.term))
    }

    /// The last entry of the log that is in the registry.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Carries out what the engine wants, proposes what waits, and tells the master where it stands.
    fn pump(&mut self, context: &mut Context<'_, Self>) {
        let changed = self.applied;
        loop {
            if self.flights.len() < FLIGHTS_MAX
                && let Some(ready) = self.engine.as_mut().and_then(|engine| engine.ready())
            {
                self.carry_out(ready, context);
            } else if !self.propose(context.now()) {
                break;
            }
        }
        if self.applied != changed {
            context.gauge("registrar/registry_size_bytes", self.book.bytes() as f64);
            self.take_snapshot(context);
        }
        let queued = self.master.as_ref().map_or(0, |master| master.waiting.len() + master.proposed.len());
        if queued != core::mem::replace(&mut self.queued, queued) {
            context.gauge("registrar/queued_operations", queued as f64);
        }
        self.tell(context);
    }

    fn carry_out(&mut self, ready: Ready, context: &mut Context<'_, Self>) {
        let Ready { number, batch, send, send_after, install, committed } = ready;
        self.send(send, context);
        let number = Some(number);
        if !batch.is_empty() {
            let ticket = Some(context.persist(batch));
            self.flights.push_back(Flight { ticket, number, letters: send_after, install });
        } else if let Some(last) = self.flights.back_mut() {
            // Nothing to write, but what it sends may promise what earlier rounds write.
            last.number = number;
            last.letters.extend(send_after);
        } else {
            self.land(Flight { ticket: None, number, letters: send_after, install }, context);
        }
        for entry in committed {
            self.apply(entry, context);
        }
    }

    /// A flight and all before it are on disk.
    fn land(&mut self, flight: Flight, context: &mut Context<'_, Self>) {
        if let Some(snapshot) = flight.install {
            self.install(snapshot);
        }
        self.send(flight.letters, context);
        if let (Some(number), Some(engine)) = (flight.number, &mut self.engine) {
            engine.persisted(number);
        }
    }

    fn install(&mut self, snapshot: Snapshot) {
        let registry = rkyv::from_bytes::<Registry, rancor::Error>(&snapshot.registry);
        let registry = registry.unwrap_or_else(|error| panic!("a checked snapshot is no registry: {error}"));
        let book = Book::restore(Limits::DEFAULT, registry);
        self.book =
            book.unwrap_or_else(|| panic!("the snapshot of entry {} is no registry. {REFUSED}", snapshot.index));
        self.applied = snapshot.index;
    }

    fn apply(&mut self, entry: Committed, context: &mut Context<'_, Self>) {
        assert_eq!(entry.index, self.applied + 1, "entries are applied in order");
        (self.applied, self.applied_term) = (entry.index, entry.term);
        let mut outcome = Ok(());
        if !entry.operation.is_empty() {
            let operation = rkyv::from_bytes::<RegistryOperation, rancor::Error>(&entry.operation);
            let operation = operation.unwrap_or_else(|error| panic!("a checked entry is no operation: {error}"));
            outcome = self.book.apply(operation);
            if let Err(ignored) = outcome {
                context.count(ignored_name(ignored), 1);
            }
        }
        let me = context.me().host;
        let Some(master) = &mut self.master else { return };
        while let Some(first) = master.proposed.front().filter(|first| first.index <= entry.index) {
            if first.index == entry.index && first.term == entry.term {
                let number = first.number;
                let told = match outcome {
                    Ok(()) => ToMaster::Applied { number },
                    Err(ignored) => ToMaster::Refused { number, reason: ignored.to_string() },
                };
                context.send(Address::only(me, ActorKind::Master), &MasterMessage::Registrar(told));
                context.took("registrar/state_store", context.now().since(first.since));
            }
            master.proposed.pop_front();
        }
    }

    /// Proposes what waits, unless a flush is under way: what comes meanwhile shares the next one.
    fn propose(&mut self, now: Instant) -> bool {
        let (Some(master), Some(engine)) = (&mut self.master, &mut self.engine) else { return false };
        let Told::Leading(term) = master.told else { return false };
        if master.waiting.is_empty() || !self.flights.is_empty() || engine.standing().term != term {
            return false;
        }
        let room = BATCH_OPERATIONS_MAX.min(PROPOSED_MAX.saturating_sub(master.proposed.len()));
        let mut bytes = 0;
        let fits = |(_, operation): &&(u64, Vec<u8>)| {
            let before = bytes;
            bytes += operation.len();
            before < BATCH_BYTES_MAX
        };
        let count = master.waiting.iter().take(room).take_while(fits).count();
        let (numbers, operations): (Vec<_>, Vec<_>) = master.waiting.iter().take(count).cloned().unzip();
        let Some(first) = engine.propose(operations) else { return false };
        master.waiting.drain(..count);
        let proposed = (first..).zip(numbers).map(|(index, number)| Proposed { index, term, number, since: now });
        master.proposed.extend(proposed);
        true
    }

    fn take_snapshot(&mut self, context: &mut Context<'_, Self>) {
        if self.flights.len() >= FLIGHTS_MAX {
            return;
        }
        let Some(engine) = self.engine.as_mut().filter(|engine| engine.wants_snapshot(self.applied)) else { return };
        let registry = rkyv::to_bytes::<rancor::Error>(&self.book.registry()).expect("writing to memory can't fail");
        let batch: Batch = engine.compact(self.applied, registry.into_vec());
        let ticket = Some(context.persist(batch));
        self.flights.push_back(Flight { ticket, number: None, letters: Vec::new(), install: None });
        context.count("registrar/snapshots", 1);
    }

    /// Tells the master where it stands, if that has changed.
    fn tell(&mut self, context: &mut Context<'_, Self>) {
        let Some(engine) = &self.engine else { return };
        let leads = self.leads();
        let leader = engine.standing().leader.and_then(|leader| self.hosts.get(&leader)).copied();
        let Some(master) = &mut self.master else { return };
        let news = match leads {
            Some(term) if term != master.barrier.0 || self.applied >= master.barrier.1 => Told::Leading(term.0),
            _ => Told::Following(leader),
        };
        if news == master.told {
            return;
        }
        master.told = news;
        // Numbers of another term, or of an earlier one: whoever counted them has been told to forget them.
        master.waiting.clear();
        master.proposed.clear();
        let word = match news {
            Told::Leading(term) => ToMaster::Leading { term: Term(term), registry: Box::new(self.book.registry()) },
            _ => ToMaster::Following { leader },
        };
        context.send(Address::only(context.me().host, ActorKind::Master), &MasterMessage::Registrar(word));
    }

    fn send(&self, letters: Vec<Letter>, context: &mut Context<'_, Self>) {
        for Letter { to, data } in letters {
            if let Some(host) = self.hosts.get(&to) {
                let to = Address::only(*host, ActorKind::Registrar);
                context.send(to, &RegistrarMessage::Peer(PeerMessage { data }));
            }
        }
    }

    fn on_master(&mut self, envelope: &Envelope, message: &ArchivedToRegistrar, context: &mut Context<'_, Self>) {
        if envelope.from != Address::only(context.me().host, ActorKind::Master) {
            return context.count("registrar/messages_refused", 1);
        }
        match message {
            ArchivedToRegistrar::Attach => {
                let engine = self.engine.as_ref();
                let barrier = engine.map(|engine| (Term(engine.standing().term), engine.last_index()));
                let barrier = barrier.unwrap_or_default();
                let (waiting, proposed) = (VecDeque::new(), VecDeque::new());
                self.master = Some(Master { told: Told::Nothing, barrier, waiting, proposed });
            }
            ArchivedToRegistrar::Apply { number, operation } => {
                self.on_apply(envelope.term, number.to_native(), operation, context);
            }
        }
    }

    fn on_apply(
        &mut self,
        term: Term,
        number: u64,
        operation: &<RegistryOperation as Archive>::Archived,
        context: &mut Context<'_, Self>,
    ) {
        let waiting_max = self.config.waiting_max;
        let Some(master) = &mut self.master else { return context.count("registrar/operations_stale", 1) };
        // What an earlier lead asked for was dropped when it ended (law L7).
        if master.told != Told::Leading(term.0) {
            return context.count("registrar/operations_stale", 1);
        }
        let operation = rkyv::deserialize::<RegistryOperation, rancor::Error>(operation)
            .and_then(|operation| rkyv::to_bytes::<rancor::Error>(&operation));
        let operation = operation.expect("copying in memory can't fail").into_vec();
        let unlogged = match operation.len() {
            bytes if bytes > OPERATION_BYTES_MAX => Unlogged::TooLarge { bytes },
            _ if master.waiting.len() >= waiting_max => Unlogged::Crowded,
            _ => return master.waiting.push_back((number, operation)),
        };
        context.count("registrar/operations_refused", 1);
        let word = MasterMessage::Registrar(ToMaster::Refused { number, reason: unlogged.to_string() });
        context.send(Address::only(context.me().host, ActorKind::Master), &word);
    }

    fn on_peer(&mut self, envelope: &Envelope, message: &ArchivedPeerMessage, context: &mut Context<'_, Self>) {
        let from = self.hosts.iter().find(|(_, host)| Address::only(**host, ActorKind::Registrar) == envelope.from);
        let (Some((&from, _)), Some(engine)) = (from, &mut self.engine) else {
            return context.count("registrar/messages_refused", 1);
        };
        match engine.step(from, &message.data) {
            Ok(()) => {}
            Err(forgotten @ Refusal::Forgotten { .. }) => {
                panic!("registrar {}: {forgotten}. {REFUSED}", self.config.me)
            }
            Err(_) => context.count("registrar/messages_refused", 1),
        }
    }

    /// The disk takes nothing more: out with it, before anybody relies on what is only in memory.
    fn give_up(&mut self, context: &mut Context<'_, Self>) {
        self.engine = None;
        self.flights.clear();
        if self.master.take().is_some() {
            let word = MasterMessage::Registrar(ToMaster::Following { leader: None });
            context.send(Address::only(context.me().host, ActorKind::Master), &word);
        }
        context.count("registrar/storage_failures", 1);
        context.disarm(Timer::Tick);
        context.finish(exit::STORAGE);
    }

    fn refused(&self, error: &JournalError) -> ! {
        panic!("registrar {} can't start: {error}. {REFUSED}", self.config.me)
    }
}

fn ignored_name(ignored: Ignored) -> &'static str {
    match ignored {
        Ignored::Unnamed => "registrar/operations_ignored/unnamed",
        Ignored::Identity => "registrar/operations_ignored/identity",
        Ignored::Removed => "registrar/operations_ignored/removed",
        Ignored::Gone => "registrar/operations_ignored/gone",
        Ignored::UnknownAgent => "registrar/operations_ignored/unknown_agent",
        Ignored::Unscheduled => "registrar/operations_ignored/unscheduled",
        Ignored::Full => "registrar/operations_ignored/full",
    }
}

impl Actor for Registrar {
    type Message = RegistrarMessage;
    type Timer = Timer;

    /// # Panics
    /// When the journal is damaged, has a hole, or is another's. The text says what to do.
    fn on_start(&mut self, recovered: &[Record], context: &mut Context<'_, Self>) {
        let charter = Charter { number: self.config.me, voters: self.config.voters() };
        let journal = journal::load(recovered, &charter).unwrap_or_else(|error| self.refused(&error));
        let mut engine = Engine::new(&self.config, charter, journal);
        if let Some(snapshot) = engine.snapshot() {
            self.install(snapshot);
        }
        if self.config.peers.len() == 1 {
            engine.campaign();
        } else {
            context.arm(Timer::Tick, self.config.tick);
        }
        self.engine = Some(Box::new(engine));
        context.worked("registrar/state_fetch");
        context.gauge("registrar/log/recovered", 1.0);
        context.gauge("registrar/log/ensemble_size", self.config.peers.len() as f64);
        self.pump(context);
    }

    fn on_message(&mut self, envelope: &Envelope, message: &ArchivedRegistrarMessage, context: &mut Context<'_, Self>) {
        match message {
            ArchivedRegistrarMessage::Master(message) => self.on_master(envelope, message, context),
            ArchivedRegistrarMessage::Peer(message) => self.on_peer(envelope, message, context),
        }
        self.pump(context);
    }

    fn on_timer(&mut self, Timer::Tick: Timer, context: &mut Context<'_, Self>) {
        let Some(engine) = &mut self.engine else { return };
        engine.tick(context.chance());
        context.arm(Timer::Tick, self.config.tick);
        self.pump(context);
    }

    fn on_done(&mut self, ticket: Ticket, outcome: Outcome, context: &mut Context<'_, Self>) {
        if self.engine.is_none() {
            return;
        }
        let Outcome::Persisted(result) = outcome else { panic!("a registrar asks for no containers") };
        if result.is_err() {
            return self.give_up(context);
        }
        let flight = self.flights.iter_mut().find(|flight| flight.ticket == Some(ticket));
        flight.unwrap_or_else(|| panic!("{ticket:?} is of no batch under way")).ticket = None;
        while self.flights.front().is_some_and(|flight| flight.ticket.is_none()) {
            if let Some(flight) = self.flights.pop_front() {
                self.land(flight, context);
            }
        }
        self.pump(context);
    }

    fn on_link(&mut self, link: &Link, context: &mut Context<'_, Self>) {
        let peer =
            self.config.peers.iter().find(|peer| peer.identity == link.identity && peer.number != self.config.me);
        let (Some(number), true) = (peer.map(|peer| peer.number), link.role == PeerRole::Master) else { return };
        let before = self.hosts.get(&number).copied();
        match link.state {
            LinkState::Up => {
                self.hosts.insert(number, link.host);
            }
            LinkState::Down if before == Some(link.host) => {
                self.hosts.remove(&number);
            }
            LinkState::Down | LinkState::Congested | LinkState::Flowing => return,
        }
        // Also when it is up again: what was sent into the old session, or into none, may be lost.
        if let Some(engine) = &mut self.engine {
            engine.peer_lost(number);
        }
        self.pump(context);
    }

    fn invariants(&self) {
        self.book.invariants();
        assert!(self.flights.len() <= FLIGHTS_MAX, "{} batches under way", self.flights.len());
        assert!(self.flights.front().is_none_or(|flight| flight.ticket.is_some()), "a landed flight is kept");
        if let Some(engine) = &self.engine {
            engine.invariants();
            assert!(self.applied <= engine.last_index());
        }
        if let Some(master) = &self.master {
            assert!(master.waiting.len() <= self.config.waiting_max);
            assert!(master.proposed.len() <= PROPOSED_MAX);
            assert!(master.proposed.front().is_none_or(|first| first.index > self.applied));
        }
    }
}

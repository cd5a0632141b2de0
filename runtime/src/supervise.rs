//! The supervisor: the root of a host's tree. Who restarts whom is the policy of [`kaon_kernel::actor::supervision`];
//! here is the carrying out.
//!
//! ```text
//! Down --Begin--> Starting --Started--> Live --Fell, Halt--> Down
//!   \________________\__________________/ --Leave--> (gone)
//! ```
//! - Standing actors begin in the order of the tree, each when the one before has started. When one falls, those after
//!   it (rest for one) are halted too, and what hangs below any of them goes for good; then they begin anew, in order.
//! - A child that falls is restarted alone, with a count of its own, so that one bad child spoils nothing for others;
//!   its parent is told `Restarted`, or `GaveUp` when it fell too often.
//! - When a standing actor falls too often, or its journal can't be read, the host stops with a code other than zero.
//!
//! It is an actix actor on the host's own thread; seats report to it, it orders. All that it does is rare.

use crate::host::Shared;
use crate::journal::{self, Command};
use crate::mailbox::{Item, Mailbox};
use crate::seat::{Order, Origin, Seat};
use actix::{Actor, ActorContext, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message};
use kaon_kernel::actor::supervision::{Decision, Restarts, Strategy};
use kaon_kernel::actor::{ActorKind, Address, ChildSpec, ExitReason, exit};
use kaon_kernel::time::Instant;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What seats, and the host's handle, report.
pub(crate) enum Report {
    /// It has handled its start.
    Started { who: Address, incarnation: u64 },
    /// It panicked.
    Fell { who: Address, incarnation: u64, started: Instant },
    /// It asked to end.
    Finished { who: Address, incarnation: u64, code: i32 },
    /// As ordered.
    Halted { who: Address, incarnation: u64 },
    /// As ordered; its address is free.
    Left { who: Address },
    /// Its journal can't be read.
    Unreadable { who: Address, incarnation: u64, error: journal::Error },
    /// It wants a child.
    Spawn { parent: Address, incarnation: u64, mailbox: Arc<Mailbox>, spec: ChildSpec },
    /// It wants a child to end.
    Stop { parent: Address, incarnation: u64, child: Address },
    /// The host is to stop.
    Shutdown(i32),
}

impl Message for Report {
    type Result = ();
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    Starting,
    Live,
    /// Ordered to drop its cell.
    Halting,
    /// Ordered to go.
    Leaving,
}

struct Node {
    seat: Addr<Seat>,
    mailbox: Arc<Mailbox>,
    state: State,
    incarnation: u64,
    /// Of a child: who spawned it, and in which incarnation.
    parent: Option<(Address, u64)>,
    children: BTreeSet<Address>,
    /// Of a child; standing actors share the root's.
    restarts: Restarts,
    not_before: Instant,
    /// What its parent is told when it has gone.
    ending: Option<ExitReason>,
}

/// See the module's text.
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    arbiters: Vec<ArbiterHandle>,
    nodes: BTreeMap<Address, Node>,
    standing: Vec<Address>,
    restarts: Restarts,
    /// The exit code, once the host is to stop.
    stopping: Option<i32>,
    done: Option<oneshot::Sender<i32>>,
}

impl Supervisor {
    /// A supervisor over the tree of `shared`; when everything has stopped, the exit code goes to `done`.
    pub(crate) fn new(shared: Arc<Shared>, arbiters: Vec<ArbiterHandle>, done: oneshot::Sender<i32>) -> Self {
        let standing = shared.tree.actors.iter().map(|&kind| Address::only(shared.id, kind)).collect();
        Self {
            shared,
            arbiters,
            nodes: BTreeMap::new(),
            standing,
            restarts: Restarts::default(),
            stopping: None,
            done: Some(done),
        }
    }

    fn place(&mut self, mailbox: Arc<Mailbox>, parent: Option<(Address, u64)>, origin: Origin, me: Addr<Self>) {
        let address = mailbox.address;
        let arbiter = &self.arbiters[arbiter_of(address, parent.is_some(), self.arbiters.len())];
        let (shared, seat_mailbox) = (Arc::clone(&self.shared), Arc::clone(&mailbox));
        let seat = Seat::start_in_arbiter(arbiter, move |_| Seat::new(shared, seat_mailbox, me, origin));
        let node = Node {
            seat,
            mailbox,
            state: State::Down,
            incarnation: 0,
            parent,
            children: BTreeSet::new(),
            restarts: Restarts::default(),
            not_before: Instant(0),
            ending: None,
        };
        self.nodes.insert(address, node);
    }

    /// Lets begin what can: standing actors in order, one after the other.
    fn advance(&mut self, context: &mut Context<Self>) {
        let state_of = |address: &Address| self.nodes.get(address).map(|node| node.state);
        let is_unsettled = self.standing.iter().any(|address| state_of(address) == Some(State::Halting));
        if self.stopping.is_some() || is_unsettled {
            return;
        }
        for address in self.standing.clone() {
            match self.nodes.get(&address).map(|node| node.state) {
                Some(State::Down) if self.begin(address, context) => return,
                Some(State::Down) if self.shared.tree.policy.strategy == Strategy::OneForOne => {}
                Some(State::Live) => {}
                _ => return,
            }
        }
    }

    /// Lets one actor begin, unless it has to wait: for its children to go, or for its minimum run time.
    fn begin(&mut self, address: Address, context: &mut Context<Self>) -> bool {
        let now = self.shared.clock.now();
        let Some(node) = self.nodes.get_mut(&address) else { return false };
        if node.state != State::Down || !node.children.is_empty() {
            return false;
        }
        if now < node.not_before {
            let wait = std::time::Duration::from_nanos(node.not_before.since(now).0);
            context.run_later(wait, move |supervisor, context| supervisor.retry(address, context));
            return false;
        }
        node.incarnation += 1;
        node.state = State::Starting;
        if node.incarnation > 1 {
            node.mailbox.meter.restarted();
            tracing::info!(actor = %address, incarnation = node.incarnation, "an actor is restarted");
        }
        node.seat.do_send(Order::Begin(node.incarnation));
        if node.incarnation > 1 {
            self.tell_parent(address, ExitReason::Restarted);
        }
        true
    }

    /// Tries again to let an actor begin: its wait is over, or a child of it has gone.
    fn retry(&mut self, address: Address, context: &mut Context<Self>) {
        let Some(node) = self.nodes.get(&address) else { return };
        if node.parent.is_none() {
            self.advance(context);
        } else if self.stopping.is_none() {
            self.begin(address, context);
        }
    }

    fn fell(&mut self, who: Address, started: Instant, context: &mut Context<Self>) {
        let now = self.shared.clock.now();
        let policy = self.shared.tree.policy;
        let Some(node) = self.nodes.get_mut(&who) else { return };
        node.state = State::Down;
        let is_child = node.parent.is_some();
        let restarts = if is_child { &mut node.restarts } else { &mut self.restarts };
        let decision = restarts.decide(&policy, started, now);
        self.dismiss_children(who);
        match decision {
            Decision::Restart { after } => {
                if let Some(node) = self.nodes.get_mut(&who) {
                    node.not_before = now + after;
                }
                if is_child {
                    self.begin(who, context);
                    return;
                }
                if policy.strategy == Strategy::RestForOne {
                    self.halt_after(who);
                }
                self.advance(context);
            }
            Decision::Escalate if is_child => {
                tracing::error!(actor = %who, "a child fell too often and is given up");
                self.dismiss(who, Some(ExitReason::GaveUp));
            }
            Decision::Escalate => {
                let (most, window) = (policy.restarts_max, policy.window);
                tracing::error!(actor = %who, "more than {most} restarts within {window}: the host stops");
                self.shut_down(exit::ESCALATED, context);
            }
        }
    }

    fn halt_after(&mut self, fallen: Address) {
        let later: Vec<_> = self.standing.iter().copied().skip_while(|&other| other != fallen).skip(1).collect();
        for address in later {
            let Some(node) = self.nodes.get_mut(&address) else { continue };
            if matches!(node.state, State::Starting | State::Live) {
                node.state = State::Halting;
                node.seat.do_send(Order::Halt);
            }
            self.dismiss_children(address);
        }
    }

    fn dismiss_children(&mut self, of: Address) {
        let children = self.nodes.get(&of).map(|node| node.children.clone()).unwrap_or_default();
        children.into_iter().for_each(|child| self.dismiss(child, None));
    }

    /// Ends an actor for good, and all below it.
    fn dismiss(&mut self, address: Address, reason: Option<ExitReason>) {
        self.dismiss_children(address);
        let Some(node) = self.nodes.get_mut(&address) else { return };
        if node.state != State::Leaving {
            node.state = State::Leaving;
            node.ending = reason;
            node.seat.do_send(Order::Leave);
        }
    }

    fn left(&mut self, who: Address, context: &mut Context<Self>) {
        let Some(node) = self.nodes.get_mut(&who) else { return };
        if let Some(reason) = node.ending.take() {
            self.tell_parent(who, reason);
        }
        let parent = self.nodes.remove(&who).and_then(|node| node.parent);
        if let Some((parent, _)) = parent {
            self.shared.journal.ask(Command::Forget(who.into()));
            if let Some(node) = self.nodes.get_mut(&parent) {
                node.children.remove(&who);
                self.retry(parent, context);
            }
        }
        self.end_when_empty(context);
    }

    /// Tells the incarnation that spawned a child; a later one knows nothing of it.
    fn tell_parent(&self, child: Address, reason: ExitReason) {
        let parent = self.nodes.get(&child).and_then(|node| node.parent);
        let Some((parent, incarnation)) = parent else { return };
        if let Some(node) = self.nodes.get(&parent) {
            node.mailbox.tell(Item::Exit(incarnation, child, reason));
        }
    }

    fn spawn(
        &mut self,
        (parent, incarnation): (Address, u64),
        mailbox: Arc<Mailbox>,
        spec: ChildSpec,
        context: &mut Context<Self>,
    ) {
        let child = mailbox.address;
        let is_wanted =
            |node: &&mut Node| node.incarnation == incarnation && matches!(node.state, State::Starting | State::Live);
        let Some(node) = self.nodes.get_mut(&parent).filter(is_wanted).filter(|_| self.stopping.is_none()) else {
            // Its parent fell, or was halted, after it had asked.
            self.shared.directory.remove(child);
            return;
        };
        node.children.insert(child);
        // What a namesake left, of an earlier life of this process or of the parent, is not its past.
        self.shared.journal.ask(Command::Forget(child.into()));
        let me = context.address();
        self.place(mailbox, Some((parent, incarnation)), Origin::Child { parent, spec }, me);
        self.begin(child, context);
    }

    fn shut_down(&mut self, code: i32, context: &mut Context<Self>) {
        if self.stopping.is_none() {
            self.stopping = Some(code);
            let last_first: Vec<_> = self.standing.iter().rev().copied().collect();
            last_first.into_iter().for_each(|address| self.dismiss(address, None));
        }
        self.end_when_empty(context);
    }

    fn end_when_empty(&mut self, context: &mut Context<Self>) {
        let Some(code) = self.stopping.filter(|_| self.nodes.is_empty()) else { return };
        if let Some(done) = self.done.take() {
            let _ = done.send(code);
        }
        context.stop();
    }

    /// Whether a report is of the life that this supervisor knows, and in one of these states.
    fn is_current(&self, who: Address, incarnation: u64, states: &[State]) -> bool {
        let node = self.nodes.get(&who);
        node.is_some_and(|node| node.incarnation == incarnation && states.contains(&node.state))
    }

    fn set_state(&mut self, who: Address, state: State) {
        if let Some(node) = self.nodes.get_mut(&who) {
            node.state = state;
        }
    }
}

/// Chatty pairs share an arbiter: the registrar and the master the first, with their children. The allocator, whose
/// cycles are long, has the second where there is one; children have those above, where there are any.
fn arbiter_of(address: Address, is_child: bool, arbiters: usize) -> usize {
    match address.kind {
        ActorKind::Allocator => 1 % arbiters,
        _ if is_child && arbiters > 2 => 2 + address.index as usize % (arbiters - 2),
        _ => 0,
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        for address in self.standing.clone() {
            if let Some(mailbox) = self.shared.directory.find(address) {
                self.place(mailbox, None, Origin::Standing(address.kind), context.address());
            }
        }
        self.advance(context);
    }
}

impl Handler<Report> for Supervisor {
    type Result = ();

    fn handle(&mut self, report: Report, context: &mut Self::Context) {
        const RUNNING: &[State] = &[State::Starting, State::Live];
        match report {
            Report::Started { who, incarnation } => {
                if self.is_current(who, incarnation, &[State::Starting]) {
                    self.set_state(who, State::Live);
                    self.advance(context);
                }
            }
            Report::Fell { who, incarnation, started } => {
                if self.is_current(who, incarnation, RUNNING) {
                    self.fell(who, started, context);
                }
            }
            Report::Finished { who, incarnation, code } => {
                if !self.is_current(who, incarnation, RUNNING) {
                    return;
                }
                if self.standing.contains(&who) {
                    tracing::info!(actor = %who, code, "a standing actor has finished: the host stops");
                    self.shut_down(code, context);
                } else {
                    self.dismiss(who, Some(ExitReason::Finished));
                }
            }
            Report::Halted { who, incarnation } => {
                if self.is_current(who, incarnation, &[State::Halting]) {
                    self.set_state(who, State::Down);
                    self.advance(context);
                }
            }
            Report::Left { who } => self.left(who, context),
            Report::Unreadable { who, incarnation, error } => {
                if self.is_current(who, incarnation, RUNNING) {
                    let (text, advice) = (error.chain(), error.advice());
                    tracing::error!(actor = %who, error = %text, advice, "its journal can't be read: the host stops");
                    self.shut_down(exit::STORAGE, context);
                }
            }
            Report::Spawn { parent, incarnation, mailbox, spec } => {
                self.spawn((parent, incarnation), mailbox, spec, context);
            }
            Report::Stop { parent, incarnation, child } => {
                let is_its_child = |node: &Node| node.parent == Some((parent, incarnation));
                if self.nodes.get(&child).is_some_and(is_its_child) {
                    self.dismiss(child, Some(ExitReason::Stopped));
                }
            }
            Report::Shutdown(code) => self.shut_down(code, context),
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".to_owned())
}

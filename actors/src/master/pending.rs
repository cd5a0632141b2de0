//! Changes that wait for the registry: what follows when each is there, and whom it is about.
//!
//! What others wish for is turned away when too much waits, and they try again. What the master decides itself is never
//! turned away, since nobody would ask for it again: it waits once for each agent and each framework of the registry at
//! most, which bounds it.

use super::{Master, MasterContext, admission, config, subscription};
use kaon_kernel::actor::{ActorKind, Address, StreamId};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id::{AgentId, FrameworkId};
use kaon_kernel::message::RegistrarMessage;
use kaon_kernel::message::operator::{Answer, Order};
use kaon_kernel::message::registrar::{RegistryOperation, ToRegistrar};
use kaon_kernel::message::scheduler::FrameworkUpdate;
use kaon_kernel::table::{Set, Table};
use kaon_kernel::time::WallTime;

/// A change that waits for the registrar, and what follows when it is on disk. One for each subject at most.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    /// An agent wants in.
    Admit(Box<admission::Admission>),
    /// An agent is out of reach.
    Unreachable(AgentId),
    /// An agent leaves for good.
    Leave(AgentId),
    /// A framework wants in.
    Subscribe(Box<subscription::Subscription>),
    /// A framework is removed.
    Remove(FrameworkId),
    /// A framework says something else of itself, and waits.
    Update(Box<FrameworkUpdate>),
    /// An operator orders something, and waits on this stream.
    Order(Box<Order>, StreamId),
    /// Nothing is on a draining agent any more.
    Drained(AgentId),
    /// A drained agent is gone.
    Gone(AgentId),
}

impl Pending {
    /// The agent that leaves the tables by it, and whether it is gone for good.
    fn leaving(&self) -> Option<(&AgentId, Departure)> {
        match self {
            Self::Unreachable(id) | Self::Leave(id) => Some((id, Departure::Away)),
            Self::Gone(id) => Some((id, Departure::Gone)),
            Self::Order(order, _) => match &**order {
                Order::MarkGone { agent_id } => Some((agent_id, Departure::Gone)),
                _ => None,
            },
            Self::Admit(_) | Self::Subscribe(_) | Self::Remove(_) | Self::Update(_) | Self::Drained(_) => None,
        }
    }
}

/// How an agent leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Departure {
    Away,
    /// Marked so: it never comes back.
    Gone,
}

/// All changes that wait.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// By their number, with the time that the registry is told, so that all tell the same one.
    waiting: Table<u64, (Pending, WallTime)>,
    last_number: u64,
    /// The agents that leave by one of them.
    leaving: Table<AgentId, Departure>,
    /// The frameworks that are removed by one of them.
    removing: Set<FrameworkId>,
}

impl Changes {
    fn add(&mut self, pending: Pending, now: WallTime) -> u64 {
        if let Some((id, departure)) = pending.leaving() {
            let before = self.leaving.insert(id.clone(), departure);
            assert!(before.is_none(), "agent {id} leaves twice");
        }
        if let Pending::Remove(id) = &pending {
            assert!(self.removing.insert(id.clone()), "framework {id} is removed twice");
        }
        let number = self.next_number();
        self.waiting.insert(number, (pending, now));
        number
    }

    /// A number that none of this master's requests has had.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// The change of a number, which waits no more, and when it was made. None when it is of an earlier term of ours.
    fn take(&mut self, number: u64) -> Option<(Pending, WallTime)> {
        let (pending, since) = self.waiting.swap_remove(&number)?;
        if let Some((id, _)) = pending.leaving() {
            self.leaving.swap_remove(id);
        }
        if let Pending::Remove(id) = &pending {
            self.removing.swap_remove(id);
        }
        Some((pending, since))
    }

    /// Nobody waits any more; numbers go on.
    pub(super) fn forget(&mut self) {
        *self = Self { last_number: self.last_number, ..Self::default() };
    }

    /// Whether an agent is on its way out of the tables.
    pub(super) fn is_leaving(&self, id: &AgentId) -> bool {
        self.leaving.contains_key(id)
    }

    /// Whether an agent is being marked gone.
    pub(super) fn is_going(&self, id: &AgentId) -> bool {
        self.leaving.get(id) == Some(&Departure::Gone)
    }

    /// Whether a framework is being removed.
    pub(super) fn is_removing(&self, id: &FrameworkId) -> bool {
        self.removing.contains(id)
    }

    /// What operators have ordered. Cost: one walk over all that waits.
    pub(super) fn orders(&self) -> impl Iterator<Item = &Order> {
        self.waiting.values().filter_map(|(pending, _)| match pending {
            Pending::Order(order, _) => Some(&**order),
            _ => None,
        })
    }

    /// Asserts that the indexes are those of what waits.
    pub(super) fn check(&self) {
        let leaving = self.waiting.values().filter_map(|(pending, _)| pending.leaving());
        assert_eq!(leaving.clone().count(), self.leaving.len(), "agents that leave");
        for (id, departure) in leaving {
            assert_eq!(self.leaving.get(id), Some(&departure), "agent {id} leaves");
        }
        let removing = self.waiting.values().filter(|(pending, _)| matches!(pending, Pending::Remove(_)));
        assert_eq!(removing.count(), self.removing.len(), "frameworks that are removed");
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Master {
    /// Puts what this master has decided into the log; `pending` goes on when it is there.
    pub(super) fn register(&mut self, operation: RegistryOperation, pending: Pending, context: &mut MasterContext<'_>) {
        let number = self.pending.add(pending, context.wall());
        let apply = ToRegistrar::Apply { number, operation };
        context.send(Address::only(context.me().host, ActorKind::Registrar), &RegistrarMessage::Master(apply));
    }

    /// The same for what somebody else wishes for. False when too much waits: whoever asked is to be told.
    #[must_use]
    pub(super) fn register_wish(
        &mut self,
        operation: RegistryOperation,
        pending: Pending,
        context: &mut MasterContext<'_>,
    ) -> bool {
        if self.pending.waiting.len() >= config::PENDING_MAX {
            context.count("master/pending_refused", 1);
            return false;
        }
        self.register(operation, pending, context);
        true
    }

    /// The registry has a change.
    pub(super) fn on_applied(&mut self, number: u64, context: &mut MasterContext<'_>) {
        // Of an earlier term of ours: what waited for it is gone.
        let Some((pending, since)) = self.pending.take(number) else { return };
        match pending {
            Pending::Admit(admission) => self.on_admitted(*admission, context),
            Pending::Unreachable(agent_id) => self.on_marked_unreachable(&agent_id, since, context),
            Pending::Leave(agent_id) => self.on_left(&agent_id, context),
            Pending::Subscribe(subscription) => self.on_subscription_admitted(*subscription, context),
            Pending::Remove(framework_id) => self.on_framework_removed(&framework_id, since, context),
            Pending::Update(update) => self.on_framework_update_written(*update, context),
            Pending::Order(order, reply) => self.on_ordered(*order, reply, since, context),
            Pending::Drained(agent_id) => self.on_drained(&agent_id, context),
            Pending::Gone(agent_id) => drop(self.on_gone(&agent_id, since, context)),
        }
    }

    /// The registry does not take a change.
    ///
    /// # Panics
    /// When it was this master's own: those are small, few and about what the registry has, so that one of the two is
    /// wrong. Both begin afresh then.
    pub(super) fn on_refused(&mut self, number: u64, reason: String, context: &mut MasterContext<'_>) {
        let defect = |reason| Defect::new(Cause::Unavailable, reason);
        let Some((pending, _)) = self.pending.take(number) else { return };
        match pending {
            Pending::Admit(admission) => self.on_admission_refused(&admission, &reason, context),
            Pending::Subscribe(subscription) => Self::turn_away(subscription.stream, defect(reason), context),
            Pending::Update(update) => Self::answer(update.reply, Answer::Refused(defect(reason)), context),
            Pending::Order(_, reply) => Self::answer(reply, Answer::Refused(defect(reason)), context),
            other => panic!("the registrar refuses what can't be refused, {other:?}: {reason}"),
        }
    }
}

//! What a framework is told, seen at its end of the stream.

use super::Violation;
use kaon_kernel::frame::copy;
use kaon_kernel::id::{ArchivedOfferId, TaskId, Uuid};
use kaon_kernel::message::event::ArchivedFrameworkEvent;
use kaon_kernel::table::{Set, Table};
use kaon_kernel::task::{ArchivedReason, ArchivedSource, ArchivedTaskState, ArchivedTaskStatus, Reason, TaskState};
use std::collections::BTreeSet;

/// The claims of one framework:
/// a final state is final; statuses of a task never go backwards; an offer is held out once; every status that wants an
/// acknowledgement gets one.
#[derive(Default)]
pub(crate) struct Ledger {
    tasks: Table<TaskId, TaskState>,
    /// Statuses that were told and not acknowledged yet.
    awaiting: Set<Uuid>,
    /// What statuses said, each way once: how varied a run was.
    pub(crate) told: BTreeSet<(&'static str, &'static str, String)>,
    /// The highest offer of this life of the master.
    last_offer: Option<u64>,
}

/// The state under its archived form.
pub(crate) fn state_of(archived: ArchivedTaskState) -> TaskState {
    TaskState::ALL[archived as usize]
}

/// Final states that nothing may follow. LOST is what a framework without PARTITION_AWARE is told of an agent out of
/// reach, which may come back with the task.
fn is_final(state: TaskState) -> bool {
    state.is_terminal() && state != TaskState::Lost
}

impl Ledger {
    /// An event has come on the newest stream.
    pub(crate) fn told(&mut self, event: &ArchivedFrameworkEvent) -> Result<(), Violation> {
        match event {
            ArchivedFrameworkEvent::Update { status } => self.status(status),
            ArchivedFrameworkEvent::Offers { offers, .. } => {
                for offer in offers.iter() {
                    self.offer(&offer.id)?;
                }
                Ok(())
            }
            ArchivedFrameworkEvent::Subscribed { .. } => {
                // Perhaps another life of the master, which counts its offers anew.
                self.last_offer = None;
                Ok(())
            }
            ArchivedFrameworkEvent::Rescind { .. }
            | ArchivedFrameworkEvent::OperationUpdated { .. }
            | ArchivedFrameworkEvent::InverseOffers { .. }
            | ArchivedFrameworkEvent::RescindInverseOffer { .. }
            | ArchivedFrameworkEvent::Message { .. }
            | ArchivedFrameworkEvent::Failure { .. }
            | ArchivedFrameworkEvent::Error { .. }
            | ArchivedFrameworkEvent::Heartbeat => Ok(()),
        }
    }

    /// Offers are numbered upwards, so one that is not above the last was held out before.
    fn offer(&mut self, id: &ArchivedOfferId) -> Result<(), Violation> {
        let number = id.0.to_native();
        if self.last_offer.is_some_and(|last| number <= last) {
            return Err(Violation::new("an offer is held out once", format!("offer {number} again")));
        }
        self.last_offer = Some(number);
        Ok(())
    }

    fn status(&mut self, status: &ArchivedTaskStatus) -> Result<(), Violation> {
        let new = state_of(status.state);
        self.note(new, status);
        if let Some(uuid) = status.uuid.as_ref() {
            self.awaiting.insert(Uuid(uuid.0));
        }
        let told = status.task_id.as_str();
        let Some(known) = self.tasks.get_mut(told) else {
            self.tasks.insert(TaskId::trusted(told), new);
            return Ok(());
        };
        let old = *known;
        // The answer to a question that was asked before the end was known.
        let reconciled = status.reason.as_ref().is_some_and(|reason| matches!(reason, ArchivedReason::Reconciliation));
        let vague = matches!(new, TaskState::Unknown | TaskState::Unreachable) || new.is_terminal();
        if is_final(old) {
            let words = format!("{told} was {}, then {}", old.name(), new.name());
            let allowed = new == old || reconciled && vague;
            return if allowed { Ok(()) } else { Err(Violation::new("a final state is final", words)) };
        }
        *known = new;
        let open = matches!(old, TaskState::Lost | TaskState::Unknown | TaskState::Unreachable);
        if open || new == TaskState::Unknown || old.may_become(new) {
            return Ok(());
        }
        let words = format!("{told} was {}, then {}", old.name(), new.name());
        Err(Violation::new("statuses never go backwards", words))
    }

    fn note(&mut self, state: TaskState, status: &ArchivedTaskStatus) {
        let source = match status.source {
            ArchivedSource::Master => "master",
            ArchivedSource::Agent => "agent",
            ArchivedSource::Executor => "executor",
        };
        let reason = status.reason.as_ref().map(|reason| format!("{:?}", copy::<Reason, _>(reason)));
        self.told.insert((state.name(), source, reason.unwrap_or_default()));
    }

    /// The framework acknowledges a status.
    pub(crate) fn acknowledged(&mut self, uuid: &kaon_kernel::id::ArchivedUuid) -> Result<(), Violation> {
        self.awaiting.swap_remove(&Uuid(uuid.0));
        Ok(())
    }

    /// What must hold when all is done.
    pub(crate) fn at_the_end(&self) -> Result<(), Violation> {
        match self.awaiting.len() {
            0 => Ok(()),
            open => Err(Violation::new("every status is acknowledged", format!("{open} are not"))),
        }
    }
}

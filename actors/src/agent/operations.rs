//! Operations on what the machine has: reservations, volumes (reference 4, 8.4, 9).
//!
//! ```text
//! ordered --> judged --> written, with what the machine has then --> volumes made or removed --> written as done
//!               \__ refused: written as failed or dropped                                              |
//!                                            acknowledged <-- told, again and again <------------------/
//! ```
//! What the machine has is on disk before anybody is told (law L5), and before anything that the master orders next, since
//! batches are written in order. Directories follow it: a crash in between leaves an operation that is pending, and the
//! next life carries it out to its end. An agent that is not registered takes no operation: what it reported when it asked
//! to be registered is then what it has, and an operation that it does not name there never was carried out.
//!
//! After Mesos: `applyOperation` and `syncCheckpointedResources` of its agent, `OperationStatusUpdateManager`.

use crate::agent::checkpoint;
use crate::agent::registration::Registration;
use crate::agent::state::Waiting;
use crate::agent::{Agent, Timer, metric};
use kaon_kernel::actor::{Batch, Context, exit};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest};
use kaon_kernel::id::Uuid;
use kaon_kernel::message::MasterMessage;
use kaon_kernel::message::agent_master::ToMaster;
use kaon_kernel::operation::{HeldOperation, OperationState, OperationStatus};
use kaon_kernel::resource::operation::{Conversion, Operation};
use kaon_kernel::resource::{DiskKind, Resource, Resources};
use kaon_kernel::time::Duration;

/// How many operations an agent holds whose end is not acknowledged. With as many a registration fits into a frame.
pub(super) const OPERATIONS_MAX: usize = 1_000;

/// How long a registration waits for what is being written: a flush takes milliseconds.
pub(super) const WRITE_WAIT: Duration = Duration::millis(10);

/// An operation whose end is not acknowledged.
#[derive(Clone, Debug)]
pub(super) struct OperationEntry {
    pub(super) held: HeldOperation,
    /// Whether its newest status is on disk.
    pub(super) is_stored: bool,
    /// The wait for an acknowledgement that is under way.
    pub(super) backoff: Duration,
}

/// Why an operation is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the agent is not registered with the master that sent the operation")]
    Unregistered,
    #[error("the agent is being shut down")]
    Leaving,
    #[error("{0} is in use")]
    InUse(String),
    #[error("the directory of {0} is being removed")]
    BeingRemoved(String),
    #[error(transparent)]
    Rule(#[from] kaon_kernel::resource::operation::Refusal),
}

impl Refusal {
    /// What came at a bad time never reached the machine.
    fn state(&self) -> OperationState {
        match self {
            Self::Unregistered | Self::Leaving => OperationState::Dropped,
            Self::InUse(_) | Self::BeingRemoved(_) | Self::Rule(_) => OperationState::Failed,
        }
    }
}

/// The directories that an operation makes, removes and empties.
#[derive(Default)]
struct Directories {
    make: Vec<String>,
    remove: Vec<String>,
    empty: Vec<String>,
}

impl Directories {
    fn of(operation: &Operation) -> Self {
        let mut all = Self::default();
        match operation {
            Operation::Create { volumes } => all.make.extend(volumes.iter().filter_map(Resource::volume_directory)),
            Operation::Destroy { volumes } => {
                for volume in volumes {
                    let source = volume.disk().and_then(|disk| disk.source.as_ref());
                    let is_mount = source.is_some_and(|source| source.kind == DiskKind::Mount);
                    let goes = if is_mount { &mut all.empty } else { &mut all.remove };
                    goes.extend(volume.volume_directory());
                }
            }
            _ => {}
        }
        all
    }

    fn are_none(&self) -> bool {
        self.make.is_empty() && self.remove.is_empty() && self.empty.is_empty()
    }
}

impl Agent {
    /// Turns resources into others. One that is known already is not carried out twice.
    pub(super) fn on_apply_operation(&mut self, held: HeldOperation, context: &mut Context<'_, Self>) {
        if self.state.operation_named(held.uuid).is_some() || self.state.agent_id().is_none() {
            return context.count(metric::IGNORED, 1);
        }
        if self.state.operations().count() >= OPERATIONS_MAX {
            return self.turn_away(held, context);
        }
        let mut batch = Batch::default();
        let judged = self.judge(&held);
        let number = self.state.add_operation(held);
        match judged {
            Ok((total, conversion)) => {
                batch.put(checkpoint::RESOURCES_KEY, checkpoint::write(&total.kept()));
                self.state.set_total(total);
                let Some(entry) = self.state.operation(number) else { return };
                if Directories::of(&entry.held.operation).are_none() {
                    self.conclude_operation(number, OperationState::Finished, None, conversion.converted, context);
                }
            }
            Err(refusal) => {
                let message = Some(refusal.to_string());
                self.conclude_operation(number, refusal.state(), message, Resources::new(), context);
            }
        }
        self.write_operation(number, batch, context);
    }

    fn judge(&self, held: &HeldOperation) -> Result<(Resources, Conversion), Refusal> {
        if !matches!(self.registration, Registration::Registered) {
            return Err(Refusal::Unregistered);
        }
        if self.state.is_leaving() {
            return Err(Refusal::Leaving);
        }
        match &held.operation {
            Operation::Destroy { volumes } => {
                let live = self.state.tasks().filter(|(_, entry)| !entry.task.state.is_terminal());
                let mut used = live.flat_map(|(_, entry)| entry.task.info.resources.iter());
                if let Some(volume) = used.find(|entry| volumes.iter().any(|volume| volume == *entry)) {
                    return Err(Refusal::InUse(volume.to_string()));
                }
            }
            Operation::Create { volumes } => {
                let pending = self.state.operations().filter(|(_, entry)| !entry.held.status.state.is_terminal());
                let doomed = pending.map(|(_, entry)| Directories::of(&entry.held.operation));
                let doomed: Vec<String> = doomed.flat_map(|all| all.remove.into_iter().chain(all.empty)).collect();
                let is_doomed = |path: Option<String>| path.is_some_and(|path| doomed.contains(&path));
                if let Some(volume) = volumes.iter().find(|volume| is_doomed(volume.volume_directory())) {
                    return Err(Refusal::BeingRemoved(volume.to_string()));
                }
            }
            _ => {}
        }
        let mut total = self.state.total().clone();
        let conversion = total.operate(&held.operation)?;
        Ok((total, conversion))
    }

    /// There is no room to remember an operation: its master hears so once. Should that be lost, the next registration
    /// does not name it.
    fn turn_away(&self, held: HeldOperation, context: &mut Context<'_, Self>) {
        context.count(metric::IGNORED, 1);
        let Some(leader) = self.state.leader() else { return };
        let message = Some(format!("the agent holds {OPERATIONS_MAX} operations already"));
        let status = OperationStatus {
            agent_id: self.state.agent_id().cloned(),
            ..OperationStatus::bare(held.status.operation_id.clone(), OperationState::Dropped, message)
        };
        let operation = Box::new(HeldOperation { status, ..held });
        context.send(leader.address, &MasterMessage::Agent(ToMaster::UpdateOperation { operation }));
    }

    /// Gives an operation its last status; to be written.
    fn conclude_operation(
        &mut self,
        number: u64,
        state: OperationState,
        message: Option<String>,
        converted: Resources,
        context: &mut Context<'_, Self>,
    ) {
        let agent_id = self.state.agent_id().cloned();
        let uuid = Some(context.chance().uuid());
        let Some(entry) = self.state.operation_mut(number) else { return };
        let status = &mut entry.held.status;
        (status.state, status.message, status.converted) = (state, message, converted);
        (status.uuid, status.agent_id) = (uuid, agent_id);
    }

    fn write_operation(&mut self, number: u64, mut batch: Batch, context: &mut Context<'_, Self>) {
        let Some(entry) = self.state.operation_mut(number) else { return };
        entry.is_stored = false;
        batch.put(checkpoint::operation_key(entry.held.uuid), checkpoint::write(&entry.held));
        let ticket = context.persist(batch);
        self.state.wait(ticket, Waiting::Operation(number));
    }

    /// The newest of an operation is on disk: its directories may follow, or its master hear of it.
    pub(super) fn on_operation_stored(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let Some(entry) = self.state.operation_mut(number) else { return };
        entry.is_stored = true;
        match entry.held.status.state.is_terminal() {
            true => self.forward_operation(number, context),
            false => self.carry_out(number, context),
        }
    }

    fn carry_out(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let Some(entry) = self.state.operation(number) else { return };
        let Directories { make, remove, empty } = Directories::of(&entry.held.operation);
        let ticket = context.contain(ContainerRequest::Volumes { make, remove, empty, links: None });
        self.state.wait(ticket, Waiting::Volumes(number));
    }

    /// Directories are made and removed, or can't be: then the disk is broken, and a person must act. Mesos aborts too.
    pub(super) fn on_volumes(&mut self, number: u64, outcome: ContainerOutcome, context: &mut Context<'_, Self>) {
        match outcome {
            ContainerOutcome::Volumes(Ok(())) => {}
            ContainerOutcome::Volumes(Err(error)) => {
                let words = format!("directories of volumes can't be made or removed: {error}");
                return self.end(exit::STORAGE, words, context);
            }
            other => panic!("volumes came back as {other:?}"),
        }
        let Some(entry) = self.state.operation(number) else { return };
        let made = entry.held.operation.conversion().map(|conversion| conversion.converted).unwrap_or_default();
        self.conclude_operation(number, OperationState::Finished, None, made, context);
        self.write_operation(number, Batch::default(), context);
    }

    fn forward_operation(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let Some(leader) = self.state.leader().filter(|_| self.is_registered()) else { return };
        let (shortest, longest) = (self.config.status_retry_min, self.config.status_retry_max);
        let Some(entry) = self.state.operation_mut(number).filter(|entry| entry.is_stored) else { return };
        if !entry.held.status.state.is_terminal() {
            return;
        }
        entry.backoff = match entry.backoff {
            Duration::ZERO => shortest,
            backoff => backoff.doubled(longest),
        };
        let (again, operation) = (entry.backoff, Box::new(entry.held.clone()));
        context.send(leader.address, &MasterMessage::Agent(ToMaster::UpdateOperation { operation }));
        context.arm(Timer::ResendOperation(number), again);
    }

    /// No acknowledgement came in time.
    pub(super) fn on_resend_operation_due(&mut self, number: u64, context: &mut Context<'_, Self>) {
        self.forward_operation(number, context);
    }

    /// A master has the agent in its pool: all ends that are not acknowledged go out at once.
    pub(super) fn resume_operations(&mut self, context: &mut Context<'_, Self>) {
        let numbers: Vec<u64> = self.state.operations().map(|(number, _)| number).collect();
        for number in numbers {
            if let Some(entry) = self.state.operation_mut(number) {
                entry.backoff = Duration::ZERO;
            }
            self.forward_operation(number, context);
        }
    }

    /// The end of an operation was seen: it is forgotten.
    pub(super) fn on_acknowledge_operation(&mut self, operation: Uuid, status: Uuid, context: &mut Context<'_, Self>) {
        let number = self.state.operation_named(operation).filter(|number| {
            self.state.operation(*number).is_some_and(|entry| entry.is_stored && entry.held.status.uuid == Some(status))
        });
        let Some(number) = number else { return context.count(metric::IGNORED, 1) };
        self.state.remove_operation(number);
        context.disarm(Timer::ResendOperation(number));
        let mut batch = Batch::default();
        batch.delete(checkpoint::operation_key(operation));
        let ticket = context.persist(batch);
        self.state.wait(ticket, Waiting::Noted);
    }

    /// Puts what a journal keeps on top of what the flags say. False when the machine was started with less than is
    /// reserved on it: a person must act.
    pub(super) fn restore_resources(&mut self, kept: Option<&Resources>, context: &mut Context<'_, Self>) -> bool {
        let Some(kept) = kept.filter(|kept| !kept.is_empty()) else { return true };
        match self.config.info.resources.with_kept(kept) {
            Ok(total) => {
                self.state.set_total(total);
                true
            }
            Err(error) => {
                context.count(metric::RECOVERY_ERRORS, 1);
                let words = format!("the agent's resources are less than is reserved on it, {kept}: {error}");
                self.end(exit::INCOMPATIBLE, words, context);
                false
            }
        }
    }

    /// Goes on with what a crash left between the disk and the directories.
    pub(super) fn resume_pending_operations(&mut self, context: &mut Context<'_, Self>) {
        let pending = self.state.operations().filter(|(_, entry)| !entry.held.status.state.is_terminal());
        let pending: Vec<u64> = pending.map(|(number, _)| number).collect();
        for number in pending {
            self.carry_out(number, context);
        }
    }
}

//! Frameworks that reserve, make persistent volumes, use them and give them back: what an offer is turned into.
//!
//! Of each offer the first task runs on reserved processors and on a volume: one that is in the offer, or one that is
//! made before it in the same call. Volumes that are left over are destroyed half of the time, and what is reserved
//! without a volume is given back. Half of the operations have a name, and their ends are acknowledged.

use super::{Client, ClientContext};
use kaon_kernel::id::{AgentId, OperationId, Uuid};
use kaon_kernel::message::scheduler::Call;
use kaon_kernel::offer::OfferOperation;
use kaon_kernel::operation::ArchivedOperationStatus;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::operation::Operation;
use kaon_kernel::resource::{Disk, Persistence, Reservation, Resource, ResourceName, Resources, Volume};

/// What a volume takes in MiB.
const VOLUME: Quantity = Quantity::units(1);

/// The disk of a machine in MiB: room for so many volumes.
pub(crate) const AGENT_DISK: Quantity = Quantity::units(16);

fn bag(entries: impl IntoIterator<Item = Resource>) -> Resources {
    Resources::collect(entries).expect("parts of one offer are a bag")
}

impl Client {
    /// Resources for a task with what must be done before it; `None` when the rest of the offer has no room for one.
    pub(super) fn kept_task(&mut self, left: &mut Resources) -> Option<(Vec<OfferOperation>, Resources)> {
        let cpus = Resource::scalar(ResourceName::Cpus, self.config.cpus);
        let mem = bag([Resource::scalar(ResourceName::Mem, self.config.mem)]);
        let disk = Resource::scalar(ResourceName::Disk, VOLUME);
        let kept = bag([self.reserved(cpus.clone())]);
        let volume = left.iter().find(|entry| entry.is_persistent_volume()).cloned();
        let mut before = Vec::new();
        if !left.contains(&kept) {
            before.push(Operation::Reserve { source: None, resources: kept.clone() });
        }
        let volume = volume.unwrap_or_else(|| {
            let reserved = self.reserved(disk);
            if !left.contains(&bag([reserved.clone()])) {
                before.push(Operation::Reserve { source: None, resources: bag([reserved.clone()]) });
            }
            let volume = self.new_volume(reserved);
            before.push(Operation::Create { volumes: bag([volume.clone()]) });
            volume
        });
        let mut rest = left.clone();
        for operation in &before {
            rest.operate(operation).ok()?;
        }
        let used = kept.plus(&mem).and_then(|used| used.plus(&bag([volume]))).ok()?;
        rest.subtract(&used).ok()?;
        *left = rest;
        Some((before.into_iter().map(|operation| self.named(operation)).collect(), used))
    }

    /// What is done with what was kept and is not used.
    pub(super) fn give_back(&mut self, left: &mut Resources, context: &mut ClientContext<'_>) -> Vec<OfferOperation> {
        let mut operations = Vec::new();
        let volumes: Vec<Resource> = left.persistent_volumes().iter().cloned().collect();
        for volume in volumes {
            if context.chance().below(2) == 0 {
                operations.push(Operation::Destroy { volumes: bag([volume]) });
            }
        }
        for operation in &operations {
            left.operate(operation).expect("it was just found there");
        }
        let plain = left.filter(|entry| entry.is_dynamically_reserved() && !entry.is_persistent_volume());
        if !plain.is_empty() {
            operations.push(Operation::Unreserve { resources: plain });
        }
        operations.into_iter().map(|operation| self.named(operation)).collect()
    }

    fn reserved(&self, entry: Resource) -> Resource {
        let layer = Reservation { dynamic: true, role: self.config.role.clone(), principal: None, labels: Vec::new() };
        entry.with_reservation(layer).expect("nothing is reserved yet")
    }

    fn new_volume(&mut self, mut entry: Resource) -> Resource {
        self.operations += 1;
        let id = format!("v-{}-{}", self.config.number, self.operations);
        let volume = Volume { container_path: "data".to_owned(), host_path: None, writable: true };
        let disk = Disk { persistence: Some(Persistence { id, principal: None }), volume: Some(volume), source: None };
        entry.identity.get_or_insert_default().disk = Some(disk);
        entry
    }

    fn named(&mut self, operation: Operation) -> OfferOperation {
        self.operations += 1;
        let name = self.operations.is_multiple_of(2).then(|| format!("o-{}", self.operations));
        OfferOperation::Convert {
            operation_id: name.map(OperationId::trusted),
            allocation: None,
            operation: Ok(Box::new(operation)),
        }
    }

    /// A word on an operation.
    pub(super) fn on_operation(&mut self, status: &ArchivedOperationStatus, context: &mut ClientContext<'_>) {
        let (Some(id), Some(uuid)) = (status.operation_id.as_ref(), status.uuid.as_ref()) else { return };
        let operation_id = OperationId::trusted(id.as_str());
        let agent_id = status.agent_id.as_ref().map(|agent| AgentId::trusted(agent.as_str()));
        self.call(Call::AcknowledgeOperation { operation_id, agent_id, uuid: Uuid(uuid.0) }, context);
    }
}

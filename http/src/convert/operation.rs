//! Operations on resources: from offers accepted and orders given, and as the API shows them (reference 4).

use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id::{AgentId, OperationId};
use kaon_kernel::offer::OfferOperation;
use kaon_kernel::operation::{HeldOperation, OperationStatus};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::operation::Operation;
use kaon_kernel::resource::{Resource, Resources};

use super::Error;
use super::resource::{self, Form};
use crate::v1::mesos as v1;
use crate::v1::mesos::offer::operation::{self as api, Type};
use crate::v1::mesos::value;

/// An operation of an ACCEPT on resources; what is wrong with it is the master's to tell.
pub fn from_v1(operation: v1::offer::Operation, kind: Type) -> OfferOperation {
    let operation_id = operation.id.as_ref().map(|id| OperationId::trusted(id.value.as_str()));
    let read = read(operation, kind).map_err(Defect::from);
    let (allocation, operation) = match read {
        Ok((allocation, operation)) => (allocation, Ok(Box::new(operation))),
        Err(error) => (None, Err(error)),
    };
    OfferOperation::Convert { operation_id, allocation, operation }
}

fn read(operation: v1::offer::Operation, kind: Type) -> Result<(Option<String>, Operation), Error> {
    let missing = |part| Error::Rule(Cause::FieldMissing, format!("Expecting '{part}' to be present"));
    match kind {
        Type::Reserve => {
            let reserve = operation.reserve.ok_or_else(|| missing("reserve"))?;
            self::reserve(&reserve.source, &reserve.resources)
        }
        Type::Unreserve => unreserve(&operation.unreserve.ok_or_else(|| missing("unreserve"))?.resources),
        Type::Create => create(&operation.create.ok_or_else(|| missing("create"))?.volumes),
        Type::Destroy => destroy(&operation.destroy.ok_or_else(|| missing("destroy"))?.volumes),
        Type::GrowVolume => {
            let grow = operation.grow_volume.ok_or_else(|| missing("grow_volume"))?;
            self::grow(&grow.volume, &grow.addition)
        }
        Type::ShrinkVolume => {
            let shrink = operation.shrink_volume.ok_or_else(|| missing("shrink_volume"))?;
            self::shrink(&shrink.volume, &shrink.subtract)
        }
        Type::CreateDisk | Type::DestroyDisk => {
            let source = match kind {
                Type::CreateDisk => operation.create_disk.ok_or_else(|| missing("create_disk"))?.source,
                _ => operation.destroy_disk.ok_or_else(|| missing("destroy_disk"))?.source,
            };
            let reason = match source.provider_id {
                None => "'source' is not managed by a resource provider",
                Some(_) => "'source' names a resource provider that the agent has not",
            };
            Err(Error::Rule(Cause::ProviderMissing, reason.to_owned()))
        }
        Type::Unknown | Type::Launch | Type::LaunchGroup => {
            Err(Error::Rule(Cause::OperationInvalid, "It is no operation on resources".to_owned()))
        }
    }
}

type Read = Result<(Option<String>, Operation), Error>;

/// RESERVE. `source` is set by who moves reservations.
///
/// # Errors
/// What is wrong with the shape of the resources; so below.
pub fn reserve(source: &[v1::Resource], resources: &[v1::Resource]) -> Read {
    let (resources, allocation) = resource::from_v1(resources)?;
    let source = if source.is_empty() { None } else { Some(resource::from_v1(source)?.0) };
    Ok((allocation, Operation::Reserve { source, resources }))
}

/// UNRESERVE.
pub fn unreserve(resources: &[v1::Resource]) -> Read {
    let (resources, allocation) = resource::from_v1(resources)?;
    Ok((allocation, Operation::Unreserve { resources }))
}

/// CREATE.
pub fn create(volumes: &[v1::Resource]) -> Read {
    let (volumes, allocation) = resource::from_v1(volumes)?;
    Ok((allocation, Operation::Create { volumes }))
}

/// DESTROY.
pub fn destroy(volumes: &[v1::Resource]) -> Read {
    let (volumes, allocation) = resource::from_v1(volumes)?;
    Ok((allocation, Operation::Destroy { volumes }))
}

/// GROW_VOLUME.
pub fn grow(volume: &v1::Resource, addition: &v1::Resource) -> Read {
    let (volume, allocation) = single(volume)?;
    let (addition, _) = single(addition)?;
    Ok((allocation, Operation::Grow { volume, addition }))
}

/// SHRINK_VOLUME.
pub fn shrink(volume: &v1::Resource, subtract: &value::Scalar) -> Read {
    let error = || Error::Quantity { name: volume.name.clone(), value: subtract.value };
    let subtract = Quantity::from_scalar(subtract.value).ok_or_else(error)?;
    let (volume, allocation) = single(volume)?;
    Ok((allocation, Operation::Shrink { volume, subtract }))
}

/// One resource, which may be nothing of it: the rules of its operation say what that means.
fn single(resource: &v1::Resource) -> Result<(Resource, Option<String>), Error> {
    let allocation = resource.allocation_info.as_ref().and_then(|info| info.role.clone());
    let entry = resource::entry(resource)?;
    let bag = Resources::collect([entry.clone()])?;
    Ok((bag.iter().next().cloned().unwrap_or(entry), allocation))
}

/// A status, with what was made in the form that its reader understands.
pub fn status_to_v1(status: &OperationStatus, form: Form) -> v1::OperationStatus {
    v1::OperationStatus {
        operation_id: status.operation_id.as_ref().map(|id| v1::OperationId { value: id.to_string() }),
        state: i32::from(status.state as u8),
        message: status.message.clone(),
        cause: status.cause.map(|cause| cause.word().to_owned()),
        converted_resources: resource::to_v1(&status.converted, form, None),
        uuid: status.uuid.map(|uuid| v1::Uuid { value: uuid.0.to_vec() }),
        agent_id: status.agent_id.as_ref().map(|id| v1::AgentId { value: id.to_string() }),
        resource_provider_id: status.provider_id.clone().map(|value| v1::ResourceProviderId { value }),
    }
}

/// An operation as the operator's endpoints show it.
pub fn held_to_v1(held: &HeldOperation, agent_id: &AgentId) -> v1::Operation {
    let latest_status = status_to_v1(&held.status, Form::Endpoint);
    v1::Operation {
        framework_id: held.framework_id().map(|id| v1::FrameworkId { value: id.to_string() }),
        agent_id: Some(v1::AgentId { value: agent_id.to_string() }),
        info: info_to_v1(held),
        statuses: vec![latest_status.clone()],
        latest_status,
        uuid: v1::Uuid { value: held.uuid.0.to_vec() },
    }
}

fn info_to_v1(held: &HeldOperation) -> v1::offer::Operation {
    let role = held.author.as_ref().map(|(_, role)| role.as_str());
    let bag = |resources: &Resources| resource::to_v1(resources, Form::Endpoint, role);
    let one = |entry: &Resource| resource::entry_to_v1(entry, Form::Endpoint, role);
    let mut out = v1::offer::Operation::default();
    let kind = match &held.operation {
        Operation::Reserve { source, resources } => {
            let source = source.as_ref().map(bag).unwrap_or_default();
            out.reserve = Some(api::Reserve { source, resources: bag(resources) });
            Type::Reserve
        }
        Operation::Unreserve { resources } => {
            out.unreserve = Some(api::Unreserve { resources: bag(resources) });
            Type::Unreserve
        }
        Operation::Create { volumes } => {
            out.create = Some(api::Create { volumes: bag(volumes) });
            Type::Create
        }
        Operation::Destroy { volumes } => {
            out.destroy = Some(api::Destroy { volumes: bag(volumes) });
            Type::Destroy
        }
        Operation::Grow { volume, addition } => {
            out.grow_volume = Some(api::GrowVolume { volume: one(volume), addition: one(addition) });
            Type::GrowVolume
        }
        Operation::Shrink { volume, subtract } => {
            let subtract = value::Scalar { value: subtract.as_scalar() };
            out.shrink_volume = Some(api::ShrinkVolume { volume: one(volume), subtract });
            Type::ShrinkVolume
        }
    };
    out.r#type = Some(kind as i32);
    out.id = held.status.operation_id.as_ref().map(|id| v1::OperationId { value: id.to_string() });
    out
}

//! Calls of a scheduler after SUBSCRIBE: from v1 to the kernel.

use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id::{AgentId, ExecutorId, IdError, OfferId, OperationId, RoleName, TaskId, Uuid};
use kaon_kernel::maintenance::InverseAnswer;
use kaon_kernel::message::scheduler::{Call, ClientOffer};
use kaon_kernel::offer::{OfferOperation, Refusal};

use super::{duration, group, maintenance, operation, task};
use crate::v1::mesos as v1;
use crate::v1::mesos::offer::operation::Type as OperationType;
use crate::v1::scheduler as api;
use crate::v1::scheduler::call::Type;

/// Why a call is refused. Nothing of it has had any effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 400: a part that must be there is not.
    #[error("Expecting '{0}' to be present")]
    Missing(&'static str),
    /// 400: an id that is none.
    #[error("Invalid {what}: {reason}")]
    Id {
        /// Of what.
        what: &'static str,
        /// Why.
        reason: IdError,
    },
    /// 400: a status uuid that is none.
    #[error("Expecting 'uuid' to be a valid UUID of 16 bytes, it has {0}")]
    Uuid(usize),
    /// 400: another rule.
    #[error("{1}")]
    Rule(Cause, String),
    /// 501: a call that is not there yet.
    #[error("{0} is not implemented by this version of Kaon")]
    Unimplemented(&'static str),
}

impl Error {
    /// The same for programs.
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Missing(_) => Cause::FieldMissing,
            Self::Id { .. } => Cause::IdInvalid,
            Self::Uuid(_) => Cause::UuidInvalid,
            Self::Rule(cause, _) => *cause,
            Self::Unimplemented(_) => Cause::NotImplemented,
        }
    }
}

/// The type of a call. What no version of the API names is as good as absent.
///
/// # Errors
/// [`Error::Missing`] when absent.
pub fn kind(call: &api::Call) -> Result<Type, Error> {
    call.r#type.and_then(|number| Type::try_from(number).ok()).ok_or(Error::Missing("type"))
}

/// The framework that calls, when it says so; an empty id is none.
pub fn framework_id(call: &api::Call) -> Option<&str> {
    call.framework_id.as_ref().map(|id| id.value.as_str()).filter(|id| !id.is_empty())
}

/// What can be said of a call without knowing who is subscribed: its parts are there, and their ids are ids. Mesos:
/// `master/validation.cpp`, `scheduler::call::validate`.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate(call: &api::Call, kind: Type) -> Result<(), Error> {
    if kind == Type::Subscribe {
        let subscribe = call.subscribe.as_ref().ok_or(Error::Missing("subscribe"))?;
        let inner = subscribe.framework_info.id.as_ref().map(|id| id.value.as_str()).filter(|id| !id.is_empty());
        if framework_id(call) != inner {
            let words = "'framework_id' differs from 'subscribe.framework_info.id'".to_owned();
            return Err(Error::Rule(Cause::FrameworkIdMismatch, words));
        }
        return Ok(());
    }
    if kind == Type::Unknown {
        return Err(Error::Unimplemented("UNKNOWN"));
    }
    let framework = framework_id(call).ok_or(Error::Missing("framework_id"))?;
    kaon_kernel::id::check(framework).map_err(|reason| Error::Id { what: "framework ID", reason })?;
    let (there, part) = match kind {
        Type::Accept => (call.accept.is_some(), "accept"),
        Type::Decline => (call.decline.is_some(), "decline"),
        Type::AcceptInverseOffers => (call.accept_inverse_offers.is_some(), "accept_inverse_offers"),
        Type::DeclineInverseOffers => (call.decline_inverse_offers.is_some(), "decline_inverse_offers"),
        Type::Kill => (call.kill.is_some(), "kill"),
        Type::Shutdown => (call.shutdown.is_some(), "shutdown"),
        Type::Acknowledge => (call.acknowledge.is_some(), "acknowledge"),
        Type::AcknowledgeOperationStatus => {
            (call.acknowledge_operation_status.is_some(), "acknowledge_operation_status")
        }
        Type::Reconcile => (call.reconcile.is_some(), "reconcile"),
        Type::ReconcileOperations => (call.reconcile_operations.is_some(), "reconcile_operations"),
        Type::Message => (call.message.is_some(), "message"),
        Type::Request => (call.request.is_some(), "request"),
        Type::UpdateFramework => (call.update_framework.is_some(), "update_framework"),
        // For these the sub-message is optional: without it they are about all roles.
        Type::Teardown | Type::Revive | Type::Suppress | Type::Subscribe | Type::Unknown => (true, ""),
    };
    if !there {
        return Err(Error::Missing(part));
    }
    // Parts of other calls are not looked at.
    let uuid = match kind {
        Type::Acknowledge => call.acknowledge.as_ref().map(|part| &part.uuid),
        Type::AcknowledgeOperationStatus => call.acknowledge_operation_status.as_ref().map(|part| &part.uuid),
        _ => None,
    };
    if let Some(uuid) = uuid.filter(|uuid| uuid.len() != 16) {
        return Err(Error::Uuid(uuid.len()));
    }
    match kind {
        Type::UpdateFramework => {
            let update = call.update_framework.as_ref().ok_or(Error::Missing("update_framework"))?;
            let inner = update.framework_info.id.as_ref().map(|id| id.value.as_str());
            match inner == Some(framework) {
                true => Ok(()),
                false => {
                    let words = "'framework_id' differs from 'update_framework.framework_info.id'".to_owned();
                    Err(Error::Rule(Cause::FrameworkIdMismatch, words))
                }
            }
        }
        _ => Ok(()),
    }
}

fn operation_kind(operation: &v1::offer::Operation) -> OperationType {
    operation.r#type.and_then(|number| OperationType::try_from(number).ok()).unwrap_or(OperationType::Unknown)
}

/// The kernel's form of a validated call. `master_id` tells offers of this life of the master from foreign ones.
///
/// # Errors
/// A role, grace period or id that is none.
pub fn from_v1(call: api::Call, kind: Type, master_id: &str) -> Result<Call, Error> {
    let framework = framework_id(&call).unwrap_or_default().to_owned();
    Ok(match kind {
        Type::Teardown => Call::Teardown,
        Type::Accept => {
            let accept = call.accept.ok_or(Error::Missing("accept"))?;
            Call::Accept {
                offers: offers(&accept.offer_ids, master_id),
                operations: accept.operations.into_iter().filter_map(|one| one_operation(one, &framework)).collect(),
                refusal: refusal(accept.filters.as_ref()),
            }
        }
        Type::Decline => {
            let decline = call.decline.ok_or(Error::Missing("decline"))?;
            Call::Decline { offers: offers(&decline.offer_ids, master_id), refusal: refusal(decline.filters.as_ref()) }
        }
        Type::AcceptInverseOffers => {
            let accept = call.accept_inverse_offers.ok_or(Error::Missing("accept_inverse_offers"))?;
            let answer = InverseAnswer::Accepted;
            maintenance::answer_from_v1(&accept.inverse_offer_ids, accept.filters.as_ref(), answer, master_id)
        }
        Type::DeclineInverseOffers => {
            let decline = call.decline_inverse_offers.ok_or(Error::Missing("decline_inverse_offers"))?;
            let answer = InverseAnswer::Declined;
            maintenance::answer_from_v1(&decline.inverse_offer_ids, decline.filters.as_ref(), answer, master_id)
        }
        Type::Revive => Call::Revive { roles: roles(call.revive.map(|revive| revive.roles)) },
        Type::Suppress => Call::Suppress { roles: roles(call.suppress.map(|suppress| suppress.roles)) },
        Type::Kill => {
            let kill = call.kill.ok_or(Error::Missing("kill"))?;
            let grace = kill.kill_policy.and_then(|policy| policy.grace_period);
            let grace = grace.map(|grace| duration(&grace, "'kill_policy.grace_period'")).transpose();
            Call::Kill {
                task_id: TaskId::trusted(kill.task_id.value),
                agent_id: kill.agent_id.map(|id| AgentId::trusted(id.value)),
                grace: grace.map_err(|error| Error::Rule(error.cause(), error.to_string()))?,
            }
        }
        Type::Shutdown => {
            let shutdown = call.shutdown.ok_or(Error::Missing("shutdown"))?;
            Call::Shutdown {
                executor_id: ExecutorId::trusted(shutdown.executor_id.value),
                agent_id: AgentId::trusted(shutdown.agent_id.value),
            }
        }
        Type::Acknowledge => {
            let acknowledge = call.acknowledge.ok_or(Error::Missing("acknowledge"))?;
            let uuid = <[u8; 16]>::try_from(acknowledge.uuid.as_slice());
            Call::Acknowledge {
                agent_id: AgentId::trusted(acknowledge.agent_id.value),
                task_id: TaskId::trusted(acknowledge.task_id.value),
                uuid: Uuid(uuid.map_err(|_| Error::Uuid(acknowledge.uuid.len()))?),
            }
        }
        Type::Reconcile => {
            let reconcile = call.reconcile.ok_or(Error::Missing("reconcile"))?;
            let one = |task: api::call::reconcile::Task| {
                (TaskId::trusted(task.task_id.value), task.agent_id.map(|id| AgentId::trusted(id.value)))
            };
            Call::Reconcile { tasks: reconcile.tasks.into_iter().map(one).collect() }
        }
        Type::AcknowledgeOperationStatus => {
            let part = "acknowledge_operation_status";
            let acknowledge = call.acknowledge_operation_status.ok_or(Error::Missing(part))?;
            let uuid = <[u8; 16]>::try_from(acknowledge.uuid.as_slice());
            Call::AcknowledgeOperation {
                operation_id: OperationId::trusted(acknowledge.operation_id.value),
                agent_id: acknowledge.agent_id.map(|id| AgentId::trusted(id.value)),
                uuid: Uuid(uuid.map_err(|_| Error::Uuid(acknowledge.uuid.len()))?),
            }
        }
        Type::ReconcileOperations => {
            let reconcile = call.reconcile_operations.ok_or(Error::Missing("reconcile_operations"))?;
            let one = |one: api::call::reconcile_operations::Operation| {
                (OperationId::trusted(one.operation_id.value), one.agent_id.map(|id| AgentId::trusted(id.value)))
            };
            Call::ReconcileOperations { operations: reconcile.operations.into_iter().map(one).collect() }
        }
        Type::Message => {
            let message = call.message.ok_or(Error::Missing("message"))?;
            Call::Message {
                agent_id: AgentId::trusted(message.agent_id.value),
                executor_id: ExecutorId::trusted(message.executor_id.value),
                data: message.data,
            }
        }
        Type::Request => Call::Request,
        other => return Err(Error::Unimplemented(other.as_str_name())),
    })
}

fn one_operation(operation: v1::offer::Operation, framework: &str) -> Option<OfferOperation> {
    match operation_kind(&operation) {
        OperationType::Launch => {
            let has_id = operation.id.is_some();
            let tasks = operation.launch.map(|launch| launch.task_infos).unwrap_or_default();
            let tasks = tasks.into_iter().map(|info| {
                let mut task = task::from_v1(info, framework);
                if has_id {
                    let words =
                        "The 'id' field was set in an offer operation of type LAUNCH: it is not supported there";
                    task.defect = Some(Box::new(Defect::new(Cause::Unsupported, words)));
                }
                task
            });
            Some(OfferOperation::Launch { tasks: tasks.collect() })
        }
        OperationType::LaunchGroup => {
            let has_id = operation.id.is_some();
            Some(group::from_v1(operation.launch_group?, has_id, framework))
        }
        // UNKNOWN is ignored (reference 4).
        OperationType::Unknown => None,
        kind => Some(operation::from_v1(operation, kind)),
    }
}

pub(super) fn offers(ids: &[v1::OfferId], master_id: &str) -> Vec<ClientOffer> {
    let one = |id: &v1::OfferId| match OfferId::parse(&id.value, master_id) {
        Some(known) => ClientOffer::Known(known),
        None => ClientOffer::Foreign(id.value.clone()),
    };
    ids.iter().map(one).collect()
}

/// An absent `filters` still means the default refusal, as an absent `refuse_seconds` does.
pub(super) fn refusal(filters: Option<&v1::Filters>) -> Refusal {
    Refusal::from_seconds(filters.and_then(|filters| filters.refuse_seconds))
}

/// A role that is none drops the whole call in Mesos, which still answers 202; the master does the same with every role
/// that is not subscribed. So all are handed on as they stand.
fn roles(named: Option<Vec<String>>) -> Vec<RoleName> {
    named.unwrap_or_default().into_iter().map(RoleName::trusted).collect()
}

//! Orders of operators: what the master is asked to change, and the wait for its answer.
//!
//! An order goes to the master with a stream of its own; the answer is the only event on it. When none comes in time, or
//! the master loses its term meanwhile, the operator is told that the outcome is unknown: giving the order again changes
//! nothing more. Reference 7.1: UPDATE_QUOTA with SET_QUOTA and REMOVE_QUOTA that came before it, UPDATE_WEIGHTS, maintenance, DRAIN_AGENT and its siblings, and what turns
//! resources into others: RESERVE_RESOURCES, CREATE_VOLUMES and their kin, which do not take twice what is there once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::StatusCode;
use kaon_kernel::actor::StreamId;
use kaon_kernel::cause::Cause;
use kaon_kernel::id::AgentId;
use kaon_kernel::message::operator::{Answer as Told, Order};
use kaon_kernel::message::scheduler::ToMaster;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::operation::Operation;
use kaon_kernel::resource::role;
use tokio::sync::oneshot;

use crate::answer::{self, Answer};
use crate::convert::{self, maintenance, operation, quota};
use crate::edge::{HandError, MasterEdge};
use crate::frame::{CALL_BYTES_MAX, Weight};
use crate::v1::master::Call;
use crate::v1::mesos as v1;

/// Orders under way at once.
pub(crate) const ORDERS_MAX: usize = 1_000;

/// How long an answer may take: a write to the registry takes milliseconds, an election some seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The order of a call; `None` when the call changes no setting.
///
/// # Errors
/// What is wrong with the call.
pub(crate) fn of(call: &mut Call) -> Result<Option<Order>, convert::Error> {
    if let Some(update) = call.update_quota.take() {
        let quotas = update.quota_configs.into_iter().map(quota::quota_from_v1).collect::<Result<_, _>>()?;
        return Ok(Some(Order::SetQuotas { quotas, force: update.force.unwrap_or(false) }));
    }
    if let Some(update) = call.update_weights.take() {
        let weights = update.weight_infos.into_iter().map(quota::weight_from_v1).collect::<Result<_, _>>()?;
        return Ok(Some(Order::SetWeights { weights }));
    }
    if let Some(update) = call.update_maintenance_schedule.take() {
        return Ok(Some(Order::SetSchedule { windows: maintenance::schedule_from_v1(update.schedule)? }));
    }
    if let Some(start) = call.start_maintenance.take() {
        return Ok(Some(Order::StartMaintenance { machines: maintenance::machines_from_v1(start.machines)? }));
    }
    if let Some(stop) = call.stop_maintenance.take() {
        return Ok(Some(Order::StopMaintenance { machines: maintenance::machines_from_v1(stop.machines)? }));
    }
    if let Some(set) = call.set_quota.take() {
        let quotas = vec![quota::request_from_v1(&set.quota_request)?];
        return Ok(Some(Order::SetQuotas { quotas, force: set.quota_request.force.unwrap_or(false) }));
    }
    if let Some(remove) = call.remove_quota.take() {
        let quotas = vec![(role::parse(&remove.role)?, Quota::default())];
        return Ok(Some(Order::SetQuotas { quotas, force: true }));
    }
    of_agent(call)
}

/// The order of a call about one agent.
fn of_agent(call: &mut Call) -> Result<Option<Order>, convert::Error> {
    let id = |id: v1::AgentId| AgentId::trusted(id.value);
    if let Some(drain) = call.drain_agent.take() {
        let config = maintenance::drain_from_v1(drain.max_grace_period, drain.mark_gone)?;
        return Ok(Some(Order::Drain { agent_id: id(drain.agent_id), config }));
    }
    if let Some(deactivate) = call.deactivate_agent.take() {
        return Ok(Some(Order::Deactivate { agent_id: id(deactivate.agent_id) }));
    }
    if let Some(reactivate) = call.reactivate_agent.take() {
        return Ok(Some(Order::Reactivate { agent_id: id(reactivate.agent_id) }));
    }
    if let Some(gone) = call.mark_agent_gone.take() {
        return Ok(Some(Order::MarkGone { agent_id: id(gone.agent_id) }));
    }
    Ok(None)
}

/// What a call wants to become of the resources of an agent; `None` when it wants nothing of that kind.
///
/// # Errors
/// What is wrong with the call.
pub(crate) fn operation_of(call: &mut Call) -> Result<Option<(AgentId, Operation)>, convert::Error> {
    let agent = |id: v1::AgentId| AgentId::trusted(id.value);
    let named = |id: Option<v1::AgentId>, call: &str| {
        id.map(agent).ok_or_else(|| {
            convert::Error::Rule(Cause::FieldMissing, format!("Expecting '{call}.agent_id' to be present"))
        })
    };
    let (agent_id, (_, operation)) = if let Some(order) = call.reserve_resources.take() {
        (agent(order.agent_id), operation::reserve(&order.source, &order.resources)?)
    } else if let Some(order) = call.unreserve_resources.take() {
        (agent(order.agent_id), operation::unreserve(&order.resources)?)
    } else if let Some(order) = call.create_volumes.take() {
        (agent(order.agent_id), operation::create(&order.volumes)?)
    } else if let Some(order) = call.destroy_volumes.take() {
        (agent(order.agent_id), operation::destroy(&order.volumes)?)
    } else if let Some(order) = call.grow_volume.take() {
        (named(order.agent_id, "grow_volume")?, operation::grow(&order.volume, &order.addition)?)
    } else if let Some(order) = call.shrink_volume.take() {
        (named(order.agent_id, "shrink_volume")?, operation::shrink(&order.volume, &order.subtract)?)
    } else {
        return Ok(None);
    };
    Ok(Some((agent_id, operation)))
}

impl MasterEdge {
    /// Gives the master an order and waits for what becomes of it.
    pub(crate) async fn order(&self, order: Order) -> Answer {
        let order = Box::new(order);
        self.ordered(|reply| ToMaster::Order { order, reply }).await
    }

    /// Has the master turn resources of an agent into others.
    pub(crate) async fn convert(&self, agent_id: AgentId, operation: Operation) -> Answer {
        let operation = Box::new(operation);
        self.ordered(|reply| ToMaster::Convert { agent_id, operation, reply }).await
    }

    async fn ordered(&self, message: impl FnOnce(StreamId) -> ToMaster) -> Answer {
        let weight = Weight::MayBeLarge { bytes_max: CALL_BYTES_MAX };
        self.judged(|reply| self.tell_master(message(reply), weight)).await
    }

    /// Hands over something that is done or not, and answers what became of it.
    pub(crate) async fn judged(&self, hand: impl FnOnce(StreamId) -> Result<(), HandError>) -> Answer {
        match self.answered(hand).await {
            Ok(Told::Done) => answer::empty(StatusCode::OK),
            Ok(Told::Accepted) => answer::empty(StatusCode::ACCEPTED),
            Ok(Told::Refused(defect)) => answer::bad_because(defect.cause, defect),
            Ok(Told::NotFound { reason }) => answer::refusal(StatusCode::NOT_FOUND, reason),
            Ok(Told::Conflict { reason }) => answer::refusal(StatusCode::CONFLICT, reason),
            Ok(Told::Unavailable { reason }) => answer::refusal(StatusCode::SERVICE_UNAVAILABLE, reason),
            Ok(Told::Explained(_)) => {
                answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "an order was answered as if it were a question")
            }
            Err(refusal) => *refusal,
        }
    }

    /// Hands something to an actor and waits for its answer, on a stream of its own.
    pub(crate) async fn answered(
        &self,
        hand: impl FnOnce(StreamId) -> Result<(), HandError>,
    ) -> Result<Told, Box<Answer>> {
        let unavailable = |reason| Box::new(answer::refusal(StatusCode::SERVICE_UNAVAILABLE, reason));
        if self.orders.len() >= ORDERS_MAX {
            return Err(unavailable("too many orders are under way; try again later"));
        }
        let reply = StreamId(self.last_stream.fetch_add(1, Ordering::Relaxed) + 1);
        let (told, is_told) = oneshot::channel();
        self.orders.insert(reply, told);
        // Whoever waits may lose its patience, and this future with it.
        let _forget = Forget { edge: self, reply };
        if let Err(error) = hand(reply) {
            return Err(Box::new(error.answer()));
        }
        match tokio::time::timeout(ANSWER_WITHIN, is_told).await {
            // The master shows what it did before it answers, so the next read finds it.
            Ok(Ok(told)) => Ok(told),
            Ok(Err(_)) | Err(_) => Err(unavailable(
                "the master did not answer: whether an order took effect is unknown; giving it again is safe",
            )),
        }
    }
}

/// Takes a wait back when it ends, however it does.
struct Forget<'a> {
    edge: &'a MasterEdge,
    reply: StreamId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.edge.orders.remove(&self.reply);
    }
}

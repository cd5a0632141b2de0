//! Orders of operators: what the master is asked to change, and the wait for its answer.
//!
//! An order goes to the master with a stream of its own; the answer is the only event on it. When none comes in time, or
//! the master loses its term meanwhile, the operator is told that the outcome is unknown: giving the order again changes
//! nothing more. Reference 7.1: UPDATE_QUOTA, UPDATE_WEIGHTS.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::StatusCode;
use kaon_kernel::actor::StreamId;
use kaon_kernel::message::operator::{Answer as Told, Order};
use kaon_kernel::message::scheduler::ToMaster;
use tokio::sync::oneshot;

use crate::answer::{self, Answer};
use crate::convert::{self, quota};
use crate::edge::{HandError, MasterEdge};
use crate::frame::{CALL_BYTES_MAX, Weight};
use crate::v1::master::Call;

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
    Ok(None)
}

impl MasterEdge {
    /// Gives the master an order and waits for what becomes of it.
    pub(crate) async fn order(&self, order: Order) -> Answer {
        let weight = Weight::MayBeLarge { bytes_max: CALL_BYTES_MAX };
        let told = self.answered(|reply| self.tell_master(ToMaster::Order { order, reply }, weight)).await;
        match told {
            Ok(Told::Done) => answer::empty(StatusCode::OK),
            Ok(Told::Refused { reason }) => answer::bad(reason),
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
        if let Err(error) = hand(reply) {
            self.orders.remove(&reply);
            return Err(Box::new(error.answer()));
        }
        let answered = tokio::time::timeout(ANSWER_WITHIN, is_told).await;
        self.orders.remove(&reply);
        match answered {
            Ok(Ok(told)) => Ok(told),
            Ok(Err(_)) | Err(_) => Err(unavailable(
                "the master did not answer: whether an order took effect is unknown; giving it again is safe",
            )),
        }
    }
}

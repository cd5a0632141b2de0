//! Orders of operators: judged, put into the registry, and in effect when they are there (law L5). What each means is told
//! in [`super::settings`] (quotas, weights), [`super::maintenance`] (machines) and [`super::standing`] (agents).

use super::{Master, MasterContext, Pending};
use kaon_kernel::actor::StreamId;
use kaon_kernel::message::operator::{Answer, Order};
use kaon_kernel::message::registrar::RegistryOperation;
use kaon_kernel::time::WallTime;

impl Master {
    /// An operator orders something.
    pub(super) fn on_order(&mut self, order: Order, reply: StreamId, context: &mut MasterContext<'_>) {
        if self.leadership().is_none() {
            let reason = "this master does not lead (any more)".to_owned();
            return Self::answer(reply, Answer::Unavailable { reason }, context);
        }
        let operation = match self.judge_operator(&order, context) {
            Ok(operation) => operation,
            Err(answer) => {
                if answer != Answer::Done {
                    context.count("master/orders_refused", 1);
                }
                return Self::answer(reply, answer, context);
            }
        };
        if !self.register_wish(operation, Pending::Order(Box::new(order), reply), context) {
            let reason = "too many changes wait for the registry".to_owned();
            Self::answer(reply, Answer::Unavailable { reason }, context);
        }
    }

    /// What the registry is to write; or the answer, when nothing is to be written.
    fn judge_operator(&self, order: &Order, context: &MasterContext<'_>) -> Result<RegistryOperation, Answer> {
        match order {
            Order::SetQuotas { quotas, force } => {
                self.check_quotas(quotas, *force).map_err(Answer::Refused)?;
                Ok(RegistryOperation::SetQuotas { quotas: quotas.clone() })
            }
            Order::SetWeights { weights } => {
                self.check_weights(weights).map_err(Answer::Refused)?;
                Ok(RegistryOperation::SetWeights { weights: weights.clone() })
            }
            Order::SetSchedule { windows } => self.judge_schedule(windows),
            Order::StartMaintenance { machines } => self.judge_start(machines),
            Order::StopMaintenance { machines } => self.judge_stop(machines),
            Order::Drain { agent_id, config } => self.judge_drain(agent_id, *config, context.wall()),
            Order::Deactivate { agent_id } => self.judge_deactivation(agent_id),
            Order::Reactivate { agent_id } => self.judge_reactivation(agent_id),
            Order::MarkGone { agent_id } => self.judge_gone(agent_id, context.wall()),
        }
    }

    /// The registry has it: it takes effect.
    pub(super) fn on_ordered(
        &mut self,
        order: Order,
        reply: StreamId,
        since: WallTime,
        context: &mut MasterContext<'_>,
    ) {
        let answer = match order {
            Order::SetQuotas { quotas, .. } => self.on_quotas_set(quotas, context),
            Order::SetWeights { weights } => self.on_weights_set(weights, context),
            Order::SetSchedule { windows } => self.on_scheduled(windows, context),
            Order::StartMaintenance { machines } => self.on_maintenance_started(machines, context),
            Order::StopMaintenance { machines } => self.on_maintenance_stopped(&machines, context),
            Order::Drain { agent_id, config } => self.on_drain_ordered(agent_id, config, since, context),
            Order::Deactivate { agent_id } => self.on_deactivated(agent_id, context),
            Order::Reactivate { agent_id } => self.on_reactivated(&agent_id, context),
            Order::MarkGone { agent_id } => self.on_gone(&agent_id, since, context),
        };
        Self::answer(reply, answer, context);
    }

    /// The one event on the stream of an order.
    pub(super) fn answer(reply: StreamId, answer: Answer, context: &mut MasterContext<'_>) {
        context.emit(reply, &answer);
        context.close(reply);
    }
}

//! What the read side is told. No reader ever asks the master anything (L10): snapshots are built from these events.

use super::{Master, MasterContext};
use kaon_kernel::actor::StreamId;
use kaon_kernel::id::{AgentIndex, FrameworkIndex, OfferId, Uuid};
use kaon_kernel::message::registrar::AdmittedAgent;
use kaon_kernel::message::view::{AgentView, FrameworkView, OfferFate, ViewEvent};

impl Master {
    pub(super) const VIEW: StreamId = StreamId::VIEW;

    pub(super) fn show_agent(&self, index: AgentIndex, context: &mut MasterContext<'_>) {
        let agent = &self.state.agents[&index];
        let view = AgentView {
            info: agent.info.clone(),
            converted: agent.converted().map(|total| Box::new(total.clone())),
            registered: true,
            connected: agent.connected,
            active: self.may_offer(index),
            registered_time: agent.registered_time,
            reregistered_time: agent.reregistered_time,
            orders: self.standing.orders.get(&agent.id).cloned().map(Box::new),
        };
        context.emit(Self::VIEW, &ViewEvent::Agent(view));
    }

    /// What an agent has is something else now.
    pub(super) fn show_converted(&self, index: AgentIndex, context: &mut MasterContext<'_>) {
        let agent = &self.state.agents[&index];
        let converted = agent.converted().map(|total| Box::new(total.clone()));
        context.emit(Self::VIEW, &ViewEvent::AgentConverted { agent_id: agent.id.clone(), converted });
    }

    pub(super) fn show_operation(&self, index: AgentIndex, uuid: Uuid, context: &mut MasterContext<'_>) {
        let agent = &self.state.agents[&index];
        if let Some(operation) = agent.operations.get(&uuid) {
            let view = ViewEvent::Operation { agent_id: agent.id.clone(), operation: operation.clone() };
            context.emit(Self::VIEW, &view);
        }
    }

    pub(super) fn show_operation_removed(&self, index: AgentIndex, uuid: Uuid, context: &mut MasterContext<'_>) {
        let agent_id = self.state.agents[&index].id.clone();
        context.emit(Self::VIEW, &ViewEvent::OperationRemoved { agent_id, uuid });
    }

    /// An agent that the registry knows and that is not back yet.
    pub(super) fn show_recovered_agent(&self, agent: &AdmittedAgent, context: &mut MasterContext<'_>) {
        let view = AgentView {
            info: agent.info.clone(),
            converted: None,
            registered: false,
            connected: false,
            active: false,
            registered_time: context.wall(),
            reregistered_time: None,
            orders: agent.info.id.as_ref().and_then(|id| self.standing.orders.get(id)).cloned().map(Box::new),
        };
        context.emit(Self::VIEW, &ViewEvent::Agent(view));
    }

    pub(super) fn show_framework(&self, index: FrameworkIndex, context: &mut MasterContext<'_>) {
        let framework = &self.state.frameworks[&index];
        let view = FrameworkView {
            info: framework.info.clone(),
            connected: framework.is_connected(),
            active: framework.is_connected(),
            recovered: framework.recovered,
            stream: framework.stream,
            proxy: (framework.proxy != super::state::Proxy::None).then_some(index.0),
            registered_time: framework.registered_time,
            reregistered_time: framework.reregistered_time,
        };
        context.emit(Self::VIEW, &ViewEvent::Framework(view));
        if !framework.suppressed.is_empty() {
            self.show_suppressed(index, context);
        }
    }

    pub(super) fn show_offer(&self, id: OfferId, context: &mut MasterContext<'_>) {
        let offer = &self.state.offers[&id];
        let view = ViewEvent::Offered {
            offer_id: id,
            framework_id: self.state.frameworks[&offer.framework].id.clone(),
            agent_id: self.state.agents[&offer.agent].id.clone(),
            role: offer.role.clone(),
            resources: offer.resources.clone(),
        };
        context.emit(Self::VIEW, &view);
    }

    pub(super) fn show_offer_removed(&self, id: OfferId, fate: OfferFate, context: &mut MasterContext<'_>) {
        context.emit(Self::VIEW, &ViewEvent::OfferRemoved { offer_id: id, fate });
    }

    /// Under which roles a framework wants nothing.
    pub(super) fn show_suppressed(&self, index: FrameworkIndex, context: &mut MasterContext<'_>) {
        let framework = &self.state.frameworks[&index];
        let roles = framework.suppressed.iter().cloned().collect();
        context.emit(Self::VIEW, &ViewEvent::Suppressed { framework_id: framework.id.clone(), roles });
    }
}

//! Inverse offers: frameworks are asked to leave agents before their machines go, and answer (reference 3.3, 3.4, 11.3).
//!
//! Whom to ask, and when again, the allocator decides. An answer is shown to operators and binds nobody. Mesos:
//! `Master::inverseOffer`, `Master::acceptInverseOffers`, `Master::declineInverseOffers`.

use super::{Master, MasterContext};
use kaon_kernel::id::{AgentIndex, FrameworkIndex, OfferId};
use kaon_kernel::maintenance::InverseAnswer;
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::scheduler::ClientOffer;
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::offer::{InverseOffer, Refusal};
use kaon_kernel::table::Table;

/// Inverse offers by their numbers.
pub(super) type Asked = Table<OfferId, HeldInverse>;

/// An inverse offer in a framework's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldInverse {
    pub(super) framework: FrameworkIndex,
    pub(super) agent: AgentIndex,
}

impl Master {
    /// The allocator says whom to ask to leave which agent.
    pub(super) fn on_asked(
        &mut self,
        epoch: u64,
        asks: Vec<(FrameworkIndex, AgentIndex)>,
        context: &mut MasterContext<'_>,
    ) {
        let Some(leadership) = self.leadership().filter(|_| epoch == self.allocator.epoch) else { return };
        let master_id = leadership.master_id.clone();
        let mut batches: Table<FrameworkIndex, Vec<InverseOffer>> = Table::default();
        for (index, agent_index) in asks {
            let (Some(framework), Some(agent)) =
                (self.state.frameworks.get(&index), self.state.agents.get(&agent_index))
            else {
                // Its removal is under way to the allocator.
                continue;
            };
            let unavailability = self.maintenance.unavailability(&agent.info);
            let Some(unavailability) = unavailability.filter(|_| framework.is_connected() && self.is_offered(agent))
            else {
                self.forget_ask(index, agent_index, context);
                continue;
            };
            let id = self.state.take_offer_number();
            let agent = &self.state.agents[&agent_index];
            let offer = InverseOffer {
                id,
                agent_id: agent.id.clone(),
                hostname: agent.info.hostname.clone(),
                ip: agent.info.ip.clone(),
                port: agent.info.port,
                unavailability,
            };
            let shown = ViewEvent::InverseOffered {
                offer_id: id,
                framework_id: self.state.frameworks[&index].id.clone(),
                agent_id: agent.id.clone(),
                unavailability,
            };
            context.emit(Self::VIEW, &shown);
            self.maintenance.asked.insert(id, HeldInverse { framework: index, agent: agent_index });
            batches.entry(index).or_default().push(offer);
        }
        for (index, offers) in batches {
            context.count("master/messages_inverse_offers", offers.len() as u64);
            let framework_id = self.state.frameworks[&index].id.clone();
            let event = FrameworkEvent::InverseOffers { master_id: master_id.clone(), framework_id, offers };
            self.tell(index, event, context);
        }
    }

    /// ACCEPT_INVERSE_OFFERS and DECLINE_INVERSE_OFFERS. What is not in the framework's hands is ignored.
    pub(super) fn on_answer_inverse(
        &mut self,
        framework: FrameworkIndex,
        offers: Vec<ClientOffer>,
        answer: InverseAnswer,
        refusal: Refusal,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_answer_inverse_offers", 1);
        for offer in offers {
            let ClientOffer::Known(id) = offer else { continue };
            let held = self.maintenance.asked.get(&id).copied();
            let Some(held) = held.filter(|held| held.framework == framework) else { continue };
            self.maintenance.asked.swap_remove(&id);
            let answered = ToAllocator::AnswerInverse { framework, agent: held.agent, refusal: Some(refusal) };
            self.allocate(&answered, context);
            let answer = Some((answer, context.wall()));
            context.emit(Self::VIEW, &ViewEvent::InverseOfferRemoved { offer_id: id, answer });
        }
    }

    /// Takes inverse offers back, and tells their frameworks if they are to know. Cost: all that are outstanding.
    pub(super) fn rescind_inverse(
        &mut self,
        which: impl Fn(&HeldInverse) -> bool,
        is_told: bool,
        context: &mut MasterContext<'_>,
    ) {
        let chosen = self.maintenance.asked.iter().filter(|(_, held)| which(held));
        let chosen: Vec<(OfferId, HeldInverse)> = chosen.map(|(id, held)| (*id, *held)).collect();
        for (offer_id, HeldInverse { framework, agent }) in chosen {
            self.maintenance.asked.swap_remove(&offer_id);
            self.forget_ask(framework, agent, context);
            context.emit(Self::VIEW, &ViewEvent::InverseOfferRemoved { offer_id, answer: None });
            if let Some(leadership) = self.leadership().filter(|_| is_told) {
                let master_id = leadership.master_id.clone();
                self.tell(framework, FrameworkEvent::RescindInverseOffer { master_id, offer_id }, context);
            }
        }
    }

    fn forget_ask(&self, framework: FrameworkIndex, agent: AgentIndex, context: &mut MasterContext<'_>) {
        let over = ToAllocator::AnswerInverse { framework, agent, refusal: None };
        self.allocate(&over, context);
    }
}

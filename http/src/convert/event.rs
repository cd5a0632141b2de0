//! Events of a scheduler's stream: from the kernel to v1.

use kaon_kernel::message::event::FrameworkEvent;

use super::maintenance::inverse_offer_to_v1;
use super::offer::{self, Reader};
use super::resource::Form;
use super::{operation, status};
use crate::v1::mesos as v1;
use crate::v1::scheduler::Event;
use crate::v1::scheduler::event::{self, Type};

fn agent_id(id: &kaon_kernel::id::AgentId) -> v1::AgentId {
    v1::AgentId { value: id.to_string() }
}

fn executor_id(id: &kaon_kernel::id::ExecutorId) -> v1::ExecutorId {
    v1::ExecutorId { value: id.to_string() }
}

/// The v1 form. `master` is told to new subscribers.
pub fn to_v1(event: &FrameworkEvent, master: &v1::MasterInfo) -> Event {
    let mut out = Event::default();
    let kind = match event {
        FrameworkEvent::Subscribed { framework_id, master_id, heartbeat_interval } => {
            out.subscribed = Some(event::Subscribed {
                framework_id: v1::FrameworkId { value: framework_id.to_string() },
                heartbeat_interval_seconds: Some(heartbeat_interval.as_seconds()),
                master_info: Some(v1::MasterInfo { id: master_id.to_string(), ..master.clone() }),
            });
            Type::Subscribed
        }
        FrameworkEvent::Offers { master_id, multi_role, reservation_refinement, framework_id, offers } => {
            let reader = Reader {
                master_id: master_id.as_str(),
                framework_id: framework_id.as_str(),
                multi_role: *multi_role,
                reservation_refinement: *reservation_refinement,
            };
            let offers = offers.iter().map(|one| offer::to_v1(one, reader)).collect();
            out.offers = Some(event::Offers { offers });
            Type::Offers
        }
        FrameworkEvent::Rescind { master_id, offer_id } => {
            let value = offer_id.text(master_id.as_str());
            out.rescind = Some(event::Rescind { offer_id: v1::OfferId { value } });
            Type::Rescind
        }
        FrameworkEvent::InverseOffers { master_id, framework_id, offers } => {
            let one = |offer| inverse_offer_to_v1(offer, master_id.as_str(), framework_id.as_str());
            out.inverse_offers = Some(event::InverseOffers { inverse_offers: offers.iter().map(one).collect() });
            Type::InverseOffers
        }
        FrameworkEvent::RescindInverseOffer { master_id, offer_id } => {
            let inverse_offer_id = v1::OfferId { value: offer_id.text(master_id.as_str()) };
            out.rescind_inverse_offer = Some(event::RescindInverseOffer { inverse_offer_id });
            Type::RescindInverseOffer
        }
        FrameworkEvent::Update { status } => {
            out.update = Some(event::Update { status: status::to_v1(status) });
            Type::Update
        }
        FrameworkEvent::OperationUpdated { reservation_refinement, status } => {
            let form = if *reservation_refinement { Form::Stack } else { Form::Plain };
            out.update_operation_status =
                Some(event::UpdateOperationStatus { status: operation::status_to_v1(status, form) });
            Type::UpdateOperationStatus
        }
        FrameworkEvent::Message { agent_id: agent, executor_id: executor, data } => {
            let (agent_id, executor_id) = (agent_id(agent), executor_id(executor));
            out.message = Some(event::Message { agent_id, executor_id, data: data.clone() });
            Type::Message
        }
        FrameworkEvent::Failure { agent_id: agent, executor_id: executor, status } => {
            out.failure = Some(event::Failure {
                agent_id: Some(agent_id(agent)),
                executor_id: executor.as_ref().map(executor_id),
                status: *status,
            });
            Type::Failure
        }
        FrameworkEvent::Error { message, cause } => {
            let cause = Some(cause.word().to_owned());
            out.error = Some(event::Error { message: message.clone(), cause });
            Type::Error
        }
        FrameworkEvent::Heartbeat => Type::Heartbeat,
    };
    out.r#type = Some(kind as i32);
    out
}

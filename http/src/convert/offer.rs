//! `Offer`: from the kernel to v1 only.

use kaon_kernel::offer::Offer;

use super::agent;
use super::maintenance;
use super::resource::{self, Form};
use crate::v1::mesos as v1;
use crate::v1::mesos::resource::AllocationInfo;

/// A resource that no framework is to see (reference 3.4).
const HIDDEN: &str = "ephemeral_ports";

/// To whom an offer is shown, and in which shape.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The prefix of offer ids.
    pub master_id: &'a str,
    /// The framework.
    pub framework_id: &'a str,
    /// Whether it sees `allocation_info` (capability MULTI_ROLE).
    pub multi_role: bool,
    /// Whether it sees reservation stacks (capability RESERVATION_REFINEMENT).
    pub reservation_refinement: bool,
}

/// The v1 form for its reader.
pub fn to_v1(offer: &Offer, reader: Reader<'_>) -> v1::Offer {
    let form = if reader.reservation_refinement { Form::Stack } else { Form::Plain };
    let role = reader.multi_role.then_some(offer.role.as_str());
    let mut resources = resource::to_v1(&offer.resources, form, role);
    resources.retain(|resource| resource.name != HIDDEN);
    v1::Offer {
        id: v1::OfferId { value: offer.id.text(reader.master_id) },
        framework_id: v1::FrameworkId { value: reader.framework_id.to_owned() },
        agent_id: v1::AgentId { value: offer.agent_id.to_string() },
        hostname: offer.hostname.clone(),
        url: Some(agent_url(&offer.hostname, &offer.ip, offer.port)),
        domain: offer.domain.as_ref().map(agent::domain_to_v1),
        resources,
        attributes: offer.attributes.iter().map(agent::attribute_to_v1).collect(),
        executor_ids: offer.executors.iter().map(|id| v1::ExecutorId { value: id.to_string() }).collect(),
        unavailability: offer.unavailability.as_ref().map(maintenance::unavailability_to_v1),
        allocation_info: role.map(|role| AllocationInfo { role: Some(role.to_owned()) }),
    }
}

/// Where an agent's HTTP endpoint is (reference 3.4).
pub fn agent_url(hostname: &str, ip: &str, port: u16) -> v1::Url {
    let address = v1::Address { hostname: Some(hostname.to_owned()), ip: Some(ip.to_owned()), port: i32::from(port) };
    v1::Url { scheme: "http".to_owned(), address, path: Some("/slave(1)".to_owned()), ..v1::Url::default() }
}

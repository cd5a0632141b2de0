//! What operators read and order of maintenance: GET_MAINTENANCE_SCHEDULE and GET_MAINTENANCE_STATUS, and the old
//! endpoints `/maintenance/schedule`, `/maintenance/status`, `/machine/down`, `/machine/up` (reference 2, 7.1).
//!
//! The bodies of the old endpoints are parts of the calls of the v1 API in JSON, and go the same way.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use kaon_kernel::id::FrameworkId;
use kaon_kernel::maintenance::{InverseAnswer, MachineId};
use serde_json::{Value, json};

use crate::answer::{self, Answer};
use crate::codec::{self, MediaType};
use crate::convert::maintenance as convert;
use crate::convert::time_info;
use crate::edge::MasterEdge;
use crate::order;
use crate::polled::json::v1_json;
use crate::server::Request;
use crate::v1::allocator::{InverseOfferStatus, inverse_offer_status};
use crate::v1::maintenance::cluster_status::DrainingMachine;
use crate::v1::maintenance::{ClusterStatus, Schedule};
use crate::v1::master::Call;
use crate::v1::mesos as v1;
use crate::view::Snapshot;

/// The schedule.
pub(crate) fn schedule(snapshot: &Snapshot) -> Schedule {
    convert::schedule_to_v1(&snapshot.maintenance.windows)
}

/// Which machines are draining, what frameworks say to that, and which are down.
pub(crate) fn status(snapshot: &Snapshot) -> ClusterStatus {
    let down: Vec<MachineId> = snapshot.maintenance.down.iter().map(MachineId::key).collect();
    let mut said: BTreeMap<MachineId, Vec<InverseOfferStatus>> = BTreeMap::new();
    for (agent_id, answers) in snapshot.answers.iter() {
        let Some(agent) = snapshot.agents.get(agent_id) else { continue };
        let of_machine = said.entry(MachineId::of(&agent.info).key()).or_default();
        of_machine.extend(answers.iter().map(|(framework, (answer, at))| InverseOfferStatus {
            status: match answer {
                InverseAnswer::Accepted => inverse_offer_status::Status::Accept as i32,
                InverseAnswer::Declined => inverse_offer_status::Status::Decline as i32,
            },
            framework_id: v1::FrameworkId { value: framework.to_string() },
            timestamp: time_info(*at),
        }));
    }
    let machines = snapshot.maintenance.windows.iter().flat_map(|window| &window.machines);
    let draining = machines.filter(|machine| !down.contains(&machine.key())).map(|machine| DrainingMachine {
        id: convert::machine_to_v1(machine),
        statuses: said.get(&machine.key()).cloned().unwrap_or_default(),
    });
    ClusterStatus {
        draining_machines: draining.collect(),
        down_machines: snapshot.maintenance.down.iter().map(convert::machine_to_v1).collect(),
    }
}

/// The inverse offers that a framework has not answered.
pub(crate) fn inverse_offers(snapshot: &Snapshot, framework_id: &FrameworkId) -> Vec<v1::InverseOffer> {
    let Some(leadership) = &snapshot.leadership else { return Vec::new() };
    let own = snapshot.inverse_offers.iter().filter(|(_, offer)| offer.framework_id == *framework_id);
    let shown = own.map(|(number, offer)| v1::InverseOffer {
        id: v1::OfferId { value: number.text(leadership.master_id.as_str()) },
        framework_id: v1::FrameworkId { value: framework_id.to_string() },
        agent_id: Some(v1::AgentId { value: offer.agent_id.to_string() }),
        unavailability: convert::unavailability_to_v1(&offer.unavailability),
        ..v1::InverseOffer::default()
    });
    shown.collect()
}

/// An endpoint of before the v1 API; `parts` is its path.
pub(crate) async fn handle(edge: Arc<MasterEdge>, parts: &[&str], mut request: Request) -> Answer {
    if let Some(elsewhere) = edge.unless_leading(&request) {
        return elsewhere;
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_post = *request.method() == Method::POST;
    let jsonp = |request: &Request| {
        let query = crate::path::query(request.query()).unwrap_or_default();
        crate::path::value(&query, "jsonp").map(str::to_owned)
    };
    match parts {
        ["maintenance", "schedule"] if is_read => {
            answer::json(&v1_json(&schedule(&edge.view.snapshot())), jsonp(&request).as_deref())
        }
        ["maintenance", "status"] if is_read => {
            answer::json(&v1_json(&status(&edge.view.snapshot())), jsonp(&request).as_deref())
        }
        ["maintenance", "status"] => answer::not_allowed("GET"),
        ["maintenance", "schedule"] | ["machine", "down" | "up"] if is_post => {
            let body = match request.read_body().await {
                Ok(body) => body,
                Err(refusal) => return refusal,
            };
            match call(parts, &body) {
                Ok(call) => order(&edge, call).await,
                Err(reason) => answer::bad(reason),
            }
        }
        ["maintenance", "schedule"] => answer::not_allowed("GET, POST"),
        ["machine", "down" | "up"] => answer::not_allowed("POST"),
        _ => answer::refusal(StatusCode::NOT_FOUND, "No such endpoint"),
    }
}

/// The call of the v1 API that says the same.
fn call(parts: &[&str], body: &[u8]) -> Result<Call, String> {
    let part: Value = serde_json::from_slice(body).map_err(|error| format!("Failed to parse the body: {error}"))?;
    let call = match parts {
        ["machine", "down"] => json!({"type": "START_MAINTENANCE", "start_maintenance": {"machines": part}}),
        ["machine", ..] => json!({"type": "STOP_MAINTENANCE", "stop_maintenance": {"machines": part}}),
        _ => json!({"type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": {"schedule": part}}),
    };
    codec::decode(MediaType::Json, call.to_string().as_bytes()).map_err(|error| error.to_string())
}

async fn order(edge: &MasterEdge, mut call: Call) -> Answer {
    match order::of(&mut call) {
        Ok(Some(order)) => edge.order(order).await,
        Ok(None) => answer::bad("The body orders nothing"),
        Err(error) => answer::bad(error),
    }
}

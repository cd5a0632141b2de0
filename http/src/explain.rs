//! `/explain`: why something is not offered (ours; Mesos has none).
//!
//! ```text
//! GET /explain/framework/ID    GET /explain/role/ROLE    GET /explain/agent/ID    GET /explain/task/ID
//!     ?wants=cpus:4;mem:1024   what a task would need; a task is asked about with its own resources
//!     &placement=policy=numa;gpu-links=group   where it would have to lie: the labels of `docs/topology.md` without prefix
//! ```
//! The allocator answers with the reasons of its own checks; nothing is worked out a second time here. Each of
//! `clients`, `groups`, `nearest`, `never` and `holders` is told in `kernel/src/message/explain.rs`. 404 when nobody knows the
//! subject.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use kaon_kernel::framework::Label;
use kaon_kernel::id::{AgentId, FrameworkId};
use kaon_kernel::message::explain::{Explanation, Group, Obstacle, Question, Subject};
use kaon_kernel::message::operator::Answer as Told;
use kaon_kernel::placement::{PlacementRequest, label};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Resources, parse, role};
use serde_json::{Map, Value, json};

use crate::answer::{self, Answer};
use crate::edge::MasterEdge;
use crate::frame::{CALL_BYTES_MAX, Weight};
use crate::path;
use crate::server::Request;
use crate::view::{Held, Snapshot};

/// The answer to a question; `parts` is the path below `/explain`.
pub(crate) async fn handle(edge: Arc<MasterEdge>, parts: &[&str], request: Request) -> Answer {
    if let Some(elsewhere) = edge.unless_leading(&request) {
        return elsewhere;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer::not_allowed("GET");
    }
    let query = match path::query(request.query()) {
        Ok(query) => query,
        Err(error) => return answer::bad(error),
    };
    let mut wants = match parse::resources(path::value(&query, "wants").unwrap_or_default()) {
        Ok(wants) => wants,
        Err(error) => return answer::bad(format!("wants: {error}")),
    };
    let mut placement = match placement(path::value(&query, "placement").unwrap_or_default()) {
        Ok(placement) => placement,
        Err(error) => return answer::bad(format!("placement: {error}")),
    };
    let mut about = Map::new();
    let subject = match parts {
        ["framework", id] => Subject::Framework(FrameworkId::trusted(*id)),
        ["agent", id] => Subject::Agent(AgentId::trusted(*id)),
        ["role", rest @ ..] => match role::parse(&rest.join("/")) {
            Ok(role) => Subject::Role(role),
            Err(error) => return answer::bad(error),
        },
        ["task", id] => match task(&edge.view.snapshot(), id) {
            Some((framework, own, place, shown)) => {
                (wants, placement) = (own, place);
                about.insert("task".to_owned(), shown);
                Subject::Framework(framework)
            }
            None => return answer::refusal(StatusCode::NOT_FOUND, format!("no task '{id}' is known")),
        },
        _ => return answer::refusal(StatusCode::NOT_FOUND, "expected /explain/framework|role|agent|task/ID"),
    };
    let weight = Weight::MayBeLarge { bytes_max: CALL_BYTES_MAX };
    let told = edge.answered(|reply| edge.ask_allocator(Question { subject, wants, placement, reply }, weight)).await;
    match told {
        Ok(Told::Explained(explanation)) => {
            about.extend(shown(&explanation));
            answer::json(&Value::Object(about), None)
        }
        Ok(Told::Refused(defect)) => answer::because(StatusCode::NOT_FOUND, defect.cause, defect),
        Ok(_) => answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "the allocator has no answer now; try again later"),
        Err(refusal) => *refusal,
    }
}

/// A wish for a place: labels as a task has them, `KEY=VALUE` with semicolons between.
fn placement(text: &str) -> Result<Option<Box<PlacementRequest>>, label::LabelError> {
    let labels = text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        Label { key: [label::PREFIX, key.trim()].concat(), value: Some(value.trim().to_owned()) }
    });
    Ok(label::parse(&labels.collect::<Vec<_>>())?.map(Box::new))
}

/// The framework of a task, what it needs and where, and how it stands; the newest of its name.
fn task(snapshot: &Snapshot, id: &str) -> Option<(FrameworkId, Resources, Option<Box<PlacementRequest>>, Value)> {
    let holds = |held: &&Held| held.task.info.task_id.as_str() == id;
    snapshot.frameworks.iter().find_map(|(framework, known)| {
        let running = known.tasks.values().map(AsRef::as_ref);
        let held: &Held = running.chain(known.completed.iter().rev().map(AsRef::as_ref)).find(holds)?;
        let last = held.task.statuses.last();
        let shown = json!({
            "id": id,
            "framework_id": framework.as_str(),
            "role": held.role.as_str(),
            "agent_id": held.task.info.agent_id.as_str(),
            "state": held.task.state.name(),
            "reason": last.and_then(|status| status.reason).map(|reason| format!("{reason:?}")),
            "message": last.and_then(|status| status.message.clone()),
            "resources": held.task.info.resources.to_string(),
        });
        let info = &held.task.info;
        Some((framework.clone(), info.resources.clone(), info.placement.clone(), shown))
    })
}

fn shown(explanation: &Explanation) -> Map<String, Value> {
    let clients = explanation.clients.iter().map(|client| {
        json!({
            "framework_id": client.framework_id.as_str(),
            "role": client.role.as_str(),
            "role_share": client.role_share_millionths as f64 / 1e6,
            "allocations": client.allocations,
            "standing": client.standing.iter().map(obstacle).collect::<Vec<_>>(),
            "agents_open": client.agents_open,
            "groups": client.groups.iter().map(group).collect::<Vec<_>>(),
            "nearest": client.nearest.as_ref().map(|nearest| {
                json!({"agent_id": nearest.agent_id.as_str(), "obstacle": obstacle(&nearest.obstacle)})
            }),
            "never": client.never.as_ref().map(obstacle),
        })
    });
    let holders = explanation.holders.iter().map(|holder| {
        let held = holder.held.iter().map(|(name, amount)| (name.clone(), Quantity(*amount).as_scalar().into()));
        let held: Map<String, Value> = held.collect();
        json!({"framework_id": holder.framework_id.as_str(), "role": holder.role.as_str(), "held": held})
    });
    let capacity = explanation.capacity.iter().map(|(name, total, held)| {
        let amounts = json!({"total": Quantity(*total).as_scalar(), "held": Quantity(*held).as_scalar()});
        (name.clone(), amounts)
    });
    let capacity: Map<String, Value> = capacity.collect();
    let out = [
        ("clients", clients.collect::<Value>()),
        ("clients_left_out", explanation.clients_left_out.into()),
        ("holders", holders.collect::<Value>()),
        ("capacity", Value::Object(capacity)),
    ];
    out.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn group(group: &Group) -> Value {
    json!({"agents": group.agents, "example": group.example.as_str(), "obstacle": obstacle(&group.obstacle)})
}

fn obstacle(obstacle: &Obstacle) -> Value {
    json!({"reason": obstacle.word, "text": obstacle.text, "change": obstacle.change})
}

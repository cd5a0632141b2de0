//! `POST /api/v1` of a master (reference 7.1): the operator's reads, from snapshots, TEARDOWN, and orders.

use std::sync::Arc;

use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, StatusCode};
use kaon_kernel::id::{FrameworkId, RoleName};
use kaon_kernel::message::scheduler::ToMaster;

use crate::answer::{self, Answer};
use crate::codec::{self, MediaType, media};
use crate::convert::agent as convert_agent;
use crate::convert::maintenance as convert_maintenance;
use crate::convert::offer::agent_url;
use crate::convert::resource::{self, Form};
use crate::convert::{executor, framework, operation, quota, task, time_info};
use crate::edge::{Lookup, MasterEdge, pid};
use crate::frame::Weight;
use crate::server::Request;
use crate::v1::master as api;
use crate::v1::master::call::Type;
use crate::v1::master::response::{self, get_agents, get_executors, get_frameworks};
use crate::v1::mesos as v1;
use crate::v1::mesos::agent_info::capability::Type as AgentCapability;
use crate::v1::quota as quota_api;
use crate::view::{self, Snapshot};
use crate::{maintenance, order, version, watch};

/// The answer to any request on the endpoint.
pub(crate) async fn handle(edge: Arc<MasterEdge>, mut request: Request) -> Answer {
    if let Some(elsewhere) = edge.unless_leading(&request) {
        return elsewhere;
    }
    if request.method() != Method::POST {
        return answer::not_allowed("POST");
    }
    let refused = |error: media::Error| {
        answer::refusal(StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST), error)
    };
    let media = match media::request(request.header(&CONTENT_TYPE)) {
        Ok(media) => media,
        Err(error) => return refused(error),
    };
    let body = match request.read_body().await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let mut call: api::Call = match codec::decode(media, &body) {
        Ok(call) => call,
        Err(error) => return answer::bad(format!("Failed to parse body into Call: {error}")),
    };
    let Some(kind) = call.r#type.and_then(|number| Type::try_from(number).ok()) else {
        return answer::bad("Expecting 'type' to be present");
    };
    if let Some(missing) = missing_part(&call, kind) {
        return answer::bad(format!("Expecting '{missing}' to be present"));
    }
    let accepted = match media::response(request.header(&ACCEPT)) {
        Ok(media) => media,
        Err(error) => return refused(error),
    };
    if kind == Type::Teardown {
        return teardown(&edge, call);
    }
    if kind == Type::Subscribe {
        return watch::subscribe(edge, &request, accepted).await;
    }
    match order::operation_of(&mut call) {
        Ok(Some((agent_id, operation))) => return edge.convert(agent_id, operation).await,
        Ok(None) => {}
        Err(error) => return answer::bad(error),
    }
    match order::of(&mut call) {
        Ok(Some(order)) => return edge.order(order).await,
        Ok(None) => {}
        Err(error) => return answer::bad(error),
    }
    // A large cluster takes a while to write down; the connections of others must not wait for it.
    let answered = tokio::task::spawn_blocking(move || read(&edge, kind, accepted)).await;
    answered.unwrap_or_else(|_| answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made"))
}

/// The part that a call needs and does not have. Only calls that are there are looked at.
fn missing_part(call: &api::Call, kind: Type) -> Option<&'static str> {
    match kind {
        Type::GetMetrics if call.get_metrics.is_none() => Some("get_metrics"),
        Type::Teardown if call.teardown.is_none() => Some("teardown"),
        Type::ReserveResources if call.reserve_resources.is_none() => Some("reserve_resources"),
        Type::UnreserveResources if call.unreserve_resources.is_none() => Some("unreserve_resources"),
        Type::CreateVolumes if call.create_volumes.is_none() => Some("create_volumes"),
        Type::DestroyVolumes if call.destroy_volumes.is_none() => Some("destroy_volumes"),
        Type::GrowVolume if call.grow_volume.is_none() => Some("grow_volume"),
        Type::ShrinkVolume if call.shrink_volume.is_none() => Some("shrink_volume"),
        Type::UpdateQuota if call.update_quota.is_none() => Some("update_quota"),
        Type::UpdateWeights if call.update_weights.is_none() => Some("update_weights"),
        Type::UpdateMaintenanceSchedule if call.update_maintenance_schedule.is_none() => {
            Some("update_maintenance_schedule")
        }
        Type::StartMaintenance if call.start_maintenance.is_none() => Some("start_maintenance"),
        Type::StopMaintenance if call.stop_maintenance.is_none() => Some("stop_maintenance"),
        Type::DrainAgent if call.drain_agent.is_none() => Some("drain_agent"),
        Type::DeactivateAgent if call.deactivate_agent.is_none() => Some("deactivate_agent"),
        Type::ReactivateAgent if call.reactivate_agent.is_none() => Some("reactivate_agent"),
        Type::MarkAgentGone if call.mark_agent_gone.is_none() => Some("mark_agent_gone"),
        _ => None,
    }
}

/// `POST /reserve`, `/unreserve`, `/create-volumes`, `/destroy-volumes`: forms of the old API.
pub(crate) async fn handle_form(edge: Arc<MasterEdge>, endpoint: &str, mut request: Request) -> Answer {
    if let Some(elsewhere) = edge.unless_leading(&request) {
        return elsewhere;
    }
    if request.method() != Method::POST {
        return answer::not_allowed("POST");
    }
    let body = match request.read_body().await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let mut call = match order::of_form(endpoint, &body) {
        Ok(call) => call,
        Err(reason) => return answer::bad(reason),
    };
    match order::operation_of(&mut call) {
        Ok(Some((agent_id, operation))) => edge.convert(agent_id, operation).await,
        Ok(None) => answer::bad("The form names no resources"),
        Err(error) => answer::bad(error),
    }
}

fn teardown(edge: &MasterEdge, call: api::Call) -> Answer {
    let id = call.teardown.map(|teardown| teardown.framework_id.value).unwrap_or_default();
    if matches!(edge.look_up(&id), Lookup::Unknown) {
        return answer::bad(format!("No framework found with ID '{}'", id.chars().take(80).collect::<String>()));
    }
    match edge.tell_master(ToMaster::Teardown { framework_id: FrameworkId::trusted(id) }, Weight::Light) {
        Ok(()) => answer::empty(StatusCode::OK),
        Err(error) => error.answer(),
    }
}

fn read(edge: &MasterEdge, kind: Type, media: MediaType) -> Answer {
    use response::Type as Kind;
    let snapshot = edge.view.snapshot();
    let mut out = api::Response::default();
    let answered = match kind {
        Type::GetHealth => {
            out.get_health = Some(response::GetHealth { healthy: true });
            Kind::GetHealth
        }
        Type::GetFlags => {
            let flag = |(name, value): (&String, &String)| v1::Flag { name: name.clone(), value: Some(value.clone()) };
            out.get_flags = Some(response::GetFlags { flags: edge.config.flags.iter().map(flag).collect() });
            Kind::GetFlags
        }
        Type::GetVersion => {
            let info = v1::VersionInfo { version: version::MESOS_VERSION.to_owned(), ..v1::VersionInfo::default() };
            out.get_version = Some(response::GetVersion { version_info: info });
            Kind::GetVersion
        }
        Type::GetMetrics => {
            let finite = edge.samples().into_iter().filter(|sample| sample.value.is_finite());
            let metric = finite.map(|sample| v1::Metric { name: sample.name, value: Some(sample.value) });
            out.get_metrics = Some(response::GetMetrics { metrics: metric.collect() });
            Kind::GetMetrics
        }
        Type::GetMaster => {
            let leadership = snapshot.leadership.as_ref();
            let id = leadership.map(|leadership| leadership.master_id.to_string()).unwrap_or_default();
            out.get_master = Some(response::GetMaster {
                master_info: Some(v1::MasterInfo { id, ..edge.master_info().clone() }),
                start_time: Some(edge.start_seconds()),
                elected_time: leadership.map(|leadership| leadership.elected.as_seconds()),
            });
            Kind::GetMaster
        }
        Type::GetAgents => {
            out.get_agents = Some(agents(&snapshot));
            Kind::GetAgents
        }
        Type::GetFrameworks => {
            out.get_frameworks = Some(frameworks(&snapshot));
            Kind::GetFrameworks
        }
        Type::GetTasks => {
            out.get_tasks = Some(tasks(&snapshot));
            Kind::GetTasks
        }
        Type::GetRoles => {
            out.get_roles = Some(response::GetRoles { roles: roles(&snapshot) });
            Kind::GetRoles
        }
        Type::GetQuota => {
            let configs =
                snapshot.settings.quotas.iter().map(|(role, quota)| quota::quota_to_v1(role, quota)).collect();
            let status = quota_api::QuotaStatus { configs, ..quota_api::QuotaStatus::default() };
            out.get_quota = Some(response::GetQuota { status });
            Kind::GetQuota
        }
        Type::GetWeights => {
            let weights = snapshot.settings.weights.iter();
            let weight_infos = weights.map(|(role, weight)| quota::weight_to_v1(role, *weight)).collect();
            out.get_weights = Some(response::GetWeights { weight_infos });
            Kind::GetWeights
        }
        Type::GetOperations => {
            let operations = snapshot.operations.iter();
            let operations = operations.map(|((agent_id, _), held)| operation::held_to_v1(held, agent_id)).collect();
            out.get_operations = Some(response::GetOperations { operations });
            Kind::GetOperations
        }
        Type::GetMaintenanceSchedule => {
            let schedule = maintenance::schedule(&snapshot);
            out.get_maintenance_schedule = Some(response::GetMaintenanceSchedule { schedule });
            Kind::GetMaintenanceSchedule
        }
        Type::GetMaintenanceStatus => {
            let status = maintenance::status(&snapshot);
            out.get_maintenance_status = Some(response::GetMaintenanceStatus { status });
            Kind::GetMaintenanceStatus
        }
        Type::GetExecutors => {
            out.get_executors = Some(executors(&snapshot));
            Kind::GetExecutors
        }
        Type::GetState => {
            out.get_state = Some(state(&snapshot));
            Kind::GetState
        }
        other => {
            let text = format!("{} is not implemented by this version of Kaon", other.as_str_name());
            return answer::refusal(StatusCode::NOT_IMPLEMENTED, text);
        }
    };
    out.r#type = Some(answered as i32);
    answer::message(media, codec::encode(media, &out))
}

/// What every agent of this version understands.
pub(crate) const AGENT_CAPABILITIES: [AgentCapability; 6] = [
    AgentCapability::MultiRole,
    AgentCapability::HierarchicalRole,
    AgentCapability::ReservationRefinement,
    AgentCapability::ResourceProvider,
    AgentCapability::ResizeVolume,
    AgentCapability::AgentOperationFeedback,
];

/// All that GET_STATE shows.
pub(crate) fn state(snapshot: &Snapshot) -> response::GetState {
    response::GetState {
        get_tasks: Some(tasks(snapshot)),
        get_executors: Some(executors(snapshot)),
        get_frameworks: Some(frameworks(snapshot)),
        get_agents: Some(agents(snapshot)),
    }
}

pub(crate) fn agents(snapshot: &Snapshot) -> response::GetAgents {
    let (used, offered) = (snapshot.used_by_agent(), snapshot.offered_by_agent());
    let mut out = response::GetAgents::default();
    for (id, view) in snapshot.agents.iter() {
        let agent_info = convert_agent::to_v1(&view.info);
        if !view.registered {
            out.recovered_agents.push(agent_info);
            continue;
        }
        let shown = |resources: Option<&kaon_kernel::resource::Resources>| {
            resources.map(|resources| resource::to_v1(resources, Form::Endpoint, None)).unwrap_or_default()
        };
        let drain = view.orders.as_deref().and_then(convert_maintenance::drain_to_v1);
        let (drain_info, since) = drain.unzip();
        out.agents.push(get_agents::Agent {
            agent_info,
            active: view.active,
            deactivated: Some(view.orders.as_ref().is_some_and(|orders| orders.deactivated)),
            version: version::MESOS_VERSION.to_owned(),
            pid: Some(pid("slave(1)", &view.info.ip, view.info.port)),
            registered_time: Some(time_info(view.registered_time)),
            reregistered_time: view.reregistered_time.map(time_info),
            capabilities: AGENT_CAPABILITIES
                .map(|kind| v1::agent_info::Capability { r#type: Some(kind as i32) })
                .to_vec(),
            total_resources: shown(Some(view.total())),
            allocated_resources: shown(used.get(id)),
            offered_resources: shown(offered.get(id)),
            drain_info,
            estimated_drain_start_time: since,
            ..get_agents::Agent::default()
        });
    }
    out
}

pub(crate) fn frameworks(snapshot: &Snapshot) -> response::GetFrameworks {
    let mut out = response::GetFrameworks::default();
    for (id, framework) in snapshot.frameworks.iter() {
        let offers = snapshot.offers.iter().filter(|(_, offer)| offer.framework_id == *id);
        let mut shown = framework_to_v1(framework);
        shown.offers = offers.filter_map(|(number, offer)| offer_to_v1(snapshot, *number, offer)).collect();
        shown.inverse_offers = maintenance::inverse_offers(snapshot, id);
        shown.allocated_resources = resource::to_v1(&framework.used(None), Form::Endpoint, None);
        shown.offered_resources = resource::to_v1(&snapshot.offered_to(id), Form::Endpoint, None);
        out.frameworks.push(shown);
    }
    for completed in snapshot.completed.iter() {
        let mut shown = framework_to_v1(&completed.framework);
        shown.unregistered_time = Some(time_info(completed.at));
        out.completed_frameworks.push(shown);
    }
    out
}

fn framework_to_v1(framework: &view::Framework) -> get_frameworks::Framework {
    get_frameworks::Framework {
        framework_info: framework::to_v1(&framework.view.info),
        active: framework.view.active,
        connected: framework.view.connected,
        recovered: framework.view.recovered,
        registered_time: Some(time_info(framework.view.registered_time)),
        reregistered_time: framework.view.reregistered_time.map(time_info),
        ..get_frameworks::Framework::default()
    }
}

/// An offer as it stands; `None` when its agent or the master's id is not known any more.
fn offer_to_v1(snapshot: &Snapshot, number: kaon_kernel::id::OfferId, offer: &view::Offered) -> Option<v1::Offer> {
    let info = &snapshot.agents.get(&offer.agent_id)?.info;
    let role = offer.role.as_str();
    Some(v1::Offer {
        id: v1::OfferId { value: number.text(snapshot.leadership.as_ref()?.master_id.as_str()) },
        framework_id: v1::FrameworkId { value: offer.framework_id.to_string() },
        agent_id: v1::AgentId { value: offer.agent_id.to_string() },
        hostname: info.hostname.clone(),
        url: Some(agent_url(&info.hostname, &info.ip, info.port)),
        resources: resource::to_v1(&offer.resources, Form::Endpoint, Some(role)),
        allocation_info: Some(v1::resource::AllocationInfo { role: Some(role.to_owned()) }),
        domain: info.domain.as_ref().map(convert_agent::domain_to_v1),
        attributes: info.attributes.iter().map(convert_agent::attribute_to_v1).collect(),
        ..v1::Offer::default()
    })
}

fn tasks(snapshot: &Snapshot) -> response::GetTasks {
    use kaon_kernel::task::TaskState;
    let mut out = response::GetTasks::default();
    for (id, framework) in snapshot.frameworks.iter() {
        for held in framework.tasks.values() {
            let shown = task::shown_to_v1(&held.task, id.as_str(), held.role.as_str());
            match held.task.state {
                TaskState::Unreachable => out.unreachable_tasks.push(shown),
                _ => out.tasks.push(shown),
            }
        }
    }
    let gone = snapshot.completed.iter().map(|completed| &completed.framework);
    for framework in snapshot.frameworks.values().map(AsRef::as_ref).chain(gone) {
        let id = framework.view.info.id.as_ref().map_or("", |id| id.as_str());
        let completed = framework.completed.iter();
        out.completed_tasks.extend(completed.map(|held| task::shown_to_v1(&held.task, id, held.role.as_str())));
    }
    out
}

fn roles(snapshot: &Snapshot) -> Vec<v1::Role> {
    let of_role = |(name, role): (&RoleName, view::Role)| v1::Role {
        name: name.to_string(),
        weight: role.weight(),
        frameworks: role.frameworks.iter().map(|id| v1::FrameworkId { value: id.to_string() }).collect(),
        resources: resource::to_v1(&role.held(), Form::Endpoint, None),
    };
    snapshot.roles().into_iter().map(of_role).collect()
}

fn executors(snapshot: &Snapshot) -> response::GetExecutors {
    let mut out = response::GetExecutors::default();
    for (id, framework) in snapshot.frameworks.iter() {
        for ((agent, _), running) in framework.executors.iter() {
            let role = Some(running.role.as_str());
            out.executors.push(get_executors::Executor {
                executor_info: executor::to_v1(&running.info, id.as_str(), Form::Endpoint, role),
                agent_id: v1::AgentId { value: agent.to_string() },
            });
        }
    }
    out
}

//! `POST /api/v1` of a master (reference 7.1): the operator's reads, from snapshots, TEARDOWN, and orders.

use std::sync::Arc;

use hyper::StatusCode;
use kaon_kernel::cause::Cause;
use kaon_kernel::id::{AgentId, FrameworkId, RoleName};
use kaon_kernel::message::scheduler::ToMaster;
use kaon_kernel::message::view::AgentView;
use kaon_kernel::resource::Resources;

use crate::answer::{self, Answer};
use crate::codec::{self, MediaType};
use crate::convert::agent as convert_agent;
use crate::convert::maintenance as convert_maintenance;
use crate::convert::offer::agent_url;
use crate::convert::resource::{self, Form};
use crate::convert::{executor, framework, operation, quota, task, time_info};
use crate::edge::{Lookup, MasterEdge, pid};
use crate::frame::Weight;
use crate::polled::json::Books;
use crate::server::Request;
use crate::take::{self, Taken};
use crate::v1::master as api;
use crate::v1::master::call::Type;
use crate::v1::master::response::{self, get_agents, get_executors, get_frameworks};
use crate::v1::mesos as v1;
use crate::v1::mesos::agent_info::capability::Type as AgentCapability;
use crate::v1::mesos::master_info::capability::Type as MasterCapability;
use crate::v1::quota as quota_api;
use crate::view::{self, Snapshot};
use crate::{files, listing, maintenance, order, process, version, watch};

/// The answer to any request on the endpoint.
pub(crate) async fn handle(edge: Arc<MasterEdge>, mut request: Request) -> Answer {
    if let Some(elsewhere) = edge.unless_leading(&request) {
        return elsewhere;
    }
    let Taken { call, .. } = match take::call::<api::Call>(&mut request).await {
        Ok(taken) => taken,
        Err(refusal) => return refusal,
    };
    let Some(kind) = call.r#type.and_then(|number| Type::try_from(number).ok()) else { return take::no_type() };
    if let Some(missing) = missing_part(&call, kind) {
        return take::no_part(missing);
    }
    let accepted = match take::accepted(&request) {
        Ok(media) => media,
        Err(error) => return take::refused(error),
    };
    match kind {
        Type::Subscribe => watch::subscribe(edge, &request, accepted).await,
        _ if is_read(kind) => {
            // A large cluster takes a while to write down; the connections of others must not wait for it.
            let answered = tokio::task::spawn_blocking(move || read(&edge, call, kind, accepted)).await;
            let failed = |_| answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made");
            answered.map_or_else(failed, |answered| answered.unwrap_or_else(|error| error.answer()))
        }
        _ => carry_out(&edge, call).await,
    }
}

/// Whether a call only reads.
fn is_read(kind: Type) -> bool {
    kind.as_str_name().starts_with("GET_") || matches!(kind, Type::ListFiles | Type::ReadFile | Type::Unknown)
}

/// Does what a call wants changed. Its parts are there.
pub(crate) async fn carry_out(edge: &MasterEdge, mut call: api::Call) -> Answer {
    if let Some(teardown) = call.teardown.take() {
        return tear_down(edge, teardown.framework_id.value);
    }
    if let Some(set) = call.set_logging_level.take() {
        return edge.config.verbosity.order(set.level, &set.duration);
    }
    if let Some(refusal) = quota_refusal(&edge.view.snapshot(), &call) {
        return answer::bad_because(Cause::QuotaInvalid, refusal);
    }
    match order::operation_of(&mut call) {
        Ok(Some((agent_id, operation))) => return edge.convert(agent_id, operation).await,
        Ok(None) => {}
        Err(error) => return answer::bad_because(error.cause(), error),
    }
    match order::of(&mut call) {
        Ok(Some(order)) => edge.order(order).await,
        Ok(None) => take::not_served("The call"),
        Err(error) => answer::bad_because(error.cause(), error),
    }
}

/// The older calls of quotas set what was not there, and remove what is (reference 7.1; Mesos: `quota_handler.cpp`).
fn quota_refusal(snapshot: &Snapshot, call: &api::Call) -> Option<String> {
    let has_quota = |wanted: &str| snapshot.settings.quotas.iter().any(|(role, _)| role.as_str() == wanted);
    if let Some(set) = &call.set_quota {
        let role = set.quota_request.role.as_deref().unwrap_or_default();
        return has_quota(role).then(|| format!("Cannot set quota for role '{role}', which has quota already"));
    }
    let role = &call.remove_quota.as_ref()?.role;
    (!has_quota(role)).then(|| format!("Cannot remove quota for role '{role}', which has no quota set"))
}

/// The part that a call needs and does not have. Only calls that are there are looked at.
fn missing_part(call: &api::Call, kind: Type) -> Option<&'static str> {
    match kind {
        Type::GetMetrics if call.get_metrics.is_none() => Some("get_metrics"),
        Type::SetLoggingLevel if call.set_logging_level.is_none() => Some("set_logging_level"),
        Type::ListFiles if call.list_files.is_none() => Some("list_files"),
        Type::ReadFile if call.read_file.is_none() => Some("read_file"),
        Type::SetQuota if call.set_quota.is_none() => Some("set_quota"),
        Type::RemoveQuota if call.remove_quota.is_none() => Some("remove_quota"),
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

fn tear_down(edge: &MasterEdge, id: String) -> Answer {
    if matches!(edge.look_up(&id), Lookup::Unknown) {
        let words = format!("No framework found with ID '{}'", id.chars().take(80).collect::<String>());
        return answer::bad_because(Cause::FrameworkUnknown, words);
    }
    match edge.tell_master(ToMaster::Teardown { framework_id: FrameworkId::trusted(id) }, Weight::Light) {
        Ok(()) => answer::empty(StatusCode::OK),
        Err(error) => error.answer(),
    }
}

fn read(edge: &MasterEdge, call: api::Call, kind: Type, media: MediaType) -> Result<Answer, files::Error> {
    use response::Type as Kind;
    let snapshot = edge.view.snapshot();
    let mut out = api::Response::default();
    let answered = match kind {
        Type::GetHealth => {
            out.get_health = Some(response::GetHealth { healthy: true });
            Kind::GetHealth
        }
        Type::GetFlags => {
            out.get_flags = Some(response::GetFlags { flags: process::flags(&edge.config.flags) });
            Kind::GetFlags
        }
        Type::GetVersion => {
            out.get_version = Some(response::GetVersion { version_info: process::version_info() });
            Kind::GetVersion
        }
        Type::GetMetrics => {
            out.get_metrics = Some(response::GetMetrics { metrics: process::metrics(edge.samples()) });
            Kind::GetMetrics
        }
        Type::GetLoggingLevel => {
            out.get_logging_level = Some(response::GetLoggingLevel { level: edge.config.verbosity.level() });
            Kind::GetLoggingLevel
        }
        Type::ListFiles => {
            let file_infos = edge.files.list(&call.list_files.unwrap_or_default().path)?;
            out.list_files = Some(response::ListFiles { file_infos });
            Kind::ListFiles
        }
        Type::ReadFile => {
            let asked = call.read_file.unwrap_or_default();
            let (size, data) = edge.files.piece(&asked.path, asked.offset, asked.length)?;
            out.read_file = Some(response::ReadFile { size, data });
            Kind::ReadFile
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
        Type::GetTasks => return Ok(listing::tasks(&snapshot, media)),
        Type::GetRoles => {
            out.get_roles = Some(response::GetRoles { roles: roles(&snapshot) });
            Kind::GetRoles
        }
        Type::GetQuota => {
            let quotas = &snapshot.settings.quotas;
            let status = quota_api::QuotaStatus {
                infos: quotas.iter().map(|(role, quota)| quota::info_to_v1(role, quota)).collect(),
                configs: quotas.iter().map(|(role, quota)| quota::quota_to_v1(role, quota)).collect(),
            };
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
        Type::GetState => return Ok(listing::state(&snapshot, media)),
        other => return Ok(take::not_served(other.as_str_name())),
    };
    out.r#type = Some(answered as i32);
    Ok(answer::message(media, codec::encode(media, &out)))
}

/// What every agent of this version understands.
pub(crate) const AGENT_CAPABILITIES: [AgentCapability; 8] = [
    AgentCapability::MultiRole,
    AgentCapability::HierarchicalRole,
    AgentCapability::ReservationRefinement,
    AgentCapability::ResourceProvider,
    AgentCapability::ResizeVolume,
    AgentCapability::AgentOperationFeedback,
    AgentCapability::AgentDraining,
    AgentCapability::TaskResourceLimits,
];

/// What the master can do, as Mesos names it (reference 9).
pub(crate) const MASTER_CAPABILITIES: [MasterCapability; 3] =
    [MasterCapability::AgentUpdate, MasterCapability::AgentDraining, MasterCapability::QuotaV2];

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
    let books = Books::of(snapshot);
    let mut out = response::GetAgents::default();
    for (id, view) in snapshot.agents.iter() {
        match view.registered {
            true => out.agents.push(agent(id, view, &books)),
            false => out.recovered_agents.push(convert_agent::to_v1(&view.info)),
        }
    }
    out
}

/// An agent that is registered.
pub(crate) fn agent(id: &AgentId, view: &AgentView, books: &Books<'_>) -> get_agents::Agent {
    let shown = |resources: &Resources| resource::to_v1(resources, Form::Endpoint, None);
    let drain = view.orders.as_deref().and_then(convert_maintenance::drain_to_v1);
    let (drain_info, since) = drain.unzip();
    get_agents::Agent {
        agent_info: convert_agent::to_v1(&view.info),
        active: view.active,
        deactivated: Some(view.orders.as_ref().is_some_and(|orders| orders.deactivated)),
        version: version::MESOS_VERSION.to_owned(),
        pid: Some(pid("slave(1)", &view.info.ip, view.info.port)),
        registered_time: Some(time_info(view.registered_time)),
        reregistered_time: view.reregistered_time.map(time_info),
        capabilities: AGENT_CAPABILITIES.map(|kind| v1::agent_info::Capability { r#type: Some(kind as i32) }).to_vec(),
        total_resources: shown(view.total()),
        allocated_resources: shown(&books.used(id)),
        offered_resources: shown(&books.offered(id)),
        drain_info,
        estimated_drain_start_time: since,
        ..get_agents::Agent::default()
    }
}

pub(crate) fn frameworks(snapshot: &Snapshot) -> response::GetFrameworks {
    response::GetFrameworks {
        frameworks: snapshot.frameworks.iter().map(|(id, one)| framework(snapshot, id, one)).collect(),
        completed_frameworks: completed_frameworks(snapshot),
        ..response::GetFrameworks::default()
    }
}

/// A framework that is there.
pub(crate) fn framework(snapshot: &Snapshot, id: &FrameworkId, own: &view::Framework) -> get_frameworks::Framework {
    let offers = snapshot.offers.iter().filter(|(_, offer)| offer.framework_id == *id);
    get_frameworks::Framework {
        offers: offers.filter_map(|(number, offer)| offer_to_v1(snapshot, *number, offer)).collect(),
        inverse_offers: maintenance::inverse_offers(snapshot, id),
        allocated_resources: resource::to_v1(&own.used(None), Form::Endpoint, None),
        offered_resources: resource::to_v1(&snapshot.offered_to(id), Form::Endpoint, None),
        ..framework_to_v1(own)
    }
}

/// The frameworks that are gone.
pub(crate) fn completed_frameworks(snapshot: &Snapshot) -> Vec<get_frameworks::Framework> {
    let gone = snapshot.completed.iter().map(|completed| get_frameworks::Framework {
        unregistered_time: Some(time_info(completed.at)),
        ..framework_to_v1(&completed.framework)
    });
    gone.collect()
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

pub(crate) fn executors(snapshot: &Snapshot) -> response::GetExecutors {
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

//! `POST /api/v1` of an agent (reference 7.2): who it is, what it runs, the files of its sandboxes.
//!
//! What it runs the agent's actor is asked for ([`AgentEdge::look`]); nothing of it is kept here.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::AgentId;
use kaon_kernel::message::agent_master::RunningExecutor;

use super::AgentEdge;
use super::actors::Seen;
use super::containers::{self, Wanted};
use super::{nested, process_io};
use crate::answer::{self, Answer};
use crate::codec::{self, MediaType, media};
use crate::convert::resource::Form;
use crate::convert::{agent, executor, framework, maintenance, operation, task};
use crate::files;
use crate::process;
use crate::server::Request;
use crate::take::{self, Taken};
use crate::v1::agent as api;
use crate::v1::agent::call::Type;
use crate::v1::agent::response::{self, get_executors, get_frameworks};

/// The answer to any request on the endpoint.
pub(super) async fn handle(edge: Arc<AgentEdge>, mut request: Request) -> Answer {
    if let Some(refusal) = take::unless_posted(&request) {
        return refusal;
    }
    let message_type = request.header_named("message-content-type");
    let sent = match media::agent_request(request.header(&CONTENT_TYPE), message_type) {
        Ok(sent) => sent,
        Err(error) => return take::refused(error),
    };
    let claims = match nested::shown_claims(&edge, &request) {
        Ok(claims) => claims,
        Err(refusal) => return *refusal,
    };
    let media = match sent {
        media::Body::Single(media) => media,
        media::Body::Records(media) => return process_io::input(edge, request, claims.as_ref(), media).await,
    };
    let Taken { call, .. } = match take::body::<api::Call>(&mut request, media).await {
        Ok(taken) => taken,
        Err(refusal) => return refusal,
    };
    let Some(kind) = call.r#type.and_then(|number| Type::try_from(number).ok()) else { return take::no_type() };
    if let Some(missing) = missing_part(&call, kind).or_else(|| nested::missing_part(&call, kind)) {
        return take::no_part(missing);
    }
    let is_attach = kind == Type::AttachContainerInput;
    if let Err(error) = media::agent_request_suits(sent, is_attach) {
        return take::refused(error);
    }
    let streams = matches!(kind, Type::AttachContainerOutput | Type::LaunchNestedContainerSession);
    let accepted = media::agent_response(request.header(&ACCEPT), request.header_named("message-accept"));
    let accepted = accepted.and_then(|accepted| media::agent_response_suits(accepted, streams).map(|()| accepted));
    let accepted_form = match accepted {
        Ok(form) => form,
        Err(error) => return take::refused(error),
    };
    let (media::Body::Single(accepted) | media::Body::Records(accepted)) = accepted_form;
    match kind {
        Type::LaunchNestedContainerSession => {
            return process_io::session(&edge, call, claims.as_ref(), accepted_form).await;
        }
        Type::AttachContainerOutput => return process_io::output(&edge, call, claims.as_ref(), accepted_form).await,
        other if nested::is_one(other) => return nested::answer(&edge, call, kind, claims.as_ref(), accepted).await,
        _ => {}
    }
    if let Some(set) = &call.set_logging_level {
        return edge.config.verbosity.order(set.level, &set.duration);
    }
    if kind == Type::PruneImages {
        return prune(&edge, call).await;
    }
    let seen = match kind {
        Type::GetMetrics => edge.glance().await.unwrap_or_default(),
        Type::GetState
        | Type::GetFrameworks
        | Type::GetExecutors
        | Type::GetTasks
        | Type::GetAgent
        | Type::GetOperations
        | Type::GetContainers => match edge.look().await {
            Ok(seen) => seen,
            Err(refusal) => return *refusal,
        },
        _ => Arc::default(),
    };
    // It may read files, and many tasks take a while to write down.
    let answered = tokio::task::spawn_blocking(move || read(&edge, call, kind, &seen, accepted)).await;
    let failed = |_| answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made");
    answered.map_or_else(failed, |answered| answered.unwrap_or_else(|error| error.answer()))
}

/// PRUNE_IMAGES: answered when it is done.
async fn prune(edge: &Arc<AgentEdge>, call: api::Call) -> Answer {
    let Some(pruner) = edge.config.pruner.clone() else {
        return answer::refusal(StatusCode::NOT_IMPLEMENTED, "This agent has no images");
    };
    let excluded = call.prune_images.map(|prune| prune.excluded_images).unwrap_or_default();
    let kept: Vec<String> = excluded.into_iter().filter_map(|image| Some(image.docker?.name)).collect();
    match tokio::task::spawn_blocking(move || pruner(&kept)).await {
        Ok(Ok(())) => answer::empty(StatusCode::OK),
        Ok(Err(reason)) => answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, reason),
        Err(_) => answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "The images could not be removed"),
    }
}

/// The part that a call needs and does not have. Only calls that are there are looked at.
fn missing_part(call: &api::Call, kind: Type) -> Option<&'static str> {
    match kind {
        Type::GetMetrics if call.get_metrics.is_none() => Some("get_metrics"),
        Type::SetLoggingLevel if call.set_logging_level.is_none() => Some("set_logging_level"),
        Type::ListFiles if call.list_files.is_none() => Some("list_files"),
        Type::ReadFile if call.read_file.is_none() => Some("read_file"),
        _ => None,
    }
}

fn read(edge: &AgentEdge, call: api::Call, kind: Type, seen: &Seen, media: MediaType) -> Result<Answer, files::Error> {
    use response::Type as Kind;
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
            let metrics = process::metrics(edge.samples(Some(seen)));
            out.get_metrics = Some(response::GetMetrics { metrics });
            Kind::GetMetrics
        }
        Type::GetLoggingLevel => {
            out.get_logging_level = Some(response::GetLoggingLevel { level: edge.config.verbosity.level() });
            Kind::GetLoggingLevel
        }
        Type::GetOperations => {
            let id = seen.info.as_ref().and_then(|info| info.id.clone()).unwrap_or_else(|| AgentId::trusted(""));
            let operations = seen.operations.iter().map(|held| operation::held_to_v1(held, &id)).collect();
            out.get_operations = Some(response::GetOperations { operations });
            Kind::GetOperations
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
        Type::GetState => {
            out.get_state = Some(response::GetState {
                get_tasks: Some(tasks(seen)),
                get_executors: Some(executors(seen)),
                get_frameworks: Some(frameworks(seen)),
            });
            Kind::GetState
        }
        Type::GetFrameworks => {
            out.get_frameworks = Some(frameworks(seen));
            Kind::GetFrameworks
        }
        Type::GetExecutors => {
            out.get_executors = Some(executors(seen));
            Kind::GetExecutors
        }
        Type::GetTasks => {
            out.get_tasks = Some(tasks(seen));
            Kind::GetTasks
        }
        Type::GetContainers => {
            let asked = call.get_containers.unwrap_or_default();
            let wanted =
                Wanted { nested: asked.show_nested(), standalone: asked.show_standalone(), ..Wanted::default() };
            out.get_containers = Some(containers::to_v1(containers::shown(edge, seen, &wanted)));
            Kind::GetContainers
        }
        Type::GetAgent => {
            let agent_info = seen.info.as_ref().map(agent::to_v1);
            let drain_config = seen.drain.map(maintenance::drain_config_to_v1);
            out.get_agent = Some(response::GetAgent { agent_info, drain_config, estimated_drain_start_time: None });
            Kind::GetAgent
        }
        // There are no resource providers.
        Type::GetResourceProviders => {
            out.get_resource_providers = Some(response::GetResourceProviders::default());
            Kind::GetResourceProviders
        }
        other => return Ok(take::not_served(other.as_str_name())),
    };
    out.r#type = Some(answered as i32);
    Ok(answer::message(media, codec::encode(media, &out)))
}

fn frameworks(seen: &Seen) -> response::GetFrameworks {
    let shown = |all: &[FrameworkInfo]| {
        all.iter().map(|info| get_frameworks::Framework { framework_info: framework::to_v1(info) }).collect()
    };
    response::GetFrameworks { frameworks: shown(&seen.frameworks), completed_frameworks: shown(&seen.past_frameworks) }
}

fn executors(seen: &Seen) -> response::GetExecutors {
    let shown = |running: &RunningExecutor| {
        let role = Some(running.role.as_str());
        let executor_info = executor::to_v1(&running.info, running.framework_id.as_str(), Form::Endpoint, role);
        get_executors::Executor { executor_info }
    };
    response::GetExecutors {
        executors: seen.executors.iter().map(|one| shown(&one.running)).collect(),
        completed_executors: seen.past_executors.iter().map(|one| shown(&one.executor)).collect(),
    }
}

/// Ended tasks are among the terminated until their schedulers have acknowledged that they have.
fn tasks(seen: &Seen) -> response::GetTasks {
    let mut out = response::GetTasks::default();
    for one in &seen.tasks {
        let shown = task::shown_to_v1(&one.task, one.framework_id.as_str(), one.task.info.role.as_str());
        let list = match (one.task.state.is_terminal(), one.is_queued) {
            (true, _) => &mut out.terminated_tasks,
            (false, true) => &mut out.queued_tasks,
            (false, false) => &mut out.launched_tasks,
        };
        list.push(shown);
    }
    let past = seen.past_tasks.iter();
    let past = past.map(|(id, task)| task::shown_to_v1(task, id.as_str(), task.info.role.as_str()));
    out.completed_tasks = past.collect();
    out
}

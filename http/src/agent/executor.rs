//! `POST /api/v1/executor` of an agent (reference 1.2, 1.6, 6).
//!
//! The order of the checks is Mesos's (`Slave::Http::executor`). What is judged here: the shape of a call and the token of
//! who calls. Whether that is an executor of this agent, and whether it has subscribed, the agent says.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame as Chunk};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use kaon_kernel::cause::Cause;
use kaon_kernel::frame::copy;
use kaon_kernel::id::{self, ContainerId, ExecutorId, FrameworkId, TaskId};
use kaon_kernel::message::agent_outside::{AgentEvent, Call, CallRefusal, Caller, ToAgent};
use kaon_kernel::message::executor_agent::ToExecutor;
use kaon_kernel::task::TaskStatus;

use super::AgentEdge;
use super::token::Claims;
use crate::answer::{self, Answer, Broken};
use crate::codec::{self, MediaType};
use crate::convert::call::Error as CallError;
use crate::convert::executor_call::{self, Listener, Said};
use crate::frame::Weight;
use crate::recordio;
use crate::server::Request;
use crate::stream::Subscriber;
use crate::take::{self, Taken};
use crate::v1::executor as api;

/// The answer to any request on the endpoint.
pub(super) async fn handle(edge: Arc<AgentEdge>, mut request: Request) -> Answer {
    let claims = match authenticate(&edge, &request) {
        Ok(claims) => claims,
        Err(refusal) => return *refusal,
    };
    let Taken { call, bytes } = match take::call::<api::Call>(&mut request).await {
        Ok(taken) => taken,
        Err(refusal) => return refusal,
    };
    let (framework_id, executor_id) = (call.framework_id.value.clone(), call.executor_id.value.clone());
    let said = match executor_call::from_v1(call) {
        Ok(said) => said,
        Err(error) => {
            let status = match error {
                CallError::Unimplemented(_) => StatusCode::NOT_IMPLEMENTED,
                _ => StatusCode::BAD_REQUEST,
            };
            return answer::because(status, error.cause(), error);
        }
    };
    let accepted = match (&said, take::accepted(&request)) {
        (Said::Subscribe { .. }, Err(error)) => return take::refused(error),
        (_, accepted) => accepted.unwrap_or(MediaType::Json),
    };
    let is_foreign = |claims: &Claims| claims.framework_id != framework_id || claims.executor_id != executor_id;
    if claims.as_ref().is_some_and(is_foreign) {
        return refuse(CallRefusal::NotYours);
    }
    if said == Said::Heartbeat {
        return answer::empty(StatusCode::ACCEPTED);
    }
    if let Err(error) = id::check(&framework_id).and_then(|()| id::check(&executor_id)) {
        return answer::bad_because(Cause::IdInvalid, format!("Invalid framework or executor ID: {error}"));
    }
    let caller = Box::new(Caller {
        framework_id: FrameworkId::trusted(framework_id),
        executor_id: ExecutorId::trusted(executor_id),
        container_id: claims.map(|claims| ContainerId::trusted(claims.container_id)),
    });
    match said {
        Said::Subscribe { tasks, updates } => {
            let weight = Weight::of(bytes, tasks.len() + updates.len());
            subscribe(edge, &request, caller, tasks, updates, accepted, weight).await
        }
        Said::Call(call) => hand_on(&edge, caller, call, Weight::of(bytes, 1)).await,
        Said::Heartbeat => answer::empty(StatusCode::ACCEPTED),
    }
}

/// Whose token came with the request. An agent that asks for none takes none for granted either: one that is there must be
/// right.
fn authenticate(edge: &AgentEdge, request: &Request) -> Result<Option<Claims>, Box<Answer>> {
    let Some(tokens) = &edge.config.tokens else { return Ok(None) };
    match request.header(&AUTHORIZATION) {
        None if !tokens.is_required() => Ok(None),
        shown => match shown.and_then(|shown| tokens.read(shown)) {
            Some(claims) => Ok(Some(claims)),
            None => {
                let mut answer = answer::refusal(StatusCode::UNAUTHORIZED, "A token of this agent is required");
                let realm = HeaderValue::from_static("Bearer realm=\"mesos-agent-executor\"");
                answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
                Err(Box::new(answer))
            }
        },
    }
}

fn refuse(refusal: CallRefusal) -> Answer {
    let (status, cause) = match refusal {
        CallRefusal::Recovering => (StatusCode::SERVICE_UNAVAILABLE, Cause::AgentRecovering),
        CallRefusal::UnknownFramework => (StatusCode::BAD_REQUEST, Cause::FrameworkUnknown),
        CallRefusal::UnknownExecutor => (StatusCode::BAD_REQUEST, Cause::ExecutorUnknown),
        CallRefusal::NotYours => (StatusCode::FORBIDDEN, Cause::CallerMismatch),
        CallRefusal::NotSubscribed => (StatusCode::FORBIDDEN, Cause::ExecutorNotSubscribed),
    };
    answer::because(status, cause, refusal)
}

async fn hand_on(edge: &AgentEdge, caller: Box<Caller>, call: Call, weight: Weight) -> Answer {
    match edge.asked(|reply| ToAgent::Call { caller, call, reply }, weight).await {
        Ok(AgentEvent::Accepted) => answer::empty(StatusCode::ACCEPTED),
        Ok(AgentEvent::Refused(refusal)) => refuse(refusal),
        Ok(_) => answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "a call was answered as if it were another"),
        Err(refusal) => *refusal,
    }
}

/// SUBSCRIBE: its first event tells whether it is one.
async fn subscribe(
    edge: Arc<AgentEdge>,
    request: &Request,
    caller: Box<Caller>,
    tasks: Vec<TaskId>,
    updates: Vec<TaskStatus>,
    media: MediaType,
    weight: Weight,
) -> Answer {
    let Some((subscriber, first)) = edge.open(media, request.hangup()) else {
        return answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "Too many streams are open; try again later");
    };
    let stream = subscriber.stream;
    // From here on its end is told to the agent however this ends.
    let records = Records { subscriber, edge: Arc::clone(&edge), media, listener: Listener::default() };
    if let Err(error) = edge.tell(ToAgent::Subscribe { caller, tasks, updates, stream }, weight) {
        return error.answer();
    }
    match tokio::time::timeout(super::ANSWER_WITHIN, first).await {
        Ok(Ok(None)) => {
            let mut answer = Response::new(records.boxed_unsync());
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media.name()));
            answer
        }
        Ok(Ok(Some(refusal))) => refuse(refusal),
        Ok(Err(_)) | Err(_) => answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "The agent did not answer"),
    }
}

/// The body of a SUBSCRIBE's answer. When it goes while the stream stands, the agent hears of it.
struct Records {
    subscriber: Arc<Subscriber>,
    edge: Arc<AgentEdge>,
    media: MediaType,
    listener: Listener,
}

/// One record in one chunk; none for what is no business of the listener.
fn record(media: MediaType, listener: &mut Listener, told: &AgentEvent) -> Option<Bytes> {
    // Clients in JSON look for a part named after the type, for which the schema has no field.
    if media == MediaType::Json && matches!(told, AgentEvent::Told(ToExecutor::Shutdown)) {
        return Some(recordio::encode(br#"{"type":"SHUTDOWN","shutdown":{}}"#));
    }
    Some(recordio::encode(&codec::encode(media, &listener.event(told)?)))
}

impl Body for Records {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk<Bytes>, Broken>>> {
        let Self { subscriber, media, listener, .. } = &mut *self;
        subscriber.poll_record(context, |frame| record(*media, listener, &copy(frame.body::<AgentEvent>()?)))
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        let was_open = self.subscriber.abandon();
        self.edge.on_reader_gone(&self.subscriber, was_open);
    }
}

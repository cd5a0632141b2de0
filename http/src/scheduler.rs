//! `POST /api/v1/scheduler` (reference 1.2, 1.5, 1.6, 3).
//!
//! The order of the checks is Mesos's. What is judged here: the shape of a call, whose stream it belongs to. What it means
//! in the cluster is judged by the proxy and the master, and comes back as events: so every call that is taken answers 202
//! before anything has happened.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::BodyExt;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::constraint::OfferRules;
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::RoleName;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::scheduler::{Call, FrameworkUpdate, ToFramework, ToMaster};
use kaon_kernel::offer::OfferOperation;
use kaon_kernel::resource::operation::Operation;

use crate::answer::{self, Answer, Body};
use crate::codec::MediaType;
use crate::convert::{self, call};
use crate::edge::{HandError, Lookup, MasterEdge};
use crate::frame::{FRAMEWORK_BYTES_MAX, Weight};
use crate::server::Request;
use crate::stream::{self, Records, Session, Subscriber};
use crate::take::{self, Taken};
use crate::traffic::Traffic;
use crate::v1::mesos as v1;
use crate::v1::scheduler as api;
use crate::v1::scheduler::call::Type;

/// The header that ties a call to its stream.
const STREAM_ID: &str = "mesos-stream-id";

/// The answer to any request on the endpoint.
pub(crate) async fn handle(edge: Arc<MasterEdge>, mut request: Request) -> Answer {
    if let Some(elsewhere) = edge.unless_leading(&request) {
        return elsewhere;
    }
    let Taken { call, bytes } = match take::call::<api::Call>(&mut request).await {
        Ok(taken) => taken,
        Err(refusal) => return refusal,
    };
    let kind = match call::kind(&call).and_then(|kind| call::validate(&call, kind).map(|()| kind)) {
        Ok(kind) => kind,
        Err(error) => return call_refused(error),
    };
    match kind {
        Type::Subscribe => subscribe(edge, &request, call),
        // It once had an answer of its own, so its reader's wishes are still looked at (reference 1.2).
        Type::ReconcileOperations => match take::accepted(&request) {
            Ok(_) => hand_on(&edge, &request, call, kind, bytes),
            Err(error) => take::refused(error),
        },
        Type::UpdateFramework => update(&edge, &request, call).await,
        _ => hand_on(&edge, &request, call, kind, bytes),
    }
}

fn call_refused(error: call::Error) -> Answer {
    let status = match error {
        call::Error::Unimplemented(_) => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::BAD_REQUEST,
    };
    answer::because(status, error.cause(), error)
}

/// The stream that a call belongs to.
fn standing(edge: &MasterEdge, request: &Request, call: &api::Call) -> Result<(Arc<Subscriber>, Session), Box<Answer>> {
    let (subscriber, session) = match edge.look_up(call::framework_id(call).unwrap_or_default()) {
        Lookup::Connected(subscriber, session) => (subscriber, session),
        Lookup::Disconnected => {
            let (status, cause) = (StatusCode::FORBIDDEN, Cause::FrameworkNotSubscribed);
            return Err(Box::new(answer::because(status, cause, "Framework is not subscribed")));
        }
        Lookup::Unknown => {
            return Err(Box::new(answer::bad_because(Cause::FrameworkUnknown, "Framework cannot be found")));
        }
    };
    let (cause, refused) = match request.header_named(STREAM_ID) {
        None => (Cause::StreamIdMissing, "All non-subscribe calls should include the 'Mesos-Stream-Id' header"),
        Some(id) if id != subscriber.uuid => {
            let words = "The 'Mesos-Stream-Id' of this request is not that of the framework's current stream";
            (Cause::StreamIdMismatch, words)
        }
        Some(_) => return Ok((subscriber, session)),
    };
    Err(Box::new(answer::bad_because(cause, refused)))
}

/// UPDATE_FRAMEWORK: the only call whose answer says what became of it. It goes through the proxy, as all calls do, so
/// that it keeps its place among them.
async fn update(edge: &MasterEdge, request: &Request, call: api::Call) -> Answer {
    let (subscriber, session) = match standing(edge, request, &call) {
        Ok(standing) => standing,
        Err(refusal) => return *refusal,
    };
    count(edge, &session.traffic, &call, Type::UpdateFramework);
    let Some(update) = call.update_framework else { return call_refused(call::Error::Missing("update_framework")) };
    let constraints = update.offer_constraints.unwrap_or_default();
    let (info, suppressed_roles, offers) = match described(update.framework_info, &update.suppressed_roles, constraints)
    {
        Ok(described) => described,
        Err(error) => {
            let words = format!("Supplied FrameworkInfo is not valid: {error}");
            return answer::bad_because(error.cause(), words);
        }
    };
    let weight = Weight::MayBeLarge { bytes_max: FRAMEWORK_BYTES_MAX };
    edge.judged(|reply| {
        let update = FrameworkUpdate { info, suppressed_roles, offers, reply };
        let call = Call::UpdateFramework(Box::new(update));
        edge.tell_proxy(session.proxy, ToFramework::Call { stream: subscriber.stream, call }, weight)
    })
    .await
}

/// What a framework says of itself, with the roles in which it wants nothing now and which offers it wants.
fn described(
    info: v1::FrameworkInfo,
    suppressed: &[String],
    constraints: api::OfferConstraints,
) -> Result<(FrameworkInfo, Vec<RoleName>, OfferRules), convert::Error> {
    let rules = convert::constraint::from_v1(&info, constraints);
    let (info, suppressed) = convert::framework::from_v1(info, suppressed)?;
    let rules = rules?;
    convert::constraint::judge(&rules, &info.roles)?;
    Ok((info, suppressed, rules))
}

/// Any call but SUBSCRIBE and UPDATE_FRAMEWORK.
fn hand_on(edge: &MasterEdge, request: &Request, call: api::Call, kind: Type, body_bytes: usize) -> Answer {
    let (subscriber, session) = match standing(edge, request, &call) {
        Ok(standing) => standing,
        Err(refusal) => return *refusal,
    };
    count(edge, &session.traffic, &call, kind);
    let call = match call::from_v1(call, kind, session.master_id.as_str()) {
        Ok(call) => call,
        Err(error) => return call_refused(error),
    };
    let weight = Weight::of(body_bytes, parts(&call));
    match edge.tell_proxy(session.proxy, ToFramework::Call { stream: subscriber.stream, call }, weight) {
        Ok(()) => answer::empty(StatusCode::ACCEPTED),
        Err(error) => error.answer(),
    }
}

/// Counts a call that is its framework's.
fn count(edge: &MasterEdge, traffic: &Traffic, call: &api::Call, kind: Type) {
    traffic.call(kind);
    if let Some(accept) = &call.accept {
        traffic.operations(&accept.operations);
    }
    if kind == Type::Teardown {
        edge.asked.teardowns.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many things a call holds.
fn parts(call: &Call) -> usize {
    match call {
        Call::Accept { offers, operations, .. } => {
            let tasks = operations.iter().map(|operation| match operation {
                OfferOperation::Launch { tasks } | OfferOperation::LaunchGroup { tasks, .. } => {
                    let inner = |task: &kaon_kernel::task::TaskInfo| {
                        1 + task.resources.iter().count()
                            + task.labels.len()
                            + task.command.as_ref().map_or(0, |command| command.environment.len() + command.uris.len())
                    };
                    tasks.iter().map(inner).sum()
                }
                OfferOperation::Convert { operation, .. } => operation.as_ref().map_or(1, |one| parts_of(one)),
            });
            offers.len() + tasks.sum::<usize>()
        }
        Call::Decline { offers, .. } | Call::AnswerInverse { offers, .. } => offers.len(),
        Call::Revive { roles } | Call::Suppress { roles } => roles.len(),
        Call::Reconcile { tasks } => tasks.len(),
        Call::ReconcileOperations { operations } => operations.len(),
        _ => 1,
    }
}

/// How many things an operation names.
pub(crate) fn parts_of(operation: &Operation) -> usize {
    match operation {
        Operation::Reserve { source, resources } => {
            resources.iter().count() + source.iter().flat_map(|source| source.iter()).count()
        }
        Operation::Unreserve { resources } => resources.iter().count(),
        Operation::Create { volumes } | Operation::Destroy { volumes } => volumes.iter().count(),
        Operation::Grow { .. } | Operation::Shrink { .. } => 2,
    }
}

/// SUBSCRIBE: answers with a stream whatever the master will say to it.
fn subscribe(edge: Arc<MasterEdge>, request: &Request, call: api::Call) -> Answer {
    let media = match take::accepted(request) {
        Ok(media) => media,
        Err(error) => return take::refused(error),
    };
    if request.header_named(STREAM_ID).is_some() {
        let words = "Subscribe calls should not include the 'Mesos-Stream-Id' header";
        return answer::bad_because(Cause::StreamIdUnexpected, words);
    }
    let Some(subscribe) = call.subscribe else {
        return call_refused(call::Error::Missing("subscribe"));
    };
    let constraints = subscribe.offer_constraints.unwrap_or_default();
    let described = described(subscribe.framework_info, &subscribe.suppressed_roles, constraints);
    let (info, suppressed_roles, offers) = match described {
        Ok(converted) => converted,
        Err(error) => return turned_away(&edge, media, error.into()),
    };
    let Some(subscriber) = edge.open(media, request.hangup()) else {
        return answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "Too many subscribers; try again later");
    };
    let asked = if info.id.is_none() { &edge.asked.subscriptions } else { &edge.asked.resubscriptions };
    asked.fetch_add(1, Ordering::Relaxed);
    let message = ToMaster::Subscribe {
        info: Box::new(info),
        suppressed_roles,
        offers: Box::new(offers),
        stream: subscriber.stream,
    };
    match edge.tell_master(message, Weight::MayBeLarge { bytes_max: FRAMEWORK_BYTES_MAX }) {
        Ok(()) => {}
        Err(error) => {
            edge.take_back(&subscriber);
            return match error {
                HandError::TooLarge(reason) => {
                    let words = format!("FrameworkInfo is too large: {reason}");
                    turned_away(&edge, media, Defect::new(Cause::TooLarge, words))
                }
                HandError::Refused(_) | HandError::Unplugged => error.answer(),
            };
        }
    }
    let uuid = subscriber.uuid.clone();
    let mut answer = streaming(media, Records { subscriber, edge }.boxed_unsync());
    if let Ok(value) = HeaderValue::from_str(&uuid) {
        answer.headers_mut().insert(STREAM_ID, value);
    }
    answer
}

/// A FrameworkInfo that breaks a rule: still a stream, with the reason as its only event (reference 1.6).
fn turned_away(edge: &MasterEdge, media: MediaType, defect: Defect) -> Answer {
    let Defect { cause, words: message } = defect;
    let event = FrameworkEvent::Error { message, cause };
    let record = stream::record(media, &event, edge);
    let only = futures::stream::once(std::future::ready(Ok(hyper::body::Frame::data(record))));
    let mut answer = streaming(media, http_body_util::StreamBody::new(only).boxed_unsync());
    // Clients look for the id before they read what turns them away; no call will ever carry it.
    if let Some(id) = crate::edge::random_uuid().and_then(|uuid| HeaderValue::from_str(&uuid).ok()) {
        answer.headers_mut().insert(STREAM_ID, id);
    }
    answer
}

fn streaming(media: MediaType, body: Body) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media.name()));
    answer
}

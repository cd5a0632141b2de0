//! The agent's calls about single containers (reference 7.2): launch, wait, kill, remove, within another container, by itself, or
//! as a session. The containers themselves are somebody else's: this translates, in both directions.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hyper::StatusCode;
use hyper::header::AUTHORIZATION;
use kaon_kernel::container::Exit;
use kaon_kernel::container_info::Limits;
use kaon_kernel::id::{self, ContainerId};
use kaon_kernel::nested::{DEPTH_MAX, Order, Piece, Said};
use kaon_kernel::resource::Resources;
use kaon_kernel::task::CommandInfo;

use super::AgentEdge;
use super::token::Claims;
use crate::answer::{self, Answer};
use crate::codec::{self, MediaType};
use crate::convert::resource::{self, Form};
use crate::convert::{self, command, container, limits, status};
use crate::server::Request;
use crate::take;
use crate::v1::agent as api;
use crate::v1::agent::call::Type;
use crate::v1::agent::response;
use crate::v1::mesos as v1;

/// The signal of a kill that names none.
const SIGKILL: i32 = 9;

/// The largest signal of Linux.
const SIGNAL_MAX: i32 = 64;

/// The longest name of one container in bytes, in the words of the reference (7.3).
const NAME_BYTES_MAX: usize = 242;

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launched {
    /// It runs.
    Yes,
    /// There is one of this name.
    Already,
    /// It does not, and why.
    No(String),
}

/// Why nobody can be attached to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unattached {
    /// There is none.
    Unknown(String),
    /// Somebody speaks to it already.
    Busy(String),
    /// It is not made for it, or can't be reached.
    Failed(String),
}

/// Speaks to a container.
pub trait Speaker: Send {
    /// Says something; waits while the container does not read. False when it has ended.
    fn say(&mut self, said: Said) -> BoxFuture<'_, bool>;
    /// Waits for its end.
    fn ended(&mut self) -> BoxFuture<'_, ()>;
}

/// Who carries the calls out.
pub trait ContainerCalls: Send + Sync + 'static {
    /// Launches a container.
    fn launch(&self, order: Order) -> BoxFuture<'_, Launched>;
    /// Waits for the end of one; nothing when nobody knows it.
    fn wait(&self, container: ContainerId) -> BoxFuture<'_, Option<Exit>>;
    /// Sends a signal; false when there is none that runs.
    fn kill(&self, container: ContainerId, signal: i32) -> BoxFuture<'_, bool>;
    /// Forgets one that has ended, sandbox and all; why not, when it runs.
    fn remove(&self, container: ContainerId) -> BoxFuture<'_, Result<(), String>>;
    /// Listens to one; dropping what this gives ends a session.
    fn listen(&self, container: ContainerId) -> BoxFuture<'_, Result<BoxStream<'static, Piece>, Unattached>>;
    /// Speaks to one.
    fn speak(&self, container: ContainerId) -> BoxFuture<'_, Result<Box<dyn Speaker>, Unattached>>;
    /// Those that calls asked for and that run.
    fn nested(&self) -> Vec<ContainerId>;
}

/// Whose token came with a request. Nobody needs one for these calls yet, but who shows one is held to it.
pub(super) fn shown_claims(edge: &AgentEdge, request: &Request) -> Result<Option<Claims>, Box<Answer>> {
    let (Some(tokens), Some(shown)) = (&edge.config.tokens, request.header(&AUTHORIZATION)) else { return Ok(None) };
    if !shown.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("Bearer ")) {
        return Ok(None);
    }
    match tokens.read(shown) {
        Some(claims) => Ok(Some(claims)),
        None => Err(Box::new(answer::refusal(StatusCode::UNAUTHORIZED, "The token is none of this agent"))),
    }
}

/// The calls that [`answer()`] answers.
pub(super) fn is_one(kind: Type) -> bool {
    matches!(
        kind,
        Type::LaunchNestedContainer
            | Type::LaunchContainer
            | Type::WaitNestedContainer
            | Type::WaitContainer
            | Type::KillNestedContainer
            | Type::KillContainer
            | Type::RemoveNestedContainer
            | Type::RemoveContainer
    )
}

/// The part that a call needs and does not have.
pub(super) fn missing_part(call: &api::Call, kind: Type) -> Option<&'static str> {
    let parts = [
        (Type::LaunchNestedContainer, call.launch_nested_container.is_some(), "launch_nested_container"),
        (Type::LaunchContainer, call.launch_container.is_some(), "launch_container"),
        (
            Type::LaunchNestedContainerSession,
            call.launch_nested_container_session.is_some(),
            "launch_nested_container_session",
        ),
        (Type::WaitNestedContainer, call.wait_nested_container.is_some(), "wait_nested_container"),
        (Type::WaitContainer, call.wait_container.is_some(), "wait_container"),
        (Type::KillNestedContainer, call.kill_nested_container.is_some(), "kill_nested_container"),
        (Type::KillContainer, call.kill_container.is_some(), "kill_container"),
        (Type::RemoveNestedContainer, call.remove_nested_container.is_some(), "remove_nested_container"),
        (Type::RemoveContainer, call.remove_container.is_some(), "remove_container"),
        (Type::AttachContainerOutput, call.attach_container_output.is_some(), "attach_container_output"),
    ];
    let missing = parts.into_iter().find(|(of, is_there, _)| *of == kind && !is_there).map(|(_, _, name)| name);
    missing.or_else(|| missing_parent(call, kind))
}

/// Calls about nested containers name the one around, those that came later need not.
fn missing_parent(call: &api::Call, kind: Type) -> Option<&'static str> {
    let (container, name) = match kind {
        Type::LaunchNestedContainer => (
            call.launch_nested_container.as_ref().map(|part| &part.container_id),
            "launch_nested_container.container_id.parent",
        ),
        Type::LaunchNestedContainerSession => (
            call.launch_nested_container_session.as_ref().map(|part| &part.container_id),
            "launch_nested_container_session.container_id.parent",
        ),
        Type::WaitNestedContainer => (
            call.wait_nested_container.as_ref().map(|part| &part.container_id),
            "wait_nested_container.container_id.parent",
        ),
        Type::KillNestedContainer => (
            call.kill_nested_container.as_ref().map(|part| &part.container_id),
            "kill_nested_container.container_id.parent",
        ),
        Type::RemoveNestedContainer => (
            call.remove_nested_container.as_ref().map(|part| &part.container_id),
            "remove_nested_container.container_id.parent",
        ),
        _ => return None,
    };
    container.filter(|container| container.parent.is_none()).map(|_| name)
}

/// The name of a container as one text, or what is wrong with it.
pub(super) fn name(container: &v1::ContainerId) -> Result<ContainerId, String> {
    let mut chain = Vec::new();
    let mut next = Some(container);
    while let Some(one) = next {
        let value = one.value.as_str();
        let checked = id::check(value).map_err(|error| format!("'ContainerID.value' '{value}' is invalid: {error}"));
        checked?;
        if value.contains(['.', ' ']) || value.len() > NAME_BYTES_MAX {
            return Err(format!("'ContainerID.value' '{value}' contains a period or a space, or is too long"));
        }
        chain.push(value);
        if chain.len() > DEPTH_MAX {
            return Err("'ContainerID.parent' is too deep".to_owned());
        }
        next = one.parent.as_deref();
    }
    chain.reverse();
    let joined = chain.join(".");
    ContainerId::parse(&joined).map_err(|error| format!("'ContainerID' is invalid: {error}"))
}

/// The v1 form of a container's name.
pub(super) fn name_to_v1(container: &ContainerId) -> v1::ContainerId {
    let mut parent = None;
    for value in container.chain() {
        parent = Some(Box::new(v1::ContainerId { value: value.to_owned(), parent }));
    }
    parent.map(|last| *last).unwrap_or_default()
}

/// A call that is not about sessions. `media` is what an answer with a body is written in.
pub(super) async fn answer(
    edge: &AgentEdge,
    call: api::Call,
    kind: Type,
    claims: Option<&Claims>,
    media: MediaType,
) -> Answer {
    match carry_out(edge, call, kind, claims, media).await {
        Ok(answer) | Err(answer) => *answer,
    }
}

type Answered = Result<Box<Answer>, Box<Answer>>;

fn done(status: StatusCode) -> Answered {
    Ok(Box::new(answer::empty(status)))
}

async fn carry_out(
    edge: &AgentEdge,
    call: api::Call,
    kind: Type,
    claims: Option<&Claims>,
    media: MediaType,
) -> Answered {
    let calls = calls(edge)?;
    match kind {
        Type::LaunchNestedContainer => {
            let asked = call.launch_nested_container.unwrap_or_default();
            let order = Asked { command: asked.command, container: asked.container, ..Asked::default() };
            launch(&*calls, order.read(&asked.container_id, claims)?).await
        }
        Type::LaunchContainer => {
            let asked = call.launch_container.unwrap_or_default();
            let order = Asked {
                command: asked.command,
                container: asked.container,
                resources: asked.resources,
                limits: asked.limits.into_iter().map(|entry| (entry.key, entry.value.value)).collect(),
                is_session: false,
            };
            launch(&*calls, order.read(&asked.container_id, claims)?).await
        }
        Type::WaitNestedContainer => {
            let asked = call.wait_nested_container.unwrap_or_default();
            wait(&*calls, known(&asked.container_id, claims)?, true, media).await
        }
        Type::WaitContainer => {
            let asked = call.wait_container.unwrap_or_default();
            wait(&*calls, known(&asked.container_id, claims)?, false, media).await
        }
        Type::KillNestedContainer => {
            let asked = call.kill_nested_container.unwrap_or_default();
            kill(&*calls, known(&asked.container_id, claims)?, asked.signal).await
        }
        Type::KillContainer => {
            let asked = call.kill_container.unwrap_or_default();
            kill(&*calls, known(&asked.container_id, claims)?, asked.signal).await
        }
        Type::RemoveNestedContainer => {
            let asked = call.remove_nested_container.unwrap_or_default();
            remove(&*calls, known(&asked.container_id, claims)?).await
        }
        Type::RemoveContainer => {
            let asked = call.remove_container.unwrap_or_default();
            remove(&*calls, known(&asked.container_id, claims)?).await
        }
        other => Err(Box::new(take::not_served(other.as_str_name()))),
    }
}

/// Who carries the calls out, or that nobody does.
pub(super) fn calls(edge: &AgentEdge) -> Result<Arc<dyn ContainerCalls>, Box<Answer>> {
    let none = || Box::new(answer::refusal(StatusCode::NOT_IMPLEMENTED, "This agent has no containers for calls"));
    edge.config.calls.clone().ok_or_else(none)
}

/// The name of a container that the caller may ask about: an executor may about those within its own.
pub(super) fn known(container: &v1::ContainerId, claims: Option<&Claims>) -> Result<ContainerId, Box<Answer>> {
    let name = name(container).map_err(|reason| Box::new(answer::bad(reason)))?;
    match claims {
        Some(claims) if !name.is_within(&claims.container_id) => {
            let text = "An executor may ask about containers within its own only";
            Err(Box::new(answer::refusal(StatusCode::FORBIDDEN, text)))
        }
        _ => Ok(name),
    }
}

/// What the launching calls have in common.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) command: Option<v1::CommandInfo>,
    pub(super) container: Option<v1::ContainerInfo>,
    pub(super) resources: Vec<v1::Resource>,
    pub(super) limits: Vec<(String, f64)>,
    pub(super) is_session: bool,
}

impl Asked {
    pub(super) fn read(self, container: &v1::ContainerId, claims: Option<&Claims>) -> Result<Order, Box<Answer>> {
        let container = known(container, claims)?;
        self.order(container).map_err(|reason| Box::new(answer::bad(reason)))
    }

    /// Only the containers right within an executor's have groups and resources of their own (Mesos's rules). `depth` counts the
    /// names of the chain.
    fn judge_groups(&self, depth: usize, shares: Option<bool>) -> Result<(), String> {
        let is_deep = depth > 2;
        let text = match shares {
            Some(true) if depth == 1 => "containers without a parent cannot set 'share_cgroups' to 'true'",
            Some(false) if is_deep || self.is_session => {
                "sessions and containers nested at the second level or greater cannot set 'share_cgroups' to 'false'"
            }
            _ if is_deep && !self.resources.is_empty() => {
                "containers nested at the second level or greater cannot specify resources"
            }
            _ if is_deep && !self.limits.is_empty() => {
                "containers nested at the second level or greater cannot specify resource limits"
            }
            _ => return Ok(()),
        };
        Err(text.to_owned())
    }

    fn order(self, container: ContainerId) -> Result<Order, String> {
        let text = |error: convert::Error| error.to_string();
        let is_nested = container.parent().is_some();
        let shares_groups = container::shares_cgroups(self.container.as_ref());
        self.judge_groups(container.chain().count(), shares_groups)?;
        let (command, verdict) = command::from_v1(self.command.ok_or("Expecting 'command' to be present")?);
        verdict.map_err(text)?;
        let program = command.program().ok_or("Expecting 'command.value' to be present")?;
        let asked = self.container.as_ref().map(container::from_v1).transpose().map_err(text)?.flatten();
        let (resources, defect) = resource::from_v1(&self.resources).map_err(text)?;
        if let Some(defect) = defect {
            return Err(defect);
        }
        if !is_nested {
            judge_free(&resources)?;
        }
        if is_nested && shares_groups != Some(false) && !(resources.is_empty() && self.limits.is_empty()) {
            let text = "A nested container has resources and limits only with 'LinuxInfo.share_cgroups' set to false";
            return Err(text.to_owned());
        }
        let entries = self.limits.iter().map(|(name, value)| (name.as_str(), *value));
        let limits = limits::from_v1(entries, &resources).map_err(text)?.map_or_else(Limits::default, |limits| *limits);
        let CommandInfo { user, uris, .. } = command.clone();
        let environment = command.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let secrets = command.references().collect();
        let is_session = self.is_session;
        Ok(Order { container, is_session, program, environment, secrets, user, asked, resources, limits, uris })
    }
}

/// Nobody accounts for what a container by itself takes: it takes nothing that is somebody's (Mesos's rules for those).
fn judge_free(resources: &Resources) -> Result<(), String> {
    for one in resources.iter() {
        if one.reservation_role().is_some() {
            return Err("'launch_container.resources' must be unreserved".to_owned());
        }
        if one.disk().is_some_and(|disk| disk.volume.is_some()) {
            return Err("'launch_container.resources' may not use persistent volumes".to_owned());
        }
        if one.is_revocable() {
            return Err("'launch_container.resources' must be non-revocable".to_owned());
        }
    }
    Ok(())
}

pub(super) async fn launch(calls: &dyn ContainerCalls, order: Order) -> Answered {
    match calls.launch(order).await {
        Launched::Yes => done(StatusCode::OK),
        Launched::Already => done(StatusCode::ACCEPTED),
        Launched::No(reason) => Err(Box::new(answer::bad(format!("Failed to launch container: {reason}")))),
    }
}

fn unknown(container: &ContainerId) -> Box<Answer> {
    Box::new(answer::refusal(StatusCode::NOT_FOUND, format!("Container {container} cannot be found")))
}

async fn wait(calls: &dyn ContainerCalls, container: ContainerId, is_nested: bool, media: MediaType) -> Answered {
    let Some(exit) = calls.wait(container.clone()).await else { return Err(unknown(&container)) };
    let exit_status = exit.status.map(kaon_kernel::container::ExitStatus::raw);
    let reason = exit.limitation.as_ref().map(|limitation| status::reason_number(limitation.kind.reason()));
    let message = exit.limitation.as_ref().map(|limitation| limitation.message.clone());
    let state = exit.limitation.as_ref().map(|_| v1::TaskState::TaskFailed as i32);
    let broken = exit.limitation.as_ref().filter(|limitation| !limitation.resources.is_empty());
    let limitation = broken.map(|limitation| v1::TaskResourceLimitation {
        resources: resource::to_v1(&limitation.resources, Form::Endpoint, None),
    });
    let mut out = api::Response::default();
    if is_nested {
        out.r#type = Some(response::Type::WaitNestedContainer as i32);
        out.wait_nested_container =
            Some(response::WaitNestedContainer { exit_status, state, reason, limitation, message });
    } else {
        out.r#type = Some(response::Type::WaitContainer as i32);
        out.wait_container = Some(response::WaitContainer { exit_status, state, reason, limitation, message });
    }
    Ok(Box::new(answer::message(media, codec::encode(media, &out))))
}

async fn kill(calls: &dyn ContainerCalls, container: ContainerId, signal: Option<i32>) -> Answered {
    let signal = signal.unwrap_or(SIGKILL);
    if !(1..=SIGNAL_MAX).contains(&signal) {
        return Err(Box::new(answer::bad(format!("{signal} is no signal"))));
    }
    match calls.kill(container.clone(), signal).await {
        true => done(StatusCode::OK),
        false => Err(unknown(&container)),
    }
}

async fn remove(calls: &dyn ContainerCalls, container: ContainerId) -> Answered {
    match calls.remove(container).await {
        Ok(()) => done(StatusCode::OK),
        Err(reason) => Err(Box::new(answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, reason))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_containers_are_chains() {
        let chain = |values: &[&str]| {
            let mut parent = None;
            for value in values {
                parent = Some(Box::new(v1::ContainerId { value: (*value).to_owned(), parent }));
            }
            *parent.expect("one at least")
        };
        let id = chain(&["a", "b", "c"]);
        let flat = name(&id).unwrap();
        assert_eq!(flat.as_str(), "a.b.c");
        assert_eq!(name_to_v1(&flat), id);
        for bad in [&["a.b"][..], &["a b"], &[""], &["..", "a"], &["a", "b/c"]] {
            assert!(name(&chain(bad)).is_err(), "{bad:?}");
        }
        assert!(name(&chain(&vec!["a"; DEPTH_MAX + 1])).is_err());
        assert!(name(&chain(&[&"x".repeat(NAME_BYTES_MAX + 1)])).is_err());
        let claims = Claims { framework_id: "f".into(), executor_id: "e".into(), container_id: "a".into() };
        for (values, is_own) in [(&["a", "b"][..], true), (&["a"], false), (&["ab", "c"], false), (&["b", "a"], false)]
        {
            assert_eq!(known(&chain(values), Some(&claims)).is_ok(), is_own, "{values:?}");
        }
    }
}

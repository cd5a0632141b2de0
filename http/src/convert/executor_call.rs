//! The conversation with an executor that speaks HTTP: its calls to the kernel, its events to v1 (reference 6.2, 6.3).
//!
//! What a shape alone can break is judged here; Mesos: `src/slave/validation.cpp`, `executor::call::validate`.

use kaon_kernel::cause::Cause;
use kaon_kernel::framework::{Capability, FrameworkInfo};
use kaon_kernel::id::TaskId;
use kaon_kernel::message::agent_outside::{AgentEvent, Call};
use kaon_kernel::message::executor_agent::ToExecutor;
use kaon_kernel::task::{TaskInfo, TaskStatus};

use super::call::Error;
use super::resource::Form;
use super::{agent, duration_info, executor, framework, status, task};
use crate::v1::executor as api;
use crate::v1::executor::call::Type;
use crate::v1::executor::event::{self, Type as EventType};
use crate::v1::mesos as v1;

/// What an executor says, once its shape is known to be good.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// It wants its events.
    Subscribe {
        /// Tasks of which no status is acknowledged.
        tasks: Vec<TaskId>,
        /// Statuses that the agent may not have, oldest first.
        updates: Vec<TaskStatus>,
    },
    /// For the agent's tables.
    Call(Call),
    /// It is alive. Nobody asks for more.
    Heartbeat,
}

/// The kernel's form of a call.
///
/// # Errors
/// The first rule that is broken.
pub fn from_v1(call: api::Call) -> Result<Said, Error> {
    let kind = call.r#type.and_then(|number| Type::try_from(number).ok()).ok_or(Error::Missing("type"))?;
    let (executor_id, framework_id) = (&call.executor_id.value, &call.framework_id.value);
    Ok(match kind {
        Type::Unknown => return Err(Error::Unimplemented("UNKNOWN")),
        Type::Heartbeat => Said::Heartbeat,
        Type::Subscribe => {
            let subscribe = call.subscribe.ok_or(Error::Missing("subscribe"))?;
            let tasks = subscribe.unacknowledged_tasks.into_iter();
            let updates = subscribe.unacknowledged_updates.into_iter();
            Said::Subscribe {
                tasks: tasks.map(|task| TaskId::trusted(task.task_id.value)).collect(),
                updates: updates.map(|one| update(one.status, executor_id, framework_id)).collect::<Result<_, _>>()?,
            }
        }
        Type::Update => {
            let status = call.update.ok_or(Error::Missing("update"))?.status;
            Said::Call(Call::Update { status: Box::new(update(status, executor_id, framework_id)?) })
        }
        Type::Message => Said::Call(Call::Message { data: call.message.ok_or(Error::Missing("message"))?.data }),
    })
}

fn update(update: v1::TaskStatus, executor_id: &str, framework_id: &str) -> Result<TaskStatus, Error> {
    let rule = |text: String| Err(Error::Rule(Cause::StatusInvalid, text));
    let uuid = update.uuid.as_ref().ok_or(Error::Missing("uuid"))?;
    if uuid.len() != 16 {
        return rule(format!("Expecting 'uuid' to be of 16 bytes, it has {}", uuid.len()));
    }
    if update.executor_id.as_ref().is_some_and(|named| named.value != executor_id) {
        return rule("ExecutorID in Call does not match ExecutorID in TaskStatus".to_owned());
    }
    let who = || format!("executor '{}' of framework {}", clip(executor_id), clip(framework_id));
    if update.source != Some(v1::task_status::Source::Executor as i32) {
        return rule(format!("Received Call from {} with invalid source, expecting 'SOURCE_EXECUTOR'", who()));
    }
    if update.state == v1::TaskState::TaskStaging as i32 {
        return rule(format!("Received TASK_STAGING from {} which is not allowed", who()));
    }
    if let Some(check) = &update.check_status {
        use v1::check_info::Type as Check;
        let fits = match check.r#type.map(Check::try_from) {
            Some(Ok(Check::Command)) => check.command.is_some(),
            Some(Ok(Check::Http)) => check.http.is_some(),
            Some(Ok(Check::Tcp)) => check.tcp.is_some(),
            Some(Ok(Check::Unknown) | Err(_)) | None => false,
        };
        if !fits {
            return rule(
                "The 'check_status' of a TaskStatus must have a type and the part that belongs to it".to_owned(),
            );
        }
    }
    status::from_v1(update).map_err(|error| Error::Rule(error.cause(), error.to_string()))
}

/// The beginning of an id of a client's: its names may be as long as its call.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

/// To whom events are told, as its first event says.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    framework_id: String,
    sees_stacks: bool,
}

impl Listener {
    fn meet(&mut self, framework: &FrameworkInfo) {
        self.framework_id = framework.id.as_ref().map(ToString::to_string).unwrap_or_default();
        self.sees_stacks = framework.has(Capability::ReservationRefinement);
    }
    fn form(&self) -> Form {
        if self.sees_stacks { Form::Stack } else { Form::Plain }
    }
    fn task(&self, info: &TaskInfo) -> v1::TaskInfo {
        task::to_v1(info, &self.framework_id, self.form())
    }

    /// The v1 form of an event; `None` for what is no event of an executor's stream.
    pub fn event(&mut self, told: &AgentEvent) -> Option<api::Event> {
        let mut out = api::Event::default();
        let kind = match told {
            AgentEvent::Subscribed { executor, framework, agent, container_id } => {
                self.meet(framework);
                out.subscribed = Some(event::Subscribed {
                    executor_info: executor::to_v1(executor, &self.framework_id, self.form(), None),
                    framework_info: framework::to_v1(framework),
                    agent_info: agent::to_v1(agent),
                    container_id: Some(v1::ContainerId { value: container_id.to_string(), parent: None }),
                });
                EventType::Subscribed
            }
            AgentEvent::Heartbeat => EventType::Heartbeat,
            AgentEvent::Told(ToExecutor::Launch { task }) => {
                out.launch = Some(event::Launch { task: self.task(task) });
                EventType::Launch
            }
            AgentEvent::Told(ToExecutor::LaunchGroup { tasks }) => {
                let tasks = tasks.iter().map(|task| self.task(task)).collect();
                out.launch_group = Some(event::LaunchGroup { task_group: v1::TaskGroupInfo { tasks } });
                EventType::LaunchGroup
            }
            AgentEvent::Told(ToExecutor::Kill { task_id, grace }) => {
                let policy = grace.map(|grace| v1::KillPolicy { grace_period: Some(duration_info(grace)) });
                let task_id = v1::TaskId { value: task_id.to_string() };
                out.kill = Some(event::Kill { task_id, kill_policy: policy });
                EventType::Kill
            }
            AgentEvent::Told(ToExecutor::Acknowledged { task_id, uuid }) => {
                let task_id = v1::TaskId { value: task_id.to_string() };
                out.acknowledged = Some(event::Acknowledged { task_id, uuid: uuid.0.to_vec() });
                EventType::Acknowledged
            }
            AgentEvent::Told(ToExecutor::Message { data }) => {
                out.message = Some(event::Message { data: data.clone() });
                EventType::Message
            }
            AgentEvent::Told(ToExecutor::Shutdown) => EventType::Shutdown,
            _ => return None,
        };
        out.r#type = Some(kind as i32);
        Some(out)
    }
}

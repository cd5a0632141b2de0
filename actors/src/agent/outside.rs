//! Executors that speak HTTP: the frameworks' own (reference 1.6, 6.2). The edge hands their calls in and carries their
//! events out; what they mean is the same as for those that are actors.
//!
//! A call is judged in the order of Mesos's agent: whether the agent has recovered, who calls, whether
//! that one has subscribed. What the agent then makes of it shows as events.

use crate::agent::container::{Container, Stage, Voice};
use crate::agent::executors::{Holds, REGISTRATION_ENTRIES_MAX};
use crate::agent::registration::Registration;
use crate::agent::{Agent, Timer, metric};
use kaon_kernel::actor::{ActorKind, Context, StreamId};
use kaon_kernel::frame::Envelope;
use kaon_kernel::id::TaskId;
use kaon_kernel::message::agent_outside::{AgentEvent, Call, CallRefusal, Caller, ToAgent};
use kaon_kernel::message::executor_agent::ToExecutor;
use kaon_kernel::task::{ExecutorKind, TaskStatus};
use kaon_kernel::time::Duration;

/// How often an executor hears that its stream stands; the first time after this as well (reference 1.5).
const HEARTBEAT_INTERVAL: Duration = Duration::secs(30 * 60);

impl Agent {
    /// Something that the HTTP edge hands in.
    pub(super) fn on_outside(&mut self, envelope: &Envelope, message: ToAgent, context: &mut Context<'_, Self>) {
        if envelope.from.kind != ActorKind::Outside || envelope.from.host != context.me().host {
            return context.count(metric::FOREIGN, 1);
        }
        match message {
            ToAgent::Subscribe { caller, tasks, updates, stream } => {
                match self.find(&caller) {
                    Ok(number) => self.on_subscribe(number, stream, &tasks, updates, context),
                    Err(refusal) => refuse(stream, refusal, context),
                };
            }
            ToAgent::Call { caller, call, reply } => match self.find_subscribed(&caller) {
                Ok(number) => {
                    match call {
                        Call::Update { status } => self.on_update(number, *status, context),
                        Call::Message { data } => self.on_executor_message(number, data, context),
                    }
                    context.emit(reply, &AgentEvent::Accepted);
                    context.close(reply);
                }
                Err(refusal) => refuse(reply, refusal, context),
            },
            ToAgent::StreamClosed { stream } => {
                let voice = Some(Voice::Stream(stream));
                let number = self.state.containers().find(|(_, one)| one.voice() == voice).map(|(number, _)| number);
                if let Some(container) = number.and_then(|number| self.state.container_mut(number)) {
                    container.listen(None);
                }
                if let Some(number) = number {
                    context.disarm(Timer::Heartbeat(number));
                }
            }
            ToAgent::Look { reply } => self.on_look(reply, context),
            ToAgent::Leave => self.on_leave(context),
        }
    }

    /// The container of who calls.
    fn find(&self, caller: &Caller) -> Result<u64, CallRefusal> {
        if self.state.is_recovering() {
            return Err(CallRefusal::Recovering);
        }
        self.state.framework(&caller.framework_id).ok_or(CallRefusal::UnknownFramework)?;
        let number = self.state.container_of(&caller.framework_id, &caller.executor_id);
        let number = number.ok_or(CallRefusal::UnknownExecutor)?;
        let container = self.state.container(number).ok_or(CallRefusal::UnknownExecutor)?;
        // Those built in have certificates: nobody else speaks for them.
        let is_built_in = container.info().kind != ExecutorKind::Custom;
        if is_built_in || caller.container_id.as_ref().is_some_and(|id| id != container.id()) {
            return Err(CallRefusal::NotYours);
        }
        match container.stage() {
            Stage::Persisting | Stage::Waiting | Stage::Ended => Err(CallRefusal::UnknownExecutor),
            _ => Ok(number),
        }
    }

    fn find_subscribed(&self, caller: &Caller) -> Result<u64, CallRefusal> {
        if self.registration == Registration::Held {
            return Err(CallRefusal::Recovering);
        }
        let number = self.find(caller)?;
        let voice = self.state.container(number).and_then(Container::voice);
        voice.map(|_| number).ok_or(CallRefusal::NotSubscribed)
    }

    fn on_subscribe(
        &mut self,
        number: u64,
        stream: StreamId,
        tasks: &[TaskId],
        updates: Vec<TaskStatus>,
        context: &mut Context<'_, Self>,
    ) {
        if tasks.len().max(updates.len()) > REGISTRATION_ENTRIES_MAX {
            context.count(metric::INVALID_UPDATES, 1);
            return refuse(stream, CallRefusal::NotYours, context);
        }
        self.hang_up(number, context);
        let Some(container) = self.state.container_mut(number) else { return };
        let framework_id = container.framework_id().clone();
        if container.stage() == Stage::Terminating {
            context.emit(stream, &AgentEvent::Told(ToExecutor::Shutdown));
            return context.close(stream);
        }
        container.listen(Some(Voice::Stream(stream)));
        let is_running = container.stage() != Stage::Launching;
        context.arm(Timer::Heartbeat(number), HEARTBEAT_INTERVAL);
        if self.state.framework(&framework_id).is_none_or(|framework| framework.is_ending) {
            return self.shut_down(number, context);
        }
        // One that the machine has not reported yet is greeted when it is, with its process id known.
        if is_running {
            self.welcome(number, updates, Holds::Unacknowledged(tasks), context);
        }
    }

    /// Ends the stream of an executor, if it has one.
    pub(super) fn hang_up(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let before = self.state.container_mut(number).and_then(|container| container.listen(None));
        if let Some(Voice::Stream(stream)) = before {
            context.disarm(Timer::Heartbeat(number));
            context.close(stream);
        }
    }

    /// An executor that reads a stream is to hear that it stands.
    pub(super) fn on_heartbeat_due(&mut self, number: u64, context: &mut Context<'_, Self>) {
        if let Some(Voice::Stream(stream)) = self.state.container(number).and_then(Container::voice) {
            context.emit(stream, &AgentEvent::Heartbeat);
            context.arm(Timer::Heartbeat(number), HEARTBEAT_INTERVAL);
        }
    }
}

fn refuse(stream: StreamId, refusal: CallRefusal, context: &mut Context<'_, Agent>) {
    context.emit(stream, &AgentEvent::Refused(refusal));
    context.close(stream);
}

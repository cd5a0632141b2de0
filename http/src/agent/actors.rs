//! Between the edge and the agent's actor: messages in, answers and events out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use kaon_kernel::actor::{ActorKind, Address, StreamId, Term};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::frame::{Frame, Route, copy};
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{ContainerId, FrameworkId};
use kaon_kernel::maintenance::DrainConfig;
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::agent_master::RunningExecutor;
use kaon_kernel::message::agent_outside::{AgentEvent, ArchivedAgentEvent, CallRefusal, ExecutorStage, ToAgent};
use kaon_kernel::operation::HeldOperation;
use kaon_kernel::port::{Ingress, Streams};
use kaon_kernel::resource::Resources;
use kaon_kernel::task::Task;
use tokio::sync::oneshot;

use super::{ANSWER_WITHIN, AgentEdge};
use crate::answer::{self, Answer};
use crate::codec::MediaType;
use crate::edge::HandError;
use crate::frame::{self, Weight};
use crate::server::Hangup;
use crate::stream::Subscriber;
use crate::view::together;

/// Streams of executors at once: as many as an agent has tasks.
const STREAMS_MAX: usize = 10_000;

/// How long metrics wait for what the actor holds.
const GLANCE_WITHIN: Duration = Duration::from_secs(1);

/// Answers of the actor awaited at once.
const ANSWERS_MAX: usize = 1_000;

/// All that an agent holds, as it was at one moment.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) info: Option<AgentInfo>,
    pub(super) frameworks: Vec<FrameworkInfo>,
    pub(super) executors: Vec<SeenExecutor>,
    pub(super) tasks: Vec<SeenTask>,
    pub(super) operations: Vec<HeldOperation>,
    pub(super) drain: Option<DrainConfig>,
    /// What has ended, the oldest first.
    pub(super) past_frameworks: Vec<FrameworkInfo>,
    pub(super) past_executors: Vec<PastExecutor>,
    pub(super) past_tasks: Vec<(FrameworkId, Task)>,
}

/// An executor that has ended.
#[derive(Debug)]
pub(super) struct PastExecutor {
    pub(super) executor: RunningExecutor,
    pub(super) container_id: ContainerId,
}

/// An executor with its container.
#[derive(Debug)]
pub(super) struct SeenExecutor {
    pub(super) running: RunningExecutor,
    pub(super) container_id: ContainerId,
    pub(super) pid: Option<u32>,
    pub(super) stage: ExecutorStage,
}

/// A task.
#[derive(Debug)]
pub(super) struct SeenTask {
    pub(super) framework_id: FrameworkId,
    pub(super) task: Task,
    pub(super) is_queued: bool,
}

/// Who waits on a stream of its own for what the actor says there.
pub(super) enum Waiting {
    /// For one answer.
    Answer(oneshot::Sender<AgentEvent>),
    /// For everything that there is to see.
    Look(Box<Seen>, oneshot::Sender<Result<Seen, CallRefusal>>),
}

/// What is asked for least often than it is wanted: who comes while it is asked for shares what comes.
pub(super) type Shared = tokio::sync::Mutex<Option<(Instant, Arc<Seen>)>>;

impl AgentEdge {
    /// Connects the edge with the actors. Only the first call counts.
    pub fn plug(&self, ingress: Arc<dyn Ingress>) {
        let _ = self.ingress.set(ingress);
    }

    /// Hands something to the agent.
    pub(super) fn tell(&self, message: ToAgent, weight: Weight) -> Result<(), HandError> {
        let ingress = self.ingress.get().ok_or(HandError::Unplugged)?;
        let sequence = self.last_sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let to = Address::only(self.config.host, ActorKind::Agent);
        let route = Route { to, from: Address::outside(self.config.host), sequence, term: Term(0) };
        let frame = frame::encode(route, &AgentMessage::Outside(message), weight)?;
        Ok(ingress.deliver(frame)?)
    }

    fn next_stream(&self) -> StreamId {
        StreamId(self.last_stream.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Opens a stream for an executor, and the wait for the answer to its subscription; `None` when there are too many.
    pub(super) fn open(
        &self,
        media: MediaType,
        hangup: Hangup,
    ) -> Option<(Arc<Subscriber>, oneshot::Receiver<Option<CallRefusal>>)> {
        if self.streams.len() >= STREAMS_MAX {
            return None;
        }
        let stream = self.next_stream();
        let total = Arc::clone(&self.queued_bytes);
        // No call of an executor names its stream, so it needs no name outside.
        let subscriber = Arc::new(Subscriber::new(stream, String::new(), media, hangup, total));
        let (told, first) = oneshot::channel();
        self.opening.insert(stream, told);
        self.streams.insert(stream, Arc::clone(&subscriber));
        Some((subscriber, first))
    }

    /// The connection of an executor is gone. `was_open` says that the agent does not know it yet.
    pub(super) fn on_reader_gone(&self, subscriber: &Subscriber, was_open: bool) {
        self.streams.remove(&subscriber.stream);
        self.opening.remove(&subscriber.stream);
        if was_open {
            self.tell_end(subscriber.stream);
        }
    }

    fn tell_end(&self, stream: StreamId) {
        if let Err(error) = self.tell(ToAgent::StreamClosed { stream }, Weight::Light) {
            tracing::warn!(stream = stream.0, %error, "the end of an executor's stream could not be told yet");
        }
    }

    /// Hands something to the agent and waits for its answer.
    pub(super) async fn asked(
        &self,
        message: impl FnOnce(StreamId) -> ToAgent,
        weight: Weight,
    ) -> Result<AgentEvent, Box<Answer>> {
        let (told, is_told) = oneshot::channel();
        self.wait(message, weight, Waiting::Answer(told), is_told).await
    }

    async fn wait<T>(
        &self,
        message: impl FnOnce(StreamId) -> ToAgent,
        weight: Weight,
        waiting: Waiting,
        is_told: oneshot::Receiver<T>,
    ) -> Result<T, Box<Answer>> {
        let unavailable = |reason| Box::new(answer::refusal(StatusCode::SERVICE_UNAVAILABLE, reason));
        if self.waiting.len() >= ANSWERS_MAX {
            return Err(unavailable("too many calls are under way; try again later"));
        }
        let reply = self.next_stream();
        self.waiting.insert(reply, waiting);
        // Whoever waits may lose its patience, and this future with it.
        let forget = Forget { edge: self, reply };
        self.tell(message(reply), weight).map_err(|error| Box::new(error.answer()))?;
        let answered = tokio::time::timeout(ANSWER_WITHIN, is_told).await;
        drop(forget);
        match answered {
            Ok(Ok(told)) => Ok(told),
            Ok(Err(_)) | Err(_) => Err(unavailable("the agent did not answer; try again later")),
        }
    }

    /// All that the agent holds, no older than this call.
    pub(super) async fn look(&self) -> Result<Arc<Seen>, Box<Answer>> {
        let begun = Instant::now();
        let mut shared = self.shared.lock().await;
        if let Some((_, seen)) = shared.as_ref().filter(|(asked, _)| *asked >= begun) {
            return Ok(Arc::clone(seen));
        }
        let asked = Instant::now();
        let (told, is_told) = oneshot::channel();
        let waiting = Waiting::Look(Box::default(), told);
        let seen = self.wait(|reply| ToAgent::Look { reply }, Weight::Light, waiting, is_told).await?;
        match seen {
            Ok(seen) => {
                let seen = Arc::new(seen);
                *shared = Some((asked, Arc::clone(&seen)));
                Ok(seen)
            }
            Err(refusal) => Err(Box::new(answer::refusal(StatusCode::SERVICE_UNAVAILABLE, refusal))),
        }
    }

    /// As [`AgentEdge::look`], for those who have something to say without it as well.
    pub(super) async fn glance(&self) -> Option<Arc<Seen>> {
        self.ingress.get()?;
        tokio::time::timeout(GLANCE_WITHIN, self.look()).await.ok()?.ok()
    }

    /// Whether there are actors behind it.
    pub(super) fn is_plugged(&self) -> bool {
        self.ingress.get().is_some()
    }

    /// The machine leaves for good: its master hears so, everything on it ends, and then the agent.
    pub fn leave(&self) {
        if let Err(error) = self.tell(ToAgent::Leave, Weight::Light) {
            tracing::error!(%error, "the agent could not be told to leave");
        }
    }

    /// The agent began afresh: nobody knows the streams of before.
    fn end_all(&self) {
        self.opening.clear();
        self.waiting.clear();
        let all: Vec<_> = self.streams.iter().map(|entry| Arc::clone(&entry)).collect();
        for subscriber in all {
            subscriber.close();
            self.streams.remove(&subscriber.stream);
        }
    }

    fn answer_waiting(&self, stream: StreamId, event: AgentEvent) {
        if let Some(mut entry) = self.waiting.get_mut(&stream)
            && let Waiting::Look(seen, _) = entry.value_mut()
            && !matches!(event, AgentEvent::End | AgentEvent::Refused(_))
        {
            return seen.add(event);
        }
        // Whoever waited may have lost its patience.
        match self.waiting.remove(&stream) {
            Some((_, Waiting::Answer(told))) => drop(told.send(event)),
            Some((_, Waiting::Look(seen, told))) => drop(told.send(match event {
                AgentEvent::Refused(refusal) => Err(refusal),
                _ => Ok(*seen),
            })),
            None => {}
        }
    }
}

/// Takes a wait back when it ends, however it does.
struct Forget<'a> {
    edge: &'a AgentEdge,
    reply: StreamId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.edge.waiting.remove(&self.reply);
    }
}

impl Seen {
    /// The tasks of an executor.
    pub(super) fn tasks_of(&self, running: &RunningExecutor) -> impl Iterator<Item = &SeenTask> {
        self.tasks.iter().filter(|task| {
            task.framework_id == running.framework_id && task.task.executor_id == running.info.executor_id
        })
    }

    /// Those of them that have not ended.
    pub(super) fn live_tasks_of(&self, running: &RunningExecutor) -> impl Iterator<Item = &SeenTask> {
        self.tasks_of(running).filter(|task| !task.task.state.is_terminal())
    }

    /// What an executor and its live tasks take of the machine.
    pub(super) fn taken_by(&self, running: &RunningExecutor) -> Resources {
        let live = self.live_tasks_of(running);
        together(live.map(|task| &task.task.info.resources).chain([&running.info.resources]))
    }

    fn add(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::Agent { info, drain } => {
                self.info = Some(*info);
                self.drain = drain;
            }
            AgentEvent::Framework { info } => self.frameworks.push(*info),
            AgentEvent::Executor { executor, container_id, pid, stage } => {
                self.executors.push(SeenExecutor { running: *executor, container_id, pid, stage });
            }
            AgentEvent::Operation { operation } => self.operations.push(*operation),
            AgentEvent::Task { framework_id, task, is_queued } => {
                self.tasks.push(SeenTask { framework_id, task: *task, is_queued });
            }
            AgentEvent::PastFramework { info } => self.past_frameworks.push(*info),
            AgentEvent::PastExecutor { executor, container_id } => {
                self.past_executors.push(PastExecutor { executor: *executor, container_id });
            }
            AgentEvent::PastTask { framework_id, task } => self.past_tasks.push((framework_id, *task)),
            _ => {}
        }
    }
}

impl Streams for AgentEdge {
    fn emit(&self, stream: StreamId, event: Frame) {
        let Some(body) = event.body::<AgentEvent>() else { return };
        if stream == StreamId::VIEW {
            if matches!(body, ArchivedAgentEvent::Began) {
                self.end_all();
            }
            return;
        }
        if self.waiting.contains_key(&stream) {
            return self.answer_waiting(stream, copy(body));
        }
        let Some(subscriber) = self.streams.get(&stream).map(|entry| Arc::clone(&entry)) else {
            // An answer that nobody waits for any more needs no word; the end of an executor's stream was not heard.
            if matches!(body, ArchivedAgentEvent::Told(_) | ArchivedAgentEvent::Heartbeat) {
                self.tell_end(stream);
            }
            return;
        };
        if let Some((_, first)) = self.opening.remove(&stream) {
            if let AgentEvent::Refused(refusal) = copy(body) {
                // The agent keeps nothing of it, so its end needs no word.
                subscriber.close();
                self.streams.remove(&stream);
                let _ = first.send(Some(refusal));
                return;
            }
            let _ = first.send(None);
        }
        if let Err(reason) = subscriber.push(event) {
            tracing::warn!(stream = stream.0, reason, "an executor was cut off");
            self.streams.remove(&stream);
            self.tell_end(stream);
        }
    }

    fn close(&self, stream: StreamId) {
        if let Some((_, subscriber)) = self.streams.remove(&stream) {
            subscriber.close();
        }
    }
}

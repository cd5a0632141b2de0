//! The operators' stream of events: SUBSCRIBE on a master's `/api/v1` (reference 7.3).
//!
//! The thread that folds the master's events into snapshots makes v1 events of them for whoever watches: encoded once for
//! each encoding, put into a bounded queue ([`crate::queue`]) for each reader. A watcher gets the state of the cluster first, and every change
//! after exactly that state: both are taken under the fold's lock. Who falls behind is cut off; who does not read costs
//! nobody else anything. Left to others: what changed ([`crate::view`]), how it looks (`operator`, `convert`).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame as Chunk};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::task::{Reason, TaskState, TaskStatus};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::answer::{self, Answer, Broken};
use crate::codec::{self, MediaType};
use crate::convert::{framework, status, task};
use crate::edge::MasterEdge;
use crate::queue::{Bounds, Queue};
use crate::server::{Hangup, Request};
use crate::v1::master as api;
use crate::v1::master::event::{self, Type};
use crate::v1::mesos as v1;
use crate::view::{Framework, Snapshot};
use crate::{operator, recordio};

/// Watchers at once; one more, and the oldest is dropped (Mesos: `--max_operator_event_stream_subscribers`).
pub(crate) const WATCHERS_MAX: usize = 1_000;

/// Bytes of events that may wait for one watcher.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Events that may wait for one watcher: as many as have room when they are of 64 bytes, and hardly one is.
const QUEUE_RECORDS_MAX: usize = QUEUE_BYTES_MAX / 64;

/// Between two heartbeats, whatever else is told (reference 1.5).
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The state of the cluster, then its changes, as an answer.
pub(crate) async fn subscribe(edge: Arc<MasterEdge>, request: &Request, media: MediaType) -> Answer {
    let watcher = Arc::new(Watcher::new(media, request.hangup()));
    let own = Arc::clone(&watcher);
    let begun = tokio::task::spawn_blocking(move || {
        let snapshot = edge.view.watch(&own);
        let state = operator::state(&snapshot);
        let subscribed = api::event::Subscribed {
            get_state: Some(state),
            heartbeat_interval_seconds: Some(HEARTBEAT.as_secs_f64()),
        };
        let first = record(own.media, Type::Subscribed, |event| event.subscribed = Some(subscribed));
        (edge, VecDeque::from([first, heartbeat(own.media)]))
    });
    let Ok((edge, first)) = begun.await else {
        return answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made");
    };
    let mut beat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut answer = Response::new(Watching { edge, watcher, first, beat }.boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media.name()));
    answer
}

fn record(media: MediaType, kind: Type, fill: impl FnOnce(&mut api::Event)) -> Bytes {
    let mut event = api::Event { r#type: Some(kind as i32), ..api::Event::default() };
    fill(&mut event);
    recordio::encode(&codec::encode(media, &event))
}

fn heartbeat(media: MediaType) -> Bytes {
    record(media, Type::Heartbeat, |_| {})
}

/// One reader of events.
#[derive(Debug)]
pub(crate) struct Watcher {
    media: MediaType,
    queue: Queue<Bytes>,
}

impl Watcher {
    fn new(media: MediaType, hangup: Hangup) -> Self {
        // Records are shared by all who watch, so what waits for several takes no more memory than for one.
        let bounds = Bounds { items_max: QUEUE_RECORDS_MAX, bytes_max: QUEUE_BYTES_MAX, together: None };
        Self { media, queue: Queue::new(bounds, hangup) }
    }

    fn push(&self, record: Bytes) {
        if let Err(reason) = self.queue.push(record, |_| {}) {
            tracing::warn!(reason, "an operator's stream of events was cut off");
        }
    }

    /// Ends the stream after what waits.
    pub(crate) fn close(&self) {
        self.queue.close();
    }
}

/// The body of a watcher's answer.
struct Watching {
    edge: Arc<MasterEdge>,
    watcher: Arc<Watcher>,
    first: VecDeque<Bytes>,
    beat: Interval,
}

impl Body for Watching {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk<Bytes>, Broken>>> {
        if let Some(record) = self.first.pop_front() {
            return Poll::Ready(Some(Ok(Chunk::data(record))));
        }
        match self.watcher.queue.poll(context) {
            Poll::Ready(next) => Poll::Ready(next.map(|record| record.map(Chunk::data).map_err(Broken::Cut))),
            Poll::Pending => {
                let media = self.watcher.media;
                self.beat.poll_tick(context).map(|_| Some(Ok(Chunk::data(heartbeat(media)))))
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.edge.view.unwatch(&self.watcher);
    }
}

/// Those who watch, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Watchers(VecDeque<Arc<Watcher>>);

impl Watchers {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, watcher: &Arc<Watcher>) {
        if self.0.len() >= WATCHERS_MAX
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.close();
        }
        self.0.push_back(Arc::clone(watcher));
    }

    pub(crate) fn remove(&mut self, watcher: &Arc<Watcher>) {
        self.0.retain(|one| !Arc::ptr_eq(one, watcher));
    }

    /// Tells them of a change of the master's, which `before` does not know yet. Cost: nothing when nobody watches.
    pub(crate) fn tell(&mut self, before: &Snapshot, change: &ViewEvent) {
        if self.0.is_empty() {
            return;
        }
        if matches!(change, ViewEvent::Reset { .. } | ViewEvent::Following) {
            // What follows is another master's word: whoever watches begins anew.
            self.0.drain(..).for_each(|watcher| watcher.close());
            return;
        }
        let Some(event) = told(before, change) else { return };
        for media in [MediaType::Json, MediaType::Protobuf] {
            let mut readers = self.0.iter().filter(|watcher| watcher.media == media).peekable();
            if readers.peek().is_some() {
                let record = recordio::encode(&codec::encode(media, &event));
                readers.for_each(|watcher| watcher.push(record.clone()));
            }
        }
    }
}

/// The event that a change is for an operator; most are none.
fn told(before: &Snapshot, change: &ViewEvent) -> Option<api::Event> {
    let mut out = api::Event::default();
    let kind = match change {
        ViewEvent::Agent(view) => {
            let id = view.info.id.clone()?;
            if !view.registered || before.agents.get(&id).is_some_and(|known| known.registered) {
                return None;
            }
            let mut only = Snapshot::default();
            only.agents.insert(id, view.clone());
            let agent = operator::agents(&only).agents.pop()?;
            out.agent_added = Some(event::AgentAdded { agent });
            Type::AgentAdded
        }
        ViewEvent::AgentRemoved { agent_id, .. } => {
            before.agents.get(agent_id)?;
            out.agent_removed = Some(event::AgentRemoved { agent_id: v1::AgentId { value: agent_id.to_string() } });
            Type::AgentRemoved
        }
        ViewEvent::Framework(view) => {
            let id = view.info.id.clone()?;
            let known = before.frameworks.get(&id);
            let is_same = |known: &Arc<Framework>| {
                known.view.info == view.info && known.view.reregistered_time == view.reregistered_time
            };
            if known.is_some_and(is_same) {
                return None;
            }
            let mut only = Snapshot::default();
            let mut shown = known.map_or_else(|| Framework::of(view.clone()), |known| Framework::clone(known));
            shown.view = view.clone();
            only.frameworks.insert(id, shown);
            let framework = operator::frameworks(&only).frameworks.pop()?;
            if known.is_some() {
                out.framework_updated = Some(event::FrameworkUpdated { framework });
                Type::FrameworkUpdated
            } else {
                out.framework_added = Some(event::FrameworkAdded { framework });
                Type::FrameworkAdded
            }
        }
        ViewEvent::FrameworkRemoved { framework_id, .. } => {
            let framework_info = framework::to_v1(&before.frameworks.get(framework_id)?.view.info);
            out.framework_removed = Some(event::FrameworkRemoved { framework_info });
            Type::FrameworkRemoved
        }
        ViewEvent::Task { framework_id, role, task: new } => {
            let known = before.frameworks.get(framework_id)?.tasks.get(&new.info.task_id);
            // One that was out of reach is back with its agent.
            if known.is_some_and(|held| held.task.state != TaskState::Unreachable) {
                return None;
            }
            let task = task::shown_to_v1(new, framework_id.as_str(), role.as_str());
            out.task_added = Some(event::TaskAdded { task });
            Type::TaskAdded
        }
        ViewEvent::TaskUpdated { framework_id, status: new, latest, .. } => {
            let held = before.frameworks.get(framework_id)?.tasks.get(&new.task_id)?;
            if !is_news(held.task.statuses.last(), new) {
                return None;
            }
            out.task_updated = Some(event::TaskUpdated {
                framework_id: v1::FrameworkId { value: framework_id.to_string() },
                status: status::to_v1(new),
                state: i32::from(*latest as u8),
            });
            Type::TaskUpdated
        }
        _ => return None,
    };
    out.r#type = Some(kind as i32);
    Some(out)
}

/// A repeated state is no news, unless a check has spoken.
fn is_news(last: Option<&TaskStatus>, new: &TaskStatus) -> bool {
    let is_check = matches!(new.reason, Some(Reason::TaskHealthCheckStatusUpdated | Reason::TaskCheckStatusUpdated));
    last.is_none_or(|last| last.state != new.state || is_check && last.uuid != new.uuid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Held;
    use kaon_kernel::actor::Term;
    use kaon_kernel::framework::FrameworkInfo;
    use kaon_kernel::id::{AgentId, ExecutorId, FrameworkId, MasterId, RoleName, TaskId};
    use kaon_kernel::message::view::FrameworkView;
    use kaon_kernel::task::{Task, TaskInfo};
    use kaon_kernel::time::WallTime;
    use std::task::Waker;

    fn watcher() -> Arc<Watcher> {
        Arc::new(Watcher::new(MediaType::Json, Hangup::default()))
    }

    fn next(watcher: &Watcher) -> Poll<Option<Result<Bytes, &'static str>>> {
        watcher.queue.poll(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_does_not_read_is_cut_off() {
        let watcher = watcher();
        let record = Bytes::from(vec![b'x'; QUEUE_BYTES_MAX / 4]);
        for _ in 0..4 {
            watcher.push(record.clone());
        }
        assert!(matches!(next(&watcher), Poll::Ready(Some(Ok(_)))));
        watcher.push(record.clone());
        watcher.push(record);
        assert!(matches!(next(&watcher), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn the_oldest_makes_room() {
        let (first, mut all) = (watcher(), Watchers::default());
        all.add(&first);
        for _ in 0..WATCHERS_MAX {
            all.add(&watcher());
        }
        assert_eq!(all.len(), WATCHERS_MAX);
        assert!(matches!(next(&first), Poll::Ready(None)));
    }

    #[test]
    fn a_task_that_comes_back_with_its_agent_is_added_again() {
        let info = FrameworkInfo { id: Some(FrameworkId::trusted("f")), ..FrameworkInfo::default() };
        let view = FrameworkView {
            info,
            connected: true,
            active: true,
            recovered: false,
            stream: None,
            proxy: None,
            registered_time: WallTime(0),
            reregistered_time: None,
        };
        let (task_id, role) = (TaskId::trusted("t"), RoleName::trusted("*"));
        let event = |state| {
            let info = TaskInfo::bare(task_id.clone(), AgentId::trusted("a"), role.clone());
            let executor_id = ExecutorId::trusted("t");
            let task = Task { info, executor_id, state, statuses: Vec::new(), unacknowledged: None };
            ViewEvent::Task { framework_id: FrameworkId::trusted("f"), role: role.clone(), task }
        };
        let mut before = Snapshot::default();
        before.frameworks.insert(FrameworkId::trusted("f"), Framework::of(view));
        let told = |before: &Snapshot| told(before, &event(TaskState::Running)).and_then(|event| event.task_added);
        assert!(told(&before).is_some(), "it is new");
        for (state, is_told) in [(TaskState::Running, false), (TaskState::Unreachable, true)] {
            let ViewEvent::Task { task, .. } = event(state) else { unreachable!("it was made above") };
            let framework = before.frameworks.get_mut(&FrameworkId::trusted("f")).expect("it was put in");
            framework.tasks.insert(task_id.clone(), Held { role: role.clone(), task });
            assert_eq!(told(&before).is_some(), is_told, "{state:?}");
        }
    }

    #[test]
    fn another_life_of_the_master_ends_every_stream() {
        let (one, mut all) = (watcher(), Watchers::default());
        all.add(&one);
        one.push(Bytes::from_static(b"before"));
        let reset = ViewEvent::Reset { master_id: MasterId::trusted("m"), term: Term(2), elected: WallTime(0) };
        all.tell(&Snapshot::default(), &reset);
        assert!(matches!(next(&one), Poll::Ready(Some(Ok(_)))), "what waited is told");
        assert!(matches!(next(&one), Poll::Ready(None)));
        assert_eq!(all.len(), 0);
    }
}

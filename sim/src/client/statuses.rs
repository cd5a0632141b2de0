//! Statuses: acknowledged at once, then judged. What the cluster lost is launched anew.

use super::task::{parse, task_id};
use super::{Client, ClientContext, Phase, Session, Timer};
use crate::check::state_of;
use crate::stage::Behaviour;
use kaon_kernel::id::{AgentId, TaskId, Uuid};
use kaon_kernel::message::scheduler::Call;
use kaon_kernel::task::{ArchivedSource, ArchivedTaskStatus, TaskState};
use kaon_kernel::time::{Duration, Instant};

/// How long a task may be silent beyond what is planned before the master is asked.
const PATIENCE: Duration = Duration::secs(60);
/// How long a task may be out of reach before it is given up for another.
const UNREACHABLE_PATIENCE: Duration = Duration::secs(180);
/// How many tasks one question names at most.
const ASKED_MAX: usize = 1000;

impl Client {
    pub(super) fn on_status(&mut self, status: &ArchivedTaskStatus, context: &mut ClientContext<'_>) {
        self.tally.statuses += 1;
        let agent = status.agent_id.as_ref().map(|agent| AgentId::trusted(agent.as_str()));
        if let (Some(uuid), Some(agent_id)) = (status.uuid.as_ref(), agent.clone()) {
            let task_id = TaskId::trusted(status.task_id.as_str());
            self.call(Call::Acknowledge { agent_id, task_id, uuid: Uuid(uuid.0) }, context);
        }
        let Some((number, attempt)) = parse(status.task_id.as_str()) else { return };
        let Some(job) = self.jobs.get_mut(number as usize) else { return };
        let state = state_of(status.state);
        if attempt != job.attempt || job.phase != Phase::Launched {
            // A launch that was given up is back: it must not run beside its successor.
            let alive = !state.is_terminal() && !matches!(state, TaskState::Unreachable | TaskState::Unknown);
            if alive {
                self.call(Call::Kill { task_id: task_id(number, attempt), agent_id: agent, grace: None }, context);
            }
            return;
        }
        if let Some(courses) = self.courses.as_mut()
            && let Some(course) = courses.iter_mut().rev().find(|course| course.task.1 == number)
        {
            let source = match status.source {
                ArchivedSource::Master => "SOURCE_MASTER",
                ArchivedSource::Agent => "SOURCE_AGENT",
                ArchivedSource::Executor => "SOURCE_EXECUTOR",
            };
            let at = context.now().0 as f64 / 1e9;
            course.statuses.push((state.name().to_owned(), source.to_owned(), at));
        }
        if state != job.state {
            job.heard = context.now();
        }
        job.state = state;
        match state {
            TaskState::Staging | TaskState::Starting | TaskState::Killing | TaskState::Unreachable => {}
            TaskState::Running => {
                if job.started == Instant(0) {
                    job.started = context.now();
                }
                if let Some(after) = job.plan.killed_after.filter(|_| !job.killing) {
                    context.arm(Timer::Kill(number), after);
                }
            }
            TaskState::Finished | TaskState::Error => self.end(number, state, context),
            TaskState::Failed => {
                let own = job.plan.code != 0 && matches!(status.source, ArchivedSource::Executor);
                let again = match self.config.behaviour {
                    Behaviour::CrashLooper { attempts } => job.attempt + 1 < attempts,
                    _ => false,
                };
                if own && !again { self.end(number, state, context) } else { self.relaunch(number, context) }
            }
            TaskState::Killed => {
                if job.killing && !job.restarting {
                    self.end(number, state, context)
                } else {
                    self.relaunch(number, context)
                }
            }
            TaskState::Lost | TaskState::Dropped | TaskState::Gone | TaskState::GoneByOperator | TaskState::Unknown => {
                self.relaunch(number, context)
            }
        }
    }

    fn end(&mut self, number: u32, state: TaskState, context: &mut ClientContext<'_>) {
        let job = &mut self.jobs[number as usize];
        job.phase = Phase::Ended;
        job.ended = context.now();
        job.agent = None;
        self.open -= 1;
        self.tally.ended[state as usize] += 1;
        context.disarm(Timer::Kill(number));
        self.leave_when_done(context);
    }

    fn relaunch(&mut self, number: u32, context: &mut ClientContext<'_>) {
        let job = &mut self.jobs[number as usize];
        job.phase = Phase::Waiting;
        job.attempt += 1;
        job.agent = None;
        context.disarm(Timer::Kill(number));
        self.queue.push_back(number);
        self.member_lost(number, context);
        self.ask_for_offers(context);
    }

    pub(super) fn kill(&mut self, number: u32, context: &mut ClientContext<'_>) {
        let job = &mut self.jobs[number as usize];
        if job.phase == Phase::Launched {
            job.killing = true;
            let (task_id, agent_id) = (task_id(number, job.attempt), job.agent.clone());
            self.call(Call::Kill { task_id, agent_id, grace: None }, context);
        }
    }

    /// Asks about all tasks that are in the cluster's hands: it was away and may have missed something.
    pub(super) fn ask_about_all(&mut self, context: &mut ClientContext<'_>) {
        self.ask(|_, _| true, context);
    }

    /// Asks about tasks that are silent, gives up those that are out of reach for long, repeats kills.
    pub(super) fn review(&mut self, context: &mut ClientContext<'_>) {
        if !matches!(self.session, Session::In(..)) {
            return;
        }
        let now = context.now();
        for number in 0..self.jobs.len() as u32 {
            let job = &self.jobs[number as usize];
            if job.phase != Phase::Launched {
                continue;
            }
            let silent = now.since(job.heard);
            if job.state == TaskState::Unreachable && silent >= UNREACHABLE_PATIENCE {
                self.relaunch(number, context);
            } else if job.killing && silent >= PATIENCE {
                self.kill(number, context);
            }
        }
        self.ask(|silent, planned| silent >= PATIENCE + planned, context);
    }

    fn ask(&mut self, wanted: impl Fn(Duration, Duration) -> bool, context: &mut ClientContext<'_>) {
        let now = context.now();
        let mut tasks = Vec::new();
        for (number, job) in self.jobs.iter().enumerate() {
            let planned = if job.state == TaskState::Running { job.plan.length } else { Duration::ZERO };
            if job.phase == Phase::Launched && wanted(now.since(job.heard), planned) {
                tasks.push((task_id(number as u32, job.attempt), job.agent.clone()));
            }
        }
        for tasks in tasks.chunks(ASKED_MAX) {
            self.call(Call::Reconcile { tasks: tasks.to_vec() }, context);
        }
    }
}

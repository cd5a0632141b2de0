//! `/state` of an agent: what runs here, and in which directories (reference 2). Log viewers read the paths off it that they
//! give to `/files`.

use std::time::UNIX_EPOCH;

use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{ContainerId, FrameworkId};
use kaon_kernel::message::agent_master::RunningExecutor;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{ExecutorKind, Task};
use serde_json::{Map, Value, json};

use super::AgentEdge;
use super::actors::{PastExecutor, Seen, SeenExecutor, SeenTask};
use crate::convert::maintenance;
use crate::polled::json::{self as words, v1_json};
use crate::polled::task::TaskWords;
use crate::version;
use crate::view::{Held, together};

impl AgentEdge {
    /// What the machine is, and what is on it.
    pub(super) fn state(&self, seen: Option<&Seen>) -> Value {
        let nothing = Seen::default();
        let seen = seen.unwrap_or(&nothing);
        let mut info = seen.info.clone().unwrap_or_else(|| self.config.info.clone());
        if info.id.is_none() {
            info.id = self.files.newest_agent();
        }
        let total = &info.resources;
        let mut out = words::agent_words(&info, total);
        if let Value::Object(version) = version::body() {
            out.extend(version);
        }
        let start = self.started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        out.insert("start_time".into(), start.into());
        out.insert("flags".into(), json!(self.config.flags));
        if let Some(log) = &self.config.log {
            out.insert("external_log_file".into(), log.display().to_string().into());
        }
        let used = together(seen.used());
        out.insert("reserved_resources_full".into(), words::reserved_full(total));
        let free = |bag: &Resources| words::full(bag.iter().filter(|entry| entry.reservation_role().is_none()));
        out.insert("unreserved_resources_full".into(), free(total));
        out.insert("reserved_resources_allocated".into(), words::reserved(&used));
        out.insert("unreserved_resources_allocated".into(), words::unreserved(&used));
        if let Some(drain) = seen.drain {
            out.insert("drain_config".into(), v1_json(&maintenance::drain_config_to_v1(drain)));
        }
        let agent = info.id.as_ref().map_or("", |id| id.as_str());
        let place = Place { work_dir: self.config.work_dir.display().to_string(), agent, seen };
        let shown = |all: &[FrameworkInfo]| all.iter().filter_map(|info| place.framework(info)).collect::<Value>();
        out.insert("frameworks".into(), shown(&seen.frameworks));
        out.insert("completed_frameworks".into(), shown(&seen.past_frameworks));
        out.insert("resource_providers".into(), json!([]));
        out.into()
    }
}

/// What is here, and where it lies.
struct Place<'a> {
    work_dir: String,
    agent: &'a str,
    seen: &'a Seen,
}

impl Place<'_> {
    fn framework(&self, info: &FrameworkInfo) -> Option<Value> {
        let id = info.id.as_ref()?;
        let mut out = words::framework_info_words(info);
        let live = self.seen.executors.iter().filter(|one| one.running.framework_id == *id);
        out.insert("executors".into(), live.map(|one| self.executor(one)).collect());
        let past = self.seen.past_executors.iter().filter(|one| one.executor.framework_id == *id);
        out.insert("completed_executors".into(), past.map(|one| self.past_executor(one)).collect());
        Some(Value::Object(out))
    }

    fn executor(&self, one: &SeenExecutor) -> Value {
        let running = &one.running;
        let tasks = |wanted: fn(&SeenTask) -> bool| {
            let tasks = self.seen.tasks_of(running).filter(move |task| wanted(task));
            tasks.map(|one| task(&one.framework_id, &one.task))
        };
        let mut out = self.executor_words(running, &one.container_id, &self.seen.taken_by(running));
        let queued = tasks(|task| task.is_queued && !task.task.state.is_terminal());
        out.insert("queued_tasks".into(), queued.collect());
        out.insert("tasks".into(), tasks(|task| !task.is_queued && !task.task.state.is_terminal()).collect());
        let ended = tasks(|task| task.task.state.is_terminal());
        out.insert("completed_tasks".into(), self.past_tasks(running).chain(ended).collect());
        Value::Object(out)
    }

    fn past_executor(&self, one: &PastExecutor) -> Value {
        let mut out = self.executor_words(&one.executor, &one.container_id, &one.executor.info.resources);
        let is_alike = |other: &RunningExecutor| {
            (&other.framework_id, &other.info.executor_id)
                == (&one.executor.framework_id, &one.executor.info.executor_id)
        };
        // The tasks of a name are shown with who had it last.
        let later = self.seen.past_executors.iter().rev().take_while(|other| other.container_id != one.container_id);
        let is_last = !later.map(|other| &other.executor).any(is_alike)
            && !self.seen.executors.iter().any(|other| is_alike(&other.running));
        let tasks = self.past_tasks(&one.executor).filter(|_| is_last);
        out.insert("queued_tasks".into(), json!([]));
        out.insert("tasks".into(), json!([]));
        out.insert("completed_tasks".into(), tasks.collect());
        Value::Object(out)
    }

    /// The tasks of an executor whose ends are acknowledged.
    fn past_tasks(&self, executor: &RunningExecutor) -> impl Iterator<Item = Value> {
        let own = |(framework, task): &&(FrameworkId, Task)| {
            *framework == executor.framework_id && task.executor_id == executor.info.executor_id
        };
        self.seen.past_tasks.iter().filter(own).map(|(framework, one)| task(framework, one))
    }

    fn executor_words(
        &self,
        running: &RunningExecutor,
        container: &ContainerId,
        resources: &Resources,
    ) -> Map<String, Value> {
        let RunningExecutor { framework_id: framework, info, role } = running;
        let (executor, agent, work_dir) = (&info.executor_id, self.agent, &self.work_dir);
        let mut out = Map::new();
        out.insert("id".into(), executor.as_str().into());
        out.insert("name".into(), info.name.clone().into());
        out.insert("source".into(), executor.as_str().into());
        out.insert("container".into(), container.as_str().into());
        let run = format!("{work_dir}/slaves/{agent}/frameworks/{framework}/executors/{executor}/runs/{container}");
        out.insert("directory".into(), run.into());
        out.insert("resources".into(), words::resources(resources));
        out.insert("role".into(), role.as_str().into());
        if !info.labels.is_empty() {
            out.insert("labels".into(), words::labels(&info.labels));
        }
        match info.kind {
            ExecutorKind::Default => drop(out.insert("type".into(), "DEFAULT".into())),
            ExecutorKind::Custom => drop(out.insert("type".into(), "CUSTOM".into())),
            ExecutorKind::Command => {}
        }
        out
    }
}

fn task(framework: &FrameworkId, task: &Task) -> Value {
    let held = Held { role: task.info.role.clone(), task: task.clone() };
    words::value(&TaskWords { framework, held: &held })
}

//! `/state` of an agent: what runs here, and in which directories (reference 2). Log viewers read the paths off it that they
//! give to `/files`.

use std::time::UNIX_EPOCH;

use kaon_kernel::id::FrameworkId;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::ExecutorKind;
use serde_json::{Map, Value, json};

use super::AgentEdge;
use super::actors::{Seen, SeenExecutor, SeenTask};
use crate::convert::maintenance;
use crate::polled::json::{self as words, v1_json};
use crate::polled::task::TaskWords;
use crate::version;
use crate::view::Held;

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
        let mut used = Resources::new();
        seen.used().for_each(|more| crate::view::add(&mut used, more));
        out.insert("reserved_resources_full".into(), words::reserved_full(total));
        let free = |bag: &Resources| words::full(bag.iter().filter(|entry| entry.reservation_role().is_none()));
        out.insert("unreserved_resources_full".into(), free(total));
        out.insert("reserved_resources_allocated".into(), words::reserved(&used));
        out.insert("unreserved_resources_allocated".into(), words::unreserved(&used));
        if let Some(drain) = seen.drain {
            out.insert("drain_config".into(), v1_json(&maintenance::drain_config_to_v1(drain)));
        }
        let agent = info.id.as_ref().map_or("", |id| id.as_str());
        let frameworks = seen.frameworks.iter().filter_map(|framework| {
            let id = framework.id.as_ref()?;
            let mut out = words::framework_info_words(framework);
            let executors = seen.executors.iter().filter(|one| one.running.framework_id == *id);
            let executors =
                executors.map(|one| executor(&self.config.work_dir.display().to_string(), agent, one, seen));
            out.insert("executors".into(), executors.collect());
            out.insert("completed_executors".into(), json!([]));
            Some(Value::Object(out))
        });
        out.insert("frameworks".into(), frameworks.collect());
        out.insert("completed_frameworks".into(), json!([]));
        out.insert("resource_providers".into(), json!([]));
        out.into()
    }
}

fn executor(work_dir: &str, agent: &str, one: &SeenExecutor, seen: &Seen) -> Value {
    let (running, info) = (&one.running, &one.running.info);
    let (framework, executor, container) = (&running.framework_id, &info.executor_id, &one.container_id);
    let own = |task: &&SeenTask| task.framework_id == *framework && task.task.executor_id == *executor;
    let tasks = |wanted: fn(&SeenTask) -> bool| -> Value {
        let tasks = seen.tasks.iter().filter(own).filter(|task| wanted(task));
        tasks.map(|one| task(framework, one)).collect()
    };
    let mut all = info.resources.clone();
    let live = seen.tasks.iter().filter(own).filter(|task| !task.task.state.is_terminal());
    live.for_each(|task| crate::view::add(&mut all, &task.task.info.resources));
    let mut out = Map::new();
    out.insert("id".into(), executor.as_str().into());
    out.insert("name".into(), info.name.clone().into());
    out.insert("source".into(), executor.as_str().into());
    out.insert("container".into(), container.as_str().into());
    let directory = format!("{work_dir}/slaves/{agent}/frameworks/{framework}/executors/{executor}/runs/{container}");
    out.insert("directory".into(), directory.into());
    out.insert("resources".into(), words::resources(&all));
    out.insert("role".into(), running.role.as_str().into());
    if !info.labels.is_empty() {
        out.insert("labels".into(), words::labels(&info.labels));
    }
    match info.kind {
        ExecutorKind::Default => drop(out.insert("type".into(), "DEFAULT".into())),
        ExecutorKind::Custom => drop(out.insert("type".into(), "CUSTOM".into())),
        ExecutorKind::Command => {}
    }
    out.insert("queued_tasks".into(), tasks(|task| task.is_queued && !task.task.state.is_terminal()));
    out.insert("tasks".into(), tasks(|task| !task.is_queued && !task.task.state.is_terminal()));
    out.insert("completed_tasks".into(), tasks(|task| task.task.state.is_terminal()));
    Value::Object(out)
}

fn task(framework: &FrameworkId, seen: &SeenTask) -> Value {
    let held = Held { role: seen.task.info.role.clone(), task: seen.task.clone() };
    words::value(&TaskWords { framework, held: &held })
}

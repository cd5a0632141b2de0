//! The containers of a machine, as GET_CONTAINERS, `/containers` and `/monitor/statistics` show them (reference 2, 7.2): those of
//! executors, with whose they are; on request those within them (members of pods, and what calls asked for) and those
//! that stand by themselves.

use std::collections::BTreeMap;

use kaon_kernel::container_info::Limit;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::statistics::Statistics;
use kaon_kernel::task::{
    COMMAND_EXECUTOR_CPUS, COMMAND_EXECUTOR_MEM, ContainerStatus, ExecutorInfo, ExecutorKind, TaskInfo,
};
use serde_json::{Map, Value};

use super::actors::{Seen, SeenExecutor};
use super::statistics::statistics;
use super::{AgentEdge, nested};
use crate::convert::status;
use crate::path;
use crate::polled::json::v1_json;
use crate::v1::agent::response;
use crate::v1::mesos as v1;

/// What is asked for.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    pub(super) nested: bool,
    pub(super) standalone: bool,
    pub(super) container: Option<&'a str>,
    pub(super) framework: Option<&'a str>,
    pub(super) executor: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// What a query of `/containers` asks for.
    ///
    /// # Errors
    /// When its parameters do not go together, in Mesos's words.
    pub(super) fn of(query: &'a [(String, String)]) -> Result<Self, &'static str> {
        let value = |name| path::value(query, name);
        let (container, framework, executor) = (value("container_id"), value("framework_id"), value("executor_id"));
        let is_clear = match container {
            Some(_) => framework.is_none() && executor.is_none(),
            None => executor.is_none() || framework.is_some(),
        };
        if !is_clear {
            return Err("Supported query parameters are container_id only, framework_id only, or executor_id and \
                framework_id only");
        }
        let is_set = |name| value(name) == Some("true");
        Ok(Self {
            nested: is_set("show_nested"),
            standalone: is_set("show_standalone"),
            container,
            framework,
            executor,
        })
    }

    fn takes(&self, container: &str, executor: Option<&SeenExecutor>) -> bool {
        let framework = executor.map(|one| one.running.framework_id.as_str());
        let named = executor.map(|one| one.running.info.executor_id.as_str());
        let alike = |wanted: Option<&str>, found: Option<&str>| wanted.is_none_or(|wanted| found == Some(wanted));
        self.container.is_none_or(|wanted| wanted == container)
            && (executor.is_none() || (alike(self.framework, framework) && alike(self.executor, named)))
    }
}

/// One container.
pub(super) struct Shown<'a> {
    /// Whose executor it is, if it is one's.
    executor: Option<&'a SeenExecutor>,
    container_id: v1::ContainerId,
    status: v1::ContainerStatus,
    statistics: Option<v1::ResourceStatistics>,
}

/// The containers that are asked for. Reads figures of the machine: may block.
pub(super) fn shown<'a>(edge: &AgentEdge, seen: &'a Seen, wanted: &Wanted<'_>) -> Vec<Shown<'a>> {
    let figures = (edge.config.containers)();
    let figures: BTreeMap<&str, _> = figures.iter().map(|one| (one.container_id.as_str(), &one.figures)).collect();
    let used = |container: &str| figures.get(container).map(|figures| statistics(figures));
    let executors = seen.executors.iter().filter(|one| wanted.takes(one.container_id.as_str(), Some(one)));
    let executors: Vec<&SeenExecutor> = executors.collect();
    let is_executor = |name: &str| executors.iter().any(|one| one.container_id.as_str() == name);
    let mut all: Vec<Shown<'_>> = Vec::new();
    for one in &executors {
        let told = ContainerStatus {
            container_id: one.container_id.clone(),
            parent: None,
            executor_pid: one.pid,
            ip_addresses: vec![edge.config.info.ip.clone()],
        };
        let container_id = v1::ContainerId { value: one.container_id.to_string(), parent: None };
        let status = status::container_to_v1(&told);
        let statistics = figures.get(one.container_id.as_str()).map(|figures| {
            let tasks = seen.live_tasks_of(&one.running).map(|task| &task.task.info);
            statistics(&booked(figures, &own(&one.running.info), tasks))
        });
        all.push(Shown { executor: Some(one), container_id, status, statistics });
    }
    let mut add = |container_id: v1::ContainerId, status: v1::ContainerStatus, flat: &str| {
        all.push(Shown { executor: None, container_id, status, statistics: used(flat) });
    };
    // Members of pods are their executors' own: what is known of them is what these tell in statuses.
    let live = seen.tasks.iter().filter(|one| wanted.nested && !one.task.state.is_terminal());
    for told in live.filter_map(|one| one.task.statuses.iter().rev().find_map(|status| status.container.as_ref())) {
        let Some(parent) = told.parent.as_deref() else { continue };
        if is_executor(parent.as_str()) && wanted.takes(told.container_id.as_str(), None) {
            let status = status::container_to_v1(told);
            let flat = format!("{parent}.{}", told.container_id);
            add(status.container_id.clone().unwrap_or_default(), status, &flat);
        }
    }
    for container in edge.config.calls.iter().flat_map(|calls| calls.nested()) {
        let root = container.as_str().split('.').next().unwrap_or_default();
        let is_nested = root != container.as_str();
        let is_asked = if is_nested { wanted.nested } else { wanted.standalone };
        let is_own = !seen.executors.iter().any(|one| one.container_id.as_str() == root) || is_executor(root);
        if is_asked && is_own && wanted.takes(container.own_name(), None) {
            let container_id = nested::name_to_v1(&container);
            let status =
                v1::ContainerStatus { container_id: Some(container_id.clone()), ..v1::ContainerStatus::default() };
            add(container_id, status, container.as_str());
        }
    }
    all
}

/// What an executor takes beside its tasks. One that was made up for a command shows nothing of its own.
fn own(executor: &ExecutorInfo) -> Resources {
    match executor.kind {
        ExecutorKind::Command => Resources::cpus_and_mem(COMMAND_EXECUTOR_CPUS, COMMAND_EXECUTOR_MEM),
        _ => executor.resources.clone(),
    }
}

/// The figures of a container with what its executor and their tasks may use by the agent's books, as Mesos: whatever isolators there
/// are. The kernel's groups know it less exactly: weights are coarse, and no limit of memory is lowered while something runs.
fn booked<'a>(figures: &Statistics, executor: &Resources, tasks: impl Iterator<Item = &'a TaskInfo>) -> Statistics {
    let (mut cpus, mut mem) = (Share::of(executor, "cpus"), Share::of(executor, "mem"));
    for task in tasks {
        let limits = task.limits.as_deref().copied().unwrap_or_default();
        cpus.add(Share::of(&task.resources, "cpus"), limits.cpus);
        mem.add(Share::of(&task.resources, "mem"), limits.mem);
    }
    // Of thousandths of a MiB.
    let bytes = |mem: u64| mem.saturating_mul(1 << 20) / 1000;
    Statistics {
        cpus_limit_millis: cpus.most(),
        cpus_request_millis: cpus.least(),
        memory_limit_bytes: mem.most().map(bytes),
        memory_request_bytes: mem.least().map(bytes),
        ..figures.clone()
    }
}

/// What a container has of one resource for sure, and how far it may go.
struct Share {
    request: Quantity,
    limit: Limit,
}

impl Share {
    /// Of resources without limits of their own.
    fn of(resources: &Resources, name: &str) -> Self {
        let request = resources.scalar(&ResourceName::of(name));
        Self { request, limit: Limit::Amount(request) }
    }

    /// Adds a task's, whose limit is `limit`.
    fn add(&mut self, task: Self, limit: Option<Limit>) {
        self.request = Quantity(self.request.0.saturating_add(task.request.0));
        self.limit = match limit.unwrap_or(task.limit) {
            Limit::Amount(more) => self.limit.plus(more),
            Limit::Unlimited => Limit::Unlimited,
        };
    }

    /// Thousandths, if there are any.
    fn least(&self) -> Option<u64> {
        Some(self.request.0).filter(|&thousandths| thousandths > 0)
    }

    /// Thousandths, if there are any and not all of the machine's.
    fn most(&self) -> Option<u64> {
        match self.limit {
            Limit::Amount(amount) => Some(amount.0).filter(|&thousandths| thousandths > 0),
            Limit::Unlimited => None,
        }
    }
}

/// As GET_CONTAINERS answers.
pub(super) fn to_v1(all: Vec<Shown<'_>>) -> response::GetContainers {
    let containers = all.into_iter().map(|one| {
        let executor = one.executor.map(|one| &one.running);
        response::get_containers::Container {
            framework_id: executor.map(|one| v1::FrameworkId { value: one.framework_id.to_string() }),
            executor_id: executor.map(|one| v1::ExecutorId { value: one.info.executor_id.to_string() }),
            executor_name: executor.map(|one| one.info.name.clone()),
            container_id: one.container_id,
            container_status: Some(one.status),
            resource_statistics: one.statistics,
        }
    });
    response::GetContainers { containers: containers.collect() }
}

/// As the old endpoints answer; `with_containers` says whether with the containers' own names.
pub(super) fn to_json(all: Vec<Shown<'_>>, with_containers: bool) -> Value {
    let entries = all.into_iter().map(|one| {
        let mut entry = Map::new();
        if let Some(SeenExecutor { running, .. }) = one.executor {
            entry.insert("framework_id".into(), running.framework_id.as_str().into());
            entry.insert("executor_id".into(), running.info.executor_id.as_str().into());
            entry.insert("executor_name".into(), running.info.name.clone().into());
            entry.insert("source".into(), running.info.executor_id.as_str().into());
        }
        if with_containers {
            entry.insert("container_id".into(), one.container_id.value.into());
            entry.insert("status".into(), v1_json(&one.status));
        }
        if let Some(statistics) = &one.statistics {
            entry.insert("statistics".into(), v1_json(statistics));
        }
        Value::Object(entry)
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaon_kernel::container_info::Limits;
    use kaon_kernel::id::{AgentId, RoleName, TaskId};
    use kaon_kernel::resource::parse;

    /// What the groups of a container say that has 0.3 processors, and had 260 MiB once.
    fn read() -> Statistics {
        Statistics {
            cpus_request_millis: Some(299),
            memory_request_bytes: Some(160 << 20),
            memory_limit_bytes: Some(260 << 20),
            memory_bytes: Some(7),
            ..Statistics::default()
        }
    }

    fn task(text: &str, limits: Limits) -> TaskInfo {
        let resources = parse::resources(text).unwrap();
        let bare = TaskInfo::bare(TaskId::trusted("t"), AgentId::trusted("a"), RoleName::trusted("r"));
        TaskInfo { resources, limits: (!limits.is_empty()).then(|| Box::new(limits)), ..bare }
    }

    fn told(tasks: &[TaskInfo]) -> v1::ResourceStatistics {
        statistics(&booked(&read(), &parse::resources("cpus:0.1;mem:32").unwrap(), tasks.iter()))
    }

    #[test]
    fn a_container_has_what_it_took_of_the_offer() {
        let figures = told(&[task("cpus:0.2;mem:64", Limits::default())]);
        assert_eq!((figures.cpus_limit, figures.cpus_soft_limit), (Some(0.3), Some(0.3)));
        assert_eq!((figures.mem_limit_bytes, figures.mem_soft_limit_bytes), (Some(96 << 20), Some(96 << 20)));
        assert_eq!(figures.mem_total_bytes, Some(7), "what is counted stays");
        assert_eq!(told(&[]).mem_limit_bytes, Some(32 << 20), "a pod whose members have ended");
    }

    #[test]
    fn a_container_that_may_go_beyond_has_its_limits() {
        let limit = |amount| Some(Limit::Amount(Quantity::units(amount)));
        let beyond = task("cpus:1;mem:64", Limits { cpus: limit(2), mem: limit(128) });
        let figures = told(&[beyond, task("cpus:0.5;mem:16", Limits::default())]);
        assert_eq!((figures.cpus_limit, figures.cpus_soft_limit), (Some(2.6), Some(1.6)));
        assert_eq!((figures.mem_limit_bytes, figures.mem_soft_limit_bytes), (Some(176 << 20), Some(112 << 20)));
        let free = Limits { cpus: Some(Limit::Unlimited), mem: Some(Limit::Unlimited) };
        let figures = told(&[task("cpus:1;mem:64", free)]);
        assert_eq!((figures.cpus_limit, figures.mem_limit_bytes), (Some(1.1), None));
    }
}

//! The containers of a machine, as GET_CONTAINERS, `/containers` and `/monitor/statistics` show them (reference 2, 7.2): those of
//! executors, with whose they are; on request those within them (members of pods, and what calls asked for) and those
//! that stand by themselves.

use std::collections::BTreeMap;

use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::task::ContainerStatus;
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
        let statistics = used(one.container_id.as_str()).map(|figures| booked(figures, &seen.taken_by(&one.running)));
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

/// Adds what a container took of the offer, where no isolator knows more: as Mesos, whatever isolators there are.
fn booked(mut figures: v1::ResourceStatistics, taken: &Resources) -> v1::ResourceStatistics {
    let amount = |name: &str| Some(taken.scalar(&ResourceName::of(name)).0).filter(|&thousandths| thousandths > 0);
    if figures.cpus_limit.is_none() {
        figures.cpus_limit = amount("cpus").map(|thousandths| thousandths as f64 / 1e3);
    }
    // In MiB.
    if figures.mem_limit_bytes.is_none() && figures.mem_soft_limit_bytes.is_none() {
        figures.mem_limit_bytes = amount("mem").map(|thousandths| thousandths.saturating_mul(1 << 20) / 1000);
    }
    figures
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

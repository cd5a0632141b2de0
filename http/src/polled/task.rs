//! Tasks and frameworks in the words of the old endpoints, written as they are gone through: a cluster has a hundred
//! thousand tasks, and nobody needs them all as values first.

use kaon_kernel::framework::Label;
use kaon_kernel::id::FrameworkId;
use kaon_kernel::task::{ContainerStatus, TaskStatus};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::amounts::{Amounts, Each};
use super::json::{self, v1_json};
use crate::convert::{status as convert_status, task as convert_task};
use crate::view::{Framework, Held, Snapshot};

/// A task.
pub(crate) struct TaskWords<'a> {
    pub(crate) framework: &'a FrameworkId,
    pub(crate) held: &'a Held,
}

impl Serialize for TaskWords<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (task, info) = (&self.held.task, &self.held.task.info);
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("id", info.task_id.as_str())?;
        out.serialize_entry("name", &info.name)?;
        out.serialize_entry("framework_id", self.framework.as_str())?;
        out.serialize_entry("executor_id", info.executor.as_ref().map_or("", |_| task.executor_id.as_str()))?;
        out.serialize_entry("slave_id", info.agent_id.as_str())?;
        out.serialize_entry("state", task.state.name())?;
        out.serialize_entry("resources", &Amounts::of(&info.resources))?;
        out.serialize_entry("role", self.held.role.as_str())?;
        out.serialize_entry("statuses", &Each(|| task.statuses.iter().map(StatusWords)))?;
        if let Some(user) = convert_task::user(info) {
            out.serialize_entry("user", user)?;
        }
        if !info.labels.is_empty() {
            out.serialize_entry("labels", &json::labels(&info.labels))?;
        }
        // What the kernel has no words for is kept as it came; most tasks have nothing of the kind.
        if !info.rest.is_empty() {
            let shown = convert_task::shown_to_v1(task, self.framework.as_str(), self.held.role.as_str());
            if let Some(discovery) = &shown.discovery {
                out.serialize_entry("discovery", &v1_json(discovery))?;
            }
            if let Some(container) = &shown.container {
                out.serialize_entry("container", &v1_json(container))?;
            }
            if let Some(health_check) = &shown.health_check {
                out.serialize_entry("health_check", &v1_json(health_check))?;
            }
            if !shown.limits.is_empty() {
                let limits = shown.limits.iter().map(|entry| (entry.key.as_str(), entry.value.value));
                let limits: std::collections::BTreeMap<&str, f64> = limits.collect();
                out.serialize_entry("limits", &limits)?;
            }
        }
        out.end()
    }
}

/// A status of a task.
struct StatusWords<'a>(&'a TaskStatus);

impl Serialize for StatusWords<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let status = self.0;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("state", status.state.name())?;
        out.serialize_entry("timestamp", &status.timestamp.as_seconds())?;
        if !status.labels.is_empty() {
            let labels: &[Label] = &status.labels;
            out.serialize_entry("labels", &json::labels(labels))?;
        }
        match &status.container {
            Some(container) if status.rest.is_empty() => {
                out.serialize_entry("container_status", &ContainerWords(container))?;
            }
            _ if status.rest.is_empty() => {}
            _ => {
                if let Some(container) = &convert_status::to_v1(status).container_status {
                    out.serialize_entry("container_status", &v1_json(container))?;
                }
            }
        }
        if let Some(healthy) = status.healthy {
            out.serialize_entry("healthy", &healthy)?;
        }
        if status.check.is_some()
            && let Some(check) = &convert_status::to_v1(status).check_status
        {
            out.serialize_entry("check_status", &v1_json(check))?;
        }
        out.end()
    }
}

/// Where a task runs, as `ContainerStatus` of the v1 API is written.
struct ContainerWords<'a>(&'a ContainerStatus);

impl Serialize for ContainerWords<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let container = self.0;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("container_id", &IdWords(container))?;
        if !container.ip_addresses.is_empty() {
            out.serialize_entry("network_infos", &[NetworkWords(container)])?;
        }
        if let Some(pid) = container.executor_pid {
            out.serialize_entry("executor_pid", &pid)?;
        }
        out.end()
    }
}

struct IdWords<'a>(&'a ContainerStatus);

impl Serialize for IdWords<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("value", self.0.container_id.as_str())?;
        if let Some(parent) = &self.0.parent {
            out.serialize_entry("parent", &std::collections::BTreeMap::from([("value", parent.as_str())]))?;
        }
        out.end()
    }
}

struct NetworkWords<'a>(&'a ContainerStatus);

impl Serialize for NetworkWords<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let address = |address: &'_ String| {
            let protocol = if address.contains(':') { "IPv6" } else { "IPv4" };
            std::collections::BTreeMap::from([("protocol", protocol.to_owned()), ("ip_address", address.clone())])
        };
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("ip_addresses", &Each(|| self.0.ip_addresses.iter().map(address)))?;
        out.end()
    }
}

/// A framework without its tasks. `gone_at` is when it went, zero as long as it is there.
pub(crate) struct FrameworkWords<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) framework: &'a Framework,
    pub(crate) gone_at: f64,
}

impl Serialize for FrameworkWords<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (snapshot, framework) = (self.snapshot, self.framework);
        let mut out = serializer.serialize_map(None)?;
        for (key, value) in &json::framework_words(framework) {
            out.serialize_entry(key, value)?;
        }
        out.serialize_entry("unregistered_time", &self.gone_at)?;
        let mut amounts = Amounts::default();
        framework.users().for_each(|bag| amounts.add(bag));
        out.serialize_entry("used_resources", &amounts)?;
        let Some(id) = &framework.view.info.id else { return out.end() };
        let executor = |((agent, _), running): (&(_, _), _)| json::executor(id, agent, running);
        out.serialize_entry("executors", &Each(|| framework.executors.iter().map(executor)))?;
        let offers = || snapshot.offers.iter().filter(|(_, offer)| offer.framework_id == *id);
        let master = snapshot.leadership.as_ref().map_or("", |leadership| leadership.master_id.as_str());
        let shown = Each(|| offers().map(|(number, offer)| json::offer(&number.text(master), offer)));
        out.serialize_entry("offers", &shown)?;
        let offered = || offers().map(|(_, offer)| &offer.resources);
        let mut sum = Amounts::default();
        offered().for_each(|bag| sum.add(bag));
        out.serialize_entry("offered_resources", &sum)?;
        offered().for_each(|bag| amounts.add(bag));
        out.serialize_entry("resources", &amounts)?;
        out.end()
    }
}

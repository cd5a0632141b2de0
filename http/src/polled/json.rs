//! The words of the old endpoints: resources, agents, frameworks, tasks as their JSON objects (reference 2).

use std::collections::BTreeMap;

use kaon_kernel::agent::{AgentInfo, Attribute, AttributeValue, Domain};
use kaon_kernel::framework::{Capability, FrameworkInfo, Label};
use kaon_kernel::id::{AgentId, FrameworkId};
use kaon_kernel::resource::{Resource, Resources, Value as Amount};
use kaon_kernel::task::{ExecutorKind, TaskStatus};
use serde_json::{Map, Value, json};

use crate::codec::{self, MediaType};
use crate::convert::resource::{self, Form};
use crate::convert::{
    executor as convert_executor, maintenance as convert_maintenance, status as convert_status, task as convert_task,
};
use crate::edge::pid;
use crate::version;
use crate::view::{Framework, Held, Snapshot};

/// A message of the v1 API as JSON: what both APIs write alike.
pub(crate) fn v1_json<M: codec::Message>(message: &M) -> Value {
    serde_json::from_slice(&codec::encode(MediaType::Json, message)).unwrap_or(Value::Null)
}

/// Amounts by name: always `cpus`, `gpus`, `mem` and `disk`; ranges and sets as text.
pub(crate) fn resources(bag: &Resources) -> Value {
    amounts(bag.iter())
}

fn amounts<'a>(entries: impl Iterator<Item = &'a Resource>) -> Value {
    let mut scalars: BTreeMap<String, f64> =
        ["cpus", "gpus", "mem", "disk"].into_iter().map(|name| (name.to_owned(), 0.0)).collect();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in entries {
        let suffix = if entry.is_revocable() { "_revocable" } else { "" };
        let name = format!("{}{suffix}", entry.name.as_str());
        match &entry.value {
            Amount::Scalar(quantity) => *scalars.entry(name).or_default() += quantity.as_scalar(),
            Amount::Devices(devices) => {
                let shares: u64 = devices.iter().map(|device| u64::from(device.share)).sum();
                *scalars.entry(name).or_default() += shares as f64 / 1000.0;
            }
            Amount::Ranges(ranges) => {
                let parts = ranges.iter().map(|(begin, end)| format!("{begin}-{end}"));
                texts.entry(format!("[{name}")).or_default().extend(parts);
            }
            Amount::Set(items) => texts.entry(format!("{{{name}")).or_default().extend(items.iter().cloned()),
        }
    }
    let mut out: Map<String, Value> = scalars.into_iter().map(|(name, sum)| (name, thousandths(sum).into())).collect();
    for (key, parts) in texts {
        let (open, close) = if key.starts_with('[') { ("[", "]") } else { ("{", "}") };
        let name = key.trim_start_matches(['[', '{']).to_owned();
        out.insert(name, format!("{open}{}{close}", parts.join(", ")).into());
    }
    Value::Object(out)
}

/// Takes the noise of adding doubles away.
fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// What is reserved, by role.
pub(crate) fn reserved(bag: &Resources) -> Value {
    let roles: std::collections::BTreeSet<_> = bag.iter().filter_map(Resource::reservation_role).collect();
    let one = |role: &&kaon_kernel::id::RoleName| {
        let entries = bag.iter().filter(|entry| entry.reservation_role() == Some(role));
        (role.to_string(), amounts(entries))
    };
    Value::Object(roles.iter().map(one).collect())
}

/// What is reserved, by role, in the v1 form.
pub(crate) fn reserved_full(bag: &Resources) -> Value {
    let roles: std::collections::BTreeSet<_> = bag.iter().filter_map(Resource::reservation_role).collect();
    let by_role = |role: &&kaon_kernel::id::RoleName| {
        let entries = bag.iter().filter(|entry| entry.reservation_role() == Some(role));
        (role.to_string(), full(entries))
    };
    Value::Object(roles.iter().map(by_role).collect())
}

/// What is not.
pub(crate) fn unreserved(bag: &Resources) -> Value {
    amounts(bag.iter().filter(|entry| entry.reservation_role().is_none()))
}

/// The entries in the v1 form.
pub(crate) fn full<'a>(entries: impl Iterator<Item = &'a Resource>) -> Value {
    let bag = Resources::collect(entries.cloned()).unwrap_or_default();
    resource::to_v1(&bag, Form::Endpoint, None).iter().map(v1_json).collect()
}

/// Attributes by name; of several with one name the last.
pub(crate) fn attributes(attributes: &[Attribute]) -> Value {
    let one = |attribute: &Attribute| {
        let value = match &attribute.value {
            AttributeValue::Scalar(quantity) => Value::from(quantity.as_scalar()),
            AttributeValue::Ranges(ranges) => Value::from(ranges.to_string()),
            AttributeValue::Text(text) => Value::from(text.clone()),
        };
        (attribute.name.clone(), value)
    };
    Value::Object(attributes.iter().map(one).collect())
}

fn domain(domain: &Domain) -> Value {
    json!({"fault_domain": {"region": {"name": domain.region}, "zone": {"name": domain.zone}}})
}

/// Labels in the v1 form.
pub(crate) fn labels(labels: &[Label]) -> Value {
    let one = |label: &Label| match &label.value {
        Some(value) => json!({"key": label.key, "value": value}),
        None => json!({"key": label.key}),
    };
    labels.iter().map(one).collect()
}

/// What an agent says of itself, as both a master and the agent show it.
pub(crate) fn agent_words(info: &AgentInfo, total: &Resources) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("id".into(), info.id.as_ref().map_or("", |id| id.as_str()).into());
    out.insert("hostname".into(), info.hostname.clone().into());
    out.insert("port".into(), info.port.into());
    out.insert("attributes".into(), attributes(&info.attributes));
    out.insert("pid".into(), pid("slave(1)", &info.ip, info.port).into());
    out.insert("resources".into(), resources(total));
    out.insert("reserved_resources".into(), reserved(total));
    out.insert("unreserved_resources".into(), unreserved(total));
    out.insert("version".into(), version::MESOS_VERSION.into());
    out.insert("kaon_version".into(), info.version.clone().into());
    out.insert(
        "capabilities".into(),
        crate::operator::AGENT_CAPABILITIES.iter().map(|kind| kind.as_str_name()).collect(),
    );
    if let Some(at) = &info.domain {
        out.insert("domain".into(), domain(at));
    }
    out
}

/// What is in use and on offer, by agent.
pub(crate) struct Books<'a> {
    pub(crate) used: BTreeMap<&'a AgentId, Resources>,
    pub(crate) offered: BTreeMap<&'a AgentId, Resources>,
}

impl<'a> Books<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot) -> Self {
        Self { used: snapshot.used_by_agent(), offered: snapshot.offered_by_agent() }
    }
}

/// An agent as a master shows it. `is_full` adds the resources in the v1 form.
pub(crate) fn agent(
    id: &AgentId,
    view: &kaon_kernel::message::view::AgentView,
    books: &Books<'_>,
    is_full: bool,
) -> Value {
    let none = Resources::new();
    let used = books.used.get(id).unwrap_or(&none);
    let offered = books.offered.get(id).unwrap_or(&none);
    let mut out = agent_words(&view.info, view.total());
    out.insert("used_resources".into(), resources(used));
    out.insert("offered_resources".into(), resources(offered));
    out.insert("active".into(), view.active.into());
    let deactivated = view.orders.as_ref().is_some_and(|orders| orders.deactivated);
    out.insert("deactivated".into(), deactivated.into());
    if let Some((drain, since)) = view.orders.as_deref().and_then(convert_maintenance::drain_to_v1) {
        out.insert("drain_info".into(), v1_json(&drain));
        let seconds = since.nanoseconds / 1_000_000_000;
        out.insert("estimated_drain_start_time_seconds".into(), seconds.into());
    }
    out.insert("registered_time".into(), view.registered_time.as_seconds().into());
    if let Some(time) = view.reregistered_time {
        out.insert("reregistered_time".into(), time.as_seconds().into());
    }
    if is_full {
        let total = view.total();
        out.insert("reserved_resources_full".into(), reserved_full(total));
        let unreserved = total.iter().filter(|entry| entry.reservation_role().is_none());
        out.insert("unreserved_resources_full".into(), full(unreserved));
        out.insert("used_resources_full".into(), full(used.iter()));
        out.insert("offered_resources_full".into(), full(offered.iter()));
    }
    Value::Object(out)
}

fn status(status: &TaskStatus) -> Value {
    let v1 = convert_status::to_v1(status);
    let mut out = Map::new();
    out.insert("state".into(), status.state.name().into());
    out.insert("timestamp".into(), status.timestamp.as_seconds().into());
    if !status.labels.is_empty() {
        out.insert("labels".into(), labels(&status.labels));
    }
    if let Some(container) = &v1.container_status {
        out.insert("container_status".into(), v1_json(container));
    }
    if let Some(healthy) = status.healthy {
        out.insert("healthy".into(), healthy.into());
    }
    if let Some(check) = &v1.check_status {
        out.insert("check_status".into(), v1_json(check));
    }
    Value::Object(out)
}

/// A task.
pub(crate) fn task(framework: &FrameworkId, held: &Held) -> Value {
    let (task, info) = (&held.task, &held.task.info);
    let shown = convert_task::shown_to_v1(task, framework.as_str(), held.role.as_str());
    let mut out = Map::new();
    out.insert("id".into(), info.task_id.as_str().into());
    out.insert("name".into(), info.name.clone().into());
    out.insert("framework_id".into(), framework.as_str().into());
    let executor = info.executor.as_ref().map_or("", |_| task.executor_id.as_str());
    out.insert("executor_id".into(), executor.into());
    out.insert("slave_id".into(), info.agent_id.as_str().into());
    out.insert("state".into(), task.state.name().into());
    out.insert("resources".into(), resources(&info.resources));
    out.insert("role".into(), held.role.as_str().into());
    out.insert("statuses".into(), task.statuses.iter().map(status).collect());
    if let Some(user) = shown.user {
        out.insert("user".into(), user.into());
    }
    if !info.labels.is_empty() {
        out.insert("labels".into(), labels(&info.labels));
    }
    if let Some(discovery) = &shown.discovery {
        out.insert("discovery".into(), v1_json(discovery));
    }
    if let Some(container) = &shown.container {
        out.insert("container".into(), v1_json(container));
    }
    Value::Object(out)
}

fn executor(
    framework: &FrameworkId,
    agent: &AgentId,
    running: &kaon_kernel::message::agent_master::RunningExecutor,
) -> Value {
    let info = &running.info;
    let role = running.role.as_str();
    let v1 = convert_executor::to_v1(info, framework.as_str(), Form::Endpoint, Some(role));
    let mut out = Map::new();
    out.insert("executor_id".into(), info.executor_id.as_str().into());
    out.insert("name".into(), info.name.clone().into());
    out.insert("framework_id".into(), framework.as_str().into());
    out.insert("command".into(), v1.command.as_ref().map_or(Value::Null, v1_json));
    out.insert("resources".into(), resources(&info.resources));
    out.insert("role".into(), role.into());
    out.insert("slave_id".into(), agent.as_str().into());
    if !info.labels.is_empty() {
        out.insert("labels".into(), labels(&info.labels));
    }
    if info.kind != ExecutorKind::Custom {
        out.insert("type".into(), "DEFAULT".into());
    }
    Value::Object(out)
}

/// What a framework says of itself.
pub(crate) fn framework_info_words(info: &FrameworkInfo) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("id".into(), info.id.as_ref().map_or("", |id| id.as_str()).into());
    out.insert("name".into(), info.name.clone().into());
    out.insert("user".into(), info.user.clone().into());
    out.insert("failover_timeout".into(), info.failover_timeout.as_seconds().into());
    out.insert("checkpoint".into(), info.checkpoint.into());
    out.insert("hostname".into(), info.hostname.clone().into());
    out.insert("webui_url".into(), info.webui_url.clone().unwrap_or_default().into());
    let names = info.capabilities.iter().map(|capability| capability_name(*capability));
    out.insert("capabilities".into(), names.collect());
    if let Some(principal) = &info.principal {
        out.insert("principal".into(), principal.clone().into());
    }
    if info.has(Capability::MultiRole) {
        out.insert("roles".into(), info.roles.iter().map(|role| role.as_str()).collect());
    } else if let Some(role) = info.roles.first() {
        out.insert("role".into(), role.as_str().into());
    }
    if !info.labels.is_empty() {
        out.insert("labels".into(), labels(&info.labels));
    }
    out
}

/// What a framework says of itself, and how it stands.
fn framework_words(framework: &Framework) -> Map<String, Value> {
    let view = &framework.view;
    let mut out = framework_info_words(&view.info);
    out.insert("active".into(), view.active.into());
    out.insert("connected".into(), view.connected.into());
    out.insert("recovered".into(), view.recovered.into());
    out.insert("registered_time".into(), view.registered_time.as_seconds().into());
    if let Some(time) = view.reregistered_time {
        out.insert("reregistered_time".into(), time.as_seconds().into());
    }
    out
}

fn capability_name(capability: Capability) -> &'static str {
    use crate::v1::mesos::framework_info::capability::Type;
    Type::try_from(capability as i32).map_or("UNKNOWN", |kind| kind.as_str_name())
}

/// A framework with all that it runs. `gone_at` is when it went, zero as long as it is there.
pub(crate) fn framework(snapshot: &Snapshot, framework: &Framework, gone_at: f64) -> Value {
    use kaon_kernel::task::TaskState;
    let mut out = framework_words(framework);
    out.insert("unregistered_time".into(), gone_at.into());
    let used = framework.used(None);
    if let Some(id) = &framework.view.info.id {
        let offered = snapshot.offered_to(id);
        let held = |wanted: bool| {
            let tasks = framework.tasks.values();
            let tasks = tasks.filter(move |held| (held.task.state == TaskState::Unreachable) == wanted);
            tasks.map(|held| task(id, held)).collect::<Value>()
        };
        out.insert("tasks".into(), held(false));
        out.insert("unreachable_tasks".into(), held(true));
        out.insert("completed_tasks".into(), framework.completed.iter().map(|held| task(id, held)).collect());
        let executors = framework.executors.iter().map(|((agent, _), running)| executor(id, agent, running));
        out.insert("executors".into(), executors.collect());
        let offers = snapshot.offers.iter().filter(|(_, offer)| offer.framework_id == *id);
        let master = snapshot.leadership.as_ref().map_or("", |leadership| leadership.master_id.as_str());
        let offers = offers.map(|(number, offer)| {
            json!({
                "id": number.text(master),
                "framework_id": id.as_str(),
                "slave_id": offer.agent_id.as_str(),
                "allocation_info": {"role": offer.role.as_str()},
                "resources": resources(&offer.resources),
            })
        });
        out.insert("offers".into(), offers.collect());
        out.insert("offered_resources".into(), resources(&offered));
        let mut all = used.clone();
        crate::view::add(&mut all, &offered);
        out.insert("resources".into(), resources(&all));
    }
    out.insert("used_resources".into(), resources(&used));
    Value::Object(out)
}

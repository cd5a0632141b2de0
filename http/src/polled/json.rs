//! The words of the old endpoints: resources, agents, frameworks, tasks as their JSON objects (reference 2).

use kaon_kernel::agent::{AgentInfo, Attribute, AttributeValue, Domain};
use kaon_kernel::framework::{Capability, FrameworkInfo, Label};
use kaon_kernel::id::{AgentId, FrameworkId};
use kaon_kernel::resource::{Resource, Resources};
use kaon_kernel::task::ExecutorKind;
use rustc_hash::FxHashMap;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::amounts::Amounts;
use crate::codec::{self, MediaType};
use crate::convert::resource::{self, Form};
use crate::convert::{executor as convert_executor, maintenance as convert_maintenance};
use crate::edge::pid;
use crate::version;
use crate::view::{Framework, Offered, Snapshot, together};

/// A message of the v1 API as JSON: what both APIs write alike.
pub(crate) fn v1_json<M: codec::Message>(message: &M) -> Value {
    serde_json::from_slice(&codec::encode(MediaType::Json, message)).unwrap_or(Value::Null)
}

/// Amounts by name: always `cpus`, `gpus`, `mem` and `disk`; ranges and sets as text.
pub(crate) fn resources(bag: &Resources) -> Value {
    amounts(bag.iter())
}

fn amounts<'a>(entries: impl Iterator<Item = &'a Resource>) -> Value {
    value(&Amounts::of(entries))
}

/// What is written as JSON, as a value.
pub(crate) fn value(written: &impl Serialize) -> Value {
    serde_json::to_value(written).unwrap_or(Value::Null)
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
#[derive(Default)]
pub(crate) struct Books<'a> {
    used: FxHashMap<&'a AgentId, Vec<&'a Resources>>,
    offered: FxHashMap<&'a AgentId, Vec<&'a Resources>>,
}

impl<'a> Books<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot) -> Self {
        let mut books = Self::default();
        for (agent, bag) in snapshot.users() {
            books.used.entry(agent).or_default().push(bag);
        }
        for offer in snapshot.offers.values() {
            books.offered.entry(&offer.agent_id).or_default().push(&offer.resources);
        }
        books
    }

    /// What is used on an agent.
    pub(crate) fn used(&self, agent: &AgentId) -> Resources {
        together(self.used.get(agent).into_iter().flatten().copied())
    }

    /// What is offered of an agent.
    pub(crate) fn offered(&self, agent: &AgentId) -> Resources {
        together(self.offered.get(agent).into_iter().flatten().copied())
    }
}

/// The amounts of several bags together.
fn amounts_together(bags: &[&Resources]) -> Value {
    value(&Amounts::of(bags.iter().flat_map(|bag| bag.iter())))
}

/// The entries of several bags together, in the v1 form.
fn full_together(bags: &[&Resources]) -> Value {
    full(together(bags.iter().copied()).iter())
}

/// An agent as a master shows it. `is_full` adds the resources in the v1 form.
pub(crate) fn agent(
    id: &AgentId,
    view: &kaon_kernel::message::view::AgentView,
    books: &Books<'_>,
    is_full: bool,
) -> Value {
    let used = books.used.get(id).map_or(&[][..], Vec::as_slice);
    let offered = books.offered.get(id).map_or(&[][..], Vec::as_slice);
    let mut out = agent_words(&view.info, view.total());
    out.insert("used_resources".into(), amounts_together(used));
    out.insert("offered_resources".into(), amounts_together(offered));
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
        out.insert("used_resources_full".into(), full_together(used));
        out.insert("offered_resources_full".into(), full_together(offered));
    }
    Value::Object(out)
}

/// An executor.
pub(crate) fn executor(
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
pub(crate) fn framework_words(framework: &Framework) -> Map<String, Value> {
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

/// An offer.
pub(crate) fn offer(id: &str, offer: &Offered) -> Value {
    json!({
        "id": id,
        "framework_id": offer.framework_id.as_str(),
        "slave_id": offer.agent_id.as_str(),
        "allocation_info": {"role": offer.role.as_str()},
        "resources": resources(&offer.resources),
    })
}

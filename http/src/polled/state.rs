//! `/state`, `/state-summary`, `/frameworks`, `/slaves`, `/tasks` of a master.

use std::collections::{BTreeMap, BTreeSet};

use kaon_kernel::id::{AgentId, FrameworkId};
use kaon_kernel::task::TaskState;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::amounts::{Amounts, Each};
use super::json::{self, Books};
use super::task::{FrameworkWords, TaskWords};
use crate::edge::{MasterEdge, pid};
use crate::path;
use crate::version;
use crate::view::{Completed, Framework, Held, Snapshot};

/// The tasks that one answer of `/tasks` holds unless it is asked for more.
const TASKS_LIMIT: usize = 100;

fn ids(ids: &BTreeSet<&str>) -> Value {
    ids.iter().copied().collect()
}

/// The words of one agent or framework, with more put in.
fn with(value: Value, more: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut object = match value {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    object.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Value::Object(object)
}

/// `/state`. Cost: all tasks, each written as it is gone through.
pub(super) struct State<'a> {
    pub(super) edge: &'a MasterEdge,
    pub(super) snapshot: &'a Snapshot,
}

impl Serialize for State<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (config, snapshot) = (&self.edge.config, self.snapshot);
        let mut out = serializer.serialize_map(None)?;
        for (key, value) in words(self.edge, snapshot) {
            out.serialize_entry(&key, &value)?;
        }
        let books = Books::of(snapshot);
        for (key, registered) in [("slaves", true), ("recovered_slaves", false)] {
            let standing = || snapshot.agents.iter().filter(move |(_, view)| view.registered == registered);
            out.serialize_entry(key, &Each(|| standing().map(|(id, view)| json::agent(id, view, &books, false))))?;
        }
        let present = || snapshot.frameworks.values();
        let word = |framework| FrameworkWords { snapshot, framework, gone_at: 0.0 };
        out.serialize_entry("frameworks", &Each(|| present().map(|one| word(one.as_ref()))))?;
        out.serialize_entry(
            "completed_frameworks",
            &Each(|| snapshot.completed.iter().map(|one| gone(snapshot, one))),
        )?;
        if let Some(cluster) = &config.cluster {
            out.serialize_entry("cluster", cluster)?;
        }
        out.end()
    }
}

fn gone<'a>(snapshot: &'a Snapshot, one: &'a Completed) -> FrameworkWords<'a> {
    FrameworkWords { snapshot, framework: &one.framework, gone_at: one.at.as_seconds() }
}

/// What `/state` says of the master itself.
fn words(edge: &MasterEdge, snapshot: &Snapshot) -> Map<String, Value> {
    let config = &edge.config;
    let own_pid = pid("master", config.ip, config.port);
    let active = snapshot.agents.values().filter(|view| view.registered && view.active).count();
    let inactive = snapshot.agents.values().filter(|view| view.registered && !view.active).count();
    let leadership = snapshot.leadership.as_ref();
    let id = leadership.map_or("", |leadership| leadership.master_id.as_str());
    let mut out = with(
        version::body(),
        [
            ("start_time", edge.start_seconds().into()),
            ("id", id.into()),
            ("pid", own_pid.clone().into()),
            ("hostname", config.hostname.clone().into()),
            ("capabilities", json!([])),
            ("activated_slaves", (active as f64).into()),
            ("deactivated_slaves", (inactive as f64).into()),
            ("unreachable_slaves", (snapshot.unreachable.len() as f64).into()),
            ("flags", json!(config.flags)),
            ("orphan_tasks", json!([])),
            ("unregistered_frameworks", json!([])),
        ],
    );
    if let Some(leadership) = leadership {
        let leader_info = json!({"id": id, "pid": own_pid, "port": config.port, "hostname": config.hostname});
        let elected = leadership.elected.as_seconds();
        out = with(out, [("elected_time", elected.into()), ("leader", own_pid.into()), ("leader_info", leader_info)]);
    }
    if let Some(log) = &config.log {
        out = with(out, [("external_log_file", log.display().to_string().into())]);
    }
    match out {
        Value::Object(words) => words,
        _ => Map::new(),
    }
}

/// The states that `/state-summary` counts.
const COUNTED: [TaskState; 10] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Killed,
    TaskState::Failed,
    TaskState::Lost,
    TaskState::Error,
    TaskState::Unreachable,
];

#[derive(Default)]
struct Summary<'a> {
    counts: [u64; TaskState::ALL.len()],
    others: BTreeSet<&'a str>,
}

impl Summary<'_> {
    fn counts(&self) -> impl Iterator<Item = (&'static str, Value)> {
        COUNTED.into_iter().map(|state| (state.name(), self.counts[state as usize].into()))
    }
}

/// `/state-summary`: counts for each agent and framework.
pub(super) fn summary(edge: &MasterEdge, snapshot: &Snapshot) -> Value {
    let mut by_agent: BTreeMap<&str, Summary<'_>> = BTreeMap::new();
    let mut by_framework: BTreeMap<&str, Summary<'_>> = BTreeMap::new();
    for (id, framework) in snapshot.frameworks.iter() {
        let mine = by_framework.entry(id.as_str()).or_default();
        for held in framework.tasks.values().chain(framework.completed.iter()) {
            let agent = held.task.info.agent_id.as_str();
            mine.counts[held.task.state as usize] += 1;
            mine.others.insert(agent);
            let theirs = by_agent.entry(agent).or_default();
            theirs.counts[held.task.state as usize] += 1;
            theirs.others.insert(id.as_str());
        }
    }
    let books = Books::of(snapshot);
    let (none, agents) = (Summary::default(), snapshot.agents.iter().filter(|(_, view)| view.registered));
    let agents = agents.map(|(id, view)| {
        let summary = by_agent.get(id.as_str()).unwrap_or(&none);
        let value = with(json::agent(id, view, &books, false), summary.counts());
        with(value, [("framework_ids", ids(&summary.others))])
    });
    let frameworks = snapshot.frameworks.iter().map(|(id, framework)| {
        let summary = by_framework.get(id.as_str()).unwrap_or(&none);
        let info = &framework.view.info;
        let words = json!({
            "id": id.as_str(),
            "name": info.name,
            "hostname": info.hostname,
            "webui_url": info.webui_url.clone().unwrap_or_default(),
            "active": framework.view.active,
            "connected": framework.view.connected,
            "recovered": framework.view.recovered,
            "used_resources": json::value(&Amounts::of(framework.users().flat_map(|bag| bag.iter()))),
            "offered_resources": json::resources(&snapshot.offered_to(id)),
        });
        with(with(words, summary.counts()), [("slave_ids", ids(&summary.others))])
    });
    let mut out = json!({
        "hostname": edge.config.hostname,
        "slaves": agents.collect::<Value>(),
        "frameworks": frameworks.collect::<Value>(),
    });
    if let Some(cluster) = &edge.config.cluster {
        out = with(out, [("cluster", cluster.clone().into())]);
    }
    out
}

/// `/frameworks`, one or all.
pub(super) struct Frameworks<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) wanted: Option<&'a str>,
}

impl Serialize for Frameworks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let snapshot = self.snapshot;
        let is_wanted = |framework: &Framework| {
            self.wanted.is_none_or(|wanted| framework.view.info.id.as_ref().is_some_and(|id| id.as_str() == wanted))
        };
        let present = || snapshot.frameworks.values().map(AsRef::as_ref).filter(|one| is_wanted(one));
        let word = |framework| FrameworkWords { snapshot, framework, gone_at: 0.0 };
        let completed = || snapshot.completed.iter().filter(|one| is_wanted(&one.framework));
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("frameworks", &Each(|| present().map(word)))?;
        out.serialize_entry("completed_frameworks", &Each(|| completed().map(|one| gone(snapshot, one))))?;
        out.serialize_entry::<_, [(); 0]>("unregistered_frameworks", &[])?;
        out.end()
    }
}

/// `/slaves`, one or all.
pub(super) fn agents(snapshot: &Snapshot, wanted: Option<&str>) -> Value {
    let books = Books::of(snapshot);
    let standing = |registered: bool| {
        let agents = snapshot.agents.iter().filter(move |(_, view)| view.registered == registered);
        let agents = agents.filter(|(id, _): &(&AgentId, _)| wanted.is_none_or(|wanted| id.as_str() == wanted));
        agents.map(|(id, view)| json::agent(id, view, &books, true)).collect::<Value>()
    };
    json!({"slaves": standing(true), "recovered_slaves": standing(false)})
}

/// `/tasks`, newest first unless `order=asc`; `limit` and `offset` cut a page out.
///
/// # Errors
/// A query that is none.
pub(super) fn tasks(snapshot: &Snapshot, query: &[(String, String)]) -> Result<Value, String> {
    let number = |key: &'static str, default: usize| match path::value(query, key) {
        None => Ok(default),
        Some(text) => text.parse::<usize>().map_err(|_| format!("Failed to parse '{key}': not a number")),
    };
    let (limit, offset) = (number("limit", TASKS_LIMIT)?, number("offset", 0)?);
    let ascending = match path::value(query, "order") {
        None | Some("desc" | "des") => false,
        Some("asc") => true,
        Some(_) => return Err("Failed to parse 'order': expecting 'asc' or 'desc'".to_owned()),
    };
    let wanted = |key: &str, id: &str| path::value(query, key).is_none_or(|wanted| wanted == id);
    let present = snapshot.frameworks.values().map(AsRef::as_ref);
    let gone = snapshot.completed.iter().map(|one| &one.framework);
    let mut all: Vec<(&FrameworkId, &Held)> = Vec::new();
    for framework in present.chain(gone) {
        let Some(id) = framework.view.info.id.as_ref().filter(|id| wanted("framework_id", id.as_str())) else {
            continue;
        };
        let held = framework.tasks.values().chain(framework.completed.iter());
        let held = held.filter(|held| wanted("task_id", held.task.info.task_id.as_str()));
        all.extend(held.map(|held| (id, held.as_ref())));
    }
    // Mesos orders by the time of the first status; a task that has none yet is the newest.
    all.sort_by_key(|(_, held)| held.task.statuses.first().map_or(u64::MAX, |status| status.timestamp.0));
    if !ascending {
        all.reverse();
    }
    let page = all.into_iter().skip(offset).take(limit);
    let page = page.map(|(framework, held)| json::value(&TaskWords { framework, held }));
    Ok(json!({"tasks": page.collect::<Value>()}))
}

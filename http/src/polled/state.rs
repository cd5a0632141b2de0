//! `/state`, `/state-summary`, `/frameworks`, `/slaves`, `/tasks` of a master.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kaon_kernel::id::{AgentId, FrameworkId};
use kaon_kernel::task::TaskState;
use serde::ser::Serialize;
use serde_json::{Map, Value, json};

use super::amounts::Amounts;
use super::json::{self, Books};
use super::task::{FrameworkWords, TaskWords};
use crate::edge::{MasterEdge, pid};
use crate::operator::MASTER_CAPABILITIES;
use crate::path;
use crate::rope::{self, Part, Rope};
use crate::version;
use crate::view::{Framework, Held, Snapshot};

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

/// Elements of a list that are written at once.
const ELEMENTS: usize = 128;

/// About the bytes of an element: a task with two statuses.
const ELEMENT_BYTES: usize = 1 << 10;

/// JSON in parts that can be written side by side.
#[derive(Default)]
struct Parts<'a> {
    all: Vec<Part<'a>>,
}

impl<'a> Parts<'a> {
    fn text(&mut self, text: impl Into<String>) {
        self.all.push(rope::text(text));
    }

    /// A list under a key; each element is written by `write`.
    fn list<T: Clone + Send + Sync + 'a>(
        &mut self,
        key: &str,
        elements: impl IntoIterator<Item = T>,
        write: impl Fn(&T, &mut Vec<u8>) + Clone + Send + Sync + 'a,
    ) {
        let elements: Vec<T> = elements.into_iter().collect();
        self.text(format!("\"{key}\":["));
        for (at, some) in elements.chunks(ELEMENTS).enumerate() {
            if at > 0 {
                self.text(",");
            }
            let (some, write) = (some.to_vec(), write.clone());
            self.all.push(Box::new(move |rope| {
                rope.room().reserve(some.len() * ELEMENT_BYTES);
                for (at, element) in some.iter().enumerate() {
                    let room = rope.room();
                    if at > 0 {
                        room.push(b',');
                    }
                    write(element, room);
                }
            }));
        }
        self.text("]");
    }

    /// The agents that are registered, and those that are only known from the registry.
    fn agents(&mut self, snapshot: &'a Snapshot, books: &Arc<Books<'a>>) {
        for (key, registered) in [("slaves", true), ("recovered_slaves", false)] {
            let standing = snapshot.agents.iter().filter(|(_, view)| view.registered == registered);
            let books = Arc::clone(books);
            self.list(key, standing, move |(id, view), out| write(&json::agent(id, view, &books, false), out));
            self.text(",");
        }
    }

    /// A framework with all that it runs. `gone_at` is when it went, zero as long as it is there.
    fn framework(&mut self, snapshot: &'a Snapshot, framework: &'a Framework, gone_at: f64) {
        let mut words = Vec::new();
        write(&FrameworkWords { snapshot, framework, gone_at }, &mut words);
        // Its lists go before the brace that ends it.
        words.pop();
        self.text(String::from_utf8(words).expect("JSON is text"));
        let id = framework.view.info.id.as_ref();
        let word = move |held: &&'a Held, out: &mut Vec<u8>| {
            if let Some(framework) = id {
                write(&TaskWords { framework, held }, out);
            }
        };
        let is_lost = |held: &&Held| held.task.state == TaskState::Unreachable;
        let all = || framework.tasks.values().map(AsRef::as_ref);
        self.text(",");
        self.list("tasks", all().filter(|held| !is_lost(held)), word);
        self.text(",");
        self.list("unreachable_tasks", all().filter(is_lost), word);
        self.text(",");
        self.list("completed_tasks", framework.completed.iter().map(AsRef::as_ref), word);
        self.text("}");
    }

    /// The frameworks that are there, and those that are gone, as far as they are wanted.
    fn frameworks(&mut self, snapshot: &'a Snapshot, wanted: Option<&str>) {
        let is_wanted = |framework: &&Framework| {
            wanted.is_none_or(|wanted| framework.view.info.id.as_ref().is_some_and(|id| id.as_str() == wanted))
        };
        let present = snapshot.frameworks.values().map(|one| (one.as_ref(), 0.0));
        let gone = snapshot.completed.iter().map(|one| (&one.framework, one.at.as_seconds()));
        let lists: [(&str, Vec<(&'a Framework, f64)>); 2] =
            [("\"frameworks\":[", present.collect()), (",\"completed_frameworks\":[", gone.collect())];
        for (key, list) in lists {
            self.text(key);
            for (at, (framework, gone_at)) in list.into_iter().filter(|(one, _)| is_wanted(one)).enumerate() {
                if at > 0 {
                    self.text(",");
                }
                self.framework(snapshot, framework, gone_at);
            }
            self.text("]");
        }
    }

    fn written(self) -> Rope {
        let mut whole = Rope::default();
        rope::written(&self.all).into_iter().for_each(|part| whole.append(part));
        whole
    }
}

fn write(words: &impl Serialize, out: &mut Vec<u8>) {
    // Its own types fail never, and neither does memory that grows.
    serde_json::to_writer(out, words).expect("what is shown can be written");
}

/// `/state`. Cost: all tasks, written side by side.
pub(super) fn state(edge: &MasterEdge, snapshot: &Snapshot) -> Rope {
    let mut parts = Parts::default();
    let mut words = Value::Object(words(edge, snapshot)).to_string();
    // The lists go before the brace that ends it.
    words.pop();
    parts.text(words);
    parts.text(",");
    parts.agents(snapshot, &Arc::new(Books::of(snapshot)));
    parts.frameworks(snapshot, None);
    if let Some(cluster) = &edge.config.cluster {
        parts.text(format!(",\"cluster\":{}", Value::from(cluster.as_str())));
    }
    parts.text("}");
    parts.written()
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
            ("capabilities", MASTER_CAPABILITIES.iter().map(|kind| kind.as_str_name()).collect()),
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
pub(super) fn frameworks(snapshot: &Snapshot, wanted: Option<&str>) -> Rope {
    let mut parts = Parts::default();
    parts.text("{");
    parts.frameworks(snapshot, wanted);
    parts.text(",\"unregistered_frameworks\":[]}");
    parts.written()
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

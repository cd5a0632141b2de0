//! GET_TASKS and GET_STATE: the answers that grow with the cluster. A part of a list is made, written and forgotten before
//! the next, so that no list of a hundred thousand messages is made first; parts are written side by side ([`crate::rope`]).
//!
//! A message of protobuf is the bytes of its parts one behind the other. In JSON a part's list loses its brackets, and each part
//! begins with the comma that sets it apart from the one before.

use std::sync::Arc;

use bytes::Bytes;
use kaon_kernel::task::TaskState;

use crate::answer::{self, Answer};
use crate::codec::{self, MediaType};
use crate::convert::{agent as convert_agent, task};
use crate::operator;
use crate::polled::json::Books;
use crate::rope::{Part, Rope, written};
use crate::v1::master::response::{self, GetAgents, GetExecutors, GetFrameworks, GetTasks};
use crate::view::{Held, Snapshot};

/// Elements of a list that are written at once.
const ELEMENTS: usize = 128;

/// The numbers of the fields that are written here by hand. A test compares them with the schema's own encoding.
mod field {
    pub(super) const RESPONSE_TYPE: u8 = 1;
    pub(super) const RESPONSE_GET_STATE: u8 = 9;
    pub(super) const RESPONSE_GET_TASKS: u8 = 13;
    pub(super) const STATE_GET_TASKS: u8 = 1;
    pub(super) const STATE_GET_EXECUTORS: u8 = 2;
    pub(super) const STATE_GET_FRAMEWORKS: u8 = 3;
    pub(super) const STATE_GET_AGENTS: u8 = 4;
}

/// A message made of lists.
struct Section<'a> {
    name: &'static str,
    number: u8,
    lists: Vec<(&'static str, Vec<Part<'a>>)>,
}

/// GET_TASKS.
pub(crate) fn tasks(snapshot: &Snapshot, media: MediaType) -> Answer {
    let section = tasks_section(snapshot, media, field::RESPONSE_GET_TASKS);
    answered(media, response::Type::GetTasks, messages(media, vec![section]))
}

/// GET_STATE.
pub(crate) fn state(snapshot: &Snapshot, media: MediaType) -> Answer {
    let executors = move || operator::executors(snapshot);
    let sections = vec![
        tasks_section(snapshot, media, field::STATE_GET_TASKS),
        Section {
            name: "get_executors",
            number: field::STATE_GET_EXECUTORS,
            lists: vec![("executors", vec![part::<GetExecutors>(media, "executors", executors)])],
        },
        frameworks_section(snapshot, media),
        agents_section(snapshot, media),
    ];
    let mut state = Rope::default();
    enclose(media, &mut state, "get_state", field::RESPONSE_GET_STATE, messages(media, sections));
    answered(media, response::Type::GetState, state)
}

/// A part of a list: a message with nothing else in it.
fn part<'a, M: codec::Message>(
    media: MediaType,
    list: &'static str,
    make: impl Fn() -> M + Send + Sync + 'a,
) -> Part<'a> {
    Box::new(move |rope| {
        let written = codec::encode(media, &make());
        match media {
            MediaType::Protobuf => *rope = Rope::from(written),
            // `{"list":[..]}`, or `{}` when there is nothing in it. The first bracket becomes the comma before the elements.
            MediaType::Json if written.len() > list.len() + 7 => {
                let mut written = written;
                let before = list.len() + 4;
                written[before] = b',';
                let end = written.len() - 2;
                rope.push(Bytes::from(written).slice(before..end));
            }
            MediaType::Json => {}
        }
    })
}

fn tasks_section<'a>(snapshot: &'a Snapshot, media: MediaType, number: u8) -> Section<'a> {
    let mut lists: [Vec<(&str, &Held)>; 3] = Default::default();
    for (id, framework) in snapshot.frameworks.iter() {
        for held in framework.tasks.values() {
            let list = usize::from(held.task.state == TaskState::Unreachable);
            lists[list].push((id.as_str(), held));
        }
    }
    let gone = snapshot.completed.iter().map(|completed| &completed.framework);
    for framework in snapshot.frameworks.values().map(AsRef::as_ref).chain(gone) {
        let id = framework.view.info.id.as_ref().map_or("", |id| id.as_str());
        lists[2].extend(framework.completed.iter().map(|held| (id, held.as_ref())));
    }
    let names = ["tasks", "unreachable_tasks", "completed_tasks"];
    let lists = names.into_iter().zip(lists).enumerate().map(|(which, (name, all))| {
        let parts = all.chunks(ELEMENTS).map(|some| {
            let some = some.to_vec();
            part(media, name, move || {
                let shown =
                    some.iter().map(|(id, held)| task::shown_to_v1(&held.task, id, held.role.as_str())).collect();
                match which {
                    0 => GetTasks { tasks: shown, ..GetTasks::default() },
                    1 => GetTasks { unreachable_tasks: shown, ..GetTasks::default() },
                    _ => GetTasks { completed_tasks: shown, ..GetTasks::default() },
                }
            })
        });
        (name, parts.collect())
    });
    Section { name: "get_tasks", number, lists: lists.collect() }
}

fn frameworks_section(snapshot: &Snapshot, media: MediaType) -> Section<'_> {
    let present = snapshot.frameworks.iter().map(|(id, framework)| {
        let make = move || GetFrameworks {
            frameworks: vec![operator::framework(snapshot, id, framework)],
            ..GetFrameworks::default()
        };
        part(media, "frameworks", make)
    });
    let gone = move || GetFrameworks {
        completed_frameworks: operator::completed_frameworks(snapshot),
        ..GetFrameworks::default()
    };
    let lists = vec![
        ("frameworks", present.collect()),
        ("completed_frameworks", vec![part(media, "completed_frameworks", gone)]),
    ];
    Section { name: "get_frameworks", number: field::STATE_GET_FRAMEWORKS, lists }
}

fn agents_section(snapshot: &Snapshot, media: MediaType) -> Section<'_> {
    let books = Arc::new(Books::of(snapshot));
    let (present, recovered): (Vec<_>, Vec<_>) = snapshot.agents.iter().partition(|(_, view)| view.registered);
    let present = present.chunks(ELEMENTS).map(|some| {
        let (some, books) = (some.to_vec(), Arc::clone(&books));
        part(media, "agents", move || GetAgents {
            agents: some.iter().map(|(id, view)| operator::agent(id, view, &books)).collect(),
            ..GetAgents::default()
        })
    });
    let present = present.collect();
    let recovered = recovered.chunks(ELEMENTS).map(|some| {
        let some = some.to_vec();
        part(media, "recovered_agents", move || GetAgents {
            recovered_agents: some.iter().map(|(_, view)| convert_agent::to_v1(&view.info)).collect(),
            ..GetAgents::default()
        })
    });
    let lists = vec![("agents", present), ("recovered_agents", recovered.collect())];
    Section { name: "get_agents", number: field::STATE_GET_AGENTS, lists }
}

/// All sections, one behind the other, as fields of the message around them.
fn messages(media: MediaType, sections: Vec<Section<'_>>) -> Rope {
    let mut parts = Vec::new();
    let mut shape = Vec::new();
    for section in sections {
        let lists: Vec<(&str, usize)> = section.lists.iter().map(|(name, parts)| (*name, parts.len())).collect();
        shape.push((section.name, section.number, lists));
        parts.extend(section.lists.into_iter().flat_map(|(_, parts)| parts));
    }
    let mut written = written(&parts).into_iter();
    let mut out = Rope::default();
    for (name, number, lists) in shape {
        let mut message = Rope::default();
        for (list, count) in lists {
            let elements: Vec<Rope> = written.by_ref().take(count).filter(|rope| rope.len() > 0).collect();
            match media {
                MediaType::Protobuf => elements.into_iter().for_each(|rope| message.append(rope)),
                MediaType::Json if elements.is_empty() => {}
                MediaType::Json => {
                    let comma = if message.len() > 0 { "," } else { "" };
                    message.room().extend_from_slice(format!("{comma}\"{list}\":[").as_bytes());
                    for (at, rope) in elements.into_iter().enumerate() {
                        message.append(if at == 0 { rope.without_first() } else { rope });
                    }
                    message.room().push(b']');
                }
            }
        }
        enclose(media, &mut out, name, number, message);
    }
    out
}

/// Puts a message into the one around it.
fn enclose(media: MediaType, out: &mut Rope, name: &str, number: u8, message: Rope) {
    match media {
        MediaType::Protobuf => {
            // The key of a field whose value has a length.
            out.room().push(number << 3 | 2);
            prost::encode_length_delimiter(message.len(), out.room()).expect("a vector grows");
            out.append(message);
        }
        MediaType::Json => {
            let comma = if out.len() > 0 { "," } else { "" };
            out.room().extend_from_slice(format!("{comma}\"{name}\":{{").as_bytes());
            out.append(message);
            out.room().push(b'}');
        }
    }
}

fn answered(media: MediaType, kind: response::Type, part: Rope) -> Answer {
    answer::pieces(media.name(), response_of(media, kind, part))
}

/// `Response` of a type with one part.
fn response_of(media: MediaType, kind: response::Type, part: Rope) -> Rope {
    let mut out = Rope::default();
    match media {
        // The type's key: a number of variable length in few bits.
        MediaType::Protobuf => out.room().extend_from_slice(&[field::RESPONSE_TYPE << 3, kind as u8]),
        MediaType::Json => out.room().extend_from_slice(format!("{{\"type\":\"{}\",", kind.as_str_name()).as_bytes()),
    }
    out.append(part);
    if media == MediaType::Json {
        out.room().push(b'}');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::master::Response;
    use crate::v1::mesos as v1;

    fn list(media: MediaType, name: &'static str, make: fn(Vec<v1::Task>) -> GetTasks, ids: &[&str]) -> Part<'static> {
        let task = |id: &&str| v1::Task { task_id: v1::TaskId { value: (*id).to_owned() }, ..v1::Task::default() };
        let tasks: Vec<v1::Task> = ids.iter().map(task).collect();
        part(media, name, move || make(tasks.clone()))
    }

    fn some(media: MediaType, number: u8) -> Section<'static> {
        let running = |tasks| GetTasks { tasks, ..GetTasks::default() };
        let gone = |completed_tasks| GetTasks { completed_tasks, ..GetTasks::default() };
        let lists = vec![
            ("tasks", vec![list(media, "tasks", running, &["a", "b"]), list(media, "tasks", running, &["c"])]),
            ("unreachable_tasks", vec![]),
            (
                "completed_tasks",
                vec![list(media, "completed_tasks", gone, &[]), list(media, "completed_tasks", gone, &["d"])],
            ),
        ];
        Section { name: "get_tasks", number, lists }
    }

    #[test]
    fn what_is_written_by_hand_is_what_the_schema_writes() {
        let task = |id: &str| v1::Task { task_id: v1::TaskId { value: id.to_owned() }, ..v1::Task::default() };
        let get_tasks = Some(GetTasks {
            tasks: vec![task("a"), task("b"), task("c")],
            completed_tasks: vec![task("d")],
            ..GetTasks::default()
        });
        assert!((response::Type::GetState as i32) < 128 && (response::Type::GetTasks as i32) < 128);
        for media in [MediaType::Protobuf, MediaType::Json] {
            let read = |kind: response::Type, body: Rope| {
                let bytes = response_of(media, kind, body).into_pieces().concat();
                codec::decode::<Response>(media, &bytes).expect("a response")
            };
            let expected = Response {
                r#type: Some(response::Type::GetTasks as i32),
                get_tasks: get_tasks.clone(),
                ..Response::default()
            };
            let section = some(media, field::RESPONSE_GET_TASKS);
            assert_eq!(read(response::Type::GetTasks, messages(media, vec![section])), expected);
            let none = |name, number| Section { name, number, lists: Vec::new() };
            let sections = vec![
                some(media, field::STATE_GET_TASKS),
                none("get_executors", field::STATE_GET_EXECUTORS),
                none("get_frameworks", field::STATE_GET_FRAMEWORKS),
                none("get_agents", field::STATE_GET_AGENTS),
            ];
            let mut state = Rope::default();
            enclose(media, &mut state, "get_state", field::RESPONSE_GET_STATE, messages(media, sections));
            let get_state = response::GetState {
                get_tasks: get_tasks.clone(),
                get_executors: Some(GetExecutors::default()),
                get_frameworks: Some(GetFrameworks::default()),
                get_agents: Some(GetAgents::default()),
            };
            let expected = Response {
                r#type: Some(response::Type::GetState as i32),
                get_state: Some(get_state),
                ..Response::default()
            };
            assert_eq!(read(response::Type::GetState, state), expected);
        }
    }
}

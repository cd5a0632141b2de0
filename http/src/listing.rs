//! GET_TASKS and GET_STATE: the answers that grow with the number of tasks. Each task is converted and written before the
//! next is looked at, so that no list of a hundred thousand messages is made first.
//!
//! What is written is the wire form of `Response`, a field at a time; JSON is made of that, as everywhere.

use kaon_kernel::task::TaskState;
use prost::Message as _;

use crate::answer::{self, Answer};
use crate::codec::{MediaType, Schema};
use crate::convert::task;
use crate::operator;
use crate::v1::master::{Response, response};
use crate::view::Snapshot;

/// The numbers of the fields that are written here by hand. A test compares them with the schema's own encoding.
mod field {
    pub(super) const RESPONSE_TYPE: u8 = 1;
    pub(super) const RESPONSE_GET_STATE: u8 = 9;
    pub(super) const RESPONSE_GET_TASKS: u8 = 13;
    pub(super) const STATE_GET_TASKS: u8 = 1;
    pub(super) const TASKS: u8 = 2;
    pub(super) const COMPLETED: u8 = 3;
    pub(super) const UNREACHABLE: u8 = 5;
}

/// The key of a field whose value has a length.
const fn key(number: u8) -> u8 {
    number << 3 | 2
}

fn push(out: &mut Vec<u8>, number: u8, body: &[u8]) {
    out.push(key(number));
    prost::encode_length_delimiter(body.len(), out).expect("a vector grows");
    out.extend_from_slice(body);
}

/// GET_TASKS.
pub(crate) fn tasks(snapshot: &Snapshot, media: MediaType) -> Answer {
    answered(response::Type::GetTasks, field::RESPONSE_GET_TASKS, &tasks_body(snapshot), media)
}

/// GET_STATE.
pub(crate) fn state(snapshot: &Snapshot, media: MediaType) -> Answer {
    let mut body = Vec::new();
    push(&mut body, field::STATE_GET_TASKS, &tasks_body(snapshot));
    let rest = response::GetState {
        get_tasks: None,
        get_executors: Some(operator::executors(snapshot)),
        get_frameworks: Some(operator::frameworks(snapshot)),
        get_agents: Some(operator::agents(snapshot)),
    };
    rest.encode(&mut body).expect("a vector grows");
    answered(response::Type::GetState, field::RESPONSE_GET_STATE, &body, media)
}

fn answered(kind: response::Type, number: u8, body: &[u8], media: MediaType) -> Answer {
    // The type's key: a number of variable length in few bits.
    let mut wire = vec![field::RESPONSE_TYPE << 3, kind as u8];
    wire.reserve(body.len() + 16);
    push(&mut wire, number, body);
    let bytes = match media {
        MediaType::Protobuf => wire,
        MediaType::Json => Schema::of::<Response>().to_json(&wire).expect("prost wrote these bytes for this type"),
    };
    answer::message(media, bytes)
}

/// The body of `GetTasks`.
fn tasks_body(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, framework) in snapshot.frameworks.iter() {
        for held in framework.tasks.values() {
            let number = if held.task.state == TaskState::Unreachable { field::UNREACHABLE } else { field::TASKS };
            out.push(key(number));
            let shown = task::shown_to_v1(&held.task, id.as_str(), held.role.as_str());
            shown.encode_length_delimited(&mut out).expect("a vector grows");
        }
    }
    let gone = snapshot.completed.iter().map(|completed| &completed.framework);
    for framework in snapshot.frameworks.values().map(AsRef::as_ref).chain(gone) {
        let id = framework.view.info.id.as_ref().map_or("", |id| id.as_str());
        for held in framework.completed.iter() {
            out.push(key(field::COMPLETED));
            let shown = task::shown_to_v1(&held.task, id, held.role.as_str());
            shown.encode_length_delimited(&mut out).expect("a vector grows");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::mesos as v1;

    #[test]
    fn what_is_written_by_hand_is_what_the_schema_writes() {
        let task = |id: &str| v1::Task { task_id: v1::TaskId { value: id.to_owned() }, ..v1::Task::default() };
        let tasks = response::GetTasks {
            tasks: vec![task("a")],
            completed_tasks: vec![task("b")],
            unreachable_tasks: vec![task("c")],
            ..response::GetTasks::default()
        };
        let mut body = Vec::new();
        for (number, id) in [(field::TASKS, "a"), (field::COMPLETED, "b"), (field::UNREACHABLE, "c")] {
            push(&mut body, number, &task(id).encode_to_vec());
        }
        assert_eq!(response::GetTasks::decode(body.as_slice()), Ok(tasks.clone()));
        let answer = |kind: response::Type, number, body: &[u8]| {
            let mut wire = vec![field::RESPONSE_TYPE << 3, kind as u8];
            push(&mut wire, number, body);
            Response::decode(wire.as_slice())
        };
        let expected = Response {
            r#type: Some(response::Type::GetTasks as i32),
            get_tasks: Some(tasks.clone()),
            ..Response::default()
        };
        assert_eq!(answer(response::Type::GetTasks, field::RESPONSE_GET_TASKS, &body), Ok(expected));
        let mut state = Vec::new();
        push(&mut state, field::STATE_GET_TASKS, &body);
        let get_state = response::GetState { get_tasks: Some(tasks), ..response::GetState::default() };
        let expected = Response {
            r#type: Some(response::Type::GetState as i32),
            get_state: Some(get_state),
            ..Response::default()
        };
        assert_eq!(answer(response::Type::GetState, field::RESPONSE_GET_STATE, &state), Ok(expected));
        assert!((response::Type::GetState as i32) < 128 && (response::Type::GetTasks as i32) < 128);
    }
}

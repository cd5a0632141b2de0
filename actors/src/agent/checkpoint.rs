//! What an agent keeps in its journal, and how it is written and read.
//!
//! Keys are texts, so that people can read a journal; ids hold no slash (`kernel/src/id.rs`), so parts can't run into
//! each other. In ascending order, which is the order of replay:
//!
//! ```text
//! agent                              who I am, and the newest term that I saw
//! drain                              how I am drained, while I am
//! executor/CONTAINER                 a container that was or will be started
//! framework/FRAMEWORK                whose tasks these are
//! operation/UUID                     what becomes of resources, as far as its end is not acknowledged
//! resources                          what was reserved or made into volumes at run time
//! stream/FRAMEWORK/TASK              how far the statuses of a task have come
//! task/FRAMEWORK/TASK                what was launched
//! update/FRAMEWORK/TASK/SEQUENCE     a status that its scheduler has not acknowledged
//! ```
//!
//! A value is one byte for the version of its layout and then an archive, checked in full when it is read. A record that
//! does not read is skipped and counted by `recovery.rs`, and stays where it is for people to look at.

use kaon_kernel::actor::{Record, Term};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{ContainerId, ExecutorId, FrameworkId, RoleName, TaskId, Uuid};
use kaon_kernel::maintenance::DrainConfig;
use kaon_kernel::operation::HeldOperation;
use kaon_kernel::placement::Placement;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{ExecutorInfo, TaskInfo, TaskState, TaskStatus};
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

/// The layout of the records below; raise it with every change of one.
const VERSION: u8 = 4;

/// Who the agent is.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub(super) struct AgentRecord {
    pub(super) info: AgentInfo,
    pub(super) term: Term,
}

/// A container with its executor.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub(super) struct ExecutorRecord {
    pub(super) framework_id: FrameworkId,
    pub(super) info: ExecutorInfo,
    pub(super) role: RoleName,
    pub(super) container_id: ContainerId,
    pub(super) pid: Option<u32>,
    pub(super) addresses: Vec<String>,
}

/// A task as it was launched.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub(super) struct TaskRecord {
    pub(super) framework_id: FrameworkId,
    pub(super) info: TaskInfo,
    pub(super) executor_id: ExecutorId,
    pub(super) container_id: Option<ContainerId>,
    pub(super) group: Option<Uuid>,
    pub(super) placement: Option<Placement>,
}

/// How far the statuses of a task have come.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub(super) struct StreamRecord {
    pub(super) framework_id: FrameworkId,
    pub(super) task_id: TaskId,
    pub(super) next: u64,
    pub(super) seen: Vec<Uuid>,
    pub(super) state: TaskState,
    pub(super) statuses: Vec<TaskStatus>,
}

/// A status that is not acknowledged.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub(super) struct UpdateRecord {
    pub(super) framework_id: FrameworkId,
    pub(super) sequence: u64,
    pub(super) status: TaskStatus,
}

/// One record of a journal, read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Agent(AgentRecord),
    Drain(DrainConfig),
    Executor(ExecutorRecord),
    Framework(FrameworkInfo),
    Operation(Box<HeldOperation>),
    Resources(Resources),
    Stream(StreamRecord),
    Task(Box<TaskRecord>),
    Update(UpdateRecord),
}

/// Why a record does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// No kind of record has such a key.
    #[error("unknown key")]
    Key,
    /// The value has another layout.
    #[error("layout {0:?}, this build reads {VERSION}")]
    Version(Option<u8>),
    /// The value is no archive of its kind.
    #[error("damaged value")]
    Value,
}

pub(super) const AGENT_KEY: &str = "agent";
pub(super) const DRAIN_KEY: &str = "drain";
pub(super) const RESOURCES_KEY: &str = "resources";

pub(super) fn executor_key(container: &ContainerId) -> String {
    ["executor/", container.as_str()].concat()
}
pub(super) fn framework_key(framework: &FrameworkId) -> String {
    ["framework/", framework.as_str()].concat()
}
pub(super) fn operation_key(operation: Uuid) -> String {
    ["operation/", &operation.to_string()].concat()
}
pub(super) fn stream_key(framework: &FrameworkId, task: &TaskId) -> String {
    ["stream/", framework.as_str(), "/", task.as_str()].concat()
}
pub(super) fn task_key(framework: &FrameworkId, task: &TaskId) -> String {
    ["task/", framework.as_str(), "/", task.as_str()].concat()
}
/// Sequences are written with all their digits, so that the order of keys is that of time.
pub(super) fn update_key(framework: &FrameworkId, task: &TaskId, sequence: u64) -> String {
    let digits: [u8; 16] = core::array::from_fn(|at| b"0123456789abcdef"[(sequence >> (60 - 4 * at) & 15) as usize]);
    let digits = core::str::from_utf8(&digits).expect("hexadecimal digits are text");
    ["update/", framework.as_str(), "/", task.as_str(), "/", digits].concat()
}

/// What is set aside for a value while it is written: most fit without growing.
const BYTES_USUAL: usize = 1024;

/// Writes a value. Cost: one pass over it.
pub(super) fn write<T>(value: &T) -> Vec<u8>
where
    T: for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, rancor::Error>>,
{
    let room = AlignedVec::with_capacity(BYTES_USUAL);
    let archive = rkyv::api::high::to_bytes_in::<_, rancor::Error>(value, room).expect("writing to memory can't fail");
    let mut bytes = Vec::with_capacity(archive.len() + 1);
    bytes.push(VERSION);
    bytes.extend_from_slice(&archive);
    bytes
}

fn read_value<T>(bytes: &[u8]) -> Result<T, Error>
where
    T: Archive,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Error>> + Deserialize<T, HighDeserializer<rancor::Error>>,
{
    match bytes.split_first() {
        Some((&VERSION, archive)) => {
            let mut aligned = AlignedVec::<16>::with_capacity(archive.len());
            aligned.extend_from_slice(archive);
            rkyv::from_bytes::<T, rancor::Error>(&aligned).map_err(|_| Error::Value)
        }
        other => Err(Error::Version(other.map(|(version, _)| *version))),
    }
}

/// Reads one record. A value that names something else than its key is damaged.
pub(super) fn read(record: &Record) -> Result<Entry, Error> {
    let key = core::str::from_utf8(&record.key).map_err(|_| Error::Key)?;
    let value = &record.value;
    let (entry, belongs_to) = match key.split('/').next() {
        Some("agent") => (Entry::Agent(read_value(value)?), AGENT_KEY.to_owned()),
        Some("drain") => (Entry::Drain(read_value(value)?), DRAIN_KEY.to_owned()),
        Some("executor") => {
            let record = read_value::<ExecutorRecord>(value)?;
            let key = executor_key(&record.container_id);
            (Entry::Executor(record), key)
        }
        Some("framework") => {
            let info = read_value::<FrameworkInfo>(value)?;
            let key = framework_key(info.id.as_ref().ok_or(Error::Value)?);
            (Entry::Framework(info), key)
        }
        Some("operation") => {
            let held = read_value::<HeldOperation>(value)?;
            let key = operation_key(held.uuid);
            (Entry::Operation(Box::new(held)), key)
        }
        Some("resources") => (Entry::Resources(read_value(value)?), RESOURCES_KEY.to_owned()),
        Some("stream") => {
            let record = read_value::<StreamRecord>(value)?;
            let key = stream_key(&record.framework_id, &record.task_id);
            (Entry::Stream(record), key)
        }
        Some("task") => {
            let record = read_value::<TaskRecord>(value)?;
            let key = task_key(&record.framework_id, &record.info.task_id);
            (Entry::Task(Box::new(record)), key)
        }
        Some("update") => {
            let record = read_value::<UpdateRecord>(value)?;
            let key = update_key(&record.framework_id, &record.status.task_id, record.sequence);
            (Entry::Update(record), key)
        }
        _ => return Err(Error::Key),
    };
    if belongs_to == key { Ok(entry) } else { Err(Error::Value) }
}

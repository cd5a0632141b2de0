//! One raft message between two registrars, as bytes.
//!
//! An rkyv archive behind a version byte, and not raft-rs's own protobuf: its parser (protobuf 2) overflows the stack on
//! nested unknown groups (RUSTSEC-2024-0437), and what comes from another machine is validated here as everywhere else
//! (law L3). Only the messages are carried that a group of fixed voters sends each other; what raft-rs knows beside them
//! (forwarded proposals, read index, transfer of leadership) can't be put into these words.

use super::consensus::Refusal;
use super::journal::{COUNT_MAX, aligned, is_operation, is_registry};
use raft::prelude::{ConfState, Entry, Message, MessageType, Snapshot};
use rkyv::{Archive, Deserialize, Serialize};

/// Version of the layout, also when the operations in it change theirs.
const VERSION: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
enum Kind {
    Append,
    AppendResponse,
    Vote,
    VoteResponse,
    PreVote,
    PreVoteResponse,
    Snapshot,
    Heartbeat,
    HeartbeatResponse,
}

const KINDS: [(Kind, MessageType); 9] = [
    (Kind::Append, MessageType::MsgAppend),
    (Kind::AppendResponse, MessageType::MsgAppendResponse),
    (Kind::Vote, MessageType::MsgRequestVote),
    (Kind::VoteResponse, MessageType::MsgRequestVoteResponse),
    (Kind::PreVote, MessageType::MsgRequestPreVote),
    (Kind::PreVoteResponse, MessageType::MsgRequestPreVoteResponse),
    (Kind::Snapshot, MessageType::MsgSnapshot),
    (Kind::Heartbeat, MessageType::MsgHeartbeat),
    (Kind::HeartbeatResponse, MessageType::MsgHeartbeatResponse),
];

#[derive(Archive, Serialize, Deserialize)]
struct Wire {
    kind: Kind,
    from: u64,
    to: u64,
    term: u64,
    log_term: u64,
    index: u64,
    commit: u64,
    commit_term: u64,
    reject: bool,
    reject_hint: u64,
    entries: Vec<WireEntry>,
    snapshot: Option<WireSnapshot>,
}

#[derive(Archive, Serialize, Deserialize)]
struct WireEntry {
    index: u64,
    term: u64,
    operation: Vec<u8>,
}

#[derive(Archive, Serialize, Deserialize)]
struct WireSnapshot {
    index: u64,
    term: u64,
    voters: Vec<u64>,
    registry: Vec<u8>,
}

/// Writes a message that the engine sends.
///
/// # Panics
/// When it is of a type that a group of fixed voters does not send.
pub(super) fn encode(message: &Message) -> Vec<u8> {
    let sought = message.get_msg_type();
    let kind = KINDS.iter().find(|(_, kind)| *kind == sought);
    let (kind, _) = kind.unwrap_or_else(|| panic!("{sought:?} is not sent between registrars"));
    let entries = message.entries.iter();
    let snapshot = message.get_snapshot();
    let wire = Wire {
        kind: *kind,
        from: message.from,
        to: message.to,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        entries: entries
            .map(|entry| WireEntry { index: entry.index, term: entry.term, operation: entry.data.to_vec() })
            .collect(),
        snapshot: (!snapshot.is_empty()).then(|| WireSnapshot {
            index: snapshot.get_metadata().index,
            term: snapshot.get_metadata().term,
            voters: snapshot.get_metadata().get_conf_state().voters.clone(),
            registry: snapshot.data.to_vec(),
        }),
    };
    let mut bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&wire).expect("writing to memory can't fail").into_vec();
    bytes.push(VERSION);
    bytes
}

/// Reads a message of the voter `from` to the voter `to` of the group `voters`, and checks all that can be checked
/// without the log. Linear cost.
pub(super) fn decode(bytes: &[u8], from: u64, to: u64, voters: &[u64]) -> Result<Message, Refusal> {
    let (version, archive) = bytes.split_last().ok_or(Refusal::Malformed)?;
    if *version != VERSION {
        return Err(Refusal::Malformed);
    }
    let wire = rkyv::from_bytes::<Wire, rkyv::rancor::Failure>(&aligned(archive)).map_err(|_| Refusal::Malformed)?;
    check(&wire, from, to, voters)?;
    let (_, kind) = KINDS.iter().find(|(kind, _)| *kind == wire.kind).ok_or(Refusal::Malformed)?;
    let mut message = Message::default();
    message.set_msg_type(*kind);
    (message.from, message.to, message.term) = (wire.from, wire.to, wire.term);
    (message.log_term, message.index) = (wire.log_term, wire.index);
    (message.commit, message.commit_term) = (wire.commit, wire.commit_term);
    (message.reject, message.reject_hint) = (wire.reject, wire.reject_hint);
    let entries = wire.entries.into_iter().map(|line| {
        let mut entry = Entry::default();
        (entry.index, entry.term, entry.data) = (line.index, line.term, line.operation.into());
        entry
    });
    message.set_entries(entries.collect::<Vec<_>>().into());
    if let Some(wire) = wire.snapshot {
        let mut snapshot = Snapshot { data: wire.registry.into(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (wire.index, wire.term);
        metadata.set_conf_state(ConfState::from((wire.voters, Vec::new())));
        message.set_snapshot(snapshot);
    }
    Ok(message)
}

fn check(wire: &Wire, from: u64, to: u64, voters: &[u64]) -> Result<(), Refusal> {
    if wire.from != from || wire.to != to {
        return Err(Refusal::Absurd("of or for another voter"));
    }
    let counts = [wire.term, wire.log_term, wire.index, wire.commit, wire.commit_term];
    if wire.term == 0 || counts.iter().any(|count| *count > COUNT_MAX) {
        return Err(Refusal::Absurd("a term or an index out of range"));
    }
    if wire.snapshot.is_some() != (wire.kind == Kind::Snapshot) {
        return Err(Refusal::Absurd("a snapshot in a message of another kind, or none in its own"));
    }
    if !wire.entries.is_empty() && wire.kind != Kind::Append {
        return Err(Refusal::Absurd("entries in a message of another kind"));
    }
    let (mut index, mut term) = (wire.index, wire.log_term);
    for entry in &wire.entries {
        if entry.index != index + 1 || entry.term < term || entry.term > wire.term {
            return Err(Refusal::Absurd("entries out of order"));
        }
        if !entry.operation.is_empty() && !is_operation(&entry.operation) {
            return Err(Refusal::Absurd("an entry that is no operation"));
        }
        (index, term) = (entry.index, entry.term);
    }
    if let Some(snapshot) = &wire.snapshot {
        if snapshot.index == 0 || snapshot.index > COUNT_MAX || snapshot.term > wire.term {
            return Err(Refusal::Absurd("a snapshot of no place in the log"));
        }
        if snapshot.voters != voters {
            return Err(Refusal::Absurd("a snapshot of another group"));
        }
        if !is_registry(&snapshot.registry) {
            return Err(Refusal::Absurd("a snapshot that is no registry"));
        }
    }
    Ok(())
}

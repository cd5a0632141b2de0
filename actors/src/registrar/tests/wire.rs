//! Messages between registrars, as bytes.

use super::*;
use crate::registrar::consensus::Refusal;
use crate::registrar::wire::{decode, encode};
use kaon_kernel::chance::Chance;
use raft::prelude::{ConfState, Entry, Message, MessageType};

fn append() -> Message {
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgAppend);
    (message.from, message.to, message.term, message.index, message.log_term) = (2, 1, 7, 10, 6);
    let entries = (0..3).map(|at| {
        let mut entry = Entry::default();
        (entry.index, entry.term) = (11 + at, 6 + at / 2);
        let operation = admit_framework("f");
        entry.data = rkyv::to_bytes::<rkyv::rancor::Error>(&operation).unwrap().into_vec().into();
        entry
    });
    message.set_entries(entries.collect::<Vec<_>>().into());
    message
}

fn snapshot() -> Message {
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgSnapshot);
    (message.from, message.to, message.term) = (2, 1, 7);
    let registry = kaon_kernel::message::registrar::Registry::default();
    let snapshot = message.mut_snapshot();
    snapshot.data = rkyv::to_bytes::<rkyv::rancor::Error>(&registry).unwrap().into_vec().into();
    let metadata = snapshot.mut_metadata();
    (metadata.index, metadata.term) = (9, 6);
    metadata.set_conf_state(ConfState::from((vec![1, 2, 3], Vec::new())));
    message
}

fn reread(message: &Message) -> Result<Message, Refusal> {
    decode(&encode(message), 2, 1, &[1, 2, 3])
}

#[test]
fn messages_come_back_as_they_were() {
    for message in [append(), snapshot()] {
        assert_eq!(reread(&message).unwrap(), message);
    }
}

#[test]
fn what_no_voter_sends_is_refused() {
    let refused = |change: &dyn Fn(&mut Message)| {
        let mut message = append();
        change(&mut message);
        assert!(matches!(reread(&message), Err(Refusal::Absurd(_))), "{message:?}");
    };
    refused(&|message| message.from = 3);
    refused(&|message| message.to = 3);
    refused(&|message| message.term = 0);
    refused(&|message| message.term = u64::MAX);
    refused(&|message| message.index = 12);
    refused(&|message| message.log_term = 8);
    refused(&|message| message.mut_entries()[2].term = 8);
    refused(&|message| message.mut_entries()[1].index = 13);
    refused(&|message| message.mut_entries()[1].data = vec![1, 2, 3].into());
    refused(&|message| message.set_msg_type(MessageType::MsgHeartbeat));
    refused(&|message| message.set_snapshot(snapshot().take_snapshot()));
    let mut message = snapshot();
    message.mut_snapshot().data = vec![9; 7].into();
    assert!(matches!(reread(&message), Err(Refusal::Absurd(_))));
    let mut message = snapshot();
    message.mut_snapshot().mut_metadata().mut_conf_state().voters.pop();
    assert!(matches!(reread(&message), Err(Refusal::Absurd(_))));
}

#[test]
fn bytes_from_anywhere_are_survived() {
    let mut chance = Chance::new(3);
    for message in [append(), snapshot()] {
        let whole = encode(&message);
        for length in 0..whole.len() {
            assert!(decode(&whole[..length], 2, 1, &[1, 2, 3]).is_err(), "{length} bytes");
        }
        for _ in 0..2_000 {
            let mut bytes = whole.clone();
            for _ in 0..=chance.below(8) {
                let at = chance.below(bytes.len() as u64) as usize;
                bytes[at] = chance.bits() as u8;
            }
            // Whatever comes of it, it is a message that passed the checks, or a refusal.
            if let Ok(message) = decode(&bytes, 2, 1, &[1, 2, 3]) {
                assert_eq!((message.from, message.to), (2, 1));
            }
        }
    }
    let empty: [&[u8]; 2] = [&[], &[0; 64]];
    assert!(empty.iter().all(|bytes| decode(bytes, 2, 1, &[1, 2, 3]) == Err(Refusal::Malformed)));
}

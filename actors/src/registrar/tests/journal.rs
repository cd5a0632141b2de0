//! The records, and the damage that is noticed.

use super::*;
use crate::registrar::journal::{self, Charter, Hard, Mark};
use crate::registrar::{JournalError as Error, Peer};
use kaon_kernel::actor::{Batch, Operation, Record};
use kaon_kernel::chance::Chance;

fn charter() -> Charter {
    Charter { number: 1, voters: vec![1, 2, 3] }
}

fn archive(operation: &RegistryOperation) -> Vec<u8> {
    rkyv::to_bytes::<rkyv::rancor::Error>(operation).unwrap().into_vec()
}

fn registry() -> Vec<u8> {
    let registry = kaon_kernel::message::registrar::Registry::default();
    rkyv::to_bytes::<rkyv::rancor::Error>(&registry).unwrap().into_vec()
}

/// A journal with a snapshot of 5, a floor of 3, and entries 4 to 7.
fn records() -> Vec<Record> {
    let mut batch = Batch::default();
    journal::put_charter(&mut batch, &charter());
    for index in 4..=7 {
        journal::put_line(&mut batch, Mark { index, term: 2 }, &archive(&admit_framework("f")));
    }
    journal::put_hard(&mut batch, Hard { term: 3, vote: 2, commit: 6 });
    journal::put_portrait(&mut batch, Mark { index: 5, term: 2 }, Mark { index: 3, term: 1 }, &registry());
    let records = batch.0.into_iter().map(|operation| match operation {
        Operation::Put(record) => record,
        Operation::Delete(key) => panic!("{key:?} is deleted"),
    });
    records.collect()
}

fn without(key: &[u8]) -> Vec<Record> {
    records().into_iter().filter(|record| record.key != key).collect()
}

fn entry_key(index: u8) -> Vec<u8> {
    vec![b'e', 0, 0, 0, 0, 0, 0, 0, index]
}

fn replaced(write: impl FnOnce(&mut Batch)) -> Result<Option<journal::Journal>, Error> {
    let mut batch = Batch::default();
    write(&mut batch);
    let mut records = records();
    for operation in batch.0 {
        let Operation::Put(new) = operation else { panic!("only writes") };
        records.retain(|record| record.key != new.key);
        records.push(new);
    }
    records.sort_by(|one, other| one.key.cmp(&other.key));
    journal::load(&records, &charter())
}

#[test]
fn a_whole_journal_is_read_back() {
    let journal = journal::load(&records(), &charter()).unwrap().unwrap();
    assert_eq!(journal.hard, Hard { term: 3, vote: 2, commit: 6 });
    assert_eq!(journal.lines.iter().map(|line| line.mark.index).collect::<Vec<_>>(), [4, 5, 6, 7]);
    assert_eq!(journal.portrait.unwrap().floor, Mark { index: 3, term: 1 });
    assert_eq!(journal::load(&[], &charter()), Ok(None));
}

#[test]
fn what_is_missing_is_named() {
    let load = |records: Vec<Record>| journal::load(&records, &charter());
    assert_eq!(load(without(b"c")), Err(Error::Missing("charter")));
    assert_eq!(load(without(b"h")), Err(Error::Missing("hard state")));
    assert_eq!(load(without(&entry_key(4))), Err(Error::Gap { from: 4, to: 4 }));
    assert_eq!(load(without(&entry_key(6))), Err(Error::Gap { from: 6, to: 6 }));
    // Without its snapshot the log begins nowhere.
    assert_eq!(load(without(b"s")), Err(Error::Gap { from: 1, to: 3 }));
    // The last entry was not committed as far as this voter knows, so nothing is known to be missing.
    assert!(load(without(&entry_key(7))).is_ok());
    let committed = records().into_iter().filter(|record| record.key != entry_key(7) && record.key != entry_key(6));
    assert_eq!(load(committed.collect()), Err(Error::Gap { from: 6, to: 6 }));
    let short = records().into_iter().filter(|record| record.key[0] != b'e' || record.key == entry_key(4));
    assert_eq!(load(short.collect()), Err(Error::Gap { from: 5, to: 5 }));
}

#[test]
fn contradictions_are_named() {
    let hard = |hard| replaced(|batch| journal::put_hard(batch, hard));
    assert!(matches!(hard(Hard { term: 1, vote: 0, commit: 6 }), Err(Error::Contradiction(_))));
    assert!(matches!(hard(Hard { term: 3, vote: 0, commit: 4 }), Err(Error::Contradiction(_))));
    assert_eq!(hard(Hard { term: 3, vote: 0, commit: 9 }), Err(Error::Gap { from: 8, to: 9 }));
    let line = |index, term| replaced(|batch| journal::put_line(batch, Mark { index, term }, &[]));
    assert!(matches!(line(6, 1), Err(Error::Contradiction(_))));
    assert!(matches!(line(3, 1), Err(Error::Contradiction(_))));
    let snapshot = |mark, floor| replaced(|batch| journal::put_portrait(batch, mark, floor, &registry()));
    let floor = Mark { index: 3, term: 1 };
    assert!(matches!(snapshot(Mark { index: 5, term: 1 }, floor), Err(Error::Contradiction(_))));
    assert!(matches!(snapshot(Mark { index: 2, term: 1 }, floor), Err(Error::Value("snapshot"))));
    let stranger = Charter { number: 2, voters: vec![1, 2, 3] };
    assert!(matches!(journal::load(&records(), &stranger), Err(Error::Foreign { number: 1, configured: 2, .. })));
    let other = vec![Record { key: b"x".to_vec(), value: Vec::new() }];
    assert_eq!(journal::load(&other, &charter()), Err(Error::Key(b"x".to_vec())));
}

#[test]
fn no_flipped_bit_and_no_lost_tail_is_believed() {
    let mut chance = Chance::new(11);
    let whole = records();
    for at in 0..whole.len() {
        for _ in 0..200 {
            let mut records = whole.clone();
            let value = &mut records[at].value;
            let bit = chance.below(value.len() as u64 * 8) as usize;
            value[bit / 8] ^= 1 << (bit % 8);
            assert!(journal::load(&records, &charter()).is_err(), "bit {bit} of {:?}", records[at].key);
        }
        for length in 0..whole[at].value.len() {
            let mut records = whole.clone();
            records[at].value.truncate(length);
            assert!(journal::load(&records, &charter()).is_err(), "{length} bytes of {:?}", records[at].key);
        }
    }
    // One entry's record under another's key.
    let mut records = whole;
    let value = records[1].value.clone();
    records[2].value = value;
    assert_eq!(journal::load(&records, &charter()), Err(Error::Value("entry")));
}

#[test]
#[should_panic(
    expected = "registrar 1 can't start: entries 5 to 5 are missing. the journal of this registrar is damaged"
)]
fn a_registrar_refuses_a_torn_journal_and_says_what_to_do() {
    let mut rig =
        bench(RegistrarConfig::new(1, vec![Peer::numbered(1), Peer::numbered(2), Peer::numbered(3)]), HostId(1));
    rig.journal = without(&entry_key(5)).into_iter().map(|record| (record.key, record.value)).collect();
    rig.start();
}

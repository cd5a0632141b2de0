//! What every journal must do.

use super::*;
use kaon_kernel::actor::Operation;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// A place where journals are opened one after the other, and where they crash.
trait Bench {
    /// Opens the journal; an earlier one was closed or has crashed.
    fn open(&mut self) -> Box<dyn Journal>;
    /// The journal and all that it did not flush may be lost, as if its process was killed.
    fn crash(&mut self, journal: Box<dyn Journal>);
}

struct Memory {
    disk: MemoryDisk,
    survivors: Survivors,
}

impl Bench for Memory {
    fn open(&mut self) -> Box<dyn Journal> {
        Box::new(self.disk.open().expect("opens"))
    }
    fn crash(&mut self, journal: Box<dyn Journal>) {
        self.disk.crash(self.survivors);
        drop(journal);
    }
}

struct Sled {
    directory: tempfile::TempDir,
    life: usize,
}

impl Sled {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory"), life: 0 }
    }
}

impl Bench for Sled {
    fn open(&mut self) -> Box<dyn Journal> {
        Box::new(SledJournal::open(&self.directory.path().join(self.life.to_string())).expect("opens"))
    }
    /// A copy of the files as they are now is what a killed process leaves.
    fn crash(&mut self, journal: Box<dyn Journal>) {
        let now = self.directory.path().join(self.life.to_string());
        self.life += 1;
        copy_directory(&now, &self.directory.path().join(self.life.to_string()));
        drop(journal);
    }
}

pub(super) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn both(mut suite: impl FnMut(&mut dyn Bench)) {
    suite(&mut Memory { disk: MemoryDisk::default(), survivors: Survivors::First(0) });
    suite(&mut Sled::new());
}

#[test]
fn tables_are_ordered_separate_and_survive_a_close() {
    both(|bench| {
        let mut journal = bench.open();
        assert!(entries(&mut *journal, MASTER).is_empty());
        journal.write(MASTER, &[put(&[(b"b", b"1"), (b"a", b"2")]), put(&[(b"c", b""), (b"", b"empty")])]).unwrap();
        journal.write(AGENT, &[put(&[(b"a", b"other"), (&[0], b"zero"), (&[255; 3], b"high")])]).unwrap();
        journal.flush().unwrap();
        let mut change = put(&[(b"a", b"3")]);
        change.delete(*b"b");
        change.delete(*b"never there");
        change.put(*b"d", *b"gone at once");
        change.delete(*b"d");
        journal.write(MASTER, &[change]).unwrap();
        journal.flush().unwrap();
        for _ in 0..2 {
            assert_eq!(text(&entries(&mut *journal, MASTER)), "=empty a=3 c= ");
            let agent = entries(&mut *journal, AGENT);
            assert_eq!(agent.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>(), [&[0][..], b"a", &[255; 3]]);
            assert_eq!(journal.names().unwrap(), [MASTER, AGENT]);
            drop(journal);
            journal = bench.open();
        }
    });
}

#[test]
fn a_crash_takes_whole_batches_that_were_not_flushed_and_nothing_else() {
    both(|bench| {
        let mut journal = bench.open();
        journal.write(MASTER, &[put(&[(b"a", b"1"), (b"b", b"1")])]).unwrap();
        journal.flush().unwrap();
        journal.write(MASTER, &[put(&[(b"a", b"2"), (b"b", b"2")])]).unwrap();
        bench.crash(journal);
        let mut journal = bench.open();
        let found = text(&entries(&mut *journal, MASTER));
        assert!(["a=1 b=1 ", "a=2 b=2 "].contains(&&*found), "{found}");
        journal.write(MASTER, &[put(&[(b"c", b"3")])]).unwrap();
        journal.flush().unwrap();
        bench.crash(journal);
        assert!(text(&entries(&mut *bench.open(), MASTER)).ends_with("c=3 "));
    });
}

#[test]
fn a_forgotten_table_stays_empty_and_can_be_written_again() {
    both(|bench| {
        let mut journal = bench.open();
        journal.forget(AGENT).unwrap();
        journal.write(AGENT, &[put(&[(b"a", b"1")])]).unwrap();
        journal.write(MASTER, &[put(&[(b"m", b"1")])]).unwrap();
        journal.flush().unwrap();
        journal.forget(AGENT).unwrap();
        assert!(entries(&mut *journal, AGENT).is_empty());
        bench.crash(journal);
        let mut journal = bench.open();
        assert!(entries(&mut *journal, AGENT).is_empty());
        assert_eq!(journal.names().unwrap(), [MASTER]);
        journal.write(AGENT, &[put(&[(b"b", b"2")])]).unwrap();
        journal.flush().unwrap();
        drop(journal);
        assert_eq!(text(&entries(&mut *bench.open(), AGENT)), "b=2 ");
    });
}

#[test]
fn a_snapshot_brings_everything_back_and_half_a_snapshot_nothing() {
    let mut snapshot = Vec::new();
    both(|bench| {
        let mut journal = bench.open();
        let many: Vec<_> = (0..3000u32).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; n as usize % 50])).collect();
        let mut batch = Batch::default();
        many.iter().for_each(|(key, value)| batch.put(key.as_slice(), value.as_slice()));
        journal.write(MASTER, &[batch]).unwrap();
        journal.write(AGENT, &[put(&[(b"a", b"1")])]).unwrap();
        journal.flush().unwrap();
        let mut written = Vec::new();
        assert_eq!(export(&mut *journal, &mut written).unwrap(), 3001);
        assert!(matches!(import(&mut *journal, &mut &*written), Err(Error::Snapshot(_))), "it is not empty");
        assert!(snapshot.is_empty() || snapshot == written, "both journals write the same snapshot");
        let mut other = MemoryJournal::fresh();
        assert_eq!(import(&mut other, &mut &*written).unwrap(), 3001);
        assert_eq!(entries(&mut other, MASTER), many);
        assert_eq!(text(&entries(&mut other, AGENT)), "a=1 ");
        if !snapshot.is_empty() {
            return;
        }
        let step = written.len() / 97;
        for position in (0..written.len()).step_by(step) {
            let mut other = MemoryJournal::fresh();
            assert!(import(&mut other, &mut &written[..position]).is_err(), "cut at {position}");
            let mut flipped = written.clone();
            flipped[position] ^= 0x10;
            assert!(import(&mut other, &mut &*flipped).is_err(), "flipped at {position}");
            assert!(other.names().unwrap().is_empty());
        }
        let followed = [written.as_slice(), b"\0"].concat();
        assert!(import(&mut MemoryJournal::fresh(), &mut &*followed).is_err(), "something follows its end");
        snapshot = written;
    });
}

#[derive(Clone, Debug)]
enum Step {
    Write(Batch),
    Flush,
    Crash,
}

fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let operation = (0u8..6, prop::option::weighted(0.75, prop::collection::vec(any::<u8>(), 0..40)));
    let operation = operation.prop_map(|(key, value)| match value {
        Some(value) => Operation::Put(Record { key: vec![key], value }),
        None => Operation::Delete(vec![key]),
    });
    let step = prop_oneof![
        6 => prop::collection::vec(operation, 1..4).prop_map(|operations| Step::Write(Batch(operations))),
        3 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..length)
}

/// After any crash the journal is the state after some batch: not older than the last flush, and never between two.
fn crashes_keep_what_was_flushed(bench: &mut dyn Bench, steps: Vec<Step>) {
    type Table = BTreeMap<Vec<u8>, Vec<u8>>;
    let mut journal = bench.open();
    // States after each batch since the last flush, the flushed one first.
    let mut states = vec![Table::new()];
    for step in steps {
        match step {
            Step::Write(batch) => {
                journal.write(MASTER, std::slice::from_ref(&batch)).unwrap();
                let mut state = states.last().cloned().unwrap_or_default();
                for operation in batch.0 {
                    match operation {
                        Operation::Put(record) => state.insert(record.key, record.value),
                        Operation::Delete(key) => state.remove(&key),
                    };
                }
                states.push(state);
            }
            Step::Flush => {
                journal.flush().unwrap();
                states = states.split_off(states.len() - 1);
            }
            Step::Crash => {
                bench.crash(journal);
                journal = bench.open();
                let found: Table = entries(&mut *journal, MASTER).into_iter().collect();
                assert!(states.contains(&found), "{found:?} is none of {states:?}");
                states = vec![found];
            }
        }
    }
    let found: Table = entries(&mut *journal, MASTER).into_iter().collect();
    assert_eq!(Some(&found), states.last());
}

proptest! {
    #[test]
    fn crashes_of_the_memory_keep_what_was_flushed(steps in steps(40), survivors in 0usize..4) {
        let survivors = Survivors::First(survivors);
        crashes_keep_what_was_flushed(&mut Memory { disk: MemoryDisk::default(), survivors }, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 20, ..ProptestConfig::default() })]
    #[test]
    fn crashes_of_the_store_keep_what_was_flushed(steps in steps(25)) {
        crashes_keep_what_was_flushed(&mut Sled::new(), steps);
    }
}

#[test]
fn a_torn_write_is_noticed() {
    let disk = MemoryDisk::default();
    let mut journal = disk.open().unwrap();
    journal.write(MASTER, &[put(&[(b"a", b"1")])]).unwrap();
    journal.flush().unwrap();
    journal.write(MASTER, &[put(&[(b"a", b"2"), (b"b", b"2")])]).unwrap();
    disk.crash(Survivors::TornAfter(0));
    assert!(matches!(journal.write(MASTER, &[]), Err(Error::Broken(_))), "a journal is dead after a crash");
    let error = disk.open().map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Damaged { name: MASTER, .. }), "{error}");
}

//! The journal under a host: order, failures, a disk that lasts.

use crate::stage::*;
use kaon_kernel::actor::{ActorKind, Batch, Event, Outcome, Record, Ticket, exit};
use kaon_runtime::journal::{
    Error, Journal, JournalName, MemoryDisk, MemoryJournal, SledJournal, export_file, import_file,
};
use kaon_runtime::{Birth, HostConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ONE: &[ActorKind] = &[ActorKind::Master];

/// Persists each number; a number above 1000 makes it fall.
fn keeper(_: &Birth) -> Play {
    Box::new(|event, craft| {
        if let Event::Message(frame) = event {
            assert!(number(frame) <= 1000, "as told");
            craft.persist(number(frame), &format!("{:04}", number(frame)), "kept");
        }
    })
}

fn outcome(note: &Note) -> Option<(u64, bool)> {
    match &note.event {
        Event::Done(Ticket(ticket), Outcome::Persisted(result)) => Some((*ticket, result.is_ok())),
        _ => None,
    }
}

#[test]
fn outcomes_come_in_the_order_of_the_asking_and_share_flushes() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(&[ActorKind::Master, ActorKind::Registrar]), &disk), keeper);
    for number in 1..=500 {
        stage.tell(MASTER, number);
        stage.tell(REGISTRAR, number);
    }
    for address in [MASTER, REGISTRAR] {
        let last = |note: &Note| note.who == address && outcome(note) == Some((500, true));
        if !stage.seen.borrow().iter().any(|note| last(note)) {
            stage.until("the last outcome", last);
        }
    }
    let snapshot = stage.host.snapshot();
    let value = |name: &str| snapshot.iter().find(|(other, _)| other == name).map_or(0.0, |(_, value)| *value);
    assert_eq!(value("runtime/journal/batches"), 1000.0);
    assert!((1.0..=1000.0).contains(&value("runtime/journal/flush_seconds/count")));
    let notes = stage.finish();
    for address in [MASTER, REGISTRAR] {
        let outcomes: Vec<_> =
            notes.iter().filter(|note| note.who == address).filter_map(|note| outcome(note)).collect();
        assert_eq!(outcomes, (1..=500).map(|ticket| (ticket, true)).collect::<Vec<_>>());
    }
}

#[test]
fn after_a_failed_flush_nothing_is_taken_until_the_actor_restarts() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(ONE), &disk), keeper);
    let told = |number| {
        stage.tell(MASTER, number);
        stage.until("its outcome", |note| outcome(note).is_some_and(|(ticket, _)| ticket == number))
    };
    assert_eq!(outcome(&told(1)), Some((1, true)));
    disk.fail_flushes(1);
    assert_eq!(outcome(&told(2)), Some((2, false)));
    assert_eq!(outcome(&told(3)), Some((3, false)), "it built on what was lost");
    stage.tell(MASTER, 1001);
    let second = stage.until_started(MASTER, 2);
    assert_eq!(second.recovered().unwrap().iter().map(|record| &*record.key).collect::<Vec<_>>(), [b"0001"]);
    assert_eq!(outcome(&told(4)), Some((4, true)));
    disk.fail_writes(1);
    assert_eq!(outcome(&told(5)), Some((5, false)));
    assert_eq!(outcome(&told(6)), Some((6, false)));
    stage.tell(MASTER, 1001);
    assert_eq!(stage.until_started(MASTER, 3).recovered().unwrap().len(), 2);
    stage.finish();
}

/// Counts, gates and fails what it hands on.
struct Spoiled {
    inner: MemoryJournal,
    replays_left: usize,
    flushes: Arc<AtomicUsize>,
}

impl Journal for Spoiled {
    fn names(&mut self) -> Result<Vec<JournalName>, Error> {
        self.inner.names()
    }
    fn replay(&mut self, name: JournalName) -> Result<Vec<Record>, Error> {
        if self.replays_left == 0 {
            return Err(Error::Damaged { name, what: "for the test".to_owned() });
        }
        self.replays_left -= 1;
        self.inner.replay(name)
    }
    fn write(&mut self, name: JournalName, batches: &[Batch]) -> Result<(), Error> {
        self.inner.write(name, batches)
    }
    fn flush(&mut self) -> Result<(), Error> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.inner.flush()
    }
    fn forget(&mut self, name: JournalName) -> Result<(), Error> {
        self.inner.forget(name)
    }
}

#[test]
fn a_journal_that_cannot_be_read_stops_the_host_with_its_own_code() {
    let flushes = Arc::new(AtomicUsize::new(0));
    let journal = Spoiled { inner: MemoryJournal::fresh(), replays_left: 1, flushes: Arc::clone(&flushes) };
    let stage = Stage::start(HostConfig::new(HOST, 7, tree(ONE), Box::new(journal)), keeper);
    stage.tell(MASTER, 1);
    stage.until("its outcome", |note| outcome(note).is_some());
    assert_eq!(flushes.load(Ordering::Relaxed), 1, "one batch, one flush");
    stage.tell(MASTER, 1001);
    assert_eq!(stage.host.wait(), exit::STORAGE);
}

#[test]
fn a_new_host_finds_what_the_old_one_kept_and_a_snapshot_holds_it_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    for life in 0..3u64 {
        let journal = SledJournal::open(&path).unwrap();
        let stage = Stage::start(HostConfig::new(HOST, 7, tree(ONE), Box::new(journal)), keeper);
        let start = stage.until_started(MASTER, 1);
        assert_eq!(start.recovered().unwrap().len() as u64, life * 10);
        (1..=10).for_each(|number| stage.tell(MASTER, life * 10 + number));
        // The outcome is not waited for: what was asked for before the stop is still written.
        stage.until_number(MASTER, life * 10 + 10);
        if life == 2 {
            stage.until("the last outcome", |note| outcome(note) == Some((30, true)));
        }
        stage.finish();
    }
    let snapshot = directory.path().join("snapshot");
    assert_eq!(export_file(&mut SledJournal::open(&path).unwrap(), &snapshot).unwrap(), 30);
    assert_eq!(import_file(&mut MemoryJournal::fresh(), &snapshot).unwrap(), 30);
}

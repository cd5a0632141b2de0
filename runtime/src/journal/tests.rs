//! One suite over both journals, and what only the one on a disk can be asked: locks, damage, kills.

mod conformance;
mod damage;
mod kill;

use super::*;

const MASTER: JournalName = JournalName { kind: ActorKind::Master, index: 0 };
const AGENT: JournalName = JournalName { kind: ActorKind::Agent, index: 7 };

fn put(entries: &[(&[u8], &[u8])]) -> Batch {
    let mut batch = Batch::default();
    entries.iter().for_each(|(key, value)| batch.put(*key, *value));
    batch
}

fn entries(journal: &mut dyn Journal, name: JournalName) -> Vec<(Vec<u8>, Vec<u8>)> {
    let records = journal.replay(name).expect("a sound journal replays");
    records.into_iter().map(|record| (record.key, record.value)).collect()
}

fn text(entries: &[(Vec<u8>, Vec<u8>)]) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    entries.iter().map(|(key, value)| format!("{}={} ", part(key), part(value))).collect()
}

#[test]
fn names_are_read_back() {
    for name in [MASTER, AGENT] {
        assert_eq!(JournalName::parse(&name.to_string()), Some(name));
    }
    for other in ["__sled__default", "master", "master.x", "nobody.0"] {
        assert_eq!(JournalName::parse(other), None, "{other}");
    }
}

//! Damage at rest, locks, and a store that went back: never a shorter answer, always a reason.

use super::conformance::copy_directory;
use super::*;
use crate::journal::witness::Witness;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn filled(directory: &Path, records: u32) {
    let mut journal = SledJournal::open(directory).unwrap();
    for n in 0..records {
        let name = if n % 3 == 0 { AGENT } else { MASTER };
        journal.write(name, &[put(&[(&n.to_be_bytes(), &[n as u8; 200])])]).unwrap();
        if n % 50 == 0 {
            journal.flush().unwrap();
        }
    }
    journal.flush().unwrap();
}

fn is_whole(journal: &mut dyn Journal, records: u32) -> bool {
    let expected = |name| -> Vec<_> {
        let of_name = (0..records).filter(|n| (n % 3 == 0) == (name == AGENT));
        of_name.map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; 200])).collect()
    };
    [MASTER, AGENT].into_iter().all(|name| entries(journal, name) == expected(name))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    nested.flatten().collect()
}

#[test]
fn whatever_is_overwritten_the_journal_is_whole_or_says_why_not() {
    const RECORDS: u32 = 600;
    let directory = tempfile::tempdir().unwrap();
    let sound = directory.path().join("sound");
    filled(&sound, RECORDS);
    assert!(is_whole(&mut SledJournal::open(&sound).unwrap(), RECORDS));
    let database = files(&sound.join("store")).into_iter().find(|path| path.ends_with("db")).expect("sled's file");
    let length = fs::metadata(&database).unwrap().len() as usize;
    let written = fs::read(&database).unwrap();
    let used = written.iter().rposition(|&byte| byte != 0).unwrap_or(length - 1);
    let (mut whole, mut refused) = (0, 0);
    for round in 0..24 {
        let damaged = directory.path().join(format!("damaged-{round}"));
        copy_directory(&sound, &damaged);
        let file = damaged.join(database.strip_prefix(&sound).unwrap());
        let mut bytes = written.clone();
        if round % 8 == 7 {
            bytes.truncate(used * (round + 8) / 40);
        } else {
            let at = used * round / 24;
            bytes[at..at + 16].fill(0xa5);
        }
        fs::write(&file, bytes).unwrap();
        match SledJournal::open(&damaged) {
            Ok(mut journal) => {
                assert!(is_whole(&mut journal, RECORDS), "round {round}: opened, and something is missing");
                whole += 1;
            }
            Err(error) => {
                assert!(!error.advice().is_empty());
                refused += 1;
            }
        }
    }
    println!("damage at rest: whole {whole}, refused {refused}");
    assert!(refused > 0, "no damage did any harm: the test damages nothing");
}

#[test]
fn a_store_that_went_back_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (live, earlier) = (directory.path().join("live"), directory.path().join("earlier"));
    filled(&live, 10);
    copy_directory(&live, &earlier);
    let mut journal = SledJournal::open(&live).unwrap();
    journal.write(MASTER, &[put(&[(b"vote", b"7")])]).unwrap();
    journal.flush().unwrap();
    // As a kill leaves it: the tail of the witness was appended, the store is of before.
    fs::copy(live.join("witness"), earlier.join("witness")).unwrap();
    let error = SledJournal::open(&earlier).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::RolledBack { name: MASTER, found: 9, acknowledged: 11 }), "{error}");
    fs::rename(&earlier, directory.path().join("aside")).unwrap();
    assert!(SledJournal::open(&earlier).unwrap().names().unwrap().is_empty());
}

#[test]
fn the_witness_may_be_torn_at_its_end_and_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let live = directory.path().join("live");
    filled(&live, 10);
    let witness = live.join("witness");
    let sound = fs::read(&witness).unwrap();
    let mut torn = sound.clone();
    torn.extend_from_slice(&sound[8..19]);
    fs::write(&witness, &torn).unwrap();
    assert!(is_whole(&mut SledJournal::open(&live).unwrap(), 10));
    let mut damaged = sound.clone();
    damaged[20] ^= 1;
    fs::write(&witness, &damaged).unwrap();
    assert!(matches!(SledJournal::open(&live).map(|_| ()), Err(Error::Witness { .. })));
    fs::remove_file(&witness).unwrap();
    assert!(matches!(SledJournal::open(&live).map(|_| ()), Err(Error::Witness { .. })), "missing");
    fs::write(&witness, &sound).unwrap();
    assert!(SledJournal::open(&live).is_ok());
}

#[test]
fn the_witness_keeps_its_size() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("witness");
    let mut witness = Witness::create(&path, BTreeMap::new()).unwrap();
    for sequence in 1..=4000 {
        witness.acknowledge(&[(MASTER, sequence)]).unwrap();
    }
    let length = fs::metadata(&path).unwrap().len();
    assert!(length < 66 << 10, "{length} bytes");
    assert_eq!(Witness::read(&path).unwrap().unwrap()[&MASTER], 4000);
}

#[test]
fn what_the_journal_holds_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (home, file) = (directory.path().join("journal"), directory.path().join("backup"));
    for before in [None, Some(0o755)] {
        if let Some(before) = before {
            fs::set_permissions(&home, fs::Permissions::from_mode(before)).unwrap();
        }
        let mut journal = SledJournal::open(&home).unwrap();
        assert_eq!(mode(&home), 0o700);
        export_file(&mut journal, &file).unwrap();
        assert_eq!(mode(&file), 0o600);
    }
}

#[test]
fn a_directory_has_one_user() {
    let directory = tempfile::tempdir().unwrap();
    let first = SledJournal::open(directory.path()).unwrap();
    assert!(matches!(SledJournal::open(directory.path()).map(|_| ()), Err(Error::Locked { .. })));
    drop(first);
    assert!(SledJournal::open(directory.path()).is_ok());
}

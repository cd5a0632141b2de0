//! kill -9 while batches are written: nothing that was acknowledged is lost.
//!
//! The child is this test binary again, asked by the environment to write and to print each acknowledged number.

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const DIRECTORY: &str = "KAON_TEST_KILL_DIRECTORY";
const ROUNDS: usize = 5;
const ACKNOWLEDGED_BEFORE_KILL: usize = 40;

/// Not a test of its own: the child's part. Without the variable it has nothing to do.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let mut journal = SledJournal::open(Path::new(&directory)).expect("opens after a kill");
    let numbers = entries(&mut journal, MASTER).into_iter().filter(|(key, _)| key.len() == 8);
    let begin = numbers.count() as u64;
    let mut out = std::io::stdout().lock();
    for number in begin.. {
        let key = number.to_be_bytes();
        journal.write(MASTER, &[put(&[(&key, &[number as u8; 100]), (b"last", &key)])]).expect("written");
        journal.write(AGENT, &[put(&[(b"last", &key)])]).expect("written");
        if number % 3 == 0 {
            journal.flush().expect("flushed");
            writeln!(out, "acknowledged {number}").and_then(|()| out.flush()).expect("the parent reads");
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::tests::kill::child_writes_until_it_is_killed", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let number = |line: &str| line.split("acknowledged ").nth(1).and_then(|number| number.parse::<u64>().ok());
        for line in lines.by_ref() {
            let Some(number) = number(&line.unwrap()) else { continue };
            acknowledged = number;
            seen += 1;
            if seen == ACKNOWLEDGED_BEFORE_KILL + 7 * round {
                break;
            }
        }
        assert!(seen > 0, "the child wrote nothing in round {round}");
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before the kill arrived counts as well.
        for line in lines.map_while(Result::ok) {
            acknowledged = number(&line).unwrap_or(acknowledged);
        }
        let mut journal = SledJournal::open(directory.path()).unwrap();
        let entries = entries(&mut journal, MASTER);
        let numbers: Vec<u64> = entries
            .iter()
            .filter_map(|(key, value)| {
                let number = u64::from_be_bytes(key.as_slice().try_into().ok()?);
                assert_eq!(*value, [number as u8; 100]);
                Some(number)
            })
            .collect();
        assert!(numbers.len() as u64 > acknowledged, "{acknowledged} was acknowledged, {} are left", numbers.len());
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "there is a hole");
        let last = &entries.iter().find(|(key, _)| key == b"last").unwrap().1;
        assert_eq!(*last, (numbers.len() as u64 - 1).to_be_bytes(), "a batch is there in part");
    }
}

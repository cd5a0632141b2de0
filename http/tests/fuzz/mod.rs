//! The fuzzers' targets (`fuzz/`) over their corpora, as they are and damaged in a fixed way. What `tools/fuzz` finds in minutes is
//! not looked for here: this keeps what was found from coming back.

#[path = "../../../fuzz/src/targets.rs"]
mod targets;

use std::fs;
use std::path::PathBuf;

/// Damaged copies of each file.
const COPIES: u64 = 300;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus")).join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<(String, Vec<u8>)> = files
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), fs::read(&path).expect("a file")))
        .collect();
    found.sort();
    assert!(found.len() > 3, "{target}: only {} files", found.len());
    found
}

/// A generator of its own, so that the damage is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }
}

/// Bytes that mean something to one of the readers.
const WORDS: [&[u8]; 14] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"1e400",
    b"\\ud800",
    b"-1",
    b"\n",
    b"\x0a\xff\xff\xff\xff\x0f",
    b"18446744073709551615",
];

fn damaged(source: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = source.to_vec();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len() + 1);
        match dice.roll(6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => drop(bytes.splice(at..at, WORDS[dice.roll(WORDS.len())].iter().copied())),
            4 => {
                let piece = other[dice.roll(other.len() + 1)..].iter().copied().take(64).collect::<Vec<u8>>();
                drop(bytes.splice(at..at, piece));
            }
            _ => {
                let end = (at + dice.roll(16)).min(bytes.len());
                let piece = bytes[at.min(end)..end].to_vec();
                bytes.extend(piece);
            }
        }
    }
    bytes
}

fn tried(target: &str, files: &[(String, Vec<u8>)], run: fn(&[u8])) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for (name, bytes) in files {
        run(bytes);
        for copy in 0..COPIES {
            let other = &files[dice.roll(files.len())].1;
            let damaged = damaged(bytes, other, &mut dice);
            if std::panic::catch_unwind(|| run(&damaged)).is_err() {
                panic!("{target}: copy {copy} of {name}: {:?}", String::from_utf8_lossy(&damaged));
            }
        }
    }
}

#[test]
fn recordio_survives_its_corpus() {
    tried("recordio", &corpus("recordio"), targets::recordio);
}

#[test]
fn json_survives_its_corpus() {
    tried("json", &corpus("json"), targets::json);
}

#[test]
fn protobuf_survives_its_corpus() {
    let mut files = corpus("protobuf");
    // What the JSON says, as protobuf.
    for (name, text) in corpus("json") {
        for kind in ["mesos.v1.scheduler.Call", "mesos.v1.master.Call"] {
            let schema = kaon_http::codec::Schema::named(kind).expect("the schema has it");
            if let Ok(wire) = schema.from_json(&text) {
                files.push((format!("{name} as {kind}"), wire));
            }
        }
    }
    tried("protobuf", &files, targets::protobuf);
}

#[test]
fn resources_survive_their_corpus() {
    tried("resources", &corpus("resources"), targets::resources);
}

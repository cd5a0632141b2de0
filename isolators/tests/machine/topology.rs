//! Foreign topologies: whatever is in a file, the process that asks for it lives on.

use crate::Test;
use kaon_isolators::containers::Executable;
use kaon_isolators::topology::{self, Error, apart};
use kaon_kernel::chance::Chance;
use kaon_kernel::topology::PartKind;
use std::path::{Path, PathBuf};

pub(crate) const TESTS: &[Test] = &[
    ("a_reader_reads_what_is_read_here", a_reader_reads_what_is_read_here),
    ("a_damaged_file_is_refused_or_makes_a_machine", a_damaged_file_is_refused_or_makes_a_machine),
];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/hwloc").join(name)
}

fn a_reader_reads_what_is_read_here() {
    let executable = Executable::current().unwrap();
    for file in ["AMD-19h-Zen4-2xEpyc-9654.xml", "nvidiaDGX2.xml", "192em64t-12gr2n8c2t.xml"] {
        let path = data(file);
        let here = topology::from_xml_text(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(apart::named(path.to_str().unwrap(), &executable).unwrap(), here, "{file}");
    }
    let synthetic = apart::named("pack:2 core:4 pu:2", &executable).unwrap();
    assert_eq!(synthetic.count(PartKind::ProcessingUnit), 16);
    let error = apart::named("pack:2 pack:2 core:1", &executable).unwrap_err();
    assert!(error.to_string().contains("synthetic description"), "{error}");
    let missing = apart::named("no-such-file", &executable);
    assert!(matches!(missing, Err(Error::File { .. })), "{missing:?}");
}

/// Damage in the middle of a text that is still XML. hwloc 2.9 crashes on some of it; we do not.
fn a_damaged_file_is_refused_or_makes_a_machine() {
    let executable = Executable::current().unwrap();
    let mut chance = Chance::new(7);
    let files = ["8intel64-4n2t-memattrs.xml", "power8gpudistances.xml", "cxlmem+dax.v2.xml"];
    let mut outcomes = [0, 0];
    for file in files {
        let whole = std::fs::read(data(file)).unwrap();
        for _ in 0..60 {
            let mut text = whole.clone();
            for _ in 0..=chance.below(4) {
                let at = chance.below(text.len() as u64) as usize;
                match chance.below(3) {
                    0 => text[at] = b'0' + chance.below(10) as u8,
                    1 => text[at] = chance.below(128) as u8,
                    _ => drop(text.drain(at..(at + chance.below(40) as usize).min(whole.len() / 2).max(at))),
                }
            }
            match apart::xml_text(&text, &executable) {
                Ok(topology) => {
                    assert_eq!(topology.check(), Ok(()));
                    outcomes[0] += 1;
                }
                Err(_) => outcomes[1] += 1,
            }
        }
    }
    assert!(outcomes.into_iter().all(|count| count > 20), "{outcomes:?}");
}

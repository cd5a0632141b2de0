//! Messages written by Google's implementation, and the JSON that a second writer of Mesos's rules gives for them. How the
//! files are made: `golden/README.md`.

use std::path::Path;

use kaon_http::codec::{Limits, Schema};
use kaon_http::v1;
use prost_reflect::DynamicMessage;

use super::random::{assert_same, with_defaults};
use super::typed;

struct Case {
    name: String,
    kind: String,
    wire: Vec<u8>,
    json: String,
}

/// Three lines each: `# NAME TYPE`, the wire bytes in hexadecimal, the JSON; then an empty line.
fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/messages.txt"))
        .expect("the golden file is checked in");
    text.split_terminator("\n\n")
        .map(|block| {
            let mut lines = block.lines();
            let mut line = || lines.next().expect("three lines a case");
            let (name, kind) = line().trim_start_matches("# ").split_once(' ').expect("name and type");
            let wire = line().trim_start_matches("-");
            Case {
                name: name.to_owned(),
                kind: kind.to_owned(),
                wire: (0..wire.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&wire[at..at + 2], 16).expect("hexadecimal"))
                    .collect(),
                json: line().to_owned(),
            }
        })
        .collect()
}

#[test]
fn another_implementation_agrees() {
    let cases = cases();
    assert!(cases.len() >= 36, "{} cases", cases.len());
    for Case { name, kind, wire, json } in cases {
        let schema = Schema::named(&kind).expect("in the schema");
        assert_eq!(schema.check(&wire, Limits::CALL), Ok(()), "{name}");
        assert_eq!(String::from_utf8(schema.to_json(&wire).expect(&name)).expect("ASCII"), json, "{name}");

        let descriptor = v1::descriptor_pool().get_message_by_name(&kind).expect("in the schema");
        let message = DynamicMessage::decode(descriptor.clone(), &*wire).expect(&name);
        if serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok() {
            let back = schema.from_json(json.as_bytes()).expect(&name);
            let back = DynamicMessage::decode(descriptor, &*back).expect(&name);
            assert_same(&back, &with_defaults(&message), &name);
            if let Some((_, through_type)) = typed::ALL.iter().find(|(known, _)| *known == kind) {
                through_type(&message);
            }
        }
    }
}

#[test]
fn every_conversation_is_covered() {
    let cases = cases();
    for (known, _) in typed::ALL {
        assert!(cases.iter().any(|case| case.kind == *known), "{known}");
    }
}

//! What is tried with bytes from anywhere: that nothing panics, and that what is taken is what was meant. Compiled twice: into
//! the fuzzers of this folder, and into the tests of `http`, which replay the corpora.

use kaon_http::codec::{self, Limits, MediaType, Schema};
use kaon_http::convert::{self, resource_flag};
use kaon_http::recordio::{self, Decoder};
use kaon_http::v1::{executor, master, scheduler};
use kaon_kernel::resource::parse;

/// The types whose messages come from outside.
const CALLS: [&str; 4] =
    ["mesos.v1.scheduler.Call", "mesos.v1.master.Call", "mesos.v1.executor.Call", "mesos.v1.agent.Call"];

/// The largest record that the decoder takes here, in bytes.
const RECORD_BYTES_MAX: usize = 4096;

/// RecordIO: however the bytes are cut, the same records come out, and written again they are the bytes they were read from.
pub(crate) fn recordio(data: &[u8]) {
    let whole = records(&[data]);
    let cuts: Vec<&[u8]> = data.chunks(1 + data.first().map_or(0, |first| usize::from(*first) % 7)).collect();
    // A length that is refused before its end is refused for its beginning, which depends on what has come.
    let cut = records(&cuts);
    assert_eq!((&whole.0, whole.1.is_some()), (&cut.0, cut.1.is_some()), "the chunks matter");
    let mut written: Vec<u8> = Vec::new();
    for record in &whole.0 {
        assert!(record.len() <= RECORD_BYTES_MAX, "a record beyond the limit");
        if !record.is_empty() {
            written.extend_from_slice(&recordio::encode(record));
        }
    }
    assert!(data.starts_with(&written), "other bytes were read");
}

fn records(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Option<recordio::Error>) {
    let mut decoder = Decoder::new(RECORD_BYTES_MAX);
    let mut found = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => found.push(record.to_vec()),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, decoder.finish().err())
}

/// JSON: what is taken as a call is written as JSON that is taken as the same call.
pub(crate) fn json(data: &[u8]) {
    for name in CALLS {
        let schema = Schema::named(name).expect("the schema has it");
        let Ok(wire) = schema.from_json(data) else { continue };
        if schema.check(&wire, Limits::CALL).is_err() {
            continue;
        }
        let shown = schema.to_json(&wire).expect("what was checked can be shown");
        // Numbers that are none are shown as words that JSON does not have.
        let Ok(again) = schema.from_json(&shown) else {
            assert!(has_bare_word(&shown), "what was shown can't be read: {}", String::from_utf8_lossy(&shown));
            continue;
        };
        schema.check(&again, Limits::CALL).expect("what was complete is complete");
        assert_eq!(schema.to_json(&again).expect("shown again"), shown, "{name} changes when it is read again");
    }
    typed(MediaType::Json, data);
}

fn has_bare_word(shown: &[u8]) -> bool {
    let text = String::from_utf8_lossy(shown);
    ["Infinity", "NaN"].iter().any(|word| text.contains(word))
}

/// Protobuf: what is checked is decoded, shown as JSON, and read back.
pub(crate) fn protobuf(data: &[u8]) {
    for name in CALLS {
        let schema = Schema::named(name).expect("the schema has it");
        if schema.check(data, Limits::CALL).is_err() {
            continue;
        }
        // Strings that are not UTF-8 are refused by the typed reader, which comes after the check.
        let Ok(shown) = schema.to_json(data) else { continue };
        if let Ok(again) = schema.from_json(&shown) {
            assert_eq!(schema.to_json(&again).expect("shown again"), shown, "{name} changes when it is read again");
        }
    }
    typed(MediaType::Protobuf, data);
}

/// By way of the types, and on into the kernel's.
fn typed(media: MediaType, data: &[u8]) {
    if let Ok(call) = codec::decode::<scheduler::Call>(media, data) {
        let written = codec::encode(MediaType::Protobuf, &call);
        assert!(codec::decode::<scheduler::Call>(MediaType::Protobuf, &written).is_ok(), "what was written is refused");
        if let Ok(kind) = convert::call::kind(&call)
            && convert::call::validate(&call, kind).is_ok()
        {
            match call.subscribe.clone() {
                Some(subscribe) => {
                    let constraints = subscribe.offer_constraints.unwrap_or_default();
                    let _ = convert::constraint::from_v1(&subscribe.framework_info, constraints);
                    let _ = convert::framework::from_v1(subscribe.framework_info, &subscribe.suppressed_roles);
                }
                None => {
                    let _ = convert::call::from_v1(call, kind, "01234567-89ab-cdef-0123-456789abcdef");
                }
            }
        }
    }
    if let Ok(call) = codec::decode::<master::Call>(media, data) {
        for config in call.update_quota.iter().flat_map(|update| update.quota_configs.clone()) {
            let _ = convert::quota::quota_from_v1(config);
        }
        for info in call.update_weights.iter().flat_map(|update| update.weight_infos.clone()) {
            let _ = convert::quota::weight_from_v1(info);
        }
    }
    if let Ok(call) = codec::decode::<executor::Call>(media, data)
        && let Some(update) = call.update
    {
        let _ = convert::status::from_v1(update.status);
    }
}

/// Resource strings and attributes: what is taken is written as text that means the same.
pub(crate) fn resources(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(bag) = parse::resources(text) {
        let shown = bag.to_string();
        if !bag.is_empty() {
            let again = parse::resources(&shown).unwrap_or_else(|error| panic!("'{shown}' of '{text}': {error}"));
            assert_eq!(again, bag, "'{text}' is not '{shown}'");
        }
    }
    let _ = parse::attributes(text);
    let _ = resource_flag::said(text);
}

//! What an attacker sends: a clean refusal, at a cost bounded by the bytes, on a small stack.

use kaon_http::codec::{self, Error, Limits, MESSAGE_DEPTH_MAX, MediaType, Message, Schema};
use kaon_http::v1::{mesos, scheduler};

/// A quarter of what a worker thread has: hostile nesting may not come near the end.
const STACK_BYTES: usize = 512 << 10;

fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(test).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn refused<T: Message + std::fmt::Debug>(media: MediaType, body: &[u8]) -> Error {
    match codec::decode::<T>(media, body) {
        Ok(message) => panic!("{media:?} {} was read as {message:?}", body[..body.len().min(100)].escape_ascii()),
        Err(refusal) => refusal,
    }
}

fn container_json(depth: usize) -> Vec<u8> {
    format!("{}{}{}", r#"{"value":"c","parent":"#.repeat(depth - 1), r#"{"value":"c"}"#, "}".repeat(depth - 1))
        .into_bytes()
}

fn container_wire(depth: usize) -> Vec<u8> {
    let mut container = mesos::ContainerId { value: "c".into(), parent: None };
    for _ in 1..depth {
        container = mesos::ContainerId { value: "c".into(), parent: Some(Box::new(container)) };
    }
    codec::encode(MediaType::Protobuf, &container)
}

#[test]
fn nesting_up_to_the_bound_and_not_beyond() {
    on_a_small_stack(|| {
        for (media, write) in
            [(MediaType::Json, container_json as fn(usize) -> Vec<u8>), (MediaType::Protobuf, container_wire)]
        {
            let container: mesos::ContainerId =
                codec::decode(media, &write(MESSAGE_DEPTH_MAX)).expect("within the bound");
            assert_eq!(codec::encode(media, &container), write(MESSAGE_DEPTH_MAX));
            let deeper = refused::<mesos::ContainerId>(media, &write(MESSAGE_DEPTH_MAX + 1));
            assert_eq!(deeper, Error::Depth { limit: MESSAGE_DEPTH_MAX });
        }
    });
}

/// Attack 8.
#[test]
fn a_million_levels_of_json() {
    on_a_small_stack(|| {
        const LEVELS: usize = 1_000_000;
        for unit in ["[", "{\"a\":", "{\"value\":", "{\"parent\":", "{\"value\":[", "[{\"parent\":"] {
            for head in ["", "{\"x\":", "{\"parent\":", "{\"value\":"] {
                refused::<mesos::ContainerId>(MediaType::Json, (head.to_owned() + &unit.repeat(LEVELS)).as_bytes());
            }
        }
        // In a field that nobody knows, nesting is skipped without a stack; what is around it counts.
        let skipped = format!("{{\"value\":\"c\",\"x\":{}{}}}", "[".repeat(LEVELS), "]".repeat(LEVELS));
        let read: mesos::ContainerId = codec::decode(MediaType::Json, skipped.as_bytes()).expect("an unknown field");
        assert_eq!(read.value, "c");
    });
}

/// Attack 9.
#[test]
fn json_that_parsers_disagree_about() {
    for json in [
        r#"{"value":"a","value":"b"}"#,
        r#"{"value":"a","v\u0061lue":"b"}"#,
        r#"{"value":null,"value":"b"}"#,
        r#"{"value":"a","parent":{"value":"b"},"parent":{"value":"c"}}"#,
    ] {
        assert!(
            matches!(refused::<mesos::ContainerId>(MediaType::Json, json.as_bytes()), Error::Twice { .. }),
            "{json}"
        );
    }
    let limits = r#"{"role":"r","limits":{"a":{"value":1},"b":{"value":1},"a":{"value":2}}}"#;
    let twice = refused::<kaon_http::v1::quota::QuotaConfig>(MediaType::Json, limits.as_bytes());
    assert_eq!(twice.to_string(), r#"limits["a"] is given twice"#);

    for number in ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "0x1", "01", "+1", ".5", "1.", "--1", "1e", "tru"]
    {
        let json = format!("{{\"value\":{number}}}");
        assert!(
            matches!(refused::<mesos::value::Scalar>(MediaType::Json, json.as_bytes()), Error::Syntax { .. }),
            "{json}"
        );
    }
    let nines = format!("{{\"nanoseconds\":{}}}", "9".repeat(100_000));
    refused::<mesos::TimeInfo>(MediaType::Json, nines.as_bytes());

    for text in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\u0041""#,
        r#""\ud800x""#,
        r#""\u12""#,
        r#""\x""#,
        "\"\u{1}\"",
        "\"\n\"",
    ] {
        for json in [format!("{{\"value\":{text}}}"), format!("{{{text}:1,\"value\":\"a\"}}")] {
            assert!(
                matches!(refused::<mesos::TaskId>(MediaType::Json, json.as_bytes()), Error::Syntax { .. }),
                "{json}"
            );
        }
    }
    for bytes in [
        &b"{\"value\":\"\xff\"}"[..],
        b"{\"value\":\"a\",\"x\":\"\xff\"}",
        b"{\"value\":\"a\",\"\xff\":1}",
        b"{\"value\":\"a\",\"x\":{\"\xff\":1}}",
        b"{\"value\":\"\xc0\x80\"}",
        b"\xef\xbb\xbf{\"value\":\"a\"}",
        b"",
        b"{",
        b"\0",
    ] {
        assert!(
            matches!(refused::<mesos::TaskId>(MediaType::Json, bytes), Error::Syntax { .. }),
            "{}",
            bytes.escape_ascii()
        );
    }
}

/// Attack 10.
#[test]
fn protobuf_that_lies() {
    for bytes in [
        // Lengths past the end: one byte, 2 GB, 2^64 - 1, and the same inside a message.
        &[0x0a, 0x05, b'a'][..],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x07],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x0a, 0x01, b'a', 0x12, 0x02, 0x0a, 0x7f],
        // Varints without an end, of eleven bytes, of more than 64 bits.
        &[0x80],
        &[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        // Field number zero and one too large, groups open, closed and alone, wire types that do not exist.
        &[0x02, 0x00],
        &[0xfa, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x00],
        &[0x0a, 0x01, b'a', 0x1b, 0x1c],
        &[0x0c],
        &[0x0e],
        &[0x0f],
        // Fixed values cut off, known fields of other wire types.
        &[0x19, 0x00],
        &[0x1d, 0x00],
        &[0x08, 0x01],
        &[0x0a, 0x01, b'a', 0x10, 0x01],
    ] {
        assert!(
            matches!(refused::<mesos::ContainerId>(MediaType::Protobuf, bytes), Error::Protobuf { .. }),
            "{bytes:02x?}"
        );
    }
    // Not UTF-8, once and with another beside it; nothing at all where something is required.
    for bytes in [&[0x0a, 0x01, 0xff][..], &[0x0a, 0x01, b'a', 0x0a, 0x01, 0xff]] {
        assert!(matches!(refused::<mesos::TaskId>(MediaType::Protobuf, bytes), Error::Library { .. }), "{bytes:02x?}");
    }
    assert_eq!(
        refused::<mesos::TaskId>(MediaType::Protobuf, &[]),
        Error::Missing { paths: vec!["value".into()], more: 0 }
    );
}

/// What is given twice in protobuf is one, at a cost that its nesting does not multiply.
#[test]
fn protobuf_given_twice_is_merged_within_bounds() {
    let read = |bytes: &[u8]| codec::decode::<mesos::ContainerId>(MediaType::Protobuf, bytes);
    let id = |value: &str, parent: Option<mesos::ContainerId>| mesos::ContainerId {
        value: value.to_owned(),
        parent: parent.map(Box::new),
    };
    assert_eq!(read(&[0x0a, 1, b'a', 0x0a, 1, b'b']).unwrap(), id("b", None));
    // Neither part of the parent is whole by itself.
    let halves = [0x0a, 1, b'a', 0x12, 5, 0x12, 3, 0x0a, 1, b'c', 0x12, 3, 0x0a, 1, b'b'];
    assert_eq!(read(&halves).unwrap(), id("a", Some(id("b", Some(id("c", None))))));
    assert!(matches!(read(&[0x0a, 1, b'a', 0x12, 0, 0x12, 0]), Err(Error::Missing { .. })));
    // Of one key the last entry counts, and of one entry the parts of its value.
    let quota = |bytes: &[u8]| codec::decode::<kaon_http::v1::quota::QuotaConfig>(MediaType::Protobuf, bytes);
    let entry = |amounts: &[f64]| {
        let mut entry = vec![0x0a, 1, b'a'];
        for amount in amounts {
            entry.extend([0x12, 9, 0x09]);
            entry.extend(amount.to_le_bytes());
        }
        [vec![0x12, entry.len() as u8], entry].concat()
    };
    let twice = [vec![0x0a, 1, b'r'], entry(&[7.0]), entry(&[1.0, 2.0])].concat();
    let twice = quota(&twice).unwrap();
    assert_eq!(twice.guarantees.len(), 1);
    assert_eq!(twice.guarantees[0].value.value, 2.0);

    // Twice at every level: a reader that began again each time would never end.
    let mut nested = vec![0x0a, 1, b'a'];
    for _ in 1..codec::MESSAGE_DEPTH_MAX {
        let mut length = Vec::new();
        prost_reflect::prost::encoding::encode_varint(nested.len() as u64, &mut length);
        nested = [&[0x0a, 1, b'a', 0x12][..], &length, &nested, &[0x12, 0]].concat();
    }
    let mut deepest = &read(&nested).unwrap();
    let mut levels = 1;
    while let Some(parent) = &deepest.parent {
        (deepest, levels) = (parent, levels + 1);
    }
    assert_eq!(levels, codec::MESSAGE_DEPTH_MAX);
    // Parts without number.
    let parts = [0x12, 3, 0x0a, 1, b'b'].repeat(3_000_000);
    assert_eq!(read(&parts).unwrap_err(), Error::Memory { limit_bytes: Limits::CALL.memory_bytes_max });
}

#[test]
fn two_bytes_may_not_become_a_kilobyte_a_million_times() {
    // An empty operation has no required field, so nothing else stops this.
    const OPERATIONS: usize = 1_000_000;
    let json = format!(r#"{{"type":"ACCEPT","accept":{{"operations":[{}{{}}]}}}}"#, "{},".repeat(OPERATIONS));
    let wanted = Error::Memory { limit_bytes: Limits::CALL.memory_bytes_max };
    assert_eq!(refused::<scheduler::Call>(MediaType::Json, json.as_bytes()), wanted);
    let schema = Schema::of::<scheduler::Call>();
    let wire = schema.from_json(json.as_bytes()).expect("JSON of the right shape");
    assert_eq!(refused::<scheduler::Call>(MediaType::Protobuf, &wire), wanted);
}

#[test]
fn the_memory_bound_is_about_what_types_take_and_leaves_room_for_real_calls() {
    /// The charge for one element is at least the size of the Rust value, and not several times that.
    fn charged<T: Message>(in_type: &str, element: &[u8]) {
        let schema = Schema::named(in_type).expect("in the schema");
        let size = size_of::<T>();
        let within = |memory_bytes_max| schema.check(element, Limits { memory_bytes_max });
        assert!(matches!(within(size - 1), Err(Error::Memory { .. })), "{} is {size} bytes", T::NAME);
        assert!(!matches!(within(2 * size), Err(Error::Memory { .. })), "{} is {size} bytes", T::NAME);
    }
    charged::<mesos::offer::Operation>("mesos.v1.scheduler.Call.Accept", &[0x12, 0]);
    charged::<mesos::TaskInfo>("mesos.v1.TaskGroupInfo", &[0x0a, 0]);
    charged::<mesos::Resource>("mesos.v1.Offer.Operation.Create", &[0x0a, 0]);
    charged::<mesos::Offer>("mesos.v1.scheduler.Event.Offers", &[0x0a, 0]);
    charged::<scheduler::call::reconcile::Task>("mesos.v1.scheduler.Call.Reconcile", &[0x0a, 0]);
    charged::<mesos::Label>("mesos.v1.Labels", &[0x0a, 0]);

    let task = r#"{"name":"t","task_id":{"value":"t"},"agent_id":{"value":"a"},"command":{"value":"sleep 1"},"resources":[
        {"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":32}}]},"#;
    let tasks = task.repeat(15_000);
    let json = format!(
        r#"{{"type":"ACCEPT","accept":{{"operations":{{"type":"LAUNCH","launch":{{"task_infos":[{}]}}}}}}}}"#,
        tasks.trim_end_matches(',')
    );
    let call: scheduler::Call = codec::decode(MediaType::Json, json.as_bytes()).expect("fifteen thousand");
    let launch =
        call.accept.and_then(|accept| accept.operations.into_iter().next()).and_then(|operation| operation.launch);
    assert_eq!(launch.map(|launch| launch.task_infos.len()), Some(15_000));

    let entry = r#"{"task_id":{"value":"0123456789"},"agent_id":{"value":"0123456789"}},"#;
    let entries = entry.repeat(500_000);
    let json = format!(r#"{{"type":"RECONCILE","reconcile":{{"tasks":[{}]}}}}"#, entries.trim_end_matches(','));
    let call: scheduler::Call = codec::decode(MediaType::Json, json.as_bytes()).expect("half a million");
    assert_eq!(call.reconcile.map(|reconcile| reconcile.tasks.len()), Some(500_000));
}

#[test]
fn refusals_quote_little_of_the_sender() {
    let name = "x\n\u{1b}[2J".repeat(100_000);
    let json = format!(r#"{{"mode":{},"container_path":"/"}}"#, serde_json::to_string(&name).expect("a string"));
    let refusal = refused::<mesos::Volume>(MediaType::Json, json.as_bytes()).to_string();
    assert!(refusal.len() < 1000 && !refusal.contains(['\n', '\u{1b}']), "{refusal}");

    let tasks = "{},".repeat(10_000);
    let json = format!(r#"{{"task_infos":[{}]}}"#, tasks.trim_end_matches(','));
    let refusal = refused::<mesos::offer::operation::Launch>(MediaType::Json, json.as_bytes()).to_string();
    assert!(refusal.len() < 1000 && refusal.ends_with(" and 29984 more"), "{refusal}");
}

//! The rules of Mesos's JSON, one by one.

use kaon_http::codec::{self, Error, Limits, MediaType, Schema};
use kaon_http::v1::{executor, master, mesos, scheduler};

fn read<T: codec::Message>(json: &str) -> Result<T, Error> {
    codec::decode(MediaType::Json, json.as_bytes())
}

fn written<T: codec::Message>(message: &T) -> String {
    String::from_utf8(codec::encode(MediaType::Json, message)).expect("ASCII")
}

/// Reads as the type and shows what was understood, in JSON again.
fn understood(kind: &str, json: &str) -> Result<String, Error> {
    let schema = Schema::named(kind).expect("in the schema");
    let wire = schema.from_json(json.as_bytes())?;
    schema.check(&wire, Limits::CALL)?;
    Ok(String::from_utf8(schema.to_json(&wire).expect("our own bytes")).expect("ASCII"))
}

#[test]
fn input_is_taken_as_mesos_takes_it() {
    for (kind, json, wanted) in [
        // Unknown names, at any depth and of any shape.
        ("mesos.v1.TimeInfo", r#"{"x":[{"y":[[]]}],"nanoseconds":1,"nanoSeconds":{}}"#, r#"{"nanoseconds":1}"#),
        // Null is unset, for every shape.
        ("mesos.v1.Offer.Operation.Launch", r#"{"task_infos":null}"#, "{}"),
        ("mesos.v1.Label", r#"{"key":"a","value":null}"#, r#"{"key":"a"}"#),
        ("mesos.v1.Volume.Source", r#"{"host_path":null,"type":"SECRET"}"#, r#"{"type":"SECRET"}"#),
        ("mesos.v1.Value.Set", r#"{"item":["a",null,"b"]}"#, r#"{"item":["a","b"]}"#),
        ("mesos.v1.quota.QuotaConfig", r#"{"role":"a","limits":null}"#, r#"{"role":"a"}"#),
        ("mesos.v1.quota.QuotaConfig", r#"{"role":"a","limits":{"cpus":null}}"#, r#"{"role":"a"}"#),
        // A lone value for a list.
        ("mesos.v1.Value.Set", r#"{"item":"a"}"#, r#"{"item":["a"]}"#),
        ("mesos.v1.Value.Ranges", r#"{"range":{"begin":1,"end":2}}"#, r#"{"range":[{"begin":1,"end":2}]}"#),
        ("mesos.v1.Value.Set", r#"{"item":[]}"#, "{}"),
        // Numbers as strings, fractions cut off.
        ("mesos.v1.Value.Scalar", r#"{"value":"0.1"}"#, r#"{"value":0.1}"#),
        ("mesos.v1.Value.Scalar", r#"{"value":"Infinity"}"#, r#"{"value":Infinity}"#),
        ("mesos.v1.Value.Scalar", r#"{"value":"-Infinity"}"#, r#"{"value":-Infinity}"#),
        ("mesos.v1.Value.Scalar", r#"{"value":-0.0}"#, r#"{"value":-0.0}"#),
        ("mesos.v1.Value.Scalar", r#"{"value":1e-400}"#, r#"{"value":0.0}"#),
        (
            "mesos.v1.Value.Range",
            r#"{"begin":1.9,"end":"18446744073709551615"}"#,
            r#"{"begin":1,"end":18446744073709551615}"#,
        ),
        ("mesos.v1.Value.Range", r#"{"begin":"2.5e1","end":-0.5}"#, r#"{"begin":25,"end":0}"#),
        ("mesos.v1.TimeInfo", r#"{"nanoseconds":"-9223372036854775808"}"#, r#"{"nanoseconds":-9223372036854775808}"#),
        ("mesos.v1.Address", r#"{"port":-1.999}"#, r#"{"port":-1}"#),
        // Booleans as strings.
        ("mesos.v1.Image.Docker", r#"{"name":"a","x":"true"}"#, r#"{"name":"a"}"#),
        ("mesos.v1.DrainConfig", r#"{"mark_gone":"true"}"#, r#"{"mark_gone":true}"#),
        ("mesos.v1.DrainConfig", r#"{"mark_gone":"false"}"#, r#"{"mark_gone":false}"#),
        // Unknown enum names.
        ("mesos.v1.scheduler.Call", r#"{"type":"JUMP"}"#, "{}"),
        ("mesos.v1.CapabilityInfo", r#"{"capabilities":["JUMP","CHOWN","FLY"]}"#, r#"{"capabilities":["CHOWN"]}"#),
        ("mesos.v1.CapabilityInfo", r#"{"capabilities":["JUMP"]}"#, "{}"),
        ("mesos.v1.NetworkInfo.IPAddress", r#"{"protocol":"IPv9"}"#, r#"{"protocol":"IPv4"}"#),
        // Base64 with and without padding.
        ("mesos.v1.UUID", r#"{"value":"AAE="}"#, r#"{"value":"AAE="}"#),
        ("mesos.v1.UUID", r#"{"value":"AAE"}"#, r#"{"value":"AAE="}"#),
        ("mesos.v1.UUID", r#"{"value":"+/\/+"}"#, r#"{"value":"+//+"}"#),
        ("mesos.v1.UUID", r#"{"value":""}"#, r#"{"value":""}"#),
        // Escapes.
        ("mesos.v1.TaskID", r#"{"v\u0061lue":"\u00e9\ud83d\ude00\/"}"#, r#"{"value":"\u00e9\ud83d\ude00/"}"#),
        ("mesos.v1.TaskID", " {\n\"value\" :\t\"\u{e9}\" } \r\n", r#"{"value":"\u00e9"}"#),
    ] {
        assert_eq!(understood(kind, json).as_deref(), Ok(wanted), "{kind} {json}");
    }
}

#[test]
fn refusals_say_where_and_why() {
    for (kind, json, wanted) in [
        ("TaskID", r#""x""#, "cannot parse the JSON: "),
        ("TaskID", "[]", "cannot parse the JSON: "),
        ("TaskID", "null", "cannot parse the JSON: "),
        ("TaskID", r#"{"value":"a"} {}"#, "cannot parse the JSON: trailing"),
        ("scheduler.Call", r#"{"framework_id":"x"}"#, "framework_id wants an object, not a string"),
        (
            "scheduler.Call",
            r#"{"framework_id":{"value":{"value":"x"}}}"#,
            "framework_id.value wants a string, not an object",
        ),
        ("scheduler.Call", r#"{"framework_id":{"value":1}}"#, "framework_id.value wants a string, not a number"),
        ("scheduler.Call", r#"{"framework_id":{"value":true}}"#, "framework_id.value wants a string, not a boolean"),
        ("scheduler.Call", r#"{"type":["SUBSCRIBE"]}"#, "type wants the name of an enum value, not an array"),
        ("scheduler.Call", r#"{"type":1}"#, "type wants the name of an enum value, not a number"),
        ("scheduler.Call", r#"{"type":"1","accept":[]}"#, "accept wants an object, not an array"),
        (
            "scheduler.Call",
            r#"{"accept":{"offer_ids":[{"value":"a"},7]}}"#,
            "accept.offer_ids[1] wants an object, not a number",
        ),
        ("Value.Set", r#"{"item":[["a"]]}"#, "item[0] wants a string, not an array"),
        ("Value.Scalar", r#"{"value":true}"#, "value wants a number, not a boolean"),
        ("Value.Scalar", r#"{"value":{}}"#, "value wants a number, not an object"),
        ("Value.Scalar", r#"{"value":"NaN"}"#, "value wants a number, not a string"),
        ("Value.Scalar", r#"{"value":"inf"}"#, "value wants a number, not a string"),
        ("Value.Scalar", r#"{"value":"1e400"}"#, "value wants a number, not a string"),
        ("Value.Scalar", r#"{"value":""}"#, "value wants a number, not a string"),
        ("Value.Scalar", r#"{"value":"0x10"}"#, "value wants a number, not a string"),
        (
            "TimeInfo",
            r#"{"nanoseconds":9223372036854775808}"#,
            "nanoseconds wants a 64-bit integer, and the number is outside",
        ),
        ("TimeInfo", r#"{"nanoseconds":"Infinity"}"#, "nanoseconds wants a 64-bit integer, not a string"),
        ("TimeInfo", r#"{"nanoseconds":1e300}"#, "nanoseconds wants a 64-bit integer, and the number is outside"),
        ("Address", r#"{"port":2147483648}"#, "port wants a 32-bit integer, and the number is outside"),
        ("Value.Range", r#"{"begin":-1,"end":1}"#, "begin wants an unsigned 64-bit integer, and the number is outside"),
        ("DrainConfig", r#"{"mark_gone":1}"#, "mark_gone wants a boolean, not a number"),
        ("DrainConfig", r#"{"mark_gone":"True"}"#, "mark_gone wants a boolean, not a string"),
        ("UUID", r#"{"value":"a*=="}"#, "value is not base64"),
        ("UUID", r#"{"value":"AAE=AAE="}"#, "value is not base64"),
        ("UUID", r#"{"value":"A"}"#, "value is not base64"),
        ("Volume", r#"{"mode":"RX","container_path":"/"}"#, "mode is required and does not know the name \"RX\""),
        ("quota.QuotaConfig", r#"{"role":"a","limits":[]}"#, "limits wants an object, not an array"),
        ("quota.QuotaConfig", r#"{"role":"a","limits":{"cpus":1}}"#, "limits[\"cpus\"] wants an object, not a number"),
        (
            "quota.QuotaConfig",
            r#"{"role":"a","limits":{"cpus":{}}}"#,
            "missing required fields: limits[\"cpus\"].value",
        ),
        ("TaskID", "{}", "missing required fields: value"),
        (
            "scheduler.Call",
            r#"{"subscribe":{"framework_info":{"name":"a","id":{}}}}"#,
            "missing required fields: subscribe.framework_info.id.value, subscribe.framework_info.user",
        ),
        (
            "Offer.Operation.Launch",
            r#"{"task_infos":[{"name":"a","task_id":{"value":"b"}}]}"#,
            "missing required fields: task_infos[0].agent_id",
        ),
        ("TimeInfo", r#"{"nanoseconds":null}"#, "missing required fields: nanoseconds"),
    ] {
        let refusal = understood(&format!("mesos.v1.{kind}"), json).expect_err(json).to_string();
        assert!(refusal.starts_with(wanted), "{json}: {refusal}");
    }
}

#[test]
fn output_shows_explicit_defaults_unless_deprecated() {
    let framework = mesos::FrameworkInfo { user: "u".into(), name: "n".into(), ..Default::default() };
    assert_eq!(written(&framework), r#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false}"#);
    let agent = mesos::AgentInfo { hostname: "h".into(), ..Default::default() };
    assert_eq!(written(&agent), r#"{"hostname":"h","port":5051}"#);
    assert_eq!(
        written(&mesos::CheckInfo::default()),
        r#"{"delay_seconds":15.0,"interval_seconds":10.0,"timeout_seconds":20.0}"#
    );
    assert_eq!(written(&mesos::command_info::Uri::default()), r#"{"value":"","extract":true}"#);
}

#[test]
fn a_value_of_zero_in_a_map_survives_both_encodings() {
    let entry = mesos::task_info::LimitsEntry { key: "cpus".into(), value: mesos::value::Scalar { value: 0.0 } };
    let task = mesos::TaskInfo { limits: vec![entry], ..Default::default() };
    for media in [MediaType::Json, MediaType::Protobuf] {
        let back: mesos::TaskInfo = codec::decode(media, &codec::encode(media, &task)).expect("complete");
        assert_eq!(back.limits, task.limits);
    }
    assert!(written(&task).ends_with(r#""limits":{"cpus":{"value":0.0}}}"#));
}

#[test]
fn an_enum_number_of_the_future_is_unset() {
    let call = scheduler::Call { r#type: Some(9999), ..Default::default() };
    assert_eq!(written(&call), "{}");
    let back: scheduler::Call =
        codec::decode(MediaType::Protobuf, &codec::encode(MediaType::Protobuf, &call)).expect("read");
    assert_eq!(back.r#type(), scheduler::call::Type::Unknown);
    // A required one is not there.
    let refusal = codec::decode::<mesos::Volume>(MediaType::Protobuf, &[0x18, 0x7f, 0x0a, 0x01, b'/']);
    assert_eq!(refusal, Err(Error::Missing { paths: vec!["mode".into()], more: 0 }));
}

#[test]
fn other_ways_to_write_the_same_protobuf_are_read() {
    // A packed list, an unknown field of each wire type, a map entry without its key, a length with a useless byte.
    let http = [0x08, 0x50, 0x22, 0x03, 0xc8, 0x01, 0x0c, 0xf8, 0x07, 0x01, 0xfd, 0x07, 0, 0, 0, 0];
    let read: mesos::health_check::HttpCheckInfo = codec::decode(MediaType::Protobuf, &http).expect("read");
    assert_eq!((read.port, read.statuses), (80, vec![200, 12]));
    let schema = Schema::named("mesos.v1.HealthCheck.HTTPCheckInfo").expect("in the schema");
    assert_eq!(
        schema.to_json(&http).as_deref(),
        Ok(br#"{"protocol":"IPv4","port":80,"statuses":[200,12]}"#.as_slice())
    );

    let quota = [0x0a, 0x81, 0x00, b'r', 0x12, 0x0b, 0x12, 0x09, 0x09, 0, 0, 0, 0, 0, 0, 0, 0];
    let read: kaon_http::v1::quota::QuotaConfig = codec::decode(MediaType::Protobuf, &quota).expect("read");
    assert_eq!((read.role.as_str(), read.guarantees[0].key.as_str()), ("r", ""));
}

#[test]
fn a_list_in_the_calls_of_real_clients() {
    let call: scheduler::Call = read(
        r#"{"framework_id":{"value":"f"},"type":"ACCEPT","accept":{"offer_ids":[{"value":"o"}],"operations":[{"type":"LAUNCH",
        "launch":{"task_infos":[{"name":"t","task_id":{"value":"t"},"agent_id":{"value":"a"},"executor":null,
        "resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":"0.1"},"role":"*"}],
        "command":{"shell":"true","value":"sleep 1"}}]}}],"filters":{"refuse_seconds":4294967295}}}"#,
    )
    .expect("a call as clients write it");
    let accept = call.accept.expect("there");
    assert_eq!(accept.filters.expect("there").refuse_seconds(), 4_294_967_295.0);
    let task = &accept.operations[0].launch.as_ref().expect("there").task_infos[0];
    assert_eq!(task.resources[0].scalar.as_ref().expect("there").value, 0.1);
    assert!(task.command.as_ref().expect("there").shell());

    let call: executor::Call = read(
        r#"{"executor_id":{"value":"e"},"framework_id":{"value":"f"},"type":"UPDATE","update":{"status":{
        "task_id":{"value":"t"},"state":"TASK_FINISHED","uuid":"AAECAwQFBgcICQoLDA0ODw==","timestamp":1700000000}}}"#,
    )
    .expect("a call as executors write it");
    let status = call.update.expect("there").status;
    assert_eq!(status.state(), mesos::TaskState::TaskFinished);
    assert_eq!(status.uuid().len(), 16);

    let call: master::Call =
        read(r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"a"},"max_grace_period":{"seconds":"10"}}}"#)
            .expect("a call as operators write it");
    let period = call.drain_agent.expect("there").max_grace_period.expect("there");
    assert_eq!((period.seconds, period.nanos), (10, 0));
}

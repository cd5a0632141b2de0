//! The rules of the scheduler API against a live master (reference 1.2, 1.5, 1.6, 3, 5): each refusal with its code, and
//! after all of them the same master, where a good framework works.

use crate::client::{Answer, Connection, Next, Stream, exchange, get, post};
use crate::cluster::Cluster;
use crate::deadline::{SOON, wait_for};
use crate::framework::{Framework, amount, info, task};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PATH: &str = "/api/v1/scheduler";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// One POST to the scheduler API; an error answer is plain text that says something.
pub(crate) fn refused(api: &str, headers: &[(&str, &str)], body: &[u8], status: u16) -> Answer {
    let answer = exchange(api, "POST", PATH, headers, body).expect("the master answers");
    let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    assert_eq!(answer.status, status, "{headers:?} {shown}: {}", answer.text());
    assert!(!answer.body.is_empty(), "a refusal says why: {headers:?} {shown}");
    answer
}

/// The proof that a master is as good as new: the same process, nothing taken, and a framework whose task finishes.
pub(crate) fn still_works(cluster: &Cluster) {
    let master = &cluster.members[0];
    assert_eq!(cluster.pid(&master.name), Some(master.pid), "the same process");
    let mut framework = Framework::subscribe(&cluster.api, info("afterwards"));
    framework.launch_until(vec![task("good", "true")], "TASK_FINISHED");
    framework.teardown();
    wait_for("all resources to be free", SOON, || {
        let state = get(&cluster.api, "/state").json();
        let agents = state["slaves"].as_array().expect("slaves").clone();
        let free =
            |agent: &Value| ["used_resources", "offered_resources"].iter().all(|kind| agent[kind]["cpus"] == 0.0);
        (agents.iter().all(free) && state["frameworks"] == json!([])).then_some(())
    });
    let log = std::fs::read_to_string(cluster.directory().join("master-1/log")).expect("a log");
    assert!(!log.contains("panicked") && !log.contains("an actor fell"), "{log}");
}

#[test]
fn a_request_that_is_no_call_is_answered_with_the_code_of_the_reference() {
    let cluster = Cluster::start(1);
    let api = cluster.api.as_str();
    let subscribe = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info("x")}}).to_string();
    let subscribe = subscribe.as_bytes();
    for method in ["GET", "PUT", "DELETE"] {
        let answer = exchange(api, method, PATH, &[], b"").expect("an answer");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    refused(api, &[], subscribe, 400);
    for media in ["text/plain", "application/json; charset=utf-8", "Application/JSON", "application/recordio", "x"] {
        refused(api, &[("Content-Type", media)], subscribe, 415);
    }
    for accept in ["text/html", "application/json;q=0", "application/recordio"] {
        refused(api, &[JSON, ("Accept", accept)], subscribe, 406);
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"SUBSCRIBE\"",
        "{\"type\":}",
        "{\"type\":\"SUBSCRIBE\"} x",
        "\u{0}",
        "{\"a\":1e999999}",
    ] {
        refused(api, &[JSON], body.as_bytes(), 400);
    }
    refused(api, &[JSON], &[0xff, 0xfe, 0x00], 400);
    for bytes in [
        &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x1a\x7f",
        b"\x10",
        b"\x0b\x0b\x0b",
        b"\x1a\xff\xff\xff\xff\x07",
    ] {
        refused(api, &[("Content-Type", "application/x-protobuf")], bytes, 400);
    }
    still_works(&cluster);
}

#[test]
fn a_call_that_is_not_valid_is_answered_with_the_code_of_the_reference() {
    let cluster = Cluster::start(1);
    let api = cluster.api.as_str();
    let with = |edit: &dyn Fn(&mut Value)| {
        let mut call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info("x")}});
        edit(&mut call);
        call.to_string().into_bytes()
    };
    let bad: [&dyn Fn(&mut Value); 9] = [
        &|call| call["type"] = Value::Null,
        &|call| call["type"] = json!("NO_SUCH_CALL"),
        &|call| call["type"] = json!(1),
        &|call| call["subscribe"] = Value::Null,
        &|call| call["subscribe"]["framework_info"]["user"] = Value::Null,
        &|call| call["subscribe"]["framework_info"]["name"] = json!({"value": "x"}),
        &|call| call["subscribe"]["framework_info"]["id"] = json!("an id is an object"),
        &|call| call["subscribe"]["framework_info"]["failover_timeout"] = json!("soon"),
        &|call| call["framework_id"] = json!({"value": "only-here"}),
    ];
    for edit in bad {
        refused(api, &[JSON], &with(edit), 400);
    }
    refused(api, &[JSON, ("Mesos-Stream-Id", "4711")], &with(&|_| {}), 400);
    refused(api, &[JSON], &with(&|call| call["type"] = json!("UNKNOWN")), 501);

    // What is lenient in Mesos is lenient here: unknown fields, null, a lone object for a list, numbers as strings.
    let call = with(&|call| {
        let info = &mut call["subscribe"]["framework_info"];
        info["no_such_field"] = json!([{"deep": {"er": null}}]);
        info["hostname"] = Value::Null;
        info["failover_timeout"] = json!("12.5");
        info["capabilities"] = json!({"type": "MULTI_ROLE"});
        info["checkpoint"] = json!("true");
    });
    let call: Value = serde_json::from_slice(&call).expect("JSON");
    let mut stream = Stream::open(api, &call).expect("an answer").expect("a stream");
    assert!(matches!(stream.next(SOON), Next::Event(event) if event["type"] == "SUBSCRIBED"));
    drop(stream);
    // And an unknown capability is ignored.
    let mut odd = info("odd");
    odd["capabilities"] = json!([{"type": "MULTI_ROLE"}, {"type": "FROM_THE_FUTURE"}]);
    Framework::subscribe(api, odd).teardown();
    let state = get(api, "/state").json();
    for framework in state["frameworks"].as_array().expect("frameworks") {
        let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": framework["id"]}}});
        let answer = post(api, "/api/v1", &call);
        // One whose stream has ended may go by itself in this moment.
        let is_gone = answer.status == 400 && answer.text().contains("No framework");
        assert!(answer.status == 200 || is_gone, "{} {}", answer.status, answer.text());
    }
    still_works(&cluster);
}

#[test]
fn framework_infos_that_are_refused_get_an_error_event_and_the_end_of_the_stream() {
    let cluster = Cluster::start(1);
    let edits: [(&str, Value); 7] = [
        ("roles", json!(["a//b"])),
        ("roles", json!([".."])),
        ("roles", json!(["a", "a"])),
        ("roles", json!(["-a"])),
        ("role", json!("single")),
        ("failover_timeout", json!(1e300)),
        ("id", json!({"value": "../../etc"})),
    ];
    for (key, value) in edits {
        let mut info = info("refused");
        info[key] = value.clone();
        let mut call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
        if key == "id" {
            call["framework_id"] = value.clone();
        }
        let mut stream = match Stream::open(&cluster.api, &call).expect("an answer") {
            Ok(stream) => stream,
            Err(answer) => {
                panic!("{key} {value}: a stream with an error was due, not {} {}", answer.status, answer.text())
            }
        };
        match stream.next(SOON) {
            Next::Event(event) if event["type"] == "ERROR" => {
                let message = event["error"]["message"].as_str().unwrap_or_default();
                assert!(!message.is_empty(), "{key} {value}: {event}");
            }
            other => panic!("{key} {value}: {other:?}"),
        }
        assert!(matches!(stream.next(SOON), Next::Ended), "{key} {value}: the stream ends after an error");
    }
    still_works(&cluster);
}

#[test]
fn calls_without_a_subscription_or_its_stream_id_are_refused() {
    let cluster = Cluster::start(1);
    let api = cluster.api.as_str();
    let call = |kind: &str, id: &str| json!({"type": kind, "framework_id": {"value": id}}).to_string().into_bytes();
    refused(api, &[JSON], &call("REVIVE", "nobody-0000"), 400);
    refused(api, &[JSON, ("Mesos-Stream-Id", "x")], &call("REVIVE", "nobody-0000"), 400);
    refused(api, &[JSON], json!({"type": "REVIVE"}).to_string().as_bytes(), 400);

    let framework = Framework::subscribe(api, info("owner"));
    let other = Framework::subscribe(api, info("other"));
    refused(api, &[JSON], &call("TEARDOWN", &framework.id), 400);
    for id in [other.stream.id.as_str(), "", "00000000-0000-0000-0000-000000000000"] {
        refused(api, &[JSON, ("Mesos-Stream-Id", id)], &call("TEARDOWN", &framework.id), 400);
    }
    for (kind, sub) in
        [("ACCEPT", json!(null)), ("KILL", json!({})), ("ACKNOWLEDGE", json!({"uuid": "AAAA"})), ("MESSAGE", json!(7))]
    {
        let answer = framework.call(kind, sub).expect("an answer");
        assert_eq!(answer.status, 400, "{kind}: {}", answer.text());
    }
    let short = json!({"agent_id": {"value": "a"}, "task_id": {"value": "t"}, "uuid": "AAAA"});
    assert_eq!(framework.call("ACKNOWLEDGE", short).expect("an answer").status, 400, "a uuid of 3 bytes");
    let wrong = json!({"agent_id": {"value": "a"}, "task_id": {"value": "t"}, "uuid": "*no base64*"});
    assert_eq!(framework.call("ACKNOWLEDGE", wrong).expect("an answer").status, 400);

    // Known, but not connected: its stream broke, and it has a minute to come back.
    let (id, stream_id) = (framework.id.clone(), framework.stream.id.clone());
    drop(framework);
    wait_for("403 after the stream broke", SOON, || {
        let headers = [JSON, ("Mesos-Stream-Id", stream_id.as_str())];
        let answer = exchange(api, "POST", PATH, &headers, &call("REVIVE", &id)).expect("an answer");
        assert!(matches!(answer.status, 202 | 403), "{} {}", answer.status, answer.text());
        (answer.status == 403).then_some(())
    });
    let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": id}}});
    assert_eq!(post(api, "/api/v1", &call).status, 200);
    other.teardown();
    still_works(&cluster);
}

#[test]
fn a_stream_begins_with_subscribed_and_a_heartbeat_and_beats_every_fifteen_seconds() {
    let cluster = Cluster::start(1);
    let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info("patient")}});
    let mut stream = Stream::open(&cluster.api, &call).expect("an answer").expect("a stream");
    let Next::Event(first) = stream.next(SOON) else { panic!("no first event") };
    assert_eq!(first["type"], "SUBSCRIBED");
    assert_eq!(first["subscribed"]["heartbeat_interval_seconds"].as_f64(), Some(15.0));
    let master = &first["subscribed"]["master_info"];
    assert_eq!(format!("{}:{}", master["address"]["ip"].as_str().unwrap_or_default(), master["port"]), cluster.api);
    let id = first["subscribed"]["framework_id"]["value"].as_str().expect("an id");
    assert!(id.ends_with("-0000") && id.len() > 30, "the master's id and a number: {id}");
    let Next::Event(second) = stream.next(SOON) else { panic!("no second event") };
    assert_eq!(second, json!({"type": "HEARTBEAT"}));
    let begin = Instant::now();
    let beat = loop {
        match stream.next(SOON) {
            Next::Event(event) if event["type"] == "HEARTBEAT" => break begin.elapsed(),
            Next::Event(event) => assert_eq!(event["type"], "OFFERS"),
            other => panic!("{other:?}"),
        }
    };
    assert!(beat > Duration::from_secs(14) && beat < Duration::from_secs(20), "{beat:?}");
}

#[test]
fn offers_carry_what_clients_lean_on_and_statuses_too() {
    let cluster = Cluster::start_with(1, &["--resources", "cpus:4;mem:1024"]);
    let mut framework = Framework::subscribe(&cluster.api, info("reader"));
    let offer = framework.offer();
    let agent = &cluster.members[1];
    assert_eq!(offer["framework_id"]["value"], framework.id);
    let address = &offer["url"]["address"];
    assert_eq!(format!("{}:{}", address["ip"].as_str().unwrap_or_default(), address["port"]), agent.http, "{offer}");
    assert_eq!((&offer["url"]["scheme"], &offer["url"]["path"]), (&json!("http"), &json!("/slave(1)")));
    assert_eq!((&offer["hostname"], &offer["allocation_info"]["role"]), (&json!("127.0.0.1"), &json!("*")));
    assert_eq!((amount(&offer, "cpus"), amount(&offer, "mem")), (4.0, 1024.0));
    for resource in offer["resources"].as_array().expect("resources") {
        let kind = resource["type"].as_str().expect("a type by name");
        assert!(matches!(kind, "SCALAR" | "RANGES" | "SET"), "{resource}");
        assert_eq!((&resource["role"], &resource["allocation_info"]["role"]), (&json!("*"), &json!("*")), "{resource}");
    }
    let mut with_data = task("reader", "exit 0");
    with_data["labels"] = json!({"labels": [{"key": "k", "value": "v"}]});
    framework.accept(&[&offer], vec![with_data], 0.1);
    framework.until("the end", |framework| framework.latest("reader") == Some("TASK_FINISHED"));
    let states = framework.states("reader");
    assert!(
        states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"] || states == ["TASK_RUNNING", "TASK_FINISHED"],
        "{states:?}"
    );
    for status in &framework.updates {
        assert_eq!(status["agent_id"], offer["agent_id"], "{status}");
        assert_eq!(status["executor_id"]["value"], "reader", "{status}");
        assert!(status["uuid"].is_string() && status["timestamp"].as_f64().is_some_and(|at| at > 1.6e9), "{status}");
        assert_eq!(status["source"], "SOURCE_EXECUTOR", "{status}");
        let ip = &status["container_status"]["network_infos"][0]["ip_addresses"][0]["ip_address"];
        assert_eq!(ip, "127.0.0.1", "{status}");
    }
    framework.teardown();
    still_works(&cluster);
}

#[test]
fn connections_are_kept_alive_and_pipelined_requests_answered_in_order() {
    let cluster = Cluster::start(1);
    let mut connection = Connection::open(&cluster.api).expect("a connection");
    for path in ["/version", "/health", "/no/such/path", "/version"] {
        connection.send("GET", path, &[], b"").expect("it is open");
    }
    let codes: Vec<u16> = (0..4).map(|_| connection.answer().expect("it stays open").status).collect();
    assert_eq!(codes, [200, 200, 404, 200]);
    let framework = Framework::subscribe(&cluster.api, info("kept"));
    let call = json!({"type": "REVIVE", "framework_id": {"value": framework.id}}).to_string();
    let headers = [JSON, ("Mesos-Stream-Id", framework.stream.id.as_str())];
    for _ in 0..3 {
        connection.send("POST", PATH, &headers, call.as_bytes()).expect("it is open");
        assert_eq!(connection.answer().expect("it stays open").status, 202);
    }
    // A chunked request body is as good as one with a length.
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nMesos-Stream-Id: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        framework.stream.id
    );
    let (one, two) = call.split_at(call.len() / 2);
    let body = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    connection.send_bytes(format!("{head}{body}").as_bytes()).expect("it is open");
    assert_eq!(connection.answer().expect("it stays open").status, 202);
    framework.teardown();
    still_works(&cluster);
}

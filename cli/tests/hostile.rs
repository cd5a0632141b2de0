//! Offers that are not ours any more, tasks that ask for too much, ids that want to be paths, bodies that want to be
//! bombs: the answer that Mesos gives, and nothing taken (attacks 1-15, 36-41).

use crate::client::{Connection, exchange, get, post};
use crate::cluster::Cluster;
use crate::conversation::{refused, still_works};
use crate::framework::{Framework, info, scalar, task};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn ended(framework: &mut Framework, id: &str) -> (String, String, String) {
    framework.until("an answer to a launch", |framework| framework.latest(id).is_some());
    let status = framework.status(id).expect("it was waited for");
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"), text("message"))
}

#[test]
fn an_offer_is_good_for_one_accept() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("greedy"));
    let offer = framework.offer();
    // It wants no offers of its own, so that those of the first come back to the first.
    let mut thief = info("thief");
    thief["roles"] = json!([]);
    let mut other = Framework::subscribe(&cluster.api, thief);
    other.accept(&[&offer], vec![task("stolen", "true")], 0.1);
    let (state, reason, message) = ended(&mut other, "stolen");
    assert_eq!((state.as_str(), reason.as_str()), ("TASK_DROPPED", "REASON_INVALID_OFFERS"), "{message}");
    framework.accept(&[&offer, &offer], vec![task("twice", "true")], 0.1);
    let (state, reason, message) = ended(&mut framework, "twice");
    assert_eq!((state.as_str(), reason.as_str()), ("TASK_DROPPED", "REASON_INVALID_OFFERS"), "{message}");

    let offer = framework.offer();
    framework.accept(&[&offer], vec![task("first", "true")], 0.1);
    framework.accept(&[&offer], vec![task("second", "true")], 0.1);
    let (state, reason, message) = ended(&mut framework, "second");
    assert_eq!((state.as_str(), reason.as_str()), ("TASK_DROPPED", "REASON_INVALID_OFFERS"), "{message}");
    assert!(framework.status("second").is_some_and(|status| status["uuid"].is_null()), "the master's own status");
    framework.until("the first", |framework| framework.latest("first") == Some("TASK_FINISHED"));
    for odd in ["", "no-such-offer", "../../x", "x-O18446744073709551616", &"O".repeat(100_000)] {
        let ids = json!({"offer_ids": [{"value": odd}]});
        let answer = framework.call("DECLINE", ids).expect("an answer");
        assert!(matches!(answer.status, 202 | 400), "{}", answer.text());
        let id = format!("odd-{}", odd.len());
        framework.accept(
            &[&json!({"id": {"value": odd}, "agent_id": offer["agent_id"]})],
            vec![task(&id, "true")],
            0.1,
        );
        assert_eq!(ended(&mut framework, &id).0, "TASK_DROPPED");
    }
    framework.accept(&[&json!({"id": offer["id"], "agent_id": offer["agent_id"]})], vec![], 0.1);
    other.teardown();
    framework.teardown();
    still_works(&cluster);
}

#[test]
fn an_empty_launch_declines_and_the_resources_come_back() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("polite"));
    for _ in 0..3 {
        let offer = framework.offer();
        framework.accept(&[&offer], vec![], 0.05);
    }
    let offer = framework.offer();
    framework.must("DECLINE", json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 4_294_967_295_u64}}));
    framework.must("REVIVE", Value::Null);
    framework.offer();
    framework.teardown();
    still_works(&cluster);
}

#[test]
fn tasks_that_ask_for_too_much_or_for_nonsense_end_in_error_alone() {
    let cluster = Cluster::start_with(1, &["--resources", "cpus:2;mem:512;ports:[31000-31010]"]);
    let mut framework = Framework::subscribe(&cluster.api, info("unwise"));
    let range = |begin: u64, end: u64| json!({"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": begin, "end": end}]}});
    let bad: Vec<(&str, Value)> = vec![
        ("too-many-cpus", json!([scalar("cpus", 100.0), scalar("mem", 32.0)])),
        ("too-much-mem", json!([scalar("cpus", 0.1), scalar("mem", 1e18)])),
        ("negative", json!([scalar("cpus", -1.0), scalar("mem", 32.0)])),
        ("nothing", json!([])),
        ("unknown-resource", json!([scalar("cpus", 0.1), scalar("unobtainium", 1.0)])),
        ("foreign-port", json!([scalar("cpus", 0.1), range(80, 80)])),
        ("reversed-range", json!([scalar("cpus", 0.1), range(31005, 31001)])),
        ("port-65536", json!([scalar("cpus", 0.1), range(65536, 65536)])),
        ("foreign-role", json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}, "role": "someone"}])),
    ];
    let offer = framework.offer();
    let mut tasks: Vec<Value> = bad
        .iter()
        .map(|(id, resources)| {
            let mut task = task(id, "true");
            task["resources"] = resources.clone();
            task
        })
        .collect();
    tasks.push(task("good", "true"));
    let mut elsewhere = task("elsewhere", "true");
    elsewhere["agent_id"] = json!({"value": "another-S0"});
    let mut bare = task("neither-command-nor-executor", "true");
    bare["command"] = Value::Null;
    let mut negative = task("negative-grace", "true");
    negative["kill_policy"] = json!({"grace_period": {"nanoseconds": -1}});
    tasks.extend([elsewhere, bare, negative]);
    framework.accept(&[&offer], tasks, 0.1);
    let odd = ["elsewhere", "neither-command-nor-executor", "negative-grace"];
    for id in bad.iter().map(|(id, _)| *id).chain(odd) {
        let (state, reason, message) = ended(&mut framework, id);
        assert_eq!((state.as_str(), reason.as_str()), ("TASK_ERROR", "REASON_TASK_INVALID"), "{id}: {message}");
        assert!(!message.is_empty(), "{id}: it says why");
    }
    framework.until("the good one", |framework| framework.latest("good") == Some("TASK_FINISHED"));
    framework.teardown();
    still_works(&cluster);
}

#[test]
fn task_ids_that_are_taken_empty_or_hostile_end_in_error() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("hostile"));
    framework.launch_until(vec![task("taken", "exec sleep 86400")], "TASK_RUNNING");
    let long = "x".repeat(1 << 20);
    let limit = "y".repeat(255);
    let ids = ["..", ".", "a/b", "../../../../tmp/x", "/etc/passwd", "a\\b", "a\nb", "a\u{0}b", "\u{7f}", &long];
    for id in ids {
        let offer = framework.offer();
        framework.accept(&[&offer], vec![task(id, "true")], 0.05);
        let (state, reason, message) = ended(&mut framework, id);
        let shown: String = id.chars().take(20).collect();
        assert_eq!((state.as_str(), reason.as_str()), ("TASK_ERROR", "REASON_TASK_INVALID"), "{shown:?}: {message}");
    }
    let offer = framework.offer();
    let count = framework.updates.len();
    framework.accept(&[&offer], vec![task("", "true")], 0.05);
    framework.until("an answer to the empty id", |framework| framework.updates.len() > count);
    assert_eq!(framework.updates[count]["state"], "TASK_ERROR");
    framework.launched.remove("");

    let offer = framework.offer();
    let count = framework.updates.len();
    framework.accept(&[&offer], vec![task("taken", "true"), task(&limit, "true")], 0.05);
    framework.until("an answer to the taken id", |framework| framework.updates.len() > count);
    let duplicate = framework.updates[count..].iter().find(|status| status["state"] == "TASK_ERROR").expect("an error");
    assert_eq!(
        (&duplicate["task_id"]["value"], &duplicate["reason"]),
        (&json!("taken"), &json!("REASON_TASK_INVALID"))
    );
    framework.until("the longest id", |framework| framework.latest(&limit) == Some("TASK_FINISHED"));
    assert_eq!(cluster.tasks("sleep 86400").len(), 1, "the task that has the id lives on");
    let state = post(&cluster.api, "/api/v1", &json!({"type": "GET_TASKS"})).json();
    let running = state["get_tasks"]["tasks"].as_array().expect("tasks").iter();
    assert_eq!(running.filter(|task| task["state"] == "TASK_RUNNING").count(), 1);
    framework.teardown();
    still_works(&cluster);
}

#[test]
fn calls_about_things_that_do_not_exist_change_nothing() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("confused"));
    for id in ["nobody", "..", &"z".repeat(10_000)] {
        let (agent, task) = (json!({"value": id}), json!({"value": id}));
        let executor = json!({"value": id});
        for (kind, body) in [
            ("KILL", json!({"task_id": task, "agent_id": agent})),
            ("SHUTDOWN", json!({"executor_id": executor, "agent_id": agent})),
            ("ACKNOWLEDGE", json!({"agent_id": agent, "task_id": task, "uuid": "AAAAAAAAAAAAAAAAAAAAAA=="})),
            ("MESSAGE", json!({"executor_id": executor, "agent_id": agent, "data": "aGk="})),
            ("REVIVE", json!({"roles": [id]})),
            ("SUPPRESS", json!({"roles": [id]})),
            ("REQUEST", json!({"requests": [{"agent_id": agent, "resources": []}]})),
        ] {
            let answer = framework.call(kind, body).expect("an answer");
            assert!(matches!(answer.status, 202 | 400), "{kind} {id:.20}: {} {}", answer.status, answer.text());
        }
    }
    framework.must("RECONCILE", json!({"tasks": [{"task_id": {"value": "ghost"}}]}));
    framework
        .until("the truth about a task that never was", |framework| framework.latest("ghost") == Some("TASK_UNKNOWN"));
    let status = framework.status("ghost").expect("it came");
    assert!(status["uuid"].is_null() && status["reason"] == "REASON_RECONCILIATION", "{status}");
    framework.teardown();
    still_works(&cluster);
}

#[test]
fn bodies_that_are_bombs_are_refused_and_cost_nothing() {
    let cluster = Cluster::start(1);
    let api = cluster.api.as_str();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{{\"type\":\"SUBSCRIBE\",\"x\":{}1{}}}", open.repeat(300_000), close.repeat(300_000));
        refused(api, &[JSON], deep.as_bytes(), 400);
        // A field that nobody knows is passed over, as Mesos does, however deep it is.
        let deep = deep.replacen("SUBSCRIBE", "GET_HEALTH", 1);
        let answer = exchange(api, "POST", "/api/v1", &[JSON], deep.as_bytes()).expect("an answer");
        assert!(answer.status == 200 && answer.text().contains("healthy"), "{}", answer.status);
    }
    for text in [
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"\ud800","name":"x"}}}"#,
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"x","failover_timeout":NaN}}}"#,
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"x","failover_timeout":1e400}}}"#,
    ] {
        let answer = exchange(api, "POST", "/api/v1/scheduler", &[JSON], text.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 400, "{text}: {}", answer.text());
    }
    // A length that promises more than any body may have is refused before the body comes.
    let mut connection = Connection::open(api).expect("a connection");
    let head =
        "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n";
    connection.send_bytes(head.as_bytes()).expect("it is open");
    assert_eq!(connection.answer().expect("an answer").status, 413);
    for bytes in [
        "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        "POST /api/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
        "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "GET  HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET nopath HTTP/1.1\r\nHost: x\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "CONNECT other:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut connection = Connection::open(api).expect("a connection");
        connection.send_bytes(bytes.as_bytes()).expect("it is open");
        if let Ok(answer) = connection.answer() {
            assert!((400..600).contains(&answer.status), "{bytes:?}: {}", answer.status);
        }
    }
    let mut connection = Connection::open(api).expect("a connection");
    let flood = format!("GET /health HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(4 << 20));
    // The server may close while we still write.
    let _ = connection.send_bytes(flood.as_bytes());
    if let Ok(answer) = connection.answer() {
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }
    for path in [
        "/%",
        "/%zz",
        "/..%2f..%2fetc%2fpasswd",
        "/master/../../etc/passwd",
        "//etc/passwd",
        "/files/read?path=/etc/passwd",
        "/files/read?path=..%2f..%2f..%2fetc%2fpasswd",
    ] {
        for target in [api, cluster.members[1].http.as_str()] {
            let answer = get(target, path);
            assert!(
                (400..500).contains(&answer.status) && !answer.text().contains("root:"),
                "{path}: {}",
                answer.status
            );
        }
    }
    still_works(&cluster);
}

#[test]
fn a_subscriber_that_never_reads_is_cut_off_and_others_are_served() {
    let cluster = Cluster::start(1);
    let mut chatty = Framework::subscribe(&cluster.api, info("deaf"));
    // Each reconciliation of many unknown tasks is answered with as many events, and nobody reads them.
    let name = |n: u32| format!("{}-{n}", "ghost".repeat(40));
    let ghosts: Vec<Value> = (0..2_000).map(|n| json!({"task_id": {"value": name(n)}})).collect();
    let mut sent = 0;
    let refusal = loop {
        match chatty.call("RECONCILE", json!({"tasks": ghosts})) {
            Ok(answer) if answer.status == 202 => sent += 1,
            other => break other,
        }
        assert!(sent < 2_000, "it is never cut off");
    };
    let status = refusal.expect("an answer").status;
    assert!(matches!(status, 400 | 403 | 503), "{status} after {sent} calls");
    chatty.resubscribe();
    Framework::subscribe(&cluster.api, info("next")).teardown();
    let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.members[0].pid)).expect("it lives");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("KiB");
    assert!(kib < 1 << 20, "the master held {kib} KiB for one who did not listen");
}

//! What tools poll: the operator calls, the v0 endpoints, metrics, and the other encoding (reference 1.2, 2, 7, 16).

use crate::client::{Stream, exchange, get, post};
use crate::cluster::Cluster;
use crate::deadline::{SOON, wait_for};
use crate::framework::{Framework, info, task};
use serde_json::{Value, json};

/// A field of a protobuf message that is a length and bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(number < 16 && bytes.len() < 128, "one byte each is enough here");
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

#[test]
fn redirect_version_and_health_are_what_drivers_ask_before_they_subscribe() {
    let cluster = Cluster::start(1);
    let api = cluster.api.as_str();
    for path in ["/redirect", "/master/redirect"] {
        let answer = get(api, path);
        assert_eq!((answer.status, answer.header("location")), (307, Some(format!("//{api}").as_str())), "{path}");
    }
    for path in ["/version", "/master/version"] {
        let version = get(api, path).json()["version"].as_str().expect("a version").to_owned();
        let parts: Vec<u32> = version.split('.').map(|part| part.parse().expect("a number")).collect();
        assert!(parts.len() == 3 && parts >= vec![1, 5, 0], "{version}");
    }
    for (target, paths) in
        [(api, ["/health", "/master/health"]), (&cluster.members[1].http, ["/health", "/slave(1)/health"])]
    {
        for path in paths {
            let answer = get(target, path);
            assert_eq!(
                (answer.status, answer.body.len(), answer.header("content-length")),
                (200, 0, Some("0")),
                "{path}"
            );
        }
    }
    assert_eq!(get(api, "/redirect/x").status, 404);
    assert_eq!(get(api, "/no/such/path").status, 404);
    let answer = exchange(api, "DELETE", "/state", &[], b"").expect("an answer");
    assert_eq!(answer.status, 405);
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
}

#[test]
fn state_has_the_fields_that_tools_read() {
    let cluster = Cluster::start_with(1, &["--resources", "cpus:3;mem:700;disk:100;ports:[31000-31009]"]);
    let mut framework = Framework::subscribe(&cluster.api, info("shown"));
    let mut labelled = task("shown-task", "sleep 86400");
    labelled["labels"] = json!({"labels": [{"key": "k", "value": "v"}]});
    labelled["discovery"] =
        json!({"visibility": "CLUSTER", "name": "shown", "ports": {"ports": [{"number": 80, "name": "web"}]}});
    framework.launch_until(vec![labelled], "TASK_RUNNING");
    let state = wait_for("the task in the state", SOON, || {
        let state = get(&cluster.api, "/state").json();
        (state["frameworks"][0]["tasks"][0]["state"] == "TASK_RUNNING").then_some(state)
    });
    for key in [
        "version",
        "build_date",
        "build_user",
        "start_time",
        "elected_time",
        "id",
        "pid",
        "hostname",
        "flags",
        "activated_slaves",
        "leader_info",
    ] {
        assert!(!state[key].is_null(), "{key} is missing in {state}");
    }
    assert_eq!(
        (&state["leader"], &state["pid"]),
        (&json!(format!("master@{}", cluster.api)), &json!(format!("master@{}", cluster.api)))
    );
    let agent = &state["slaves"][0];
    assert_eq!(agent["pid"], format!("slave(1)@{}", cluster.members[1].http));
    assert_eq!((&agent["hostname"], &agent["active"]), (&json!("127.0.0.1"), &json!(true)));
    for (kind, cpus, mem) in
        [("resources", 3.0, 700.0), ("used_resources", 0.1, 16.0), ("unreserved_resources", 3.0, 700.0)]
    {
        assert_eq!(
            (agent[kind]["cpus"].as_f64(), agent[kind]["mem"].as_f64()),
            (Some(cpus), Some(mem)),
            "{kind} of {agent}"
        );
    }
    assert_eq!(agent["resources"]["ports"], "[31000-31009]");
    assert!(agent["attributes"].is_object(), "{agent}");
    let row = &state["frameworks"][0];
    assert_eq!(
        (&row["id"], &row["name"], &row["active"], &row["connected"]),
        (&json!(framework.id), &json!("shown"), &json!(true), &json!(true))
    );
    assert!(row["pid"].is_null(), "an HTTP framework has none");
    let shown = &row["tasks"][0];
    assert_eq!(
        (&shown["id"], &shown["framework_id"], &shown["executor_id"]),
        (&json!("shown-task"), &json!(framework.id), &json!(""))
    );
    assert_eq!(
        (&shown["labels"][0]["key"], &shown["discovery"]["name"], &shown["slave_id"]),
        (&json!("k"), &json!("shown"), &agent["id"]),
        "{shown}"
    );
    let status = &shown["statuses"].as_array().expect("statuses").last().expect("one")["container_status"];
    assert_eq!(status["network_infos"][0]["ip_addresses"][0]["ip_address"], "127.0.0.1", "{shown}");
    for path in ["/state.json", "/master/state", "/master/state.json"] {
        assert_eq!(get(&cluster.api, path).json()["id"], state["id"], "{path}");
    }
    for (path, key) in
        [("/slaves", "slaves"), ("/frameworks", "frameworks"), ("/tasks", "tasks"), ("/state-summary", "slaves")]
    {
        let answer = get(&cluster.api, path);
        assert_eq!(answer.json()[key].as_array().map(Vec::len), Some(1), "{path}");
        assert!(answer.header("content-length").is_some(), "a query has a length");
    }
    let answer = get(&cluster.api, "/state?jsonp=show");
    assert!(answer.text().starts_with("show({"), "{:.40}", answer.text());
    framework.teardown();
}

#[test]
fn the_operator_calls_of_this_version_answer_in_their_own_object() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("operated"));
    framework.launch_until(vec![task("one", "sleep 86400")], "TASK_RUNNING");
    for path in ["/api/v1", "/master/api/v1", "/api/v1/operator"] {
        for call in
            ["GET_HEALTH", "GET_VERSION", "GET_STATE", "GET_AGENTS", "GET_FRAMEWORKS", "GET_TASKS", "GET_METRICS"]
        {
            let answer = post(&cluster.api, path, &json!({"type": call, "get_metrics": {}}));
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some("application/json")),
                "{path} {call}"
            );
            let body = answer.json();
            assert!(body["type"] == call && body[call.to_ascii_lowercase()].is_object(), "{call}: {body}");
        }
    }
    let state = post(&cluster.api, "/api/v1", &json!({"type": "GET_STATE"})).json();
    let state = &state["get_state"];
    assert_eq!(state["get_tasks"]["tasks"][0]["task_id"]["value"], "one", "{state}");
    assert_eq!(state["get_agents"]["agents"][0]["active"], true);
    assert_eq!(state["get_frameworks"]["frameworks"][0]["framework_info"]["id"]["value"], framework.id);
    let headers = [("Content-Type", "application/x-protobuf"), ("Accept", "application/x-protobuf")];
    let answer = exchange(&cluster.api, "POST", "/api/v1", &headers, &[0x08, 0x01]).expect("an answer");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-protobuf")), "GET_HEALTH");
    assert_eq!(answer.body, [0x08, 0x01, 0x12, 0x02, 0x08, 0x01], "type GET_HEALTH, healthy");
    framework.teardown();
}

#[test]
fn metrics_follow_the_cluster_on_both_endpoints() {
    let cluster = Cluster::start_with(1, &["--resources", "cpus:3;mem:700"]);
    let mut framework = Framework::subscribe(&cluster.api, info("measured"));
    framework.launch_until(vec![task("one", "sleep 86400"), task("two", "sleep 86400")], "TASK_RUNNING");
    wait_for("the numbers", SOON, || {
        let all = get(&cluster.api, "/metrics/snapshot").json();
        let is = |name: &str, value: f64| all[name].as_f64() == Some(value);
        (is("master/elected", 1.0)
            && is("master/slaves_active", 1.0)
            && is("master/frameworks_active", 1.0)
            && is("master/tasks_running", 2.0)
            && is("master/cpus_total", 3.0)
            && is("master/cpus_used", 0.2))
        .then_some(())
    });
    let all = get(&cluster.api, "/metrics/snapshot").json();
    assert!(all["master/uptime_secs"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(all.as_object().expect("flat").values().all(Value::is_number), "name to number");
    for target in [&cluster.api, &cluster.members[1].http] {
        let answer = get(target, "/metrics");
        assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{answer:?}");
        for line in answer.text().lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (name, value) = line.rsplit_once(' ').expect("a name and a number");
            let first = name.chars().next().expect("a name");
            assert!(first.is_ascii_alphabetic() || first == '_', "{line}");
            value.parse::<f64>().unwrap_or_else(|_| panic!("no number: {line}"));
        }
        let families = answer.text().lines().filter(|line| line.starts_with("# TYPE")).count();
        assert!(families > 0, "{}", answer.text());
    }
    assert!(get(&cluster.members[1].http, "/slave(1)/metrics/snapshot").json().is_object());
    framework.teardown();
}

/// The names that the manual says are left out; `*` stands for anything.
fn left_out() -> Vec<String> {
    let manual = include_str!("../../docs/operating.md");
    let list = manual.split("<!-- metrics-left-out -->").nth(1).and_then(|rest| rest.split("<!-- /").next());
    list.expect("the list").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn is_of(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| rest.ends_with(after)),
        None => name == pattern,
    }
}

#[test]
fn what_the_manual_says_is_left_out_of_the_metrics_is_and_what_it_says_of_refused_operations_holds() {
    let (cluster, patterns) = (Cluster::start(1), left_out());
    assert!(patterns.len() > 5, "{patterns:?}");
    let mut framework = Framework::subscribe(&cluster.api, info("refused"));
    // A filter that stands, an operation that is refused.
    let offer = framework.offer();
    let mut cpus = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}});
    cpus["reservations"] = json!([{"type": "DYNAMIC", "role": "nobody"}]);
    let unreserve = json!({"type": "UNRESERVE", "unreserve": {"resources": [cpus]}});
    framework.must("ACCEPT", json!({"offer_ids": [offer["id"]], "operations": [unreserve]}));
    let all = wait_for("the refusal", SOON, || {
        let all = get(&cluster.api, "/metrics/snapshot").json();
        (all["master/operations/error"].as_f64() == Some(1.0)).then_some(all)
    });
    let all = all.as_object().expect("flat");
    let of_kinds = all.iter().filter(|(name, _)| is_of("master/operations/*/error", name));
    assert_eq!(of_kinds.map(|(_, value)| value.as_f64()).collect::<Vec<_>>(), [Some(0.0); 8]);
    let agent = get(&cluster.members[1].http, "/metrics/snapshot").json();
    for name in all.keys().chain(agent.as_object().expect("flat").keys()) {
        assert!(!patterns.iter().any(|pattern| is_of(pattern, name)), "{name} is not left out");
    }
    framework.teardown();
}

#[test]
fn a_subscription_in_protobuf_is_answered_in_protobuf() {
    let cluster = Cluster::start(1);
    // FrameworkInfo: user 1, name 2, capability MULTI_ROLE 10 { 1: 6 }, roles 12.
    let user = crate::framework::user();
    let capability = field(10, &[0x08, 0x06]);
    let info = [field(1, user.as_bytes()), field(2, b"binary"), capability, field(12, b"*")].concat();
    // Call: type 2 SUBSCRIBE, subscribe 3 { framework_info 1 }.
    let call = [vec![0x10, 0x01], field(3, &field(1, &info))].concat();
    let opened = Stream::open_bytes(&cluster.api, "application/x-protobuf", &call).expect("an answer");
    let mut stream = opened.unwrap_or_else(|answer| panic!("{} {}", answer.status, answer.text()));
    let first = stream.next_record(SOON).expect("a record").expect("no end yet");
    assert_eq!(first[..2], [0x08, 0x01], "an event of type SUBSCRIBED");
    let second = stream.next_record(SOON).expect("a record").expect("no end yet");
    assert_eq!(second, [0x08, 0x08], "a heartbeat");
    loop {
        let record = stream.next_record(SOON).expect("a record").expect("no end yet");
        if record[..2] == [0x08, 0x02] {
            let host = b"127.0.0.1";
            assert!(record.windows(host.len()).any(|window| window == host), "an offer names its host");
            break;
        }
    }
}

#[test]
fn the_agent_shows_its_state_and_the_files_of_sandboxes_and_nothing_else() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("filed"));
    let script =
        "echo hello; ln -s /etc/passwd link; ln -s / root; mkfifo pipe; mkdir sub; echo deep > sub/file; sleep 86400";
    framework.launch_until(vec![task("filed", script)], "TASK_RUNNING");
    let agent = cluster.members[1].http.as_str();
    let root = format!("/frameworks/{}/executors/filed/runs/latest", framework.id);
    wait_for("the output", SOON, || {
        let answer = get(agent, &format!("/files/read?path={root}/stdout&offset=0"));
        (answer.status == 200 && answer.json()["data"] == "hello\n").then_some(())
    });
    wait_for("the last file", SOON, || {
        (get(agent, &format!("/files/read?path={root}/sub/file&offset=0")).status == 200).then_some(())
    });
    let listed = get(agent, &format!("/files/browse?path={root}")).json();
    let names: Vec<&str> = listed.as_array().expect("files").iter().filter_map(|file| file["path"].as_str()).collect();
    assert!(
        names.iter().any(|name| name.ends_with("/stdout")) && names.iter().any(|name| name.ends_with("/stderr")),
        "{names:?}"
    );
    assert_eq!(get(agent, &format!("/files/download?path={root}/stdout")).body, b"hello\n");
    let size = get(agent, &format!("/files/read?path={root}/stdout&offset=-1")).json();
    assert_eq!((&size["offset"], &size["data"]), (&json!(6), &json!("")));
    for path in [
        "link",
        "root/etc/passwd",
        "pipe",
        "sub",
        "../../../../../../../../etc/passwd",
        "sub/../../../latest/../../../../../../meta",
        "%2e%2e/%2e%2e/x",
    ] {
        for endpoint in ["read", "download"] {
            let answer = get(agent, &format!("/files/{endpoint}?path={root}/{path}&offset=0"));
            assert!(
                (400..500).contains(&answer.status) && !answer.text().contains("root:"),
                "{endpoint} {path}: {}",
                answer.status
            );
        }
    }
    let home = cluster.directory().join("agent-1");
    for secret in ["executors/authority.key", "agent-1.key", "journal", "log"] {
        let answer = get(agent, &format!("/files/download?path={}", home.join(secret).display()));
        assert!((400..500).contains(&answer.status), "{secret}: {}", answer.status);
    }
    let state = get(agent, "/slave(1)/state").json();
    assert_eq!(state["pid"], format!("slave(1)@{agent}"));
    framework.teardown();
}

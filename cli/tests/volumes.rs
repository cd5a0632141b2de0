//! Reservations and persistent volumes over real HTTP: data that outlives tasks, `kill -9` of agent and master, and what
//! operators do with them.

use crate::client::{exchange, get, post};
use crate::cluster::Cluster;
use crate::deadline::{SOON, wait_for};
use crate::fleet::Fleet;
use crate::framework::{Framework, amount, info, scalar, task};
use serde_json::{Value, json};

const RESOURCES: &str = "cpus:4;mem:1024;disk:512";

fn words(name: &str) -> Value {
    let mut words = info(name);
    words["roles"] = json!(["web"]);
    words["principal"] = json!("tester");
    let more = json!([{"type": "RESERVATION_REFINEMENT"}, {"type": "SHARED_RESOURCES"}]);
    words["capabilities"].as_array_mut().expect("a list").extend(more.as_array().expect("a list").iter().cloned());
    words
}

/// So much of a resource, reserved at run time with a label.
fn reserved(name: &str, value: f64) -> Value {
    let mut resource = scalar(name, value);
    let labels = json!({"labels": [{"key": "for", "value": "test"}]});
    resource["reservations"] = json!([{"type": "DYNAMIC", "role": "web", "principal": "tester", "labels": labels}]);
    resource
}

fn volume(id: &str, value: f64) -> Value {
    let mut resource = reserved("disk", value);
    resource["disk"] = json!({"persistence": {"id": id, "principal": "tester"},
        "volume": {"container_path": "data", "mode": "RW"}});
    resource
}

fn operation(kind: &str, id: Option<&str>, body: Value) -> Value {
    let mut operation = json!({"type": kind});
    operation[kind.to_ascii_lowercase()] = body;
    if let Some(id) = id {
        operation["id"] = json!({"value": id});
    }
    operation
}

/// A task that uses these resources beside its own share.
fn task_with(id: &str, command: &str, more: &[Value]) -> Value {
    let mut task = task(id, command);
    task["resources"].as_array_mut().expect("a list").extend(more.iter().cloned());
    task
}

fn holds(offer: &Value, id: &str) -> bool {
    let resources = offer["resources"].as_array().expect("resources");
    resources.iter().any(|resource| resource["disk"]["persistence"]["id"] == id)
}

/// Takes the first offer that fits, with all that is held of the same agent, and does something with it.
fn accept(framework: &mut Framework, fits: impl Fn(&Value) -> bool, mut operations: Vec<Value>) {
    framework.until("an offer that fits", |framework| framework.offers.iter().any(&fits));
    let at = framework.offers.iter().position(&fits).expect("it is there");
    let offer = framework.offers.remove(at);
    for operation in &mut operations {
        let Some(tasks) = operation["launch"]["task_infos"].as_array_mut() else { continue };
        for task in tasks {
            task["agent_id"] = offer["agent_id"].clone();
            let id = task["task_id"]["value"].as_str().expect("an id").to_owned();
            framework.launched.insert(id, offer["agent_id"].clone());
        }
    }
    let filters = json!({"refuse_seconds": 0.1});
    framework.must("ACCEPT", json!({"offer_ids": [offer["id"]], "operations": operations, "filters": filters}));
}

fn launch(task: Value) -> Value {
    operation("LAUNCH", None, json!({"task_infos": [task]}))
}

/// The last status of an operation.
fn status_of(framework: &Framework, id: &str) -> Option<Value> {
    let statuses = framework.others.iter().rev().map(|event| &event["update_operation_status"]["status"]);
    statuses.into_iter().find(|status| status["operation_id"]["value"] == id).cloned()
}

fn until_operation(framework: &mut Framework, id: &str, state: &str) -> Value {
    framework.until(state, |framework| status_of(framework, id).is_some_and(|status| status["state"] == state));
    status_of(framework, id).expect("it came")
}

fn agent_row(api: &str) -> Option<Value> {
    get(api, "/slaves").json()["slaves"].get(0).cloned()
}

#[test]
fn a_volume_keeps_its_data_over_tasks_and_the_deaths_of_agent_and_master() {
    let mut fleet = Fleet::new();
    fleet.master(&[]);
    fleet.agent("agent-1", &["--resources", RESOURCES]);
    let mut framework = Framework::subscribe_durably(&fleet.api(), words("keeper"));
    let kept = [reserved("cpus", 1.0), reserved("disk", 100.0)];
    let write = task_with("write", "echo kept > data/file", &[volume("v", 64.0)]);
    let operations = vec![
        operation("RESERVE", Some("reserve"), json!({"resources": kept})),
        operation("CREATE", Some("create"), json!({"volumes": [volume("v", 64.0)]})),
        launch(write),
    ];
    accept(&mut framework, |offer| amount(offer, "disk") >= 512.0, operations);
    framework.until("the first task", |framework| framework.latest("write") == Some("TASK_FINISHED"));
    for id in ["reserve", "create"] {
        let status = until_operation(&mut framework, id, "OPERATION_FINISHED");
        let shown = post(&fleet.api(), "/api/v1", &json!({"type": "GET_OPERATIONS"})).json();
        let shown = shown["get_operations"]["operations"].as_array().expect("a list").clone();
        assert!(shown.iter().any(|one| one["info"]["id"]["value"] == id), "{shown:?}");
        let body =
            json!({"agent_id": status["agent_id"], "operation_id": {"value": id}, "uuid": status["uuid"]["value"]});
        framework.must("ACKNOWLEDGE_OPERATION_STATUS", body);
    }
    wait_for("both to be forgotten", SOON, || {
        let shown = post(&fleet.api(), "/api/v1", &json!({"type": "GET_OPERATIONS"})).json();
        shown["get_operations"]["operations"].as_array().is_none_or(Vec::is_empty).then_some(())
    });
    let directory = fleet.path("agent-1").join("volumes/roles/web/v");
    let found = wait_for("the file", SOON, || {
        let below = [directory.clone(), fleet.path("agent-1").join("work/volumes/roles/web/v")];
        below.into_iter().find(|path| path.join("file").exists())
    });

    fleet.kill("agent-1");
    fleet.start("agent", "agent-1", &["--resources", RESOURCES]);
    fleet.kill("master-1");
    fleet.start("master", "master-1", &[]);
    // What the old master said last may still come out of the old stream.
    let before = framework.stream.id.clone();
    framework.until_within("a stream of the new master", SOON * 3, |framework| framework.stream.id != before);
    framework.until_within("an offer of the volume", SOON * 3, |framework| {
        framework.offers.iter().any(|offer| holds(offer, "v"))
    });
    let row = wait_for("the agent on the read side", SOON, || {
        agent_row(&fleet.api()).filter(|row| row["reserved_resources"]["web"].is_object())
    });
    assert_eq!(
        (&row["reserved_resources"]["web"]["cpus"], &row["reserved_resources"]["web"]["disk"]),
        (&json!(1.0), &json!(100.0))
    );
    assert_eq!(row["unreserved_resources"]["disk"], 412.0, "{row}");
    let shown = &row["reserved_resources_full"]["web"];
    assert!(shown.as_array().expect("a list").iter().any(|one| one["disk"]["persistence"]["id"] == "v"), "{row}");

    let read = task_with("read", "test \"$(cat data/file)\" = kept && exec sleep 86401.5", &[volume("v", 64.0)]);
    accept(&mut framework, |offer| holds(offer, "v"), vec![launch(read)]);
    framework.until("the second task", |framework| framework.latest("read") == Some("TASK_RUNNING"));
    let agent_id = framework.launched["read"].clone();
    let destroy =
        json!({"type": "DESTROY_VOLUMES", "destroy_volumes": {"agent_id": agent_id, "volumes": [volume("v", 64.0)]}});
    let answer = post(&fleet.api(), "/api/v1", &destroy);
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("in use"), "{}", answer.text());
    framework.must("KILL", json!({"task_id": {"value": "read"}}));
    framework.until("its end", |framework| framework.latest("read") == Some("TASK_KILLED"));
    accept(
        &mut framework,
        |offer| holds(offer, "v"),
        vec![
            operation("DESTROY", Some("destroy"), json!({"volumes": [volume("v", 64.0)]})),
            operation("UNRESERVE", Some("unreserve"), json!({"resources": [reserved("disk", 100.0)]})),
            operation("UNRESERVE", Some("again"), json!({"resources": [reserved("disk", 100.0)]})),
            operation("CREATE_DISK", Some("disk"), json!({"source": scalar("disk", 1.0), "target_type": "MOUNT"})),
        ],
    );
    let wanted = [
        ("destroy", "OPERATION_FINISHED"),
        ("unreserve", "OPERATION_FINISHED"),
        ("again", "OPERATION_ERROR"),
        ("disk", "OPERATION_ERROR"),
    ];
    for (id, state) in wanted {
        let status = until_operation(&mut framework, id, state);
        assert_eq!(status["message"].is_string(), state == "OPERATION_ERROR", "{status}");
    }
    for (id, state) in wanted {
        framework.others.clear();
        let named = json!({"operation_id": {"value": id}, "agent_id": agent_id});
        framework.must("RECONCILE_OPERATIONS", json!({"operations": [named]}));
        let told = if state == "OPERATION_ERROR" { "OPERATION_DROPPED" } else { state };
        assert!(until_operation(&mut framework, id, told)["uuid"].is_null(), "nobody acknowledges it");
    }
    framework.others.clear();
    // Those that are not acknowledged are told again.
    framework.must("RECONCILE_OPERATIONS", json!({"operations": []}));
    until_operation(&mut framework, "destroy", "OPERATION_FINISHED");
    assert!(!found.exists(), "the data is gone");
    wait_for("the reservation of disk to be gone", SOON, || {
        agent_row(&fleet.api()).filter(|row| row["reserved_resources"]["web"]["disk"] == 0.0)
    });
    framework.teardown();
}

#[test]
fn operators_reserve_and_make_volumes_in_both_apis_and_are_refused_with_the_right_codes() {
    let cluster = Cluster::start_with(1, &["--resources", RESOURCES]);
    let api = cluster.api.as_str();
    let row = wait_for("the agent", SOON, || agent_row(api));
    let agent_id = json!({"value": row["id"]});
    let call = |kind: &str, body: Value| {
        let mut call = json!({"type": kind});
        call[kind.to_ascii_lowercase()] = body;
        post(api, "/api/v1", &call)
    };
    let on = |list: &str, resources: &[Value]| {
        let mut body = json!({"agent_id": agent_id});
        body[list] = json!(resources);
        body
    };
    let expect = |answer: crate::client::Answer, status: u16| {
        assert_eq!(answer.status, status, "{}", answer.text());
    };
    expect(call("RESERVE_RESOURCES", on("resources", &[reserved("disk", 200.0)])), 202);
    expect(call("RESERVE_RESOURCES", on("resources", &[reserved("disk", 400.0)])), 409);
    expect(call("RESERVE_RESOURCES", on("resources", &[scalar("disk", 1.0)])), 400);
    expect(
        call("RESERVE_RESOURCES", json!({"agent_id": {"value": "nobody"}, "resources": [reserved("disk", 1.0)]})),
        400,
    );
    expect(post(api, "/api/v1", &json!({"type": "RESERVE_RESOURCES"})), 400);
    expect(call("CREATE_VOLUMES", on("volumes", &[volume("a", 50.0)])), 202);
    expect(call("CREATE_VOLUMES", on("volumes", &[volume("a", 50.0)])), 400);
    expect(
        call(
            "GROW_VOLUME",
            json!({"agent_id": agent_id, "volume": volume("a", 50.0), "addition": reserved("disk", 25.0)}),
        ),
        202,
    );
    expect(
        call("SHRINK_VOLUME", json!({"agent_id": agent_id, "volume": volume("a", 75.0), "subtract": {"value": 15.0}})),
        202,
    );
    expect(
        call("SHRINK_VOLUME", json!({"agent_id": agent_id, "volume": volume("a", 60.0), "subtract": {"value": 60.0}})),
        400,
    );
    // A refinement for a role below, and moved from one to another.
    let refine = |role: &str, amount: f64| {
        let mut resource = reserved("disk", amount);
        let layer = json!({"type": "DYNAMIC", "role": role, "principal": "tester"});
        resource["reservations"].as_array_mut().expect("a list").push(layer);
        resource
    };
    expect(call("RESERVE_RESOURCES", on("resources", &[refine("web/a", 10.0)])), 202);
    let mut moved = on("resources", &[refine("web/b", 10.0)]);
    moved["source"] = json!([refine("web/a", 10.0)]);
    expect(call("RESERVE_RESOURCES", moved), 202);
    let full = agent_row(api).expect("the agent")["reserved_resources_full"].clone();
    assert_eq!(full["web/b"][0]["scalar"]["value"], 10.0, "{full}");
    assert_eq!(full.get("web/a"), None, "{full}");

    // The framework that holds all of it in an offer is told that the offer is gone.
    let mut framework = Framework::subscribe(api, words("holder"));
    framework.until("an offer of the volume", |framework| framework.offers.iter().any(|offer| holds(offer, "a")));
    let offer = framework.offers[0]["id"].clone();
    expect(call("DESTROY_VOLUMES", on("volumes", &[volume("a", 60.0)])), 202);
    framework
        .until("a rescind", |framework| framework.others.iter().any(|event| event["rescind"]["offer_id"] == offer));
    framework.teardown();

    // The old forms.
    let form = |endpoint: &str, list: &str, resources: &Value| {
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let id = row["id"].as_str().expect("an id");
        let body = format!("slaveId={}&{list}={}", escape(id), escape(&resources.to_string()));
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        exchange(api, "POST", endpoint, &headers, body.as_bytes()).expect("the server answers")
    };
    let mut old = scalar("cpus", 1.0);
    old["role"] = json!("db");
    old["reservation"] = json!({"principal": "tester"});
    expect(form("/reserve", "resources", &json!([old])), 202);
    expect(form("/master/unreserve", "resources", &json!([old])), 202);
    expect(form("/reserve", "resources", &json!("no list")), 400);
    expect(form("/reserve", "volumes", &json!([old])), 400);
    expect(form("/create-volumes", "volumes", &json!([volume("b", 5.0)])), 202);
    expect(form("/destroy-volumes", "volumes", &json!([volume("b", 5.0)])), 202);
    expect(get(api, "/reserve"), 405);
    let reserved_now = &agent_row(api).expect("the agent")["reserved_resources"];
    assert_eq!(
        (&reserved_now["web"]["disk"], &reserved_now["web/b"]["disk"], reserved_now.get("db")),
        (&json!(190.0), &json!(10.0), None)
    );
}

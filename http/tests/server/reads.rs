//! Reads of the cluster's state: the operator's calls and the endpoints that tools poll.

use kaon_http::History;
use kaon_kernel::agent::{AgentInfo, Attribute, AttributeValue};
use kaon_kernel::id::{AgentId, ExecutorId, FrameworkId, OfferId, RoleName, Uuid};
use kaon_kernel::message::scheduler::ToMaster;
use kaon_kernel::message::view::{AgentView, ViewEvent};
use kaon_kernel::resource::parse::resources;
use kaon_kernel::task::{Source, Task, TaskState, TaskStatus};
use kaon_kernel::time::WallTime;
use serde_json::{Value, json};

use super::calls::view;
use super::rig::{Answer, Heard, Rig, until};

fn framework() -> FrameworkId {
    FrameworkId::trusted("f")
}

fn task(id: &str) -> ViewEvent {
    let info = json!({
        "name": "name", "task_id": {"value": id}, "agent_id": {"value": "m-S1"},
        "command": {"value": "true", "user": "bob"},
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 100.0}},
            {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31001, "end": 31002}]}},
        ],
        "labels": {"labels": [{"key": "k", "value": "v"}]},
        "discovery": {"visibility": "CLUSTER", "name": "web"},
    });
    let info = kaon_http::codec::decode(kaon_http::codec::MediaType::Json, info.to_string().as_bytes()).expect("valid");
    let info = kaon_http::convert::task::from_v1(info, "f");
    assert_eq!(info.defect, None);
    let executor_id = ExecutorId::trusted(id);
    let task = Task { info, executor_id, state: TaskState::Staging, statuses: Vec::new(), unacknowledged: None };
    ViewEvent::Task { framework_id: framework(), role: RoleName::trusted("*"), task }
}

fn update(id: &str, state: TaskState) -> ViewEvent {
    let status = TaskStatus {
        uuid: Some(Uuid([1; 16])),
        agent_id: Some(AgentId::trusted("m-S1")),
        container: Some(kaon_kernel::task::ContainerStatus {
            parent: None,
            container_id: kaon_kernel::id::ContainerId::trusted("c"),
            executor_pid: Some(9),
            ip_addresses: vec!["10.0.0.2".to_owned()],
        }),
        ..TaskStatus::bare(kaon_kernel::id::TaskId::trusted(id), state, Source::Executor, WallTime(2_000_000_000))
    };
    ViewEvent::TaskUpdated { framework_id: framework(), agent_id: AgentId::trusted("m-S1"), status, latest: state }
}

fn agent(id: &str, active: bool) -> ViewEvent {
    ViewEvent::Agent(AgentView {
        info: AgentInfo {
            id: Some(AgentId::trusted(id)),
            hostname: "a.test".to_owned(),
            ip: "10.0.0.2".to_owned(),
            port: 5051,
            resources: resources("cpus:4;mem:1000;disk:500;ports:[31000-32000];cpus(web):2").expect("valid"),
            attributes: vec![Attribute { name: "rack".to_owned(), value: AttributeValue::Text("r1".to_owned()) }],
            domain: None,
            version: "0.1.0".to_owned(),
        },
        converted: None,
        registered: true,
        connected: active,
        active,
        registered_time: WallTime(1_000_000_000),
        reregistered_time: None,
        orders: None,
    })
}

/// A cluster of two agents, one framework, two tasks and an offer.
async fn cluster() -> Rig {
    let rig = Rig::leading().await;
    for event in [
        agent("m-S1", true),
        agent("m-S2", false),
        view("f", Some(kaon_kernel::actor::StreamId(1))),
        task("t1"),
        task("t2"),
        update("t1", TaskState::Running),
        update("t2", TaskState::Running),
        update("t2", TaskState::Finished),
        ViewEvent::TaskCompleted { framework_id: framework(), task_id: kaon_kernel::id::TaskId::trusted("t2") },
        ViewEvent::Offered {
            offer_id: OfferId(3),
            framework_id: framework(),
            agent_id: AgentId::trusted("m-S1"),
            role: RoleName::trusted("*"),
            resources: resources("cpus:1;mem:10").expect("valid"),
        },
    ] {
        rig.show(&event);
    }
    until("the snapshot", || rig.edge.view().snapshot().offers.len() == 1).await;
    rig
}

async fn operator(rig: &Rig, call: Value) -> Answer {
    let mut client = rig.client().await;
    client.post("/api/v1", &[], &call).await;
    client.answer().await
}

#[tokio::test]
async fn the_state_says_what_tools_look_for() {
    let rig = cluster().await;
    let state = rig.get("/master/state.json").await.json();
    assert_eq!(state, rig.get("/state").await.json());
    for (pointer, expected) in [
        ("/version", json!("1.11.0")),
        ("/id", json!("m")),
        ("/pid", json!("master@10.0.0.1:5050")),
        ("/leader", json!("master@10.0.0.1:5050")),
        ("/leader_info/hostname", json!("host.test")),
        ("/cluster", json!("c")),
        ("/elected_time", json!(5.0)),
        ("/activated_slaves", json!(1.0)),
        ("/deactivated_slaves", json!(1.0)),
        ("/flags/quorum", json!("1")),
        ("/frameworks/0/id", json!("f")),
        ("/frameworks/0/active", json!(true)),
        ("/frameworks/0/role", json!("*")),
        ("/frameworks/0/tasks/0/id", json!("t1")),
        ("/frameworks/0/tasks/0/state", json!("TASK_RUNNING")),
        ("/frameworks/0/tasks/0/executor_id", json!("")),
        ("/frameworks/0/tasks/0/slave_id", json!("m-S1")),
        ("/frameworks/0/tasks/0/user", json!("bob")),
        ("/frameworks/0/tasks/0/resources/ports", json!("[31001-31002]")),
        ("/frameworks/0/tasks/0/labels/0/key", json!("k")),
        ("/frameworks/0/tasks/0/discovery/name", json!("web")),
        ("/frameworks/0/tasks/0/statuses/0/state", json!("TASK_RUNNING")),
        (
            "/frameworks/0/tasks/0/statuses/0/container_status/network_infos/0/ip_addresses/0/ip_address",
            json!("10.0.0.2"),
        ),
        ("/frameworks/0/tasks/1", Value::Null),
        ("/frameworks/0/completed_tasks/0/id", json!("t2")),
        ("/frameworks/0/completed_tasks/0/state", json!("TASK_FINISHED")),
        ("/frameworks/0/used_resources/cpus", json!(0.5)),
        ("/frameworks/0/offers/0/id", json!("m-O3")),
        ("/completed_frameworks", json!([])),
        ("/orphan_tasks", json!([])),
    ] {
        let found = state.pointer(pointer).cloned().unwrap_or(Value::Null);
        assert_eq!(found, expected, "{pointer}");
    }
    let one = state["slaves"].as_array().expect("a list").iter().find(|one| one["id"] == "m-S1").expect("there");
    for (pointer, expected) in [
        ("/pid", json!("slave(1)@10.0.0.2:5051")),
        ("/hostname", json!("a.test")),
        ("/active", json!(true)),
        ("/attributes/rack", json!("r1")),
        ("/resources/cpus", json!(6.0)),
        ("/resources/gpus", json!(0.0)),
        ("/resources/ports", json!("[31000-32000]")),
        ("/reserved_resources/web/cpus", json!(2.0)),
        ("/unreserved_resources/cpus", json!(4.0)),
        ("/used_resources/mem", json!(100.0)),
        ("/offered_resources/cpus", json!(1.0)),
    ] {
        assert_eq!(one.pointer(pointer), Some(&expected), "{pointer}");
    }
}

#[tokio::test]
async fn the_other_polled_endpoints_agree_with_it() {
    let rig = cluster().await;
    let summary = rig.get("/state-summary").await.json();
    assert_eq!(summary["frameworks"][0]["TASK_RUNNING"], 1);
    assert_eq!(summary["frameworks"][0]["TASK_FINISHED"], 1);
    assert_eq!(summary["frameworks"][0]["slave_ids"], json!(["m-S1"]));
    assert_eq!(rig.get("/frameworks?framework_id=other").await.json()["frameworks"], json!([]));
    assert_eq!(rig.get("/frameworks").await.json()["frameworks"][0]["id"], "f");
    let slaves = rig.get("/slaves?slave_id=m-S1").await.json();
    assert_eq!(slaves["slaves"].as_array().map(Vec::len), Some(1));
    assert_eq!(slaves["slaves"][0]["used_resources_full"][0]["name"], "cpus");
    assert_eq!(slaves["slaves"][0]["reserved_resources_full"]["web"][0]["role"], "web");
    let ids = |tasks: Value| {
        tasks["tasks"].as_array().expect("a list").iter().map(|one| one["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(rig.get("/tasks").await.json()).len(), 2);
    assert_eq!(ids(rig.get("/tasks?limit=1&offset=1").await.json()).len(), 1);
    assert_eq!(ids(rig.get("/tasks?task_id=t2&order=asc").await.json()), [json!("t2")]);
    assert_eq!(rig.get("/tasks?limit=x").await.status(), 400);
    assert_eq!(rig.get("/tasks?order=up").await.status(), 400);
    assert_eq!(rig.get("/master/version").await.json()["version"], "1.11.0");
    assert_eq!(rig.get("/flags").await.json(), json!({"flags": {"quorum": "1"}}));
    let redirect = rig.get("/redirect").await;
    assert_eq!((redirect.status(), redirect.head.header("location")), (307, Some("//host.test:5050")));
    let called = rig.get("/version?jsonp=a.b$_1").await;
    assert_eq!(called.head.header("content-type"), Some("text/javascript"));
    assert!(called.text().starts_with("a.b$_1({") && called.text().ends_with("});"), "{}", called.text());
    assert_eq!(rig.get("/version?jsonp=alert(1)").await.status(), 400);
    let health = rig.get("/health").await;
    assert_eq!((health.status(), health.body.len()), (200, 0));
}

#[tokio::test]
async fn the_numbers_have_the_names_of_mesos() {
    let rig = cluster().await;
    let numbers = rig.get("/metrics/snapshot").await.json();
    for (name, expected) in [
        ("master/elected", 1.0),
        ("master/slaves_active", 1.0),
        ("master/slaves_inactive", 1.0),
        ("master/frameworks_active", 1.0),
        ("master/outstanding_offers", 1.0),
        ("master/tasks_running", 1.0),
        ("master/tasks_finished", 1.0),
        ("master/tasks_failed", 0.0),
        ("master/cpus_total", 12.0),
        ("master/cpus_used", 0.5),
        ("master/mem_percent", 0.05),
        ("runtime/events", 3.0),
    ] {
        assert_eq!(numbers[name], json!(expected), "{name}");
    }
    let text = rig.get("/metrics").await;
    assert_eq!(text.head.header("content-type"), Some("text/plain; version=0.0.4"));
    assert!(text.text().contains("# TYPE master_tasks_finished counter\nmaster_tasks_finished 1\n"));
}

#[tokio::test]
async fn the_operators_calls_are_answered_from_the_snapshot() {
    let rig = cluster().await;
    for kind in [
        "GET_HEALTH",
        "GET_VERSION",
        "GET_FLAGS",
        "GET_MASTER",
        "GET_AGENTS",
        "GET_FRAMEWORKS",
        "GET_TASKS",
        "GET_EXECUTORS",
    ] {
        let answer = operator(&rig, json!({"type": kind})).await.json();
        assert_eq!(answer["type"], kind, "{answer}");
        assert!(answer[kind.to_ascii_lowercase()].is_object(), "{answer}");
    }
    assert_eq!(operator(&rig, json!({"type": "GET_METRICS"})).await.status(), 400, "its part is required");
    let metrics = operator(&rig, json!({"type": "GET_METRICS", "get_metrics": {}})).await.json();
    assert!(metrics["get_metrics"]["metrics"].as_array().expect("a list").len() > 20);
    let state = operator(&rig, json!({"type": "GET_STATE"})).await.json();
    let state = &state["get_state"];
    assert_eq!(state["get_agents"]["agents"].as_array().map(Vec::len), Some(2));
    let task = &state["get_tasks"]["tasks"][0];
    assert_eq!((&task["task_id"]["value"], &task["state"]), (&json!("t1"), &json!("TASK_RUNNING")));
    assert_eq!(task["resources"][0]["role"], "*");
    assert_eq!(state["get_tasks"]["completed_tasks"][0]["task_id"]["value"], "t2");
    assert_eq!(state["get_frameworks"]["frameworks"][0]["offers"][0]["id"]["value"], "m-O3");
    let teardown = |id: &str| json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": id}}});
    assert_eq!(operator(&rig, teardown("other")).await.status(), 400);
    let answer = operator(&rig, teardown("f")).await;
    assert_eq!((answer.status(), answer.body.len()), (200, 0));
    assert_eq!(rig.actors.next().await, Heard::Master(ToMaster::Teardown { framework_id: framework() }));
}

#[tokio::test]
async fn what_is_over_is_remembered_up_to_a_bound() {
    let rig = Rig::leading().await;
    for number in 0..60 {
        let id = FrameworkId::trusted(format!("f{number}"));
        rig.show(&view(id.as_str(), None));
        rig.show(&ViewEvent::FrameworkRemoved { framework_id: id, at: WallTime(number) });
    }
    rig.show(&view("f", None));
    for number in 0..1100 {
        let id = format!("t{number}");
        rig.show(&task(&id));
        rig.show(&update(&id, TaskState::Failed));
        let task_id = kaon_kernel::id::TaskId::trusted(id);
        rig.show(&ViewEvent::TaskCompleted { framework_id: framework(), task_id });
    }
    until("the last task", || {
        let snapshot = rig.edge.view().snapshot();
        snapshot.ended[TaskState::Failed as usize] == 1100
            && snapshot.frameworks.get("f").is_some_and(|one| one.tasks.is_empty())
    })
    .await;
    let snapshot = rig.edge.view().snapshot();
    assert_eq!(snapshot.completed.len(), 50);
    let completed = &snapshot.frameworks.get("f").expect("there").completed;
    assert_eq!(completed.len(), 1000);
    assert_eq!(completed.back().map(|held| held.task.info.task_id.as_str()), Some("t1099"));
    let state = rig.get("/state").await.json();
    assert_eq!(state["completed_frameworks"].as_array().map(Vec::len), Some(50));
}

#[tokio::test]
async fn no_more_is_remembered_than_was_asked_for() {
    for most in [0, 2] {
        let rig = Rig::remembering(History { frameworks: most, tasks: most }).await;
        rig.show(&view("f", None));
        for number in 0..5 {
            let id = format!("t{number}");
            rig.show(&task(&id));
            rig.show(&update(&id, TaskState::Failed));
            let task_id = kaon_kernel::id::TaskId::trusted(id);
            rig.show(&ViewEvent::TaskCompleted { framework_id: framework(), task_id });
            let id = FrameworkId::trusted(format!("f{number}"));
            rig.show(&view(id.as_str(), None));
            rig.show(&ViewEvent::FrameworkRemoved { framework_id: id, at: WallTime(number) });
        }
        let snapshot = rig.edge.view().snapshot();
        let gone: Vec<u64> = snapshot.completed.iter().map(|completed| completed.at.0).collect();
        assert_eq!(gone, (5 - most as u64..5).collect::<Vec<_>>(), "the latest");
        assert_eq!(snapshot.frameworks.get("f").map(|one| one.completed.len()), Some(most));
    }
}

//! Frameworks that come back, are followed by another, or stay away (reference 3.1).

use crate::client::{Next, Stream, get, post};
use crate::cluster::Cluster;
use crate::deadline::{SOON, wait_for};
use crate::framework::{Framework, info, task};
use serde_json::{Value, json};

fn error(stream: &mut Stream) -> String {
    loop {
        match stream.next(SOON) {
            Next::Event(event) if event["type"] == "ERROR" => {
                let message = event["error"]["message"].as_str().expect("a message").to_owned();
                assert!(matches!(stream.next(SOON), Next::Ended), "the stream ends after an error");
                return message;
            }
            Next::Event(_) => {}
            other => panic!("no error came, but {other:?}"),
        }
    }
}

fn framework_of(api: &str, list: &str, id: &str) -> Option<Value> {
    let state = get(api, "/state").json();
    state[list].as_array().expect("frameworks").iter().find(|framework| framework["id"] == id).cloned()
}

#[test]
fn the_newest_subscription_wins_and_the_old_stream_is_told() {
    let cluster = Cluster::start(1);
    let mut first = Framework::subscribe(&cluster.api, info("twin"));
    first.launch_until(vec![task("long", "exec sleep 86400.125")], "TASK_RUNNING");
    let pids = wait_for("the task", SOON, || Some(cluster.tasks("sleep 86400.125")).filter(|pids| !pids.is_empty()));
    let mut old = first.resubscribe();
    first.offers.clear();
    assert_eq!(error(&mut old), "Framework failed over");
    assert_ne!(old.id, first.stream.id);
    let mut second = first;
    let new = std::mem::replace(&mut second.stream, old);
    let answer = second.call("REVIVE", Value::Null).expect("an answer");
    assert_eq!(answer.status, 400, "the old stream id is worth nothing: {}", answer.text());
    second.stream = new;
    second.offer();
    assert_eq!(cluster.tasks("sleep 86400.125"), pids, "its tasks go on");
    second.must("KILL", json!({"task_id": {"value": "long"}}));
    second.until("the end of the task", |framework| framework.latest("long") == Some("TASK_KILLED"));
    second.teardown();
}

#[test]
fn a_status_that_nobody_acknowledged_is_told_again_after_a_failover() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("forgetful"));
    framework.acknowledges = false;
    framework.launch(vec![task("short", "exit 3")]);
    framework.until("a first status", |framework| framework.latest("short").is_some());
    let unacknowledged = framework.status("short").expect("it came").clone();
    framework.resubscribe();
    framework.updates.clear();
    framework.acknowledges = true;
    framework.until_within("the end, status by status", SOON * 2, |framework| {
        framework.latest("short") == Some("TASK_FAILED")
    });
    assert_eq!(framework.updates[0]["uuid"], unacknowledged["uuid"], "from the first that was not acknowledged");
    let mut uuids: Vec<&Value> = framework.updates.iter().map(|status| &status["uuid"]).collect();
    uuids.dedup();
    assert_eq!(uuids.len(), framework.states("short").len(), "each state is one status");
    framework.teardown();
}

#[test]
fn without_a_failover_timeout_a_broken_stream_ends_the_framework_and_its_tasks() {
    let cluster = Cluster::start(1);
    let mut brief = info("brief");
    brief["failover_timeout"] = json!(0.0);
    let mut framework = Framework::subscribe(&cluster.api, brief);
    framework.launch_until(vec![task("long", "exec sleep 86400.375")], "TASK_RUNNING");
    let id = framework.id.clone();
    wait_for("the task", SOON, || (!cluster.tasks("sleep 86400.375").is_empty()).then_some(()));
    framework.stream.hang_up();
    wait_for("the framework to be removed", SOON, || framework_of(&cluster.api, "completed_frameworks", &id));
    wait_for("its task to be dead", SOON, || cluster.tasks("sleep 86400.375").is_empty().then_some(()));
    assert_eq!(framework_of(&cluster.api, "frameworks", &id), None);
    let mut refused = framework.open_again().expect("a stream with an error");
    assert_eq!(error(&mut refused), "Framework has been removed");
}

#[test]
fn within_its_failover_timeout_a_framework_keeps_its_tasks_and_loses_them_after() {
    let cluster = Cluster::start(1);
    let mut patient = info("patient");
    patient["failover_timeout"] = json!(2.0);
    let mut framework = Framework::subscribe(&cluster.api, patient);
    framework.launch_until(vec![task("long", "exec sleep 86400.625")], "TASK_RUNNING");
    let pids = wait_for("the task", SOON, || Some(cluster.tasks("sleep 86400.625")).filter(|pids| !pids.is_empty()));
    let id = framework.id.clone();
    framework.stream.hang_up();
    wait_for("the master to notice", SOON, || {
        framework_of(&cluster.api, "frameworks", &id).filter(|row| row["connected"] == false)
    });
    framework.resubscribe();
    framework.must("RECONCILE", json!({"tasks": []}));
    framework.updates.clear();
    framework.until("the truth", |framework| framework.latest("long") == Some("TASK_RUNNING"));
    assert_eq!(cluster.tasks("sleep 86400.625"), pids);
    drop(framework);
    wait_for("the framework to be removed", SOON, || framework_of(&cluster.api, "completed_frameworks", &id));
    wait_for("its task to be dead", SOON, || cluster.tasks("sleep 86400.625").is_empty().then_some(()));
}

#[test]
fn a_framework_that_was_torn_down_is_removed_for_good() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("done"));
    framework.launch_until(vec![task("long", "exec sleep 86400.75")], "TASK_RUNNING");
    let id = framework.id.clone();
    let call = json!({"type": "TEARDOWN", "framework_id": {"value": id}}).to_string();
    let headers = [("Content-Type", "application/json"), ("Mesos-Stream-Id", framework.stream.id.as_str())];
    let answer = crate::client::exchange(&cluster.api, "POST", "/api/v1/scheduler", &headers, call.as_bytes());
    assert_eq!(answer.expect("an answer").status, 202);
    wait_for("its task to be dead", SOON, || cluster.tasks("sleep 86400.75").is_empty().then_some(()));
    let mut refused = wait_for("a refusal", SOON, || framework.open_again().ok());
    assert_eq!(error(&mut refused), "Framework has been removed");
    let row = framework_of(&cluster.api, "completed_frameworks", &id).expect("it is remembered");
    assert_eq!(row["completed_tasks"][0]["state"], "TASK_KILLED", "{row}");
}

#[test]
fn a_framework_may_bring_its_own_id() {
    let cluster = Cluster::start(1);
    let mut own = info("own");
    own["id"] = json!({"value": "chosen-by-me-0001"});
    let call = json!({"type": "SUBSCRIBE", "framework_id": own["id"], "subscribe": {"framework_info": own}});
    let mut stream = Stream::open(&cluster.api, &call).expect("an answer").expect("a stream");
    let Next::Event(event) = stream.next(SOON) else { panic!("no event") };
    assert_eq!(event["subscribed"]["framework_id"]["value"], "chosen-by-me-0001", "{event}");
    let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": own["id"]}});
    assert_eq!(post(&cluster.api, "/api/v1", &call).status, 200);
    while !matches!(stream.next(SOON), Next::Ended) {}
}

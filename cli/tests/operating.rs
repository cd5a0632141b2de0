//! Agents and machines that go, and frameworks that change their words: over the API and with the commands.

use crate::client::{get, post};
use crate::cluster::{Cluster, kaon};
use crate::deadline::{SOON, wait_for};
use crate::fleet::Fleet;
use crate::framework::{Framework, info, is_terminal, task};
use crate::processes;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn kaon_at(api: &str, arguments: &[&str]) -> String {
    let out = kaon().args(arguments).args(["--api", api]).output().expect("kaon runs");
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{arguments:?}: {said}");
    said
}

fn operator(api: &str, call: Value) -> u16 {
    post(api, "/api/v1", &call).status
}

/// The registered agents.
fn agents(api: &str) -> Vec<Value> {
    let answer = post(api, "/api/v1", &json!({"type": "GET_AGENTS"})).json();
    answer["get_agents"]["agents"].as_array().cloned().unwrap_or_default()
}

fn agent(api: &str) -> (String, Value) {
    let agent = wait_for("an agent", SOON, || agents(api).into_iter().next());
    (agent["agent_info"]["id"]["value"].as_str().expect("an id").to_owned(), agent)
}

#[test]
fn a_framework_replaces_what_it_said_of_itself() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("before"));
    framework.launch_until(vec![task("long", "exec sleep 86400.5")], "TASK_RUNNING");
    framework.offers.clear();
    framework.must("REVIVE", Value::Null);
    let offer = framework.offer();
    assert_eq!(offer["allocation_info"]["role"], "*");
    let mut words = info("after");
    words["id"] = json!({"value": framework.id});
    words["roles"] = json!(["web", "batch"]);
    words["failover_timeout"] = json!(99.0);
    let update = json!({"framework_info": words, "suppressed_roles": ["batch"]});
    let answer = framework.call("UPDATE_FRAMEWORK", update).expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    let is_rescinded = |event: &Value| event["type"] == "RESCIND" && event["rescind"]["offer_id"] == offer["id"];
    framework.until("the offer to be taken back", |framework| framework.others.iter().any(is_rescinded));
    let again = framework.offer();
    assert_eq!(again["allocation_info"]["role"], "web", "batch is suppressed");
    let shown = wait_for("the new words", SOON, || {
        let state = get(&cluster.api, "/frameworks").json();
        state["frameworks"].get(0).filter(|one| one["name"] == "after").cloned()
    });
    assert_eq!((&shown["roles"], &shown["failover_timeout"]), (&json!(["web", "batch"]), &json!(99.0)));
    for (key, value) in [("user", json!("somebody-else")), ("checkpoint", json!(false)), ("principal", json!("x"))] {
        let mut words = words.clone();
        words[key] = value;
        let answer = framework.call("UPDATE_FRAMEWORK", json!({"framework_info": words})).expect("an answer");
        assert_eq!(answer.status, 400, "{key}: {}", answer.text());
        assert!(answer.text().contains(key), "{}", answer.text());
    }
    assert_eq!(framework.latest("long"), Some("TASK_RUNNING"), "tasks go on in the role that was left");
    framework.teardown();
}

#[test]
fn an_agent_is_drained_reactivated_and_gone() {
    let mut fleet = Fleet::new();
    fleet.master(&[]);
    fleet.agent("agent-1", &["--resources", "cpus:4;mem:1024"]);
    let api = fleet.api();
    let (id, _) = agent(&api);
    let mut framework = Framework::subscribe(&api, info("drained"));
    framework.launch_until(vec![task("first", "exec sleep 86400.25")], "TASK_RUNNING");
    kaon_at(&api, &["drain", &id, "--grace", "1"]);
    framework.until("the end of the task", |framework| framework.latest("first") == Some("TASK_KILLED"));
    assert_eq!(framework.status("first").expect("it came")["reason"], "REASON_AGENT_DRAINING");
    let drained = wait_for("a drained agent", SOON, || {
        agents(&api).into_iter().find(|agent| agent["drain_info"]["state"] == "DRAINED")
    });
    assert_eq!((&drained["deactivated"], &drained["active"]), (&json!(true), &json!(false)));
    assert_eq!(drained["drain_info"]["config"]["max_grace_period"]["nanoseconds"], 1_000_000_000);
    assert!(kaon_at(&api, &["agents"]).contains("drained"));

    // The registry keeps it.
    fleet.kill("master-1");
    fleet.start("master", "master-1", &[]);
    wait_for("the agent, still deactivated", SOON, || {
        agents(&api).into_iter().find(|agent| agent["deactivated"] == true && agent["drain_info"]["state"] == "DRAINED")
    });
    let mut framework = Framework::subscribe(&api, info("later"));
    kaon_at(&api, &["reactivate", &id]);
    framework.launch_until(vec![task("second", "exec sleep 86400.25")], "TASK_RUNNING");
    assert_eq!(
        operator(&api, json!({"type": "REACTIVATE_AGENT", "reactivate_agent": {"agent_id": {"value": id}}})),
        400
    );
    kaon_at(&api, &["drain", &id, "--mark-gone"]);
    framework.until("the end of the task", |framework| framework.latest("second") == Some("TASK_GONE_BY_OPERATOR"));
    wait_for("the agent to be gone", SOON, || agents(&api).is_empty().then_some(()));
    let gone = |id: &str| json!({"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": id}}});
    assert_eq!((operator(&api, gone(&id)), operator(&api, gone("nobody"))), (200, 404));
    assert_eq!(operator(&api, json!({"type": "DRAIN_AGENT", "drain_agent": {"agent_id": {"value": id}}})), 400);
    // It has ended and forgotten who it was: what starts in its place is another agent.
    fleet.end("agent-1");
    fleet.start("agent", "agent-1", &["--resources", "cpus:4;mem:1024"]);
    let (new, _) = agent(&api);
    assert_ne!(new, id);
    framework.teardown();
}

#[test]
fn a_machine_goes_for_maintenance_and_comes_back() {
    let mut fleet = Fleet::new();
    let flags = ["--resources", "cpus:4;mem:1024", "--hostname", "Machine.One"];
    fleet.master(&["--allocation-interval", "0.2"]);
    fleet.agent("agent-1", &flags);
    let api = fleet.api();
    let (id, _) = agent(&api);
    let mut framework = Framework::subscribe(&api, info("asked"));
    framework.launch_until(vec![task("long", "exec sleep 86400.75")], "TASK_RUNNING");
    framework.offers.clear();
    framework.others.clear();
    let machine = json!({"hostname": "machine.one", "ip": "127.0.0.1"});
    let window = json!({"machine_ids": [machine], "unavailability":
        {"start": {"nanoseconds": 1_900_000_000_000_000_000_u64}, "duration": {"nanoseconds": 60_000_000_000_u64}}});
    let schedule = fleet.path("schedule.json");
    std::fs::write(&schedule, json!({"windows": [window]}).to_string()).expect("a file");
    kaon_at(&api, &["maintenance", "set", schedule.to_str().expect("our own name")]);
    let is_asked = |event: &Value| event["type"] == "INVERSE_OFFERS";
    framework.until("to be asked", |framework| framework.others.iter().any(is_asked));
    let asked = framework.others.iter().find(|event| is_asked(event)).expect("it came").clone();
    let inverse = &asked["inverse_offers"]["inverse_offers"][0];
    assert_eq!(inverse["unavailability"], window["unavailability"]);
    assert_eq!(inverse["agent_id"]["value"], id.as_str());
    framework.must("REVIVE", Value::Null);
    assert_eq!(framework.offer()["unavailability"], window["unavailability"]);
    framework.must("ACCEPT_INVERSE_OFFERS", json!({"inverse_offer_ids": [inverse["id"]]}));
    let status = wait_for("the answer to be shown", SOON, || {
        let status = get(&api, "/maintenance/status").json();
        (status["draining_machines"][0]["statuses"][0]["status"] == "ACCEPT").then_some(status)
    });
    assert_eq!(status["draining_machines"][0]["id"], machine);
    assert_eq!(get(&api, "/maintenance/schedule").json(), json!({"windows": [window]}));
    assert_eq!(operator(&api, json!({"type": "DRAIN_AGENT", "drain_agent": {"agent_id": {"value": id}}})), 400);
    assert_eq!(post(&api, "/machine/up", &json!([machine])).status, 400, "it is not down");

    kaon_at(&api, &["maintenance", "start", "machine.one=127.0.0.1"]);
    framework.until("the task to be lost", |framework| framework.latest("long") == Some("TASK_LOST"));
    wait_for("the agent to be away", SOON, || agents(&api).is_empty().then_some(()));
    fleet.end("agent-1");
    let status = get(&api, "/maintenance/status").json();
    assert_eq!((&status["down_machines"][0], status["draining_machines"].get(0)), (&machine, None));
    assert_eq!(post(&api, "/machine/up", &json!([machine])).status, 200);
    fleet.start("agent", "agent-1", &flags);
    wait_for("the agent to be back", SOON, || (!agents(&api).is_empty()).then_some(()));
    assert!(get(&api, "/maintenance/schedule").json()["windows"].as_array().is_none_or(Vec::is_empty));
    framework.teardown();
}

#[test]
fn an_agent_that_is_asked_to_go_tells_its_master_ends_its_tasks_and_comes_back_as_a_new_one() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("left"));
    // It takes its grace, so that the word of the master, which writes the removal down first, comes before its own.
    let ready = tempfile::tempdir().expect("a folder");
    let trapped = ready.path().join("trapped");
    let text = format!("trap '' TERM; : > {}; exec sleep 86403.5", trapped.display());
    framework.launch_until(vec![task("long", &text)], "TASK_RUNNING");
    framework.until("the trap", |_| trapped.exists());
    let agents = || get(&cluster.api, "/state").json()["slaves"].clone();
    let before = agents()[0]["id"].as_str().expect("an id").to_owned();
    let pid = cluster.pid("agent-1").expect("it runs");
    processes::signal(pid, Signal::SIGUSR1);
    framework.until("word of the task", |framework| framework.latest("long").is_some_and(is_terminal));
    let status = framework.status("long").expect("it came");
    let told = (&status["source"], &status["reason"]);
    assert_eq!(told, (&"SOURCE_MASTER".into(), &"REASON_AGENT_REMOVED".into()), "{status}");
    let gone = || cluster.tasks("sleep 86403.5").is_empty().then_some(());
    wait_for("the task to be gone", SOON, gone);
    // Whoever watches it starts it again: with nothing of before.
    let after = || agents().get(0).and_then(|agent| agent["id"].as_str().map(str::to_owned)).filter(|id| *id != before);
    wait_for("a new agent", SOON, after);
    framework.teardown();
}

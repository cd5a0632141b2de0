//! Pods: groups of tasks on the default executor, over real HTTP.

use crate::cluster::Cluster;
use crate::deadline::{SOON, wait_for};
use crate::framework::{Framework, info, is_terminal, scalar, task};
use serde_json::{Value, json};

/// The default executor under an id of its own.
fn executor(id: &str) -> Value {
    json!({"executor_id": {"value": id}, "type": "DEFAULT",
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0), scalar("disk", 1.0)]})
}

fn capable() -> Value {
    let mut info = info("pods");
    let capabilities = info["capabilities"].as_array_mut().expect("capabilities");
    capabilities.push(json!({"type": "TASK_KILLING_STATE"}));
    info
}

/// Launches groups on one agent, in the next offer.
fn launch(framework: &mut Framework, executor: &Value, groups: Vec<Vec<Value>>) {
    let offer = framework.offer();
    let operations: Vec<Value> = groups
        .into_iter()
        .map(|mut tasks| {
            for task in &mut tasks {
                task["agent_id"] = offer["agent_id"].clone();
                let id = task["task_id"]["value"].as_str().expect("an id").to_owned();
                framework.launched.insert(id, offer["agent_id"].clone());
            }
            let group = json!({"executor": executor, "task_group": {"tasks": tasks}});
            json!({"type": "LAUNCH_GROUP", "launch_group": group})
        })
        .collect();
    let filters = json!({"refuse_seconds": 0.1});
    framework.must("ACCEPT", json!({"offer_ids": [offer["id"]], "operations": operations, "filters": filters}));
}

fn all_are(framework: &Framework, tasks: &[&str], state: &str) -> bool {
    tasks.iter().all(|task| framework.latest(task) == Some(state))
}

#[test]
fn one_that_fails_ends_its_group_and_the_other_group_on_the_executor_goes_on() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, capable());
    let failing = "while [ ! -e fail ]; do sleep 0.05; done; exit 3";
    let first = vec![task("web", "exec sleep 1000"), task("log", "exec sleep 1000"), task("bad", failing)];
    launch(&mut framework, &executor("pod"), vec![first]);
    framework.until("the first group", |framework| all_are(framework, &["web", "log", "bad"], "TASK_RUNNING"));
    launch(&mut framework, &executor("pod"), vec![vec![task("other", "echo word; exec sleep 1000")]]);
    framework.until("the second group", |framework| all_are(framework, &["other"], "TASK_RUNNING"));
    let executors: std::collections::BTreeSet<String> = ["web", "other"]
        .map(|task| framework.status(task).expect("a status")["executor_id"]["value"].to_string())
        .into();
    assert_eq!(executors.len(), 1, "one executor for both: {executors:?}");

    // Each has a sandbox of its own below that of the executor, under the name of its container.
    let runs = sandboxes(&cluster);
    assert_eq!(runs.len(), 4, "{runs:?}");
    for task in ["web", "log", "bad", "other"] {
        let id = &framework.status(task).expect("a status")["container_status"]["container_id"];
        let (own, outer) = (id["value"].as_str().expect("an id"), id["parent"]["value"].as_str().expect("a parent"));
        assert!(runs.iter().any(|run| run.ends_with(format!("{outer}/containers/{own}"))), "{id} in {runs:?}");
    }
    let has_word =
        |path: &std::path::PathBuf| std::fs::read_to_string(path.join("stdout")).is_ok_and(|out| out == "word\n");
    wait_for("its output in its own sandbox", SOON, || runs.iter().any(has_word).then_some(()));
    // Whose the others are nothing in them tells: the word is given to all.
    for run in &runs {
        std::fs::write(run.join("fail"), "").expect("a file");
    }
    framework.until("the end of the group", |framework| {
        ["web", "log", "bad"].iter().all(|task| framework.latest(task).is_some_and(is_terminal))
    });
    assert_eq!(framework.states("bad"), ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]);
    for task in ["web", "log"] {
        let states = ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"];
        assert_eq!(framework.states(task), states, "{task}");
    }
    assert_eq!(framework.latest("other"), Some("TASK_RUNNING"), "another group goes on");

    framework.must("KILL", json!({"task_id": {"value": "other"}}));
    framework.until("all ends", Framework::all_ended);
    assert_eq!(framework.latest("other"), Some("TASK_KILLED"));
    let gone = || cluster.processes().iter().all(|process| !process.command.contains("kaon executor")).then_some(());
    wait_for("an executor without tasks to end", SOON, gone);
    framework.teardown();
}

/// The sandboxes of all tasks of groups.
fn sandboxes(cluster: &Cluster) -> Vec<std::path::PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![cluster.directory()]);
    while let Some(directory) = open.pop() {
        let is_home = directory.file_name().is_some_and(|name| name == "containers")
            && directory.ancestors().any(|above| above.file_name().is_some_and(|name| name == "runs"))
            && !directory.ancestors().any(|above| above.file_name().is_some_and(|name| name == ".executor"));
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                match is_home {
                    true => found.push(entry.path()),
                    false => open.push(entry.path()),
                }
            }
        }
    }
    found
}

#[test]
fn a_group_is_launched_whole_or_not_at_all() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, capable());
    let missing = json!({"name": "none", "task_id": {"value": "none"}, "resources": [scalar("cpus", 0.1), scalar("mem", 16.0)],
        "command": {"shell": false, "value": "/no/such/program"}});
    launch(&mut framework, &executor("pod"), vec![vec![task("good", "exec sleep 1000"), missing]]);
    framework.until("both ends", Framework::all_ended);
    let failed = framework.status("none").expect("a status");
    assert_eq!(
        (failed["state"].as_str(), failed["reason"].as_str()),
        (Some("TASK_FAILED"), Some("REASON_CONTAINER_LAUNCH_FAILED")),
        "{failed}"
    );
    let states = framework.states("good");
    assert!(!states.contains(&"TASK_RUNNING") && states.last() == Some(&"TASK_KILLED"), "{states:?}");
    framework.teardown();
}

#[test]
fn a_member_is_never_run_without_its_volumes() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, capable());
    let mut member = task("member", "exec sleep 1000");
    member["container"] =
        json!({"type": "MESOS", "volumes": [{"mode": "RO", "container_path": "/tmp", "host_path": "/usr"}]});
    launch(&mut framework, &executor("pod"), vec![vec![member]]);
    framework.until("an end", Framework::all_ended);
    let failed = framework.status("member").expect("a status");
    assert_eq!(failed["reason"], "REASON_CONTAINER_LAUNCH_FAILED", "{failed}");
    assert!(
        failed["message"].as_str().is_some_and(|text| text.contains("volume/host_path is not enabled")),
        "{failed}"
    );
    framework.teardown();
}

#[test]
fn a_sick_member_is_killed_with_its_group() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, capable());
    let health = json!({"type": "COMMAND", "command": {"value": "test ! -e sick"}, "delay_seconds": 0,
        "interval_seconds": 0.1, "timeout_seconds": 10, "grace_period_seconds": 0, "consecutive_failures": 2});
    let mut sick = task("sick", "sleep 1; touch sick; exec sleep 1000");
    sick["health_check"] = health;
    launch(&mut framework, &executor("pod"), vec![vec![sick, task("well", "exec sleep 1000")]]);
    framework.until("both ends", Framework::all_ended);
    let last = framework.status("sick").expect("a status");
    assert_eq!((last["state"].as_str(), &last["healthy"]), (Some("TASK_KILLED"), &json!(false)), "{last}");
    let verdicts: Vec<&Value> = framework
        .updates
        .iter()
        .filter(|status| status["reason"] == "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED")
        .map(|status| &status["healthy"])
        .collect();
    assert_eq!(verdicts, [&json!(true), &json!(false), &json!(false)]);
    assert_eq!(framework.latest("well"), Some("TASK_KILLED"));
    framework.teardown();
}

#[test]
fn a_pod_outlives_its_agent_and_tells_what_happened_meanwhile() {
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe_durably(&cluster.api, capable());
    let ending = "while [ ! -e end ]; do sleep 0.05; done";
    launch(&mut framework, &executor("pod"), vec![vec![task("ends", ending), task("stays", "exec sleep 1000")]]);
    framework.until("the group", |framework| all_are(framework, &["ends", "stays"], "TASK_RUNNING"));
    let before = cluster.tasks("sleep 1000");
    cluster.kill("agent-1");
    for run in sandboxes(&cluster) {
        std::fs::write(run.join("end"), "").expect("a file");
    }
    framework.until("the end of one", |framework| framework.latest("ends") == Some("TASK_FINISHED"));
    assert_eq!(framework.latest("stays"), Some("TASK_RUNNING"), "a good end ends no group");
    assert_eq!(cluster.tasks("sleep 1000"), before, "the very same process");
    framework.must("KILL", json!({"task_id": {"value": "stays"}}));
    framework.until("all ends", Framework::all_ended);
    assert_eq!(framework.latest("stays"), Some("TASK_KILLED"));
    framework.teardown();
}

#[test]
fn a_member_of_a_pod_finds_its_volume_in_a_sandbox_of_its_own() {
    let cluster = Cluster::start(1);
    let mut words = info("pods");
    words["roles"] = json!(["web"]);
    words["principal"] = json!("tester");
    words["capabilities"].as_array_mut().expect("a list").push(json!({"type": "RESERVATION_REFINEMENT"}));
    let mut framework = Framework::subscribe(&cluster.api, words);
    let offer = framework.offer();
    let stack = json!([{"type": "DYNAMIC", "role": "web", "principal": "tester"}]);
    let mut reserved = scalar("disk", 32.0);
    reserved["reservations"] = stack.clone();
    let mut volume = reserved.clone();
    volume["disk"] = json!({"persistence": {"id": "kept", "principal": "tester"},
        "volume": {"container_path": "data", "mode": "RW"}});
    let group = |id: &str, command: &str| {
        let mut task = task(id, command);
        task["agent_id"] = offer["agent_id"].clone();
        task["resources"].as_array_mut().expect("a list").push(volume.clone());
        json!({"type": "LAUNCH_GROUP",
            "launch_group": {"executor": executor(&format!("pod-{id}")), "task_group": {"tasks": [task]}}})
    };
    let write = "test $PWD = $MESOS_SANDBOX && echo kept > data/file && exec sleep 1000";
    let operations = vec![
        json!({"type": "RESERVE", "reserve": {"resources": [reserved]}}),
        json!({"type": "CREATE", "create": {"volumes": [volume]}}),
        group("write", write),
    ];
    let filters = json!({"refuse_seconds": 0.1});
    framework.must("ACCEPT", json!({"offer_ids": [offer["id"]], "operations": operations, "filters": filters}));
    framework.until("the task", |framework| framework.latest("write") == Some("TASK_RUNNING"));
    let kept = || sandboxes(&cluster).into_iter().find(|run| run.join("data/file").exists()).map(drop);
    wait_for("the file in the task's own sandbox", SOON, kept);
    framework.teardown();
}

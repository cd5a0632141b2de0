//! `kill -9` of everything that can be killed, each during a run of tasks: the framework learns the truth, and what lives
//! goes on.

use crate::client::get;
use crate::cluster::Cluster;
use crate::deadline::{SOON, wait_for};
use crate::fleet::Fleet;
use crate::framework::{Framework, info, is_terminal, task};
use crate::processes;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// How long a run of tasks may take over a fault: a restart, a registration, and resent statuses.
const RECOVERED_WITHIN: Duration = Duration::from_secs(90);

/// A framework that comes back by itself.
fn durable(cluster: &Cluster) -> Framework {
    Framework::subscribe_durably(&cluster.api, info("durable"))
}

/// A task that leaves a mark when it begins, runs for a moment, and leaves another when it ends.
fn marked(marks: &Path, id: &str) -> Value {
    let marks = marks.display();
    task(id, &format!("echo begin >> {marks}/{id}; sleep 1; echo end >> {marks}/{id}"))
}

fn marks(cluster: &Cluster) -> std::path::PathBuf {
    let path = cluster.directory().with_file_name("marks");
    std::fs::create_dir_all(&path).expect("a directory for marks");
    path
}

/// What the framework was told is what happened: a task that ended by itself is finished, one that never began is not,
/// and none began twice.
fn check(framework: &Framework, marks: &Path, ids: &[String]) {
    for id in ids {
        let happened = std::fs::read_to_string(marks.join(id)).unwrap_or_default();
        let told = framework.latest(id).unwrap_or("nothing");
        assert!(is_terminal(told), "{id}: {told}");
        match happened.as_str() {
            "begin\nend\n" => assert_eq!(told, "TASK_FINISHED", "{id} ran to its end"),
            "begin\n" | "" => assert_ne!(told, "TASK_FINISHED", "{id} did not run to its end"),
            other => panic!("{id} did not run once: {other:?}"),
        }
    }
}

fn agent_ids(api: &str) -> Option<BTreeSet<String>> {
    let answer = crate::client::exchange(api, "GET", "/state", &[], b"").ok()?;
    let state = (answer.status == 200).then(|| answer.json())?;
    let active = state["slaves"].as_array()?.iter().filter(|agent| agent["active"] == true);
    Some(active.map(|agent| agent["id"].as_str().unwrap_or_default().to_owned()).collect())
}

/// The state and the reason of a task's last status.
fn last(framework: &Framework, id: &str) -> Option<(String, String)> {
    let status = framework.status(id)?;
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    Some((text("state"), text("reason")))
}

fn pids(cluster: &Cluster, mark: &str, count: usize) -> Vec<i32> {
    wait_for("the processes of tasks", SOON, || Some(cluster.tasks(mark)).filter(|pids| pids.len() >= count))
}

#[test]
fn a_killed_task_is_reported_failed_with_its_signal() {
    let cluster = Cluster::start(1);
    let mut framework = durable(&cluster);
    let tasks = (0..4).map(|n| task(&format!("t{n}"), &format!("exec sleep 86400.{n}5"))).collect();
    framework.launch_until(tasks, "TASK_RUNNING");
    let victim = pids(&cluster, "86400.25", 1);
    processes::signal(victim[0], Signal::SIGKILL);
    framework.until("the truth", |framework| framework.latest("t2") == Some("TASK_FAILED"));
    let message = framework.status("t2").expect("it came")["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("signal Killed"), "{message}");
    for other in ["t0", "t1", "t3"] {
        assert_eq!(framework.latest(other), Some("TASK_RUNNING"));
    }
    framework.teardown();
}

#[test]
fn a_killed_executor_fails_its_task_and_leaves_no_process() {
    let cluster = Cluster::start(1);
    let mut framework = durable(&cluster);
    let stubborn = |n: u32| format!("(setsid sleep 86401.{n}5 &); exec sleep 86401.{n}5");
    framework.launch_until((0..3).map(|n| task(&format!("t{n}"), &stubborn(n))).collect(), "TASK_RUNNING");
    let victims = pids(&cluster, "86401.15", 2);
    let of_executor = "executors/t1/runs/";
    let executors = wait_for("the executor of t1", SOON, || {
        let all = processes::with(&cluster.directory(), "kaon executor");
        let mine = |pid: i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(of_executor)
        };
        Some(all.into_iter().map(|process| process.pid).filter(|&pid| mine(pid)).collect::<Vec<_>>())
            .filter(|all| !all.is_empty())
    });
    for executor in executors {
        processes::signal(executor, Signal::SIGKILL);
    }
    framework.until("the truth", |framework| framework.latest("t1").is_some_and(is_terminal));
    let status = framework.status("t1").expect("it came");
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("TASK_FAILED"), &json!("REASON_EXECUTOR_TERMINATED")),
        "{status}"
    );
    wait_for("its processes to be dead", SOON, || victims.iter().all(|&pid| !processes::is_alive(pid)).then_some(()));
    for other in ["t0", "t2"] {
        assert_eq!(framework.latest(other), Some("TASK_RUNNING"));
    }
    framework.teardown();
}

#[test]
fn tasks_outlive_a_killed_agent_and_are_told_of_by_the_next() {
    let cluster = Cluster::start(2);
    let before = wait_for("two agents", SOON, || agent_ids(&cluster.api).filter(|ids| ids.len() == 2));
    let mut framework = durable(&cluster);
    framework.launch_until((0..4).map(|n| task(&format!("long-{n}"), "exec sleep 86402.5")).collect(), "TASK_RUNNING");
    let living = pids(&cluster, "sleep 86402.5", 4);
    let marks = marks(&cluster);
    let ids: Vec<String> = (0..12).map(|n| format!("short-{n}")).collect();
    framework.launch(ids.iter().map(|id| marked(&marks, id)).collect());
    framework
        .until("some of them to run", |framework| ids.iter().filter(|id| framework.latest(id).is_some()).count() >= 4);
    let held = framework.offers.first().cloned();
    for agent in ["agent-1", "agent-2"] {
        cluster.kill(agent);
    }
    framework.until_within("the short tasks to end", RECOVERED_WITHIN, |framework| {
        ids.iter().all(|id| framework.latest(id).is_some_and(is_terminal))
    });
    check(&framework, &marks, &ids);
    assert!(held.is_none_or(|held| !framework.offers.contains(&held)), "an offer of a dead agent was rescinded");
    wait_for("the same agents", RECOVERED_WITHIN, || agent_ids(&cluster.api).filter(|ids| *ids == before));
    assert_eq!(cluster.tasks("sleep 86402.5"), living, "the same processes go on");
    for n in 0..4 {
        assert_eq!(framework.latest(&format!("long-{n}")), Some("TASK_RUNNING"));
        framework.must("KILL", json!({"task_id": {"value": format!("long-{n}")}}));
    }
    framework.until("the kills through the new agents", |framework| framework.all_ended());
    framework.launch_until(vec![task("after", "true")], "TASK_FINISHED");
    framework.teardown();
}

#[test]
fn a_task_that_ends_while_its_agent_is_dead_is_told_of_by_the_next() {
    let cluster = Cluster::start(1);
    let mut framework = durable(&cluster);
    let gate = cluster.directory().with_file_name("gate");
    let command = format!("until [ -e {} ]; do sleep 0.02; done; exit 7", gate.display());
    framework.launch_until(vec![task("away", &command)], "TASK_RUNNING");
    let pid = cluster.kill("agent-1");
    std::fs::write(&gate, "").expect("a gate");
    framework.until_within("the end", RECOVERED_WITHIN, |framework| framework.latest("away") == Some("TASK_FAILED"));
    let message = framework.status("away").expect("it came")["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("status 7"), "{message}");
    assert_ne!(cluster.pid("agent-1"), Some(pid));
    framework.teardown();
}

#[test]
fn tasks_and_frameworks_outlive_a_killed_master() {
    let cluster = Cluster::start(2);
    let before = wait_for("two agents", SOON, || agent_ids(&cluster.api).filter(|ids| ids.len() == 2));
    let mut framework = durable(&cluster);
    framework.launch_until((0..4).map(|n| task(&format!("long-{n}"), "exec sleep 86403.5")).collect(), "TASK_RUNNING");
    let living = pids(&cluster, "sleep 86403.5", 4);
    let marks = marks(&cluster);
    for round in 0..2 {
        let ids: Vec<String> = (0..10).map(|n| format!("short-{round}-{n}")).collect();
        framework.launch(ids.iter().map(|id| marked(&marks, id)).collect());
        framework.until("some of them to run", |framework| ids.iter().any(|id| framework.latest(id).is_some()));
        let dead = cluster.kill("master-1");
        framework.until_within("all of them to end", RECOVERED_WITHIN, |framework| {
            ids.iter().all(|id| framework.latest(id).is_some_and(is_terminal))
        });
        check(&framework, &marks, &ids);
        assert_ne!(cluster.pid("master-1"), Some(dead));
    }
    wait_for("the same agents", RECOVERED_WITHIN, || agent_ids(&cluster.api).filter(|ids| *ids == before));
    assert_eq!(cluster.tasks("sleep 86403.5"), living, "the same processes go on");
    framework.updates.clear();
    framework.must("RECONCILE", json!({"tasks": []}));
    framework.until("the truth about all", |framework| {
        (0..4).all(|n| framework.latest(&format!("long-{n}")) == Some("TASK_RUNNING"))
    });
    for n in 0..4 {
        framework.must("KILL", json!({"task_id": {"value": format!("long-{n}")}}));
    }
    framework.until("the kills through the new master", |framework| {
        (0..4).all(|n| framework.latest(&format!("long-{n}")) == Some("TASK_KILLED"))
    });
    framework.launch_until(vec![task("after", "true")], "TASK_FINISHED");
    framework.teardown();
}

#[test]
fn a_framework_torn_down_while_its_agent_is_dead_leaves_no_task() {
    let cluster = Cluster::start(1);
    let mut framework = durable(&cluster);
    framework.launch_until(vec![task("orphan", "exec sleep 86404.5")], "TASK_RUNNING");
    pids(&cluster, "sleep 86404.5", 1);
    cluster.kill("agent-1");
    framework.teardown();
    wait_for("the orphan to be dead", RECOVERED_WITHIN, || cluster.tasks("sleep 86404.5").is_empty().then_some(()));
    wait_for("its resources to be free", SOON, || {
        let state = get(&cluster.api, "/state").json();
        (state["slaves"][0]["active"] == true && state["slaves"][0]["used_resources"]["cpus"] == 0.0).then_some(())
    });
}

#[test]
fn an_agent_that_stays_away_is_unreachable_and_its_tasks_come_back_with_it() {
    let mut fleet = Fleet::new();
    fleet.master(&["--agent-ping-timeout", "0.5", "--max-agent-ping-timeouts", "2", "--agent-reregister-timeout", "1"]);
    fleet.agent("agent-1", &[]);
    let mut framework = Framework::subscribe(&fleet.api(), info("patient"));
    let gate = fleet.path("gate");
    framework.launch_until(
        vec![task("long", &format!("until [ -e {} ]; do sleep 0.05; done", gate.display()))],
        "TASK_RUNNING",
    );
    let before = agent_ids(&fleet.api()).expect("a state");
    fleet.kill("agent-1");
    let unreachable =
        |framework: &Framework| last(framework, "long").is_some_and(|(state, _)| state == "TASK_UNREACHABLE");
    framework.until("the agent to be unreachable", unreachable);
    let status = framework.status("long").expect("it came");
    assert!(status["uuid"].is_null() && status["unreachable_time"]["nanoseconds"].is_number(), "{status}");
    framework
        .until("a word about the agent", |framework| framework.others.iter().any(|event| event["type"] == "FAILURE"));
    fleet.start("agent", "agent-1", &[]);
    let back = ("TASK_RUNNING".to_owned(), "REASON_AGENT_REREGISTERED".to_owned());
    framework.until("the task to be back", |framework| last(framework, "long") == Some(back.clone()));
    // The read side follows what frameworks are told by a moment.
    let same = || agent_ids(&fleet.api()).filter(|now| *now == before);
    wait_for("the agent under the same id", SOON, same);
    std::fs::write(&gate, "").expect("a gate");
    framework.until("the end", |framework| framework.latest("long") == Some("TASK_FINISHED"));
    framework.teardown();
}

#[test]
fn an_offer_that_is_held_too_long_is_rescinded_and_worth_nothing() {
    let mut fleet = Fleet::new();
    fleet.master(&["--offer-timeout", "0.5"]);
    fleet.agent("agent-1", &[]);
    let mut framework = Framework::subscribe(&fleet.api(), info("slow"));
    let held = framework.offer();
    framework.until("its rescission", |framework| {
        framework.others.iter().any(|event| event["rescind"]["offer_id"] == held["id"])
    });
    framework.accept(&[&held], vec![task("late", "true")], 0.1);
    let invalid = ("TASK_DROPPED".to_owned(), "REASON_INVALID_OFFERS".to_owned());
    framework.until("an answer", |framework| last(framework, "late") == Some(invalid.clone()));
    framework.launch_until(vec![task("in-time", "true")], "TASK_FINISHED");
    framework.teardown();
}

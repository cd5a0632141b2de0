//! A panic planted in every actor in turn while tasks come and go: its supervisor heals it, the process survives, and no
//! status is lost.

use crate::fleet::Fleet;
use crate::framework::{Framework, info, is_terminal, task};
use std::path::Path;
use std::time::Duration;

/// How long a run of tasks may take over a panic.
const HEALED_WITHIN: Duration = Duration::from_secs(90);

/// How many tasks run, in waves, so that events of every kind come before and after the panic.
const WAVES: [usize; 3] = [6, 6, 6];

/// Runs waves of tasks while `host` panics as planned, and compares what the framework was told with what happened.
fn heals(master: &str, agent: &str, panics: usize) {
    let mut fleet = Fleet::new();
    let flag =
        |plan: &str| if plan.is_empty() { Vec::new() } else { vec!["--plant-panic".to_owned(), plan.to_owned()] };
    let (master, agent) = (flag(master), flag(agent));
    fleet.master(&master.iter().map(String::as_str).collect::<Vec<_>>());
    fleet.agent("agent-1", &agent.iter().map(String::as_str).collect::<Vec<_>>());
    let marks = fleet.path("marks");
    std::fs::create_dir_all(&marks).expect("a directory for marks");
    let mut framework = Framework::subscribe_durably(&fleet.api(), info("undaunted"));
    for (wave, &count) in WAVES.iter().enumerate() {
        let ids: Vec<String> = (0..count).map(|n| format!("w{wave}-{n}")).collect();
        framework.launch(ids.iter().map(|id| marked(&marks, id)).collect());
        framework.until_within("every task of a wave to end", HEALED_WITHIN, |framework| {
            ids.iter().all(|id| framework.latest(id).is_some_and(is_terminal))
        });
        for id in &ids {
            let happened = std::fs::read_to_string(marks.join(id)).unwrap_or_default();
            let told = framework.latest(id).unwrap_or("nothing");
            match happened.as_str() {
                "ran\n" => assert_eq!(told, "TASK_FINISHED", "{id} ran"),
                "" => assert_ne!(told, "TASK_FINISHED", "{id} did not run"),
                other => panic!("{id} did not run once: {other:?}"),
            }
        }
    }
    let logs = fleet.log("master-1") + &fleet.log("agent-1");
    let fell = logs.lines().filter(|line| line.contains("an actor fell") && line.contains("planted")).count();
    assert_eq!(fell, panics, "the panics happened:\n{logs}");
    framework.launch_until(vec![task("after", "true")], "TASK_FINISHED");
    framework.teardown();
}

fn marked(marks: &Path, id: &str) -> serde_json::Value {
    task(id, &format!("sleep 0.2; echo ran >> {}/{id}", marks.display()))
}

#[test]
fn a_master_that_panics_while_tasks_run_loses_no_status() {
    heals("master:20,master:70", "", 2);
}

#[test]
fn a_master_that_panics_while_agents_and_frameworks_come_heals() {
    heals("master:2,master:8", "", 2);
}

#[test]
fn an_allocator_that_panics_while_tasks_run_loses_nothing() {
    heals("allocator:3,allocator:25", "", 2);
}

#[test]
fn a_registrar_that_panics_loses_no_admission() {
    heals("registrar:2,registrar:4", "", 2);
}

#[test]
fn a_framework_proxy_that_panics_loses_no_status() {
    heals("framework:4,framework:30", "", 2);
}

#[test]
fn a_framework_proxy_that_panics_on_its_first_word_heals() {
    heals("framework:2", "", 1);
}

#[test]
fn an_agent_that_panics_while_tasks_run_loses_no_status() {
    heals("", "agent:12,agent:60", 2);
}

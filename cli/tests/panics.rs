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

/// Runs waves of tasks while actors panic as planned, and compares what the framework was told with what happened.
fn heals(master: &str, agent: &str, panics: usize) {
    let fell = run_waves(master, agent);
    assert_eq!(fell.hosts, panics, "the panics happened");
}

/// How many planted panics are in the logs of a run.
struct Fell {
    /// In those of the master and the agent.
    hosts: usize,
    /// In those of all executors together.
    executors: usize,
}

fn planted(log: &str) -> usize {
    log.lines().filter(|line| line.contains("an actor fell") && line.contains("planted")).count()
}

/// Every file of this name below a directory, one after the other.
fn gathered(directory: &Path, name: &str) -> String {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let read = |entry: std::fs::DirEntry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => gathered(&path, name),
            Ok(kind) if kind.is_file() && entry.file_name() == name => {
                std::fs::read_to_string(&path).unwrap_or_default()
            }
            _ => String::new(),
        }
    };
    entries.map(read).collect()
}

fn run_waves(master: &str, agent: &str) -> Fell {
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
    let hosts = planted(&fleet.log("master-1")) + planted(&fleet.log("agent-1"));
    let executors = planted(&gathered(&fleet.path("agent-1"), "stderr"));
    if executors == 0 {
        framework.launch_until(vec![task("after", "true")], "TASK_FINISHED");
    }
    framework.teardown();
    Fell { hosts, executors }
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

#[test]
fn executors_that_panic_while_their_tasks_run_lose_no_status() {
    let tasks = WAVES.iter().sum::<usize>();
    // In each executor: as it is told to launch, and as its task runs or ends.
    for nth in [3, 5] {
        let fell = run_waves("", &format!("executor:{nth}"));
        assert_eq!((fell.hosts, fell.executors), (0, tasks), "event {nth}");
    }
}

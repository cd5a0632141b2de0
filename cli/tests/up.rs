//! `kaon up` and the lists: a cluster that comes, shows what it has, goes without a trace, and comes back.

use crate::client::{get, post};
use crate::cluster::{Cluster, STOP_WITHIN, kaon};
use crate::deadline::{SOON, wait_for};
use crate::framework::{Framework, info, task};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

fn agent_ids(api: &str) -> BTreeSet<String> {
    let state = get(api, "/state").json();
    let agents = state["slaves"].as_array().expect("slaves").iter();
    let active = agents.filter(|agent| agent["active"] == true);
    active.map(|agent| agent["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn an_interrupt_leaves_no_process_port_or_lock_even_with_tasks_running() {
    let cluster = Cluster::start(2);
    let mut framework = Framework::subscribe(&cluster.api, info("busy"));
    let stubborn = "trap '' TERM; (setsid sleep 86400.5 &); while :; do sleep 86400.5; done";
    framework.launch_until((0..4).map(|n| task(&format!("t{n}"), stubborn)).collect(), "TASK_RUNNING");
    wait_for("the tasks", SOON, || (cluster.tasks("86400.5").len() >= 8).then_some(()));
    let stopped = cluster.stop();
    assert!(stopped.status.success() && stopped.took < STOP_WITHIN, "{stopped:?}");
}

#[test]
fn a_termination_is_as_clean_as_an_interrupt() {
    let stopped = Cluster::start(1).stop_by(Signal::SIGTERM);
    assert!(stopped.status.success(), "{stopped:?}");
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    let cluster = Cluster::start_with(1, &["--log", "debug"]);
    let log = cluster.directory().join("agent-1/log");
    let is_written = || log.metadata().is_ok_and(|log| log.len() > 0).then_some(());
    wait_for("what only `--log debug` tells", SOON, is_written);
    std::fs::remove_file(&log).expect("a file");
    std::os::unix::fs::symlink("/dev/full", &log).expect("a link");
    let fallen = cluster.kill("agent-1");
    wait_for("the agent again", SOON, || cluster.pid("agent-1").filter(|&pid| pid != fallen));
    // Until the master knows that the agent fell, it offers what is not there.
    let run = || cluster.command("run").args(["--", "true"]).output().expect("kaon starts");
    wait_for("a task to run there", SOON, || run().status.success().then_some(()));
}

#[test]
fn members_end_by_themselves_when_their_kaon_up_is_killed() {
    let mut cluster = Cluster::start(2);
    assert!(cluster.members.iter().all(|member| cluster.pid(&member.name) == Some(member.pid)));
    cluster.kill_up();
    wait_for("the members to end", SOON, || cluster.processes().is_empty().then_some(()));
}

#[test]
fn a_second_cluster_in_one_directory_is_refused_and_the_first_goes_on() {
    let cluster = Cluster::start(1);
    let second = kaon().args(["up", "--http", "127.0.0.1:0", "--dir"]).arg(cluster.directory()).output();
    let second = second.expect("kaon starts");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && said.contains("--dir"), "{said}");
    let taken = cluster.directory().with_file_name("other");
    let second = kaon().args(["up", "--http", &cluster.api, "--dir"]).arg(&taken).output().expect("kaon starts");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && said.contains("--http"), "a taken port is named: {said}");
    wait_for("the agent of the first", SOON, || (agent_ids(&cluster.api).len() == 1).then_some(()));
    assert_eq!(cluster.pid("master-1"), Some(cluster.members[0].pid));
}

#[test]
fn a_cluster_comes_back_in_its_directory_with_the_same_agents() {
    let mut cluster = Cluster::start(2);
    let before = wait_for("two agents", SOON, || Some(agent_ids(&cluster.api)).filter(|ids| ids.len() == 2));
    let mut framework = Framework::subscribe(&cluster.api, info("before"));
    framework.launch_until(vec![task("one", "true")], "TASK_FINISHED");
    cluster.restart(2);
    let after = wait_for("two agents", SOON, || Some(agent_ids(&cluster.api)).filter(|ids| ids.len() == 2));
    assert_eq!(before, after);
    let mut framework = Framework::subscribe(&cluster.api, info("after"));
    framework.launch_until(vec![task("one", "true")], "TASK_FINISHED");
    framework.teardown();
}

#[test]
fn a_journal_is_backed_up_in_a_file_and_comes_back_from_it() {
    let mut cluster = Cluster::start(1);
    let before = wait_for("an agent", SOON, || Some(agent_ids(&cluster.api)).filter(|ids| ids.len() == 1));
    let (home, file) = (cluster.directory().join("master-1"), cluster.directory().join("backup"));
    let journal = |command: &str, dir: &Path| {
        let out = kaon().args(["journal", command]).arg(dir).arg(&file).output().expect("kaon starts");
        (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (is_done, said) = journal("export", &home);
    assert!(!is_done && !file.exists(), "who runs holds it: {said}");
    let (is_done, said) = journal("export", &cluster.directory());
    assert!(!is_done && said.contains("--dir"), "{said}");
    cluster.restart_after(1, || {
        let (is_done, said) = journal("export", &home);
        assert!(is_done, "{said}");
        let (is_done, said) = journal("import", &home);
        assert!(!is_done && said.contains("not empty"), "{said}");
        std::fs::remove_dir_all(home.join("journal")).expect("it is there");
        let (is_done, said) = journal("import", &home);
        assert!(is_done, "{said}");
    });
    let after = wait_for("an agent", SOON, || Some(agent_ids(&cluster.api)).filter(|ids| ids.len() == 1));
    assert_eq!(before, after, "the registry knows it");
}

#[test]
fn lists_show_agents_frameworks_tasks_and_offers() {
    let cluster = Cluster::start_with(1, &["--resources", "cpus:3;mem:512;disk:0"]);
    let mut framework = Framework::subscribe(&cluster.api, info("listed \u{1b}[31m"));
    framework.launch_until(vec![task("sleeper", "sleep 86400")], "TASK_RUNNING");
    framework.offer();
    let agent = agent_ids(&cluster.api).into_iter().next().expect("an agent");
    for (what, needles) in [
        ("agents", vec![agent.as_str(), "cpus:3", "mem:512", "yes"]),
        ("frameworks", vec![framework.id.as_str(), "listed", "cpus:0.1"]),
        ("tasks", vec!["sleeper", "TASK_RUNNING", &agent]),
        ("offers", vec![&framework.id, &agent, "cpus:2.9"]),
    ] {
        wait_for(what, SOON, || {
            let output = cluster.command(what).output().expect("kaon starts");
            let table = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && !table.contains('\u{1b}'), "a table obeys no foreign text: {table}");
            needles.iter().all(|needle| table.contains(needle)).then_some(())
        });
        let output = cluster.command(what).arg("--json").output().expect("kaon starts");
        let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(rows.as_array().map(Vec::len), Some(1), "{what}: {rows}");
    }
    framework.teardown();
    for what in ["offers", "frameworks"] {
        wait_for("an empty list", SOON, || {
            let output = cluster.command(what).arg("--json").output().expect("kaon starts");
            (serde_json::from_slice::<Value>(&output.stdout).ok() == Some(json!([]))).then_some(())
        });
    }
    let tasks = post(&cluster.api, "/api/v1", &json!({"type": "GET_TASKS"})).json();
    assert_eq!(
        tasks["get_tasks"]["completed_tasks"][0]["state"], "TASK_KILLED",
        "a torn down framework's task: {tasks}"
    );
}

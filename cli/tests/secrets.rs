//! Secrets, seen from a framework: they reach the program that names them, and nobody is shown what they say.

use crate::client::get;
use crate::cluster::Cluster;
use crate::deadline::{SOON, wait_for};
use crate::framework::{Framework, info, scalar, task};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const ISOLATION: &str = "filesystem/linux,volume/secret,posix/rlimits";

/// What no one else may see, by reference and by value.
const SAID: [&str; 3] = ["t0ken-by-reference", "p4ssword-by-reference", "k3y-by-value"];

fn reference(name: &str, key: Option<&str>) -> Value {
    let reference = key.map_or_else(|| json!({"name": name}), |key| json!({"name": name, "key": key}));
    json!({"type": "REFERENCE", "reference": reference})
}

/// A task that writes what it was given to a file, and stays.
fn asking(id: &str) -> Value {
    let text = format!("echo $TOKEN $KEY $(cat file) > {id}-out; exec sleep 1000");
    let mut task = task(id, &text);
    // `k3y-by-value` in Base64.
    let value = json!({"type": "VALUE", "value": {"data": "azN5LWJ5LXZhbHVl"}});
    task["command"]["environment"] = json!({"variables": [
        {"name": "TOKEN", "type": "SECRET", "secret": reference("token", None)},
        {"name": "KEY", "type": "SECRET", "secret": value}]});
    let source = json!({"type": "SECRET", "secret": reference("db", Some("password"))});
    task["container"] =
        json!({"type": "MESOS", "volumes": [{"mode": "RO", "container_path": "file", "source": source}]});
    task
}

/// All files below a directory that hold one of the texts.
fn holders(directory: &Path, texts: &[&str]) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![directory.to_owned()], Vec::new());
    while let Some(here) = open.pop() {
        for entry in fs::read_dir(here).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    let bytes = fs::read(entry.path()).unwrap_or_default();
                    let holds = |text: &&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
                    found.extend(texts.iter().any(holds).then(|| entry.path()));
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn secrets_reach_who_names_them_and_nobody_else() {
    if !nix::unistd::geteuid().is_root() {
        return println!("SKIPPED, needs root: secrets as files");
    }
    let known = tempfile::tempdir().expect("a directory");
    fs::create_dir(known.path().join("db")).expect("a directory");
    fs::write(known.path().join("token"), SAID[0]).expect("a file");
    fs::write(known.path().join("db/password"), SAID[1]).expect("a file");
    let resolver = format!("--agent-flag=--secret-resolver={}", known.path().display());
    let cluster = Cluster::start_with(1, &["--isolation", ISOLATION, &resolver]);
    let mut framework = Framework::subscribe(&cluster.api, info("secrets"));
    // The agent's resolver is its own user's: who runs the task need not be able to read there.
    let mut own = asking("own");
    own["command"]["user"] = "nobody".into();
    let mut unknown = asking("unknown");
    unknown["command"]["environment"]["variables"][0]["secret"] = reference("none", None);
    framework.launch(vec![own, unknown]);
    framework.until("one to run and one to fail", |framework| {
        framework.latest("own") == Some("TASK_RUNNING") && framework.latest("unknown") == Some("TASK_FAILED")
    });
    let status = framework.status("unknown").expect("it failed");
    assert_eq!(status["reason"], "REASON_CONTAINER_LAUNCH_FAILED", "{status}");
    assert!(status["message"].as_str().is_some_and(|text| text.contains("there is no secret 'none'")), "{status}");

    // A member of a pod: its executor looks for itself.
    let offer = framework.offer();
    let executor = json!({"executor_id": {"value": "pod"}, "type": "DEFAULT", "framework_id": {"value": framework.id},
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0), scalar("disk", 1.0)]});
    let mut member = asking("member");
    member["command"]["value"] = "echo $TOKEN $KEY > member-out; exec sleep 1000".into();
    member.as_object_mut().expect("a task").remove("container");
    member["agent_id"] = offer["agent_id"].clone();
    framework.launched.insert("member".to_owned(), offer["agent_id"].clone());
    let group = json!({"executor": executor, "task_group": {"tasks": [member]}});
    let operations = json!([{"type": "LAUNCH_GROUP", "launch_group": group}]);
    framework.must("ACCEPT", json!({"offer_ids": [offer["id"]], "operations": operations}));
    framework.until("the member to run", |framework| framework.latest("member") == Some("TASK_RUNNING"));

    let directory = cluster.directory();
    let wrote = |name: &str| {
        let written = || holders(&directory, &SAID).into_iter().find(|path| path.ends_with(name));
        let path = wait_for("what it was given", SOON, written);
        fs::read_to_string(path).expect("a text")
    };
    assert_eq!(wrote("own-out"), format!("{} {} {}\n", SAID[0], SAID[2], SAID[1]));
    assert_eq!(wrote("member-out"), format!("{} {}\n", SAID[0], SAID[2]));

    let agent = &cluster.members.last().expect("an agent").http;
    let pages = ["/state", "/tasks", "/frameworks", "/flags"].map(|path| (cluster.api.as_str(), path));
    for (api, path) in pages.into_iter().chain(["/state", "/flags", "/containers"].map(|path| (agent.as_str(), path))) {
        let shown = String::from_utf8_lossy(&get(api, path).body).into_owned();
        assert!(!SAID.iter().any(|secret| shown.contains(secret)), "{path}: {shown}");
        assert!(!shown.contains("azN5LWJ5LXZhbHVl"), "{path}: {shown}");
    }
    let heard = format!("{:?}{:?}", framework.updates, framework.others);
    assert!(!SAID.iter().any(|secret| heard.contains(secret)));
    let is_theirs = |path: &PathBuf| path.ends_with("own-out") || path.ends_with("member-out");
    let others: Vec<PathBuf> = holders(&directory, &SAID[..2]).into_iter().filter(|path| !is_theirs(path)).collect();
    assert!(others.is_empty(), "by reference it is on no disk: {others:?}");
    let logs: Vec<PathBuf> = holders(&directory, &SAID[2..]).into_iter().filter(|path| path.ends_with("log")).collect();
    assert!(logs.is_empty(), "by value it is in no log: {logs:?}");
}

//! Looking into tasks: `kaon exec`, `kaon attach`, `kaon logs`, `kaon top`, and the calls of the agent's API below them.

use crate::client;
use crate::cluster::kaon;
use crate::deadline::{SOON, wait_for};
use crate::fleet::Fleet;
use crate::framework::{Framework, info, scalar, task};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};

fn fleet(flags: &[&str]) -> (Fleet, Framework) {
    let mut fleet = Fleet::new();
    fleet.master(&[]);
    fleet.agent("agent-1", flags);
    let framework = Framework::subscribe(&fleet.api(), info("sessions"));
    (fleet, framework)
}

fn agent(fleet: &Fleet) -> String {
    fleet.hosts.last().expect("an agent").http.clone()
}

fn command(fleet: &Fleet, subcommand: &str, arguments: &[&str]) -> Command {
    let mut command = kaon();
    command.args([subcommand, "--api", &fleet.api()]).args(arguments);
    command
}

fn run(fleet: &Fleet, subcommand: &str, arguments: &[&str]) -> Output {
    command(fleet, subcommand, arguments).output().expect("kaon runs")
}

fn piped(fleet: &Fleet, subcommand: &str, arguments: &[&str]) -> Child {
    let mut command = command(fleet, subcommand, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kaon starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The processes on this machine with this mark in their arguments, clients of ours left out.
fn marked(mark: &str) -> usize {
    let all = std::fs::read_dir("/proc").expect("proc").filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.starts_with("sleep") && line.contains(mark)).then_some(())
    });
    all.count()
}

fn operator(at: &str, call: &Value) -> client::Answer {
    client::post(at, "/api/v1", call)
}

#[test]
fn a_command_runs_within_a_task_and_its_code_is_ours() {
    let (fleet, mut framework) = fleet(&[]);
    let mut web = task("web", "sleep 1000");
    web["command"]["environment"] = json!({"variables": [{"name": "COLOUR", "value": "green"},
        {"name": "WORD", "type": "SECRET", "secret": {"type": "VALUE", "value": {"data": "c2VzYW1l"}}}]});
    framework.launch_until(vec![web], "TASK_RUNNING");
    let shown = [client::get(&fleet.api(), "/state"), operator(&agent(&fleet), &json!({"type": "GET_STATE"}))];
    for text in shown.map(|shown| shown.text()) {
        assert!(text.contains("\"web\"") && !text.contains("c2VzYW1l") && !text.contains("sesame"), "{text}");
    }

    let text = "pwd; echo $COLOUR $WORD $SHAPE; echo bad >&2; env | grep -c KAON_EXECUTOR; cat; exit 5";
    let ended = run(&fleet, "exec", &["web", "-e", "SHAPE=round", "--", "sh", "-c", text]);
    let lines: Vec<String> = out(&ended).lines().map(str::to_owned).collect();
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
    assert!(lines[0].contains("/executors/web/runs/"), "in its sandbox: {lines:?}");
    assert_eq!((lines[1].as_str(), lines[2].as_str()), ("green sesame round", "0"), "{lines:?}");
    assert_eq!(ended.stderr, b"bad\n");
    assert_eq!(run(&fleet, "exec", &["web", "--", "sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    let missing = run(&fleet, "exec", &["web", "--", "/no/such/program"]);
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("/no/such/program"));
    let nobody = run(&fleet, "exec", &["nobody", "--", "true"]);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no task nobody"), "{nobody:?}");

    // Input reaches it whole, and so does what comes back.
    let mut copy = piped(&fleet, "exec", &["-i", "web", "--", "cat"]);
    let text: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    let (mut input, said) = (copy.stdin.take().expect("piped"), text.clone());
    let writing = std::thread::spawn(move || input.write_all(said.as_bytes()));
    let mut heard = String::new();
    copy.stdout.take().expect("piped").read_to_string(&mut heard).expect("text");
    writing.join().expect("no panic").expect("all of it was taken");
    assert!(heard == text, "{} of {} bytes", heard.len(), text.len());
    assert!(copy.wait().expect("it ends").success());

    // On a terminal of its own, although we have none.
    let ended = run(&fleet, "exec", &["-t", "web", "--", "sh", "-c", "test -t 1 && stty size"]);
    assert_eq!(out(&ended), "24 80\r\n", "{ended:?}");
    framework.teardown();
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let (fleet, mut framework) = fleet(&[]);
    framework.launch_until(vec![task("web", "sleep 1000")], "TASK_RUNNING");
    let mark = format!("9{:05}", std::process::id());
    let mut lost =
        piped(&fleet, "exec", &["-i", "web", "--", "sh", "-c", &format!("trap '' HUP TERM; sleep {mark}; true")]);
    wait_for("the command to run", SOON, || (marked(&mark) == 1).then_some(()));
    lost.kill().expect("it runs");
    lost.wait().expect("it ends");
    wait_for("the command to end", SOON, || (marked(&mark) == 0).then_some(()));

    // Without a client of ours: the call, and a connection that breaks.
    let container = framework.status("web").expect("it runs")["container_status"]["container_id"].clone();
    let name = json!({"value": "raw", "parent": container});
    let session = json!({"container_id": name, "command": {"value": format!("sleep {mark}")}});
    let call = json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": session});
    let mut connection = client::Connection::open(&agent(&fleet)).expect("the agent answers");
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    connection.send("POST", "/api/v1", &headers, call.to_string().as_bytes()).expect("sent");
    wait_for("the command to run", SOON, || (marked(&mark) == 1).then_some(()));
    drop(connection);
    wait_for("the command to end", SOON, || (marked(&mark) == 0).then_some(()));
    let wait = json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": name}});
    let ended = operator(&agent(&fleet), &wait);
    assert_eq!(ended.json()["wait_nested_container"]["exit_status"], 9, "{}", ended.text());
    framework.teardown();
}

#[test]
fn containers_within_a_task_are_launched_waited_for_and_removed() {
    let (fleet, mut framework) = fleet(&[]);
    framework.launch_until(vec![task("web", "sleep 1000")], "TASK_RUNNING");
    let at = agent(&fleet);
    let parent = framework.status("web").expect("it runs")["container_status"]["container_id"].clone();
    let name = |value: &str| json!({"value": value, "parent": parent});
    let launch = |value: &str, command: &str| {
        let body = json!({"container_id": name(value), "command": {"value": command}});
        operator(&at, &json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": body})).status
    };
    let plain = |kind: &str, value: &str| {
        let key = kind.to_ascii_lowercase();
        operator(&at, &json!({"type": kind, key: {"container_id": name(value)}}))
    };
    assert_eq!((launch("one", "echo in; exit 3"), launch("one", "true")), (200, 202));
    let ended = plain("WAIT_NESTED_CONTAINER", "one");
    assert_eq!(ended.json()["wait_nested_container"]["exit_status"], 3 << 8, "{}", ended.text());
    assert_eq!(plain("WAIT_NESTED_CONTAINER", "none").status, 404);
    assert_eq!(launch("two", "sleep 1000"), 200);
    let asked = json!({"type": "GET_CONTAINERS", "get_containers": {"show_nested": true}});
    let shown = operator(&at, &asked).json();
    let all = shown["get_containers"]["containers"].as_array().cloned().unwrap_or_default();
    assert!(all.iter().any(|one| one["container_id"] == name("two")), "{shown}");
    assert!(all.iter().any(|one| one["resource_statistics"]["timestamp"].is_f64()), "{shown}");
    assert_eq!(plain("REMOVE_NESTED_CONTAINER", "two").status, 500);
    let kill = json!({"container_id": name("two"), "signal": 15});
    assert_eq!(operator(&at, &json!({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": kill})).status, 200);
    assert_eq!(plain("WAIT_CONTAINER", "two").json()["wait_container"]["exit_status"], 15);
    assert_eq!(plain("REMOVE_NESTED_CONTAINER", "two").status, 200);
    assert_eq!(plain("WAIT_NESTED_CONTAINER", "two").status, 404);
    assert_eq!(plain("KILL_NESTED_CONTAINER", "two").status, 404);
    assert_eq!(plain("ATTACH_CONTAINER_OUTPUT", "two").status, 404);
    // The task itself has no terminal.
    let body = json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": parent}});
    assert_eq!(operator(&at, &body).status, 500);
    for bad in [json!({"value": "a.b"}), json!({"value": "x", "parent": {"value": "no such"}}), json!({"value": ""})] {
        let body = json!({"container_id": bad, "command": {"value": "true"}});
        let call = json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": body});
        assert_eq!(operator(&at, &call).status, 400, "{bad}");
    }
    // One by itself.
    let alone = json!({"value": "alone"});
    let body = json!({"container_id": alone, "command": {"value": "exit 4"}});
    assert_eq!(operator(&at, &json!({"type": "LAUNCH_CONTAINER", "launch_container": body})).status, 200);
    let wait = json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": alone}});
    assert_eq!(operator(&at, &wait).json()["wait_container"]["exit_status"], 4 << 8);
    let remove = json!({"type": "REMOVE_CONTAINER", "remove_container": {"container_id": alone}});
    assert_eq!(operator(&at, &remove).status, 200);
    framework.teardown();
}

#[test]
fn the_terminal_of_a_task_can_be_attached_to() {
    let (fleet, mut framework) = fleet(&[]);
    let mut typed = task("typed", "stty size; while read line; do echo \"got $line\"; done; exit 6");
    typed["container"] = json!({"type": "MESOS", "tty_info": {"window_size": {"rows": 11, "columns": 22}}});
    framework.launch_until(vec![typed, task("plain", "sleep 1000")], "TASK_RUNNING");
    let mut attached = piped(&fleet, "attach", &["typed"]);
    let mut input = attached.stdin.take().expect("piped");
    input.write_all(b"hello\n").expect("taken");
    let mut heard = Vec::new();
    let mut from = attached.stdout.take().expect("piped");
    while !String::from_utf8_lossy(&heard).contains("got hello") {
        let mut piece = [0; 256];
        let length = from.read(&mut piece).expect("readable");
        assert!(length > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&piece[..length]);
    }
    // The end of our input is the end of the terminal's.
    drop(input);
    framework.until("the task to end", |framework| framework.latest("typed") == Some("TASK_FAILED"));
    assert!(attached.wait().expect("it ends").success());
    let logs = run(&fleet, "logs", &["typed", "--only", "stdout"]);
    assert!(out(&logs).starts_with("11 22") && out(&logs).contains("got hello"), "{logs:?}");
    let deaf = run(&fleet, "attach", &["plain"]);
    assert!(String::from_utf8_lossy(&deaf.stderr).contains("kaon logs -f plain"), "{deaf:?}");
    framework.teardown();
}

#[test]
fn logs_are_followed_over_files_that_are_turned_over() {
    let (fleet, mut framework) = fleet(&["--log-bytes-max", "20000", "--log-files-max", "8"]);
    let text = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); echo line $n; [ $((n % 500)) = 0 ] && sleep 0.05; done; echo over >&2";
    framework.launch_until(vec![task("long", text)], "TASK_RUNNING");
    let followed = run(&fleet, "logs", &["-f", "long"]);
    let lines: Vec<String> = out(&followed).lines().map(str::to_owned).collect();
    let wanted: Vec<String> = (1..=20_000).map(|number| format!("line {number}")).collect();
    assert!(lines == wanted, "{} lines, the last {:?}", lines.len(), lines.last());
    assert_eq!(followed.stderr, b"over\n");
    // Afterwards what is kept is shown, the oldest first.
    let kept = out(&run(&fleet, "logs", &["long", "--only", "stdout"]));
    let kept: Vec<&str> = kept.lines().collect();
    assert_eq!(kept.last(), Some(&"line 20000"));
    assert!(kept.len() > 8_000 && kept.len() < 20_000, "{}", kept.len());
    framework.teardown();
}

#[test]
fn top_shows_what_tasks_use() {
    let (fleet, mut framework) = fleet(&[]);
    let mut busy = task("busy", "while :; do :; done");
    busy["resources"] = json!([scalar("cpus", 0.1), scalar("mem", 32.0)]);
    framework.launch_until(vec![busy, task("idle", "sleep 1000")], "TASK_RUNNING");
    let rows: Value = serde_json::from_slice(&run(&fleet, "top", &["--json"]).stdout).expect("JSON");
    let of = |task: &str| {
        let row = rows.as_array().expect("rows").iter().find(|row| row["tasks"] == json!([task])).cloned();
        row.unwrap_or_else(|| panic!("{task}: {rows}"))
    };
    assert!(of("busy")["cpus"].as_f64() > Some(0.05), "{rows}");
    assert!(of("idle")["cpus"].as_f64() < of("busy")["cpus"].as_f64(), "{rows}");
    let shown = out(&run(&fleet, "top", &[]));
    assert!(shown.contains("busy") && shown.contains("THROTTLED"), "{shown}");
    framework.teardown();
}

//! `kaon run`: one command on the cluster, as if it ran here.

use crate::cluster::{Cluster, kaon};
use crate::deadline::{SOON, wait_for};
use crate::processes;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("kaon starts");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

fn end(child: &mut Child, what: &str) -> Option<i32> {
    wait_for(what, SOON, || child.try_wait().expect("our child")).code()
}

#[test]
fn a_run_echoes_both_outputs_and_takes_over_the_exit_code() {
    let cluster = Cluster::start(1);
    let run = |line: &[&str]| output(cluster.command("run").arg("--").args(line));
    let (code, out, err) = run(&["sh", "-c", "echo to stdout; echo to stderr >&2"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "to stdout\n", "to stderr\n"));
    let (code, out, err) = run(&["sh", "-c", "printf 'no newline'; exit 3"]);
    assert_eq!((code, out.as_str()), (Some(3), "no newline"), "{err}");
    assert!(err.contains("exited with status 3"), "it says how the task ended: {err}");
    assert_eq!(run(&["sh", "-c", "exit 255"]).0, Some(255));
    for (signal, number) in [("KILL", 9), ("SEGV", 11), ("TERM", 15)] {
        let (code, _, err) = run(&["sh", "-c", &format!("kill -{signal} $$")]);
        assert_eq!(code, Some(128 + number), "a signal counts as in a shell: {err}");
    }
    let (code, _, err) = run(&["there-is-no-such-command"]);
    assert!(matches!(code, Some(1..=127)), "{code:?} {err}");
}

#[test]
fn a_run_waits_for_a_cluster_that_is_still_starting() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = std::thread::spawn(move || {
        for answer in ["503 Service Unavailable", "503 Service Unavailable", "400 Bad Request"] {
            let (mut socket, _) = listener.accept().expect("a client");
            let mut asked = Vec::new();
            while asked.last() != Some(&b'}') {
                let mut piece = [0; 4096];
                let length = socket.read(&mut piece).expect("a request");
                assert!(length > 0, "the request has an end");
                asked.extend_from_slice(&piece[..length]);
            }
            write!(socket, "HTTP/1.1 {answer}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwhy?").expect("told");
        }
    });
    let (code, out, err) = output(kaon().args(["run", "--api", &address, "--", "true"]));
    server.join().expect("three requests");
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert_eq!(err.matches("still starting").count(), 1, "it says once what it waits for: {err}");
    assert!(err.contains("400") && err.contains("why?"), "and what it ends for: {err}");
}

#[test]
fn a_run_shows_large_outputs_whole_and_in_order() {
    let cluster = Cluster::start(1);
    let (code, out, err) = output(cluster.command("run").args(["--", "seq", "1", "200000"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.lines().map(str::parse).eq((1..=200_000).map(Ok::<u32, std::num::ParseIntError>)),
        "{} bytes",
        out.len()
    );
}

#[test]
fn a_run_hands_its_environment_and_arguments_over_unchanged() {
    let cluster = Cluster::start(1);
    let mut command = cluster.command("run");
    command.args([
        "--env",
        "WHO=me and = you",
        "--env",
        "EMPTY=",
        "--name",
        "greeting",
        "--cpus",
        "0.2",
        "--mem",
        "16",
    ]);
    command.args(["--", "sh", "-c", "echo \"$WHO|${EMPTY-unset}|$1|$MESOS_SANDBOX\"; pwd", "sh", "it's $HOME * \"q\""]);
    let (code, out, err) = output(&mut command);
    assert_eq!(code, Some(0), "{err}");
    let lines: Vec<&str> = out.lines().collect();
    let sandbox = lines[0].strip_prefix("me and = you||it's $HOME * \"q\"|").unwrap_or_else(|| panic!("{out}"));
    assert_eq!(lines[1], sandbox, "it runs in its sandbox");
    let names = output(kaon().args(["tasks", "--json", "--api", &cluster.api])).1;
    assert!(names.contains("greeting"), "{names}");
    for command in [&["--name", "greeting/2"][..], &[]] {
        assert_eq!(output(cluster.command("run").args(command).args(["--", "true"])).0, Some(0));
    }
    let rows: Value = serde_json::from_str(&output(cluster.command("tasks").arg("--json")).1).expect("JSON");
    let ids: Vec<&str> =
        rows.as_array().expect("rows").iter().filter_map(|row| row["task_id"]["value"].as_str()).collect();
    let numbered = |id: &&&str| id.strip_prefix("run-").is_some_and(|number| number.parse::<u64>().is_ok());
    assert_eq!((ids.contains(&"greeting"), ids.iter().filter(numbered).count(), ids.len()), (true, 2, 3), "{ids:?}");
    let (code, out, _) = output(cluster.command("logs").arg("greeting"));
    assert_eq!((code, out.lines().next()), (Some(0), lines.first().copied()));
}

#[test]
fn a_run_ends_with_one_json_object_when_asked() {
    let cluster = Cluster::start(1);
    let (code, out, _) = output(cluster.command("run").args(["--json", "--", "sh", "-c", "exit 4"]));
    let report: Value = serde_json::from_str(out.lines().last().unwrap_or_default()).expect("JSON at the end");
    assert_eq!((code, report["state"].as_str()), (Some(4), Some("TASK_FAILED")));
    assert_eq!(report["exit_code"], 4);
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{report}");
    for id in ["agent_id", "framework_id"] {
        assert!(report[id].as_str().is_some_and(|id| !id.is_empty()), "{report}");
    }
}

#[test]
fn an_interrupt_kills_the_task_with_every_process_that_it_started() {
    let cluster = Cluster::start(1);
    let script = "(setsid sleep 86400.25 >/dev/null 2>&1 &) ; sh -c 'trap \"\" TERM HUP INT; sleep 86400.25' & echo up; sleep 86400.25";
    let mut run =
        cluster.command("run").args(["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().expect("it starts");
    let started = || Some(cluster.tasks("sleep 86400.25")).filter(|pids| pids.len() >= 4);
    let tree = wait_for("a task, its child, and a grandchild of its own session", SOON, started);
    processes::signal(run.id() as i32, Signal::SIGINT);
    assert_eq!(end(&mut run, "an interrupted run to end"), Some(130), "as a shell reports an interrupt");
    let dead = || tree.iter().all(|&pid| !processes::is_alive(pid)).then_some(());
    wait_for("the whole tree to be dead", Duration::from_secs(10), dead);
    assert_eq!(cluster.tasks("sleep 86400.25"), Vec::<i32>::new());
}

#[test]
fn a_run_shows_what_is_written_over_files_that_are_turned_over() {
    let flags = ["--log-bytes-max=20000", "--log-files-max=30"].map(|flag| format!("--agent-flag={flag}"));
    let cluster = Cluster::start_with(1, &flags.each_ref().map(String::as_str));
    let script = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); printf '%05d %01000d\\n' $i 0; done";
    let (code, out, err) = output(cluster.command("run").args(["--", "sh", "-c", script]));
    let numbers: Vec<usize> = out.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    assert_eq!((code, numbers), (Some(0), (1..=300).collect()), "{err}");
}

#[test]
fn a_run_goes_on_when_its_master_is_killed() {
    let cluster = Cluster::start(1);
    let gate = cluster.directory().join("gate");
    let script = format!("echo up; while [ ! -e {} ]; do sleep 0.05; done; echo on; exit 5", gate.display());
    let mut command = cluster.command("run");
    command.args(["--", "sh", "-c", &script]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = command.spawn().expect("it starts");
    wait_for("the task", SOON, || (!cluster.tasks("gate").is_empty()).then_some(()));
    let fallen = cluster.kill("master-1");
    wait_for("another master", SOON, || cluster.pid("master-1").filter(|&pid| pid != fallen));
    std::fs::write(&gate, "").expect("the gate opens");
    let Output { status, stdout, stderr } = run.wait_with_output().expect("our child");
    let err = String::from_utf8_lossy(&stderr);
    assert_eq!((status.code(), String::from_utf8_lossy(&stdout).as_ref()), (Some(5), "up\non\n"), "{err}");
    assert!(err.contains("the task goes on"), "{err}");
    let rows: Value = serde_json::from_str(&output(cluster.command("frameworks").arg("--json")).1).expect("JSON");
    assert_eq!(rows.as_array().map(Vec::len), Some(0), "the framework is gone with its run: {rows}");
}

#[test]
fn a_run_that_no_agent_has_room_for_says_what_it_waits_for_and_can_be_interrupted() {
    let cluster = Cluster::start(1);
    let mut command = cluster.command("run");
    command.args(["--cpus", "100000", "--", "true"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = command.spawn().expect("it starts");
    let (sender, said) = std::sync::mpsc::channel();
    let stderr = run.stderr.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let lines = std::io::BufRead::lines(std::io::BufReader::new(stderr)).map_while(Result::ok);
        lines.for_each(|line| drop(sender.send(line)));
    });
    let line = said.recv_timeout(SOON).expect("it says that it waits");
    assert!(line.contains("cpus:100000") && line.contains("kaon agents"), "{line}");
    processes::signal(run.id() as i32, Signal::SIGINT);
    assert_eq!(end(&mut run, "an interrupted run to end"), Some(130));
    reader.join().expect("stderr ends with its process");
}

#[test]
fn bad_arguments_are_refused_at_once_with_advice() {
    let cluster = Cluster::start(1);
    for (flag, value) in [("--cpus", "-1"), ("--cpus", "nan"), ("--cpus", "inf"), ("--mem", "-5"), ("--cpus", "much")] {
        let (code, out, err) = output(cluster.command("run").args([&format!("{flag}={value}"), "--", "true"]));
        assert!(code.is_some_and(|code| code != 0), "{flag} {value}: {code:?} {out}");
        assert!(err.contains(flag), "it names the flag: {err}");
    }
    let (code, _, err) = output(cluster.command("run").args(["--env", "NOVALUE", "--", "true"]));
    assert!(code == Some(1) && err.contains("KEY=VALUE"), "{err}");
    let (code, _, err) = output(cluster.command("run").args(["--role", "a//b", "--", "true"]));
    assert!(code == Some(1) && err.contains("role"), "{err}");
    let (code, _, err) = output(&mut cluster.command("run"));
    assert!(code == Some(2) && err.contains("CMD"), "{err}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut run = kaon();
    run.args(["sim", "run", "--agents", "3", "--frameworks", "1", "--tasks", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut run = run.spawn().expect("kaon starts");
    drop(run.stdout.take());
    let output = run.wait_with_output().expect("our child");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn errors_say_what_to_do_next() {
    let (code, _, err) = output(kaon().args(["tasks", "--api", "127.0.0.1"]));
    assert!(code == Some(1) && err.contains("HOST:PORT"), "{err}");
    let (code, _, err) = output(kaon().args(["run", "--api", "127.0.0.1:1", "--", "true"]));
    assert!(code == Some(1) && err.contains("127.0.0.1:1") && err.contains("kaon up"), "{err}");
    let (code, _, err) = output(kaon().args(["agents", "--api", "127.0.0.1:1"]));
    assert!(code == Some(1) && err.contains("kaon up"), "{err}");
    let (code, _, err) = output(kaon().arg("taks"));
    assert!(code == Some(2) && err.contains("'tasks'"), "a typo suggests: {err}");
    for typo in [&["rn"][..], &["sim", "rnu"]] {
        let (code, _, err) = output(kaon().args(typo));
        assert!(code == Some(2) && err.contains("'run'"), "a short one too: {err}");
    }
    let (code, _, err) = output(kaon().args(["up", "--agnets", "1"]));
    assert!(code == Some(2) && err.contains("--agents"), "a typo suggests: {err}");
    let file = std::env::temp_dir().join(format!("kaon-test-{}.toml", std::process::id()));
    for (text, needle) in [("agnets = 2", "'agents'"), ("agents = ", "TOML"), ("[up]\nagents = {}", "agents")] {
        std::fs::write(&file, text).expect("a file");
        let (code, _, err) = output(kaon().arg("--config").arg(&file).arg("up"));
        assert!(code == Some(1) && err.contains(needle), "{text}: {err}");
    }
    std::fs::remove_file(&file).expect("it is there");
    let (code, _, err) = output(kaon().args(["--config", "/nonexistent.toml", "up"]));
    assert!(code == Some(1) && err.contains("/nonexistent.toml"), "{err}");
    let (code, _, err) = output(kaon().arg("executor"));
    assert!(code == Some(1) && err.contains("agent"), "{err}");
}

/// Memory of its own that an idle agent may hold, in kibibytes: four times what was measured, less than a third of what huge pages
/// made of it.
const IDLE_KIBIBYTES_MAX: u64 = 16 * 1024;

#[test]
fn an_agent_does_without_huge_pages_and_its_tasks_have_them() {
    let line = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|word| word.parse::<u64>().ok())
    };
    let own = std::fs::read_to_string("/proc/self/status").expect("the kernel's status of a process");
    if line(&own, "THP_enabled:").is_none() {
        return println!("SKIPPED, the kernel does not tell of them: huge pages of agents and tasks");
    }
    let cluster = Cluster::start(1);
    let (code, out, _) = output(cluster.command("run").args(["--", "cat", "/proc/self/status"]));
    assert_eq!((code, line(&out, "THP_enabled:")), (Some(0), Some(1)), "{out}");
    let agent = cluster.pid("agent-1").expect("an agent");
    let status = std::fs::read_to_string(format!("/proc/{agent}/status")).expect("it runs");
    assert_eq!(line(&status, "THP_enabled:"), Some(0), "{status}");
    let resident = line(&status, "RssAnon:").expect("resident memory");
    assert!(resident < IDLE_KIBIBYTES_MAX, "{resident} KiB");
}

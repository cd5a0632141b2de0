//! The agent goes and comes back: what it knows is found again, what it does not know is destroyed, and a number alone
//! convinces nobody.

use crate::rig::{
    Machine, PATIENCE, all, config, eventually, exec, id, is_alive, mark, runtime, shell, sleepers, stat,
};
use crate::{Test, fetch};
use kaon_isolators::containers::{Error, ProcessContainers};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, ExitStatus, LaunchSpec};
use kaon_kernel::port::Containers;
use kaon_kernel::time::Duration as Length;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;

pub(crate) const TESTS: &[Test] = &[
    ("restart::the_living_and_the_ended_are_found", the_living_and_the_ended_are_found),
    ("restart::the_agent_is_killed", the_agent_is_killed),
    ("restart::the_unknown_are_destroyed", the_unknown_are_destroyed),
    ("restart::within_one_life", within_one_life),
    ("restart::a_launcher_that_fell_meanwhile", a_launcher_that_fell_meanwhile),
    ("restart::numbers_that_came_round", numbers_that_came_round),
    ("restart::damaged_records", damaged_records),
    ("restart::two_at_once", two_at_once),
    ("restart::an_agent_that_dies_before_go", an_agent_that_dies_before_go),
    ("restart::a_nursery_that_is_killed_is_replaced", a_nursery_that_is_killed_is_replaced),
];

fn the_living_and_the_ended_are_found() {
    let mut machine = Machine::new();
    machine.launch("alive", shell("alive", "trap 'exit 8' TERM; echo ready; while :; do sleep 0.01; done"));
    machine.launch("later", shell("later", "while [ ! -e go ]; do sleep 0.01; done; exit 4"));
    machine.launch("before", shell("before", "exit 2"));
    machine.wait("before");
    eventually("the trap is set", || machine.output("alive", "stdout") == "ready\n");
    machine.stop();
    fs::write(machine.sandbox("later").join("go"), "").unwrap();
    eventually("it has ended meanwhile", || machine.record("later").join("status").exists());
    machine.start();
    assert_eq!(machine.recover(&["later", "alive", "before", "never"]), ["alive", "before", "later"]);
    assert_eq!(machine.wait("later").status, Some(ExitStatus::Code(4)));
    assert_eq!(machine.wait("before").status, Some(ExitStatus::Code(2)));
    let used = machine.ask(ContainerRequest::Usage { container: id("alive") });
    assert!(matches!(used, ContainerOutcome::Used(Some(_))), "{used:?}");
    let waiting = machine.begin(ContainerRequest::Wait { container: id("alive") });
    machine.kill("alive", Length::secs(3600));
    match waiting.recv_timeout(PATIENCE).unwrap() {
        ContainerOutcome::Exited(exit) => assert_eq!(exit.status, Some(ExitStatus::Code(8))),
        other => panic!("{other:?}"),
    }
    assert_eq!(machine.ask(ContainerRequest::Cleanup { container: id("alive") }), ContainerOutcome::Cleaned);
    assert_eq!(machine.recover(&["later", "alive", "before"]), ["before", "later"]);
}

/// The agent's part of [`the_agent_is_killed`]: launches, with what is fetched for it, and waits for its death.
pub(crate) fn agent(arguments: &[String]) -> ExitCode {
    let containers = ProcessContainers::new(config(Path::new(&arguments[0])), runtime()).expect("containers");
    let (sender, receiver) = mpsc::channel();
    let uris = arguments[2..].iter().map(|value| fetch::uri(value)).collect();
    let spec = Box::new(LaunchSpec { uris, ..exec("c", &["/bin/sleep", &arguments[1]]) });
    let request = ContainerRequest::Launch { container: id("c"), spec };
    containers.request(request, Box::new(move |outcome| sender.send(outcome).unwrap_or_default()));
    println!("{:?}", receiver.recv());
    loop {
        std::thread::park();
    }
}

fn the_agent_is_killed() {
    let mut machine = Machine::new();
    machine.stop();
    let mark = mark();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut agent =
        command.arg("agent").arg(machine.directory.path()).arg(&mark).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(agent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("Launched"), "{line}");
    agent.kill().unwrap();
    agent.wait().unwrap();
    // It may be in the middle of `execve(2)`.
    eventually("the container outlives the agent", || sleepers(&mark).len() == 1);
    machine.start();
    assert_eq!(machine.recover(&["c"]), ["c"]);
    assert_eq!(sleepers(&mark).len(), 1, "and its return");
    machine.kill("c", Length::secs(3600));
    assert_eq!(machine.wait("c").status, Some(ExitStatus::Signal(15)));
    assert!(sleepers(&mark).is_empty());
}

fn the_unknown_are_destroyed() {
    let mut machine = Machine::new();
    let mark = mark();
    let text = format!("trap '' TERM; (setsid sleep {mark} &); sleep {mark}");
    for name in ["one", "two", "three"] {
        machine.launch(name, shell(name, &text));
    }
    eventually("six run", || sleepers(&mark).len() == 6);
    machine.stop();
    machine.start();
    assert_eq!(machine.recover(&["two"]), ["two"]);
    assert_eq!(sleepers(&mark).len(), 2);
    assert!(!machine.record("one").exists() && machine.record("two").exists());
    assert!(machine.sandbox("one").exists(), "its sandbox stays for people to read");
    assert_eq!(machine.wait("one").status, None);
}

fn within_one_life() {
    let machine = Machine::new();
    let mark = mark();
    for name in ["keep", "drop"] {
        machine.launch(name, exec(name, &["/bin/sleep", &mark]));
    }
    // One that is still being launched is not known either.
    let spec = Box::new(exec("new", &["/bin/sleep", &mark]));
    let begun = machine.begin(ContainerRequest::Launch { container: id("new"), spec });
    assert_eq!(machine.recover(&["keep"]), ["keep"]);
    begun.recv_timeout(PATIENCE).unwrap();
    assert_eq!(sleepers(&mark).len(), 1);
    assert_eq!(machine.recover(&["keep", "drop", "new"]), ["keep"]);
}

fn a_launcher_that_fell_meanwhile() {
    let mut machine = Machine::new();
    let mark = mark();
    let pid = machine.launch("c", shell("c", &format!("(setsid sleep {mark} &); sleep {mark}")));
    eventually("two run", || sleepers(&mark).len() == 2);
    let launcher = machine.launcher_of(pid);
    machine.stop();
    kill(Pid::from_raw(launcher), Signal::SIGKILL).unwrap();
    eventually("it is gone", || !is_alive(launcher));
    machine.start();
    assert_eq!(machine.recover(&["c"]), ["c"]);
    assert_eq!(machine.wait("c").status, None);
    assert!(sleepers(&mark).is_empty());
}

/// A bystander, and its number in a record of a container that is long gone.
fn bystander() -> (std::process::Child, i32, u64) {
    let child = Command::new("sleep").arg(mark()).spawn().unwrap();
    let pid = child.id().cast_signed();
    let start = stat(pid).unwrap().2;
    (child, pid, start)
}

fn numbers_that_came_round() {
    let mut machine = Machine::new();
    machine.stop();
    let (mut child, pid, start) = bystander();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let plant = |name: &str, boot: &str, start: u64| {
        fs::create_dir(machine.record(name)).unwrap();
        let known = format!("{{\"pid\":{pid},\"start_ticks\":{start}}}");
        let record = format!("{{\"boot_id\":\"{boot}\",\"launcher\":{known},\"program\":{known}}}");
        fs::write(machine.record(name).join("launcher"), record).unwrap();
    };
    for known in ["", "known_"] {
        plant(&format!("{known}number"), boot.trim(), start - 1);
        plant(&format!("{known}boot"), "another boot", start);
    }
    machine.start();
    assert_eq!(machine.recover(&["known_number", "known_boot"]), ["known_boot", "known_number"]);
    assert_eq!(machine.wait("known_number").status, None);
    machine.kill("known_boot", Length::ZERO);
    machine.recover(&[]);
    assert!(is_alive(pid), "a stranger was killed for its number");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn damaged_records() {
    let mut machine = Machine::new();
    let mark = mark();
    let mut launchers = Vec::new();
    for name in ["one", "two"] {
        let pid = machine.launch(name, exec(name, &["/bin/sleep", &mark]));
        launchers.push(machine.launcher_of(pid));
    }
    machine.stop();
    for name in ["one", "two"] {
        fs::write(machine.record(name).join("launcher"), b"\xff{").unwrap();
    }
    fs::create_dir(machine.record("empty")).unwrap();
    fs::write(machine.config.runtime_directory.join("containers/file"), "not a directory").unwrap();
    machine.start();
    // Nobody can tell any more who runs them: they end, and that is told.
    assert_eq!(machine.recover(&["one", "empty"]), ["empty", "one"]);
    assert_eq!(machine.wait("one").status, None);
    assert!(sleepers(&mark).is_empty());
    assert!(launchers.into_iter().all(|launcher| !is_alive(launcher)));
    assert!(!machine.record("two").exists());
    fs::remove_file(machine.config.runtime_directory.join("containers/file")).unwrap_or_default();
}

fn two_at_once() {
    let machine = Machine::new();
    let second = ProcessContainers::new(machine.config.clone(), runtime());
    assert!(matches!(second, Err(Error::InUse(_))));
    let mut relative = machine.config.clone();
    relative.work_directory = "relative".into();
    assert!(matches!(ProcessContainers::new(relative, runtime()), Err(Error::Relative(_))));
}

fn an_agent_that_dies_before_go() {
    let folder = tempfile::tempdir().unwrap();
    let (work, run) = (folder.path().join("w"), folder.path().join("r"));
    fs::create_dir(&work).unwrap();
    fs::create_dir(&run).unwrap();
    fs::create_dir(work.join("s")).unwrap();
    let mark = mark();
    let description = format!(
        "{{\"runtime_directory\":\"{}\",\"work_directory\":\"{}\",\"sandbox\":\"s\",\
         \"program\":{{\"Named\":{{\"file\":\"/bin/sleep\",\"arguments\":[\"sleep\",\"{mark}\"]}}}},\
         \"environment\":[],\"user\":null,\"is_awaited\":true,\"walls\":{{}}}}",
        run.display(),
        work.display()
    );
    for cut in [0, 2, 4, 20, usize::MAX] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("launcher").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut launcher = command.spawn().unwrap();
        let length = u32::try_from(description.len()).unwrap().to_le_bytes();
        let bytes = [&length[..], description.as_bytes()].concat();
        let (mut to, from) = (launcher.stdin.take().unwrap(), launcher.stdout.take().unwrap());
        let mut from = BufReader::new(from);
        to.write_all(&bytes[..cut.min(bytes.len())]).unwrap();
        if cut > bytes.len() {
            let mut line = String::new();
            from.read_line(&mut line).unwrap();
            assert!(line.starts_with("{\"Forked\""), "{line}");
            assert!(run.join("launcher").exists(), "recorded before it may start");
        }
        drop(to);
        let mut rest = String::new();
        from.read_to_string(&mut rest).unwrap();
        assert!(rest.starts_with("{\"Failed\"") && !rest.contains("Running"), "{rest}");
        assert_eq!(launcher.wait().unwrap().code(), Some(1));
        assert!(sleepers(&mark).is_empty() && !run.join("status").exists());
    }
}

/// The processes that fork launchers for this one.
fn nurseries() -> Vec<i32> {
    let is_nursery = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_ours = stat(*pid).is_some_and(|(_, parent, _)| parent == std::process::id().cast_signed());
        is_ours && line.split(|&byte| byte == 0).nth(2) == Some(&b"nursery"[..])
    };
    all().into_iter().filter(is_nursery).collect()
}

fn a_nursery_that_is_killed_is_replaced() {
    let mut machine = Machine::new();
    let one = machine.launch("one", exec("one", &["/bin/sleep", &mark()]));
    let [first] = nurseries()[..] else { panic!("there is one: {:?}", nurseries()) };
    assert_eq!(stat(machine.launcher_of(one)).map(|(_, parent, _)| parent), Some(first));
    let shown = fs::read(format!("/proc/{first}/environ")).unwrap();
    assert!(shown.iter().all(|&byte| byte == 0), "it bears the marks of none");
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let two = machine.launch("two", exec("two", &["/bin/sleep", &mark()]));
    let [second] = nurseries()[..] else { panic!("there is one: {:?}", nurseries()) };
    assert!(first != second && is_alive(one) && is_alive(two));
    machine.kill("one", Length::ZERO);
    assert_eq!(machine.wait("one").status, Some(ExitStatus::Signal(9)), "its launcher goes on without the nursery");
    // It goes with its agent; what it forked does not.
    machine.stop();
    eventually("it is gone", || nurseries().is_empty());
    assert!(is_alive(two));
    machine.start();
    assert_eq!(machine.recover(&["two"]), ["two"]);
}

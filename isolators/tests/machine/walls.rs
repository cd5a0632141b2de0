//! Isolators in a real launch, the built-in executor, and containers within containers.

use crate::Test;
use crate::rig::{Machine, PATIENCE, config, eventually, id, mark, runtime, shell, sleepers, spec};
use kaon_isolators::chain::Chain;
use kaon_isolators::containers::ProcessContainers;
use kaon_isolators::isolator::{Contribution, Error, HostAction, Isolator, Limitation, Watch};
use kaon_kernel::container::{ContainerRequest, ExitStatus, LaunchSpec, Program};
use kaon_kernel::id::ContainerId;
use kaon_kernel::port::Containers;
use kaon_kernel::time::Duration as Length;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, mpsc};
use tokio::sync::Notify;

pub(crate) const TESTS: &[Test] = &[
    ("walls::isolators_act_at_their_time", isolators_act_at_their_time),
    ("walls::an_isolator_that_fails", an_isolator_that_fails),
    ("walls::a_limit_ends_the_container", a_limit_ends_the_container),
    ("walls::the_builtin_executor", the_builtin_executor),
    ("walls::containers_within_containers", containers_within_containers),
    ("walls::a_replaced_executable_changes_nothing", a_replaced_executable_changes_nothing),
];

/// An isolator that writes down what it sees.
struct Wall {
    file: PathBuf,
    seen: Mutex<Vec<String>>,
    fails: bool,
    limit: Arc<Notify>,
}

impl Wall {
    fn new(file: PathBuf, fails: bool) -> Arc<Self> {
        Arc::new(Self { file, seen: Mutex::default(), fails, limit: Arc::default() })
    }
    fn see(&self, what: impl Into<String>) {
        self.seen.lock().unwrap().push(what.into());
    }
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// The wall as an isolator.
struct Shared(Arc<Wall>);

impl Isolator for Shared {
    fn name(&self) -> &'static str {
        "test/wall"
    }
    fn prepare(&self, _: &ContainerId, _: &LaunchSpec) -> Result<Contribution, Error> {
        self.0.see("prepare");
        Ok(Contribution {
            environment: vec![("WALL".into(), "here".into())],
            actions: vec![HostAction::Write { path: self.0.file.clone(), text: "0".into() }],
            ..Contribution::default()
        })
    }
    fn is_awaited(&self, container: &ContainerId) -> bool {
        container.as_str() != "unawaited"
    }
    fn isolate(&self, _: &ContainerId, pid: i32) -> Result<(), Error> {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        let is_ours = command.split('\0').nth(1) == Some("launcher");
        let acted = fs::read_to_string(&self.0.file).is_ok_and(|text| !text.is_empty());
        self.0.see(format!("isolate, still ours {is_ours}, acted {acted}"));
        match self.0.fails {
            true => Err(Error::Refused { isolator: "test/wall", reason: "the wall fell".into() }),
            false => Ok(()),
        }
    }
    fn watch(&self, _: &ContainerId) -> Option<Watch> {
        let limit = Arc::clone(&self.0.limit);
        Some(Box::pin(async move {
            limit.notified().await;
            Limitation::other("too much")
        }))
    }
    fn cleanup(&self, _: &ContainerId) -> Result<(), Error> {
        self.0.see("cleanup");
        Ok(())
    }
}

fn with_wall(fails: bool) -> (Machine, Arc<Wall>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("joined");
    fs::write(&file, "").unwrap();
    let wall = Wall::new(file, fails);
    let shared = Arc::new(Shared(Arc::clone(&wall)));
    let machine = Machine::with(|config| config.isolators = Chain::new(vec![shared]).unwrap());
    (machine, wall, folder)
}

fn isolators_act_at_their_time() {
    let (machine, wall, _folder) = with_wall(false);
    let mut asked = shell("c", "echo $WALL");
    asked.environment = vec![("WALL".into(), "the task's own".into())];
    let (_, out) = machine.run("c", asked);
    assert_eq!(out, "here\n", "what an isolator says wins");
    assert_eq!(wall.seen(), ["prepare", "isolate, still ours true, acted false", "cleanup"]);
    assert_eq!(fs::read_to_string(&wall.file).unwrap(), "0", "the action was carried out");
    // Where nobody is waited for the same is built, and nothing is asked in between.
    let (exit, out) = machine.run("unawaited", shell("unawaited", "echo $WALL"));
    assert_eq!((exit.status, out.as_str()), (Some(ExitStatus::Code(0)), "here\n"));
    assert_eq!(wall.seen()[3..], ["prepare", "cleanup"]);
}

fn an_isolator_that_fails() {
    let (machine, wall, _folder) = with_wall(true);
    let reason = machine.try_launch("c", shell("c", "touch ran")).unwrap_err();
    assert_eq!(reason, "test/wall: the wall fell");
    assert_eq!(wall.seen(), ["prepare", "isolate, still ours true, acted false", "cleanup"]);
    assert!(!machine.sandbox("c").join("ran").exists() && !machine.record("c").exists());
    // An action that can't be carried out.
    let (machine, wall, _folder) = with_wall(false);
    fs::remove_file(&wall.file).unwrap();
    fs::create_dir(&wall.file).unwrap();
    let reason = machine.try_launch("c", shell("c", "touch ran"));
    assert!(reason.is_err() && !machine.sandbox("c").join("ran").exists(), "{reason:?}");
}

fn a_limit_ends_the_container() {
    let (mut machine, wall, _folder) = with_wall(false);
    machine.launch("c", shell("c", "trap '' TERM; sleep 1000"));
    wall.limit.notify_one();
    let exit = machine.wait("c");
    assert_eq!(
        (exit.status, exit.limitation),
        (Some(ExitStatus::Signal(9)), Some(Box::new(Limitation::other("too much"))))
    );
    // A new agent knows the reason too.
    machine.stop();
    machine.start();
    machine.recover(&["c"]);
    assert_eq!(machine.wait("c").limitation, Some(Box::new(Limitation::other("too much"))));
}

/// The built-in executor of these tests: tells what it was given, or runs a container of its own.
pub(crate) fn executor() -> ExitCode {
    let Ok(mark) = std::env::var("NESTED") else {
        println!("{:?}", std::env::args().collect::<Vec<_>>());
        let mut variables: Vec<_> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
        variables.sort();
        println!("{}", variables.join("\n"));
        return ExitCode::from(9);
    };
    let directory = PathBuf::from(std::env::var("MACHINE").unwrap());
    let mut config = config(&directory);
    config.runtime_directory = directory.join("inner");
    config.parent = Some(std::env::var(kaon_isolators::launcher::MARK_VARIABLE).unwrap());
    let containers = ProcessContainers::new(config, runtime()).unwrap();
    let text = format!("(setsid sleep {mark} &); exec {} terms", std::env::var("OWN").unwrap());
    let mut inner = shell("outer", &text);
    inner.join = true;
    let (sender, receiver) = mpsc::channel();
    for request in [
        ContainerRequest::Launch { container: id("inner"), spec: Box::new(inner) },
        ContainerRequest::Wait { container: id("inner") },
    ] {
        let sender = sender.clone();
        containers.request(request, Box::new(move |outcome| sender.send(outcome).unwrap_or_default()));
    }
    println!("launch: {:?}", receiver.recv_timeout(PATIENCE).unwrap());
    println!("wait: {:?}", receiver.recv_timeout(PATIENCE).unwrap());
    ExitCode::SUCCESS
}

/// A program that tells of every TERM, and ends when no other comes for a while.
pub(crate) fn terms() -> ExitCode {
    let term = SigSet::from(Signal::SIGTERM);
    term.thread_block().unwrap();
    let signals = SignalFd::new(&term).unwrap();
    println!("ready");
    signals.read_signal().unwrap();
    println!("term");
    while poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::from(300_u16)).unwrap() > 0 {
        signals.read_signal().unwrap();
        println!("term");
    }
    ExitCode::from(3)
}

fn the_builtin_executor() {
    let machine = Machine::with(|config| {
        config.executor_environment = Arc::new(|container, _| match container.as_str() {
            "bad" => Err(std::io::Error::other("no credential")),
            name => Ok(vec![("CREDENTIAL".into(), format!("for {name}"))]),
        });
    });
    let mut asked = spec("c", Program::BuiltinExecutor);
    for (name, value) in [("A", "1"), ("LD_PRELOAD", "/evil.so"), ("GLIBC_TUNABLES", "x"), ("PATH", "/bin")] {
        asked.environment.push((name.into(), value.into()));
    }
    let (exit, out) = machine.run("c", asked.clone());
    assert_eq!(exit.status, Some(ExitStatus::Code(9)));
    let mark = machine.record("c").display().to_string();
    let wanted = "[\"kaon\", \"executor\"]\nA=1\nCREDENTIAL=for c\nKAON_CONTAINER_ID=c\nKAON_CONTAINER_MARK=";
    assert_eq!(out, format!("{wanted}{mark}\nPATH=/bin\n"));
    asked.sandbox = "bad".into();
    assert!(machine.try_launch("bad", asked).unwrap_err().contains("no credential"));
}

fn nested(machine: &Machine, mark: &str) {
    let mut asked = spec("outer", Program::BuiltinExecutor);
    asked.environment.push(("NESTED".into(), mark.into()));
    asked.environment.push(("MACHINE".into(), machine.directory.path().display().to_string()));
    // The executor's own is a file without a path: it was started from a view of mounts that is nobody's.
    asked.environment.push(("OWN".into(), std::env::current_exe().unwrap().display().to_string()));
    machine.launch("outer", asked);
    eventually("the inner one runs", || {
        machine.output("outer", "stdout").contains("ready") && sleepers(mark).len() == 1
    });
}

fn containers_within_containers() {
    let (machine, mark) = (Machine::new(), mark());
    nested(&machine, &mark);
    // The outer launcher tells everyone once; the executor goes at once, the task after its words.
    machine.kill("outer", Length::secs(3600));
    assert_eq!(machine.wait("outer").status, Some(ExitStatus::Signal(15)));
    assert_eq!(machine.output("outer", "stdout").matches("term").count(), 1, "TERM came once");
    assert!(sleepers(&mark).is_empty());

    // The outer launcher and the executor are killed together: the inner launcher bears the marker of its parent.
    let machine = Machine::new();
    nested(&machine, &mark);
    let line = fs::read_to_string(machine.record("outer").join("launcher")).unwrap();
    let numbers: Vec<i32> =
        line.split("\"pid\":").skip(1).map(|rest| rest.split([',', '}']).next().unwrap().parse().unwrap()).collect();
    for pid in numbers {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    assert_eq!(machine.wait("outer").status, None);
    assert!(sleepers(&mark).is_empty());
}

fn a_replaced_executable_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("kaon");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let machine = Machine::with(|config| {
        config.executable = kaon_isolators::containers::Executable::at(&binary).unwrap();
    });
    fs::remove_file(&binary).unwrap();
    fs::write(&binary, "#!/bin/sh\nexit 77\n").unwrap();
    let (exit, out) = machine.run("c", spec("c", Program::BuiltinExecutor));
    assert_eq!(exit.status, Some(ExitStatus::Code(9)));
    assert!(out.starts_with("[\"kaon\", \"executor\"]"), "{out}");
}

//! What a container is given and what comes of it.

use crate::Test;
use crate::rig::{Machine, eventually, exec, id, is_alive, mark, root_or_skip, shell, spec, stat};
use kaon_isolators::containers::PATH_DEFAULT;
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, ExitStatus, Program, SweepPolicy};
use kaon_kernel::container_info::Limits;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::parse;
use kaon_kernel::time::Duration as Length;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

pub(crate) const TESTS: &[Test] = &[
    ("life::ends_are_reported", ends_are_reported),
    ("life::many_at_once", many_at_once),
    ("life::output_and_input", output_and_input),
    ("life::the_sandbox", the_sandbox),
    ("life::a_sandbox_can_be_shared", a_sandbox_can_be_shared),
    ("life::paths_that_lead_out_are_refused", paths_that_lead_out_are_refused),
    ("life::planted_outputs_are_refused", planted_outputs_are_refused),
    ("life::the_environment_is_what_was_asked_for", the_environment_is_what_was_asked_for),
    ("life::nothing_of_the_agent_leaks", nothing_of_the_agent_leaks),
    ("life::what_can_not_start_fails_with_a_reason", what_can_not_start_fails_with_a_reason),
    ("life::scripts_and_path", scripts_and_path),
    ("life::another_user", another_user),
    ("life::rlimits", rlimits),
    ("life::usage_while_it_runs_and_after", usage_while_it_runs_and_after),
    ("life::requests_out_of_order", requests_out_of_order),
    ("life::old_sandboxes_go_and_those_in_use_stay", old_sandboxes_go_and_those_in_use_stay),
];

fn ends_are_reported() {
    let machine = Machine::new();
    let ends = [
        ("exit 0", ExitStatus::Code(0)),
        ("exit 7", ExitStatus::Code(7)),
        ("exit 255", ExitStatus::Code(255)),
        ("kill -9 $$", ExitStatus::Signal(9)),
        ("kill -TERM $$", ExitStatus::Signal(15)),
        // A real-time signal, for which nix has no name.
        ("kill -40 $$", ExitStatus::Signal(40)),
    ];
    for (number, (text, status)) in ends.into_iter().enumerate() {
        let (exit, _) = machine.run(&format!("c{number}"), shell(&format!("c{number}"), text));
        assert_eq!((exit.status, exit.limitation), (Some(status), None), "{text}");
        assert_eq!(machine.wait(&format!("c{number}")).status, Some(status), "asked again");
    }
}

fn many_at_once() {
    let machine = Machine::new();
    let names: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
    let waiting: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let spec = Box::new(shell(name, &format!("exit {number}")));
            drop(machine.begin(ContainerRequest::Launch { container: id(name), spec }));
            machine.begin(ContainerRequest::Wait { container: id(name) })
        })
        .collect();
    for (number, waiting) in (0..).zip(waiting) {
        match waiting.recv_timeout(crate::rig::PATIENCE).unwrap() {
            ContainerOutcome::Exited(exit) => assert_eq!(exit.status, Some(ExitStatus::Code(number))),
            other => panic!("{other:?}"),
        }
    }
}

fn output_and_input() {
    let machine = Machine::new();
    let (exit, out) = machine.run("c", shell("c", "cat; echo out; echo err >&2"));
    assert_eq!(exit.status, Some(ExitStatus::Code(0)), "cat found an end at once");
    assert_eq!((out.as_str(), machine.output("c", "stderr").as_str()), ("out\n", "err\n"));
}

fn the_sandbox() {
    let machine = Machine::new();
    let (_, out) = machine.run("c", shell("c", "pwd -P; umask"));
    let real = fs::canonicalize(machine.sandbox("c")).unwrap();
    assert_eq!(out, format!("{}\n0022\n", real.display()));
    assert_eq!(fs::metadata(real).unwrap().mode() & 0o7777, 0o750);
    let again = machine.try_launch("other", shell("c", "true")).unwrap_err();
    assert!(again.contains("exists already"), "{again}");
}

fn a_sandbox_can_be_shared() {
    let machine = Machine::new();
    machine.run("executor", shell("executor", "echo executor; echo kept > file"));
    let mut task = shell("executor", "cat file");
    task.join = true;
    machine.launch("task", task.clone());
    assert_eq!(machine.wait("task").status, Some(ExitStatus::Code(0)));
    assert_eq!(machine.output("executor", "stdout"), "executor\nkept\n", "appended, not overwritten");
    task.sandbox = "slaves/S0/runs/none".to_owned();
    assert!(machine.try_launch("lost", task).is_err());
}

fn paths_that_lead_out_are_refused() {
    let machine = Machine::new();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), machine.config.work_directory.join("link")).unwrap();
    let absolute = outside.path().join("x").display().to_string();
    for path in ["../x", "a/../../x", "/tmp/x", "", ".", "link/x", "link", &absolute, "a\0b"] {
        for join in [false, true] {
            let mut bad = shell("c", "true");
            (bad.sandbox, bad.join) = (path.to_owned(), join);
            let reason = machine.try_launch("c", bad).unwrap_err();
            assert!(reason.contains("sandbox"), "{path:?}: {reason}");
        }
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    for name in ["", "..", "a/b", "../../x", &"x".repeat(300)] {
        assert!(machine.try_launch(name, shell("c", "true")).unwrap_err().contains("ID"), "{name:?}");
    }
}

fn planted_outputs_are_refused() {
    let machine = Machine::new();
    let secret = machine.directory.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    machine.run("c", shell("c", "true"));
    let stdout = machine.sandbox("c").join("stdout");
    let mut next = shell("c", "echo overwritten");
    next.join = true;
    let plants: [&dyn Fn(); 3] =
        [&|| symlink(&secret, &stdout).unwrap(), &|| fs::hard_link(&secret, &stdout).unwrap(), &|| {
            nix::unistd::mkfifo(&stdout, nix::sys::stat::Mode::S_IRWXU).unwrap()
        }];
    for plant in plants {
        fs::remove_file(&stdout).unwrap();
        plant();
        let reason = machine.try_launch("next", next.clone()).unwrap_err();
        assert!(reason.contains("stdout"), "{reason}");
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
}

fn environment_of(pid: i32) -> BTreeSet<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap();
    String::from_utf8(bytes).unwrap().split('\0').filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

fn the_environment_is_what_was_asked_for() {
    let machine = Machine::new();
    let mut asked = exec("c", &["/bin/sleep", &mark()]);
    let variables = [("A", "1"), ("B", "two words = fine\n"), ("A", "last wins"), ("KAON_CONTAINER_ID", "a lie")];
    asked.environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let pid = machine.launch("c", asked.clone());
    let (path, mark) =
        (format!("PATH={PATH_DEFAULT}"), format!("KAON_CONTAINER_MARK={}", machine.record("c").display()));
    let wanted = ["A=last wins", "B=two words = fine\n", "KAON_CONTAINER_ID=c", &mark, &path];
    assert_eq!(environment_of(pid), BTreeSet::from(wanted.map(str::to_owned)));
    (asked.environment, asked.sandbox) = (vec![("PATH".to_owned(), "/bin".to_owned())], "own_path".to_owned());
    let pid = machine.launch("own_path", asked.clone());
    assert!(environment_of(pid).contains("PATH=/bin"));
    for name in ["", "A=B", "A\0B"] {
        asked.environment = vec![(name.to_owned(), String::new())];
        asked.sandbox = "never".to_owned();
        assert!(machine.try_launch("never", asked.clone()).unwrap_err().contains("variable"), "{name:?}");
        fs::remove_dir_all(machine.config.work_directory.join("never")).unwrap();
    }
}

fn nothing_of_the_agent_leaks() {
    // A descriptor that a careless library left open through exec.
    let leaked = fs::File::open("/etc/hostname").or_else(|_| fs::File::open("/etc/passwd")).unwrap();
    nix::fcntl::fcntl(&leaked, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    nothing_leaks_into(&Machine::new());
    // The more is built around it, the more was open.
    let walls = "cgroups/cpu,cgroups/mem,namespaces/pid,namespaces/ipc,namespaces/uts,namespaces/net,filesystem/linux";
    if let Some(machine) = crate::groups::isolated(walls, |_| {}) {
        nothing_leaks_into(&machine);
    }
    drop(leaked);
}

/// Attack 51: every descriptor of a program and of its launcher, its working directory, its environment, its signals.
fn nothing_leaks_into(machine: &Machine) {
    let pid = machine.launch("c", exec("c", &["/bin/sleep", &mark()]));
    let descriptors = |pid: i32| -> Vec<(String, String)> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let mut found: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let target = fs::read_link(entry.path()).ok()?.display().to_string();
                Some((entry.file_name().into_string().ok()?, target))
            })
            .collect();
        found.sort();
        found
    };
    let real = fs::canonicalize(machine.sandbox("c")).unwrap().display().to_string();
    let file = |number: &str, path: &str| (number.to_owned(), path.to_owned());
    let wanted = [file("0", "/dev/null"), file("1", &format!("{real}/stdout")), file("2", &format!("{real}/stderr"))];
    // While a program is being loaded, the loader itself has its libraries open for a moment.
    eventually("only the three are open", || descriptors(pid) == wanted);
    let launcher = machine.launcher_of(pid);
    let of_launcher = descriptors(launcher);
    assert!(of_launcher.iter().all(|(_, path)| !path.starts_with("/etc/")), "{of_launcher:?}");
    let mark = format!("KAON_CONTAINER_MARK={}", machine.record("c").display());
    assert_eq!(environment_of(launcher), BTreeSet::from(["KAON_CONTAINER_ID=c".to_owned(), mark]));
    assert_eq!(fs::read_link(format!("/proc/{launcher}/cwd")).unwrap().to_str(), Some("/"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        // The two below 34 that the C library keeps for itself may be caught by none: all must be default.
        assert_eq!(line.split_whitespace().nth(1), Some("0000000000000000"), "{field} of the task");
    }
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().display().to_string(), real);
}

fn what_can_not_start_fails_with_a_reason() {
    let machine = Machine::new();
    fs::write(machine.directory.path().join("data"), "no program").unwrap();
    let data = machine.directory.path().join("data").display().to_string();
    let cases = [
        ("/no/such/program", "ENOENT"),
        ("no_such_program", "ENOENT"),
        ("/etc", "EACCES"),
        (data.as_str(), "EACCES"),
        ("a\0b", "NUL"),
    ];
    for (number, (file, why)) in cases.into_iter().enumerate() {
        let name = format!("c{number}");
        let reason = machine.try_launch(&name, exec(&name, &[file])).unwrap_err();
        assert!(reason.contains(why), "{file:?}: {reason}");
        assert!(!machine.record(&name).exists(), "nothing is left");
        assert_eq!(machine.wait(&name).status, None, "it was never there");
    }
    let empty = spec("empty", Program::Exec { file: String::new(), arguments: Vec::new() });
    assert!(machine.try_launch("empty", empty).unwrap_err().contains("no program"));
    let large = shell("large", &"x".repeat(8 << 20));
    assert!(machine.try_launch("large", large).unwrap_err().contains("bytes"));
}

fn scripts_and_path() {
    let machine = Machine::new();
    let folder = machine.directory.path().join("bin");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("script"), "echo script $1 $0\n").unwrap();
    fs::set_permissions(folder.join("script"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut asked = exec("c", &["script", "argument"]);
    asked.environment = vec![("PATH".to_owned(), format!("/none:/etc/passwd:{}", folder.display()))];
    let (_, out) = machine.run("c", asked);
    assert_eq!(out, format!("script argument {}/script\n", folder.display()));
}

fn another_user() {
    let machine = Machine::new();
    let mut asked = shell("c", "id -un; id -u; id -G; touch mine; ls /proc/self/fd > /dev/null; echo err >&2");
    asked.user = Some("no such user".to_owned());
    assert!(machine.try_launch("c", asked.clone()).unwrap_err().contains("no user"));
    asked.user = Some("nobody".to_owned());
    if !root_or_skip("running as another user") {
        let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().map(|user| user.name);
        if me.as_deref() != Some("nobody") {
            assert!(machine.try_launch("c", asked.clone()).unwrap_err().contains("only an agent that is root"));
        }
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (exit, out) = machine.run("c", asked.clone());
    assert_eq!(exit.status, Some(ExitStatus::Code(0)), "{}", machine.output("c", "stderr"));
    assert_eq!(out, format!("nobody\n{}\n{}\n", nobody.uid, nobody.gid));
    for file in ["", "stdout", "stderr", "mine"] {
        let status = fs::metadata(machine.sandbox("c").join(file)).unwrap();
        assert_eq!((status.uid(), status.gid()), (nobody.uid.as_raw(), nobody.gid.as_raw()), "{file}");
    }
    assert_eq!(fs::metadata(machine.sandbox("c").parent().unwrap()).unwrap().uid(), 0, "the way stays ours");
    // Its kill works though it is another's.
    asked.sandbox = "second".to_owned();
    asked.program = Program::Shell("trap '' TERM; sleep 1000".to_owned());
    let pid = machine.launch("second", asked.clone());
    machine.kill("second", Length::ZERO);
    assert_eq!(machine.wait("second").status, Some(ExitStatus::Signal(9)));
    assert!(!is_alive(pid));
    // Without the switch the user is passed over.
    let machine = Machine::with(|config| config.switch_user = false);
    asked.program = Program::Shell("id -u".to_owned());
    machine.launch("c", asked);
    machine.wait("c");
    assert_eq!(fs::read_to_string(machine.config.work_directory.join("second/stdout")).unwrap(), "0\n");
}

fn rlimits() {
    let machine = Machine::new();
    let limited = |name: &str, text: &str, limit: (&str, Option<u64>, Option<u64>)| {
        let mut asked = shell(name, text);
        asked.rlimits = vec![(limit.0.to_owned(), limit.1, limit.2)];
        asked
    };
    let (_, out) = machine.run("c", limited("c", "ulimit -n; ulimit -Hn", ("RLMT_NOFILE", Some(100), Some(200))));
    assert_eq!(out, "100\n200\n");
    let text = "head -c 5000 /dev/zero > file";
    let (exit, _) = machine.run("size", limited("size", text, ("RLMT_FSIZE", Some(1000), Some(1000))));
    assert_ne!(exit.status, Some(ExitStatus::Code(0)));
    assert_eq!(fs::metadata(machine.sandbox("size").join("file")).unwrap().len(), 1000);
    for (limit, why) in [
        (("RLMT_NONSENSE", None, None), "not a resource limit"),
        (("RLMT_NOFILE", Some(2), Some(1)), "above its hard limit"),
        (("RLMT_NOFILE", None, Some(1)), "above its hard limit"),
    ] {
        let reason = machine.try_launch("bad", limited("bad", "true", limit)).unwrap_err();
        assert!(reason.contains(why), "{reason}");
        fs::remove_dir_all(machine.sandbox("bad")).unwrap();
    }
    // More than the machine lets us: told, not swallowed. (Root with CAP_SYS_RESOURCE may raise some, but not this.)
    let reason = machine.try_launch("bad", limited("bad", "true", ("RLMT_NOFILE", None, None))).unwrap_err();
    assert!(reason.contains("RLIMIT_NOFILE") && reason.contains("EPERM"), "{reason}");
    let machine = Machine::with(|config| config.isolators = kaon_isolators::chain::Chain::parse("").unwrap());
    let reason = machine.try_launch("bad", limited("bad", "true", ("RLMT_NOFILE", Some(1), Some(1)))).unwrap_err();
    assert!(reason.contains("not enabled"), "{reason}");
}

fn usage_while_it_runs_and_after() {
    let machine = Machine::new();
    let usage = |name: &str| match machine.ask(ContainerRequest::Usage { container: id(name) }) {
        ContainerOutcome::Used(used) => used,
        other => panic!("{other:?}"),
    };
    // One busy process as a child, one as an orphan that has left the session.
    let busy = "setsid sh -c 'while :; do :; done' & while :; do :; done & wait";
    machine.launch("c", shell("c", busy));
    eventually("the busy ones are seen", || {
        usage("c").is_some_and(|used| {
            used.user_time > Length::millis(100) && used.memory_bytes > 1 << 20 && used.processes == 3
        })
    });
    machine.kill("c", Length::ZERO);
    let exit = machine.wait("c");
    assert!(exit.usage.user_time > Length::millis(100) && exit.usage.memory_bytes > 1 << 19, "{exit:?}");
    assert_eq!((usage("c"), usage("never")), (None, None));
    // What has ended while the container runs on still counts.
    let spent = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; touch done; sleep 1000";
    machine.launch("spent", shell("spent", spent));
    eventually("the work is done", || machine.sandbox("spent").join("done").exists());
    assert!(usage("spent").is_some_and(|used| used.user_time + used.system_time >= Length::millis(20)));
}

fn requests_out_of_order() {
    let machine = Machine::new();
    let pid = machine.launch("c", exec("c", &["/bin/sleep", &mark()]));
    assert!(stat(pid).is_some());
    let taken = machine.try_launch("c", shell("other", "true")).unwrap_err();
    assert!(taken.contains("exists already"), "{taken}");
    let cleanup = |name: &str| machine.ask(ContainerRequest::Cleanup { container: id(name) });
    assert!(matches!(cleanup("c"), ContainerOutcome::Failed { .. }), "it runs");
    assert_eq!(cleanup("never"), ContainerOutcome::Cleaned);
    assert_eq!(machine.wait("never").status, None);
    machine.kill("never", Length::ZERO);
    let update = |name: &str| {
        let resources = parse::resources("cpus:1").unwrap();
        machine.ask(ContainerRequest::Update { container: id(name), resources, limits: Limits::default() })
    };
    assert_eq!(update("c"), ContainerOutcome::Updated(Ok(())));
    assert!(matches!(update("never"), ContainerOutcome::Updated(Err(_))));
    machine.kill("c", Length::ZERO);
    machine.wait("c");
    machine.kill("c", Length::ZERO);
    assert!(machine.record("c").exists());
    assert_eq!(cleanup("c"), ContainerOutcome::Cleaned);
    assert!(!machine.record("c").exists() && machine.sandbox("c").exists(), "only the sandbox stays");
    // Wait and kill that come before the launch is done.
    let begun =
        machine.begin(ContainerRequest::Launch { container: id("d"), spec: Box::new(shell("d", "sleep 1000")) });
    let waiting = machine.begin(ContainerRequest::Wait { container: id("d") });
    machine.kill("d", Length::ZERO);
    let launched = begun.recv_timeout(crate::rig::PATIENCE).unwrap();
    assert!(matches!(launched, ContainerOutcome::Launched { .. }), "{launched:?}");
    match waiting.recv_timeout(crate::rig::PATIENCE).unwrap() {
        ContainerOutcome::Exited(exit) => assert_eq!(exit.status, Some(ExitStatus::Signal(9))),
        other => panic!("{other:?}"),
    }
}

fn old_sandboxes_go_and_those_in_use_stay() {
    let machine = Machine::new();
    let sweep = |delay: Length| {
        let policy = SweepPolicy { delay, headroom: Quantity(0) };
        match machine.ask(ContainerRequest::Sweep(policy)) {
            ContainerOutcome::Swept { removed, failed, left } => (removed, failed, left),
            other => panic!("{other:?}"),
        }
    };
    let cleanup = |name: &str| {
        assert_eq!(machine.ask(ContainerRequest::Cleanup { container: id(name) }), ContainerOutcome::Cleaned);
    };
    for name in ["ended", "forgotten"] {
        machine.run(name, shell(name, "mkdir -p a/b && echo full > a/b/file"));
    }
    machine.launch("running", exec("running", &["/bin/sleep", &mark()]));
    // Its directory looks as if it had been left alone for long, but it was in use until now.
    let old = std::time::SystemTime::UNIX_EPOCH;
    fs::File::open(machine.sandbox("forgotten")).unwrap().set_modified(old).unwrap();
    cleanup("forgotten");
    assert_eq!(sweep(Length::secs(3_600_000)), (0, 0, 1));
    assert_eq!(sweep(Length::ZERO), (1, 0, 0));
    assert!(!machine.sandbox("forgotten").exists());
    assert!(machine.sandbox("ended").exists(), "it may be asked about");
    assert!(machine.sandbox("running").exists());
    machine.kill("running", Length::ZERO);
    machine.wait("running");
}

//! Control groups, by the kernel's own counters: on version 1 and on version 2, whichever this machine has.

use crate::Test;
use crate::rig::{Machine, eventually, exec, id, is_alive, mark, root_or_skip, shell, sleepers};
use kaon_isolators::build::Settings;
use kaon_isolators::cgroups::{Cgroups, Group, Version};
use kaon_isolators::gpu::Gpus;
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, ExitStatus, LaunchSpec, LimitKind};
use kaon_kernel::container_info::{Limit, Limits};
use kaon_kernel::placement::{DeviceShare, NodeMemory, Placement, UnitShare};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Resources, parse};
use kaon_kernel::time::Duration as Length;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::Pid;
use std::fs;
use std::process::ExitCode;

pub(crate) const TESTS: &[Test] = &[
    ("groups::a_container_is_in_every_group", a_container_is_in_every_group),
    ("groups::processor_time_is_throttled", processor_time_is_throttled),
    ("groups::out_of_memory_ends_it_with_the_figures", out_of_memory_ends_it_with_the_figures),
    ("groups::requests_and_limits_differ", requests_and_limits_differ),
    ("groups::limits_change_while_it_runs", limits_change_while_it_runs),
    ("groups::a_fork_bomb_ends_at_its_limit", a_fork_bomb_ends_at_its_limit),
    ("groups::exact_processors_and_memory", exact_processors_and_memory),
    ("groups::devices_beyond_the_list_stay_shut", devices_beyond_the_list_stay_shut),
    ("groups::gpus_of_others_stay_shut", gpus_of_others_stay_shut),
    ("groups::what_is_written_to_disk_is_counted", what_is_written_to_disk_is_counted),
    ("groups::nothing_escapes_when_the_launcher_is_killed", nothing_escapes_when_the_launcher_is_killed),
    ("groups::a_restart_finds_the_known_and_destroys_the_rest", a_restart_finds_the_known_and_destroys_the_rest),
    ("groups::a_missing_controller_is_a_refusal", a_missing_controller_is_a_refusal),
];

fn settings(machine: &Machine, isolation: &str) -> Settings {
    Settings {
        isolation: isolation.to_owned(),
        work_directory: machine.config.work_directory.clone(),
        runtime_directory: machine.config.runtime_directory.clone(),
        cgroups_root: root(),
        ..Settings::usual("")
    }
}

fn root() -> String {
    format!("kaon-test-{}", std::process::id())
}

/// A machine with these isolators; none where this machine's kernel or user can't have them.
pub(crate) fn isolated(isolation: &str, change: impl FnOnce(&mut Settings)) -> Option<Machine> {
    if !root_or_skip(isolation) {
        return None;
    }
    isolate(Machine::new(), isolation, change)
}

/// The same of a machine that is there.
pub(crate) fn isolate(mut machine: Machine, isolation: &str, change: impl FnOnce(&mut Settings)) -> Option<Machine> {
    let mut settings = settings(&machine, isolation);
    change(&mut settings);
    match settings.chain() {
        Ok(chain) => {
            machine.stop();
            machine.config.isolators = chain;
            machine.start();
            Some(machine)
        }
        Err(error) => {
            println!("SKIPPED, this machine can't: {isolation}: {error}: {:?}", std::error::Error::source(&error));
            None
        }
    }
}

fn group(machine: &Machine, controller: &str, name: &str) -> Group {
    let cgroups = Cgroups::new(&root(), &machine.config.runtime_directory).expect("hierarchies");
    let group = cgroups.group(controller, &id(name)).expect("a hierarchy");
    // It would take empty groups away, as if this were the agent's last moment.
    std::mem::forget(cgroups);
    group
}

fn resources(text: &str) -> Resources {
    parse::resources(text).expect("resources")
}

fn taking(spec: LaunchSpec, text: &str) -> LaunchSpec {
    LaunchSpec { resources: resources(text), ..spec }
}

/// This executable, in another role.
fn own(name: &str, arguments: &[&str]) -> LaunchSpec {
    let me = std::env::current_exe().unwrap().display().to_string();
    let mut spec = exec(name, &[&[me.as_str()][..], arguments].concat());
    spec.resources = resources("cpus:1;mem:32");
    spec
}

/// Takes memory without end.
pub(crate) fn hog() -> ExitCode {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for _ in 0..1024 {
        taken.push(vec![1; 1 << 20]);
    }
    println!("{}", taken.len());
    ExitCode::SUCCESS
}

fn a_container_is_in_every_group() {
    let Some(machine) = isolated("cgroups/all", |_| {}) else { return };
    let names: Vec<_> = machine.config.isolators.names().collect();
    println!("  cgroups/all is here {names:?}");
    assert!(names.contains(&"cgroups/cpu") && names.contains(&"cgroups/pids") && names.contains(&"cgroups/devices"));
    let (exit, out) = machine.run("c", taking(shell("c", "cat /proc/self/cgroup"), "cpus:1;mem:64"));
    assert_eq!(exit.status, Some(ExitStatus::Code(0)));
    let inside = |controller: &str| {
        out.lines().any(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let is_it = fields.next().is_some_and(|list| list.split(',').any(|one| one == controller));
            is_it && fields.next().is_some_and(|path| path.ends_with("/c") && path.contains(&root()))
        })
    };
    for controller in ["cpu", "cpuacct", "memory", "pids", "cpuset", "devices", "blkio"] {
        let version = group(&machine, controller, "c").version;
        assert!(inside(if version == Version::V1 { controller } else { "" }), "{controller} in {out}");
    }
    for controller in ["cpu", "memory", "pids", "cpuset", "devices", "blkio"] {
        assert!(!group(&machine, controller, "c").exists(), "{controller} is left");
    }
}

fn processor_time_is_throttled() {
    let Some(machine) = isolated("cgroups/cpu", |_| {}) else { return };
    // A great weight and a low limit: it comes to its limit on a busy machine too.
    let spec = taking(shell("c", "while :; do :; done"), "cpus:8");
    machine.launch("c", LaunchSpec { limits: Limits { cpus: Some(Limit::Amount(Quantity(20))), mem: None }, ..spec });
    let group = group(&machine, "cpu", "c");
    eventually("the kernel throttles it", || group.keyed("cpu.stat", "nr_throttled").is_some_and(|times| times > 3));
    let told = machine.statistics("c");
    assert!(told.throttled_periods >= Some(3) && told.throttled_nanos > Some(0), "{told:?}");
    assert!(told.user_nanos.is_some() && told.cpus_limit_millis == Some(20), "{told:?}");
    machine.kill("c", Length::ZERO);
    assert_eq!(machine.wait("c").limitation, None);
    // Without a limit and without `--cgroups-enable-cfs` there is a weight and no quota.
    machine.launch("d", taking(shell("d", "sleep 60"), "cpus:2"));
    assert_eq!(machine.statistics("d").cpus_limit_millis, None);
    assert_eq!(machine.statistics("d").cpus_request_millis, Some(2000));
    machine.kill("d", Length::ZERO);
    machine.wait("d");
    let Some(capped) = isolated("cgroups/cpu", |settings| settings.caps_cpus = true) else { return };
    capped.launch("e", taking(shell("e", "sleep 60"), "cpus:0.5"));
    assert_eq!(capped.statistics("e").cpus_limit_millis, Some(500));
    capped.kill("e", Length::ZERO);
    capped.wait("e");
}

fn out_of_memory_ends_it_with_the_figures() {
    let Some(machine) = isolated("cgroups/mem", |_| {}) else { return };
    machine.launch("c", own("c", &["hog"]));
    let exit = machine.wait("c");
    let limitation = exit.limitation.expect("a limit ended it");
    assert_eq!((limitation.kind, exit.status), (LimitKind::Memory, Some(ExitStatus::Signal(9))));
    assert!(limitation.message.contains("Requested: 32 MB Maximum Used: 32 MB"), "{}", limitation.message);
    assert_eq!(limitation.resources, resources("mem:32"));
    // One child of several is enough: a container that lost a part is not what was asked for.
    let me = std::env::current_exe().unwrap();
    let text = format!("{} hog & sleep 60", me.display());
    machine.launch("d", taking(shell("d", &text), "cpus:1;mem:32"));
    assert_eq!(machine.wait("d").limitation.expect("a limit ended it").kind, LimitKind::Memory);
    // The end of the agent's life in between: the next one still knows why.
    let mut machine = machine;
    machine.launch("e", taking(shell("e", "sleep 60"), "cpus:1;mem:32"));
    machine.stop();
    machine.start();
    assert_eq!(machine.recover(&["e"]), ["e"]);
    let group = group(&machine, "memory", "e");
    assert!(group.exists(), "what survives keeps its groups");
    machine.kill("e", Length::ZERO);
    assert_eq!(machine.wait("e").limitation, None);
    assert!(!group.exists());
}

fn requests_and_limits_differ() {
    let Some(machine) = isolated("cgroups/cpu,cgroups/mem", |settings| settings.machine_bytes = 1 << 34) else {
        return;
    };
    let limits = Limits { cpus: Some(Limit::Unlimited), mem: Some(Limit::Amount(Quantity::units(128))) };
    let spec = taking(shell("c", "cat /proc/self/oom_score_adj; sleep 60"), "cpus:0.5;mem:64");
    machine.launch("c", LaunchSpec { limits, ..spec });
    let told = machine.statistics("c");
    assert_eq!((told.memory_request_bytes, told.memory_limit_bytes), (Some(64 << 20), Some(128 << 20)), "{told:?}");
    assert_eq!((told.cpus_request_millis, told.cpus_limit_millis), (Some(500), None));
    eventually("it has told its score", || machine.output("c", "stdout").ends_with('\n'));
    let score: i64 = machine.output("c", "stdout").trim().parse().unwrap();
    assert!((900..1000).contains(&score), "one that goes beyond what it has goes first: {score}");
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}

fn limits_change_while_it_runs() {
    let Some(machine) = isolated("cgroups/cpu,cgroups/mem,cgroups/pids", |_| {}) else { return };
    machine.launch("c", taking(shell("c", "sleep 60"), "cpus:1;mem:64;pids:10"));
    let change = |text: &str, cpus: Option<u64>| {
        let limits = Limits { cpus: cpus.map(|cpus| Limit::Amount(Quantity(cpus))), mem: None };
        let request = ContainerRequest::Update { container: id("c"), resources: resources(text), limits };
        assert_eq!(machine.ask(request), ContainerOutcome::Updated(Ok(())));
        machine.statistics("c")
    };
    assert_eq!(machine.statistics("c").tasks_limit, Some(10));
    let larger = change("cpus:1;mem:96;pids:20", Some(1500));
    assert_eq!((larger.memory_limit_bytes, larger.tasks_limit), (Some(96 << 20), Some(20)));
    assert_eq!(larger.cpus_limit_millis, Some(1500));
    let smaller = change("cpus:1;mem:48", None);
    assert_eq!(smaller.memory_limit_bytes, Some(96 << 20), "never lowered while it runs");
    assert_eq!((smaller.memory_request_bytes, smaller.cpus_limit_millis), (Some(48 << 20), None));
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}

fn a_fork_bomb_ends_at_its_limit() {
    let Some(machine) = isolated("cgroups/pids", |_| {}) else { return };
    let text = "i=0; while [ $i -lt 40 ]; do sleep 60 & i=$((i+1)); done; wait";
    machine.launch("c", taking(shell("c", text), "cpus:1;mem:32;pids:8"));
    let exit = machine.wait("c");
    let limitation = exit.limitation.expect("a limit ended it");
    assert_eq!(limitation.kind, LimitKind::Other);
    assert!(limitation.message.contains("at most 8 processes and threads"), "{}", limitation.message);
    assert!(!group(&machine, "pids", "c").exists());
}

fn exact_processors_and_memory() {
    let Some(machine) = isolated("numa,cgroups/cpuset", |_| {}) else { return };
    let last = std::thread::available_parallelism().map_or(0, |units| units.get() as u32 - 1);
    // The last node, so that on a machine with several it is not the usual one.
    let nodes = fs::read_to_string("/sys/devices/system/node/online").unwrap_or_default();
    let node = nodes.trim().rsplit(['-', ',']).next().and_then(|node| node.parse().ok()).unwrap_or(0);
    let placement = Placement {
        units: vec![UnitShare { unit: last, share: 1000 }],
        memory: vec![NodeMemory { node, bytes: 1 << 20 }],
        ..Placement::default()
    };
    let text =
        "grep -E 'Cpus_allowed_list|Mems_allowed_list' /proc/self/status; grep -c bind:NODE /proc/self/numa_maps"
            .replace("NODE", &node.to_string());
    let (_, out) = machine.run("c", LaunchSpec { placement: Some(placement), ..shell("c", &text) });
    assert!(out.contains(&format!("Cpus_allowed_list:\t{last}\n")), "{out}");
    assert!(out.contains(&format!("Mems_allowed_list:\t{node}\n")), "{out}");
    let bound = out.lines().last().and_then(|line| line.parse::<u32>().ok());
    match fs::exists("/proc/self/numa_maps") {
        Ok(true) => assert!(bound > Some(0), "its memory is bound to the node: {out}"),
        _ => println!("SKIPPED, the kernel shows no memory policies"),
    }
    let nowhere = Placement { units: vec![UnitShare { unit: 4000, share: 1000 }], ..Placement::default() };
    let refused = machine.try_launch("d", LaunchSpec { placement: Some(nowhere), ..shell("d", "touch ran") });
    assert!(refused.unwrap_err().contains("can't write '4000' to"));
    assert!(!group(&machine, "cpuset", "d").exists(), "a refused launch leaves nothing");
}

fn devices_beyond_the_list_stay_shut() {
    let Some(machine) = isolated("cgroups/devices", |_| {}) else { return };
    let text = "head -c 4 /dev/zero | wc -c; head -c 1 /dev/urandom | wc -c; cat /dev/kmsg | head -n 1";
    let (_, out) = machine.run("c", shell("c", text));
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["4", "1"]);
    let refused = machine.output("c", "stderr");
    assert!(refused.contains("Operation not permitted"), "{refused}");
}

fn gpus_of_others_stay_shut() {
    let folder = tempfile::tempdir().unwrap();
    let gpus = Gpus { driver: folder.path().join("driver"), nodes: folder.path().join("dev"), cdi: Vec::new() };
    fs::create_dir(&gpus.nodes).unwrap();
    for (place, minor) in [("0000:01:00.0", 0), ("0000:02:00.0", 1)] {
        let place = gpus.driver.join("gpus").join(place);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("information"), format!("GPU UUID: \t GPU-{minor}\nDevice Minor: \t {minor}\n")).unwrap();
        let node = gpus.nodes.join(format!("nvidia{minor}"));
        if root_or_skip("device nodes") {
            mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(195, minor)).unwrap();
        }
    }
    let nodes = gpus.nodes.clone();
    let Some(machine) = isolated("cgroups/devices,gpu/nvidia", |settings| settings.gpus = gpus) else { return };
    let share = DeviceShare { id: "GPU-1".to_owned(), ordinal: 1, share: 1000, memory_bytes: 0 };
    let placement = Placement { devices: vec![share], ..Placement::default() };
    let open = |number| format!("head -c 1 {}/nvidia{number}", nodes.display());
    let text = format!("{}; {}", open(0), open(1));
    machine.run("c", LaunchSpec { placement: Some(placement), ..shell("c", &text) });
    let told: Vec<String> = machine.output("c", "stderr").lines().map(str::to_owned).collect();
    // There is no driver behind the nodes: one that may be opened says so.
    assert!(told[0].contains("nvidia0") && told[0].contains("Operation not permitted"), "{told:?}");
    assert!(told[1].contains("nvidia1") && told[1].contains("No such device or address"), "{told:?}");
    machine.run("d", shell("d", &text));
    let told = machine.output("d", "stderr");
    assert_eq!(told.matches("Operation not permitted").count(), 2, "without GPUs none is open: {told}");
    let share = DeviceShare { id: "GPU-9".to_owned(), ordinal: 9, share: 1000, memory_bytes: 0 };
    let placement = Placement { devices: vec![share], ..Placement::default() };
    let refused = machine.try_launch("e", LaunchSpec { placement: Some(placement), ..shell("e", "true") });
    assert!(refused.unwrap_err().contains("no GPU 'GPU-9'"));
}

fn what_is_written_to_disk_is_counted() {
    let Some(machine) = isolated("cgroups/blkio", |_| {}) else { return };
    let text = "dd if=/dev/zero of=f bs=1M count=4 oflag=direct 2>/dev/null; sleep 60";
    machine.launch("c", shell("c", text));
    let is_memory = nix::sys::statfs::statfs(&machine.config.work_directory)
        .is_ok_and(|data| data.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC);
    if is_memory {
        println!("SKIPPED, the work directory is on no block device");
    } else {
        eventually("four MiB are counted", || {
            let devices = machine.statistics("c").block_devices;
            devices.iter().map(|device| device.written_bytes).sum::<u64>() >= 4 << 20
        });
    }
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}

/// One that has left its session, its parents and its environment leaves no trace but the group (attack 54).
fn nothing_escapes_when_the_launcher_is_killed() {
    let Some(machine) = isolated("cgroups/pids", |_| {}) else { return };
    let mark = mark();
    // The shell in the middle ends at once, so that the last one is an orphan.
    let program = machine.launch("c", shell("c", &format!("(env -i setsid sleep {mark} &) ; sleep 60")));
    eventually("it has escaped", || sleepers(&mark).len() == 1);
    let escaped = sleepers(&mark)[0];
    kill(Pid::from_raw(machine.launcher_of(program)), Signal::SIGKILL).unwrap();
    machine.wait("c");
    assert!(!is_alive(escaped), "the group held it");
    assert!(!group(&machine, "pids", "c").exists());
}

fn a_restart_finds_the_known_and_destroys_the_rest() {
    let Some(mut machine) = isolated("cgroups/mem,cgroups/pids", |_| {}) else { return };
    for name in ["known", "unknown"] {
        machine.launch(name, taking(shell(name, "sleep 60"), "cpus:1;mem:64"));
    }
    // As after a kill between the making of the groups and the start of the launcher.
    let torn = group(&machine, "pids", "torn");
    torn.create().unwrap();
    machine.stop();
    machine.config.isolators = settings(&machine, "cgroups/mem,cgroups/pids").chain().unwrap();
    machine.start();
    assert_eq!(machine.recover(&["known"]), ["known"]);
    assert!(!torn.exists() && !group(&machine, "pids", "unknown").exists());
    assert!(!group(&machine, "memory", "unknown").exists());
    assert!(machine.statistics("known").memory_limit_bytes == Some(64 << 20));
    // Again in the same life, as after a panic of the agent's actor: what runs is not touched.
    machine.launch("new", taking(shell("new", "sleep 60"), "cpus:1;mem:64"));
    assert_eq!(machine.recover(&["known", "new"]), ["known", "new"]);
    assert!(group(&machine, "pids", "new").exists() && group(&machine, "memory", "known").exists());
    for name in ["known", "new"] {
        machine.kill(name, Length::ZERO);
        machine.wait(name);
    }
    let root = group(&machine, "pids", "x").path().parent().unwrap().to_owned();
    machine.stop();
    machine.config.isolators = kaon_isolators::chain::Chain::parse("posix/cpu").unwrap();
    eventually("an agent that is gone leaves no groups", || !root.exists());
    machine.start();
}

fn a_missing_controller_is_a_refusal() {
    let machine = Machine::new();
    let is_there = kaon_isolators::cgroups::Hierarchies::discover().unwrap().of("net_cls").is_some();
    match settings(&machine, "cgroups/net_cls").chain() {
        Err(error) if !is_there => {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(source.contains("cgroups/net_cls"), "{error}: {source}");
        }
        _ => println!("SKIPPED, this machine has net_cls"),
    }
    assert!(Settings { cgroups_root: "../x".into(), ..settings(&machine, "cgroups/cpu") }.chain().is_err());
}

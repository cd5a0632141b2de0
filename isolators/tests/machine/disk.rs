//! What containers write, by the kernel's own counters: walked over, and by the quotas of file systems where there are any.

use crate::Test;
use crate::groups::{isolate, isolated};
use crate::images::{IMAGES, asked, machine_with, with};
use crate::registry::{Registry, busybox, image, layer};
use crate::rig::{Machine, eventually, mark, root_or_skip, shell};
use kaon_isolators::disk::{Watching, XfsSettings};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, LaunchSpec, LimitKind};
use kaon_kernel::container_info::Limits;
use kaon_kernel::resource::parse;
use kaon_kernel::time::Duration as Length;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("disk::a_sandbox_too_large_ends_its_container", a_sandbox_too_large_ends_its_container),
    ("disk::files_without_end_end_their_container", files_without_end_end_their_container),
    ("disk::a_root_too_large_ends_its_container", a_root_too_large_ends_its_container),
    ("disk::btrfs_refuses_what_is_beyond", btrfs_refuses_what_is_beyond),
    ("disk::xfs_refuses_what_is_beyond", xfs_refuses_what_is_beyond),
    ("disk::xfs_ends_who_is_beyond", xfs_ends_who_is_beyond),
];

const WATCHING: Watching = Watching { interval: Duration::from_millis(50), is_enforced: true };

fn taking(spec: LaunchSpec, disk: &str) -> LaunchSpec {
    LaunchSpec { resources: parse::resources(disk).unwrap(), ..spec }
}

fn a_sandbox_too_large_ends_its_container() {
    let Some(mut machine) = isolated("posix/disk", |settings| settings.disk = WATCHING) else { return };
    let spec = |name: &str, text: &str| taking(shell(name, text), "disk:2");
    machine.launch("c", spec("c", "dd if=/dev/zero of=f bs=1M count=4 2>/dev/null; sleep 60"));
    let limitation = machine.wait("c").limitation.expect("a limit ended it");
    assert_eq!(limitation.kind, LimitKind::Disk);
    assert!(limitation.message.ends_with("MB) exceeds quota (2 MB)"), "{}", limitation.message);
    // One that was there before this agent is watched as well.
    machine.launch("d", spec("d", "sleep 1; dd if=/dev/zero of=f bs=1M count=4 2>/dev/null; sleep 60"));
    machine.stop();
    machine.start();
    assert_eq!(machine.recover(&["d"]), ["d"]);
    assert!(machine.statistics("d").disk_limit_bytes == Some(2 << 20));
    assert_eq!(machine.wait("d").limitation.expect("a limit ended it").kind, LimitKind::Disk);
}

/// Attack 53: an inode filler.
fn files_without_end_end_their_container() {
    let Some(machine) = isolated("disk/du", |settings| settings.disk = WATCHING) else { return };
    let text = "i=0; while :; do : > f$i; i=$((i+1)); done";
    machine.launch("c", taking(shell("c", text), "disk:1"));
    let exit = machine.wait("c");
    assert_eq!(exit.limitation.expect("a limit ended it").kind, LimitKind::Disk);
}

fn a_root_too_large_ends_its_container() {
    let Some(items) = busybox() else { return };
    let isolation = format!("{IMAGES},disk/du");
    for backend in [kaon_isolators::images::Backend::Best, kaon_isolators::images::Backend::Copy] {
        let set = |settings: &mut kaon_isolators::build::Settings| settings.disk = WATCHING;
        let Some(machine) = machine_with(&isolation, set, |images| images.backend = backend) else { return };
        let registry = Registry::new();
        let name = registry.push("app", "1", &image(&[layer(&items)], &json!({}), true));
        let spec = |name: &str, text: &str, asked| taking(with(shell(name, text), asked), "disk:3");
        machine.launch(
            "c",
            spec("c", "busybox dd if=/dev/zero of=/large bs=1M count=5 2>/dev/null; sleep 60", asked(&registry, &name)),
        );
        let limitation = machine.wait("c").limitation.expect("a limit ended it");
        assert_eq!(limitation.kind, LimitKind::Disk, "{backend:?}");
        // The image itself is nothing that it wrote.
        machine.launch("d", spec("d", "echo small > /small; sleep 60", asked(&registry, &name)));
        eventually("it is counted", || machine.statistics("d").disk_used_bytes.is_some_and(|used| used > 0));
        assert!(machine.statistics("d").disk_used_bytes < Some(1 << 20), "{backend:?}");
        machine.kill("d", Length::ZERO);
        assert_eq!(machine.wait("d").limitation, None, "{backend:?}");
    }
}

/// A file system of this kind in a file, mounted as long as this lives.
struct Mounted {
    directory: tempfile::TempDir,
    /// The mount is another's.
    given: Option<PathBuf>,
}

impl Mounted {
    fn new(kind: &str, options: &str) -> Option<Self> {
        if !root_or_skip(kind) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let (file, at) = (directory.path().join("file"), directory.path().join("at"));
        // A guest brings one along that it has mounted itself.
        let variable = format!("KAON_TEST_{}", kind.to_uppercase());
        if let Some(given) = std::env::var_os(&variable).map(PathBuf::from) {
            return Some(Self { directory, given: Some(given) });
        }
        fs::create_dir(&at).unwrap();
        fs::File::create(&file).unwrap().set_len(400 << 20).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let ran = Command::new(program).args(arguments).output();
            ran.is_ok_and(|output| output.status.success())
        };
        let (file, shown) = (file.display().to_string(), at.display().to_string());
        let is_there = run(&format!("mkfs.{kind}"), &["-q", &file])
            && run("mount", &["-t", kind, "-o", &format!("loop{options}"), &file, &shown]);
        if !is_there {
            println!(
                "SKIPPED, needs mkfs.{kind}, loop devices, and a kernel with {kind}{options}; or {variable}=DIR, a mount of it"
            );
            return None;
        }
        Some(Self { directory, given: None })
    }

    fn at(&self) -> PathBuf {
        self.given.clone().unwrap_or_else(|| self.directory.path().join("at"))
    }

    fn machine(&self, isolation: &str, change: impl FnOnce(&mut kaon_isolators::build::Settings)) -> Option<Machine> {
        let work = self.at().join(mark());
        isolate(Machine::with(|config| config.work_directory = work), isolation, change)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.given.is_none() {
            let _ = Command::new("umount").arg(self.directory.path().join("at")).status();
        }
    }
}

/// How much the files of a sandbox hold.
fn held(sandbox: &Path) -> u64 {
    fs::read_dir(sandbox).unwrap().flatten().filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

/// Whether a program has a child of this name.
fn has_child(program: i32, name: &str) -> bool {
    let children = fs::read_to_string(format!("/proc/{program}/task/{program}/children")).unwrap_or_default();
    let is_named = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    children.split_whitespace().any(is_named)
}

/// Waits until a program that waits for `go` has written what it can.
fn until_refused(machine: &Machine, name: &str, program: i32) -> u64 {
    eventually("it has written", || held(&machine.sandbox(name)) > 1 << 20);
    eventually("it writes no more", || !has_child(program, "dd"));
    held(&machine.sandbox(name))
}

/// Writes twice as much as it took; then a limit that is raised while it runs lets the rest pass. What is refused can't be told
/// before, since `stdout` lies in the same sandbox.
fn refuses_what_is_beyond(machine: &Machine) {
    let text = "dd if=/dev/zero of=f bs=64k count=128 conv=fsync; code=$?; until [ -e go ]; do sleep 0.05; done; \
        dd if=/dev/zero of=g bs=64k count=64 conv=fsync && echo done after $code; sleep 60";
    let program = machine.launch("c", taking(shell("c", text), "disk:4"));
    let before = until_refused(machine, "c", program);
    assert!((2 << 20..=4 << 20).contains(&before), "{before}");
    Command::new("sync").status().expect("the counters are settled");
    let used = machine.statistics("c");
    assert_eq!(used.disk_limit_bytes, Some(4 << 20));
    assert!(used.disk_used_bytes.is_some_and(|used| (2 << 20..5 << 20).contains(&used)), "{:?}", used.disk_used_bytes);
    let resources = parse::resources("disk:16").unwrap();
    let update = ContainerRequest::Update { container: crate::rig::id("c"), resources, limits: Limits::default() };
    assert_eq!(machine.ask(update), ContainerOutcome::Updated(Ok(())));
    fs::write(machine.sandbox("c").join("go"), "").unwrap();
    eventually("the rest is written", || machine.output("c", "stdout") == "done after 1\n");
    machine.kill("c", Length::ZERO);
    assert_eq!(machine.wait("c").limitation, None, "the file system refuses; nobody ends");
}

fn btrfs_refuses_what_is_beyond() {
    let Some(mounted) = Mounted::new("btrfs", "") else { return };
    let enforced = Watching { is_enforced: true, ..Watching::default() };
    let Some(mut machine) = mounted.machine("disk/btrfs", |settings| settings.disk = enforced) else { return };
    refuses_what_is_beyond(&machine);
    // An agent after this one finds the limit in the kernel.
    let text = "until [ -e go ]; do sleep 0.05; done; dd if=/dev/zero of=f bs=64k count=128; sleep 60";
    let program = machine.launch("d", taking(shell("d", text), "disk:4"));
    machine.stop();
    machine.start();
    assert_eq!(machine.recover(&["d"]), ["d"]);
    fs::write(machine.sandbox("d").join("go"), "").unwrap();
    assert!(until_refused(&machine, "d", program) <= 4 << 20);
    machine.recover(&[]);
    fs::remove_dir_all(machine.sandbox("d")).expect("a subvolume goes like a directory");
}

fn xfs_refuses_what_is_beyond() {
    let Some(mounted) = Mounted::new("xfs", ",prjquota") else { return };
    let enforced = Watching { is_enforced: true, ..Watching::default() };
    let change = |settings: &mut kaon_isolators::build::Settings| {
        settings.disk = enforced;
        settings.xfs = XfsSettings { projects: 7000..=7000, ..XfsSettings::default() };
    };
    let Some(machine) = mounted.machine("disk/xfs", change) else { return };
    refuses_what_is_beyond(&machine);
    // The one project of the range is free again.
    machine.launch("d", taking(shell("d", "sleep 60"), "disk:4"));
    let refused = machine.try_launch("e", taking(shell("e", "true"), "disk:4")).unwrap_err();
    assert!(refused.contains("all projects of the range are taken"), "{refused}");
    assert!(!machine.record("e").exists());
}

fn xfs_ends_who_is_beyond() {
    let Some(mounted) = Mounted::new("xfs", ",prjquota") else { return };
    let change = |settings: &mut kaon_isolators::build::Settings| {
        settings.disk = Watching { is_enforced: false, ..WATCHING };
        settings.xfs = XfsSettings { kills: true, ..XfsSettings::default() };
    };
    let Some(machine) = mounted.machine("disk/xfs", change) else { return };
    machine.launch("c", taking(shell("c", "dd if=/dev/zero of=f bs=64k count=128; sleep 60"), "disk:4"));
    assert_eq!(machine.wait("c").limitation.expect("a limit ended it").kind, LimitKind::Disk);
}

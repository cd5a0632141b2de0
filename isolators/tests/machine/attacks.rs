//! What hostile tasks try, beyond what the other files have: each fails closed. The numbers are those of the project's list of
//! attacks; docs/isolation.md says which test keeps which.

use crate::Test;
use crate::groups::isolated;
use crate::rig::{Machine, all, eventually, is_alive, mark, shell, sleepers, stat};
use kaon_isolators::linux::parse_capabilities;
use kaon_kernel::container::{ExitStatus, LaunchSpec};
use kaon_kernel::time::Duration as Length;

pub(crate) const TESTS: &[Test] = &[
    ("attacks::a_storm_of_zombies_is_reaped", a_storm_of_zombies_is_reaped),
    ("attacks::siblings_can_not_be_reached", siblings_can_not_be_reached),
    ("attacks::another_view_of_processes_is_no_way_out", another_view_of_processes_is_no_way_out),
    ("attacks::packets_can_not_be_forged", packets_can_not_be_forged),
    ("attacks::the_kernels_files_can_not_be_written", the_kernels_files_can_not_be_written),
    ("attacks::the_privileged_are_not_guarded", the_privileged_are_not_guarded),
    ("attacks::the_usual_rights_are_no_gift", the_usual_rights_are_no_gift),
];

/// Attack 53: what loses its parents and ends is reaped by the launcher, while the program runs on.
fn a_storm_of_zombies_is_reaped() {
    let machine = Machine::new();
    let text = "i=0; while [ $i -lt 400 ]; do (true &); i=$((i+1)); done; echo done; sleep 300";
    let pid = machine.launch("c", shell("c", text));
    let launcher = machine.launcher_of(pid);
    eventually("all are started", || machine.output("c", "stdout") == "done\n");
    let is_zombie_of = |one: &i32| stat(*one).is_some_and(|(state, parent, _)| state == 'Z' && parent == launcher);
    eventually("all are reaped", || !all().iter().any(is_zombie_of));
    assert!(is_alive(pid));
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}

/// Attack 54: a task looks for others of the same user, to trace, signal or read them.
fn siblings_can_not_be_reached() {
    let Some(machine) = isolated("namespaces/pid,namespaces/ipc,filesystem/linux", |_| {}) else { return };
    let sibling = machine.launch(
        "a",
        LaunchSpec { environment: vec![("KEY".into(), "s3cret".into())], ..shell("a", "sleep 300; true") },
    );
    let launcher = machine.launcher_of(sibling);
    let text = format!(
        "for p in {sibling} {launcher} {}; do kill -0 $p && echo SIGNALLED; cat /proc/$p/environ && echo READ; done; \
         cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep s3cret && echo FOUND; echo tried",
        std::process::id()
    );
    let (_, out) = machine.run("b", shell("b", &text));
    assert_eq!(out, "tried\n");
    assert!(is_alive(sibling));
    machine.kill("a", Length::ZERO);
    machine.wait("a");
}

/// Attack 54: what begins a view of processes of its own, leaves its session and ignores TERM ends with its container.
fn another_view_of_processes_is_no_way_out() {
    let Some(machine) = isolated("cgroups/pids", |_| {}) else { return };
    let mark = mark();
    let text = format!(
        "trap '' TERM; unshare --pid --fork --mount-proc setsid sh -c \"trap '' TERM; sleep {mark} & sleep {mark}\" & wait"
    );
    machine.launch("c", shell("c", &text));
    eventually("it runs", || sleepers(&mark).len() == 2);
    machine.kill("c", Length::millis(100));
    assert_eq!(machine.wait("c").status, Some(ExitStatus::Signal(9)));
    assert!(sleepers(&mark).is_empty());
}

/// Attack 55: without NET_RAW nobody makes packets that are not its own, not even root, and not by another program either; so it is
/// where nothing is said of rights.
fn packets_can_not_be_forged() {
    let rights = parse_capabilities("CHOWN,SETUID,SETGID,NET_BIND_SERVICE").unwrap();
    for (isolation, rights) in [("linux/capabilities", Some(rights)), ("filesystem/linux", None)] {
        let Some(machine) = isolated(isolation, |settings| settings.rights.bounding = rights) else { return };
        let program = "import socket\nfor kind in [(socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_PACKET, socket.SOCK_RAW, 0)]:\n\
            \x20try:\n  socket.socket(*kind); print('FORGED')\n except PermissionError: print('refused')";
        let text = format!("command -v python3 >/dev/null || {{ echo skipped; exit; }}; python3 -c \"{program}\"");
        match machine.run("c", shell("c", &text)).1.as_str() {
            "skipped\n" => println!("SKIPPED, needs python3: raw sockets"),
            told => assert_eq!(told, "refused\nrefused\n", "{isolation}: {}", machine.output("c", "stderr")),
        }
    }
}

/// What a root task tries to leave its control groups, to have the kernel run a program, and to set what is the machine's: directly,
/// by mounting anew, and in a view of users of its own, where it would have all rights again. Where it succeeds the machine keeps its name
/// and what it does with dumps.
const WRITES: &str = "cat /proc/self/cgroup > before; mkdir m; \
    for g in $(find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -o -maxdepth 2 -name release_agent -o -maxdepth 2 -name notify_on_release); do \
      echo $$ > $g && echo WROTE $g; done; \
    for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/own-$$ && echo MADE $d; done; \
    mount -t cgroup -o memory none m && echo MOUNTED; mount -t cgroup2 none m && echo MOUNTED; mount -t proc none m && echo MOUNTED; \
    mount -o remount,rw /sys && echo REMOUNTED; mount -o remount,rw,bind /proc/sys && echo REMOUNTED; umount /proc/sys && echo UNMOUNTED; \
    umount -l /sys && echo UNMOUNTED; \
    for views in -Ur -Urm -UrC -UrmC -C; do unshare $views true && echo BEGAN $views; done; \
    for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger /sys/kernel/uevent_helper /sys/power/state; do \
      v='|/bin/false'; case $f in */kernel/*) v=$(cat $f);; esac; test -e $f && echo \"$v\" > $f && echo WROTE $f; done; \
    cat /proc/self/cgroup > after; cmp before after && echo same";

/// Attack 57, and writes to `/proc` and `/sys`, though the task is root and the files are root's: with every list of isolators that
/// gives it a view of mounts, and without a word of its rights.
fn the_kernels_files_can_not_be_written() {
    for isolation in [
        "cgroups/all,namespaces/user,namespaces/pid,namespaces/cgroup",
        "cgroups/all,filesystem/linux",
        "cgroups/all,namespaces/mnt,namespaces/cgroup",
        "cgroups/all,filesystem/linux,namespaces/pid,namespaces/ipc,linux/capabilities",
    ] {
        let Some(machine) = isolated(isolation, |_| {}) else { return };
        let (_, out) = machine.run("c", shell("c", WRITES));
        assert_eq!(out, "same\n", "{isolation}: {}", machine.output("c", "stderr"));
        // What it is root for it can do.
        let text = "touch f && chown 7:7 f && chmod 600 f && cat f && echo works";
        let (_, out) = machine.run("d", shell("d", text));
        assert_eq!(out, "works\n", "{isolation}: {}", machine.output("d", "stderr"));
    }
}

/// Who may ever have SYS_ADMIN is not guarded: that is what an operator says by the word.
fn the_privileged_are_not_guarded() {
    let all = parse_capabilities("ALL").unwrap();
    let change = |settings: &mut kaon_isolators::build::Settings| settings.rights.bounding = Some(all);
    let Some(machine) = isolated("cgroups/all,filesystem/linux,linux/capabilities", change) else { return };
    let text = "p=$(cat /proc/sys/vm/swappiness) && echo $p > /proc/sys/vm/swappiness && echo wrote; mkdir m && mount -t tmpfs none m && echo mounted";
    let (_, out) = machine.run("c", shell("c", text));
    assert_eq!(out, "wrote\nmounted\n", "{}", machine.output("c", "stderr"));
}

/// A user who is not root gains nothing by the usual rights; root has them, and passes none on.
fn the_usual_rights_are_no_gift() {
    let Some(machine) = isolated("filesystem/linux", |_| {}) else { return };
    let user = |text: &str| LaunchSpec { user: Some("nobody".into()), ..shell("c", text) };
    let (_, out) = machine.run("c", user("grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f 2 | sort -u"));
    assert_eq!(out, "0000000000000000\n");
    let root = machine.run("d", shell("d", "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f 2")).1;
    let usual = format!("{:016x}", kaon_isolators::linux::USUAL_CAPABILITIES);
    let none = "0".repeat(16);
    assert_eq!(root.lines().collect::<Vec<_>>(), [&none, &usual, &usual, &usual, &none]);
}

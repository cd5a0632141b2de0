//! Ends: on request, at the program's own end, and when the launcher itself is killed. Nothing of a tree may be left.

use crate::Test;
use crate::rig::{Machine, eventually, exec, is_alive, mark, shell, sleepers};
use kaon_kernel::container::ExitStatus;
use kaon_kernel::time::Duration as Length;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    ("end::grace_is_respected", grace_is_respected),
    ("end::a_later_kill_may_shorten_the_grace", a_later_kill_may_shorten_the_grace),
    ("end::the_whole_tree_is_killed", the_whole_tree_is_killed),
    ("end::the_whole_tree_hears_of_it_first", the_whole_tree_hears_of_it_first),
    ("end::the_end_of_the_program_is_the_end_of_the_tree", the_end_of_the_program_is_the_end_of_the_tree),
    ("end::processes_that_fork_on_and_on", processes_that_fork_on_and_on),
    ("end::a_launcher_that_is_killed_is_healed", a_launcher_that_is_killed_is_healed),
    ("end::a_launcher_that_was_stopped_hears", a_launcher_that_was_stopped_hears),
    ("end::a_launcher_that_gets_a_plain_term", a_launcher_that_gets_a_plain_term),
    ("end::other_signals_do_not_end_a_launcher", other_signals_do_not_end_a_launcher),
];

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("it is there");
}

fn grace_is_respected() {
    let machine = Machine::new();
    let ready = |name: &str| eventually("the trap is set", || machine.output(name, "stdout") == "ready\n");
    machine.launch("heeds", shell("heeds", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done"));
    ready("heeds");
    machine.kill("heeds", Length::secs(3600));
    assert_eq!(machine.wait("heeds").status, Some(ExitStatus::Code(3)), "it had an hour and took a moment");

    machine.launch("ignores", shell("ignores", "trap '' TERM; echo ready; while :; do sleep 0.01; done"));
    ready("ignores");
    let began = Instant::now();
    machine.kill("ignores", Length::millis(400));
    assert_eq!(machine.wait("ignores").status, Some(ExitStatus::Signal(9)));
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());

    machine.launch("at_once", shell("at_once", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done"));
    ready("at_once");
    machine.kill("at_once", Length::ZERO);
    assert_eq!(machine.wait("at_once").status, Some(ExitStatus::Signal(9)), "no TERM came first");
    // Beyond every clock.
    machine.launch("for_ever", shell("for_ever", "sleep 1000"));
    machine.kill("for_ever", Length::MAX);
    assert_eq!(machine.wait("for_ever").status, Some(ExitStatus::Signal(15)));
}

fn a_later_kill_may_shorten_the_grace() {
    let machine = Machine::new();
    machine.launch("c", shell("c", "trap 'echo term' TERM; echo ready; while :; do sleep 0.01; done"));
    eventually("the trap is set", || machine.output("c", "stdout") == "ready\n");
    machine.kill("c", Length::secs(3600));
    eventually("TERM has come", || machine.output("c", "stdout").contains("term"));
    machine.kill("c", Length::secs(7200));
    machine.kill("c", Length::millis(1));
    assert_eq!(machine.wait("c").status, Some(ExitStatus::Signal(9)));
    assert_eq!(machine.output("c", "stdout"), "ready\nterm\n", "TERM comes once");
}

/// A program with children of every kind that gets away: all ignore TERM.
fn runaways(mark: &str) -> String {
    format!(
        "trap '' TERM; sleep {mark} & \
         setsid sh -c \"trap '' TERM; sleep {mark} & sleep {mark}\" & \
         (setsid sh -c \"trap '' TERM; (sleep {mark} &) ; (env -i setsid sleep {mark} &)\" &) ; "
    )
}

fn the_whole_tree_is_killed() {
    let machine = Machine::new();
    let mark = mark();
    let pid = machine.launch("c", shell("c", &(runaways(&mark) + "wait")));
    eventually("five run", || sleepers(&mark).len() == 5);
    machine.kill("c", Length::millis(50));
    assert_eq!(machine.wait("c").status, Some(ExitStatus::Signal(9)));
    assert_eq!((sleepers(&mark), is_alive(pid)), (Vec::new(), false));
}

fn the_whole_tree_hears_of_it_first() {
    let machine = Machine::new();
    // The child hears TERM by itself and may use the grace though the program is gone; stopped ones hear it too.
    let child = "trap 'sleep 0.2; echo child >> said; exit' TERM; echo up >> said; while :; do sleep 0.01; done";
    let text = format!("setsid sh -c \"{child}\" & setsid sh -c \"{child}\" & echo $! > second; wait");
    machine.launch("c", shell("c", &text));
    let said = || std::fs::read_to_string(machine.sandbox("c").join("said")).unwrap_or_default();
    eventually("both are up", || said() == "up\nup\n");
    let second = std::fs::read_to_string(machine.sandbox("c").join("second")).unwrap();
    signal(second.trim().parse().unwrap(), Signal::SIGSTOP);
    machine.kill("c", Length::secs(3600));
    assert_eq!(machine.wait("c").status, Some(ExitStatus::Signal(15)));
    assert_eq!(said(), "up\nup\nchild\nchild\n");
}

fn the_end_of_the_program_is_the_end_of_the_tree() {
    let machine = Machine::new();
    let mark = mark();
    // It ends only when all five are there.
    let text = runaways(&mark) + &format!("while [ $(pgrep -fc '^sleep {mark}') -lt 5 ]; do :; done; exit 5");
    let (exit, _) = machine.run("c", shell("c", &text));
    assert_eq!(exit.status, Some(ExitStatus::Code(5)));
    assert_eq!(sleepers(&mark), Vec::<i32>::new());
}

fn processes_that_fork_on_and_on() {
    let machine = Machine::new();
    let mark = mark();
    // Each link of the chain starts the next one and is gone; another loop leaves sleepers behind.
    let text = format!(
        "link() {{ sleep 0.002; link & }}; link & (setsid sh -c 'while :; do sleep {mark} & sleep 0.01; done' &) ; wait; \
         sleep 1000"
    );
    machine.launch("c", shell("c", &text));
    eventually("they are many", || sleepers(&mark).len() >= 5);
    machine.kill("c", Length::ZERO);
    assert_eq!(machine.wait("c").status, Some(ExitStatus::Signal(9)));
    assert_eq!(sleepers(&mark), Vec::<i32>::new());
}

fn a_launcher_that_is_killed_is_healed() {
    let machine = Machine::new();
    let mark = mark();
    // `env -i` drops the marker: that one is found as long as its parent lives.
    let text = format!(
        "trap '' TERM; sleep {mark} & setsid sleep {mark} & (setsid sh -c '(sleep {mark} &) ' &) ; \
         env -i setsid sleep {mark} & wait"
    );
    let pid = machine.launch("c", shell("c", &text));
    eventually("four run", || sleepers(&mark).len() == 4);
    signal(machine.launcher_of(pid), Signal::SIGKILL);
    let exit = machine.wait("c");
    assert_eq!(exit.status, None);
    assert_eq!((sleepers(&mark), is_alive(pid)), (Vec::new(), false));
    // The same when the program has gone first: only the marker leads to the rest.
    let text = format!("(setsid sh -c '(sleep {mark} &) ' &) ; sleep 1000");
    let pid = machine.launch("d", shell("d", &text));
    eventually("it runs", || sleepers(&mark).len() == 1);
    let launcher = machine.launcher_of(pid);
    signal(launcher, Signal::SIGSTOP);
    signal(pid, Signal::SIGKILL);
    signal(launcher, Signal::SIGKILL);
    assert_eq!(machine.wait("d").status, None);
    assert_eq!(sleepers(&mark), Vec::<i32>::new());
}

fn a_launcher_that_was_stopped_hears() {
    let machine = Machine::new();
    let pid = machine.launch("c", exec("c", &["/bin/sleep", &mark()]));
    signal(machine.launcher_of(pid), Signal::SIGSTOP);
    machine.kill("c", Length::secs(3600));
    assert_eq!(machine.wait("c").status, Some(ExitStatus::Signal(15)));
}

fn a_launcher_that_gets_a_plain_term() {
    let machine = Machine::new();
    let pid = machine.launch("c", exec("c", &["/bin/sleep", &mark()]));
    signal(machine.launcher_of(pid), Signal::SIGTERM);
    assert_eq!(machine.wait("c").status, Some(ExitStatus::Signal(15)));
}

fn other_signals_do_not_end_a_launcher() {
    let machine = Machine::new();
    let pid = machine.launch("c", shell("c", "while [ ! -e go ]; do sleep 0.01; done; exit 6"));
    let launcher = machine.launcher_of(pid);
    for each in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGALRM, Signal::SIGPIPE] {
        signal(launcher, each);
    }
    std::fs::write(machine.sandbox("c").join("go"), "").unwrap();
    assert_eq!(machine.wait("c").status, Some(ExitStatus::Code(6)));
}

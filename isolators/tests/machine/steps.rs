//! The agent is killed (`kill -9`) at every step of a launch, one after the other: whatever it had done by then, recovery leaves a
//! container that runs and is known, or nothing.
//!
//! A step is a system call that changes something: another process traces the agent (`ptrace(2)`) while it launches, counts such
//! calls of all its threads, and kills it just before the one whose turn it is. The launcher and the nursery are not traced: they
//! live on as they do when a real agent dies.

use crate::Test;
use crate::images::{IMAGES, machine_with, use_images};
use crate::registry::{Registry, busybox, image, layer};
use crate::rig::{Machine, all, config, eventually, exec, id, is_alive, mark, root_or_skip, runtime, sleepers};
use kaon_isolators::containers::ProcessContainers;
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, LaunchSpec};
use kaon_kernel::container_info::{ContainerInfo, Image};
use kaon_kernel::port::Containers;
use kaon_kernel::resource::parse;
use kaon_kernel::time::Duration as Length;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;

pub(crate) const TESTS: &[Test] = &[("steps::an_agent_killed_at_any_step", an_agent_killed_at_any_step)];

const ISOLATION: &str = "cgroups/all,namespaces/pid,namespaces/ipc,namespaces/uts,namespaces/net,disk/du";

/// The calls after which files, processes or mounts are otherwise than before, or somebody was told. Of `write` see [`is_step`].
const CHANGES: [i64; 32] = [
    libc::SYS_pwrite64,
    libc::SYS_writev,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_rmdir,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_mknodat,
    libc::SYS_chown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_bpf,
    libc::SYS_kill,
    libc::SYS_pidfd_send_signal,
];

fn spec(mark: &str, name: &str, credentials: &str) -> LaunchSpec {
    let credentials = Some(credentials.as_bytes().to_vec());
    let image = Image { name: name.to_owned(), is_cached: true, credentials };
    let container = Some(Box::new(ContainerInfo { image: Some(image), ..ContainerInfo::default() }));
    let resources = parse::resources("cpus:0.1;mem:64;disk:64").unwrap();
    LaunchSpec { container, resources, ..exec("c", &["/bin/sleep", mark]) }
}

/// The agent: recovers, says so, waits for a word, launches, and is gone. It is told where it works, the root of its control groups,
/// the mark of what it runs, an image and its credentials.
pub(crate) fn agent(arguments: &[String]) -> ExitCode {
    let [directory, root, mark, name, credentials] = arguments else { return ExitCode::FAILURE };
    let mut config = config(Path::new(directory));
    let isolation = format!("{ISOLATION},{IMAGES}");
    use_images(&mut config, &isolation, |settings| root.clone_into(&mut settings.cgroups_root), |_| {});
    let containers = ProcessContainers::new(config, runtime()).expect("containers");
    let ask = |request| {
        let (sender, receiver) = mpsc::channel();
        containers.request(request, Box::new(move |outcome| sender.send(outcome).unwrap_or_default()));
        receiver.recv().expect("an answer")
    };
    ask(ContainerRequest::Recover { known: Vec::new() });
    println!("ready");
    let mut word = String::new();
    std::io::stdin().read_line(&mut word).expect("a word");
    let launch = ContainerRequest::Launch { container: id("c"), spec: Box::new(spec(mark, name, credentials)) };
    match ask(launch) {
        ContainerOutcome::Launched { .. } => {}
        other => eprintln!("{other:?}"),
    }
    kill(Pid::this(), Signal::SIGKILL).expect("gone");
    loop {
        std::thread::park();
    }
}

/// Whether a thread that stopped is about to make a call that changes something.
#[cfg(target_arch = "x86_64")]
fn is_step(thread: Pid) -> bool {
    let Ok(registers) = ptrace::getregs(thread) else { return false };
    // On its way in: the kernel has put this there, and takes it away on the way out.
    let is_entry = registers.rax.cast_signed() == -i64::from(libc::ENOSYS);
    let call = registers.orig_rax.cast_signed();
    let makes = call == libc::SYS_openat && registers.rdx & u64::from(libc::O_CREAT.unsigned_abs()) != 0;
    let file = || fs::read_link(format!("/proc/{thread}/fd/{}", registers.rdi));
    // What threads of one process tell one another, and a log, are nobody else's business.
    let is_within = || registers.rdi <= 2 || file().is_ok_and(|file| file.ends_with("anon_inode:[eventfd]"));
    let writes = call == libc::SYS_write && is_entry && !is_within();
    is_entry && (makes || writes || CHANGES.contains(&call))
}

/// Lets an agent launch up to its step of this number; how many it made, fewer when it came to its end before.
fn walk(arguments: &[&str], last: usize) -> usize {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("launching").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut agent = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(agent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let leader = Pid::from_raw(agent.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    let mut seized = BTreeSet::new();
    loop {
        let threads = fs::read_dir(format!("/proc/{leader}/task")).unwrap().flatten();
        let threads = threads.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let fresh: Vec<i32> = threads.filter(|thread| !seized.contains(thread)).collect();
        if fresh.is_empty() {
            break;
        }
        for thread in fresh {
            // One that came meanwhile from one that is traced is traced already.
            if ptrace::seize(Pid::from_raw(thread), options).is_ok() {
                ptrace::interrupt(Pid::from_raw(thread)).unwrap();
            }
            seized.insert(thread);
        }
    }
    agent.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let mut steps = 0;
    loop {
        let (thread, signal) = match waitpid(None, Some(WaitPidFlag::__WALL)).expect("a traced agent") {
            WaitStatus::PtraceSyscall(thread) => {
                if is_step(thread) && steps < last {
                    steps += 1;
                    if steps == last {
                        kill(leader, Signal::SIGKILL).unwrap();
                    }
                }
                (thread, None)
            }
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..) if thread == leader => break,
            _ => continue,
        };
        // One that was killed meanwhile goes its way.
        let _ = ptrace::syscall(thread, signal);
    }
    // It is reaped above.
    let _ = agent.wait();
    steps
}

/// The living processes that bear the mark of this machine's containers.
fn marked(machine: &Machine) -> Vec<i32> {
    let text = machine.config.runtime_directory.join("containers").display().to_string();
    let bears = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(text.len()).any(|window| window == text.as_bytes())
    };
    all().into_iter().filter(|pid| is_alive(*pid)).filter(bears).collect()
}

/// What is left below the root of control groups, wherever there are any.
fn groups_left(root: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    let agents = mounts.flat_map(|mount| fs::read_dir(Path::new(mount).join(root)).into_iter().flatten().flatten());
    let below = agents.flat_map(|agent| fs::read_dir(agent.path()).into_iter().flatten().flatten());
    let groups = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path().display().to_string()).collect()
}

/// Nothing of any container is left: no process, control group, mount, network, root, lease, record.
fn assert_nothing(machine: &Machine, root: &str, mark: &str, step: usize) {
    let at = format!("killed at step {step}");
    eventually(&format!("{at}: no process is left"), || sleepers(mark).is_empty() && marked(machine).is_empty());
    assert_eq!(groups_left(root), Vec::<String>::new(), "{at}");
    let directory = machine.directory.path().display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&directory), "{at}: a mount is left: {mounts}");
    let images = machine.config.images.as_ref().expect("images").config();
    let count = |path: &Path| fs::read_dir(path).map_or(0, |entries| entries.count());
    assert_eq!(count(&images.roots.join("containers")), 0, "{at}: a root is left");
    for agent in fs::read_dir(images.store.join("leases")).unwrap().flatten() {
        assert_eq!(count(&agent.path()), 0, "{at}: a lease is left");
    }
    assert_eq!(count(&machine.config.runtime_directory.join("containers")), 0, "{at}: a record is left");
    assert_eq!(count(&machine.config.runtime_directory.join("disk")), 0, "{at}: a size is left");
    // What stays for people to read, and would be in the way of the next.
    let _ = fs::remove_dir_all(machine.sandbox("c"));
}

fn an_agent_killed_at_any_step() {
    let Some(items) = busybox() else { return };
    if !root_or_skip("launches that are traced") {
        return;
    }
    let (root, mark) = (format!("kaon-steps-{}", std::process::id()), mark());
    let registry = Registry::new();
    let name = registry.push("app", "1", &image(&[layer(&items)], &json!({}), true));
    let credentials = String::from_utf8(registry.credentials()).unwrap();
    let isolation = format!("{ISOLATION},{IMAGES}");
    let Some(mut machine) = machine_with(&isolation, |settings| root.clone_into(&mut settings.cgroups_root), |_| {})
    else {
        return;
    };
    // What is fetched once is there for all of them.
    machine.launch("c", spec(&mark, &name, &credentials));
    machine.kill("c", Length::ZERO);
    machine.wait("c");
    machine.recover(&[]);
    assert_nothing(&machine, &root, &mark, 0);
    let directory = machine.directory.path().display().to_string();
    let arguments = [directory.as_str(), &root, &mark, &name, &credentials];
    let (mut step, mut running, mut ended, mut gone) = (1, 0, 0, 0);
    loop {
        machine.stop();
        let made = walk(&arguments, step);
        machine.start();
        // Every other time the new agent has never heard of it, as after a kill before it wrote down that it launches.
        let is_known = step % 2 == 0 || made < step;
        let kept = machine.recover(if is_known { &["c"] } else { &[] });
        if kept.is_empty() {
            gone += 1;
        } else {
            let runs = || {
                let used = machine.ask(ContainerRequest::Usage { container: id("c") });
                matches!(used, ContainerOutcome::Used(Some(_)))
            };
            // One that is in the middle of `execve(2)` shows no arguments yet.
            eventually("it shows what it runs, or has ended", || sleepers(&mark).len() == 1 || !runs());
            if runs() && sleepers(&mark).len() == 1 {
                running += 1;
                machine.kill("c", Length::ZERO);
            }
            // One that was still on its way when its agent fell ends by itself, and that is told.
            machine.wait("c");
            ended += 1;
            machine.recover(&[]);
        }
        assert_nothing(&machine, &root, &mark, step);
        if made < step {
            break;
        }
        step += 1;
    }
    println!("  {step} steps: {gone} times nothing, {ended} times a known container, {running} of them running");
    assert!(step > 50 && running > 0 && gone > 0, "a launch has its steps");
}

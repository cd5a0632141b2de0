//! The floor: what the kernel alone takes for a container with the same walls, by one process that does nothing else. Four
//! namespaces, private mounts, its own `/proc`, the same control groups with the same limits.

use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The argument that makes this program the floor.
pub(crate) const ARGUMENT: &str = "floor";

/// The groups of version 1 that are made, and what is written in each.
const LIMITS: [(&str, &[(&str, &str)]); 4] = [
    ("cpu", &[("cpu.shares", "1024")]),
    ("cpuacct", &[]),
    ("memory", &[("memory.soft_limit_in_bytes", "67108864"), ("memory.limit_in_bytes", "67108864")]),
    ("pids", &[("pids.max", "4096")]),
];

/// `struct clone_args` of `clone3(2)`, its first version.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Makes so many, one after the other. Prints the median from decision to exec, the mean of the whole life, and the processor time
/// of one, in microseconds.
pub(crate) fn main(count: usize) {
    let mut to_exec = Vec::with_capacity(count);
    let begin = Instant::now();
    for number in 0..count {
        to_exec.push(once(number));
    }
    let whole = begin.elapsed().as_micros() / count as u128;
    let spent = |who| getrusage(who).map_or(0, |used| (used.user_time() + used.system_time()).num_microseconds());
    let processor = (spent(UsageWho::RUSAGE_SELF) + spent(UsageWho::RUSAGE_CHILDREN)) / count as i64;
    to_exec.sort_unstable();
    println!("{} {whole} {processor}", to_exec[count / 2]);
}

fn once(number: usize) -> u128 {
    let decision = Instant::now();
    let mut groups: Vec<PathBuf> = Vec::new();
    for (controller, limits) in LIMITS {
        let group = Path::new("/sys/fs/cgroup").join(controller).join(format!("floor-{number}"));
        fs::create_dir(&group).expect("a control group");
        for (file, text) in limits {
            fs::write(group.join(file), text).expect("a limit");
        }
        groups.push(group);
    }
    let joins: Vec<CString> =
        groups.iter().map(|group| CString::new(group.join("tasks").display().to_string()).unwrap()).collect();
    let (told, tells) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    let namespaces = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let arguments = CloneArguments {
        flags: u64::from(namespaces.cast_unsigned()),
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        ..CloneArguments::default()
    };
    let program = [c"/bin/busybox".as_ptr(), c"sleep".as_ptr(), c"1000".as_ptr(), std::ptr::null()];
    // SAFETY: there is one thread, so the child goes on with a whole copy of everything; it makes system calls alone, with texts
    // that were made before, and ends in an exec or `_exit`.
    let child = unsafe {
        match libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) {
            0 => {
                for path in &joins {
                    let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                    libc::write(file, c"0".as_ptr().cast(), 1);
                }
                let none = std::ptr::null();
                libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast());
                libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), 0, none.cast());
                libc::execv(program[0], program.as_ptr());
                libc::_exit(1)
            }
            pid => pid,
        }
    };
    drop(tells);
    let mut rest = Vec::new();
    File::from(told).read_to_end(&mut rest).expect("the exec closes it");
    let taken = decision.elapsed().as_micros();
    let child = nix::unistd::Pid::from_raw(i32::try_from(child).expect("a process"));
    nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    nix::sys::wait::waitpid(child, None).expect("it ends");
    groups.iter().for_each(|group| fs::remove_dir(group).expect("an empty group"));
    taken
}

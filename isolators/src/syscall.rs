//! The system calls that the safe wrappers of `nix` and the standard library do not offer, each as a safe function.
//!
//! Nothing here decides anything. With its folder and `topology/hwloc.rs` it is the only place of this crate with unsafe code.
#![allow(unsafe_code)]

pub(crate) mod borrow;
pub(crate) mod descriptors;
pub(crate) mod quota;
pub(crate) mod rights;
pub(crate) mod room;

use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A file descriptor that stands for one process, not for its number (`pidfd_open(2)`, Linux 5.3). Close-on-exec.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let number = i32::try_from(answer).ok().filter(|&number| number >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just given us this descriptor; nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends a plain signal to the process behind `pidfd` (`pidfd_send_signal(2)`, Linux 5.1).
pub(crate) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means that the kernel fills it in as for kill(2).
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The part of `siginfo_t` that a queued signal carries, as the kernel lays it out on 64-bit machines
/// (`include/uapi/asm-generic/siginfo.h`): the union begins at byte 16.
#[repr(C)]
struct QueuedSignal {
    signal: i32,
    errno: i32,
    code: i32,
    padding: i32,
    pid: i32,
    uid: u32,
    value: u64,
    rest: [u8; 96],
}

const _: () = assert!(size_of::<QueuedSignal>() == 128 && size_of::<libc::siginfo_t>() == 128);

/// Queues a signal that carries a value to the process behind `pidfd`, as `sigqueue(3)` does for a number.
pub(crate) fn pidfd_queue(pidfd: BorrowedFd<'_>, signal: i32, value: u64) -> io::Result<()> {
    let info = QueuedSignal {
        signal,
        errno: 0,
        code: libc::SI_QUEUE,
        padding: 0,
        pid: std::process::id().cast_signed(),
        uid: nix::unistd::getuid().as_raw(),
        value,
        rest: [0; 96],
    };
    // SAFETY: `info` is a whole siginfo (its size is asserted above) and lives through the call, which only reads it.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, &raw const info, 0) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets the runtime that this is called within wait for a descriptor to become readable, as a pidfd does when its
/// process ends.
pub(crate) fn until_readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, always names the same descriptor, and is closed only when the object is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

/// Closes every file descriptor from `first` on (`close_range(2)`, Linux 5.9). For a process that holds none of them in
/// an object of its own: the launcher at its start.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX)
}

/// Closes every file descriptor from 3 on but these. For a process that is about to become another program, and drops nothing that
/// holds one any more.
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().map(|one| one.as_raw_fd().unsigned_abs()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for one in kept {
        if one > first {
            close_range(first, one - 1)?;
        }
        first = first.max(one + 1);
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the call takes three integers. Closing is harmless for memory; the callers promise that no object of
    // theirs owns one of these descriptors, or will use it.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether this process has a single thread.
fn only_thread() -> io::Result<()> {
    // The kernel counts a link for each thread beside the usual two (`proc_task_getattr`); where it does not they are counted.
    let is_alone = match std::fs::metadata("/proc/self/task")?.nlink() {
        3 => true,
        _ => std::fs::read_dir("/proc/self/task")?.count() == 1,
    };
    if is_alone { Ok(()) } else { Err(io::Error::other("only a process with a single thread may fork")) }
}

/// Forks a process that has one thread; the child runs `child` and ends with the code that it returns, at once and
/// without running anything that was set up to run at exit.
///
/// # Errors
/// When the process has more threads: another thread's locks would stay taken for ever in the child.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> io::Result<i32> {
    only_thread()?;
    // SAFETY: there is one thread (checked), so the child's memory is whole and no lock is held by a thread that is gone.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = child();
            // SAFETY: `_exit` only ends the process.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(pid),
    }
}

/// What a child that has ended left behind.
pub(crate) enum Reaped {
    /// This one ended, with this raw wait status.
    Ended(i32, i32),
    /// There are children, none has ended.
    None,
    /// There is no child left.
    NoChildren,
}

/// Reaps one child that has ended, without waiting. By hand because `nix` can't tell of a death by a real-time signal.
pub(crate) fn reap() -> io::Result<Reaped> {
    let mut status = 0;
    // SAFETY: `status` lives through the call and is all that it writes.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        0 => Ok(Reaped::None),
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => Ok(Reaped::NoChildren),
            error => Err(error),
        },
        pid => Ok(Reaped::Ended(pid, status)),
    }
}

/// Gives every signal its default disposition again: one that is ignored (Rust's start-up ignores SIGPIPE, and others may
/// have come from whoever started the agent) would stay ignored through exec. Not through the C library, which keeps the
/// first real-time signals to itself.
pub(crate) fn reset_signals() {
    // The kernel's own `struct sigaction` (handler, flags, restorer, mask; 32 bytes on 64-bit machines), all zero:
    // SIG_DFL, no flags, nothing masked.
    let default = [0_u64; 8];
    let none = std::ptr::null_mut::<libc::c_void>();
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the kernel reads at most 64 bytes from `default`, which lives through the call, and writes nothing. An
        // error (EINVAL for KILL and STOP) changes nothing.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, size_of::<u64>()) };
    }
}

/// The part of `union bpf_attr` that loads a program (`bpf(2)`), zero beyond what is used.
#[repr(C)]
struct LoadProgram {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that attaches a program.
#[repr(C)]
struct AttachProgram {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// Gives the kernel a program for the device controller of a control group; it is verified there.
pub(crate) fn load_device_program(instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let attributes = LoadProgram {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads `attributes`, the instructions and the license, which all live through the call, and writes
    // nothing of ours.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<LoadProgram>()) };
    let number = i32::try_from(answer).ok().filter(|&number| number >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just given us this descriptor; nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Attaches a program to a control group, beside others that may be there.
pub(crate) fn attach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = AttachProgram {
        target: group.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the kernel only reads `attributes`, which live through the call.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attributes, size_of::<AttachProgram>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `struct clone_args` of `clone3(2)`, its second version (Linux 5.7): with the control group to begin in.
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
    set_tid: u64,
    set_tid_size: u64,
    group: u64,
}

/// Begin in the control group of a descriptor.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// As [`fork`], into new namespaces (flags of `clone(2)`) and a control group of version 2, all in one step of the kernel.
///
/// # Errors
/// As [`fork`]; and those of `clone3(2)`, such as ENOSYS before Linux 5.3, or EPERM.
pub(crate) fn clone(namespaces: i32, group: Option<BorrowedFd<'_>>, child: impl FnOnce() -> i32) -> io::Result<i32> {
    only_thread()?;
    let mut arguments = CloneArguments {
        flags: u64::from(namespaces.cast_unsigned()),
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        ..CloneArguments::default()
    };
    if let Some(group) = group {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.group = u64::from(group.as_raw_fd().cast_unsigned());
    }
    // SAFETY: no flag shares memory or asks for a stack, so the child goes on with a copy of everything, as after a fork;
    // there is one thread (checked), so the copy is whole and no lock is held by a thread that is gone. The kernel only
    // reads `arguments`.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = child();
            // SAFETY: `_exit` only ends the process.
            unsafe { libc::_exit(code) }
        }
        pid => i32::try_from(pid).map_err(io::Error::other),
    }
}

/// Whether the kernel can fork into a control group (Linux 5.7): it refuses a descriptor that is none with EBADF, and a flag
/// that it does not know, or a structure that it does not, with EINVAL or E2BIG. Nothing is forked.
pub(crate) fn has_clone_into_group() -> bool {
    let arguments = CloneArguments { flags: CLONE_INTO_CGROUP, group: u64::from(u32::MAX >> 1), ..Default::default() };
    // SAFETY: the descriptor is none, so the call fails before anything is forked; the kernel only reads `arguments`.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    assert!(answer < 0, "a fork into a group that is none");
    io::Error::last_os_error().raw_os_error() == Some(libc::EBADF)
}

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    namespace: u64,
}

/// Makes a mount and all below it read-only (Linux 5.12).
pub(crate) fn mount_read_only(path: &std::path::Path) -> io::Result<()> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    set_read_only(libc::AT_FDCWD, &path, libc::AT_RECURSIVE)
}

fn set_read_only(directory: i32, path: &std::ffi::CStr, flags: i32) -> io::Result<()> {
    let attributes = MountAttributes { set: libc::MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, namespace: 0 };
    // SAFETY: the kernel only reads the path and the attributes, which live through the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets an extended attribute of an open file (`fsetxattr(2)`).
pub(crate) fn set_attribute(file: BorrowedFd<'_>, name: &std::ffi::CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel only reads the name and so many bytes of the value, which both live through the call.
    let answer = unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads an extended attribute of an open file (`fgetxattr(2)`); none where it is not set.
pub(crate) fn attribute(file: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<Option<Vec<u8>>> {
    /// Those that are read here are a few bytes long.
    const BYTES_MAX: usize = 256;
    let mut value = vec![0_u8; BYTES_MAX];
    // SAFETY: the kernel reads the name and writes at most so many bytes to the value, which both live through the call.
    let answer = unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), BYTES_MAX) };
    match usize::try_from(answer) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(_) => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
            error => Err(error),
        },
    }
}

/// A second view of an open file, in a mount of its own that nobody can find by a path and through which nothing is written
/// (`open_tree(2)`, Linux 5.2, and [`mount_read_only`]'s call). Needs CAP_SYS_ADMIN.
pub(crate) fn read_only_view(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const FLAGS: u32 = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    let flags = FLAGS | libc::AT_EMPTY_PATH.cast_unsigned();
    // SAFETY: the kernel reads the empty path, which is static.
    let answer = unsafe { libc::syscall(libc::SYS_open_tree, file.as_raw_fd(), c"".as_ptr(), flags) };
    let number = i32::try_from(answer).ok().filter(|&number| number >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just given us this descriptor; nobody else knows its number.
    let view = unsafe { OwnedFd::from_raw_fd(number) };
    set_read_only(view.as_raw_fd(), c"", libc::AT_EMPTY_PATH)?;
    Ok(view)
}

/// The most memory nodes that a policy names: the kernel's own bound on 64-bit machines (`MAX_NUMNODES`).
const NODES_MAX: usize = 1024;

/// Lets memory of this process and its children come from these nodes alone (`set_mempolicy(2)`, `MPOL_BIND`).
pub(crate) fn bind_memory(nodes: &[u32]) -> io::Result<()> {
    let mut mask = [0_u64; NODES_MAX / 64];
    for &node in nodes {
        let node = node as usize;
        let word = mask.get_mut(node / 64).ok_or_else(|| io::Error::other(format!("no memory node {node}")))?;
        *word |= 1 << (node % 64);
    }
    // SAFETY: the kernel only reads the mask. It takes one bit less than it is told (`set_mempolicy(2)`, notes), so the length
    // is that of the mask.
    let answer = unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::MPOL_BIND, mask.as_ptr(), NODES_MAX + 1) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes a terminal the one of this process, which leads a session and has none (`TIOCSCTTY`).
pub(crate) fn take_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes integers and touches no memory of ours.
    let answer = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens the program's end of a terminal by the launcher's (`TIOCGPTPEER`, Linux 4.13). Close-on-exec.
pub(crate) fn other_end(terminal: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the call takes integers and touches no memory of ours.
    let answer = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(answer) })
}

/// Sets the window of a terminal (`TIOCSWINSZ`); its foreground programs are told by SIGWINCH.
pub(crate) fn resize_terminal(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel only reads `size`, which lives through the call.
    let answer = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `struct sock_fprog` of `seccomp(2)`.
#[repr(C)]
struct FilterProgram {
    length: u16,
    instructions: *const u64,
}

/// Lets a program answer the system calls of this process and of all that it starts. Needs CAP_SYS_ADMIN, or that no rights
/// can be gained any more.
pub(crate) fn filter_system_calls(instructions: &[u64]) -> io::Result<()> {
    let length = u16::try_from(instructions.len()).map_err(io::Error::other)?;
    let program = FilterProgram { length, instructions: instructions.as_ptr() };
    // SAFETY: the kernel copies the program, whose instructions are eight bytes each as it lays them out, and writes nothing.
    let answer = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Brings loopback up in this process's view of the network.
pub(crate) fn raise_loopback() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zero is a whole `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *place = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the kernel reads the request, which lives through the call.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The socket that this process was started with, under its number; an error when there is none of datagrams. To be called
/// once, by who was told the number.
pub(crate) fn inherited_socket(number: i32) -> io::Result<std::net::UdpSocket> {
    let (mut kind, mut length) = (0_i32, size_of::<i32>() as libc::socklen_t);
    // SAFETY: the kernel writes at most `length` bytes to `kind`; both live through the call.
    let answer =
        unsafe { libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &raw mut length) };
    if answer < 0 || kind != libc::SOCK_DGRAM {
        return Err(io::Error::other(format!("descriptor {number} is no socket")));
    }
    // SAFETY: it is an open socket (checked), which the launcher made for this process alone; nobody else here owns its number.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    nix::fcntl::fcntl(&socket, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    #[test]
    fn nothing_is_written_through_a_view() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "whole").unwrap();
        let file = File::open(&path).unwrap();
        let view = match read_only_view(file.as_fd()) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                return println!("SKIPPED, needs root: a view of an executable");
            }
            other => other.unwrap(),
        };
        let shown = format!("/proc/self/fd/{}", view.as_raw_fd());
        assert_eq!(fs::read_to_string(&shown).unwrap(), "whole");
        let refused = File::options().write(true).open(&shown).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
        assert!(File::options().write(true).open(&path).is_ok(), "the machine's own is as it was");
    }
}

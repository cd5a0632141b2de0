//! The system calls that the safe wrappers of `nix` and the standard library do not offer, each as a safe function.
//!
//! Nothing here decides anything. With `topology/hwloc.rs` it is the only place of this crate with unsafe code.
#![allow(unsafe_code)]

use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
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
    close_range(first, 0)
}

/// Marks every file descriptor from `first` on to be closed at the next exec (Linux 5.11).
pub(crate) fn close_from_at_exec(first: u32) -> io::Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, flags: u32) -> io::Result<()> {
    // SAFETY: the call takes three integers. Closing is harmless for memory; the callers promise that no object of
    // theirs owns one of these descriptors.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Forks a process that has one thread; the child runs `child` and ends with the code that it returns, at once and
/// without running anything that was set up to run at exit.
///
/// # Errors
/// When the process has more threads: another thread's locks would stay taken for ever in the child.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> io::Result<i32> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("only a process with a single thread may fork"));
    }
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

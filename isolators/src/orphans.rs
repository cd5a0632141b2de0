//! What is left of a container whose launcher was killed: found as far as it can be, and killed.
//!
//! Without the launcher nothing holds the tree together. Three traces lead to it: the recorded program, if that very
//! process still lives, with its session; every process that was started with the container's marker in its environment
//! (children inherit it); and all descendants of those. A process that left the session, dropped the marker and lost its
//! parent leaves no trace; control groups, when they come, close that gap. Start times guard against numbers that have
//! come round: a stranger is never signalled because of a number alone.

use crate::launcher::{MARK_VARIABLE, PARENT_VARIABLE};
use crate::process::{self, Process};
use crate::record::{Directory, Known, Launcher};
use crate::syscall;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long to go on when processes do not die: those hang in the kernel, and the agent has others to look after.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// How long a launcher that was killed, or has written its status, may take to be gone, in milliseconds.
const REAP_MILLIS: u16 = 10_000;

/// The pause before a round that has nothing to wait for.
const ROUND_PAUSE: Duration = Duration::from_millis(10);

/// The longest wait between two rounds.
const ROUND_MILLIS: u16 = 100;

/// The longest that one round waits for processes that become other programs: the kernel does that in well under a
/// millisecond, unless the disk that has the program hangs.
const BECOMING_MAX: Duration = Duration::from_secs(1);

/// How many processes are killed in one round; the others are found again in the next.
const WAITED_MAX: usize = 256;

/// Kills what is left of a container, launcher included, and waits until it is gone and reaped. Reads all processes of the machine
/// in each round; blocks, at most [`DEADLINE`].
///
/// # Errors
/// When something would not die; the text says how much.
pub(crate) fn destroy(directory: &Directory) -> io::Result<()> {
    let boot_id = process::boot_id()?;
    // After a reboot the numbers mean nothing, and nothing of it lives.
    let record = directory.launcher().filter(|record| record.boot_id == boot_id);
    let deadline = Instant::now() + DEADLINE;
    // A process that is dying shows no environment any more, but is not gone: what was killed is waited for.
    let mut dying: BTreeMap<i32, OwnedFd> = BTreeMap::new();
    loop {
        let found = find(directory, record.as_ref())?;
        dying.extend(found.iter().take(WAITED_MAX).filter_map(|process| Some((process.pid, kill(process)?))));
        dying.retain(|_, pidfd| !has_ended(pidfd, PollTimeout::ZERO));
        if found.is_empty() && dying.is_empty() {
            record.into_iter().for_each(|record| reap(record.launcher));
            return Ok(());
        }
        if Instant::now() >= deadline {
            let left: Vec<i32> = found.iter().map(|process| process.pid).chain(dying.into_keys()).collect();
            return Err(io::Error::other(format!("processes {left:?} do not die")));
        }
        match dying.values().next() {
            Some(pidfd) => {
                has_ended(pidfd, PollTimeout::from(ROUND_MILLIS));
            }
            // What is left may not be signalled by us, or ended just now.
            None => std::thread::sleep(ROUND_PAUSE),
        }
    }
}

/// Waits for a launcher that has ended, or is about to, and reaps it if this very process started it. Others are the
/// nursery's, or init's once that is gone.
pub(crate) fn reap(launcher: Known) {
    if let Ok(pidfd) = syscall::pidfd_open(launcher.pid)
        && launcher.find().is_some()
        && has_ended(&pidfd, PollTimeout::from(REAP_MILLIS))
    {
        let _ = waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
    }
}

/// Waits for the process behind a pidfd to end.
pub(crate) fn has_ended(pidfd: &OwnedFd, timeout: PollTimeout) -> bool {
    let mut one = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut one, timeout).is_ok_and(|ready| ready > 0)
}

/// Everything that is left, dead ones excepted. Waits for processes that become other programs, at most [`BECOMING_MAX`].
fn find(directory: &Directory, record: Option<&Launcher>) -> io::Result<Vec<Process>> {
    let me = std::process::id().cast_signed();
    let until = Instant::now() + BECOMING_MAX;
    let all: Vec<Process> =
        process::all()?.into_iter().filter(|process| process.pid != me && process.pid != 1).collect();
    let markers = [MARK_VARIABLE, PARENT_VARIABLE].map(|name| format!("{name}={}", directory.mark()));
    let mut roots: BTreeSet<i32> = all
        .iter()
        .filter(|process| process::was_started_with(process.pid, &markers, until))
        .map(|process| process.pid)
        .collect();
    if let Some(record) = record {
        for known in [record.launcher, record.program] {
            let leads = |process: &&Process| process.pid == known.pid && process.start_ticks == known.start_ticks;
            if all.iter().any(|process| leads(&process)) {
                // While its leader is there, even as a zombie, the number of a session is its own.
                roots.extend(all.iter().filter(|process| process.session == known.pid).map(|process| process.pid));
                roots.insert(known.pid);
            }
        }
    }
    let mut found = process::below(&all, &roots);
    found.extend(all.into_iter().filter(|process| roots.contains(&process.pid)));
    found.retain(Process::is_alive);
    Ok(found)
}

/// Kills exactly the process that was looked at.
fn kill(process: &Process) -> Option<OwnedFd> {
    let pidfd = syscall::pidfd_open(process.pid).ok()?;
    // The descriptor stands for whoever has the number now; only if that is still the same one, it is signalled.
    let now = Process::read(process.pid)?;
    if now.start_ticks != process.start_ticks {
        return None;
    }
    syscall::pidfd_signal(pidfd.as_fd(), libc::SIGKILL).ok().map(|()| pidfd)
}

//! The nursery: one small process of the agent that forks its launchers.
//!
//! A launcher is the agent's own executable, and to start that anew for each container costs far more than all else of a launch:
//! the loader goes through tens of megabytes. The nursery does so once. It has a single thread, so what it forks is whole, and a
//! launcher begins with a copy of its memory instead. The agent asks over a socket that keeps the bounds of messages:
//!
//! ```text
//! agent                                                    nursery                                  launcher
//!   │ variables; its input, output and log as open files ──►│ shows the variables; fork ─────────────►│ as in `launcher/mod.rs`
//!   │◄──── who it is and its pidfd, or why there is none ───│ reaps it when it ends
//! ```
//!
//! The variables are in its place before it is there: whoever looks for the marks of a container (`orphans.rs`) finds them from
//! its first moment. The nursery ends with the agent, when its side of the socket is closed; its launchers stay. One that was
//! killed is replaced at the next launch.

use super::ends_well;
use crate::record::Known;
use crate::syscall::{self, Reaped, descriptors, room::Room};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The argument after [`super::ARGUMENT`] that makes a launcher a nursery.
pub(crate) const ARGUMENT: &str = "nursery";

/// The variable whose value is the room for those of launchers.
pub(crate) const ROOM_VARIABLE: &str = "KAON_ROOM";

/// The room for the variables of a launcher in bytes: the name of a container and two marks, which are paths (`PATH_MAX` is
/// 4,096 bytes).
pub(crate) const ROOM_BYTES: usize = 10 * 1024;

/// The longest answer in bytes.
pub(crate) const ANSWER_BYTES_MAX: usize = 4096;

/// Forks launchers until the agent goes.
pub(super) fn keep() -> io::Result<()> {
    // Nothing but KILL and the end of the agent ends it: a Ctrl-C that the agent makes use of is not its business.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    // Once for all launchers and what they start.
    syscall::reset_signals();
    nix::unistd::setsid()?;
    nix::unistd::chdir("/")?;
    let mut room = Room::take()?;
    room.show(&[])?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let children = SigSet::from(Signal::SIGCHLD);
    let signals = SignalFd::with_flags(&children, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut buffer = vec![0; ROOM_BYTES];
    loop {
        let mut waited =
            [PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        poll(&mut waited, PollTimeout::NONE)?;
        let is_asked = waited[0].any().unwrap_or(false);
        while signals.read_signal()?.is_some() {}
        while let Reaped::Ended(..) = syscall::reap()? {}
        if !is_asked {
            continue;
        }
        let Some((length, ends)) = descriptors::receive(socket.as_fd(), &mut buffer)? else { return Ok(()) };
        let (born, held) = match bear(&mut room, &buffer[..length], ends) {
            Ok((known, held)) => (Ok(known), Some(held)),
            Err(error) => (Err(error.to_string()), None),
        };
        let held: Vec<_> = held.iter().map(AsFd::as_fd).collect();
        descriptors::send(socket.as_fd(), &serde_json::to_vec(&born)?, &held)?;
    }
}

/// Forks one launcher. It is not reaped before who it is has been read and it is held: it may end at any moment.
fn bear(room: &mut Room, variables: &[u8], ends: Vec<OwnedFd>) -> io::Result<(Known, OwnedFd)> {
    let ends = <[OwnedFd; 3]>::try_from(ends).map_err(|_| io::Error::other("three open files make a launcher"))?;
    room.show(variables)?;
    let forked = syscall::fork(|| {
        let [input, output, log] = &ends;
        let connected = dup2_stdin(input).and_then(|()| dup2_stdout(output)).and_then(|()| dup2_stderr(log));
        i32::from(connected.is_err() || !ends_well(true))
    });
    room.show(&[])?;
    let pid = forked?;
    let known = Known::of(pid).ok_or_else(|| io::Error::other("/proc does not show the launcher"))?;
    Ok((known, syscall::pidfd_open(pid)?))
}

//! The agent's side of the nursery (`launcher/nursery.rs`): starts it at the first launch, asks it for launchers, and starts
//! another one when it is gone.

use super::Executable;
use crate::launcher::{self, nursery};
use crate::record::Known;
use crate::syscall::descriptors;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// How long a fork may take, in milliseconds: as long as a launcher for an answer.
const ANSWER_MILLIS: u16 = 30_000;

/// Where launchers are born.
pub(super) struct Nursery {
    executable: Executable,
    kept: Mutex<Option<Kept>>,
}

/// A nursery that runs.
struct Kept {
    socket: OwnedFd,
    process: Child,
}

/// Why a launcher was not born.
enum Failure {
    /// The nursery says so.
    Refused(io::Error),
    /// The nursery is gone, or speaks in riddles.
    Gone(io::Error),
}

impl Nursery {
    /// One of this executable. Starts nothing.
    pub(super) fn of(executable: Executable) -> Self {
        Self { executable, kept: Mutex::default() }
    }

    /// A launcher with these variables (each with a NUL behind it) and these files as its standard ones: who it is, and its pidfd, which
    /// is its own even if it has ended by now. Blocks.
    pub(super) fn bear(&self, variables: &[u8], ends: [BorrowedFd<'_>; 3]) -> io::Result<(Known, OwnedFd)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = kept.as_ref() {
            match there.ask(variables, ends) {
                Ok(born) => return Ok(born),
                Err(Failure::Refused(error)) => return Err(error),
                // A launcher that it may still fork finds its pipes closed, and ends.
                Err(Failure::Gone(error)) => {
                    tracing::warn!(%error, "the nursery of launchers is gone; another one is started")
                }
            }
        }
        *kept = None;
        let fresh = Kept::start(&self.executable)?;
        let asked = fresh.ask(variables, ends);
        match asked {
            Err(Failure::Gone(error)) => Err(error),
            Err(Failure::Refused(error)) => {
                *kept = Some(fresh);
                Err(error)
            }
            Ok(born) => {
                *kept = Some(fresh);
                Ok(born)
            }
        }
    }
}

impl Kept {
    fn start(executable: &Executable) -> io::Result<Self> {
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let (socket, theirs) = pair.map_err(io::Error::from)?;
        let mut command = Command::new(executable.path());
        command.arg0("kaon").args([launcher::ARGUMENT, nursery::ARGUMENT]).env_clear();
        command.env(nursery::ROOM_VARIABLE, " ".repeat(nursery::ROOM_BYTES));
        command.current_dir("/").stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { socket, process: command.spawn()? })
    }

    fn ask(&self, variables: &[u8], ends: [BorrowedFd<'_>; 3]) -> Result<(Known, OwnedFd), Failure> {
        descriptors::send(self.socket.as_fd(), variables, &ends).map_err(Failure::Gone)?;
        let mut waited = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let is_answered = poll(&mut waited, PollTimeout::from(ANSWER_MILLIS));
        if is_answered.map_err(|errno| Failure::Gone(errno.into()))? == 0 {
            return Err(Failure::Gone(io::Error::other("it does not answer")));
        }
        let mut buffer = [0; nursery::ANSWER_BYTES_MAX];
        let answer = descriptors::receive(self.socket.as_fd(), &mut buffer).map_err(Failure::Gone)?;
        let (length, mut held) = answer.ok_or_else(|| Failure::Gone(io::Error::other("it has ended")))?;
        let born: Result<Known, String> =
            serde_json::from_slice(&buffer[..length]).map_err(|error| Failure::Gone(error.into()))?;
        let known = born.map_err(|reason| Failure::Refused(io::Error::other(reason)))?;
        let held = held.pop().ok_or_else(|| Failure::Gone(io::Error::other("it holds nobody")))?;
        Ok((known, held))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // It holds nothing that could be lost; what it has forked is on its own.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

//! What a container writes, kept small: the launcher reads its outputs from pipes and appends them to `stdout` and `stderr`,
//! and turns a file over when it is full, as `logrotate` does: `stdout` becomes `stdout.1`, that `stdout.2`, and the oldest
//! goes (reference 12.5). A container that writes without end costs a bounded room (attack 53), and no link that it puts in
//! the place of a file is followed (attack 60): what can't be appended then is dropped.

use crate::sandbox;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, renameat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, pipe2, unlinkat};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How much is read at once, in bytes: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// How large outputs may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The size at which a file is turned over, in bytes.
    pub bytes_max: u64,
    /// How many older files are kept of each output.
    pub files_max: u32,
}

/// One output on its way from the container to its file.
pub(super) struct Output {
    name: &'static str,
    from: OwnedFd,
    to: File,
    written_bytes: u64,
    is_open: bool,
    rotation: Rotation,
    sandbox: OwnedFd,
    owner: Option<(Uid, Gid)>,
}

impl Output {
    /// A pipe to the file of this name, which is open already. Answers the container's end as well.
    pub(super) fn new(
        name: &'static str,
        to: File,
        rotation: Rotation,
        sandbox: &OwnedFd,
        owner: Option<(Uid, Gid)>,
    ) -> io::Result<(Self, File)> {
        let (from, end) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let written_bytes = to.metadata()?.len();
        let sandbox = sandbox.try_clone()?;
        let output = Self { name, from, to, written_bytes, is_open: true, rotation, sandbox, owner };
        Ok((output, File::from(end)))
    }

    /// What to wait for; nothing when the container's end is closed for good.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.is_open.then(|| self.from.as_fd())
    }

    /// Appends what there is, at most one piece, so that a flood keeps nothing else waiting. True when there was something.
    pub(super) fn take(&mut self) -> bool {
        let mut piece = vec![0; READ_BYTES];
        match nix::unistd::read(&self.from, &mut piece) {
            Ok(0) => self.is_open = false,
            Ok(length) => {
                self.append(&piece[..length]);
                return true;
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.is_open = false,
        }
        false
    }

    /// Appends all that is left, when nobody writes any more.
    pub(super) fn drain(&mut self) {
        while self.is_open && self.take() {}
    }

    fn append(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if self.written_bytes >= self.rotation.bytes_max && self.turn_over().is_err() {
                return;
            }
            let room = usize::try_from(self.rotation.bytes_max - self.written_bytes).unwrap_or(usize::MAX);
            let (now, later) = piece.split_at(room.min(piece.len()));
            // A full disk: what is written now is lost, and the container goes on.
            if self.to.write_all(now).is_err() {
                return;
            }
            self.written_bytes += now.len() as u64;
            piece = later;
        }
    }

    fn turn_over(&mut self) -> Result<(), sandbox::Error> {
        let named = |number: u32| if number == 0 { self.name.to_owned() } else { format!("{}.{number}", self.name) };
        let oldest = named(self.rotation.files_max);
        // Names only: what lies there, a link perhaps, is moved or removed and never opened.
        let _ = unlinkat(&self.sandbox, oldest.as_str(), UnlinkatFlags::NoRemoveDir);
        for number in (0..self.rotation.files_max).rev() {
            let _ = renameat(&self.sandbox, named(number).as_str(), &self.sandbox, named(number + 1).as_str());
        }
        self.to = sandbox::open_output(&self.sandbox, self.name, self.owner)?;
        self.written_bytes = self.to.metadata().map_or(0, |data| data.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn output(bytes_max: u64, files_max: u32) -> (tempfile::TempDir, Output, File) {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = OwnedFd::from(File::open(folder.path()).unwrap());
        let to = sandbox::open_output(&sandbox, "stdout", None).unwrap();
        let (output, end) = Output::new("stdout", to, Rotation { bytes_max, files_max }, &sandbox, None).unwrap();
        (folder, output, end)
    }

    #[test]
    fn files_turn_over_at_their_size_and_the_oldest_goes() {
        let (folder, mut output, mut end) = output(10, 2);
        end.write_all(b"0123456789abcdefghijklmnopqrstuvwxyzABCDE").unwrap();
        drop(end);
        output.drain();
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        assert_eq!((text("stdout").as_str(), text("stdout.1").as_str()), ("E", "uvwxyzABCD"));
        assert_eq!((text("stdout.2").as_str(), folder.path().join("stdout.3").exists()), ("klmnopqrst", false));
        assert!(output.descriptor().is_none());
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let (folder, mut output, mut end) = output(4, 0);
        let outside = tempfile::NamedTempFile::new().unwrap();
        end.write_all(b"1234").unwrap();
        output.take();
        fs::remove_file(folder.path().join("stdout")).unwrap();
        // What is older than the oldest goes: with none kept, the link does, and a fresh file is made.
        symlink(outside.path(), folder.path().join("stdout")).unwrap();
        end.write_all(b"5678").unwrap();
        drop(end);
        output.drain();
        assert_eq!(fs::read(outside.path()).unwrap(), b"");
        assert_eq!(fs::read_to_string(folder.path().join("stdout")).unwrap(), "5678");
    }
}

//! What a container writes, kept small: the launcher reads its outputs from pipes and appends them to `stdout` and `stderr`,
//! and turns a file over when it is full, as `logrotate` does: `stdout` becomes `stdout.1`, that `stdout.2`, and the oldest
//! goes (reference 12.5). A container that writes without end costs a bounded room (attack 53), and no link that it puts in
//! the place of a file is followed (attack 60): what can't be appended then is dropped. Whoever listens (`switchboard.rs`) hears
//! every piece; of a session nothing is written down.

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

impl Rotation {
    /// Files that grow as they will.
    pub(super) const NONE: Self = Self { bytes_max: u64::MAX, files_max: 0 };
}

/// One output on its way from the container to its file.
pub(super) struct Output {
    kind: u8,
    from: OwnedFd,
    to: Option<Log>,
    is_open: bool,
}

/// The file of an output, and its older ones.
pub(super) struct Log {
    name: &'static str,
    file: File,
    written_bytes: u64,
    rotation: Rotation,
    sandbox: OwnedFd,
    owner: Option<(Uid, Gid)>,
}

impl Log {
    /// The file of this name, which is open already.
    pub(super) fn new(
        name: &'static str,
        file: File,
        rotation: Rotation,
        sandbox: &OwnedFd,
        owner: Option<(Uid, Gid)>,
    ) -> io::Result<Self> {
        let written_bytes = file.metadata()?.len();
        Ok(Self { name, file, written_bytes, rotation, sandbox: sandbox.try_clone()?, owner })
    }
}

impl Output {
    /// A pipe to a file, or to those who listen alone. Answers the container's end as well.
    pub(super) fn new(kind: u8, to: Option<Log>) -> io::Result<(Self, File)> {
        let (from, end) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Self::of(kind, from, to), File::from(end)))
    }

    /// What comes from a descriptor that does not block. `kind` is what those who listen are told of it.
    pub(super) fn of(kind: u8, from: OwnedFd, to: Option<Log>) -> Self {
        Self { kind, from, to, is_open: true }
    }

    /// What those who listen are told that a piece is.
    pub(super) fn kind(&self) -> u8 {
        self.kind
    }

    /// What to wait for; nothing when the container's end is closed for good.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.is_open.then(|| self.from.as_fd())
    }

    /// Appends what there is, at most one piece, so that a flood keeps nothing else waiting. Answers the piece.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        if !self.is_open {
            return None;
        }
        let mut piece = vec![0; READ_BYTES];
        match nix::unistd::read(&self.from, &mut piece) {
            Ok(0) => self.is_open = false,
            Ok(length) => {
                piece.truncate(length);
                if let Some(log) = &mut self.to {
                    log.append(&piece);
                }
                return Some(piece);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.is_open = false,
        }
        None
    }
}

impl Log {
    fn append(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if self.written_bytes >= self.rotation.bytes_max && self.turn_over().is_err() {
                return;
            }
            let room = usize::try_from(self.rotation.bytes_max - self.written_bytes).unwrap_or(usize::MAX);
            let (now, later) = piece.split_at(room.min(piece.len()));
            // A full disk: what is written now is lost, and the container goes on.
            if self.file.write_all(now).is_err() {
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
        self.file = sandbox::open_output(&self.sandbox, self.name, self.owner)?;
        self.written_bytes = self.file.metadata().map_or(0, |data| data.len());
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
        let log = Log::new("stdout", to, Rotation { bytes_max, files_max }, &sandbox, None).unwrap();
        let (output, end) = Output::new(1, Some(log)).unwrap();
        (folder, output, end)
    }

    #[test]
    fn files_turn_over_at_their_size_and_the_oldest_goes() {
        let (folder, mut output, mut end) = output(10, 2);
        end.write_all(b"0123456789abcdefghijklmnopqrstuvwxyzABCDE").unwrap();
        drop(end);
        while output.take().is_some() {}
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
        while output.take().is_some() {}
        assert_eq!(fs::read(outside.path()).unwrap(), b"");
        assert_eq!(fs::read_to_string(folder.path().join("stdout")).unwrap(), "5678");
    }
}

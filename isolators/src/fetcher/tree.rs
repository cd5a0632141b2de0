//! Writing below a directory that others may change at the same time.
//!
//! As with sandboxes (`sandbox.rs`), no path is ever opened: every step is `openat` with `O_NOFOLLOW` from the directory
//! before, and a file is always a new one. A link on the way, made by an archive or by a program that races, is an error,
//! so nothing is written, linked or changed outside.

use super::error::Error;
use super::name::{components, shown};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// What a file or directory may have of a mode that comes from outside: no rights of others to write, and neither set-id
/// nor sticky bits.
const MODE_MASK: u32 = 0o755;

/// The mode of a directory that nobody described.
const DIRECTORY_MODE: u32 = 0o755;

/// The longest target of a symbolic link in bytes (Linux `PATH_MAX`).
pub(crate) const TARGET_BYTES_MAX: usize = 4096;

/// A directory to write below.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
    /// The directory of the entry before: archives list what lies together one after the other.
    last: Option<(Vec<OsString>, OwnedFd)>,
}

impl Tree {
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self { root, last: None }
    }

    /// A new, empty file, with the directories on the way. What has its name already is replaced, unless it is a
    /// directory.
    pub(crate) fn file(&mut self, path: &[u8], mode: u32) -> Result<File, Error> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = self.put(path, |parent, name| openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR))?;
        // Set by hand: the process's umask has no say.
        let mode = Mode::from_bits_truncate((mode & MODE_MASK) | 0o600);
        fchmod(&file, mode).map_err(Error::errno(format!("set the mode of '{}'", shown(path))))?;
        Ok(file.into())
    }

    /// Opens a plain file that is there.
    pub(crate) fn open(&mut self, path: &[u8]) -> Result<File, Error> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = openat(parent, name.as_os_str(), flags, Mode::empty());
        let file = File::from(file.map_err(Error::errno(format!("open '{}'", shown(path))))?);
        match file.metadata().map_err(Error::io("look at it"))?.is_file() {
            true => Ok(file),
            false => Err(Error::NotAPlainFile(shown(path))),
        }
    }

    /// A directory, which may be there. The directory itself keeps its mode.
    pub(crate) fn directory(&mut self, path: &[u8], mode: u32) -> Result<(), Error> {
        let components = owned(path)?;
        let is_root = components.is_empty();
        let directory = self.walk(&components, path)?;
        if !is_root {
            // Who unpacks must be able to go on writing there.
            let mode = Mode::from_bits_truncate((mode & MODE_MASK) | 0o700);
            fchmod(directory, mode).map_err(Error::errno(format!("set the mode of '{}'", shown(path))))?;
        }
        Ok(())
    }

    /// A symbolic link. One that could lead out of the tree is refused: its target is relative, goes up first and then
    /// down, and not further up than the tree. Every link in a tree obeying this, no chain of them leads out either.
    pub(crate) fn symbolic_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), Error> {
        let refuse = |what| Err(Error::Entry { path: shown(path), what });
        if target.is_empty() || target.len() > TARGET_BYTES_MAX || target.contains(&0) {
            return refuse("a link with a target that can't be");
        }
        if target.starts_with(b"/") {
            return refuse("a link to an absolute path");
        }
        let (mut up, mut is_down) = (0, false);
        for component in target.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." if is_down => return refuse("a link that goes down and up again"),
                b".." => up += 1,
                _ => is_down = true,
            }
        }
        if up >= components(path)?.len() {
            return refuse("a link that leads out of the sandbox");
        }
        self.put(path, |parent, name| symlinkat(OsStr::from_bytes(target), parent, name))
    }

    /// A further name for a plain file of the tree.
    pub(crate) fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), Error> {
        let (from, from_name) = self.parent(target)?;
        let from = from.as_fd().try_clone_to_owned().map_err(Error::io("hold a directory"))?;
        let status = fstatat(&from, from_name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        let status = status.map_err(Error::errno(format!("find '{}' to link to", shown(target))))?;
        if SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFREG {
            return Err(Error::Entry { path: shown(path), what: "a hard link to something that is no plain file" });
        }
        if components(path)? == components(target)? {
            return Ok(());
        }
        // Without AT_SYMLINK_FOLLOW a link put there meanwhile is linked to itself, not through.
        self.put(path, |parent, name| linkat(&from, from_name.as_os_str(), parent, name, AtFlags::empty()))
    }

    /// Makes something new in its directory, in place of what has its name.
    fn put<T>(&mut self, path: &[u8], mut make: impl FnMut(&OwnedFd, &OsStr) -> Result<T, Errno>) -> Result<T, Error> {
        let (parent, name) = self.parent(path)?;
        let made = match make(parent, &name) {
            Err(Errno::EEXIST) => {
                unlinkat(parent, name.as_os_str(), UnlinkatFlags::NoRemoveDir).and_then(|()| make(parent, &name))
            }
            other => other,
        };
        made.map_err(Error::errno(format!("make '{}'", shown(path))))
    }

    /// The directory of a path, made where it is missing, and the name in it.
    pub(crate) fn parent(&mut self, path: &[u8]) -> Result<(&OwnedFd, OsString), Error> {
        let mut components = owned(path)?;
        let name = components.pop().ok_or(Error::Path { path: shown(path), reason: "it names no file" })?;
        Ok((self.walk(&components, path)?, name))
    }

    /// Holds no directory any more: one of them may be gone.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// The directory at the end of the components, made where it is missing.
    fn walk(&mut self, components: &[OsString], path: &[u8]) -> Result<&OwnedFd, Error> {
        if components.is_empty() {
            return Ok(&self.root);
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != components) {
            let mut here: Option<OwnedFd> = None;
            for name in components {
                let from = here.as_ref().unwrap_or(&self.root);
                let next = step(from, name);
                here = Some(next.map_err(Error::errno(format!("make the directories of '{}'", shown(path))))?);
            }
            self.last = here.map(|here| (components.to_vec(), here));
        }
        Ok(self.last.as_ref().map_or(&self.root, |(_, directory)| directory))
    }
}

fn owned(path: &[u8]) -> Result<Vec<OsString>, Error> {
    Ok(components(path)?.into_iter().map(OsStr::to_owned).collect())
}

fn step(from: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(from, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    match mkdirat(from, name, Mode::S_IRWXU) {
        Ok(()) => {
            let made = openat(from, name, flags, Mode::empty())?;
            fchmod(&made, Mode::from_bits_truncate(DIRECTORY_MODE))?;
            Ok(made)
        }
        Err(Errno::EEXIST) => openat(from, name, flags, Mode::empty()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn tree() -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("box")).unwrap();
        fs::write(directory.path().join("outside"), "whole").unwrap();
        let root = File::open(directory.path().join("box")).unwrap();
        (directory, Tree::new(root.into()))
    }

    #[test]
    fn files_are_new_and_lose_dangerous_bits() {
        let (directory, mut tree) = tree();
        tree.file(b"a/b/c", 0o6777).unwrap().write_all(b"one").unwrap();
        let path = directory.path().join("box/a/b/c");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
        tree.file(b"./a//b/c", 0o644).unwrap().write_all(b"2").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2");
        tree.directory(b"a/d/", 0o1777).unwrap();
        assert_eq!(fs::metadata(directory.path().join("box/a/d")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert!(tree.file(b"a/b", 0o644).is_err(), "a directory is not replaced");
        assert!(tree.file(b"../outside", 0o644).is_err() && tree.file(b"/etc/x", 0o644).is_err());
        assert!(tree.file(b".", 0o644).is_err());
    }

    #[test]
    fn nothing_goes_through_a_link() {
        let (directory, mut tree) = tree();
        let root = directory.path();
        symlink(root, root.join("box/up")).unwrap();
        symlink(root.join("outside"), root.join("box/file")).unwrap();
        assert!(tree.file(b"up/outside", 0o644).is_err());
        assert!(tree.directory(b"up/new", 0o755).is_err());
        assert!(tree.hard_link(b"mine", b"up/outside").is_err());
        assert!(tree.hard_link(b"mine", b"file").is_err());
        assert!(tree.open(b"file").is_err());
        // A link in the place of a file is replaced, not followed.
        tree.file(b"file", 0o644).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(root.join("outside")).unwrap(), "whole");
        assert!(!root.join("new").exists());
    }

    #[test]
    fn links_stay_inside() {
        let (directory, mut tree) = tree();
        tree.file(b"lib/a.so.1", 0o755).unwrap();
        tree.symbolic_link(b"lib/a.so", b"a.so.1").unwrap();
        tree.symbolic_link(b"bin/tool", b"../lib/./a.so").unwrap();
        tree.hard_link(b"b", b"lib/a.so.1").unwrap();
        tree.hard_link(b"b", b"./b").unwrap();
        assert!(directory.path().join("box/bin/tool").exists() && directory.path().join("box/b").exists());
        for bad in ["/etc/passwd", "../x", "a/../../x", "a/..", "", "a\0b"] {
            assert!(tree.symbolic_link(b"l", bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(tree.symbolic_link(b"d/l", b"../../x").is_err());
        assert!(tree.symbolic_link(b"d/l", b"../x").is_ok());
        assert!(tree.hard_link(b"h", b"lib").is_err(), "a directory");
    }
}

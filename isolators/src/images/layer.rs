//! One layer of an image, unpacked as overlayfs wants it: what hides something of the layers below becomes a character
//! device 0:0, and a directory that hides all below is marked (`overlayfs` in the kernel's documentation).
//!
//! A layer is hostile until proven otherwise (attacks 48 and 49): nothing of it is made outside its directory, whatever
//! its names, links and whiteouts say. Paths with `..` and through links are refused, absolute ones begin at the layer's root, hard
//! links lead to files of the same layer, nodes of devices are left out below `dev` and refused elsewhere, and of the
//! extended attributes only those of users and of file capabilities are kept: overlayfs would believe its own.

use crate::fetcher::archive::copy;
use crate::fetcher::archive::tape::{Entry, Kind, Tape};
use crate::fetcher::bounds::Budget;
use crate::fetcher::error::Error;
use crate::fetcher::name::{components, shown};
use crate::fetcher::tree::Tree;
use crate::syscall;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::libc::dev_t;
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, futimens, mkdirat, mknodat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, mkfifoat, symlinkat, unlinkat};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// What names of whiteouts begin with (OCI image specification, layers).
const WHITEOUT: &[u8] = b".wh.";

/// The whiteout of all that lies below a directory in lower layers.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What names of aufs's own files begin with; they mean nothing to anybody else.
const AUFS: &[u8] = b".wh..wh.";

/// The mark of overlayfs for a directory that hides all below.
const OPAQUE_ATTRIBUTE: &std::ffi::CStr = c"trusted.overlay.opaque";

/// The longest target of a symbolic link in bytes (Linux `PATH_MAX`).
const TARGET_BYTES_MAX: usize = 4096;

/// The device that is a whiteout.
const NO_DEVICE: dev_t = 0;

/// Unpacks a layer below a directory that is empty and nobody else's.
pub(super) fn unpack(from: impl Read, root: OwnedFd, budget: &mut Budget) -> Result<(), Error> {
    let mut tape = Tape::new(from);
    let mut layer = Layer { tree: Tree::new(root) };
    while let Some(entry) = tape.next(budget)? {
        layer.put(&entry, &mut tape, budget)?;
    }
    // To the end: what a decoder says of the whole, and the digest, come last.
    copy(&mut tape.into_rest(), &mut std::io::sink(), budget).map(drop)
}

struct Layer {
    tree: Tree,
}

/// What lies at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

impl Layer {
    fn put(&mut self, entry: &Entry, tape: &mut Tape<impl Read>, budget: &mut Budget) -> Result<(), Error> {
        let path = relative(&entry.path);
        let Some(&name) = components(path)?.last() else {
            return match entry.kind {
                Kind::Directory => Ok(()),
                _ => Err(Error::Entry { path: shown(&entry.path), what: "something in place of the whole" }),
            };
        };
        if self.tree.parent(path).is_err() {
            self.uncover(path)?;
        }
        if name.as_bytes().starts_with(WHITEOUT) {
            return self.whiteout(path, name.as_bytes());
        }
        let refuse = |what| Err(Error::Entry { path: shown(&entry.path), what });
        match &entry.kind {
            Kind::Directory => self.directory(path, entry),
            Kind::File => {
                budget.announced(entry.size)?;
                self.clear(path)?;
                let mut file = self.tree.file(path, 0o600)?;
                if copy(&mut tape.body(), &mut file, budget)? < entry.size {
                    return Err(Error::Damaged("it ends within a file".to_owned()));
                }
                own(&file, entry, path)?;
                if let Some(seconds) = entry.changed {
                    let time = TimeSpec::new(seconds, 0);
                    // A time that the file system can't hold is left out.
                    let _ = futimens(&file, &time, &time);
                }
                Ok(())
            }
            Kind::HardLink(target) => self.hard_link(path, relative(target)),
            Kind::SymbolicLink(target) => {
                if target.is_empty() || target.len() > TARGET_BYTES_MAX || target.contains(&0) {
                    return refuse("a link with a target that can't be");
                }
                self.clear(path)?;
                let (parent, name) = self.tree.parent(path)?;
                let made = symlinkat(OsStr::from_bytes(target), parent, name.as_os_str());
                made.map_err(Error::errno(format!("make '{}'", shown(path))))?;
                give(parent, &name, entry, path)
            }
            // The container's own `/dev` is made anew for each.
            Kind::Device if components(path)?.first().is_some_and(|first| *first == "dev") => Ok(()),
            Kind::Device => refuse("a device"),
            Kind::Pipe => {
                self.clear(path)?;
                let (parent, name) = self.tree.parent(path)?;
                let mode = Mode::from_bits_truncate(entry.mode & 0o777);
                let made = mkfifoat(parent, name.as_os_str(), mode);
                made.map_err(Error::errno(format!("make '{}'", shown(path))))?;
                give(parent, &name, entry, path)
            }
        }
    }

    /// A directory, which may be there: then it gets what the entry says. One that takes the place of a whiteout of this very
    /// layer hides what is below all the same.
    fn directory(&mut self, path: &[u8], entry: &Entry) -> Result<(), Error> {
        let there = self.look(path)?;
        if matches!(there, There::Whiteout | There::Other) {
            self.remove(path)?;
        }
        let (parent, name) = self.tree.parent(path)?;
        let failed = || Error::errno(format!("make '{}'", shown(path)));
        if there != There::Directory {
            mkdirat(parent, name.as_os_str(), Mode::S_IRWXU).map_err(failed())?;
        }
        let made = hold(parent, &name).map_err(failed())?;
        if there == There::Whiteout {
            hide_below(&made).map_err(Error::io(format!("mark '{}'", shown(path))))?;
        }
        own(&File::from(made), entry, path)
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), Error> {
        let refuse = |what| Err(Error::Entry { path: shown(path), what });
        let is_whiteout = components(target)?.last().is_some_and(|name| name.as_bytes().starts_with(WHITEOUT));
        if is_whiteout || self.look(target)? != There::Other {
            return refuse("a hard link to what is no file of its layer");
        }
        if components(path)? == components(target)? {
            return Ok(());
        }
        self.clear(path)?;
        let (from, from_name) = self.tree.parent(target)?;
        let from = from.as_fd().try_clone_to_owned().map_err(Error::io("hold a directory"))?;
        let (parent, name) = self.tree.parent(path)?;
        let made = linkat(&from, from_name.as_os_str(), parent, name.as_os_str(), AtFlags::empty());
        made.map_err(Error::errno(format!("link '{}'", shown(path))))
    }

    fn whiteout(&mut self, path: &[u8], name: &[u8]) -> Result<(), Error> {
        let failed = || Error::errno(format!("hide '{}'", shown(path)));
        let (parent, _) = self.tree.parent(path)?;
        if name == OPAQUE {
            return hide_below(parent).map_err(Error::io(format!("mark the directory of '{}'", shown(path))));
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::Entry { path: shown(path), what: "a whiteout of nothing that can be" });
        }
        let hidden = OsStr::from_bytes(hidden);
        // Whiteouts speak of the layers below: what this one has of that name stays.
        match look(parent, hidden).map_err(failed())? {
            There::Nothing => mknodat(parent, hidden, SFlag::S_IFCHR, Mode::empty(), NO_DEVICE).map_err(failed()),
            There::Directory => {
                let held = hold(parent, hidden).map_err(failed())?;
                hide_below(&held).map_err(Error::io(format!("mark '{}'", shown(path))))
            }
            There::Whiteout | There::Other => Ok(()),
        }
    }

    /// Makes directories of the whiteouts on the way to a path: this layer has something there after all.
    fn uncover(&mut self, path: &[u8]) -> Result<(), Error> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        for way in ends.map(|end| &path[..end]).collect::<Vec<_>>() {
            if !components(way)?.is_empty() && self.look(way)? == There::Whiteout {
                self.remove(way)?;
                self.tree.directory(way, 0o755)?;
                let (parent, name) = self.tree.parent(way)?;
                let made = hold(parent, &name).map_err(Error::errno(format!("make '{}'", shown(way))))?;
                hide_below(&made).map_err(Error::io(format!("mark '{}'", shown(way))))?;
            }
        }
        Ok(())
    }

    fn look(&mut self, path: &[u8]) -> Result<There, Error> {
        let (parent, name) = self.tree.parent(path)?;
        look(parent, &name).map_err(Error::errno(format!("look at '{}'", shown(path))))
    }

    /// Makes room for something that is no directory.
    fn clear(&mut self, path: &[u8]) -> Result<(), Error> {
        match self.look(path)? {
            There::Nothing => Ok(()),
            _ => self.remove(path),
        }
    }

    fn remove(&mut self, path: &[u8]) -> Result<(), Error> {
        let failed = || Error::errno(format!("replace '{}'", shown(path)));
        let (parent, name) = self.tree.parent(path)?;
        match unlinkat(parent, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => {
                let place = std::path::Path::new(&format!("/proc/self/fd/{}", parent.as_raw_fd())).join(&name);
                std::fs::remove_dir_all(place).map_err(Error::io(format!("replace '{}'", shown(path))))?;
                // What was held open below it is gone.
                self.tree.forget();
                Ok(())
            }
            done => done.map_err(failed()),
        }
    }
}

/// The path below the layer's root of one that may be meant as absolute.
fn relative(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
    &path[slashes..]
}

fn look(parent: &OwnedFd, name: &OsStr) -> Result<There, Errno> {
    let status = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(There::Nothing),
        other => other?,
    };
    Ok(match SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => There::Directory,
        SFlag::S_IFCHR if status.st_rdev == NO_DEVICE => There::Whiteout,
        _ => There::Other,
    })
}

fn hold(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(parent, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

fn hide_below(directory: &OwnedFd) -> std::io::Result<()> {
    syscall::set_attribute(directory.as_fd(), OPAQUE_ATTRIBUTE, b"y")
}

fn ids(entry: &Entry, path: &[u8]) -> Result<(Uid, Gid), Error> {
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    match (id(entry.user), id(entry.group)) {
        (Some(user), Some(group)) => Ok((user.into(), group.into())),
        _ => Err(Error::Entry { path: shown(path), what: "something of an owner that can't be" }),
    }
}

/// Gives a file or directory its owner, mode and attributes, in this order: a new owner takes set-id bits and
/// capabilities away.
fn own(file: &File, entry: &Entry, path: &[u8]) -> Result<(), Error> {
    let failed = |errno| Error::errno(format!("give '{}' to its owner", shown(path)))(errno);
    let (user, group) = ids(entry, path)?;
    fchown(file, Some(user), Some(group)).map_err(failed)?;
    fchmod(file, Mode::from_bits_truncate(entry.mode)).map_err(failed)?;
    for (name, value) in &entry.attributes {
        if name != b"security.capability" && !name.starts_with(b"user.") {
            continue;
        }
        let name = CString::new(name.as_slice()).map_err(|_| Error::Damaged("an attribute with a NUL".to_owned()))?;
        let set = syscall::set_attribute(file.as_fd(), &name, value);
        set.map_err(Error::io(format!("set an attribute of '{}'", shown(path))))?;
    }
    Ok(())
}

/// Gives something that can't be opened its owner.
fn give(parent: &OwnedFd, name: &OsString, entry: &Entry, path: &[u8]) -> Result<(), Error> {
    let (user, group) = ids(entry, path)?;
    let given = fchownat(parent, name.as_os_str(), Some(user), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW);
    given.map_err(Error::errno(format!("give '{}' to its owner", shown(path))))
}

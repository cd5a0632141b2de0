//! Persistent volumes: directories that outlive the tasks that use them, linked into sandboxes.
//!
//! A volume of the work directory lies at `volumes/roles/ROLE/ID` (reference 9); those of other disks at absolute paths
//! below what the operator named in the agent's resources. A sandbox gets a symbolic link, as Mesos's isolator
//! `filesystem/posix` makes; where `filesystem/linux` gives a container a view of its own, they are mounted there instead. The way to a link is walked like every path in a sandbox: one step at a time, following
//! nothing that its user may have put there.

use crate::{sandbox, way};
use kaon_kernel::container::{VolumeLink, VolumeLinks};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, symlinkat};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Mode of a volume and of the directories on the way to it.
const MODE: u32 = 0o755;

/// Why volumes can't be made, removed or linked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path is not one of a volume.
    #[error("volume path '{0}' is refused: it leads out of the work directory")]
    Path(String),
    /// A sandbox, or a way in it, can't be used.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// There is something else at the place of a link.
    #[error("'{0}' exists already in the sandbox and is not the link to the volume")]
    Taken(String),
    /// The system refused.
    #[error("can't {action} '{path}': {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// The answer.
        source: io::Error,
    },
}

fn failed<E: Into<io::Error>>(action: &'static str, path: impl Into<String>) -> impl FnOnce(E) -> Error {
    let path = path.into();
    move |source| Error::Io { action, path, source: source.into() }
}

/// Where a volume lies on the machine.
fn place(work_directory: &Path, source: &str) -> Result<PathBuf, Error> {
    let is_odd = |part: &str| part == ".." || part.contains('\0');
    match source.is_empty() || source.split('/').any(is_odd) {
        true => Err(Error::Path(source.to_owned())),
        false => Ok(work_directory.join(source)),
    }
}

/// Makes the directory of a volume with the way to it; nothing happens when it is there.
pub fn make(work_directory: &Path, source: &str) -> Result<PathBuf, Error> {
    let path = place(work_directory, source)?;
    way::make(&path, MODE).map_err(failed("make volume", source))?;
    Ok(path)
}

/// Removes a volume with all that is in it; nothing happens when it is gone. Links in it are removed, not followed.
pub fn remove(work_directory: &Path, source: &str) -> Result<(), Error> {
    match fs::remove_dir_all(place(work_directory, source)?) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("remove volume", source)),
    }
}

/// Removes all that is in a volume, but not the directory, on which a file system may be mounted.
pub fn empty(work_directory: &Path, source: &str) -> Result<(), Error> {
    let entries = match fs::read_dir(place(work_directory, source)?) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("read volume", source))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed("read volume", source))?;
        // Each file system has its own, and it is not the volume's.
        if entry.file_name() == "lost+found" {
            continue;
        }
        let kind = entry.file_type().map_err(failed("look at what is in volume", source))?;
        let removed = if kind.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
        removed.map_err(failed("empty volume", source))?;
    }
    Ok(())
}

/// Links volumes into a sandbox that exists, made and given as [`give_all`] does.
pub fn link(work_directory: &Path, wanted: &VolumeLinks) -> Result<(), Error> {
    wanted.links.iter().try_for_each(|one| {
        let (home, path) = make_for(work_directory, &wanted.sandbox, one)?;
        link_one(home, &path, &one.container_path)
    })
}

/// Makes the volumes of a sandbox that are not there, and gives them to the sandbox's owner when we may; a shared one only as
/// long as it is nobody else's.
pub fn give_all(work_directory: &Path, wanted: &VolumeLinks) -> Result<(), Error> {
    wanted.links.iter().try_for_each(|one| make_for(work_directory, &wanted.sandbox, one).map(drop))
}

/// Makes one; returns the sandbox and where the volume lies.
fn make_for(work_directory: &Path, sandbox: &str, one: &VolumeLink) -> Result<(OwnedFd, PathBuf), Error> {
    let home = sandbox::open(work_directory, sandbox)?;
    let status = fstat(&home).map_err(failed("look at sandbox", sandbox))?;
    let path = make(work_directory, &one.source)?;
    give(&path, one, (status.st_uid.into(), status.st_gid.into()))?;
    Ok((home, path))
}

fn give(path: &Path, volume: &VolumeLink, owner: (Uid, Gid)) -> Result<(), Error> {
    let status = fs::metadata(path).map_err(failed("look at volume", volume.source.as_str()))?;
    let own = nix::unistd::geteuid();
    let is_free = !volume.shared || status.uid() == own.as_raw();
    if !own.is_root() || !is_free || (status.uid(), status.gid()) == (owner.0.as_raw(), owner.1.as_raw()) {
        return Ok(());
    }
    let (user, group) = owner;
    nix::unistd::chown(path, Some(user), Some(group)).map_err(failed("give away volume", volume.source.as_str()))
}

fn link_one(home: OwnedFd, target: &Path, container_path: &str) -> Result<(), Error> {
    let mut parts = sandbox::components(container_path)?;
    let name = parts.pop().unwrap_or_default();
    let mut here = home;
    for part in parts {
        let mode = Mode::from_bits_truncate(MODE);
        let is_made = match mkdirat(&here, part, mode) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(failed("make the way to volume", container_path)(errno)),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        here = openat(&here, part, flags, Mode::empty()).map_err(failed("walk to volume", container_path))?;
        if is_made {
            // The umask has no say: the sandbox's user has to pass.
            fchmod(&here, mode).map_err(failed("make the way to volume", container_path))?;
        }
    }
    match symlinkat(target, &here, name) {
        Ok(()) => Ok(()),
        Err(Errno::EEXIST) => match readlinkat(&here, name) {
            Ok(found) if found == target.as_os_str() => Ok(()),
            _ => Err(Error::Taken(container_path.to_owned())),
        },
        Err(errno) => Err(failed("link volume", container_path)(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn links(container_path: &str) -> VolumeLinks {
        let source = "volumes/roles/web a/v".to_owned();
        let link = VolumeLink { source, container_path: container_path.to_owned(), writable: true, shared: false };
        VolumeLinks { sandbox: "s".to_owned(), links: vec![link] }
    }

    #[test]
    fn a_volume_outlives_the_sandboxes_that_it_is_linked_into() {
        let work = tempfile::tempdir().unwrap();
        drop(sandbox::create(work.path(), "s", None).unwrap());
        link(work.path(), &links("a/data")).unwrap();
        // Asked for again it is as it was.
        link(work.path(), &links("a/data")).unwrap();
        fs::write(work.path().join("s/a/data/file"), "kept").unwrap();
        fs::remove_dir_all(work.path().join("s")).unwrap();
        assert_eq!(fs::read_to_string(work.path().join("volumes/roles/web a/v/file")).unwrap(), "kept");
        empty(work.path(), "volumes/roles/web a/v").unwrap();
        assert_eq!(fs::read_dir(work.path().join("volumes/roles/web a/v")).unwrap().count(), 0);
        remove(work.path(), "volumes/roles/web a/v").unwrap();
        remove(work.path(), "volumes/roles/web a/v").unwrap();
        empty(work.path(), "volumes/roles/web a/v").unwrap();
        assert!(!work.path().join("volumes/roles/web a/v").exists());
    }

    #[test]
    fn nothing_leads_out_of_the_sandbox() {
        let work = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        drop(sandbox::create(work.path(), "s", None).unwrap());
        symlink(outside.path(), work.path().join("s/way")).unwrap();
        fs::write(work.path().join("s/taken"), "mine").unwrap();
        for path in ["/etc/x", "../x", "a/../../x", "", "way/x", "taken", "way", "taken/x"] {
            assert!(link(work.path(), &links(path)).is_err(), "{path:?}");
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "something was made outside");
        for source in ["", "../v", "volumes/../../v"] {
            assert!(matches!(make(work.path(), source), Err(Error::Path(_))), "{source:?}");
            assert!(matches!(remove(work.path(), source), Err(Error::Path(_))), "{source:?}");
        }
    }

    #[test]
    fn what_a_volume_links_to_is_not_removed_with_it() {
        let work = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "kept").unwrap();
        for clear in [remove, empty] {
            let volume = make(work.path(), "v").unwrap();
            symlink(outside.path(), volume.join("link")).unwrap();
            clear(work.path(), "v").unwrap();
            assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "kept");
        }
    }
}

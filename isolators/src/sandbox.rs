//! Sandboxes: directories below the work directory, made and opened one step at a time without following a link.
//!
//! A sandbox belongs to its task's user, who may put anything in it at any moment: links, pipes, hard links to other
//! people's files. So nothing here opens a path; every step is `openat` with `O_NOFOLLOW` from the directory before, and a
//! file is looked at after it is open, not before (attacks 46 and 60). The work directory itself is the operator's and
//! may be reached through links. Layout and modes: reference 9.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::libc;
use nix::sys::stat::{Mode, fchmod, fstat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The most components of a sandbox path: eight for an executor in Mesos's layout, two more for each level of nesting.
pub const COMPONENTS_MAX: usize = 64;

/// The longest component in bytes (Linux `NAME_MAX`).
pub const COMPONENT_BYTES_MAX: usize = 255;

/// The directories on the way to the sandbox of an executor, each with one of a name below it: the agent's, the framework's,
/// the executor's, the container's (reference 9).
pub(crate) const LAYOUT: [&str; 4] = ["slaves", "frameworks", "executors", "runs"];

/// Where the sandboxes of containers within another lie in that one's.
pub(crate) const WITHIN: &str = "containers";

/// Where the built-in executor of groups keeps what is its own, in its sandbox.
pub const EXECUTOR: &str = ".executor";

/// What of a sandbox is not shared with the containers within it.
pub(crate) const KEPT: [&str; 2] = [WITHIN, EXECUTOR];

/// How often the way to a sandbox is walked anew when a directory on it, left empty, is swept away meanwhile.
const WALKS_MAX: usize = 3;

/// Mode of a sandbox (reference 9).
const SANDBOX_MODE: Mode = Mode::from_bits_truncate(0o750);

/// Mode of the directories on the way to it: the task's user must be able to pass.
const WAY_MODE: Mode = Mode::from_bits_truncate(WAY_MODE_BITS);

/// The same, as a number.
pub(crate) const WAY_MODE_BITS: u32 = 0o755;

/// Mode of `stdout` and `stderr`.
const OUTPUT_MODE: Mode = Mode::from_bits_truncate(0o644);

/// Why a sandbox, or a file in it, can't be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path is not one of a sandbox.
    #[error("sandbox path '{path}' is refused: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is something of this name already.
    #[error("sandbox '{0}' exists already")]
    Exists(String),
    /// A step on the way is no directory, or a link.
    #[error("'{step}' on the way to sandbox '{path}' is a link or not a directory")]
    NotADirectory {
        /// The whole path.
        path: String,
        /// The step.
        step: String,
    },
    /// A file for output is not a plain file with one name.
    #[error("'{0}' in the sandbox is a link or not a plain file")]
    NotAPlainFile(String),
    /// The system refused.
    #[error("can't {action} '{path}': {errno}")]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// The answer.
        errno: Errno,
    },
}

/// The components of a sandbox path, checked: relative, without `.`, `..`, empty components and NUL.
pub fn components(path: &str) -> Result<Vec<&str>, Error> {
    let refuse = |reason| Err(Error::Path { path: path.to_owned(), reason });
    if path.is_empty() {
        return refuse("it is empty");
    }
    if path.starts_with('/') {
        return refuse("it is absolute");
    }
    let components: Vec<&str> = path.split('/').collect();
    if components.len() > COMPONENTS_MAX {
        return refuse("it is too deep");
    }
    for component in &components {
        match *component {
            "" => return refuse("it has an empty component"),
            "." | ".." => return refuse("it has a component '.' or '..'"),
            long if long.len() > COMPONENT_BYTES_MAX => return refuse("it has a component longer than 255 bytes"),
            text if text.contains('\0') => return refuse("it holds a NUL"),
            _ => {}
        }
    }
    Ok(components)
}

/// The sandbox around the one of a container that is within another.
pub(crate) fn around(path: &str) -> Option<&str> {
    let (rest, _) = path.rsplit_once('/')?;
    let outer = rest.strip_suffix(WITHIN)?.strip_suffix('/')?;
    (!outer.is_empty()).then_some(outer)
}

/// Makes a sandbox that must not be there yet, with all directories on the way that are missing, owned by `owner` when
/// given (needs root). A constant number of system calls for each component.
pub fn create(work_directory: &Path, path: &str, owner: Option<(Uid, Gid)>) -> Result<OwnedFd, Error> {
    for _ in 1..WALKS_MAX {
        match walk(work_directory, path, owner) {
            Err(Error::System { errno: Errno::ENOENT, .. }) => {}
            walked => return walked,
        }
    }
    walk(work_directory, path, owner)
}

fn walk(work_directory: &Path, path: &str, owner: Option<(Uid, Gid)>) -> Result<OwnedFd, Error> {
    let components = components(path)?;
    let mut here = open_work_directory(work_directory)?;
    let last = components.len() - 1;
    for (position, name) in components.into_iter().enumerate() {
        let made = match mkdirat(&here, name, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) if position < last => false,
            Err(Errno::EEXIST) => return Err(Error::Exists(path.to_owned())),
            Err(errno) => return Err(Error::System { action: "make directory", path: path.to_owned(), errno }),
        };
        here = step(here, name, path)?;
        if made {
            // The mode is set by hand: the process's umask is not ours to change, and owner comes before mode so that
            // nobody else's process can get in between.
            let failed = |action| move |errno| Error::System { action, path: path.to_owned(), errno };
            if let (Some((user, group)), true) = (owner, position == last) {
                fchown(&here, Some(user), Some(group)).map_err(failed("give to its user"))?;
            }
            let mode = if position == last { SANDBOX_MODE } else { WAY_MODE };
            fchmod(&here, mode).map_err(failed("set the mode of"))?;
        }
    }
    Ok(here)
}

/// Opens a sandbox that exists, following no link below the work directory.
pub fn open(work_directory: &Path, path: &str) -> Result<OwnedFd, Error> {
    let components = components(path)?;
    let work = open_work_directory(work_directory)?;
    // In one call where the kernel has it (Linux 5.6) and finds nothing odd; step by step else, to say where it is odd.
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat2(&work, path, OpenHow::new().flags(flags).resolve(resolve)) {
        Ok(opened) => Ok(opened),
        Err(_) => components.into_iter().try_fold(work, |here, name| step(here, name, path)),
    }
}

/// Notes that a sandbox was in use until now: as the time of its last change.
pub(crate) fn touch(work_directory: &Path, path: &str) -> Result<(), Error> {
    let opened = open(work_directory, path)?;
    let failed = |errno| Error::System { action: "set the time of", path: path.to_owned(), errno };
    futimens(&opened, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW).map_err(failed)
}

/// Reaches a place in a sandbox step by step, following no link. What is missing on the way, the last too when `makes` says
/// so, is made and given to `owner`: directories, and in the end an empty file when it is to be one.
pub(crate) fn reach(
    sandbox: OwnedFd,
    path: &str,
    is_file: bool,
    makes: bool,
    owner: Option<(Uid, Gid)>,
) -> Result<OwnedFd, Error> {
    let components = components(path)?;
    let last = components.len() - 1;
    let failed = |action| move |errno| Error::System { action, path: path.to_owned(), errno };
    let mut here = sandbox;
    for (position, name) in components.into_iter().enumerate() {
        let made = match (makes, is_file && position == last) {
            (false, _) => Err(Errno::EEXIST),
            (true, true) => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                openat(&here, name, flags, OUTPUT_MODE).map(drop)
            }
            (true, false) => mkdirat(&here, name, WAY_MODE),
        };
        if let Err(errno) = made
            && errno != Errno::EEXIST
        {
            return Err(failed("make")(errno));
        }
        // A name only, so that a device or a pipe that lies there is not touched by looking.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let next = openat(&here, name, flags, Mode::empty()).map_err(failed("open"))?;
        let kind = fstat(&next).map_err(failed("look at"))?.st_mode & libc::S_IFMT;
        if kind == libc::S_IFLNK || (position < last && kind != libc::S_IFDIR) {
            return Err(Error::NotADirectory { path: path.to_owned(), step: name.to_owned() });
        }
        if let (Ok(()), Some((user, group))) = (made, owner) {
            let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
            nix::unistd::fchownat(&here, name, Some(user), Some(group), flags).map_err(failed("give to its user"))?;
        }
        here = next;
    }
    Ok(here)
}

fn open_work_directory(path: &Path) -> Result<OwnedFd, Error> {
    // A name only: who runs a task may pass through it, and need not be able to list it.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let failed = |errno| Error::System { action: "open work directory", path: path.display().to_string(), errno };
    nix::fcntl::open(path, flags, Mode::empty()).map_err(failed)
}

fn step(here: OwnedFd, name: &str, path: &str) -> Result<OwnedFd, Error> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(&here, name, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::ELOOP | Errno::ENOTDIR => Error::NotADirectory { path: path.to_owned(), step: name.to_owned() },
        errno => Error::System { action: "open directory", path: path.to_owned(), errno },
    })
}

/// Opens a file for appending output in a sandbox, making it (and giving it to `owner`) when it is missing. A link, a
/// pipe, a device, or a file with a second name elsewhere is refused.
pub fn open_output(sandbox: &OwnedFd, name: &str, owner: Option<(Uid, Gid)>) -> Result<File, Error> {
    // Not blocking: the open of a pipe without a reader would never return.
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let failed = |action, errno| Error::System { action, path: name.to_owned(), errno };
    let opened = match openat(sandbox, name, flags | OFlag::O_CREAT | OFlag::O_EXCL, OUTPUT_MODE) {
        Ok(made) => {
            if let Some((user, group)) = owner {
                fchown(&made, Some(user), Some(group)).map_err(|errno| failed("give to its user", errno))?;
            }
            made
        }
        Err(Errno::EEXIST) => openat(sandbox, name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::ELOOP | Errno::ENXIO | Errno::EISDIR => Error::NotAPlainFile(name.to_owned()),
            errno => failed("open for output", errno),
        })?,
        Err(errno) => return Err(failed("make for output", errno)),
    };
    let status = fstat(&opened).map_err(|errno| failed("look at", errno))?;
    if status.st_mode & libc::S_IFMT != libc::S_IFREG || status.st_nlink != 1 {
        return Err(Error::NotAPlainFile(name.to_owned()));
    }
    let flags = nix::fcntl::FcntlArg::F_SETFL(OFlag::O_APPEND);
    nix::fcntl::fcntl(&opened, flags).map_err(|errno| failed("set up", errno))?;
    Ok(File::from(opened))
}

#[cfg(test)]
mod tests;

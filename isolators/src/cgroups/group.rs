//! One control group: a directory whose files are the kernel's knobs and counters.

use super::hierarchy::Version;
use crate::orphans;
use crate::process::kernel_text;
use crate::syscall;
use nix::libc;
use nix::poll::PollTimeout;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long to go on when the processes of a group do not die: they hang in the kernel.
const DESTROY_DEADLINE: Duration = Duration::from_secs(10);

/// The pause between two tries to remove a group that has just become empty: the kernel lets go of it a moment later.
const REMOVE_PAUSE: Duration = Duration::from_millis(1);

/// How long to wait for one of the killed before looking again, in milliseconds.
const DEATH_MILLIS: u16 = 100;

/// The deepest nesting of groups that a container makes below its own and that is removed with it. The kernel's own
/// default has no bound in version 1.
const DEPTH_MAX: usize = 64;

/// A group. A name only: nothing is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// By which interface.
    pub version: Version,
    path: PathBuf,
}

impl Group {
    /// The group of this directory.
    pub fn at(version: Version, path: PathBuf) -> Self {
        Self { version, path }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a knob or counter.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the group; one that is there already is taken.
    pub fn create(&self) -> io::Result<()> {
        match fs::create_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(|error| self.explain("make", "", &error)),
        }
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Whether it has a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    /// Writes a knob, in one write as the kernel wants it.
    pub fn write(&self, name: &str, value: impl std::fmt::Display) -> io::Result<()> {
        self.write_each(name, [value])
    }

    /// Writes several values to a knob that takes one after the other.
    pub fn write_each(&self, name: &str, values: impl IntoIterator<Item = impl std::fmt::Display>) -> io::Result<()> {
        let opened = File::options().write(true).open(self.file(name));
        let mut file = opened.map_err(|error| self.explain("open", name, &error))?;
        values.into_iter().try_for_each(|value| {
            let text = value.to_string();
            let written = file.write_all(text.as_bytes());
            written.map_err(|error| self.explain(&format!("write '{text}' to"), name, &error))
        })
    }

    /// Reads a file whole.
    pub fn read(&self, name: &str) -> io::Result<String> {
        kernel_text(self.file(name)).map_err(|error| self.explain("read", name, &error))
    }

    /// A counter of one number; `max` and what is beyond counting are `u64::MAX`.
    pub fn number(&self, name: &str) -> Option<u64> {
        let text = kernel_text(self.file(name)).ok()?;
        match text.trim() {
            "max" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    /// A counter of a file that has a name and a number on each line.
    pub fn keyed(&self, name: &str, key: &str) -> Option<u64> {
        keyed(&kernel_text(self.file(name)).ok()?, key)
    }

    /// The processes in it, without those of groups below.
    pub fn processes(&self) -> Vec<i32> {
        let list = fs::read_to_string(self.file("cgroup.procs")).unwrap_or_default();
        list.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Kills all that is in it, groups below included, and removes them. Nothing to do when it is gone. Blocks, at most
    /// ten seconds.
    ///
    /// # Errors
    /// When something would not die.
    pub fn destroy(&self) -> io::Result<()> {
        let deadline = Instant::now() + DESTROY_DEADLINE;
        loop {
            match remove(&self.path, DEPTH_MAX) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(self.explain("remove", "", &error)),
                Err(_) => {}
            }
            if self.version == Version::V2 && self.has("cgroup.kill") {
                // One step of the kernel's, that no fork escapes.
                let _ = self.write("cgroup.kill", 1);
            }
            match kill_below(&self.path, DEPTH_MAX) {
                true => {}
                false => std::thread::sleep(REMOVE_PAUSE),
            }
        }
    }

    fn explain(&self, action: &str, name: &str, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("can't {action} '{}': {error}", self.file(name).display()))
    }
}

/// The number after `key` in a text that has a name and a number on each line.
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Removes a group and those below it, deepest first.
fn remove(path: &Path, depth: usize) -> io::Result<()> {
    match fs::remove_dir(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if depth == 0 => return Err(error),
        Err(_) => {}
    }
    for below in groups_below(path) {
        remove(&below, depth - 1)?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The groups directly below a directory of a hierarchy.
pub(crate) fn groups_below(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

/// Kills every process of a group and of those below, and waits a moment for one of them. False when there was none.
fn kill_below(path: &Path, depth: usize) -> bool {
    let mut found = false;
    if depth > 0 {
        for below in groups_below(path) {
            found |= kill_below(&below, depth - 1);
        }
    }
    if path.join("freezer.state").exists() {
        // A frozen process does not die before it is thawed.
        let _ = fs::write(path.join("freezer.state"), "THAWED");
    }
    let list = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let me = std::process::id().cast_signed();
    let mut last = None;
    for pid in list.lines().filter_map(|pid| pid.parse::<i32>().ok()).filter(|&pid| pid > 1 && pid != me) {
        // The number was read from the group just now; the descriptor stands for whoever has it, and only if that one is
        // still in the group, it is killed.
        if let Ok(pidfd) = syscall::pidfd_open(pid)
            && fs::read_to_string(path.join("cgroup.procs"))
                .is_ok_and(|now| now.lines().any(|line| line == pid.to_string()))
        {
            let _ = syscall::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
            last = Some(pidfd);
        }
        found = true;
    }
    if let Some(pidfd) = last {
        orphans::has_ended(&pidfd, PollTimeout::from(DEATH_MILLIS));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let group = Group::at(Version::V2, folder.path().to_owned());
        fs::write(group.file("memory.max"), "max\n").unwrap();
        fs::write(group.file("memory.current"), "4096\n").unwrap();
        fs::write(group.file("memory.events"), "low 0\noom 2\noom_kill 1\noom_group_kill 0\n").unwrap();
        assert_eq!((group.number("memory.max"), group.number("memory.current")), (Some(u64::MAX), Some(4096)));
        assert_eq!((group.keyed("memory.events", "oom_kill"), group.keyed("memory.events", "oom")), (Some(1), Some(2)));
        assert_eq!((group.number("no.such"), group.keyed("memory.events", "oo")), (None, None));
        let error = group.write("no.such", 7).unwrap_err();
        assert!(error.to_string().contains("can't open"), "{error}");
    }
}

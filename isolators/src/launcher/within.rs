//! A container within another: it takes part in that one's views of the machine (`setns(2)`), its processes, mounts, names,
//! networks, as far as it is told to. What is entered is a process that was looked at: one that has taken its number meanwhile
//! is refused.

use super::description::Within;
use super::program::step;
use crate::syscall;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use std::fs;
use std::os::fd::OwnedFd;

/// The views that can be shared, with the names of their links below `/proc/PID/ns`.
pub(crate) const VIEWS: [(i32, &str); 7] = [
    (libc::CLONE_NEWUSER, "user"),
    (libc::CLONE_NEWNS, "mnt"),
    (libc::CLONE_NEWPID, "pid"),
    (libc::CLONE_NEWIPC, "ipc"),
    (libc::CLONE_NEWUTS, "uts"),
    (libc::CLONE_NEWNET, "net"),
    (libc::CLONE_NEWCGROUP, "cgroup"),
];

/// A container around the new one, held so that it stays what it was.
pub(super) struct Surrounding {
    pidfd: OwnedFd,
    root: Option<OwnedFd>,
    /// Of the views that are to be shared those that differ from ours.
    namespaces: i32,
    directory: Option<String>,
}

impl Surrounding {
    /// Takes hold of it. Of the views that are shared those of process numbers are entered here, since they hold for what is
    /// forked from now on; everything else is entered by the program itself.
    pub(super) fn hold(within: &Within) -> Result<Self, String> {
        let pid = within.of.pid;
        let failed = |error: std::io::Error| step("reach the container around it", error);
        let pidfd = syscall::pidfd_open(pid).map_err(failed)?;
        let other = |(flag, name): &(i32, &str)| {
            let [theirs, mine] = [format!("/proc/{pid}/ns/{name}"), format!("/proc/self/ns/{name}")].map(fs::read_link);
            let differs = within.namespaces & flag != 0 && theirs? != mine?;
            Ok(if differs { *flag } else { 0 })
        };
        let namespaces = VIEWS.iter().map(other).try_fold(0, |all, one: std::io::Result<i32>| Ok(all | one?));
        let namespaces = namespaces.map_err(failed)?;
        let root = match within.directory {
            Some(_) => {
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let opened = open(format!("/proc/{pid}/root").as_str(), flags, Mode::empty());
                Some(opened.map_err(|errno| failed(errno.into()))?)
            }
            None => None,
        };
        // Everything above was read by number: it was that process's if it still is now.
        if within.of.find().is_none_or(|process| !process.is_alive()) {
            return Err("the container around it has ended".to_owned());
        }
        if namespaces & libc::CLONE_NEWPID != 0 {
            setns(&pidfd, CloneFlags::CLONE_NEWPID).map_err(|errno| step("share the process numbers", errno))?;
        }
        Ok(Self { pidfd, root, namespaces, directory: within.directory.clone() })
    }

    /// Enters the views that are shared, and the root of the file system. Runs in the child.
    pub(super) fn enter(&self) -> Result<(), String> {
        let rest = CloneFlags::from_bits_truncate(self.namespaces & !libc::CLONE_NEWPID);
        if !rest.is_empty() {
            setns(&self.pidfd, rest).map_err(|errno| step("enter the container around it", errno))?;
        }
        if let Some(root) = self.root.as_ref().filter(|_| nix::unistd::geteuid().is_root()) {
            let failed = |errno| step("enter its root", errno);
            nix::unistd::fchdir(root).map_err(failed)?;
            nix::unistd::chroot(".").map_err(failed)?;
        }
        Ok(())
    }

    /// Where it works, if not in its sandbox.
    pub(super) fn directory(&self) -> Option<&str> {
        self.directory.as_deref()
    }
}

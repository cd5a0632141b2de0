//! Waiting for what the kernel tells of a group: an `eventfd` registered with the memory controller of version 1, and
//! `inotify` on the event files of version 2 (and of `pids` in version 1), which the kernel marks modified when a counter
//! in them moves (`Documentation/admin-guide/cgroup-v1/memory.rst`, `cgroup-v2.rst`).

use super::group::Group;
use crate::syscall;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Something that becomes readable when it happens.
pub(crate) struct Event {
    descriptor: OwnedFd,
    /// Held open as long as the event is wanted: closing it would take the registration back.
    _control: Option<File>,
}

impl Event {
    /// The kernel is out of memory within a group of version 1.
    pub(crate) fn out_of_memory(group: &Group) -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let control = File::open(group.file("memory.oom_control"))?;
        let line = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
        group.write("cgroup.event_control", line)?;
        Ok(Self { descriptor: event.into(), _control: Some(control) })
    }

    /// A file of a group is marked modified.
    pub(crate) fn modified(group: &Group, name: &str) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(&group.file(name), AddWatchFlags::IN_MODIFY)?;
        Ok(Self { descriptor: inotify.into(), _control: None })
    }

    /// Waits until `happened` answers something, asked once at the beginning (false) and again after each sign of the
    /// kernel's (true). Never returns when the descriptor fails.
    pub(crate) async fn until<T>(self, happened: impl Fn(bool) -> Option<T>) -> T {
        let Self { descriptor, _control } = self;
        if let Some(answer) = happened(false) {
            return answer;
        }
        let Ok(waiting) = syscall::until_readable(descriptor) else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = waiting.readable().await else { return std::future::pending().await };
            // The signs themselves say nothing; what counts is in the files.
            let mut signs = [0; 4096];
            while nix::unistd::read(waiting.get_ref(), &mut signs).is_ok_and(|length| length > 0) {}
            ready.clear_ready();
            if let Some(answer) = happened(true) {
                return answer;
            }
        }
    }
}

//! Views of the machine that a container has to itself (`namespaces(7)`). What the views hold is made by the launcher
//! (`launcher/walls.rs`); here is only who gets which.
//!
//! `namespaces/pid` and `namespaces/ipc` are Mesos's (reference 12.1): a container may share the process numbers or the
//! System V objects of what is around it. `mnt`, `uts`, `cgroup` and `user` are ours; Mesos makes them within other isolators.

use crate::isolator::{Contribution, Error, Isolator, Mount, Namespaces};
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::container_info::{IpcMode, LinuxInfo};
use kaon_kernel::id::ContainerId;

const MIB: u64 = 1024 * 1024;

/// One namespace as an isolator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// `namespaces/pid`.
    Pid {
        /// Whether a container may not share the agent's (`--disallow-sharing-agent-pid-namespace`).
        is_kept: bool,
    },
    /// `namespaces/mnt`.
    Mnt,
    /// `namespaces/ipc`.
    Ipc {
        /// The size of a container's own `/dev/shm` unless it names one, in MiB (`--default-container-shm-size`).
        shm_mib: Option<u32>,
    },
    /// `namespaces/uts`.
    Uts,
    /// `namespaces/cgroup`.
    Cgroup,
    /// `namespaces/user`: everybody is who it is outside, and has rights over files and processes of its own users alone.
    User,
}

impl Namespace {
    fn refuse(self, reason: &str) -> Error {
        Error::Refused { isolator: self.name(), reason: reason.to_owned() }
    }
}

impl Isolator for Namespace {
    fn name(&self) -> &'static str {
        match self {
            Self::Pid { .. } => "namespaces/pid",
            Self::Mnt => "namespaces/mnt",
            Self::Ipc { .. } => "namespaces/ipc",
            Self::Uts => "namespaces/uts",
            Self::Cgroup => "namespaces/cgroup",
            Self::User => "namespaces/user",
        }
    }

    fn prepare(&self, _: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let none = LinuxInfo::default();
        let asked = spec.container.as_ref().map_or(&none, |container| &container.linux);
        let mut wanted = Contribution::default();
        match *self {
            Self::Pid { is_kept } => match asked.share_pid_namespace {
                Some(true) if is_kept => return Err(self.refuse("sharing the agent's process numbers is not allowed")),
                Some(true) => {}
                Some(false) | None => {
                    // What `/proc` shows must be what the numbers mean.
                    wanted.namespaces = Namespaces { pid: true, mnt: true, ..Namespaces::default() };
                    wanted.mounts = vec![Mount::Proc];
                }
            },
            Self::Mnt => wanted.namespaces.mnt = true,
            Self::Ipc { shm_mib } => {
                if asked.ipc != Some(IpcMode::ShareParent) {
                    wanted.namespaces = Namespaces { ipc: true, mnt: true, ..Namespaces::default() };
                    let bytes = asked.shm_mib.or(shm_mib).map(|mib| u64::from(mib) * MIB);
                    wanted.mounts = vec![Mount::Memory { to: "/dev/shm".into(), bytes }, Mount::MessageQueues];
                }
            }
            Self::Uts => {
                wanted.namespaces.uts = true;
                wanted.hostname = spec.container.as_ref().and_then(|container| container.hostname.clone());
            }
            Self::Cgroup => wanted.namespaces.cgroup = true,
            // In its own view of mounts the files of the kernel are guarded.
            Self::User => wanted.namespaces = Namespaces { user: true, mnt: true, ..Namespaces::default() },
        }
        Ok(wanted)
    }
}

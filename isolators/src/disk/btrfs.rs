//! `disk/btrfs`: a sandbox is a subvolume, whose group the kernel counts and bounds (EDQUOT beyond). What an image's root is changed
//! by lies elsewhere and is not counted. The kernel settles its counters when it commits, every 30 s or when somebody syncs.

use super::{Meter, Quota};
use crate::syscall::quota;
use crate::{sandbox, way};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

/// Name of [`Btrfs`].
pub const BTRFS: &str = "disk/btrfs";

/// The meter.
#[derive(Clone, Copy, Debug)]
pub struct Btrfs {
    is_enforced: bool,
}

impl Btrfs {
    /// One for sandboxes below this directory, on a file system that counts from now on. Without `is_enforced` nothing is
    /// refused.
    ///
    /// # Errors
    /// When that is no btrfs, or counting can't be switched on.
    pub fn new(is_enforced: bool, work_directory: &Path) -> io::Result<Self> {
        way::make(work_directory, sandbox::WAY_MODE_BITS)?;
        quota::count_subvolumes(File::open(work_directory)?.as_fd()).map_err(|error| {
            let text = format!("'{}' is on no btrfs that counts: {error}", work_directory.display());
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self { is_enforced })
    }
}

impl Meter for Btrfs {
    fn name(&self) -> &'static str {
        BTRFS
    }

    fn home(&self, quota: &mut Quota, _: &[u32]) -> io::Result<()> {
        let (parent, name) = (quota.sandbox.parent(), quota.sandbox.file_name());
        let (Some(parent), Some(name)) = (parent, name) else { return Err(io::Error::other("it has no name")) };
        let before = fs::symlink_metadata(&quota.sandbox)?;
        // The agent's own directory, and nobody but the agent knows of the sandbox yet.
        fs::remove_dir(&quota.sandbox)?;
        quota::make_subvolume(File::open(parent)?.as_fd(), name)?;
        chown(&quota.sandbox, Some(before.uid()), Some(before.gid()))?;
        fs::set_permissions(&quota.sandbox, Permissions::from_mode(before.mode() & 0o7777))
    }

    fn limit(&self, quota: &Quota) -> io::Result<()> {
        quota::limit_subvolume(File::open(&quota.sandbox)?.as_fd(), quota.limit_bytes.filter(|_| self.is_enforced))
    }

    fn used(&self, quota: &Quota) -> io::Result<u64> {
        quota::subvolume_used(File::open(&quota.sandbox)?.as_fd())
    }
}

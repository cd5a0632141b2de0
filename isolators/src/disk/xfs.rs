//! `disk/xfs`: the quotas of XFS for projects. A sandbox gets the number of a project, which all that is made in it inherits, and
//! the kernel counts and refuses (ENOSPC) what is beyond. Numbers are of a range (`--xfs-project-range`); one that has ended gives
//! its back. With `--xfs-kill-containers` the kernel leaves some room more (`--xfs-quota-headroom`), and who uses it ends.

use super::{INODE_BYTES, Meter, Quota};
use crate::syscall::quota;
use crate::{sandbox, way};
use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Name of [`Xfs`].
pub const XFS: &str = "disk/xfs";

/// What an operator says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XfsSettings {
    /// The numbers of projects that are given out (`--xfs-project-range`).
    pub projects: RangeInclusive<u32>,
    /// Whether who is beyond its limit ends (`--xfs-kill-containers`), rather than writing no more.
    pub kills: bool,
    /// How far above the limit the kernel refuses where containers end, in bytes (`--xfs-quota-headroom`).
    pub headroom_bytes: u64,
}

impl Default for XfsSettings {
    /// Mesos's.
    fn default() -> Self {
        Self { projects: 5000..=10_000, kills: false, headroom_bytes: 10 << 20 }
    }
}

/// The meter.
#[derive(Clone, Debug)]
pub struct Xfs {
    projects: RangeInclusive<u32>,
    /// How far above the limit the kernel refuses, in bytes; without, it only counts.
    refuses_above_bytes: Option<u64>,
}

impl Xfs {
    /// One for sandboxes below this directory. Without `is_enforced` nothing is refused.
    ///
    /// # Errors
    /// When that is on no XFS with quotas of projects (`mount -o prjquota`).
    pub fn new(settings: &XfsSettings, is_enforced: bool, work_directory: &Path) -> io::Result<Self> {
        let projects = settings.projects.clone();
        let headroom_bytes = if settings.kills { settings.headroom_bytes } else { 0 };
        let refuses_above_bytes = (is_enforced || settings.kills).then_some(headroom_bytes);
        way::make(work_directory, sandbox::WAY_MODE_BITS)?;
        let told = quota::project_used(File::open(work_directory)?.as_fd(), *projects.start());
        told.map_err(|error| {
            let text = format!("'{}' is on no XFS that counts projects (prjquota): {error}", work_directory.display());
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self { projects, refuses_above_bytes })
    }
}

/// Gives a directory and all below to a project; zero is none. Links are not followed, other file systems not entered.
fn mark(directory: &Path, project: u32) -> io::Result<()> {
    let device = fs::symlink_metadata(directory)?.dev();
    let mut open = vec![directory.to_owned()];
    while let Some(here) = open.pop() {
        let data = fs::symlink_metadata(&here)?;
        // Of what is neither only the inode is counted, and the kernel lets nobody change whose it is.
        if data.dev() != device || !(data.is_dir() || data.is_file()) {
            continue;
        }
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let file = match File::options().read(true).custom_flags(flags).open(&here) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        quota::set_project(file.as_fd(), project, data.is_dir())?;
        if data.is_dir() {
            open.extend(fs::read_dir(&here)?.flatten().map(|entry| entry.path()));
        }
    }
    Ok(())
}

impl Meter for Xfs {
    fn name(&self) -> &'static str {
        XFS
    }

    fn home(&self, quota: &mut Quota, taken: &[u32]) -> io::Result<()> {
        let free = self.projects.clone().find(|project| !taken.contains(project));
        let project = free.ok_or_else(|| io::Error::other("all projects of the range are taken"))?;
        mark(&quota.sandbox, project)?;
        quota.mark = Some(project);
        Ok(())
    }

    fn limit(&self, quota: &Quota) -> io::Result<()> {
        let Some(project) = quota.mark else { return Ok(()) };
        if let Some(root) = &quota.root {
            mark(root, project)?;
        }
        let limit = quota.limit_bytes.zip(self.refuses_above_bytes);
        // Zero is no limit.
        let bytes = limit.map_or(0, |(limit, above)| limit.saturating_add(above).saturating_add(quota.before_bytes));
        quota::limit_project(File::open(&quota.sandbox)?.as_fd(), project, bytes, bytes / INODE_BYTES)
    }

    fn used(&self, quota: &Quota) -> io::Result<u64> {
        let Some(project) = quota.mark else { return Ok(0) };
        let used = quota::project_used(File::open(&quota.sandbox)?.as_fd(), project)?;
        Ok(used.saturating_sub(quota.before_bytes))
    }

    fn release(&self, quota: &Quota) -> io::Result<()> {
        let Some(project) = quota.mark else { return Ok(()) };
        match mark(&quota.sandbox, 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => quota::limit_project(File::open(&quota.sandbox)?.as_fd(), project, 0, 0),
        }
    }
}

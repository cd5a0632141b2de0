//! `disk/du` (also `posix/disk`): the size of a container's sandbox, measured now and then, against the disk that it took of
//! the offer (reference 12.1). Where the agent enforces it, one that is larger ends. Between two looks more can be written:
//! it is the wall for file systems without quotas.

use crate::isolator::{Contribution, Error, Isolator, Limitation, Watch};
use crate::process::Tree;
use kaon_kernel::container::{LaunchSpec, LimitKind};
use kaon_kernel::container_info::Limits;
use kaon_kernel::id::ContainerId;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Resource, ResourceName, Resources};
use kaon_kernel::statistics::Statistics;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Name of [`Du`].
pub const DU: &str = "disk/du";

const MIB: u64 = 1024 * 1024;

/// A unit of `st_blocks` (`inode(7)`).
const BLOCK_BYTES: u64 = 512;

/// The deepest directories that are counted; what is below is deeper than any path that a program can name.
const DEPTH_MAX: usize = 2048;

/// How sizes are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watching {
    /// How often each is measured.
    pub interval: Duration,
    /// Whether one that is too large ends.
    pub is_enforced: bool,
}

impl Default for Watching {
    /// Mesos's: every 15 s, without consequences.
    fn default() -> Self {
        Self { interval: Duration::from_secs(15), is_enforced: false }
    }
}

/// What is known of one container; also on disk, for the agent after this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Quota {
    sandbox: PathBuf,
    limit_bytes: Option<u64>,
}

/// The isolator.
#[derive(Debug)]
pub struct Du {
    watching: Watching,
    work_directory: PathBuf,
    /// Where quotas are written.
    records: PathBuf,
    quotas: Arc<Mutex<BTreeMap<ContainerId, Quota>>>,
}

impl Du {
    /// For the containers of an agent with these directories.
    pub fn new(watching: Watching, work_directory: &Path, runtime_directory: &Path) -> Self {
        let records = runtime_directory.join("disk");
        Self { watching, work_directory: work_directory.to_owned(), records, quotas: Arc::default() }
    }

    fn quotas(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Quota>> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quota(&self, container: &ContainerId) -> Option<Quota> {
        self.quotas().get(container).cloned()
    }

    fn put(&self, container: &ContainerId, quota: Quota) -> io::Result<()> {
        fs::create_dir_all(&self.records)?;
        let aside = self.records.join(format!(".{container}"));
        fs::write(&aside, serde_json::to_vec(&quota)?)?;
        fs::rename(aside, self.records.join(container.as_str()))?;
        self.quotas().insert(container.clone(), quota);
        Ok(())
    }
}

fn failed(action: &str, source: io::Error) -> Error {
    Error::Io { isolator: DU, action: action.to_owned(), source }
}

impl Isolator for Du {
    fn name(&self) -> &'static str {
        DU
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn recover(&self, survivors: &[crate::isolator::Survivor], _: &[ContainerId]) -> Result<(), Error> {
        for survivor in survivors {
            let read = fs::read(self.records.join(survivor.container.as_str()));
            if let Some(quota) = read.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                self.quotas().insert(survivor.container.clone(), quota);
            }
        }
        Ok(())
    }

    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let quota =
            Quota { sandbox: self.work_directory.join(&spec.sandbox), limit_bytes: limit_bytes(&spec.resources) };
        self.put(container, quota).map_err(|error| failed("write the size that it may have", error))?;
        Ok(Contribution::default())
    }

    fn watch(&self, container: &ContainerId) -> Option<Watch> {
        if !self.watching.is_enforced {
            return None;
        }
        let (quotas, container, interval) = (Arc::clone(&self.quotas), container.clone(), self.watching.interval);
        Some(Box::pin(async move {
            loop {
                tokio::time::sleep(interval).await;
                let quota = quotas.lock().unwrap_or_else(PoisonError::into_inner).get(&container).cloned();
                let Some(Quota { sandbox, limit_bytes: Some(limit) }) = quota else { continue };
                let Ok(used) = tokio::task::spawn_blocking(move || size_bytes(&sandbox)).await else { continue };
                if used > limit {
                    return limitation(used, limit);
                }
            }
        }))
    }

    fn usage(&self, container: &ContainerId, _: &Tree) -> Result<Statistics, Error> {
        let Some(quota) = self.quota(container) else { return Ok(Statistics::default()) };
        let used = size_bytes(&quota.sandbox);
        Ok(Statistics { disk_used_bytes: Some(used), disk_limit_bytes: quota.limit_bytes, ..Statistics::default() })
    }

    fn update(&self, container: &ContainerId, resources: &Resources, _: &Limits) -> Result<(), Error> {
        let Some(quota) = self.quota(container) else { return Ok(()) };
        let changed = Quota { limit_bytes: limit_bytes(resources), ..quota };
        self.put(container, changed).map_err(|error| failed("write the size that it may have", error))
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), Error> {
        self.quotas().remove(container);
        match fs::remove_file(self.records.join(container.as_str())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("forget its size", error)),
            _ => Ok(()),
        }
    }
}

/// The disk that a container took, volumes of their own left out; none when it took none.
fn limit_bytes(resources: &Resources) -> Option<u64> {
    let plain = resources.filter(|entry| !entry.is_persistent_volume());
    let mib = plain.scalar(&ResourceName::Disk);
    (!mib.is_zero()).then(|| mib.0.saturating_mul(MIB / 1024).saturating_mul(1024) / 1000)
}

fn limitation(used: u64, limit: u64) -> Limitation {
    let mib = |bytes: u64| bytes.div_ceil(MIB);
    let message = format!("Disk usage ({} MB) exceeds quota ({} MB)", mib(used), limit / MIB);
    let entry = Resource::scalar(ResourceName::Disk, Quantity::units(mib(used)));
    Limitation { kind: LimitKind::Disk, message, resources: Resources::collect([entry]).unwrap_or_default() }
}

/// The room that a directory and all below take on its file system: blocks, not lengths, so that holes count for nothing;
/// a file with several names once; what is mounted below not at all. Links are not followed. What disappears meanwhile
/// counts for nothing. Blocks: one system call for each file.
fn size_bytes(directory: &Path) -> u64 {
    let Ok(top) = fs::symlink_metadata(directory) else { return 0 };
    let (mut sum, mut seen, device) = (top.blocks(), BTreeSet::new(), top.dev());
    let mut open = vec![(directory.to_owned(), 0)];
    while let Some((here, depth)) = open.pop() {
        let Ok(entries) = fs::read_dir(&here) else { continue };
        for entry in entries.flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.dev() != device || (data.nlink() > 1 && !data.is_dir() && !seen.insert(data.ino())) {
                continue;
            }
            sum = sum.saturating_add(data.blocks());
            if data.is_dir() && depth < DEPTH_MAX {
                open.push((entry.path(), depth + 1));
            }
        }
    }
    sum.saturating_mul(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_once_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("large"), vec![1; 4 << 20]).unwrap();
        let before = size_bytes(folder.path());
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/f"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(folder.path().join("d/f"), folder.path().join("same")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        let hole = fs::File::create(folder.path().join("hole")).unwrap();
        hole.set_len(1 << 40).unwrap();
        let more = size_bytes(folder.path()) - before;
        assert!((1 << 20..(1 << 20) + 256 * 1024).contains(&more), "{more}");
        assert_eq!(size_bytes(Path::new("/no/such")), 0);
    }

    #[test]
    fn a_limit_is_the_disk_that_was_taken() {
        let resources = kaon_kernel::resource::parse::resources("cpus:1;disk:32").unwrap();
        assert_eq!(limit_bytes(&resources), Some(32 * MIB));
        assert_eq!(limit_bytes(&Resources::new()), None);
        let told = limitation(33 * MIB + 1, 32 * MIB);
        assert_eq!(told.message, "Disk usage (34 MB) exceeds quota (32 MB)");
        assert_eq!((told.kind, told.resources.to_string()), (LimitKind::Disk, "disk:34".to_owned()));
    }
}

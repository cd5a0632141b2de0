//! How much a container writes: against the disk that it took of the offer, measured or bounded by the kernel.
//!
//! Three isolators of one shape, of which an agent has at most one. What a container wrote is what lies in its sandbox and, with an
//! image, what it changed in its root. [`Meter`] says how that is counted: `disk/du` (also `posix/disk`) walks over it now and
//! then, `disk/xfs` has the quotas of projects count and refuse, `disk/btrfs` those of subvolumes. Names and flags as in Mesos
//! (reference 12.1, 15.2); `disk/btrfs` is ours.

mod books;
mod btrfs;
mod du;
mod xfs;

use crate::isolator::{Contribution, Error, Isolator, Limitation, Survivor, Watch};
use crate::process::Tree;
use books::{Books, Quota};
pub use btrfs::{BTRFS, Btrfs};
pub use du::{DU, Du};
use kaon_kernel::container::{LaunchSpec, LimitKind};
use kaon_kernel::container_info::Limits;
use kaon_kernel::id::ContainerId;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Resource, ResourceName, Resources};
use kaon_kernel::statistics::Statistics;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
pub use xfs::{XFS, Xfs, XfsSettings};

const MIB: u64 = 1024 * 1024;

/// The room that a file takes beside its blocks, in bytes: an inode, as large as XFS makes them (ext4: 256). Without it files
/// without end that hold nothing would count for nothing.
const INODE_BYTES: u64 = 512;

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

/// One way to count. The defaults are of one that only looks.
pub trait Meter: Send + Sync + 'static {
    /// The name of its isolator.
    fn name(&self) -> &'static str;

    /// The sandbox of a container has just been made, and nothing is in it. May give it another mark, which comes back in the
    /// quota.
    fn home(&self, quota: &mut Quota, taken: &[u32]) -> io::Result<()> {
        let _ = (quota, taken);
        Ok(())
    }

    /// The limit is new, or there is another directory to count.
    fn limit(&self, quota: &Quota) -> io::Result<()> {
        let _ = quota;
        Ok(())
    }

    /// How many bytes are used.
    fn used(&self, quota: &Quota) -> io::Result<u64>;

    /// Nobody writes any more.
    fn release(&self, quota: &Quota) -> io::Result<()> {
        let _ = quota;
        Ok(())
    }
}

/// The isolator that a meter makes.
pub struct Measured<M> {
    meter: Arc<M>,
    watching: Watching,
    work_directory: PathBuf,
    /// Where the roots of containers with images are made.
    roots: PathBuf,
    books: Arc<Books>,
}

impl<M: Meter> Measured<M> {
    /// For the containers of an agent with these directories; the roots of those with images are below `roots`.
    pub fn new(meter: M, watching: Watching, work_directory: &Path, runtime_directory: &Path, roots: &Path) -> Self {
        let books = Arc::new(Books::at(runtime_directory.join("disk")));
        let (work_directory, roots) = (work_directory.to_owned(), roots.to_owned());
        Self { meter: Arc::new(meter), watching, work_directory, roots, books }
    }

    fn failed(&self, action: &str, source: io::Error) -> Error {
        Error::Io { isolator: self.meter.name(), action: action.to_owned(), source }
    }

    fn put(&self, container: &ContainerId, quota: Quota) -> Result<(), Error> {
        let put = self.books.put(container, quota);
        put.map_err(|source| self.failed("write the size that it may have", source))
    }

    fn set(&self, quota: &Quota) -> Result<(), Error> {
        self.meter.limit(quota).map_err(|source| self.failed("set the size that it may have", source))
    }
}

impl<M: Meter> Isolator for Measured<M> {
    fn name(&self) -> &'static str {
        self.meter.name()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn recover(&self, survivors: &[Survivor], orphans: &[ContainerId]) -> Result<(), Error> {
        survivors.iter().map(|survivor| &survivor.container).chain(orphans).for_each(|name| self.books.recover(name));
        Ok(())
    }

    fn home(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<(), Error> {
        let sandbox = self.work_directory.join(&spec.sandbox);
        let limit_bytes = limit_bytes(&spec.resources);
        let mut quota = Quota { sandbox, root: None, before_bytes: 0, limit_bytes, mark: None };
        let made = self.meter.home(&mut quota, &self.books.marks());
        made.map_err(|source| self.failed("make the sandbox count", source))?;
        self.put(container, quota.clone())?;
        self.set(&quota)
    }

    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let has_image = spec.container.as_ref().is_some_and(|asked| asked.image.is_some() && asked.docker.is_none());
        if has_image && let Some(mut quota) = self.books.get(container) {
            let root = self.roots.join(container.as_str());
            // What copies of layers hold was not written by the container.
            quota.before_bytes = du::size_bytes(&root);
            quota.root = Some(root);
            self.put(container, quota.clone())?;
            self.set(&quota)?;
        }
        Ok(Contribution::default())
    }

    fn watch(&self, container: &ContainerId) -> Option<Watch> {
        if !self.watching.is_enforced {
            return None;
        }
        let (books, meter, container) = (Arc::clone(&self.books), Arc::clone(&self.meter), container.clone());
        let interval = self.watching.interval;
        Some(Box::pin(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(quota) = books.get(&container) else { continue };
                let Some(limit) = quota.limit_bytes else { continue };
                let meter = Arc::clone(&meter);
                let used = tokio::task::spawn_blocking(move || meter.used(&quota)).await;
                if let Ok(Ok(used)) = used
                    && used > limit
                {
                    return limitation(used, limit);
                }
            }
        }))
    }

    fn usage(&self, container: &ContainerId, _: &Tree) -> Result<Statistics, Error> {
        let Some(quota) = self.books.get(container) else { return Ok(Statistics::default()) };
        let used = self.meter.used(&quota).map_err(|source| self.failed("count what it wrote", source))?;
        Ok(Statistics { disk_used_bytes: Some(used), disk_limit_bytes: quota.limit_bytes, ..Statistics::default() })
    }

    fn update(&self, container: &ContainerId, resources: &Resources, _: &Limits) -> Result<(), Error> {
        let Some(quota) = self.books.get(container) else { return Ok(()) };
        let changed = Quota { limit_bytes: limit_bytes(resources), ..quota };
        self.put(container, changed.clone())?;
        self.set(&changed)
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), Error> {
        self.books.recover(container);
        // Forgotten only when it is released: the next recovery tries again.
        let released = self.books.get(container).map_or(Ok(()), |quota| self.meter.release(&quota));
        released.map_err(|source| self.failed("let go of its sandbox", source))?;
        self.books.forget(container).map_err(|source| self.failed("forget its size", source))
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

#[cfg(test)]
mod tests {
    use super::*;

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

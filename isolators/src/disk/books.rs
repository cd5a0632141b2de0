//! What is known of the sizes of containers, in memory and on disk for the agent after this one.

use kaon_kernel::id::ContainerId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What one container may write, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Its sandbox.
    pub(super) sandbox: PathBuf,
    /// Where its root is made, if it has an image.
    #[serde(default)]
    pub(super) root: Option<PathBuf>,
    /// The size of that before it began.
    #[serde(default)]
    pub(super) before_bytes: u64,
    /// The most; none when it took no disk.
    pub(super) limit_bytes: Option<u64>,
    /// The number by which the kernel knows it, if it counts by numbers.
    #[serde(default)]
    pub(super) mark: Option<u32>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Books {
    records: PathBuf,
    quotas: Mutex<BTreeMap<ContainerId, Quota>>,
}

impl Books {
    pub(super) fn at(records: PathBuf) -> Self {
        Self { records, quotas: Mutex::default() }
    }

    fn quotas(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Quota>> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, container: &ContainerId) -> Option<Quota> {
        self.quotas().get(container).cloned()
    }

    /// The numbers in use.
    pub(super) fn marks(&self) -> Vec<u32> {
        self.quotas().values().filter_map(|quota| quota.mark).collect()
    }

    pub(super) fn put(&self, container: &ContainerId, quota: Quota) -> io::Result<()> {
        fs::create_dir_all(&self.records)?;
        let aside = self.aside(container);
        fs::write(&aside, serde_json::to_vec(&quota)?)?;
        fs::rename(aside, self.records.join(container.as_str()))?;
        self.quotas().insert(container.clone(), quota);
        Ok(())
    }

    /// Takes in what an agent before this one wrote of a container.
    pub(super) fn recover(&self, container: &ContainerId) {
        let mut quotas = self.quotas();
        if !quotas.contains_key(container) {
            let read = fs::read(self.records.join(container.as_str()));
            if let Some(quota) = read.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                quotas.insert(container.clone(), quota);
            }
        }
    }

    pub(super) fn forget(&self, container: &ContainerId) -> io::Result<()> {
        self.quotas().remove(container);
        // An agent may have been killed while it wrote.
        [self.aside(container), self.records.join(container.as_str())].iter().try_for_each(
            |path| match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        )
    }

    /// Where it is written before it counts.
    fn aside(&self, container: &ContainerId) -> PathBuf {
        self.records.join(format!(".{container}"))
    }
}

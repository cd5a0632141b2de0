//! Old sandboxes of executors are removed: those of runs that nobody knows any more, once they are old enough for how full
//! their disk is.
//!
//! A run's age counts from the end of its container, which is noted as the time of its directory's last change. What lies in it
//! belongs to its user: links are removed, never followed, and a run in which something is mounted stays. Layout and
//! rule: reference 9.

use crate::mounts;
use crate::sandbox::LAYOUT;
use kaon_kernel::container::SweepPolicy;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::time::Duration;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The most sandboxes that one sweep removes; the others wait for the next. A thousand small ones take a second or less.
const REMOVED_MAX: usize = 1_000;

/// What came of a sweep, in sandboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) removed: u64,
    pub(crate) failed: u64,
    /// Those that may go one day, the failed ones included.
    pub(crate) left: u64,
}

/// Removes what is old enough below a work directory. `is_kept` is asked about the containers that the runs are named after.
/// Blocks as long as that takes.
///
/// # Errors
/// When the disk or what is mounted can't be read; nothing was removed then.
pub(crate) fn sweep(work_directory: &Path, policy: SweepPolicy, is_kept: impl Fn(&str) -> bool) -> io::Result<Swept> {
    let age_max = policy.age_max(used(work_directory)?);
    let mounted = mounts::points()?;
    let now = SystemTime::now();
    let (mut old, mut swept) = (Vec::new(), Swept { removed: 0, failed: 0, left: 0 });
    for run in runs(work_directory)? {
        if run.file_name().to_str().is_none_or(&is_kept) {
            continue;
        }
        let changed = run.metadata().and_then(|metadata| metadata.modified()).unwrap_or(now);
        // A clock that was set back makes nothing old.
        let age = now.duration_since(changed).unwrap_or_default();
        match u64::try_from(age.as_nanos()).map_or(Duration::MAX, Duration::nanos) >= age_max {
            true => old.push((changed, run.path())),
            false => swept.left += 1,
        }
    }
    old.sort();
    swept.left += old.len().saturating_sub(REMOVED_MAX) as u64;
    for (_, run) in old.into_iter().take(REMOVED_MAX) {
        match remove(work_directory, &run, &mounted) {
            Ok(()) => swept.removed += 1,
            Err(error) => {
                tracing::warn!(sandbox = %run.display(), %error, "an old sandbox can't be removed");
                swept.failed += 1;
                swept.left += 1;
            }
        }
    }
    Ok(swept)
}

/// How much of the disk under a directory is used, in thousandths; what only root may fill counts as used.
fn used(directory: &Path) -> io::Result<Quantity> {
    let status = nix::sys::statvfs::statvfs(directory)?;
    let (all, free) = (u128::from(status.blocks()), u128::from(status.blocks_available()));
    let used = (all.saturating_sub(free) * 1000).checked_div(all).unwrap_or(0);
    Ok(Quantity(u64::try_from(used).unwrap_or(u64::MAX)))
}

/// All runs of all executors, known or not.
fn runs(work_directory: &Path) -> io::Result<Vec<DirEntry>> {
    let mut here = vec![work_directory.to_owned()];
    let mut found = Vec::new();
    for name in LAYOUT {
        found = Vec::new();
        for directory in here {
            match fs::read_dir(directory.join(name)) {
                Ok(entries) => found.extend(entries.filter_map(Result::ok).filter(is_directory)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        here = found.iter().map(DirEntry::path).collect();
    }
    Ok(found)
}

fn is_directory(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

/// Removes a run, and the directories on the way to it in which nothing is left.
fn remove(work_directory: &Path, run: &Path, mounted: &[PathBuf]) -> io::Result<()> {
    if let Some(mount) = mounted.iter().find(|mount| mount.starts_with(run)) {
        return Err(io::Error::other(format!("something is mounted on {}", mount.display())));
    }
    fs::remove_dir_all(run)?;
    // One in which something is left refuses, and so do those above it.
    let way = run.ancestors().skip(1).take_while(|way| *way != work_directory);
    way.map_while(|way| fs::remove_dir(way).ok()).for_each(drop);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const NEVER: SweepPolicy = SweepPolicy { delay: Duration::secs(3600), headroom: Quantity(0) };
    const AT_ONCE: SweepPolicy = SweepPolicy { delay: Duration::ZERO, headroom: Quantity(0) };

    fn run(work: &Path, framework: &str, container: &str) -> PathBuf {
        let path = ["slaves/a/frameworks/", framework, "/executors/e/runs/", container].concat();
        crate::sandbox::create(work, &path, None).unwrap();
        work.join(path)
    }

    #[test]
    fn what_is_old_goes_with_the_way_to_it_and_what_is_known_stays() {
        let work = tempfile::tempdir().unwrap();
        let [old, other, known] =
            [("f", "old"), ("g", "other"), ("f", "known")].map(|(framework, name)| run(work.path(), framework, name));
        let sweep = |policy| sweep(work.path(), policy, |name| name == "known").unwrap();
        assert_eq!(sweep(NEVER), Swept { removed: 0, failed: 0, left: 2 });
        assert!(old.exists() && other.exists());
        assert_eq!(sweep(AT_ONCE), Swept { removed: 2, failed: 0, left: 0 });
        assert!(known.exists() && !old.exists());
        assert!(!work.path().join("slaves/a/frameworks/g").exists(), "nothing is left of that framework");
        assert_eq!(sweep(AT_ONCE), Swept { removed: 0, failed: 0, left: 0 });
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let (work, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("file"), "kept").unwrap();
        symlink(outside.path(), run(work.path(), "f", "c").join("link")).unwrap();
        symlink(outside.path(), work.path().join("slaves/a/frameworks/f/executors/e/runs/planted")).unwrap();
        assert_eq!(sweep(work.path(), AT_ONCE, |_| false).unwrap().removed, 1);
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "kept");
    }

    #[test]
    fn an_empty_work_directory_has_nothing_to_sweep() {
        let work = tempfile::tempdir().unwrap();
        assert_eq!(sweep(work.path(), AT_ONCE, |_| false).unwrap(), Swept { removed: 0, failed: 0, left: 0 });
    }

    #[test]
    fn a_run_with_a_mount_in_it_stays() {
        let work = tempfile::tempdir().unwrap();
        let run = run(work.path(), "f", "c");
        let error = remove(work.path(), &run, &["/proc".into(), run.join("volume")]).unwrap_err();
        assert!(error.to_string().contains("mounted on") && run.exists(), "{error}");
    }
}

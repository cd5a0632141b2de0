//! `disk/du` (also `posix/disk`): sizes by walking over the files. Between two looks more can be written: it is the wall for file
//! systems without quotas.

use super::{INODE_BYTES, Meter, Quota};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Name of [`Du`].
pub const DU: &str = "disk/du";

/// A unit of `st_blocks` (`inode(7)`).
const BLOCK_BYTES: u64 = 512;

/// The deepest directories that are counted; what is below is deeper than any path that a program can name.
const DEPTH_MAX: usize = 2048;

/// The meter.
#[derive(Clone, Copy, Debug)]
pub struct Du;

impl Meter for Du {
    fn name(&self) -> &'static str {
        DU
    }

    fn used(&self, quota: &Quota) -> io::Result<u64> {
        let root = quota.root.as_deref().map_or(0, size_bytes).saturating_sub(quota.before_bytes);
        Ok(size_bytes(&quota.sandbox).saturating_add(root))
    }
}

/// The room that a directory and all below take on its file system: blocks, not lengths, so that holes count for nothing, and an
/// inode for each; a file with several names once; what is mounted below not at all. Links are not followed. What disappears
/// meanwhile counts for nothing. Blocks: one system call for each file.
pub(super) fn size_bytes(directory: &Path) -> u64 {
    let Ok(top) = fs::symlink_metadata(directory) else { return 0 };
    let (mut sum, mut files, mut seen, device) = (top.blocks(), 0_u64, BTreeSet::new(), top.dev());
    let mut open = vec![(directory.to_owned(), 0)];
    while let Some((here, depth)) = open.pop() {
        let Ok(entries) = fs::read_dir(&here) else { continue };
        for entry in entries.flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.dev() != device || (data.nlink() > 1 && !data.is_dir() && !seen.insert(data.ino())) {
                continue;
            }
            (sum, files) = (sum.saturating_add(data.blocks()), files + 1);
            if data.is_dir() && depth < DEPTH_MAX {
                open.push((entry.path(), depth + 1));
            }
        }
    }
    sum.saturating_mul(BLOCK_BYTES).saturating_add(files.saturating_mul(INODE_BYTES))
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
    fn files_that_hold_nothing_count() {
        let folder = tempfile::tempdir().unwrap();
        let before = size_bytes(folder.path());
        for number in 0..100 {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        assert!(size_bytes(folder.path()) - before >= 100 * INODE_BYTES);
    }
}

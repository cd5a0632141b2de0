//! Directories that others have to pass: the ways to sandboxes, volumes and the roots of images. They are made with exactly the mode
//! that is said. What the umask of whoever started us would take away (`umask 077` takes all that others have) is given by hand, and
//! to nothing that was there before.

use crate::syscall;
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Who passes beside the three of the mode (`acl(5)`).
const ACCESS_LIST: &std::ffi::CStr = c"system.posix_acl_access";

/// Makes a directory, with those on the way to it that are missing, all of this mode. Nothing happens when it is there. A few system
/// calls for each that is made.
///
/// # Errors
/// When one can't be made, or its place is taken by something else.
pub fn make(path: &Path, mode: u32) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|step| !step.as_os_str().is_empty() && !matches!(fs::exists(step), Ok(true)))
        .collect();
    missing.into_iter().rev().try_for_each(|step| make_one(step, mode))?;
    match fs::metadata(path)?.is_dir() {
        true => Ok(()),
        false => Err(ErrorKind::NotADirectory.into()),
    }
}

/// Makes one; one that somebody else made meanwhile is taken as it is.
pub(crate) fn make_one(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            // Through a descriptor: what lies under the name by now may be another's.
            let flags = nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW;
            let made = File::options().read(true).custom_flags(flags).open(path)?;
            made.set_permissions(Permissions::from_mode(mode))
        }
    }
}

/// Somebody who wants to pass: a user with all groups, or anybody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walker<'a> {
    /// The user.
    pub(crate) user_id: u32,
    /// All groups.
    pub(crate) groups: &'a [u32],
}

impl Walker<'_> {
    fn passes(self, step: &Path, data: &Metadata) -> bool {
        let bit = match () {
            () if self.user_id == 0 => return true,
            () if self.user_id == data.uid() => 0o100,
            () if self.groups.contains(&data.gid()) => 0o010,
            () => 0o001,
        };
        data.mode() & bit != 0 || has_access_list(step)
    }
}

/// What a list says is the kernel's to know: such a directory counts as open.
fn has_access_list(step: &Path) -> bool {
    File::open(step).and_then(|held| syscall::attribute(held.as_fd(), ACCESS_LIST)).is_ok_and(|list| list.is_some())
}

/// The first directory on an absolute way, its end included, that somebody may not pass. Links lead where they lead.
pub(crate) fn closed_to(walker: Walker<'_>, path: &Path) -> Option<PathBuf> {
    let whole = path.canonicalize().ok()?;
    let mut steps: Vec<&Path> = whole.ancestors().collect();
    steps.reverse();
    let closed = steps.into_iter().find(|step| fs::metadata(step).is_ok_and(|data| !walker.passes(step, &data)));
    closed.map(Path::to_owned)
}

/// The first directory on an absolute way that users without a part in it may not pass.
pub fn closed_to_others(path: &Path) -> Option<PathBuf> {
    closed_to(Walker { user_id: u32::MAX, groups: &[] }, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_missing_has_the_mode_and_what_is_there_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let before = mode(folder.path());
        // More than any umask lets through: it is not the umask's to take.
        let end = folder.path().join("a/b/c");
        make(&end, 0o777).unwrap();
        make(&end, 0o700).unwrap();
        for step in ["a", "a/b", "a/b/c"] {
            assert_eq!(mode(&folder.path().join(step)), 0o777, "{step}");
        }
        assert_eq!(mode(folder.path()), before);
        fs::write(end.join("file"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", end.join("dangling")).unwrap();
        for name in ["file", "file/below", "dangling", "dangling/below"] {
            assert!(make(&end.join(name), 0o755).is_err(), "{name}");
        }
        assert!(!end.join("nowhere").exists());
    }

    #[test]
    fn who_may_not_pass_is_told_where() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::set_permissions(&root, Permissions::from_mode(0o711)).unwrap();
        let end = root.join("a/b");
        make(&end, 0o711).unwrap();
        let data = fs::metadata(&root).unwrap();
        let owner = Walker { user_id: data.uid(), groups: &[] };
        let (group, stranger) = ([data.gid()], Walker { user_id: data.uid() + 1, groups: &[] });
        let member = Walker { groups: &group, ..stranger };
        let close = |mode| fs::set_permissions(root.join("a"), Permissions::from_mode(mode)).unwrap();
        if closed_to_others(root.parent().unwrap()).is_none() {
            assert_eq!(closed_to_others(&end), None);
        }
        for (mode, walker, is_open) in [
            (0o711, stranger, true),
            (0o710, stranger, false),
            (0o710, member, true),
            (0o701, member, false),
            (0o700, owner, true),
            (0o611, owner, data.uid() == 0),
        ] {
            close(mode);
            let found = closed_to(walker, &end).filter(|step| step.starts_with(&root));
            assert_eq!(found.is_none(), is_open, "{mode:o} {walker:?}");
            assert!(found.is_none_or(|step| step == root.join("a")));
        }
        close(0o711);
    }
}

//! Layers copied over one another, where overlayfs is missing (Mesos's backend `copy`). Reads what `layer.rs` made: character
//! devices 0:0 take away, marked directories hide what is below. The target is nobody else's while it is made.

use crate::syscall;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, mkfifoat};
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The mark of a directory that hides what is below.
const OPAQUE: &std::ffi::CStr = c"trusted.overlay.opaque";

/// Rights that files give.
const CAPABILITY: &std::ffi::CStr = c"security.capability";

/// Copies a layer over a tree.
pub(super) fn over(layer: &Path, tree: &Path) -> io::Result<()> {
    let mut names = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let (from, to) = (layer.join(&path), tree.join(&path));
        let held = File::open(&from)?;
        if syscall::attribute(held.as_fd(), OPAQUE)?.is_some_and(|mark| mark == b"y") && !path.as_os_str().is_empty() {
            fs::remove_dir_all(&to)?;
            make_directory(&to)?;
        }
        if !path.as_os_str().is_empty() {
            adopt(&to, &held.metadata()?)?;
        }
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let below = path.join(entry.file_name());
            let data = entry.path().symlink_metadata()?;
            let target = tree.join(&below);
            if data.is_dir() {
                if !target.symlink_metadata().is_ok_and(|there| there.is_dir()) {
                    clear(&target)?;
                    make_directory(&target)?;
                }
                open.push(below);
                continue;
            }
            clear(&target)?;
            if data.file_type().is_char_device() {
                continue;
            }
            put(&entry.path(), &target, &data, &mut names)?;
        }
    }
    Ok(())
}

fn put(from: &Path, to: &Path, data: &Metadata, names: &mut BTreeMap<u64, PathBuf>) -> io::Result<()> {
    if data.nlink() > 1 {
        if let Some(first) = names.get(&data.ino()) {
            return fs::hard_link(first, to);
        }
        names.insert(data.ino(), to.to_owned());
    }
    if data.file_type().is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if data.file_type().is_fifo() {
        mkfifoat(nix::fcntl::AT_FDCWD, to, Mode::S_IRUSR | Mode::S_IWUSR)?;
    } else {
        let source = File::open(from)?;
        let mut target = File::options().write(true).create_new(true).open(to)?;
        io::copy(&mut &source, &mut target)?;
        if let Some(rights) = syscall::attribute(source.as_fd(), CAPABILITY)? {
            adopt(to, data)?;
            return syscall::set_attribute(target.as_fd(), CAPABILITY, &rights);
        }
    }
    adopt(to, data)
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Owner before mode, since a new owner takes set-id bits away; times last.
fn adopt(path: &Path, data: &Metadata) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(data.uid()), Gid::from_raw(data.gid()));
    fchownat(nix::fcntl::AT_FDCWD, path, Some(user), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if !data.file_type().is_symlink() {
        fs::set_permissions(path, Permissions::from_mode(data.mode() & 0o7777))?;
    }
    let time = |seconds, nanos| TimeSpec::new(seconds, nanos);
    let (read, changed) = (time(data.atime(), data.atime_nsec()), time(data.mtime(), data.mtime_nsec()));
    utimensat(nix::fcntl::AT_FDCWD, path, &read, &changed, UtimensatFlags::NoFollowSymlink).map_err(io::Error::from)
}

/// Makes room.
fn clear(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

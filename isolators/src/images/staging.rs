//! What is on its way into a store. Each who writes has a directory of its own below `staging`, locked for as long as it writes: one
//! that nobody holds is what a killed one left, and anybody may clear it away at any time.

use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Where things are made before they have their names.
#[derive(Debug)]
pub(super) struct Staging {
    directory: PathBuf,
    own: Mutex<Option<Own>>,
    next: AtomicU64,
}

/// The directory of one who writes.
#[derive(Debug)]
struct Own {
    path: PathBuf,
    _held: Flock<File>,
}

impl Drop for Own {
    fn drop(&mut self) {
        // With something in it, it is for those who clear.
        let _ = fs::remove_dir(&self.path);
    }
}

impl Staging {
    /// That of this directory. Makes nothing.
    pub(super) fn at(directory: PathBuf) -> Self {
        Self { directory, own: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// A name that nobody else has, safe until this object is dropped.
    pub(super) fn place(&self) -> io::Result<PathBuf> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let path = match own.as_ref() {
            Some(there) => &there.path,
            None => &own.insert(self.begin()?).path,
        };
        Ok(path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string()))
    }

    fn begin(&self) -> io::Result<Own> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = self.directory.join(format!("{}.{number}", std::process::id()));
            match DirBuilder::new().mode(super::store::MODE).create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            // Until it is held, one who clears may take it.
            let file = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let Ok(held) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
            if is_at(&held, &path) {
                return Ok(Own { path, _held: held });
            }
        }
    }

    /// Removes what nobody makes any more.
    pub(super) fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let file = match File::options().read(true).custom_flags(flags).open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let Ok(held) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
            let removed = if held.metadata()?.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether an open file still has this path.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |found: io::Result<fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
    let own = id(file.metadata());
    own.is_some() && own == id(fs::symlink_metadata(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn what_is_held_stays_and_what_nobody_holds_goes() {
        let directory = tempfile::tempdir().unwrap();
        let at = || Staging::at(directory.path().to_owned());
        let (one, two, third) = (at(), at(), at());
        fs::write(one.place().unwrap(), "held").unwrap();
        let left = two.place().unwrap();
        fs::create_dir_all(left.join("tree/deep")).unwrap();
        // Never began, and begun and never used, they leave nothing.
        drop((at(), third.place().unwrap(), third));
        assert_eq!(count(directory.path()), 2);
        third_party(directory.path());
        assert!(left.exists(), "whoever clears leaves it to the one who makes it");
        drop(two);
        assert!(left.exists(), "it was left as one that is killed leaves it");
        fs::write(directory.path().join("file"), "of an older version").unwrap();
        third_party(directory.path());
        assert!(!left.exists() && count(directory.path()) == 1);
        assert_ne!(one.place().unwrap(), one.place().unwrap());
        assert_eq!(one.place().unwrap().parent(), one.place().unwrap().parent());
    }

    fn third_party(directory: &Path) {
        Staging::at(directory.to_owned()).clear().unwrap();
    }

    #[test]
    fn who_begins_while_others_clear_has_a_place_that_stays() {
        let directory = tempfile::tempdir().unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    third_party(directory.path());
                }
            });
            for _ in 0..2000 {
                let staging = Staging::at(directory.path().to_owned());
                let place = staging.place().unwrap();
                fs::write(&place, "x").unwrap();
                fs::remove_file(place).unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(count(directory.path()), 0);
    }
}

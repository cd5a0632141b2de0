//! Certificates and keys on disk: written whole or not at all, keys readable by their owner alone.
//!
//! A file is written under a passing name in the same folder, flushed, then put in place by one rename or link, and the
//! folder is flushed too. So a crash leaves the old file or the new one, never half of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest file that is read, in bytes. A key and a chain of certificates are a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Mode of a file that holds a key.
pub(crate) const SECRET: u32 = 0o600;

/// Mode of a file that everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("{path}: {source}")]
    System {
        /// The file.
        path: PathBuf,
        /// Its words.
        source: io::Error,
    },
    /// It is there already and must not be overwritten.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// A key that others could have read.
    #[error("{path} may be read by others (mode {mode:o}): make it 600, or make a new key")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Larger than any key or certificate.
    #[error("{0} is larger than {FILE_BYTES_MAX} bytes")]
    Oversized(PathBuf),
}

/// What to do about a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Refuse.
    Keep,
    /// Put the new one in its place.
    Replace,
}

/// Writes `text` to `path`.
pub(crate) fn write(path: &Path, text: &str, mode: u32, existing: Existing) -> Result<(), Error> {
    let passing = passing_name(path);
    let written = place(path, &passing, text, mode, existing);
    if written.is_err() || existing == Existing::Keep {
        // The passing name is only garbage by now; when it can't be removed, what matters has been decided all the same.
        let _ = fs::remove_file(&passing);
    }
    written
}

fn place(path: &Path, passing: &Path, text: &str, mode: u32, existing: Existing) -> Result<(), Error> {
    let system = |source| Error::System { path: path.into(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(passing).map_err(system)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(system)?;
    match existing {
        Existing::Replace => fs::rename(passing, path).map_err(system)?,
        // Unlike a rename, a link never overwrites.
        Existing::Keep => fs::hard_link(passing, path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(path.into()),
            _ => system(source),
        })?,
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(system)
}

fn passing_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.{count}.new", std::process::id()));
    path.with_file_name(name)
}

/// Reads a file that anybody may read.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    read_checked(path, false)
}

/// Reads a key. Refused when group or others may read it, as ssh does.
pub(crate) fn read_secret(path: &Path) -> Result<String, Error> {
    read_checked(path, true)
}

fn read_checked(path: &Path, secret: bool) -> Result<String, Error> {
    let system = |source| Error::System { path: path.into(), source };
    let file = File::open(path).map_err(system)?;
    let mode = file.metadata().map_err(system)?.permissions().mode() & 0o777;
    if secret && mode & 0o077 != 0 {
        return Err(Error::Exposed { path: path.into(), mode });
    }
    let mut text = String::new();
    let length = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(system)?;
    if length as u64 > FILE_BYTES_MAX { Err(Error::Oversized(path.into())) } else { Ok(text) }
}

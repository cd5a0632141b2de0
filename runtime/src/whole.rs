//! Files that are written whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Writes a file so that after a failure or a crash either the old or the whole new one is there: a temporary file beside
/// it (`NAME.new`), fsync, rename, fsync of the directory. A link is followed. What is there and is no regular file (a
/// device, a pipe, a terminal) is written into: a rename would put a file in its place.
///
/// # Errors
/// Those of `fill`, and those of the system as `told` says them; the temporary file is gone then.
pub fn replace_file<T, E>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<T, E>,
    told: impl Fn(io::Error) -> E,
) -> Result<T, E> {
    if fs::metadata(path).is_ok_and(|known| !known.is_file()) {
        return fill(&mut OpenOptions::new().write(true).open(path).map_err(told)?);
    }
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        real => real.map_err(&told)?,
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".new");
    let temporary = directory.join(name);
    let replace = || {
        let mut file = File::create(&temporary).map_err(&told)?;
        let filled = fill(&mut file)?;
        file.sync_all().and_then(|()| fs::rename(&temporary, &path)).map_err(&told)?;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(&told)?;
        Ok(filled)
    };
    let replaced = replace();
    if replaced.is_err() {
        // What is left of a failure is of no use; that it can't be removed changes nothing.
        let _ = fs::remove_file(&temporary);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::fs::{FileTypeExt, symlink};

    fn put(path: &Path, text: &str) -> io::Result<()> {
        replace_file(path, |file| file.write_all(text.as_bytes()), |error| error)
    }

    #[test]
    fn a_file_is_replaced_whole_or_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        put(&path, "one").unwrap();
        put(&path, "two").unwrap();
        let fill = |file: &mut File| file.write_all(b"thr").and_then(|()| Err(io::Error::other("no more")));
        let failed: io::Result<()> = replace_file(&path, fill, |error| error);
        assert_eq!(
            (failed.unwrap_err().to_string(), fs::read_to_string(&path).unwrap()),
            ("no more".into(), "two".into())
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn links_are_followed_and_pipes_are_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let [real, link, pipe] = ["real", "link", "pipe"].map(|name| folder.path().join(name));
        put(&real, "one").unwrap();
        symlink(&real, &link).unwrap();
        put(&link, "two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "two");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("coreutils").success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut text = String::new();
                File::open(pipe).and_then(|mut pipe| pipe.read_to_string(&mut text)).map(|_| text)
            }
        });
        put(&pipe, "three").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), "three");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    }
}

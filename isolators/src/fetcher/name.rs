//! What a URI becomes in the sandbox: its path there, and whether it is an archive.

use super::error::Error;
use kaon_kernel::task::Uri;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The most components of a path in a sandbox or an archive.
pub(crate) const DEPTH_MAX: usize = 64;

/// The longest path in a sandbox or an archive, in bytes (Linux `PATH_MAX`).
pub(crate) const PATH_BYTES_MAX: usize = 4096;

/// The longest component in bytes (Linux `NAME_MAX`).
const COMPONENT_BYTES_MAX: usize = 255;

/// The path in the sandbox: what the URI says it should be, else what follows its last slash, query included, as in
/// Mesos.
pub(crate) fn of(uri: &Uri) -> Result<String, Error> {
    let refuse = |reason| Err(Error::Uri(reason));
    if uri.value.contains(['\\', '\'', '\0']) {
        return refuse("it holds a backslash, a quote or a NUL");
    }
    let name = match &uri.output_file {
        Some(name) => name.as_str(),
        None => {
            let path = match uri.value.split_once("://") {
                Some((_, rest)) if !rest.contains('/') => return refuse("it has no path"),
                Some((_, rest)) => rest,
                None => uri.value.as_str(),
            };
            path.rsplit('/').next().unwrap_or_default()
        }
    };
    let components = components(name.as_bytes())?;
    if components.is_empty() {
        return refuse("it names no file");
    }
    if matches!(name.rsplit('/').next(), Some("" | ".")) {
        return refuse("it names a directory");
    }
    Ok(name.to_owned())
}

/// The components of a path below a directory, without empty ones and `.`: relative, without `..` and NUL, not too long
/// and not too deep. None for the directory itself.
pub(crate) fn components(path: &[u8]) -> Result<Vec<&OsStr>, Error> {
    let refuse = |reason| Err(Error::Path { path: shown(path), reason });
    if path.starts_with(b"/") {
        return refuse("it is absolute");
    }
    if path.len() > PATH_BYTES_MAX {
        return refuse("it is too long");
    }
    let mut components = Vec::new();
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return refuse("it has a component '..'"),
            long if long.len() > COMPONENT_BYTES_MAX => return refuse("it has a component longer than 255 bytes"),
            bytes if bytes.contains(&0) => return refuse("it holds a NUL"),
            bytes => components.push(OsStr::from_bytes(bytes)),
        }
    }
    if components.len() > DEPTH_MAX {
        return refuse("it is too deep");
    }
    Ok(components)
}

/// A path for people, at most 200 characters of it.
pub(crate) fn shown(path: &[u8]) -> String {
    const SHOWN_MAX: usize = 200;
    String::from_utf8_lossy(path).chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect()
}

/// The packings that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A tar archive, packed perhaps.
    Tar(Packing),
    /// One packed file.
    Packed(Packing),
    /// A zip archive.
    Zip,
}

/// The endings of archives: Mesos's, and those of zstd.
const ENDINGS: [(&str, Kind); 12] = [
    (".tar", Kind::Tar(Packing::None)),
    (".tar.gz", Kind::Tar(Packing::Gzip)),
    (".tgz", Kind::Tar(Packing::Gzip)),
    (".tar.bz2", Kind::Tar(Packing::Bzip2)),
    (".tbz2", Kind::Tar(Packing::Bzip2)),
    (".tar.xz", Kind::Tar(Packing::Xz)),
    (".txz", Kind::Tar(Packing::Xz)),
    (".tar.zst", Kind::Tar(Packing::Zstd)),
    (".tzst", Kind::Tar(Packing::Zstd)),
    (".gz", Kind::Packed(Packing::Gzip)),
    (".zst", Kind::Packed(Packing::Zstd)),
    (".zip", Kind::Zip),
];

impl Kind {
    /// What a file of this name is; `None` for what is left as it is.
    pub(crate) fn of(name: &str) -> Option<Self> {
        ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, kind)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(value: &str, output_file: Option<&str>) -> Result<String, Error> {
        let output_file = output_file.map(str::to_owned);
        of(&Uri { value: value.to_owned(), executable: false, extract: true, cache: false, output_file })
    }

    #[test]
    fn the_name_is_the_last_part_unless_another_is_said() {
        assert_eq!(named("http://h/a/b.tgz", None).unwrap(), "b.tgz");
        assert_eq!(named("http://h/a?x=1", None).unwrap(), "a?x=1");
        assert_eq!(named("/a/b", None).unwrap(), "b");
        assert_eq!(named("b", None).unwrap(), "b");
        assert_eq!(named("http://h/", Some("d/e")).unwrap(), "d/e");
        for bad in ["http://h", "http://h/", "http://h/..", "http://h/a'", "http://h/a\\b", "/", "", "/a/.", "a\0"] {
            assert!(named(bad, None).is_err(), "{bad:?}");
        }
        for bad in ["/a", "../a", "a/../../b", "a/..", "", ".", "a/", "a\0b", &"x/".repeat(65), &"x".repeat(256)] {
            assert!(named("http://h/a", Some(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn archives_are_told_by_their_endings() {
        assert_eq!(Kind::of("a.tar.gz"), Some(Kind::Tar(Packing::Gzip)));
        assert_eq!(Kind::of("a.gz"), Some(Kind::Packed(Packing::Gzip)));
        assert_eq!(Kind::of("a.tar.zst"), Some(Kind::Tar(Packing::Zstd)));
        assert_eq!(Kind::of("a.zip"), Some(Kind::Zip));
        assert_eq!(Kind::of("zip"), None);
        assert_eq!(Kind::of("a.tgz?x=1"), None);
    }
}

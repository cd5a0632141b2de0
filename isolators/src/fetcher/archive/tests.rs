//! Good archives come out whole, hostile ones not at all (attacks 12 and 48).

use super::super::bounds::{Bounds, Budget};
use super::super::error::Error;
use super::super::name::Kind;
use super::super::tree::Tree;
use super::unpack;
use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Small bounds, so that a bomb is one soon.
const BOUNDS: Bounds = Bounds {
    bytes_max: 8 << 20,
    entries_max: 50,
    ratio_max: 100,
    ratio_free_bytes: 1 << 20,
    memory_bytes_max: 1 << 30,
};

struct Stage {
    directory: TempDir,
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("box")).unwrap();
        fs::write(directory.path().join("outside"), "whole").unwrap();
        Self { directory }
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("box")
    }

    fn unpack(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let mut tree = Tree::new(File::open(self.home()).unwrap().into());
        let kind = Kind::of(name).expect("an archive");
        let done = unpack(kind, File::open(path).unwrap(), name, &mut tree, &mut Budget::new(BOUNDS));
        let outside = fs::read_to_string(self.directory.path().join("outside")).unwrap();
        assert_eq!(outside, "whole", "nothing outside changes");
        done
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.home().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// Refused, with this in its reason, and nothing of this name made beside the sandbox.
fn refused(name: &str, bytes: &[u8], word: &str) {
    let stage = Stage::new();
    let error = stage.unpack(name, bytes).expect_err("it must be refused").to_string();
    assert!(error.contains(word), "{error:?} lacks {word:?}");
    let beside = fs::read_dir(stage.directory.path()).unwrap().count();
    assert_eq!(beside, 3, "the sandbox, the file outside and the archive");
}

/// An entry with its names written as they are, which the builder itself would refuse.
fn raw(builder: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, link: &str, mode: u32, body: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(body.len() as u64);
    header.set_mtime(1_000_000_000);
    let old = header.as_old_mut();
    old.name[..path.len()].copy_from_slice(path.as_bytes());
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    builder.append(&header, body).unwrap();
}

fn tar(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for &(kind, path, link) in entries {
        let body: &[u8] = if kind == EntryType::Regular { b"text" } else { b"" };
        raw(&mut builder, kind, path, link, 0o6777, body);
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a program that is on most machines makes of bytes, or none where it is not there.
fn packed_by(program: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plain");
    fs::write(&path, bytes).unwrap();
    match std::process::Command::new(program).arg("-c").arg(&path).stderr(std::process::Stdio::null()).output() {
        Ok(output) if output.status.success() => Some(output.stdout),
        _ => {
            println!("SKIPPED, not on this machine: {program}");
            None
        }
    }
}

const DIRECTORY: EntryType = EntryType::Directory;
const FILE: EntryType = EntryType::Regular;
const SYMLINK: EntryType = EntryType::Symlink;
const LINK: EntryType = EntryType::Link;

#[test]
fn tar_comes_out_whole_in_every_packing() {
    let long = format!("{}/file", ["directory-with-a-long-name"; 8].join("/"));
    let mut builder = Builder::new(Vec::new());
    for (kind, path, link) in
        [(DIRECTORY, "./bin/", ""), (FILE, "bin/run", ""), (SYMLINK, "run", "bin/run"), (LINK, "again", "bin/run")]
    {
        raw(&mut builder, kind, path, link, 0o6755, if kind == FILE { b"text" } else { b"" });
    }
    let mut header = Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o600);
    header.set_mtime(0);
    builder.append_data(&mut header, &long, &b"deep"[..]).unwrap();
    builder.append_pax_extensions([("path", "by/pax".as_bytes()), ("comment", b"x")]).unwrap();
    raw(&mut builder, FILE, "not-this", "", 0o644, b"pax");
    let plain = builder.into_inner().unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd].concat();
    let half = plain.len() / 2;
    let mut packed = vec![
        ("a.tar", Some(plain.clone())),
        ("a.tgz", Some(gzip(&plain))),
        ("a.tar.gz", Some([gzip(&plain[..half]), gzip(&plain[half..])].concat())),
        ("a.tar.zst", Some(skipped)),
    ];
    packed.push(("a.tbz2", packed_by("bzip2", &plain)));
    packed.push(("a.tar.xz", packed_by("xz", &plain)));
    for (name, bytes) in packed {
        let Some(bytes) = bytes else { continue };
        let stage = Stage::new();
        stage.unpack(name, &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            stage.read("run") + &stage.read("again") + &stage.read(&long) + &stage.read("by/pax"),
            "texttextdeeppax"
        );
        let status = fs::metadata(stage.home().join("bin/run")).unwrap();
        assert_eq!(status.permissions().mode() & 0o7777, 0o755, "{name}");
        let modified = status.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(modified.as_secs(), 1_000_000_000);
    }
}

#[test]
fn single_files_and_zip_come_out_whole() {
    let stage = Stage::new();
    stage.unpack("a.txt.gz", &gzip(b"one file")).unwrap();
    assert_eq!(stage.read("a.txt"), "one file");
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_directory("d", SimpleFileOptions::default()).unwrap();
    zip.start_file("d/deep/run", SimpleFileOptions::default().unix_permissions(0o6755)).unwrap();
    zip.write_all(&b"zipped ".repeat(100)).unwrap();
    zip.add_symlink("link", "d/deep/run", SimpleFileOptions::default()).unwrap();
    stage.unpack("a.zip", &zip.finish().unwrap().into_inner()).unwrap();
    assert_eq!(stage.read("link").len(), 700);
    let mode = fs::metadata(stage.home().join("d/deep/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn no_tar_writes_outside() {
    for (entries, word) in [
        (vec![(FILE, "/etc/kaon", "")], "absolute"),
        (vec![(FILE, "../beside", "")], "'..'"),
        (vec![(FILE, "a/../../beside", "")], "'..'"),
        (vec![(DIRECTORY, "../beside", "")], "'..'"),
        (vec![(SYMLINK, "l", "/etc")], "absolute path"),
        (vec![(SYMLINK, "l", "..")], "out of the sandbox"),
        (vec![(SYMLINK, "a/l", "../..")], "out of the sandbox"),
        (vec![(SYMLINK, "a/l", "b/../../..")], "down and up"),
        (vec![(SYMLINK, "l", ".."), (FILE, "l/beside", "")], "out of the sandbox"),
        (vec![(DIRECTORY, "a", ""), (SYMLINK, "l", "a"), (FILE, "l/x", "")], "directories of 'l/x'"),
        (vec![(LINK, "h", "../outside")], "'..'"),
        (vec![(LINK, "h", "/etc/passwd")], "absolute"),
        (vec![(SYMLINK, "l", "nothing"), (LINK, "h", "l")], "no plain file"),
        (vec![(EntryType::Char, "null", "")], "a device"),
        (vec![(EntryType::Block, "disk", "")], "a device"),
        (vec![(EntryType::Fifo, "pipe", "")], "a pipe"),
        (vec![(EntryType::GNUSparse, "sparse", "")], "a sparse file"),
        (vec![(EntryType::new(b'Q'), "what", "")], "not known"),
    ] {
        refused("a.tar", &tar(&entries), word);
    }
    let deep = format!("{}f", "d/".repeat(65));
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    builder.append_data(&mut header, &deep, &b""[..]).unwrap();
    refused("a.tar", &builder.into_inner().unwrap(), "too deep");
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions([("path", "../beside".as_bytes())]).unwrap();
    raw(&mut builder, FILE, "good", "", 0o644, b"");
    refused("a.tar", &builder.into_inner().unwrap(), "'..'");
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions([("GNU.sparse.realsize", b"1125899906842624".as_slice())]).unwrap();
    raw(&mut builder, FILE, "sparse", "", 0o644, b"");
    refused("a.tar", &builder.into_inner().unwrap(), "a sparse file");
}

#[test]
fn bombs_do_not_go_off() {
    // Three megabytes of zeros in three kilobytes.
    let mut builder = Builder::new(Vec::new());
    raw(&mut builder, FILE, "zeros", "", 0o644, &vec![0; 3 << 20]);
    let zeros = builder.into_inner().unwrap();
    refused("a.tgz", &gzip(&zeros), "taken for a bomb");
    refused("a.gz", &gzip(&vec![0; 3 << 20]), "taken for a bomb");
    if let Some(bytes) = packed_by("xz", &zeros) {
        refused("a.txz", &bytes, "taken for a bomb");
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("zeros", SimpleFileOptions::default()).unwrap();
    zip.write_all(&vec![0; 3 << 20]).unwrap();
    refused("a.zip", &zip.finish().unwrap().into_inner(), "taken for a bomb");
    // A petabyte is refused before it is written.
    let mut header = Header::new_gnu();
    header.set_path("large").unwrap();
    header.set_size(1 << 50);
    header.set_mode(0o644);
    header.set_cksum();
    refused("a.tar", header.as_bytes(), "bytes are not fetched");
    // A pipe of headers that never ends, and a name without end.
    let many: Vec<String> = (0..51).map(|number| format!("f{number}")).collect();
    let entries: Vec<_> = many.iter().map(|name| (FILE, name.as_str(), "")).collect();
    refused("a.tar", &tar(&entries), "entries are not fetched");
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    refused("a.tar", header.as_bytes(), "a header of");
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for name in &many {
        zip.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
    }
    refused("a.zip", &zip.finish().unwrap().into_inner(), "entries are not fetched");
}

#[test]
fn zip_writes_nowhere_else() {
    for (path, word) in [("/etc/kaon", "absolute"), ("../beside", "'..'"), ("a/../../beside", "'..'")] {
        // The writer mends paths, so a good one is made bad afterwards.
        let good = "x".repeat(path.len());
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(good.as_str(), SimpleFileOptions::default()).unwrap();
        let mut bytes = zip.finish().unwrap().into_inner();
        for at in 0..bytes.len() - path.len() {
            if bytes[at..].starts_with(good.as_bytes()) {
                bytes[at..at + path.len()].copy_from_slice(path.as_bytes());
            }
        }
        refused("a.zip", &bytes, word);
    }
    for (target, word) in [("/etc", "absolute path"), ("..", "out of the sandbox")] {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.add_symlink("link", target, SimpleFileOptions::default()).unwrap();
        refused("a.zip", &zip.finish().unwrap().into_inner(), word);
    }
}

#[test]
fn damage_is_refused_and_never_worse() {
    let whole = tar(&[(FILE, "a", ""), (SYMLINK, "b", "a"), (DIRECTORY, "c", "")]);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("a", SimpleFileOptions::default()).unwrap();
    zip.write_all(b"text").unwrap();
    let zip = zip.finish().unwrap().into_inner();
    let gzipped = gzip(&whole);
    for (name, bytes) in [("a.tar", &whole), ("a.zip", &zip), ("a.tgz", &gzipped)] {
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            // What comes out of it is its own affair; `unpack` looks that nothing outside changed.
            let _ = Stage::new().unpack(name, &damaged);
        }
    }
    assert!(Stage::new().unpack("a.tar", b"").is_err(), "nothing at all is no archive");
    assert!(Stage::new().unpack("a.tar", &whole[..514]).is_err(), "cut within a file");
    assert!(Stage::new().unpack("a.tar", &whole[..100]).is_err(), "cut within a header");
    assert!(Stage::new().unpack("a.tgz", &gzipped[..gzipped.len() - 9]).is_err());
    assert!(Stage::new().unpack("a.zip", &zip[..zip.len() - 30]).is_err());
    assert!(Stage::new().unpack("a.zip", b"PK\x05\x06").is_err());
    assert!(Path::new("/etc/passwd").exists());
}

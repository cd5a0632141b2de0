//! Sandboxes: what is made, and what is refused.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

#[test]
fn a_sandbox_has_its_mode_and_its_way() {
    let work = tempfile::tempdir().unwrap();
    create(work.path(), "slaves/a/runs/b", None).unwrap();
    let mode = |path: &str| fs::metadata(work.path().join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("slaves"), mode("slaves/a/runs"), mode("slaves/a/runs/b")), (0o755, 0o755, 0o750));
    open(work.path(), "slaves/a/runs/b").unwrap();
    assert!(matches!(create(work.path(), "slaves/a/runs/b", None), Err(Error::Exists(_))));
    // A second one shares the way.
    create(work.path(), "slaves/a/runs/c", None).unwrap();
}

#[test]
fn what_leads_out_of_the_work_directory_is_refused() {
    let work = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), work.path().join("link")).unwrap();
    fs::write(work.path().join("file"), "x").unwrap();
    for path in ["", "/etc", "a/../b", "..", ".", "a//b", "a/", "a/./b", "a\0b", &"x/".repeat(70), &"x".repeat(300)] {
        assert!(matches!(create(work.path(), path, None), Err(Error::Path { .. })), "{path:?}");
        assert!(matches!(open(work.path(), path), Err(Error::Path { .. })), "{path:?}");
    }
    for path in ["link/x", "file/x"] {
        assert!(matches!(create(work.path(), path, None), Err(Error::NotADirectory { .. })), "{path}");
        assert!(matches!(open(work.path(), path), Err(Error::NotADirectory { .. })), "{path}");
    }
    assert!(matches!(open(work.path(), "link"), Err(Error::NotADirectory { .. })));
    assert!(matches!(create(work.path(), "link", None), Err(Error::Exists(_))));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "something was made outside");
}

#[test]
fn output_goes_to_plain_files_only() {
    let work = tempfile::tempdir().unwrap();
    let sandbox = create(work.path(), "s", None).unwrap();
    let at = |name: &str| work.path().join("s").join(name);
    fs::write(work.path().join("secret"), "secret").unwrap();
    symlink(work.path().join("secret"), at("link")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    fs::hard_link(work.path().join("secret"), at("second_name")).unwrap();
    nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
    fs::create_dir(at("directory")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for name in ["link", "dangling", "second_name", "pipe", "directory", "socket"] {
        assert!(matches!(open_output(&sandbox, name, None), Err(Error::NotAPlainFile(_))), "{name}");
    }
    use std::io::Write;
    open_output(&sandbox, "stdout", None).unwrap().write_all(b"one").unwrap();
    open_output(&sandbox, "stdout", None).unwrap().write_all(b"two").unwrap();
    assert_eq!(fs::read_to_string(at("stdout")).unwrap(), "onetwo");
    assert_eq!(fs::read_to_string(work.path().join("secret")).unwrap(), "secret");
}

proptest! {
    /// Whatever the text: either it is refused, or joining it stays below the work directory.
    #[test]
    fn accepted_paths_stay_inside(path in "[a./\\PC]{0,20}") {
        if let Ok(parts) = components(&path) {
            prop_assert!(parts.iter().all(|part| !part.is_empty() && *part != "." && *part != ".." && !part.contains('/')));
            prop_assert_eq!(parts.join("/"), path);
        }
    }
}

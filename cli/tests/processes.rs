//! What runs on this machine because of a directory, read from `/proc` as an operator would read it.

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::path::{Path, PathBuf};

/// A process as `/proc` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: i32,
    /// Its command line, arguments apart by spaces.
    pub(crate) command: String,
}

/// Every live process that names `directory` in its command line, its environment or its working directory. A task that
/// left its session and its parent still has the environment that it was born with.
pub(crate) fn of(directory: &Path) -> Vec<Process> {
    // The end of its name counts: without a slash behind it.
    let directory: PathBuf = directory.components().collect();
    let needle = directory.as_os_str().as_encoded_bytes();
    let entries = std::fs::read_dir("/proc").expect("Linux has /proc");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
    let mut found: Vec<Process> = pids.filter(|&pid| is_alive(pid) && names(pid, needle)).map(read).collect();
    found.sort_by_key(|process| process.pid);
    found
}

/// Those of them whose command line contains `text`.
pub(crate) fn with(directory: &Path, text: &str) -> Vec<Process> {
    of(directory).into_iter().filter(|process| process.command.contains(text)).collect()
}

/// Whether a process runs; one that waits only to be reaped does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Sends a signal to one process. One that is gone already needs none.
pub(crate) fn signal(pid: i32, signal: Signal) {
    assert!(pid > 1, "a signal to process {pid} would hit others than ours");
    match nix::sys::signal::kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => panic!("no signal to {pid}: {error}"),
    }
}

fn names(pid: i32, needle: &[u8]) -> bool {
    let holds = |file: &str| names_path(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default(), needle);
    let inside = || {
        std::fs::read_link(format!("/proc/{pid}/cwd"))
            .is_ok_and(|path| names_path(path.as_os_str().as_encoded_bytes(), needle))
    };
    holds("cmdline") || holds("environ") || inside()
}

/// Whether `path` itself, or something below it, is named somewhere in `text`: `/tmp/a-40` does not name `/tmp/a-4`.
fn names_path(text: &[u8], path: &[u8]) -> bool {
    let ends = |rest: &[u8]| rest.first().is_none_or(|&next| !(next.is_ascii_alphanumeric() || b"-_.".contains(&next)));
    text.windows(path.len()).enumerate().any(|(at, window)| window == path && ends(&text[at + path.len()..]))
}

#[test]
fn a_directory_is_not_taken_for_one_whose_name_begins_alike() {
    let path = b"/tmp/kaon-test-7-4";
    for text in [&b"--dir\0/tmp/kaon-test-7-4/cluster\0"[..], b"DIR=/tmp/kaon-test-7-4\0A=b", b"/tmp/kaon-test-7-4"] {
        assert!(names_path(text, path), "{}", String::from_utf8_lossy(text));
    }
    for text in [&b"--dir\0/tmp/kaon-test-7-40/cluster\0"[..], b"/tmp/kaon-test-7-4.old", b"/tmp/kaon-test-7-", b""] {
        assert!(!names_path(text, path), "{}", String::from_utf8_lossy(text));
    }
}

fn read(pid: i32) -> Process {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    Process { pid, command: String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned() }
}

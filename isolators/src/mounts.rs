//! What is mounted where, as this process sees it (`proc_pid_mountinfo(5)`).

use crate::process::kernel_text;
use std::io;
use std::path::PathBuf;

/// Every mount point. Cost: reading a file of one line a mount.
pub(crate) fn points() -> io::Result<Vec<PathBuf>> {
    let text = kernel_text("/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).collect())
}

/// The mount points of file systems of these kinds. Cost as above.
pub(crate) fn of(kinds: &[&str]) -> io::Result<Vec<PathBuf>> {
    let text = kernel_text("/proc/self/mountinfo")?;
    let is_one = |line: &&str| {
        // Optional fields end with a dash; the kind is next (`proc_pid_mountinfo(5)`).
        let kind = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next());
        kind.is_some_and(|kind| kinds.contains(&kind))
    };
    Ok(text.lines().filter(is_one).filter_map(|line| line.split(' ').nth(4)).map(unescape).collect())
}

/// `mountinfo` writes space, tab, line feed and backslash as three octal digits.
pub(crate) fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| core::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| byte == b'\\') {
            Some(escaped) => {
                out.push(escaped);
                rest = &after[3..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(out))
}

//! How this process holds memory, settled before anything else: daemons stay small.
//!
//! The allocator asks for huge pages. A daemon touches little in each of its threads' heaps, and every first touch would
//! cost it two megabytes: an idle agent has 4 MB of its own without them and 56 MB with them. The simulator fills what it
//! asks for, and keeps them.

use std::ffi::OsStr;

/// Settles it for the command that this process was started with.
pub(crate) fn settle(command: Option<&OsStr>) {
    if command.is_none_or(|command| command != "sim") {
        // Children inherit it; the launcher lifts it from tasks. A kernel without the flag has no huge pages either.
        let _ = nix::sys::prctl::set_thp_disable(true);
    }
}

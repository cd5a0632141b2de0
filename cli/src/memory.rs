//! How this process holds memory, settled before anything else: daemons stay small, the simulator is quick.
//!
//! The allocator asks for huge pages. A daemon touches little in each of its threads' heaps, and every first touch would
//! cost it two megabytes: an idle agent has 4 MB of its own without them and 57 MB with them. The simulator fills what it
//! asks for, and saves an eighth of its time when it also keeps what it has freed.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The allocator's option, read when a process begins: milliseconds until freed memory goes back, never when negative.
const PURGE_DELAY_VARIABLE: &str = "MIMALLOC_PURGE_DELAY";

/// Settles it for the command that this process was started with.
pub(crate) fn settle(command: Option<&OsStr>) {
    if command.is_some_and(|command| command == "sim") {
        keep_what_is_freed();
    } else {
        // Children inherit it; the launcher lifts it from tasks. A kernel without the flag has no huge pages either.
        let _ = nix::sys::prctl::set_thp_disable(true);
    }
}

/// Begins this process anew with the option set, unless somebody has set it. Where that fails it goes on without.
fn keep_what_is_freed() {
    if std::env::var_os(PURGE_DELAY_VARIABLE).is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| program.clone().into_os_string());
        let _ = Command::new(program).arg0(name).args(arguments).env(PURGE_DELAY_VARIABLE, "-1").exec();
    }
}

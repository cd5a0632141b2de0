//! The log on stderr: what is written there, and how more of it is turned on while a process runs.

use anyhow::Result;
use kaon_http::Verbosity;
use std::io::IsTerminal as _;
use std::sync::{Arc, OnceLock};
use tracing_subscriber::EnvFilter;

/// Sets how much is logged beyond what the process was started with.
type Change = Box<dyn Fn(u32) + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

/// Begins to log what `filter` lets through. Called once.
///
/// # Errors
/// When the filter does not read.
pub(crate) fn begin(filter: &str) -> Result<()> {
    let layers = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(filter)?).with_writer(std::io::stderr);
    // Most of what is logged goes to files: of members, and of executors into their sandboxes.
    let layers = layers.with_ansi(std::io::stderr().is_terminal());
    // A line that can't be written, since the disk is full, is lost: telling of that on stderr would be a panic of whoever
    // said it.
    let layers = layers.log_internal_errors(false).with_filter_reloading();
    let (handle, first) = (layers.reload_handle(), filter.to_owned());
    let _ = CHANGE.set(Box::new(move |level| {
        let wanted = match level {
            0 => first.as_str(),
            1 => "debug",
            _ => "trace",
        };
        // The first filter was read at the start, and the words are of ours.
        if let Ok(filter) = EnvFilter::try_new(wanted) {
            let _ = handle.reload(filter);
        }
    }));
    layers.init();
    Ok(())
}

/// How much this process logs, for its operators.
pub(crate) fn verbosity() -> Arc<Verbosity> {
    Verbosity::new(|level| {
        if let Some(change) = CHANGE.get() {
            change(level);
        }
    })
}

//! Flags of how long an agent keeps what ended executors leave on its disk.

use anyhow::{Result, bail};
use clap::Args;
use kaon_kernel::container::SweepPolicy;
use kaon_kernel::quantity::Quantity;

/// How long sandboxes stay (Mesos's flags of these names, reference 15.2).
#[derive(Args, Debug, Clone)]
pub(crate) struct Sandboxes {
    /// How long the sandbox of an ended executor stays on an empty disk, in seconds; the fuller the disk, the shorter.
    #[arg(long, env = "KAON_GC_DELAY", default_value_t = 604_800.0, value_name = "SECONDS")]
    pub(crate) gc_delay: f64,
    /// The part of the disk that is to stay free: old sandboxes go at once when less is.
    #[arg(long, env = "KAON_GC_DISK_HEADROOM", default_value_t = 0.1, value_name = "PART")]
    pub(crate) gc_disk_headroom: f64,
    /// How often it is looked for old sandboxes, in seconds.
    #[arg(long, env = "KAON_DISK_WATCH_INTERVAL", default_value_t = 60.0, value_name = "SECONDS")]
    pub(crate) disk_watch_interval: f64,
}

impl Sandboxes {
    /// The rule that the agent gives its machine.
    ///
    /// # Errors
    /// When a value is none.
    pub(crate) fn policy(&self) -> Result<SweepPolicy> {
        let part = self.gc_disk_headroom;
        if !(0.0..=1.0).contains(&part) {
            bail!("--gc-disk-headroom {part}: expected a part from 0 to 1");
        }
        let headroom = Quantity((part * 1000.0).round() as u64);
        Ok(SweepPolicy { delay: crate::host::seconds("gc-delay", self.gc_delay)?, headroom })
    }
}

//! The one place of the simulator that looks at the real world: how long a run took, and how much memory.

use kaon_kernel::time::Duration;

/// Measures a run on the wall clock. No result of a simulation depends on it.
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts.
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }
    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The largest resident memory of this process so far in bytes (`VmHWM`, Linux); zero when nobody says.
pub(crate) fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

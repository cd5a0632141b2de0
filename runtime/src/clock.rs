//! The host's clock: the one place in this crate where time is read.

use kaon_kernel::actor::Moment;
use kaon_kernel::time::{Instant, WallTime};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// How old the distance between the two clocks may grow before the wall clock is read again, in nanoseconds (100 ms).
/// Reading one clock per batch of events in place of two halves the cost of a lonely event.
const WALL_AGE_NANOS_MAX: u64 = 100_000_000;

/// The monotonic line of a host, with zero at its start, and the wall clock beside it.
#[derive(Debug)]
pub struct HostClock {
    start: std::time::Instant,
    /// Wall time less monotonic time, in nanoseconds.
    wall_offset_nanos: AtomicU64,
    read_at_nanos: AtomicU64,
}

impl HostClock {
    /// A clock whose line begins now.
    pub fn start() -> Self {
        let start = std::time::Instant::now();
        Self { start, wall_offset_nanos: AtomicU64::new(wall_nanos()), read_at_nanos: AtomicU64::new(0) }
    }

    /// Now on the monotonic line. One reading of the system's clock.
    pub fn now(&self) -> Instant {
        Instant(self.start.elapsed().as_nanos() as u64)
    }

    /// Now on both lines; the wall time follows a change of the system's clock within 100 ms.
    pub fn moment(&self) -> Moment {
        let now = self.now();
        let read_at = self.read_at_nanos.load(Ordering::Relaxed);
        if now.0.saturating_sub(read_at) > WALL_AGE_NANOS_MAX {
            self.wall_offset_nanos.store(wall_nanos().saturating_sub(now.0), Ordering::Relaxed);
            self.read_at_nanos.store(now.0, Ordering::Relaxed);
        }
        Moment { now, wall: WallTime(self.wall_offset_nanos.load(Ordering::Relaxed).saturating_add(now.0)) }
    }

    /// The same point in the time of the runtime below. Not for instants of the far future, which would overflow it.
    pub(crate) fn deadline(&self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + std::time::Duration::from_nanos(at.0))
    }
}

fn wall_nanos() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

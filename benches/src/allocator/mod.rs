//! Load for the allocator's engine, driven as a library: the cases of the peer's own benchmarks, a grid of cluster sizes,
//! and what the books weigh.
//!
//! Costs are processor time of the calling thread: the machine may be shared with others, and the peer's figures are
//! processor time too. Building agents, frameworks and bags is not in them, as it is not in the peer's: there the driver
//! does it, here the [`bed::Bed`] before a clock starts.

pub mod bed;
pub mod grid;
pub mod labels;
pub mod memory;
pub mod peer;
pub mod quota;
pub mod sorters;
pub mod table;

use core::time::Duration;
use nix::time::{ClockId, clock_gettime};
use std::sync::LazyLock;
use std::time::Instant;

/// Processor time that the calling thread has used.
///
/// # Panics
/// When the kernel has no such clock.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has a clock for each thread");
    Duration::new(time.tv_sec() as u64, time.tv_nsec() as u32)
}

/// Milliseconds of processor time that some work takes, and what it answers. What reading the clock takes, measured on no
/// work at all, is taken off: about half a microsecond.
pub fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begin = processor_time();
    let answer = work();
    let spent = (processor_time() - begin).as_secs_f64() * 1e3;
    ((spent - *READING).max(0.0), answer)
}

/// As [`timed`] in wall time, for work of less than a microsecond: this clock is read without a call to the kernel.
pub fn timed_by_the_wall<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begin = Instant::now();
    let answer = work();
    let spent = begin.elapsed().as_secs_f64() * 1e3;
    ((spent - *READING_OF_THE_WALL).max(0.0), answer)
}

/// Milliseconds between two readings of the clock with nothing between them.
static READING: LazyLock<f64> = LazyLock::new(|| {
    let once = || {
        let begin = processor_time();
        (processor_time() - begin).as_secs_f64() * 1e3
    };
    median(&mut (0..1_001).map(|_| once()).collect::<Vec<_>>())
});

/// The same of the wall clock.
static READING_OF_THE_WALL: LazyLock<f64> = LazyLock::new(|| {
    let once = || Instant::now().elapsed().as_secs_f64() * 1e3;
    median(&mut (0..1_001).map(|_| once()).collect::<Vec<_>>())
});

/// The middle one of some measurements; of an even number the lower one of the two in the middle.
///
/// # Panics
/// When there is none.
pub fn median(measurements: &mut [f64]) -> f64 {
    assert!(!measurements.is_empty(), "a median of nothing");
    measurements.sort_by(f64::total_cmp);
    measurements[(measurements.len() - 1) / 2]
}

//! How long things took: the last length of each, and percentiles over a time, under the names of Mesos's timers
//! (reference 16): `X_ms`, then `X_ms/count`, `/min`, `/max`, `/p50`, `/p90`, `/p95`, `/p99`, `/p999`, `/p9999`.
//!
//! At most [`KEPT_MAX`] lengths are kept of each. When that is full every second one of the older half goes, so that
//! what is kept still covers the whole time, the older the coarser (libprocess: `TimeSeries::sparsify`).

use kaon_kernel::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Lengths kept of one thing, as many as libprocess keeps.
const KEPT_MAX: usize = 1000;

/// How long they are kept: libprocess says an hour for rounds of the allocator and a day for the registrar.
const WINDOW: Duration = Duration::secs(24 * 60 * 60);

/// The same, for what happens all the time.
const SHORT_WINDOW: Duration = Duration::secs(60 * 60);

/// The percentiles that are shown.
const PERCENTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999), ("p9999", 0.9999)];

/// The lengths of everything that has some, by name. Cost of one more: a lock that only readers share, and now and then
/// [`KEPT_MAX`] moves.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    all: Mutex<BTreeMap<&'static str, Lengths>>,
}

/// Lengths in the order of their ends.
#[derive(Debug, Default)]
struct Lengths {
    kept: Vec<(Instant, Duration)>,
}

impl Timings {
    pub(crate) fn record(&self, name: &'static str, now: Instant, length: Duration) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let lengths = all.entry(name).or_default();
        if lengths.kept.len() >= KEPT_MAX {
            lengths.thin();
        }
        lengths.kept.push((now, length));
    }

    /// Gives every number with its name to `write`.
    pub(crate) fn read(&self, now: Instant, mut write: impl FnMut(String, f64)) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, lengths) in all.iter() {
            let window = if name.starts_with("registrar/") { WINDOW } else { SHORT_WINDOW };
            let Some((_, last)) = lengths.kept.last() else { continue };
            write(format!("{name}_ms"), milliseconds(*last));
            let recent = lengths.kept.iter().filter(|(at, _)| now.since(*at) <= window);
            let mut sorted: Vec<f64> = recent.map(|(_, length)| milliseconds(*length)).collect();
            sorted.sort_by(f64::total_cmp);
            let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { continue };
            write(format!("{name}_ms/count"), sorted.len() as f64);
            write(format!("{name}_ms/min"), *least);
            write(format!("{name}_ms/max"), *most);
            for (word, part) in PERCENTILES {
                write(format!("{name}_ms/{word}"), percentile(&sorted, part));
            }
        }
    }
}

impl Lengths {
    /// Drops every second one of the older half.
    fn thin(&mut self) {
        let half = self.kept.len() / 2;
        let mut number = 0;
        self.kept.retain(|_| {
            number += 1;
            number > half || number % 2 == 1
        });
    }
}

fn milliseconds(length: Duration) -> f64 {
    length.0 as f64 / 1e6
}

/// Between the two nearest, as far as it lies between them.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let position = part * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(timings: &Timings, now: Instant) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::new();
        timings.read(now, |name, value| {
            all.insert(name, value);
        });
        all
    }

    #[test]
    fn percentiles_lie_between_the_nearest_lengths() {
        let timings = Timings::default();
        for number in 1..=101 {
            timings.record("allocator/mesos/allocation_run", Instant(number), Duration::millis(number));
        }
        let all = read(&timings, Instant(200));
        let value = |word: &str| all[&format!("allocator/mesos/allocation_run_ms{word}")];
        assert_eq!([value(""), value("/count"), value("/min"), value("/max")], [101.0, 101.0, 1.0, 101.0]);
        assert_eq!([value("/p50"), value("/p90"), value("/p95"), value("/p99")], [51.0, 91.0, 96.0, 100.0]);
        assert!((value("/p999") - 100.9).abs() < 1e-9 && (value("/p9999") - 100.99).abs() < 1e-9);
    }

    #[test]
    fn old_lengths_are_kept_the_coarser_and_leave_with_their_window() {
        let timings = Timings::default();
        let second = Duration::secs(1).0;
        for number in 0..10 * KEPT_MAX as u64 {
            timings.record("registrar/state_store", Instant(number * second), Duration::millis(1));
        }
        let count = read(&timings, Instant(10_000 * second))["registrar/state_store_ms/count"];
        assert!((500.0..=1000.0).contains(&count), "{count}");
        let all = timings.all.lock().expect("nobody panicked");
        let kept = &all["registrar/state_store"].kept;
        assert!(kept.is_sorted() && kept[0].0.0 < 2_000 * second, "the oldest is {:?}", kept[0]);
        drop(all);
        let late = read(&timings, Instant(200_000 * second));
        assert_eq!(late.into_iter().collect::<Vec<_>>(), [("registrar/state_store_ms".to_owned(), 1.0)]);
    }
}

//! Numbers: what actors record, and what the host measures of each kind of actor.
//!
//! Writers touch relaxed atomics only. Readers walk the tables and see each number as it was at some time during the
//! walk. Names of actors follow Mesos where it has one (reference 16); the host's own begin with `runtime/`.

use crate::timing::Timings;
use dashmap::DashMap;
use kaon_kernel::actor::{ActorKind, Class};
use kaon_kernel::time::{Duration, Instant};
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CLASSES: [(Class, &str); Class::ALL.len()] = [
    (Class::Outside, "outside"),
    (Class::Ordinary, "ordinary"),
    (Class::Periodic, "periodic"),
    (Class::Guaranteed, "guaranteed"),
];

/// All the numbers of one host.
pub struct Metrics {
    counters: DashMap<&'static str, Arc<AtomicU64>, FxBuildHasher>,
    gauges: DashMap<&'static str, Arc<AtomicU64>, FxBuildHasher>,
    timings: Timings,
    meters: [Arc<Meter>; ActorKind::COUNT],
    /// How long flushes of the journal took.
    pub(crate) flush_time: Histogram,
    /// Batches that the journal wrote.
    pub(crate) batches: AtomicU64,
    /// Frames for other hosts, for nobody, or for actors that do not take them, and events for streams, that were
    /// dropped.
    pub(crate) undeliverable: AtomicU64,
}

/// What the host measures of one kind of actor.
#[derive(Debug, Default)]
pub struct Meter {
    restarts: AtomicU64,
    refused: [AtomicU64; Class::ALL.len()],
    handling: Histogram,
}

impl Meter {
    pub(crate) fn handled(&self, events: u64, took: Duration) {
        self.handling.record_many(Duration(took.0 / events.max(1)), events);
    }
    /// Every event was measured, so the histogram counts them.
    fn events(&self) -> u64 {
        self.handling.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
    pub(crate) fn refused(&self, class: Class) {
        self.refused[class as usize].fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many bounds a histogram has: powers of four from 1 us to 4.2 s, and one bucket above.
const BOUNDS: usize = 12;

/// Durations in fixed buckets, each four times the one before, from one microsecond up.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// Records one duration.
    pub fn record(&self, length: Duration) {
        self.record_many(length, 1);
    }

    /// Records `count` equal durations: the mean of a batch that was measured as one.
    pub fn record_many(&self, length: Duration, count: u64) {
        let micros = length.0.div_ceil(1_000);
        let bits = 64 - micros.saturating_sub(1).leading_zeros() as usize;
        let bucket = bits.div_ceil(2).min(BOUNDS);
        self.buckets[bucket].fetch_add(count, Ordering::Relaxed);
        self.sum_nanos.fetch_add(length.0.saturating_mul(count), Ordering::Relaxed);
    }

    /// What was recorded so far.
    pub fn reading(&self) -> Reading {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BOUNDS);
        for (power, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            if power < BOUNDS {
                buckets.push(((1u64 << (2 * power)) as f64 / 1e6, count));
            }
        }
        Reading::Histogram { buckets, count, sum_seconds: self.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9 }
    }
}

/// One number with its name, or one histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name, with slashes as Mesos writes them.
    pub name: String,
    /// What tells it from others of its name.
    pub labels: Vec<(&'static str, &'static str)>,
    /// Its value and type.
    pub reading: Reading,
}

impl Series {
    /// Its name with its labels as further parts, as Mesos names what it has several of.
    pub fn flat_name(&self) -> String {
        self.labels.iter().fold(self.name.clone(), |name, (_, value)| name + "/" + value)
    }
}

/// A value and its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(f64),
    /// Durations.
    Histogram {
        /// Upper bounds in seconds, each with how many durations were not longer.
        buckets: Vec<(f64, u64)>,
        /// All durations.
        count: u64,
        /// Their sum in seconds.
        sum_seconds: f64,
    },
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            counters: DashMap::default(),
            gauges: DashMap::default(),
            timings: Timings::default(),
            meters: std::array::from_fn(|_| Arc::default()),
            flush_time: Histogram::default(),
            batches: AtomicU64::new(0),
            undeliverable: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// Counts `more` of `name`.
    pub fn add(&self, name: &'static str, more: u64) {
        self.counter(name).fetch_add(more, Ordering::Relaxed);
    }

    /// Sets the gauge `name`.
    pub fn set(&self, name: &'static str, value: f64) {
        self.gauge(name).store(value.to_bits(), Ordering::Relaxed);
    }

    /// Records one of the lengths of `name`, seen at `now`.
    pub fn took(&self, name: &'static str, now: Instant, length: Duration) {
        self.timings.record(name, now, length);
    }

    fn counter(&self, name: &'static str) -> Arc<AtomicU64> {
        Arc::clone(&self.counters.entry(name).or_default())
    }

    fn gauge(&self, name: &'static str) -> Arc<AtomicU64> {
        Arc::clone(&self.gauges.entry(name).or_default())
    }

    pub(crate) fn meter(&self, kind: ActorKind) -> &Arc<Meter> {
        &self.meters[kind as usize]
    }

    /// Every series, in order of names and labels. `depths` has the frames that wait, by kind.
    pub(crate) fn series(&self, depths: &[usize; ActorKind::COUNT], now: Instant) -> Vec<Series> {
        let plain = |name: &str, reading| Series { name: name.to_owned(), labels: Vec::new(), reading };
        let mut all = Vec::new();
        for entry in &self.counters {
            all.push(plain(entry.key(), Reading::Counter(entry.value().load(Ordering::Relaxed))));
        }
        for entry in &self.gauges {
            all.push(plain(entry.key(), Reading::Gauge(f64::from_bits(entry.value().load(Ordering::Relaxed)))));
        }
        self.timings.read(now, |name, value| {
            all.push(Series { name, labels: Vec::new(), reading: Reading::Gauge(value) });
        });
        all.push(plain("runtime/journal/flush_seconds", self.flush_time.reading()));
        all.push(plain("runtime/journal/batches", Reading::Counter(self.batches.load(Ordering::Relaxed))));
        all.push(plain("runtime/undeliverable", Reading::Counter(self.undeliverable.load(Ordering::Relaxed))));
        for (number, meter) in self.meters.iter().enumerate() {
            let kind = ActorKind::from_number(number as u16).filter(|_| meter.events() > 0);
            let Some(kind) = kind else { continue };
            let of_kind = |name: &str, reading| {
                let labels = vec![("actor", kind.word())];
                Series { name: name.to_owned(), labels, reading }
            };
            all.push(of_kind("runtime/events", Reading::Counter(meter.events())));
            all.push(of_kind("runtime/restarts", Reading::Counter(meter.restarts.load(Ordering::Relaxed))));
            all.push(of_kind("runtime/mailbox_depth", Reading::Gauge(depths[number] as f64)));
            all.push(of_kind("runtime/handling_seconds", meter.handling.reading()));
            for (class, word) in CLASSES {
                let reading = Reading::Counter(meter.refused[class as usize].load(Ordering::Relaxed));
                let mut series = of_kind("runtime/refused", reading);
                series.labels.push(("class", word));
                all.push(series);
            }
        }
        all.sort_by(|left, right| (&left.name, &left.labels).cmp(&(&right.name, &right.labels)));
        all
    }
}

/// The numbers that one actor records, found before: recording again takes no shared lock.
#[derive(Default)]
pub(crate) struct Recorded {
    counters: FxHashMap<&'static str, Arc<AtomicU64>>,
    gauges: FxHashMap<&'static str, Arc<AtomicU64>>,
}

impl Recorded {
    pub(crate) fn add(&mut self, metrics: &Metrics, name: &'static str, more: u64) {
        self.counters.entry(name).or_insert_with(|| metrics.counter(name)).fetch_add(more, Ordering::Relaxed);
    }
    pub(crate) fn set(&mut self, metrics: &Metrics, name: &'static str, value: f64) {
        self.gauges.entry(name).or_insert_with(|| metrics.gauge(name)).store(value.to_bits(), Ordering::Relaxed);
    }
}

/// Every number under a flat name, as `/metrics/snapshot` of Mesos has them: labels become parts of the name, and a
/// histogram its count and its sum.
pub fn flatten(series: &[Series]) -> Vec<(String, f64)> {
    let mut flat = Vec::new();
    for one in series {
        let name = one.flat_name();
        match &one.reading {
            Reading::Counter(value) => flat.push((name, *value as f64)),
            Reading::Gauge(value) => flat.push((name, *value)),
            Reading::Histogram { count, sum_seconds, .. } => {
                flat.push((format!("{name}/count"), *count as f64));
                flat.push((format!("{name}/sum"), *sum_seconds));
            }
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_is_not_below_it() {
        let histogram = Histogram::default();
        let expected = [(0, 0), (1, 0), (1_000, 0), (1_001, 1), (4_000, 1), (4_001, 2), (16_000, 2), (u64::MAX, 12)];
        for (nanos, _) in expected {
            histogram.record_many(Duration(nanos), 1);
        }
        let Reading::Histogram { buckets, count, .. } = histogram.reading() else { panic!("not a histogram") };
        assert_eq!(count, expected.len() as u64);
        for (power, (bound, below)) in buckets.iter().enumerate() {
            assert_eq!(*bound, 4f64.powi(power as i32) / 1e6);
            let wanted = expected.iter().filter(|(nanos, _)| *nanos as f64 / 1e9 <= *bound).count();
            assert_eq!(*below, wanted as u64, "bound {bound}");
        }
    }

    #[test]
    fn series_become_numbers_with_flat_names() {
        let metrics = Metrics::default();
        metrics.add("master/tasks_launched", 3);
        metrics.set("master/agents_active", 2.5);
        metrics.meter(ActorKind::Master).handled(2, Duration::micros(8));
        let mut depths = [0; ActorKind::COUNT];
        depths[ActorKind::Master as usize] = 7;
        let series = metrics.series(&depths, Instant(0));
        let flat = flatten(&series);
        for (name, value) in [
            ("master/tasks_launched", 3.0),
            ("master/agents_active", 2.5),
            ("runtime/events/master", 2.0),
            ("runtime/mailbox_depth/master", 7.0),
            ("runtime/handling_seconds/master/count", 2.0),
            ("runtime/handling_seconds/master/sum", 8e-6),
            ("runtime/refused/master/outside", 0.0),
        ] {
            assert!(flat.contains(&(name.to_owned(), value)), "{name} {value} is not in {flat:?}");
        }
    }
}

//! What a master and an agent say alike of their process: flags, version, numbers, how much is logged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use kaon_kernel::time::Duration as Length;
use serde_json::{Map, Value, json};
use tokio::task::AbortHandle;

use crate::answer::{self, Answer};
use crate::metric::Sample;
use crate::v1::mesos as v1;
use crate::{path, version};

/// GET_FLAGS.
pub(crate) fn flags(flags: &BTreeMap<String, String>) -> Vec<v1::Flag> {
    flags.iter().map(|(name, value)| v1::Flag { name: name.clone(), value: Some(value.clone()) }).collect()
}

/// GET_VERSION.
pub(crate) fn version_info() -> v1::VersionInfo {
    v1::VersionInfo { version: version::MESOS_VERSION.to_owned(), ..v1::VersionInfo::default() }
}

/// GET_METRICS. What is no number in JSON is left out.
pub(crate) fn metrics(samples: Vec<Sample>) -> Vec<v1::Metric> {
    let finite = samples.into_iter().filter(|sample| sample.value.is_finite());
    finite.map(|sample| v1::Metric { name: sample.name, value: Some(sample.value) }).collect()
}

/// `/system/stats.json`: the machine, out of the host's numbers.
pub(crate) fn system(samples: &[Sample]) -> Value {
    let named = [
        ("avg_load_1min", "system/load_1min"),
        ("avg_load_5min", "system/load_5min"),
        ("avg_load_15min", "system/load_15min"),
        ("cpus_total", "system/cpus_total"),
        ("mem_total_bytes", "system/mem_total_bytes"),
        ("mem_free_bytes", "system/mem_free_bytes"),
    ];
    let value = |name: &str| samples.iter().find(|sample| sample.name == name).map(|sample| Value::from(sample.value));
    let found = named.into_iter().filter_map(|(shown, name)| Some((shown.to_owned(), value(name)?)));
    Value::Object(found.collect::<Map<_, _>>())
}

/// How much the process logs beyond what it was started with: a level of 0 is nothing more. It goes back to 0 after a time
/// (Mesos: `Logging`).
pub struct Verbosity {
    level: AtomicU32,
    apply: Box<dyn Fn(u32) + Send + Sync>,
    /// The wait for the way back, of which there is one at most.
    back: Mutex<Option<AbortHandle>>,
}

impl core::fmt::Debug for Verbosity {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.debug_struct("Verbosity").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Verbosity {
    /// One at level 0. `apply` is told each new level.
    pub fn new(apply: impl Fn(u32) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { level: AtomicU32::new(0), apply: Box::new(apply), back: Mutex::default() })
    }

    /// One that only remembers.
    pub fn mute() -> Arc<Self> {
        Self::new(|_| ())
    }

    /// The level now.
    pub fn level(&self) -> u32 {
        self.level.load(Ordering::Relaxed)
    }

    fn set(&self, level: u32) {
        self.level.store(level, Ordering::Relaxed);
        (self.apply)(level);
    }

    /// Sets the level for a time; a later call takes the place of an earlier one. To be called within a tokio runtime.
    pub(crate) fn set_for(self: &Arc<Self>, level: u32, time: Duration) {
        let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = back.take() {
            earlier.abort();
        }
        self.set(level);
        let own = Arc::clone(self);
        let waiting = tokio::spawn(async move {
            tokio::time::sleep(time).await;
            own.set(0);
        });
        *back = Some(waiting.abort_handle());
    }

    /// SET_LOGGING_LEVEL.
    pub(crate) fn order(self: &Arc<Self>, level: u32, duration: &v1::DurationInfo) -> Answer {
        match u64::try_from(duration.nanoseconds) {
            Ok(nanoseconds) => {
                self.set_for(level, Duration::from_nanos(nanoseconds));
                answer::empty(StatusCode::OK)
            }
            Err(_) => answer::bad("Expecting 'set_logging_level.duration' not to be negative"),
        }
    }

    /// `/logging/toggle`: tells the level, or with `level` and `duration` sets it for a time.
    pub(crate) fn toggle(self: &Arc<Self>, query: &[(String, String)]) -> Answer {
        let (level, duration) = match (path::value(query, "level"), path::value(query, "duration")) {
            (None, None) => {
                let text = format!("{}\n", self.level());
                return answer::with(StatusCode::OK, "text/plain", text);
            }
            (None, Some(_)) => return answer::bad("Expecting 'level=value' in query"),
            (Some(_), None) => return answer::bad("Expecting 'duration=value' in query"),
            (Some(level), Some(duration)) => (level, duration),
        };
        let Ok(level) = level.parse() else { return answer::bad("Invalid 'level': expecting a whole number") };
        let Some(time) = Length::from_text(duration) else {
            return answer::bad("Invalid 'duration': expecting a number and a unit, such as 10mins");
        };
        self.set_for(level, Duration::from_nanos(time.0));
        answer::empty(StatusCode::OK)
    }
}

/// The body of `/flags`.
pub(crate) fn flags_json(flags: &BTreeMap<String, String>) -> Value {
    json!({ "flags": flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_level_holds_for_its_time_and_the_latest_wins() {
        let verbosity = Verbosity::mute();
        verbosity.set_for(2, Duration::from_secs(10));
        tokio::time::sleep(Duration::from_secs(9)).await;
        verbosity.set_for(1, Duration::from_secs(10));
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(verbosity.level(), 1, "the first wait is called off");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(verbosity.level(), 0);
    }
}

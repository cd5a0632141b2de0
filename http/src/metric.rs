//! Numbers on their way out: `/metrics/snapshot` as Mesos has it, and the text format of Prometheus at `/metrics`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

/// A number with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name as Mesos writes it, such as `master/tasks_running`.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// What it is.
    pub kind: Kind,
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
}

/// Where the numbers of the host come from. Called once a request.
pub type Source = Arc<dyn Fn() -> Vec<Sample> + Send + Sync>;

impl Sample {
    /// A gauge.
    pub fn gauge(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value, kind: Kind::Gauge }
    }
    /// A counter.
    pub fn counter(name: impl Into<String>, value: u64) -> Self {
        Self { name: name.into(), value: value as f64, kind: Kind::Counter }
    }
}

/// The body of `/metrics/snapshot`: an object of numbers. What is no number in JSON is left out.
pub(crate) fn snapshot(samples: &[Sample]) -> Value {
    let finite = samples.iter().filter(|sample| sample.value.is_finite());
    Value::Object(finite.map(|sample| (sample.name.clone(), Value::from(sample.value))).collect())
}

/// The body of `/metrics`: text format 0.0.4. What a name may not hold becomes an underscore.
pub(crate) fn prometheus(samples: &[Sample]) -> String {
    let mut named: BTreeMap<String, &Sample> = BTreeMap::new();
    for sample in samples {
        let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
        let mut name: String = sample.name.chars().map(legal).collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert(0, '_');
        }
        named.insert(name, sample);
    }
    let mut text = String::new();
    for (name, sample) in named {
        let kind = match sample.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let value = sample.value;
        // Writing to a string can't fail.
        let _ = if value.is_infinite() {
            let sign = if value > 0.0 { "+Inf" } else { "-Inf" };
            writeln!(text, "# TYPE {name} {kind}\n{name} {sign}")
        } else {
            writeln!(text, "# TYPE {name} {kind}\n{name} {value}")
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_legal_in_both_forms() {
        let samples = [
            Sample::gauge("master/cpus_percent", 0.25),
            Sample::counter("runtime/events", 7),
            Sample::gauge("1st", f64::INFINITY),
            Sample::gauge("none", f64::NAN),
        ];
        let text = prometheus(&samples);
        assert!(text.contains("# TYPE master_cpus_percent gauge\nmaster_cpus_percent 0.25\n"), "{text}");
        assert!(text.contains("# TYPE runtime_events counter\nruntime_events 7\n"), "{text}");
        assert!(text.contains("_1st +Inf\n") && text.contains("none NaN\n"), "{text}");
        let json = snapshot(&samples);
        assert_eq!(json, serde_json::json!({"master/cpus_percent": 0.25, "runtime/events": 7.0}));
    }
}

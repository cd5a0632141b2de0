//! Numbers on their way out: `/metrics/snapshot` as Mesos has it, and the text format of Prometheus at `/metrics`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
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
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How many values there were.
    Histogram {
        /// Upper bounds, each with how many values were not above it, in order.
        buckets: Vec<(f64, u64)>,
        /// The sum of the values.
        sum: f64,
    },
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

/// The body of `/metrics/snapshot`: an object of numbers, of a histogram its count and its sum. What is no number in JSON is
/// left out.
pub(crate) fn snapshot(samples: &[Sample]) -> Value {
    let mut all = serde_json::Map::new();
    let mut put = |name: String, value: f64| {
        if value.is_finite() {
            all.insert(name, Value::from(value));
        }
    };
    for Sample { name, value, kind } in samples {
        match kind {
            Kind::Counter | Kind::Gauge => put(name.clone(), *value),
            Kind::Histogram { sum, .. } => {
                put(format!("{name}/count"), *value);
                put(format!("{name}/sum"), *sum);
            }
        }
    }
    Value::Object(all)
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
    for (name, Sample { value, kind, .. }) in named {
        // Writing to a string can't fail.
        let _ = match kind {
            Kind::Counter => writeln!(text, "# TYPE {name} counter\n{name} {}", Number(*value)),
            Kind::Gauge => writeln!(text, "# TYPE {name} gauge\n{name} {}", Number(*value)),
            Kind::Histogram { buckets, sum } => write_histogram(&mut text, &name, buckets, *value, *sum),
        };
    }
    text
}

fn write_histogram(text: &mut String, name: &str, buckets: &[(f64, u64)], count: f64, sum: f64) -> fmt::Result {
    writeln!(text, "# TYPE {name} histogram")?;
    for (bound, count) in buckets {
        writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}")?;
    }
    writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {}\n{name}_count {count}", Number(sum))
}

/// A number as the text format writes it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_infinite() {
            true => formatter.write_str(if self.0 > 0.0 { "+Inf" } else { "-Inf" }),
            false => self.0.fmt(formatter),
        }
    }
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
            Sample {
                name: "wait/seconds".to_owned(),
                value: 3.0,
                kind: Kind::Histogram { buckets: vec![(0.5, 1), (1.0, 2)], sum: 4.5 },
            },
        ];
        let text = prometheus(&samples);
        assert!(text.contains("# TYPE master_cpus_percent gauge\nmaster_cpus_percent 0.25\n"), "{text}");
        assert!(text.contains("# TYPE runtime_events counter\nruntime_events 7\n"), "{text}");
        assert!(text.contains("_1st +Inf\n") && text.contains("none NaN\n"), "{text}");
        let histogram = "# TYPE wait_seconds histogram\nwait_seconds_bucket{le=\"0.5\"} 1\nwait_seconds_bucket{le=\"1\"} 2\n\
            wait_seconds_bucket{le=\"+Inf\"} 3\nwait_seconds_sum 4.5\nwait_seconds_count 3\n";
        assert!(text.contains(histogram), "{text}");
        let json = snapshot(&samples);
        let expected = serde_json::json!({"master/cpus_percent": 0.25, "runtime/events": 7.0,
            "wait/seconds/count": 3.0, "wait/seconds/sum": 4.5});
        assert_eq!(json, expected);
    }
}

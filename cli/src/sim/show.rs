//! Summaries on the terminal.

use crate::table::Table;
use kaon_sim::study::{Spread, Summary};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The metrics that are looked at first, a column for each policy, and what failed.
pub(super) fn summary(summary: &Summary) -> String {
    let policies: Vec<&str> = summary.policies.iter().map(|policy| policy.policy.as_str()).collect();
    let mut table = Table::new(&[&["metric"], policies.as_slice()].concat());
    for name in summary.headline() {
        let cell = |policy: &kaon_sim::study::PolicySummary| policy.metrics.get(name).map_or_else(String::new, spread);
        table.row([name.to_owned()].into_iter().chain(summary.policies.iter().map(cell)).collect());
    }
    let seeds = summary.policies.first().map_or(0, |policy| policy.seeds.len());
    let mut text = table.to_string();
    for (policy, seed, what) in summary.failures() {
        _ = writeln!(text, "\npolicy {policy}, seed {seed}\n{what}");
    }
    if let [policy] = summary.policies.as_slice()
        && let [run] = policy.seeds.as_slice()
    {
        _ = writeln!(text, "trace hash  {}", run.trace_hash);
    }
    let speed = &summary.speed;
    _ = writeln!(
        text,
        "{}: {} policies x {seeds} seeds, {} events in {:.2} s ({:.0} a second, {} at a time)",
        summary.scenario,
        policies.len(),
        speed.events,
        speed.wall_seconds,
        speed.events_per_second,
        speed.jobs
    );
    text
}

/// A mean with half the width of its interval of confidence.
pub(super) fn spread(spread: &Spread) -> String {
    match spread.ci95 {
        // What is less than the rounding of the mean is no spread.
        Some([low, high]) if high - low > spread.mean.abs() * 1e-12 => {
            format!("{} ± {}", number(spread.mean), number((high - low) / 2.0))
        }
        _ => number(spread.mean),
    }
}

/// Five digits that count.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e12).contains(&size) {
        return format!("{value:.4e}");
    }
    let digits =
        if size >= 10_000.0 || size == 0.0 { 0 } else { (4 - size.log10().floor() as i32).clamp(0, 8) as usize };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// How many of the rarest marks are named.
const RAREST: usize = 5;

/// What many seeds reached: how many marks, and the rarest of them.
pub(super) fn marks(reached: &BTreeMap<String, u64>) -> String {
    let mut rarest: Vec<(&String, &u64)> = reached.iter().collect();
    rarest.sort_by_key(|&(mark, seeds)| (seeds, mark));
    let mut text = format!("{} marks reached", reached.len());
    for (position, (mark, seeds)) in rarest.into_iter().take(RAREST).enumerate() {
        let lead = if position == 0 { "; the rarest:" } else { "," };
        _ = write!(text, "{lead} {mark} ({seeds})");
    }
    text
}

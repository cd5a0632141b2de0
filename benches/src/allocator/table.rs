//! Rows of measurements beside the peer's figures, and how they are printed.

use super::median;
use std::collections::BTreeMap;

/// One measured phase of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The case by the name that the peer gives it.
    pub case: &'static str,
    /// Size of the cluster.
    pub shape: String,
    /// What was timed.
    pub phase: &'static str,
    /// Processor time in milliseconds.
    pub ours: f64,
    /// The peer's in milliseconds; `None` where it was never measured.
    pub peer: Option<f64>,
    /// How many times less ours is meant to be.
    pub goal: f64,
    /// What came of it: offers made.
    pub offers: Option<usize>,
}

/// Where the peer's cost grows with agents and frameworks, or roles, alike.
pub const GOAL_WHERE_QUADRATIC: f64 = 400.0;

/// Everywhere else.
pub const GOAL: f64 = 50.0;

impl Row {
    /// A row with the common goal and without a figure of the peer.
    pub fn new(case: &'static str, shape: String, phase: &'static str, ours: f64) -> Self {
        Self { case, shape, phase, ours, peer: None, goal: GOAL, offers: None }
    }

    /// With the peer's figure, when there is one.
    pub fn beside(mut self, peer: impl Into<Option<f64>>) -> Self {
        self.peer = peer.into();
        self
    }

    /// Where the peer's cost is quadratic.
    pub fn quadratic(mut self) -> Self {
        self.goal = GOAL_WHERE_QUADRATIC;
        self
    }

    /// With the number of offers.
    pub fn offering(mut self, offers: usize) -> Self {
        self.offers = Some(offers);
        self
    }

    /// How many times less than the peer's ours is.
    pub fn ratio(&self) -> Option<f64> {
        self.peer.map(|peer| peer / self.ours)
    }
}

/// Runs a case several times; each row has the median of its processor times.
///
/// # Panics
/// When two rows of a case have the same name, size and phase: their measurements would be one.
pub fn medians(runs: usize, mut case: impl FnMut() -> Vec<Row>) -> Vec<Row> {
    // By all that tells one row from another: two cases can have the same sizes and phases.
    let key = |row: &Row| (row.case, row.shape.clone(), row.phase);
    let mut spent: BTreeMap<(&str, String, &str), Vec<f64>> = BTreeMap::new();
    let mut rows = Vec::new();
    for _ in 0..runs.max(1) {
        rows = case();
        for row in &rows {
            spent.entry(key(row)).or_default().push(row.ours);
        }
    }
    for row in &mut rows {
        let measurements = spent.get_mut(&key(row)).expect("every row was measured");
        assert_eq!(measurements.len(), runs.max(1), "one measurement of {row:?} for each run");
        row.ours = median(measurements);
    }
    rows
}

/// A number with about three digits.
pub fn digits(number: f64) -> String {
    match number {
        number if number >= 100.0 => format!("{number:.0}"),
        number if number >= 10.0 => format!("{number:.1}"),
        number if number >= 1.0 => format!("{number:.2}"),
        number => format!("{number:.4}"),
    }
}

/// The head of a table that [`line()`] continues.
pub const HEAD: &str = "| case | agents x frameworks | phase | offers | ours ms | Mesos ms | ratio | goal | met |\n\
                        |---|---|---|---:|---:|---:|---:|---:|---|";

/// One line of the table in Markdown.
pub fn line(row: &Row) -> String {
    let Row { case, shape, phase, ours, peer, goal, offers } = row;
    let offers = offers.map_or_else(String::new, |offers| offers.to_string());
    let ours = digits(*ours);
    let (peer, ratio, goal, met) = match (peer, row.ratio()) {
        (Some(peer), Some(ratio)) => {
            (digits(*peer), digits(ratio), goal.to_string(), if ratio >= *goal { "yes" } else { "no" })
        }
        _ => (String::new(), String::new(), String::new(), ""),
    };
    format!("| {case} | {shape} | {phase} | {offers} | {ours} | {peer} | {ratio} | {goal} | {met} |")
}

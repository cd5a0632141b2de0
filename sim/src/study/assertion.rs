//! Assertions on a summary: `jct.p99 < 600`, `fgd:gpu_allocation_ratio > random:gpu_allocation_ratio`.
//!
//! Each side is a number or a metric; a dot in a metric's name counts as an underscore. A metric stands for its mean over
//! the seeds. Without a policy before it, the assertion is made of every policy of the study.

use super::error::Error;
use super::metrics::listing::{self, METRICS, STATISTICS};
use super::nearest::hint;
use super::summary::{PolicySummary, Summary};
use std::fmt;

/// How two sides are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Unequal,
}

/// Longer ones first: `<=` begins as `<` does.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<", Comparison::Less),
    (">", Comparison::More),
];

impl Comparison {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::More => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
            Self::Unequal => left != right,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Side {
    Number(f64),
    Metric { policy: Option<String>, name: String },
}

/// A claim about a study.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    text: String,
    left: Side,
    comparison: Comparison,
    right: Side,
}

/// What became of an assertion for one policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The assertion as it was written.
    pub assertion: String,
    /// The policy that it was made of.
    pub policy: String,
    /// Nothing when it holds, else a sentence that says what was found.
    pub failure: Option<String>,
}

impl Assertion {
    /// Reads an assertion.
    ///
    /// # Errors
    /// No comparison, a side that is neither a number nor a metric; the nearest metric is named.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::Assertion { text: text.to_owned(), why };
        let found = COMPARISONS.iter().filter_map(|(sign, comparison)| Some((text.find(sign)?, sign, *comparison)));
        // The first sign in the text; of two that begin at one place the longer.
        let first = found.min_by_key(|(at, sign, _)| (*at, usize::MAX - sign.len()));
        let (at, sign, comparison) = first.ok_or_else(|| wrong("has none of < <= > >= == !=".to_owned()))?;
        let (left, right) = (side(&text[..at]).map_err(wrong)?, side(&text[at + sign.len()..]).map_err(wrong)?);
        if let (Side::Number(_), Side::Number(_)) = (&left, &right) {
            return Err(wrong("compares two numbers".to_owned()));
        }
        Ok(Self { text: text.trim().to_owned(), left, comparison, right })
    }

    /// What becomes of it, for each policy that it is made of.
    ///
    /// # Errors
    /// A policy that the study does not have.
    pub fn judge(&self, summary: &Summary) -> Result<Vec<Verdict>, Error> {
        let named = [&self.left, &self.right].into_iter().filter_map(|side| match side {
            Side::Metric { policy: Some(policy), .. } => Some(policy.as_str()),
            _ => None,
        });
        let has = |name: &str| summary.policies.iter().any(|one| one.policy == name);
        if let Some(unknown) = named.clone().find(|name| !has(name)) {
            let near = hint(unknown, summary.policies.iter().map(|one| one.policy.as_str()));
            let why = format!("is about policy '{unknown}', which the study does not have{near}");
            return Err(Error::Assertion { text: self.text.clone(), why });
        }
        let is_open = |side: &Side| matches!(side, Side::Metric { policy: None, .. });
        if is_open(&self.left) || is_open(&self.right) {
            return Ok(summary.policies.iter().map(|policy| self.verdict(summary, policy)).collect());
        }
        let first = named.clone().next().and_then(|name| summary.policies.iter().find(|one| one.policy == name));
        Ok(first.map(|policy| self.verdict(summary, policy)).into_iter().collect())
    }

    fn verdict(&self, summary: &Summary, policy: &PolicySummary) -> Verdict {
        let value = |side: &Side| match side {
            Side::Number(number) => Ok(*number),
            Side::Metric { policy: own, name } => {
                let named = own.as_ref().and_then(|own| summary.policies.iter().find(|one| one.policy == *own));
                let policy = named.unwrap_or(policy);
                let found = policy.metrics.get(name).map(|spread| spread.mean);
                found.ok_or_else(|| format!("{} has no {name} in this study", policy.policy))
            }
        };
        let failure = match (value(&self.left), value(&self.right)) {
            (Err(why), _) | (_, Err(why)) => Some(format!("\"{}\" can't be judged: {why}", self.text)),
            (Ok(left), Ok(right)) if self.comparison.holds(left, right) => None,
            (Ok(left), Ok(right)) => {
                let left = Found(&self.left, &policy.policy, left);
                let right = Found(&self.right, &policy.policy, right);
                Some(format!("\"{}\" does not hold: {left}, {right}", self.text))
            }
        };
        Verdict { assertion: self.text.clone(), policy: policy.policy.clone(), failure }
    }
}

/// A side with what was found for it, in words.
struct Found<'a>(&'a Side, &'a str, f64);

impl fmt::Display for Found<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Side::Number(number) => write!(formatter, "the bound is {number}"),
            Side::Metric { policy, name } => {
                write!(formatter, "{name} of {} is {}", policy.as_deref().unwrap_or(self.1), self.2)
            }
        }
    }
}

fn side(text: &str) -> Result<Side, String> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return if number.is_finite() { Ok(Side::Number(number)) } else { Err(format!("has {text} for a number")) };
    }
    let (policy, name) = text.split_once(':').map_or((None, text), |(policy, name)| (Some(policy.trim()), name.trim()));
    let name = name.replace('.', "_");
    if !listing::is_known(&name) {
        if let Some(family) = METRICS.iter().find(|row| row.name.strip_suffix("_*") == Some(name.as_str())) {
            let (all, statistics) = (family.about, STATISTICS.join(", "));
            return Err(format!("names all of {} ({all}): say which; statistics are {statistics}", family.name));
        }
        let near = hint(&name, METRICS.iter().map(|row| row.name.trim_end_matches("_*")));
        return Err(format!("names no metric by '{name}'{near}"));
    }
    Ok(Side::Metric { policy: policy.map(str::to_owned), name })
}

/// Verdicts as a JUnit report, which continuous integration reads: one test case for each.
pub fn junit(scenario: &str, verdicts: &[Verdict]) -> String {
    let failures = verdicts.iter().filter(|verdict| verdict.failure.is_some()).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\">\n",
        escape(scenario),
        verdicts.len()
    );
    for verdict in verdicts {
        let head = format!(
            "  <testcase classname=\"{}.{}\" name=\"{}\"",
            escape(scenario),
            escape(&verdict.policy),
            escape(&verdict.assertion)
        );
        match &verdict.failure {
            None => text.push_str(&format!("{head}/>\n")),
            Some(why) => {
                text.push_str(&format!("{head}>\n    <failure message=\"{}\"/>\n  </testcase>\n", escape(why)))
            }
        }
    }
    text.push_str("</testsuite>\n");
    text
}

fn escape(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

//! Assertions about a study, and two studies side by side.

use super::show::number;
use super::study::carry_out;
use crate::arguments::{Check, Compare};
use crate::table::{Table, say};
use anyhow::{Context, Result};
use kaon_sim::study::Summary;
use kaon_sim::study::assertion::{Assertion, Verdict, junit};
use kaon_sim::study::compare::{Difference, compare as differences};

/// `kaon sim check`.
pub(super) fn check(arguments: &Check) -> Result<i32> {
    // A mistake in an assertion shows before anything runs.
    let assertions = arguments.assertions.iter().map(|text| Assertion::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let summary = carry_out(&arguments.scenario, &arguments.how, arguments.seeds.as_deref())?;
    let mut verdicts: Vec<Verdict> = Vec::new();
    for assertion in &assertions {
        verdicts.extend(assertion.judge(&summary)?);
    }
    for (policy, seed, what) in summary.failures() {
        let failure = Some(format!("seed {seed}: {}", what.lines().next().unwrap_or_default()));
        verdicts.push(Verdict { assertion: "every claim holds".to_owned(), policy: policy.to_owned(), failure });
    }
    if let Some(path) = &arguments.junit {
        std::fs::write(path, junit(&summary.scenario, &verdicts))
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    let failed: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.failure.is_some()).collect();
    for verdict in &failed {
        say(verdict.failure.as_deref().unwrap_or_default())?;
    }
    let held = verdicts.len() - failed.len();
    let noun = if held == 1 { "assertion" } else { "assertions" };
    say(format_args!("{held} {noun} held, {} did not", failed.len()))?;
    Ok(i32::from(!failed.is_empty()))
}

/// `kaon sim compare`.
pub(super) fn compare(arguments: &Compare) -> Result<i32> {
    let (before, after) = (Summary::open(&arguments.before)?, Summary::open(&arguments.after)?);
    let found = differences(&before, &after);
    let is_shown = |one: &&Difference| arguments.all || one.is_beyond_chance() != Some(false);
    if arguments.json {
        let shown: Vec<_> = found
            .differences
            .iter()
            .filter(is_shown)
            .map(|one| {
                serde_json::json!({ "policy": one.policy, "metric": one.metric, "before": one.before, "after": one.after,
                    "difference": one.paired, "beyond_chance": one.is_beyond_chance() })
            })
            .collect();
        let value = serde_json::json!({ "differences": shown, "runs_common": found.runs_common,
            "traces_equal": found.traces_equal, "policies_apart": found.policies_apart });
        say(serde_json::to_string_pretty(&value)?)?;
        return Ok(0);
    }
    let mut table = Table::new(&["policy", "metric", "before", "after", "change", "95 % of the change"]);
    for one in found.differences.iter().filter(is_shown) {
        let interval = one.paired.and_then(|spread| spread.ci95);
        let interval = interval.map_or_else(String::new, |[low, high]| format!("{} .. {}", number(low), number(high)));
        let change = match one.before {
            0.0 => number(one.after - one.before),
            before => format!("{:+.2} %", (one.after / before - 1.0) * 100.0),
        };
        table.row(vec![
            one.policy.clone(),
            one.metric.clone(),
            number(one.before),
            number(one.after),
            change,
            interval,
        ]);
    }
    say(table.to_string().trim_end())?;
    if !found.policies_apart.is_empty() {
        say(format_args!("only in one of them: {}", found.policies_apart.join(", ")))?;
    }
    let hidden = found.differences.len() - found.differences.iter().filter(is_shown).count();
    say(format_args!(
        "{} of {} common runs have the same trace; {hidden} differences that may be chance are not shown",
        found.traces_equal, found.runs_common
    ))?;
    Ok(0)
}

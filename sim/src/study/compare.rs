//! Two studies side by side: what changed, and whether more than chance.

use super::statistic::Spread;
use super::summary::Summary;

/// One metric of one policy in both studies.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The policy.
    pub policy: String,
    /// The metric.
    pub metric: String,
    /// Its mean in the first study.
    pub before: f64,
    /// Its mean in the second.
    pub after: f64,
    /// The mean difference, second less first, with its interval of confidence: of the differences seed by seed where
    /// both studies ran the same seeds; none where they did not.
    pub paired: Option<Spread>,
}

/// What two studies say of each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Metrics that both have, by policy and name. Those that are equal in every run are left out.
    pub differences: Vec<Difference>,
    /// Runs (policy and seed) that both have.
    pub runs_common: usize,
    /// Of these, the ones with the same trace.
    pub traces_equal: usize,
    /// Policies that only one of them has.
    pub policies_apart: Vec<String>,
}

impl Difference {
    /// Whether the interval of confidence leaves zero out; none where there is no interval.
    pub fn is_beyond_chance(&self) -> Option<bool> {
        let [low, high] = self.paired?.ci95?;
        Some(low > 0.0 || high < 0.0)
    }
}

/// Compares two studies.
pub fn compare(before: &Summary, after: &Summary) -> Comparison {
    let mut comparison = Comparison::default();
    let names = |one: &Summary| one.policies.iter().map(|policy| policy.policy.clone()).collect::<Vec<_>>();
    let (left, right) = (names(before), names(after));
    comparison.policies_apart.extend(left.iter().filter(|name| !right.contains(name)).cloned());
    comparison.policies_apart.extend(right.iter().filter(|name| !left.contains(name)).cloned());
    for old in &before.policies {
        let Some(new) = after.policies.iter().find(|one| one.policy == old.policy) else { continue };
        let pairs: Vec<_> = old
            .seeds
            .iter()
            .filter_map(|run| Some((run, new.seeds.iter().find(|other| other.seed == run.seed)?)))
            .collect();
        comparison.runs_common += pairs.len();
        comparison.traces_equal += pairs.iter().filter(|(old, new)| old.trace_hash == new.trace_hash).count();
        let is_paired = pairs.len() == old.seeds.len() && pairs.len() == new.seeds.len();
        for (metric, spread) in &old.metrics {
            let Some(other) = new.metrics.get(metric) else { continue };
            let gaps = pairs.iter().filter_map(|(old, new)| Some(new.metrics.get(metric)? - old.metrics.get(metric)?));
            let gaps: Vec<f64> = gaps.collect();
            if is_paired && gaps.iter().all(|gap| *gap == 0.0) {
                continue;
            }
            let (policy, metric) = (old.policy.clone(), metric.clone());
            let paired = if is_paired { Spread::of(&gaps) } else { None };
            comparison.differences.push(Difference { policy, metric, before: spread.mean, after: other.mean, paired });
        }
    }
    comparison
}

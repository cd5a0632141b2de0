//! Fair division: what each tenant gets of one pool under a rule, in fractions of tasks and in whole ones (reference
//! `policies.md`, section 1). No time passes.

use super::{Engine, Outcome, PolicyRow};
use crate::record::Digest;
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::metrics::enter;
use crate::study::metrics::fairness::{dominant, jain};
use crate::study::scenario::{Scenario, Settings};
use crate::table::{Column, Table};
use kaon_actors::allocator::policy::{Division, Problem, Rule, Service, Tenant, Unfit, divide, serve};
use kaon_kernel::chance::Chance;

/// The rules.
pub(super) const POLICIES: &[PolicyRow] = &[
    PolicyRow { name: "drf", about: "equal dominant shares" },
    PolicyRow { name: "asset-fairness", about: "equal sums of shares over all resources" },
    PolicyRow { name: "ceei", about: "the market equilibrium of equal incomes" },
    PolicyRow { name: "max-min", about: "equal amounts of CPU" },
    PolicyRow { name: "strict-priority", about: "higher classes first, DRF inside a class" },
    PolicyRow { name: "lottery", about: "each tenant drawn with the probability of its weight; whole tasks only" },
];

/// The resources of a pool, in the order of its vectors: thousandths of cores, MiB, thousandths of GPUs.
const RESOURCES: [&str; 3] = ["cpus", "mem", "gpus"];

/// A pool and those who want of it.
pub(super) struct Sharing {
    problem: Problem,
    unfit: Unfit,
}

fn amounts(settings: &Settings, prefix: &str) -> Vec<u64> {
    let thousandths = |name: &str| (settings.number(&format!("{prefix}{name}")) * 1000.0).round() as u64;
    vec![thousandths("cpus"), settings.mebibytes(&format!("{prefix}memory")), thousandths("gpus")]
}

impl Sharing {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let tenant = |row: &Settings| Tenant {
            weight: row.count("weight"),
            tasks_max: Some(row.count("tasks")).filter(|&tasks| tasks > 0),
            class: u32::try_from(row.count("class")).unwrap_or(u32::MAX),
            ..Tenant::new(row.text("name"), &amounts(row, ""))
        };
        let tenants: Vec<Tenant> = settings.rows("tenant").iter().map(tenant).collect();
        if tenants.is_empty() {
            return Err(Error::Unfit("no tenants: add a [[tenant]]".to_owned()));
        }
        super::words(settings.rows("tenant"))?;
        let unfit = if settings.text("engine.unfit") == "stop" { Unfit::Stop } else { Unfit::Skip };
        Ok(Self { problem: Problem { capacity: amounts(settings, "cluster."), tenants }, unfit })
    }

    /// The dominant share of so many tasks of a tenant.
    fn share(&self, tenant: &Tenant, tasks: f64) -> f64 {
        let part = |one: usize| match self.problem.capacity[one] {
            0 => 0.0,
            capacity => tenant.demand[one] as f64 * tasks / capacity as f64,
        };
        dominant(&[part(0), part(1), part(2)])
    }
}

impl Engine for Sharing {
    fn run(&self, policy: &str, seed: u64, _: &mut Meter<'_>) -> Result<Outcome, String> {
        let rule = match policy {
            "drf" => Rule::Drf,
            "asset-fairness" => Rule::Asset,
            "ceei" => Rule::Ceei,
            "max-min" => Rule::MaxMin { resource: 0 },
            "strict-priority" => Rule::StrictPriority(Box::new(Rule::Drf)),
            "lottery" => Rule::Lottery,
            other => return Err(format!("there is no rule {other}")),
        };
        let mut outcome = Outcome::default();
        let mut digest = Digest::new();
        let tenants = &self.problem.tenants;
        let whole =
            serve(&self.problem, &rule, self.unfit, &mut Chance::new(seed)).map_err(|error| error.to_string())?;
        let tasks: Vec<f64> = if rule == Rule::Lottery {
            whole.tasks.iter().map(|&tasks| tasks as f64).collect()
        } else {
            let division: Division<f64> = divide(&self.problem, &rule).map_err(|error| error.to_string())?;
            division.tasks
        };
        let metrics = &mut outcome.metrics;
        let mut shares = Vec::new();
        for ((tenant, &tasks), &count) in tenants.iter().zip(&tasks).zip(&whole.tasks) {
            let share = self.share(tenant, tasks);
            enter(metrics, format!("tasks_{}", tenant.name), Some(tasks));
            enter(metrics, format!("whole_tasks_{}", tenant.name), Some(count as f64));
            enter(metrics, format!("dominant_share_{}", tenant.name), Some(share));
            digest.text(&tenant.name);
            digest.unsigned(tasks.to_bits());
            digest.unsigned(count);
            shares.push(share / tenant.weight as f64);
        }
        whole.picks.iter().for_each(|&pick| digest.unsigned(pick as u64));
        enter(metrics, "jain_index", jain(&shares));
        for (one, name) in RESOURCES.into_iter().enumerate() {
            let used: f64 = tenants.iter().zip(&tasks).map(|(tenant, tasks)| tenant.demand[one] as f64 * tasks).sum();
            let capacity = self.problem.capacity[one];
            enter(metrics, format!("utilisation_{name}"), (capacity > 0).then(|| used / capacity as f64));
        }
        outcome.events = whole.picks.len() as u64;
        outcome.trace_hash = digest.finish();
        outcome.course = Some(self.steps(&whole));
        Ok(outcome)
    }
}

impl Sharing {
    /// Dominant shares after each whole task that was given.
    fn steps(&self, whole: &Service) -> Table {
        // What was not given one by one was there from the beginning.
        let mut counts: Vec<f64> = whole.tasks.iter().map(|&tasks| tasks as f64).collect();
        whole.picks.iter().for_each(|&pick| counts[pick] -= 1.0);
        let picks = &whole.picks;
        let mut shares: Vec<Vec<f64>> = vec![Vec::new(); counts.len()];
        for &pick in picks {
            counts[pick] += 1.0;
            for (tenant, column) in shares.iter_mut().enumerate() {
                column.push(self.share(&self.problem.tenants[tenant], counts[tenant]));
            }
        }
        let steps = (1..=picks.len()).map(|step| step as f64).collect();
        let table = Table::new().with("step", Column::Real(steps));
        let columns = self.problem.tenants.iter().zip(shares);
        columns
            .fold(table, |table, (tenant, column)| table.with(format!("share_{}", tenant.name), Column::Real(column)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::meter::Sum;
    use std::path::Path;

    #[test]
    fn the_example_of_the_paper() {
        let scenario = Scenario::open(Path::new("drf-example"), &[]).unwrap_or_else(|error| panic!("{error}"));
        let engine = Sharing::open(&scenario).unwrap_or_else(|error| panic!("{error}"));
        let sum = Sum::new(1, &|_| ());
        // Tasks of A and B (policies 8.1).
        for (policy, a, b) in [("drf", 3.0, 2.0), ("asset-fairness", 2.52, 2.16), ("ceei", 45.0 / 11.0, 18.0 / 11.0)] {
            let outcome = engine.run(policy, 1, &mut Meter::new(&sum)).unwrap_or_else(|error| panic!("{error}"));
            let found = [outcome.metrics["tasks_a"], outcome.metrics["tasks_b"]];
            assert!((found[0] - a).abs() < 1e-6 && (found[1] - b).abs() < 1e-6, "{policy}: {found:?}");
        }
    }
}

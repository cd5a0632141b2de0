//! Tests of fair division and of the sorters.

mod fairness;
mod market;
mod order;
mod whole;
mod worked;

use super::*;
use proptest::prelude::*;

fn problem(capacity: &[u64], tenants: &[(&str, &[u64])]) -> Problem {
    let tenants = tenants.iter().map(|(name, demand)| Tenant::new(name, demand)).collect();
    Problem { capacity: capacity.to_vec(), tenants }
}

fn weighted(mut problem: Problem, weights: &[u64]) -> Problem {
    problem.tenants.iter_mut().zip(weights).for_each(|(tenant, weight)| tenant.weight = *weight);
    problem
}

/// The tasks that a rule gives, as fractions.
fn shared(problem: &Problem, rule: &Rule) -> Vec<Fraction> {
    divide(problem, rule).expect("a problem of a test can be divided").tasks
}

fn of(over: i64, under: i64) -> Fraction {
    Fraction::new(over, under)
}

/// Small problems, in which some tenants may do without some resources.
fn any_problem(tenants: core::ops::Range<usize>, need_min: u64) -> impl Strategy<Value = Problem> {
    (1usize..4).prop_flat_map(move |resources| {
        let demand = prop::collection::vec(need_min..7, resources);
        let demand = demand.prop_filter("a task needs something", |demand| demand.iter().any(|&need| need > 0));
        let tenants = prop::collection::vec((demand, 1u64..4), tenants.clone());
        (prop::collection::vec(5u64..41, resources), tenants).prop_map(|(capacity, rows)| {
            let tenant = |(at, (demand, weight)): (usize, &(Vec<u64>, u64))| Tenant {
                weight: *weight,
                ..Tenant::new(&format!("{at}"), demand)
            };
            Problem { capacity, tenants: rows.iter().enumerate().map(tenant).collect() }
        })
    })
}

//! The equilibrium of equal incomes meets its conditions, and is exact where that is known.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_equilibrium_meets_its_conditions(problem in any_problem(1..9, 0)) {
        let found = equilibrium(&problem).expect("a small market clears");
        let income = problem.tenants.iter().map(|tenant| tenant.weight as f64).sum::<f64>();
        for (tenant, tasks) in problem.tenants.iter().zip(&found.tasks) {
            let cost = tenant.demand.iter().zip(&found.prices).map(|(&need, price)| need as f64 * price).sum::<f64>();
            prop_assert!((tasks * cost / tenant.weight as f64 - 1.0).abs() < 1e-9, "all income is spent");
        }
        for (resource, &capacity) in problem.capacity.iter().enumerate() {
            let used = problem.tenants.iter().zip(&found.tasks).map(|(tenant, tasks)| tenant.demand[resource] as f64 * tasks);
            let (left, price) = (1.0 - used.sum::<f64>() / capacity as f64, found.prices[resource] * capacity as f64 / income);
            prop_assert!(left > -1e-9 && price >= 0.0 && left * price < 1e-9, "left {left}, price {price}");
        }
        if let Some(exact) = &found.exact {
            for (near, exact) in found.tasks.iter().zip(exact) {
                prop_assert!((near / exact.float() - 1.0).abs() < 1e-8, "{near} is not {exact}");
            }
        }
    }

    #[test]
    fn two_tenants_have_an_exact_equilibrium(problem in any_problem(1..3, 0)) {
        prop_assert!(equilibrium(&problem).expect("a small market clears").exact.is_some());
    }

    /// No change of tasks within the capacities has a larger sum of logarithms: against what other rules give.
    #[test]
    fn no_other_division_has_a_larger_product(problem in any_problem(1..6, 1)) {
        let value = |tasks: &[f64]| {
            problem.tenants.iter().zip(tasks).map(|(tenant, tasks)| tenant.weight as f64 * tasks.ln()).sum::<f64>()
        };
        let best = value(&equilibrium(&problem).expect("a small market clears").tasks);
        for rule in [Rule::Drf, Rule::Asset] {
            prop_assert!(value(&divide::<f64>(&problem, &rule).expect("floats").tasks) <= best + 1e-8);
        }
    }
}

/// The first resource alone has a price; the third is exhausted as well, and free. Found by chance.
#[test]
fn an_exhausted_resource_may_be_free() {
    let tenant = |weight, demand: [u64; 3]| Tenant { weight, ..Tenant::new(&format!("{demand:?}"), &demand) };
    let tenants = vec![tenant(2, [3, 1, 0]), tenant(1, [1, 2, 5]), tenant(3, [6, 0, 5]), tenant(2, [4, 1, 1])];
    let found = equilibrium(&Problem { capacity: vec![34, 29, 34], tenants }).expect("a small market clears");
    let parts =
        [(17, 6), (17, 4), (17, 8), (17, 8)].map(|(over, under)| Fraction::ratio(over, under).expect("a fraction"));
    assert_eq!(found.exact.as_deref(), Some(&parts[..]));
    assert_eq!(found.tasks, parts.map(|part| part.float()));
    assert_eq!(found.prices, [8.0 / 34.0, 0.0, 0.0]);
}

#[test]
fn a_large_market_clears_as_well() {
    let tenant = |at: u64| {
        let demand = [1 + at * 7919 % 13, 1 + at * 104_729 % 37, at % 3, 1000 + at * 15_485_863 % 9000];
        Tenant { weight: 1 + at % 5, ..Tenant::new(&format!("{at}"), &demand) }
    };
    let problem = Problem { capacity: vec![10_000, 30_000, 900, 8_000_000], tenants: (0..1000).map(tenant).collect() };
    let found = equilibrium(&problem).expect("it clears");
    assert!(found.exact.is_none() && found.tasks.iter().all(|&tasks| tasks > 0.0));
    assert_eq!(divide::<Fraction>(&problem, &Rule::Ceei), Err(Refused::Irrational));
}

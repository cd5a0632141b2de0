//! Whole tasks: what draws lots, what rounds down, what stops.

use super::*;
use kaon_kernel::chance::Chance;

#[test]
fn a_lottery_draws_by_weight() {
    let tickets = weighted(problem(&[10_000], &[("a", &[1]), ("b", &[1]), ("c", &[1])]), &[1, 3, 6]);
    let service = serve(&tickets, &Rule::Lottery, Unfit::Skip, &mut Chance::new(9)).expect("three tenants");
    // Standard deviations of 30, 46 and 49.
    for (tasks, expected) in service.tasks.iter().zip([1000u64, 3000, 6000]) {
        assert!(tasks.abs_diff(expected) < 250, "{:?}", service.tasks);
    }
    let again = serve(&tickets, &Rule::Lottery, Unfit::Skip, &mut Chance::new(9)).expect("three tenants");
    assert_eq!(service, again);
}

#[test]
fn to_stop_and_to_skip_differ_when_a_small_task_still_fits() {
    let mixed = problem(&[10], &[("a", &[4]), ("b", &[1])]);
    let tasks = |unfit| serve(&mixed, &Rule::Drf, unfit, &mut Chance::new(1)).expect("two tenants").tasks;
    // a holds 4, b 1 to 4; at equal shares a had fewer allocations, and its next does not fit in the two left.
    assert_eq!([tasks(Unfit::Stop), tasks(Unfit::Skip)], [vec![1, 4], vec![1, 6]]);
}

#[test]
fn incomes_are_rounded_down_and_the_rest_is_filled_by_dominant_shares() {
    let paper = problem(&[9, 18], &[("A", &[1, 4]), ("B", &[3, 1])]);
    let service = serve(&paper, &Rule::Ceei, Unfit::Skip, &mut Chance::new(1)).expect("two tenants");
    // 45/11 and 18/11, cut to 4 and 1; two cores and one GB are left.
    assert_eq!((service.tasks, service.picks), (vec![4, 1], vec![]));
    let loose = problem(&[10, 10], &[("A", &[3, 1]), ("B", &[1, 1])]);
    let service = serve(&loose, &Rule::Ceei, Unfit::Skip, &mut Chance::new(1)).expect("two tenants");
    // 5/3 and 5, cut to 1 and 5; two cores are left for two tasks of B.
    assert_eq!((service.tasks, service.picks), (vec![1, 7], vec![1, 1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever the rule, nothing is given that is not there, and in the end nobody who wants a task can have one.
    #[test]
    fn nothing_is_overcommitted_and_nothing_is_left(problem in any_problem(1..5, 0), classes in prop::collection::vec(0u32..3, 5)) {
        let mut problem = problem;
        problem.tenants.iter_mut().zip(classes).for_each(|(tenant, class)| tenant.class = class);
        let priority = Rule::StrictPriority(Box::new(Rule::Lottery));
        for rule in [Rule::Drf, Rule::Asset, Rule::Ceei, Rule::Lottery, priority] {
            let service = serve(&problem, &rule, Unfit::Skip, &mut Chance::new(4)).expect("small numbers");
            let left = |resource: usize| {
                let used = problem.tenants.iter().zip(&service.tasks).map(|(tenant, tasks)| tenant.demand[resource] * tasks);
                problem.capacity[resource].checked_sub(used.sum::<u64>())
            };
            let left = (0..problem.capacity.len()).map(left).collect::<Option<Vec<_>>>().expect("within the capacities");
            for tenant in &problem.tenants {
                prop_assert!(tenant.demand.iter().zip(&left).any(|(need, left)| need > left), "{:?}", rule);
            }
        }
    }
}

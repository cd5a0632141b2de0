//! The worked examples of policies 8.1, and rules on problems small enough for the hand.

use super::*;
use kaon_kernel::chance::Chance;

fn paper() -> Problem {
    problem(&[9, 18], &[("A", &[1, 4]), ("B", &[3, 1])])
}

#[test]
fn drf_of_the_paper() {
    assert_eq!(shared(&paper(), &Rule::Drf), [of(3, 1), of(2, 1)]);
    assert_eq!(shared(&weighted(paper(), &[2, 1]), &Rule::Drf), [of(54, 13), of(18, 13)]);
    assert_eq!(shared(&weighted(paper(), &[1, 2]), &Rule::Drf), [of(9, 5), of(12, 5)]);
    // One weight for all resources and the same weight for each are the same.
    let mut each = paper();
    each.tenants[0].weights = vec![2, 2];
    assert_eq!(shared(&each, &Rule::Drf), [of(54, 13), of(18, 13)]);
}

#[test]
fn drf_of_the_paper_step_by_step() {
    // Names by which B goes first.
    let paper = problem(&[9, 18], &[("y", &[1, 4]), ("x", &[3, 1])]);
    for unfit in [Unfit::Stop, Unfit::Skip] {
        let service = serve(&paper, &Rule::Drf, unfit, &mut Chance::new(1)).expect("two tenants");
        let mut tasks = [0, 0];
        let steps = service.picks.iter().map(|&at| {
            tasks[at] += 1;
            (at, if at == 0 { of(2 * tasks[0], 9) } else { of(tasks[1], 3) })
        });
        let expected = [(1, of(1, 3)), (0, of(2, 9)), (0, of(4, 9)), (1, of(2, 3)), (0, of(2, 3))];
        assert_eq!(steps.collect::<Vec<_>>(), expected);
        assert_eq!(service.tasks, [3, 2]);
    }
}

#[test]
fn asset_fairness_and_equal_incomes_of_the_paper() {
    assert_eq!(shared(&paper(), &Rule::Asset), [of(63, 25), of(54, 25)]);
    assert_eq!(shared(&paper(), &Rule::Ceei), [of(45, 11), of(18, 11)]);
    let found = equilibrium(&paper()).expect("two tenants");
    assert!((found.tasks[0] - 45.0 / 11.0).abs() < 4e-9 && (found.tasks[1] - 18.0 / 11.0).abs() < 2e-9, "{found:?}");
}

#[test]
fn asset_fairness_breaks_the_sharing_incentive_and_bottleneck_fairness() {
    let sharing = problem(&[30, 30], &[("A", &[1, 3]), ("B", &[1, 1])]);
    assert_eq!(shared(&sharing, &Rule::Asset), [of(6, 1), of(12, 1)]);
    assert_eq!(shared(&sharing, &Rule::Drf), [of(5, 1), of(15, 1)]);
    let bottleneck = problem(&[21, 21], &[("A", &[3, 2]), ("B", &[4, 1])]);
    assert_eq!(shared(&bottleneck, &Rule::Asset), [of(3, 1), of(3, 1)]);
    assert_eq!(shared(&bottleneck, &Rule::Drf), [of(7, 2), of(21, 8)]);
}

#[test]
fn max_min_fills_from_below() {
    let mut demands = problem(&[10], &[("a", &[1]), ("b", &[1]), ("c", &[1])]);
    demands.tenants[0].tasks_max = Some(2);
    let rule = Rule::MaxMin { resource: 0 };
    assert_eq!(shared(&demands, &rule), [of(2, 1), of(4, 1), of(4, 1)]);
    let demands = weighted(demands, &[1, 1, 3]);
    assert_eq!(shared(&demands, &rule), [of(2, 1), of(2, 1), of(6, 1)]);
    let service = serve(&demands, &rule, Unfit::Skip, &mut Chance::new(1)).expect("three tenants");
    assert_eq!((service.tasks, service.picks), (vec![2, 2, 6], vec![0, 1, 2, 2, 2, 0, 1, 2, 2, 2]));
    assert_eq!(divide::<f64>(&demands, &rule).expect("three tenants").left, [0.0]);
}

#[test]
fn higher_classes_are_served_first() {
    let mut classes = problem(&[10, 10], &[("a", &[1, 0]), ("b", &[1, 1]), ("c", &[1, 1])]);
    classes.tenants[1].class = 5;
    classes.tenants[1].tasks_max = Some(4);
    let rule = Rule::StrictPriority(Box::new(Rule::Drf));
    assert_eq!(shared(&classes, &rule), [of(3, 1), of(4, 1), of(3, 1)]);
    let service = serve(&classes, &rule, Unfit::Skip, &mut Chance::new(1)).expect("three tenants");
    assert_eq!(service.picks, [1, 1, 1, 1, 0, 2, 0, 2, 0, 2]);
}

#[test]
fn guarantees_go_first_and_limits_end_it() {
    let mut quota = problem(&[10], &[("a", &[1]), ("b", &[1])]);
    quota.tenants[1].guarantee = vec![7];
    let rule = Rule::Quota(Box::new(Rule::Drf));
    let both = |quota: &Problem| {
        let service = serve(quota, &rule, Unfit::Skip, &mut Chance::new(1)).expect("two tenants");
        (shared(quota, &rule), service.tasks)
    };
    assert_eq!(both(&quota), (vec![of(3, 1), of(7, 1)], vec![3, 7]));
    quota.tenants[1].guarantee = vec![2];
    assert_eq!(both(&quota), (vec![of(5, 1), of(5, 1)], vec![5, 5]));
    quota.tenants[1].limit = vec![3];
    assert_eq!(both(&quota), (vec![of(7, 1), of(3, 1)], vec![7, 3]));
    let inside = Rule::StrictPriority(Box::new(rule));
    assert_eq!(shared(&quota, &inside), [of(7, 1), of(3, 1)]);
}

#[test]
fn everybody_keeps_to_his_own_part() {
    let mut parts = problem(&[20, 20], &[("a", &[2, 1]), ("b", &[1, 1]), ("c", &[1, 1])]);
    (parts.tenants[0].owned, parts.tenants[1].owned) = (vec![15, 10], vec![5, 10]);
    assert_eq!(shared(&parts, &Rule::StaticPartition), [of(15, 2), of(5, 1), of(0, 1)]);
    let service = serve(&parts, &Rule::StaticPartition, Unfit::Skip, &mut Chance::new(1)).expect("three tenants");
    assert_eq!(service.tasks, [7, 5, 0]);
}

#[test]
fn what_can_not_be_divided_is_refused_with_its_reason() {
    let refused = |problem: &Problem, rule: &Rule| divide::<Fraction>(problem, rule).expect_err("it can't be divided");
    let paper = paper();
    assert_eq!(refused(&weighted(paper.clone(), &[1, 0]), &Rule::Drf), Refused::NoWeight("B".to_owned()));
    assert_eq!(refused(&problem(&[9], &[("A", &[0])]), &Rule::Drf), Refused::NoDemand("A".to_owned()));
    assert_eq!(refused(&problem(&[9], &[("A", &[1, 2])]), &Rule::Drf), Refused::WrongLength("A".to_owned()));
    assert_eq!(refused(&paper, &Rule::MaxMin { resource: 2 }), Refused::UnknownResource(2));
    assert_eq!(refused(&paper, &Rule::Lottery), Refused::Misplaced("lottery"));
    assert_eq!(refused(&paper, &Rule::Quota(Box::new(Rule::Ceei))), Refused::Misplaced("ceei"));
    let mut bounded = paper;
    bounded.tenants[0].tasks_max = Some(1);
    assert_eq!(refused(&bounded, &Rule::Ceei), Refused::Bounded("A".to_owned()));
    assert_eq!(refused(&problem(&[1; 65], &[]), &Rule::Drf), Refused::TooLarge { tenants: 0, resources: 65 });
    assert!(shared(&Problem::default(), &Rule::Drf).is_empty());
    let endless = problem(&[u64::MAX], &[("A", &[1])]);
    let served = serve(&endless, &Rule::Drf, Unfit::Skip, &mut Chance::new(1));
    assert_eq!(served, Err(Refused::TooManyTasks));
}

#[test]
fn a_fraction_that_outgrows_128_bits_is_refused_and_a_float_is_not() {
    let primes = [999_999_937, 999_999_929, 999_999_893, 999_999_883, 999_999_797, 999_999_761];
    let mut large = Problem { capacity: vec![1_000_000_007, 998_244_353], tenants: Vec::new() };
    for (at, prime) in primes.iter().enumerate() {
        large.tenants.push(Tenant::new(&format!("{at}"), &[*prime, primes[(at + 3) % primes.len()] / 3]));
    }
    assert_eq!(divide::<Fraction>(&large, &Rule::Asset), Err(Refused::Overflow(Overflow)));
    let near = divide::<f64>(&large, &Rule::Asset).expect("floats do not outgrow");
    assert!(near.tasks.iter().all(|&tasks| tasks > 0.1 && tasks < 0.3), "{near:?}");
}

#[test]
fn a_resource_of_which_there_is_nothing_keeps_out_who_needs_it() {
    let none = problem(&[10, 0], &[("a", &[1, 0]), ("b", &[1, 1])]);
    for rule in [Rule::Drf, Rule::Asset, Rule::MaxMin { resource: 0 }, Rule::Ceei] {
        assert_eq!(shared(&none, &rule), [of(10, 1), of(0, 1)], "{rule:?}");
    }
}

//! The properties of dominant resource fairness (policies 1.2) on random problems, in exact fractions.

use super::*;
use kaon_kernel::chance::Chance;

/// How many true tasks a tenant can run on a bundle: the smallest part over what it needs.
fn tasks_on(bundle: &[Fraction], demand: &[u64]) -> Fraction {
    let needed = demand.iter().zip(bundle).filter(|(need, _)| **need > 0);
    let parts = needed.map(|(need, held)| held.over(Fraction::ratio(*need, 1).expect("one")).expect("small numbers"));
    parts.min().expect("a task needs something")
}

fn bundle(demand: &[u64], tasks: Fraction) -> Vec<Fraction> {
    demand.iter().map(|need| tasks.times(Fraction::ratio(*need, 1).expect("one")).expect("small numbers")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nobody_does_better_on_his_part_of_a_split_cluster(problem in any_problem(1..5, 0)) {
        let tasks = shared(&problem, &Rule::Drf);
        let weights = problem.tenants.iter().map(|tenant| tenant.weight).sum::<u64>();
        for (tenant, tasks) in problem.tenants.iter().zip(tasks) {
            let parts = tenant.demand.iter().zip(&problem.capacity).map(|(&need, &capacity)| of(need as i64, capacity as i64));
            let share = parts.max().expect("a resource").times(tasks).expect("small numbers");
            prop_assert!(share >= of(tenant.weight as i64, weights as i64));
        }
    }

    #[test]
    fn nobody_envies_the_bundle_of_another(problem in any_problem(2..5, 0)) {
        let tasks = shared(&problem, &Rule::Drf);
        for (one, own) in problem.tenants.iter().zip(&tasks) {
            for (two, others) in problem.tenants.iter().zip(&tasks) {
                let scale = of(one.weight as i64, two.weight as i64);
                let scaled = bundle(&two.demand, others.times(scale).expect("small numbers"));
                prop_assert!(tasks_on(&scaled, &one.demand) <= *own, "{} envies {}", one.name, two.name);
            }
        }
    }

    #[test]
    fn nothing_is_left_that_somebody_could_use(problem in any_problem(1..5, 0)) {
        let division = divide::<Fraction>(&problem, &Rule::Drf).expect("small numbers");
        prop_assert!(division.left.iter().all(|left| *left >= Fraction::zero()));
        for tenant in &problem.tenants {
            let mut needed = tenant.demand.iter().zip(&division.left).filter(|(need, _)| **need > 0);
            prop_assert!(needed.any(|(_, left)| *left == Fraction::zero()), "{} could have more", tenant.name);
        }
    }

    #[test]
    fn a_lie_about_demands_gives_no_more_true_tasks(
        problem in any_problem(1..5, 0),
        lies in prop::collection::vec((0usize..5, prop::collection::vec(0u64..9, 3)), 8),
    ) {
        let honest = shared(&problem, &Rule::Drf);
        for (liar, lie) in lies {
            let liar = liar % problem.tenants.len();
            let truth = &problem.tenants[liar].demand;
            let lie = lie[..truth.len()].to_vec();
            if lie.iter().all(|&need| need == 0) {
                continue;
            }
            let mut told = problem.clone();
            told.tenants[liar].demand = lie;
            let given = shared(&told, &Rule::Drf)[liar];
            let true_tasks = tasks_on(&bundle(&told.tenants[liar].demand, given), truth);
            prop_assert!(true_tasks <= honest[liar], "{:?} for {:?}", told.tenants[liar].demand, truth);
        }
    }

    #[test]
    fn who_leaves_makes_nobody_worse(problem in any_problem(2..5, 1), gone in 0usize..5) {
        let before = shared(&problem, &Rule::Drf);
        let gone = gone % problem.tenants.len();
        let mut fewer = problem.clone();
        fewer.tenants.remove(gone);
        let before = before.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, tasks)| *tasks);
        prop_assert!(before.zip(shared(&fewer, &Rule::Drf)).all(|(before, after)| before <= after));
    }

    #[test]
    fn one_resource_that_is_dominant_for_all_is_shared_as_if_it_were_alone(
        problem in any_problem(1..5, 1),
        extra in 1u64..4,
    ) {
        let mut problem = problem;
        problem.capacity.fill(30);
        for tenant in &mut problem.tenants {
            tenant.demand[0] = tenant.demand.iter().copied().fold(0, u64::max) + extra;
        }
        prop_assert_eq!(shared(&problem, &Rule::Drf), shared(&problem, &Rule::MaxMin { resource: 0 }));
    }

    #[test]
    fn floats_are_near_the_fractions(problem in any_problem(1..5, 0), bounds in prop::collection::vec(prop::option::of(0u64..9), 5)) {
        let mut problem = problem;
        problem.tenants.iter_mut().zip(bounds).for_each(|(tenant, bound)| tenant.tasks_max = bound);
        for rule in [Rule::Drf, Rule::Asset] {
            let near = divide::<f64>(&problem, &rule).expect("floats do not outgrow").tasks;
            for (near, exact) in near.iter().zip(shared(&problem, &rule)) {
                prop_assert!((near - exact.float()).abs() < 1e-9, "{} is not {}", near, exact);
            }
        }
    }

    /// While both fit, two shares differ by at most the share of one task.
    #[test]
    fn whole_tasks_follow_the_shares_as_near_as_they_can(problem in any_problem(2..5, 0)) {
        let problem = weighted(problem, &[1; 5]);
        let service = serve(&problem, &Rule::Drf, Unfit::Stop, &mut Chance::new(1)).expect("small numbers");
        let share = |at: usize, tasks: i64| {
            let row = problem.tenants[at].demand.iter().zip(&problem.capacity);
            row.map(|(&need, &capacity)| of(tasks * need as i64, capacity as i64)).max().expect("a resource")
        };
        let mut tasks = vec![0; problem.tenants.len()];
        for at in service.picks {
            tasks[at] += 1;
            for other in 0..tasks.len() {
                let ahead = share(at, tasks[at]).minus(share(other, tasks[other])).expect("small numbers");
                prop_assert!(ahead <= share(at, 1));
            }
        }
    }
}

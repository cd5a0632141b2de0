//! The sorters: their tree against that of hierarchical DRF, and each yardstick where it differs.

use super::*;
use crate::allocator::engine::amounts::{Amounts, ScalarNames};
use crate::allocator::engine::sorter::{Client, Drf, RoleIndex, Sorter};
use core::ops::ControlFlow;
use kaon_kernel::id::{FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::Resources;
use kaon_kernel::table::Table;

fn amounts(cpus: u64, mem: u64) -> Amounts {
    let mut measured = Amounts::new();
    let mut names = ScalarNames::new(Vec::new());
    // Both names in this order first, so that every row has the same positions.
    names.measure(&Resources::cpus_and_mem(Quantity(1), Quantity(1)), &mut measured);
    names.measure(&Resources::cpus_and_mem(Quantity::units(cpus), Quantity::units(mem)), &mut measured);
    measured
}

fn client(role: u32, framework: u32) -> Client {
    Client { framework: FrameworkIndex(framework), role: RoleIndex(role) }
}

fn join(sorter: &mut dyn Sorter, role: u32, name: &str, framework: u32) {
    sorter.add_role(RoleIndex(role), &RoleName::trusted(name));
    sorter.add_framework(client(role, framework), &FrameworkId::trusted(format!("{framework}")));
    sorter.set_active(client(role, framework), true);
}

fn walked(sorter: &mut dyn Sorter) -> Vec<(u32, u32)> {
    let mut order = Vec::new();
    sorter.walk(&mut |client| {
        order.push((client.role.0, client.framework.0));
        ControlFlow::Continue(())
    });
    order
}

/// Roles 0, 1, .. named a, b, .. with one framework each, holding these, of 100 cores and 100 units of memory.
fn roles(sorter: &mut dyn Sorter, held: &[(u64, u64)]) -> Vec<u32> {
    sorter.reset(&[(RoleName::trusted("b"), 2000)]);
    sorter.set_total(&amounts(100, 100));
    for (at, (cpus, mem)) in (0..).zip(held) {
        join(sorter, at, ["a", "b", "c", "d"][at as usize], at);
        sorter.allocated(client(at, at), &amounts(*cpus, *mem));
    }
    walked(sorter).into_iter().map(|(role, _)| role).collect()
}

#[test]
fn asset_fairness_adds_up_what_dominant_shares_compare() {
    // Sums 0.5, 0.7 with weight 2, 0.4; dominant shares 0.25, 0.5 with weight 2, 0.4.
    let held = [(25, 25), (50, 20), (40, 0)];
    assert_eq!(roles(&mut Ranked::new(Yardstick::Asset), &held), [1, 2, 0]);
    assert_eq!(roles(&mut Drf::default(), &held), [0, 1, 2]);
}

#[test]
fn a_weight_counts_from_when_it_is_told() {
    let mut assets = Ranked::new(Yardstick::Asset);
    assert_eq!(roles(&mut assets, &[(10, 10), (10, 10), (10, 10)]), [1, 0, 2]);
    assets.weigh(&RoleName::trusted("c"), 4000);
    assets.weigh(&RoleName::trusted("d"), 8000);
    join(&mut assets, 3, "d", 3);
    assets.allocated(client(3, 3), &amounts(10, 10));
    assert_eq!(walked(&mut assets), [(3, 3), (2, 2), (1, 1), (0, 0)]);
}

#[test]
fn max_min_looks_at_one_resource() {
    let held = [(10, 60), (40, 10), (30, 90)];
    let of_cpus = sorter(SorterName::MaxMin, amounts(1, 0), Table::default());
    let of_mem = sorter(SorterName::MaxMin, amounts(0, 7), Table::default());
    assert_eq!([of_cpus, of_mem].map(|mut sorter| roles(&mut *sorter, &held)), [vec![0, 1, 2], vec![1, 0, 2]]);
}

#[test]
fn a_higher_class_goes_first_whatever_it_holds() {
    let classes = [("c", 7), ("a", 1)].into_iter().map(|(name, class)| (RoleName::trusted(name), class)).collect();
    let mut sorter = sorter(SorterName::StrictPriority, Amounts::new(), classes);
    assert_eq!(roles(&mut *sorter, &[(50, 10), (1, 1), (40, 40), (0, 1)]), [2, 0, 1, 3]);
}

#[test]
fn the_market_prices_what_is_scarce() {
    // Cores are what a and c want, memory is plenty: at its price of nothing b holds little, though its share is large.
    let held = [(30, 5), (10, 36), (25, 5)];
    let mut market = Ranked::new(Yardstick::Ceei);
    assert_eq!(roles(&mut market, &held), [1, 2, 0]);
    // All cores: 65 are held, so they cost the three incomes of 1, 2 and 1, by what each holds of them.
    let problem = weighted(problem(&[100, 100], &[("a", &[30, 5]), ("b", &[10, 36]), ("c", &[25, 5])]), &[1, 2, 1]);
    let found = equilibrium(&problem).expect("three roles");
    for (role, bundles) in (0..).zip(&found.tasks) {
        assert!((market.share(RoleIndex(role)) * bundles - 1.0).abs() < 1e-8, "the share is one over the bundles");
    }
    assert_eq!(market.share(RoleIndex(9)), 0.0);
}

#[test]
fn a_market_in_which_nobody_holds_anything_is_in_order_of_names() {
    let mut market = Ranked::new(Yardstick::Ceei);
    assert_eq!(roles(&mut market, &[(0, 0), (0, 0)]), [0, 1]);
    market.unallocated(client(0, 0), &amounts(0, 0));
    market.allocated(client(0, 0), &amounts(0, 0));
    assert_eq!(walked(&mut market), [(1, 1), (0, 0)], "fewer allocations win the tie");
}

#[test]
fn an_agent_is_for_its_role_and_those_below() {
    let mut partition = Partition::default();
    let role = RoleName::trusted;
    partition.assign("one", &role("eng"));
    let admitted = |partition: &Partition, hostname: &str| {
        ["eng", "eng/web", "engine", "ops"].map(|name| partition.admits(hostname, &role(name)))
    };
    assert_eq!(admitted(&partition, "one"), [true, true, false, false]);
    assert_eq!(admitted(&partition, "two"), [false; 4]);
    partition.assign("one", &role("ops"));
    assert_eq!(admitted(&partition, "one"), [false, false, false, true]);
}

#[test]
fn every_sorter_has_its_name() {
    for (name, word, _) in SORTERS {
        assert_eq!(SorterName::parse(word), Ok(name));
        let mut sorter = sorter(name, amounts(1, 0), Table::default());
        assert_eq!(roles(&mut *sorter, &[(1, 1), (1, 1)]), [1, 0]);
    }
    assert_eq!(SorterName::parse("asset").expect_err("no such name").nearest, "asset-fairness");
    assert_eq!(SorterName::parse("min-max").expect_err("no such name").nearest, "max-min");
}

const PATHS: [&str; 8] = ["a", "a/b", "a/b/c", "a/d", "a-e", "f/+g", "f", "*"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Without classes, strict priority is hierarchical DRF: the tree here orders as the engine's does, whatever happens.
    #[test]
    fn the_tree_orders_as_that_of_the_engine(
        steps in prop::collection::vec((0u8..9, 0u32..8, 0u32..3, 0u64..4, 0u64..4), 1..60),
    ) {
        let weights = [(RoleName::trusted("a/b"), 2000), (RoleName::trusted("f"), 500)];
        let mut ours = sorter(SorterName::StrictPriority, Amounts::new(), Table::default());
        let mut theirs = Drf::default();
        let mut total = (40, 50);
        let mut held: Table<(u32, u32), (u64, u64)> = Table::default();
        let sorters: [&mut dyn Sorter; 2] = [&mut *ours, &mut theirs];
        for sorter in sorters {
            sorter.reset(&weights);
            sorter.set_total(&amounts(total.0, total.1));
        }
        for (kind, role, framework, cpus, mem) in steps {
            let one = client(role, framework);
            let is_new = !held.contains_key(&(role, framework));
            let is_first = !held.keys().any(|(other, _)| *other == role);
            let is_last = held.keys().filter(|(other, _)| *other == role).count() == 1;
            let before = held.get(&(role, framework)).copied().unwrap_or_default();
            let sorters: [&mut dyn Sorter; 2] = [&mut *ours, &mut theirs];
            for sorter in sorters {
                match kind {
                    0..=3 => {
                        if is_new && is_first {
                            sorter.add_role(one.role, &RoleName::trusted(PATHS[role as usize]));
                        }
                        if is_new {
                            sorter.add_framework(one, &FrameworkId::trusted(format!("{framework}")));
                            sorter.set_active(one, true);
                        }
                        sorter.allocated(one, &amounts(cpus, mem));
                    }
                    4 | 5 if !is_new => sorter.set_active(one, kind == 4),
                    6 | 7 if !is_new => {
                        sorter.unallocated(one, &amounts(before.0, before.1));
                        if kind == 7 {
                            sorter.remove_framework(one);
                            if is_last {
                                sorter.remove_role(one.role);
                            }
                        }
                    }
                    8 => sorter.set_total(&amounts(total.0 + cpus, total.1 + mem)),
                    _ => {}
                }
            }
            match kind {
                0..=3 => {
                    held.insert((role, framework), (before.0 + cpus, before.1 + mem));
                }
                6 if !is_new => {
                    held.insert((role, framework), (0, 0));
                }
                7 if !is_new => {
                    held.swap_remove(&(role, framework));
                }
                8 => total = (total.0 + cpus, total.1 + mem),
                _ => {}
            }
            prop_assert_eq!(walked(&mut *ours), walked(&mut theirs));
            for &(role, framework) in held.keys() {
                let one = client(role, framework);
                prop_assert_eq!(ours.share(one.role), theirs.share(one.role));
                prop_assert_eq!(ours.holds(one), theirs.holds(one));
            }
        }
    }
}

//! The sorter that draws lots: the probabilities of policies 8.3, and level by level in a tree.

use crate::allocator::engine::sorter::{Client, Hierarchy, Order, RoleIndex, Sorter};
use core::ops::ControlFlow;
use kaon_kernel::chance::Chance;
use kaon_kernel::id::{FrameworkId, FrameworkIndex, RoleName};

const DRAWS: u32 = 20_000;
/// Five standard deviations of a frequency over that many draws.
const TOLERANCE: f64 = 0.018;

fn sorter(roles: &[(&str, u32)]) -> Hierarchy {
    let mut sorter = Hierarchy::new(Order::Random, Order::Random);
    let weights = roles.iter().map(|(name, weight)| (RoleName::trusted(*name), *weight)).collect::<Vec<_>>();
    sorter.reset(&weights);
    for (at, (name, _)) in roles.iter().enumerate() {
        let client = Client { framework: FrameworkIndex(0), role: RoleIndex(at as u32) };
        sorter.add_role(client.role, &RoleName::trusted(*name));
        sorter.add_framework(client, &FrameworkId::trusted("0"));
        sorter.set_active(client, true);
    }
    sorter
}

fn walk(sorter: &mut Hierarchy, chance: &mut Chance) -> Vec<usize> {
    sorter.begin_round(chance);
    let mut order = Vec::new();
    sorter.walk(&mut |client| {
        order.push(client.role.0 as usize);
        ControlFlow::Continue(())
    });
    order
}

/// The probabilities of each place, by the definition: of those that are left the next is drawn by weight.
fn places(weights: &[f64]) -> Vec<Vec<f64>> {
    fn draw(weights: &[f64], taken: &mut Vec<usize>, probability: f64, places: &mut [Vec<f64>]) {
        let left = (0..weights.len()).filter(|at| !taken.contains(at)).collect::<Vec<_>>();
        let whole = left.iter().map(|&at| weights[at]).sum::<f64>();
        for at in left {
            let probability = probability * weights[at] / whole;
            places[taken.len()][at] += probability;
            taken.push(at);
            draw(weights, taken, probability, places);
            taken.pop();
        }
    }
    let mut places = vec![vec![0.0; weights.len()]; weights.len()];
    draw(weights, &mut Vec::new(), 1.0, &mut places);
    places
}

#[test]
fn places_are_drawn_by_weight() {
    let roles = [("a", 1000), ("b", 2000), ("c", 3000), ("d", 4000), ("e", 5000)];
    let defined = places(&[1.0, 2.0, 3.0, 4.0, 5.0]);
    let round = |row: &[f64]| row.iter().map(|part| (part * 100.0).round() / 100.0).collect::<Vec<_>>();
    assert_eq!(round(&defined[0]), [0.07, 0.13, 0.20, 0.27, 0.33]);
    assert_eq!(round(&defined[4]), [0.54, 0.23, 0.12, 0.07, 0.04]);
    let (mut sorter, mut chance) = (sorter(&roles), Chance::new(3));
    let mut counts = [[0_u32; 5]; 5];
    for _ in 0..DRAWS {
        let order = walk(&mut sorter, &mut chance);
        assert_eq!(order.len(), 5);
        order.iter().enumerate().for_each(|(place, &role)| counts[place][role] += 1);
    }
    for (place, row) in counts.iter().enumerate() {
        for (role, &count) in row.iter().enumerate() {
            let (seen, wanted) = (f64::from(count) / f64::from(DRAWS), defined[place][role]);
            assert!((seen - wanted).abs() < TOLERANCE, "place {place} of role {role}: {seen}, defined is {wanted}");
        }
    }
}

#[test]
fn lots_are_drawn_level_by_level() {
    let roles = [("a/x", 1000), ("a/y", 1000), ("b", 3000), ("a", 1000)];
    let (mut sorter, mut chance) = (sorter(&roles), Chance::new(4));
    let (mut first_is_b, mut own_before_children) = (0_u32, 0_u32);
    for _ in 0..DRAWS {
        let order = walk(&mut sorter, &mut chance);
        let place = |role| order.iter().position(|&other| other == role).expect("everybody is in the walk");
        assert!(place(2) == 0 || place(2) == 3, "the subtree of a stays together: {order:?}");
        first_is_b += u32::from(place(2) == 0);
        own_before_children += u32::from(place(3) < place(0) && place(3) < place(1));
    }
    let part = |count| f64::from(count) / f64::from(DRAWS);
    assert!((part(first_is_b) - 0.75).abs() < TOLERANCE, "b weighs three times a: {}", part(first_is_b));
    assert!((part(own_before_children) - 1.0 / 3.0).abs() < TOLERANCE, "the leaf of a weighs as much as its children");
}

#[test]
fn one_seed_draws_one_order() {
    let roles = [("a", 1000), ("b", 1000), ("c", 1000), ("d", 1000), ("e", 1000)];
    let draw = |seed| {
        let (mut sorter, mut chance) = (sorter(&roles), Chance::new(seed));
        (0..5).flat_map(|_| walk(&mut sorter, &mut chance)).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}

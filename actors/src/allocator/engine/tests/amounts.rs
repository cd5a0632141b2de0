//! Sums beyond a word, and of names beyond the common ones, against plain rows of numbers.

use crate::allocator::engine::amounts::Amounts;
use proptest::prelude::*;

const POSITIONS: usize = 7;

type Row = [u128; POSITIONS];

fn amounts(row: &Row) -> Amounts {
    let mut amounts = Amounts::new();
    row.iter().enumerate().for_each(|(at, amount)| amounts.set(at, *amount));
    amounts
}

/// Small, near the end of a word, and beyond it.
fn row() -> impl Strategy<Value = Row> {
    let amount = prop_oneof![
        3 => Just(0),
        3 => 1..1000_u128,
        1 => (u128::from(u64::MAX >> 1) - 2)..=(u128::from(u64::MAX >> 1) + 2),
        1 => (u128::from(u64::MAX) - 2)..=(u128::from(u64::MAX) + 2),
        1 => 1..(1_u128 << 100),
    ];
    prop::array::uniform(amount)
}

fn sum(one: &Row, two: &Row) -> Row {
    core::array::from_fn(|at| one[at] + two[at])
}

/// Of the largest part: its position, as two numbers whose products fit into 128 bits.
fn dominant(held: &[u64; 4], total: &[u64; 4]) -> usize {
    let product = |one: usize, two: usize| u128::from(held[one]) * u128::from(total[two]);
    let counts = (0..4).filter(|&at| held[at] > 0 && total[at] > 0);
    counts.reduce(|best, at| if product(at, best) > product(best, at) { at } else { best }).unwrap_or(0)
}

proptest! {
    #[test]
    fn sums_and_differences_are_exact(one in row(), two in row()) {
        let mut both = amounts(&one);
        both.add(&amounts(&two));
        let expected = sum(&one, &two);
        prop_assert_eq!(&both, &amounts(&expected));
        for (at, amount) in expected.into_iter().enumerate() {
            prop_assert_eq!(both.of(at), amount);
        }
        let held = expected.iter().copied().enumerate().filter(|(_, amount)| *amount > 0);
        prop_assert!(both.iter().eq(held));
        both.subtract(&amounts(&one));
        prop_assert_eq!(&both, &amounts(&two));
        both.subtract(&amounts(&two));
        prop_assert!(both.is_zero() && both == Amounts::new());
        both.add(&amounts(&one));
        both.clear();
        prop_assert!(both.is_zero());
    }

    #[test]
    fn the_dominant_share_is_the_largest_part(
        held in prop::array::uniform4(prop_oneof![2 => Just(0), 4 => 0..50_u64, 1 => 0..=u64::MAX >> 1]),
        total in prop::array::uniform4(prop_oneof![1 => Just(0), 6 => 1..50_u64, 1 => 1..=u64::MAX >> 1]),
    ) {
        let row = |few: &[u64; 4]| core::array::from_fn(|at| few.get(at).copied().map_or(0, u128::from));
        let (near, far) = (amounts(&row(&held)), amounts(&row(&total)));
        let found = near.dominant(&far, 1000);
        prop_assert_eq!(found.at, dominant(&held, &total));
        // The same by the way of those that have no room in a word, which compares exactly below 128 bits.
        prop_assume!(held.iter().chain(&total).all(|amount| *amount < 1 << 40));
        let mut further = row(&total);
        further[POSITIONS - 1] = 1;
        let found = near.dominant(&amounts(&further), 1000);
        prop_assert_eq!(found.at, dominant(&held, &total));
        prop_assert_eq!(found.share.float.to_bits(), near.share_of(&far).to_bits());
    }
}

#[test]
#[should_panic(expected = "3 taken out of 2 at position 1")]
fn more_than_there_is_is_not_taken() {
    let mut amounts = amounts(&[0, 2, 0, 0, 0, 0, 0]);
    amounts.subtract(&self::amounts(&[0, 3, 0, 0, 0, 0, 0]));
}

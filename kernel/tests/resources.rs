//! The algebra of resources, and the texts that flags carry.

use kaon_kernel::framework::Label;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{
    Device, Identity, Ranges, Reservation, Resource, ResourceName, Resources, Totals, Value, parse, role,
};
use proptest::prelude::*;

fn scalar() -> impl Strategy<Value = Resource> {
    let names = prop_oneof![
        Just(ResourceName::Cpus),
        Just(ResourceName::Mem),
        Just(ResourceName::Disk),
        Just(ResourceName::Other("licences".to_owned())),
    ];
    let identities = prop_oneof![
        Just(None),
        Just(Some(reserved("a"))),
        Just(Some(reserved("a/b"))),
        Just(Some(Box::new(Identity { revocable: true, ..Identity::default() }))),
    ];
    (names, identities, 0u64..5_000).prop_map(|(name, identity, amount)| Resource {
        name,
        identity,
        value: Value::Scalar(Quantity(amount)),
    })
}

fn reserved(text: &str) -> Box<Identity> {
    let label = Label { key: "k".to_owned(), value: None };
    let role = role::parse(text).expect("a role");
    let reservation = Reservation { dynamic: true, role, principal: None, labels: vec![label] };
    Box::new(Identity { reservations: vec![reservation], ..Identity::default() })
}

fn bag() -> impl Strategy<Value = Resources> {
    proptest::collection::vec(scalar(), 0..6).prop_map(|entries| Resources::collect(entries).expect("scalars add up"))
}

/// Numbers of a small space, so that ranges meet, touch and overlap.
fn ranges() -> impl Strategy<Value = Ranges> {
    proptest::collection::btree_set(0u64..40, 0..20).prop_map(|numbers| {
        Ranges::new(numbers.into_iter().map(|number| (number, number)).collect()).expect("single numbers")
    })
}

fn numbers(ranges: &Ranges) -> std::collections::BTreeSet<u64> {
    ranges.iter().flat_map(|(begin, end)| begin..=end).collect()
}

proptest! {
    #[test]
    fn sums_commute_and_associate(a in bag(), b in bag(), c in bag()) {
        let ab = a.plus(&b).expect("adds");
        prop_assert_eq!(&ab, &b.plus(&a).expect("adds"));
        let bc = b.plus(&c).expect("adds");
        prop_assert_eq!(ab.plus(&c).expect("adds"), a.plus(&bc).expect("adds"));
    }

    #[test]
    fn what_was_added_can_be_taken_out(a in bag(), b in bag()) {
        let sum = a.plus(&b).expect("adds");
        prop_assert!(sum.contains(&a) && sum.contains(&b));
        prop_assert_eq!(sum.minus(&b).expect("is in it"), a);
    }

    #[test]
    fn containment_is_a_partial_order(a in bag(), b in bag(), c in bag()) {
        prop_assert!(a.contains(&a));
        if a.contains(&b) && b.contains(&a) {
            prop_assert_eq!(&a, &b);
        }
        if a.contains(&b) && b.contains(&c) {
            prop_assert!(a.contains(&c));
        }
    }

    #[test]
    fn a_refused_subtraction_changes_nothing(a in bag(), b in bag()) {
        let mut rest = a.clone();
        match rest.subtract(&b) {
            Ok(()) => prop_assert_eq!(rest.plus(&b).expect("adds"), a),
            Err(_) => {
                prop_assert_eq!(&rest, &a);
                prop_assert!(!a.contains(&b));
            }
        }
    }

    #[test]
    fn totals_follow_the_bag(a in bag(), b in bag()) {
        let mut totals = Totals::of(&a);
        totals.add(&b);
        prop_assert_eq!(&totals, &Totals::of(&a.plus(&b).expect("adds")));
        totals.subtract(&b);
        prop_assert_eq!(totals, Totals::of(&a));
    }

    /// Ranges against plain sets of numbers.
    #[test]
    fn ranges_are_sets_of_numbers(a in ranges(), b in ranges()) {
        let (x, y) = (numbers(&a), numbers(&b));
        prop_assert_eq!(a.count(), x.len() as u64);
        match a.plus(&b) {
            Some(sum) => {
                prop_assert!(x.is_disjoint(&y));
                prop_assert_eq!(numbers(&sum), x.union(&y).copied().collect());
                prop_assert_eq!(&sum, &Ranges::new(sum.iter().collect()).expect("canonical"));
            }
            None => prop_assert!(!x.is_disjoint(&y)),
        }
        match a.minus(&b) {
            Some(rest) => {
                prop_assert!(y.is_subset(&x));
                prop_assert_eq!(numbers(&rest), x.difference(&y).copied().collect());
            }
            None => prop_assert!(!y.is_subset(&x)),
        }
    }

    #[test]
    fn scalars_survive_the_api(thousandths in 0u64..1_000_000_000_000) {
        prop_assert_eq!(Quantity::from_scalar(Quantity(thousandths).as_scalar()), Some(Quantity(thousandths)));
    }
}

#[test]
fn scalars_out_of_range_are_refused() {
    for bad in [-0.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e18, 1.1e12] {
        assert_eq!(Quantity::from_scalar(bad), None, "{bad}");
    }
    assert_eq!(Quantity::from_scalar(1e-12), Some(Quantity::ZERO));
    assert_eq!(Quantity::from_scalar(0.1 + 0.2), Some(Quantity(300)));
}

#[test]
fn sums_that_overflow_are_refused() {
    let most = Resources::cpus_and_mem(Quantity(u64::MAX), Quantity::ZERO);
    let mut sum = most.clone();
    assert!(sum.add(&most).is_err());
    assert_eq!(sum, most);
}

#[test]
fn a_device_is_never_more_than_whole_and_never_summed_with_another() {
    let gpu = |id: &str, share| Device { id: id.to_owned(), share, memory_bytes: 0, numa_node: None, link_group: None };
    let bag = |devices| {
        let value = Value::Devices(devices);
        Resources::collect([Resource { name: ResourceName::Gpus, identity: None, value }]).expect("devices")
    };
    let half = bag(vec![gpu("a", 500)]);
    let mut sum = half.plus(&half).expect("two halves");
    assert!(sum.add(&half).is_err(), "three halves of one device");
    let both = bag(vec![gpu("a", 500), gpu("b", 500)]);
    assert!(!both.contains(&bag(vec![gpu("a", 1000)])), "two halves of two devices are no whole");
}

#[test]
fn flag_texts_parse_as_in_mesos() {
    let bag = parse::resources("cpus:4;mem(web):2048; ports:[31000-32000, 40-41];zones:{a, b}").expect("parses");
    assert_eq!(bag.scalar(&ResourceName::Cpus), Quantity::units(4));
    assert_eq!(bag.to_string(), "cpus:4; mem(web):2048; ports:[40-41, 31000-32000]; zones:{a, b}");
    assert_eq!(parse::resources("cpus(*):1").expect("parses").to_string(), "cpus:1");
    let refused = [
        ("cpus", 0),
        ("cpus:x", 5),
        ("cpus:1;mem:[1-", 11),
        ("ports:[5-3]", 6),
        ("ports:[1-3,2-4]", 6),
        ("cpus(a b):1", 5),
        ("cpus:-1", 5),
        ("cpus:nan", 5),
        ("cpus:1:2", 5),
        (":1", 0),
    ];
    for (text, at) in refused {
        let error = parse::resources(text).expect_err(text);
        assert_eq!(error.at, at, "{error}");
    }
    assert_eq!(parse::attributes("rack:r1;gen:2.5;cores:[0-3];url:http://x").expect("parses").len(), 4);
    assert!(parse::attributes("set:{a}").is_err());
}

//! The algebra of resources.

use kaon_kernel::framework::Label;
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{
    Device, Disk, DiskKind, DiskSource, Identity, Persistence, Ranges, Reservation, Resource, ResourceName, Resources,
    ResourcesError, SharedIdentity, Totals, Value, Volume, parse, role,
};
use proptest::prelude::*;

/// Identities of every sort: layers of reservation, disks, volumes, revocable, shared, of a provider.
fn identity(name: &ResourceName, choice: u8) -> Option<SharedIdentity> {
    let plain = Identity::default();
    let source = |kind, root: &str| DiskSource {
        kind,
        root: Some(root.to_owned()),
        id: None,
        profile: None,
        vendor: None,
        metadata: Vec::new(),
    };
    let disk = |source: Option<DiskSource>, persistence: Option<&str>| {
        let persistence = persistence.map(|id| Persistence { id: id.to_owned(), principal: None });
        let volume = persistence.is_some().then(|| Volume {
            container_path: "data".to_owned(),
            host_path: None,
            writable: true,
        });
        Some(Disk { persistence, volume, source })
    };
    let is_disk = *name == ResourceName::Disk;
    let identity = match choice {
        1 => reserved("a"),
        2 => reserved("a/b"),
        3 => Identity { revocable: true, ..plain },
        4 => Identity { provider_id: Some("p".to_owned()), ..plain },
        5 if is_disk => Identity { disk: disk(Some(source(DiskKind::Path, "/p")), None), ..plain },
        6 if is_disk => Identity { disk: disk(Some(source(DiskKind::Mount, "/m")), None), ..plain },
        7 if is_disk => Identity { disk: disk(None, Some("v")), ..reserved("a") },
        8 if is_disk => Identity { disk: disk(None, Some("v")), shared: true, ..reserved("a") },
        _ => return None,
    };
    Some(identity.into())
}

fn entry() -> impl Strategy<Value = Resource> {
    let amount = prop_oneof![8 => 0u64..3_000, 1 => (u64::MAX - 3_000)..=u64::MAX];
    let scalar = (0..4usize, amount).prop_map(|(name, amount)| {
        let other = ResourceName::Other("licences".to_owned());
        let name = [ResourceName::Cpus, ResourceName::Mem, ResourceName::Disk, other][name].clone();
        (name, Value::Scalar(Quantity(amount)))
    });
    let disk = (0u64..3).prop_map(|size| (ResourceName::Disk, Value::Scalar(Quantity::units(size))));
    let set = proptest::collection::btree_set("[a-h]", 0..4)
        .prop_map(|items| (ResourceName::Other("zones".to_owned()), Value::Set(items)));
    let device =
        (0..4u8, 0..4u32, 0u64..3, prop::bool::weighted(0.1)).prop_map(|(id, share, memory_bytes, far)| Device {
            id: format!("gpu{id}"),
            share: share * 250,
            memory_bytes,
            numa_node: Some(u32::from(far)),
            link_group: None,
        });
    let devices =
        proptest::collection::vec(device, 0..4).prop_map(|devices| (ResourceName::Gpus, Value::Devices(devices)));
    let ports = ranges().prop_map(|ranges| (ResourceName::Ports, Value::Ranges(ranges)));
    let odd = Just((ResourceName::Ports, Value::Scalar(Quantity(1))));
    let value = prop_oneof![6 => scalar, 4 => disk, 2 => set, 2 => devices, 2 => ports, 1 => odd];
    (value, 0u8..12).prop_map(|((name, value), choice)| {
        let identity = identity(&name, choice);
        Resource { name, identity, value }
    })
}

fn reserved(text: &str) -> Identity {
    let label = |key: &str| Label { key: key.to_owned(), value: None };
    let role = role::parse(text).expect("a role");
    // Not sorted: bags sort them.
    let reservation = Reservation { dynamic: true, role, principal: None, labels: vec![label("k"), label("a")] };
    Identity { reservations: vec![reservation], ..Identity::default() }
}

/// A bag of those entries that go together.
fn bag() -> impl Strategy<Value = Resources> {
    proptest::collection::vec(entry(), 0..8).prop_map(|entries| {
        let mut bag = Resources::new();
        for entry in entries {
            if let Ok(one) = Resources::collect([entry]) {
                let _ = bag.add(&one);
            }
        }
        bag
    })
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
    fn sums_commute_and_associate_and_so_do_refusals(a in bag(), b in bag(), c in bag()) {
        let (ab, bc) = (a.plus(&b).ok(), b.plus(&c).ok());
        prop_assert_eq!(&ab, &b.plus(&a).ok());
        let left = ab.and_then(|ab| ab.plus(&c).ok());
        let right = bc.and_then(|bc| a.plus(&bc).ok());
        prop_assert_eq!(left, right);
    }

    #[test]
    fn what_was_added_can_be_taken_out(a in bag(), b in bag()) {
        if let Ok(sum) = a.plus(&b) {
            prop_assert!(sum.is_canonical());
            prop_assert!(sum.contains(&a) && sum.contains(&b));
            prop_assert_eq!(sum.minus(&b).expect("is in it"), a);
        }
    }

    #[test]
    fn a_bag_does_not_depend_on_the_order_of_its_entries(entries in prop::collection::vec(entry(), 0..8), turn in 0..8usize) {
        let bag = Resources::collect(entries.clone()).ok();
        let mut turned = entries.clone();
        turned.rotate_left(turn.min(entries.len()));
        turned.reverse();
        prop_assert_eq!(&bag, &Resources::collect(turned).ok());
        let mut sum = Some(Resources::new());
        for entry in entries {
            sum = sum.zip(Resources::collect([entry]).ok()).and_then(|(sum, one)| sum.plus(&one).ok());
        }
        prop_assert_eq!(&bag, &sum);
        prop_assert!(bag.is_none_or(|bag| bag.is_canonical() && Resources::collect(bag.iter().cloned()) == Ok(bag)));
    }

    #[test]
    fn containment_is_a_partial_order(a in bag(), b in bag(), c in bag()) {
        prop_assert!(a.contains(&a) && a.contains(&Resources::new()));
        if a.contains(&b) && b.contains(&a) {
            prop_assert_eq!(&a, &b);
        }
        if a.contains(&b) && b.contains(&c) {
            prop_assert!(a.contains(&c));
        }
        // What has room for both has room for the one.
        if let Ok(bc) = b.plus(&c) && a.contains(&bc) {
            prop_assert!(a.contains(&b) && a.contains(&c));
        }
    }

    #[test]
    fn a_refusal_changes_nothing(a in bag(), b in bag()) {
        let mut rest = a.clone();
        match rest.subtract(&b) {
            Ok(()) => {
                prop_assert!(rest.is_canonical() && a.contains(&b));
                prop_assert_eq!(rest.plus(&b).expect("adds"), a.clone());
            }
            Err(_) => {
                prop_assert_eq!(&rest, &a);
                prop_assert!(!a.contains(&b));
            }
        }
        let mut sum = a.clone();
        if sum.add(&b).is_err() {
            prop_assert_eq!(&sum, &a);
        }
    }

    #[test]
    fn what_two_bags_have_in_common_is_in_both(a in bag(), b in bag()) {
        let both = a.common(&b);
        prop_assert!(both.is_canonical() && a.contains(&both) && b.contains(&both));
        prop_assert_eq!(&both, &b.common(&a));
        prop_assert_eq!(a.contains(&b), both == b);
        let (a_rest, b_rest) = (a.minus(&both).expect("in it"), b.minus(&both).expect("in it"));
        prop_assert!(a_rest.common(&b_rest).is_empty());
    }

    #[test]
    fn parts_add_up(a in bag()) {
        let mut sum = a.unreserved();
        for (role, part) in a.reservations() {
            prop_assert_eq!(&part, &a.reserved_to(&role));
            sum.add(&part).expect("parts");
        }
        prop_assert_eq!(&sum, &a);
        prop_assert_eq!(a.revocable().plus(&a.non_revocable()).expect("parts"), a);
    }

    #[test]
    fn what_is_found_is_there_and_is_what_was_wanted(a in bag(), b in bag(), role in 0..3usize) {
        let role = ["a", "a/b", "other"].map(RoleName::trusted)[role].clone();
        let found = a.find(&b, Some(&role));
        if let Some(found) = &found {
            prop_assert!(found.is_canonical() && a.contains(found));
            prop_assert_eq!(found.quantities(), b.quantities());
        }
        if a.contains(&b) {
            prop_assert!(found.is_some());
        }
        // Nothing is found where there is less than is wanted.
        if let Some((name, _)) = b.quantities().iter().find(|(name, amount)| a.quantities().of_name(name) < *amount) {
            prop_assert!(found.is_none(), "{}", name.as_str());
        }
    }

    #[test]
    fn a_reservation_goes_on_top_and_comes_off(a in bag()) {
        let reservation = Reservation {
            dynamic: true,
            role: RoleName::trusted("a/b/c"),
            principal: Some("ops".to_owned()),
            labels: Vec::new(),
        };
        let reserved = a.with_reservation(&reservation).expect("below a and a/b");
        prop_assert!(reserved.is_canonical());
        prop_assert_eq!(&reserved, &reserved.reserved_to(&reservation.role));
        let back = Resources::collect(reserved.iter().cloned().map(Resource::without_last_reservation));
        prop_assert_eq!(back.expect("as before"), a);
    }

    #[test]
    fn totals_follow_the_bag(a in bag(), b in bag()) {
        let small = |bag: &Resources| bag.filter(|entry| match entry.value {
            Value::Scalar(quantity) => quantity < Quantity::units(1_000_000),
            _ => true,
        });
        let (a, b) = (small(&a), small(&b));
        let mut totals = Totals::of(&a);
        totals.add(&b);
        if let Ok(sum) = a.plus(&b) {
            prop_assert_eq!(&totals, &Totals::of(&sum));
        }
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
        prop_assert!(a.is_canonical());
        prop_assert_eq!(a.contains(&b), y.is_subset(&x));
        prop_assert_eq!(numbers(&a.common(&b)), x.intersection(&y).copied().collect());
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
fn parts_of_a_device_that_tell_it_differently_are_refused() {
    let part = |numa_node| Device { id: "a".to_owned(), share: 100, memory_bytes: 1, numa_node, link_group: None };
    let bag = |device| {
        let value = Value::Devices(vec![device]);
        Resources::collect([Resource { name: ResourceName::Gpus, identity: None, value }]).expect("a device")
    };
    let here = bag(part(Some(0)));
    assert!(matches!(here.plus(&bag(part(Some(1)))), Err(ResourcesError::Facts(_))));
    assert!(!here.contains(&bag(part(None))));
    let twice = Value::Devices(vec![part(None), part(None)]);
    let sum = Resources::collect([Resource { name: ResourceName::Gpus, identity: None, value: twice }]).expect("adds");
    assert_eq!(sum, bag(Device { share: 200, memory_bytes: 2, ..part(None) }));
}

fn disk(size: u64, choice: u8) -> Resources {
    let name = ResourceName::Disk;
    let identity = identity(&name, choice);
    let value = Value::Scalar(Quantity::units(size));
    Resources::collect([Resource { name, identity, value }]).expect("one disk")
}

#[test]
fn mounts_and_volumes_match_whole() {
    for choice in [6, 7] {
        let (large, small) = (disk(100, choice), disk(40, choice));
        assert!(!large.contains(&small) && large.minus(&small).is_err());
        let both = large.plus(&small).expect("beside each other");
        assert_eq!(both.iter().count(), 2);
        assert!(!both.contains(&disk(140, choice)) && both.contains(&small));
        assert_eq!(both.minus(&small), Ok(large.clone()));
        assert_eq!(large.plus(&large).expect("two of a kind").minus(&large), Ok(large));
    }
    // A PATH disk is divided as the root disk is.
    assert_eq!(disk(60, 5).plus(&disk(40, 5)), Ok(disk(100, 5)));
    assert_eq!(disk(100, 5).minus(&disk(40, 5)), Ok(disk(60, 5)));
}

#[test]
fn shared_volumes_count_copies() {
    let one = disk(100, 8);
    let two = one.plus(&one).expect("adds");
    assert!(two.contains(&two) && !one.contains(&two));
    assert_eq!(two.minus(&one), Ok(one.clone()));
    assert_eq!(two.minus(&two), Ok(Resources::new()));
    assert_eq!(one.minus(&two).expect_err("one copy").to_string(), format!("{one} wanted, {one} there"));
    // There is only one disk under them.
    assert_eq!(two.scalar(&ResourceName::Disk), Quantity::units(100));
    assert_eq!(two.quantities(), one.quantities());
    assert_eq!(Totals::of(&two).of_name(&ResourceName::Disk), Quantity::units(200));
}

#[test]
fn the_order_of_labels_is_no_identity() {
    let entry = |labels: &[&str]| {
        let mut identity = reserved("a");
        identity.reservations[0].labels =
            labels.iter().map(|key| Label { key: (*key).to_owned(), value: None }).collect();
        Resource { identity: Some(identity.into()), ..Resource::scalar(ResourceName::Cpus, Quantity::units(1)) }
    };
    let bag = Resources::collect([entry(&["x", "y"]), entry(&["y", "x"]), entry(&["x"])]).expect("adds");
    assert_eq!(bag.to_string(), "cpus(a):1; cpus(a):2");
}

#[test]
fn what_is_found_is_of_the_role_first_then_unreserved() {
    let role = RoleName::trusted("web");
    let find = |have: &str, wanted: &str| {
        let have = parse::resources(have).expect("a text");
        have.find(&parse::resources(wanted).expect("a text"), Some(&role)).map(|found| found.to_string())
    };
    assert_eq!(find("cpus:4;cpus(web):1;cpus(db):9", "cpus:2").as_deref(), Some("cpus:1; cpus(web):1"));
    assert_eq!(find("cpus:4;cpus(web):1;cpus(db):9", "cpus(db):2").as_deref(), Some("cpus(db):2"));
    assert_eq!(find("cpus:1;cpus(web):1;cpus(db):9", "cpus:3").as_deref(), Some("cpus:1; cpus(db):1; cpus(web):1"));
    assert_eq!(find("cpus:1;cpus(web):1", "cpus:3"), None);
    assert_eq!(
        find("ports:[1-10];ports(web):[20-30]", "ports:[5-6,25-25]").as_deref(),
        Some("ports:[5-6]; ports(web):[25-25]")
    );
    assert_eq!(find("ports:[1-10];mem:5", "ports:[5-6];mem:6"), None);
    assert_eq!(disk(100, 6).find(&disk(50, 6), None), None, "a MOUNT disk is whole");
    assert_eq!(disk(100, 6).find(&disk(100, 6), None), Some(disk(100, 6)));
    assert_eq!(disk(100, 6).find(&disk(100, 0), None), None, "another kind of disk");
}

#[test]
fn amounts_are_counted_without_identity() {
    let bag = parse::resources("cpus:1.5;cpus(a):2;ports:[1-3];ports(a):[9-9];zones:{x,y}").expect("a text");
    let quantities = bag.quantities();
    let shown: Vec<String> = quantities.iter().map(|(name, amount)| format!("{}:{amount}", name.as_str())).collect();
    assert_eq!(shown, ["cpus:3.5", "ports:4", "zones:2"]);
}

/// What a peer could send in a frame of valid layout.
#[test]
fn a_bag_from_a_frame_that_is_not_canonical_is_seen() {
    let good = parse::resources("cpus:1;cpus(a):1;ports:[1-3,5-6]").expect("a text");
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&good).expect("archives");
    let read = |bytes: &[u8]| rkyv::from_bytes::<Resources, rkyv::rancor::Error>(bytes);
    assert!(read(&bytes).expect("its own").is_canonical());
    let mut seen = 0;
    for at in 0..bytes.len() {
        let mut spoiled = rkyv::util::AlignedVec::<16>::new();
        spoiled.extend_from_slice(&bytes);
        spoiled[at] ^= 7;
        if let Ok(bag) = read(&spoiled)
            && !bag.is_canonical()
        {
            seen += 1;
        }
    }
    assert!(seen > 10, "ranges out of order, labels and names out of order: {seen}");
}

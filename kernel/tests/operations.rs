//! Operations on bags: what each makes, and each reason not to.

use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::operation::{Author, Operation, Refusal};
use kaon_kernel::resource::{
    Disk, DiskKind, DiskSource, Identity, Persistence, Ranges, Reservation, ReservationError, Resource, ResourceName,
    Resources, Value, Volume, parse,
};
use proptest::prelude::*;

fn layer(role: &str) -> Reservation {
    Reservation { dynamic: true, role: RoleName::trusted(role), principal: Some("ops".to_owned()), labels: Vec::new() }
}

fn one(entry: Resource) -> Resources {
    Resources::collect([entry]).expect("one entry")
}

/// An amount under dynamic reservations.
fn scalar(name: ResourceName, units: u64, roles: &[&str]) -> Resource {
    let plain = Resource::scalar(name, Quantity::units(units));
    roles.iter().fold(plain, |entry, role| entry.with_reservation(layer(role)).expect("a stack"))
}

fn disk(units: u64, change: impl FnOnce(&mut Identity)) -> Resource {
    let mut entry = scalar(ResourceName::Disk, units, &["web"]);
    change(entry.identity.get_or_insert_default());
    entry
}

fn source(kind: DiskKind) -> DiskSource {
    let root = Some("/d".to_owned());
    DiskSource { kind, root, id: None, profile: None, vendor: None, metadata: Vec::new() }
}

fn volume_on(units: u64, id: &str, source: Option<DiskSource>) -> Resource {
    let persistence = Some(Persistence { id: id.to_owned(), principal: Some("ops".to_owned()) });
    let volume = Some(Volume { container_path: "data".to_owned(), host_path: None, writable: true });
    disk(units, |identity| identity.disk = Some(Disk { persistence, volume, source }))
}

fn volume(units: u64, id: &str) -> Resource {
    volume_on(units, id, None)
}

fn with(mut entry: Resource, change: impl FnOnce(&mut Identity)) -> Resource {
    change(entry.identity.get_or_insert_default());
    entry
}

fn reserve(entry: Resource) -> Operation {
    Operation::Reserve { source: None, resources: one(entry) }
}

fn create(entry: Resource) -> Operation {
    Operation::Create { volumes: one(entry) }
}

fn destroy(entry: Resource) -> Operation {
    Operation::Destroy { volumes: one(entry) }
}

#[test]
fn reservations_and_volumes_come_and_go() {
    let mut bag = parse::resources("cpus:4;disk:100").expect("a text");
    let before = bag.clone();
    let steps = [
        (reserve(scalar(ResourceName::Cpus, 1, &["web"])), "cpus:3; cpus(web):1; disk:100"),
        (reserve(scalar(ResourceName::Cpus, 1, &["web", "web/a"])), "cpus:3; cpus(web)(web/a):1; disk:100"),
        (reserve(disk(60, |_| {})), "cpus:3; cpus(web)(web/a):1; disk:40; disk(web):60"),
        (create(volume(50, "v")), "cpus:3; cpus(web)(web/a):1; disk:40; disk(web):10; disk(web)[v]:50"),
        (
            Operation::Grow { volume: volume(50, "v"), addition: disk(4, |_| {}) },
            "cpus:3; cpus(web)(web/a):1; disk:40; disk(web):6; disk(web)[v]:54",
        ),
        (
            Operation::Shrink { volume: volume(54, "v"), subtract: Quantity::units(53) },
            "cpus:3; cpus(web)(web/a):1; disk:40; disk(web):59; disk(web)[v]:1",
        ),
        (destroy(volume(1, "v")), "cpus:3; cpus(web)(web/a):1; disk:40; disk(web):60"),
        (Operation::Unreserve { resources: one(disk(60, |_| {})) }, "cpus:3; cpus(web)(web/a):1; disk:100"),
        (
            Operation::Unreserve { resources: one(scalar(ResourceName::Cpus, 1, &["web", "web/a"])) },
            "cpus:3; cpus(web):1; disk:100",
        ),
        (Operation::Unreserve { resources: one(scalar(ResourceName::Cpus, 1, &["web"])) }, "cpus:4; disk:100"),
    ];
    for (operation, shown) in steps {
        let next = bag.apply(&operation).unwrap_or_else(|refusal| panic!("{operation:?}: {refusal}"));
        assert_eq!(next.to_string(), shown);
        assert_eq!(next.quantities(), bag.quantities());
        assert!(next.is_canonical());
        bag = next;
    }
    assert_eq!(bag, before);
}

#[test]
fn an_operator_moves_reservations() {
    let bag = one(scalar(ResourceName::Cpus, 4, &["web"]));
    let move_to = |source: Resource, target: Resource| {
        bag.apply(&Operation::Reserve { source: Some(one(source)), resources: one(target) })
    };
    let from = || scalar(ResourceName::Cpus, 3, &["web"]);
    let moved = move_to(from(), scalar(ResourceName::Cpus, 3, &["db", "db/x"])).expect("moves");
    assert_eq!(moved.to_string(), "cpus(db)(db/x):3; cpus(web):1");
    assert!(matches!(move_to(from(), scalar(ResourceName::Cpus, 2, &["db"])), Err(Refusal::OtherAmounts(..))));
    assert!(matches!(move_to(from(), scalar(ResourceName::Cpus, 3, &[])), Err(Refusal::NotDynamic(_))));
    assert!(matches!(move_to(volume(3, "v"), disk(3, |_| {})), Err(Refusal::PersistentVolume(_))));
}

#[test]
fn each_rule_of_reservations_is_told() {
    let bag = parse::resources("cpus:4;mem(fixed):8").expect("a text");
    let refusal = |operation: Operation| bag.apply(&operation).expect_err("must be refused");
    let reserved = || scalar(ResourceName::Cpus, 1, &["web"]);
    assert_eq!(refusal(Operation::Reserve { source: None, resources: Resources::new() }), Refusal::Nothing);
    assert!(matches!(refusal(reserve(scalar(ResourceName::Cpus, 1, &[]))), Refusal::NotDynamic(_)));
    let fixed = |entry| with(entry, |identity| identity.reservations[0].dynamic = false);
    assert!(matches!(refusal(reserve(fixed(reserved()))), Refusal::NotDynamic(_)));
    let star = with(reserved(), |identity| identity.reservations[0].role = RoleName::trusted("*"));
    assert_eq!(refusal(reserve(star)), Refusal::Reservation(ReservationError::Everybody));
    let stray = with(reserved(), |identity| identity.reservations.push(layer("other")));
    assert!(matches!(refusal(reserve(stray)), Refusal::Reservation(ReservationError::NoSubRole { .. })));
    let late = with(reserved(), |identity| {
        identity.reservations.insert(0, Reservation { dynamic: false, ..layer("a") });
        identity.reservations[1].role = RoleName::trusted("a/b");
        identity.reservations[1].dynamic = false;
        identity.reservations.push(layer("a/b/c"));
    });
    assert_eq!(refusal(reserve(late)), Refusal::Reservation(ReservationError::Static));
    assert!(matches!(refusal(reserve(with(reserved(), |identity| identity.revocable = true))), Refusal::Revocable(_)));
    assert!(matches!(refusal(reserve(scalar(ResourceName::Cpus, 5, &["web"]))), Refusal::Resources(_)));
    let unreserve = |entry| Operation::Unreserve { resources: one(entry) };
    assert!(matches!(refusal(unreserve(scalar(ResourceName::Cpus, 1, &[]))), Refusal::NotDynamic(_)));
    assert!(matches!(refusal(unreserve(fixed(scalar(ResourceName::Mem, 1, &["fixed"])))), Refusal::NotDynamic(_)));
    assert!(matches!(refusal(unreserve(reserved())), Refusal::Resources(_)));
    assert!(matches!(one(volume(5, "v")).apply(&unreserve(volume(5, "v"))), Err(Refusal::PersistentVolume(_))));
    // Ports that would meet.
    let ports = |roles: &[&str]| Resource {
        value: Value::Ranges(Ranges::new(vec![(1, 5)]).expect("a range")),
        ..scalar(ResourceName::Ports, 1, roles)
    };
    let both = Resources::collect([ports(&["web"]), ports(&[])]).expect("two entries");
    let mut kept = both.clone();
    assert!(matches!(kept.operate(&unreserve(ports(&["web"]))), Err(Refusal::Resources(_))));
    assert_eq!(kept, both, "a refusal changes nothing");
}

#[test]
fn each_rule_of_volumes_is_told() {
    let bag = Resources::collect([disk(100, |_| {}), volume(5, "old")]).expect("a bag");
    let refusal = |operation: Operation| bag.apply(&operation).expect_err("must be refused");
    let broken = |change: &dyn Fn(&mut Identity)| refusal(create(with(volume(5, "v"), change)));
    let in_disk = |change: &dyn Fn(&mut Disk)| broken(&|identity| change(identity.disk.as_mut().expect("a disk")));
    assert!(matches!(broken(&|identity| identity.reservations.clear()), Refusal::Unreserved(_)));
    assert!(matches!(broken(&|identity| identity.revocable = true), Refusal::Revocable(_)));
    assert!(matches!(broken(&|identity| identity.disk = None), Refusal::NotPersistent(_)));
    assert!(matches!(in_disk(&|disk| disk.volume = None), Refusal::NoVolume(_)));
    let in_volume = |change: &dyn Fn(&mut Volume)| in_disk(&|disk| change(disk.volume.as_mut().expect("a volume")));
    assert!(matches!(in_volume(&|volume| volume.writable = false), Refusal::ReadOnly(_)));
    assert!(matches!(in_volume(&|volume| volume.host_path = Some("/".to_owned())), Refusal::HostPath(_)));
    assert!(matches!(refusal(create(volume(5, "a/b"))), Refusal::PersistenceId(_)));
    assert!(matches!(refusal(create(volume(5, ""))), Refusal::PersistenceId(_)));
    assert!(matches!(refusal(create(Resource { name: ResourceName::Mem, ..volume(5, "v") })), Refusal::NotDisk(_)));
    for kind in [DiskKind::Raw, DiskKind::Block] {
        assert!(matches!(refusal(create(volume_on(5, "v", Some(source(kind))))), Refusal::NoFileSystem(_)));
    }
    let twice = Resources::collect([volume(5, "v"), volume(6, "v")]).expect("two volumes");
    assert!(matches!(refusal(Operation::Create { volumes: twice }), Refusal::PersistenceTwice { .. }));
    assert!(matches!(refusal(create(volume(5, "old"))), Refusal::PersistenceTwice { .. }));
    assert!(matches!(refusal(create(volume(101, "v"))), Refusal::Resources(_)));
    assert!(matches!(refusal(destroy(volume(6, "old"))), Refusal::Resources(_)));
    assert!(matches!(refusal(destroy(disk(5, |_| {}))), Refusal::NotPersistent(_)));
}

#[test]
fn mounts_become_volumes_whole() {
    let mount = || {
        disk(100, |identity| {
            identity.disk = Some(Disk { persistence: None, volume: None, source: Some(source(DiskKind::Mount)) });
        })
    };
    let bag = one(mount());
    let part = volume_on(40, "v", Some(source(DiskKind::Mount)));
    assert!(matches!(bag.apply(&create(part)), Err(Refusal::Resources(_))));
    let whole = volume_on(100, "v", Some(source(DiskKind::Mount)));
    let made = bag.apply(&create(whole.clone())).expect("the whole disk");
    assert_eq!(made, one(whole.clone()));
    let shrink = Operation::Shrink { volume: whole.clone(), subtract: Quantity::units(1) };
    assert!(matches!(made.apply(&shrink), Err(Refusal::Indivisible(_))));
    let grow = Operation::Grow { volume: whole.clone(), addition: mount() };
    assert!(matches!(made.apply(&grow), Err(Refusal::Incompatible { .. })));
    assert_eq!(made.apply(&destroy(whole)), Ok(bag));
}

#[test]
fn each_rule_of_resizing_is_told() {
    let bag = Resources::collect([volume(50, "v"), disk(50, |_| {})]).expect("a bag");
    let grow =
        |volume: Resource, addition: Resource| bag.apply(&Operation::Grow { volume, addition }).expect_err("refused");
    let shrink = |volume: Resource, units: u64| {
        bag.apply(&Operation::Shrink { volume, subtract: Quantity::units(units) }).expect_err("refused")
    };
    let shared = || with(volume(50, "v"), |identity| identity.shared = true);
    let provided = || with(volume(50, "v"), |identity| identity.provider_id = Some("p".to_owned()));
    assert_eq!(grow(volume(50, "v"), disk(0, |_| {})), Refusal::NoChange);
    assert!(matches!(grow(shared(), disk(1, |_| {})), Refusal::Shared(_)));
    assert!(matches!(grow(provided(), disk(1, |_| {})), Refusal::Provider(_)));
    assert!(matches!(grow(disk(50, |_| {}), disk(1, |_| {})), Refusal::NotPersistent(_)));
    assert!(matches!(grow(volume(50, "v"), disk(51, |_| {})), Refusal::Resources(_)));
    let elsewhere = scalar(ResourceName::Disk, 1, &["db"]);
    assert!(matches!(grow(volume(50, "v"), elsewhere), Refusal::Incompatible { .. }));
    assert_eq!(shrink(volume(50, "v"), 0), Refusal::NoChange);
    assert!(matches!(shrink(volume(50, "v"), 50), Refusal::TooSmall(_)));
    assert!(matches!(shrink(volume(50, "v"), 51), Refusal::TooSmall(_)));
    assert!(matches!(shrink(shared(), 1), Refusal::Shared(_)));
    assert!(matches!(shrink(provided(), 1), Refusal::Provider(_)));
    let most = Resource { value: Value::Scalar(Quantity(u64::MAX)), ..volume(50, "v") };
    assert!(matches!(grow(most, disk(1, |_| {})), Refusal::Resources(_)), "no overflow");
}

#[test]
fn a_shared_volume_goes_with_its_last_copies() {
    let shared = || with(volume(50, "v"), |identity| identity.shared = true);
    let made = one(disk(50, |_| {})).apply(&create(shared())).expect("made");
    assert_eq!(made, one(shared()));
    let two = made.plus(&made).expect("two copies");
    assert!(matches!(two.apply(&destroy(shared())), Err(Refusal::OtherCopies(_))));
    assert_eq!(made.apply(&destroy(shared())), Ok(one(disk(50, |_| {}))));
    let all = two.apply(&Operation::Destroy { volumes: two.clone() });
    assert_eq!(all, Ok(one(disk(50, |_| {}))), "there was one disk under both");
}

#[test]
fn authors_name_their_own_role_and_principal() {
    let web = RoleName::trusted("web");
    let author = Author { allocation: Some(&web), principal: Some("ops"), shares: false };
    let cpus = |role: &str| reserve(scalar(ResourceName::Cpus, 1, &[role]));
    assert_eq!(cpus("web").check_author(&author), Ok(()));
    assert!(matches!(cpus("db").check_author(&author), Err(Refusal::OtherRole { .. })));
    assert_eq!(cpus("db").check_author(&Author { allocation: None, ..author }), Ok(()));
    let mallory = Author { principal: Some("mallory"), ..author };
    assert!(matches!(cpus("web").check_author(&mallory), Err(Refusal::OtherPrincipal { .. })));
    assert!(matches!(create(volume(1, "v")).check_author(&mallory), Err(Refusal::OtherPrincipal { .. })));
    assert_eq!(create(volume(1, "v")).check_author(&author), Ok(()));
    let shared = create(with(volume(1, "v"), |identity| identity.shared = true));
    assert!(matches!(shared.check_author(&author), Err(Refusal::NotUnderstood(_))));
    assert_eq!(shared.check_author(&Author { shares: true, ..author }), Ok(()));
}

proptest! {
    /// Whatever is done in whatever order, amounts stay, the bag stays canonical, and each step can be undone.
    #[test]
    fn operations_keep_amounts(steps in prop::collection::vec((0..6u8, 0..4u64, 0..3usize), 0..24)) {
        let mut bag = parse::resources("cpus:4;disk:8;ports:[1-9]").expect("a text");
        let before = bag.quantities();
        for (kind, units, which) in steps {
            let id = ["v", "w", "x"][which];
            let roles = [&["web"][..], &["web", "web/a"], &["db"]][which];
            let operation = match kind {
                0 => reserve(scalar(ResourceName::Cpus, units, roles)),
                1 => Operation::Unreserve { resources: one(scalar(ResourceName::Disk, units, roles)) },
                2 => reserve(scalar(ResourceName::Disk, units, roles)),
                3 => create(volume(units, id)),
                4 => destroy(volume(units, id)),
                _ => Operation::Grow { volume: volume(units, id), addition: disk(1, |_| {}) },
            };
            let old = bag.clone();
            match bag.operate(&operation) {
                Ok(conversion) => {
                    let back = kaon_kernel::resource::operation::Conversion {
                        consumed: conversion.converted,
                        converted: conversion.consumed,
                    };
                    let mut undone = bag.clone();
                    undone.convert(&back).expect("the way back");
                    prop_assert_eq!(undone, old);
                }
                Err(_) => prop_assert_eq!(&bag, &old),
            }
            prop_assert_eq!(bag.quantities(), before.clone());
            prop_assert!(bag.is_canonical());
        }
    }
}

#[test]
fn what_is_kept_goes_on_top_of_what_the_flags_say() {
    let started = parse::resources("cpus:4;mem:64;disk:100;disk(web):50").expect("a text");
    let mut bag = started.clone();
    let on_static = {
        let flag = Reservation { dynamic: false, role: RoleName::trusted("web"), principal: None, labels: Vec::new() };
        let entry = Resource::scalar(ResourceName::Disk, Quantity::units(20)).with_reservation(flag).expect("a stack");
        with(entry, |identity| identity.disk.clone_from(&volume(1, "s").identity.expect("an identity").disk))
    };
    let shared = with(volume(30, "v"), |identity| identity.shared = true);
    for operation in [
        reserve(scalar(ResourceName::Cpus, 1, &["web"])),
        reserve(scalar(ResourceName::Cpus, 1, &["web", "web/a"])),
        reserve(disk(60, |_| {})),
        create(shared.clone()),
        create(on_static),
    ] {
        bag.operate(&operation).expect("it is there");
        assert_eq!(started.with_kept(&bag.kept()).as_ref(), Ok(&bag), "after {operation:?}");
    }
    let copies = bag.plus(&one(shared)).expect("a second copy");
    assert_eq!(copies.without_copies(), bag);
    let less = parse::resources("cpus:4;mem:64;disk:10;disk(web):50").expect("a text");
    assert!(less.with_kept(&bag.kept()).is_err(), "sixty of the disk are reserved");
    assert_eq!(started.with_kept(&started.kept()), Ok(started), "nothing is kept of flags");
}

#[test]
fn volumes_have_directories_of_their_own() {
    assert_eq!(volume(1, "v").volume_directory().as_deref(), Some("volumes/roles/web/v"));
    let deep = with(volume(1, "v"), |identity| identity.reservations.push(layer("web/a")));
    assert_eq!(deep.volume_directory().as_deref(), Some("volumes/roles/web a/v"));
    let path = volume_on(1, "v", Some(source(DiskKind::Path)));
    assert_eq!(path.volume_directory().as_deref(), Some("/d/volumes/roles/web/v"));
    let mount = volume_on(1, "v", Some(source(DiskKind::Mount)));
    assert_eq!(mount.volume_directory().as_deref(), Some("/d"));
    assert_eq!(disk(1, |_| {}).volume_directory(), None);
}

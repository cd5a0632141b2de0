//! The algebra of resources where bags are large: fragmented ports, hundreds of labelled reservations.

use criterion::{BatchSize, Criterion};
use kaon_kernel::framework::Label;
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::operation::Operation;
use kaon_kernel::resource::{Ranges, Reservation, Resource, ResourceName, Resources, Value, parse};

pub(crate) fn bench(criterion: &mut Criterion) {
    plain(criterion);
    ports(criterion);
    reservations(criterion);
}

/// What most machines have and most tasks take.
fn plain(criterion: &mut Criterion) {
    let machine = parse::resources("cpus:16;mem:65536;disk:500000;ports:[31000-32000]").expect("a resource text");
    let task = parse::resources("cpus:1;mem:1024").expect("a resource text");
    let mut group = criterion.benchmark_group("resource/plain");
    group.bench_function("subtract-and-add", |b| {
        let mut bag = machine.clone();
        b.iter(|| {
            bag.subtract(&task).expect("there");
            bag.add(&task).expect("back");
        });
    });
    group.bench_function("contains", |b| b.iter(|| assert!(machine.contains(&task))));
    group.finish();
}

/// Ten thousand ranges of one port each: every second port of 20,000.
fn ports(criterion: &mut Criterion) {
    const RANGES: u64 = 10_000;
    let bag = |pairs: Vec<(u64, u64)>| {
        let value = Value::Ranges(Ranges::new(pairs).expect("ranges"));
        Resources::collect([Resource { name: ResourceName::Ports, identity: None, value }]).expect("ports")
    };
    let even = bag((0..RANGES).map(|number| (2 * number, 2 * number)).collect());
    let odd = bag((0..RANGES).map(|number| (2 * number + 1, 2 * number + 1)).collect());
    let all = even.plus(&odd).expect("apart");
    let one = bag(vec![(10_001, 10_001)]);
    let mut group = criterion.benchmark_group("resource/10000-fragmented-ports");
    group.bench_function("add", |b| b.iter(|| even.plus(&odd).expect("apart")));
    group.bench_function("subtract", |b| b.iter(|| all.minus(&odd).expect("there")));
    group.bench_function("contains", |b| b.iter(|| assert!(even.contains(&even))));
    group.bench_function("add-one-port", |b| {
        let add = |mut bag: Resources| bag.add(&one).map(|()| bag);
        b.iter_batched(|| even.clone(), add, BatchSize::LargeInput);
    });
    group.bench_function("contains-one-port", |b| b.iter(|| assert!(odd.contains(&one))));
    group.finish();
}

/// One agent with so many dynamic reservations, four a role, told apart by their labels.
fn reservations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resource/labelled-reservations");
    for count in [200, 400, 800] {
        let reserved = |number: u64| {
            let label = |key: &str| Label { key: key.to_owned(), value: Some(format!("value-of-{number}")) };
            let reservation = Reservation {
                dynamic: true,
                role: RoleName::trusted(format!("role-{}", number / 4)),
                principal: Some("operator".to_owned()),
                labels: vec![label("first"), label("second")],
            };
            let plain = Resource::scalar(ResourceName::Cpus, Quantity::units(1));
            plain.with_reservation(reservation).expect("one layer")
        };
        let free = Resource::scalar(ResourceName::Cpus, Quantity::units(10));
        let mut agent = Resources::collect((0..count).map(reserved).chain([free])).expect("a bag");
        let resources = Resources::collect([reserved(count)]).expect("one");
        let reserve = Operation::Reserve { source: None, resources: resources.clone() };
        let unreserve = Operation::Unreserve { resources };
        group.bench_function(format!("reserve-and-unreserve/{count}"), |b| {
            b.iter(|| {
                agent.operate(&reserve).expect("free processors");
                agent.operate(&unreserve).expect("reserved before");
            });
        });
        let copy = agent.clone();
        group.bench_function(format!("apply-to-a-copy/{count}"), |b| b.iter(|| agent.apply(&reserve).expect("free")));
        group.bench_function(format!("contains/{count}"), |b| b.iter(|| assert!(agent.contains(&copy))));
        group.bench_function(format!("add/{count}"), |b| b.iter(|| agent.plus(&copy).expect("scalars")));
    }
    group.finish();
}

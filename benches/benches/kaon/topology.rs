//! Placing a task on a machine with 384 processing units (two packages, 24 L3 groups, 192 cores), half of it in use.

use criterion::{BatchSize, Criterion};
use kaon_kernel::placement::{Demand, Machine, Near, PlacementRequest, Policy};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::parse;
use kaon_kernel::topology::Uniform;
use std::hint::black_box;

pub(crate) fn bench(criterion: &mut Criterion) {
    let uniform = Uniform {
        packages: 2,
        l3_groups: 12,
        cores: 8,
        threads: 2,
        node_memory_bytes: 384 << 30,
        gpus: 4,
        gpu_memory_bytes: 80 << 30,
        linked: 8,
        networks: 2,
        ..Uniform::default()
    };
    let topology = uniform.build().expect("a machine");
    let resources = parse::resources("cpus:384;mem:780000;gpus:8").expect("resources");
    let mut group = criterion.benchmark_group("topology");
    group.bench_function("machine/384", |b| b.iter(|| Machine::new(black_box(&topology), &resources)));
    let mut half = Machine::new(&topology, &resources).expect("what it has");
    let spread = PlacementRequest { policy: Policy::Spread, ..PlacementRequest::default() };
    let one = Demand { cpus: Quantity::units(1), mem: Quantity::units(1024), ..Demand::default() };
    for _ in 0..192 {
        half.place(&one, &spread).expect("half of it");
    }
    let request = |policy, exclusive| PlacementRequest { policy, exclusive, ..PlacementRequest::default() };
    let near = PlacementRequest { gpus_near: Some(Near::Cores), ..request(Policy::OneNode, false) };
    let cases = [
        ("none", request(Policy::None, false), 0),
        ("numa", request(Policy::OneNode, false), 0),
        ("packed", request(Policy::Packed, false), 0),
        ("spread", request(Policy::Spread, false), 0),
        ("numa-and-4-gpus", near, 4),
    ];
    for (name, request, gpus) in cases {
        let demand = Demand { cpus: Quantity::units(16), mem: Quantity::units(16_384), gpus, ..Demand::default() };
        group.bench_function(format!("place-16-of-384/{name}"), |b| {
            b.iter_batched_ref(
                || half.clone(),
                |machine| {
                    let placement = machine.place(&demand, &request).expect("there is room");
                    machine.release(&placement);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

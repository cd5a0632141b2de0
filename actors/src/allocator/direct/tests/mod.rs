//! Tests of direct placement.

mod books;
mod fragments;
mod queue;
mod scan;
mod scores;

use super::*;
use proptest::prelude::*;

/// A machine in short: cores, GiB, GPUs, their type.
fn machine(cores: u64, gib: u64, gpus: u8, gpu_type: u8) -> NodeSpec {
    let gpu_type = GpuType(gpu_type);
    NodeSpec { cpu_milli: cores * 1000, mem_mib: gib * 1024, gpus, gpu_type, domain: 0 }
}

fn cluster(machines: &[NodeSpec]) -> Cluster {
    let mut cluster = Cluster::default();
    for spec in machines {
        cluster.add(*spec).expect("a machine of a test");
    }
    cluster
}

/// A task in short: cores, GiB, GPUs.
fn task(cores: u64, gib: u64, gpu: GpuDemand) -> Task {
    Task::of(Shape { cpu_milli: cores * 1000, mem_mib: gib * 1024, gpu, types: GpuTypes(0) })
}

/// Books a task on a machine, on these GPUs.
fn book(cluster: &mut Cluster, node: u32, gpus: &[usize], task: Task) {
    let gpus = GpuSet(gpus.iter().fold(0, |bits, number| bits | 1 << number));
    cluster.place(Choice { node: NodeIndex(node), gpus }, &task).expect("a booking of a test");
}

fn gpu_demand() -> impl Strategy<Value = GpuDemand> {
    prop_oneof![
        3 => Just(GpuDemand::None),
        4 => prop::sample::select(vec![100, 250, 500, 730]).prop_map(GpuDemand::Part),
        3 => prop::sample::select(vec![1, 2, 4]).prop_map(GpuDemand::Whole),
    ]
}

fn any_shape() -> impl Strategy<Value = Shape> {
    (0u64..5, 0u64..4, gpu_demand(), prop_oneof![3 => Just(0u64), 1 => 1u64..4]).prop_map(|(cores, gib, gpu, types)| {
        Shape { cpu_milli: cores * 2000, mem_mib: gib * 4096, gpu, types: GpuTypes(types) }
    })
}

fn any_task() -> impl Strategy<Value = Task> {
    (any_shape(), 0u32..3, any::<bool>(), 0u64..8).prop_map(|(shape, job, is_production, packages)| Task {
        shape,
        job,
        is_production,
        packages,
    })
}

fn any_machine() -> impl Strategy<Value = NodeSpec> {
    (1u64..9, 1u64..9, prop::sample::select(vec![0u8, 1, 2, 4, 8]), 0u8..2, 0u32..3).prop_map(
        |(cores, gib, gpus, gpu_type, domain)| NodeSpec { domain, ..machine(cores * 4, gib * 4, gpus, gpu_type) },
    )
}

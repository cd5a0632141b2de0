//! Direct placement at 10,000 machines: one decision, booked, and one older task given back, under a load of about a half.

use criterion::{Criterion, Throughput};
use kaon_actors::allocator::direct::{
    Choice, Cluster, GpuDemand, GpuType, GpuTypes, NodeSpec, PLACEMENTS, Parameters, Placement, Shape, Task, Workload,
    placement,
};
use kaon_kernel::chance::Chance;
use std::time::Duration;

const NODES: u32 = 10_000;
/// Tasks that stand before the measurement begins.
const STANDING: usize = 30_000;

fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    for at in 0..NODES {
        let gpus = [8, 4, 2, 0][at as usize % 4];
        let cpu_milli = 64_000 + 32_000 * u64::from(at % 3);
        let spec = NodeSpec { cpu_milli, mem_mib: 262_144, gpus, gpu_type: GpuType(0), domain: at / 40 };
        cluster.add(spec).expect("fewer machines than the most");
    }
    cluster
}

fn tasks(shapes: u32) -> Vec<Task> {
    let task = |at: u32| {
        let gpu = match at % 4 {
            0 => GpuDemand::Part(100 + 50 * (at % 16) as u16),
            1 => GpuDemand::None,
            2 => GpuDemand::Whole(1),
            _ => GpuDemand::Part(500),
        };
        let (cpu_milli, mem_mib) = (2000 + 500 * u64::from(at % 20), 4096 + 1024 * u64::from(at % 7));
        let shape = Shape { cpu_milli, mem_mib, gpu, types: GpuTypes(0) };
        Task { shape, job: 1 + at % 50, is_production: at.is_multiple_of(3), packages: 1 << (at % 60) }
    };
    (0..shapes).map(task).collect()
}

/// A cluster under load and what stands in it.
struct Churn {
    cluster: Cluster,
    placement: Box<dyn Placement>,
    tasks: Vec<Task>,
    held: Vec<(Choice, Task)>,
    chance: Chance,
}

impl Churn {
    fn place(&mut self) {
        let task = self.tasks[self.chance.below(self.tasks.len() as u64) as usize];
        if let Some(choice) = self.placement.choose(&self.cluster, &task, &mut self.chance) {
            self.cluster.place(choice, &task).expect("what is chosen fits");
            self.held.push((choice, task));
        }
    }

    fn release(&mut self) {
        let at = self.chance.below(self.held.len() as u64) as usize;
        let (choice, task) = self.held.swap_remove(at);
        self.cluster.release(choice, &task).expect("it stands");
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("placement");
    group.sample_size(20).throughput(Throughput::Elements(1));
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    for (name, word, _) in PLACEMENTS {
        for shapes in [1, 16, 151] {
            let tasks = tasks(shapes);
            let parameters = Parameters { workload: Some(Workload::from(&tasks[..])), ..Parameters::default() };
            let placement = placement(name, &parameters).expect("there is a workload");
            let mut churn = Churn { cluster: cluster(), placement, tasks, held: Vec::new(), chance: Chance::new(7) };
            (0..STANDING).for_each(|_| churn.place());
            group.bench_function(format!("{word}/{shapes}"), |b| {
                b.iter(|| {
                    churn.place();
                    churn.release();
                });
            });
        }
    }
    group.finish();
}

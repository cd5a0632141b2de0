//! Events a second in the simulator, one worker.

use criterion::{Criterion, Throughput};
use kaon_sim::Options;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sim");
    group.sample_size(10);
    let options = Options { agents: 1_000, frameworks: 10, tasks: 10_000, seed: 7, ..Options::default() };
    let events = kaon_sim::run(&options).expect("the options are good").events;
    group.throughput(Throughput::Elements(events));
    group.bench_function("1000-agents-10000-tasks", |b| {
        b.iter(|| {
            let report = kaon_sim::run(&options).expect("the options are good");
            assert!(report.is_well());
            report
        });
    });
    group.finish();
}

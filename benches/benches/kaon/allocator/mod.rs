//! The allocator's engine: rounds over whole clusters, and the price of one freed agent. The peer's cases with all their
//! sizes are in the program `allocator_table`, which prints its figures beside ours; here are those worth the spread
//! that criterion shows.

mod cells;
mod explain;

use criterion::{BatchSize, Criterion};
use kaon_actors::allocator::engine::Rules;
use kaon_actors::allocator::engine::scenario::Scenario;
use kaon_kernel::chance::Chance;
use kaon_kernel::time::Instant;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("allocator");
    group.sample_size(10);
    for (agents, frameworks) in [(1_000, 10), (10_000, 100)] {
        let scenario = Scenario { agents, frameworks, roles: frameworks };
        group.bench_function(format!("full-cycle/{agents}x{frameworks}"), |b| {
            b.iter_batched(
                || (scenario.engine(Rules::default()), Chance::new(1), Vec::new()),
                |(mut engine, mut chance, mut grants)| {
                    engine.cycle(Instant(1), &mut chance, &mut grants);
                    assert_eq!(grants.len(), agents as usize, "every agent is granted");
                    (engine, grants)
                },
                BatchSize::PerIteration,
            );
        });
        let mut engine = scenario.engine(Rules::default());
        let (mut chance, mut grants) = (Chance::new(1), Vec::new());
        engine.cycle(Instant(1), &mut chance, &mut grants);
        group.bench_function(format!("one-freed-agent/{agents}x{frameworks}"), |b| {
            b.iter(|| {
                let grant = grants.pop().expect("one grant comes back for each that went");
                engine.recover(Instant(1), grant, None).expect("the agent and the framework are known");
                engine.cycle(Instant(1), &mut chance, &mut grants);
            });
        });
    }
    cells::bench(&mut group);
    explain::bench(&mut group);
    group.finish();
}

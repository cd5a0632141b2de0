//! Full rounds in the states of the grid, at a size that criterion can repeat.

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use kaon_benches::allocator::grid::{Case, Cell, Roles};

pub(super) fn bench(group: &mut BenchmarkGroup<'_, WallTime>) {
    for case in [Case::AllFree, Case::AllFiltered, Case::HalfSuppressed, Case::NearQuota, Case::Ports] {
        for roles in [Roles::Flat, Roles::Deep] {
            let cell = Cell { agents: 1_000, frameworks: 50, roles, case };
            let mut bed = cell.bed();
            group.bench_function(format!("round/{case:?}/{roles:?}/1000x50"), |b| {
                b.iter(|| {
                    bed.full_round();
                    if case != Case::AllFiltered {
                        bed.give_back(None);
                    }
                });
            });
        }
    }
}

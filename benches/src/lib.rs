//! Benchmarks and load generators. The benches are in `benches/kaon`, one file a subject; each measures Kaon beside a
//! named peer or floor in the same run. What more than one of them drives is here. `docs/performance.md` has the numbers
//! and the commands.

pub mod allocator;

//! Prints what the books of the allocator's engine weigh: `cargo run --release -p kaon-benches --bin allocator_memory`.

use kaon_benches::allocator::memory::weights;
use peak_alloc::PeakAlloc;

#[global_allocator]
static COUNTED: PeakAlloc = PeakAlloc;

fn main() {
    println!("| of 10,000 agents, 10 tasks each | bytes | at most | met |\n|---|---:|---:|---|");
    for weight in weights(10_000, 10, || COUNTED.current_usage()) {
        let (goal, met) = match weight.goal {
            Some(goal) => (goal.to_string(), if weight.bytes <= goal { "yes" } else { "no" }),
            None => (String::new(), ""),
        };
        println!("| {} | {:.0} | {goal} | {met} |", weight.what, weight.bytes);
    }
}

//! Load on the HTTP edge of a real master: `cargo bench -p kaon-benches --bench load -- WHAT`.
//!
//! The master's host, its actors and its HTTP edge are those of `kaon master`, on a real socket; its registry is kept in
//! memory. Its agents are scripted: they stand behind the network's port and answer each message at once, so that what is
//! measured is the master. Clients are in the same process and share its processors. Each subject is one file:
//! `throughput` (tasks a second), `offer` (freed resources to an offer), `slow` (readers that can't keep up),
//! `state` (the answers that show everything), `idle` (100,000 connections that ask for nothing).
#![allow(missing_docs, reason = "a program")]

mod agents;
mod client;
mod idle;
mod offer;
mod slow;
mod state;
mod throughput;
mod world;

use kaon_http::codec::MediaType;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: kaon_runtime::Allocator = kaon_runtime::Allocator;

fn main() {
    // `cargo test --benches` and `cargo bench` give flags of their own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| words.iter().any(|word| word == name);
    if words.is_empty() {
        println!("load: throughput, offer, slow, state, idle; any of them, or all");
    }
    if wanted("throughput") || wanted("all") {
        for media in [MediaType::Json, MediaType::Protobuf] {
            throughput::measure(media);
        }
    }
    if wanted("offer") || wanted("all") {
        offer::measure();
    }
    if wanted("slow") || wanted("all") {
        slow::measure();
    }
    if wanted("state") || wanted("all") {
        state::measure();
    }
    if wanted(idle::MASTER_WORD) {
        return idle::serve();
    }
    if wanted("idle") || wanted("all") {
        idle::measure();
    }
}

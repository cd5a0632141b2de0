//! The kaon binary.
fn main() {}

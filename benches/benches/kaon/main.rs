//! Criterion benches, one group a subject: `cargo bench -p kaon-benches --bench kaon -- frame`.

mod allocator;
mod frame;
mod mailbox;
mod sim;
mod topology;
mod transport;

criterion::criterion_group!(
    benches,
    frame::bench,
    mailbox::bench,
    transport::bench,
    allocator::bench,
    sim::bench,
    topology::bench
);
criterion::criterion_main!(benches);

//! Criterion benches, one group a subject: `cargo bench -p kaon-benches --bench kaon -- frame`.

mod allocator;
mod frame;
mod mailbox;
mod placement;
mod resource;
mod sim;
mod topology;
mod transport;

criterion::criterion_group!(
    benches,
    resource::bench,
    frame::bench,
    mailbox::bench,
    transport::bench,
    allocator::bench,
    placement::bench,
    sim::bench,
    topology::bench
);
criterion::criterion_main!(benches);

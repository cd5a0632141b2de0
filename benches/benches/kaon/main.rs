//! Criterion benches, one group a subject: `cargo bench -p kaon-benches --bench kaon -- frame`.

mod allocator;
mod frame;
mod mailbox;
mod resource;
mod sim;
mod transport;

criterion::criterion_group!(
    benches,
    resource::bench,
    frame::bench,
    mailbox::bench,
    transport::bench,
    allocator::bench,
    sim::bench
);
criterion::criterion_main!(benches);

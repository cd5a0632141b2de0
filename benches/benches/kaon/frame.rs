//! Frames against prost: one OFFERS event of 100 offers, five resources each, written and read.

use criterion::Criterion;
use kaon_http::v1;
use kaon_kernel::actor::{ActorKind, Address, HostId, Term};
use kaon_kernel::frame::{Buffer, Frame, Root, Route};
use kaon_kernel::id::{AgentId, FrameworkId, MasterId, OfferId, RoleName};
use kaon_kernel::message::event::{ArchivedFrameworkEvent, FrameworkEvent};
use kaon_kernel::message::{MasterMessage, agent_master};
use kaon_kernel::offer::Offer;
use kaon_kernel::resource::{Resources, parse};
use prost::Message;
use std::hint::black_box;

const OFFERS: u64 = 100;

fn resources() -> Resources {
    parse::resources("cpus:16;mem:65536;disk:500000;gpus:4;ports:[31000-32000]").expect("a resource text")
}

fn event() -> FrameworkEvent {
    let master = "9b2f1c0e-7f0b-4a35-a5ab-0d6d9f1b2c3d";
    let offers = (0..OFFERS).map(|number| Offer {
        id: OfferId(number),
        agent_id: AgentId::trusted(format!("{master}-S{number}")),
        hostname: format!("machine-{number}.example"),
        ip: "10.1.2.3".to_owned(),
        port: 5051,
        role: RoleName::trusted("*"),
        resources: resources(),
        attributes: Vec::new(),
        executors: Vec::new(),
        domain: None,
        unavailability: None,
    });
    FrameworkEvent::Offers {
        master_id: MasterId::trusted(master),
        multi_role: true,
        reservation_refinement: true,
        framework_id: FrameworkId::trusted(format!("{master}-0001")),
        offers: offers.collect(),
    }
}

/// The same event in the v1 schema, as the peer sees it.
fn peer_event() -> v1::scheduler::Event {
    let master = "9b2f1c0e-7f0b-4a35-a5ab-0d6d9f1b2c3d";
    let scalar = |name: &str, value: f64| v1::mesos::Resource {
        name: name.to_owned(),
        r#type: v1::mesos::value::Type::Scalar as i32,
        scalar: Some(v1::mesos::value::Scalar { value }),
        ..Default::default()
    };
    let range = v1::mesos::value::Range { begin: 31_000, end: 32_000 };
    let ports = v1::mesos::Resource {
        name: "ports".to_owned(),
        r#type: v1::mesos::value::Type::Ranges as i32,
        ranges: Some(v1::mesos::value::Ranges { range: vec![range] }),
        ..Default::default()
    };
    let offers = (0..OFFERS).map(|number| v1::mesos::Offer {
        id: v1::mesos::OfferId { value: format!("{master}-O{number}") },
        framework_id: v1::mesos::FrameworkId { value: format!("{master}-0001") },
        agent_id: v1::mesos::AgentId { value: format!("{master}-S{number}") },
        hostname: format!("machine-{number}.example"),
        resources: vec![
            scalar("cpus", 16.0),
            scalar("mem", 65_536.0),
            scalar("disk", 500_000.0),
            scalar("gpus", 4.0),
            ports.clone(),
        ],
        ..Default::default()
    });
    v1::scheduler::Event {
        r#type: Some(v1::scheduler::event::Type::Offers as i32),
        offers: Some(v1::scheduler::event::Offers { offers: offers.collect() }),
        ..Default::default()
    }
}

fn route<M: Root>() -> Route {
    let to = Address::only(HostId(1), M::KIND.receiver().unwrap_or(ActorKind::Outside));
    Route { to, from: Address::only(HostId(2), ActorKind::Agent), sequence: 1, term: Term(1) }
}

fn copy(bytes: &[u8]) -> Buffer {
    let mut buffer = Buffer::with_capacity(bytes.len());
    buffer.extend_from_slice(bytes);
    buffer
}

/// Looks at every resource, so that both readers do the same work.
fn walk(frame: &Frame) -> usize {
    match frame.body::<FrameworkEvent>() {
        Some(ArchivedFrameworkEvent::Offers { offers, .. }) => {
            offers.iter().map(|offer| offer.hostname.len() + rkyv_len(offer)).sum()
        }
        _ => 0,
    }
}

fn rkyv_len(offer: &kaon_kernel::offer::ArchivedOffer) -> usize {
    offer.agent_id.len() + offer.ip.len()
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    let (event, peer) = (event(), peer_event());
    let frame = Frame::encode(route::<FrameworkEvent>(), &event);
    let wire = peer.encode_to_vec();
    println!("frame: {} bytes, prost: {} bytes", frame.bytes().len(), wire.len());
    group.bench_function("offers-100/encode", |b| {
        b.iter(|| Frame::encode(route::<FrameworkEvent>(), black_box(&event)));
    });
    group.bench_function("offers-100/encode-prost", |b| b.iter(|| black_box(&peer).encode_to_vec()));
    group.bench_function("offers-100/admit-and-read", |b| {
        b.iter_batched(
            || copy(frame.bytes()),
            |buffer| walk(&Frame::admit(buffer).expect("valid")),
            criterion::BatchSize::SmallInput,
        );
    });
    group.bench_function("offers-100/decode-and-read-prost", |b| {
        b.iter(|| {
            let event = v1::scheduler::Event::decode(black_box(&wire[..])).expect("valid");
            let offers = event.offers.map(|offers| offers.offers).unwrap_or_default();
            offers.iter().map(|offer| offer.hostname.len() + offer.agent_id.value.len()).sum::<usize>()
        });
    });
    group.bench_function("offers-100/read-admitted", |b| b.iter(|| walk(black_box(&frame))));
    let pong = MasterMessage::Agent(agent_master::ToMaster::Pong);
    let small = Frame::encode(route::<MasterMessage>(), &pong);
    group.bench_function("pong/encode", |b| {
        b.iter(|| Frame::encode(route::<MasterMessage>(), black_box(&pong)));
    });
    group.bench_function("pong/admit", |b| {
        b.iter_batched(
            || copy(small.bytes()),
            |buffer| Frame::admit(buffer).expect("valid"),
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

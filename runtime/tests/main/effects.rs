//! Law L2: every effect is carried out by this host. One test lists them all.

use crate::stage::*;
use kaon_kernel::actor::{
    ActorKind, Address, Batch, ChildSpec, Effect, Event, ExitReason, HostId, Measure, Outcome, StreamId, Ticket,
};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest};
use kaon_kernel::frame::Frame;
use kaon_kernel::id::{ContainerId, FrameworkId};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::port::{Containers, Network, Refused, Streams};
use kaon_kernel::time::Duration;
use kaon_runtime::journal::MemoryDisk;
use kaon_runtime::metrics::Reading;
use kaon_runtime::{AlreadyPlugged, Ports};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

const FAR: Address = Address::only(HostId(0x0b), ActorKind::Master);
const CHILD: Address = Address::nth(HOST, ActorKind::Framework, 1);

#[derive(Debug, PartialEq)]
enum Outwards {
    Sent(Address, u64),
    Emitted(StreamId),
    Closed(StreamId),
    Asked(ContainerId),
}

/// All the ports in one, telling what came through.
struct World(Mutex<Sender<Outwards>>);

impl World {
    fn tell(&self, what: Outwards) {
        self.0.lock().unwrap().send(what).unwrap();
    }
}

impl Network for World {
    fn send(&self, frame: Frame) -> Result<(), Refused> {
        let to = frame.envelope().to;
        self.tell(Outwards::Sent(to, number(&frame)));
        if to == FAR { Ok(()) } else { Err(Refused::NoSession(to.host)) }
    }
}

impl Streams for World {
    fn emit(&self, stream: StreamId, _: Frame) {
        self.tell(Outwards::Emitted(stream));
    }
    fn close(&self, stream: StreamId) {
        self.tell(Outwards::Closed(stream));
    }
}

impl Containers for World {
    fn request(&self, request: ContainerRequest, done: Box<dyn FnOnce(ContainerOutcome) + Send>) {
        let ContainerRequest::Cleanup { container } = request else { panic!("{request:?}") };
        self.tell(Outwards::Asked(container));
        std::thread::spawn(move || done(ContainerOutcome::Cleaned));
    }
}

/// One of each, in the order in which the master asks for them. The match in `name` keeps this list whole: a new
/// variant does not compile before it has a name, and the test fails before it is here.
fn one_of_each(now: kaon_kernel::time::Instant) -> Vec<Effect> {
    let spec = || ChildSpec::Framework { framework_id: FrameworkId::trusted("f"), stream: StreamId(5) };
    let mut batch = Batch::default();
    batch.put("key", "value");
    let event = encode(MASTER, Address::outside(HOST), &FrameworkEvent::Heartbeat);
    vec![
        Effect::Send(message(MASTER, FAR, 11)),
        Effect::Send(message(MASTER, MASTER, 12)),
        Effect::Send(message(MASTER, ALLOCATOR, 13)),
        Effect::Arm { timer: 21, at: now + Duration::millis(1) },
        Effect::Arm { timer: 22, at: now + Duration::millis(1) },
        Effect::Disarm { timer: 22 },
        Effect::Persist { ticket: Ticket(31), batch },
        Effect::Contain {
            ticket: Ticket(41),
            request: ContainerRequest::Cleanup { container: ContainerId::trusted("c") },
        },
        Effect::Emit { stream: StreamId(51), event },
        Effect::Close { stream: StreamId(52) },
        Effect::Spawn { child: CHILD, spec: spec() },
        Effect::Send(message(MASTER, CHILD, 61)),
        Effect::Stop { child: CHILD },
        Effect::Record(Measure::Add("test/count", 3)),
        Effect::Record(Measure::Set("test/gauge", 2.5)),
        // Lost, and counted.
        Effect::Send(message(MASTER, Address::only(HostId(0x0c), ActorKind::Master), 71)),
        Effect::Send(message(MASTER, REGISTRAR, 72)),
    ]
}

fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Send(_) => "send",
        Effect::Arm { .. } => "arm",
        Effect::Disarm { .. } => "disarm",
        Effect::Persist { .. } => "persist",
        Effect::Contain { .. } => "contain",
        Effect::Emit { .. } => "emit",
        Effect::Close { .. } => "close",
        Effect::Spawn { .. } => "spawn",
        Effect::Stop { .. } => "stop",
        Effect::Record(_) => "record",
        Effect::Finish { .. } => "finish",
    }
}

#[test]
fn every_effect_is_carried_out() {
    let (world_out, world) = channel();
    let port = || Arc::new(World(Mutex::new(world_out.clone())));
    let ports = Ports { network: Some(port()), streams: Some(port()), containers: Some(port()) };
    let disk = MemoryDisk::default();
    let config = config(tree(&[ActorKind::Master, ActorKind::Allocator]), &disk);
    let stage = Stage::start_with(config, ports, |_| {
        Box::new(|event, craft| match event {
            Event::Message(frame) if craft.me == MASTER && number(frame) == 1 => {
                craft.effects.extend(one_of_each(craft.moment.now));
            }
            Event::Message(frame) if craft.me == MASTER && number(frame) == 2 => {
                craft.effects.push(Effect::Finish { code: 9, words: String::new() });
            }
            _ => {}
        })
    });
    assert_eq!(stage.host.plug(Ports { network: Some(port()), ..Ports::default() }), Err(AlreadyPlugged("network")));
    stage.tell(MASTER, 1);

    let is_done = |event: &Event, ticket, outcome: &Outcome| matches!(event, Event::Done(Ticket(got), with) if *got == ticket && with == outcome);
    let (mut loops, mut near, mut fired, mut persisted, mut contained, mut stopped) = Default::default();
    while !(loops && near && fired && persisted && contained && stopped) {
        let note = stage.until("every outcome", |_| true);
        loops |= note.who == MASTER && note.number() == Some(12);
        near |= note.who == ALLOCATOR && note.number() == Some(13);
        fired |= note.who == MASTER && matches!(note.event, Event::Timer(21));
        persisted |= is_done(&note.event, 31, &Outcome::Persisted(Ok(())));
        contained |= is_done(&note.event, 41, &Outcome::Container(ContainerOutcome::Cleaned));
        stopped |= note.who == MASTER && matches!(note.event, Event::Exit(CHILD, ExitReason::Stopped));
        assert!(!matches!(note.event, Event::Timer(22)), "disarmed");
    }
    let mut outwards: Vec<_> = (0..5).map(|_| world.recv_timeout(PATIENCE).expect("what goes out")).collect();
    let expected = [
        Outwards::Sent(FAR, 11),
        Outwards::Asked(ContainerId::trusted("c")),
        Outwards::Emitted(StreamId(51)),
        Outwards::Closed(StreamId(52)),
        Outwards::Sent(Address::only(HostId(0x0c), ActorKind::Master), 71),
    ];
    assert_eq!(std::mem::take(&mut outwards), expected);

    let snapshot = stage.host.snapshot();
    let value = |name: &str| snapshot.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
    assert_eq!((value("test/count"), value("test/gauge")), (Some(3.0), Some(2.5)));
    assert_eq!(value("runtime/undeliverable"), Some(2.0));
    assert_eq!(value("runtime/journal/batches"), Some(1.0));
    let series = stage.host.series();
    let reading = |name: &str| series.iter().find(|one| one.name == name).map(|one| &one.reading);
    assert_eq!(reading("test/count"), Some(&Reading::Counter(3)));
    assert!(matches!(reading("runtime/handling_seconds"), Some(Reading::Histogram { .. })));

    stage.tell(MASTER, 2);
    assert_eq!(stage.host.wait(), 9);

    let all = ["arm", "close", "contain", "disarm", "emit", "finish", "persist", "record", "send", "spawn", "stop"];
    let mut carried: Vec<_> = one_of_each(kaon_kernel::time::Instant(0)).iter().map(name).collect();
    carried.push(name(&Effect::Finish { code: 9, words: String::new() }));
    carried.sort_unstable();
    carried.dedup();
    assert_eq!(carried, all);
}

#[test]
fn without_ports_a_ticket_still_comes_back() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(&[ActorKind::Master]), &disk), |_| {
        Box::new(|event, craft| {
            if matches!(event, Event::Start(_)) {
                let request = ContainerRequest::Usage { container: ContainerId::trusted("c") };
                craft.effects.push(Effect::Contain { ticket: Ticket(1), request });
                craft.effects.push(Effect::Close { stream: StreamId(1) });
                craft.send(FAR, 1);
            }
        })
    });
    let note = stage.until("the outcome", |note| matches!(note.event, Event::Done(..)));
    let failed = matches!(note.event, Event::Done(Ticket(1), Outcome::Container(ContainerOutcome::Failed { .. })));
    assert!(failed, "{note:?}");
    stage.finish();
}

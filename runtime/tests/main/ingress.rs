//! The way in: bounds by class, wrong receivers, links.

use crate::stage::*;
use kaon_kernel::actor::mailbox::Bounds;
use kaon_kernel::actor::{ActorKind, Address, Event, HostId, Link, LinkState, StreamId};
use kaon_kernel::frame::Frame;
use kaon_kernel::id::{AgentId, ExecutorId, FrameworkId, TaskId, Uuid};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{FrameworkMessage, MasterMessage, agent_master, registrar, scheduler};
use kaon_kernel::port::{Ingress, Refused};
use kaon_runtime::journal::MemoryDisk;
use std::sync::atomic::{AtomicUsize, Ordering};

const ONE: &[ActorKind] = &[ActorKind::Master];

fn periodic() -> Frame {
    encode(ALLOCATOR, MASTER, &MasterMessage::Agent(agent_master::ToMaster::Pong))
}

fn ordinary() -> Frame {
    let (framework_id, executor_id) = (FrameworkId::trusted("f"), ExecutorId::trusted("e"));
    let message = agent_master::ToMaster::Message { framework_id, executor_id, data: Vec::new() };
    encode(ALLOCATOR, MASTER, &MasterMessage::Agent(message))
}

fn outside() -> Frame {
    let order = scheduler::ToMaster::Teardown { framework_id: FrameworkId::trusted("f") };
    encode(Address::outside(HOST), MASTER, &MasterMessage::Outside(order))
}

fn guaranteed() -> Frame {
    encode(REGISTRAR, MASTER, &MasterMessage::Registrar(registrar::ToMaster::Applied { number: 1 }))
}

#[test]
fn a_full_mailbox_sheds_by_class_and_keeps_what_it_took() {
    let disk = MemoryDisk::default();
    let mut config = config(tree(ONE), &disk);
    config.bounds = Bounds { open: 4, reserved: 2 };
    let stage = Stage::prepare(config, |_| idle());
    // Nobody reads yet, so each step is exact.
    let full = Err(Refused::Full("master"));
    type Step = (fn() -> Frame, Result<(), Refused>);
    let script: [Step; 13] = [
        (periodic, Ok(())),
        (outside, Ok(())),
        (periodic, full),
        (ordinary, Ok(())),
        (outside, Ok(())),
        (ordinary, full),
        (outside, full),
        (periodic, full),
        (guaranteed, Ok(())),
        (ordinary, full),
        (guaranteed, Ok(())),
        (guaranteed, full),
        (outside, full),
    ];
    for (step, (frame, expected)) in script.into_iter().enumerate() {
        assert_eq!(stage.host.deliver(frame()), expected, "step {step}");
    }
    stage.host.begin().unwrap();
    let kinds = (0..6).map(|_| stage.until("what was taken", |note| matches!(note.event, Event::Message(_))));
    let classes: Vec<_> = kinds
        .map(|note| match &note.event {
            Event::Message(frame) => frame.envelope().class as u8,
            _ => u8::MAX,
        })
        .collect();
    assert_eq!(classes, [2, 0, 1, 0, 3, 3], "in order of arrival");
    let snapshot = stage.host.snapshot();
    let of = |name: &str| snapshot.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
    assert_eq!(of("runtime/refused/master/periodic"), Some(2.0));
    assert_eq!(of("runtime/refused/master/ordinary"), Some(2.0));
    assert_eq!(of("runtime/refused/master/outside"), Some(2.0));
    assert_eq!(of("runtime/refused/master/guaranteed"), Some(1.0));
    stage.host.deliver(periodic()).expect("there is room again");
    stage.finish();
}

#[test]
fn a_call_is_taken_when_the_master_behind_the_proxy_has_room() {
    let disk = MemoryDisk::default();
    let mut config = config(tree(&[ActorKind::Master, ActorKind::Framework]), &disk);
    config.bounds = Bounds { open: 4, reserved: 2 };
    let stage = Stage::prepare(config, |_| idle());
    let proxy = Address::only(HOST, ActorKind::Framework);
    let call = |call| {
        let message = scheduler::ToFramework::Call { stream: StreamId(2), call };
        stage.host.deliver(encode(Address::outside(HOST), proxy, &FrameworkMessage::Outside(message)))
    };
    let seen = || scheduler::Call::Acknowledge {
        agent_id: AgentId::trusted("a"),
        task_id: TaskId::trusted("t"),
        uuid: Uuid([0; 16]),
    };
    assert_eq!(call(scheduler::Call::Request), Ok(()));
    for _ in 0..2 {
        stage.host.deliver(ordinary()).expect("there is room");
    }
    assert_eq!(
        call(scheduler::Call::Request),
        Err(Refused::Full("master")),
        "half of its room is for what is under way"
    );
    assert_eq!(call(seen()), Ok(()), "what ends a wait is taken always");
    stage.host.begin().unwrap();
    stage.until("what was taken", |note| matches!(note.event, Event::Message(_)));
    stage.finish();
}

#[test]
fn the_bound_holds_with_many_senders() {
    let disk = MemoryDisk::default();
    let mut config = config(tree(ONE), &disk);
    config.bounds = Bounds { open: 1000, reserved: 0 };
    let stage = Stage::prepare(config, |_| idle());
    let accepted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let taken = (0..1000).filter(|_| stage.host.deliver(outside()).is_ok()).count();
                accepted.fetch_add(taken, Ordering::Relaxed);
            });
        }
    });
    // A sender that is refused holds its place for a moment, so a few less may be taken, never one more.
    let accepted = accepted.into_inner();
    assert!((997..=1000).contains(&accepted), "{accepted}");
    stage.host.begin().unwrap();
    (0..accepted).for_each(|_| drop(stage.until("all that was taken", |note| matches!(note.event, Event::Message(_)))));
    stage.finish();
}

#[test]
fn every_message_from_many_threads_arrives_once_and_in_order_of_its_sender() {
    const SENDERS: u64 = 4;
    const EACH: u64 = 20_000;
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(ONE), &disk), |_| {
        let mut next = [0; SENDERS as usize];
        Box::new(move |event, craft| {
            let Event::Message(frame) = event else { return };
            let (sender, count) = ((number(frame) % SENDERS) as usize, number(frame) / SENDERS);
            assert_eq!(next[sender], count, "out of order or lost");
            next[sender] += 1;
            if next.iter().all(|count| *count == EACH) {
                craft.arm(1, kaon_kernel::time::Duration::ZERO);
            }
        })
    });
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let host = &stage.host;
            scope.spawn(move || {
                for count in 0..EACH {
                    // Full for a moment is no loss: the sender keeps the message.
                    let number = count * SENDERS + sender;
                    while host.deliver(message(Address::outside(HOST), MASTER, number)).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    stage.until("the end of all", |note| matches!(note.event, Event::Timer(1)));
    stage.finish();
}

#[test]
fn what_is_for_nobody_here_is_refused_with_the_reason() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(ONE), &disk), |_| idle());
    let elsewhere = Address::only(HostId(99), ActorKind::Master);
    assert_eq!(stage.host.deliver(message(MASTER, elsewhere, 1)), Err(Refused::NoActor(elsewhere)));
    assert_eq!(stage.host.deliver(message(MASTER, ALLOCATOR, 1)), Err(Refused::NoActor(ALLOCATOR)));
    // A frame whose type is not the receiver's can't be decoded, but a sender inside the process could make one.
    let misdirected = encode(MASTER, MASTER, &kaon_kernel::message::event::FrameworkEvent::Heartbeat);
    assert_eq!(stage.host.deliver(misdirected), Err(Refused::Misdirected(MASTER)));
    stage.finish();
}

fn link(host: u64, state: LinkState) -> Link {
    Link { host: HostId(host), role: PeerRole::Agent, identity: format!("agent-{host}"), state }
}

#[test]
fn standing_links_are_told_at_each_start_and_changes_once() {
    let disk = MemoryDisk::default();
    let stage = Stage::prepare(config(tree(ONE), &disk), |_| {
        Box::new(|event, _| assert!(!matches!(event, Event::Message(_)), "as told"))
    });
    for change in [
        link(1, LinkState::Up),
        link(2, LinkState::Up),
        link(3, LinkState::Up),
        link(2, LinkState::Down),
        link(3, LinkState::Congested),
    ] {
        stage.host.link(change);
    }
    stage.host.begin().unwrap();
    stage.until(
        "congestion of 3",
        |note| matches!(&note.event, Event::Link(told) if told.state == LinkState::Congested),
    );
    stage.host.link(link(3, LinkState::Flowing));
    stage.until("flow of 3", |note| matches!(&note.event, Event::Link(told) if told.state == LinkState::Flowing));
    stage.tell(MASTER, 1);
    stage.until("the last of the links that stand", |note| {
        note.incarnation == 2 && matches!(&note.event, Event::Link(told) if told.host == HostId(3))
    });
    stage.host.link(link(1, LinkState::Down));
    stage.until("the end of 1", |note| matches!(&note.event, Event::Link(told) if told.state == LinkState::Down));
    let told: Vec<_> = stage
        .finish()
        .iter()
        .filter_map(|note| match &note.event {
            Event::Link(link) => Some((note.incarnation, link.host.0, link.state)),
            _ => None,
        })
        .collect();
    use LinkState::{Congested, Down, Flowing, Up};
    let first = [(1, 1, Up), (1, 3, Up), (1, 3, Congested), (1, 3, Flowing)];
    let second = [(2, 1, Up), (2, 3, Up), (2, 1, Down)];
    assert_eq!(told, [&first[..], &second[..]].concat());
}

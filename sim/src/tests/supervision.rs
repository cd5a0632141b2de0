//! What happens when a handler panics.

use super::toy::{self, frame, pass};
use crate::machine::happening::Happening;
use kaon_kernel::actor::{ActorKind, Address, Batch, ChildSpec, Effect, Event, StreamId, Ticket};
use kaon_kernel::id::FrameworkId;
use kaon_kernel::message::{AllocatorMessage, MasterMessage, RegistrarMessage, allocator, registrar};
use kaon_kernel::time::{Duration, Instant};
use std::sync::atomic::{AtomicU32, Ordering};

fn spec() -> ChildSpec {
    ChildSpec::Framework { framework_id: FrameworkId::trusted("framework"), stream: StreamId(1) }
}

#[test]
fn the_rest_is_restarted_with_the_fallen_and_the_mailbox_waits() {
    // The master falls at its timer; the registrar before it stays, the allocator behind it and the proxy below it go.
    let (mut world, log) = toy::world(|me, event, moment| {
        let master = Address::only(me.host, ActorKind::Master);
        let early = moment.now < Instant(0) + Duration::millis(50);
        match (me.kind, event) {
            (ActorKind::Master, Event::Start(records)) => {
                let mut batch = Batch::default();
                batch.put([records.len() as u8], "x");
                vec![
                    Effect::Persist { ticket: Ticket(1), batch },
                    Effect::Spawn { child: Address::nth(me.host, ActorKind::Framework, 1), spec: spec() },
                    Effect::Arm { timer: 1, at: Instant(0) + Duration::millis(20) },
                ]
            }
            (ActorKind::Master, Event::Timer(_)) if early => panic!("on purpose"),
            // Sent while the master is down: it waits for the next incarnation.
            (ActorKind::Registrar, Event::Start(_)) => {
                vec![Effect::Arm { timer: 1, at: Instant(0) + Duration::millis(30) }]
            }
            (ActorKind::Registrar, Event::Timer(_)) => {
                let following = registrar::ToMaster::Following { leader: None };
                vec![Effect::Send(frame(me, master, &MasterMessage::Registrar(following)))]
            }
            _ => Vec::new(),
        }
    });
    pass(&mut world, 2);
    assert_eq!(log.count("registrar.0 start"), 1);
    assert_eq!(log.count("master.0 start with 0"), 1);
    assert_eq!(log.count("master.0 start with 1"), 1, "what was written is there again");
    assert_eq!(log.count("allocator.0 start"), 2);
    assert_eq!(log.count("framework.1 start"), 2);
    assert_eq!(log.count("master.0 message Master"), 1);
    let lines = log.lines();
    let at = |text: &str| lines.iter().rposition(|line| line.contains(text));
    assert!(at("master.0 message Master") > at("master.0 start with 1"));
    assert_eq!(world.crew.shard(0).lane.counts.panics, 1);
}

#[test]
fn effects_of_a_failed_call_are_dropped_and_too_many_falls_end_the_process() {
    // The allocator falls at each message; the master, told of each start, sends the next one.
    let (mut world, log) = toy::world(|me, event, _| match (me.kind, event) {
        (ActorKind::Allocator, Event::Start(_)) => {
            let started = MasterMessage::Allocator(allocator::ToMaster::Started);
            vec![Effect::Send(frame(me, Address::only(me.host, ActorKind::Master), &started))]
        }
        (ActorKind::Allocator, Event::Message(_)) => panic!("on purpose"),
        (ActorKind::Master, Event::Message(_)) => {
            let pause = AllocatorMessage::Master(allocator::ToAllocator::Pause);
            vec![Effect::Send(frame(me, Address::only(me.host, ActorKind::Allocator), &pause))]
        }
        _ => Vec::new(),
    });
    pass(&mut world, 2);
    let falls = world.crew.shard(0).lane.counts.panics;
    assert_eq!(falls, 11, "ten restarts in a minute, then the process goes");
    assert_eq!(log.count("registrar.0 start"), 1);
    pass(&mut world, 1);
    assert_eq!(log.count("registrar.0 start"), 2, "init starts it again");
    assert_eq!(world.crew.shard(0).lane.counts.crashes, 1);
}

#[test]
fn a_child_is_restarted_alone_and_its_parent_is_told() {
    let falls = AtomicU32::new(0);
    let (mut world, log) = toy::world(move |me, event, _| match (me.kind, event) {
        (ActorKind::Master, Event::Start(_)) => {
            vec![Effect::Spawn { child: Address::nth(me.host, ActorKind::Framework, 4), spec: spec() }]
        }
        (ActorKind::Framework, Event::Start(_)) => {
            assert!(falls.fetch_add(1, Ordering::Relaxed) > 1, "on purpose, twice");
            let attach = RegistrarMessage::Master(registrar::ToRegistrar::Attach);
            vec![Effect::Send(frame(me, Address::only(me.host, ActorKind::Registrar), &attach))]
        }
        _ => Vec::new(),
    });
    pass(&mut world, 2);
    assert_eq!(log.count("framework.4 start"), 3);
    assert_eq!(log.count("master.0 exit framework.4 Restarted"), 2);
    assert_eq!((log.count("master.0 start"), log.count("registrar.0 message")), (1, 1));
}

/// More falls in a minute than one may have, of as many children: each has a count of its own, as in the runtime.
#[test]
fn one_child_that_falls_too_often_is_given_up_and_others_are_not() {
    const CHILDREN: u32 = 15;
    let falls: [AtomicU32; CHILDREN as usize + 1] = Default::default();
    let (mut world, log) = toy::world(move |me, event, _| match (me.kind, event) {
        (ActorKind::Master, Event::Start(_)) => {
            let child =
                |number| Effect::Spawn { child: Address::nth(me.host, ActorKind::Framework, number), spec: spec() };
            (1..=CHILDREN).map(child).collect()
        }
        (ActorKind::Framework, Event::Start(_)) => {
            let before = falls[me.index as usize].fetch_add(1, Ordering::Relaxed);
            assert!(me.index != 1 && before > 1, "on purpose: the first always, the others twice");
            Vec::new()
        }
        _ => Vec::new(),
    });
    pass(&mut world, 50);
    assert_eq!(log.count("GaveUp"), 1, "{:?}", log.lines());
    assert_eq!(log.count("master.0 exit framework.1 GaveUp"), 1);
    assert_eq!(log.count("master.0 start"), 1);
    assert!(log.count("Restarted") > (CHILDREN as usize - 1) * 2);
}

/// Who begins anew hears of each session what was told of it last, as in the runtime.
#[test]
fn who_begins_anew_hears_that_a_session_is_congested() {
    let (mut world, log) = toy::world(|me, event, moment| {
        let is_late = moment.now > Instant(0) + Duration::secs(1);
        match (me.kind, event) {
            (ActorKind::Master, Event::Start(_)) if !is_late => {
                vec![Effect::Arm { timer: 1, at: Instant(0) + Duration::secs(4) }]
            }
            (ActorKind::Master, Event::Timer(_)) => panic!("on purpose"),
            _ => Vec::new(),
        }
    });
    let peer = crate::machine::place::Place::standing(1);
    let mut stamp = world.crew.shard(0).machines[0].stamp.clone();
    let key = stamp.key(Instant(0) + Duration::secs(3));
    let congested = Happening::Flow { peer, state: kaon_kernel::actor::LinkState::Congested };
    world.crew.shard(0).lane.queue.push(key, 0, congested);
    world.crew.shard(0).machines[0].stamp = stamp;
    pass(&mut world, 10);
    assert!(log.count("master.0 start") >= 2);
    let links: Vec<String> = log.lines().into_iter().filter(|line| line.starts_with("master.0 link agent-1")).collect();
    let states: Vec<&str> = links.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(states, ["Up", "Congested", "Up", "Congested"]);
}

#[test]
fn a_planted_panic_heals_and_a_crash_tells_the_peers() {
    let (mut world, log) = toy::world(|_, _, _| Vec::new());
    pass(&mut world, 2);
    let mut stamp = world.crew.shard(0).machines[1].stamp.clone();
    for (seconds, happening) in
        [(3, Happening::Plant { pick: 0 }), (4, Happening::Crash { slot: 0, away: Duration::secs(9) })]
    {
        let key = stamp.key(Instant(0) + Duration::secs(seconds));
        world.crew.shard(0).lane.queue.push(key, 1, happening);
    }
    world.crew.shard(0).machines[1].stamp = stamp;
    pass(&mut world, 8);
    assert_eq!(log.count("agent.0 start"), 1, "a plant waits for the next event");
    assert_eq!(log.count("master.0 link agent-1 Down"), 1);
    pass(&mut world, 10);
    assert_eq!(log.count("agent.0 start"), 2);
    assert_eq!(log.count("master.0 link agent-1 Up"), 2);
}

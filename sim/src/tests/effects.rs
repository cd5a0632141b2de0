//! Law L2: the simulator carries out every effect there is.

use super::toy::{self, Log, frame, pass};
use crate::machine::happening::Happening;
use kaon_kernel::actor::{ActorKind, Address, Batch, ChildSpec, Effect, Event, LinkState, Measure, StreamId, Ticket};
use kaon_kernel::check::TcpTarget;
use kaon_kernel::container::{ContainerRequest, LaunchSpec, Probe, Program};
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{ContainerId, FrameworkId, MasterId};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::scheduler::ToMaster;
use kaon_kernel::message::{FrameworkMessage, MasterMessage, agent_master, framework_master};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::Resources;
use kaon_kernel::time::{Duration, Instant};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Every effect by its name. No wildcard: a new one does not compile until it has a place here and in the test.
fn word(effect: &Effect) -> &'static str {
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

const STREAM: StreamId = StreamId(2 << 32 | 1);

fn subscribe(me: Address, master: Address) -> Effect {
    let info = FrameworkInfo { checkpoint: true, ..FrameworkInfo::default() };
    let ask = ToMaster::Subscribe {
        info: Box::new(info),
        suppressed_roles: Vec::new(),
        offers: Box::default(),
        stream: STREAM,
    };
    Effect::Send(frame(me, master, &MasterMessage::Outside(ask)))
}

fn launch(container: &ContainerId, program: Program) -> ContainerRequest {
    let spec = LaunchSpec {
        resources: Resources::cpus_and_mem(Quantity::units(1), Quantity::units(32)),
        ..LaunchSpec::bare(program, "sandbox".into())
    };
    ContainerRequest::Launch { container: container.clone(), spec: Box::new(spec) }
}

/// What the toys do, so that together they use every effect.
fn act(me: Address, event: &Event) -> Vec<Effect> {
    let proxy = |index| Address::nth(me.host, ActorKind::Framework, index);
    let sleeper = ContainerId::trusted("sleeper");
    match (me.kind, event) {
        (ActorKind::Master, Event::Start(_)) => {
            let spec = |index: u32| ChildSpec::Framework {
                framework_id: FrameworkId::trusted(format!("framework-{index}")),
                stream: STREAM,
            };
            vec![
                Effect::Spawn { child: proxy(1), spec: spec(1) },
                Effect::Spawn { child: proxy(2), spec: spec(2) },
                Effect::Stop { child: proxy(1) },
            ]
        }
        // The second proxy ends itself.
        (ActorKind::Framework, Event::Start(_)) => vec![Effect::Finish { code: 0, words: String::new() }],
        (ActorKind::Master, Event::Message(message)) if message.envelope().from.kind == ActorKind::Client => {
            let subscribed = FrameworkEvent::Subscribed {
                framework_id: FrameworkId::trusted("framework-1"),
                master_id: MasterId::trusted("master"),
                heartbeat_interval: Duration::secs(15),
            };
            let event = frame(me, Address::outside(me.host), &subscribed);
            vec![Effect::Emit { stream: STREAM, event }, Effect::Close { stream: STREAM }]
        }
        (ActorKind::Client, Event::Link(link)) if link.state == LinkState::Up => {
            vec![subscribe(me, Address::only(link.host, ActorKind::Master))]
        }
        (ActorKind::Agent, Event::Start(records)) if records.is_empty() => {
            let mut batch = Batch::default();
            batch.put("key", "value");
            vec![
                Effect::Arm { timer: 1, at: Instant(0) },
                Effect::Arm { timer: 2, at: Instant(0) },
                Effect::Disarm { timer: 2 },
                Effect::Persist { ticket: Ticket(1), batch },
                Effect::Contain { ticket: Ticket(2), request: launch(&sleeper, Program::Shell("sleep 3".into())) },
                Effect::Record(Measure::Add("counted", 2)),
                Effect::Record(Measure::Add("counted", 3)),
                Effect::Record(Measure::Set("set", 7.0)),
            ]
        }
        (ActorKind::Agent, Event::Done(Ticket(2), _)) => {
            let request = ContainerRequest::Wait { container: sleeper };
            vec![Effect::Contain { ticket: Ticket(3), request }]
        }
        (ActorKind::Agent, Event::Link(link)) if link.state == LinkState::Up => {
            let pong = MasterMessage::Agent(agent_master::ToMaster::Pong);
            vec![Effect::Send(frame(me, Address::only(link.host, ActorKind::Master), &pong))]
        }
        // Its container has ended: so does the agent, and begins again with what it had written.
        (ActorKind::Agent, Event::Done(Ticket(3), _)) => vec![Effect::Finish { code: 3, words: String::new() }],
        _ => Vec::new(),
    }
}

#[test]
fn every_effect_is_carried_out() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let words = seen.clone();
    let (mut world, log) = toy::world(move |me, event, _| {
        let effects = act(me, event);
        words.lock().expect("words").extend(effects.iter().map(word));
        effects
    });
    pass(&mut world, 20);

    let all = ["arm", "close", "contain", "disarm", "emit", "finish", "persist", "record", "send", "spawn", "stop"];
    assert_eq!(seen.lock().expect("words").iter().copied().collect::<Vec<_>>(), all);
    let once = |text: &str| assert_eq!(log.count(text), 1, "{text}\n{:#?}", log.lines());
    once("agent.0 timer 1");
    assert_eq!(log.count("timer 2"), 0, "a disarmed timer fires");
    once("agent.0 done 1 Persisted(Ok(()))");
    once("agent.0 done 2 Container(Launched");
    once("agent.0 done 3 Container(Exited(Exit { status: Some(Code(0))");
    once("agent.0 start with 0");
    once("agent.0 start with 1");
    once("exit framework.1 Stopped");
    once("exit framework.2 Finished");
    once("client.0 message Event");
    once(&format!("client.0 link stream-{} Down", STREAM.0));
    assert_eq!(log.count("link agent-1 Up"), 6, "each standing actor of the master, for both lives of the agent");
    assert_eq!(log.count("link agent-1 Down"), 3);
    let shard = world.crew.shard(0);
    let gauges = &shard.machines[1].gauges;
    assert_eq!((shard.lane.counters.get("counted"), gauges.get("set")), (Some(&5), Some(&7.0)));
    assert!(shard.lane.found.is_empty());
}

#[test]
fn a_container_survives_its_agent_and_dies_with_the_machine() {
    let (first, second) = (ContainerId::trusted("first"), ContainerId::trusted("second"));
    let known = vec![first.clone()];
    let (mut world, log) = toy::world(move |me, event, moment| match (me.kind, event) {
        (ActorKind::Agent, Event::Start(_)) if moment.now < Instant(0) + Duration::secs(2) => vec![
            Effect::Contain { ticket: Ticket(1), request: launch(&first, Program::Shell("sleep 1000".into())) },
            Effect::Contain { ticket: Ticket(2), request: launch(&second, Program::Shell("sleep 1000".into())) },
            Effect::Contain { ticket: Ticket(3), request: launch(&first, Program::Shell("true".into())) },
        ],
        (ActorKind::Agent, Event::Start(_)) => {
            vec![Effect::Contain { ticket: Ticket(9), request: ContainerRequest::Recover { known: known.clone() } }]
        }
        _ => Vec::new(),
    });
    pass(&mut world, 3);
    assert_eq!(log.count("done 3 Container(Failed"), 1, "a name is new on its machine");
    let key = world.crew.shard(0).machines[1].stamp.key(Instant(0) + Duration::secs(4));
    let crash = Happening::Crash { slot: 0, away: Duration::secs(1) };
    world.crew.shard(0).lane.queue.push(key, 1, crash);
    pass(&mut world, 5);
    assert_eq!(log.count("done 9 Container(Recovered([\"first\"]))"), 1, "{:#?}", log.lines());
    for (seconds, happening) in [(9, Happening::PowerOff), (10, Happening::PowerOn)] {
        let key = world.crew.shard(0).machines[1].stamp.key(Instant(0) + Duration::secs(seconds));
        world.crew.shard(0).lane.queue.push(key, 1, happening);
    }
    pass(&mut world, 5);
    assert_eq!(log.count("done 9 Container(Recovered([]))"), 1, "{:#?}", log.lines());
}

#[test]
fn a_conversation_keeps_its_order_and_ends_with_its_session() {
    let (mut world, log) = toy::world(|me, event, _| match (me.kind, event) {
        (ActorKind::Agent, Event::Link(link)) if link.state == LinkState::Up => {
            let master = Address::only(link.host, ActorKind::Master);
            (0..50)
                .map(|number| {
                    let message = FrameworkMessage::Master(framework_master::ToFramework::Close);
                    let pong = MasterMessage::Agent(agent_master::ToMaster::Pong);
                    match number % 2 {
                        0 => Effect::Send(frame(me, master, &pong)),
                        _ => Effect::Send(frame(me, Address::nth(link.host, ActorKind::Framework, 9), &message)),
                    }
                })
                .collect()
        }
        _ => Vec::new(),
    });
    pass(&mut world, 2);
    let arrived = |log: &Log| log.count("master.0 message Master");
    assert_eq!(arrived(&log), 25);
    assert_eq!(world.crew.shard(0).lane.counts.misdirected, 25, "nobody lives there");
    let cut = Happening::Cut { peer: 1, outgoing: true, until: Instant(0) + Duration::secs(10), long: true };
    let key = world.crew.shard(0).machines[0].stamp.key(Instant(0) + Duration::secs(3));
    world.crew.shard(0).lane.queue.push(key, 0, cut.clone());
    let cut = match cut {
        Happening::Cut { until, long, .. } => Happening::Cut { peer: 0, outgoing: true, until, long },
        other => other,
    };
    let key = world.crew.shard(0).machines[1].stamp.key(Instant(0) + Duration::secs(3));
    world.crew.shard(0).lane.queue.push(key, 1, cut);
    pass(&mut world, 6);
    assert_eq!(log.count("agent.0 link master-1 Down"), 1);
    assert_eq!(log.count("agent.0 link master-1 Up"), 1);
    pass(&mut world, 6);
    assert_eq!(log.count("agent.0 link master-1 Up"), 2, "the line is whole again");
    assert_eq!(arrived(&log), 50);
}

#[test]
fn a_probe_finds_what_its_container_does() {
    let server = ContainerId::trusted("server");
    let probe = |of: &ContainerId, probe: Probe| {
        let (container, timeout) = (ContainerId::trusted("probe"), Duration::secs(2));
        ContainerRequest::Probe { container, of: of.clone(), probe: Box::new(probe), timeout }
    };
    let command = |text: &str| {
        let ContainerRequest::Launch { spec, .. } = launch(&server, Program::Shell(text.into())) else {
            unreachable!("it was made as a launch")
        };
        Probe::Command(*spec)
    };
    let connect = || Probe::Tcp(TcpTarget { is_ipv6: false, port: 80 });
    let (fine, slow) = (command("exit 3"), command("sleep 5"));
    let (mut world, log) = toy::world(move |me, event, _| match (me.kind, event) {
        (ActorKind::Agent, Event::Start(_)) => {
            let text = Program::Shell("listen 80; sleep 5; deaf; sleep 100".into());
            vec![Effect::Contain { ticket: Ticket(1), request: launch(&server, text) }]
        }
        (ActorKind::Agent, Event::Done(Ticket(1), _)) => vec![
            Effect::Contain { ticket: Ticket(2), request: probe(&server, connect()) },
            Effect::Contain { ticket: Ticket(3), request: probe(&server, fine.clone()) },
            Effect::Contain { ticket: Ticket(4), request: probe(&server, slow.clone()) },
            Effect::Arm { timer: 1, at: Instant(0) + Duration::secs(8) },
        ],
        (ActorKind::Agent, Event::Timer(1)) => {
            vec![Effect::Contain { ticket: Ticket(5), request: probe(&server, connect()) }]
        }
        _ => Vec::new(),
    });
    pass(&mut world, 10);
    for found in [
        "done 2 Container(Probed(Ok(Connected(true))))",
        "done 3 Container(Probed(Ok(Exited(Code(3)))))",
        "done 4 Container(Probed(Err(\"timed out",
        "done 5 Container(Probed(Ok(Connected(false))))",
    ] {
        assert_eq!(log.count(found), 1, "{found}\n{:#?}", log.lines());
    }
}

//! Frames between hosts that mean well.

use crate::stage::*;
use kaon_kernel::actor::{ActorKind, Address, HostId, LinkState};
use kaon_kernel::message::executor_agent::{ToAgent, ToExecutor};
use kaon_kernel::message::registrar::PeerMessage;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{AgentMessage, ExecutorMessage, MasterMessage, RegistrarMessage};
use kaon_kernel::port::{Network, Refused};
use kaon_transport::{CloseReason, Target, Trust};
use std::time::Duration;

/// Sends, and waits for room when the queue is full.
async fn send(player: &Player, frame: kaon_kernel::frame::Frame) {
    loop {
        match player.endpoint.send(frame.clone()) {
            Ok(()) => return,
            Err(Refused::Full(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_frames_arrive_in_order_both_ways_and_unchanged() {
    const COUNT: u64 = 20_000;
    let (master, agent) = pair(&authority()).await;
    let upwards = async {
        for sequence in 1..=COUNT {
            send(&agent, to_master(AGENT, sequence, (sequence % 700) as usize * 10)).await;
        }
    };
    let downwards = async {
        for sequence in 1..=COUNT {
            send(&master, to_agent(AGENT, sequence, (sequence % 300) as usize)).await;
        }
    };
    tokio::join!(upwards, downwards);
    master.host.until_frames(COUNT as usize).await;
    agent.host.until_frames(COUNT as usize).await;
    for (sequence, frame) in (1..).zip(master.host.frames()) {
        assert_eq!(frame.bytes(), to_master(AGENT, sequence, (sequence % 700) as usize * 10).bytes());
    }
    for (sequence, frame) in (1..).zip(agent.host.frames()) {
        assert_eq!(frame.bytes(), to_agent(AGENT, sequence, (sequence % 300) as usize).bytes());
    }
    let (sent, taken) = (agent.endpoint.counters(), master.endpoint.counters());
    assert_eq!((taken.frames_in, taken.bytes_in), (COUNT, sent.bytes_out));
    assert_eq!((sent.sessions, taken.sessions), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_megabytes_arrive_whole_and_in_order() {
    let (master, agent) = pair(&authority()).await;
    for sequence in 1..=6 {
        send(&agent, to_master(AGENT, sequence, 4 << 20)).await;
    }
    master.host.until_frames(6).await;
    for (sequence, frame) in (1..).zip(master.host.frames()) {
        assert!(frame.bytes() == to_master(AGENT, sequence, 4 << 20).bytes(), "{frame:?}");
    }
}

#[tokio::test]
async fn a_frame_for_nobody_or_not_ours_to_send_is_refused_here() {
    let (master, agent) = pair(&authority()).await;
    assert_eq!(master.endpoint.send(to_agent(HostId(9), 1, 0)), Err(Refused::NoSession(HostId(9))));
    let to = Address::only(MASTER, ActorKind::Registrar);
    let from = Address::only(AGENT, ActorKind::Registrar);
    let forbidden = encode(from, to, 1, &RegistrarMessage::Peer(PeerMessage { data: vec![] }));
    assert_eq!(agent.endpoint.send(forbidden), Err(Refused::Misdirected(to)));
    let to = Address::only(MASTER, ActorKind::Master);
    assert_eq!(agent.endpoint.send(to_master(HostId(9), 1, 0)), Err(Refused::Misdirected(to)));
}

#[tokio::test]
async fn an_executor_and_its_agent_talk_under_the_agents_own_authority() {
    let cluster = authority();
    let local = kaon_transport::Authority::create("test", "agent-1").expect("an authority");
    let mut believed = trust(&cluster);
    believed.push(Trust { authority: local.certificate().clone(), roles: vec![PeerRole::Executor] });
    let agent = Player::new(AGENT, issue(&cluster, PeerRole::Agent, "agent-1"), believed);
    let host = HostId(0x3003);
    let roles = vec![PeerRole::Agent];
    let trust = vec![Trust { authority: cluster.certificate().clone(), roles }];
    let executor = Player::new(host, issue(&local, PeerRole::Executor, "container-7"), trust);
    let target = Target {
        role: Some(PeerRole::Agent),
        name: Some("agent-1".into()),
        server_name: Some("localhost".into()),
        ..Target::from(agent.address())
    };
    executor.endpoint.connect(target).expect("room");
    agent.host.until_state(LinkState::Up).await;
    executor.host.until_state(LinkState::Up).await;
    let link = agent.host.links()[0].clone();
    assert_eq!((link.host, link.role, link.identity.as_str()), (host, PeerRole::Executor, "container-7"));
    let (ours, theirs) = (Address::only(host, ActorKind::Executor), Address::only(AGENT, ActorKind::Agent));
    let message = AgentMessage::Executor(ToAgent::Message { data: vec![1; 9] });
    executor.endpoint.send(encode(ours, theirs, 1, &message)).expect("room");
    agent.endpoint.send(encode(theirs, ours, 1, &ExecutorMessage::Agent(ToExecutor::Reconnect))).expect("room");
    agent.host.until_frames(1).await;
    executor.host.until_frames(1).await;
    // An executor can't speak as a master does, though its agent takes that message from a master.
    let lie = encode(
        ours,
        theirs,
        2,
        &AgentMessage::Master(kaon_kernel::message::agent_master::ToAgent::Ping { connected: true }),
    );
    assert_eq!(executor.endpoint.send(lie), Err(Refused::Misdirected(theirs)));
    let up = Address::only(AGENT, ActorKind::Master);
    let lie = encode(ours, up, 3, &MasterMessage::Agent(kaon_kernel::message::agent_master::ToMaster::Pong));
    assert_eq!(executor.endpoint.send(lie), Err(Refused::Misdirected(up)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_masters_that_look_for_each_other_settle_on_one_session() {
    let authority = authority();
    let master = |host, name| Player::new(HostId(host), issue(&authority, PeerRole::Master, name), trust(&authority));
    let (one, other) = (master(11, "master-1"), master(12, "master-2"));
    one.endpoint.connect(other.address()).expect("room");
    other.endpoint.connect(one.address()).expect("room");
    one.host.until_state(LinkState::Up).await;
    other.host.until_state(LinkState::Up).await;
    let both = [&one, &other];
    // Each attempt has come to its end: it stands, was refused as a duplicate, or was replaced.
    eventually("one session", || {
        both.iter().all(|player| {
            let counters = player.endpoint.counters();
            let states = player.host.states();
            counters.sessions == 1 && states.last() == Some(&LinkState::Up) && counters.attempts >= 1
        })
    })
    .await;
    let registrar = |host| Address::only(HostId(host), ActorKind::Registrar);
    let word = RegistrarMessage::Peer(PeerMessage { data: vec![3; 100] });
    let mut sequence = 0;
    // A session that lost the choice may take a frame with it; the one that stays delivers.
    while one.host.frames().is_empty() || other.host.frames().is_empty() {
        sequence += 1;
        let _ = one.endpoint.send(encode(registrar(11), registrar(12), sequence, &word));
        let _ = other.endpoint.send(encode(registrar(12), registrar(11), sequence, &word));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(sequence < 3000, "never came");
    }
    for player in both {
        let states = player.host.states();
        let alternates = states.windows(2).all(|two| two[0] != two[1]);
        assert!(alternates && states.len() <= 5, "{states:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_delivers_what_was_queued() {
    const COUNT: u64 = 4000;
    let (master, agent) = pair(&authority()).await;
    for sequence in 1..=COUNT {
        agent.endpoint.send(to_master(AGENT, sequence, 1000)).expect("room");
    }
    agent.endpoint.close().await;
    assert_eq!(agent.endpoint.counters().lost, 0);
    assert_eq!(agent.host.states(), [LinkState::Up, LinkState::Down]);
    master.host.until_state(LinkState::Down).await;
    let frames = master.host.frames();
    assert_eq!(frames.len(), COUNT as usize);
    assert!((1..).zip(&frames).all(|(sequence, frame)| frame.envelope().sequence == sequence));
    assert_eq!(master.endpoint.counters().closed_for(CloseReason::Closing), 1);
    assert!(matches!(master.host.events().last(), Some(Event::Link(AGENT, LinkState::Down))));
    assert!(agent.endpoint.connect(master.address()).is_err());
    assert_eq!(agent.endpoint.send(to_master(AGENT, 1, 1)), Err(Refused::NoSession(MASTER)));
}

#[tokio::test]
async fn disconnecting_ends_the_session_for_good_and_connecting_begins_anew() {
    let (master, agent) = pair(&authority()).await;
    agent.endpoint.connect(master.address()).expect("known already");
    agent.endpoint.disconnect(master.address());
    agent.host.until_state(LinkState::Down).await;
    master.host.until_state(LinkState::Down).await;
    assert_eq!(agent.endpoint.counters().attempts, 1);
    agent.endpoint.connect(master.address()).expect("room");
    agent.host.until("up again", |host| host.states() == [LinkState::Up, LinkState::Down, LinkState::Up]).await;
}

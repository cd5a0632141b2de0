//! When one side is slower than the other.

use crate::stage::*;
use kaon_kernel::actor::{HostId, LinkState};
use kaon_kernel::port::{Network, Refused};
use kaon_transport::QUEUE_BYTES;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_is_told_of_before_the_queue_is_full_and_when_it_reads_again() {
    let authority = authority();
    let (master, agent) = pair(&authority).await;
    let slow = HostId(0x5107);
    let (raw, control) = Raw::agent(master.address(), &authority, "slow", slow).await;
    master.host.until("the slow agent", |host| host.links().len() == 2).await;
    let mut sequence = 0;
    // More than QUIC may hold and the peer has granted, and the queue half full: the host hears of it.
    while !master.host.states().contains(&LinkState::Congested) {
        sequence += 1;
        if let Err(refused) = master.endpoint.send(to_agent(slow, sequence, 1 << 20)) {
            assert_eq!(refused, Refused::Full("session"));
            break;
        }
    }
    master.host.until_state(LinkState::Congested).await;
    // Now up to the bound, and no further.
    while master.endpoint.send(to_agent(slow, sequence + 1, 1 << 20)).is_ok() {
        sequence += 1;
        assert!(sequence < 200, "no bound");
    }
    assert!(sequence > (QUEUE_BYTES.open >> 20) as u64);
    assert!(master.endpoint.counters().refused_full >= 1);
    // What is urgent goes past all that waits.
    master.endpoint.send(ping(slow, 1000)).expect("room");
    let mut control = control.lock().await;
    let urgent = tokio::time::timeout(DEADLINE, frame_of(&mut control.1)).await.expect("in time").expect("a frame");
    assert_eq!(urgent.bytes(), ping(slow, 1000).bytes());
    // Another session is not held up.
    master.endpoint.send(to_agent(AGENT, 1, 100)).expect("room");
    agent.host.until_frames(1).await;
    // The peer reads: the host hears of that too.
    let reading = tokio::spawn(async move {
        let mut lane = raw.connection.accept_uni().await.expect("a lane");
        let mut count = 0;
        while frame_of(&mut lane).await.is_some() {
            count += 1;
        }
        count
    });
    master.host.until_state(LinkState::Flowing).await;
    let of_slow: Vec<_> =
        master.host.links().into_iter().filter(|link| link.host == slow).map(|link| link.state).collect();
    assert_eq!(of_slow, [LinkState::Up, LinkState::Congested, LinkState::Flowing]);
    reading.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_drops_what_may_be_dropped_and_holds_up_the_rest() {
    let (master, agent) = pair(&authority()).await;
    master.host.set_full(true);
    for sequence in 1..=20 {
        agent.endpoint.send(to_master(AGENT, sequence, 10)).expect("room");
    }
    eventually("twenty dropped", || master.endpoint.counters().dropped_full == 20).await;
    for sequence in 21..=40 {
        agent.endpoint.send(vital_to_master(AGENT, sequence)).expect("room");
    }
    agent.endpoint.send(pong(AGENT, 41)).expect("room");
    eventually("the pong dropped", || master.endpoint.counters().dropped_full == 21).await;
    assert_eq!(master.host.frames().len(), 0);
    master.host.set_full(false);
    master.host.until_frames(20).await;
    let order: Vec<u64> = master.host.frames().iter().map(|frame| frame.envelope().sequence).collect();
    assert_eq!(order, (21..=40).collect::<Vec<_>>());
    assert_eq!(master.endpoint.counters().dropped_full, 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_reaches_the_sender_as_congestion() {
    let (master, agent) = pair(&authority()).await;
    master.host.set_full(true);
    agent.endpoint.send(vital_to_master(AGENT, 1)).expect("room");
    let mut sequence = 1;
    while !agent.host.states().contains(&LinkState::Congested) && sequence < 100 {
        sequence += 1;
        if agent.endpoint.send(to_master(AGENT, sequence, 1 << 20)).is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    agent.host.until_state(LinkState::Congested).await;
    master.host.set_full(false);
    agent.host.until_state(LinkState::Flowing).await;
    assert_eq!(agent.host.states(), [LinkState::Up, LinkState::Congested, LinkState::Flowing]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_never_has_room_again_ends_the_session() {
    let (master, agent) = pair(&authority()).await;
    master.host.set_full(true);
    agent.endpoint.send(vital_to_master(AGENT, 1)).expect("room");
    agent.host.until_state(LinkState::Down).await;
    let reason = kaon_transport::CloseReason::Overloaded;
    assert_eq!(agent.endpoint.counters().closed_by_peer_for(reason), 1);
    assert_eq!(master.endpoint.counters().closed_for(reason), 1);
}

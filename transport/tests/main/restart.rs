//! Hosts that stop, vanish, and come back.

use crate::stage::*;
use kaon_kernel::actor::{HostId, LinkState};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::port::Network;
use kaon_transport::{CloseReason, EndpointConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_stops_and_starts_anew_is_found_again() {
    let authority = authority();
    let credentials = issue(&authority, PeerRole::Master, "master-1");
    let master = Player::new(MASTER, credentials.clone(), trust(&authority));
    let wire = Wire::new(master.address()).await;
    let agent = agent(&authority, Duration::from_secs(25));
    agent.endpoint.connect(wire.address).expect("room");
    agent.host.until_state(LinkState::Up).await;
    master.endpoint.close().await;
    agent.host.until_state(LinkState::Down).await;
    let next = Player::new(HostId(0x1002), credentials, trust(&authority));
    wire.plug(Some(next.address()));
    agent.host.until("up again", |host| host.links().len() == 3).await;
    let links: Vec<_> = agent.host.links().iter().map(|link| (link.host.0, link.state)).collect();
    assert_eq!(links, [(0x1001, LinkState::Up), (0x1001, LinkState::Down), (0x1002, LinkState::Up)]);
    assert_eq!(agent.endpoint.counters().reconnects, 1);
    next.host.until_state(LinkState::Up).await;
    assert_eq!(next.host.links()[0].identity, "agent-1");
}

/// Passes datagrams between one client and one server until it is told to lose them all, or those of one direction.
struct Wire {
    address: SocketAddr,
    server: Arc<std::sync::Mutex<Option<SocketAddr>>>,
    /// Whether datagrams to the server are lost, and those from it.
    lost: Arc<[AtomicBool; 2]>,
}

impl Wire {
    async fn new(server: SocketAddr) -> Self {
        let (front, back) = (UdpSocket::bind(loopback()).await, UdpSocket::bind(loopback()).await);
        let (front, back) = (front.expect("a socket"), back.expect("a socket"));
        let address = front.local_addr().expect("an address");
        let server = Arc::new(std::sync::Mutex::new(Some(server)));
        let lost = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let (to, loses) = (Arc::clone(&server), Arc::clone(&lost));
        tokio::spawn(async move {
            let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((length, from)) = front.recv_from(&mut up) => {
                        client = Some(from);
                        let to = *to.lock().expect("not poisoned");
                        if let Some(to) = to.filter(|_| !loses[0].load(Ordering::Relaxed)) {
                            let _ = back.send_to(&up[..length], to).await;
                        }
                    }
                    Ok((length, from)) = back.recv_from(&mut down) => {
                        let is_plugged = *to.lock().expect("not poisoned") == Some(from);
                        let is_plugged = is_plugged && !loses[1].load(Ordering::Relaxed);
                        if let (true, Some(client)) = (is_plugged, client) {
                            let _ = front.send_to(&down[..length], client).await;
                        }
                    }
                }
            }
        });
        Self { address, server, lost }
    }

    fn plug(&self, server: Option<SocketAddr>) {
        *self.server.lock().expect("not poisoned") = server;
    }
}

fn agent(authority: &kaon_transport::Authority, idle: Duration) -> Player {
    let credentials = issue(authority, PeerRole::Agent, "agent-1");
    let mut config = EndpointConfig::new(AGENT, credentials, trust(authority), loopback());
    config.idle_timeout = idle;
    config.keep_alive = Duration::from_millis(200);
    Player::with(config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_is_cut_is_noticed_on_both_ends_and_healed() {
    let authority = authority();
    let master = Player::new(MASTER, issue(&authority, PeerRole::Master, "master-1"), trust(&authority));
    let wire = Wire::new(master.address()).await;
    let agent = agent(&authority, Duration::from_secs(1));
    agent.endpoint.connect(wire.address).expect("room");
    master.host.until_state(LinkState::Up).await;
    agent.host.until_state(LinkState::Up).await;
    wire.plug(None);
    agent.host.until_state(LinkState::Down).await;
    master.host.until_state(LinkState::Down).await;
    assert_eq!(agent.endpoint.counters().closed_by_peer_for(CloseReason::Lost), 1);
    assert!(agent.endpoint.send(vital_to_master(AGENT, 1)).is_err());
    wire.plug(Some(master.address()));
    let healed = [LinkState::Up, LinkState::Down, LinkState::Up];
    agent.host.until("up again", |host| host.states() == healed).await;
    master.host.until("up again", |host| host.states() == healed).await;
    agent.endpoint.send(vital_to_master(AGENT, 2)).expect("room");
    master.host.until_frames(1).await;
}

/// Masters and agents leave the watch over each other to their session, so silence in one direction must end it as well,
/// at both ends, and though nobody says anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_session_ends_on_both_ends_when_one_direction_is_cut() {
    for direction in [0, 1] {
        let authority = authority();
        let master = Player::new(MASTER, issue(&authority, PeerRole::Master, "master-1"), trust(&authority));
        let wire = Wire::new(master.address()).await;
        let idle = Duration::from_secs(1);
        let agent = agent(&authority, idle);
        agent.endpoint.connect(wire.address).expect("room");
        master.host.until_state(LinkState::Up).await;
        agent.host.until_state(LinkState::Up).await;
        let silent = tokio::time::timeout(idle * 2, agent.host.until_state(LinkState::Down)).await;
        assert!(silent.is_err(), "a session in which nobody speaks stands");
        assert_eq!((agent.host.states(), master.host.states()), (vec![LinkState::Up], vec![LinkState::Up]));
        wire.lost[direction].store(true, Ordering::Relaxed);
        agent.host.until_state(LinkState::Down).await;
        master.host.until_state(LinkState::Down).await;
        wire.lost[direction].store(false, Ordering::Relaxed);
        let healed = [LinkState::Up, LinkState::Down, LinkState::Up];
        agent.host.until("up again", |host| host.states() == healed).await;
        master.host.until("up again", |host| host.states() == healed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_killed_and_started_anew_is_noticed_long_before_the_idle_timeout() {
    let authority = authority();
    let credentials = issue(&authority, PeerRole::Master, "master-1");
    let killed = Player::new(MASTER, credentials.clone(), trust(&authority));
    let next = Player::new(HostId(0x1002), credentials, trust(&authority));
    let wire = Wire::new(killed.address()).await;
    let idle = Duration::from_secs(25);
    let agent = agent(&authority, idle);
    agent.endpoint.connect(wire.address).expect("room");
    agent.host.until_state(LinkState::Up).await;
    // As if the process at that address had been killed without a word, and started again.
    wire.plug(Some(next.address()));
    let since = Instant::now();
    agent.host.until("the new life", |host| host.links().len() == 3).await;
    assert!(since.elapsed() < idle / 2, "{:?}", since.elapsed());
    assert_eq!(agent.host.links()[2].host, HostId(0x1002));
    assert_eq!(agent.host.states(), [LinkState::Up, LinkState::Down, LinkState::Up]);
}

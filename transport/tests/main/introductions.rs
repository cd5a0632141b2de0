//! Who is not let in, and what it is told.

use crate::stage::*;
use kaon_kernel::actor::{Address, HostId, LinkState};
use kaon_kernel::message::session::{Hello, PeerRole};
use kaon_transport::{Authority, CloseReason, Target, Trust};

async fn master(authority: &Authority) -> Player {
    Player::new(MASTER, issue(authority, PeerRole::Master, "master-1"), trust(authority))
}

/// Nobody was let in, and the master tells why.
fn refused(master: &Player, reason: CloseReason) {
    assert_eq!(master.endpoint.counters().closed_for(reason), 1, "{:?}", master.endpoint.counters());
    assert_eq!(master.host.links(), []);
    assert_eq!(master.endpoint.counters().sessions, 0);
}

async fn refused_hello(hello: Hello, reason: CloseReason) {
    let authority = authority();
    let master = master(&authority).await;
    let credentials = issue(&authority, PeerRole::Agent, "agent-1");
    let raw = Raw::connect(master.address(), &authority, Some(&credentials), b"kaon/1").await.expect("TLS stands");
    let _control = raw.introduce(&hello).await;
    assert_eq!(raw.closed().await, (u64::from(reason.code()), reason.word().into()));
    refused(&master, reason);
}

#[tokio::test]
async fn another_protocol_is_refused_in_the_hello_and_in_alpn() {
    refused_hello(Hello { protocol: 2, ..hello(AGENT) }, CloseReason::Protocol).await;
    let authority = authority();
    let master = master(&authority).await;
    let credentials = issue(&authority, PeerRole::Agent, "agent-1");
    assert!(Raw::connect(master.address(), &authority, Some(&credentials), b"kaon/2").await.is_err());
    eventually("counted", || master.endpoint.counters().closed_for(CloseReason::Protocol) == 1).await;
    refused(&master, CloseReason::Protocol);
}

#[tokio::test]
async fn another_cluster_in_the_hello_is_refused() {
    refused_hello(Hello { cluster: "other".into(), ..hello(AGENT) }, CloseReason::Cluster).await;
}

#[tokio::test]
async fn a_role_that_the_certificate_does_not_give_is_refused() {
    refused_hello(Hello { role: PeerRole::Master, ..hello(AGENT) }, CloseReason::Role).await;
}

#[tokio::test]
async fn our_own_host_id_is_refused() {
    refused_hello(hello(MASTER), CloseReason::Itself).await;
}

#[tokio::test]
async fn a_hello_from_another_host_than_it_says_is_refused() {
    let authority = authority();
    let master = master(&authority).await;
    let credentials = issue(&authority, PeerRole::Agent, "agent-1");
    let raw = Raw::connect(master.address(), &authority, Some(&credentials), b"kaon/1").await.expect("TLS stands");
    let frame = encode(Address::outside(HostId(5)), Address::outside(HostId(0)), 0, &hello(AGENT));
    let _control = raw.begin(frame.bytes()).await;
    assert_eq!(raw.closed().await.0, u64::from(CloseReason::Spoofed.code()));
    refused(&master, CloseReason::Spoofed);
}

#[tokio::test]
async fn first_words_that_are_no_hello_are_refused() {
    let authority = authority();
    for (bytes, reason) in [
        (pong(AGENT, 1).bytes().to_vec(), CloseReason::NoHello),
        (vec![0; 100], CloseReason::Magic),
        (vec![b'K'; 64], CloseReason::Magic),
    ] {
        let master = master(&authority).await;
        let credentials = issue(&authority, PeerRole::Agent, "agent-1");
        let raw = Raw::connect(master.address(), &authority, Some(&credentials), b"kaon/1").await.expect("TLS stands");
        let _control = raw.begin(&bytes).await;
        assert_eq!(raw.closed().await.0, u64::from(reason.code()));
        refused(&master, reason);
    }
}

#[tokio::test]
async fn one_that_says_nothing_is_not_waited_for_for_ever() {
    let authority = authority();
    let master = master(&authority).await;
    let credentials = issue(&authority, PeerRole::Agent, "agent-1");
    let raw = Raw::connect(master.address(), &authority, Some(&credentials), b"kaon/1").await.expect("TLS stands");
    assert_eq!(raw.closed().await.0, u64::from(CloseReason::Silent.code()));
    refused(&master, CloseReason::Silent);
}

#[tokio::test]
async fn one_without_a_certificate_is_refused() {
    let authority = authority();
    let master = master(&authority).await;
    // Its side of the handshake completes before the master has seen that there is no certificate.
    if let Ok(raw) = Raw::connect(master.address(), &authority, None, b"kaon/1").await {
        let _control = raw.begin(&[]).await;
        let (code, words) = raw.closed().await;
        assert_eq!(code, 0x100 + 116, "certificate_required: {words}");
    }
    eventually("counted", || master.endpoint.counters().closed_for(CloseReason::NoCertificate) == 1).await;
    refused(&master, CloseReason::NoCertificate);
}

/// An agent with these credentials and trust looks for the master; how the master refuses it.
async fn refused_agent(master: Player, agent: Player, target: Target, by_master: Option<CloseReason>) {
    agent.endpoint.connect(target).expect("room");
    let by_agent = |player: &Player| player.endpoint.counters().closed.clone();
    match by_master {
        Some(reason) => {
            eventually("the master refuses", || master.endpoint.counters().closed_for(reason) >= 1).await;
            eventually("the agent is told", || agent.endpoint.counters().closed_by_peer_for(reason) >= 1).await;
        }
        None => {
            let certificate = CloseReason::Certificate;
            eventually("the agent refuses", || agent.endpoint.counters().closed_for(certificate) >= 1).await;
            assert!(by_agent(&agent).iter().all(|(reason, _)| *reason == certificate));
        }
    }
    assert_eq!((master.host.links(), agent.host.links()), (vec![], vec![]));
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_vouches_for_nobody() {
    let (ours, foreign) = (authority(), authority());
    let agent = Player::new(AGENT, issue(&foreign, PeerRole::Agent, "agent-1"), trust(&ours));
    let master = master(&ours).await;
    let target = master.address().into();
    refused_agent(master, agent, target, Some(CloseReason::Certificate)).await;
}

#[tokio::test]
async fn a_master_of_an_authority_that_is_not_trusted_is_not_talked_to() {
    let (ours, foreign) = (authority(), authority());
    let agent = Player::new(AGENT, issue(&ours, PeerRole::Agent, "agent-1"), trust(&ours));
    let master = master(&foreign).await;
    let target = master.address().into();
    refused_agent(master, agent, target, None).await;
}

#[tokio::test]
async fn a_certificate_of_another_cluster_is_refused_though_its_authority_is_trusted() {
    let ours = authority();
    let foreign = Authority::create("other", "cluster").expect("an authority");
    let mut believed = trust(&ours);
    believed.extend(trust(&foreign));
    let master = Player::new(MASTER, issue(&ours, PeerRole::Master, "master-1"), believed);
    let credentials = issue(&foreign, PeerRole::Agent, "agent-1");
    let raw = Raw::connect(master.address(), &ours, Some(&credentials), b"kaon/1").await.expect("TLS stands");
    let _control = raw.introduce(&hello(AGENT)).await;
    assert_eq!(raw.closed().await.0, u64::from(CloseReason::Cluster.code()));
    refused(&master, CloseReason::Cluster);
}

#[tokio::test]
async fn an_authority_for_executors_may_not_vouch_for_a_master_or_an_agent() {
    let (cluster, local) = (authority(), Authority::create("test", "agent-1").expect("an authority"));
    for role in [PeerRole::Master, PeerRole::Agent] {
        let mut believed = trust(&cluster);
        believed.push(Trust { authority: local.certificate().clone(), roles: vec![PeerRole::Executor] });
        let agent = Player::new(AGENT, issue(&cluster, PeerRole::Agent, "agent-1"), believed);
        let intruder = Player::new(HostId(66), issue(&local, role, "master-1"), trust(&cluster));
        intruder.endpoint.connect(agent.address()).expect("room");
        eventually("refused", || agent.endpoint.counters().closed_for(CloseReason::Certificate) >= 1).await;
        assert_eq!((agent.host.links(), intruder.host.links()), (vec![], vec![]));
    }
}

#[tokio::test]
async fn an_executor_has_no_business_with_a_master() {
    let authority = authority();
    let roles = vec![PeerRole::Master, PeerRole::Agent, PeerRole::Executor];
    let believed = vec![Trust { authority: authority.certificate().clone(), roles }];
    let master = Player::new(MASTER, issue(&authority, PeerRole::Master, "master-1"), believed);
    let credentials = issue(&authority, PeerRole::Executor, "container-1");
    let raw = Raw::connect(master.address(), &authority, Some(&credentials), b"kaon/1").await.expect("TLS stands");
    let _control = raw.introduce(&Hello { role: PeerRole::Executor, ..hello(AGENT) }).await;
    assert_eq!(raw.closed().await.0, u64::from(CloseReason::Role.code()));
    refused(&master, CloseReason::Role);
}

#[tokio::test]
async fn whoever_connects_can_say_whom_it_expects() {
    let authority = authority();
    for (name, role, server_name, reason) in [
        (Some("master-2"), None, None, CloseReason::Unexpected),
        (None, Some(PeerRole::Agent), None, CloseReason::Unexpected),
        (None, None, Some("elsewhere.example"), CloseReason::Certificate),
    ] {
        let master = master(&authority).await;
        let agent = Player::new(AGENT, issue(&authority, PeerRole::Agent, "agent-1"), trust(&authority));
        let target = Target {
            name: name.map(Into::into),
            role,
            server_name: server_name.map(Into::into),
            ..Target::from(master.address())
        };
        agent.endpoint.connect(target).expect("room");
        eventually("refused", || agent.endpoint.counters().closed_for(reason) >= 1).await;
        assert_eq!((master.host.links(), agent.host.links()), (vec![], vec![]));
    }
}

#[tokio::test]
async fn a_host_id_of_another_peer_is_refused_and_the_other_stays() {
    let authority = authority();
    let (master, agent) = pair(&authority).await;
    let credentials = issue(&authority, PeerRole::Agent, "agent-2");
    let raw = Raw::connect(master.address(), &authority, Some(&credentials), b"kaon/1").await.expect("TLS stands");
    let _control = raw.introduce(&hello(AGENT)).await;
    assert_eq!(raw.closed().await.0, u64::from(CloseReason::HostTaken.code()));
    assert_eq!(master.host.states(), [LinkState::Up]);
    assert_eq!(agent.host.states(), [LinkState::Up]);
}

#[tokio::test]
async fn a_newer_session_of_the_same_name_takes_the_place_of_the_older() {
    let authority = authority();
    let master = master(&authority).await;
    let (first, _control) = Raw::agent(master.address(), &authority, "agent-1", HostId(21)).await;
    let (second, _control) = Raw::agent(master.address(), &authority, "agent-1", HostId(22)).await;
    assert_eq!(first.closed().await.0, u64::from(CloseReason::Replaced.code()));
    let (third, _control) = Raw::agent(master.address(), &authority, "agent-1", HostId(22)).await;
    assert_eq!(second.closed().await.0, u64::from(CloseReason::Replaced.code()));
    master.host.until("five changes", |host| host.links().len() == 5).await;
    let states: Vec<_> = master.host.links().iter().map(|link| (link.host.0, link.state)).collect();
    let (up, down) = (LinkState::Up, LinkState::Down);
    assert_eq!(states, [(21, up), (21, down), (22, up), (22, down), (22, up)]);
    third.leave().await;
}

//! Bytes from a peer that has a certificate but means ill, or is broken: refused, counted, and nobody else feels it.

use crate::stage::*;
use kaon_kernel::actor::{ActorKind, Address, HostId, LinkState};
use kaon_kernel::frame::{BODY_BYTES_MAX, Frame, HEADER_BYTES, Kind};
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::registrar::{PeerMessage, ToMaster as FromRegistrar};
use kaon_kernel::message::{AgentMessage, MasterMessage, RegistrarMessage};
use kaon_kernel::port::Network;
use kaon_transport::CloseReason;

/// The host of the peer that means ill.
const ILL: HostId = HostId(0x666);

/// A frame with one part of its header overwritten.
fn forged(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut forged = vital_to_master(ILL, 1).bytes().to_vec();
    forged[at..at + bytes.len()].copy_from_slice(bytes);
    forged
}

/// From the agent's host, in the words of others.
fn as_other(from: ActorKind, to: ActorKind, message: &impl kaon_kernel::frame::Root) -> Vec<u8> {
    encode(Address::only(ILL, from), Address::only(MASTER, to), 1, message).bytes().to_vec()
}

fn attacks() -> Vec<(&'static str, Vec<u8>, CloseReason)> {
    let whole = vital_to_master(ILL, 1).bytes().to_vec();
    let mut broken = to_master(ILL, 1, 100).bytes().to_vec();
    broken[HEADER_BYTES..].fill(0xff);
    let registrar = RegistrarMessage::Peer(PeerMessage { data: vec![1; 8] });
    let leading = MasterMessage::Registrar(FromRegistrar::Following { leader: None });
    let mut elsewhere = forged(8, &77u64.to_le_bytes());
    elsewhere.truncate(whole.len());
    vec![
        ("half a header", whole[..HEADER_BYTES / 2].to_vec(), CloseReason::Truncated),
        ("a header alone", whole[..HEADER_BYTES].to_vec(), CloseReason::Truncated),
        ("a frame without its last byte", whole[..whole.len() - 1].to_vec(), CloseReason::Truncated),
        ("a frame that is one byte late", [&[0], &whole[..]].concat(), CloseReason::Magic),
        ("a second frame that is one byte late", [&whole[..], &[0], &whole[..]].concat(), CloseReason::Magic),
        (
            "text",
            b"GET / HTTP/1.1\r\nHost: kaon.example\r\nAccept: */*\r\nX: yyyyyyyyyyyy\r\n\r\n".to_vec(),
            CloseReason::Magic,
        ),
        ("another envelope version", forged(4, &[2]), CloseReason::Version),
        ("a class that is none", forged(5, &[9]), CloseReason::Field),
        ("a kind that is none", forged(6, &999u16.to_le_bytes()), CloseReason::UnknownKind),
        ("another layout", forged(56, &(Kind::Master.schema() + 1).to_le_bytes()), CloseReason::Schema),
        ("16 MiB and a byte", forged(60, &(BODY_BYTES_MAX as u32 + 1).to_le_bytes()), CloseReason::Oversized),
        ("4 GiB", forged(60, &u32::MAX.to_le_bytes()), CloseReason::Oversized),
        (
            "an actor that does not take it",
            forged(16, &(ActorKind::Agent as u16).to_le_bytes()),
            CloseReason::Misdirected,
        ),
        ("a sender that is no actor", forged(32, &99u16.to_le_bytes()), CloseReason::Field),
        ("another sender", vital_to_master(AGENT, 1).bytes().to_vec(), CloseReason::Spoofed),
        ("another receiver", elsewhere, CloseReason::Stray),
        ("a broken archive", broken, CloseReason::Archive),
        (
            "a registrar's words",
            as_other(ActorKind::Registrar, ActorKind::Registrar, &registrar),
            CloseReason::Forbidden,
        ),
        (
            "a registrar's words to a master",
            as_other(ActorKind::Registrar, ActorKind::Master, &leading),
            CloseReason::Forbidden,
        ),
        ("the same, as an agent", as_other(ActorKind::Agent, ActorKind::Master, &leading), CloseReason::Forbidden),
        ("a second hello", as_other(ActorKind::Outside, ActorKind::Outside, &hello(ILL)), CloseReason::Forbidden),
        (
            "a master's words",
            as_other(ActorKind::Master, ActorKind::Agent, &AgentMessage::Master(ToAgent::Ping { connected: true })),
            CloseReason::Forbidden,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_frame_ends_its_own_session_with_its_reason_and_no_other() {
    let authority = authority();
    let (master, agent) = pair(&authority).await;
    let mut counted = std::collections::BTreeMap::new();
    for (sequence, (what, bytes, reason)) in (1..).zip(attacks()) {
        let (raw, _control) = Raw::agent(master.address(), &authority, "ill", ILL).await;
        let _lane = raw.write(&bytes, true).await;
        assert_eq!(raw.closed().await, (u64::from(reason.code()), reason.word().into()), "{what}");
        *counted.entry(reason).or_insert(0) += 1;
        assert_eq!(master.endpoint.counters().closed_for(reason), counted[&reason], "{what}");
        agent.endpoint.send(vital_to_master(AGENT, sequence)).expect("room");
        let arrived = |host: &Host| {
            let of_agent = |event: &&Event| matches!(event, Event::Frame(from, _) if from.host == AGENT);
            host.events().iter().filter(of_agent).count() as u64 == sequence
        };
        master.host.until(what, arrived).await;
    }
    // Of the bad peer's frames only the good one before a bad one came through.
    let of_ill: Vec<Frame> =
        master.host.frames().into_iter().filter(|frame| frame.envelope().from.host == ILL).collect();
    assert_eq!(of_ill.len(), 1);
    let of_agent = |link: &&kaon_kernel::actor::Link| link.host == AGENT;
    assert_eq!(master.host.links().iter().filter(of_agent).count(), 1);
    assert_eq!(agent.host.states(), [LinkState::Up]);
}

#[tokio::test]
async fn bad_frames_on_the_control_stream_are_refused_too() {
    let authority = authority();
    let (master, agent) = pair(&authority).await;
    let (raw, control) = Raw::agent(master.address(), &authority, "ill", ILL).await;
    control.lock().await.0.write_all(pong(AGENT, 1).bytes()).await.expect("room");
    assert_eq!(raw.closed().await.0, u64::from(CloseReason::Spoofed.code()));
    assert_eq!(agent.host.states(), [LinkState::Up]);
}

#[tokio::test]
async fn a_lane_that_is_torn_off_ends_the_session() {
    let authority = authority();
    let (master, _agent) = pair(&authority).await;
    let (raw, _control) = Raw::agent(master.address(), &authority, "ill", ILL).await;
    let mut lane = raw.write(vital_to_master(ILL, 1).bytes(), false).await;
    master.host.until_frames(1).await;
    lane.reset(7u32.into()).expect("an open stream");
    assert_eq!(raw.closed().await.0, u64::from(CloseReason::Stream.code()));
}

#[tokio::test]
async fn a_peer_can_not_open_more_lanes_than_there_are() {
    let authority = authority();
    let (master, _agent) = pair(&authority).await;
    let (raw, _control) = Raw::agent(master.address(), &authority, "ill", ILL).await;
    let mut lanes = Vec::new();
    for sequence in 1..=16 {
        lanes.push(raw.write(vital_to_master(ILL, sequence).bytes(), false).await);
    }
    master.host.until_frames(16).await;
    let more = tokio::time::timeout(std::time::Duration::from_millis(200), raw.connection.open_uni()).await;
    assert!(more.is_err(), "a seventeenth lane");
    let more = tokio::time::timeout(std::time::Duration::from_millis(200), raw.connection.open_bi()).await;
    assert!(more.is_err(), "a second control stream");
}

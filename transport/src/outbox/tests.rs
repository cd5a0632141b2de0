//! Bounds, order and congestion of an outbox, without any network.

use super::*;
use kaon_kernel::actor::{ActorKind, Term};
use kaon_kernel::frame::Route;
use kaon_kernel::id::{ExecutorId, FrameworkId};
use kaon_kernel::message::MasterMessage;
use kaon_kernel::message::agent_master::ToMaster;

fn frame(from: u32, sequence: u64, message: ToMaster) -> Frame {
    let to = Address::only(HostId(1), ActorKind::Master);
    let from = Address::nth(HostId(2), ActorKind::Agent, from);
    Frame::encode(Route { to, from, sequence, term: Term(0) }, &MasterMessage::Agent(message))
}

fn guaranteed(from: u32, sequence: u64) -> Frame {
    let status = 0;
    let (framework_id, executor_id) = (framework(), executor());
    frame(from, sequence, ToMaster::ExecutorExited { framework_id, executor_id, status })
}

fn ordinary(from: u32, sequence: u64, bytes: usize) -> Frame {
    let data = vec![0; bytes];
    frame(from, sequence, ToMaster::Message { framework_id: framework(), executor_id: executor(), data })
}

fn framework() -> FrameworkId {
    FrameworkId::parse("framework").expect("an id")
}

fn executor() -> ExecutorId {
    ExecutorId::parse("executor").expect("an id")
}

fn outbox() -> Outbox {
    Outbox::new(HostId(1))
}

#[test]
fn when_the_open_part_is_full_only_what_must_not_be_dropped_is_taken_until_the_reserve_is_full_too() {
    let outbox = outbox();
    let one = ordinary(0, 1, 0);
    for _ in 0..FRAMES.open {
        assert_eq!(outbox.push(one.clone()), Ok(()));
    }
    assert_eq!(outbox.push(one), Err(Refused::Full("session")));
    let one = guaranteed(0, 1);
    for _ in 0..FRAMES.reserved {
        assert_eq!(outbox.push(one.clone()), Ok(()));
    }
    assert_eq!(outbox.push(one), Err(Refused::Full("session")));
    assert_eq!(outbox.push(frame(0, 1, ToMaster::Pong)), Ok(()), "urgent ones have a queue of their own");
}

#[test]
fn bytes_are_bounded_as_frames_are() {
    let outbox = outbox();
    let one = ordinary(0, 1, 1 << 20);
    let mut taken = 0;
    while outbox.push(one.clone()).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, BYTES.open.div_ceil(one.bytes().len()));
    assert_eq!(outbox.push(guaranteed(0, 1)), Ok(()));
}

#[test]
fn urgent_frames_are_bounded_too() {
    let outbox = outbox();
    let one = frame(0, 1, ToMaster::Pong);
    let taken = (0..URGENT_FRAMES.open).take_while(|_| outbox.push(one.clone()).is_ok()).count();
    assert_eq!(taken, URGENT_FRAMES.open / 2);
}

#[tokio::test]
async fn each_conversation_keeps_its_order_in_its_own_lane_and_late_ones_share() {
    let outbox = outbox();
    let speakers = LANES_MAX as u32 + 5;
    for sequence in 1..=50 {
        for speaker in 0..speakers {
            outbox.push(guaranteed(speaker, sequence)).expect("room");
        }
    }
    let (lanes, _) = outbox.status();
    assert_eq!(lanes, 1 + LANES_MAX);
    outbox.advance(Stage::Draining);
    let mut lane_of = std::collections::BTreeMap::new();
    let mut last = std::collections::BTreeMap::new();
    for lane in 1..lanes {
        while let Some(batch) = outbox.take(lane).await {
            for frame in &batch.frames {
                let envelope = frame.envelope();
                assert_eq!(*lane_of.entry(envelope.from).or_insert(lane), lane);
                let before = last.insert(envelope.from, envelope.sequence).unwrap_or(0);
                assert_eq!(envelope.sequence, before + 1);
            }
            outbox.written(lane, &batch);
        }
    }
    assert_eq!(last.len(), speakers as usize);
    assert!(last.values().all(|sequence| *sequence == 50));
    assert_eq!(lane_of.values().filter(|lane| **lane == 1).count(), 1 + (speakers as usize - LANES_MAX).min(1));
}

#[tokio::test]
async fn congestion_rises_at_the_high_mark_and_falls_at_the_low_one() {
    let outbox = outbox();
    let one = guaranteed(0, 1);
    for _ in 0..FRAMES.open / HIGH_WATER_DIVISOR {
        outbox.push(one.clone()).expect("room");
    }
    assert_eq!(outbox.status(), (2, false));
    outbox.push(one).expect("room");
    assert_eq!(outbox.status(), (2, true));
    let mut left = FRAMES.open / HIGH_WATER_DIVISOR + 1;
    while left > 0 {
        let batch = outbox.take(1).await.expect("frames are left");
        outbox.written(1, &batch);
        left -= batch.frames.len();
        assert_eq!(outbox.status().1, left > FRAMES.open / LOW_WATER_DIVISOR, "{left} left");
    }
}

#[tokio::test]
async fn a_closed_outbox_takes_nothing_and_counts_what_it_lost() {
    let outbox = outbox();
    outbox.push(guaranteed(0, 1)).expect("room");
    outbox.push(frame(0, 2, ToMaster::Pong)).expect("room");
    outbox.advance(Stage::Draining);
    assert_eq!(outbox.push(guaranteed(0, 3)), Err(Refused::NoSession(HostId(1))));
    assert_eq!(outbox.advance(Stage::Closed), 2);
    assert!(outbox.take(1).await.is_none());
    assert!(outbox.take(URGENT).await.is_none());
}

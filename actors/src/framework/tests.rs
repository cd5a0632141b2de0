//! The proxy alone on a bench.

use super::{FrameworkConfig, FrameworkProxy};
use crate::testing::{Rig, sent};
use kaon_kernel::actor::{ActorKind, Address, Effect, HostId, StreamId};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id::{FrameworkId, MasterId};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::framework_master::{ToFramework, ToMaster};
use kaon_kernel::message::scheduler::{self, Call};
use kaon_kernel::message::{FrameworkMessage, MasterMessage};
use kaon_kernel::time::Duration;

const HOST: HostId = HostId(1);

fn proxy() -> Rig<FrameworkProxy> {
    let framework_id = FrameworkId::trusted("f");
    let heartbeat_interval = Duration::secs(15);
    let config = FrameworkConfig { framework_id, stream: StreamId(1), heartbeat_interval };
    let mut rig = Rig::new(FrameworkProxy::new(config), Address::nth(HOST, ActorKind::Framework, 1));
    rig.start();
    rig
}

fn from_master(rig: &mut Rig<FrameworkProxy>, message: ToFramework) -> Vec<Effect> {
    rig.message(Address::only(HOST, ActorKind::Master), &FrameworkMessage::Master(message))
}

fn from_outside(rig: &mut Rig<FrameworkProxy>, message: scheduler::ToFramework) -> Vec<Effect> {
    rig.message(Address::outside(HOST), &FrameworkMessage::Outside(message))
}

fn emitted(effects: &[Effect]) -> Vec<(u64, FrameworkEvent)> {
    let emits = effects.iter().filter_map(|effect| match effect {
        Effect::Emit { stream, .. } => {
            let (_, event) = sent::<FrameworkEvent>(std::slice::from_ref(effect)).pop()?;
            Some((stream.0, event))
        }
        _ => None,
    });
    emits.collect()
}

#[test]
fn a_heartbeat_follows_subscribed_at_once_and_then_every_interval() {
    let mut rig = proxy();
    let subscribed = FrameworkEvent::Subscribed {
        framework_id: FrameworkId::trusted("f"),
        master_id: MasterId::trusted("m"),
        heartbeat_interval: Duration::secs(15),
    };
    let told = emitted(&from_master(&mut rig, ToFramework::Deliver(subscribed.clone())));
    assert_eq!(told, [(1, subscribed), (1, FrameworkEvent::Heartbeat)]);
    let beats = emitted(&rig.pass(Duration::secs(46)));
    assert_eq!(beats, vec![(1, FrameworkEvent::Heartbeat); 3]);
}

#[test]
fn a_newer_stream_ends_the_older_one_with_a_word() {
    let mut rig = proxy();
    let effects = from_master(&mut rig, ToFramework::Reattach { stream: StreamId(2) });
    let error = FrameworkEvent::Error { message: "Framework failed over".to_owned(), cause: Cause::FrameworkReplaced };
    assert_eq!(emitted(&effects), [(1, error)]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Close { stream: StreamId(1) })));
    let call = |stream| scheduler::ToFramework::Call { stream: StreamId(stream), call: Call::Revive { roles: vec![] } };
    assert!(sent::<MasterMessage>(&from_outside(&mut rig, call(1))).is_empty(), "an old stream's call");
    assert_eq!(sent::<MasterMessage>(&from_outside(&mut rig, call(2))).len(), 1);
}

#[test]
fn the_end_of_the_stream_is_told_once_and_silences_the_proxy() {
    let mut rig = proxy();
    let closed = |stream| scheduler::ToFramework::StreamClosed { stream: StreamId(stream) };
    assert!(sent::<MasterMessage>(&from_outside(&mut rig, closed(7))).is_empty(), "not this one's stream");
    let told = sent::<MasterMessage>(&from_outside(&mut rig, closed(1)));
    let disconnected = ToMaster::Disconnected { stream: StreamId(1) };
    assert_eq!(told[0].1, MasterMessage::Framework(disconnected));
    assert!(sent::<MasterMessage>(&from_outside(&mut rig, closed(1))).is_empty());
    assert!(emitted(&from_master(&mut rig, ToFramework::Deliver(FrameworkEvent::Heartbeat))).is_empty());
    assert!(emitted(&rig.pass(Duration::secs(60))).is_empty());
}

#[test]
fn a_dismissed_framework_hears_why_and_its_proxy_ends() {
    let mut rig = proxy();
    let effects = from_master(&mut rig, ToFramework::Dismiss { reason: Defect::new(Cause::FrameworkRemoved, "no") });
    assert_eq!(
        emitted(&effects),
        [(1, FrameworkEvent::Error { message: "no".to_owned(), cause: Cause::FrameworkRemoved })]
    );
    assert!(matches!(effects.last(), Some(Effect::Finish { code: 0, .. })));
}

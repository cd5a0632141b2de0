//! Orders of operators: checked, in the registry before they count, and told to the allocator.

use super::play::{HOST, Play, framework_info, resources, task, to_agent, to_allocator};
use kaon_kernel::actor::{ActorKind, Effect, StreamId};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::frame::copy;
use kaon_kernel::id::RoleName;
use kaon_kernel::message::MasterMessage;
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::allocator::{self, Grant, ToAllocator};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::operator::{Answer, Order};
use kaon_kernel::message::registrar::{self, Registry};
use kaon_kernel::message::scheduler;
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::ResourceName;
use kaon_kernel::time::Duration;

pub(super) const REPLY: StreamId = StreamId(900);

fn role(name: &str) -> RoleName {
    RoleName::trusted(name)
}

fn cpus(guarantee: u64, limit: Option<u64>) -> Quota {
    let amount = |units| (ResourceName::Cpus, Quantity::units(units));
    Quota { guarantees: vec![amount(guarantee)], limits: limit.map(amount).into_iter().collect() }
}

pub(super) fn order(play: &mut Play, order: Order) {
    let message = scheduler::ToMaster::Order { order: Box::new(order), reply: REPLY };
    play.send(ActorKind::Outside, HOST, MasterMessage::Outside(message));
}

fn set_quota(play: &mut Play, name: &str, quota: Quota, force: bool) {
    order(play, Order::SetQuotas { quotas: vec![(role(name), quota)], force });
}

/// What the operator was answered last.
pub(super) fn answer(play: &Play) -> Option<Answer> {
    let answers: Vec<Answer> = play.effects.iter().filter_map(emitted).collect();
    assert!(answers.len() <= 1, "one answer for one order");
    answers.into_iter().next()
}

fn emitted(effect: &Effect) -> Option<Answer> {
    match effect {
        Effect::Emit { stream, event } if *stream == REPLY => Some(copy(event.body::<Answer>()?)),
        _ => None,
    }
}

pub(super) fn refusal(play: &Play) -> String {
    match answer(play) {
        Some(Answer::Refused(defect)) => defect.words,
        other => panic!("not refused, but {other:?}"),
    }
}

#[test]
fn a_quota_counts_once_the_registry_has_it_and_takes_offers_back() {
    let mut play = Play::leading();
    let (_, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    play.grant(framework, agent, resources(1, 64));
    set_quota(&mut play, "web", cpus(1, Some(2)), false);
    assert_eq!((answer(&play), to_allocator(&play.effects)), (None, vec![]), "not before it is written");
    play.write();
    assert_eq!(answer(&play), Some(Answer::Done));
    let told = to_allocator(&play.effects);
    let set = ToAllocator::SetQuotas { number: play.quotas, quotas: vec![(role("web"), cpus(1, Some(2)))] };
    assert_eq!(told.first(), Some(&set), "the allocator knows before it gets anything back");
    assert!(play.events().iter().any(|event| matches!(event, FrameworkEvent::Rescind { .. })));
    assert_eq!(play.recovered(), [resources(1, 64)]);
    let shown = play.effects.iter().find_map(|effect| match effect {
        Effect::Emit { event, .. } => event.body::<ViewEvent>().map(copy::<ViewEvent, _>),
        _ => None,
    });
    assert!(shown.is_some(), "readers are told");
    assert!(play.effects.iter().any(|effect| matches!(effect, Effect::Close { stream } if *stream == REPLY)));
}

/// What the allocator granted before it heard of a quota may be above its limit.
#[test]
fn grants_by_older_quotas_go_straight_back() {
    let mut play = Play::leading();
    let (_, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let older = play.quotas;
    set_quota(&mut play, "web", cpus(1, Some(2)), false);
    play.write();
    assert_eq!(play.quotas, older + 1);
    let grant = Grant { framework, role: role("*"), agent, resources: resources(1, 64) };
    for (quotas, is_outdated) in [(older, true), (older + 1, false)] {
        let granted = allocator::ToMaster::Granted { epoch: play.epoch, quotas, grants: vec![grant.clone()] };
        play.send(ActorKind::Allocator, HOST, MasterMessage::Allocator(granted));
        let offered = play.events().iter().any(|event| matches!(event, FrameworkEvent::Offers { .. }));
        assert_eq!((offered, play.recovered().len()), (!is_outdated, usize::from(is_outdated)));
    }
}

#[test]
fn a_master_that_begins_tells_its_allocator_what_the_registry_kept() {
    let quotas = vec![(role("web"), cpus(3, None))];
    let registry = Registry { quotas: quotas.clone(), weights: vec![(role("web"), 2500)], ..Registry::default() };
    let play = Play::leading_with(registry);
    let told = to_allocator(&play.effects);
    assert!(matches!(&told[0], ToAllocator::Begin { weights, .. } if *weights == [(role("web"), 2500)]), "{told:?}");
    assert_eq!(told[1], ToAllocator::SetQuotas { number: 1, quotas });
    assert_eq!(told.last(), Some(&ToAllocator::Resume));
}

#[test]
fn quotas_that_can_not_hold_are_refused_with_their_reason_and_change_nothing() {
    let mut play = Play::leading();
    play.agent(1);
    for (name, quota, needle) in [
        ("web/front", cpus(1, None), "top of its tree"),
        ("web", cpus(3, Some(2)), "above its limit"),
        ("web", cpus(1_000_000, None), "force=true"),
    ] {
        set_quota(&mut play, name, quota, false);
        let reason = refusal(&play);
        assert!(reason.contains(needle), "{reason}");
        assert!(play.unwritten.is_empty() && to_allocator(&play.effects).is_empty());
    }
    let twice = vec![(role("web"), cpus(1, None)), (role("web"), cpus(2, None))];
    order(&mut play, Order::SetQuotas { quotas: twice, force: true });
    assert!(refusal(&play).contains("twice"));
    set_quota(&mut play, "web", cpus(1_000_000, None), true);
    play.write();
    assert_eq!(answer(&play), Some(Answer::Done), "force sets it");
}

#[test]
fn a_limit_below_what_the_role_has_is_refused_unless_forced() {
    let mut play = Play::leading();
    let (id, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let offer = play.grant(framework, agent, resources(2, 128));
    let tasks = vec![task("one", &id, resources(2, 128))];
    let operations = vec![kaon_kernel::offer::OfferOperation::Launch { tasks }];
    let offers = vec![scheduler::ClientOffer::Known(offer)];
    let refusal_of_rest = kaon_kernel::offer::Refusal::DEFAULT;
    play.call(framework, scheduler::Call::Accept { offers, operations, refusal: refusal_of_rest });
    assert!(to_agent(&play.effects).iter().any(|message| matches!(message, ToAgent::RunTask { .. })));
    set_quota(&mut play, "*", cpus(0, Some(1)), false);
    let reason = refusal(&play);
    assert!(reason.contains("has cpus:2 already"), "{reason}");
    set_quota(&mut play, "*", cpus(0, Some(2)), false);
    play.write();
    assert_eq!(answer(&play), Some(Answer::Done));
}

#[test]
fn weights_are_checked_and_kept_beside_each_other() {
    let mut play = Play::leading();
    order(&mut play, Order::SetWeights { weights: vec![(role("web"), 0)] });
    assert!(refusal(&play).contains("above zero"));
    for (name, weight) in [("web", 2000), ("web/front", 500)] {
        order(&mut play, Order::SetWeights { weights: vec![(role(name), weight)] });
        play.write();
        let weights = vec![(role(name), weight)];
        assert_eq!(to_allocator(&play.effects), [ToAllocator::SetWeights { weights }]);
    }
}

#[test]
fn what_the_registry_does_not_take_is_refused_to_whoever_asked() {
    let mut play = Play::leading();
    order(&mut play, Order::SetWeights { weights: vec![(role("web"), 2000)] });
    let (number, _) = play.unwritten.remove(0);
    let reason = "the registry is full";
    let refused = registrar::ToMaster::Refused { number, reason: reason.to_owned() };
    play.send(ActorKind::Registrar, HOST, MasterMessage::Registrar(refused));
    assert_eq!(answer(&play), Some(Answer::Refused(Defect::new(Cause::Unavailable, reason))));
    assert!(to_allocator(&play.effects).is_empty());
}

#[test]
fn a_master_that_does_not_lead_takes_no_order() {
    let mut play = Play::leading();
    let following = registrar::ToMaster::Following { leader: None };
    play.send(ActorKind::Registrar, HOST, MasterMessage::Registrar(following));
    order(&mut play, Order::SetWeights { weights: vec![(role("web"), 2000)] });
    assert!(matches!(answer(&play), Some(Answer::Unavailable { .. })), "{:?}", answer(&play));
}

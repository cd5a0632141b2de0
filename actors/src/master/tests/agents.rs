//! What agents may say, and of whom.

use super::play::{
    Play, agent_host, agent_info, framework_info, reregister, resources, status, task, to_agent, to_allocator,
};
use kaon_kernel::actor::{ActorKind, LinkState};
use kaon_kernel::agent::{AgentInfo, Attribute, AttributeValue};
use kaon_kernel::id::{AgentId, FrameworkIndex, Uuid};
use kaon_kernel::message::MasterMessage;
use kaon_kernel::message::agent_master::{ToAgent, ToMaster};
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::registrar::{self, RegistryOperation};
use kaon_kernel::message::scheduler::{Call, ClientOffer};
use kaon_kernel::offer::{OfferOperation, Refusal};
use kaon_kernel::task::{TaskState, TaskStatus};
use kaon_kernel::time::Duration;

/// A framework's task "one" on the first agent.
fn staged() -> (Play, FrameworkIndex, AgentId) {
    let mut play = Play::leading();
    let (id, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::secs(60)), 1);
    let offers = vec![ClientOffer::Known(play.grant(framework, agent, resources(4, 4096)))];
    let operations = vec![OfferOperation::Launch { tasks: vec![task("one", &id, resources(1, 1024))] }];
    play.call(framework, Call::Accept { offers, operations, refusal: Refusal::DEFAULT });
    (play, framework, id)
}

#[test]
fn an_agent_speaks_of_its_own_tasks_alone() {
    let (mut play, framework, id) = staged();
    let (other, _) = play.agent(2);
    let framework_id = play.framework_id(framework);
    let mut say = |number: u64, name: &str| {
        let said = TaskStatus { agent_id: Some(id.clone()), ..status(name, TaskState::Failed, 7) };
        let (framework_id, status) = (framework_id.clone(), Box::new(said));
        play.agent_says(number, ToMaster::Update { framework_id, status, latest: TaskState::Failed });
        let told = play.events().into_iter().find_map(|event| match event {
            FrameworkEvent::Update { status } => status.agent_id,
            _ => None,
        });
        (told, to_agent(&play.effects))
    };
    let (told, answer) = say(2, "one");
    assert_eq!(told, None, "the task is not its own");
    assert!(matches!(&answer[..], [ToAgent::Acknowledge { uuid: Uuid(bytes), .. }] if bytes[0] == 7), "{answer:?}");
    assert_eq!(say(2, "unknown").0, Some(other), "whatever it says it is");
    assert_eq!(say(1, "one").0, Some(id.clone()));
}

#[test]
fn an_agent_that_comes_back_under_other_words_is_described_anew() {
    let mut play = Play::leading();
    let (id, agent) = play.agent(1);
    let mut describe = |info: AgentInfo| {
        play.link(1, LinkState::Down);
        play.link(1, LinkState::Up);
        play.agent_says(1, reregister(AgentInfo { id: Some(id.clone()), ..info }, vec![], vec![]));
        let mut effects = core::mem::take(&mut play.effects);
        play.write();
        effects.append(&mut play.effects);
        to_allocator(&effects).into_iter().find_map(|message| match message {
            ToAllocator::DescribeAgent { agent, attributes, .. } => Some((agent, attributes)),
            _ => None,
        })
    };
    assert_eq!(describe(agent_info()), None, "as before");
    let rack = vec![Attribute { name: "rack".to_owned(), value: AttributeValue::Text("r1".to_owned()) }];
    let moved = AgentInfo { attributes: rack.clone(), ..agent_info() };
    assert_eq!(describe(moved.clone()), Some((agent, rack)));
    assert_eq!(describe(moved), None);
}

#[test]
fn an_agent_that_the_registry_has_no_room_for_is_told_and_may_try_again() {
    let mut play = Play::leading();
    play.link(1, LinkState::Up);
    for _ in 0..2 {
        play.agent_says(1, super::play::register(agent_info()));
        let (number, _) = play.unwritten.pop().expect("it is asked for again each time");
        let refused = registrar::ToMaster::Refused { number, reason: "too large".to_owned() };
        play.send(ActorKind::Registrar, super::play::HOST, MasterMessage::Registrar(refused));
        let answer = to_agent(&play.effects);
        assert!(matches!(&answer[..], [ToAgent::Refused { reason }] if reason == "too large"), "{answer:?}");
    }
    assert!(play.rig.actor().state.agent_at(agent_host(1)).is_none());
}

#[test]
fn all_are_told_the_time_that_the_registry_has() {
    let (mut play, ..) = staged();
    play.link(1, LinkState::Down);
    let effects = play.rig.pass(Duration::secs(80));
    play.note(effects);
    let registered = play.unwritten.iter().find_map(|(_, operation)| match operation {
        RegistryOperation::MarkUnreachable { since, .. } => Some(*since),
        _ => None,
    });
    // The registry takes its time.
    play.rig.pass(Duration::secs(5));
    play.write();
    let told = play.events().into_iter().find_map(|event| match event {
        FrameworkEvent::Update { status } => status.unreachable_time,
        _ => None,
    });
    assert!(registered.is_some() && told == registered, "{registered:?} {told:?}");
}

//! Orders about machines and agents: maintenance, draining, deactivation, and agents that are gone.

use super::play::{
    HOST, Play, agent_host, agent_info, framework_info, register, reregister, resources, status, task, to_agent,
    to_allocator,
};
use super::settings::{answer, order, refusal};
use kaon_kernel::actor::{ActorKind, LinkState};
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkIndex, OfferId, TaskId, Uuid};
use kaon_kernel::maintenance::{
    AgentOrders, Drain, DrainConfig, DrainState, InverseAnswer, MachineId, Unavailability, Window,
};
use kaon_kernel::message::MasterMessage;
use kaon_kernel::message::agent_master::{ToAgent, ToMaster};
use kaon_kernel::message::allocator::{self, ToAllocator};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::operator::{Answer, Order};
use kaon_kernel::message::registrar::{AdmittedAgent, Registry, RegistryOperation};
use kaon_kernel::message::scheduler::{Call, ClientOffer};
use kaon_kernel::offer::{OfferOperation, Refusal};
use kaon_kernel::task::{Reason, TaskState};
use kaon_kernel::time::{Duration, WallTime};

const WHEN: Unavailability = Unavailability { start: WallTime(1_000), duration: Some(Duration::secs(60)) };

fn machine(number: u64) -> MachineId {
    MachineId { hostname: format!("machine-{number}"), ip: format!("10.0.0.{number}") }
}

fn window(numbers: &[u64]) -> Window {
    Window { machines: numbers.iter().map(|number| machine(*number)).collect(), unavailability: WHEN }
}

/// An agent on a machine of its own.
fn agent_on(play: &mut Play, number: u64) -> (AgentId, AgentIndex) {
    let MachineId { hostname, ip } = machine(number);
    play.link(number, LinkState::Up);
    let info = kaon_kernel::agent::AgentInfo { hostname: hostname.to_ascii_uppercase(), ip, ..agent_info() };
    play.agent_says(number, register(info));
    play.write();
    let index = play.rig.actor().state.agent_at(agent_host(number)).expect("it is registered");
    (play.rig.actor().state.agents[&index].id.clone(), index)
}

fn give(play: &mut Play, what: Order) -> Option<Answer> {
    order(play, what);
    if answer(play).is_none() {
        play.write();
    }
    answer(play)
}

fn schedule(play: &mut Play, windows: Vec<Window>) -> Option<Answer> {
    give(play, Order::SetSchedule { windows })
}

fn asked(play: &mut Play, framework: FrameworkIndex, agent: AgentIndex) -> OfferId {
    let asked = allocator::ToMaster::Asked { epoch: play.epoch, asks: vec![(framework, agent)] };
    play.send(ActorKind::Allocator, HOST, MasterMessage::Allocator(asked));
    let events = play.events();
    let [FrameworkEvent::InverseOffers { offers, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(offers[0].unavailability, WHEN);
    offers[0].id
}

fn aware() -> FrameworkInfo {
    framework_info(Duration::secs(60))
}

/// One agent with one running task.
fn running(play: &mut Play, number: u64) -> (FrameworkIndex, AgentId, AgentIndex) {
    let (id, agent) = agent_on(play, number);
    let framework = play.framework(aware(), number);
    let offer = play.grant(framework, agent, resources(4, 4096));
    let operations = vec![OfferOperation::Launch { tasks: vec![task("one", &id, resources(1, 1024))] }];
    let offers = vec![ClientOffer::Known(offer)];
    play.call(framework, Call::Accept { offers, operations, refusal: Refusal::DEFAULT });
    update(play, framework, number, TaskState::Running, 1);
    (framework, id, agent)
}

fn update(play: &mut Play, framework: FrameworkIndex, number: u64, state: TaskState, uuid: u8) {
    let framework_id = play.framework_id(framework);
    let status = Box::new(status("one", state, uuid));
    play.agent_says(number, ToMaster::Update { framework_id, status, latest: state });
}

fn acknowledge(play: &mut Play, framework: FrameworkIndex, agent_id: &AgentId, uuid: u8) {
    let (agent_id, task_id) = (agent_id.clone(), TaskId::trusted("one"));
    play.call(framework, Call::Acknowledge { agent_id, task_id, uuid: Uuid([uuid; 16]) });
}

fn orders(play: &Play, id: &AgentId) -> AgentOrders {
    play.rig.actor().standing.orders.get(id).cloned().unwrap_or_default()
}

#[test]
fn a_schedule_is_refused_for_each_mistake_of_its_own() {
    let mut play = Play::leading();
    let nameless = MachineId { hostname: String::new(), ip: String::new() };
    let upper = MachineId { hostname: "MACHINE-1".to_owned(), ..machine(1) };
    for (windows, needle) in [
        (vec![window(&[])], "is empty"),
        (vec![Window { machines: vec![nameless], unavailability: WHEN }], "are empty"),
        (vec![window(&[1]), Window { machines: vec![upper], unavailability: WHEN }], "more than once"),
    ] {
        order(&mut play, Order::SetSchedule { windows });
        let reason = refusal(&play);
        assert!(reason.contains(needle), "{reason}");
    }
    let machines = vec![machine(1)];
    order(&mut play, Order::StartMaintenance { machines: machines.clone() });
    assert!(refusal(&play).contains("not part of a maintenance schedule"));
    assert_eq!(schedule(&mut play, vec![window(&[1])]), Some(Answer::Done));
    order(&mut play, Order::StopMaintenance { machines: machines.clone() });
    assert!(refusal(&play).contains("not in DOWN mode"));
    assert_eq!(give(&mut play, Order::StartMaintenance { machines: machines.clone() }), Some(Answer::Done));
    order(&mut play, Order::StartMaintenance { machines });
    assert!(refusal(&play).contains("not in DRAINING mode"));
    order(&mut play, Order::SetSchedule { windows: vec![window(&[2])] });
    assert!(refusal(&play).contains("cannot be removed from the schedule"));
}

#[test]
fn changes_of_the_schedule_come_one_by_one() {
    let mut play = Play::leading();
    order(&mut play, Order::SetSchedule { windows: vec![window(&[1])] });
    order(&mut play, Order::SetSchedule { windows: vec![] });
    assert!(matches!(answer(&play), Some(Answer::Unavailable { .. })), "judged by a schedule that is about to change");
    assert_eq!(play.unwritten.len(), 1);
}

#[test]
fn agents_of_a_scheduled_machine_are_offered_anew_with_their_unavailability() {
    let mut play = Play::leading();
    let (_, one) = agent_on(&mut play, 1);
    let (_, two) = agent_on(&mut play, 2);
    let framework = play.framework(aware(), 1);
    let offer = play.grant(framework, one, resources(1, 64));
    play.grant(framework, two, resources(1, 64));
    assert_eq!(schedule(&mut play, vec![window(&[1])]), Some(Answer::Done));
    let rescinded: Vec<_> = play
        .events()
        .into_iter()
        .filter(|event| matches!(event, FrameworkEvent::Rescind { offer_id, .. } if *offer_id == offer))
        .collect();
    assert_eq!((rescinded.len(), play.events().len()), (1, 1), "the other machine is not concerned");
    let told = to_allocator(&play.effects);
    assert_eq!(told.last(), Some(&ToAllocator::SetUnavailability { agent: one, unavailability: Some(WHEN) }));
    play.grant(framework, one, resources(1, 64));
    let events = play.events();
    let [FrameworkEvent::Offers { offers, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(offers[0].unavailability, Some(WHEN));
    // The same schedule once more concerns nobody.
    schedule(&mut play, vec![window(&[1])]);
    assert_eq!((play.events().len(), to_allocator(&play.effects).len()), (0, 0));
    schedule(&mut play, vec![]);
    let told = to_allocator(&play.effects);
    assert_eq!(told.last(), Some(&ToAllocator::SetUnavailability { agent: one, unavailability: None }));
}

#[test]
fn an_inverse_offer_is_answered_once_and_taken_back_when_the_plan_changes() {
    let mut play = Play::leading();
    let (_, agent) = agent_on(&mut play, 1);
    let framework = play.framework(aware(), 1);
    let other = play.framework(aware(), 2);
    schedule(&mut play, vec![window(&[1])]);
    let first = asked(&mut play, framework, agent);
    let call = |id| Call::AnswerInverse {
        offers: vec![ClientOffer::Known(id)],
        answer: InverseAnswer::Declined,
        refusal: Refusal(Duration::secs(9)),
    };
    play.call(other, call(first));
    assert!(to_allocator(&play.effects).is_empty(), "it is not the other's to answer");
    play.call(framework, call(first));
    let answered = ToAllocator::AnswerInverse { framework, agent, refusal: Some(Refusal(Duration::secs(9))) };
    assert_eq!(to_allocator(&play.effects), [answered]);
    play.call(framework, call(first));
    assert!(to_allocator(&play.effects).is_empty(), "answered once");
    let second = asked(&mut play, framework, agent);
    assert_ne!(first, second);
    schedule(&mut play, vec![]);
    let taken = |event: &FrameworkEvent| matches!(event, FrameworkEvent::RescindInverseOffer { offer_id, .. } if *offer_id == second);
    assert!(play.events().iter().any(taken), "{:?}", play.events());
    play.call(framework, call(second));
    assert!(to_allocator(&play.effects).is_empty(), "taken back");
}

#[test]
fn agents_of_a_machine_that_is_down_are_shut_down_and_stay_out_until_it_is_up() {
    let mut play = Play::leading();
    let (_, id, _) = running(&mut play, 1);
    let (_, other) = agent_on(&mut play, 2);
    schedule(&mut play, vec![window(&[1])]);
    give(&mut play, Order::StartMaintenance { machines: vec![machine(1)] });
    assert!(matches!(&to_agent(&play.effects)[..], [ToAgent::Shutdown { .. }]));
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Lost, Some(Reason::AgentRemoved))]);
    assert!(play.rig.actor().state.agents.contains_key(&other));
    assert!(play.rig.actor().state.agent_index(id.as_str()).is_none());
    let MachineId { hostname, ip } = machine(1);
    let info = kaon_kernel::agent::AgentInfo { hostname, ip, ..agent_info() };
    play.agent_says(1, register(info.clone()));
    assert!(matches!(&to_agent(&play.effects)[..], [ToAgent::Shutdown { reason }] if reason.contains("DOWN")));
    assert!(play.unwritten.is_empty());
    give(&mut play, Order::StopMaintenance { machines: vec![machine(1)] });
    play.agent_says(1, register(info));
    play.write();
    assert!(matches!(&to_agent(&play.effects)[..], [ToAgent::Registered { .. }]));
    let scheduled = to_allocator(&play.effects).iter().any(|m| matches!(m, ToAllocator::SetUnavailability { .. }));
    assert!(!scheduled, "it left the schedule");
}

#[test]
fn a_new_term_goes_on_with_the_schedule_of_the_registry() {
    let registry = Registry { schedule: vec![window(&[1, 2])], down: vec![machine(2)], ..Registry::default() };
    let mut play = Play::leading_with(registry);
    let (_, agent) = agent_on(&mut play, 1);
    let told = to_allocator(&play.effects);
    assert_eq!(told.last(), Some(&ToAllocator::SetUnavailability { agent, unavailability: Some(WHEN) }));
    play.link(2, LinkState::Up);
    let MachineId { hostname, ip } = machine(2);
    let info = kaon_kernel::agent::AgentInfo { hostname, ip, ..agent_info() };
    play.agent_says(2, register(info));
    assert!(matches!(&to_agent(&play.effects)[..], [ToAgent::Shutdown { .. }]));
}

#[test]
fn an_idle_agent_is_drained_at_once_and_comes_back_when_it_is_reactivated() {
    let mut play = Play::leading();
    let (id, agent) = agent_on(&mut play, 1);
    let framework = play.framework(aware(), 1);
    play.grant(framework, agent, resources(1, 64));
    let config = DrainConfig { grace_max: Some(Duration::secs(3)), mark_gone: false };
    assert_eq!(give(&mut play, Order::Drain { agent_id: id.clone(), config }), Some(Answer::Done));
    assert!(play.events().iter().any(|event| matches!(event, FrameworkEvent::Rescind { .. })));
    assert!(to_allocator(&play.effects).contains(&ToAllocator::DeactivateAgent { agent }));
    assert!(to_agent(&play.effects).contains(&ToAgent::Drain { config }));
    assert_eq!(orders(&play, &id).drain.map(|drain| drain.state), Some(DrainState::Drained));
    // What the allocator had granted before it heard of it comes back.
    let grant = allocator::Grant {
        framework,
        role: kaon_kernel::id::RoleName::trusted("*"),
        agent,
        resources: resources(1, 64),
    };
    let granted = allocator::ToMaster::Granted { epoch: play.epoch, quotas: play.quotas, grants: vec![grant] };
    play.send(ActorKind::Allocator, HOST, MasterMessage::Allocator(granted));
    assert_eq!(play.recovered(), [resources(1, 64)]);
    assert_eq!(give(&mut play, Order::Reactivate { agent_id: id.clone() }), Some(Answer::Done));
    assert_eq!(to_allocator(&play.effects), [ToAllocator::ActivateAgent { agent }]);
    order(&mut play, Order::Reactivate { agent_id: id });
    assert!(refusal(&play).contains("not deactivated"));
}

#[test]
fn a_busy_agent_is_drained_when_the_end_of_its_last_task_is_acknowledged() {
    let mut play = Play::leading();
    let (framework, id, _) = running(&mut play, 1);
    give(&mut play, Order::Drain { agent_id: id.clone(), config: DrainConfig::default() });
    order(&mut play, Order::Reactivate { agent_id: id.clone() });
    assert!(refusal(&play).contains("still in the DRAINING state"));
    acknowledge(&mut play, framework, &id, 1);
    update(&mut play, framework, 1, TaskState::Killed, 2);
    assert!(play.unwritten.is_empty(), "the end is not acknowledged yet");
    acknowledge(&mut play, framework, &id, 2);
    assert!(matches!(&play.unwritten[..], [(_, RegistryOperation::MarkDrained { .. })]), "{:?}", play.unwritten);
    play.write();
    assert_eq!(orders(&play, &id).drain.map(|drain| drain.state), Some(DrainState::Drained));
}

#[test]
fn a_draining_agent_that_comes_back_is_told_again() {
    let config = DrainConfig { grace_max: None, mark_gone: true };
    let id = AgentId::trusted("m-S0");
    let mut info = agent_info();
    info.id = Some(id.clone());
    let agents = vec![AdmittedAgent { info: info.clone(), identity: "agent-1".to_owned() }];
    let drain = Drain { state: DrainState::Draining, config, since: WallTime(1) };
    let orders = vec![(id.clone(), AgentOrders { deactivated: true, drain: Some(drain) })];
    let mut play = Play::leading_with(Registry { agents, orders, ..Registry::default() });
    play.link(1, LinkState::Up);
    let report = reregister(info.clone(), vec![], vec![]);
    play.agent_says(1, report.clone());
    assert!(to_agent(&play.effects).contains(&ToAgent::Drain { config }));
    let is_inactive = |message: &ToAllocator| matches!(message, ToAllocator::DeactivateAgent { .. });
    assert!(to_allocator(&play.effects).iter().any(is_inactive));
    assert!(matches!(&play.unwritten[..], [(_, RegistryOperation::MarkGone { .. })]), "it has nothing: it is gone");
    play.write();
    assert!(matches!(&to_agent(&play.effects)[..], [ToAgent::Shutdown { .. }]));
    play.agent_says(1, report);
    assert!(matches!(&to_agent(&play.effects)[..], [ToAgent::Shutdown { .. }]), "it never comes back");
}

#[test]
fn a_gone_agent_loses_its_tasks_and_never_comes_back() {
    let mut play = Play::leading();
    let (framework, id, _) = running(&mut play, 1);
    let gone = Order::MarkGone { agent_id: id.clone() };
    order(&mut play, gone.clone());
    order(&mut play, Order::Drain { agent_id: id.clone(), config: DrainConfig::default() });
    assert!(matches!(answer(&play), Some(Answer::Conflict { .. })));
    order(&mut play, gone.clone());
    assert!(matches!(answer(&play), Some(Answer::Unavailable { .. })));
    play.write();
    let by_operator = Some(Reason::AgentRemovedByOperator);
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::GoneByOperator, by_operator)]);
    assert!(to_agent(&play.effects).iter().any(|message| matches!(message, ToAgent::Shutdown { .. })));
    order(&mut play, gone);
    assert_eq!(answer(&play), Some(Answer::Done), "gone is gone");
    order(&mut play, Order::MarkGone { agent_id: AgentId::trusted("nobody") });
    assert!(matches!(answer(&play), Some(Answer::NotFound { .. })));
    play.call(framework, Call::Reconcile { tasks: vec![(TaskId::trusted("one"), Some(id.clone()))] });
    let reconciled = ("one".to_owned(), TaskState::GoneByOperator, Some(Reason::Reconciliation));
    assert_eq!(play.statuses(), [reconciled]);
}

#[test]
fn tasks_out_of_reach_end_when_their_agent_is_marked_gone() {
    let mut play = Play::leading();
    let (_, id, _) = running(&mut play, 1);
    play.link(1, LinkState::Down);
    let effects = play.rig.pass(Duration::secs(601));
    play.note(effects);
    play.write();
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Unreachable, Some(Reason::AgentRemoved))]);
    assert_eq!(give(&mut play, Order::MarkGone { agent_id: id }), Some(Answer::Done));
    let by_operator = Some(Reason::AgentRemovedByOperator);
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::GoneByOperator, by_operator)]);
}

#[test]
fn a_deactivated_agent_is_offered_again_only_when_an_operator_says_so() {
    let mut play = Play::leading();
    let (id, agent) = agent_on(&mut play, 1);
    assert_eq!(give(&mut play, Order::Deactivate { agent_id: id.clone() }), Some(Answer::Done));
    assert_eq!(to_allocator(&play.effects), [ToAllocator::DeactivateAgent { agent }]);
    play.link(1, LinkState::Congested);
    play.link(1, LinkState::Flowing);
    assert!(!to_allocator(&play.effects).contains(&ToAllocator::ActivateAgent { agent }));
    order(&mut play, Order::Deactivate { agent_id: AgentId::trusted("nobody") });
    assert!(refusal(&play).contains("Unknown agent"));
    schedule(&mut play, vec![window(&[1])]);
    order(&mut play, Order::Drain { agent_id: id, config: DrainConfig::default() });
    assert!(refusal(&play).contains("maintenance schedule"));
}

#[test]
fn agents_whose_domain_does_not_fit_are_ignored_and_not_sent_away() {
    let domain = || Some(kaon_kernel::agent::Domain { region: "r".to_owned(), zone: "z".to_owned() });
    for (own, required, theirs, is_taken) in [
        (None, false, None, true),
        (None, false, domain(), false),
        (domain(), false, domain(), true),
        (domain(), false, None, true),
        (domain(), true, None, false),
    ] {
        let config = crate::master::MasterConfig { domain: own, require_agent_domain: required, ..Default::default() };
        let mut play = Play::leading_by(config, Registry::default());
        play.link(1, LinkState::Up);
        let info = kaon_kernel::agent::AgentInfo { domain: theirs, ..agent_info() };
        play.agent_says(1, register(info));
        assert_eq!(play.unwritten.len(), usize::from(is_taken));
        assert!(to_agent(&play.effects).is_empty(), "neither refused nor shut down");
    }
}

#[test]
fn those_who_do_not_know_the_finer_states_hear_that_a_task_is_lost() {
    // (what is done to the agent, what the one who knows hears)
    for (is_gone, finer) in [(false, TaskState::Unreachable), (true, TaskState::GoneByOperator)] {
        for is_aware in [false, true] {
            let mut play = Play::leading();
            let (id, agent) = agent_on(&mut play, 1);
            let capabilities = if is_aware { aware().capabilities } else { Vec::new() };
            let framework = play.framework(FrameworkInfo { capabilities, ..aware() }, 1);
            let offer = play.grant(framework, agent, resources(1, 64));
            let accept = |offers| Call::Accept {
                offers,
                operations: vec![OfferOperation::Launch { tasks: vec![task("one", &id, resources(1, 64))] }],
                refusal: Refusal::DEFAULT,
            };
            play.call(framework, accept(vec![]));
            let dropped = if is_aware { TaskState::Dropped } else { TaskState::Lost };
            assert_eq!(play.statuses(), [("one".to_owned(), dropped, Some(Reason::InvalidOffers))]);
            play.call(framework, accept(vec![ClientOffer::Known(offer)]));
            if is_gone {
                give(&mut play, Order::MarkGone { agent_id: id.clone() });
            } else {
                play.link(1, LinkState::Down);
                let effects = play.rig.pass(Duration::secs(601));
                play.note(effects);
                play.write();
            }
            let reason = match is_aware && is_gone {
                true => Reason::AgentRemovedByOperator,
                false => Reason::AgentRemoved,
            };
            let told = if is_aware { finer } else { TaskState::Lost };
            assert_eq!(play.statuses(), [("one".to_owned(), told, Some(reason))]);
            play.call(framework, Call::Reconcile { tasks: vec![(TaskId::trusted("one"), Some(id))] });
            assert_eq!(play.statuses()[0].1, told, "asked for again");
        }
    }
}

//! One test for each conversation and for each refusal that a client can see.

use super::play::{
    Play, agent_info, episode, framework_info, register, reregister, resources, status, task, to_agent, to_allocator,
};
use kaon_kernel::actor::{LinkState, StreamId};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id::{AgentId, AgentIndex, ExecutorId, FrameworkId, FrameworkIndex, OfferId, TaskId, Uuid};
use kaon_kernel::message::agent_master::{ToAgent, ToMaster};
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::framework_master;
use kaon_kernel::message::registrar::{AdmittedAgent, Registry, RegistryOperation};
use kaon_kernel::message::scheduler::{Call, ClientOffer};
use kaon_kernel::offer::{OfferOperation, Refusal};
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{Reason, Task, TaskInfo, TaskState};
use kaon_kernel::time::Duration;

fn accept(offers: &[OfferId], tasks: Vec<TaskInfo>) -> Call {
    let offers = offers.iter().map(|id| ClientOffer::Known(*id)).collect();
    Call::Accept { offers, operations: vec![OfferOperation::Launch { tasks }], refusal: Refusal::DEFAULT }
}

/// One agent, one framework, one task that the agent has not spoken of yet.
fn staged() -> (Play, FrameworkIndex, AgentId, AgentIndex) {
    let mut play = Play::leading();
    let (id, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::secs(60)), 1);
    let offer = play.grant(framework, agent, resources(4, 4096));
    play.call(framework, accept(&[offer], vec![task("one", &id, resources(1, 1024))]));
    (play, framework, id, agent)
}

fn update(play: &mut Play, framework: FrameworkIndex, name: &str, state: TaskState, uuid: u8) {
    let framework_id = play.framework_id(framework);
    play.agent_says(1, ToMaster::Update { framework_id, status: Box::new(status(name, state, uuid)), latest: state });
}

#[test]
fn an_agent_is_told_nothing_before_the_registry_has_it() {
    let mut play = Play::leading();
    play.link(1, LinkState::Up);
    assert!(matches!(to_agent(&play.effects)[..], [ToAgent::Leading { .. }]));
    play.agent_says(1, register(agent_info()));
    assert!(to_agent(&play.effects).is_empty());
    play.agent_says(1, register(agent_info()));
    assert_eq!(play.unwritten.len(), 1, "a repeated wish is not admitted twice");
    play.write();
    assert!(matches!(to_agent(&play.effects)[..], [ToAgent::Registered { .. }]));
    assert!(to_allocator(&play.effects).iter().any(|message| matches!(message, ToAllocator::AddAgent { .. })));
}

#[test]
fn an_agent_may_not_come_back_under_the_id_of_another_certificate() {
    let mut play = Play::leading();
    let (id, _) = play.agent(1);
    play.link(2, LinkState::Up);
    let mut info = agent_info();
    info.id = Some(id);
    play.agent_says(2, reregister(info, vec![], vec![]));
    assert!(matches!(to_agent(&play.effects)[..], [ToAgent::Refused { .. }]));
    assert!(play.unwritten.is_empty());
}

/// A bag as a peer could put it into a frame: of valid layout, and no sum that our arithmetic makes.
fn disordered() -> Resources {
    let good = rkyv::to_bytes::<rkyv::rancor::Error>(&resources(1, 1)).expect("archives");
    let spoiled = (0..good.len()).find_map(|at| {
        let mut bytes = rkyv::util::AlignedVec::<16>::new();
        bytes.extend_from_slice(&good);
        bytes[at] ^= 1;
        let bag = rkyv::from_bytes::<Resources, rkyv::rancor::Error>(&bytes).ok()?;
        (!bag.is_canonical()).then_some(bag)
    });
    spoiled.expect("names in another order, or nothing of something")
}

#[test]
fn resources_that_are_no_proper_sum_are_refused() {
    let bad = disordered();
    let refused = |play: &Play| matches!(to_agent(&play.effects)[..], [ToAgent::Refused { .. }]);
    let mut play = Play::leading();
    play.link(1, LinkState::Up);
    play.agent_says(1, register(AgentInfo { resources: bad.clone(), ..agent_info() }));
    assert!(refused(&play), "what it has");
    let info = Box::new(agent_info());
    play.agent_says(1, ToMaster::Register { info, checkpointed: bad.clone(), episode: episode() });
    assert!(refused(&play), "what is reserved on it");
    let mut play = Play::leading();
    let (id, _) = play.agent(1);
    play.link(1, LinkState::Down);
    play.link(1, LinkState::Up);
    let running = Task {
        info: task("one", &id, bad),
        executor_id: ExecutorId::trusted("one"),
        state: TaskState::Running,
        statuses: Vec::new(),
        unacknowledged: None,
    };
    let info = AgentInfo { id: Some(id), ..agent_info() };
    play.agent_says(1, reregister(info, vec![], vec![(FrameworkId::trusted("f"), running)]));
    assert!(refused(&play), "what runs on it");
    assert!(play.unwritten.is_empty());
}

#[test]
fn a_launch_takes_from_the_offer_and_gives_the_rest_back() {
    let (play, _, id, _) = staged();
    let launched = to_agent(&play.effects);
    assert!(matches!(&launched[..], [ToAgent::RunTask { task, .. }] if task.agent_id == id));
    assert_eq!(play.recovered(), [resources(3, 3072)]);
}

#[test]
fn a_status_goes_to_the_framework_and_its_end_frees_at_once() {
    let (mut play, framework, id, _) = staged();
    update(&mut play, framework, "one", TaskState::Running, 1);
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Running, None)]);
    assert!(play.recovered().is_empty());
    update(&mut play, framework, "one", TaskState::Finished, 2);
    assert_eq!(play.recovered(), [resources(1, 1024)]);
    assert!(play.rig.actor().state.frameworks[&framework].tasks.contains_key("one"), "listed until acknowledged");
    let uuid = Uuid([2; 16]);
    play.call(framework, Call::Acknowledge { agent_id: id, task_id: TaskId::trusted("one"), uuid });
    assert!(matches!(&to_agent(&play.effects)[..], [ToAgent::Acknowledge { uuid: passed, .. }] if *passed == uuid));
    assert!(play.rig.actor().state.frameworks[&framework].tasks.is_empty());
}

#[test]
fn a_repeated_end_frees_only_once() {
    let (mut play, framework, _, _) = staged();
    update(&mut play, framework, "one", TaskState::Finished, 2);
    assert_eq!(play.recovered().len(), 1);
    update(&mut play, framework, "one", TaskState::Finished, 2);
    assert!(play.recovered().is_empty());
    assert_eq!(play.statuses().len(), 1, "the framework is told again, for it may not have heard");
}

#[test]
fn bad_offers_lose_the_tasks_and_give_the_good_offers_back() {
    let mut play = Play::leading();
    let (id, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let offer = play.grant(framework, agent, resources(1, 1024));
    play.call(framework, accept(&[offer, OfferId(999)], vec![task("one", &id, resources(1, 1024))]));
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Dropped, Some(Reason::InvalidOffers))]);
    assert_eq!(play.recovered(), [resources(1, 1024)]);
    for offers in [vec![offer], vec![]] {
        play.call(framework, accept(&offers, vec![task("one", &id, resources(1, 1024))]));
        assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Dropped, Some(Reason::InvalidOffers))]);
        assert!(play.recovered().is_empty(), "an offer is given back once");
    }
}

#[test]
fn an_offer_named_twice_is_invalid_and_comes_back_once() {
    let mut play = Play::leading();
    let (id, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let offer = play.grant(framework, agent, resources(1, 1024));
    play.call(framework, accept(&[offer, offer], vec![task("one", &id, resources(1, 1024))]));
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Dropped, Some(Reason::InvalidOffers))]);
    assert_eq!(play.recovered(), [resources(1, 1024)]);
}

#[test]
fn another_frameworks_offer_is_no_offer() {
    let mut play = Play::leading();
    let (id, agent) = play.agent(1);
    let owner = play.framework(framework_info(Duration::ZERO), 1);
    let thief = play.framework(framework_info(Duration::ZERO), 2);
    let offer = play.grant(owner, agent, resources(1, 1024));
    play.call(thief, accept(&[offer], vec![task("one", &id, resources(1, 1024))]));
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Dropped, Some(Reason::InvalidOffers))]);
    assert!(play.recovered().is_empty() && play.rig.actor().state.offers.contains_key(&offer));
}

#[test]
fn each_bad_task_is_refused_by_itself_and_the_good_one_runs() {
    let mut play = Play::leading();
    let (id, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let offer = play.grant(framework, agent, resources(2, 2048));
    let small = || resources(1, 128);
    let bad = |name: &str, spoil: fn(&mut TaskInfo)| {
        let mut bad = task(name, &id, small());
        spoil(&mut bad);
        bad
    };
    let tasks = vec![
        task("good", &id, small()),
        task("good", &id, small()),
        bad("..", |_| {}),
        bad("a/b", |_| {}),
        bad("", |_| {}),
        bad("no-command", |task| task.command = None),
        bad("elsewhere", |task| task.agent_id = AgentId::trusted("other")),
        bad("nothing", |task| task.resources = resources(0, 0)),
        bad("greedy", |task| task.resources = resources(9, 1)),
        bad("defect", |task| task.defect = Some(Box::new(Defect::new(Cause::CheckInvalid, "the edge says no")))),
        task(&"x".repeat(1 << 20), &id, small()),
    ];
    let refused = tasks.len() - 1;
    play.call(framework, accept(&[offer], tasks));
    let statuses = play.statuses();
    assert_eq!(statuses.len(), refused);
    assert!(
        statuses.iter().all(|(_, state, reason)| (*state, *reason) == (TaskState::Error, Some(Reason::TaskInvalid)))
    );
    assert_eq!(to_agent(&play.effects).len(), 1);
    assert_eq!(play.recovered(), [resources(1, 1920)]);
}

#[test]
fn a_broken_session_rescinds_and_its_return_offers_again() {
    let mut play = Play::leading();
    let (id, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let offer = play.grant(framework, agent, resources(1, 1024));
    play.link(1, LinkState::Down);
    assert!(matches!(play.events()[..], [FrameworkEvent::Rescind { offer_id, .. }] if offer_id == offer));
    play.link(1, LinkState::Up);
    let mut info = agent_info();
    info.id = Some(id);
    play.agent_says(1, reregister(info, vec![], vec![]));
    assert!(play.unwritten.is_empty(), "nothing new for the registry");
    assert!(to_allocator(&play.effects).contains(&ToAllocator::ActivateAgent { agent }));
}

#[test]
fn a_returning_agent_is_asked_for_the_tasks_that_it_does_not_report() {
    let (mut play, framework, id, _) = staged();
    play.link(1, LinkState::Down);
    play.link(1, LinkState::Up);
    let mut info = agent_info();
    info.id = Some(id);
    play.agent_says(1, reregister(info, vec![], vec![]));
    let asked = to_agent(&play.effects).into_iter().find_map(|message| match message {
        ToAgent::Reconcile { tasks } => Some(tasks),
        _ => None,
    });
    assert_eq!(asked, Some(vec![(play.framework_id(framework), TaskId::trusted("one"))]));
}

#[test]
fn an_impossible_report_is_refused_and_changes_nothing() {
    let mut play = Play::leading();
    let (id, _) = play.agent(1);
    let mut info = agent_info();
    info.id = Some(id.clone());
    let huge = Task {
        info: task("huge", &id, resources(400, 1)),
        executor_id: kaon_kernel::id::ExecutorId::trusted("huge"),
        state: TaskState::Running,
        statuses: vec![],
        unacknowledged: None,
    };
    let tasks = vec![(kaon_kernel::id::FrameworkId::trusted("f"), huge)];
    play.agent_says(1, reregister(info, vec![], tasks));
    assert!(matches!(to_agent(&play.effects)[..], [ToAgent::Refused { .. }]));
}

#[test]
fn kills_wait_for_an_agent_that_is_away() {
    let (mut play, framework, id, _) = staged();
    play.link(1, LinkState::Down);
    let task_id = TaskId::trusted("one");
    play.call(framework, Call::Kill { task_id: task_id.clone(), agent_id: None, grace: None });
    assert!(to_agent(&play.effects).is_empty());
    play.link(1, LinkState::Up);
    let mut info = agent_info();
    info.id = Some(id);
    play.agent_says(1, reregister(info, vec![], vec![]));
    let killed = to_agent(&play.effects).into_iter().any(|message| matches!(message, ToAgent::KillTask { .. }));
    assert!(killed);
}

#[test]
fn killing_or_asking_for_an_unknown_task_tells_its_state() {
    let mut play = Play::leading();
    let (id, _) = play.agent(1);
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let ghost = TaskId::trusted("ghost");
    play.call(framework, Call::Kill { task_id: ghost.clone(), agent_id: None, grace: None });
    assert_eq!(play.statuses(), [("ghost".to_owned(), TaskState::Unknown, Some(Reason::Reconciliation))]);
    play.call(framework, Call::Reconcile { tasks: vec![(ghost, Some(id))] });
    assert_eq!(play.statuses(), [("ghost".to_owned(), TaskState::Gone, Some(Reason::Reconciliation))]);
    play.call(framework, Call::Reconcile { tasks: vec![] });
    assert!(play.statuses().is_empty());
}

#[test]
fn nobody_is_told_of_a_task_whose_agent_may_still_come_back_after_a_failover() {
    let mut info = agent_info();
    info.id = Some(AgentId::trusted("old-S1"));
    let agents = vec![AdmittedAgent { info, identity: "agent-1".to_owned() }];
    let mut play = Play::leading_with(Registry { agents, ..Registry::default() });
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    play.call(framework, Call::Reconcile { tasks: vec![(TaskId::trusted("one"), None)] });
    assert!(play.statuses().is_empty());
    let effects = play.rig.pass(Duration::secs(601));
    play.note(effects);
    play.write();
    play.call(framework, Call::Reconcile { tasks: vec![(TaskId::trusted("one"), Some(AgentId::trusted("old-S1")))] });
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Unreachable, Some(Reason::Reconciliation))]);
}

#[test]
fn the_newest_subscription_wins_and_offers_are_discarded_without_a_word() {
    let mut play = Play::leading();
    let (_, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::secs(60)), 1);
    play.grant(framework, agent, resources(1, 1024));
    let mut info = framework_info(Duration::secs(60));
    info.id = Some(play.framework_id(framework));
    play.subscribe(info, 2);
    play.write();
    assert_eq!(play.rig.actor().state.frameworks[&framework].stream, Some(StreamId(2)));
    assert!(!play.events().iter().any(|event| matches!(event, FrameworkEvent::Rescind { .. })));
    // The old stream's end changes nothing any more.
    play.proxy_says(framework, framework_master::ToMaster::Disconnected { stream: StreamId(1) });
    assert_eq!(play.rig.actor().state.frameworks[&framework].stream, Some(StreamId(2)));
}

#[test]
fn a_framework_that_does_not_come_back_is_removed_and_may_not_return() {
    let (mut play, framework, _, _) = staged();
    let id = play.framework_id(framework);
    play.proxy_says(framework, framework_master::ToMaster::Disconnected { stream: StreamId(1) });
    let effects = play.rig.pass(Duration::secs(59));
    play.note(effects);
    assert!(play.unwritten.is_empty());
    let effects = play.rig.pass(Duration::secs(2));
    play.note(effects);
    play.write();
    assert!(to_agent(&play.effects).iter().any(|message| matches!(message, ToAgent::ShutdownFramework { .. })));
    assert_eq!(play.recovered(), [resources(1, 1024)]);
    let mut info = framework_info(Duration::ZERO);
    info.id = Some(id);
    play.subscribe(info, 3);
    assert!(play.unwritten.is_empty());
    let told = crate::testing::sent::<FrameworkEvent>(&play.effects);
    assert!(
        told.iter()
            .any(|(_, event)| { matches!(event, FrameworkEvent::Error { message, cause: Cause::FrameworkRemoved } if message == "Framework has been removed") })
    );
}

#[test]
fn a_fresh_allocator_is_told_everything_and_older_grants_are_void() {
    let (mut play, framework, _, agent) = staged();
    let old = play.epoch;
    let started = kaon_kernel::message::allocator::ToMaster::Started;
    play.send(
        kaon_kernel::actor::ActorKind::Allocator,
        super::play::HOST,
        kaon_kernel::message::MasterMessage::Allocator(started),
    );
    let told = to_allocator(&play.effects);
    let used = told.iter().find_map(|message| match message {
        ToAllocator::AddAgent { used, .. } => Some(used.clone()),
        _ => None,
    });
    assert_eq!(used.map(|used| used[0].resources.clone()), Some(resources(1, 1024)));
    assert_eq!(told.last(), Some(&ToAllocator::Resume));
    let grant = kaon_kernel::message::allocator::Grant {
        framework,
        role: kaon_kernel::id::RoleName::trusted("*"),
        agent,
        resources: resources(1, 1),
    };
    let granted =
        kaon_kernel::message::allocator::ToMaster::Granted { epoch: old, quotas: play.quotas, grants: vec![grant] };
    play.send(
        kaon_kernel::actor::ActorKind::Allocator,
        super::play::HOST,
        kaon_kernel::message::MasterMessage::Allocator(granted),
    );
    assert!(play.events().is_empty() && play.rig.actor().state.offers.is_empty());
}

#[test]
fn a_proxy_that_began_afresh_gets_its_offers_anew() {
    let mut play = Play::leading();
    let (_, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::secs(60)), 1);
    play.grant(framework, agent, resources(1, 1024));
    let framework_id = play.framework_id(framework);
    play.proxy_says(framework, framework_master::ToMaster::Attached { framework_id, stream: StreamId(1) });
    assert!(play.events().iter().any(|event| matches!(event, FrameworkEvent::Rescind { .. })));
    assert!(play.events().iter().any(|event| matches!(event, FrameworkEvent::Subscribed { .. })));
    assert_eq!(play.recovered(), [resources(1, 1024)]);
}

#[test]
fn statuses_of_removed_frameworks_are_acknowledged_so_that_agents_forget_them() {
    let (mut play, framework, _, _) = staged();
    let framework_id = play.framework_id(framework);
    play.call(framework, Call::Teardown);
    play.write();
    let latest = TaskState::Finished;
    play.agent_says(1, ToMaster::Update { framework_id, status: Box::new(status("one", latest, 9)), latest });
    let told = to_agent(&play.effects);
    assert!(told.iter().any(|message| matches!(message, ToAgent::Acknowledge { .. })));
    assert!(told.iter().any(|message| matches!(message, ToAgent::ShutdownFramework { .. })));
}

#[test]
fn an_agent_that_began_afresh_is_told_who_leads() {
    let mut play = Play::leading();
    play.agent(1);
    play.agent_says(1, ToMaster::WhoLeads);
    assert!(matches!(to_agent(&play.effects)[..], [ToAgent::Leading { .. }]));
}

fn reported(name: &str, id: &AgentId, state: TaskState, unacknowledged: Option<(TaskState, Uuid)>) -> Task {
    Task {
        info: task(name, id, resources(1, 1024)),
        executor_id: kaon_kernel::id::ExecutorId::trusted(name),
        state,
        statuses: vec![],
        unacknowledged,
    }
}

#[test]
fn a_task_whose_end_was_acknowledged_behind_our_back_is_done_with() {
    let (mut play, framework, id, _) = staged();
    let framework_id = play.framework_id(framework);
    let mut info = agent_info();
    info.id = Some(id.clone());
    let tasks = vec![
        (framework_id.clone(), reported("one", &id, TaskState::Finished, None)),
        (framework_id, reported("older", &id, TaskState::Failed, None)),
    ];
    let report = reregister(info, vec![], tasks);
    play.agent_says(1, report);
    assert_eq!(play.recovered(), [resources(1, 1024)]);
    assert!(play.rig.actor().state.frameworks[&framework].tasks.is_empty());
}

#[test]
fn reconciliation_never_runs_ahead_of_the_statuses_under_way() {
    let (mut play, framework, id, _) = staged();
    let framework_id = play.framework_id(framework);
    let (state, latest) = (TaskState::Starting, TaskState::Finished);
    play.agent_says(1, ToMaster::Update { framework_id, status: Box::new(status("one", state, 1)), latest });
    let acknowledge = Call::Acknowledge { agent_id: id, task_id: TaskId::trusted("one"), uuid: Uuid([1; 16]) };
    play.call(framework, acknowledge);
    play.call(framework, Call::Reconcile { tasks: vec![] });
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Starting, Some(Reason::Reconciliation))]);
}

#[test]
fn an_agent_that_fell_before_it_had_its_id_is_asked_for_what_it_was_told() {
    let (mut play, framework, _, _) = staged();
    let again = register(agent_info());
    play.agent_says(1, again.clone());
    assert!(matches!(to_agent(&play.effects)[..], [ToAgent::Registered { .. }]), "the same wish again");
    let ToMaster::Register { info, checkpointed, .. } = again else { unreachable!("it was made above") };
    play.agent_says(1, ToMaster::Register { info, checkpointed, episode: episode() });
    let asked = to_agent(&play.effects).into_iter().find_map(|message| match message {
        ToAgent::Reconcile { tasks } => Some(tasks),
        _ => None,
    });
    assert_eq!(asked, Some(vec![(play.framework_id(framework), TaskId::trusted("one"))]));
}

#[test]
fn a_machine_that_forgot_its_name_is_another_agent_and_the_old_one_is_removed() {
    let (mut play, _, id, _) = staged();
    play.link(1, LinkState::Down);
    play.link_of(1, 7, LinkState::Up);
    play.agent_says(7, register(agent_info()));
    let asked = play.unwritten.iter().map(|(_, operation)| operation);
    let asked: Vec<&RegistryOperation> = asked.collect();
    let [RegistryOperation::RemoveAgent { agent_id }, RegistryOperation::AdmitAgent { .. }] = asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(*agent_id, id);
    play.write();
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Lost, Some(Reason::AgentRemoved))]);
    // One that is connected is somebody else.
    play.link_of(1, 8, LinkState::Up);
    play.agent_says(8, register(agent_info()));
    assert!(matches!(play.unwritten[..], [(_, RegistryOperation::AdmitAgent { .. })]), "{:?}", play.unwritten);
}

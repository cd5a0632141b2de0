//! Agents in peace, in doubt, out of reach and back.

use super::play::{Play, agent_info, framework_info, reregister, resources, task, to_agent};
use crate::master::MasterConfig;
use kaon_kernel::actor::LinkState;
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::id::{AgentId, FrameworkIndex};
use kaon_kernel::message::agent_master::{ToAgent, ToMaster};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::registrar::{AdmittedAgent, Registry, RegistryOperation};
use kaon_kernel::message::scheduler::{Call, ClientOffer};
use kaon_kernel::offer::{OfferOperation, Refusal};
use kaon_kernel::task::{Reason, Task, TaskState};
use kaon_kernel::time::{Duration, WallTime};

/// Lets time pass; the pings that were sent in it.
fn pings(play: &mut Play, seconds: u64) -> usize {
    let effects = play.rig.pass(Duration::secs(seconds));
    play.note(effects);
    to_agent(&play.effects).iter().filter(|message| matches!(message, ToAgent::Ping { .. })).count()
}

/// Whether an agent is about to be marked out of reach.
fn is_given_up(play: &Play) -> bool {
    matches!(&play.unwritten[..], [(_, RegistryOperation::MarkUnreachable { .. })])
}

fn comes_back(play: &mut Play, id: &AgentId, tasks: Vec<(FrameworkIndex, Task)>) {
    let mut info = agent_info();
    info.id = Some(id.clone());
    let frameworks = tasks.iter().map(|(framework, _)| {
        let mut info = framework_info(Duration::secs(60));
        info.id = Some(play.framework_id(*framework));
        info
    });
    let frameworks = frameworks.collect();
    let tasks = tasks.into_iter().map(|(framework, task)| (play.framework_id(framework), task)).collect();
    play.agent_says(1, reregister(info, frameworks, tasks));
}

#[test]
fn an_agent_in_peace_is_pinged_every_ten_minutes_and_no_more() {
    let mut play = Play::leading();
    play.agent(1);
    for _ in 0..3 {
        assert_eq!(pings(&mut play, 599), 0);
        assert_eq!(pings(&mut play, 1), 1);
        play.agent_says(1, ToMaster::Pong);
    }
    assert!(play.unwritten.is_empty());
}

#[test]
fn where_pings_notice_sooner_than_sessions_they_are_sent_all_the_time() {
    let config = MasterConfig { ping_interval: Duration::secs(2), ..MasterConfig::default() };
    let mut play = Play::leading_by(config, Registry::default());
    play.agent(1);
    for _ in 0..20 {
        assert_eq!(pings(&mut play, 2), 1);
        play.agent_says(1, ToMaster::Pong);
    }
    assert_eq!(pings(&mut play, 11), 5);
    assert!(!is_given_up(&play));
    pings(&mut play, 1);
    assert!(is_given_up(&play), "five pings of two seconds, and two since the last answer");
}

#[test]
fn an_agent_that_is_stuck_in_a_standing_session_is_unreachable_and_its_tasks_come_back_with_it() {
    let mut play = Play::leading();
    let (id, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::secs(60)), 1);
    let offers = vec![ClientOffer::Known(play.grant(framework, agent, resources(4, 4096)))];
    let operations = vec![OfferOperation::Launch { tasks: vec![task("one", &id, resources(1, 1024))] }];
    play.call(framework, Call::Accept { offers, operations, refusal: Refusal::DEFAULT });
    assert_eq!(pings(&mut play, 600 + 74), 5);
    assert!(!is_given_up(&play));
    assert_eq!(pings(&mut play, 1), 0);
    assert!(is_given_up(&play), "75 s after the first ping without an answer");
    play.write();
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Unreachable, Some(Reason::AgentRemoved))]);
    assert!(play.events().iter().any(|event| matches!(event, FrameworkEvent::Failure { executor_id: None, .. })));
    let running = Task {
        info: task("one", &id, resources(1, 1024)),
        executor_id: kaon_kernel::id::ExecutorId::trusted("one"),
        state: TaskState::Running,
        statuses: vec![],
        unacknowledged: None,
    };
    comes_back(&mut play, &id, vec![(framework, running)]);
    play.write();
    assert_eq!(play.statuses(), [("one".to_owned(), TaskState::Running, Some(Reason::AgentReregistered))]);
}

#[test]
fn an_answer_ends_the_doubt() {
    let mut play = Play::leading();
    play.agent(1);
    assert_eq!(pings(&mut play, 600 + 70), 5);
    play.agent_says(1, ToMaster::Pong);
    assert_eq!(pings(&mut play, 599), 0, "the last of 75 seconds was answered");
    assert_eq!(pings(&mut play, 1), 1);
    assert!(play.unwritten.is_empty());
}

#[test]
fn a_broken_session_leaves_an_agent_the_time_that_the_flags_say() {
    let mut play = Play::leading();
    let (id, _) = play.agent(1);
    pings(&mut play, 300);
    play.link(1, LinkState::Down);
    pings(&mut play, 74);
    assert!(play.unwritten.is_empty());
    // Just in time, and the count begins anew with the next break.
    play.link(1, LinkState::Up);
    comes_back(&mut play, &id, vec![]);
    pings(&mut play, 500);
    assert!(play.unwritten.is_empty());
    play.link(1, LinkState::Down);
    assert_eq!(pings(&mut play, 74), 0, "there is no way to it");
    assert!(!is_given_up(&play));
    pings(&mut play, 1);
    assert!(is_given_up(&play));
}

#[test]
fn a_disconnected_agent_has_no_longer_than_agents_of_a_new_master() {
    let config = MasterConfig { agent_return: Duration::secs(20), ..MasterConfig::default() };
    let mut play = Play::leading_by(config, Registry::default());
    play.agent(1);
    play.link(1, LinkState::Down);
    pings(&mut play, 19);
    assert!(!is_given_up(&play));
    pings(&mut play, 1);
    assert!(is_given_up(&play));
}

#[test]
fn an_agent_that_is_heard_in_time_is_asked_to_register_before_it_is_given_up() {
    let mut play = Play::leading();
    let (id, _) = play.agent(1);
    play.link(1, LinkState::Down);
    pings(&mut play, 74);
    // Its process is another, under the same certificate.
    play.link_of(1, 7, LinkState::Up);
    assert_eq!(pings(&mut play, 1), 1);
    assert_eq!(to_agent(&play.effects), [ToAgent::Ping { connected: false }]);
    assert_eq!(pings(&mut play, 74), 4);
    assert!(!is_given_up(&play));
    let mut info = agent_info();
    info.id = Some(id);
    play.agent_says(7, reregister(info, vec![], vec![]));
    assert_eq!(pings(&mut play, 500), 0);
    assert!(play.unwritten.is_empty(), "it came in time");
    play.link_of(1, 7, LinkState::Down);
    pings(&mut play, 74);
    play.link_of(1, 8, LinkState::Up);
    pings(&mut play, 75);
    assert!(!is_given_up(&play));
    pings(&mut play, 1);
    assert!(is_given_up(&play), "it is there, and does not come");
}

/// Beyond their bound the first in the table is forgotten, and the registry and `/state` forget the one that was lost first.
#[test]
fn agents_out_of_reach_stand_in_the_order_in_which_they_were_lost() {
    let name = |number: usize| AgentId::trusted(format!("old-S{number}"));
    let lost = |number: usize| {
        let info = AgentInfo { id: Some(name(number)), ..agent_info() };
        (AdmittedAgent { info, identity: "agent-1".to_owned() }, WallTime(1))
    };
    let mut play = Play::leading_with(Registry { unreachable: (0..4).map(lost).collect(), ..Registry::default() });
    let known = |play: &Play| play.rig.actor().state.unreachable_agents.keys().cloned().collect::<Vec<_>>();
    play.link(1, LinkState::Up);
    comes_back(&mut play, &name(0), vec![]);
    play.write();
    assert_eq!(known(&play), [1, 2, 3].map(name));
    play.link(1, LinkState::Down);
    pings(&mut play, 600);
    play.write();
    assert_eq!(known(&play), [1, 2, 3, 0].map(name));
}

//! The books: what is free and held is the total, whatever comes in whatever order.

use super::{Play, bag, framework_facts, grant, role};
use crate::allocator::engine::{Engine, Error, Rules};
use kaon_kernel::id::{AgentIndex, FrameworkIndex};
use kaon_kernel::time::Instant;

fn free(play: &Play, agent: u32) -> String {
    play.engine.invariants();
    play.engine.agent(AgentIndex(agent)).expect("it is there").free().to_string()
}

#[test]
fn holdings_of_frameworks_that_come_later_are_kept() {
    let mut play = Play::new();
    play.agent_in_use(1, "cpus:4;mem:64", &[grant(7, "web", 1, "cpus:3;mem:64")]);
    assert_eq!(free(&play, 1), "cpus:1");
    assert!(play.round().is_empty());
    play.framework(8, &["web"]);
    play.framework(7, &["web"]);
    assert_eq!(play.winners(), [(8, 1)], "framework 7 holds more");
    play.recover(grant(7, "web", 1, "cpus:3;mem:64"), None);
    assert_eq!(play.winners(), [(7, 1)]);
}

#[test]
fn a_framework_that_never_comes_is_forgotten_with_what_it_held() {
    let mut play = Play::new();
    play.agent_in_use(1, "cpus:4", &[grant(7, "web", 1, "cpus:3"), grant(7, "db", 1, "cpus:1")]);
    play.recover(grant(7, "db", 1, "cpus:1"), None);
    play.recover(grant(7, "web", 1, "cpus:1"), None);
    assert_eq!(free(&play, 1), "cpus:2");
    play.recover(grant(7, "web", 1, "cpus:2"), None);
    assert_eq!(free(&play, 1), "cpus:4");
    let again = play.engine.recover(play.now, grant(7, "web", 1, "cpus:2"), None);
    assert_eq!(again, Err(Error::UnknownFramework(FrameworkIndex(7))));
}

#[test]
fn an_agent_smaller_than_its_tasks_pays_its_excess_first() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    let used = grant(1, "web", 1, "cpus:6;mem:64;ports:[5-8];disks:{a,b}");
    assert_eq!(play.agent_in_use(1, "cpus:4;mem:100;ports:[1-6];disks:{a}", &[used]), 0);
    assert_eq!(free(&play, 1), "mem:36; ports:[1-4]");
    let held = play.engine.held(FrameworkIndex(1), &role("web"), AgentIndex(1));
    assert_eq!(held, bag("cpus:6;mem:64;ports:[5-8];disks:{a,b}"), "the master's view of it");
    play.recover(grant(1, "web", 1, "cpus:1;ports:[7-8]"), None);
    assert_eq!(free(&play, 1), "mem:36; ports:[1-4]", "nothing came free: there were 6 processors of 4");
    play.recover(grant(1, "web", 1, "cpus:2;ports:[5-5]"), None);
    assert_eq!(free(&play, 1), "cpus:1; mem:36; ports:[1-5]");
    play.recover(grant(1, "web", 1, "cpus:3;mem:64;ports:[6-6];disks:{a,b}"), None);
    assert_eq!(free(&play, 1), "cpus:4; mem:100; ports:[1-6]; disks:{a}");
}

#[test]
fn an_agent_can_shrink_and_grow_under_its_tasks() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent_in_use(1, "cpus:8", &[grant(1, "web", 1, "cpus:3"), grant(2, "web", 1, "cpus:3")]);
    play.engine.update_agent(AgentIndex(1), bag("cpus:4")).expect("it is there");
    assert_eq!(free(&play, 1), "");
    play.engine.update_agent(AgentIndex(1), bag("cpus:7")).expect("it is there");
    assert_eq!(free(&play, 1), "cpus:1");
    play.engine.update_agent(AgentIndex(1), bag("cpus:4")).expect("it is there");
    play.recover(grant(1, "web", 1, "cpus:3"), None);
    assert_eq!(free(&play, 1), "cpus:1", "the other still holds three of four");
    play.recover(grant(2, "web", 1, "cpus:3"), None);
    assert_eq!(free(&play, 1), "cpus:4");
}

#[test]
fn used_resources_that_contradict_each_other_are_counted_and_never_fatal() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    let used = [grant(1, "web", 1, "ports:[1-2]"), grant(2, "web", 1, "ports:[2-3]")];
    assert_eq!(play.agent_in_use(1, "cpus:1;ports:[1-9]", &used), 0, "the second has port 2 in excess");
    assert_eq!(free(&play, 1), "cpus:1; ports:[4-9]");
    play.recover(grant(1, "web", 1, "ports:[1-2]"), None);
    assert_eq!(free(&play, 1), "cpus:1; ports:[1-1,4-9]".replace(',', ", "), "port 2 is still used");
    play.recover(grant(2, "web", 1, "ports:[2-3]"), None);
    assert_eq!(free(&play, 1), "cpus:1; ports:[1-9]");

    let used = [grant(1, "web", 2, "ports:[1-2]"), grant(1, "web", 2, "ports:[2-3]")];
    assert_eq!(play.agent_in_use(2, "cpus:1;ports:[1-9]", &used), 1, "one holder can't have a port twice");
    for used in used {
        let _ = play.engine.recover(play.now, used, None);
        play.engine.invariants();
    }
    assert_eq!(free(&play, 2), "cpus:1; ports:[1-9]");
}

#[test]
fn what_has_just_gone_changes_nothing() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, "cpus:4");
    play.agent(2, "cpus:4");
    assert_eq!(play.round().len(), 2);
    play.engine.remove_agent(AgentIndex(1)).expect("it is there");
    let gone = AgentIndex(1);
    assert_eq!(play.engine.recover(play.now, grant(1, "web", 1, "cpus:4"), None), Err(Error::UnknownAgent(gone)));
    assert_eq!(play.engine.update_agent(gone, bag("cpus:1")), Err(Error::UnknownAgent(gone)));
    assert_eq!(play.engine.set_agent_active(gone, true), Err(Error::UnknownAgent(gone)));
    assert_eq!(play.engine.remove_agent(gone), Err(Error::UnknownAgent(gone)));
    // The grant of the second agent is still under way when its framework goes.
    play.engine.remove_framework(FrameworkIndex(1)).expect("it is there");
    assert_eq!(free(&play, 2), "cpus:4");
    let gone = FrameworkIndex(1);
    assert_eq!(play.engine.recover(play.now, grant(1, "web", 2, "cpus:4"), None), Err(Error::UnknownFramework(gone)));
    for result in [
        play.engine.revive(gone, &[role("web")]),
        play.engine.suppress(gone, &[role("web")]),
        play.engine.activate_framework(gone),
        play.engine.deactivate_framework(gone),
        play.engine.update_framework(gone, &[role("web")], &[], Default::default()),
        play.engine.remove_framework(gone),
    ] {
        assert_eq!(result, Err(Error::UnknownFramework(gone)));
    }
    assert_eq!(free(&play, 2), "cpus:4");
}

#[test]
fn nothing_is_taken_before_a_master_begins() {
    let mut engine = Engine::new(Rules::default());
    let added = engine.add_framework(FrameworkIndex(1), &framework_facts(1, &["web"], &[], &[]), true);
    assert_eq!(added, Err(Error::NotBegun));
    assert_eq!(engine.resume(), Err(Error::NotBegun));
    engine.begin(Instant(0), &[]);
    assert!(engine.has_begun() && !engine.is_granting());
}

#[test]
fn beginning_again_forgets_everything() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, "cpus:4");
    assert_eq!(play.round().len(), 1);
    play.engine.begin(play.now, &[]);
    play.engine.invariants();
    assert!(play.engine.agent(AgentIndex(1)).is_none());
    play.framework(1, &["web"]);
    play.agent(1, "cpus:4");
    play.engine.resume().expect("it has begun");
    assert_eq!(play.winners(), [(1, 1)]);
}

#[test]
#[should_panic(expected = "come back to agent S1")]
fn more_than_was_granted_does_not_come_back() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, "cpus:4");
    play.round();
    play.recover(grant(1, "web", 1, "cpus:5"), None);
}

#[test]
#[should_panic(expected = "who holds nothing as web")]
fn what_was_never_granted_does_not_come_back() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, "cpus:4");
    play.recover(grant(1, "web", 1, "cpus:1"), None);
}

#[test]
fn a_role_left_keeps_what_is_held_under_it() {
    let mut play = Play::new();
    play.framework(1, &["web", "db"]);
    play.agent_in_use(1, "cpus:4", &[grant(1, "web", 1, "cpus:3")]);
    play.engine.update_framework(FrameworkIndex(1), &[role("db")], &[], Default::default()).expect("it is there");
    let grants = play.round();
    assert_eq!(grants.iter().map(|grant| grant.role.as_str()).collect::<Vec<_>>(), ["db"]);
    play.recover(grant(1, "web", 1, "cpus:3"), None);
    assert_eq!(play.round().iter().map(|grant| grant.role.as_str()).collect::<Vec<_>>(), ["db"]);
}

#[test]
fn a_planted_double_grant_is_told_and_not_booked() {
    let mut play = Play::new();
    play.engine.plant_double_grant();
    play.framework(1, &["web"]);
    let grants = (0..40).flat_map(|agent| {
        play.agent(agent, "cpus:4");
        play.round()
    });
    let grants = grants.collect::<Vec<_>>();
    assert_eq!(grants.len(), 42);
    for grant in grants {
        let _ = play.engine.recover(play.now, grant, None);
        play.engine.invariants();
    }
}

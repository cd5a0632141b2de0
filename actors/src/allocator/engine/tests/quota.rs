//! Quota: guarantees, limits, headroom, the wait after a failover.

use super::{Play, bag, facts, grant, role};
use crate::allocator::engine::{Engine, Error, Rules};
use kaon_kernel::id::{AgentIndex, FrameworkIndex};
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::{Resources, Value};
use kaon_kernel::time::{Duration, Instant};

fn quantities(text: &str) -> Vec<(kaon_kernel::resource::ResourceName, kaon_kernel::quantity::Quantity)> {
    let bag = if text.is_empty() { Resources::new() } else { bag(text) };
    let scalars = bag.iter().map(|entry| match entry.value {
        Value::Scalar(quantity) => (entry.name.clone(), quantity),
        _ => panic!("{entry} is no scalar"),
    });
    scalars.collect()
}

fn quota(guarantees: &str, limits: &str) -> Quota {
    Quota { guarantees: quantities(guarantees), limits: quantities(limits) }
}

fn set(play: &mut Play, name: &str, guarantees: &str, limits: &str) {
    play.engine.set_quota(&role(name), &quota(guarantees, limits)).expect("a quota of a top-level role");
    play.engine.invariants();
}

/// A round, as (framework, agent, resources).
fn grants(play: &mut Play) -> Vec<(u32, u32, String)> {
    play.round().iter().map(|grant| (grant.framework.0, grant.agent.0, grant.resources.to_string())).collect()
}

fn expected(grants: &[(u32, u32, &str)]) -> Vec<(u32, u32, String)> {
    grants.iter().map(|(framework, agent, text)| (*framework, *agent, (*text).to_owned())).collect()
}

#[test]
fn a_guarantee_comes_before_fair_shares() {
    let mut play = Play::new();
    set(&mut play, "prod", "cpus:2;mem:200", "cpus:2;mem:200");
    play.framework(1, &["dev"]);
    // What prod is used for already makes its share the larger one.
    play.agent_in_use(1, "cpus:4;mem:400", &[grant(2, "prod", 1, "cpus:1;mem:100")]);
    play.framework(2, &["prod"]);
    assert_eq!(grants(&mut play), expected(&[(2, 1, "cpus:1; mem:100"), (1, 1, "cpus:2; mem:200")]));
}

#[test]
fn what_goes_with_a_guarantee_is_bounded_by_what_others_are_promised() {
    let mut play = Play::new();
    set(&mut play, "a", "cpus:1", "");
    set(&mut play, "b", "cpus:2;mem:64", "");
    play.framework(1, &["a"]);
    play.agent(1, "cpus:4;mem:100;disk:7;ports:[1-9]");
    // b has no framework: two processors and 64 MiB are kept for it.
    assert_eq!(grants(&mut play), expected(&[(1, 1, "cpus:2; mem:36; disk:7; ports:[1-9]")]));
    assert_eq!(play.reasons(1, "a", 1), ["headroom"]);
    play.framework(2, &["b"]);
    assert_eq!(grants(&mut play), expected(&[(2, 1, "cpus:2; mem:64")]));
}

#[test]
fn headroom_is_of_the_whole_cluster() {
    let mut play = Play::new();
    set(&mut play, "prod", "cpus:6", "");
    play.framework(1, &["dev"]);
    play.agent(1, "cpus:4;mem:64");
    assert_eq!(grants(&mut play), expected(&[(1, 1, "mem:64")]), "all processors there are must stay");
    assert_eq!(play.reasons(1, "dev", 1), ["headroom"]);
    play.agent(2, "cpus:4;mem:64");
    assert_eq!(grants(&mut play), expected(&[(1, 2, "cpus:2; mem:64")]), "eight of which six must stay");
    play.engine.mark_batch();
    assert!(play.round().is_empty());
    play.framework(2, &["prod"]);
    let mut found = grants(&mut play);
    found.sort();
    assert_eq!(found, expected(&[(2, 1, "cpus:4"), (2, 2, "cpus:2")]));
}

#[test]
fn a_limit_holds_for_the_subtree_and_what_is_given_back_counts_no_more() {
    let mut play = Play::new();
    set(&mut play, "eng", "", "cpus:3");
    play.framework(1, &["eng/ads"]);
    play.framework(2, &["eng"]);
    play.agent(1, "cpus:4;mem:64");
    assert_eq!(grants(&mut play), expected(&[(2, 1, "cpus:3; mem:64")]));
    assert_eq!(play.reasons(1, "eng/ads", 1), ["quota_limit"]);
    play.recover(grant(2, "eng", 1, "cpus:2"), Some(Duration::secs(60)));
    assert_eq!(grants(&mut play), expected(&[(1, 1, "cpus:2")]), "three free, two more allowed");
    set(&mut play, "eng", "", "cpus:3.5");
    assert_eq!(grants(&mut play), expected(&[(1, 1, "cpus:0.5")]), "its sibling holds all the memory there is");
}

#[test]
fn reservations_count_as_consumed_and_are_offered_beyond_the_limit() {
    let mut play = Play::new();
    set(&mut play, "a", "cpus:4", "cpus:4");
    play.framework(1, &["a"]);
    play.framework(2, &["b"]);
    play.agent(1, "cpus(a):4;cpus:4");
    assert_eq!(grants(&mut play), expected(&[(1, 1, "cpus(a):4"), (2, 1, "cpus:4")]));
    let (known, consumed) = play.engine.quota(&role("a")).expect("it has one");
    assert_eq!((known.limits.len(), consumed[0].1), (1, 4000));
}

#[test]
fn a_closed_role_stands_in_nobodys_way() {
    let mut play = Play::new();
    for name in ["a", "b", "c"] {
        set(&mut play, name, "", "cpus:1;mem:32");
    }
    for (framework, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        play.framework(framework, &[name]);
    }
    play.agent(1, "cpus:10;mem:1024;disk:9");
    let found = grants(&mut play);
    let amounts = found.iter().map(|(framework, _, text)| (*framework, text.as_str())).collect::<Vec<_>>();
    assert_eq!(
        amounts,
        [(1, "cpus:1; mem:32; disk:9"), (2, "cpus:1; mem:32"), (3, "cpus:1; mem:32"), (4, "cpus:7; mem:928")]
    );
    play.agent(2, "cpus:10;mem:1024");
    assert_eq!(grants(&mut play), expected(&[(4, 2, "cpus:10; mem:1024")]));
    for framework in 1..4 {
        assert_eq!(play.reasons(framework, ["a", "b", "c"][framework as usize - 1], 2), ["nothing_free"]);
    }
}

#[test]
fn an_offer_cut_below_the_minimum_is_none() {
    let mut play = Play::new();
    set(&mut play, "a", "", "cpus:0.001;mem:1");
    play.framework(1, &["a"]);
    play.agent(1, "cpus:4;mem:64;ports:[1-2]");
    assert!(play.round().is_empty());
    assert_eq!(play.reasons(1, "a", 1), ["quota_limit", "below_minimum"]);
    play.engine.set_minimums(FrameworkIndex(1), &role("a"), Some(Vec::new())).expect("it is subscribed");
    assert_eq!(grants(&mut play), expected(&[(1, 1, "cpus:0.001; mem:1; ports:[1-2]")]), "it said that it wants any");
}

#[test]
fn a_quota_that_goes_frees_what_it_kept() {
    let mut play = Play::new();
    set(&mut play, "prod", "cpus:4", "");
    play.framework(1, &["dev"]);
    play.agent(1, "cpus:4");
    assert!(play.round().is_empty());
    set(&mut play, "prod", "", "");
    assert!(play.engine.quota(&role("prod")).is_none());
    assert_eq!(grants(&mut play), expected(&[(1, 1, "cpus:4")]));
}

#[test]
fn quotas_that_make_no_sense_are_refused() {
    let mut play = Play::new();
    assert_eq!(play.engine.set_quota(&role("a/b"), &quota("cpus:1", "")), Err(Error::NotTopLevel));
    assert_eq!(play.engine.set_quota(&role("a"), &quota("cpus:2", "cpus:1")), Err(Error::GuaranteeAboveLimit));
    let mut engine = Engine::new(Rules::default());
    assert_eq!(engine.set_quota(&role("a"), &quota("cpus:1", "")), Err(Error::NotBegun));
    play.engine.invariants();
}

/// A master that has begun and knows of ten agents, with or without a quota.
fn recovering(has_quota: bool) -> Play {
    let mut play = Play::new();
    play.engine.begin(Instant(0), &[]);
    if has_quota {
        set(&mut play, "prod", "cpus:1", "");
    }
    play.engine.expect_agents(10).expect("it has begun");
    play.framework(1, &["prod"]);
    play.engine.resume().expect("it has begun");
    play
}

#[test]
fn with_quota_most_agents_are_awaited() {
    let mut play = recovering(true);
    for agent in 0..7 {
        play.agent(agent, "cpus:1");
        assert!(play.round().is_empty() && !play.engine.has_work());
        assert_eq!(play.reasons(1, "prod", agent), ["recovering"]);
    }
    play.agent(7, "cpus:1");
    assert_eq!(play.round().len(), 8);

    let mut play = recovering(true);
    play.agent(0, "cpus:1");
    assert_eq!(play.engine.next_expiry(), Some(Instant(0) + Duration::secs(600)));
    play.now = Instant(Duration::secs(600).0);
    assert_eq!(play.round().len(), 1, "nobody waits for ever");

    let mut play = recovering(false);
    play.agent(0, "cpus:1");
    assert_eq!(play.round().len(), 1, "without quota there is nothing to wait for");
}

#[test]
fn room_that_appears_elsewhere_reaches_other_agents_with_the_batch_round() {
    let mut play = Play::new();
    set(&mut play, "a", "", "cpus:4");
    play.framework(1, &["a"]);
    play.agent(1, "cpus:4");
    assert_eq!(play.winners(), [(1, 1)]);
    play.agent(2, "cpus:4");
    assert!(play.round().is_empty());
    play.engine.remove_agent(AgentIndex(1)).expect("it is there");
    play.engine.mark_batch();
    assert_eq!(play.winners(), [(1, 2)]);
    let added = play.engine.add_agent(AgentIndex(3), facts(3, None), bag("cpus:1"), &[]);
    assert_eq!(added, Ok(0));
}

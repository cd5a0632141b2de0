//! The checks, each with a case for and against, and what explanations say of them.

use super::{Play, bag, facts, grant, role};
use crate::allocator::engine::{Reason, Rules};
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{AgentIndex, FrameworkIndex};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Identity, Resource, ResourceName, Resources};
use kaon_kernel::time::Duration;

#[test]
fn machines_with_gpus_are_for_those_who_opted_in() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, "cpus:4;gpus:1");
    assert!(play.round().is_empty());
    assert_eq!(play.reasons(1, "web", 1), ["gpu_opt_in"]);
    play.framework_with(2, &["web"], &[], &[Capability::GpuResources]);
    assert_eq!(play.winners(), [(2, 1)]);

    let mut play = Play::with(Rules { filter_gpu_resources: false, ..Rules::default() }, &[]);
    play.framework(1, &["web"]);
    play.agent(1, "cpus:4;gpus:1");
    assert_eq!(play.winners(), [(1, 1)]);
}

#[test]
fn other_regions_are_for_those_who_know_of_regions() {
    let mut play = Play::with(Rules { region: Some("here".to_owned()), ..Rules::default() }, &[]);
    play.framework(1, &["web"]);
    for (agent, region) in [(1, Some("here")), (2, None), (3, Some("there"))] {
        play.engine.add_agent(AgentIndex(agent), facts(agent, region), bag("cpus:1"), &[]).expect("it has begun");
    }
    assert_eq!(play.round().len(), 2);
    let reasons = play.engine.explain(FrameworkIndex(1), &role("web"), AgentIndex(3));
    assert_eq!(reasons, [Reason::OtherRegion { region: "there" }]);
    play.framework_with(2, &["web"], &[], &[Capability::RegionAware]);
    assert_eq!(play.winners(), [(2, 3)]);
}

#[test]
fn reservations_go_to_their_role_and_those_below() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, "cpus(eng):4;mem(eng):64");
    assert!(play.round().is_empty());
    let reasons = play.engine.explain(FrameworkIndex(1), &role("web"), AgentIndex(1));
    assert_eq!(reasons, [Reason::ReservedToOthers { role: &role("eng") }]);
    play.framework(2, &["eng/ads"]);
    assert_eq!(play.winners(), [(2, 1)]);
}

#[test]
fn what_one_may_not_have_goes_to_the_next() {
    let mut play = Play::new();
    play.framework(1, &["a"]);
    play.framework(2, &["b"]);
    play.agent(1, "cpus:1;cpus(b):2;cpus(c):3");
    let grants = play.round();
    assert_eq!(grants.len(), 2);
    assert_eq!((grants[0].framework.0, &grants[0].resources), (1, &bag("cpus:1")));
    assert_eq!((grants[1].framework.0, &grants[1].resources), (2, &bag("cpus(b):2")));
    assert_eq!(play.engine.agent(AgentIndex(1)).map(|agent| agent.free()), Some(&bag("cpus(c):3")));
}

#[test]
fn what_is_not_understood_is_held_back() {
    let revocable = Identity { revocable: true, ..Identity::default() };
    let entry = Resource { identity: Some(revocable.into()), ..Resource::scalar(ResourceName::Cpus, Quantity(9000)) };
    let total = Resources::collect([entry.clone(), Resource::scalar(ResourceName::Mem, Quantity::units(64))]);
    let total = total.expect("two entries");
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.engine.add_agent(AgentIndex(1), facts(1, None), total, &[]).expect("it has begun");
    let grants = play.round();
    assert_eq!(grants.iter().map(|grant| grant.resources.clone()).collect::<Vec<_>>(), [bag("mem:64")]);
    assert_eq!(play.reasons(1, "web", 1), ["not_understood"]);
    play.framework_with(2, &["web"], &[], &[Capability::RevocableResources]);
    assert_eq!(play.winners(), [(2, 1)]);
}

#[test]
fn an_offer_is_at_least_a_hundredth_of_a_processor_or_32_mebibytes() {
    for (total, enough) in [
        ("cpus:0.009;mem:31.999;disk:1000", false),
        ("cpus:0.01", true),
        ("mem:32", true),
        ("disk:1000;ports:[1-9]", false),
    ] {
        let mut play = Play::new();
        play.framework(1, &["web"]);
        play.agent(1, total);
        assert_eq!(play.round().len(), usize::from(enough), "{total}");
        assert_eq!(play.reasons(1, "web", 1), if enough { ["nothing_free"] } else { ["below_minimum"] }, "{total}");
    }
    let mut play = Play::with(Rules { minimums: Vec::new(), ..Rules::default() }, &[]);
    play.framework(1, &["web"]);
    play.agent(1, "disk:1");
    assert_eq!(play.winners(), [(1, 1)], "without a minimum anything is an offer");
}

#[test]
fn a_pause_holds_everything() {
    let mut play = Play::new();
    play.engine.pause().expect("it has begun");
    play.framework(1, &["web"]);
    play.agent(1, "cpus:1");
    assert!(play.round().is_empty() && !play.engine.has_work());
    assert_eq!(play.reasons(1, "web", 1), ["paused"]);
    play.engine.resume().expect("it has begun");
    assert!(play.engine.has_work());
    assert_eq!(play.winners(), [(1, 1)]);
}

#[test]
fn an_explanation_names_every_reason_and_a_summary_counts_the_first() {
    let mut play = Play::new();
    play.framework_with(1, &["web"], &["web"], &[]);
    play.agent(1, "cpus:4;gpus:1");
    play.agent(2, "cpus:4");
    play.agent(3, "disk:4");
    play.framework(2, &["db"]);
    play.engine.set_agent_active(AgentIndex(1), false).expect("it is there");
    assert_eq!(play.winners(), [(2, 2)]);
    assert_eq!(play.reasons(1, "web", 1), ["suppressed", "agent_inactive", "gpu_opt_in"]);
    assert_eq!(play.reasons(1, "db", 2), ["not_subscribed", "nothing_free"]);
    assert_eq!(play.reasons(9, "web", 1), ["framework_unknown"]);
    assert_eq!(play.reasons(1, "web", 9), ["suppressed", "agent_unknown"]);
    assert_eq!(play.reasons(1, "nobody", 1), ["not_subscribed"]);
    play.recover(grant(2, "db", 2, "cpus:4"), Some(Duration::secs(9)));
    let summary = play.engine.summary(FrameworkIndex(2)).expect("it is there");
    let [db] = &summary[..] else { panic!("one role, one line") };
    assert_eq!((db.role.as_str(), db.allocations, db.agents_open, db.agents_filtered), ("db", 1, 0, 1));
    let counts = db.agents_by_reason.iter().map(|(reason, agents)| (*reason, *agents)).collect::<Vec<_>>();
    assert_eq!(counts, [("agent_inactive", 1), ("below_minimum", 1), ("filtered", 1)]);
    let summary = play.engine.summary(FrameworkIndex(1)).expect("it is there");
    assert_eq!(summary[0].standing, ["the framework has suppressed offers in this role"]);
    assert_eq!(summary[0].agents_open, 1, "only its suppression keeps the second agent from it");
    assert!(play.engine.summary(FrameworkIndex(9)).is_none());
}

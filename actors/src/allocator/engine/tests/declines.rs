//! Filters: what a refusal keeps away, how long, and what lifts it.

use super::{Play, bag, grant, role};
use crate::allocator::engine::filter::{FILTERS_PER_AGENT_MAX, Filters};
use crate::allocator::engine::sorter::{Client, RoleIndex};
use kaon_kernel::id::{AgentIndex, FrameworkIndex};
use kaon_kernel::time::{Duration, Instant};

const ALL: &str = "cpus:4;mem:1024;ports:[1-9]";

/// One framework was offered all of one agent and declined it.
fn declined(refusal: Duration) -> Play {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, ALL);
    assert_eq!(play.winners(), [(1, 1)]);
    play.recover(grant(1, "web", 1, ALL), Some(refusal));
    play
}

#[test]
fn a_refusal_lasts_as_long_as_it_says() {
    let mut play = declined(Duration::secs(5));
    assert!(play.round().is_empty());
    assert_eq!(play.reasons(1, "web", 1), ["filtered"]);
    assert_eq!(play.engine.next_expiry(), Some(Instant(0) + Duration::secs(5)));
    play.now = Instant(Duration::secs(5).0 - 1);
    assert!(play.round().is_empty());
    play.now = Instant(Duration::secs(5).0);
    assert_eq!(play.winners(), [(1, 1)]);
}

#[test]
fn a_refusal_lasts_at_least_an_interval() {
    let mut play = declined(Duration::millis(1));
    play.now = Instant(Duration::millis(999).0);
    assert!(play.round().is_empty());
    play.now = Instant(Duration::secs(1).0);
    assert_eq!(play.winners(), [(1, 1)]);
}

#[test]
fn a_refusal_of_no_length_lasts_until_the_next_batch_round() {
    let mut play = declined(Duration::ZERO);
    assert!(play.round().is_empty());
    assert_eq!(play.engine.next_expiry(), Some(Instant(Duration::secs(1).0)));
    play.now = Instant(Duration::millis(1000).0);
    assert_eq!(play.winners(), [(1, 1)]);
    play.now = Instant(Duration::millis(1900).0);
    play.recover(grant(1, "web", 1, ALL), Some(Duration::ZERO));
    assert_eq!(play.engine.next_expiry(), Some(Instant(Duration::secs(2).0)), "no more than is left of the interval");
}

#[test]
fn more_than_was_refused_gets_through() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, ALL);
    play.round();
    // A task keeps one processor and a port; the rest is declined.
    play.recover(grant(1, "web", 1, "cpus:3;mem:1024;ports:[2-9]"), Some(Duration::secs(60)));
    assert!(play.round().is_empty());
    play.recover(grant(1, "web", 1, "ports:[1-1]"), None);
    let grants = play.round();
    assert_eq!(grants.len(), 1, "eight ports were refused, nine are free");
    assert_eq!(grants[0].resources, bag("cpus:3;mem:1024;ports:[1-9]"));
}

#[test]
fn less_than_was_refused_does_not() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.framework(2, &["web"]);
    play.agent(1, ALL);
    play.round();
    play.recover(grant(1, "web", 1, ALL), Some(Duration::secs(60)));
    assert_eq!(play.winners(), [(2, 1)], "a filter is of one framework");
    play.recover(grant(2, "web", 1, "cpus:2"), Some(Duration::secs(60)));
    assert!(play.round().is_empty());
    assert_eq!(play.reasons(1, "web", 1), ["filtered"]);
    assert_eq!(play.reasons(2, "web", 1), ["filtered"]);
}

#[test]
fn revive_and_changes_of_the_agent_lift_filters() {
    let mut play = declined(Duration::secs(60));
    play.engine.revive(FrameworkIndex(1), &[role("web")]).expect("it is there");
    assert_eq!(play.winners(), [(1, 1)]);

    let mut play = declined(Duration::secs(60));
    play.engine.update_agent(AgentIndex(1), bag("cpus:3;mem:1024")).expect("it is there");
    assert_eq!(play.winners(), [(1, 1)]);

    let mut play = declined(Duration::secs(60));
    play.engine.deactivate_framework(FrameworkIndex(1)).expect("it is there");
    assert!(play.round().is_empty());
    play.engine.activate_framework(FrameworkIndex(1)).expect("it is there");
    assert_eq!(play.winners(), [(1, 1)]);
}

#[test]
fn suppression_ends_with_revive_and_with_an_update_that_does_not_name_it() {
    let mut play = declined(Duration::secs(60));
    let (framework, web) = (FrameworkIndex(1), [role("web")]);
    play.engine.suppress(framework, &web).expect("it is there");
    assert!(play.round().is_empty());
    assert_eq!(play.reasons(1, "web", 1), ["suppressed", "filtered"], "filters stay");
    play.engine.update_framework(framework, &web, &web, Default::default()).expect("it is there");
    assert_eq!(play.reasons(1, "web", 1), ["suppressed", "filtered"]);
    play.engine.update_framework(framework, &web, &[], Default::default()).expect("it is there");
    assert_eq!(play.winners(), [(1, 1)], "a role that is no longer suppressed loses its filters");

    let mut play = declined(Duration::secs(60));
    play.engine.update_framework(framework, &web, &[], Default::default()).expect("it is there");
    assert!(play.round().is_empty(), "a role that was not suppressed keeps its filters");
}

#[test]
fn filters_are_bounded_and_say_nothing_twice() {
    let mut filters = Filters::default();
    let client = Client { framework: FrameworkIndex(1), role: RoleIndex(0) };
    let (agent, at) = (AgentIndex(1), |seconds| Instant(Duration::secs(seconds).0));
    filters.insert(agent, client, bag("cpus:2"), at(10));
    filters.insert(agent, client, bag("cpus:1"), at(5));
    assert_eq!(filters.on(agent).len(), 1, "the first says as much, and longer");
    filters.insert(agent, client, bag("cpus:3"), at(10));
    assert_eq!(filters.on(agent).len(), 1, "the third says more");
    for place in 0..2 * FILTERS_PER_AGENT_MAX as u64 {
        filters.insert(agent, client, bag(&format!("ports:[{place}-{place}]")), at(20 + place));
    }
    assert_eq!(filters.on(agent).len(), FILTERS_PER_AGENT_MAX);
    assert!(filters.on(agent).iter().all(|filter| filter.until >= at(20 + FILTERS_PER_AGENT_MAX as u64)));
    filters.invariants(|_| true, |_| true);
    let mut expired = 0;
    filters.expire(at(99), |_| expired += 1);
    assert_eq!((expired, filters.next_expiry()), (FILTERS_PER_AGENT_MAX, None));
    filters.invariants(|_| false, |_| false);
}
